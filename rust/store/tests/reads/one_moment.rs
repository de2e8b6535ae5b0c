//! A read of many keys answers as of one moment, whatever is written, removed, moved or compacted between its
//! pieces.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Content, content, for_seeds, open, options};
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Batch, Moment, Neighbour, Options, ReadMode, Store, Values};

pub(crate) const KEYS: i128 = 60;

/// One random commit, or an operation that moves records, in the store and in the model.
pub(crate) fn change(rng: &mut Rng, store: &Store, now: &mut Content) {
    let key = |rng: &mut Rng| i128::from(rng.below(KEYS as u64));
    let value = |rng: &mut Rng| vec![rng.below(256) as u8; rng.below(90) as usize];
    match rng.below(10) {
        0..3 => {
            let (key, value) = (key(rng), value(rng));
            store.put(key, &value).expect("writes");
            now.insert(key, value);
        }
        3 => {
            let key = key(rng);
            assert_eq!(store.delete(key).expect("writes"), now.remove(&key).is_some());
        }
        4 => {
            let keys: Vec<i128> = (0..rng.below(30)).map(|_| key(rng)).collect();
            let values: Vec<Vec<u8>> = keys.iter().map(|_| value(rng)).collect();
            store.put_many(&keys, &values[..], false).expect("writes");
            now.extend(keys.into_iter().zip(values));
        }
        5 => {
            let first = key(rng);
            let last = first + i128::from(rng.below(12));
            store.delete_range(Bound::Included(first), Bound::Included(last)).expect("writes");
            now.retain(|key, _| !(first..=last).contains(key));
        }
        6 => {
            let mut batch = Batch::new();
            for _ in 0..rng.below(6) {
                let key = key(rng);
                if rng.below(3) == 0 {
                    batch.delete_range(key, key + 3);
                    now.retain(|&other, _| !(key..=key + 3).contains(&other));
                } else {
                    let value = value(rng);
                    batch.put(key, &value).expect("memory");
                    now.insert(key, value);
                }
            }
            store.commit(&batch, false).expect("writes");
        }
        7 => {
            store.end_segment().expect("writes");
            store.compact_some(&|_| true).expect("compacts");
        }
        // Also merges small segments.
        8 => drop(store.compact(&mut |_| true).expect("compacts")),
        _ => store.checkpoint().expect("writes"),
    }
}

/// Reads a few keys of a moment in one of the possible ways; their values must be as they were then.
pub(crate) fn read(rng: &mut Rng, moment: &Moment, then: &Content) {
    let keys: Vec<i128> = (0..rng.below(40)).map(|_| i128::from(rng.below(KEYS as u64 + 5))).collect();
    match rng.below(4) {
        3 => read_nearest(rng, moment, then),
        0 => {
            let mut values = Values::default();
            moment.get_many_into(&keys, &mut values).expect("reads");
            for (i, key) in keys.iter().enumerate() {
                assert_eq!(values.get(i), then.get(key).map(Vec::as_slice), "key {key}");
            }
        }
        1 => {
            let (mut column, mut found) = (alex_store::ValueColumn::default(), Vec::new());
            moment.get_column(&keys, &mut column, &mut found).expect("reads");
            for (i, key) in keys.iter().enumerate() {
                assert_eq!(found[i], then.contains_key(key), "key {key}");
                assert_eq!(column.get(i), Some(then.get(key).map_or(&[][..], Vec::as_slice)), "key {key}");
            }
        }
        _ => {
            let mut found = vec![false; keys.len()];
            moment.contains_many(&keys, &mut found).expect("reads");
            assert!(keys.iter().zip(found).all(|(key, found)| found == then.contains_key(key)));
        }
    }
}

/// Reads neighbours of a few keys of a moment.
fn read_nearest(rng: &mut Rng, moment: &Moment, then: &Content) {
    let keys: Vec<i128> = (0..rng.below(40)).map(|_| i128::from(rng.below(KEYS as u64 + 9)) - 4).collect();
    let keys = [keys, vec![i128::from(i64::MIN), i128::from(i64::MAX)]].concat();
    for which in [Neighbour::Floor, Neighbour::Ceiling] {
        let (mut near, mut found) = (alex_store::KeyVec::default(), Vec::new());
        let mut column = alex_store::ValueColumn::default();
        moment.get_nearest_column(&keys, which, &mut near, &mut column, &mut found).expect("reads");
        assert_eq!((near.len(), column.len(), found.len()), (keys.len(), keys.len(), keys.len()));
        for (i, &key) in keys.iter().enumerate() {
            let expected = match which {
                Neighbour::Floor => then.range(..=key).next_back(),
                Neighbour::Ceiling => then.range(key..).next(),
            };
            let value = column.get(i).expect("one for each key");
            let (none, no_value) = (0, Vec::new());
            let (expected_key, expected_value) = expected.unwrap_or((&none, &no_value));
            assert_eq!(
                (near.get(i), value, found[i]),
                (*expected_key, &expected_value[..], expected.is_some()),
                "{which:?} {key}"
            );
        }
    }
}

#[test]
fn every_piece_of_a_large_read_is_of_the_moment_when_it_began() {
    for_seeds("--test one_moment every_piece", 5, |seed| {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let store = open(&disk, &Options { read_mode: ReadMode::Mmap, ..options(&mut rng) }).expect("opens");
        let mut now = Content::new();
        let mut open: Vec<(Moment, Content)> = Vec::new();
        for _ in 0..60 {
            match rng.below(6) {
                0 if open.len() < 4 => open.push((store.moment().expect("open"), now.clone())),
                1 if !open.is_empty() => drop(open.swap_remove(rng.below(open.len() as u64) as usize)),
                2 | 3 if !open.is_empty() => {
                    let (moment, then) = &open[rng.below(open.len() as u64) as usize];
                    read(&mut rng, moment, then);
                }
                _ => change(&mut rng, &store, &mut now),
            }
        }
        for (moment, then) in &open {
            read(&mut rng, moment, then);
        }
        drop(open);
        assert_eq!(content(&store), now);
        store.close().expect("closes");
    });
}

#[test]
fn reads_of_many_keys_never_mix_two_batches_of_a_writer_beside_them() {
    let disk = SimDisk::new(7);
    let store = open(&disk, &Options { segment_bytes: 1 << 20, background: false, ..Options::default() })
        .expect("opens");
    let keys: Vec<i128> = (0..20_000).collect();
    let write = |number: u64| {
        store.put_many(&keys, &vec![number.to_le_bytes(); keys.len()][..], false).expect("writes");
    };
    write(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Ends by itself if a reader fails.
        scope.spawn(|| (1..500).take_while(|_| !done.load(Ordering::Relaxed)).for_each(write));
        for _ in 0..10 {
            let mut rows = vec![0; keys.len() * 8];
            assert_eq!(store.get_rows(&keys, 8, &mut rows).expect("reads"), None);
            assert!(rows.chunks(8).all(|row| row == &rows[..8]), "rows of two batches");
            let values = store.get_many(&keys).expect("reads");
            assert!((0..keys.len()).all(|i| values.get(i) == values.get(0)), "values of two batches");
            let (mut column, mut found) = (alex_store::ValueColumn::default(), Vec::new());
            store.get_column(&keys, &mut column, &mut found).expect("reads");
            assert!(column.data().chunks(8).all(|row| row == &column.data()[..8]), "a column of two batches");
        }
        done.store(true, Ordering::Relaxed);
    });
}
