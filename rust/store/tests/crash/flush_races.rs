//! Commits and closings in the middle of a flush.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{content, open};
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Durability, Options, WriteMode};

/// Puts go into a segment after its sync but before the flush is over, and one of them ends the segment.
fn flush_while_the_segment_ends(write_mode: WriteMode, named_by_the_log: bool) {
    let sim = SimDisk::new(1);
    let disk = HookDisk::new(&sim);
    // With background threads, since a put that ends a segment would otherwise wait for the flush that it is
    // part of.
    let store = disk.open_store(&Options { write_mode, background: true, ..quiet() }).expect("opens");
    store.put(1, b"one").expect("writes");
    let (writer, mut once) = (store.clone(), true);
    disk.hook(move |call| {
        if matches!(call, Call::Synced(name) if name.starts_with("seg")) && std::mem::take(&mut once) {
            let writer = writer.clone();
            // On a thread of its own, because this one holds the right to flush.
            let puts = move || {
                writer.put(2, b"two").expect("writes");
                writer.put(3, &[3; 4000]).expect("begins another segment");
            };
            std::thread::spawn(puts).join().expect("writes");
        }
        Ok(())
    });
    store.flush().expect("flushes");
    disk.unhook();
    store.flush().expect("flushes the rest");
    if named_by_the_log {
        store.put(4, b"four").expect("writes the watermark first");
        store.flush().expect("flushes");
    }
    let after = open(&sim.restart(Loss::Everything), &quiet()).expect("opens after the power cut");
    let found: Vec<i128> = content(&after).into_keys().collect();
    assert_eq!(found[..3], [1, 2, 3], "flush returned after they were written");
}

#[test]
fn flush_covers_what_was_added_to_a_segment_that_ended_during_the_flush_before() {
    for write_mode in [WriteMode::Mmap, WriteMode::Pwrite] {
        for named_by_the_log in [false, true] {
            flush_while_the_segment_ends(write_mode, named_by_the_log);
        }
    }
}

#[test]
fn a_sync_put_that_waits_for_a_close_that_fails_is_not_acknowledged() {
    let sim = SimDisk::new(1);
    let disk = HookDisk::new(&sim);
    let options = Options { durability: Durability::Sync, ..quiet() };
    let store = disk.open_store(&options).expect("opens");
    store.put(1, b"one").expect("writes");
    let (done, outcomes) = mpsc::channel();
    let (closer, putter, mut once) = (store.clone(), store.clone(), true);
    disk.hook(move |call| {
        match call {
            // A footer has kind 10 in its ninth byte. Closing fails there.
            Call::Write(_, _, bytes) if bytes.len() == 32 && bytes[8] == 10 => {
                return Err(io::Error::other("simulated device error"));
            }
            Call::Synced(name) if name.starts_with("seg") && std::mem::take(&mut once) => {
                let (closer, putter) = (closer.clone(), putter.clone());
                let (close_done, put_done) = (done.clone(), done.clone());
                std::thread::spawn(move || close_done.send(("close", closer.close().is_ok())));
                std::thread::sleep(Duration::from_millis(100));
                std::thread::spawn(move || put_done.send(("put", putter.put(3, b"three").is_ok())));
                std::thread::sleep(Duration::from_millis(100));
            }
            _ => {}
        }
        Ok(())
    });
    store.put(2, b"two").expect("writes and flushes");
    let mut acknowledged = false;
    for _ in 0..2 {
        let (call, fine) = outcomes.recv_timeout(Duration::from_secs(20)).expect("both calls end");
        acknowledged |= call == "put" && fine;
    }
    drop(store);
    let after = open(&sim.restart(Loss::Everything), &options).expect("opens");
    assert!(!acknowledged || after.contains(3).expect("open"), "an acknowledged put is gone");
}

#[test]
fn closing_after_a_failed_timed_flush_says_so() {
    let sim = SimDisk::new(1);
    let disk = HookDisk::new(&sim);
    let options = Options { sync_interval: Duration::from_nanos(1), ..quiet() };
    let store = disk.open_store(&options).expect("opens");
    store.put(1, b"one").expect("writes");
    disk.hook(|call| match call {
        Call::Sync(_) => Err(io::Error::other("simulated device error")),
        _ => Ok(()),
    });
    store.put(2, b"two").expect("an interval put does not wait for the flush");
    disk.unhook();
    assert!(store.close().is_err(), "key 2 may be lost, and closing must not hide that");
    drop(store);
    let after = open(&sim.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(content(&after).into_keys().collect::<Vec<_>>(), [1]);
}
