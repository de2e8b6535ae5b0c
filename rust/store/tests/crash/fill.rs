//! With `sync`, zeros are written ahead of the log's end. They must never overwrite a byte of a commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{content, for_seeds, open, open_with_power};
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::{Durability, Options};

/// Where the records of each segment end, and how many bytes of zeros were written behind them.
#[derive(Default)]
struct Written {
    ends: BTreeMap<String, u64>,
    zeros: u64,
}

/// Makes random commits with values of 1 to 2,000 nonzero bytes. Returns what they wrote.
fn write(durability: Durability, seed: u64) -> Written {
    let sim = SimDisk::new(seed);
    let disk = HookDisk::new(&sim);
    let options = Options { durability, segment_bytes: 256 << 10, ..quiet() };
    let store = disk.open_store(&options).expect("opens");
    let written = Arc::new(Mutex::new(Written::default()));
    let record = Arc::clone(&written);
    disk.hook(move |call| {
        if let Call::Write(name, offset, bytes) = call
            && name.starts_with("seg")
        {
            let mut record = record.lock().expect("no panic before");
            let Written { ends, zeros } = &mut *record;
            let end = ends.entry((*name).to_owned()).or_default();
            assert!(offset >= end, "seed {seed}: {name} is written at {offset} again, below {end}");
            if bytes.iter().all(|&byte| byte == 0) {
                *zeros += bytes.len() as u64;
            } else {
                *end = offset + bytes.len() as u64;
            }
        }
        Ok(())
    });
    let mut rng = Rng::new(seed);
    let mut expected = BTreeMap::new();
    for _ in 0..200 {
        let keys: Vec<i128> = (0..=rng.below(40)).map(|_| i128::from(rng.below(500)) + 1).collect();
        let value = vec![7; 1 + rng.below(2000) as usize];
        if keys.len() == 1 {
            store.put(keys[0], &value).expect("writes");
        } else {
            store.put_many(&keys, &vec![value.as_slice(); keys.len()][..], false).expect("writes");
        }
        expected.extend(keys.into_iter().map(|key| (key, value.clone())));
    }
    disk.unhook();
    assert_eq!(content(&store), expected, "seed {seed}");
    if durability == Durability::Sync {
        let again = open(&sim.restart(Loss::Everything), &options).expect("opens");
        assert_eq!(content(&again), expected, "seed {seed}: every commit was flushed");
    }
    std::mem::take(&mut *written.lock().expect("no panic before"))
}

#[test]
fn zeros_ahead_of_the_log_lie_behind_every_commit_and_none_is_written_over() {
    for seed in 0..20 {
        let written = write(Durability::Sync, seed);
        assert!(written.ends.len() > 3, "the log went on in further segments");
        assert!(written.zeros > 0, "seed {seed}");
    }
}

#[test]
fn only_stores_that_flush_each_commit_write_zeros_ahead() {
    assert_eq!(write(Durability::Interval, 1).zeros, 0);
    assert_eq!(write(Durability::Os, 2).zeros, 0);
}

#[test]
fn power_cuts_amid_zeros_and_commits_lose_no_returned_commit() {
    for_seeds("power_cuts_amid_zeros_and_commits", 3, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let options =
            Options { durability: Durability::Sync, segment_bytes: 128 << 10, background: false, ..quiet() };
        let mut durable = BTreeMap::new();
        for _ in 0..3 {
            disk.plan(1 + rng.below(60), Fault::Cut);
            let mut maybe = durable.clone();
            if let Some(store) = open_with_power(&disk, &options) {
                assert_eq!(content(&store), durable, "seed {seed}");
                for _ in 0..20 {
                    let keys: Vec<i128> = (0..=rng.below(30)).map(|_| i128::from(rng.below(200))).collect();
                    let value = vec![7; 1 + rng.below(800) as usize];
                    maybe = durable.clone();
                    maybe.extend(keys.iter().map(|&key| (key, value.clone())));
                    if store.put_many(&keys, &vec![value.as_slice(); keys.len()][..], false).is_err() {
                        break;
                    }
                    durable.clone_from(&maybe);
                }
            }
            disk = disk.restart(if rng.one_in(4) { Loss::Everything } else { Loss::Random });
            let store = open(&disk, &options).expect("opens");
            let found = content(&store);
            assert!(found == durable || found == maybe, "seed {seed}: a prefix with every returned commit");
            durable = found;
            store.close().expect("closes");
        }
    });
}
