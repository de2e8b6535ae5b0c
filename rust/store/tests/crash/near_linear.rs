//! Opening, verifying and repairing take work in proportion to the amount of data, whatever it is: range
//! tombstones by the ten thousand, segments by the thousand, recoveries by the hundred. Work is counted in
//! bytes read where that is meaningful, and otherwise in processor time of this thread, which no other
//! program affects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::forged_store::{Forged, LOG, PUT, RANGE_TOMBSTONE, RECOVERY, Record};
use crate::common::hook::{Call, HookDisk};
use crate::common::open;
use alex_store::disk::Disk;
use alex_store::disk::sim::SimDisk;
use alex_store::{Options, RepairMode, Store};

/// Four times as much data takes about four times as long; quadratic work would take sixteen times as long.
const AT_MOST: f64 = 9.0;
/// The system counts work in steps of some milliseconds.
const LEAST_NANOS: u64 = 20_000_000;

fn options() -> Options {
    Options { background: false, ..Options::default() }
}

/// Nanoseconds that this thread has run.
fn worked() -> u64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    times.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds")
}

/// Returns what a call returns, and its work in nanoseconds.
fn work<T>(call: impl FnOnce() -> T) -> (T, u64) {
    let begun = worked();
    let outcome = call();
    (outcome, worked() - begun)
}

/// Fails if work grows more than in proportion: compares each call on a quarter of the data with the same
/// call on all.
fn compare<const CALLS: usize>(what: &str, calls: [&str; CALLS], few: [u64; CALLS], many: [u64; CALLS]) {
    for ((call, few), many) in calls.iter().zip(few).zip(many) {
        let ratio = many as f64 / few.max(LEAST_NANOS) as f64;
        assert!(ratio < AT_MOST, "{what}: to {call} takes {few} ns for a quarter and {many} ns for all");
    }
}

fn repair(disk: &SimDisk, mode: RepairMode) -> u64 {
    let source: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = Store::repair_on(&source, Arc::new(SimDisk::new(9)), mode, &options()).expect("repairs");
    assert_eq!(report.lost, 0);
    report.kept
}

fn deleted(first: i128, last: i128) -> Record {
    (RANGE_TOMBSTONE, first, (last as i64).to_le_bytes().to_vec())
}

fn key(key: i128) -> Record {
    (PUT, key, Vec::new())
}

type Workload = (&'static str, fn(i128) -> Vec<Record>);

/// Records with `n` range tombstones among them.
const RANGES: [Workload; 6] = [
    ("a window that moves on", |n| {
        (0..n).flat_map(|i| [key(i), deleted(i128::from(i64::MIN), i - 10)]).collect()
    }),
    ("all, for each key", |n| {
        (0..n).flat_map(|i| [key(i * 37 % n), deleted(i128::from(i64::MIN), i128::from(i64::MAX))]).collect()
    }),
    ("ranges between the keys", |n| {
        let keys = (0..n).map(|i| key(i * 10));
        keys.chain((0..n).map(|i| deleted(i * 10 + 1, i * 10 + 9))).collect()
    }),
    ("one key each, from the last", |n| {
        (0..n).map(key).chain((0..n).rev().map(|i| deleted(i, i128::from(i64::MAX)))).collect()
    }),
    ("one key each, anywhere", |n| {
        (0..n).map(key).chain((0..n).map(|i| deleted(i * 7919 % n, i * 7919 % n))).collect()
    }),
    ("what is empty by now", |n| (0..n).map(key).chain((0..n).map(|i| deleted(1, n - 2 - i % 3))).collect()),
];

#[test]
fn many_range_tombstones_are_replayed_verified_and_repaired_in_proportionate_time() {
    let most = std::env::var("ALEXPY_RANGES").map_or(20_000, |text| text.parse().expect("a number"));
    for (name, records) in RANGES {
        let mut all = Vec::new();
        for n in [most / 4, most] {
            let mut forged = Forged::default();
            forged.add(1, LOG, records(n));
            let disk = forged.on_disk(true);
            let (store, opening) = work(|| open(&disk, &options()).expect("opens"));
            let (report, verifying) = work(|| store.verify(&mut |_| true).expect("reads"));
            assert!(report.is_ok(), "{name}: {:?}", report.errors);
            let (kept, repairing) = work(|| repair(&disk, RepairMode::Salvage));
            assert_eq!(kept, store.len().expect("open"), "{name}");
            all.push([opening, verifying, repairing]);
        }
        compare(name, ["open", "verify", "repair"], all[0], all[1]);
    }
}

#[test]
fn many_segments_are_opened_and_repaired_in_proportionate_time() {
    let most = std::env::var("ALEXPY_SEGMENTS").map_or(4_000, |text| text.parse().expect("a number"));
    let mut all = Vec::new();
    for n in [most / 4, most] {
        let mut forged = Forged::default();
        for id in 1..=n {
            forged.add(id, LOG, [key(id.into())]);
        }
        let disk = forged.on_disk(true);
        // Nothing is merged: that would write a manifest for every few segments.
        let options = Options { merge_small_from: usize::MAX, ..options() };
        let (store, opening) = work(|| open(&disk, &options).expect("opens"));
        assert_eq!(store.len().expect("open"), n.into());
        // The manifest is written for each segment.
        let ((), writing) = work(|| {
            for key in 0..10 {
                store.put(key, b"new").expect("writes");
                store.end_segment().expect("no fault");
            }
        });
        store.close().expect("closes");
        let (kept, repairing) = work(|| repair(&disk, RepairMode::Salvage));
        assert_eq!(kept, u64::from(n) + 1);
        all.push([opening, writing, repairing]);
    }
    compare("segments", ["open", "write", "repair"], all[0], all[1]);
}

#[test]
fn segments_of_many_recoveries_are_read_a_few_times_over_if_no_manifest_is_left() {
    for n in [40, 400] {
        let mut forged = Forged::default();
        forged.add(1, LOG, (0..20).map(key));
        for id in 2..=n {
            forged.add(id, RECOVERY, (0..20).map(|i| key(i128::from(id) * 20 + i)));
        }
        let bytes = forged.bytes();
        let disk = forged.on_disk(false);
        let counting = HookDisk::new(&disk);
        let read = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&read);
        counting.hook(move |call| {
            if let Call::ReadBytes(_, bytes) = call {
                count.fetch_add(*bytes, Ordering::Relaxed);
            }
            Ok(())
        });
        let source: Arc<dyn Disk> = Arc::new(counting);
        let report = Store::repair_on(&source, Arc::new(SimDisk::new(9)), RepairMode::Salvage, &options());
        assert_eq!(report.expect("repairs").kept, u64::from(n) * 20);
        let times = read.load(Ordering::Relaxed) as f64 / bytes as f64;
        // Each value is also read by itself, with what lies behind it.
        assert!(times < 12.0, "{n} recoveries are read {times} times over");
    }
}
