//! A million keys in an index: loaded, looked up one by one and many at a time, and the shape of the tree.
//! `cargo run --release --example lookups`
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use alex_index::{Alex, Unsorted};

const KEYS: i64 = 1_000_000;

/// The time that each of so many keys took.
fn each(time: Duration, keys: usize) -> String {
    format!("{:.1} ns a key", time.as_secs_f64() * 1e9 / keys as f64)
}

fn main() -> Result<(), Unsorted> {
    // Gaps that grow with the key: no straight line fits all of them.
    let keys: Vec<i64> = (0..KEYS).map(|i| i * i).collect();
    let payloads: Vec<u64> = (0..KEYS as u64).collect();

    let start = Instant::now();
    let index: Alex = Alex::from_sorted(&keys, &payloads)?;
    println!("loaded {} keys: {}", index.len(), each(start.elapsed(), keys.len()));

    // Every key once, in an order that no cache foresees: 7,919 is prime, so it meets each place.
    let asked: Vec<i64> = (0..keys.len()).map(|i| keys[i * 7_919 % keys.len()]).collect();
    let start = Instant::now();
    let sum: u64 = asked.iter().filter_map(|&key| index.get(key)).sum();
    println!("one lookup after the other: {}", each(start.elapsed(), asked.len()));

    let (start, mut sum_of_many) = (Instant::now(), 0);
    index.get_many(&asked, |_, payload| sum_of_many += payload.unwrap_or_default());
    println!("all lookups in one call: {}", each(start.elapsed(), asked.len()));
    assert_eq!((sum, sum_of_many), (payloads.iter().sum(), payloads.iter().sum()));

    let shape = index.stats();
    println!(
        "height {}, {} data nodes, {:.0} % full, {:.1} bytes a key, searched with {}",
        shape.height,
        shape.leaves,
        shape.fill * 100.0,
        index.nbytes() as f64 / index.len() as f64,
        index.backend().name(),
    );
    Ok(())
}
