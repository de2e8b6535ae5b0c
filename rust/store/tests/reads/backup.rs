//! `backup`: a store of one moment, made beside writers, that shares only what will never change.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use alex_store::{Durability, Error, Options, Recovery, ScanRange, Store};

fn options() -> Options {
    Options { segment_bytes: 1 << 16, background: false, ..Options::default() }
}

fn quiet(_: alex_store::OpenProgress) -> bool {
    true
}

fn open(path: &Path, options: &Options) -> Store {
    Store::open(path, options, &mut quiet).expect("opens")
}

fn content(store: &Store) -> BTreeMap<i128, Vec<u8>> {
    let all = ScanRange {
        start: std::ops::Bound::Unbounded,
        stop: std::ops::Bound::Unbounded,
        reverse: false,
        limit: None,
    };
    let columns = store.scan(all).expect("scans").next_columns(usize::MAX).expect("reads");
    let values = (0..columns.values.len()).map(|i| columns.values.get(i).expect("there").to_vec());
    columns.keys.iter().zip(values).collect()
}

fn links(path: &Path) -> BTreeMap<String, u64> {
    let entries = std::fs::read_dir(path).expect("lists").map(|entry| entry.expect("lists"));
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("seg-"))
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), entry.metadata().expect("reads").nlink())
        })
        .collect()
}

#[test]
fn a_backup_is_a_store_of_its_own_and_shares_only_finished_segments() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(&dir.path().join("store"), &options());
    for key in 0..3000 {
        store.put(key, &[key as u8; 100]).expect("writes");
    }
    store.flush().expect("flushes");
    store.put(-1, b"not flushed").expect("writes");
    let before = content(&store);
    store.backup(&dir.path().join("copy"), &mut quiet).expect("backs up");
    let shared = links(&dir.path().join("copy"));
    let newest = shared.keys().next_back().expect("has segments").clone();
    assert!(shared.len() > 4 && shared[&newest] == 1, "the active one is copied: {shared:?}");
    assert!(shared.values().filter(|&&links| links == 2).count() > 3, "finished ones are links: {shared:?}");

    // Both stores go their own ways.
    for key in 0..3000 {
        store.put(key, b"changed").expect("writes");
    }
    store.close().expect("closes");
    let copy = open(&dir.path().join("copy"), &options());
    assert_eq!(content(&copy), before);
    assert!(copy.verify(&mut quiet).expect("reads").is_ok());
    copy.clear().expect("clears");
    copy.put(5, b"five").expect("writes");
    copy.close().expect("closes");
    let store = open(&dir.path().join("store"), &options());
    assert_eq!(store.len().expect("open"), 3001);
    assert!(store.verify(&mut quiet).expect("reads").is_ok());
    store.close().expect("closes");
}

#[test]
fn a_backup_beside_a_busy_writer_is_a_prefix_of_its_commits() {
    for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let options = Options { durability, background: true, ..options() };
        let store = open(&dir.path().join("store"), &options);
        let (done, written) = (AtomicBool::new(false), AtomicI64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for key in 1.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    // Two keys per commit, so that half a commit shows.
                    store.put_many(&[key, -key], &[&[7; 300][..]; 2][..], false).expect("writes");
                    written.store(key, Ordering::Release);
                }
            });
            for round in 0..8 {
                let floor = i128::from(written.load(Ordering::Acquire));
                let copy = dir.path().join(format!("copy{round}"));
                store.backup(&copy, &mut quiet).expect("backs up");
                let opened = open(&copy, &options);
                let found = content(&opened);
                let last = found.keys().next_back().copied().unwrap_or(0);
                assert!(last >= floor, "every commit before the call is there: {last} of {floor}");
                assert_eq!(found.len() as i128, 2 * last, "no hole, no half commit");
                opened.close().expect("closes");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scenario, told from its beginning to its end")]
fn a_backup_beside_compaction_and_checkpoints_is_of_one_moment() {
    const KEYS: i128 = 200;
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { segment_bytes: 1 << 14, background: true, ..options() };
    let store = open(&dir.path().join("store"), &options);
    let (done, written) = (AtomicBool::new(false), AtomicI64::new(0));
    let going = || !done.load(Ordering::Relaxed);
    let images = |path: &Path| -> Vec<_> {
        let names = std::fs::read_dir(path).expect("lists").map(|entry| entry.expect("lists").file_name());
        names.filter(|name| name.to_string_lossy().starts_with("img-")).collect()
    };
    std::thread::scope(|scope| {
        // Commit n puts n under two keys that the next 199 commits leave alone; every third commit removes
        // them.
        scope.spawn(|| {
            for number in 1.. {
                if !going() {
                    return;
                }
                let (keys, value) =
                    ([number % KEYS + 1, -(number % KEYS) - 1], (number as i64).to_le_bytes().repeat(9));
                if number % 3 == 0 {
                    store.delete_many(&keys).expect("deletes");
                }
                if number % 3 != 0 {
                    store.put_many(&keys, &[&value[..]; 2][..], false).expect("writes");
                }
                written.store(number as i64, Ordering::Release);
            }
        });
        scope.spawn(|| {
            while going() {
                store.compact(&mut |_| true).expect("compacts");
            }
        });
        scope.spawn(|| {
            while going() {
                store.checkpoint().expect("writes an image");
            }
        });
        let mut freed = 0;
        for round in 0..6 {
            // Wait until both have worked since the last round.
            let before = images(&dir.path().join("store"));
            while store.stats().expect("open").compaction.freed_segments == freed
                || images(&dir.path().join("store")) == before
            {
                std::thread::yield_now();
            }
            freed = store.stats().expect("open").compaction.freed_segments;
            let floor = i128::from(written.load(Ordering::Acquire));
            let copy = dir.path().join(format!("copy{round}"));
            store.backup(&copy, &mut quiet).expect("backs up");
            let opened = open(&copy, &Options { background: false, ..options.clone() });
            let found = content(&opened);
            let newest = found
                .values()
                .map(|value| i128::from(i64::from_le_bytes(value[..8].try_into().expect("8 bytes"))));
            let newest = newest.max().expect("has keys");
            // The commit after the newest put may have been a delete.
            let model = |last: i128| -> BTreeMap<i128, Vec<u8>> {
                let numbers = (last - KEYS + 1).max(1)..=last;
                let puts = numbers.filter(|number| number % 3 != 0).flat_map(|number| {
                    let value = (number as i64).to_le_bytes().repeat(9);
                    [(number % KEYS + 1, value.clone()), (-(number % KEYS) - 1, value)]
                });
                puts.collect()
            };
            assert!(
                [newest, newest + 1].iter().any(|&last| last >= floor && found == model(last)),
                "{newest}"
            );
            assert!(opened.verify(&mut quiet).expect("reads").is_ok());
            opened.close().expect("closes");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_backup_can_be_made_by_a_reader_and_of_an_empty_store() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(&dir.path().join("store"), &options());
    store.backup(&dir.path().join("empty"), &mut quiet).expect("backs up");
    assert_eq!(open(&dir.path().join("empty"), &options()).len().expect("open"), 0);
    for key in 0..2000 {
        store.put(key, &[1; 100]).expect("writes");
    }
    let reader = open(&dir.path().join("store"), &Options { read_only: true, ..options() });
    for key in 2000..4000 {
        store.put(key, &[1; 100]).expect("writes");
    }
    reader.backup(&dir.path().join("copy"), &mut quiet).expect("backs up");
    let copy = open(&dir.path().join("copy"), &options());
    assert_eq!(copy.len().expect("open"), 2000, "what the reader sees");
}

#[test]
fn a_backup_that_is_stopped_or_refused_leaves_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("store");
    let store = open(&path, &options());
    for key in 0..2000 {
        store.put(key, &[1; 100]).expect("writes");
    }
    let copy = dir.path().join("copy");
    let mut calls = 0;
    let stopped = store.backup(&copy, &mut |_| {
        calls += 1;
        calls < 3
    });
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    for bad in [&path, &path.join("inside"), dir.path()] {
        let refused = store.backup(bad, &mut quiet);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).expect("lists").map(|e| e.expect("lists").file_name()).collect();
    assert_eq!(names, ["store"], "no leftover");
    store.close().expect("closes");
    assert!(matches!(store.backup(&copy, &mut quiet), Err(Error::Closed { .. })));
}

#[test]
fn opening_a_damaged_backup_at_a_point_in_time_cuts_nothing_of_the_store() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let store = open(&path, &options());
    for key in 0..3000 {
        store.put(key, &[key as u8; 100]).expect("writes");
    }
    store.flush().expect("flushes");
    store.backup(&copy, &mut quiet).expect("backs up");
    store.close().expect("closes");
    let lengths = |path: &Path| -> BTreeMap<_, _> {
        links(path)
            .into_keys()
            .map(|name| (name.clone(), path.join(&name).metadata().expect("reads").len()))
            .collect()
    };
    let before = lengths(&path);
    // The last segment, which is not shared, is lost: the log ends inside a shared one.
    let newest = links(&copy).into_keys().next_back().expect("has segments");
    std::fs::write(copy.join(newest), b"lost").expect("writes");
    let recovered = open(&copy, &Options { recovery: Recovery::PointInTime, ..options() });
    assert!(recovered.len().expect("open") > 1000);
    recovered.close().expect("closes");
    assert_eq!(lengths(&path), before);
    let store = open(&path, &options());
    assert_eq!(store.len().expect("open"), 3000);
}
