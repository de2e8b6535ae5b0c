//! Damage of stored bytes: an error or the right answer, never a wrong one.

mod common;

use alex_store::disk::sim::{Loss, Rng, SimDisk};
use alex_store::{Error, Options, Recovery};
use common::{Content, content, open};

/// A small store, cleanly closed, of several segments and every kind of record.
fn closed_store() -> (SimDisk, Content) {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 4096, background: false, ..Options::default() };
    let mut expected = Content::new();
    for life in 0..3_u8 {
        let store = open(&disk, &options).expect("opens");
        for i in 0..20_u8 {
            let (key, value) = (i64::from(i) * 3, vec![life * 50 + i; usize::from(i) * 4]);
            store.put(key, &value).expect("writes");
            expected.insert(key, value);
        }
        let keys = [100, 101, 102 + i64::from(life)];
        let values = [[life; 33], [7; 33], [9; 33]];
        store.put_many(&keys, &values[..], true).expect("writes");
        expected.extend(keys.into_iter().zip(values.map(Vec::from)));
        store.delete(3).expect("deletes");
        expected.remove(&3);
        store.delete_range(std::ops::Bound::Included(9), std::ops::Bound::Included(12)).expect("deletes");
        expected.retain(|key, _| !(9..=12).contains(key));
        store.close().expect("closes");
    }
    (disk, expected)
}

fn files(disk: &SimDisk) -> Vec<String> {
    use alex_store::disk::Disk as _;
    disk.list().expect("power is on")
}

#[test]
fn one_flipped_bit_of_every_byte_is_an_error_or_changes_nothing() {
    let (disk, expected) = closed_store();
    let mut rng = Rng::new(7);
    let mut refused = 0;
    let mut total = 0;
    for name in files(&disk).into_iter().filter(|name| name != "LOCK") {
        let mut len = 0;
        disk.copy().corrupt(&name, |bytes| len = bytes.len());
        assert!(len > 0, "{name} holds something");
        for at in 0..len {
            let bit = 1 << rng.below(8);
            // A copy of the disk, so that each flip is alone.
            let copy = disk.copy();
            copy.corrupt(&name, |bytes| bytes[at] ^= bit);
            total += 1;
            for read_only in [true, false] {
                let options = Options { read_only, background: false, ..Options::default() };
                match open(&copy, &options) {
                    Ok(store) => assert_eq!(content(&store), expected, "{name}, byte {at}, bit {bit}"),
                    Err(Error::Corruption { .. } | Error::Format { .. }) => refused += 1,
                    Err(other) => panic!("{name}, byte {at}, bit {bit}: {other}"),
                }
            }
        }
    }
    assert!(refused > total, "damaged segments are refused ({refused} refusals of {total} flips)");
}

#[test]
fn a_damaged_record_names_its_file_and_offset() {
    let (disk, _) = closed_store();
    disk.corrupt("seg-00000001.log", |bytes| bytes[300] ^= 1);
    let error = open(&disk, &Options::default()).expect_err("acknowledged data is damaged");
    let text = error.to_string();
    assert!(text.contains("seg-00000001.log") && text.contains("offset"), "{text}");
}

#[test]
fn point_in_time_opens_with_everything_before_the_damage() {
    let (disk, _) = closed_store();
    disk.corrupt("seg-00000001.log", |bytes| bytes[300] ^= 1);
    let options = Options { recovery: Recovery::PointInTime, background: false, ..Options::default() };
    let store = open(&disk, &options).expect("opens with a part");
    let found = content(&store);
    assert!(!found.is_empty() && found.keys().all(|&key| key < 30), "the first few puts: {found:?}");
    drop(store);
    let again = open(&disk.restart(Loss::Everything), &Options::default()).expect("now whole");
    assert_eq!(content(&again), found, "what was dropped stays dropped");
}

#[test]
fn a_missing_a_foreign_and_a_short_segment_are_detected_by_name() {
    use alex_store::disk::Disk as _;
    let (disk, _) = closed_store();
    disk.remove("seg-00000002.log").expect("removes");
    let missing = open(&disk, &Options::default()).expect_err("a segment is missing").to_string();
    assert!(missing.contains("seg-00000002.log"), "{missing}");

    let (disk, _) = closed_store();
    disk.corrupt("seg-00000002.log", |bytes| bytes.truncate(1000));
    let short = open(&disk, &Options::default()).expect_err("a segment is short").to_string();
    assert!(short.contains("seg-00000002.log"), "{short}");

    let ((disk, _), (other, _)) = (closed_store(), closed_store());
    let mut stolen = Vec::new();
    other.corrupt("seg-00000002.log", |bytes| stolen.clone_from(bytes));
    disk.corrupt("seg-00000002.log", |bytes| *bytes = stolen);
    let foreign = open(&disk, &Options::default()).expect_err("another store's segment").to_string();
    assert!(foreign.contains("another store"), "{foreign}");
}

#[test]
fn either_manifest_copy_may_be_lost() {
    for name in ["MANIFEST-A", "MANIFEST-B"] {
        let (disk, expected) = closed_store();
        disk.corrupt(name, Vec::clear);
        let store = open(&disk, &Options { background: false, ..Options::default() }).expect("opens");
        assert_eq!(content(&store), expected);
        drop(store);
        // Opening made both whole again.
        let other = if name == "MANIFEST-A" { "MANIFEST-B" } else { "MANIFEST-A" };
        let disk = disk.restart(Loss::Everything);
        disk.corrupt(other, Vec::clear);
        assert_eq!(content(&open(&disk, &Options::default()).expect("opens")), expected);
    }
}

#[test]
fn point_in_time_opens_with_everything_before_a_damaged_or_missing_segment() {
    use alex_store::disk::Disk as _;
    let options = Options { recovery: Recovery::PointInTime, background: false, ..Options::default() };
    let damage: [fn(&SimDisk); 2] = [
        |disk| disk.corrupt("seg-00000002.log", |bytes| bytes[100] ^= 1),
        |disk| disk.remove("seg-00000002.log").expect("removes"),
    ];
    for damage in damage {
        let (disk, expected) = closed_store();
        damage(&disk);
        open(&disk, &Options { background: false, ..Options::default() }).expect_err("strict refuses");
        let store = open(&disk, &options).expect("opens with a part");
        let found = content(&store);
        assert!(!found.is_empty() && found != expected, "the first segment");
        drop(store);
        let again = open(&disk.restart(Loss::Everything), &Options::default()).expect("whole again");
        assert_eq!(content(&again), found, "what was dropped stays dropped");
    }
}

#[test]
fn damage_below_a_watermark_that_only_the_log_names_is_refused_after_a_kill() {
    let disk = SimDisk::new(1);
    let options = Options { background: false, ..Options::default() };
    let store = open(&disk, &options).expect("opens");
    store.put(1, b"one").expect("writes");
    store.put(2, b"two").expect("writes");
    store.flush().expect("flushes");
    store.put(3, b"three").expect("names what the flush covered");
    drop(store);
    let disk = disk.restart(Loss::ProcessOnly);
    let damaged = |needle: &'static [u8]| {
        let copy = disk.copy();
        copy.corrupt("seg-00000001.log", |bytes| {
            let at = bytes.windows(needle.len()).position(|found| found == needle).expect("stored");
            bytes[at] ^= 1;
        });
        open(&copy, &options).map(|store| content(&store).into_keys().collect::<Vec<_>>())
    };
    assert!(matches!(damaged(b"two"), Err(Error::Corruption { .. })), "the device had confirmed it");
    assert_eq!(damaged(b"three").expect("it was never flushed"), [1, 2], "as after a power cut");
}
