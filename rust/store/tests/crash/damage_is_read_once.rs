//! What repair and verify read grows with the size of the store, whatever is damaged in it and however its
//! bytes look. This is counted in bytes read, so that no clock decides.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::hook::HookDisk;
use crate::common::open;
use alex_store::disk::sim::SimDisk;
use alex_store::{Options, RepairMode, Store};

/// The only segment of a store on the disk.
fn segment(disk: &SimDisk) -> String {
    let names = alex_store::disk::Disk::list(disk).expect("lists");
    names.into_iter().find(|name| name.starts_with("seg-")).expect("a segment")
}

/// Damages the segment beneath an open store, then runs verify, repair of everything readable, and repair up
/// to the damage, which looks twice. Returns the most bytes that any of these read, as a multiple of the
/// segment's size.
fn reads(disk: &SimDisk, expected_keys: u64, damage: impl FnOnce(&mut Vec<u8>)) -> f64 {
    let options = Options { background: false, ..Options::default() };
    let counting = HookDisk::new(disk);
    let store = counting.open_store(&options).expect("opens");
    let mut bytes = 0;
    disk.corrupt(&segment(disk), |file| {
        damage(file);
        bytes = file.len();
    });
    let count = counting.count_segment_bytes();
    assert!(!store.verify(&mut |_| true).expect("reads").is_ok());
    let mut most = count.swap(0, Ordering::Relaxed);
    let source: Arc<dyn alex_store::disk::Disk> = Arc::new(counting);
    for (mode, looks) in [(RepairMode::Salvage, 1), (RepairMode::PointInTime, 2)] {
        let report = Store::repair_on(&source, Arc::new(SimDisk::new(9)), mode, &options).expect("repairs");
        assert_eq!(report.salvage_keeps.unwrap_or(report.kept), expected_keys);
        assert!(!report.damaged.is_empty());
        most = most.max(count.swap(0, Ordering::Relaxed) / looks);
    }
    most as f64 / bytes as f64
}

fn store_with(disk: &SimDisk, values: impl Iterator<Item = Vec<u8>>) {
    // No flush falls due. It would make a record state its watermark, and move all others.
    let sync_interval = Duration::from_secs(3600);
    let options = Options { segment_bytes: 8 << 20, background: false, sync_interval, ..Options::default() };
    let store = Store::open_on(Arc::new(disk.clone()), Path::new("simulated"), &options, &mut |_| true);
    let store = store.expect("opens");
    for (key, value) in values.enumerate() {
        store.put(key as i128, &value).expect("writes");
    }
    store.close().expect("closes");
}

/// A value full of bytes that look like record headers, each with the longest possible length.
fn plausible(bytes: usize) -> Vec<u8> {
    let mut value = vec![0; bytes];
    for at in (0..bytes).step_by(24) {
        let Some(header) = value.get_mut(at..at + 24) else { break };
        let left = (bytes - at).saturating_sub(64) as u32;
        header[4..8].copy_from_slice(&left.to_le_bytes());
        header[8..16].copy_from_slice(&(1000u64 << 8 | 1).to_le_bytes());
    }
    value
}

#[test]
fn a_damaged_value_that_looks_like_headers_is_searched_once() {
    let mut ratios = Vec::new();
    for bytes in [1 << 17, 1 << 20] {
        let disk = SimDisk::new(3);
        store_with(&disk, [vec![1; 100], plausible(bytes), b"end".to_vec()].into_iter());
        // The header of the second record.
        ratios.push(reads(&disk, 2, |file| file[192 + 128 + 20] ^= 1));
    }
    // Two pieces of at most a KiB for each place, and a place every 24 bytes.
    assert!(ratios.iter().all(|&ratio| ratio < 110.0), "{ratios:?}");
}

#[test]
fn damage_everywhere_is_read_a_few_times_over() {
    let disk = SimDisk::new(4);
    store_with(&disk, (0..20_000).map(|i| vec![i as u8; 40]));
    // Every tenth record, alternately its header and its value.
    let damaged = || (10..20_000).step_by(10);
    let ratio = reads(&disk, 20_000 - damaged().count() as u64, |file| {
        for record in damaged() {
            file[192 + record * 64 + if record % 20 == 0 { 20 } else { 30 }] ^= 1;
        }
    });
    assert!(ratio < 12.0, "{ratio}");
}

#[test]
fn a_store_of_many_range_deletes_is_repaired() {
    let disk = SimDisk::new(5);
    let options = Options { segment_bytes: 8 << 20, background: false, ..Options::default() };
    let store = open(&disk, &options).expect("opens");
    for key in 0..20_000 {
        store.put(key, b"v").expect("writes");
        let stop = std::ops::Bound::Included(key - 10);
        store.delete_range(std::ops::Bound::Unbounded, stop).expect("deletes");
    }
    store.close().expect("closes");
    let source: Arc<dyn alex_store::disk::Disk> = Arc::new(disk);
    let begun = std::time::Instant::now();
    let report = Store::repair_on(&source, Arc::new(SimDisk::new(9)), RepairMode::Salvage, &options);
    assert_eq!(report.expect("repairs").kept, 10);
    assert!(
        begun.elapsed().as_secs() < 5,
        "{:?}: a walk over every key for each range takes longer",
        begun.elapsed()
    );
}
