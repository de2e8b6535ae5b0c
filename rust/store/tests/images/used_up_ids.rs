//! Files whose names have the highest possible ids can lie beside a store. Stray files change nothing; and
//! when no more images can be written, nothing waits for them.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use alex_store::{Options, Store};

/// More than commits may run ahead of a checkpoint.
const VALUES: i64 = 40;
const VALUE_BYTES: usize = 1 << 20;

fn options() -> Options {
    Options { segment_bytes: 8 << 20, checkpoint_tail_bytes: 1 << 20, ..Options::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &options(), &mut |_| true).expect("opens")
}

fn with_strays(dir: &Path, names: &[&str]) -> Store {
    let store = open(dir);
    store.put(1, b"one").expect("writes");
    store.close().expect("closes");
    for name in names {
        std::fs::write(dir.join(name), b"stray").expect("writes");
    }
    open(dir)
}

/// Puts much, on a thread that is left running if it hangs.
fn fill(store: &Store) {
    let (told, ended) = mpsc::channel();
    let writer = store.clone();
    thread::spawn(move || {
        let written = (0..VALUES).try_for_each(|key| writer.put(key, &vec![7; VALUE_BYTES]));
        told.send(written.is_ok())
    });
    assert_eq!(
        ended.recv_timeout(Duration::from_secs(30)),
        Ok(true),
        "commits wait for nothing that cannot come"
    );
    assert_eq!(store.len().expect("open"), VALUES as u64);
}

#[test]
fn a_writer_goes_on_when_image_ids_are_used_up() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = with_strays(dir.path(), &["img-fffffffe.idx"]);
    fill(&store);
    let refused = store.checkpoint().expect_err("there is no id for it").to_string();
    assert!(refused.contains("used up its ids"), "{refused}");
    store.close().expect("closes");
    assert_eq!(open(dir.path()).len().expect("open"), VALUES as u64);
}

#[test]
fn stray_files_with_high_ids_use_up_no_ids() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = with_strays(dir.path(), &["img-ffffffff.idx", "seg-ffffffff.log"]);
    fill(&store);
    store.checkpoint().expect("writes");
    store.close().expect("closes");
    assert_eq!(open(dir.path()).len().expect("open"), VALUES as u64);
}
