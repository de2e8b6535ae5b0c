//! An opening is killed, and the power is cut during the next one. The second must not remove files because
//! of what the first left only in the page cache. Found by seed 37548 of `power_cut.rs` at 1,000,000.

use crate::common::hook::quiet;
use crate::common::{Content, content, open, open_with_power};
use alex_store::Options;
use alex_store::disk::sim::{Fault, Loss, SimDisk};

/// `FLUSHED` keys were flushed, of `PUT` keys in all.
const FLUSHED: i128 = 10;
const PUT: i128 = 20;

#[test]
fn an_opening_that_is_killed_and_a_power_cut_in_the_next_lose_nothing_that_was_flushed() {
    let value = |key: i128| vec![key as u8; 40];
    let flushed: Content = (0..FLUSHED).map(|key| (key, value(key))).collect();
    let mut cuts = 0;
    for seed in 0..40 {
        let options = Options { segment_bytes: 8192, ..quiet() };
        let disk = SimDisk::new(seed);
        let store = open(&disk, &options).expect("a new store opens");
        for key in 0..PUT {
            store.put(key, &value(key)).expect("writes");
            if key + 1 == FLUSHED {
                store.flush().expect("flushes");
                store.end_segment().expect("ends");
            }
        }
        drop(store);
        for kill in 1.. {
            let first = disk.copy().restart(Loss::ProcessOnly);
            first.plan(kill, Fault::Cut);
            if open_with_power(&first, &options).is_some() {
                break;
            }
            for cut in 1.. {
                let second = first.copy().restart(Loss::ProcessOnly);
                second.plan(cut, Fault::Cut);
                let opened = open_with_power(&second, &options).is_some();
                let third = second.restart(Loss::Random);
                let store = open(&third, &options)
                    .unwrap_or_else(|error| panic!("seed {seed}, killed at {kill}, cut at {cut}: {error}"));
                let found = content(&store);
                assert!(flushed.iter().all(|(key, value)| found.get(key) == Some(value)));
                assert!(found.iter().all(|(key, found)| *key < PUT && *found == value(*key)));
                cuts += 1;
                if opened {
                    break;
                }
            }
        }
    }
    assert!(cuts > 2000, "{cuts} power cuts");
}
