//! Compaction beside everything else: changes that race it, values and scans held over it, damage in what it
//! reads, and the disk space that it gives back.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{content, open};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{CompactReport, Durability, Error, Options, ReadMode, ScanRange, Store};

fn all() -> ScanRange {
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None }
}

/// Keys of the store that readers race over.
const KEYS: i128 = 400;

fn segment_files(disk: &SimDisk) -> usize {
    disk.list().expect("the power is on").iter().filter(|name| name.starts_with("seg-")).count()
}

/// Overwrites everything several times, so that most of it is dead.
fn overwrite(store: &Store, keys: i128, rounds: u8) {
    for round in 1..=rounds {
        for key in 0..keys {
            store.put(key, &[round; 40]).expect("writes");
        }
    }
}

#[test]
fn a_change_at_any_moment_of_a_relocation_wins_over_the_copy() {
    // The change happens right after the n-th write or sync that compaction makes.
    let mut struck = 0;
    for moment in 0..12 {
        for kind in 0..3 {
            let sim = SimDisk::new(1);
            let disk = HookDisk::new(&sim);
            let store = disk.open_store(&quiet()).expect("opens");
            overwrite(&store, 60, 3);
            let (writer, mut calls) = (store.clone(), 0);
            let acted = Arc::new(AtomicBool::new(false));
            let acts = Arc::clone(&acted);
            disk.hook(move |call| {
                // Not while the catalog or the flush is locked, since the caller would wait for itself.
                if matches!(call, Call::Write(name, ..) | Call::Synced(name) if name.starts_with("seg")) {
                    calls += 1;
                    if calls == moment + 1 {
                        acts.store(true, Ordering::Release);
                        match kind {
                            0 => {
                                for key in (0..60).step_by(7) {
                                    writer.put(key, b"newest").expect("writes");
                                }
                            }
                            1 => {
                                for key in (0..60).step_by(7) {
                                    assert!(writer.delete(key).expect("deletes"));
                                }
                            }
                            _ => {
                                let range = (Bound::Included(10), Bound::Included(20));
                                writer.delete_range(range.0, range.1).expect("deletes");
                            }
                        }
                    }
                }
                Ok(())
            });
            store.compact(&mut |_| true).expect("compacts");
            disk.unhook();
            let mut expected: BTreeMap<i128, Vec<u8>> = (0..60).map(|key| (key, vec![3; 40])).collect();
            let now = content(&store);
            let changed = acted.load(Ordering::Acquire);
            match kind {
                0 => expected.extend((0..60).step_by(7).map(|key| (key, b"newest".to_vec()))),
                1 => expected.retain(|key, _| key % 7 != 0),
                _ => expected.retain(|key, _| !(10..=20).contains(key)),
            }
            struck += u32::from(changed);
            if changed {
                assert_eq!(now, expected, "moment {moment}, kind {kind}");
            }
            store.compact(&mut |_| true).expect("compacts");
            assert_eq!(content(&store), now);
            store.flush().expect("flushes");
            drop(store);
            let again = open(&sim.restart(Loss::Everything), &quiet()).expect("opens");
            assert_eq!(content(&again), now, "moment {moment}, kind {kind}: after reopening");
        }
    }
    assert!(struck >= 12, "the changes fell into the compaction: {struck}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scenario, told from its beginning to its end")]
fn readers_racing_compaction_see_what_a_model_says() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options {
        segment_bytes: 64 << 10,
        compact_dead_ratio: 0.05,
        checkpoint_tail_bytes: 100 << 10,
        compact_bytes_per_second: 1 << 40,
        ..Options::default()
    };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    // A value contains its key and a version, and grows with the version, so that any mix-up shows.
    let value = |key: i128, version: u64| {
        let mut bytes = (key as i64).to_le_bytes().to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.resize(16 + (version % 97) as usize, version as u8);
        bytes
    };
    let versions: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    for key in 0..KEYS {
        store.put(key, &value(key, 0)).expect("writes");
    }
    let done = AtomicBool::new(false);
    let check = |key: i128, found: &[u8], floor: u64| {
        let version = u64::from_le_bytes(found[8..16].try_into().expect("eight bytes"));
        assert_eq!(found, value(key, version), "key {key}");
        assert!(version >= floor, "key {key}: version {version} after {floor}");
    };
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (store, versions, done, check) = (&store, &versions, &done, &check);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    let floors: Vec<u64> = versions.iter().map(|it| it.load(Ordering::Acquire)).collect();
                    if reader == 0 {
                        for key in 0..KEYS {
                            let found = store.get(key).expect("reads").expect("there");
                            check(key, &found, floors[key as usize]);
                        }
                    } else if reader == 1 {
                        let keys: Vec<i128> = (0..KEYS).collect();
                        let found = store.get_many(&keys).expect("reads");
                        for key in 0..KEYS {
                            check(key, found.get(key as usize).expect("there"), floors[key as usize]);
                        }
                    } else {
                        let mut scan = store.scan(all()).expect("scans");
                        let mut next = 0;
                        loop {
                            let run = scan.next_run(31).expect("reads");
                            if run.keys.is_empty() {
                                break;
                            }
                            for (i, key) in run.keys.iter().enumerate() {
                                assert_eq!(key, next, "a scan yields every key once");
                                check(key, run.values.get(i).expect("there"), floors[key as usize]);
                                next += 1;
                            }
                        }
                        assert_eq!(next, KEYS);
                    }
                }
            });
        }
        let begun = Instant::now();
        let mut version = 0;
        let freed = || store.stats().expect("open").compaction.freed_segments;
        // On a busy machine compaction takes its time.
        while begun.elapsed() < Duration::from_millis(1500)
            || (freed() <= 20 && begun.elapsed() < Duration::from_secs(60))
        {
            version += 1;
            for key in (0..KEYS).filter(|key| (key + i128::from(version)) % 3 != 0) {
                store.put(key, &value(key, version)).expect("writes");
                versions[key as usize].store(version, Ordering::Release);
            }
            if version % 20 == 0 {
                store.compact(&mut |_| true).expect("compacts");
            }
        }
        done.store(true, Ordering::Release);
    });
    let stats = store.stats().expect("open");
    assert!(stats.compaction.freed_segments > 20, "compaction ran beside the readers: {stats:?}");
    let report = store.verify(&mut |_| true).expect("reads");
    assert!(report.is_ok(), "{:?}", report.errors);
    drop(store);
    let again = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    for key in 0..KEYS {
        let found = again.get(key).expect("reads").expect("there");
        assert_eq!(*found, value(key, versions[key as usize].load(Ordering::Acquire)));
    }
}

#[test]
fn values_and_scans_held_over_compaction_and_close_keep_their_bytes_and_then_release_their_files() {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let options = Options { segment_bytes: 64 << 10, read_mode, background: false, ..Options::default() };
        let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        for key in 0..500 {
            store.put(key, &[1; 1000]).expect("writes");
        }
        let held = store.get(7).expect("reads").expect("there");
        let many = store.get_many(&[3_i64, 4]).expect("reads");
        let mut scan = store.scan(all()).expect("scans");
        assert_eq!(scan.next_keys(5).expect("reads").len(), 5);
        for key in 0..500 {
            store.put(key, &[2; 10]).expect("writes");
        }
        store.delete_range(Bound::Included(100), Bound::Unbounded).expect("deletes");
        let report = store.compact(&mut |_| true).expect("compacts");
        assert!(report.freed_segments > 5, "{report:?}");
        let deleted = || deleted_files(dir.path());
        assert!(deleted() > 0, "the files are gone by name, and held by what is open");
        let run = scan.next_run(1000).expect("reads");
        assert_eq!(run.keys, (5..500).collect::<Vec<i64>>(), "the scan shows the store as it was");
        assert!((0..run.keys.len()).all(|i| run.values.get(i) == Some(&[1; 1000][..])));
        drop((run, scan));
        store.close().expect("closes");
        assert_eq!(*held, [1; 1000], "{read_mode:?}");
        assert_eq!(many.get(0), Some(&[1; 1000][..]));
        drop(store);
        drop((held, many));
        assert_eq!(deleted(), 0, "the disk space is given back once nobody looks: {read_mode:?}");
    }
}

/// Maps and descriptors of this process that lead to removed files of a directory.
fn deleted_files(dir: &std::path::Path) -> usize {
    let dir = dir.canonicalize().expect("there");
    let ours = |text: &str| text.contains(dir.to_str().expect("UTF-8")) && text.ends_with("(deleted)");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let descriptors = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    maps.lines().filter(|line| ours(line)).count()
        + descriptors.filter(|target| ours(&target.to_string_lossy())).count()
}

#[test]
fn a_compaction_ends_although_its_caller_goes_on_overwriting() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &quiet()).expect("opens");
    overwrite(&store, 400, 5);
    let mut calls = 0;
    let report = store.compact(&mut |_| {
        calls += 1;
        // Several segments, nearly all dead by the next call.
        overwrite(&store, 400, 2);
        calls < 200
    });
    assert!(report.expect("ends by itself").freed_segments > 5);
    assert_eq!(content(&store), (0..400).map(|key| (key, vec![2; 40])).collect());
}

#[test]
fn stats_can_be_read_while_files_are_removed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { segment_bytes: 1 << 14, background: false, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    overwrite(&store, 400, 5);
    store.flush().expect("flushes");
    // A handle on files that are then removed, as for a call that looks at them one after another.
    let reader =
        Store::open(dir.path(), &Options { read_only: true, ..options }, &mut |_| true).expect("opens");
    let before = reader.stats().expect("counts");
    assert!(store.compact(&mut |_| true).expect("compacts").freed_segments > 3);
    let after = reader.stats().expect("counts all the same");
    assert!(after.disk_bytes < before.disk_bytes, "what is gone takes no room");
    assert_eq!((after.keys, after.live_bytes), (before.keys, before.live_bytes));
}

#[test]
fn a_damaged_record_keeps_its_segment_and_is_reported_and_the_rest_is_compacted() {
    let sim = SimDisk::new(1);
    let store = open(&sim, &quiet()).expect("opens");
    overwrite(&store, 40, 5);
    store.end_segment().expect("ends");
    sim.corrupt("seg-00000001.log", |bytes| bytes[300] ^= 1);
    store.compact(&mut |_| true).expect("compacts the rest");
    let stats = store.stats().expect("open");
    assert_eq!(stats.damaged_segments, 1);
    assert!(stats.compaction.freed_segments > 0);
    assert!(sim.list().expect("lists").contains(&"seg-00000001.log".to_owned()), "it is kept");
    assert!(sim.list().expect("lists").len() < 8);
    let found = content(&store);
    assert!(found.len() == 40 && found.values().all(|value| value[0] == 5));
}

#[test]
fn a_full_disk_ends_a_compaction_and_changes_nothing() {
    let sim = SimDisk::new(1);
    let disk = HookDisk::new(&sim);
    let store = disk.open_store(&quiet()).expect("opens");
    overwrite(&store, 60, 3);
    store.end_segment().expect("ends");
    let before = content(&store);
    for failing in ["seg", "MANIFEST-A", "MANIFEST-B"] {
        let mut first = true;
        disk.hook(move |call| match call {
            Call::Write(name, ..) if name.starts_with(failing) && std::mem::take(&mut first) => {
                Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        });
        store.put(1, &[7; 40]).expect("writes");
        let outcome = store.compact(&mut |_| true);
        disk.unhook();
        assert!(matches!(outcome, Err(Error::Io { .. })), "{failing}: {outcome:?}");
        let mut expected = before.clone();
        expected.insert(1, vec![7; 40]);
        assert_eq!(content(&store), expected);
        store.flush().expect("the store goes on");
        let again = open(&sim.copy(), &Options { read_only: true, ..quiet() }).expect("opens");
        assert_eq!(content(&again), expected, "{failing}");
    }
    let report = store.compact(&mut |_| true).expect("compacts once there is space");
    assert!(report.freed_segments > 0);
    assert!(segment_files(&sim) <= 5, "{:?}", sim.list());
}

#[test]
fn a_failed_flush_frees_nothing_and_poisons() {
    let sim = SimDisk::new(1);
    let disk = HookDisk::new(&sim);
    let store = disk.open_store(&quiet()).expect("opens");
    overwrite(&store, 60, 3);
    store.flush().expect("flushes");
    let files = segment_files(&sim);
    // The newest values are only in the page cache; once they count, all others are dead.
    overwrite(&store, 60, 4);
    disk.hook(|call| match call {
        Call::Sync(name) if name.starts_with("seg") => Err(std::io::Error::other("simulated device error")),
        _ => Ok(()),
    });
    store.compact(&mut |_| true).expect_err("the device failed");
    disk.unhook();
    assert!(matches!(store.put(1, b"x"), Err(Error::Poisoned { .. })));
    assert!(segment_files(&sim) >= files, "nothing was freed");
    drop(store);
    let again = open(&sim.restart(Loss::Everything), &quiet()).expect("opens");
    let found = content(&again);
    assert!(found.len() == 60 && found.values().all(|value| value[0] >= 3), "the flushed values are there");
}

#[test]
fn a_store_overfilled_four_times_and_deleted_to_a_tenth_shrinks_by_itself() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options {
        segment_bytes: 256 << 10,
        durability: Durability::Os,
        compact_bytes_per_second: 1 << 30,
        ..Options::default()
    };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    let keys: Vec<i128> =
        (0..20_000).map(|i: i64| i128::from(i.wrapping_mul(0x5DEE_CE66_D1CE_5EED))).collect();
    for round in 0..4_u8 {
        let values = vec![[round; 100]; 1000];
        for keys in keys.chunks(1000) {
            store.put_many(keys, &values[..], false).expect("writes");
        }
    }
    let (gone, kept): (Vec<i128>, Vec<i128>) = keys.iter().partition(|&&key| key.rem_euclid(10) != 0);
    for keys in gone.chunks(1000) {
        store.delete_many(keys).expect("deletes");
    }
    let begun = Instant::now();
    // Headers, manifests and the last block of each file come on top, which so small a store notices.
    let allowed = |live: u64| live * 14 / 10 + 2 * options.segment_bytes + (32 << 10);
    let files = || -> u64 {
        let blocks = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.expect("lists");
            // A file may be removed meanwhile.
            entry.metadata().map_or(0, |found| std::os::unix::fs::MetadataExt::blocks(&found) * 512)
        };
        std::fs::read_dir(dir.path()).expect("lists").map(blocks).sum()
    };
    let mut stats = store.stats().expect("open");
    while files() > allowed(stats.live_bytes) && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
        stats = store.stats().expect("open");
    }
    let files = files();
    assert!(files <= allowed(stats.live_bytes), "{files} bytes of files: {stats:?}");
    assert_eq!(stats.keys, kept.len() as u64);
    drop(store);
    let again = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    let found = again.get_many(&kept).expect("reads");
    assert!((0..kept.len()).all(|i| found.get(i) == Some(&[3; 100][..])));
    assert_eq!(again.len().expect("open"), kept.len() as u64);
}

/// A store that was overfilled four times and emptied to a tenth, with an image from before the deletions;
/// from here on only `tend` maintains it. Also returns the keys that are left.
fn overfilled_and_deleted(dir: &std::path::Path) -> (Store, Vec<i128>) {
    let options = Options {
        segment_bytes: OVERFILLED_SEGMENT_BYTES,
        durability: Durability::Os,
        background: false,
        ..Options::default()
    };
    let store = Store::open(dir, &options, &mut |_| true).expect("opens");
    let keys: Vec<i128> =
        (0..20_000).map(|i: i64| i128::from(i.wrapping_mul(0x5DEE_CE66_D1CE_5EED))).collect();
    for round in 0..4_u8 {
        let values = vec![[round; 100]; 1000];
        for keys in keys.chunks(1000) {
            store.put_many(keys, &values[..], false).expect("writes");
        }
    }
    store.checkpoint().expect("writes an image");
    let (gone, kept): (Vec<i128>, Vec<i128>) = keys.iter().partition(|&&key| key.rem_euclid(10) != 0);
    for keys in gone.chunks(1000) {
        store.delete_many(keys).expect("deletes");
    }
    store.flush().expect("flushes");
    (store, kept)
}

const OVERFILLED_SEGMENT_BYTES: u64 = 256 << 10;

/// At most 1.4 times the live bytes are left, and the store holds what it should, also after it is opened
/// again.
fn has_come_down(store: Store, dir: &std::path::Path, kept: &[i128]) {
    let stats = store.stats().expect("open");
    let allowed = stats.live_bytes * 14 / 10 + 2 * OVERFILLED_SEGMENT_BYTES;
    assert!(stats.disk_bytes <= allowed, "{} bytes of files, {allowed} allowed: {stats:?}", stats.disk_bytes);
    drop(store);
    let again = Store::open(dir, &quiet(), &mut |_| true).expect("opens");
    let found = again.get_many(kept).expect("reads");
    assert!((0..kept.len()).all(|i| found.get(i) == Some(&[3; 100][..])));
    assert_eq!(again.len().expect("open"), kept.len() as u64);
}

#[test]
fn tombstones_go_with_the_puts_that_only_an_image_kept_and_then_nothing_moves_any_more() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (store, kept) = overfilled_and_deleted(dir.path());
    for _ in 0..4 {
        store.tend().expect("compacts");
    }
    let settled = store.stats().expect("open");
    for _ in 0..10 {
        store.tend().expect("compacts");
    }
    let stats = store.stats().expect("open");
    assert_eq!(stats.compaction, settled.compaction, "there is nothing to be had, and nobody tries");
    assert_eq!(stats.disk_bytes, settled.disk_bytes);
    has_come_down(store, dir.path(), &kept);
}

#[test]
fn a_store_at_rest_does_not_stay_just_below_the_dead_share_that_starts_a_round() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options =
        Options { segment_bytes: OVERFILLED_SEGMENT_BYTES, background: false, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    let keys: Vec<i128> = (0..10_000).collect();
    // Of 14,000 records, 4,000 are dead: 28.6 %, where a round starts at 30 %; that is 1.4 times the live
    // bytes. No segment is wholly dead, since that would be freed at once.
    let overwritten: Vec<i128> = keys.iter().copied().step_by(2).take(4000).collect();
    for part in [&keys[..], &overwritten[..]] {
        for keys in part.chunks(1000) {
            store.put_many(keys, &vec![[7; 100]; 1000][..], false).expect("writes");
        }
    }
    store.end_segment().expect("ends");
    for key in 0..3 {
        store.put(20_000 + key, b"more").expect("writes");
        store.flush().expect("flushes");
        store.tend().expect("looks");
        let stats = store.stats().expect("open");
        assert_eq!(stats.compaction, CompactReport::default(), "not while writes come");
    }
    store.tend().expect("compacts");
    let stats = store.stats().expect("open");
    assert!(stats.compaction.freed_segments > 0, "{stats:?}");
    assert!(stats.disk_bytes <= stats.live_bytes * 14 / 10 + 2 * options.segment_bytes, "{stats:?}");
    assert!(keys.iter().all(|&key| *store.get(key).expect("reads").expect("there") == [7; 100]));
    store.tend().expect("looks");
    assert_eq!(store.stats().expect("open").compaction, stats.compaction, "and that was all");
}

#[test]
fn a_wholly_dead_segment_is_freed_at_once_without_a_copy() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options {
        segment_bytes: OVERFILLED_SEGMENT_BYTES,
        background: false,
        checkpoint_tail_bytes: 1,
        ..Options::default()
    };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    let mut most = 0;
    for key in 0..60_000 {
        // A queue, far below the dead share that starts a round.
        store.put(key, &[7; 100]).expect("writes");
        if key % 1000 == 999 {
            store.delete_range(Bound::Unbounded, Bound::Excluded(key - 10_000)).expect("writes");
            store.flush().expect("flushes");
            store.tend().expect("looks");
            let stats = store.stats().expect("open");
            most = most.max(stats.disk_bytes.saturating_sub(stats.live_bytes));
        }
    }
    let stats = store.stats().expect("open");
    assert!(stats.compaction.freed_segments > 10 && stats.compaction.moved_bytes < 10_000, "{stats:?}");
    assert!(most <= 6 * options.segment_bytes, "{most} bytes beside what lives");
}

#[test]
fn segments_emptied_by_an_interrupted_compaction_are_freed_without_another_one() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (store, kept) = overfilled_and_deleted(dir.path());
    let mut units = 0;
    let outcome = store.compact(&mut |_| {
        units += 1;
        units < 3
    });
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    for _ in 0..4 {
        store.tend().expect("compacts");
    }
    has_come_down(store, dir.path(), &kept);
}

#[test]
fn segments_held_by_a_backup_are_freed_after_it_although_nothing_new_dies() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (store, kept) = overfilled_and_deleted(dir.path());
    let copy = tempfile::tempdir().expect("temporary directory");
    let (mut calls, full) = (0, store.stats().expect("open"));
    store
        .backup(&copy.path().join("copy"), &mut |_| {
            calls += 1;
            if calls == 1 {
                for _ in 0..4 {
                    store.tend().expect("compacts");
                }
                let stats = store.stats().expect("open");
                assert_eq!(stats.compaction, full.compaction, "the backup reads all segments");
            }
            true
        })
        .expect("copies");
    assert!(calls > 0);
    for _ in 0..4 {
        store.tend().expect("compacts");
    }
    has_come_down(store, dir.path(), &kept);
}
