//! Files that no writer wrote, of every kind: mutated bytes, and forged ones whose checksums are right.
//! Opening, reading, verifying, repairing, backing up and further writes give an answer or an error: no
//! panic, no hang, and memory in proportion to the files.
//!
//! Seeded and bounded by time: runs for `ALEXPY_FUZZ_SECONDS` (default 2; `make fuzz-store` sets more),
//! starting with the seed `ALEXPY_FUZZ_SEED`. `ALEXPY_SEED` replays one seed.
#![allow(clippy::print_stderr)]

use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::forge::{
    change_anywhere, content_of, forge, place, records, rename_segment, seal_image, seal_manifest,
    seal_record, seal_segment_header,
};
use crate::common::memory::most_bytes;
use crate::common::{compression, key_kind, make_compressed, make_wide, open};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Loss, Rng, SimDisk};
use alex_store::{Compression, Options, ReadMode, Recovery, RepairMode, ScanRange, Store};

/// Memory that opening takes at any size: for pieces of files, runs of keys and the repaired store's
/// segments.
const FREE_BYTES: usize = 128 << 20;
/// In addition, this many bytes for each byte of the files.
const BYTES_EACH: usize = 100;
/// A call that takes longer hangs, even on the slowest machine.
const HANG: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options { segment_bytes: 4096, background: false, train_from_bytes: 2500, ..Options::default() }
}

fn mutate(name: &str, bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match rng.below(12) {
        0 => bytes.truncate(rng.below(len as u64 + 1) as usize),
        1 => {
            let from = rng.below(len as u64) as usize & !7;
            let piece = bytes[from..(from + 64).min(len)].to_vec();
            let to = rng.below(len as u64) as usize & !7;
            let end = (to + piece.len()).min(len);
            bytes[to..end].copy_from_slice(&piece[..end - to]);
        }
        2 => bytes.extend(std::iter::repeat_n(rng.next_u64() as u8, rng.below(5000) as usize)),
        3 => change_anywhere(bytes, 0..len, rng),
        _ => forge(name, bytes, rng),
    }
}

/// A value that has much in common with the others.
fn row(number: i128) -> Vec<u8> {
    format!("{{\"carrier\": \"UA\", \"flight\": {number}, \"origin\": \"EWR\", \"gate\": null}}").into_bytes()
}

/// Several lives of a store, of which the last ends as by a kill, with everything that a store can hold,
/// including images and relocated records.
fn store_with(images: bool) -> SimDisk {
    let disk = SimDisk::new(1);
    for life in 0..3_u8 {
        let store = open(&disk, &options()).expect("opens");
        for i in 0..12_u8 {
            store.put(i128::from(i) * 3, &vec![life; usize::from(i) * 9]).expect("writes");
        }
        if compression() != Compression::None {
            let (keys, rows): (Vec<i128>, Vec<Vec<u8>>) =
                (20..80).map(|key| (key, row(key + 1000 * i128::from(life)))).unzip();
            store.put_many(&keys, &rows[..], false).expect("writes");
            for key in 80..90 {
                store.put(key, &row(key)).expect("writes");
            }
        }
        store.put_many(&[1, 2, 3 + i128::from(life)], &[[life; 33]; 3][..], true).expect("writes");
        if images {
            // Keys of 128 bits differ in both halves.
            let spread = if key_kind().is_some() { 1000 << 60 } else { 1000 };
            let more: Vec<i128> = (0..400).map(|i| i * spread).collect();
            store.put_many(&more, &vec![[life]; 400][..], false).expect("writes");
            store.checkpoint().expect("no fault");
            let count = u32::from(life);
            store.compact_some(&|id| id % 3 == count).expect("no fault");
        }
        store.delete(3).expect("deletes");
        store.delete_range(Bound::Included(9), Bound::Included(12)).expect("deletes");
        if life < 2 {
            store.close().expect("closes");
        }
    }
    disk.restart(Loss::ProcessOnly)
}

/// Makes every call that reads an open store.
fn ask(store: &Store, rng: &mut Rng) {
    let range =
        |reverse, limit| ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse, limit };
    let _ = store.scan(range(false, None)).and_then(|mut scan| scan.next_columns(1000));
    let _ = store.scan(range(true, Some(70))).and_then(|mut scan| scan.next_run(1000));
    let _ = store.get_many(&(-1..90).collect::<Vec<i64>>());
    for key in [0, 3, 9, 1000, i128::from(i64::MIN), i128::from(i64::MAX)] {
        let _ = (store.get(key).is_ok(), store.floor(key).is_ok(), store.higher(key).is_ok());
    }
    let _ = (store.count(Bound::Included(2), Bound::Unbounded), store.boundaries(5), store.len());
    let _ = (store.first().is_ok(), store.last().is_ok());
    let _ = store.verify(&mut |_| true);
    let _ = store.stats();
    if rng.one_in(8) {
        let folder = tempfile::tempdir().expect("a folder");
        let _ = store.backup(&folder.path().join("backup"), &mut |_| true);
    }
}

/// Makes every call that changes an open store.
fn write(store: &Store, rng: &mut Rng) {
    let _ = store.put(7, b"goes on");
    let _ = store.put_many(&(0..40).collect::<Vec<i64>>(), &vec![[1; 40]; 40][..], rng.one_in(2));
    let _ = store.delete(6);
    let _ = store.delete_range(Bound::Included(2), Bound::Excluded(9));
    let _ = store.take_end(rng.one_in(2));
    let _ = store.compare_and_set(9, Some(b"other"), None);
    if rng.one_in(2) {
        let _ = store.compact(&mut |_| true);
    }
    if rng.one_in(2) {
        let _ = store.checkpoint();
    }
    let _ = store.flush();
}

/// Opens the store in every possible way, reads, repairs, and goes on.
fn use_all(disk: &SimDisk, rng: &mut Rng) {
    for recovery in [Recovery::Strict, Recovery::PointInTime] {
        for read_only in [true, false] {
            let options = Options {
                read_only,
                recovery,
                read_mode: if rng.one_in(2) { ReadMode::Mmap } else { ReadMode::Pread },
                verify_reads: !rng.one_in(4),
                ..options()
            };
            let copy = disk.copy();
            let Ok(store) = open(&copy, &options) else { continue };
            ask(&store, rng);
            write(&store, rng);
            ask(&store, rng);
            let closed = store.close();
            drop(store);
            if let (Ok(()), false) = (closed, read_only)
                && let Ok(store) = open(&copy, &options)
            {
                ask(&store, rng);
            }
        }
    }
    let source: Arc<dyn Disk> = Arc::new(disk.copy());
    for mode in [RepairMode::PointInTime, RepairMode::Salvage] {
        let _ = Store::repair_on(&source, Arc::new(SimDisk::new(2)), mode, &options());
    }
}

/// The same files in a real directory, whose calls differ.
fn use_files(disk: &SimDisk) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    std::fs::create_dir(&path).expect("a folder");
    for name in disk.list().expect("lists") {
        std::fs::write(path.join(&name), content_of(disk, &name)).expect("writes");
    }
    let _ = Store::verify_files(&path, &mut |_| true);
    let _ = Store::repair(&path, &folder.path().join("repaired"), RepairMode::Salvage, None, &mut |_| true);
    for read_only in [true, false] {
        if let Ok(store) = Store::open(&path, &Options { read_only, ..options() }, &mut |_| true) {
            ask(&store, &mut Rng::new(0));
            let _ = store.put(1, b"goes on");
        }
    }
}

/// Changes one file, or one name.
fn change(disk: &SimDisk, rng: &mut Rng) {
    let mut names = disk.list().expect("lists");
    names.retain(|name| name != "LOCK");
    let pick = |rng: &mut Rng| names[rng.below(names.len() as u64) as usize].clone();
    let name = pick(rng);
    match rng.below(24) {
        0 | 1 => {
            let _ = disk.remove(&name);
        }
        2 => {
            // A stray file with any id.
            let id = [u32::MAX, u32::MAX - 1, 0, 9, 1 << 30][rng.below(5) as usize];
            let stray = if rng.one_in(2) { format!("seg-{id:08x}.log") } else { format!("img-{id:08x}.idx") };
            let mut content = if rng.one_in(3) { Vec::new() } else { content_of(disk, &name) };
            if stray.starts_with("seg") && content.len() > 40 {
                content[32..40].copy_from_slice(&u64::from(id).to_le_bytes());
                seal_segment_header(&mut content);
            }
            place(disk, &stray, content);
        }
        3 => {
            let id = name.strip_prefix("seg-").and_then(|rest| u32::from_str_radix(&rest[..8], 16).ok());
            if let Some(id) = id {
                rename_segment(disk, id, [u32::MAX, u32::MAX - 1, 1 << 31, 77, 0][rng.below(5) as usize]);
            }
        }
        _ => {
            disk.corrupt(&name, |bytes| mutate(&name, bytes, rng));
            // What one copy of the manifest says counts only if the other does not say more.
            if name == "MANIFEST-A" && !rng.one_in(4) {
                place(disk, "MANIFEST-B", content_of(disk, &name));
            }
        }
    }
}

#[test]
fn the_checksums_of_this_test_are_those_of_the_format() {
    for (wide, compressed) in FORMS {
        make_wide(wide);
        make_compressed(compressed);
        sealing_what_is_whole_changes_nothing(&store_with(true));
    }
}

/// Whether keys are wide, and values compressed.
const FORMS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// What the forgery must reach.
#[test]
fn the_compressed_stores_of_this_test_hold_dictionaries_and_values_that_need_them() {
    for (wide, compressed) in FORMS {
        make_wide(wide);
        make_compressed(compressed);
        let disk = store_with(true);
        let (mut dictionaries, mut values) = (0, 0);
        for name in disk.list().expect("lists").into_iter().filter(|name| name.starts_with("seg-")) {
            let bytes = content_of(&disk, &name);
            for place in records(&bytes) {
                dictionaries += usize::from(bytes[place + 8] == 11);
                let value = place + if wide { 32 } else { 24 };
                values += usize::from(bytes[place + 8] & 32 != 0 && bytes[value..value + 4] != [0; 4]);
            }
        }
        assert_eq!((dictionaries > 1, values > 40), (compressed, compressed), "{dictionaries} and {values}");
    }
}

fn sealing_what_is_whole_changes_nothing(disk: &SimDisk) {
    let mut images = 0;
    for name in disk.list().expect("lists").into_iter().filter(|name| name != "LOCK") {
        let before = content_of(disk, &name);
        let mut after = before.clone();
        if name.starts_with("MANIFEST") {
            seal_manifest(&mut after);
        } else if name.starts_with("img-") {
            // Wrong checksums are made right again.
            after[4100..4120].reverse();
            after[108] ^= 1;
            seal_image(&mut after);
            after[4100..4120].reverse();
            seal_image(&mut after);
            images += 1;
        } else if before.get(..4) == Some(b"ALEX") {
            seal_segment_header(&mut after);
            let places = records(&before);
            assert!(!places.is_empty(), "{name}");
            for place in places {
                assert!(seal_record(&mut after, place).is_some(), "{name}");
            }
        }
        assert!(before == after, "{name}: sealing what is whole changes nothing");
    }
    assert!(images > 0);
}

#[test]
fn no_file_makes_a_reader_panic_hang_or_take_too_much_memory() {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).unwrap_or_default();
        if text.is_empty() { default } else { text.parse().expect("a number") }
    };
    let whole = FORMS.map(|(wide, compressed)| {
        make_wide(wide);
        make_compressed(compressed);
        [store_with(false), store_with(true)]
    });
    let end = Instant::now() + Duration::from_secs(number("ALEXPY_FUZZ_SECONDS", 2));
    let one = std::env::var("ALEXPY_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let mut seed = one.unwrap_or_else(|| number("ALEXPY_FUZZ_SEED", 0));
    let (mut count, mut slowest, mut most) = (0, Duration::ZERO, 0);
    while count == 0 || (one.is_none() && Instant::now() < end) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut rng = Rng::new(seed);
            let form = rng.below(4) as usize;
            make_wide(FORMS[form].0);
            make_compressed(FORMS[form].1);
            let disk = whole[form][rng.below(2) as usize].copy();
            for _ in 0..=rng.below(3) {
                change(&disk, &mut rng);
            }
            let names = disk.list().expect("lists");
            let bytes: usize = names.iter().map(|name| content_of(&disk, name).len()).sum();
            let begun = Instant::now();
            let ((), taken) = most_bytes(|| {
                use_all(&disk, &mut rng);
                if rng.one_in(8) {
                    use_files(&disk);
                }
            });
            slowest = slowest.max(begun.elapsed());
            assert!(begun.elapsed() < HANG, "a hang");
            most = most.max(taken);
            assert!(
                taken < FREE_BYTES + BYTES_EACH * bytes,
                "{taken} bytes of memory for {bytes} bytes of files"
            );
        }));
        assert!(outcome.is_ok(), "seed {seed}; replay it with ALEXPY_SEED={seed}");
        seed += 1;
        count += 1;
    }
    eprintln!(
        "{count} sets of files; the slowest took {slowest:?}, the largest {} KiB of memory",
        most >> 10
    );
    assert!(one.is_some() || count > 5, "{count} mutations");
}
