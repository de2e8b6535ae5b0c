//! A quick look at the speed of the index: checks its answers and prints medians.
//!
//! `cargo bench -p alex-index --bench quick_bench -- [millions] [keys...]`; sets of real keys have the size that
//! they have.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::hint::black_box;
use std::ops::Bound;
use std::time::Instant;

use alex_index::{Alex, Stats};
use common::{DISTRIBUTIONS, Data, REAL};

const ROUNDS: usize = 5;

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

fn batch_lookup(tree: &Alex, shuffled: &[i64]) -> f64 {
    median(shuffled.len(), || {
        let mut found = 0;
        tree.get_many(shuffled, |i, payload| found += usize::from(payload == Some(shuffled[i] as u64)));
        assert_eq!(found, shuffled.len());
    })
}

fn bench(kind: &str, data: &Data) {
    let Data { sorted, sorted_payloads, shuffled, .. } = data;
    let count = sorted.len();
    let mut tree = Alex::new();
    let load = median(count, || tree = Alex::from_sorted(sorted, sorted_payloads).unwrap());
    let loaded = tree.stats();
    let get = lookup(&tree, shuffled);
    let batch = batch_lookup(&tree, shuffled);
    let (mut out_keys, mut out_payloads) = (Vec::new(), Vec::new());
    let scan = median(count, || {
        out_keys.clear();
        out_payloads.clear();
        let all = Bound::Unbounded;
        tree.scan_into(all, all, false, usize::MAX, &mut out_keys, &mut out_payloads);
    });
    assert!(out_keys == *sorted && out_payloads == *sorted_payloads);
    let ranges = short_ranges(&tree, shuffled);

    let append = median(count, || tree = insert_all(sorted));
    assert_eq!(tree.len(), count);
    let appended = tree.stats();
    let get_appended = lookup(&tree, shuffled);
    let insert = median(count, || tree = insert_all(shuffled));
    tree.check().unwrap();
    let inserted = tree.stats();
    let (get_inserted, batch_inserted) = (lookup(&tree, shuffled), batch_lookup(&tree, shuffled));
    let batch_insert = median(count, || {
        tree = Alex::new();
        for part in shuffled.chunks(10_000) {
            let payloads: Vec<u64> = part.iter().map(|&key| key as u64).collect();
            tree.insert_many(part, &payloads, |_, _| panic!("no key was there"));
        }
    });
    assert_eq!(tree.len(), count);
    let remove = remove_all(&mut tree, shuffled);
    println!(
        "{kind:>11} {count:>9} | load {load:5.1} get {get:5.1} batch {batch:5.1} scan {scan:5.2} range {ranges:5.2} \
         | append {append:5.1} then get {get_appended:5.1} | insert {insert:5.1} then get {get_inserted:5.1} \
         batch {batch_inserted:5.1} | batch insert {batch_insert:5.1} remove {remove:5.1}"
    );
    for (name, stats) in [("load", loaded), ("append", appended), ("insert", inserted)] {
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
    let all = DISTRIBUTIONS.iter().chain(&REAL).map(|kind| (*kind).to_owned());
    let chosen = if arguments.len() > 1 { arguments[1..].to_vec() } else { all.collect() };
    for kind in chosen {
        let data = Data::real(&kind).unwrap_or_else(|| Data::draw(&kind, millions * 1_000_000));
        bench(&kind, &data);
    }
}
