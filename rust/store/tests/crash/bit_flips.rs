//! Bits flipped in every file of a small, cleanly closed store, 64 KiB in all. The outcome is an error or the
//! right answer, never a wrong value, a missing key, a crash or a hang.
//!
//! Flips one random bit of every byte, or every bit of every byte with `ALEXPY_BITS=every`, which `make
//! torture` sets.

use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{Content, content, open};
use alex_store::disk::Disk as _;
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Error, Options};

const STORE_BYTES: usize = 64 << 10;

fn options() -> Options {
    Options { segment_bytes: 16384, background: false, ..Options::default() }
}

/// Several lives and segments, with every kind of record, cleanly closed.
fn closed_store() -> (SimDisk, Content) {
    let disk = SimDisk::new(1);
    let mut expected = Content::new();
    let mut rng = Rng::new(11);
    let mut life = 0;
    while files(&disk).iter().map(|name| len(&disk, name)).sum::<usize>() < STORE_BYTES {
        life += 1;
        let store = open(&disk, &options()).expect("opens");
        for _ in 0..30 {
            let (key, value) = (i128::from(rng.below(200)), vec![life; rng.below(400) as usize]);
            store.put(key, &value).expect("writes");
            expected.insert(key, value);
        }
        let keys = [1000, 1001, 1002 + i128::from(life)];
        let values = [[life; 33], [7; 33], [9; 33]];
        store.put_many(&keys, &values[..], true).expect("writes");
        expected.extend(keys.into_iter().zip(values.map(Vec::from)));
        store.delete(keys[2]).expect("deletes");
        expected.remove(&keys[2]);
        let first = i128::from(rng.below(200));
        store.delete_range(Bound::Included(first), Bound::Included(first + 3)).expect("deletes");
        expected.retain(|key, _| !(first..=first + 3).contains(key));
        store.close().expect("closes");
    }
    (disk, expected)
}

fn files(disk: &SimDisk) -> Vec<String> {
    disk.list().expect("power is on").into_iter().filter(|name| name != "LOCK").collect()
}

fn len(disk: &SimDisk, name: &str) -> usize {
    let mut len = 0;
    disk.copy().corrupt(name, |bytes| len = bytes.len());
    len
}

#[test]
fn flipped_bits_are_an_error_or_change_nothing() {
    let every = std::env::var("ALEXPY_BITS").is_ok_and(|bits| bits == "every");
    let (disk, expected) = closed_store();
    let mut places = Vec::new();
    for name in files(&disk) {
        places.extend((0..len(&disk, &name)).map(|at| (name.clone(), at)));
    }
    assert!(places.len() >= STORE_BYTES, "{} bytes", places.len());
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, at)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut rng = Rng::new(*at as u64);
                    let bits = if every { 0..8 } else { rng.below(8).min(7)..8 };
                    for bit in bits.take(if every { 8 } else { 1 }) {
                        // A writer repairs what it can, so it is looked at less often, and on its own copy.
                        for read_only in if every || at % 4 == 0 { &[true, false][..] } else { &[true] } {
                            let copy = disk.copy();
                            copy.corrupt(name, |bytes| bytes[*at] ^= 1 << bit);
                            match open(&copy, &Options { read_only: *read_only, ..options() }) {
                                Ok(store) => {
                                    assert_eq!(content(&store), expected, "{name}, byte {at}, bit {bit}");
                                }
                                Err(Error::Corruption { .. } | Error::Format { .. }) => {
                                    refused.fetch_add(1, Ordering::Relaxed);
                                }
                                Err(other) => panic!("{name}, byte {at}, bit {bit}: {other}"),
                            }
                        }
                    }
                }
            });
        }
    });
    let refused = refused.into_inner();
    assert!(refused > places.len() * 9 / 10, "damaged segments are refused: {refused} times");
}
