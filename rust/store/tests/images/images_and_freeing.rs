//! Images of the index beside compaction and bulk loads. Whatever a kept image points to, and whatever is
//! replayed over it, stays. That includes the older image, which is read only once the newer one turns out to
//! be damaged.

use std::io::ErrorKind;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::two_images::{files, moved_between_two_images, put_all};
use crate::common::{Content, content, for_seeds, open};
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::{Options, Store};

/// An image of this many keys has several data nodes.
const MANY: i128 = 60_000;

/// A change of any kind. The small set of keys lets each change meet earlier ones.
fn change(store: &Store, rng: &mut Rng, model: &mut Content) {
    let key = |rng: &mut Rng| i128::from(rng.below(24));
    match rng.below(8) {
        0 => {
            let (a, b) = (key(rng), key(rng));
            store.delete_range(Bound::Included(a.min(b)), Bound::Included(a.max(b))).expect("no fault");
            model.retain(|key, _| !(a.min(b)..=a.max(b)).contains(key));
        }
        1..=2 => {
            let key = key(rng);
            store.delete(key).expect("no fault");
            model.remove(&key);
        }
        3..=4 => {
            let keys: Vec<i128> = (0..rng.below(12)).map(|_| key(rng)).collect();
            let values: Vec<Vec<u8>> =
                keys.iter().map(|_| vec![rng.next_u64() as u8; rng.below(90) as usize]).collect();
            store.bulk_load(&keys, &values[..], &mut |_| true).expect("no fault");
            model.extend(keys.into_iter().zip(values));
        }
        _ => {
            let (key, value) = (key(rng), vec![rng.next_u64() as u8; rng.below(120) as usize]);
            store.put(key, &value).expect("no fault");
            model.insert(key, value);
        }
    }
}

/// Work that moves things and changes no content.
fn work(store: &Store, rng: &mut Rng) -> Result<(), alex_store::Error> {
    match rng.below(6) {
        0..=1 => store.checkpoint(),
        2 => store.end_segment(),
        3 => store.compact(&mut |_| true).map(|_| ()),
        _ => {
            let chosen = rng.next_u64();
            store.compact_some(&|id| chosen >> (id % 64) & 1 == 1)
        }
    }
}

/// Up to `steps` steps, of which one in three is work, and the others are changes.
fn live(store: &Store, steps: u64, rng: &mut Rng, model: &mut Content) {
    for _ in 0..rng.below(steps) {
        if rng.one_in(3) {
            work(store, rng).expect("no fault");
        } else {
            change(store, rng, model);
        }
    }
}

#[test]
fn an_opening_finds_the_same_from_any_image_after_any_mix_of_compactions_and_cuts() {
    let (older, none) = (AtomicU64::new(0), AtomicU64::new(0));
    for_seeds("whichever_image_an_opening_begins_from", 20, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Content::new();
        for life in 0..3 {
            let store = open(&disk, &quiet()).expect("opens");
            live(&store, 30, &mut rng, &mut model);
            if rng.one_in(5) {
                store.close().expect("no fault");
            } else {
                store.flush().expect("no fault");
                // In the middle of work that changes no content.
                disk.plan(1 + rng.below(40), Fault::Cut);
                for _ in 0..40 {
                    if work(&store, &mut rng).is_err() || !disk.has_power() {
                        break;
                    }
                }
            }
            drop(store);
            let loss = [Loss::Everything, Loss::Random, Loss::ProcessOnly][rng.below(3) as usize];
            disk = disk.restart(loss);
            let images = files(&disk, "img-");
            for damaged in 0..=images.len() {
                let copy = disk.copy();
                for name in images.iter().rev().take(damaged) {
                    copy.corrupt(name, |bytes| {
                        // The blocks of the data nodes, which are read only when they are used.
                        let at = 4096.min(bytes.len().saturating_sub(1));
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= 0x10;
                        }
                    });
                }
                let store = open(&copy, &quiet())
                    .unwrap_or_else(|error| panic!("life {life}, {damaged} of {images:?} damaged: {error}"));
                assert_eq!(content(&store), model, "life {life}, {damaged} of {images:?} damaged");
                older.fetch_add(u64::from(damaged == 1 && images.len() == 2), Ordering::Relaxed);
                none.fetch_add(u64::from(damaged > 0 && damaged == images.len()), Ordering::Relaxed);
                // The store can be worked with, and opened again.
                let mut model = model.clone();
                for _ in 0..4 {
                    change(&store, &mut rng, &mut model);
                    work(&store, &mut rng).expect("no fault");
                }
                assert_eq!(content(&store), model, "life {life}, {damaged} damaged, after more work");
                store.flush().expect("no fault");
                drop(store);
                let store = open(&copy.restart(Loss::Everything), &quiet()).expect("opens again");
                assert_eq!(content(&store), model, "life {life}, {damaged} damaged, opened again");
            }
        }
    });
    let (older, none) = (older.into_inner(), none.into_inner());
    assert!(older > 20 && none > 20, "{older} openings from the older image, {none} without any");
}

#[test]
fn no_opening_gives_up_an_image_that_is_whole() {
    let at_a_beginning = AtomicU64::new(0);
    for_seeds("no_opening_gives_up_an_image", 20, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        for life in 0..4 {
            let store = open(&disk, &quiet()).expect("opens");
            let mut model = content(&store);
            live(&store, 20, &mut rng, &mut model);
            if rng.one_in(3) {
                // The image begins with a segment of the log that has no record yet.
                store.end_segment().expect("no fault");
                store.checkpoint().expect("no fault");
                at_a_beginning.fetch_add(1, Ordering::Relaxed);
            }
            match rng.below(4) {
                0 => store.close().expect("no fault"),
                1 => store.flush().expect("no fault"),
                2 => change(&store, &mut rng, &mut model),
                _ => {}
            }
            let images = files(&disk, "img-");
            drop(store);
            let loss = [Loss::Everything, Loss::Random, Loss::ProcessOnly][rng.below(3) as usize];
            disk = disk.restart(loss);
            for opening in 0..3 {
                let store = open(&disk, &quiet()).expect("opens");
                let left = files(&disk, "img-");
                let what = format!("life {life}, opening {opening} after {loss:?}: {left:?} of {images:?}");
                // Merging small segments may put a newer one in its place.
                assert!(left.last() >= images.last(), "{what}");
                store.close().expect("no fault");
            }
        }
    });
    assert!(at_a_beginning.into_inner() > 20);
}

#[test]
fn a_segment_stays_while_a_kept_image_points_into_it_and_goes_with_the_image() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &Options { segment_bytes: 64 << 10, ..quiet() }).expect("opens");
    let mut model = Content::new();
    put_all(&store, &mut model, 0..300, 1);
    store.end_segment().expect("no fault");
    store.checkpoint().expect("no fault");
    let old = files(&disk, "seg-").remove(0);
    store.compact_some(&|id| id == 1).expect("no fault");
    let after = |loss| {
        let copy = disk.copy().restart(loss);
        let store = open(&copy, &quiet()).expect("opens");
        assert_eq!(content(&store), model);
    };
    assert!(files(&disk, "seg-").contains(&old), "the image points there");
    after(Loss::Everything);
    put_all(&store, &mut model.clone(), 500..501, 1);
    store.checkpoint().expect("no fault");
    store.compact_some(&|_| false).expect("frees what may go");
    assert!(files(&disk, "seg-").contains(&old), "the older of the images points there");
    store.delete(500).expect("no fault");
    store.checkpoint().expect("no fault");
    store.compact_some(&|_| false).expect("frees what may go");
    assert!(!files(&disk, "seg-").contains(&old), "no image is left that needs it");
    after(Loss::Everything);
    assert_eq!(content(&store), model);
}

#[test]
fn a_tombstone_that_is_replayed_over_a_kept_image_stays_in_the_log() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &quiet()).expect("opens");
    let mut model = Content::new();
    put_all(&store, &mut model, 0..10, 1);
    store.checkpoint().expect("no fault");
    put_all(&store, &mut model, 20..21, 1);
    store.end_segment().expect("no fault");
    let before = files(&disk, "seg-").len() as u32;
    store.delete(3).expect("no fault");
    model.remove(&3);
    store.end_segment().expect("no fault");
    // The deletion goes into a copy, outside the log.
    store.compact_some(&|id| id >= before).expect("no fault");
    drop(store);
    let store = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(content(&store), model, "the deletion is not forgotten");
}

#[test]
fn compacting_gives_the_space_back_in_spite_of_images_and_leaves_one_to_open_from() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 8192, ..quiet() };
    let store = open(&disk, &options).expect("opens");
    let mut model = Content::new();
    for round in 0..20 {
        put_all(&store, &mut model, 0..100, round);
        if round % 5 == 0 {
            store.checkpoint().expect("no fault");
        }
    }
    store.delete_many(&(10..100).collect::<Vec<i64>>()).expect("no fault");
    model.retain(|key, _| *key < 10);
    assert!(files(&disk, "seg-").len() > 10 && files(&disk, "img-").len() == 2);
    store.compact(&mut |_| true).expect("no fault");
    assert!(files(&disk, "seg-").len() <= 3, "{:?}", files(&disk, "seg-"));
    assert_eq!(files(&disk, "img-").len(), 1);
    assert_eq!(content(&store), model);
    drop(store);
    let disk = disk.restart(Loss::Everything);
    let store = open(&disk, &options).expect("opens");
    assert_eq!(content(&store), model);
    assert!(store.stats().expect("open").tail_bytes < 500, "opened from the image");
    assert!(store.verify(&mut |_| true).expect("reads").is_ok());
}

#[test]
fn a_disk_too_full_for_a_new_image_loses_the_images_and_gives_the_space_back() {
    let disk = SimDisk::new(1);
    let hooked = HookDisk::new(&disk);
    let store = hooked.open_store(&Options { segment_bytes: 8192, ..quiet() }).expect("opens");
    let mut model = Content::new();
    for round in 0..20 {
        put_all(&store, &mut model, 0..100, round);
    }
    store.checkpoint().expect("no fault");
    put_all(&store, &mut model, 0..100, 99);
    hooked.hook(|call| match call {
        Call::Write(name, ..) if name.starts_with("img-") => Err(std::io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    });
    store.compact(&mut |_| true).expect("needs no image");
    hooked.unhook();
    assert!(files(&disk, "seg-").len() <= 4, "{:?}", files(&disk, "seg-"));
    assert_eq!(files(&disk, "img-").len(), 0);
    assert_eq!(content(&store), model);
    drop(store);
    let store = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(content(&store), model);
}

#[test]
fn damage_found_in_an_image_does_not_free_segments_that_were_emptied_before() {
    let (disk, mut model) = moved_between_two_images(MANY, 40_000);
    let store = open(&disk, &quiet()).expect("opens");
    // By the newer image, all of it was moved to a copy.
    store.compact_some(&|id| id == 1).expect("no fault");
    let images = files(&disk, "img-");
    assert_eq!(store.get(MANY - 1).expect("answers").as_deref(), Some(&model[&(MANY - 1)][..]));
    // By the older image, it is where it always was.
    for mark in 4..7 {
        put_all(&store, &mut model, 0..1, mark);
        store.checkpoint().expect("no fault");
        store.compact_some(&|_| false).expect("frees what may go");
    }
    assert!(images.iter().all(|image| !files(&disk, "img-").contains(image)), "the damage was met");
    assert_eq!(content(&store), model);
    drop(store);
    let store = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(content(&store), model);
}

#[test]
fn an_index_rebuilt_while_segments_are_freed_does_without_them() {
    let (disk, mut model) = moved_between_two_images(MANY, 40_000);
    let hooked = HookDisk::new(&disk);
    let store = hooked.open_store(&quiet()).expect("opens");
    put_all(&store, &mut model, 0..2000, 3);
    let (reader, mut removed) = (store.clone(), 0);
    let met = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&met);
    hooked.hook(move |call| {
        match call {
            // The first step of making an image: images are given up unread, so that segments are freed
            // before the damage is found.
            Call::Remove(name) if name.starts_with("img-") => {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            Call::Remove(name) if name.starts_with("seg-") => {
                removed += 1;
                if removed == 2 {
                    let found = reader.get(MANY - 1).expect("the index is built anew");
                    assert!(found.is_some());
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => {}
        }
        Ok(())
    });
    store.compact(&mut |_| true).expect("no fault");
    hooked.unhook();
    assert_eq!(met.load(Ordering::Relaxed), 1, "two files were removed");
    assert_eq!(content(&store), model);
    drop(store);
    let store = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(content(&store), model);
}

/// Whether it finished while the image was written, and its thread.
type Compaction = (bool, std::thread::JoinHandle<()>);

#[test]
fn no_image_is_written_across_the_moving_of_an_index() {
    let disk = SimDisk::new(1);
    let hooked = HookDisk::new(&disk);
    let store = hooked.open_store(&Options { segment_bytes: 4 << 20, ..quiet() }).expect("opens");
    let mut model = Content::new();
    put_all(&store, &mut model, 0..MANY, 1);
    put_all(&store, &mut model, 0..100, 2);
    store.end_segment().expect("no fault");
    let compaction: Arc<Mutex<Option<Compaction>>> = Arc::default();
    let (started, other) = (Arc::clone(&compaction), store.clone());
    hooked.hook(move |call| {
        // A part of the image is written, and the rest is yet to be read.
        let mut started = started.lock().expect("no panic");
        if matches!(call, Call::Write(name, ..) if name.starts_with("img-")) && started.is_none() {
            let store = other.clone();
            let thread = std::thread::spawn(move || store.compact_some(&|_| true).expect("no fault"));
            let until = Instant::now() + Duration::from_millis(700);
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            *started = Some((thread.is_finished(), thread));
        }
        Ok(())
    });
    store.checkpoint().expect("no fault");
    hooked.unhook();
    let (done, thread) = compaction.lock().expect("no panic").take().expect("an image was written");
    assert!(!done, "the image waits for what was moved, or the moving for the image");
    thread.join().expect("no panic");
    assert_eq!(content(&store), model);
    store.flush().expect("no fault");
    drop(store);
    // `content` also checks the count of live bytes.
    let store = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(content(&store), model);
}

/// The nth change of the manifests reaches one of them only, on a disk that has no room for an image, and then the
/// index is found damaged. Whether there were so many changes.
fn freed_in_one_manifest(nth: u64) -> bool {
    let sim = SimDisk::new(1);
    let options = Options { segment_bytes: 4 << 20, ..quiet() };
    let store = open(&sim, &options).expect("opens");
    let mut model = Content::new();
    put_all(&store, &mut model, 1000..MANY, 1);
    store.end_segment().expect("no fault");
    // Segment 2 has the put, segment 3 its tombstone, and then a relocation has that.
    put_all(&store, &mut model, 0..10, 2);
    store.end_segment().expect("no fault");
    store.delete(7).expect("no fault");
    model.remove(&7);
    store.end_segment().expect("no fault");
    put_all(&store, &mut model, 20..30, 3);
    store.compact_some(&|id| id == 3).expect("no fault");
    store.checkpoint().expect("no fault");
    store.compact_some(&|_| false).expect("frees segment 3");
    store.flush().expect("no fault");
    drop(store);
    let segments = files(&sim, "seg-");
    assert!(!segments.contains(&"seg-00000003.log".to_owned()), "{segments:?}");

    let sim = sim.restart(Loss::Everything);
    let image = files(&sim, "img-").pop().expect("one");
    sim.corrupt(&image, |bytes| {
        let at = bytes.len() - 300_000;
        bytes[at] ^= 1;
    });
    let disk = HookDisk::new(&sim);
    let store = disk.open_store(&options).expect("opens");
    store.compact_some(&|id| id != 1).expect("moves what segment 2 and the relocation hold");
    let changes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&changes);
    disk.hook(move |call| match call {
        Call::Create(name, _) if name.starts_with("img-") => Err(ErrorKind::StorageFull.into()),
        Call::Write("MANIFEST-B.new", ..) if counted.fetch_add(1, Ordering::Relaxed) == nth => {
            Err(ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    let outcome = store.compact(&mut |_| true);
    disk.unhook();
    let failed = changes.load(Ordering::Relaxed) > nth;
    assert!(outcome.is_ok() || failed, "{outcome:?}");
    assert_eq!(store.get(7).expect("reads").map(|_| ()), None);
    assert_eq!(content(&store), model, "the damage is met, and the index is built anew");
    drop(store);
    let store = open(&sim.restart(Loss::Everything), &options).expect("opens");
    assert_eq!(content(&store), model);
    failed
}

#[test]
fn a_deleted_key_stays_deleted_where_freeing_reached_one_manifest_and_the_index_is_built_anew() {
    let changes = (0..20).take_while(|&nth| freed_in_one_manifest(nth)).count();
    assert!((2..20).contains(&changes), "images are given up, and segments freed: {changes}");
}
