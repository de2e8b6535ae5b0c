//! The B+tree that counted tests compare with is correct, is shaped like a B+tree, and counts its work right.
#![allow(clippy::unwrap_used)]
#![cfg(debug_assertions)]

mod common;

use std::collections::BTreeMap;

use alex_index::count;
use common::btree::BTree;
use common::{ALL, draw};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[test]
fn random_operations_equal_a_btreemap() {
    for (seed, kind) in ALL.into_iter().enumerate() {
        let pool = draw(kind, 20_000, seed as u64);
        let mut random = SmallRng::seed_from_u64(seed as u64);
        let (mut tree, mut oracle) = (BTree::default(), BTreeMap::new());
        for step in 0..120_000u64 {
            let key = pool[random.random_range(0..pool.len())];
            // The tree grows, is emptied, and grows again.
            if random.random_bool(if step / 30_000 % 2 == 0 { 0.9 } else { 0.02 }) {
                assert_eq!(tree.insert(key, step), oracle.insert(key, step));
            } else {
                assert_eq!(tree.remove(key), oracle.remove(&key));
                if let Some((&key, _)) = oracle.first_key_value().filter(|_| step % 2 == 0) {
                    assert_eq!(tree.remove(key), oracle.remove(&key));
                }
            }
            assert_eq!(tree.get(key), oracle.get(&key).copied());
            assert_eq!(tree.len(), oracle.len());
            assert_eq!(tree.first(), oracle.first_key_value().map(|(&key, &value)| (key, value)));
        }
        for &key in &pool {
            assert_eq!(tree.get(key), oracle.get(&key).copied());
        }
        assert!(tree.nodes() <= oracle.len() / 24 + 4, "{} nodes for {}", tree.nodes(), oracle.len());
    }
}

#[test]
fn a_lookup_among_a_million_keys_touches_what_its_nodes_of_64_keys_need() {
    let mut tree = BTree::default();
    for key in 0..1_000_000 {
        tree.insert(key * 977 % 1_000_003, 0);
    }
    let mut lines = 0;
    for key in 0..1_000 {
        let (found, work) = count::work(|| tree.get(key * 977 % 1_000_003));
        assert_eq!((found, work.slots), (Some(0), 0));
        lines += work.lines;
    }
    // Each of three or four nodes costs its header, three or four lines of keys, and the child or the
    // payload.
    assert!((16_000..=20_000).contains(&lines), "{lines}");
}
