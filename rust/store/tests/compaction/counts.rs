//! The live and dead bytes of segments, which decide when to compact, stay those of the records, whatever was
//! cut, damaged or rebuilt meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::two_images::{files, moved_between_two_images, put_all, two_segments};
use crate::common::{Content, content, open};
use alex_store::Options;
use alex_store::disk::sim::{Loss, SimDisk};

const MANY: i128 = 150_000;

#[test]
fn an_image_written_while_the_index_is_rebuilt_counts_what_it_points_to() {
    let options = two_segments();
    // Neither in the first leaf nor in the last one.
    let (disk, mut model) = moved_between_two_images(MANY, 700_000);
    let hooked = HookDisk::new(&disk);
    let store = hooked.open_store(&options).expect("opens");
    put_all(&store, &mut model, 0..1, 4);
    let met = Arc::new(AtomicU64::new(0));
    let (counted, reader) = (Arc::clone(&met), store.clone());
    hooked.hook(move |call| {
        // A part of the image is written, from the index that is about to be given up.
        if matches!(call, Call::Write(name, ..) if name.starts_with("img-"))
            && counted.fetch_add(1, Ordering::Relaxed) == 0
        {
            for key in (MANY / 2..MANY).step_by(1000) {
                assert!(reader.get(key).expect("the index is built anew").is_some());
            }
        }
        Ok(())
    });
    store.checkpoint().expect("no fault");
    hooked.unhook();
    assert!(met.load(Ordering::Relaxed) > 0);
    assert_eq!(content(&store), model);
    store.flush().expect("no fault");
    drop(store);
    let store = open(&disk.restart(Loss::Everything), &options).expect("opens");
    assert_eq!(content(&store), model);
    put_all(&store, &mut model, 0..MANY / 2, 5);
    // Includes a check of its live bytes.
    assert_eq!(content(&store), model);
    // What counts as dead can be freed.
    store.compact(&mut |_| true).expect("no fault");
    let stats = store.stats().expect("open");
    assert_eq!(content(&store), model);
    assert!(stats.dead_bytes < stats.live_bytes / 100, "{stats:?}");
}

#[test]
fn records_that_recovery_writes_again_do_not_count_twice() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 20, ..quiet() };
    let store = open(&disk, &options).expect("opens");
    let mut model = Content::new();
    put_all(&store, &mut model, 0..100, 1);
    store.flush().expect("no fault");
    put_all(&store, &mut model, 100..3000, 2);
    for key in 0..50 {
        store.delete(key).expect("no fault");
        model.remove(&key);
    }
    let before = store.stats().expect("open");
    drop(store);
    let store = open(&disk.restart(Loss::ProcessOnly), &options).expect("opens");
    assert_eq!(content(&store), model);
    let after = store.stats().expect("open");
    assert_eq!(after.live_bytes, before.live_bytes);
    // Some marks may appear or disappear.
    assert!(after.dead_bytes.abs_diff(before.dead_bytes) < 500, "{before:?}\n{after:?}");
}

#[test]
fn a_record_whose_length_is_damaged_does_not_upset_the_counts_when_it_is_replaced() {
    for read_mode in [alex_store::ReadMode::Mmap, alex_store::ReadMode::Pread] {
        let disk = SimDisk::new(1);
        let options = Options { segment_bytes: 1 << 20, read_mode, ..quiet() };
        let store = open(&disk, &options).expect("opens");
        let mut model = Content::new();
        put_all(&store, &mut model, 0..100, 1);
        store.end_segment().expect("no fault");
        store.checkpoint().expect("no fault");
        store.close().expect("no fault");
        drop(store);
        let disk = disk.restart(Loss::Everything);
        let first = files(&disk, "seg-").remove(0);
        // The record behind the segment's header and the begin of the batch: key 0.
        disk.corrupt(&first, |bytes| bytes[192 + 40 + 7] = 1);
        let store = open(&disk, &options).expect("opens from the image");
        assert!(store.get(0).is_err(), "it is damaged");
        let before = store.stats().expect("open");
        put_all(&store, &mut model, 0..1, 2);
        let after = store.stats().expect("open");
        assert!(after.live_bytes <= before.live_bytes + 100);
        put_all(&store, &mut model, 0..100, 3);
        let dead = store.stats().expect("open").dead_bytes;
        assert!(dead > before.dead_bytes + 100 * 24, "what else is dead still counts: {dead}");
        store.tend().expect("no fault");
        store.checkpoint().expect("no fault");
        store.tend().expect("no fault");
    }
}
