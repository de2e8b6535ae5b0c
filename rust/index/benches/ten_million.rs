//! The proof at size: 10 million keys of each distribution, and all keys of each set of real data, are inserted
//! one by one in four orders, mixed with removals. Then every key is found with its payload, no other key is, the invariants hold, and memory is
//! within its bounds. The same for 100 million uniform keys that are loaded in bulk.
//!
//! `cargo bench -p alex-index --bench ten_million -- [millions] [distribution...]` prints a table to stderr
//! and a JSON object a line to stdout. `bulk` in place of a distribution loads ten times as many keys in
//! bulk. The exit status is 1 if anything does not hold. `make proof` keeps the output.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::ops::Bound;
use std::process::ExitCode;
use std::time::Instant;

use alex_index::{Alex, MAX_LEAF_SLOTS};
use common::hard::{REAL, real};
use common::{Keys, draw};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const ALL: (Bound<i64>, Bound<i64>) = (Bound::Unbounded, Bound::Unbounded);
/// The most bytes a key after a bulk load of uniform keys.
const LOADED_BYTES: f64 = 23.5;
/// The most bytes a key after inserts and removals.
const STEADY_BYTES: f64 = 26.0;
/// The most bytes a key at any moment.
const WORST_BYTES: f64 = 40.0;

#[derive(Clone, Copy, Debug)]
enum Order {
    Shuffled,
    Sorted,
    Reverse,
    ZigZag,
}

impl Order {
    fn of(self, sorted: &[i64]) -> Vec<i64> {
        let mut keys = sorted.to_vec();
        match self {
            Self::Shuffled => keys.shuffle(&mut SmallRng::seed_from_u64(2)),
            Self::Sorted => {}
            Self::Reverse => keys.reverse(),
            Self::ZigZag => {
                // From the middle outwards: a key above and a key below in turn.
                let middle = sorted.len() / 2;
                let (low, high) = sorted.split_at(middle);
                let pairs = high.iter().zip(low.iter().rev().map(Some).chain([None]));
                keys = pairs.flat_map(|(&above, below)| [Some(above), below.copied()]).flatten().collect();
            }
        }
        assert_eq!(keys.len(), sorted.len());
        keys
    }
}

fn payload(key: i64) -> u64 {
    (key as u64).rotate_left(23) ^ 0x5bd1
}

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.trim().parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// The figures of a run, and what does not hold.
struct Verdict {
    name: String,
    keys: usize,
    figures: Vec<(&'static str, f64)>,
    broken: Vec<String>,
}

impl Verdict {
    fn new(name: String) -> Self {
        Self { name, keys: 0, figures: Vec::new(), broken: Vec::new() }
    }

    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    fn print(&self) -> bool {
        let figures: Vec<String> =
            self.figures.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
        let verdict = if self.broken.is_empty() { "holds".to_owned() } else { self.broken.join("; ") };
        eprintln!("{:<22} {:>9} keys | {} | {verdict}", self.name, self.keys, figures.join(", "));
        let figures: Vec<String> = self
            .figures
            .iter()
            .map(|(name, value)| format!("\"{}\": {value:.3}", name.replace(' ', "_")))
            .collect();
        println!(
            "{{\"run\": \"{}\", \"keys\": {}, {}, \"holds\": {}, \"simd\": \"{}\"}}",
            self.name,
            self.keys,
            figures.join(", "),
            self.broken.is_empty(),
            alex_index::simd::active().name()
        );
        self.broken.is_empty()
    }
}

/// Checks invariants, contents and shape of a tree that should hold these sorted keys.
fn examine(tree: &Alex, sorted: &[i64], verdict: &mut Verdict) {
    verdict.keys = sorted.len();
    verdict.require(tree.len() == sorted.len(), || format!("len is {}", tree.len()));
    let check = tree.check();
    verdict.require(check.is_ok(), || check.map_err(|error| error.to_string()).unwrap_err());
    let wanted = sorted.iter().map(|&key| (key, payload(key)));
    verdict.require(tree.range(ALL.0, ALL.1).eq(wanted), || "a full scan differs from the keys".to_owned());
    let stats = tree.stats();
    verdict
        .require(stats.largest_leaf <= MAX_LEAF_SLOTS, || format!("a leaf of {} slots", stats.largest_leaf));
    verdict.require(stats.height <= 8, || format!("height {}", stats.height));
    verdict.figures.push(("bytes a key", tree.nbytes() as f64 / sorted.len() as f64));
    verdict.figures.push(("height", stats.height as f64));
    verdict.figures.push(("leaves", stats.leaves as f64));
    verdict.figures.push(("fill", stats.fill * 100.0));
    verdict.figures.push(("mean error", stats.mean_error));
    verdict.figures.push(("resident MB", resident() as f64 / 1e6));
}

/// Inserts every key. After each tenth, removes one of the keys before it; at the end, inserts half of the
/// removed keys again. Then looks up every key.
fn one_by_one(name: &str, sorted: &[i64], order: Order) -> bool {
    let mut verdict = Verdict::new(format!("{name} {order:?}"));
    let keys = order.of(sorted);
    let mut random = SmallRng::seed_from_u64(3);
    let mut tree = Alex::new();
    let mut removed = Vec::with_capacity(keys.len() / 10);
    let (mut wrong, mut worst_bytes) = (0usize, 0.0f64);
    let start = Instant::now();
    for (i, &key) in keys.iter().enumerate() {
        wrong += usize::from(tree.insert(key, payload(key)).is_some());
        if i % 10 == 9 {
            let victim = keys[random.random_range(0..=i)];
            match tree.remove(victim) {
                Some(found) => {
                    wrong += usize::from(found != payload(victim));
                    removed.push(victim);
                }
                None => wrong += usize::from(tree.contains(victim)),
            }
        }
        if i % 4_096 == 0 && i > 100_000 {
            worst_bytes = worst_bytes.max(tree.nbytes() as f64 / tree.len() as f64);
        }
    }
    let (back, gone) = removed.split_at(removed.len() / 2);
    for &key in back {
        wrong += usize::from(tree.insert(key, payload(key)).is_some());
    }
    let operations = keys.len() + removed.len() + back.len();
    let seconds = start.elapsed().as_secs_f64();
    verdict.figures.push(("ns an operation", seconds * 1e9 / operations as f64));
    verdict.require(wrong == 0, || format!("{wrong} inserts or removals gave a wrong answer"));

    let mut missing: Vec<i64> = gone.to_vec();
    missing.sort_unstable();
    let mut expected = Vec::with_capacity(sorted.len() - missing.len());
    let mut next = missing.iter().peekable();
    expected.extend(sorted.iter().copied().filter(|&key| next.next_if_eq(&&key).is_none()));
    examine(&tree, &expected, &mut verdict);
    let lost = keys.iter().filter(|&&key| tree.get(key) != Some(payload(key))).count();
    verdict.require(lost == gone.len(), || format!("{lost} keys not found, {} removed", gone.len()));
    let found = gone.iter().filter(|&&key| tree.contains(key)).count();
    verdict.require(found == 0, || format!("{found} removed keys found"));
    let absent = |key: i64| sorted.binary_search(&key).is_err();
    let extra = sorted
        .iter()
        .step_by(7)
        .map(|&key| key.wrapping_add(1))
        .filter(|&key| absent(key) && tree.contains(key));
    let extra = extra.count();
    verdict.require(extra == 0, || format!("{extra} keys found that never were"));
    verdict.figures.push(("most bytes a key", worst_bytes));
    let steady = tree.nbytes() as f64 / expected.len() as f64;
    verdict.require(steady <= STEADY_BYTES, || format!("{steady:.2} bytes a key are over {STEADY_BYTES}"));
    verdict.require(worst_bytes <= WORST_BYTES, || format!("{worst_bytes:.2} bytes a key on the way"));
    verdict.print()
}

/// Loads uniform keys in bulk; looks up a sample of them and of their neighbours, and scans everything.
fn bulk(count: usize) -> bool {
    let mut verdict = Verdict::new("uniform bulk load".to_owned());
    let mut random = SmallRng::seed_from_u64(5);
    let mut keys: Vec<i64> = (0..count).map(|_| random.random()).collect();
    keys.sort_unstable();
    keys.dedup();
    let payloads: Vec<u64> = keys.iter().map(|&key| payload(key)).collect();
    let start = Instant::now();
    let tree = Alex::from_sorted(&keys, &payloads).unwrap();
    verdict.figures.push(("load ns a key", start.elapsed().as_secs_f64() * 1e9 / keys.len() as f64));
    drop(payloads);
    let sample: Vec<i64> = (0..10_000_000).map(|_| keys[random.random_range(0..keys.len())]).collect();
    let start = Instant::now();
    let lost = sample.iter().filter(|&&key| tree.get(key) != Some(payload(key))).count();
    verdict.figures.push(("lookup ns", start.elapsed().as_secs_f64() * 1e9 / sample.len() as f64));
    verdict.require(lost == 0, || format!("{lost} sampled keys not found"));
    let mut batch_lost = 0;
    let start = Instant::now();
    tree.get_many(&sample, |i, found| batch_lost += usize::from(found != Some(payload(sample[i]))));
    verdict.figures.push(("batch lookup ns", start.elapsed().as_secs_f64() * 1e9 / sample.len() as f64));
    verdict.require(batch_lost == 0, || format!("{batch_lost} sampled keys not found in batches"));
    let near = sample.iter().take(1_000_000).map(|&key| key ^ 1);
    let extra = near.filter(|key| keys.binary_search(key).is_err() && tree.contains(*key)).count();
    verdict.require(extra == 0, || format!("{extra} keys found that never were"));
    let start = Instant::now();
    let counted = tree.range(ALL.0, ALL.1).count();
    verdict.figures.push(("iterate ns a key", start.elapsed().as_secs_f64() * 1e9 / counted as f64));
    verdict.require(counted == keys.len(), || format!("a full scan yields {counted}"));
    examine(&tree, &keys, &mut verdict);
    let bytes = tree.nbytes() as f64 / keys.len() as f64;
    verdict.require(bytes <= LOADED_BYTES, || format!("{bytes:.2} bytes a key are over {LOADED_BYTES}"));
    verdict.print()
}

/// The keys of a name, ascending.
fn sorted_keys(name: &str, count: usize) -> Vec<i64> {
    if REAL.contains(&name) {
        return real(name).unwrap_or_else(|| panic!("no keys of {name}: run `make .keys/made`"));
    }
    let kind = match name {
        "uniform" => Keys::Uniform,
        "sequential" => Keys::Sequential,
        "lognormal" => Keys::Lognormal,
        "timestamps" => Keys::Timestamps,
        "clustered" => Keys::Clustered,
        "cells" => Keys::Cells,
        _ => panic!("unknown keys {name}"),
    };
    let mut sorted = draw(kind, count, 1);
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let millions: usize = arguments.first().map_or(10, |text| text.parse().unwrap());
    if let Ok(name) = std::env::var("ALEXPY_SIMD") {
        alex_index::simd::select_by_name(&name).unwrap();
    }
    let drawn = ["uniform", "sequential", "lognormal", "timestamps", "clustered", "cells", "bulk"];
    let every: Vec<String> = drawn.iter().chain(&REAL).map(|&name| name.to_owned()).collect();
    let chosen = if arguments.len() > 1 { &arguments[1..] } else { &every[..] };
    let mut holds = true;
    for name in chosen {
        if name == "bulk" {
            holds &= bulk(millions * 10_000_000);
            continue;
        }
        let sorted = sorted_keys(name, millions * 1_000_000);
        for order in [Order::Shuffled, Order::Sorted, Order::Reverse, Order::ZigZag] {
            holds &= one_by_one(name, &sorted, order);
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
