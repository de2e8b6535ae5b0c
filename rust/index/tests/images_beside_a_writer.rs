//! An image is written while the index changes; it is opened, and the changes since it was begun are
//! replayed. The result equals the index. So it is for every order in which keys come and go, over and over,
//! each image begun from the one before.
//!
//! Payloads are the numbers of the changes that wrote them, like locations in a log. As in a store, the
//! stream leaves out entries that are newer than the image; replay brings them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::ops::Bound;

use alex_index::image::{Identity, ImageMemory, ImageWriter};
use alex_index::simd::available;
use alex_index::{Alex, Options};
use common::{ALL, ALL_WIDE, Keys, Kind, assert_equal, draw, draw_wide, tree};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// In which order keys go again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    Never,
    /// The lowest half at once, now and then: a log, a time series.
    FrontByRange,
    /// The lowest, one by one: a queue.
    FrontOneByOne,
    /// The highest, one by one: a stack.
    BackOneByOne,
    Anywhere,
    /// All but a few.
    NearlyAll,
}

const GOING: [Going; 6] = [
    Going::Never,
    Going::FrontByRange,
    Going::FrontOneByOne,
    Going::BackOneByOne,
    Going::Anywhere,
    Going::NearlyAll,
];

/// A change, as a log records it.
enum Change<K> {
    Put(K, u64),
    Remove(K),
}

/// An index, its oracle, and the log of changes since the last image was begun.
struct Pair<K: Kind> {
    index: Alex<K>,
    oracle: BTreeMap<K, u64>,
    number: u64,
    log: Vec<Change<K>>,
}

impl<K: Kind> Pair<K> {
    fn put(&mut self, keys: &[K], many: bool) {
        let payloads: Vec<u64> = (self.number..).take(keys.len()).collect();
        self.number += keys.len() as u64;
        if many {
            self.index.insert_many(keys, &payloads, |_, _| {});
        }
        for (&key, &payload) in keys.iter().zip(&payloads) {
            if !many {
                self.index.insert(key, payload);
            }
            self.oracle.insert(key, payload);
            self.log.push(Change::Put(key, payload));
        }
    }

    fn remove(&mut self, keys: &[K], many: bool) {
        if many {
            self.index.remove_many(keys, |_, _| {});
        }
        for &key in keys {
            if !many {
                self.index.remove(key);
            }
            self.oracle.remove(&key);
            self.log.push(Change::Remove(key));
        }
    }

    fn go(&mut self, going: Going, random: &mut SmallRng) {
        let there = self.oracle.len();
        let some = random.random_range(0..=200).min(there);
        let keys: Vec<K> = match going {
            Going::Never => return,
            Going::FrontByRange if random.random_range(0..40) > 0 => return,
            Going::NearlyAll if random.random_range(0..300) > 0 => return,
            Going::FrontByRange => self.oracle.keys().take(there / 2).copied().collect(),
            Going::NearlyAll => self.oracle.keys().take(there - there.min(3)).copied().collect(),
            Going::FrontOneByOne => self.oracle.keys().take(some).copied().collect(),
            Going::BackOneByOne => self.oracle.keys().rev().take(some).copied().collect(),
            Going::Anywhere => {
                let step = random.random_range(1..200);
                self.oracle.keys().step_by(step).take(some).copied().collect()
            }
        };
        self.remove(&keys, matches!(going, Going::FrontByRange | Going::NearlyAll) || random.random());
    }

    /// Writes an image, calling `between` between its runs, then opens it and replays the changes since it
    /// was begun.
    fn turn_over(&mut self, run: usize, mut between: impl FnMut(&mut Self)) -> Alex<K> {
        self.log.clear();
        let begin = self.number;
        let mut writer = ImageWriter::begin(&self.index, Vec::new(), Identity::default());
        let mut after = Bound::Unbounded;
        loop {
            let (mut keys, mut payloads) = (Vec::new(), Vec::new());
            self.index.scan_into(after, Bound::Unbounded, false, run, &mut keys, &mut payloads);
            let Some(&last) = keys.last() else { break };
            after = Bound::Excluded(last);
            let old: Vec<(K, u64)> =
                keys.into_iter().zip(payloads).filter(|&(_, payload)| payload < begin).collect();
            let (keys, payloads): (Vec<K>, Vec<u64>) = old.into_iter().unzip();
            writer.push(&keys, &payloads).unwrap();
            between(self);
        }
        let bytes = writer.finish(&[]).unwrap().1;
        let memory = ImageMemory::read(bytes.len() as u64, |memory| {
            memory.copy_from_slice(&bytes);
            Ok(())
        });
        let mut index = Alex::open_image(memory.unwrap(), Options::default()).unwrap().index;
        for change in &self.log {
            match *change {
                Change::Put(key, payload) => drop(index.insert(key, payload)),
                Change::Remove(key) => drop(index.remove(key)),
            }
        }
        index.check().unwrap();
        index
    }
}

/// Keys come in batches, in their order, and go in the order of `going`, while images are
/// written.
fn live<K: Kind>(keys: &[K], going: Going, slots: Option<usize>, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let count = keys.len();
    let mut pair =
        Pair { index: tree(available()[0], slots), oracle: BTreeMap::new(), number: 0, log: Vec::new() };
    let mut coming = keys.iter().copied();
    let images = random.random_range(3..7);
    for image in 1..=images {
        let until = count * image / (images + 1);
        while count - coming.len() < until {
            let batch: Vec<K> = coming.by_ref().take(random.random_range(1..200)).collect();
            pair.put(&batch, random.random());
            pair.go(going, &mut random);
        }
        let run = random.random_range(1..2_000);
        // From a writer that changes hardly anything to one that is faster than the image.
        let (batches, most) = (random.random_range(0..8), count / (images + 1));
        let (mut done, many) = (0, random.random());
        let opened = pair.turn_over(run, |pair| {
            for _ in 0..batches {
                let batch: Vec<K> = coming.by_ref().take(random.random_range(1..200)).collect();
                done += batch.len();
                if done < most && !batch.is_empty() {
                    pair.put(&batch, many);
                    pair.go(going, &mut random);
                }
            }
        });
        let probes: Vec<K> = pair.oracle.keys().step_by(pair.oracle.len() / 20 + 1).copied().collect();
        assert_equal(&opened, &pair.oracle, &probes);
        if random.random() {
            pair.index = opened;
        }
    }
    let rest: Vec<K> = coming.collect();
    pair.put(&rest, true);
    let probes: Vec<K> = pair.oracle.keys().step_by(pair.oracle.len() / 20 + 1).copied().collect();
    assert_equal(&pair.index, &pair.oracle, &probes);
}

/// Keys of several counters, each in its own part of the key space, so that ranges grow in the middle of the
/// tree.
fn counters(count: usize, seed: u64) -> Vec<i64> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut next: Vec<i64> = (0..random.random_range(2..9)).map(|at: i64| at << 40).collect();
    (0..count)
        .map(|_| {
            let at = random.random_range(0..next.len());
            next[at] += 1;
            next[at]
        })
        .collect()
}

#[test]
fn every_order_of_keys_and_every_way_they_go_survives_images_begun_at_any_moment() {
    let seeds: u64 = std::env::var("ALEXPY_IMAGE_SEEDS").map_or(2, |text| text.parse().unwrap());
    for kind in ALL.into_iter().chain([Keys::Mixed]) {
        for going in GOING {
            for seed in 0..seeds {
                for (slots, count) in [(Some(128), 12_000), (Some(1_024), 30_000), (None, 120_000)] {
                    let keys = draw(kind, count, seed);
                    let lived = std::panic::catch_unwind(|| live(&keys, going, slots, seed));
                    assert!(lived.is_ok(), "live({kind:?}, {going:?}, {slots:?}, {count}, {seed})");
                }
            }
        }
    }
}

#[test]
fn every_order_of_wide_keys_and_every_way_they_go_survives_images_begun_at_any_moment() {
    for kind in ALL_WIDE {
        for going in GOING {
            for (slots, count) in [(Some(128), 6_000), (None, 30_000)] {
                let keys = draw_wide(kind, count, 1);
                let lived = std::panic::catch_unwind(|| live(&keys, going, slots, 1));
                assert!(lived.is_ok(), "live({kind:?}, {going:?}, {slots:?}, {count})");
            }
        }
    }
}

#[test]
fn a_leaf_full_of_keys_beyond_every_range_goes_into_an_image_and_takes_more_after_it_was_opened() {
    for (slots, most) in [(Some(128), 128), (Some(1_024), 1_024), (None, 16_384)] {
        let mut pair =
            Pair { index: tree(available()[0], slots), oracle: BTreeMap::new(), number: 0, log: Vec::new() };
        // At one of these counts the last leaf is as full as it can be, mostly with keys above its parent's
        // range.
        for count in (most / 50..4 * most).step_by(most / 50) {
            let from = pair.number as i64;
            pair.put(&(from..count as i64).collect::<Vec<_>>(), true);
            let mut opened = pair.turn_over(1_000, |_| {});
            for key in count as i64..(count + 2 * most) as i64 {
                opened.insert(key, key as u64);
            }
            opened.check().unwrap();
            assert_eq!(opened.len(), count + 2 * most);
        }
    }
}

#[test]
fn keys_that_came_later_are_refused_before_a_leaf_is_larger_than_leaves_may_be() {
    for (slots, most) in [(128, 128), (1_024, 1_024), (16_384, 16_384)] {
        let mut index = tree(available()[0], Some(slots));
        for key in 0..4 * most {
            index.insert(key, 0);
        }
        let mut writer = ImageWriter::begin(&index, Vec::new(), Identity::default());
        // The writer knows all keys of a slot only when the next slot begins, or at the end.
        let later: Vec<i64> = (4 * most..24 * most).collect();
        let pushed = writer.push(&later, &vec![0; later.len()]);
        let error = pushed.and_then(|()| writer.finish(&[])).map(drop).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn counters_that_grow_inside_the_key_space_survive_images() {
    for seed in 0..6 {
        for slots in [Some(128), None] {
            let keys = counters(60_000, seed);
            let mut pair = Pair {
                index: tree(available()[0], slots),
                oracle: BTreeMap::new(),
                number: 0,
                log: Vec::new(),
            };
            let mut coming = keys.chunks(100);
            while let Some(batch) = coming.next() {
                pair.put(batch, true);
                if coming.len().is_multiple_of(60) {
                    let mut left = 80;
                    pair.index = pair.turn_over(500, |pair| {
                        left -= 1;
                        if let Some(batch) = coming.next().filter(|_| left > 0) {
                            pair.put(batch, left % 2 == 0);
                        }
                    });
                    assert_equal(&pair.index, &pair.oracle, &keys[..20]);
                }
            }
        }
    }
}
