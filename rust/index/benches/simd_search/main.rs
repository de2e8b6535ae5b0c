//! Search in the slots of a data node: time against prediction error, for each kernel and each shape of the
//! window that is compared first, and for plain exponential search. `make bench` plots it.
//!
//! One node of 2^14 slots, in the second-level cache; random keys, searched for from a guess that is off by
//! the error, a quarter of it more or less, to either side: so many searches, and so unlike, that branch
//! prediction learns none of them. Every answer is checked.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use alex_index::simd::{Searcher, Shape, available};
use criterion::{Criterion, SamplingMode, Throughput};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const SLOTS: usize = 1 << 14;
const SEARCHES: usize = 1 << 17;
const ERRORS: [usize; 19] =
    [0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 45, 64, 128, 256, 512, 1_024, 2_048, 3_072, 4_096];

/// A key, where its search begins, and the answer.
struct Query {
    target: i64,
    guess: usize,
    answer: usize,
}

fn queries(keys: &[i64], error: usize) -> Vec<Query> {
    let mut random = SmallRng::seed_from_u64(error as u64);
    (0..SEARCHES)
        .map(|_| {
            loop {
                let slot = random.random_range(0..SLOTS);
                let error = random.random_range(error - error / 4..=error + error / 4);
                let guess = if random.random() { slot.checked_sub(error) } else { Some(slot + error) };
                if let Some(guess) = guess.filter(|&guess| guess < SLOTS) {
                    return Query { target: keys[slot], guess, answer: slot + 1 };
                }
            }
        })
        .collect()
}

/// Doubling steps from the guess, then halving: what ALEX as published does.
fn exponential(keys: &[i64], guess: usize, target: i64) -> usize {
    let (mut low, mut high);
    let mut step = 1;
    if keys[guess] > target {
        (low, high) = (0, guess);
        while step <= guess {
            if keys[guess - step] <= target {
                low = guess - step + 1;
                break;
            }
            high = guess - step;
            step *= 2;
        }
    } else {
        (low, high) = (guess + 1, keys.len());
        while guess + step < keys.len() {
            if keys[guess + step] > target {
                high = guess + step;
                break;
            }
            low = guess + step + 1;
            step *= 2;
        }
    }
    low + keys[low..high].partition_point(|&key| key <= target)
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(10))
        .measurement_time(Duration::from_millis(60))
        .without_plots()
        .configure_from_args();
    let mut random = SmallRng::seed_from_u64(7);
    let mut keys: Vec<i64> = (0..SLOTS).map(|_| random.random()).collect();
    keys.sort_unstable();
    let searchers: Vec<Searcher> =
        available().into_iter().map(|backend| Searcher::new(backend).unwrap()).collect();
    let mut group = criterion.benchmark_group("simd_search");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(SEARCHES as u64));
    for error in ERRORS {
        let queries = queries(&keys, error);
        let mut row = |name: String, search: &dyn Fn(&[Query]) -> bool| {
            group.bench_function(format!("{name}/{error}"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        assert!(search(black_box(&queries)), "a search went wrong");
                    }
                    start.elapsed()
                });
            });
        };
        row("exponential".to_owned(), &|queries| {
            queries.iter().all(|query| exponential(&keys, query.guess, query.target) == query.answer)
        });
        for searcher in &searchers {
            for shape in Shape::ALL {
                row(format!("{}-{}", searcher.backend().name(), shape.slots()), &|queries| {
                    queries.iter().all(|query| {
                        searcher.upper_bound(shape, &keys, query.guess, query.target) == query.answer
                    })
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
}
