//! Every row of "The index" in the performance report, with all answers checked: `make bench`.
//!
//! A benchmark is named `distribution-millions/row`. Each sample does all the work of the row on fresh or
//! unchanged data. The check of every answer is part of the time, which is given for each key. A tree is made
//! when a row first needs it. `ALEX_BENCH_MILLIONS` (default: `1,10`) and `ALEX_BENCH_KINDS` choose what
//! runs; `ALEX_BENCH_FACTS` names a file for the figures that are not rows. Sets of real keys have the size
//! that they have, and are left out, by name, where they were not made. Rivals are measured up to 3M keys.
#![allow(missing_docs, unsafe_code, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod facts;
mod memory;
mod rivals;

use std::cell::LazyCell;
use std::hint::black_box;
use std::ops::Bound;
use std::time::{Duration, Instant};

use alex_index::Alex;
use common::{DISTRIBUTIONS, Data, REAL};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};

const ALL: (Bound<i64>, Bound<i64>) = (Bound::Unbounded, Bound::Unbounded);
/// Keys of each call in the rows that write batches.
const BATCH: usize = 10_000;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// One sample of `work`. Its result is dropped after the time is taken.
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let made = black_box(work());
    let time = start.elapsed();
    drop(made);
    time
}

/// A row whose `work` does all of its `count` operations once.
fn row<T>(group: &mut Group<'_>, name: &str, count: usize, mut work: impl FnMut() -> T) {
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| timed(&mut work)).sum());
    });
}

/// A row that changes a tree, which `prepare` makes before the time is taken.
fn changing<S, T>(
    group: &mut Group<'_>,
    name: &str,
    count: usize,
    mut prepare: impl FnMut() -> S,
    mut work: impl FnMut(&mut S) -> T,
) {
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds {
                let mut state = prepare();
                total += timed(|| work(&mut state));
            }
            total
        });
    });
}

fn loaded(data: &Data) -> Alex {
    Alex::from_sorted(&data.sorted, &data.sorted_payloads).unwrap()
}

fn inserted(keys: &[i64]) -> Alex {
    let mut tree = Alex::new();
    for &key in keys {
        assert_eq!(tree.insert(key, key as u64), None);
    }
    assert_eq!(tree.len(), keys.len());
    tree
}

fn get_all(tree: &Alex, keys: &[i64]) {
    assert!(keys.iter().all(|&key| tree.get(black_box(key)) == Some(key as u64)));
}

/// Each lookup waits for the one before it: its key has a difference added that is always zero.
fn get_chained(tree: &Alex, keys: &[i64]) {
    let mut wrong = 0;
    for &key in keys {
        let key = key ^ wrong;
        wrong = tree.get(key).map_or(1, |payload| payload as i64 ^ key);
    }
    assert_eq!(wrong, 0);
}

fn get_many(tree: &Alex, keys: &[i64]) {
    let mut right = 0;
    tree.get_many(keys, |i, payload| right += usize::from(payload == Some(keys[i] as u64)));
    assert_eq!(right, keys.len());
}

fn reads(group: &mut Group<'_>, count: usize, data: &LazyCell<Data, impl FnOnce() -> Data>) {
    let tree = LazyCell::new(|| loaded(data));
    let after = LazyCell::new(|| inserted(&data.sorted));
    let steady = LazyCell::new(|| inserted(&data.shuffled));
    row(group, "get", count, || get_all(&tree, &data.shuffled));
    row(group, "get_chained", count / 4, || get_chained(&tree, &data.shuffled[..count / 4]));
    row(group, "get_many", count, || get_many(&tree, &data.shuffled));
    row(group, "get_after_sorted_inserts", count, || get_all(&after, &data.shuffled));
    row(group, "get_many_after_sorted_inserts", count, || get_many(&after, &data.shuffled));
    row(group, "get_after_random_inserts", count, || get_all(&steady, &data.shuffled));
    row(group, "get_many_after_random_inserts", count, || get_many(&steady, &data.shuffled));
    row(group, "contains_many", count, || {
        let mut found = 0;
        tree.contains_many(&data.shuffled, |_, there| found += usize::from(there));
        assert_eq!(found, count);
    });
    let (mut keys, mut payloads) = (Vec::new(), Vec::new());
    row(group, "scan", count, || {
        // Like a program that processes run after run: the buffers stay in the cache.
        let (mut from, mut sum, mut seen) = (Bound::Unbounded, 0u64, 0);
        loop {
            keys.clear();
            payloads.clear();
            tree.scan_into(from, Bound::Unbounded, false, 4_096, &mut keys, &mut payloads);
            let Some(&last) = keys.last() else { break };
            sum = sum.wrapping_add(last as u64);
            seen += payloads.len();
            from = Bound::Excluded(last);
        }
        assert_eq!(seen, count);
        sum
    });
    row(group, "scan_to_arrays", count, || {
        keys.clear();
        payloads.clear();
        tree.scan_into(ALL.0, ALL.1, false, usize::MAX, &mut keys, &mut payloads);
        assert_eq!(
            (keys.len(), keys[count / 2], payloads[count - 1]),
            (count, data.sorted[count / 2], data.sorted_payloads[count - 1])
        );
    });
    if keys.len() == count {
        assert!(keys == data.sorted && payloads == data.sorted_payloads);
    }
    let ranges = 10_000;
    row(group, "range_100", ranges * 100, || {
        let mut yielded = 0;
        for &key in &data.shuffled[..ranges] {
            keys.clear();
            payloads.clear();
            tree.scan_into(Bound::Included(key), Bound::Unbounded, false, 100, &mut keys, &mut payloads);
            assert!(keys[0] == key && payloads[0] == key as u64);
            yielded += keys.len();
        }
        assert!(yielded > ranges * 99);
    });
}

fn writes(group: &mut Group<'_>, count: usize, data: &LazyCell<Data, impl FnOnce() -> Data>) {
    row(group, "load_sorted", count, || loaded(data));
    row(group, "load_unsorted", count, || {
        let tree = Alex::from_unsorted(&data.shuffled, &data.shuffled_payloads);
        assert_eq!(tree.len(), count);
        tree
    });
    row(group, "insert", count, || inserted(&data.shuffled));
    row(group, "append", count, || inserted(&data.sorted));
    row(group, "insert_many", count, || {
        let mut tree = Alex::new();
        for (keys, payloads) in data.shuffled.chunks(BATCH).zip(data.shuffled_payloads.chunks(BATCH)) {
            tree.insert_many(keys, payloads, |_, _| panic!("no key was there"));
        }
        assert_eq!(tree.len(), count);
        tree
    });
    row(group, "append_many", count, || {
        let mut tree = Alex::new();
        for (keys, payloads) in data.sorted.chunks(BATCH).zip(data.sorted_payloads.chunks(BATCH)) {
            tree.insert_many(keys, payloads, |_, _| panic!("no key was there"));
        }
        assert_eq!(tree.len(), count);
        tree
    });
    let half = count / 2;
    let tree = || loaded(data);
    changing(group, "remove", half, tree, |tree| {
        assert!(data.shuffled[..half].iter().all(|&key| tree.remove(key) == Some(key as u64)));
    });
    changing(group, "remove_many", half, tree, |tree| {
        let mut right = 0;
        for keys in data.shuffled[..half].chunks(BATCH) {
            tree.remove_many(keys, |i, payload| right += usize::from(payload == keys[i] as u64));
        }
        assert_eq!(right, half);
    });
}

fn list(name: &str, default: &str) -> Vec<String> {
    let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
    text.split(',').map(str::to_owned).collect()
}

/// Keys of one kind and number; a group of rows.
struct Set {
    name: String,
    kind: String,
    count: usize,
}

impl Set {
    fn data(&self) -> Data {
        Data::real(&self.kind).unwrap_or_else(|| Data::draw(&self.kind, self.count))
    }
}

fn sets(kinds: &[String], millions: &[String]) -> Vec<Set> {
    let (real, drawn): (Vec<_>, Vec<_>) = kinds.iter().partition(|kind| REAL.contains(&kind.as_str()));
    let drawn = millions.iter().flat_map(|size| {
        let count = size.parse::<usize>().unwrap() * 1_000_000;
        drawn.iter().map(move |kind| Set { name: format!("{kind}-{size}M"), kind: (*kind).clone(), count })
    });
    let real = real.into_iter().filter_map(|kind| {
        let Some(data) = Data::real(kind) else {
            println!("without {kind}: run `make .keys/made`");
            return None;
        };
        Some(Set { name: kind.clone(), kind: kind.clone(), count: data.sorted.len() })
    });
    drawn.chain(real).collect()
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
        .configure_from_args();
    if let Ok(name) = std::env::var("ALEXPY_SIMD") {
        alex_index::simd::select_by_name(&name).unwrap();
    }
    let mut group = criterion.benchmark_group("memory");
    group.sampling_mode(SamplingMode::Flat);
    memory::rows(&mut group);
    group.finish();
    let kinds = list("ALEX_BENCH_KINDS", &[&DISTRIBUTIONS[..], &REAL[..]].concat().join(","));
    let sets = sets(&kinds, &list("ALEX_BENCH_MILLIONS", "1,10"));
    for set in &sets {
        let data = LazyCell::new(|| set.data());
        let mut group = criterion.benchmark_group(&set.name);
        group.sampling_mode(SamplingMode::Flat);
        writes(&mut group, set.count, &data);
        reads(&mut group, set.count, &data);
        if set.count <= rivals::MOST_KEYS {
            rivals::rows(&mut group, set.count, &data);
        }
        group.finish();
    }
    criterion.final_summary();
    if let Ok(path) = std::env::var("ALEX_BENCH_FACTS") {
        std::fs::write(path, facts::count(&sets)).unwrap();
    }
}
