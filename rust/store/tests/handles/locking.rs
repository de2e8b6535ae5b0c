//! One writer: a second one in the same process is refused. Also tests what else opening refuses.

use std::fs;
use std::path::Path;

use alex_store::{Error, Options, Store};

fn open(path: &Path, options: &Options) -> Result<Store, Error> {
    Store::open(path, options, &mut |_| true)
}

#[test]
fn second_writer_is_refused_until_the_first_closes() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let first = open(dir.path(), &Options::default()).expect("opens");
    first.put(1, b"one").expect("writes");
    match open(dir.path(), &Options::default()) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("expected Locked, got {other:?}"),
    }
    let reader = Options { read_only: true, ..Options::default() };
    let beside = open(dir.path(), &reader).expect("a reader needs no lock");
    assert_eq!(beside.get(1).expect("reads").as_deref(), Some(&b"one"[..]));
    assert!(matches!(beside.put(2, b"two"), Err(Error::ReadOnly { .. })));
    first.close().expect("closes");
    let second = open(dir.path(), &Options::default()).expect("the lock is free");
    assert_eq!(second.len().expect("open"), 1);
}

#[test]
fn dropping_a_store_gives_the_lock_up_and_keeps_every_commit() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path(), &Options::default()).expect("opens");
    store.put(1, b"one").expect("writes");
    drop(store);
    let again = open(dir.path(), &Options::default()).expect("the lock is free");
    assert_eq!(again.get(1).expect("reads").as_deref(), Some(&b"one"[..]));
}

#[test]
fn foreign_directories_are_refused_and_untouched() {
    let dir = tempfile::tempdir().expect("temporary directory");
    fs::write(dir.path().join("thesis.txt"), "years of work").expect("writes");
    for read_only in [false, true] {
        let options = Options { read_only, ..Options::default() };
        assert!(matches!(open(dir.path(), &options), Err(Error::Format { .. })));
    }
    let names: Vec<_> = fs::read_dir(dir.path()).expect("lists").collect();
    assert_eq!(names.len(), 1, "nothing was added");
}

#[test]
fn missing_stores_and_files_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("writes");
    assert!(matches!(open(&file, &Options::default()), Err(Error::NotADirectory { .. })));
    assert!(matches!(open(&file.join("below"), &Options::default()), Err(Error::NotADirectory { .. })));
    let missing = dir.path().join("missing");
    for options in
        [Options { read_only: true, ..Options::default() }, Options { create: false, ..Options::default() }]
    {
        assert!(matches!(open(&missing, &options), Err(Error::NotFound { .. })));
        assert!(!missing.exists(), "a refused opening makes nothing");
    }
}

#[test]
fn impossible_options_are_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for options in [
        Options { segment_bytes: 100, ..Options::default() },
        Options { segment_bytes: 1 << 40, ..Options::default() },
        Options { sync_interval: std::time::Duration::ZERO, ..Options::default() },
    ] {
        assert!(matches!(open(dir.path(), &options), Err(Error::Invalid(_))));
    }
}

#[test]
fn dropping_a_store_in_the_middle_of_a_flush_gives_the_lock_up_at_once() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { sync_interval: std::time::Duration::from_millis(1), ..Options::default() };
    for round in 0..50 {
        let store = open(dir.path(), &options).expect("the lock is free");
        let scan = store.scan(alex_store::ScanRange {
            start: std::ops::Bound::Unbounded,
            stop: std::ops::Bound::Unbounded,
            reverse: false,
            limit: None,
        });
        for key in 0..20 {
            store.put(key, &vec![round; 20_000]).expect("writes");
        }
        drop(store);
        let again = open(dir.path(), &options).expect("the lock is free while a scan lives on");
        assert_eq!(again.len().expect("open"), 20);
        let seen = scan.expect("scans").next_keys(5).expect("still readable").len();
        assert_eq!(seen, if round == 0 { 0 } else { 5 }, "what was there when the scan was made");
    }
}
