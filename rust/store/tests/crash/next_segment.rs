//! The segment in which the log goes on, made and listed before it is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{content, open};
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Durability, Error, Options, Store, WriteMode};

/// Fills the first segment and a part of the next one, which the manifest lists as not begun.
fn rolled(store: &Store) {
    store.put(1, &[1; 3000]).expect("writes");
    store.tend().expect("makes the next segment");
    store.put(2, &[2; 3000]).expect("goes on there");
}

#[test]
fn going_on_in_the_next_segment_syncs_nothing() {
    for write_mode in [WriteMode::Mmap, WriteMode::Pwrite] {
        let disk = HookDisk::new(&SimDisk::new(1));
        let store = disk.open_store(&Options { write_mode, background: true, ..quiet() }).expect("opens");
        store.put(1, &[1; 3000]).expect("writes");
        store.tend().expect("makes the next segment");
        let syncs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&syncs);
        // The background threads flush too, but not within this one call of the hook's caller.
        let caller = std::thread::current().id();
        disk.hook(move |call| {
            if matches!(call, Call::Sync(_)) && std::thread::current().id() == caller {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        store.put(2, &[2; 3000]).expect("writes");
        disk.unhook();
        assert_eq!(store.stats().expect("open").segments, 2);
        assert_eq!(syncs.load(Ordering::Relaxed), 0, "{write_mode:?}");
    }
}

#[test]
fn a_short_session_leaves_no_segment_that_it_did_not_need() {
    let disk = HookDisk::new(&SimDisk::new(1));
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    disk.hook(move |call| {
        if matches!(call, Call::Create(name, _) if name.starts_with("seg-")) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    for session in 1..=3 {
        let store = disk.open_store(&Options { background: true, ..Options::default() }).expect("opens");
        store.put(session, b"one").expect("writes");
        // The thread that would make one has its time.
        std::thread::sleep(Duration::from_millis(50));
        store.close().expect("closes");
        assert_eq!(made.load(Ordering::Relaxed), session as u64);
    }
}

#[test]
fn power_cut_after_going_on_keeps_what_was_flushed() {
    for seed in 0..300 {
        for flushed in [false, true] {
            let sim = SimDisk::new(seed);
            let store = open(&sim, &quiet()).expect("opens");
            rolled(&store);
            if flushed {
                store.flush().expect("flushes");
            }
            let after = open(&sim.restart(Loss::Random), &quiet()).expect("opens");
            let found: Vec<i128> = content(&after).into_keys().collect();
            let whole = found == [1, 2];
            assert!(whole || !flushed && (found == [1] || found.is_empty()), "seed {seed}: {found:?}");
        }
    }
}

#[test]
fn a_damaged_header_of_a_begun_segment_is_refused_if_the_device_had_confirmed_its_records() {
    let sim = SimDisk::new(1);
    let options = Options { durability: Durability::Sync, ..quiet() };
    let store = open(&sim, &options).expect("opens");
    rolled(&store);
    // Its mark states what the previous flush covered, in this same segment.
    store.put(3, b"three").expect("writes");
    drop(store);
    let whole = sim.restart(Loss::ProcessOnly);
    for byte in 0..192 {
        let disk = whole.copy();
        disk.corrupt("seg-00000002.log", |bytes| bytes[byte] ^= 1);
        match open(&disk, &options) {
            Err(Error::Corruption { .. } | Error::Format { .. }) => {}
            other => panic!("byte {byte}: acknowledged records are gone and nobody says so: {other:?}"),
        }
    }
    assert_eq!(content(&open(&whole, &options).expect("opens")).len(), 3);
}

#[test]
fn another_file_in_the_place_of_the_next_segment_is_refused_by_name() {
    let sim = SimDisk::new(1);
    let store = open(&sim, &quiet()).expect("opens");
    rolled(&store);
    store.flush().expect("flushes");
    drop(store);
    let disk = sim.restart(Loss::ProcessOnly);
    let mut first = Vec::new();
    disk.corrupt("seg-00000001.log", |bytes| first.clone_from(bytes));
    disk.corrupt("seg-00000002.log", |bytes| bytes.clone_from(&first));
    let refused = open(&disk, &quiet()).expect_err("segment 1 is not segment 2");
    assert!(refused.to_string().contains("seg-00000002"), "{refused}");
}
