//! Checkpoints: openings that begin from an image find what a full scan finds, whatever was cut, damaged or
//! raced.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Content, content, open};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::{Batch, OpenProgress, Options, ReadMode, ScanRange, Stats, Store, WriteMode};

const ALL: ScanRange =
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };

fn quiet() -> Options {
    Options {
        background: false,
        sync_interval: std::time::Duration::from_secs(3600),
        segment_bytes: 64 << 10,
        ..Options::default()
    }
}

fn images(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().expect("the power is on");
    names.retain(|name| name.starts_with("img-"));
    names.sort();
    names
}

fn counts(stats: &Stats) -> (u64, u64, u64) {
    (stats.keys, stats.live_bytes, stats.dead_bytes)
}

/// Opens a store and returns how many bytes of log it had to replay.
fn open_counting(path: &Path, options: &Options) -> (Store, u64) {
    let mut most = 0;
    let store = Store::open(path, options, &mut |progress: OpenProgress| {
        most = most.max(progress.bytes_total);
        true
    });
    (store.expect("opens"), most)
}

fn fill(store: &Store, keys: std::ops::Range<i128>, mark: u8) {
    let keys: Vec<i128> = keys.collect();
    let values: Vec<Vec<u8>> = keys.iter().map(|key| vec![mark; (*key % 40) as usize]).collect();
    store.put_many(&keys, &values[..], false).expect("no fault");
}

/// Keys and values, read by a scan, for stores too large for `content`.
fn everything(store: &Store) -> Content {
    let mut scan = store.scan(ALL).expect("open");
    let mut content = Content::new();
    loop {
        let run = scan.next_run(5000).expect("readable");
        if run.keys.is_empty() {
            return content;
        }
        for (i, key) in run.keys.iter().enumerate() {
            content.insert(key, run.values.get(i).expect("there").to_vec());
        }
    }
}

#[test]
fn an_opening_replays_only_what_came_after_the_image_and_counts_what_a_full_scan_counts() {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        let options = Options { segment_bytes: 32 << 20, read_mode, ..quiet() };
        let store = Store::open(&path, &options, &mut |_| true).expect("opens");
        for key in -12..0 {
            // Progress is reported every eight mebibytes.
            store.put(key, &vec![9; 1 << 20]).expect("no fault");
        }
        fill(&store, 0..60_000, 1);
        fill(&store, 20_000..30_000, 2);
        store.delete_range(Bound::Included(5_000), Bound::Excluded(6_000)).expect("no fault");
        store.checkpoint().expect("no fault");
        assert_eq!(store.stats().expect("open").tail_bytes, 0);
        let tail_from = store.stats().expect("open").live_bytes + store.stats().expect("open").dead_bytes;
        fill(&store, 59_000..61_000, 3);
        store.delete_many(&[1_i64, 2, 3, 61_001]).expect("no fault");
        let expected = everything(&store);
        let before = store.stats().expect("open");
        let tail = before.live_bytes + before.dead_bytes - tail_from;
        assert_eq!(before.tail_bytes, tail);
        drop(store);

        let (store, replayed) = open_counting(&path, &options);
        assert_eq!(everything(&store), expected);
        assert_eq!(replayed, 0, "too little to tell of progress");
        let after = store.stats().expect("open");
        assert_eq!(after.keys, before.keys);
        assert_eq!(after.live_bytes, before.live_bytes, "live bytes are exact after an image");
        assert!(after.tail_bytes <= 2 * tail + 4096, "{} of {tail}", after.tail_bytes);
        // Change what came from the image, and change it again.
        fill(&store, 100..200, 4);
        store.close().expect("no fault");
        let (store, replayed) = open_counting(&path, &options);
        assert_eq!(replayed, 0);
        let by_image = store.stats().expect("open");
        let expected = everything(&store);
        store.close().expect("no fault");
        for entry in std::fs::read_dir(&path).expect("readable") {
            let entry = entry.expect("readable").path();
            if entry.extension().is_some_and(|extension| extension == "idx") {
                std::fs::remove_file(entry).expect("ours");
            }
        }
        let (store, replayed) = open_counting(&path, &options);
        assert!(replayed > 12 << 20, "without images all of the log is read: {replayed}");
        assert_eq!(everything(&store), expected);
        assert_eq!(counts(&store.stats().expect("open")), counts(&by_image), "as a full scan counts");
    }
}

#[test]
fn two_images_are_kept_and_unlisted_ones_are_removed() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &quiet()).expect("opens");
    store.checkpoint().expect("nothing to do");
    assert_eq!(images(&disk).len(), 0, "no image of nothing");
    for round in 0..5 {
        store.put(round, b"value").expect("no fault");
        store.checkpoint().expect("no fault");
        store.checkpoint().expect("nothing new");
        assert_eq!(images(&disk).len(), 2.min(round as usize + 1));
    }
    let newest = images(&disk);
    drop(store);
    let disk = disk.restart(Loss::ProcessOnly);
    disk.create("img-000000ff.idx", 0).expect("a file");
    let store = open(&disk, &quiet()).expect("opens");
    assert_eq!(images(&disk), newest, "what a cut checkpoint left is removed");
    store.put(9, b"nine").expect("no fault");
    store.checkpoint().expect("no fault");
    let after = images(&disk);
    assert!(after.contains(&"img-00000100.idx".to_owned()), "ids are not used twice: {after:?}");
}

#[test]
fn older_images_leave_memory_where_it_is_short_but_the_one_that_the_index_reads() {
    for crowded in [false, true] {
        let disk = SimDisk::new(1);
        let store = open(&disk, &quiet()).expect("opens");
        fill(&store, 0..1000, 1);
        store.checkpoint().expect("no fault");
        store.close().expect("closes");
        let disk = disk.restart(Loss::ProcessOnly);
        let store = open(&disk, &quiet()).expect("opens");
        if crowded {
            disk.crowd(1);
        }
        for (round, expected) in [(1, [false, false]), (2, [crowded, false])] {
            fill(&store, round * 1000..(round + 1) * 1000, 1);
            store.checkpoint().expect("no fault");
            let let_go: Vec<bool> = images(&disk).iter().map(|name| disk.let_go(name)).collect();
            assert_eq!(let_go, expected, "image {round} since the opening, memory short: {crowded}");
        }
        assert_eq!(everything(&store).len(), 3000);
        store.close().expect("closes");
    }
}

#[test]
fn closing_writes_an_image_only_if_the_tail_is_worth_it() {
    let disk = SimDisk::new(1);
    let options = Options { checkpoint_tail_bytes: 500, ..quiet() };
    let store = open(&disk, &options).expect("opens");
    store.put(1, b"small").expect("no fault");
    store.close().expect("no fault");
    assert_eq!(images(&disk).len(), 0);
    let store = open(&disk, &Options { checkpoint_tail_bytes: 1 << 20, ..quiet() }).expect("opens");
    for key in 0..20 {
        store.put(key, &[7; 40]).expect("no fault");
    }
    assert_eq!(images(&disk).len(), 0);
    drop(store);
    let disk = disk.restart(Loss::ProcessOnly);
    let store = open(&disk, &options).expect("opens");
    store.close().expect("no fault");
    assert_eq!(images(&disk).len(), 1);
    let store = open(&disk, &options).expect("opens");
    assert_eq!(store.stats().expect("open").tail_bytes, 0);
    assert_eq!(content(&store).len(), 20);
    // Nothing was written, so there is nothing to do.
    let steps = disk.steps();
    store.close().expect("no fault");
    assert_eq!(disk.steps(), steps);
}

#[test]
fn what_compaction_wrote_counts_as_long_as_there_is_no_image() {
    let disk = SimDisk::new(1);
    let seldom = Options { checkpoint_tail_bytes: 1 << 30, ..quiet() };
    let store = open(&disk, &seldom).expect("opens");
    fill(&store, 0..5_000, 1);
    let odd: Vec<i128> = (1..5_000).step_by(2).collect();
    store.put_many(&odd, &vec![[2; 20]; odd.len()][..], false).expect("no fault");
    // Moves the even ones, and leaves the odd ones in the log.
    store.compact(&mut |_| true).expect("no fault");
    store.close().expect("no fault");
    assert_eq!(images(&disk).len(), 0);
    let store = open(&disk, &Options { checkpoint_tail_bytes: 64 << 10, ..quiet() }).expect("opens");
    let stats = store.stats().expect("open");
    assert!(stats.tail_bytes >= stats.live_bytes, "the opening read all of it: {stats:?}");
    store.put(1, b"so that closing writes").expect("no fault");
    store.close().expect("no fault");
    assert_eq!(images(&disk).len(), 1, "the next opening reads no more than the image");
}

#[test]
fn a_checkpoint_cut_at_each_of_its_steps_loses_nothing_and_brings_nothing_back() {
    let prepare = |seed: u64| -> (SimDisk, Store, Content) {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let options = Options {
            segment_bytes: 4096,
            write_mode: [WriteMode::Mmap, WriteMode::Pwrite][rng.below(2) as usize],
            ..quiet()
        };
        let store = open(&disk, &options).expect("opens");
        let mut expected = Content::new();
        for round in 0..3 {
            for key in 0..12 {
                if rng.one_in(3) {
                    store.delete(key).expect("no fault");
                    expected.remove(&key);
                } else {
                    let value = vec![round as u8; rng.below(200) as usize];
                    store.put(key, &value).expect("no fault");
                    expected.insert(key, value);
                }
            }
            if round < 2 {
                store.checkpoint().expect("no fault");
            }
        }
        (disk, store, expected)
    };
    for seed in 0..4 {
        let (disk, store, _) = prepare(seed);
        let before = disk.steps();
        store.checkpoint().expect("no fault");
        let steps = disk.steps() - before;
        assert!(steps >= 15, "{steps} steps");
        for loss in [Loss::Everything, Loss::Random, Loss::ProcessOnly] {
            for cut in 1..=steps {
                let (disk, store, expected) = prepare(seed);
                // Make everything durable first, so that a power cut may lose nothing.
                store.flush().expect("no fault");
                disk.plan(cut, Fault::Cut);
                // The last steps only remove what is no longer needed.
                let _ = store.checkpoint();
                drop(store);
                let disk = disk.restart(loss);
                let store = open(&disk, &quiet()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
                assert_eq!(content(&store), expected, "cut at {cut} with {loss:?}");
                assert!(images(&disk).len() <= 3, "orphans are removed: {:?}", images(&disk));
                store.put(50, b"after").expect("goes on");
                store.checkpoint().expect("goes on");
                assert!(images(&disk).len() <= 2, "orphans are removed: {:?}", images(&disk));
                drop(store);
                let store = open(&disk.restart(Loss::Everything), &quiet()).expect("opens again");
                assert_eq!(store.len().expect("open"), expected.len() as u64 + 1);
            }
        }
    }
}

/// A store of a few leaves with two images, closed or killed, and its content.
fn with_images(clean: bool, count: i128) -> (SimDisk, Content) {
    let disk = SimDisk::new(3);
    let options = Options { segment_bytes: 64 << 10, checkpoint_tail_bytes: 1 << 30, ..quiet() };
    let store = open(&disk, &options).expect("opens");
    let keys: Vec<i128> = (0..count).map(|i| i * i * 31).collect();
    let values: Vec<Vec<u8>> = keys.iter().map(|key| vec![*key as u8; (key % 9) as usize]).collect();
    let most = keys.len() * 2 / 3;
    store.put_many(&keys[..most], &values[..most], false).expect("no fault");
    store.checkpoint().expect("no fault");
    store.put_many(&keys[most - 100..], &values[most - 100..], false).expect("no fault");
    store.delete_many(&keys[..50]).expect("no fault");
    store.checkpoint().expect("no fault");
    store.put(-5, b"minus five").expect("no fault");
    store.delete(keys[100]).expect("no fault");
    store.flush().expect("no fault");
    let expected = content(&store);
    if clean {
        store.close().expect("no fault");
    }
    drop(store);
    let disk = disk.restart(Loss::ProcessOnly);
    assert_eq!(images(&disk).len(), 2);
    (disk, expected)
}

#[test]
fn both_images_damaged_or_gone_is_a_full_scan_with_progress() {
    for clean in [true, false] {
        for gone in [true, false] {
            for read_only in [false, true] {
                let (disk, expected) = with_images(clean, 900);
                for name in images(&disk) {
                    if gone {
                        disk.remove(&name).expect("there");
                    } else {
                        disk.corrupt(&name, |bytes| bytes[700] ^= 4);
                    }
                }
                let mut called = 0;
                let options = Options { read_only, ..quiet() };
                let store = Store::open_on(
                    Arc::new(disk.clone()),
                    Path::new("simulated"),
                    &options,
                    &mut |progress| {
                        called += 1;
                        assert!(progress.bytes_done <= progress.bytes_total);
                        true
                    },
                )
                .expect("opens");
                // A small log: the callback is called every few mebibytes.
                assert_eq!(called, 0);
                assert_eq!(content(&store), expected);
                if !read_only {
                    assert_eq!(images(&disk).len(), 0, "they are of no more use");
                    store.checkpoint().expect("no fault");
                    assert_eq!(images(&disk).len(), 1);
                }
            }
        }
    }
}

/// Reads or changes most of a store whose image may be damaged anywhere. Returns what it holds afterwards.
fn use_in_one_way(store: &Store, round: usize, what: &str, keys: &[i128], expected: &Content) -> Content {
    let mut model = expected.clone();
    match round % 6 {
        0 => assert_eq!(&content(store), expected, "{what}"),
        1 => {
            for key in keys {
                assert_eq!(store.get(*key).expect("answers").as_deref(), Some(&expected[key][..]), "{what}");
                assert_eq!(store.get(key + 1).expect("answers").is_some(), expected.contains_key(&(key + 1)));
            }
        }
        2 => {
            let many = store.get_many(keys).expect("answers");
            assert!(keys.iter().enumerate().all(|(i, key)| many.get(i) == Some(&expected[key][..])));
            let middle = keys[keys.len() / 2];
            assert_eq!(store.floor(middle + 1).expect("answers").map(|item| item.0), Some(middle));
            let counted = store.count(Bound::Excluded(middle), Bound::Unbounded).expect("answers");
            assert_eq!(counted, expected.range(middle + 1..).count() as u64);
        }
        3 => {
            // A scan that is open while changes find the damage sees the store as it was.
            let mut scan = store.scan(ALL).expect("answers");
            let first = scan.next_run(10).expect("answers").keys;
            for &key in &keys[..keys.len() / 2] {
                assert!(store.delete(key).expect("goes on"), "{what}: {key} was there");
                model.remove(&key);
            }
            let mut seen: Vec<i128> = first.iter().collect();
            loop {
                let run = scan.next_keys(100).expect("answers");
                if run.is_empty() {
                    break;
                }
                seen.extend(run.iter());
            }
            assert_eq!(seen, keys, "{what}");
        }
        4 => {
            let values: Vec<Vec<u8>> = keys.iter().map(|_| b"new".to_vec()).collect();
            assert_eq!(store.put_many(keys, &values[..], false).expect("goes on"), keys.len() as u64);
            model = keys.iter().map(|&key| (key, b"new".to_vec())).collect();
            let mut batch = Batch::new();
            batch.delete(keys[0]);
            batch.put(keys[1], b"x").expect("short");
            store.commit(&batch, false).expect("goes on");
            model.remove(&keys[0]);
            model.insert(keys[1], b"x".to_vec());
        }
        _ => {
            for &key in keys.iter().rev() {
                let outcome = store.try_put(key, b"quick").unwrap_or_else(|| store.put(key, b"quick"));
                outcome.expect("goes on");
                model.insert(key, b"quick".to_vec());
            }
            let removed =
                store.delete_range(Bound::Included(keys[3]), Bound::Excluded(keys[40])).expect("goes on");
            assert_eq!(removed, 37, "{what}");
            model.retain(|key, _| !(keys[3]..keys[40]).contains(key));
        }
    }
    model
}

#[test]
fn a_bit_flipped_anywhere_in_the_newest_image_changes_no_answer() {
    let (whole, expected) = with_images(true, 14_000);
    let newest = images(&whole).pop().expect("two");
    let len =
        whole.open(&newest, alex_store::disk::Access::Read).expect("there").len().expect("read") as usize;
    let keys: Vec<i128> = expected.keys().copied().collect();
    let (mut fell_back, mut rebuilt) = (0, 0);
    let places = (0..len).filter(|at| {
        let header = *at < 140 && at % 3 == 0 || (4090..4100).contains(at);
        header || at % 2_503 == 0 || *at > len - 40
    });
    for (round, at) in places.enumerate() {
        let disk = whole.copy();
        disk.corrupt(&newest, |bytes| bytes[at] ^= 1 << (at % 8));
        let read_mode = [ReadMode::Mmap, ReadMode::Pread][at % 2];
        let store = open(&disk, &Options { read_mode, ..quiet() })
            .unwrap_or_else(|error| panic!("byte {at}: {error}"));
        if !images(&disk).contains(&newest) {
            fell_back += 1;
        }
        let mut model = use_in_one_way(&store, round, &format!("byte {at}"), &keys, &expected);
        assert_eq!(content(&store), model, "byte {at}");
        store.tend().expect("no fault");
        if images(&disk).contains(&newest) {
            // The damage is found late or not at all. A checkpoint drops an image whose damage was found.
            store.put(77, b"77").expect("goes on");
            model.insert(77, b"77".to_vec());
            store.checkpoint().expect("no fault");
        }
        if !images(&disk).contains(&newest) {
            rebuilt += 1;
        }
        drop(store);
        let disk = disk.restart(Loss::ProcessOnly);
        let store = open(&disk, &quiet()).expect("opens again");
        assert_eq!(content(&store), model, "byte {at}, opened again");
        assert!(
            store
                .verify(&mut |_| true)
                .expect("reads")
                .errors
                .iter()
                .all(|error| error.to_string().contains("img-"))
        );
    }
    assert!(fell_back > 60 && rebuilt > fell_back + 40, "{fell_back} fell back, {rebuilt} went");
}

#[test]
fn an_image_cut_short_or_copied_from_elsewhere_is_not_used() {
    let (disk, expected) = with_images(true, 900);
    let names = images(&disk);
    let mut older = Vec::new();
    disk.corrupt(&names[0], |bytes| older.clone_from(bytes));
    for change in 0..3 {
        let disk = disk.copy();
        disk.corrupt(&names[1], |bytes| match change {
            0 => bytes.truncate(bytes.len() / 2),
            1 => bytes.extend_from_slice(&[0; 64]),
            _ => bytes.clone_from(&older),
        });
        let report =
            open(&disk, &Options { read_only: true, ..quiet() }).expect("opens").verify(&mut |_| true);
        assert!(!report.expect("reads").is_ok(), "verify names the image");
        let store = open(&disk, &quiet()).expect("opens");
        assert_eq!(content(&store), expected, "change {change}");
        assert_eq!(images(&disk), names[..1]);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scenario, told from its beginning to its end")]
fn checkpoints_beside_writers_and_readers_lose_and_invent_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let options = Options { segment_bytes: 256 << 10, checkpoint_tail_bytes: 64 << 10, ..Options::default() };
    let mut model: Vec<BTreeMap<i128, Vec<u8>>> = vec![BTreeMap::new(); 2];
    for life in 0..4u64 {
        let store = Store::open(&path, &options, &mut |_| true).expect("opens");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = model
                .iter_mut()
                .enumerate()
                .map(|(writer, model)| {
                    let store = &store;
                    scope.spawn(move || {
                        let mut rng = Rng::new(life * 2 + writer as u64);
                        // Each writer has its own keys: odd or even.
                        let mut key = || i128::from(rng.below(30_000) * 2) + writer as i128;
                        for round in 0..1_500u64 {
                            let keys: Vec<i128> = (0..=round % 7).map(|_| key()).collect();
                            if round % 5 == 0 {
                                store.delete_many(&keys).expect("no fault");
                                for key in &keys {
                                    model.remove(key);
                                }
                            } else {
                                let values: Vec<Vec<u8>> = keys
                                    .iter()
                                    .map(|key| (*key as i64 + round as i64).to_le_bytes().to_vec())
                                    .collect();
                                store.put_many(&keys, &values[..], false).expect("no fault");
                                model.extend(keys.into_iter().zip(values));
                            }
                        }
                    })
                })
                .collect();
            let reader = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let found = everything(&store);
                    assert!(found.values().all(|value| value.len() == 8));
                }
            });
            let checkpoints = scope.spawn(|| {
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    store.checkpoint().expect("no fault");
                    count += 1;
                }
                count
            });
            for writer in writers {
                writer.join().expect("no panic");
            }
            done.store(true, Ordering::Relaxed);
            reader.join().expect("no panic");
            assert!(checkpoints.join().expect("no panic") > 0);
        });
        let expected: Content = model.iter().flatten().map(|(key, value)| (*key, value.clone())).collect();
        assert_eq!(everything(&store), expected, "life {life}");
        let live = expected.len() as u64 * 32;
        assert_eq!(store.stats().expect("open").live_bytes, live);
        if life % 2 == 0 {
            store.close().expect("no fault");
        }
        drop(store);
        let again = Store::open(&path, &options, &mut |_| true).expect("opens");
        assert_eq!(everything(&again), expected, "life {life}, opened again");
        assert_eq!(again.stats().expect("open").live_bytes, live, "counts are exact after an image");
        assert!(again.verify(&mut |_| true).expect("reads").is_ok());
    }
}

#[test]
fn a_full_disk_or_a_failed_write_costs_the_image_and_nothing_else() {
    for ahead in 1..4 {
        let disk = SimDisk::new(1);
        let store = open(&disk, &quiet()).expect("opens");
        store.put(1, b"one").expect("no fault");
        disk.plan(ahead, Fault::Full);
        let error = store.checkpoint().expect_err("the disk is full").to_string();
        assert!(error.contains("img-"), "{error}");
        assert_eq!(images(&disk).len(), 0, "half an image is removed");
        store.put(2, b"two").expect("goes on");
        store.checkpoint().expect("there is room again");
        assert_eq!(images(&disk).len(), 1);
        assert_eq!(content(&store).len(), 2);
    }
}
