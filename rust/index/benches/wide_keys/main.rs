//! Three designs of keys of 128 bits, beside keys of 64: the index that is generic over its keys, two arrays of words in a
//! data node, and two layers of indexes. docs/dev/043-keys-of-128-bits.md decides by these figures.
//!
//! `cargo bench -p alex-index --bench wide_keys -- [thousands of keys]`
#![allow(clippy::print_stdout)]

mod layered;
mod words;

use std::hint::black_box;
use std::time::Instant;

use alex_index::{Alex, Key};
use layered::Layered;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use words::Leaves;

const ROUNDS: usize = 5;
const BATCH: usize = 1_000;

const KINDS: [&str; 6] = ["v4", "v7 of one ms", "v7 of 1,000 a ms", "v4 and v7", "ipv6 dense", "ipv6 random"];

/// Distinct keys in random order.
fn draw(kind: &str, count: usize) -> Vec<i128> {
    let mut random = SmallRng::seed_from_u64(9);
    let variant = |bits: u128, version: u128| bits & !(0xF << 76) & !(3 << 62) | version << 76 | 2 << 62;
    let networks: Vec<u128> =
        (0..count.div_ceil(1_000)).map(|_| 0x2001 << 112 | random.random::<u128>() >> 80 << 64).collect();
    let mut draw = |i: usize| match kind {
        "v4" => variant(random.random(), 4),
        "v7 of one ms" => variant(1_764_000_000_000 << 80 | random.random::<u128>() >> 48, 7),
        "v4 and v7" if i.is_multiple_of(2) => variant(random.random(), 4),
        "v7 of 1,000 a ms" | "v4 and v7" => {
            variant((1_764_000_000_000 + i as u128 / 1_000) << 80 | random.random::<u128>() >> 48, 7)
        }
        "ipv6 dense" => networks[i % networks.len()] | (i / networks.len()) as u128,
        "ipv6 random" => networks[i % networks.len()] | u128::from(random.random::<u64>()),
        _ => unreachable!("a kind of the list"),
    };
    let mut keys: Vec<i128> = (0..count).map(|i| (draw(i) ^ 1 << 127).cast_signed()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.shuffle(&mut random);
    keys
}

/// Nanoseconds for each of `count` operations in the fastest round, which other programs have disturbed least. What `round`
/// returns is dropped outside of the time.
fn least<T>(count: usize, mut round: impl FnMut() -> T) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let result = black_box(round());
            let time = start.elapsed().as_secs_f64() * 1e9 / count as f64;
            drop(result);
            time
        })
        .fold(f64::INFINITY, f64::min)
}

/// One row: `load`, `insert`, `insert_many`, `get`, `get_many`, bytes a key after the load and after the inserts.
fn row(kind: &str, design: &str, times: [f64; 5], bytes: [f64; 2]) {
    print!("{kind:<17} {design:<9}");
    for time in times {
        print!(" {time:>8.1}");
    }
    println!("  {:>6.2} {:>6.2}", bytes[0], bytes[1]);
}

fn alex<K: Key>(kind: &str, design: &str, keys: &[K]) {
    let count = keys.len();
    let payloads: Vec<u64> = (0..count as u64).collect();
    let load = || Alex::from_unsorted(keys, &payloads);
    let insert = || {
        let mut tree = Alex::default();
        for (&key, &payload) in keys.iter().zip(&payloads) {
            assert_eq!(tree.insert(key, payload), None);
        }
        tree
    };
    let insert_many = || {
        let mut tree = Alex::default();
        for (keys, payloads) in keys.chunks(BATCH).zip(payloads.chunks(BATCH)) {
            tree.insert_many(keys, payloads, |_, _| unreachable!("keys are distinct"));
        }
        tree
    };
    let (loaded, inserted) = (load(), insert());
    assert_eq!((loaded.len(), inserted.len(), insert_many().len()), (count, count, count));
    inserted.check().expect("a sound tree");
    let order = shuffled(count);
    let asked: Vec<K> = order.iter().map(|&at| keys[at]).collect();
    let get = || {
        let right = |(&key, &at): (&K, &usize)| inserted.get(black_box(key)) == Some(at as u64);
        assert!(asked.iter().zip(&order).all(right));
    };
    let get_many = || {
        for (keys, places) in asked.chunks(BATCH).zip(order.chunks(BATCH)) {
            inserted.get_many(keys, |at, found| assert_eq!(found, Some(places[at] as u64)));
        }
    };
    let times = [least(count, load), least(count, insert), least(count, insert_many)];
    let times = [times[0], times[1], times[2], least(count, get), least(count, get_many)];
    let bytes = [loaded.nbytes(), inserted.nbytes()].map(|bytes| bytes as f64 / count as f64);
    row(kind, design, times, bytes);
}

fn layers(kind: &str, keys: &[i128]) {
    let count = keys.len();
    let payloads: Vec<u64> = (0..count as u64).collect();
    let load = || {
        let mut pairs: Vec<(i128, u64)> = keys.iter().copied().zip(payloads.iter().copied()).collect();
        pairs.sort_unstable();
        let (keys, payloads): (Vec<i128>, Vec<u64>) = pairs.into_iter().unzip();
        Layered::load(&keys, &payloads)
    };
    let insert = || {
        let mut layered = Layered::new();
        keys.iter().zip(&payloads).for_each(|(&key, &payload)| layered.insert(key, payload));
        layered
    };
    let insert_many = || {
        let mut layered = Layered::new();
        for (keys, payloads) in keys.chunks(BATCH).zip(payloads.chunks(BATCH)) {
            layered.insert_many(keys, payloads);
        }
        layered
    };
    let (loaded, inserted) = (load(), insert());
    let order = shuffled(count);
    let asked: Vec<i128> = order.iter().map(|&at| keys[at]).collect();
    let get = |layered: &Layered| {
        let right = |(&key, &at): (&i128, &usize)| layered.get(black_box(key)) == Some(at as u64);
        assert!(asked.iter().zip(&order).all(right));
    };
    get(&loaded);
    get(&insert_many());
    let get_many = || {
        for (keys, places) in asked.chunks(BATCH).zip(order.chunks(BATCH)) {
            inserted.get_many(keys, |at, found| assert_eq!(found, Some(places[at] as u64)));
        }
    };
    let times = [least(count, load), least(count, insert), least(count, insert_many)];
    let times = [times[0], times[1], times[2], least(count, || get(&inserted)), least(count, get_many)];
    let bytes = [loaded.nbytes(), inserted.nbytes()].map(|bytes| bytes as f64 / count as f64);
    row(kind, "layered", times, bytes);
}

/// The search in a data node alone: of one array of keys, and of two arrays of words.
fn leaves(kind: &str, keys: &[i128]) {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let leaves = Leaves::of(&sorted);
    let order = shuffled(leaves.len());
    let asked: Vec<i128> = order.iter().map(|&at| sorted[at]).collect();
    let one = least(order.len(), || {
        assert!(asked.iter().zip(&order).all(|(&key, &at)| leaves.in_one_array(black_box(key)) == Some(at)));
    });
    let two = least(order.len(), || {
        assert!(asked.iter().zip(&order).all(|(&key, &at)| leaves.in_two_arrays(black_box(key)) == Some(at)));
    });
    println!("{kind:<17} one array {one:>6.1}   two arrays {two:>6.1}");
}

fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut SmallRng::seed_from_u64(3));
    order
}

fn main() {
    let thousands = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(1_000);
    let count: usize = thousands * 1_000;
    let mut random = SmallRng::seed_from_u64(9);
    let narrow: Vec<i64> = (0..count).map(|_| random.random()).collect();
    println!(
        "{thousands},000 keys, the fastest of {ROUNDS} rounds, nanoseconds an operation, batches of {BATCH}"
    );
    println!("{:<27}     load   insert  in.many      get get.many   bytes a key: loaded, inserted", "");
    alex("uniform", "64 bits", &narrow);
    for kind in KINDS {
        let keys = draw(kind, count);
        alex(kind, "128 bits", &keys);
        layers(kind, &keys);
    }
    println!("\nThe search in sorted nodes of 8,192 keys, without the tree above: nanoseconds a key");
    for kind in KINDS {
        leaves(kind, &draw(kind, count));
    }
}
