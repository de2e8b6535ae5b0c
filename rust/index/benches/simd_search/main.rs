//! Search in the slots of a data node: the time for each prediction error, for each kernel and each shape of
//! the window that is counted first, and for plain exponential search. `make bench` plots it.
//!
//! The node has 2^14 slots and is in the second-level cache. Random keys are searched from a guess that is
//! off by the error, or by up to a quarter more, to either side. With so narrow a range of errors, branch
//! prediction learns how often a loop goes round, which favours exponential search. So `8-45` draws errors
//! from all of that range, as in a node whose model fits badly. The instruction set is dispatched once for
//! all searches, as the index does once for each operation. Every answer is checked.
//!
//! SIMD is compared with `scalar`, the backend of a machine without AVX2, which runs the same algorithm and
//! counts windows by binary search without branches; and with `plain loop`, which counts the same windows by
//! a loop over their keys. Ratios are measured separately, both sides in turn; `ALEX_BENCH_DUELS` names a
//! file for them.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use alex_index::simd::{Searcher, Shape, available};
use criterion::{Criterion, SamplingMode, Throughput};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const SLOTS: usize = 1 << 14;
const SEARCHES: usize = 1 << 16;
/// How often both sides of a ratio are measured.
const DUELS: usize = 41;
const ERRORS: [usize; 19] =
    [0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 45, 64, 128, 256, 512, 1_024, 2_048, 3_072, 4_096];
const MIXED: RangeInclusive<usize> = 8..=45;

/// Keys with the guesses from which they are searched, and the answers.
struct Queries {
    asked: Vec<(i64, usize)>,
    answers: Vec<usize>,
    largest: usize,
}

fn queries(keys: &[i64], errors: RangeInclusive<usize>) -> Queries {
    let mut random = SmallRng::seed_from_u64(*errors.start() as u64);
    let mut queries = Queries { asked: Vec::new(), answers: Vec::new(), largest: *errors.end() };
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

/// Doubling steps from the guess, then binary search: the search of ALEX as published.
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

/// How many keys are less than or equal to the target, by a plain loop.
fn counted(keys: &[i64], target: i64) -> usize {
    let mut count = 0;
    for &key in keys {
        count += usize::from(key <= target);
    }
    count
}

/// The search of `Shape::Around` with windows counted by plain loops, for errors of at most 56 slots.
fn plain_loop(keys: &[i64], guess: usize, target: i64) -> usize {
    let start = guess & !7;
    let count = counted(&keys[start..start + 8], target);
    if count.wrapping_sub(1) < 7 {
        return start + count;
    }
    let from = start.saturating_sub(56).min(keys.len() - 128);
    let passed = (1..4).filter(|quad| keys[from + quad * 32] <= target).count();
    from + passed * 32 + counted(&keys[from + passed * 32..][..32], target)
}

/// Searches with one backend, and checks all answers.
fn run(searcher: Searcher, shape: Shape, keys: &[i64], queries: &Queries) {
    let mut right = 0;
    searcher.upper_bounds(shape, keys, &queries.asked, |i, answer| {
        right += usize::from(answer == queries.answers[i]);
    });
    assert_eq!(right, SEARCHES, "a search went wrong");
}

/// How many times as long the scalar backend takes as SIMD, as JSON by SIMD backend, shape and error. Both
/// are measured in turn, so that a machine whose speed changes affects both, and the median of the ratios
/// counts.
fn duels(keys: &[i64], sets: &[(String, Queries)], searchers: &[Searcher]) -> String {
    let Some((scalar, vectors)) = searchers.split_first() else { return String::new() };
    let time = |searcher: Searcher, shape: Shape, queries: &Queries| {
        let start = Instant::now();
        run(searcher, shape, keys, black_box(queries));
        start.elapsed().as_secs_f64()
    };
    let mut rows = Vec::new();
    for &searcher in vectors {
        for shape in [Shape::Line, Shape::Around] {
            let cells: Vec<String> = sets
                .iter()
                .map(|(name, queries)| {
                    let mut ratios: Vec<f64> = (0..DUELS)
                        .map(|_| time(*scalar, shape, queries) / time(searcher, shape, queries))
                        .collect();
                    ratios.sort_by(f64::total_cmp);
                    format!("\"{name}\": {:.3}", ratios[DUELS / 2])
                })
                .collect();
            let name = format!("{}-{}", searcher.backend().name(), shape.slots());
            rows.push(format!("\"{name}\": {{{}}}", cells.join(", ")));
        }
    }
    format!("{{\"duels\": {{{}}}}}\n", rows.join(",\n"))
}

/// Sorted random keys in `room`, aligned so that lines of eight keys are cache lines, as they are in a leaf.
fn draw_keys(room: &mut [i64]) -> &[i64] {
    let first = room.as_ptr().align_offset(64);
    let keys = &mut room[first..][..SLOTS];
    let mut random = SmallRng::seed_from_u64(7);
    keys.fill_with(|| random.random());
    keys.sort_unstable();
    keys
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(10))
        .measurement_time(Duration::from_millis(60))
        .without_plots()
        .configure_from_args();
    let mut room = vec![0; SLOTS + 8];
    let keys = draw_keys(&mut room);
    let searchers: Vec<Searcher> =
        available().into_iter().map(|backend| Searcher::new(backend).unwrap()).collect();
    let narrow = ERRORS.map(|error| (error.to_string(), error..=error + error / 4));
    let mixed = (format!("{}-{}", MIXED.start(), MIXED.end()), MIXED);
    let sets: Vec<(String, Queries)> =
        narrow.into_iter().chain([mixed]).map(|(name, errors)| (name, queries(keys, errors))).collect();
    let mut group = criterion.benchmark_group("simd_search");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(SEARCHES as u64));
    for (name, queries) in &sets {
        let mut row = |kernel: String, search: &dyn Fn(&Queries)| {
            group.bench_function(format!("{kernel}/{name}"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        search(black_box(queries));
                    }
                    start.elapsed()
                });
            });
        };
        let mut by = |kernel: &str, search: fn(&[i64], usize, i64) -> usize| {
            row(kernel.to_owned(), &|queries| {
                let asked = queries.asked.iter().zip(&queries.answers);
                let right =
                    asked.filter(|&(&(key, guess), &answer)| search(keys, guess, key) == answer).count();
                assert_eq!(right, SEARCHES, "a search went wrong");
            });
        };
        by("exponential", exponential);
        if queries.largest <= 56 {
            by("plain loop-128", plain_loop);
        }
        for &searcher in &searchers {
            for shape in Shape::ALL {
                let kernel = format!("{}-{}", searcher.backend().name(), shape.slots());
                row(kernel, &|queries| run(searcher, shape, keys, queries));
            }
        }
    }
    group.finish();
    criterion.final_summary();
    if let Ok(path) = std::env::var("ALEX_BENCH_DUELS") {
        std::fs::write(path, duels(keys, &sets, &searchers)).unwrap();
    }
}
