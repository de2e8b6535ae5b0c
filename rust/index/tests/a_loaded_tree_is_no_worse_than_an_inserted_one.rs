//! A bulk load makes leaves from a look at all keys, so its predictions should err no more than those of a tree whose
//! keys came one by one. It once made leaves of 8,000 star ids that erred by 26 slots, where inserts erred by 4.
#![allow(clippy::unwrap_used)]

mod common;

use alex_index::Alex;
use common::hard::cells;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// A line of slopes that differ up to eightfold, each for some thousands of keys: no leaf of the largest size fits
/// them, and all smaller ones do.
fn bent(count: usize, random: &mut SmallRng) -> Vec<i64> {
    let (mut key, mut pace) = (0, 1_000);
    (0..count)
        .map(|i| {
            if i % 3_000 == 0 {
                pace = 1_000 << random.random_range(0..4);
            }
            key += random.random_range(1..2 * pace);
            key
        })
        .collect()
}

#[test]
fn a_loaded_tree_errs_no_more_than_an_inserted_one() {
    let mut random = SmallRng::seed_from_u64(47);
    let sets = [
        ("uniform", (0..200_000).map(|_| random.random()).collect()),
        ("cells", cells(200_000, &mut random)),
        ("bent", bent(200_000, &mut random)),
    ];
    for (name, mut keys) in sets {
        keys.sort_unstable();
        keys.dedup();
        let loaded = Alex::from_sorted(&keys, &vec![0; keys.len()]).unwrap();
        let mut inserted = Alex::new();
        keys.shuffle(&mut random);
        for &key in &keys {
            inserted.insert(key, 0);
        }
        loaded.check().unwrap();
        let (loaded, inserted) = (loaded.stats(), inserted.stats());
        assert!(loaded.mean_error <= inserted.mean_error * 1.1 + 0.2, "{name}: {loaded:?}\n{inserted:?}");
        assert!(loaded.bytes <= 28 * loaded.keys, "{name}: {loaded:?}");
    }
}
