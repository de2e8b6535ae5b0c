//! Counters: additions of many threads and of one call are all there, and a refused call leaves no trace.

use std::collections::BTreeMap;

use crate::common::{content, for_seeds, open, options};
use alex_store::disk::sim::{Rng, SimDisk};
use alex_store::{Error, Options};

#[test]
fn additions_equal_those_of_a_map_and_a_refused_call_changes_nothing() {
    for_seeds("--test reads additions_equal", 20, |seed| {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let store = open(&disk, &options(&mut rng)).expect("opens");
        let mut model: BTreeMap<i64, i64> = BTreeMap::new();
        store.put(1_000, b"no counter").expect("writes");
        for _ in 0..40 {
            let keys: Vec<i64> = (0..rng.below(60)).map(|_| rng.below(40) as i64 - 20).collect();
            let mut deltas: Vec<i64> = keys.iter().map(|_| rng.below(1 << 40) as i64 - (1 << 39)).collect();
            let before = content(&store);
            match rng.below(6) {
                0 if !keys.is_empty() => {
                    let at = rng.below(keys.len() as u64) as usize;
                    deltas[at] =
                        if model.get(&keys[at]).is_some_and(|&is| is < 0) { i64::MIN } else { i64::MAX };
                    let earlier: i128 =
                        (0..=at).filter(|&i| keys[i] == keys[at]).map(|i| i128::from(deltas[i])).sum();
                    let sum = i128::from(model.get(&keys[at]).copied().unwrap_or(0)) + earlier;
                    if i64::try_from(sum).is_err() {
                        let refused = store.add_many(&keys, &deltas);
                        assert!(
                            matches!(refused, Err(Error::Overflow(ref said)) if said.contains("key")),
                            "{refused:?}"
                        );
                        assert_eq!(content(&store), before);
                    }
                    continue;
                }
                1 => {
                    let keys = [&keys[..], &[1_000]].concat();
                    let refused = store.add_many(&keys, &[&deltas[..], &[1]].concat());
                    assert!(
                        matches!(refused, Err(Error::Invalid(ref said)) if said.contains("key 1000 ") || said.contains("key 80000000-0000-0000-0000-0000000003e8 ")),
                        "{refused:?}"
                    );
                    assert_eq!(content(&store), before);
                    continue;
                }
                2 => store.checkpoint().expect("writes"),
                3 => drop(store.compact(&mut |_| true).expect("compacts")),
                _ => {}
            }
            let totals = store.add_many(&keys, &deltas).expect("writes");
            for (i, (key, delta)) in keys.iter().zip(&deltas).enumerate() {
                let total = model.entry(*key).or_default();
                *total += delta;
                assert_eq!(totals[i], *total, "key {key}");
            }
            for (key, total) in &model {
                assert_eq!(*store.get(*key).expect("reads").expect("there"), total.to_le_bytes()[..]);
            }
        }
        store.close().expect("closes");
    });
}

#[test]
fn additions_of_several_threads_are_all_there() {
    let store = open(&SimDisk::new(1), &Options::default()).expect("opens");
    let keys: Vec<i64> = (0..50).chain(0..50).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    store.add_many(&keys, &vec![0.5; keys.len()]).expect("writes");
                }
            });
        }
    });
    let totals = store.add_many(&(0..50).collect::<Vec<i64>>(), &[0.0; 50]).expect("writes");
    assert_eq!(totals, [400.0; 50]);
    store.close().expect("closes");
}

#[test]
fn unlike_lengths_and_closed_stores_are_refused() {
    let store = open(&SimDisk::new(1), &Options::default()).expect("opens");
    assert!(matches!(store.add_many(&[1_i64, 2], &[1]), Err(Error::Invalid(_))));
    assert_eq!(store.add_many::<i64>(&[0_i64; 0], &[]).expect("nothing to write"), [0; 0]);
    store.close().expect("closes");
    assert!(matches!(store.add_many(&[1_i64], &[1]), Err(Error::Closed { .. })));
    assert!(matches!(store.add_many::<f64>(&[0_i64; 0], &[]), Err(Error::Closed { .. })));
}
