//! Inputs that are made to spoil a learned index do not: every key is found, no leaf outgrows the largest
//! size, which bounds what one insert can move, depth and model nodes stay small, and memory stays within 40
//! bytes a key.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::VecDeque;
use std::ops::Bound;

use alex_index::{Alex, MAX_LEAF_SLOTS, Stats};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const ALL: (Bound<i64>, Bound<i64>) = (Bound::Unbounded, Bound::Unbounded);

/// Checks the invariants, and the bounds that hold for every input.
fn assert_bounded(tree: &Alex, max_height: usize) -> Stats {
    tree.check().unwrap();
    let stats = tree.stats();
    assert!(stats.height <= max_height, "{stats:?}");
    assert!(stats.largest_leaf <= MAX_LEAF_SLOTS, "{stats:?}");
    assert!(stats.pointer_entries <= 32 * stats.leaves + 1_024 * stats.inner_nodes, "{stats:?}");
    // A tree of a few keys may take a few thousand bytes.
    assert!(
        stats.bytes <= 40 * stats.keys + (64 << 10),
        "{} bytes a key: {stats:?}",
        stats.bytes / stats.keys
    );
    stats
}

fn inserted(keys: &[i64]) -> Alex {
    let mut tree = Alex::new();
    for &key in keys {
        assert_eq!(tree.insert(key, !key as u64), None, "{key} is inserted once");
    }
    assert_eq!(tree.len(), keys.len());
    for &key in keys {
        assert_eq!(tree.get(key), Some(!key as u64));
    }
    tree
}

#[test]
fn a_far_outlier_does_not_spoil_a_dense_tree() {
    let dense: Vec<i64> = (0..400_000).map(|i| i * 3).collect();
    for outliers in [vec![i64::MAX], vec![i64::MIN], vec![i64::MIN, i64::MAX, 1 << 50, -(1 << 40)]] {
        let mut keys: Vec<i64> = outliers.iter().chain(&dense).copied().collect();
        let first = assert_bounded(&inserted(&keys), 4);
        assert!(first.mean_error < 4.0, "{first:?}");
        keys.rotate_left(outliers.len());
        assert_bounded(&inserted(&keys), 4);
        keys.shuffle(&mut SmallRng::seed_from_u64(5));
        assert_bounded(&inserted(&keys), 4);
        keys.sort_unstable();
        let payloads: Vec<u64> = keys.iter().map(|&key| !key as u64).collect();
        let loaded = assert_bounded(&Alex::from_sorted(&keys, &payloads).unwrap(), 2);
        assert!(loaded.mean_error < 4.0, "{loaded:?}");
    }
}

#[test]
fn exponential_gaps_nest_no_deeper_than_their_exponents() {
    // Clusters around +-2^i, each with as many keys as fit, ascending, descending and shuffled.
    let mut keys = Vec::new();
    for exponent in 1..63 {
        for i in 0..(1i64 << exponent).min(6_000) {
            keys.push((1 << exponent) + i / 2 * 2 + (i & 1));
            keys.push(-(1 << exponent) - i);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    let ascending = inserted(&keys);
    assert_bounded(&ascending, 12);
    keys.reverse();
    assert_bounded(&inserted(&keys), 12);
    keys.shuffle(&mut SmallRng::seed_from_u64(6));
    assert_bounded(&inserted(&keys), 12);
    let payloads = vec![0; keys.len()];
    assert_bounded(&Alex::from_unsorted(&keys, &payloads), 12);
}

#[test]
fn clusters_inside_clusters_stay_shallow() {
    // Keys that share longer and longer prefixes: at each depth one slot is crowded.
    let mut random = SmallRng::seed_from_u64(8);
    let mut keys: Vec<i64> = Vec::new();
    for depth in 0..12 {
        let width = 62 - depth * 5;
        for _ in 0..20_000i64.min((1i64 << width) / 4) {
            keys.push(random.random_range(0..1i64 << width));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys.shuffle(&mut random);
    assert_bounded(&inserted(&keys), 10);
}

#[test]
fn a_hot_spot_in_the_middle_is_found_and_stays_small() {
    let mut keys: Vec<i64> = (0..100_000).map(|i| i << 32).collect();
    let spot = 50_000i64 << 32;
    keys.extend((1..200_000).map(|i| spot + i));
    assert_bounded(&inserted(&keys), 6);
    let mut keys: Vec<i64> = (0..100_000).map(|i| i << 32).collect();
    keys.extend((1..200_000).map(|i| spot + 1_000_000 - i));
    assert_bounded(&inserted(&keys), 6);
}

#[test]
fn a_queue_of_constant_length_keeps_its_size() {
    for direction in [1, -1] {
        let mut tree = Alex::new();
        let mut queue = VecDeque::new();
        for i in 0..1_500_000i64 {
            let key = direction * i * 10;
            tree.insert(key, i as u64);
            queue.push_back(key);
            if queue.len() > 50_000 {
                let oldest = queue.pop_front().unwrap();
                assert!(tree.remove(oldest).is_some());
            }
        }
        let stats = assert_bounded(&tree, 4);
        assert!(stats.bytes <= 45 * 50_000, "{stats:?}");
        let mut expected: Vec<i64> = queue.into_iter().collect();
        expected.sort_unstable();
        assert!(tree.range(ALL.0, ALL.1).map(|(key, _)| key).eq(expected));
    }
}

#[test]
fn thrash_at_a_density_boundary_changes_nothing_but_the_keys() {
    let mut tree = Alex::new();
    let keys: Vec<i64> = (0..60_000).map(|i| i * 1_000).collect();
    for &key in &keys {
        tree.insert(key, 1);
    }
    for round in 0..400_000i64 {
        let key = keys[round as usize % 100] + 1;
        if round / 100 % 2 == 0 {
            assert_eq!(tree.insert(key, 2), None);
        } else {
            assert_eq!(tree.remove(key), Some(2));
        }
    }
    assert_bounded(&tree, 3);
    assert!(tree.range(ALL.0, ALL.1).map(|(key, _)| key).eq(keys));
}

#[test]
fn deleting_in_any_order_gives_the_memory_back() {
    let count = 300_000usize;
    let ascending: Vec<i64> = (0..count as i64).map(|i| i * 7).collect();
    let middle_out: Vec<i64> =
        ascending[count / 2..].iter().chain(&ascending[..count / 2]).copied().collect();
    let mut shuffled = ascending.clone();
    shuffled.shuffle(&mut SmallRng::seed_from_u64(1));
    let descending: Vec<i64> = ascending.iter().rev().copied().collect();
    for order in [&ascending, &descending, &middle_out, &shuffled] {
        let mut tree = inserted(&shuffled);
        let (gone, kept) = order.split_at(count - 1_000);
        for (i, &key) in gone.iter().enumerate() {
            assert_eq!(tree.remove(key), Some(!key as u64));
            if i % 100_000 == 0 {
                tree.check().unwrap();
            }
        }
        tree.check().unwrap();
        assert!(tree.nbytes() <= 1 << 20, "{} bytes for 1,000 keys", tree.nbytes());
        for &key in kept {
            assert_eq!(tree.remove(key), Some(!key as u64));
        }
        tree.check().unwrap();
        assert!(tree.is_empty() && tree.nbytes() <= 1 << 16, "{} bytes for no key", tree.nbytes());
        assert_eq!((tree.first(), tree.floor(0), tree.ceiling(0)), (None, None, None));
        tree.insert(5, 6);
        assert_eq!(tree.get(5), Some(6));
    }
}

#[test]
fn many_streams_of_ascending_keys_are_packed() {
    // A thousand sensors take turns, each with its own ascending keys.
    let keys: Vec<i64> = (0..500_000i64).map(|i| ((i % 1_000) << 40) + (i / 1_000) * 50).collect();
    assert_bounded(&inserted(&keys), 5);
}

#[test]
fn sorted_inserts_leave_a_tree_as_good_as_a_bulk_load() {
    for direction in [1i64, -1] {
        let keys: Vec<i64> = (0..600_000).map(|i| direction * (i * 11 + i % 7)).collect();
        let stats = assert_bounded(&inserted(&keys), 2);
        assert!(stats.fill > 0.85 && stats.mean_error < 16.0, "{stats:?}");
    }
}

#[test]
fn a_removed_key_in_a_long_gap_run_is_not_found_again() {
    // Ascending removals in the middle of one leaf leave a run of gaps that is too long to rewrite each time.
    let mut tree = Alex::new();
    let keys: Vec<i64> = (0..9_000).map(|i| i * 2).collect();
    for &key in &keys {
        tree.insert(key, 1);
    }
    for &key in &keys[100..5_000] {
        assert_eq!(tree.remove(key), Some(1));
        assert_eq!((tree.get(key), tree.remove(key)), (None, None));
    }
    tree.check().unwrap();
    assert_eq!(tree.ceiling(200), Some((10_000, 1)));
    assert_eq!(tree.floor(9_999), Some((198, 1)));
    for &key in keys[100..5_000].iter().rev().step_by(3) {
        assert_eq!(tree.insert(key, 2), None);
        assert_eq!(tree.insert(key + 1, 3), None);
        assert_eq!(tree.get(key), Some(2));
    }
    tree.check().unwrap();
}
