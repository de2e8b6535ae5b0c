//! Files that no writer wrote: mutated bytes, also with their checksums made right again, in every file kind.
//! Opening, reading, verifying and repairing them gives an answer or an error, never a panic or a hang.
//!
//! Seeded and bounded by time: `ALEXPY_FUZZ_SECONDS` (default 2, `make fuzz-store` has more) from the seed
//! `ALEXPY_FUZZ_SEED` on; `ALEXPY_SEED` replays one.

use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::open;
use alex_store::disk::Disk;
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Options, ReadMode, Recovery, RepairMode, ScanRange, Store};

/// CRC-32C, bit by bit, continued from `crc`: written again here, so that a mistake in one shows.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Makes the checksum of a manifest right again, as docs/format.md has it.
fn seal_manifest(bytes: &mut [u8]) {
    if let Some(covered) = bytes.len().checked_sub(4) {
        let crc = crc32c(0, &bytes[..covered]);
        put_u32(bytes, covered, crc);
    }
}

fn seal_segment_header(bytes: &mut [u8]) {
    if bytes.len() >= 192 {
        let crc = crc32c(0, &bytes[..188]);
        put_u32(bytes, 188, crc);
    }
}

/// Makes the checksum of the record at an offset right again, if it is a record by its length.
fn seal_record(bytes: &mut [u8], offset: usize) -> Option<usize> {
    let salt = bytes.get(72..80)?.to_vec();
    let length = u32::from_le_bytes(bytes.get(offset + 4..offset + 8)?.try_into().ok()?) as usize;
    let end = offset.checked_add(24 + length.next_multiple_of(8))?;
    let seed = crc32c(0, &salt) ^ ((offset >> 3) as u32).wrapping_mul(0x9E37_79B1);
    let crc = crc32c(seed, bytes.get(offset + 4..end)?);
    put_u32(bytes, offset, crc);
    Some(end)
}

/// Where the records of a segment stand.
fn records(bytes: &[u8]) -> Vec<usize> {
    let (mut places, mut offset) = (Vec::new(), 192);
    while bytes.get(offset + 8).is_some_and(|&kind| (1..=10).contains(&kind)) {
        places.push(offset);
        let Some(length) = bytes.get(offset + 4..offset + 8) else { break };
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
        offset += 24 + length.next_multiple_of(8);
    }
    places
}

fn number(rng: &mut Rng) -> u64 {
    [
        0,
        1,
        2,
        7,
        8,
        24,
        192,
        4096,
        1 << 31,
        1 << 32,
        1 << 35,
        1 << 55,
        u64::MAX >> 8,
        u64::MAX,
        rng.next_u64(),
    ][rng.below(15) as usize]
}

/// Overwrites a number somewhere in a range of bytes.
fn change(bytes: &mut [u8], range: std::ops::Range<usize>, rng: &mut Rng) {
    let width = [1, 2, 4, 8][rng.below(4) as usize];
    let span = range.len().saturating_sub(width) as u64 + 1;
    let at = range.start + rng.below(span) as usize;
    let new = number(rng).to_le_bytes();
    if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(&new[..width]);
    }
}

fn mutate(name: &str, bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match rng.below(10) {
        0 => bytes.truncate(rng.below(len as u64 + 1) as usize),
        1 => {
            let from = rng.below(len as u64) as usize & !7;
            let piece = bytes[from..(from + 64).min(len)].to_vec();
            let to = rng.below(len as u64) as usize & !7;
            let end = (to + piece.len()).min(len);
            bytes[to..end].copy_from_slice(&piece[..end - to]);
        }
        2 => bytes.extend(std::iter::repeat_n(rng.next_u64() as u8, rng.below(5000) as usize)),
        3 => change(bytes, 0..len, rng),
        // With a checksum that is right.
        _ if name.starts_with("MANIFEST") => {
            change(bytes, 0..len.saturating_sub(4).max(1), rng);
            seal_manifest(bytes);
        }
        4 => {
            change(bytes, 0..188.min(len), rng);
            seal_segment_header(bytes);
        }
        _ => {
            let places = records(bytes);
            for _ in 0..=rng.below(3) {
                let Some(&place) = places.get(rng.below(places.len().max(1) as u64) as usize) else { return };
                // Kind, length, sequence, key, or what stands in the value: counts, lengths, watermarks.
                change(bytes, place + 4..(place + 40).min(len), rng);
                seal_record(bytes, place);
            }
        }
    }
}

fn store_with_everything() -> SimDisk {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 4096, background: false, ..Options::default() };
    for life in 0..3_u8 {
        let store = open(&disk, &options).expect("opens");
        for i in 0..12_u8 {
            store.put(i64::from(i) * 3, &vec![life; usize::from(i) * 9]).expect("writes");
        }
        store.put_many(&[1, 2, 3 + i64::from(life)], &[[life; 33]; 3][..], true).expect("writes");
        store.delete(3).expect("deletes");
        store.delete_range(Bound::Included(9), Bound::Included(12)).expect("deletes");
        // The last life ends as a kill would end it.
        if life < 2 {
            store.close().expect("closes");
        }
    }
    disk.restart(alex_store::disk::sim::Loss::ProcessOnly)
}

/// Everything that reads, and in the end one that writes.
fn read_all(disk: &SimDisk, rng: &mut Rng) {
    let all = ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };
    for read_only in [true, false] {
        let options = Options {
            read_only,
            segment_bytes: 4096,
            background: false,
            read_mode: if rng.one_in(2) { ReadMode::Mmap } else { ReadMode::Pread },
            recovery: if rng.one_in(2) { Recovery::Strict } else { Recovery::PointInTime },
            ..Options::default()
        };
        if let Ok(store) = open(&disk.copy(), &options) {
            let _ = store.scan(all).and_then(|mut scan| scan.next_columns(1000));
            let _ = store.get_many(&(-1..50).collect::<Vec<_>>());
            let _ = store.verify(&mut |_| true);
            let _ = store.stats();
            let _ = store.put(7, b"goes on");
            let _ = store.close();
        }
    }
    let source: Arc<dyn Disk> = Arc::new(disk.copy());
    for mode in [RepairMode::PointInTime, RepairMode::Salvage] {
        let options = Options { segment_bytes: 4096, background: false, ..Options::default() };
        let _ = Store::repair_on(&source, Arc::new(SimDisk::new(2)), mode, &options);
    }
}

#[test]
fn the_checksums_of_this_test_are_those_of_the_format() {
    let disk = store_with_everything();
    for name in disk.list().expect("lists").into_iter().filter(|name| name != "LOCK") {
        let mut before = Vec::new();
        disk.corrupt(&name, |bytes| before.clone_from(bytes));
        let mut after = before.clone();
        if name.starts_with("MANIFEST") {
            seal_manifest(&mut after);
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
}

#[test]
fn no_file_makes_a_reader_panic_or_hang() {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).unwrap_or_default();
        if text.is_empty() { default } else { text.parse().expect("a number") }
    };
    let end = Instant::now() + Duration::from_secs(number("ALEXPY_FUZZ_SECONDS", 2));
    let whole = store_with_everything();
    let one = std::env::var("ALEXPY_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let mut seed = one.unwrap_or_else(|| number("ALEXPY_FUZZ_SEED", 0));
    let mut count = 0;
    while count == 0 || (one.is_none() && Instant::now() < end) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut rng = Rng::new(seed);
            let disk = whole.copy();
            let mut names = disk.list().expect("lists");
            names.retain(|name| name != "LOCK");
            for _ in 0..=rng.below(2) {
                let name = names[rng.below(names.len() as u64) as usize].clone();
                if rng.one_in(12) {
                    let _ = disk.remove(&name);
                } else {
                    disk.corrupt(&name, |bytes| mutate(&name, bytes, &mut rng));
                    // What one copy of the manifest says counts only where the other does not say more.
                    if name == "MANIFEST-A" && rng.one_in(2) {
                        let mut same = Vec::new();
                        disk.corrupt(&name, |bytes| same.clone_from(bytes));
                        disk.corrupt("MANIFEST-B", |bytes| *bytes = same);
                    }
                }
            }
            let begun = Instant::now();
            read_all(&disk, &mut rng);
            assert!(begun.elapsed() < Duration::from_secs(20), "a hang");
        }));
        assert!(outcome.is_ok(), "seed {seed}; replay it with ALEXPY_SEED={seed}");
        seed += 1;
        count += 1;
    }
    assert!(one.is_some() || count > 20, "{count} mutations");
}
