//! The work and the time of operations of the index, to which `make prices` fits the cost model.
//!
//! The program does the same work in two builds. The one with debug assertions counts: it prints the cache
//! lines that each phase touched and the slots that it moved. The release build prints the time of each
//! phase. A phase is about a hundred thousand operations of one kind on a tree of one distribution in one
//! state. `benchmarks/index_prices.py` explains the fit.
//!
//! `cargo bench --bench prices -- [millions] [distribution...]` prints a JSON object a line.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use alex_index::Alex;
use alex_index::count::{self, COUNTS, Work};
use common::{DISTRIBUTIONS, Data};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Rounds of the timing build. The counting build needs one, because counts do not vary.
const ROUNDS: usize = if COUNTS { 1 } else { 5 };
/// An operation that moves more slots than this has rebuilt leaves.
const STRUCTURAL_SLOTS: u64 = 512;
const LOOKUPS: usize = 200_000;
/// Keys of a run, which are inserted one after another between two neighbouring keys.
const RUN_KEYS: usize = 200;
const RUNS: usize = 500;

#[derive(Clone, Copy, Default)]
enum Do {
    #[default]
    Get,
    Insert,
    Remove,
}

impl Do {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Insert => "insert",
            Self::Remove => "remove",
        }
    }
}

/// One phase: its time in each round, or its counts.
#[derive(Default)]
struct Phase {
    name: String,
    action: Do,
    operations: usize,
    nanoseconds: Vec<f64>,
    /// The work of operations that moved a few slots at most.
    plain: Work,
    /// The work of operations that rebuilt leaves.
    structural: Work,
    /// Bytes of the tree at the end of the phase.
    bytes: f64,
    bytes_a_key: f64,
}

/// The phases of one distribution, which come in the same order in every round.
#[derive(Default)]
struct Phases {
    made: Vec<Phase>,
    at: usize,
}

impl Phases {
    /// Does `action` with every key, and panics if an answer is wrong.
    fn run(&mut self, name: &str, action: Do, tree: &mut Alex, keys: &[i64]) {
        if self.at == self.made.len() {
            let (name, operations) = (name.to_owned(), keys.len());
            self.made.push(Phase { name, action, operations, ..Phase::default() });
        }
        let phase = &mut self.made[self.at];
        self.at += 1;
        let start = Instant::now();
        for &key in keys {
            let (right, work) = count::work(|| match action {
                Do::Get => tree.get(black_box(key)) == Some(key as u64),
                Do::Insert => tree.insert(key, key as u64).is_none(),
                Do::Remove => tree.remove(key) == Some(key as u64),
            });
            assert!(right, "{} {key}", phase.name);
            if COUNTS {
                *if work.slots > STRUCTURAL_SLOTS { &mut phase.structural } else { &mut phase.plain } += work;
            }
        }
        phase.nanoseconds.push(start.elapsed().as_secs_f64() * 1e9 / keys.len() as f64);
        phase.bytes = tree.nbytes() as f64;
        phase.bytes_a_key = phase.bytes / tree.len() as f64;
    }

    fn print(mut self, kind: &str, keys: usize) {
        for phase in &mut self.made {
            let each = |count: u64| count as f64 / phase.operations as f64;
            phase.nanoseconds.sort_by(f64::total_cmp);
            let found = if COUNTS {
                format!(
                    "\"lines\": {:.4}, \"shifted\": {:.4}, \"structural_lines\": {:.4}, \"built\": {:.4}, \
                     \"megabytes\": {:.1}, \"bytes_a_key\": {:.2}",
                    each(phase.plain.lines),
                    each(phase.plain.slots),
                    each(phase.structural.lines),
                    each(phase.structural.slots),
                    phase.bytes / 1e6,
                    phase.bytes_a_key,
                )
            } else {
                format!(
                    "\"ns\": {:.2}, \"samples\": {:.1?}",
                    phase.nanoseconds[ROUNDS / 2],
                    phase.nanoseconds
                )
            };
            println!(
                "{{\"keys\": {keys}, \"kind\": \"{kind}\", \"phase\": \"{}\", \"action\": \"{}\", {found}}}",
                phase.name,
                phase.action.name()
            );
        }
    }
}

fn loaded(keys: &[i64]) -> Alex {
    let payloads: Vec<u64> = keys.iter().map(|&key| key as u64).collect();
    Alex::from_sorted(keys, &payloads).unwrap()
}

fn sample(keys: &[i64], random: &mut SmallRng) -> Vec<i64> {
    (0..LOOKUPS).map(|_| keys[random.random_range(0..keys.len())]).collect()
}

/// A quarter of the keys is loaded. The others are inserted in random order, then half of all keys are
/// removed.
fn grow_and_shrink(phases: &mut Phases, data: &Data) {
    let mut random = SmallRng::seed_from_u64(4);
    let (others, first) = data.shuffled.split_at(data.shuffled.len() / 4 * 3);
    let mut sorted = first.to_vec();
    sorted.sort_unstable();
    let mut tree = loaded(&sorted);
    phases.run("get, loaded", Do::Get, &mut tree, &sample(first, &mut random));
    for (i, keys) in others.chunks(others.len().div_ceil(6)).enumerate() {
        phases.run(&format!("insert in no order, sixth {}", i + 1), Do::Insert, &mut tree, keys);
    }
    phases.run("get, grown", Do::Get, &mut tree, &sample(&data.shuffled, &mut random));
    let (gone, kept) = data.shuffled.split_at(data.shuffled.len() / 2);
    for (i, keys) in gone.chunks(gone.len().div_ceil(3)).enumerate() {
        phases.run(&format!("remove in no order, third {}", i + 1), Do::Remove, &mut tree, keys);
    }
    phases.run("get, shrunk", Do::Get, &mut tree, &sample(kept, &mut random));
}

/// The last fifth of the keys is appended, after the others were inserted in order.
fn append(phases: &mut Phases, data: &Data) {
    let (before, last) = data.sorted.split_at(data.sorted.len() / 5 * 4);
    let mut tree = Alex::new();
    for &key in before {
        assert_eq!(tree.insert(key, key as u64), None);
    }
    phases.run("insert in order", Do::Insert, &mut tree, last);
    let lookups = sample(&data.sorted, &mut SmallRng::seed_from_u64(5));
    phases.run("get, after inserts in order", Do::Get, &mut tree, &lookups);
}

/// Runs of neighbouring keys are inserted between keys that are far enough apart, ascending or descending.
fn runs(phases: &mut Phases, data: &Data) {
    let mut random = SmallRng::seed_from_u64(6);
    let places = (data.sorted.len() - 1) / RUNS;
    for (name, descending) in [("insert in runs upwards", false), ("insert in runs downwards", true)] {
        let mut keys = Vec::new();
        for i in 0..RUNS {
            let at = i * places + random.random_range(0..places);
            let (low, high) = (data.sorted[at], data.sorted[at + 1]);
            let room = (low.abs_diff(high) - 1).min(RUN_KEYS as u64) as i64;
            let run = (1..=room).map(|step| if descending { high - step } else { low + step });
            keys.extend(run);
        }
        if keys.len() >= RUN_KEYS * RUNS / 2 {
            phases.run(name, Do::Insert, &mut loaded(&data.sorted), &keys);
        }
    }
}

fn main() {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let millions = arguments.peek().and_then(|first| first.parse::<f64>().ok());
    arguments.next_if(|_| millions.is_some());
    let chosen: Vec<String> = arguments.collect();
    let keys = (millions.unwrap_or(1.0) * 1e6) as usize;
    for kind in DISTRIBUTIONS {
        if chosen.is_empty() || chosen.iter().any(|name| name == kind) {
            let data = Data::draw(kind, keys);
            let mut phases = Phases::default();
            for _ in 0..ROUNDS {
                phases.at = 0;
                grow_and_shrink(&mut phases, &data);
                append(&mut phases, &data);
                runs(&mut phases, &data);
            }
            phases.print(kind, keys);
        }
    }
}
