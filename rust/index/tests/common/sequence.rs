//! Sequences of operations that fuzzing draws, shrinks and replays, and that run beside a `BTreeMap`: after
//! every step the invariants hold, and answers around the changed keys agree.

use std::collections::BTreeMap;
use std::ops::Bound;

use alex_index::Alex;
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Kind, assert_equal, assert_range};

/// The most keys of the index, which is small because every step reads all of it.
const MOST_KEYS: usize = 40_000;

/// A key that is chosen when the step runs.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    /// A key at some distance from one that is there, which is given by its position in key order, in
    /// 65,536ths.
    Near(u16, i8),
    /// Any key that is shifted to the right by so many bits; twice as many if the key is wide.
    Wide(i64, u8),
    /// The least key, -1, 0, the greatest key and their neighbours.
    Edge(u8),
}

#[derive(Clone, Debug)]
pub enum Step {
    Insert(Key),
    Remove(Key),
    ReplaceIf(Key, bool),
    /// Keys come at equal distances from one: the attack on a data node, and every trend.
    Run {
        from: Key,
        count: u16,
        shift: u8,
        descending: bool,
        many: bool,
    },
    /// Keys come that differ from one in its lowest bits.
    Scatter {
        around: Key,
        bits: u8,
        count: u16,
        seed: u64,
        many: bool,
    },
    /// One in `every` of the keys goes, from a position in key order on, ascending or descending.
    Drain {
        from: u16,
        count: u16,
        every: u8,
        descending: bool,
        many: bool,
    },
    Pop {
        first: bool,
        count: u16,
    },
    Thrash(Key, u8),
    Lookups(Key, u64),
    Range(Key, Key, u8, u16),
    /// All entries are loaded in bulk into a new tree, sorted or not.
    Reload(bool),
    Clear,
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => (any::<u16>(), any::<i8>()).prop_map(|(place, off)| Key::Near(place, off)),
        3 => (any::<i64>(), 0u8..64).prop_map(|(key, bits)| Key::Wide(key, bits)),
        1 => any::<u8>().prop_map(Key::Edge),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => key().prop_map(Step::Insert),
        3 => key().prop_map(Step::Remove),
        1 => (key(), any::<bool>()).prop_map(|(key, right)| Step::ReplaceIf(key, right)),
        6 => (key(), 1u16..800, 0u8..50, any::<bool>(), any::<bool>()).prop_map(
            |(from, count, shift, descending, many)| Step::Run { from, count, shift, descending, many }
        ),
        4 => (key(), 0u8..64, 1u16..800, any::<u64>(), any::<bool>()).prop_map(
            |(around, bits, count, seed, many)| Step::Scatter { around, bits, count, seed, many }
        ),
        6 => (any::<u16>(), 1u16..2_000, 1u8..5, any::<bool>(), any::<bool>()).prop_map(
            |(from, count, every, descending, many)| Step::Drain { from, count, every, descending, many }
        ),
        1 => (any::<bool>(), 1u16..300).prop_map(|(first, count)| Step::Pop { first, count }),
        1 => (key(), 1u8..20).prop_map(|(key, times)| Step::Thrash(key, times)),
        2 => (key(), any::<u64>()).prop_map(|(key, seed)| Step::Lookups(key, seed)),
        2 => (key(), key(), any::<u8>(), 0u16..300).prop_map(|(a, b, kind, limit)| Step::Range(a, b, kind, limit)),
        1 => any::<bool>().prop_map(Step::Reload),
    ]
}

/// A sequence of steps, and the slots of the largest leaf.
pub fn sequence() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let slots = prop_oneof![Just(128), Just(192), Just(512), Just(2_048), Just(1 << 14)];
    let steps = prop_oneof![30 => step(), 1 => Just(Step::Clear)];
    (slots, proptest::collection::vec(steps, 1..80))
}

/// An index, its oracle, and the payload of the next insert.
struct Pair<K: Kind> {
    tree: Alex<K>,
    oracle: BTreeMap<K, u64>,
    payload: u64,
}

impl<K: Kind> Pair<K> {
    fn place(&self, place: u16) -> usize {
        (self.oracle.len() * usize::from(place)) >> 16
    }

    fn key(&self, key: Key) -> K {
        match key {
            Key::Near(place, off) => {
                let near = self.oracle.keys().nth(self.place(place)).copied().unwrap_or(K::of(0));
                near.moved(i64::from(off) / 16)
            }
            Key::Wide(key, bits) => K::narrowed(key, bits),
            Key::Edge(which) => {
                let edge = [K::MIN, K::of(-1), K::of(0), K::MAX][usize::from(which) % 4];
                edge.moved(i64::from(which / 4 % 3) - 1)
            }
        }
    }

    fn insert(&mut self, keys: &[K], many: bool) {
        let room = MOST_KEYS.saturating_sub(self.oracle.len()).min(keys.len());
        let keys = &keys[..room];
        let payloads: Vec<u64> = (self.payload..).take(keys.len()).collect();
        self.payload += keys.len() as u64;
        if many {
            let mut replaced = Vec::new();
            self.tree.insert_many(keys, &payloads, |i, old| replaced.push((i, old)));
            assert!(replaced.is_sorted_by_key(|&(i, _)| (keys[i], i)), "calls come in order of keys");
            replaced.sort_unstable();
            let mut expected = Vec::new();
            for (i, (&key, &payload)) in keys.iter().zip(&payloads).enumerate() {
                expected.extend(self.oracle.insert(key, payload).map(|old| (i, old)));
            }
            assert_eq!(replaced, expected);
        } else {
            for (&key, &payload) in keys.iter().zip(&payloads) {
                self.tree.prefetch(key);
                assert_eq!(self.tree.insert(key, payload), self.oracle.insert(key, payload), "insert {key}");
            }
        }
    }

    fn remove(&mut self, keys: &[K], many: bool) {
        if many {
            let mut removed = Vec::new();
            self.tree.remove_many(keys, |i, old| removed.push((i, old)));
            assert!(removed.is_sorted_by_key(|&(i, _)| keys[i]), "calls come in order of keys");
            removed.sort_unstable();
            let mut expected = Vec::new();
            for (i, key) in keys.iter().enumerate() {
                expected.extend(self.oracle.remove(key).map(|old| (i, old)));
            }
            assert_eq!(removed, expected);
        } else {
            for key in keys {
                assert_eq!(self.tree.remove(*key), self.oracle.remove(key), "remove {key}");
            }
        }
    }

    /// Runs a step and returns the keys to look at.
    #[expect(clippy::too_many_lines, reason = "one arm for each step")]
    fn run(&mut self, step: &Step) -> Vec<K> {
        match *step {
            Step::Insert(key) => {
                let key = self.key(key);
                self.insert(&[key], false);
                vec![key]
            }
            Step::Remove(key) => {
                let key = self.key(key);
                self.remove(&[key], false);
                vec![key]
            }
            Step::ReplaceIf(key, right) => {
                let key = self.key(key);
                let present = self.oracle.get(&key).copied();
                let expected = present.unwrap_or(0) ^ u64::from(!right);
                let replaced = self.tree.replace_if(key, expected, self.payload);
                assert_eq!(replaced, present == Some(expected));
                if replaced {
                    self.oracle.insert(key, self.payload);
                }
                vec![key]
            }
            Step::Run { from, count, shift, descending, many } => {
                let from = self.key(from);
                let at = |i: u16| K::far(i, shift);
                let key = |i| if descending { from.minus(at(i)) } else { from.plus(at(i)) };
                let keys: Vec<K> = (1..=count).map(key).collect();
                self.insert(&keys, many);
                vec![from, keys[keys.len() / 2], keys[keys.len() - 1]]
            }
            Step::Scatter { around, bits, count, seed, many } => {
                let around = self.key(around);
                let mut random = SmallRng::seed_from_u64(seed);
                let near = |random: &mut SmallRng| {
                    let far = K::narrowed(random.random(), 63 - bits);
                    around.around(far)
                };
                let keys: Vec<K> = (0..count).map(|_| near(&mut random)).collect();
                self.insert(&keys, many);
                vec![around, keys[0]]
            }
            Step::Drain { from, count, every, descending, many } => {
                let from = self.place(from);
                let there = self.oracle.keys().skip(from).take(count.into()).step_by(every.into());
                let mut keys: Vec<K> = there.copied().collect();
                if descending {
                    keys.reverse();
                }
                self.remove(&keys, many);
                keys.into_iter().step_by(64).collect()
            }
            Step::Pop { first, count } => {
                for _ in 0..count {
                    let found = if first { self.tree.first() } else { self.tree.last() };
                    let expected = if first { self.oracle.pop_first() } else { self.oracle.pop_last() };
                    assert_eq!(found, expected);
                    assert_eq!(
                        found.map(|(key, _)| self.tree.remove(key)),
                        expected.map(|(_, old)| Some(old))
                    );
                }
                Vec::new()
            }
            Step::Thrash(key, times) => {
                let key = self.key(key);
                for _ in 0..times {
                    self.insert(&[key], false);
                    self.remove(&[key], false);
                }
                vec![key]
            }
            Step::Lookups(key, seed) => {
                let mut random = SmallRng::seed_from_u64(seed);
                let near = self.key(key);
                let keys: Vec<K> = (0..300)
                    .map(|_| match random.random_range(0..3) {
                        0 => near.around(K::of(random.random_range(-99..99))),
                        1 => self.key(Key::Near(random.random(), 0)),
                        _ => K::narrowed(random.random(), random.random_range(0..64)),
                    })
                    .collect();
                let mut found = Vec::new();
                self.tree.get_many(&keys, |i, payload| found.push((i, payload)));
                let expected = keys.iter().map(|key| self.oracle.get(key).copied()).enumerate();
                assert!(found.into_iter().eq(expected), "get_many");
                keys[..20].to_vec()
            }
            Step::Range(low, high, kind, limit) => {
                let bound = |key: K, kind: u8| match kind % 4 {
                    0 => Bound::Unbounded,
                    1 => Bound::Excluded(key),
                    _ => Bound::Included(key),
                };
                let (low, high) = (bound(self.key(low), kind), bound(self.key(high), kind / 4));
                assert_range(&self.tree, &self.oracle, low, high, limit.into());
                Vec::new()
            }
            Step::Reload(sorted) => {
                let (keys, payloads): (Vec<K>, Vec<u64>) =
                    self.oracle.iter().map(|(&key, &payload)| (key, payload)).unzip();
                self.tree.clear();
                if sorted {
                    // Into the same tree, because a new one would have the default backend and leaf size.
                    self.tree.insert_many(&keys, &payloads, |_, _| panic!("no key was there"));
                } else {
                    let loaded = Alex::from_sorted(&keys, &payloads).unwrap();
                    assert_equal(&loaded, &self.oracle, &keys[..keys.len().min(3)]);
                    for (&key, &payload) in keys.iter().zip(&payloads).rev() {
                        assert_eq!(self.tree.insert(key, payload), None);
                    }
                }
                keys.first().copied().into_iter().collect()
            }
            Step::Clear => {
                self.tree.clear();
                self.oracle.clear();
                Vec::new()
            }
        }
    }
}

/// Runs a sequence on a tree; panics where anything differs.
pub fn run<K: Kind>(tree: Alex<K>, steps: &[Step]) {
    let mut pair = Pair { tree, oracle: BTreeMap::new(), payload: 1 };
    for (at, step) in steps.iter().enumerate() {
        let probes = pair.run(step);
        pair.tree.check().unwrap_or_else(|error| panic!("after step {at}, {step:?}: {error}"));
        assert_eq!(pair.tree.len(), pair.oracle.len());
        for probe in probes {
            for key in [probe.moved(-1), probe, probe.moved(1)] {
                let floor = pair.oracle.range(..=key).next_back().map(|(&key, &payload)| (key, payload));
                let ceiling = pair.oracle.range(key..).next().map(|(&key, &payload)| (key, payload));
                assert_eq!(pair.tree.get(key), pair.oracle.get(&key).copied(), "get {key} after step {at}");
                assert_eq!(pair.tree.floor(key), floor, "floor {key} after step {at}");
                assert_eq!(pair.tree.ceiling(key), ceiling, "ceiling {key} after step {at}");
            }
        }
        let middle = pair.oracle.len() / 2;
        let expected = pair.oracle.iter().nth(middle).map(|(&key, &payload)| (key, payload));
        assert_eq!(pair.tree.nth(middle), expected, "nth after step {at}");
        if let Some((key, _)) = expected {
            assert_eq!(pair.tree.rank(key), middle, "rank of {key} after step {at}");
            assert_eq!(pair.tree.count(Bound::Included(key), Bound::Unbounded), pair.oracle.len() - middle);
        }
        if at % 16 == 15 {
            assert_equal(&pair.tree, &pair.oracle, &[]);
        }
    }
    let probes: Vec<K> = pair.oracle.keys().step_by(101).copied().collect();
    assert_equal(&pair.tree, &pair.oracle, &probes);
}
