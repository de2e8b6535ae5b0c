//! A million keys of each distribution are inserted one by one. Then every key is found, no other key is, and
//! iteration yields the sorted input. With the scalar and the AVX2 backend.
#![allow(clippy::unwrap_used)]

mod common;

use std::ops::Bound;

use alex_index::simd::{Backend, available};
use common::hard::{REAL, real};
use common::{Keys, draw, tree};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const COUNT: usize = 1_000_000;

fn every_key_and_no_other(keys: &[i64]) {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for backend in [Backend::Scalar, Backend::Avx2] {
        if !available().contains(&backend) {
            continue;
        }
        let mut tree = tree(backend, None);
        let mut replaced = 0;
        for &key in keys {
            replaced += usize::from(tree.insert(key, (key as u64).rotate_left(7)).is_some());
        }
        assert_eq!(tree.len(), sorted.len());
        assert_eq!(replaced, keys.len() - sorted.len());
        tree.check().unwrap();
        for &key in keys {
            assert_eq!(tree.get(key), Some((key as u64).rotate_left(7)));
        }
        for pair in sorted.windows(2) {
            for absent in [pair[0] + 1, pair[1] - 1] {
                assert_eq!(tree.contains(absent), absent == pair[0] || absent == pair[1]);
            }
        }
        let mut random = SmallRng::seed_from_u64(7);
        for _ in 0..200_000 {
            let probe = random.random::<i64>() >> random.random_range(0..64);
            assert_eq!(tree.contains(probe), sorted.binary_search(&probe).is_ok());
        }
        assert!(
            tree.range(Bound::Unbounded, Bound::Unbounded).map(|(key, _)| key).eq(sorted.iter().copied())
        );
        let bytes = tree.nbytes() as f64 / tree.len() as f64;
        assert!(bytes <= 40.0, "{bytes} bytes a key");
    }
}

macro_rules! distributions {
    ($($name:ident: $kind:expr;)*) => {$(
        #[test]
        fn $name() {
            every_key_and_no_other(&draw($kind, COUNT, 42));
        }
    )*};
}

distributions! {
    uniform: Keys::Uniform;
    sequential: Keys::Sequential;
    reverse: Keys::Reverse;
    zigzag: Keys::ZigZag;
    lognormal: Keys::Lognormal;
    clustered: Keys::Clustered;
    cells: Keys::Cells;
    timestamps: Keys::Timestamps;
    extreme: Keys::Extreme;
}

#[test]
#[ignore = "its keys come out of packages that `make .keys/made` downloads: `make proof`"]
fn real_data() {
    for kind in REAL {
        let mut keys = real(kind).unwrap_or_else(|| panic!("no keys of {kind}: run `make .keys/made`"));
        keys.shuffle(&mut SmallRng::seed_from_u64(8));
        every_key_and_no_other(&keys);
    }
}
