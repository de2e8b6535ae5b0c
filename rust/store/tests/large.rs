//! Values and batches larger than a segment, on a real disk in every mode.

use alex_store::{Batch, Durability, Options, ReadMode, Store, WriteMode};

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
                        batch.put(key, &key.to_le_bytes()).expect("short");
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
fn closing_gives_reserved_space_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = Store::open(dir.path(), &Options::default(), &mut |_| true).expect("opens");
    store.put(1, b"one").expect("writes");
    assert!(store.stats().expect("open").disk_bytes >= 64 << 20, "reserved ahead");
    store.close().expect("closes");
    let store = Store::open(dir.path(), &Options::default(), &mut |_| true).expect("opens");
    assert!(store.stats().expect("open").disk_bytes <= 64 << 10, "{:?}", store.stats());
}
