//! Many sessions, each so short that it leaves a segment of a few bytes, closed or killed. The number of
//! files is bounded by what is in the store, not by how often it was opened, and nothing that was deleted
//! comes back.

use std::collections::BTreeMap;

use crate::common::{Content, content, open};
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::disk::{Access, Disk};
use alex_store::{Options, Store};

fn options() -> Options {
    Options { segment_bytes: 64 << 10, background: false, ..Options::default() }
}

fn files(disk: &SimDisk) -> usize {
    disk.list().expect("lists").len()
}

/// One session: a few changes to the store and to the model.
fn session(store: &Store, model: &mut Content, rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let key = i128::from(rng.below(60));
        match rng.below(5) {
            0 => {
                store.delete(key).expect("deletes");
                model.remove(&key);
            }
            1 => {
                let range = (std::ops::Bound::Included(key), std::ops::Bound::Included(key + 9));
                store.delete_range(range.0, range.1).expect("deletes");
                model.retain(|other, _| !(key..=key + 9).contains(other));
            }
            _ => {
                let value = vec![rng.next_u64() as u8; rng.below(40) as usize];
                store.put(key, &value).expect("writes");
                model.insert(key, value);
            }
        }
    }
}

#[test]
fn four_hundred_sessions_leave_a_few_files_and_all_that_was_written() {
    for killed in [false, true] {
        let mut disk = SimDisk::new(1);
        let (mut model, mut rng) = (BTreeMap::new(), Rng::new(7));
        for _ in 0..401 {
            let store = open(&disk, &options()).expect("opens");
            session(&store, &mut model, &mut rng);
            if killed {
                drop(store);
                disk = disk.restart(Loss::ProcessOnly);
            } else {
                store.close().expect("closes");
            }
            assert!(files(&disk) <= 16, "{} files: {:?}", files(&disk), disk.list());
        }
        let store = open(&disk, &options()).expect("opens");
        assert_eq!(content(&store), model, "killed: {killed}");
        assert!(store.verify(&mut |_| true).expect("reads").is_ok());
        store.compact(&mut |_| true).expect("compacts");
        assert!(files(&disk) <= 8, "{:?}", disk.list());
        assert_eq!(content(&store), model, "killed: {killed}");
        store.close().expect("closes");
        assert_eq!(content(&open(&disk, &options()).expect("opens")), model);
    }
}

#[test]
fn sessions_behind_an_image_are_merged_too() {
    let disk = SimDisk::new(2);
    let mut model = Content::new();
    let store = open(&disk, &options()).expect("opens");
    for key in 1000..2000 {
        store.put(key, &[3; 20]).expect("writes");
        model.insert(key, vec![3; 20]);
    }
    store.checkpoint().expect("writes an image");
    store.close().expect("closes");
    let mut rng = Rng::new(9);
    for _ in 0..60 {
        let store = open(&disk, &options()).expect("opens");
        session(&store, &mut model, &mut rng);
        store.close().expect("closes");
    }
    assert!(files(&disk) <= 18, "{:?}", disk.list());
    let store = open(&disk, &options()).expect("opens");
    assert_eq!(content(&store), model);
    assert!(store.verify(&mut |_| true).expect("reads").is_ok());
}

#[test]
fn segments_of_every_size_are_merged_by_compact_and_in_the_background() {
    let disk = SimDisk::new(3);
    let options = Options { segment_bytes: 1 << 20, ..options() };
    let store = open(&disk, &options).expect("opens");
    let mut model = Content::new();
    for key in 0..60 {
        store.put(key, &vec![key as u8; key as usize * 400]).expect("writes");
        model.insert(key, vec![key as u8; key as usize * 400]);
        store.end_segment().expect("ends");
    }
    let before = store.stats().expect("open").segments;
    store.tend().expect("tends");
    let between = store.stats().expect("open").segments;
    assert!(between <= before - 30, "{before} segments, then {between}");
    store.compact(&mut |_| true).expect("compacts");
    let after = store.stats().expect("open").segments;
    assert!(after <= 6, "{before} segments, then {between}, then {after}");
    assert_eq!(content(&store), model);
    assert!(store.verify(&mut |_| true).expect("reads").is_ok());
}

fn never_merging() -> Options {
    Options { merge_small_from: usize::MAX, ..options() }
}

/// A store of a key for each of twenty sessions, in as many segments. The last session may be killed.
fn twenty_sessions(closed: bool) -> SimDisk {
    let disk = SimDisk::new(4);
    for key in 0..20 {
        let store = open(&disk, &never_merging()).expect("opens");
        store.put(key, b"value").expect("writes");
        if closed || key < 19 {
            store.close().expect("closes");
        }
    }
    disk
}

#[test]
fn opening_a_store_that_was_closed_writes_nothing_however_many_small_segments_it_has() {
    let disk = twenty_sessions(true);
    let (before, steps) = (files(&disk), disk.steps());
    let store = open(&disk, &options()).expect("opens");
    store.close().expect("closes");
    assert_eq!((files(&disk), disk.steps()), (before, steps), "nothing was written");
    let store = open(&disk, &options()).expect("opens");
    store.put(20, b"value").expect("writes");
    store.close().expect("closes");
    assert!(files(&disk) <= 6, "{:?}", disk.list());
    assert_eq!(open(&disk, &options()).expect("opens").len().expect("open"), 21);
}

#[test]
fn small_segments_behind_a_large_image_are_bounded_by_its_bytes() {
    for killed in [false, true] {
        let mut disk = SimDisk::new(5);
        // With segments this small, an image is worth one for every 512 bytes of it.
        let options = Options { segment_bytes: 4096, ..options() };
        let store = open(&disk, &options).expect("opens");
        let mut model = Content::new();
        for key in 10_000..14_000 {
            store.put(key, &[]).expect("writes");
            model.insert(key, Vec::new());
        }
        store.compact(&mut |_| true).expect("compacts");
        store.checkpoint().expect("writes an image");
        store.close().expect("closes");
        let image =
            disk.list().expect("lists").into_iter().find(|name| name.starts_with("img-")).expect("an image");
        let bytes = disk.open(&image, Access::Read).expect("opens").len().expect("reads");
        let (base, bound) = (files(&disk), bytes as usize / 512);
        assert!(bound > 64, "more than are merged at a time: {bound}");
        let mut rng = Rng::new(11);
        for _ in 0..3 * bound {
            let store = open(&disk, &options).expect("opens");
            session(&store, &mut model, &mut rng);
            if killed {
                drop(store);
                disk = disk.restart(Loss::ProcessOnly);
            } else {
                store.close().expect("closes");
            }
            let now = files(&disk);
            assert!(now <= base + bound + bound / 8 + 16, "{now} files, {base} before, {bound} allowed");
        }
        let store = open(&disk, &options).expect("opens");
        assert_eq!(content(&store), model);
        assert!(store.verify(&mut |_| true).expect("reads").is_ok());
    }
}

#[test]
fn a_full_disk_does_not_keep_a_store_from_opening() {
    let disk = twenty_sessions(false);
    let disk = disk.restart(Loss::ProcessOnly);
    let recovery = {
        let disk = disk.copy();
        let before = disk.steps();
        drop(open(&disk, &never_merging()).expect("opens"));
        disk.steps() - before
    };
    let before = files(&disk);
    disk.plan(recovery + 1, Fault::Full);
    let store = open(&disk, &options()).expect("opens without merging");
    assert_eq!(disk.struck(), [Fault::Full]);
    assert_eq!(store.len().expect("open"), 20);
    assert!(files(&disk) >= before);
}
