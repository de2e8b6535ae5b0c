//! Batches over a store that is larger than memory ask the kernel for pages before they read them: what is asked
//! for, and when nothing is. Counts requests, never times.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::common::open;
use alex_store::disk::sim::{Loss, Rng, SimDisk};
use alex_store::disk::{Access, Disk};
use alex_store::{Batch, Error, Options, ReadMode, ScanRange, Store, ValueColumn};

const PAGE_BYTES: u64 = 4096;
const ALL: ScanRange =
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };

fn value(key: i128, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (key as u8).wrapping_mul(31) ^ at as u8).collect()
}

fn shuffle(keys: &mut [i128], seed: u64) {
    let mut rng = Rng::new(seed);
    for i in (1..keys.len()).rev() {
        keys.swap(i, rng.below(i as u64 + 1) as usize);
    }
}

fn options(read_mode: ReadMode) -> Options {
    // Nothing reads or moves anything in the background.
    Options { read_mode, background: false, segment_bytes: 1 << 20, ..Options::default() }
}

/// A closed store of values of these lengths under the keys from 0 on, written in random order; and its keys in
/// another.
fn closed(lengths: &[usize]) -> (SimDisk, Vec<i128>) {
    let disk = SimDisk::new(5);
    let store = open(&disk, &options(ReadMode::Mmap)).expect("opens");
    let mut keys: Vec<i128> = (0..lengths.len() as i128).collect();
    shuffle(&mut keys, 7);
    for keys in keys.chunks(50) {
        let mut batch = Batch::new();
        for &key in keys {
            batch.put(key, &value(key, lengths[key as usize])).expect("short");
        }
        store.commit(&batch, false).expect("commits");
    }
    store.close().expect("closes");
    shuffle(&mut keys, 8);
    (disk.restart(Loss::ProcessOnly), keys)
}

/// Pages of files, by name and offset.
type Pages = BTreeSet<(String, u64)>;

/// The pages of all segments, those that were asked for, and how many requests that took.
fn pages(disk: &SimDisk) -> (Pages, Pages, u64) {
    let (mut all, mut asked, mut times) = (Pages::new(), Pages::new(), 0);
    for name in disk.list().expect("has power").into_iter().filter(|name| name.starts_with("seg-")) {
        let len = disk.open(&name, Access::Read).expect("there").len().expect("has power");
        all.extend((0..len).step_by(PAGE_BYTES as usize).map(|page| (name.clone(), page)));
        let of_file = disk.asked(&name);
        times += of_file.values().sum::<u64>();
        asked.extend(of_file.into_keys().map(|page| (name.clone(), page)));
    }
    (all, asked, times)
}

/// Every call that reads the values of many keys, by name; each compares all of them with what was written.
type Read = fn(&Store, &[i128], &[usize]);
const READS: [(&str, Read); 5] = [
    ("get_many", |store, keys, lengths| {
        let values = store.get_many(keys).expect("reads");
        for (i, &key) in keys.iter().enumerate() {
            assert_eq!(values.get(i), Some(&value(key, lengths[key as usize])[..]), "key {key}");
        }
    }),
    ("get_column", |store, keys, lengths| {
        let (mut column, mut found) = (ValueColumn::default(), Vec::new());
        store.get_column(keys, &mut column, &mut found).expect("reads");
        for (i, &key) in keys.iter().enumerate() {
            assert_eq!(column.get(i), Some(&value(key, lengths[key as usize])[..]), "key {key}");
        }
    }),
    ("get_rows", |store, keys, lengths| {
        let width = lengths[0];
        let mut rows = vec![0; keys.len() * width];
        assert_eq!(store.get_rows(keys, width, &mut rows).expect("reads"), None);
        for (row, &key) in rows.chunks(width).zip(keys) {
            assert_eq!(row, value(key, width), "key {key}");
        }
    }),
    ("next_columns", |store, keys, lengths| {
        let mut scan = store.scan(ALL).expect("scans");
        let items = scan.next_columns(keys.len() + 1).expect("reads");
        assert_eq!(items.keys.len(), keys.len());
        for (i, key) in items.keys.iter().enumerate() {
            assert_eq!(items.values.get(i), Some(&value(key, lengths[key as usize])[..]), "key {key}");
        }
    }),
    ("next_run", |store, keys, lengths| {
        let mut scan = store.scan(ALL).expect("scans");
        let run = scan.next_run(keys.len() + 1).expect("reads");
        assert_eq!(run.keys.len(), keys.len());
        for (i, key) in run.keys.iter().enumerate() {
            assert_eq!(run.values.get(i), Some(&value(key, lengths[key as usize])[..]), "key {key}");
        }
    }),
];

/// Makes every kind of read in both modes on a disk of its own, after `prepare`, and has `judge` look at the disk.
fn each_read(lengths: &[usize], prepare: impl Fn(&SimDisk), judge: impl Fn(&str, &SimDisk)) {
    let (disk, keys) = closed(lengths);
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let of_one_length = lengths.iter().all(|&length| length == lengths[0]);
        for (name, read) in READS.iter().filter(|(name, _)| of_one_length || *name != "get_rows") {
            let disk = disk.copy();
            prepare(&disk);
            let store = open(&disk, &options(read_mode)).expect("opens");
            read(&store, &keys, lengths);
            judge(&format!("{name}, {read_mode:?}"), &disk);
        }
    }
}

#[test]
fn a_large_batch_over_a_store_that_is_not_in_memory_asks_for_every_page_of_its_records() {
    let crowd = |disk: &SimDisk| disk.crowd(1000);
    each_read(&vec![1000; 3000], crowd, |read, disk| {
        let (all, asked, times) = pages(disk);
        assert_eq!(asked, all, "{read}");
        // Each record of 1024 bytes lies in one page or two.
        assert!(times <= 2 * 3000, "{read}: {times} pages asked for");
    });
}

#[test]
fn values_of_many_pages_are_asked_for_whole() {
    let lengths: Vec<usize> = (0..200).map(|i| if i % 3 == 0 { 50 } else { i * 1000 }).collect();
    let crowd = |disk: &SimDisk| disk.crowd(1000);
    each_read(&lengths, crowd, |read, disk| {
        let (all, asked, _) = pages(disk);
        assert_eq!(asked, all, "{read}");
    });
}

#[test]
fn what_is_deleted_or_overwritten_is_asked_for_as_far_as_its_headers_go() {
    const VALUES: usize = 300;
    const BYTES: usize = 40_000;
    let (disk, keys) = closed(&[BYTES; VALUES]);
    let write = |name: &str, store: &Store| match name {
        "delete_many" => store.delete_many(&keys).expect("deletes"),
        "clear" => store.clear().expect("deletes"),
        _ => store.put_many(&keys, &[[1; 8]; VALUES][..], false).expect("writes"),
    };
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        for name in ["delete_many", "clear", "put_many"] {
            let disk = disk.copy();
            disk.crowd(1000);
            let store = open(&disk, &options(read_mode)).expect("opens");
            write(name, &store);
            let (_, asked, _) = pages(&disk);
            // A header lies in one page or two; each value in ten.
            assert!(
                (VALUES..=2 * VALUES).contains(&asked.len()),
                "{name}, {read_mode:?}: {} pages",
                asked.len()
            );
        }
    }
}

#[test]
fn a_store_that_fits_into_memory_asks_for_nothing() {
    each_read(&vec![1000; 3000], |_| (), |read, disk| assert_eq!(pages(disk).2, 0, "{read}"));
}

#[test]
fn a_large_store_whose_pages_turn_out_to_be_in_memory_stops_asking_until_one_is_not() {
    let (disk, keys) = closed(&vec![1000; 3000]);
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let disk = disk.copy();
        disk.crowd(0);
        let store = open(&disk, &options(read_mode)).expect("opens");
        let read_all = || {
            let before = pages(&disk).2;
            store.get_many(&keys).expect("reads");
            pages(&disk).2 - before
        };
        let whole = read_all();
        assert!(whole >= 3000, "{read_mode:?}: nothing is known of a store that was just opened");
        assert_eq!(read_all(), 0, "{read_mode:?}: the device had nothing to read");
        disk.crowd(1000);
        let asked = read_all();
        let most = whole - whole / 10;
        assert!(
            (1000..most).contains(&asked),
            "{read_mode:?}: {asked} of {whole} pages, not from the beginning"
        );
        assert_eq!(read_all(), whole, "{read_mode:?}: the batch before had much read");
    }
}

#[test]
fn missing_keys_between_others_are_skipped() {
    let (disk, mut keys) = closed(&vec![1000; 1000]);
    keys.extend(5000..6000);
    shuffle(&mut keys, 9);
    disk.crowd(1000);
    let store = open(&disk, &options(ReadMode::Mmap)).expect("opens");
    let values = store.get_many(&keys).expect("reads");
    for (i, &key) in keys.iter().enumerate() {
        let expected = (key < 1000).then(|| value(key, 1000));
        assert_eq!(values.get(i), expected.as_deref(), "key {key}");
    }
    let (all, asked, _) = pages(&disk);
    assert_eq!(asked, all);
}

#[test]
fn a_damaged_size_is_reported_and_nothing_beyond_the_file_is_asked_for() {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let (disk, keys) = closed(&[1000; 300]);
        disk.crowd(1000);
        let store = open(&disk, &options(read_mode)).expect("opens");
        let name = disk.list().expect("has power").into_iter().find(|name| name.starts_with("seg-"));
        let name = name.expect("a segment");
        // The pages stay those that the store has mapped.
        let file = disk.open(&name, Access::Write).expect("there");
        let mut bytes = vec![0; file.len().expect("has power") as usize];
        file.read_at(0, &mut bytes).expect("reads");
        let at = bytes.windows(1000).position(|bytes| bytes == value(keys[5], 1000)).expect("there") - 24;
        // Wherever the size is in the header, this makes it another.
        for offset in (at..at + 8).step_by(4) {
            file.write_at(offset as u64, &[0xff; 4]).expect("writes");
        }
        let error = store.get_many(&keys).err().expect("a damaged record");
        assert!(matches!(error, Error::Corruption { .. }), "{read_mode:?}: {error}");
        let (all, asked, _) = pages(&disk);
        if read_mode == ReadMode::Mmap {
            assert!(asked.is_subset(&all), "{read_mode:?}: {:?}", asked.difference(&all).next());
        }
    }
}

#[test]
fn opening_asks_for_all_headers_once_the_first_had_to_be_read_from_a_device() {
    let lengths = vec![20_000; 300];
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let (disk, _) = closed(&lengths);
        drop(open(&disk, &options(read_mode)).expect("opens"));
        assert_eq!(pages(&disk).2, 0, "{read_mode:?}: all of it is in memory");
        let disk = disk.restart(Loss::ProcessOnly);
        // Each look finds one more page read.
        disk.crowd(1);
        let _store = open(&disk, &options(read_mode)).expect("opens");
        let (all, asked, times) = pages(&disk);
        let mut headers: Pages = all.into_iter().filter(|(_, page)| *page == 0).collect();
        assert!(headers.len() > 4, "{headers:?}");
        headers.pop_first();
        assert_eq!(asked, headers, "{read_mode:?}: the first one was read already");
        assert_eq!(times, headers.len() as u64, "{read_mode:?}: each is asked for once");
    }
}
