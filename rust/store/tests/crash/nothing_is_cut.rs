//! No file is cut below what a reader may have mapped, which would kill its process: not by an opening that
//! goes back to before damage, not by one after a crash, and not after a commit that failed.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::common::content;
use crate::common::hook::{Call, HookDisk, quiet};
use alex_store::disk::sim::SimDisk;
use alex_store::{Error, Options, Recovery, Store};

const SEGMENT_BYTES: u64 = 8 << 20;

fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, ..quiet() }
}

fn open(folder: &Path, options: &Options) -> Store {
    Store::open(folder, options, &mut |_| true).expect("opens")
}

/// A store of 1,000 keys in one segment, closed or killed.
fn store(folder: &Path, closed: bool) {
    let store = open(folder, &options());
    for key in 0..1000 {
        store.put(key, &[7; 1000]).expect("writes");
    }
    if closed {
        store.close().expect("closes");
    }
}

#[test]
fn point_in_time_cuts_no_file_under_a_reader() {
    for closed in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        store(folder.path(), closed);
        let reader = open(folder.path(), &Options { read_only: true, ..options() });
        let value = reader.get(900).expect("whole").expect("there");
        let path = folder.path().join("seg-00000001.log");
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opens");
        file.write_all_at(b"!", 192 + 1024 * 100 + 30).expect("writes");
        let before = file.metadata().expect("there").len();
        let store = open(folder.path(), &Options { recovery: Recovery::PointInTime, ..options() });
        assert_eq!(store.len().expect("open"), 100);
        assert_eq!(file.metadata().expect("there").len(), before);
        store.put(0, b"").expect("writes");
        store.close().expect("closes");
        assert_eq!(*value, [7; 1000]);
        assert_eq!(*reader.get(901).expect("whole").expect("there"), [7; 1000]);
        drop(store);
        assert_eq!(open(folder.path(), &options()).len().expect("open"), 100, "dropped stays dropped");
    }
}

#[test]
fn reserved_space_is_given_back_after_a_crash_without_a_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    // A part of the segment is proven, so that it stays.
    let store = open(folder.path(), &options());
    store.put(1, &[1; 1000]).expect("writes");
    store.flush().expect("flushes");
    store.put(2, &[2; 1000]).expect("writes");
    store.put(3, &[3; 1000]).expect("writes");
    drop(store);
    let file = std::fs::File::open(folder.path().join("seg-00000001.log")).expect("opens");
    let allocated = || file.metadata().expect("there").blocks() * 512;
    let before = allocated();
    let store = open(folder.path(), &options());
    assert_eq!(file.metadata().expect("there").len(), SEGMENT_BYTES);
    assert!(before < SEGMENT_BYTES || allocated() < SEGMENT_BYTES / 4, "{before}, then {}", allocated());
    assert_eq!(content(&store).into_keys().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_commit_that_failed_for_its_zeros_is_no_record_and_its_file_is_not_cut() {
    let sim = SimDisk::new(1);
    let disk = HookDisk::new(&sim);
    let options = Options { segment_bytes: 1 << 16, ..quiet() };
    let store = disk.open_store(&options).expect("opens");
    store.put(1, b"one").expect("writes");
    let mut value = vec![0; 12_000];
    value[..100].fill(7);
    // All of it is there, except for some zeros at the end.
    let (target, written) = (sim.clone(), value.len());
    disk.hook(move |call| match call {
        Call::Write("seg-00000001.log", offset, bytes) if bytes.len() > written => {
            let file =
                alex_store::disk::Disk::open(&target, "seg-00000001.log", alex_store::disk::Access::Write)?;
            file.write_at(*offset, &bytes[..bytes.len() - 4000])?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        _ => Ok(()),
    });
    assert!(matches!(store.put(2, &value), Err(Error::Io { .. })));
    disk.unhook();
    let len = || {
        let mut len = 0;
        sim.copy().corrupt("seg-00000001.log", |bytes| len = bytes.len());
        len
    };
    assert_eq!(len(), 1 << 16);
    assert_eq!(content(&store).into_keys().collect::<Vec<_>>(), [1]);
    let killed = sim.copy();
    assert_eq!(
        content(&crate::common::open(&killed, &options).expect("opens")).into_keys().collect::<Vec<_>>(),
        [1]
    );
    store.put(3, b"three").expect("goes on in a new segment");
    store.end_segment().expect("writes a manifest");
    assert_eq!(len(), 1 << 16, "somebody may have it mapped");
}
