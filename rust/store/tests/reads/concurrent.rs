//! Readers beside a writer: every answer is one that was true at some moment.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alex_store::{Durability, Options, ScanRange, Store};

const KEYS: i128 = 200;

fn range() -> ScanRange {
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None }
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().expect("eight bytes"))
}

#[test]
fn readers_see_whole_batches_and_never_go_back_in_time() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { segment_bytes: 64 << 10, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    let keys: Vec<i128> = (0..KEYS).collect();
    let put_all = |version: u64| {
        let values = vec![version.to_le_bytes(); keys.len()];
        store.put_many(&keys, &values[..], false).expect("writes");
    };
    put_all(0);
    let published = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (store, keys, published, done) = (&store, &keys, &published, &done);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Ordering::Acquire) {
                    let floor = published.load(Ordering::Acquire);
                    let versions: Vec<u64> = if reader == 0 {
                        let values = store.get_many(keys).expect("reads");
                        (0..keys.len()).map(|i| number(values.get(i).expect("there"))).collect()
                    } else if reader == 1 {
                        let mut scan = store.scan(range()).expect("scans");
                        let mut versions = Vec::new();
                        loop {
                            let run = scan.next_run(13).expect("reads");
                            if run.keys.is_empty() {
                                break;
                            }
                            versions.extend(
                                (0..run.keys.len()).map(|i| number(run.values.get(i).expect("there"))),
                            );
                        }
                        assert_eq!(versions.len(), keys.len(), "a scan yields every key once");
                        versions
                    } else {
                        vec![number(&store.get(7).expect("reads").expect("there"))]
                    };
                    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "half a batch: {versions:?}");
                    assert!(versions[0] >= floor.max(newest), "{} after {newest}, {floor}", versions[0]);
                    newest = versions[0];
                }
            });
        }
        for version in 1..2000 {
            put_all(version);
            published.store(version, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
    let stats = store.stats().expect("open");
    assert!(stats.segments + stats.compaction.freed_segments > 10, "segments rolled under the readers");
}

#[test]
fn concurrent_sync_commits_share_flushes_and_all_survive() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { durability: Durability::Sync, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..4_i64 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..100 {
                    store.put(thread * 1000 + i, &i.to_le_bytes()).expect("writes");
                }
            });
        }
    });
    let stats = store.stats().expect("open");
    assert_eq!((stats.keys, stats.durable_seq), (400, stats.last_seq));
    drop(store);
    let again = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    assert_eq!(again.len().expect("open"), 400);
}

#[test]
fn a_scan_shows_the_store_as_it_was_whatever_is_written_meanwhile() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = Store::open(dir.path(), &Options::default(), &mut |_| true).expect("opens");
    for key in 0..100 {
        store.put(key, b"old").expect("writes");
    }
    let mut forward = store.scan(range()).expect("scans");
    let mut backward = store.scan(ScanRange { reverse: true, limit: Some(50), ..range() }).expect("scans");
    assert_eq!(forward.next_keys(10).expect("reads"), (0..10).collect::<Vec<i64>>());
    for key in 0..100 {
        store.put(key, b"new").expect("writes");
    }
    store.delete_range(Bound::Included(50), Bound::Unbounded).expect("deletes");
    store.put(1000, b"new").expect("writes");
    let run = forward.next_run(1000).expect("reads");
    assert_eq!(run.keys, (10..100).collect::<Vec<i64>>());
    assert!((0..run.keys.len()).all(|i| run.values.get(i) == Some(b"old")), "values of then, not of now");
    let keys = backward.next_keys(1000).expect("reads");
    assert_eq!(keys, (50..100).rev().collect::<Vec<i64>>(), "limit counts from the top");
    assert!(backward.next_keys(10).expect("reads").is_empty(), "the end stays the end");
}
