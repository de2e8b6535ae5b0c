//! What a forked child does with handles of its parent (Linux).
#![allow(unsafe_code)]

use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::alone::ran_in_own_process;
use alex_store::{Compression, Error, Options, ScanRange, Store};

fn open(path: &Path, options: &Options) -> Store {
    Store::open(path, options, &mut |_| true).expect("opens")
}

/// Runs `child` in a forked process. Returns whether it returned true. A hang is ended after some seconds.
fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls only `child`, which touches nothing that other threads of the parent hold
    // locked (that is what is tested), and leaves by `_exit`.
    unsafe {
        let pid = libc::fork();
        assert!(pid >= 0, "fork works");
        if pid == 0 {
            libc::alarm(10);
            libc::_exit(i32::from(!child()));
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }
}

#[test]
fn a_writer_is_refused_in_a_child_and_goes_on_in_the_parent() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path(), &Options::default());
    store.put(1, b"one").expect("writes");
    let refused = in_child(|| {
        let forked = |outcome: Result<(), Error>| matches!(outcome, Err(Error::Forked { .. }));
        let refused = forked(store.put(2, b"two")) && forked(store.get(1).map(|_| ()));
        drop(store.clone());
        let closed = |outcome: Result<(), Error>| matches!(outcome, Err(Error::Closed { .. }));
        refused && store.close().is_ok() && closed(store.put(2, b"two")) && closed(store.get(1).map(|_| ()))
    });
    assert!(refused);
    store.put(3, b"three").expect("writes");
    assert_eq!(store.len().expect("open"), 2);
}

#[test]
fn the_lock_is_free_once_the_parent_released_it_even_while_a_child_lives() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path(), &Options::default());
    // SAFETY: the child only sleeps.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: the child only sleeps and exits.
        unsafe {
            libc::sleep(20);
            libc::_exit(0);
        }
    }
    drop(store);
    let again = Store::open(dir.path(), &Options::default(), &mut |_| true);
    // SAFETY: the child is ours.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    again.expect("an inherited descriptor must not keep the lock");
}

#[test]
fn a_child_that_drops_an_inherited_writer_leaves_its_own_memory_alone() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path(), &Options::default());
    store.put(1, b"one").expect("writes");
    let whole = in_child(move || {
        // The child may by now have memory of its own where the parent's writable map was.
        let mut maps = Vec::new();
        for _ in 0..200 {
            // SAFETY: a fresh anonymous mapping, used below only.
            unsafe {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let protection = libc::PROT_READ | libc::PROT_WRITE;
                let map = libc::mmap(std::ptr::null_mut(), 1 << 20, protection, flags, -1, 0).cast::<u8>();
                map.write(7);
                maps.push(map);
            }
        }
        drop(store);
        // SAFETY: mapped above.
        maps.into_iter().all(|map| unsafe { map.read_volatile() } == 7)
    });
    assert!(whole, "the child died, or its memory changed");
}

#[test]
fn an_inherited_reader_scans_in_the_child_whatever_the_parent_was_doing() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let keys: Vec<i128> = (0..100_000).collect();
    let writer = open(dir.path(), &Options::default());
    writer.put_many(&keys, &vec![[1; 8]; keys.len()][..], false).expect("writes");
    writer.close().expect("closes");
    let reader = open(dir.path(), &Options { read_only: true, ..Options::default() });
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut found = vec![false; keys.len()];
            while !done.load(Ordering::Relaxed) {
                reader.contains_many(&keys, &mut found).expect("reads");
            }
        });
        for _ in 0..10 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let scanned = in_child(|| {
                let all = ScanRange {
                    start: Bound::Unbounded,
                    stop: Bound::Unbounded,
                    reverse: false,
                    limit: Some(5),
                };
                reader.scan(all).and_then(|mut scan| scan.next_keys(9)).is_ok_and(|keys| keys.len() == 5)
            });
            assert!(scanned, "the child hung or failed");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_child_closes_and_drops_whatever_threads_of_the_parent_were_doing() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let keys: Vec<i128> = (0..50_000).collect();
    let values = vec![[1; 8]; keys.len()];
    let writer = open(dir.path(), &Options::default());
    writer.put_many(&keys, &values[..], false).expect("writes");
    let reader = open(dir.path(), &Options { read_only: true, ..Options::default() });
    let done = AtomicBool::new(false);
    let go_on = || !done.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut found = vec![false; keys.len()];
            while go_on() {
                reader.contains_many(&keys, &mut found).expect("reads");
                writer.contains_many(&keys, &mut found).expect("reads");
            }
        });
        scope.spawn(|| {
            while go_on() {
                writer.put_many(&keys[..500], &values[..500], false).expect("writes");
                writer.checkpoint().expect("writes");
            }
        });
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(3));
            let ended = in_child(|| {
                let refused = matches!(writer.put(1, b"one"), Err(Error::Forked { .. }));
                let counted = matches!(writer.stats(), Err(Error::Forked { .. }));
                // The last handles: their parts, including threads, belong to the parent.
                let (last_writer, last_reader) =
                    // SAFETY: this process has nobody else who would drop them, and leaves by `_exit`.
                    unsafe { (std::ptr::read(&raw const writer), std::ptr::read(&raw const reader)) };
                let closed = last_writer.close().is_ok() && last_reader.close().is_ok();
                drop((last_writer, last_reader));
                let again =
                    Store::open(dir.path(), &Options { read_only: true, ..Options::default() }, &mut |_| {
                        true
                    });
                refused
                    && counted
                    && closed
                    && again.is_ok_and(|again| again.contains(7).is_ok_and(|there| there))
            });
            assert!(ended, "the child hung or failed");
        }
        done.store(true, Ordering::Relaxed);
    });
    writer.close().expect("the parent's own is as it was");
}

#[test]
fn a_child_reads_compressed_values_whatever_dictionary_a_thread_of_the_parent_was_loading() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { compression: Compression::Zstd, ..Options::default() };
    let row = |key: i128| format!("{{\"carrier\": \"UA\", \"flight\": {key}, \"gate\": null}}").into_bytes();
    let keys: Vec<i128> = (0..20_000).collect();
    let writer = open(dir.path(), &options);
    writer.put_many(&keys, &keys.iter().map(|&key| row(key)).collect::<Vec<_>>()[..], false).expect("writes");
    writer.close().expect("closes");
    let reads = Options { read_only: true, ..Options::default() };
    let reader = open(dir.path(), &reads);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(open(dir.path(), &reads).get(7).expect("reads").as_deref(), Some(&row(7)[..]));
                }
            });
        }
        for round in 0..300 {
            std::thread::sleep(std::time::Duration::from_micros(700));
            let read = in_child(|| reader.get(9).is_ok_and(|value| value.as_deref() == Some(&row(9)[..])));
            done.store(!read, Ordering::Relaxed);
            assert!(read, "the child hung or failed in round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn each_change_of_a_compressed_store_is_refused_in_a_child_whatever_the_parent_was_sampling() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { compression: Compression::Zstd, ..Options::default() };
    let writer = open(dir.path(), &options);
    let keys: Vec<i128> = (0..200_000).collect();
    // Nothing in common, so that samples are taken again and again.
    let values = vec![[1_u8; 0]; keys.len()];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                writer.put_many(&keys, &values[..], false).expect("writes");
            }
        });
        for round in 0..30 {
            std::thread::sleep(std::time::Duration::from_millis(7));
            let refused = in_child(|| {
                let forked = |outcome: Result<(), Error>| matches!(outcome, Err(Error::Forked { .. }));
                let value = [7; 100];
                forked(writer.try_put(1, &value).unwrap_or_else(|| writer.put(1, &value)))
                    && forked(writer.get_or_put(1, &value).map(drop))
                    && forked(writer.compare_and_set(1, None, Some(&value)).map(drop))
            });
            done.store(!refused, Ordering::Relaxed);
            assert!(refused, "the child hung or failed in round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
}
