//! Lookups and inserts of the same keys in other ordered maps, in the same program. None has batch calls, so a
//! batch lookup is compared with their single ones. Each is filled by its best way in, and a guard that its
//! calls need is taken once for all of them.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::hint::black_box;

use congee::U64Congee;
use scry_index::LearnedMap;

use crate::common::Data;
use crate::{Group, row};

/// Larger sets are left to the rows of the index itself.
pub(crate) const MOST_KEYS: usize = 3_000_000;

const SIGN: u64 = 1 << 63;

/// Congee takes unsigned keys.
fn ordered(key: i64) -> u64 {
    key as u64 ^ SIGN
}

pub(crate) fn rows(group: &mut Group<'_>, count: usize, data: &LazyCell<Data, impl FnOnce() -> Data>) {
    b_tree(group, count, data);
    adaptive_radix_tree(group, count, data);
    learned(group, count, data);
}

fn b_tree(group: &mut Group<'_>, count: usize, data: &LazyCell<Data, impl FnOnce() -> Data>) {
    let pairs = || data.sorted.iter().map(|&key| (key, key as u64));
    let tree = LazyCell::new(|| pairs().collect::<BTreeMap<_, _>>());
    row(group, "get@BTreeMap", count, || {
        assert!(data.shuffled.iter().all(|key| tree.get(black_box(key)) == Some(&(*key as u64))));
    });
    row(group, "insert@BTreeMap", count, || {
        let mut tree = BTreeMap::new();
        for &key in &data.shuffled {
            assert_eq!(tree.insert(key, key as u64), None);
        }
        assert_eq!(tree.len(), count);
        tree
    });
}

fn adaptive_radix_tree(group: &mut Group<'_>, count: usize, data: &LazyCell<Data, impl FnOnce() -> Data>) {
    let filled = |keys: &[i64]| {
        let tree = U64Congee::<usize>::new();
        let guard = congee::epoch::pin();
        for &key in keys {
            assert_eq!(tree.insert(ordered(key), key as usize, &guard).expect("memory"), None);
        }
        tree
    };
    let tree = LazyCell::new(|| filled(&data.sorted));
    row(group, "get@congee", count, || {
        let guard = congee::epoch::pin();
        let right = |&key: &i64| tree.get(ordered(black_box(key)), &guard) == Some(key as usize);
        assert!(data.shuffled.iter().all(right));
    });
    row(group, "insert@congee", count, || filled(&data.shuffled));
}

fn learned(group: &mut Group<'_>, count: usize, data: &LazyCell<Data, impl FnOnce() -> Data>) {
    let tree = LazyCell::new(|| {
        let pairs: Vec<(i64, u64)> = data.sorted.iter().map(|&key| (key, key as u64)).collect();
        LearnedMap::bulk_load(&pairs).expect("sorted keys")
    });
    row(group, "get@scry-index", count, || {
        let pinned = tree.pin();
        assert!(data.shuffled.iter().all(|key| pinned.get(black_box(key)) == Some(&(*key as u64))));
    });
    row(group, "insert@scry-index", count, || {
        let tree = LearnedMap::new();
        let pinned = tree.pin();
        for &key in &data.shuffled {
            assert!(pinned.insert(key, key as u64));
        }
        assert_eq!(pinned.len(), count);
        drop(pinned);
        tree
    });
}
