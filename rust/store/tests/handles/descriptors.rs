//! A store with very many segments opens within the usual limit of open files.
#![allow(unsafe_code)]

use crate::common::alone::ran_in_own_process;
use alex_store::{Options, ReadMode, Store};

#[test]
fn more_sessions_than_descriptors_leave_a_store_that_opens() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let limit = libc::rlimit { rlim_cur: 400, rlim_max: 400 };
    // SAFETY: a plain system call, in a process that runs no other test.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options { background: false, segment_bytes: 4096, ..Options::default() };
    let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
    for key in 0..500_i64 {
        // Nearly every value fills a segment of its own.
        store.put(key, &[7; 3800]).expect("writes");
        if key % 100 == 0 {
            store.flush().expect("flushes");
        }
    }
    store.close().expect("closes");
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        for read_only in [true, false] {
            let options = Options { read_mode, read_only, ..options.clone() };
            let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
            assert!(store.stats().expect("open").segments >= 450);
            for key in (0..500).step_by(7) {
                assert_eq!(store.get(key).expect("reads").expect("there").len(), 3800);
            }
        }
    }
}
