//! Holes: a copy that leaves out zeros is the same store, and a hole where records were confirmed is noticed.
//! Uses real files, since it is the file system that knows where data is.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::common::{Content, content};
use alex_store::{Error, Options, Store, WriteMode};

const BLOCK: usize = 4096;

fn options(write_mode: WriteMode) -> Options {
    Options {
        background: false,
        sync_interval: std::time::Duration::from_secs(3600),
        segment_bytes: 2 << 20,
        write_mode,
        ..Options::default()
    }
}

fn open(path: &Path, options: &Options) -> Result<Store, Error> {
    Store::open(path, options, &mut |_| true)
}

/// Copies the files of a store, each block of zeros as a hole. Returns how many bytes were left out.
fn copy_with_holes(from: &Path, to: &Path) -> u64 {
    let mut left_out = 0;
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("lists").path();
        let bytes = fs::read(&path).expect("reads");
        let copy = File::create(to.join(path.file_name().expect("named"))).expect("creates");
        copy.set_len(bytes.len() as u64).expect("sets");
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                copy.write_all_at(block, (number * BLOCK) as u64).expect("writes");
            } else {
                left_out += block.len() as u64;
            }
        }
    }
    left_out
}

/// Values that are mostly zeros, over many blocks, with some nonzero bytes before and behind them.
fn write(store: &Store, model: &mut Content, keys: std::ops::Range<i128>) {
    for key in keys {
        let mut value = vec![0; (key as usize % 5) * 9000];
        if key % 3 == 0 {
            value.push(key as u8 | 1);
        }
        store.put(key, &value).expect("no fault");
        model.insert(key, value);
    }
}

#[test]
fn a_copy_that_leaves_out_zeros_is_the_same_store_after_a_kill_too() {
    for write_mode in [WriteMode::Auto, WriteMode::Pwrite] {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
        let mut model = Content::new();
        let store = open(&path, &options(write_mode)).expect("opens");
        write(&store, &mut model, 0..90);
        store.checkpoint().expect("no fault");
        write(&store, &mut model, 60..120);
        store.flush().expect("no fault");
        write(&store, &mut model, 110..130);
        drop(store);
        assert!(copy_with_holes(&path, &copy) > 1 << 20);
        for path in [&copy, &path] {
            for _ in 0..2 {
                let store = open(path, &options(write_mode)).expect("opens");
                assert_eq!(content(&store), model);
                assert!(store.verify(&mut |_| true).expect("reads").is_ok());
            }
            let store = open(path, &options(write_mode)).expect("opens");
            write(&store, &mut model.clone(), 200..220);
            store.compact(&mut |_| true).expect("no fault");
            store.delete_range(std::ops::Bound::Included(200), std::ops::Bound::Unbounded).expect("no fault");
            assert_eq!(content(&store), model);
            store.close().expect("no fault");
            assert_eq!(content(&open(path, &options(write_mode)).expect("opens")), model);
        }
    }
}

#[test]
fn a_hole_among_records_that_a_later_watermark_covers_is_refused_wherever_data_goes_on_behind_it() {
    for write_mode in [WriteMode::Auto, WriteMode::Pwrite] {
        for hole in [1, 40, 100] {
            let folder = tempfile::tempdir().expect("a folder");
            let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
            let store = open(&path, &options(write_mode)).expect("opens");
            for key in 0..200 {
                store.put(key, &[key as u8 | 1; 3000]).expect("no fault");
            }
            store.flush().expect("no fault");
            // The next record states the watermark; behind it are reserved zeros.
            store.put(1000, &[7; 3000]).expect("no fault");
            drop(store);
            // The segment's first blocks hold its header and the first records.
            let segment = path.join("seg-00000001.log");
            let len = fs::metadata(&segment).expect("there").len() as usize;
            let mut bytes = fs::read(&segment).expect("reads");
            let written = bytes.iter().rposition(|&byte| byte != 0).expect("written") + 1;
            let blocks = (written / BLOCK).min(hole + 1);
            assert!(blocks > hole, "the hole is amid the records");
            bytes[BLOCK..(hole + 1) * BLOCK].fill(0);
            fs::write(&segment, &bytes).expect("writes");
            copy_with_holes(&path, &copy);
            let copied = fs::metadata(copy.join("seg-00000001.log")).expect("there");
            assert!(copied.len() == len as u64 && copied.blocks() * 512 < len as u64 - (hole * BLOCK) as u64);
            for path in [&path, &copy] {
                match open(path, &options(write_mode)) {
                    Err(Error::Corruption { offset, .. }) => assert!(offset < ((hole + 1) * BLOCK) as u64),
                    Err(other) => panic!("{other}"),
                    Ok(store) => panic!("{} keys of 201", content(&store).len()),
                }
            }
        }
    }
}
