//! Values and batches larger than a segment, on a real disk in every mode.

use alex_store::{Batch, Durability, NEAR_BYTES, Options, ReadMode, Store, Values, WriteMode};

#[test]
fn values_and_batches_larger_than_a_segment_come_back_after_reopening() {
    for write_mode in [WriteMode::Auto, WriteMode::Pwrite] {
        for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
            for durability in [Durability::Sync, Durability::Interval, Durability::Os] {
                let dir = tempfile::tempdir().expect("temporary directory");
                let options =
                    Options { segment_bytes: 8192, write_mode, read_mode, durability, ..Options::default() };
                let open = || Store::open(dir.path(), &options, &mut |_| true).expect("opens");
                let large = vec![7; 3_000_000];
                {
                    let store = open();
                    store.put(1, &large).expect("writes");
                    let mut batch = Batch::new();
                    for key in 10..2000 {
                        batch.put(key, &(key as i64).to_le_bytes()).expect("short");
                    }
                    store.commit(&batch, false).expect("commits");
                    store.put(2, b"after").expect("writes");
                    assert_eq!(store.get(1).expect("reads").as_deref(), Some(&large[..]));
                    // Dropped, not closed: as after a kill.
                }
                for _ in 0..2 {
                    let store = open();
                    assert_eq!(store.len().expect("open"), 1992);
                    assert_eq!(store.get(1).expect("reads").as_deref(), Some(&large[..]));
                    assert_eq!(store.get(1999).expect("reads").as_deref(), Some(&1999_i64.to_le_bytes()[..]));
                    assert_eq!(store.get(2).expect("reads").as_deref(), Some(&b"after"[..]));
                    store.close().expect("closes");
                }
            }
        }
    }
}

#[test]
fn a_read_of_some_keys_ends_once_it_has_a_mebibyte_of_long_values() {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let options = Options { read_mode, ..Options::default() };
        let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        let value = |key: i128| vec![key as u8; if key % 3 == 0 { 100 } else { 100_000 }];
        let keys: Vec<i128> = (0..60).collect();
        for &key in &keys {
            store.put(key, &value(key)).expect("writes");
        }
        let mut values = Values::default();
        let (mut from, mut reads) = (0, 0);
        while from < keys.len() {
            store.moment().expect("open").get_some_into(&keys[from..], &mut values).expect("reads");
            assert!(!values.is_empty() && values.long_bytes() < NEAR_BYTES + 100_000);
            for i in 0..values.len() {
                assert_eq!(values.get(i), Some(&value(keys[from + i])[..]), "key {}", keys[from + i]);
            }
            from += values.len();
            reads += 1;
        }
        assert_eq!((from, reads), (60, 4), "40 long values, eleven at a time");
        store.get_many_into(&keys, &mut values).expect("reads");
        assert_eq!((values.len(), values.long_bytes()), (60, 4_000_000));
    }
}

#[test]
fn deleting_a_missing_key_needs_no_room_in_the_log() {
    for durability in [Durability::Sync, Durability::Interval] {
        let dir = tempfile::tempdir().expect("temporary directory");
        // Without background threads, which may hold a lock or reserve ahead.
        let options = Options { durability, background: false, ..Options::default() };
        let open = || Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        let store = open();
        store.put(1, b"one").expect("writes");
        store.close().expect("closes");
        let store = open();
        let disk_bytes = store.stats().expect("open").disk_bytes;
        let gone = store.try_delete(2).expect("nobody else is here");
        assert!(!gone.expect("no fault"));
        assert!(!store.delete(2).expect("no fault"));
        assert_eq!(store.stats().expect("open").disk_bytes, disk_bytes, "nothing was reserved");
        assert!(store.delete(1).expect("no fault"));
        assert!(!store.delete(1).expect("no fault"));
    }
}

#[test]
fn closing_gives_reserved_space_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = Store::open(dir.path(), &Options::default(), &mut |_| true).expect("opens");
    store.put(1, b"one").expect("writes");
    assert!(store.stats().expect("open").disk_bytes >= 64 << 20, "reserved ahead");
    store.close().expect("closes");
    let store = Store::open(dir.path(), &Options::default(), &mut |_| true).expect("opens");
    assert!(store.stats().expect("open").disk_bytes <= 64 << 10, "{:?}", store.stats());
}
