//! `repair`: the new store holds everything that damage did not hit, and nothing else. The damaged store
//! stays unchanged.

use std::ops::Bound;
use std::sync::Arc;

use crate::common::{Content, content, make_compressed, open, open_with_power, value};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::{Error, Options, RepairMode, RepairReport, Store};

fn options() -> Options {
    Options { segment_bytes: 4096, background: false, ..Options::default() }
}

fn repaired(disk: &SimDisk, mode: RepairMode) -> Result<(Content, RepairReport), Error> {
    let source: Arc<dyn Disk> = Arc::new(disk.clone());
    let dest = SimDisk::new(2);
    let before = disk.steps();
    let report = Store::repair_on(&source, Arc::new(dest.clone()), mode, &options())?;
    assert_eq!(disk.steps(), before, "the damaged store is only read");
    // Durable when it returned.
    let store = open(&dest.restart(Loss::Everything), &options())?;
    let found = content(&store);
    assert_eq!(report.kept, found.len() as u64);
    Ok((found, report))
}

/// The content after each commit.
fn history() -> (SimDisk, Vec<Content>) {
    history_with(&|_| ())
}

/// Like [`history`], but with two images at the end, and most of the log in copies that compaction made.
fn compacted_history() -> (SimDisk, Vec<Content>) {
    let (disk, states) = history_with(&|store| {
        assert!(store.compact(&mut |_| true).expect("compacts").freed_segments > 0);
        store.checkpoint().expect("writes an image");
        // Its previous value again.
        store.put(0, &[]).expect("writes");
        store.checkpoint().expect("writes an image");
    });
    assert_eq!(files(&disk).iter().filter(|name| name.starts_with("img-")).count(), 2);
    (disk, states)
}

/// `care` is called near the end of each life, before the last few commits.
fn history_with(care: &dyn Fn(&Store)) -> (SimDisk, Vec<Content>) {
    let disk = SimDisk::new(1);
    let mut states = vec![Content::new()];
    let mut commit = |change: &dyn Fn(&mut Content)| {
        let mut next = states.last().expect("begun").clone();
        change(&mut next);
        states.push(next);
    };
    for life in 0..3_u8 {
        let store = open(&disk, &options()).expect("opens");
        for i in 0..40_u8 {
            let (key, value) = (i128::from(i) * 3, vec![life * 50 + i; usize::from(i) * 3]);
            store.put(key, &value).expect("writes");
            commit(&|content| drop(content.insert(key, value.clone())));
            if i % 16 == 7 {
                store.flush().expect("flushes");
            }
        }
        let keys = [100, 101, 102 + i128::from(life)];
        let values = [[life; 33], [7; 33], [9; 33]];
        store.put_many(&keys, &values[..], false).expect("writes");
        commit(&|content| content.extend(keys.into_iter().zip(values.map(Vec::from))));
        care(&store);
        store.delete(3).expect("deletes");
        commit(&|content| drop(content.remove(&3)));
        store.delete_range(Bound::Included(9), Bound::Included(12)).expect("deletes");
        commit(&|content| content.retain(|key, _| !(9..=12).contains(key)));
        store.put(0, &[life; 5]).expect("writes");
        commit(&|content| drop(content.insert(0, vec![life; 5])));
        store.close().expect("closes");
    }
    (disk, states)
}

fn files(disk: &SimDisk) -> Vec<String> {
    disk.list().expect("lists").into_iter().filter(|name| name != "LOCK").collect()
}

fn len(disk: &SimDisk, name: &str) -> usize {
    let mut len = 0;
    disk.copy().corrupt(name, |bytes| len = bytes.len());
    len
}

const MODES: [RepairMode; 2] = [RepairMode::PointInTime, RepairMode::Salvage];

#[test]
fn a_whole_store_is_kept_whole_with_or_without_its_manifest() {
    let (disk, states) = history();
    for without in [&[][..], &["MANIFEST-A"], &["MANIFEST-A", "MANIFEST-B"]] {
        for mode in MODES {
            for cleared in [true, false] {
                let copy = disk.copy();
                for name in without {
                    if cleared {
                        copy.corrupt(name, Vec::clear);
                    } else {
                        copy.remove(name).expect("removes");
                    }
                }
                let (found, report) = repaired(&copy, mode).expect("repairs");
                assert_eq!(&found, states.last().expect("begun"), "{mode:?} without {without:?}");
                assert_eq!(report.lost, 0);
            }
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_costs_at_most_what_it_hit() {
    let (disk, states) = history();
    let whole = states.last().expect("begun");
    let mut rng = Rng::new(3);
    for name in files(&disk) {
        for at in 0..len(&disk, &name) {
            let copy = disk.copy();
            let bit = 1 << rng.below(8);
            copy.corrupt(&name, |bytes| bytes[at] ^= bit);
            let place = format!("{name}, byte {at}, bit {bit}");
            let (found, report) = repaired(&copy, RepairMode::PointInTime).expect("repairs");
            assert!(states.contains(&found), "{place}: a state that never was");
            if name.starts_with("MANIFEST") {
                assert_eq!((&found, report.lost), (whole, 0), "{place}: the other copy is whole");
                continue;
            }
            assert!(!report.damaged.is_empty() && report.lost > 0, "{place}: {report:?}");
            let (found, report) = repaired(&copy, RepairMode::Salvage).expect("repairs");
            if at < 192 {
                assert!(report.lost > 1, "{place}: without its header a segment is lost");
            } else {
                assert_eq!((report.lost, report.damaged.len()), (1, 1), "{place}: one record");
                let (file, offset, length) = &report.damaged[0];
                assert!(file.ends_with(&name), "{place}");
                assert!((*offset..offset + length).contains(&(at as u64)), "{place}: {report:?}");
                // One record is one put or tombstone less, or a range tombstone over two keys.
                let differ = whole.iter().filter(|&(key, value)| found.get(key) != Some(value)).count();
                let back = found.keys().filter(|key| !whole.contains_key(key)).count();
                assert!(differ + back <= 2, "{place}: {differ} keys differ, {back} came back");
            }
            for (key, value) in &found {
                let ever = states.iter().any(|state| state.get(key) == Some(value));
                assert!(ever, "{place}: key {key} has a value that it never had");
            }
        }
    }
}

#[test]
fn images_whole_damaged_or_gone_do_not_change_what_is_saved() {
    let (disk, states) = compacted_history();
    let whole = states.last().expect("begun");
    let images: Vec<String> = files(&disk).into_iter().filter(|name| name.starts_with("img-")).collect();
    for change in 0..4 {
        let copy = disk.copy();
        for image in &images {
            match change {
                0 => {}
                1 => copy.corrupt(image, |bytes| bytes[4096..].fill(0x55)),
                2 => copy.corrupt(image, |bytes| bytes.truncate(100)),
                _ => copy.remove(image).expect("removes"),
            }
        }
        for manifests in [true, false] {
            if !manifests {
                copy.remove("MANIFEST-A").expect("removes");
                copy.remove("MANIFEST-B").expect("removes");
            }
            for mode in MODES {
                let (found, report) = repaired(&copy, mode).expect("repairs");
                assert_eq!(&found, whole, "{mode:?}, change {change}, manifests {manifests}");
                assert_eq!((report.lost, report.damaged.len()), (0, 0), "{mode:?}, change {change}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_compacted_store_with_images_costs_one_record_at_most() {
    let (disk, states) = compacted_history();
    let whole = states.last().expect("begun");
    let mut rng = Rng::new(4);
    let (mut struck, mut beyond) = (0, 0);
    for name in files(&disk).into_iter().filter(|name| name.starts_with("seg-")) {
        for at in (192..len(&disk, &name)).step_by(3) {
            let copy = disk.copy();
            let bit = 1 << rng.below(8);
            copy.corrupt(&name, |bytes| bytes[at] ^= bit);
            let place = format!("{name}, byte {at}, bit {bit}");
            let (found, report) = repaired(&copy, RepairMode::Salvage).expect("repairs");
            if report.damaged.is_empty() {
                // Nothing counts behind the end that the manifest names.
                assert_eq!((&found, report.lost), (whole, 0), "{place}");
                beyond += 1;
                continue;
            }
            struck += 1;
            assert_eq!(report.damaged.len(), 1, "{place}: {report:?}");
            assert!(report.damaged[0].0.ends_with(&name), "{place}");
            let differ = whole.iter().filter(|&(key, value)| found.get(key) != Some(value)).count();
            let back = found.keys().filter(|key| !whole.contains_key(key)).count();
            assert!(differ + back <= 2, "{place}: {differ} keys differ, {back} came back");
            for (key, value) in &found {
                let ever = states.iter().any(|state| state.get(key) == Some(value));
                assert!(ever, "{place}: key {key} has a value that it never had");
            }
        }
    }
    assert!(struck > 1000 && beyond < struck / 2, "{struck} flips in records, {beyond} behind them");
}

#[test]
fn salvage_finds_what_lies_behind_several_holes_and_in_damaged_batches() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 16, ..options() };
    let store = open(&disk, &options).expect("opens");
    for key in 0..50 {
        store.put(key, &[7; 100]).expect("writes");
    }
    let keys: Vec<i128> = (100..150).collect();
    store.put_many(&keys, &vec![[8; 100]; 50][..], false).expect("writes");
    store.put(1000, b"behind the batch").expect("writes");
    store.close().expect("closes");
    // Each record has 128 bytes; a batch begins with 40 and ends with 32.
    let batch = 192 + 50 * 128;
    disk.corrupt("seg-00000001.log", |bytes| {
        bytes[192 + 128 * 10 + 50] ^= 1;
        bytes[192 + 128 * 20..192 + 128 * 23].fill(0xFF);
        bytes[batch + 30] ^= 1;
        bytes[batch + 40 + 128 * 7 + 3] ^= 1;
        bytes[batch + 40 + 128 * 50 + 3] ^= 1;
    });
    for manifests in [true, false] {
        if !manifests {
            disk.remove("MANIFEST-A").expect("removes");
            disk.remove("MANIFEST-B").expect("removes");
        }
        let (found, report) = repaired(&disk, RepairMode::Salvage).expect("repairs");
        let lost = [10, 20, 21, 22, 107];
        let expected: Vec<i128> =
            (0..50).chain(100..150).chain([1000]).filter(|key| !lost.contains(key)).collect();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), expected);
        assert_eq!((report.lost, report.damaged.len()), (7, 5), "{report:?}");
        let (found, report) = repaired(&disk, RepairMode::PointInTime).expect("repairs");
        assert_eq!(found.into_keys().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert!(report.lost > 80, "{report:?}");
    }
}

#[test]
fn an_unfinished_batch_at_the_end_is_not_kept() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 16, ..options() };
    let store = open(&disk, &options).expect("opens");
    store.put(1, b"one").expect("writes");
    store.put_many(&[2_i64, 3, 4], &[b"two", b"thr", b"fou"][..], false).expect("writes");
    drop(store);
    let disk = disk.restart(Loss::ProcessOnly);
    // As a kill in the middle of a copy leaves it: no commit, nothing behind.
    disk.corrupt("seg-00000001.log", |bytes| {
        let commit = 192 + 32 + 40 + 3 * 32;
        bytes[commit..commit + 32].fill(0);
    });
    for mode in MODES {
        let (found, _) = repaired(&disk, mode).expect("repairs");
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [1], "{mode:?}");
    }
}

#[test]
fn a_crashed_store_without_manifests_is_salvaged_as_recovery_would_open_it() {
    for seed in 0..600 {
        make_compressed(seed % 2 == 1);
        let options = || Options { train_from_bytes: 2500, ..options() };
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut expected = Content::new();
        for _ in 0..3 {
            let Some(store) = open_with_power(&disk, &options()) else {
                disk = disk.restart(Loss::ProcessOnly);
                continue;
            };
            disk.unplan();
            assert_eq!(content(&store), expected, "seed {seed}: a kill loses nothing");
            for _ in 0..rng.below(100) {
                let key = i128::from(rng.below(20));
                if rng.one_in(4) {
                    store.delete(key).expect("deletes");
                    expected.remove(&key);
                } else {
                    let value = value(&mut rng);
                    store.put(key, &value).expect("writes");
                    expected.insert(key, value);
                }
                if rng.one_in(9) {
                    store.flush().expect("flushes");
                }
            }
            drop(store);
            disk = disk.restart(Loss::ProcessOnly);
            // Some openings are cut off, even in the middle of recovery.
            if rng.one_in(2) {
                disk.plan(1 + rng.below(20), Fault::Cut);
            }
        }
        disk.unplan();
        let disk = disk.restart(Loss::ProcessOnly);
        let store = open(&disk.copy(), &Options { read_only: true, ..options() }).expect("opens");
        assert_eq!(content(&store), expected, "seed {seed}: a kill loses nothing");
        for name in ["MANIFEST-A", "MANIFEST-B"] {
            // No manifest exists yet if the first opening was cut off.
            let _ = disk.remove(name);
        }
        if files(&disk).iter().any(|name| name.starts_with("seg-")) && !expected.is_empty() {
            let (found, _) = repaired(&disk, RepairMode::Salvage).expect("repairs");
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}

#[test]
fn a_source_that_is_no_store_is_refused() {
    let source: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let dest = || Arc::new(SimDisk::new(2)) as Arc<dyn Disk>;
    let refused = Store::repair_on(&source, dest(), RepairMode::Salvage, &options());
    assert!(matches!(refused, Err(Error::Format { .. })), "{refused:?}");
}

#[test]
fn the_new_directory_has_its_name_only_once_it_is_whole_and_the_old_one_is_untouched() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let mut quiet = |_| true;
    let store = Store::open(&old, &options(), &mut quiet).expect("opens");
    store.put(1, b"one").expect("writes");
    let locked = Store::repair(&old, &new, RepairMode::Salvage, None, &mut quiet);
    assert!(matches!(locked, Err(Error::Locked { pid: Some(_), .. })), "{locked:?}");
    store.close().expect("closes");
    let snapshot = || -> Vec<_> {
        let read = std::fs::read_dir(&old).expect("lists").map(|entry| entry.expect("lists").path());
        let mut files: Vec<_> = read.map(|path| (std::fs::read(&path).expect("reads"), path)).collect();
        files.sort();
        files
    };
    let before = snapshot();
    for inside in [old.clone(), old.join("in"), old.join("in/deeper"), old.join("../old/in")] {
        let refused = Store::repair(&old, &inside, RepairMode::Salvage, None, &mut quiet);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    std::fs::create_dir_all(&new).expect("creates");
    let report =
        Store::repair(&old, &new, RepairMode::Salvage, None, &mut quiet).expect("an empty one is taken");
    assert_eq!((report.kept, report.lost), (1, 0));
    assert_eq!(before, snapshot(), "the old one is as it was");
    let full = Store::repair(&old, &new, RepairMode::Salvage, None, &mut quiet);
    assert!(matches!(full, Err(Error::Invalid(_))), "{full:?}");
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).expect("lists").map(|e| e.expect("lists").file_name()).collect();
    assert_eq!(names.len(), 2, "no leftover: {names:?}");
    let again = Store::open(&new, &Options { read_only: true, ..options() }, &mut quiet).expect("opens");
    assert_eq!(again.get(1).expect("reads").as_deref(), Some(&b"one"[..]));
}
