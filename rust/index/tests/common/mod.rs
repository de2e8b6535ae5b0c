//! Distributions of keys, and comparisons with an oracle, for all tests. Not every test uses all of it.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

#[cfg(debug_assertions)]
pub mod btree;
pub mod hard;
pub mod kind;
pub mod sequence;
#[cfg(debug_assertions)]
pub mod trial;

use std::collections::BTreeMap;
use std::ops::Bound;

use alex_index::simd::{Backend, available};
use alex_index::{Alex, Key, Options};
use hard::normal;
pub use kind::{ALL_WIDE, Kind, WideKeys, draw_wide};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// A distribution of keys, and the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Uniform,
    Sequential,
    Reverse,
    ZigZag,
    Lognormal,
    Clustered,
    /// Morton ids of points around towns.
    Cells,
    Timestamps,
    Extreme,
    /// Runs of all the other distributions, one after another: ranges grow, nest and overlap.
    Mixed,
}

pub const ALL: [Keys; 9] = [
    Keys::Uniform,
    Keys::Sequential,
    Keys::Reverse,
    Keys::ZigZag,
    Keys::Lognormal,
    Keys::Clustered,
    Keys::Cells,
    Keys::Timestamps,
    Keys::Extreme,
];

/// `count` keys, of which a few may repeat, in the order of the distribution: shuffled unless it has an order
/// of its own.
pub fn draw(kind: Keys, count: usize, seed: u64) -> Vec<i64> {
    let mut random = SmallRng::seed_from_u64(seed);
    let last = count as i64;
    let mut keys: Vec<i64> = match kind {
        Keys::Uniform => (0..count).map(|_| random.random()).collect(),
        Keys::Sequential => (0..last).collect(),
        Keys::Reverse => (0..last).rev().collect(),
        Keys::ZigZag => (0..last).map(|i| if i % 2 == 0 { i } else { -i }).collect(),
        Keys::Lognormal => (0..count).map(|_| ((normal(&mut random) * 2.0).exp() * 1e9) as i64).collect(),
        Keys::Clustered => {
            let centres: Vec<i64> = (0..(count / 500).max(1)).map(|_| random.random::<i64>() / 4).collect();
            (0..count)
                .map(|_| centres[random.random_range(0..centres.len())] + random.random_range(0..4_096))
                .collect()
        }
        Keys::Cells => hard::cells(count, &mut random),
        Keys::Timestamps => {
            let mut now = 1_700_000_000_000_000i64;
            (0..count)
                .map(|_| {
                    now += 1 + (-random.random_range(f64::MIN_POSITIVE..1.0).ln() * 1_000.0) as i64;
                    now
                })
                .collect()
        }
        Keys::Mixed => {
            let mut keys = Vec::new();
            while keys.len() < count {
                let run = random.random_range(1..=(count / 6).max(1));
                let kind = ALL[random.random_range(0..ALL.len())];
                let shift = random.random_range(0..64);
                let offset = random.random::<i64>() >> random.random_range(0..64);
                let part = draw(kind, run, random.random());
                let moved = part.into_iter().map(|key| (key >> shift).wrapping_add(offset));
                keys.extend(moved);
            }
            keys.truncate(count);
            keys
        }
        Keys::Extreme => {
            let edges = [i64::MIN, -1, 0, i64::MAX];
            (0..last)
                .map(|i| match i % 5 {
                    0 => i64::MIN + i / 5,
                    1 => -1 - i / 5,
                    2 => i / 5,
                    3 => i64::MAX - i / 5,
                    _ => edges[random.random_range(0..4)],
                })
                .collect()
        }
    };
    if matches!(kind, Keys::Lognormal | Keys::Clustered | Keys::Extreme) {
        keys.shuffle(&mut random);
    }
    keys
}

/// An empty tree for each backend of this machine.
pub fn trees<K: Key>(max_leaf_slots: Option<usize>) -> impl Iterator<Item = Alex<K>> {
    available().into_iter().map(move |backend| tree(backend, max_leaf_slots))
}

pub fn tree<K: Key>(backend: Backend, max_leaf_slots: Option<usize>) -> Alex<K> {
    Alex::with_options(Options { backend: Some(backend), max_leaf_slots }).unwrap()
}

/// Compares the answers of all read operations with the oracle's, for keys around `probes`.
pub fn assert_equal<K: Kind>(tree: &Alex<K>, oracle: &BTreeMap<K, u64>, probes: &[K]) {
    tree.check().unwrap();
    assert_eq!(tree.len(), oracle.len());
    assert!(tree.range(Bound::Unbounded, Bound::Unbounded).eq(oracle.iter().map(|(&k, &v)| (k, v))));
    let pair = |entry: Option<(&K, &u64)>| entry.map(|(&k, &v)| (k, v));
    assert_eq!(tree.first(), pair(oracle.first_key_value()));
    assert_eq!(tree.last(), pair(oracle.last_key_value()));
    for &probe in probes {
        for key in [probe.moved(-1), probe, probe.moved(1)] {
            assert_eq!(tree.get(key), oracle.get(&key).copied(), "get {key}");
            assert_eq!(tree.floor(key), pair(oracle.range(..=key).next_back()), "floor {key}");
            assert_eq!(tree.ceiling(key), pair(oracle.range(key..).next()), "ceiling {key}");
            assert_eq!(tree.lower(key), pair(oracle.range(..key).next_back()), "lower {key}");
            let above = (Bound::Excluded(key), Bound::Unbounded);
            assert_eq!(tree.higher(key), pair(oracle.range(above).next()), "higher {key}");
        }
    }
    assert_ranges(tree, oracle, probes);
}

/// Compares `scan_many` with the oracle, for ranges from each probe to the next. Some are empty or end before
/// they start.
fn assert_ranges<K: Kind>(tree: &Alex<K>, oracle: &BTreeMap<K, u64>, probes: &[K]) {
    let stops: Vec<K> = probes.iter().cycle().skip(1).take(probes.len()).copied().collect();
    let (mut keys, mut payloads, mut ends) = (vec![K::of(7)], vec![7], vec![1]);
    tree.scan_many(probes, &stops, &mut keys, &mut payloads, |end| ends.push(end));
    assert_eq!(
        (ends.len(), keys[0], payloads[0]),
        (probes.len() + 1, K::of(7), 7),
        "one end for each range, and what was there stays"
    );
    for (range, (&start, &stop)) in ends.windows(2).zip(probes.iter().zip(&stops)) {
        let found = keys[range[0]..range[1]].iter().zip(&payloads[range[0]..range[1]]);
        assert!(found.eq(oracle.range(start..stop.max(start))), "range {start}..{stop}");
    }
    assert_eq!((ends.last(), keys.len()), (Some(&keys.len()), payloads.len()));
}

/// Compares scans, iteration and counts of one range with the oracle's.
pub fn assert_range<K: Kind>(
    tree: &Alex<K>,
    oracle: &BTreeMap<K, u64>,
    start: Bound<K>,
    stop: Bound<K>,
    limit: usize,
) {
    let inside = |key: K| {
        (match start {
            Bound::Included(low) => key >= low,
            Bound::Excluded(low) => key > low,
            Bound::Unbounded => true,
        }) && (match stop {
            Bound::Included(high) => key <= high,
            Bound::Excluded(high) => key < high,
            Bound::Unbounded => true,
        })
    };
    let expected: Vec<(K, u64)> = oracle.iter().map(|(&k, &v)| (k, v)).filter(|&(k, _)| inside(k)).collect();
    assert_eq!(tree.count(start, stop), expected.len(), "count {start:?} {stop:?}");
    assert!(tree.range(start, stop).eq(expected.iter().copied()), "range {start:?} {stop:?}");
    assert!(tree.range(start, stop).rev().eq(expected.iter().rev().copied()), "reverse {start:?} {stop:?}");
    let mut both = tree.range(start, stop);
    let (mut low, mut high) = (0, expected.len());
    for step in 0..=expected.len() {
        if step % 3 == 0 {
            assert_eq!(both.next_back(), (low < high).then(|| expected[high - 1]));
            high = high.saturating_sub(1).max(low);
        } else {
            assert_eq!(both.next(), (low < high).then(|| expected[low]));
            low = (low + 1).min(high);
        }
    }
    assert_eq!((both.next(), both.next_back()), (None, None));
    for reverse in [false, true] {
        for limit in [limit, usize::MAX] {
            let (mut keys, mut payloads) = (vec![K::of(7)], vec![8]);
            tree.scan_into(start, stop, reverse, limit, &mut keys, &mut payloads);
            let wanted: Vec<(K, u64)> = if reverse {
                expected.iter().rev().take(limit).copied().collect()
            } else {
                expected.iter().take(limit).copied().collect()
            };
            assert_eq!((keys[0], payloads[0]), (K::of(7), 8), "a scan appends");
            assert!(keys[1..].iter().copied().zip(payloads[1..].iter().copied()).eq(wanted));
        }
    }
}
