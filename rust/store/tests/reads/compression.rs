//! Compressed values: every call returns what was put, dictionaries come about and are found again, and damage to one is
//! told by name and costs only what needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use alex_store::disk::Disk;
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::{Batch, Compression, Error, Keys, Options, ReadMode, RepairMode, Store, ValueColumn, What};

use crate::common::forge::{content_of as bytes_of, records, u32_at};
use crate::common::{self, Content, content, for_seeds, make_compressed, open};

/// The number of the kind of a dictionary's record, and what is added for a compressed value.
const DICTIONARY: u8 = 11;
const COMPRESSED: u8 = 32;

fn options() -> Options {
    Options {
        compression: Compression::Zstd,
        segment_bytes: 64 << 10,
        background: false,
        train_from_bytes: 8000,
        ..Options::default()
    }
}

/// A value that has much in common with the others.
fn row(key: i64) -> Vec<u8> {
    let (a, b) = (key.wrapping_mul(2_654_435_761) % 1009, key.wrapping_mul(40_503) % 97);
    format!(
        "{{\"carrier\": \"UA\", \"flight\": {a}, \"origin\": \"EWR\", \"air_time\": {b}, \"gate\": null}}"
    )
    .into_bytes()
}

fn rows(keys: std::ops::Range<i64>) -> (Vec<i64>, Vec<Vec<u8>>) {
    (keys.clone().collect(), keys.map(row).collect())
}

fn model(keys: std::ops::Range<i64>) -> Content {
    keys.map(|key| (key.into(), row(key))).collect()
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.list().expect("lists").into_iter().filter(|name| name.starts_with("seg-")).collect()
}

/// The numbers of the kinds of all records, and how many there are of each.
fn kinds(disk: &SimDisk) -> BTreeMap<u8, usize> {
    let mut kinds = BTreeMap::new();
    for name in segments(disk) {
        let bytes = bytes_of(disk, &name);
        for at in records(&bytes) {
            *kinds.entry(bytes[at + 8]).or_default() += 1;
        }
    }
    kinds
}

#[test]
fn every_call_returns_what_was_put() {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let disk = SimDisk::new(1);
        let options = Options { read_mode, ..options() };
        let store = open(&disk, &options).expect("opens");
        let (keys, values) = rows(0..2000);
        store.put_many(&keys[..500], &values[..500], false).expect("writes");
        store.bulk_load(&keys[500..1000], &values[500..1000], &mut |_| true).expect("writes");
        let mut batch = Batch::new();
        for key in 1000..1500 {
            batch.put(key, &row(key as i64)).expect("short");
        }
        batch.delete(0);
        batch.put(0, &row(0)).expect("short");
        store.commit(&batch, false).expect("writes");
        for key in 1500..2000_i64 {
            match key % 4 {
                0 => store.put(key, &row(key)).expect("writes"),
                1 => store
                    .try_put(key, &row(key))
                    .unwrap_or_else(|| store.put(key, &row(key)))
                    .expect("writes"),
                2 => assert_eq!(store.get_or_put(key, &row(key)).expect("writes").as_deref(), None),
                _ => assert!(store.compare_and_set(key, None, Some(&row(key))).expect("writes")),
            }
        }
        assert!(store.compare_and_set(1999, Some(&row(1999)), Some(&row(1999))).expect("compares"));
        assert!(!store.compare_and_set(1999, Some(b"another"), Some(b"x")).expect("compares"));
        let ask = |store: &Store| {
            assert_eq!(content(store), model(0..2000));
            let mut column = ValueColumn::with_room(0).expect("nothing");
            let mut found = Vec::new();
            store.get_column(Keys::from(&keys[..]), &mut column, &mut found).expect("reads");
            assert!((0..2000).all(|i| column.get(i) == Some(&values[i][..])));
            assert_eq!(
                store.last().expect("reads").map(|(key, value)| (key, value.to_vec())),
                Some((1999, row(1999)))
            );
            let changes = store.changes(Some(0)).expect("nothing is gone").next_some(5000).expect("reads");
            let replayed: Content = changes
                .into_iter()
                .filter_map(|changed| match changed.what {
                    What::Put(key, value) => Some((key, value.to_vec())),
                    _ => None,
                })
                .collect();
            assert_eq!(replayed, model(0..2000));
            assert!(store.verify(&mut |_| true).expect("reads").is_ok());
        };
        ask(&store);
        let reader = open(&disk, &Options { read_only: true, ..options.clone() }).expect("opens");
        ask(&reader);
        drop((reader, store));
        let kinds = kinds(&disk);
        assert!(kinds[&DICTIONARY] > 0 && kinds[&(1 | COMPRESSED)] > 400 && kinds[&(6 | COMPRESSED)] > 1400);
        let disk = disk.restart(Loss::ProcessOnly);
        ask(&open(&disk, &options).expect("opens"));
    }
}

#[test]
fn values_of_one_length_come_as_rows() {
    let store = open(&SimDisk::new(1), &options()).expect("opens");
    let values: Vec<[u8; 64]> =
        (0..500_u64).map(|i| [i.to_le_bytes(); 8].concat().try_into().expect("64")).collect();
    let keys: Vec<i64> = (0..500).collect();
    store.put_many(&keys, &values[..], false).expect("writes");
    let mut rows = vec![0; 500 * 64];
    assert_eq!(store.get_rows(&keys, 64, &mut rows).expect("reads"), None);
    assert_eq!(rows, values.concat());
    assert!(store.stats().expect("open").live_bytes < 500 * 64, "they are compressed");
}

#[test]
fn long_values_and_those_that_do_not_shrink_come_back_too() {
    let mut rng = Rng::new(3);
    let random: Vec<u8> = (0..1 << 16).map(|_| rng.next_u64() as u8).collect();
    let long: Vec<u8> = rows(0..30_000).1.concat();
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    let values = [&random[..0], &random[..1], &random[..100], &random, &long, &long[..70_000]];
    for (key, value) in (0..).zip(values) {
        store.put(key, value).expect("writes");
    }
    let wanted: Content = (0..).zip(values.map(<[u8]>::to_vec)).collect();
    assert_eq!(content(&store), wanted);
    drop(store);
    assert_eq!(content(&open(&disk.restart(Loss::ProcessOnly), &options()).expect("opens")), wanted);
}

#[test]
fn the_next_session_goes_on_with_the_dictionary_of_the_last_one() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    let (keys, values) = rows(0..1000);
    store.put_many(&keys, &values[..], false).expect("writes");
    store.close().expect("closes");
    let before = kinds(&disk)[&DICTIONARY];
    let disk = disk.restart(Loss::Everything);
    let store = open(&disk, &Options { train_from_bytes: 1 << 30, ..options() }).expect("opens");
    let (keys, values) = rows(1000..2000);
    store.put_many(&keys, &values[..], false).expect("writes");
    assert_eq!(kinds(&disk)[&DICTIONARY], before + 1, "nothing could be trained, and something was there");
    assert_eq!(content(&store), model(0..2000));
}

#[test]
fn compaction_compresses_what_short_sessions_wrote_by_one_dictionary() {
    let disk = SimDisk::new(1);
    let options = Options { merge_small_from: 1000, ..options() };
    for session in 0..20_i64 {
        let store = open(&disk, &options).expect("opens");
        for key in session * 50..(session + 1) * 50 {
            store.put(key, &row(key)).expect("writes");
        }
        store.close().expect("closes");
    }
    let store = open(&disk, &options).expect("opens");
    let plain: usize = model(0..1000).values().map(|value| 24 + value.len().next_multiple_of(8)).sum();
    let before = store.stats().expect("open").live_bytes;
    assert!(before as usize > plain / 2, "each session wrote too little for a dictionary");
    store.compact_some(&|_| true).expect("moves all");
    let after = store.stats().expect("open").live_bytes;
    assert!(3 * after < 2 * plain as u64 && after < before, "{plain} bytes, then {before}, now {after}");
    assert_eq!(kinds(&disk)[&DICTIONARY], 1);
    assert_eq!(content(&store), model(0..1000));
    let verified = store.verify(&mut |_| true).expect("reads");
    assert!(verified.is_ok(), "{:?}", verified.errors);
    // What was moved is not made longer by moving it again.
    for key in 0..500 {
        store.delete(key).expect("deletes");
    }
    store.compact_some(&|_| true).expect("moves all");
    assert_eq!(content(&store), model(500..1000));
}

#[test]
fn compaction_that_can_gain_nothing_moves_nothing() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 20, ..options() };
    let store = open(&disk, &options).expect("opens");
    let (keys, values) = rows(0..20_000);
    store.put_many(&keys[..10_000], &values[..10_000], false).expect("writes");
    store.put_many(&keys[10_000..], &values[10_000..], false).expect("writes");
    for key in (0..20_000).step_by(2) {
        store.delete(key).expect("deletes");
    }
    assert!(store.compact(&mut |_| true).expect("compacts").moved_bytes > 0);
    let moved = store.compact(&mut |_| true).expect("compacts").moved_bytes;
    assert_eq!(store.compact(&mut |_| true).expect("compacts").moved_bytes, 0, "after {moved}");
    assert_eq!(store.len().expect("open"), 10_000);
}

#[test]
fn a_damaged_dictionary_is_named_and_costs_only_the_values_that_need_it() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    store.put_many(&[-1_i64, -2], &[b"short".to_vec(), vec![9; 23]][..], false).expect("writes");
    let (keys, values) = rows(0..300);
    store.put_many(&keys, &values[..], false).expect("writes");
    store.checkpoint().expect("writes an image");
    store.close().expect("closes");
    let name = segments(&disk)[0].clone();
    let bytes = bytes_of(&disk, &name);
    let at = records(&bytes).into_iter().find(|&at| bytes[at + 8] == DICTIONARY).expect("has one");
    let len = u32_at(&bytes, at + 4).expect("a length") as usize;
    for flipped in [at, at + 4, at + 8, at + 24, at + 24 + len / 2, at + 24 + len - 1] {
        let disk = disk.restart(Loss::ProcessOnly);
        disk.corrupt(&name, |bytes| bytes[flipped] ^= 1);
        for (read_only, read_mode) in [(true, ReadMode::Mmap), (false, ReadMode::Pread)] {
            let store =
                open(&disk, &Options { read_only, read_mode, ..options() }).expect("opens by its image");
            assert_eq!(store.get(-1).expect("needs no dictionary").as_deref(), Some(&b"short"[..]));
            let Err(Error::Corruption { path, offset, expected, .. }) = store.get(7) else {
                panic!("a value without its dictionary, damaged at {flipped}");
            };
            assert!(path.ends_with(&name) && offset == at as u64, "{path:?} at {offset}");
            assert!(expected.contains("dictionary"), "{expected}");
            let report = store.verify(&mut |_| true).expect("reads");
            assert!(!report.is_ok(), "verify finds it");
        }
        let kept = repaired(&disk, RepairMode::Salvage);
        assert_eq!(kept.len(), 2, "what needs no dictionary is kept");
    }
}

/// Where the first dictionary of a segment is.
fn dictionary_of(disk: &SimDisk, name: &str) -> usize {
    let bytes = bytes_of(disk, name);
    records(&bytes).into_iter().find(|&at| bytes[at + 8] == DICTIONARY).expect("has one")
}

#[test]
fn a_damaged_dictionary_lets_a_writer_open_after_a_kill_and_costs_only_the_values_that_need_it() {
    let disk = SimDisk::new(1);
    let options = Options { durability: alex_store::Durability::Os, ..options() };
    let store = open(&disk, &options).expect("opens");
    store.put_many(&[-1_i64, -2], &[b"short".to_vec(), vec![9; 23]][..], false).expect("writes");
    let (keys, values) = rows(0..400);
    store.put_many(&keys[..200], &values[..200], false).expect("writes");
    store.flush().expect("is on the device");
    store.checkpoint().expect("writes an image");
    // These are in the log behind what is proven, alone and in a batch, and need the dictionary before it.
    store.put(200, &row(200)).expect("writes");
    store.put_many(&keys[201..300], &values[201..300], false).expect("writes");
    store.put(-3, b"no dictionary").expect("writes");
    drop(store);
    let name = segments(&disk)[0].clone();
    let at = dictionary_of(&disk, &name);
    let mut disk = disk.restart(Loss::ProcessOnly);
    disk.corrupt(&name, |bytes| bytes[at + 100] ^= 1);
    // The second opening writes again what the first one had written.
    for session in 0..3_i64 {
        let store = open(&disk, &options).expect("a damaged value would not keep it from opening either");
        assert_eq!(store.len().expect("open"), 303 + session as u64);
        for (key, there) in [(-1, &b"short"[..]), (-3, b"no dictionary")] {
            assert_eq!(store.get(key).expect("needs no dictionary").as_deref(), Some(there));
        }
        for key in [7, 199, 200, 201, 299] {
            let Err(Error::Corruption { path, offset, expected, found }) = store.get(key) else {
                panic!("the value of key {key} without its dictionary");
            };
            assert!(expected.contains("dictionary"), "{expected}");
            let told = format!("{} at {offset}: {found}", path.display());
            assert!(key >= 200 || (path.ends_with(&name) && offset == at as u64), "{told}");
            assert!(key < 200 || found.contains(&format!("in {name} at offset {at} ")), "{told}");
        }
        let report = store.verify(&mut |_| true).expect("reads");
        assert!(report.errors.iter().any(|error| error.to_string().contains("dictionary")));
        store.put(1000 + session, &row(1000 + session)).expect("writes");
        for written in 0..=session {
            assert_eq!(store.get(1000 + written).expect("reads").as_deref(), Some(&row(1000 + written)[..]));
        }
        drop(store);
        disk = disk.restart(Loss::ProcessOnly);
    }
    let kept: Vec<_> = repaired(&disk, RepairMode::Salvage).into_keys().collect();
    assert_eq!(kept, [-3, -2, -1, 1000, 1001, 1002].map(alex_store::Key::from));
}

#[test]
fn compaction_keeps_a_segment_whose_dictionary_is_lost_and_says_so() {
    let disk = SimDisk::new(1);
    let options = Options { durability: alex_store::Durability::Os, ..options() };
    let store = open(&disk, &options).expect("opens");
    let (keys, values) = rows(0..400);
    store.put_many(&keys[..200], &values[..200], false).expect("writes");
    store.flush().expect("is on the device");
    store.checkpoint().expect("writes an image");
    store.put_many(&keys[200..], &values[200..], false).expect("writes");
    drop(store);
    let name = segments(&disk)[0].clone();
    let at = dictionary_of(&disk, &name);
    let disk = disk.restart(Loss::ProcessOnly);
    disk.corrupt(&name, |bytes| bytes[at + 100] ^= 1);
    let store = open(&disk, &options).expect("opens");
    // What is behind what takes the dictionary's place can be read, and stays where it is, too.
    store.put(1000, b"whole").expect("writes");
    store.delete_range(std::ops::Bound::Included(210), std::ops::Bound::Included(390)).expect("deletes");
    store.close().expect("closes");
    let disk = disk.restart(Loss::Everything);
    let store = open(&disk, &options).expect("opens");
    // From here on the segment that recovery wrote is no longer the last one, which stays as it is anyway.
    store.put(1001, b"later").expect("writes");
    let rewritten = segments(&disk)[1].clone();
    let place = dictionary_of(&disk, &rewritten);
    store.compact_some(&|_| true).expect("goes on");
    let report = store.compact(&mut |_| true).expect("goes on");
    assert_eq!((report.moved_bytes, report.freed_segments), (0, 0), "what cannot be read is not moved");
    assert_eq!(
        store.stats().expect("open").damaged_segments,
        2,
        "that of the dictionary and that of its mark"
    );
    assert_eq!(store.len().expect("open"), 221, "no key is gone, and none is back");
    for (key, value) in [(1000, &b"whole"[..]), (1001, b"later")] {
        assert_eq!(store.get(key).expect("reads").as_deref(), Some(value));
    }
    for key in [0, 199, 200, 399] {
        assert!(matches!(store.get(key), Err(Error::Corruption { .. })), "key {key}");
    }
    let report = store.verify(&mut |_| true).expect("reads");
    let told: Vec<_> = report.errors.iter().map(place_of).collect();
    let damaged = (name, at as u64);
    assert_eq!(
        told,
        [damaged.clone(), damaged, (rewritten, place as u64)],
        "the record, and each dictionary once"
    );
}

/// The file and the place that an error names.
fn place_of(error: &Error) -> (String, u64) {
    let Error::Corruption { path, offset, .. } = error else { panic!("{error}") };
    (path.file_name().expect("a file").to_string_lossy().into_owned(), *offset)
}

#[test]
fn verify_names_what_else_is_damaged_however_many_values_need_a_lost_dictionary() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 20, ..options() };
    let store = open(&disk, &options).expect("opens");
    let (keys, values) = rows(0..2000);
    store.put_many(&keys, &values[..], false).expect("writes");
    store.end_segment().expect("ends");
    store.put(-1, &[7; 10]).expect("writes");
    store.put(-2, &[8; 10]).expect("writes");
    store.checkpoint().expect("writes an image");
    store.close().expect("closes");
    let names = segments(&disk);
    let dictionary = dictionary_of(&disk, &names[0]);
    let plain = records(&bytes_of(&disk, &names[1]))[0];
    disk.corrupt(&names[0], |bytes| bytes[dictionary + 100] ^= 1);
    disk.corrupt(&names[1], |bytes| bytes[plain + 25] ^= 1);
    let store = open(&disk, &options).expect("opens by its image");
    let report = store.verify(&mut |_| true).expect("reads");
    let told: Vec<_> = report.errors.iter().map(place_of).collect();
    let first = (names[0].clone(), dictionary as u64);
    assert_eq!(told, [first.clone(), first, (names[1].clone(), plain as u64)]);
}

#[test]
fn power_cuts_while_recovery_writes_that_a_dictionary_is_lost_cost_nothing_else() {
    let mut cuts = 0;
    for seed in 0..8 {
        let disk = SimDisk::new(seed);
        let options =
            Options { durability: alex_store::Durability::Os, segment_bytes: 16 << 10, ..options() };
        let store = open(&disk, &options).expect("opens");
        let (keys, values) = rows(0..400);
        store.put_many(&keys[..150], &values[..150], false).expect("writes");
        store.flush().expect("is on the device");
        store.checkpoint().expect("writes an image");
        store.put(150, &row(150)).expect("writes");
        store.put_many(&keys[151..190], &values[151..190], false).expect("writes");
        // Behind it, or not, further segments, with dictionaries of their own that are whole.
        let more = if seed % 2 == 0 { 190..400 } else { 0..0 };
        for some in more.step_by(30) {
            store.put_many(&keys[some..some + 30], &values[some..some + 30], false).expect("writes");
        }
        drop(store);
        let name = segments(&disk)[0].clone();
        let at = dictionary_of(&disk, &name);
        let disk = disk.restart(Loss::ProcessOnly);
        disk.corrupt(&name, |bytes| bytes[at + 100] ^= 1);
        let judge = |disk: &SimDisk, what: &str| {
            let store = open(disk, &options).unwrap_or_else(|error| panic!("{what}: {error}"));
            let there = store.len().expect("open") as i64;
            assert!(there >= 150, "{what}: {there} keys");
            let mut lost = 0;
            for key in 0..400_i64 {
                match store.get(key) {
                    Ok(found) => {
                        assert_eq!(found.is_some(), key < there, "{what}: a prefix, {key} of {there}");
                        assert!(found.is_none_or(|found| *found == row(key)[..]), "{what}: key {key}");
                    }
                    Err(Error::Corruption { .. }) => lost += 1,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            assert!((150..400).contains(&lost), "{what}: {lost} values need the dictionary");
        };
        judge(&disk.copy().restart(Loss::ProcessOnly), "without a cut");
        for cut in 1.. {
            let first = disk.copy().restart(Loss::ProcessOnly);
            first.plan(cut, Fault::Cut);
            let opened = common::open_with_power(&first, &options).is_some();
            for loss in [Loss::ProcessOnly, Loss::Random, Loss::Everything] {
                let second = first.copy().restart(loss);
                judge(&second, &format!("seed {seed}, cut at {cut}, {loss:?}"));
                // That opening was killed, too.
                judge(
                    &second.restart(Loss::ProcessOnly),
                    &format!("seed {seed}, cut at {cut}, {loss:?}, again"),
                );
                cuts += 1;
            }
            if opened {
                break;
            }
        }
    }
    assert!(cuts > 100, "{cuts} power cuts");
}

#[test]
fn a_reader_follows_a_recovery_that_writes_that_a_dictionary_is_lost() {
    let disk = SimDisk::new(1);
    let options = Options { durability: alex_store::Durability::Os, ..options() };
    let store = open(&disk, &options).expect("opens");
    let (keys, values) = rows(0..300);
    store.put_many(&keys[..200], &values[..200], false).expect("writes");
    store.flush().expect("is on the device");
    store.checkpoint().expect("writes an image");
    store.put_many(&keys[200..], &values[200..], false).expect("writes");
    let reader = open(&disk, &Options { read_only: true, ..options.clone() }).expect("opens");
    drop(store);
    let name = segments(&disk)[0].clone();
    let at = dictionary_of(&disk, &name);
    disk.corrupt(&name, |bytes| bytes[at + 100] ^= 1);
    let store = open(&disk, &options).expect("opens");
    assert!(kinds(&disk)[&DICTIONARY] > 1, "what takes its place was written");
    store.put(1000, b"whole").expect("writes");
    reader.refresh().expect("follows");
    let late = open(&disk, &Options { read_only: true, ..options.clone() }).expect("opens");
    for reader in [&reader, &late] {
        assert_eq!(reader.len().expect("open"), 301);
        assert_eq!(reader.get(1000).expect("reads").as_deref(), Some(&b"whole"[..]));
        for key in [0, 199, 200, 299] {
            assert!(matches!(reader.get(key), Err(Error::Corruption { .. })), "key {key}");
        }
    }
}

fn repaired(disk: &SimDisk, mode: RepairMode) -> Content {
    let dest = SimDisk::new(2);
    let source: Arc<dyn Disk> = Arc::new(disk.clone());
    let unasked = Options { compression: Compression::None, ..options() };
    Store::repair_on(&source, Arc::new(dest.clone()), mode, &unasked).expect("repairs");
    let store = open(&dest, &unasked).expect("opens");
    assert_eq!(store.schema().compression, Compression::Zstd, "repair keeps the compression");
    content(&store)
}

#[test]
fn repair_keeps_all_values_with_a_manifest_or_without() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &options()).expect("opens");
    let (keys, values) = rows(0..700);
    store.put_many(&keys, &values[..], false).expect("writes");
    store.close().expect("closes");
    assert_eq!(repaired(&disk, RepairMode::PointInTime), model(0..700));
    for name in ["MANIFEST-A", "MANIFEST-B"] {
        disk.remove(name).expect("removes");
    }
    assert_eq!(repaired(&disk, RepairMode::Salvage), model(0..700));
}

#[test]
fn a_backup_reads_on_by_itself() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("store");
    let quiet = |_| true;
    let store = Store::open(&path, &options(), &mut { quiet }).expect("opens");
    let (keys, values) = rows(0..3000);
    store.put_many(&keys[..2000], &values[..2000], false).expect("writes");
    store.put_many(&keys[2000..], &values[2000..], false).expect("writes");
    let copy = dir.path().join("copy");
    store.backup(&copy, &mut { quiet }).expect("backs up");
    drop(store);
    std::fs::remove_dir_all(&path).expect("removes");
    let copy = Store::open(&copy, &Options::default(), &mut { quiet }).expect("opens, compression unasked");
    assert_eq!(content(&copy), model(0..3000));
}

#[test]
fn the_compression_of_a_store_is_remembered_and_checked() {
    let (plain, disk) = (SimDisk::new(1), SimDisk::new(2));
    open(&plain, &Options { compression: Compression::None, ..options() })
        .expect("opens")
        .close()
        .expect("closes");
    open(&disk, &options()).expect("opens").close().expect("closes");
    let store = open(&disk, &Options { compression: Compression::None, ..options() }).expect("unasked");
    assert_eq!(store.schema().compression, Compression::Zstd);
    drop(store);
    for read_only in [true, false] {
        let refused = open(&plain, &Options { read_only, ..options() }).expect_err("is not compressed");
        assert!(matches!(refused, Error::Format { .. }), "{refused}");
        assert!(refused.to_string().contains("compression=\"zstd\" was asked for"), "{refused}");
    }
}

#[test]
fn every_file_of_a_compressed_store_says_so_and_no_file_of_another_does() {
    for (compression, feature) in [(Compression::None, 0), (Compression::Zstd, 4)] {
        let disk = SimDisk::new(1);
        let store = open(&disk, &Options { compression, ..options() }).expect("opens");
        let (keys, values) = rows(0..2000);
        store.put_many(&keys[..1000], &values[..1000], false).expect("writes");
        store.put_many(&keys[1000..], &values[1000..], false).expect("writes");
        store.compact_some(&|id| id == 1).expect("moves");
        store.close().expect("closes");
        for name in segments(&disk).iter().map(String::as_str).chain(["MANIFEST-A", "MANIFEST-B"]) {
            assert_eq!(u32_at(&bytes_of(&disk, name), 12), Some(feature), "{name}");
        }
        assert_eq!(kinds(&disk).keys().any(|kind| *kind >= DICTIONARY), compression == Compression::Zstd);
    }
}

#[test]
fn random_work_on_compressed_stores_makes_and_moves_dictionaries() {
    let (stores, dictionaries) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    for_seeds("random_work_on_compressed_stores", 1, |seed| {
        make_compressed(true);
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let options = common::options(&mut rng);
        let store = open(&disk, &options).expect("opens");
        let mut model = common::Model::new();
        for _ in 0..60 {
            assert!(common::step(&store, &mut model, &mut rng, &options, &disk), "no fault was planned");
        }
        assert_eq!(&content(&store), model.now(), "seed {seed}");
        stores.set(stores.get() + 1);
        dictionaries.set(dictionaries.get() + usize::from(kinds(&disk).contains_key(&DICTIONARY)));
    });
    make_compressed(false);
    assert!(
        dictionaries.get() * 4 > stores.get(),
        "{} of {}: the case comes up",
        dictionaries.get(),
        stores.get()
    );
}

#[test]
fn small_batches_written_again_by_recovery_find_their_dictionary() {
    // Nothing was flushed, so the next opening writes the whole log again, in several segments.
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let small = Options { segment_bytes: 16 << 10, durability: alex_store::Durability::Os, ..options() };
        let store = open(&disk, &small).expect("opens");
        let mut at = 0;
        let mut rng = Rng::new(seed);
        while at < 600 {
            let to = (at + 1 + rng.below(40) as i64).min(600);
            let (keys, values) = rows(at..to);
            store.put_many(&keys, &values[..], false).expect("writes");
            at = to;
        }
        drop(store);
        let disk = disk.restart(Loss::ProcessOnly);
        let other = Options { segment_bytes: [4096, 8192, 64 << 10][seed as usize % 3], ..small };
        let store = open(&disk, &other).expect("opens");
        assert_eq!(content(&store), model(0..600));
        assert!(kinds(&disk)[&DICTIONARY] > 0);
        drop(store);
        assert_eq!(content(&open(&disk.restart(Loss::Everything), &other).expect("opens")), model(0..600));
    }
}
