//! Figures of the report that are not rows of a benchmark: bytes a key, shapes of trees, and the times of
//! single inserts. Written as JSON.

use std::fmt::Write;
use std::time::Instant;

use alex_index::{Alex, Stats};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::common::Data;
use crate::{Set, inserted, loaded};

/// A JSON object with all figures of each set of keys.
pub(crate) fn count(sets: &[Set]) -> String {
    let mut parts = Vec::new();
    for set in sets {
        println!("counting {}", set.name);
        let data = set.data();
        let mut body = vec![
            shape("load", &loaded(&data)),
            shape("sorted inserts", &inserted(&data.sorted)),
            shape("random inserts", &inserted(&data.shuffled)),
            shape("after removing two of three", &thinned(&data)),
        ];
        body.push(format!("\"insert times\": {}", histogram(&data)));
        parts.push(format!("\"{}\": {{{}}}", set.name, body.join(",\n  ")));
    }
    parts.push(format!("\"worst\": {{{}}}", worst()));
    format!("{{{}}}\n", parts.join(",\n"))
}

fn shape(name: &str, tree: &Alex) -> String {
    tree.check().unwrap();
    let stats = tree.stats();
    let Stats { height, leaves, plain_leaves, inner_nodes, pointer_entries, max_error, largest_leaf, .. } =
        stats;
    let mut text = format!("\"{name}\": {{");
    let _ = write!(
        text,
        "\"bytes per key\": {:.2}, \"fill\": {:.3}, \"mean depth\": {:.2}, \"mean error\": {:.2}, \
         \"max error\": {max_error}, \"height\": {height}, \"leaves\": {leaves}, \"plain leaves\": {plain_leaves}, \
         \"model nodes\": {inner_nodes}, \"pointer entries\": {pointer_entries}, \"largest leaf\": {largest_leaf}",
        stats.bytes as f64 / stats.keys.max(1) as f64,
        stats.fill,
        stats.mean_depth,
        stats.mean_error,
    );
    if let Some((anonymous, huge)) = huge_pages() {
        let _ = write!(text, ", \"process KiB\": {anonymous}, \"of them in huge pages\": {huge}");
    }
    text + "}"
}

/// A tree from which two of three keys were removed in random order: fills are just above those that contract
/// a data node.
fn thinned(data: &Data) -> Alex {
    let mut tree = loaded(data);
    for &key in &data.shuffled[..data.shuffled.len() / 3 * 2] {
        assert_eq!(tree.remove(key), Some(key as u64));
    }
    tree
}

/// Anonymous memory of this process in KiB, and how much of it is in huge pages.
fn huge_pages() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let field = |name: &str| -> Option<u64> {
        text.lines().find(|line| line.starts_with(name))?.split_whitespace().nth(1)?.parse().ok()
    };
    Some((field("Anonymous:")?, field("AnonHugePages:")?))
}

/// Nanoseconds of each single insert of all keys, in no order, by percentile. The clock's own cost, about
/// that of `P1`, is in every figure.
fn histogram(data: &Data) -> String {
    let mut times: Vec<u32> = Vec::with_capacity(data.shuffled.len());
    let mut tree = Alex::new();
    for &key in &data.shuffled {
        let start = Instant::now();
        tree.insert(key, key as u64);
        times.push(start.elapsed().as_nanos().try_into().unwrap_or(u32::MAX));
    }
    assert_eq!(tree.len(), data.shuffled.len());
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let shares = [0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0];
    let fields = shares.map(|share| format!("\"{}\": {}", share * 100.0, at(share)));
    format!("{{{}}}", fields.join(", "))
}

/// Bytes for each key on inputs made to waste memory.
fn worst() -> String {
    let mut random = SmallRng::seed_from_u64(4);
    let mut exponential: Vec<i64> = Vec::new();
    for exponent in 1..63 {
        exponential.extend(
            (0..(1i64 << exponent).min(6_000)).flat_map(|i| [(1 << exponent) + i, -(1 << exponent) - i]),
        );
    }
    let mut nested: Vec<i64> = Vec::new();
    for depth in 0..12 {
        let width = 62 - depth * 5;
        nested.extend((0..20_000i64.min((1i64 << width) / 4)).map(|_| random.random_range(0..1i64 << width)));
    }
    let streams: Vec<i64> = (0..1_000_000i64).map(|i| ((i % 1_000) << 40) + (i / 1_000) * 50).collect();
    let cubes: Vec<i64> = (0..1_000_000i64).map(|i| (i - 500_000).pow(3)).collect();
    let outlier: Vec<i64> = std::iter::once(i64::MAX).chain(0..1_000_000).collect();
    let inputs = [
        ("exponential gaps", exponential),
        ("clusters in clusters", nested),
        ("a thousand ascending streams", streams),
        ("cubes", cubes),
        ("one far outlier", outlier),
    ];
    let mut parts = Vec::new();
    for (name, mut keys) in inputs {
        parts.push(shape(name, &forgiving(&keys)));
        keys.shuffle(&mut random);
        parts.push(shape(&format!("{name}, shuffled"), &forgiving(&keys)));
    }
    parts.join(",\n  ")
}

/// Like `inserted`, for keys of which some repeat.
fn forgiving(keys: &[i64]) -> Alex {
    let mut tree = Alex::new();
    for &key in keys {
        tree.insert(key, key as u64);
    }
    assert!(keys.iter().all(|&key| tree.get(key) == Some(key as u64)));
    tree
}
