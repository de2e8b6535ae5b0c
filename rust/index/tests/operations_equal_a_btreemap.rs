//! Long random sequences of operations do what a `BTreeMap` does: on every SIMD backend, on every
//! distribution of keys, with small leaves, which split and merge all the time, and with leaves of the usual
//! size.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::ops::Bound;

use alex_index::{Alex, Key, Options};
use common::{ALL, ALL_WIDE, Keys, Kind, WideKeys, assert_equal, assert_range, draw, draw_wide, trees};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(usize),
    InsertMany(usize, usize),
    Remove(usize),
    RemoveMany(usize, usize),
    ReplaceIf(usize, bool),
    Read(usize),
    Range(usize, usize, u8, usize),
    Clear,
}

/// Keys are given by their position in a pool; runs take keys from it in the pool's order.
fn step() -> impl Strategy<Value = Step> {
    let at = 0..usize::MAX;
    prop_oneof![
        8 => at.clone().prop_map(Step::Insert),
        8 => (at.clone(), 1usize..400).prop_map(|(at, run)| Step::InsertMany(at, run)),
        4 => at.clone().prop_map(Step::Remove),
        5 => (at.clone(), 1usize..400).prop_map(|(at, run)| Step::RemoveMany(at, run)),
        2 => (at.clone(), any::<bool>()).prop_map(|(at, right)| Step::ReplaceIf(at, right)),
        4 => at.clone().prop_map(Step::Read),
        3 => (at.clone(), at.clone(), any::<u8>(), 0usize..200).prop_map(|(a, b, kind, limit)| Step::Range(a, b, kind, limit)),
        1 => Just(Step::Clear),
    ]
}

fn bound<K>(key: K, kind: u8) -> Bound<K> {
    match kind % 4 {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(key),
        _ => Bound::Included(key),
    }
}

/// Does each step with the tree and with the oracle, and compares their answers.
#[expect(clippy::too_many_lines, reason = "an arm for each kind of step")]
fn apply<K: Kind>(tree: &mut Alex<K>, oracle: &mut BTreeMap<K, u64>, pool: &[K], steps: &[Step]) {
    let mut payload = 0;
    for step in steps {
        let key = |at: usize| pool[at % pool.len()];
        let run = |at: usize, run: usize| -> Vec<K> { (0..run).map(|i| key(at % pool.len() + i)).collect() };
        payload += 1;
        let mut probe = None;
        match *step {
            Step::Insert(at) => {
                probe = Some(key(at));
                assert_eq!(tree.insert(key(at), payload), oracle.insert(key(at), payload));
            }
            Step::InsertMany(at, length) => {
                let keys = run(at, length);
                let payloads: Vec<u64> = (0..length as u64).map(|i| payload << 20 | i).collect();
                let mut replaced = Vec::new();
                tree.insert_many(&keys, &payloads, |i, old| replaced.push((i, old)));
                assert!(replaced.is_sorted_by_key(|&(i, _)| (keys[i], i)));
                replaced.sort_unstable();
                let pairs = keys.iter().zip(&payloads).enumerate();
                let expected: Vec<(usize, u64)> =
                    pairs.filter_map(|(i, (&k, &p))| oracle.insert(k, p).map(|old| (i, old))).collect();
                assert_eq!(replaced, expected);
            }
            Step::Remove(at) => {
                probe = Some(key(at));
                assert_eq!(tree.remove(key(at)), oracle.remove(&key(at)));
            }
            Step::RemoveMany(at, length) => {
                let keys = run(at, length);
                let mut removed = Vec::new();
                tree.remove_many(&keys, |i, old| removed.push((i, old)));
                assert!(removed.is_sorted_by_key(|&(i, _)| keys[i]));
                removed.sort_unstable();
                let expected: Vec<(usize, u64)> = keys
                    .iter()
                    .enumerate()
                    .filter_map(|(i, k)| oracle.remove(k).map(|old| (i, old)))
                    .collect();
                assert_eq!(removed, expected);
            }
            Step::ReplaceIf(at, right) => {
                let present = oracle.get(&key(at)).copied();
                let expected = present.unwrap_or(0) ^ u64::from(!right);
                let replaced = tree.replace_if(key(at), expected, payload);
                assert_eq!(replaced, present == Some(expected));
                if replaced {
                    oracle.insert(key(at), payload);
                }
            }
            Step::Read(at) => {
                let keys = run(at, 100);
                let mut found = Vec::new();
                tree.get_many(&keys, |i, payload| found.push((i, payload)));
                assert!(found.into_iter().eq(keys.iter().map(|k| oracle.get(k).copied()).enumerate()));
                let pair = |entry: Option<(&K, &u64)>| entry.map(|(&k, &v)| (k, v));
                let (mut floors, mut ceilings, mut there) = (Vec::new(), Vec::new(), Vec::new());
                tree.floor_many(&keys, |i, entry| floors.push((i, entry)));
                tree.ceiling_many(&keys, |i, entry| ceilings.push((i, entry)));
                tree.contains_many(&keys, |i, found| there.push((i, found)));
                for (i, k) in keys.iter().enumerate() {
                    assert_eq!(floors[i], (i, pair(oracle.range(..=k).next_back())));
                    assert_eq!(ceilings[i], (i, pair(oracle.range(k..).next())));
                    assert_eq!(there[i], (i, oracle.contains_key(k)));
                }
                probe = Some(key(at));
            }
            Step::Range(a, b, kind, limit) => {
                assert_range(tree, oracle, bound(key(a), kind), bound(key(b), kind / 4), limit);
            }
            Step::Clear => {
                tree.clear();
                oracle.clear();
            }
        }
        tree.check().unwrap();
        if let Some(probe) = probe {
            let rank = oracle.range(..probe).count();
            assert_eq!(tree.rank(probe), rank);
            assert_eq!(tree.nth(rank), oracle.range(probe..).next().map(|(&k, &v)| (k, v)));
            assert_eq!(tree.floor(probe), oracle.range(..=probe).next_back().map(|(&k, &v)| (k, v)));
            let above = (Bound::Excluded(probe), Bound::Unbounded);
            assert_eq!(tree.higher(probe), oracle.range(above).next().map(|(&k, &v)| (k, v)));
        }
    }
}

fn run<K: Kind>(pool: &[K], steps: &[Step], max_leaf_slots: Option<usize>) {
    for mut tree in trees(max_leaf_slots) {
        let mut oracle = BTreeMap::new();
        apply(&mut tree, &mut oracle, pool, steps);
        assert_equal(&tree, &oracle, &pool[..pool.len().min(50)]);
    }
}

/// Sequences for each distribution and leaf size. `PROPTEST_CASES` sets another number.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

macro_rules! distributions {
    ($($name:ident: $draw:ident($kind:expr), $cases:expr;)*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn small_leaves(seed: u64, steps in proptest::collection::vec(step(), 1..120)) {
                    run(&$draw($kind, 3_000, seed), &steps, Some(128));
                }

                #[test]
                fn middle_leaves(seed: u64, steps in proptest::collection::vec(step(), 1..120)) {
                    run(&$draw($kind, 10_000, seed), &steps, Some(512));
                }
            }
        }
    )*};
}

distributions! {
    uniform: draw(Keys::Uniform), cases();
    sequential: draw(Keys::Sequential), cases();
    reverse: draw(Keys::Reverse), cases();
    zigzag: draw(Keys::ZigZag), cases();
    lognormal: draw(Keys::Lognormal), cases();
    clustered: draw(Keys::Clustered), cases();
    timestamps: draw(Keys::Timestamps), cases();
    extreme: draw(Keys::Extreme), cases();
    mixed: draw(Keys::Mixed), cases();
    v4: draw_wide(WideKeys::V4), cases().div_ceil(3);
    v7: draw_wide(WideKeys::V7), cases().div_ceil(3);
    v4_and_v7: draw_wide(WideKeys::V4AndV7), cases().div_ceil(3);
    networks: draw_wide(WideKeys::Networks), cases().div_ceil(3);
    shared_high: draw_wide(WideKeys::SharedHigh), cases().div_ceil(3);
    shared_low: draw_wide(WideKeys::SharedLow), cases().div_ceil(3);
    across_words: draw_wide(WideKeys::AcrossWords), cases().div_ceil(3);
    ends: draw_wide(WideKeys::Ends), cases().div_ceil(3);
    outliers: draw_wide(WideKeys::Outliers), cases().div_ceil(3);
}

fn the_extreme_keys_alone_and_in_every_pair<K: Kind>(extremes: &[K]) {
    for &first in extremes {
        for &second in extremes {
            for mut tree in trees(None) {
                let mut oracle = BTreeMap::new();
                assert_equal(&tree, &oracle, extremes);
                for key in [first, second] {
                    assert_eq!(tree.insert(key, 5), oracle.insert(key, 5));
                    assert_equal(&tree, &oracle, extremes);
                }
                for (low, high) in [(first, second), (second, first)] {
                    for kind in 0..16 {
                        assert_range(&tree, &oracle, bound(low, kind), bound(high, kind / 4), 1);
                    }
                }
                for key in [first, second] {
                    assert_eq!(tree.remove(key), oracle.remove(&key));
                    assert_equal(&tree, &oracle, extremes);
                }
            }
        }
    }
}

#[test]
fn the_extreme_keys_of_both_kinds_alone_and_in_every_pair() {
    the_extreme_keys_alone_and_in_every_pair(&[i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX]);
    let words = [i128::from(u64::MAX), 1 << 64, -(1 << 64)];
    let ends = [i128::MIN, i128::MIN + 1, -1, 0, 1, i128::MAX - 1, i128::MAX];
    the_extreme_keys_alone_and_in_every_pair(&[&words[..], &ends].concat());
}

fn a_bulk_load_reads_like_a_btreemap<K: Kind>(keys: &[K]) {
    let count = keys.len();
    for slots in [None, Some(128)] {
        let payloads: Vec<u64> = (0..count as u64).collect();
        let oracle: BTreeMap<K, u64> = keys.iter().copied().zip(payloads.iter().copied()).collect();
        let unsorted = Alex::from_unsorted(keys, &payloads);
        assert_equal(&unsorted, &oracle, &keys[..count.min(100)]);
        let (keys, payloads): (Vec<K>, Vec<u64>) = oracle.iter().map(|(&k, &v)| (k, v)).unzip();
        for sorted in [Alex::from_sorted(&keys, &payloads).unwrap(), Alex::from_unsorted(&keys, &payloads)] {
            assert_equal(&sorted, &oracle, &keys[..keys.len().min(100)]);
        }
        for mut tree in trees(slots) {
            tree.insert_many(&keys, &payloads, |_, _| panic!("no key was there"));
            assert_equal(&tree, &oracle, &keys[..keys.len().min(100)]);
        }
    }
}

#[test]
fn bulk_loads_of_every_distribution_read_like_a_btreemap() {
    for kind in ALL {
        for count in [0, 1, 2, 63, 64, 65, 1_000, 60_000] {
            a_bulk_load_reads_like_a_btreemap(&draw(kind, count, 11));
        }
    }
}

#[test]
fn bulk_loads_of_every_distribution_of_wide_keys_read_like_a_btreemap() {
    for kind in ALL_WIDE {
        for count in [0, 1, 2, 63, 64, 65, 1_000, 30_000] {
            a_bulk_load_reads_like_a_btreemap(&draw_wide(kind, count, 11));
        }
    }
}

#[test]
fn unsorted_or_repeated_keys_are_refused_by_the_sorted_load() {
    let error = Alex::from_sorted(&[1i64, 2, 2], &[0, 0, 0]).unwrap_err();
    assert_eq!((error.position, error.previous, error.key), (2, 2, 2));
    assert!(Alex::from_sorted(&[1i128, 0], &[0, 0]).is_err());
}

/// A tree that is loaded with so many evenly spaced keys, and checked.
fn loaded<K: Key + From<i64>>(count: usize, max_leaf_slots: Option<usize>) {
    let keys: Vec<K> = (0..count as i64).map(|key| K::from(key * 1000)).collect();
    let payloads: Vec<u64> = (0..count as u64).collect();
    let options = Options { max_leaf_slots, ..Options::default() };
    let mut tree = Alex::<K>::with_options(options).expect("the usual backend");
    tree.insert_many(&keys, &payloads, |_, _| unreachable!("keys are distinct"));
    tree.check().unwrap_or_else(|error| panic!("{count} keys of {} bits: {error}", K::BITS));
}

#[test]
fn as_many_keys_as_fill_the_largest_leaf_exactly_make_no_larger_one() {
    for count in 1..1100 {
        loaded::<i64>(count, Some(512));
        loaded::<i128>(count, Some(512));
    }
    // Three quarters of 2^14 slots, and seven tenths.
    for count in (12_285..12_292).chain(11_465..11_472) {
        loaded::<i64>(count, None);
        loaded::<i128>(count, None);
    }
}

#[test]
fn a_removed_key_that_comes_back_into_its_slot_respects_the_limit_of_the_leaf() {
    let keys: Vec<i64> = (0..1500).map(|key| key * 1000).collect();
    let (begin, end) = (750, 750 + 136);
    let mut tree = Alex::new();
    tree.insert_many(&keys, &vec![0; keys.len()], |_, _| unreachable!("keys are distinct"));
    // Gaps longer than a word of the bitmap, whose slots keep the keys that were removed.
    for &key in &keys[begin..end] {
        tree.remove(key);
    }
    // Into both halves, in an order of its own, until the leaf is as full as it may be, and beyond.
    for i in 0..1300 {
        let at = i * 607 % 1300;
        let key = keys[if at < begin { at } else { at + end - begin + 2 }] + 1 + i as i64 % 998;
        tree.insert(key, 1);
        for back in [70, 85, 95] {
            tree.insert(keys[begin + back], 2);
            tree.check().unwrap_or_else(|error| panic!("after {i} keys, {back}: {error}"));
            assert_eq!(tree.get(keys[begin + back]), Some(2));
            tree.remove(keys[begin + back]);
        }
    }
}
