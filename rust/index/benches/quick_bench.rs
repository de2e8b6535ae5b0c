//! A quick look at the speed of the index: checks its answers and prints medians.
//!
//! `cargo bench -p alex-index --bench quick_bench -- [millions] [distribution...]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::HashSet;
use std::hint::black_box;
use std::ops::Bound;
use std::time::Instant;

use alex_index::{Alex, Stats};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const ROUNDS: usize = 5;

fn normal(random: &mut SmallRng) -> f64 {
    let (u, v): (f64, f64) = (random.random_range(f64::MIN_POSITIVE..1.0), random.random());
    (-2.0 * u.ln()).sqrt() * (v * std::f64::consts::TAU).cos()
}

/// Distinct keys: `sequential` and `timestamps` ascend, the others are in random order.
fn draw(kind: &str, count: usize) -> Vec<i64> {
    let mut random = SmallRng::seed_from_u64(9);
    let mut now = 1_700_000_000_000_000i64;
    let centres: Vec<i64> = (0..count / 500).map(|_| random.random::<i64>() >> 2).collect();
    let mut seen = HashSet::with_capacity(count);
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count {
        let key = match kind {
            "uniform" => random.random(),
            "sequential" => keys.len() as i64,
            "lognormal" => ((normal(&mut random) * 2.0).exp() * 1e9) as i64,
            "timestamps" => {
                now += 1 + (-random.random_range(f64::MIN_POSITIVE..1.0).ln() * 1_000.0) as i64;
                now
            }
            "clustered" => centres[random.random_range(0..centres.len())] + random.random_range(0..4_096),
            _ => panic!("unknown distribution {kind}"),
        };
        if seen.insert(key) {
            keys.push(key);
        }
    }
    keys
}

/// Median nanoseconds for each of `count` operations.
fn median(count: usize, mut round: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_secs_f64() * 1e9 / count as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn insert_all(keys: &[i64]) -> Alex {
    let mut tree = Alex::new();
    for &key in keys {
        tree.insert(key, key as u64);
    }
    tree
}

fn lookup(tree: &Alex, shuffled: &[i64]) -> f64 {
    median(shuffled.len(), || {
        assert!(shuffled.iter().all(|&key| tree.get(black_box(key)) == Some(key as u64)));
    })
}

/// Ranges of 100 keys, for each key.
fn short_ranges(tree: &Alex, shuffled: &[i64]) -> f64 {
    let (mut keys, mut payloads) = (Vec::new(), Vec::new());
    median(10_000 * 100, || {
        for &key in &shuffled[..10_000] {
            keys.clear();
            payloads.clear();
            tree.scan_into(Bound::Included(key), Bound::Unbounded, false, 100, &mut keys, &mut payloads);
            assert_eq!(keys[0], key);
        }
    })
}

/// Removes all keys, and returns the median of as many parts as there are rounds.
fn remove_all(tree: &mut Alex, shuffled: &[i64]) -> f64 {
    let mut times: Vec<f64> = Vec::new();
    for part in shuffled.chunks(shuffled.len() / ROUNDS) {
        let start = Instant::now();
        assert!(part.iter().all(|&key| tree.remove(key) == Some(key as u64)));
        times.push(start.elapsed().as_secs_f64() * 1e9 / part.len() as f64);
    }
    assert!(tree.is_empty());
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn print_shape(name: &str, stats: &Stats, count: usize) {
    println!(
        "{:>21} | {name:>8}: {:.2} B/key, fill {:.3}, height {}, depth {:.2}, {} leaves ({} plain), {} inner, {} entries, error {:.2} max {}",
        "",
        stats.bytes as f64 / count as f64,
        stats.fill,
        stats.height,
        stats.mean_depth,
        stats.leaves,
        stats.plain_leaves,
        stats.inner_nodes,
        stats.pointer_entries,
        stats.mean_error,
        stats.max_error
    );
}

fn bench(kind: &str, count: usize) {
    let keys = draw(kind, count);
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    let payloads: Vec<u64> = sorted.iter().map(|&key| key as u64).collect();
    let mut shuffled = keys.clone();
    shuffled.shuffle(&mut SmallRng::seed_from_u64(3));

    let mut tree = Alex::new();
    let load = median(count, || tree = Alex::from_sorted(&sorted, &payloads).unwrap());
    let loaded = tree.stats();
    let get = lookup(&tree, &shuffled);
    let batch = median(count, || {
        let mut found = 0;
        tree.get_many(&shuffled, |i, payload| found += usize::from(payload == Some(shuffled[i] as u64)));
        assert_eq!(found, count);
    });
    let (mut out_keys, mut out_payloads) = (Vec::new(), Vec::new());
    let scan = median(count, || {
        out_keys.clear();
        out_payloads.clear();
        let all = Bound::Unbounded;
        tree.scan_into(all, all, false, usize::MAX, &mut out_keys, &mut out_payloads);
    });
    assert!(out_keys == sorted && out_payloads == payloads);
    let ranges = short_ranges(&tree, &shuffled);
    drop(tree);

    let mut tree = Alex::new();
    let insert = median(count, || tree = insert_all(&keys));
    assert_eq!(tree.len(), count);
    tree.check().unwrap();
    let get_after = lookup(&tree, &shuffled);
    let steady = tree.stats();
    let shuffled_insert = median(count, || tree = insert_all(&shuffled));
    let batch_insert = median(count, || {
        tree = Alex::new();
        for part in shuffled.chunks(10_000) {
            let payloads: Vec<u64> = part.iter().map(|&key| key as u64).collect();
            tree.insert_many(part, &payloads, |_, _| panic!("no key was there"));
        }
    });
    let mixed = tree.stats();
    assert_eq!(tree.len(), count);
    let remove = remove_all(&mut tree, &shuffled);
    println!(
        "{kind:>11} {count:>9} | load {load:5.1} get {get:5.1} batch {batch:5.1} scan {scan:5.2} range {ranges:5.2} \
         | insert {insert:5.1} then get {get_after:5.1} | shuffled insert {shuffled_insert:5.1} batch {batch_insert:5.1} \
         remove {remove:5.1}"
    );
    for (name, stats) in [("load", loaded), ("insert", steady), ("shuffled", mixed)] {
        print_shape(name, &stats, count);
    }
}

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let millions = arguments.first().map_or(1, |text| text.parse().unwrap());
    if let Ok(name) = std::env::var("ALEXPY_SIMD") {
        alex_index::simd::select_by_name(&name).unwrap();
    }
    println!("ns per operation, medians of {ROUNDS}, backend {:?}", alex_index::simd::active());
    let all = ["uniform", "sequential", "lognormal", "timestamps", "clustered"].map(str::to_owned);
    let chosen = if arguments.len() > 1 { &arguments[1..] } else { &all[..] };
    for kind in chosen {
        bench(kind, millions * 1_000_000);
    }
}
