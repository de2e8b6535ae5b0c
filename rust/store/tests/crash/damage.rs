//! Damaged stored bytes cause an error or the right answer, never a wrong one.

use crate::common::{Content, content, open};
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Error, Options, Recovery, Store};

/// A small, cleanly closed store with several segments and every kind of record.
fn closed_store() -> (SimDisk, Content) {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 4096, background: false, ..Options::default() };
    let mut expected = Content::new();
    for life in 0..3_u8 {
        let store = open(&disk, &options).expect("opens");
        for i in 0..20_u8 {
            let (key, value) = (i128::from(i) * 3, vec![life * 50 + i; usize::from(i) * 4]);
            store.put(key, &value).expect("writes");
            expected.insert(key, value);
        }
        let keys = [100, 101, 102 + i128::from(life)];
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
        // Opening made both copies whole again.
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

/// The current contents of a file of a closed store.
fn bytes_of(disk: &SimDisk, name: &str) -> Vec<u8> {
    let mut found = Vec::new();
    disk.copy().corrupt(name, |bytes| found.clone_from(bytes));
    found
}

#[test]
fn a_stale_segment_a_longer_one_and_records_copied_elsewhere_are_detected_by_name() {
    // The store's files from before its last life, put back one by one.
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 14, background: false, ..Options::default() };
    let live = |disk: &SimDisk, byte: u8| {
        let store = open(disk, &options).expect("opens");
        for key in 0..20 {
            store.put(key, &[byte; 100]).expect("writes");
        }
        store.close().expect("closes");
        content(&open(disk, &Options { read_only: true, ..options.clone() }).expect("opens"))
    };
    live(&disk, 1);
    let old = disk.copy();
    let expected = live(&disk, 2);
    let refusal = |change: &dyn Fn(&SimDisk)| -> String {
        let mut texts = Vec::new();
        for read_only in [true, false] {
            let copy = disk.copy();
            change(&copy);
            match open(&copy, &Options { read_only, ..options.clone() }) {
                Ok(store) => {
                    assert_eq!(content(&store), expected, "a fallback gives the right answer");
                    texts.push("opened".to_owned());
                }
                Err(error @ Error::Corruption { .. }) => texts.push(error.to_string()),
                Err(other) => panic!("{other}"),
            }
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "reading and writing judge alike: {texts:?}");
        texts.remove(0)
    };
    // A manifest copy of the past is outvoted by the newer one; two of them refuse the present's files or
    // show the past as a whole; a segment of the past in its own place is whole and the same.
    let put_back = |name: &'static str| {
        let before = bytes_of(&old, name);
        move |disk: &SimDisk| disk.corrupt(name, |bytes| bytes.clone_from(&before))
    };
    for name in ["MANIFEST-A", "MANIFEST-B", "seg-00000001.log"] {
        assert_eq!(refusal(&put_back(name)), "opened", "{name}");
    }
    // A segment in the place of another, with or without its name inside.
    let first = bytes_of(&disk, "seg-00000001.log");
    let second = disk.list_segments().into_iter().find(|name| name != "seg-00000001.log").expect("two lives");
    let text = refusal(&|disk| disk.corrupt(&second, |bytes| bytes.clone_from(&first)));
    assert!(text.contains(&second), "{text}");
    // Cut by a record, by a byte, and to nothing.
    for cut in [8, 128, 2000] {
        let text = refusal(&|disk| disk.corrupt(&second, |bytes| bytes.truncate(bytes.len() - cut)));
        assert!(text.contains(&second), "{text}");
    }
    let text = refusal(&|disk| disk.corrupt(&second, Vec::clear));
    assert!(text.contains(&second), "{text}");
    // What lies behind the end does not count, whatever it is.
    for more in [vec![0; 5000], vec![0xFF; 5000], first[192..].to_vec()] {
        assert_eq!(refusal(&|disk| disk.corrupt(&second, |bytes| bytes.extend(&more))), "opened");
    }
    // A record in the place of another of the same size: from the same segment, and from another one.
    for source in [bytes_of(&disk, &second), first] {
        let text = refusal(&|disk| {
            disk.corrupt(&second, |bytes| {
                bytes[192 + 128 * 3..192 + 128 * 4].copy_from_slice(&source[192..320]);
            });
        });
        assert!(text.contains(&second) && text.contains("offset"), "{text}");
    }
}

trait ListSegments {
    fn list_segments(&self) -> Vec<String>;
}

impl ListSegments for SimDisk {
    fn list_segments(&self) -> Vec<String> {
        use alex_store::disk::Disk as _;
        let mut names = self.list().expect("the power is on");
        names.retain(|name| name.starts_with("seg-"));
        names
    }
}

/// Changes the length of a value in its file, beneath the map. Returns the length of the file.
fn lengthen(folder: &std::path::Path, value: &[u8]) -> u64 {
    use std::os::unix::fs::FileExt;
    for entry in std::fs::read_dir(folder).expect("lists") {
        let path = entry.expect("lists").path();
        let bytes = std::fs::read(&path).expect("reads");
        if let Some(at) = bytes.windows(value.len()).position(|piece| piece == value) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens");
            let len = (1 << 20) + value.len() as u32;
            file.write_all_at(&len.to_le_bytes(), at as u64 - 20).expect("writes");
            return bytes.len() as u64;
        }
    }
    panic!("no file holds the value");
}

#[test]
fn a_length_beyond_the_end_of_a_file_cut_under_its_map_is_damage_and_no_signal() {
    for verify_reads in [true, false] {
        let options = Options {
            background: false,
            sync_interval: std::time::Duration::from_secs(3600),
            segment_bytes: 8 << 20,
            verify_reads,
            ..Options::default()
        };
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Store::open(folder.path(), &options, &mut |_| true).expect("opens");
        let refused = |store: &Store, key: i128| match store.get(key) {
            Err(Error::Corruption { .. }) => {}
            other => panic!("key {key}: {other:?}"),
        };
        let store = open();
        store.put(1, b"of a segment that recovery ends").expect("no fault");
        store.flush().expect("no fault");
        for _ in 0..2 {
            store.put(2, b"never flushed, so written again").expect("no fault");
        }
        drop(store);
        let store = open();
        lengthen(folder.path(), b"of a segment that recovery ends");
        refused(&store, 1);
        store.put(3, b"of a segment that has ended").expect("no fault");
        store.end_segment().expect("no fault");
        store.put(4, b"of the one after it").expect("no fault");
        // Ended segments are cut with the next change of the manifest.
        store.end_segment().expect("no fault");
        store.put(5, b"of the active one").expect("no fault");
        assert!(lengthen(folder.path(), b"of a segment that has ended") < 1 << 20, "it was cut");
        refused(&store, 3);
        lengthen(folder.path(), b"of the active one");
        refused(&store, 5);
        assert_eq!(store.get(2).expect("whole").as_deref(), Some(&b"never flushed, so written again"[..]));
        assert_eq!(store.get(4).expect("whole").as_deref(), Some(&b"of the one after it"[..]));
    }
}
