//! A load of 1M values of 100 bytes in batches of 10,000, with the flush at its end, compared with its parts
//! measured separately: a copy of the same bytes into a mapped, reserved file, its flush, the insert of the
//! same keys into an index, and the checksums of the same records. Each run makes one round and prints JSON,
//! in seconds. `benchmarks/load_parts.py` alternates rounds: `cargo bench -p alex-store --bench load_parts --
//! FOLDER [keys] [seed]`.
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use alex_index::Alex;
use alex_store::{Options, Store, checksum_records};

const BATCH: usize = 10_000;
const VALUE_BYTES: usize = 100;
/// A header of 24 bytes, the value, and 4 bytes of padding.
const RECORD_BYTES: usize = 128;
const SEGMENT_BYTES: usize = 64 << 20;

/// The key with this number, spread over the whole key space.
fn key(seed: u64, number: u64) -> i64 {
    (number + seed * 1_000_003).wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64
}

fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let outcome = work();
    (begun.elapsed().as_secs_f64(), outcome)
}

/// Times the store's load. Checks afterwards that every key is found.
fn load(folder: &Path, keys: &[i64], values: &[Vec<u8>]) -> f64 {
    let store = Store::open(&folder.join("store"), &Options::default(), &mut |_| true).unwrap();
    let (took, ()) = seconds(|| {
        for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
            store.put_many(keys, values, false).unwrap();
        }
        store.flush().unwrap();
    });
    assert_eq!(store.len().unwrap(), keys.len() as u64);
    for (&key, value) in keys.iter().zip(values).step_by(97) {
        assert_eq!(*store.get(key).unwrap().unwrap(), value[..]);
    }
    store.close().unwrap();
    took
}

/// Times a copy of as many bytes into maps of reserved files, which are made durable before the clock starts,
/// and their flush.
fn copy_and_flush(folder: &Path, values: &[Vec<u8>]) -> (f64, f64) {
    let in_one = SEGMENT_BYTES / RECORD_BYTES;
    let mut files: Vec<_> = (0..values.len().div_ceil(in_one))
        .map(|number| {
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(folder.join(format!("part-{number}")))
                .unwrap();
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES as u64)
                .unwrap();
            file.sync_all().unwrap();
            // SAFETY: the file was created here and nobody else knows of it.
            let map = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
            (file, map)
        })
        .collect();
    let mut record = [7; RECORD_BYTES];
    let (copied, ()) = seconds(|| {
        for (number, value) in values.iter().enumerate() {
            record[24..24 + VALUE_BYTES].copy_from_slice(value);
            let at = number % in_one * RECORD_BYTES;
            files[number / in_one].1[at..at + RECORD_BYTES].copy_from_slice(&record);
        }
    });
    let (flushed, ()) = seconds(|| files.iter().for_each(|(file, _)| file.sync_data().unwrap()));
    let last = values.len() - 1;
    let at = last % in_one * RECORD_BYTES + 24;
    assert_eq!(files[last / in_one].1[at..at + VALUE_BYTES], values[last]);
    files.clear();
    (copied, flushed)
}

fn insert(keys: &[i64]) -> f64 {
    let locations: Vec<u64> =
        (0..keys.len() as u64).map(|number| number * (RECORD_BYTES as u64 / 8)).collect();
    let mut index = Alex::new();
    let (took, ()) = seconds(|| {
        for (keys, locations) in keys.chunks(BATCH).zip(locations.chunks(BATCH)) {
            index.insert_many(keys, locations, |_, _| ());
        }
    });
    assert!(keys.iter().zip(&locations).all(|(&key, &location)| index.get(key) == Some(location)));
    took
}

/// Checksums of records that are in the nearest caches, as in a commit, which has just copied them.
fn checksums(keys: usize) -> f64 {
    let batch = vec![7; 64 * RECORD_BYTES];
    let work = || (0..keys / 64).fold(0, |all, _| all ^ checksum_records(black_box(&batch), RECORD_BYTES));
    let (took, all) = seconds(work);
    black_box(all);
    took
}

fn main() {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let count: u64 = arguments.get(2).map_or(1_000_000, |text| text.parse().unwrap());
    let seed = arguments.get(3).map_or(1, |text| text.parse().unwrap());
    let folder = tempfile::tempdir_in(&arguments[1]).unwrap();
    let keys: Vec<i64> = (0..count).map(|number| key(seed, number)).collect();
    let values: Vec<Vec<u8>> =
        keys.iter().map(|key| key.to_le_bytes().repeat(13)[..VALUE_BYTES].to_vec()).collect();
    let (copy, flush, index, load) = if seed.is_multiple_of(2) {
        let load = load(folder.path(), &keys, &values);
        let (copy, flush) = copy_and_flush(folder.path(), &values);
        (copy, flush, insert(&keys), load)
    } else {
        let (copy, flush) = copy_and_flush(folder.path(), &values);
        let index = insert(&keys);
        (copy, flush, index, load(folder.path(), &keys, &values))
    };
    let checksums = checksums(keys.len());
    println!(
        r#"{{"load": {load}, "copy": {copy}, "flush": {flush}, "index": {index}, "checksums": {checksums}}}"#
    );
}
