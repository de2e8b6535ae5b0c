//! Closing waits for running calls, and admits no further ones.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use alex_store::{Error, Options, Store, Values};

fn filled(dir: &Path) -> Store {
    let options = Options { background: false, ..Options::default() };
    let store = Store::open(dir, &options, &mut |_| true).expect("opens");
    let keys: Vec<i128> = (0..1000).collect();
    store.put_many(&keys, &vec![[1; 8]; keys.len()][..], false).expect("writes");
    store
}

#[test]
fn a_running_read_is_completed_and_later_calls_are_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = filled(dir.path());
    let mut scan = store
        .scan(alex_store::ScanRange {
            start: std::ops::Bound::Unbounded,
            stop: std::ops::Bound::Unbounded,
            reverse: false,
            limit: None,
        })
        .expect("open");
    let moment = store.moment().expect("open");
    let closed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            store.close().expect("closes");
            closed.store(true, Ordering::SeqCst);
        });
        while !matches!(
            thread::scope(|other| other.spawn(|| store.moment().map(drop)).join().expect("no panic")),
            Err(Error::Closed { .. })
        ) {
            thread::yield_now();
        }
        assert!(!closed.load(Ordering::SeqCst), "it waits");
        let mut values = Values::default();
        moment.get_many_into(&[7_i64, 2000], &mut values).expect("what runs goes on");
        assert_eq!((values.get(0), values.get(1)), (Some(&[1; 8][..]), None));
        // What the call itself calls belongs to it.
        assert!(store.moment().is_ok());
        drop(moment);
    });
    assert!(closed.load(Ordering::SeqCst));
    assert!(matches!(scan.next_run(1), Err(Error::Closed { .. })));
    assert!(matches!(store.get(1), Err(Error::Closed { .. })));
    assert!(matches!(store.verify(&mut |_| true), Err(Error::Closed { .. })));
    store.close().expect("a second time");
}

#[test]
fn a_close_waits_for_a_running_backup() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = filled(&dir.path().join("store"));
    let (begun, has_begun) = mpsc::channel();
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            store.backup(&dir.path().join("copy"), &mut |_| {
                let _ = begun.send(());
                thread::sleep(Duration::from_millis(50));
                true
            })
        });
        has_begun.recv_timeout(Duration::from_secs(20)).expect("it began");
        store.close().expect("closes");
        // The call has ended; its thread may still be on its way out.
        running.join().expect("no panic").expect("completed");
    });
    let copy = Store::open(&dir.path().join("copy"), &Options::default(), &mut |_| true).expect("opens");
    assert_eq!(copy.len().expect("open"), 1000);
}

#[test]
fn a_callback_cannot_close_the_store_under_its_own_call() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = filled(&dir.path().join("store"));
    let mut refused = 0;
    let copied = store.backup(&dir.path().join("copy"), &mut |_| {
        refused += usize::from(matches!(store.close(), Err(Error::InCall { .. })));
        true
    });
    copied.expect("goes on");
    assert!(refused > 0 && !store.is_closed() && store.get(1).expect("open").is_some());
    store.close().expect("closes");
}

#[test]
fn closing_in_several_threads_at_once_returns_in_all_of_them() {
    for round in 0..100 {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(dir.path(), &Options::default(), &mut |_| true).expect("opens"));
        store.put(1, b"one").expect("writes");
        let (gate, (returned, returns)) = (Arc::new(Barrier::new(4)), mpsc::channel());
        for _ in 0..4 {
            let (store, gate, returned) = (Arc::clone(&store), Arc::clone(&gate), returned.clone());
            thread::spawn(move || {
                gate.wait();
                returned.send(store.close()).expect("waited for");
            });
        }
        for _ in 0..4 {
            let closed = returns.recv_timeout(Duration::from_secs(20));
            closed.unwrap_or_else(|_| panic!("a call did not return, round {round}")).expect("closes");
        }
    }
}
