//! The keys that the benchmarks of the index run on. Not every benchmark uses all of it.
#![allow(dead_code, unreachable_pub)]

#[path = "../../tests/common/hard.rs"]
pub mod hard;

pub use hard::REAL;
use hard::normal;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// The distributions of the report, in its order.
pub const DISTRIBUTIONS: [&str; 6] =
    ["uniform", "sequential", "lognormal", "timestamps", "clustered", "cells"];

/// Distinct keys in ascending order and the same keys shuffled, with the payloads of both. A payload has its
/// key's own bits, so that every answer can be checked without another array.
pub struct Data {
    pub sorted: Vec<i64>,
    pub sorted_payloads: Vec<u64>,
    pub shuffled: Vec<i64>,
    pub shuffled_payloads: Vec<u64>,
}

impl Data {
    /// `count` keys of a distribution.
    ///
    /// # Panics
    /// If the distribution is unknown.
    pub fn draw(kind: &str, count: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(9);
        let mut sorted = Vec::new();
        let mut asked = count;
        while sorted.len() < count {
            // A few keys repeat, so a few more are drawn.
            asked += asked / 50 + 16;
            sorted = draw(kind, asked, &mut random);
            sorted.sort_unstable();
            sorted.dedup();
        }
        while sorted.len() > count {
            // Keys all over the range go, not the largest ones, so that the distribution stays the same.
            let excess = sorted.len() - count;
            if matches!(kind, "sequential" | "timestamps") {
                sorted.truncate(count);
                break;
            }
            let step = sorted.len() / excess;
            let mut i = 0;
            let mut gone = 0;
            sorted.retain(|_| {
                i += 1;
                let keep = gone == excess || i % step != 0;
                gone += usize::from(!keep);
                keep
            });
        }
        Self::of(sorted)
    }

    /// All keys of a set of real data; none if `make .keys/made` has not been run.
    pub fn real(kind: &str) -> Option<Self> {
        hard::real(kind).map(Self::of)
    }

    fn of(sorted: Vec<i64>) -> Self {
        let mut shuffled = sorted.clone();
        shuffled.shuffle(&mut SmallRng::seed_from_u64(10));
        let payloads = |keys: &[i64]| keys.iter().map(|&key| key as u64).collect();
        Self { sorted_payloads: payloads(&sorted), shuffled_payloads: payloads(&shuffled), sorted, shuffled }
    }
}

fn draw(kind: &str, count: usize, random: &mut SmallRng) -> Vec<i64> {
    let mut now = 1_700_000_000_000_000i64;
    match kind {
        "uniform" => (0..count).map(|_| random.random()).collect(),
        "sequential" => (0..count as i64).collect(),
        "lognormal" => (0..count).map(|_| ((normal(random) * 2.0).exp() * 1e9) as i64).collect(),
        // Microseconds, at random distances of a thousand on average.
        "timestamps" => (0..count)
            .map(|_| {
                now += 1 + (-random.random_range(f64::MIN_POSITIVE..1.0).ln() * 1_000.0) as i64;
                now
            })
            .collect(),
        // Cell ids: many clusters at random positions, with about 500 keys each.
        "clustered" => {
            let centres: Vec<i64> = (0..count / 500).map(|_| random.random::<i64>() >> 2).collect();
            (0..count)
                .map(|_| centres[random.random_range(0..centres.len())] + random.random_range(0..4_096))
                .collect()
        }
        "cells" => hard::cells(count, random),
        _ => panic!("unknown distribution {kind}"),
    }
}
