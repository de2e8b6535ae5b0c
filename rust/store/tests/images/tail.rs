//! What came behind an image is kept apart from it after opening. Whatever the first call is, it answers as a
//! model does, and so does everything after it.

use std::ops::Bound;

use crate::common::{Content, content, open};
use alex_store::disk::sim::{Loss, Rng, SimDisk};
use alex_store::{Options, Store};

const KEYS: i128 = 400;

fn quiet() -> Options {
    Options {
        background: false,
        sync_interval: std::time::Duration::from_secs(3600),
        segment_bytes: 16 << 10,
        checkpoint_tail_bytes: 1 << 30,
        ..Options::default()
    }
}

/// Changes a store and its model alike.
fn change(store: &Store, model: &mut Content, rng: &mut Rng) {
    let key = i128::from(rng.below(KEYS as u64));
    match rng.below(10) {
        0..=4 => {
            let value = vec![rng.below(256) as u8; rng.below(60) as usize];
            store.put(key, &value).expect("no fault");
            model.insert(key, value);
        }
        5 | 6 => {
            let there = store.delete(key).expect("no fault");
            assert_eq!(there, model.remove(&key).is_some(), "whether {key} was there");
        }
        7 | 8 => {
            let keys: Vec<i128> = (0..5).map(|i| (key + 37 * i) % KEYS).collect();
            let values: Vec<Vec<u8>> = keys.iter().map(|&key| vec![key as u8; 9]).collect();
            store.put_many(&keys, &values[..], false).expect("no fault");
            model.extend(keys.into_iter().zip(values));
        }
        _ if rng.below(4) == 0 => {
            let gone = store.delete_range(Bound::Included(key), Bound::Excluded(key + 20)).expect("no fault");
            let before = model.len();
            model.retain(|&other, _| !(key..key + 20).contains(&other));
            assert_eq!(gone as usize, before - model.len());
        }
        _ => {}
    }
}

/// Makes one call that may be answered from two parts, or needs them joined first.
fn ask(store: &Store, model: &mut Content, rng: &mut Rng) {
    let key = i128::from(rng.below(KEYS as u64));
    let item = |found: Option<(i128, alex_store::Value)>| found.map(|(key, value)| (key, value.to_vec()));
    let owned = |found: Option<(&i128, &Vec<u8>)>| found.map(|(&key, value)| (key, value.clone()));
    match rng.below(9) {
        0 => assert_eq!(store.len().expect("open") as usize, model.len()),
        1 => assert_eq!(item(store.first().expect("open")), owned(model.first_key_value())),
        2 => assert_eq!(item(store.floor(key).expect("open")), owned(model.range(..=key).next_back())),
        3 => assert_eq!(item(store.higher(key).expect("open")), owned(model.range(key + 1..).next())),
        4 => {
            let count = store.count(Bound::Included(key), Bound::Unbounded).expect("open");
            assert_eq!(count as usize, model.range(key..).count());
        }
        5 => {
            let taken = store.take(key).expect("no fault").map(|value| value.to_vec());
            assert_eq!(taken, model.remove(&key));
        }
        6 => assert_eq!(store.stats().expect("open").keys as usize, model.len()),
        7 => store.checkpoint().expect("no fault"),
        _ => change(store, model, rng),
    }
}

fn look_up_every_key(store: &Store, model: &Content) {
    let keys: Vec<i128> = (-1..=KEYS).collect();
    let mut found = vec![false; keys.len()];
    store.contains_many(&keys, &mut found).expect("open");
    let values = store.get_many(&keys).expect("open");
    for (i, key) in keys.iter().enumerate() {
        let expected = model.get(key).map(Vec::as_slice);
        assert_eq!(store.get(*key).expect("open").as_deref(), expected, "key {key}");
        assert_eq!(values.get(i), expected, "key {key} among many");
        assert_eq!(found[i], expected.is_some(), "key {key}");
        assert_eq!(store.contains(*key).expect("open"), expected.is_some(), "key {key}");
        if let Some(tried) = store.try_get(*key) {
            assert_eq!(tried.expect("open").as_deref(), expected, "key {key}, tried");
        }
    }
}

#[test]
fn the_first_call_after_a_crash_answers_as_a_model_does() {
    for seed in 0..300 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let (mut disk, mut model) = (SimDisk::new(seed), Content::new());
        let store = open(&disk, &quiet()).expect("opens");
        for _ in 0..rng.below(300) {
            change(&store, &mut model, &mut rng);
        }
        store.checkpoint().expect("no fault");
        let mut store = Some(store);
        for _ in 0..3 {
            for _ in 0..rng.below(60) {
                change(store.as_ref().expect("open"), &mut model, &mut rng);
            }
            drop(store.take());
            disk = disk.restart(Loss::ProcessOnly);
            let read_only = Options { read_only: true, ..quiet() };
            let reader = open(&disk, &read_only).expect("opens");
            look_up_every_key(&reader, &model);
            assert_eq!(content(&reader), model, "a reader");
            drop(reader);
            let writer = open(&disk, &quiet()).expect("opens");
            if rng.below(2) == 0 {
                look_up_every_key(&writer, &model);
            }
            ask(&writer, &mut model, &mut rng);
            look_up_every_key(&writer, &model);
            assert_eq!(content(&writer), model, "a writer");
            store = Some(writer);
        }
        let store = store.expect("open");
        let stats = store.stats().expect("open");
        store.close().expect("no fault");
        // Counted again, by a store that knows of no image.
        for name in alex_store::disk::Disk::list(&disk).expect("the power is on") {
            if name.starts_with("img-") {
                alex_store::disk::Disk::remove(&disk, &name).expect("there");
            }
        }
        let store = open(&disk, &quiet()).expect("opens");
        assert_eq!(content(&store), model, "of the log alone");
        assert_eq!(store.stats().expect("open").live_bytes, stats.live_bytes, "live bytes are exact");
    }
}

#[test]
fn damage_in_the_image_is_found_when_the_parts_are_joined_and_costs_no_key() {
    let disk = SimDisk::new(7);
    let store = open(&disk, &quiet()).expect("opens");
    let keys: Vec<i128> = (0..5000).collect();
    let values: Vec<Vec<u8>> = keys.iter().map(|key| key.to_le_bytes().to_vec()).collect();
    let mut model: Content = keys.iter().copied().zip(values.iter().cloned()).collect();
    store.put_many(&keys, &values[..], false).expect("no fault");
    store.checkpoint().expect("no fault");
    for key in 4000..6000 {
        store.put(key, b"newer").expect("no fault");
        model.insert(key, b"newer".to_vec());
    }
    drop(store);
    let disk = disk.restart(Loss::ProcessOnly);
    let mut names = alex_store::disk::Disk::list(&disk).expect("the power is on");
    names.retain(|name| name.starts_with("img-"));
    assert_eq!(names.len(), 1);
    disk.corrupt(&names[0], |bytes| bytes[20_000] ^= 8);
    let store = open(&disk, &quiet()).expect("opens");
    // From the tail, which answers whatever the image holds.
    assert_eq!(store.get(5500).expect("there").as_deref(), Some(&b"newer"[..]));
    assert_eq!(store.len().expect("the log has it all") as usize, model.len());
    assert_eq!(content(&store), model);
}
