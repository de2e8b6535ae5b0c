//! Files whose names have the highest possible ids can lie beside a store. Stray files change nothing; and
//! when no more images can be written, nothing waits for them.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use alex_store::{Options, Store};

/// More than commits may run ahead of a checkpoint.
const VALUES: i128 = 40;
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
    // Each stray file uses up half of the ids that are left.
    let (mut next, mut sessions) = (2_u32, 0);
    let refused = loop {
        let stray = u32::midpoint(next, u32::MAX);
        let store = with_strays(dir.path(), &[&format!("img-{stray:08x}.idx")]);
        store.put(2, b"two").expect("writes");
        if let Err(refused) = store.checkpoint() {
            break refused.to_string();
        }
        store.close().expect("closes");
        (next, sessions) = (stray.saturating_add(2), sessions + 1);
        assert!(sessions < 100, "{next}");
    };
    assert!(sessions > 20, "{sessions}");
    let store = open(dir.path());
    fill(&store);
    assert!(refused.contains("used up its ids"), "{refused}");
    store.close().expect("closes");
    assert_eq!(open(dir.path()).len().expect("open"), VALUES as u64);
}

#[test]
fn stray_files_with_high_ids_use_up_no_ids() {
    for strays in [["img-ffffffff.idx", "seg-ffffffff.log"], ["img-fffffffe.idx", "seg-fffffffe.log"]] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = with_strays(dir.path(), &strays);
        fill(&store);
        store.checkpoint().expect("writes");
        store.close().expect("closes");
        assert_eq!(open(dir.path()).len().expect("open"), VALUES as u64);
    }
}
