//! Search in the slots of a data node: time against prediction error, for each kernel and each shape of the
//! window that is compared first, and for plain exponential search. `make bench` plots it.
//!
//! One node of 2^14 slots, in the second-level cache; random keys, searched for from a guess that is off by
//! the error, a quarter of it more or less, to either side. With so narrow a range of errors branch prediction
//! learns how often a loop goes round, which favours exponential search: `8-45` draws errors from all of that
//! range, as a node does whose model fits badly. Instruction sets are dispatched once for all searches, as the
//! index does once for an operation. Every answer is checked.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use alex_index::simd::{Searcher, Shape, available};
use criterion::{Criterion, SamplingMode, Throughput};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const SLOTS: usize = 1 << 14;
const SEARCHES: usize = 1 << 17;
const ERRORS: [usize; 19] =
    [0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 45, 64, 128, 256, 512, 1_024, 2_048, 3_072, 4_096];
const MIXED: RangeInclusive<usize> = 8..=45;

/// Keys with the slots where their search begins, and the answers.
struct Queries {
    asked: Vec<(i64, usize)>,
    answers: Vec<usize>,
}

fn queries(keys: &[i64], errors: RangeInclusive<usize>) -> Queries {
    let mut random = SmallRng::seed_from_u64(*errors.start() as u64);
    let mut queries = Queries { asked: Vec::new(), answers: Vec::new() };
    while queries.asked.len() < SEARCHES {
        let slot = random.random_range(0..SLOTS);
        let error = random.random_range(errors.clone());
        let guess = if random.random() { slot.checked_sub(error) } else { Some(slot + error) };
        if let Some(guess) = guess.filter(|&guess| guess < SLOTS) {
            queries.asked.push((keys[slot], guess));
            queries.answers.push(slot + 1);
        }
    }
    queries
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
    let narrow = ERRORS.map(|error| (error.to_string(), error - error / 4..=error + error / 4));
    for (name, errors) in narrow.into_iter().chain([(format!("{}-{}", MIXED.start(), MIXED.end()), MIXED)]) {
        let queries = queries(&keys, errors);
        let mut row = |kernel: String, search: &dyn Fn(&Queries) -> usize| {
            group.bench_function(format!("{kernel}/{name}"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        assert_eq!(search(black_box(&queries)), SEARCHES, "a search went wrong");
                    }
                    start.elapsed()
                });
            });
        };
        row("exponential".to_owned(), &|queries| {
            let asked = queries.asked.iter().zip(&queries.answers);
            asked.map(|(&(key, guess), &answer)| usize::from(exponential(&keys, guess, key) == answer)).sum()
        });
        for searcher in &searchers {
            for shape in Shape::ALL {
                row(format!("{}-{}", searcher.backend().name(), shape.slots()), &|queries| {
                    let mut right = 0;
                    searcher.upper_bounds(shape, &keys, &queries.asked, |i, answer| {
                        right += usize::from(answer == queries.answers[i]);
                    });
                    right
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
}
