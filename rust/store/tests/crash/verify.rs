//! `verify`: nothing is reported for a whole store, and the place of each damaged byte otherwise.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::open;
use alex_store::disk::Disk as _;
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Error, OpenProgress, Options, ReadMode, Store, VerifyReport};

fn options() -> Options {
    Options { segment_bytes: 4096, background: false, ..Options::default() }
}

/// Several segments, with every kind of record.
fn fill(store: &Store) {
    for i in 0..60_u8 {
        store.put(i128::from(i), &vec![i; usize::from(i)]).expect("writes");
        if i % 7 == 0 {
            store.flush().expect("flushes");
        }
    }
    store.put_many(&[100_i64, 101, 1], &[[1_u8; 30]; 3][..], true).expect("writes");
    store.delete(3).expect("deletes");
    store.delete_range(Bound::Included(9), Bound::Included(12)).expect("deletes");
    store.put(1000, b"the last one").expect("writes");
}

fn verify(store: &Store) -> VerifyReport {
    store.verify(&mut |_| true).expect("reads")
}

fn places(report: &VerifyReport) -> Vec<(String, u64)> {
    let place = |error: &Error| match error {
        Error::Corruption { path, offset, .. } => {
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), *offset)
        }
        other => panic!("damage is named by file and offset, not {other}"),
    };
    report.errors.iter().map(place).collect()
}

#[test]
fn a_whole_store_verifies_open_closed_and_beside_a_reader() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    assert!(verify(&store).is_ok(), "an empty store");
    fill(&store);
    let report = verify(&store);
    assert!(report.is_ok(), "{:?}", report.errors);
    assert!(report.records > 65, "every record, deleted ones too: {report:?}");
    let reader = open(&disk, &Options { read_only: true, ..options() }).expect("opens");
    store.put(5, b"not seen by the reader").expect("writes");
    assert!(verify(&reader).is_ok(), "{:?}", verify(&reader).errors);
    store.close().expect("closes");
    assert!(matches!(store.verify(&mut |_| true), Err(Error::Closed { .. })));
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let reader = open(&disk, &Options { read_only: true, read_mode, ..options() }).expect("opens");
        let report = verify(&reader);
        assert!(report.is_ok(), "{:?}", report.errors);
        let bytes: u64 = ["MANIFEST-A", "MANIFEST-B"]
            .into_iter()
            .map(str::to_owned)
            .chain(disk.list().expect("lists").into_iter().filter(|name| name.starts_with("seg-")))
            .map(|name| len(&disk, &name) as u64)
            .sum();
        assert_eq!(report.bytes, bytes, "every byte of every file");
    }
}

fn len(disk: &SimDisk, name: &str) -> usize {
    let mut len = 0;
    disk.copy().corrupt(name, |bytes| len = bytes.len());
    len
}

#[test]
fn one_flipped_bit_of_every_byte_is_found_with_its_file() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    fill(&store);
    store.close().expect("closes");
    let mut rng = Rng::new(5);
    // The index of this handle was built before the damage, so it cannot be what finds the damage.
    for name in disk.list().expect("lists").into_iter().filter(|name| name != "LOCK") {
        for at in 0..len(&disk, &name) {
            let copy = disk.copy();
            let reader = open(&copy, &Options { read_only: true, ..options() }).expect("opens");
            let bit = 1 << rng.below(8);
            copy.corrupt(&name, |bytes| bytes[at] ^= bit);
            let found = places(&verify(&reader));
            assert!(!found.is_empty(), "{name}, byte {at}, bit {bit}");
            for (file, offset) in found {
                // The checksum of a manifest shows that it is damaged, not where.
                let near = offset <= at as u64 || name.starts_with("MANIFEST");
                assert!(file == name && near, "{name}, byte {at}: {file} at {offset}");
            }
        }
    }
}

#[test]
fn each_damaged_place_of_a_segment_is_listed_and_what_lies_between_is_read() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &Options { segment_bytes: 1 << 16, ..options() }).expect("opens");
    for key in 0..100 {
        store.put(key, &[7; 100]).expect("writes");
    }
    let whole = verify(&store);
    disk.corrupt("seg-00000001.log", |bytes| {
        bytes[192 + 128 * 10 + 50] ^= 1;
        bytes[192 + 128 * 20 + 4] ^= 255;
        bytes[192 + 128 * 30..192 + 128 * 33].fill(0);
    });
    let report = verify(&store);
    let expected = [10, 20, 30].map(|at| ("seg-00000001.log".to_owned(), 192 + 128 * at));
    assert_eq!(places(&report), expected);
    assert_eq!(report.records, whole.records - 5);
    assert_eq!(report.bytes, whole.bytes);
}

#[test]
fn a_missing_a_short_and_a_foreign_file_are_named() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    fill(&store);
    store.close().expect("closes");
    let damaged = |change: &dyn Fn(&SimDisk)| {
        let copy = disk.copy();
        let reader = open(&copy, &Options { read_only: true, ..options() }).expect("opens");
        change(&copy);
        let report = verify(&reader);
        places(&report).into_iter().map(|(file, _)| file).collect::<Vec<_>>()
    };
    assert_eq!(damaged(&|disk| disk.remove("MANIFEST-A").expect("removes")), ["MANIFEST-A"]);
    assert_eq!(damaged(&|disk| disk.remove("seg-00000002.log").expect("removes")), ["seg-00000002.log"]);
    assert_eq!(
        damaged(&|disk| disk.corrupt("seg-00000002.log", |bytes| bytes.truncate(bytes.len() - 8))),
        ["seg-00000002.log"]
    );
    let mut first = Vec::new();
    disk.corrupt("seg-00000001.log", |bytes| first.clone_from(bytes));
    assert_eq!(
        damaged(&|disk| disk.corrupt("seg-00000002.log", |bytes| bytes.clone_from(&first))),
        ["seg-00000002.log"]
    );
}

#[test]
fn verify_beside_a_busy_writer_finds_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(1);
            for _ in 0..30_000 {
                let key = i128::from(rng.below(2000));
                if rng.one_in(10) {
                    store.delete(key).expect("deletes");
                } else {
                    store.put(key, &vec![key as u8; rng.below(300) as usize]).expect("writes");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut rounds = 0;
        while !done.load(Ordering::Relaxed) || rounds < 3 {
            let report = verify(&store);
            assert!(report.is_ok(), "{:?}", report.errors);
            rounds += 1;
        }
    });
    assert!(store.stats().expect("open").segments > 2, "segments rolled meanwhile");
}

#[test]
fn progress_rises_to_the_end_and_can_stop_the_call() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { background: false, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    for key in 0..40 {
        store.put(key, &vec![1; 1 << 20]).expect("writes");
    }
    let mut seen: Vec<OpenProgress> = Vec::new();
    let report = store.verify(&mut |at| {
        seen.push(at);
        true
    });
    assert!(report.expect("reads").is_ok());
    assert!(seen.len() > 4 && seen.is_sorted_by_key(|at| at.bytes_done), "{seen:?}");
    assert!(seen.iter().all(|at| at.bytes_done <= at.bytes_total), "{seen:?}");
    let mut calls = 0;
    let stopped = store.verify(&mut |_| {
        calls += 1;
        calls < 2
    });
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert_eq!(calls, 2);
}
