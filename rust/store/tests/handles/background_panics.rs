//! A thread of the store panics, which only a defect in the store could cause; here the disk does it instead.
//! The panic is named. A store that may be half changed takes no more writes, any other goes on, and closing
//! ends.

use std::time::{Duration, Instant};

use crate::common::hook::{Call, HookDisk};
use crate::common::{content, open};
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Durability, Error, Options, Store};

fn options() -> Options {
    Options { segment_bytes: 16 << 10, sync_interval: Duration::from_millis(2), ..Options::default() }
}

/// Waits until `so` holds, but not forever.
fn wait_for(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn failure(store: &Store) -> Option<String> {
    store.stats().expect("open").background_failure
}

fn thread_is(name: &str) -> bool {
    std::thread::current().name() == Some(name)
}

#[test]
fn a_flush_that_panics_poisons_by_name_and_the_durable_part_opens_again() {
    let sim = SimDisk::new(1);
    let disk = HookDisk::new(&sim);
    let store = disk.open_store(&options()).expect("opens");
    store.put(1, b"durable").expect("writes");
    store.flush().expect("flushes");
    disk.hook(|call| {
        assert!(!(matches!(call, Call::Sync(_)) && thread_is("alexpy-flush")), "the test's own panic");
        Ok(())
    });
    store.put(2, b"maybe").expect("writes");
    wait_for("the panic", || failure(&store).is_some());
    let told = failure(&store).expect("told");
    assert!(told.contains("alexpy-flush failed: the test's own panic"), "{told}");
    let error = store.put(3, b"refused").expect_err("poisoned");
    assert!(matches!(&error, Error::Poisoned { .. }), "{error}");
    assert!(error.to_string().contains("a background thread failed in the middle of a change"), "{error}");
    assert_eq!(store.get(1).expect("reads go on").as_deref(), Some(&b"durable"[..]));
    assert!(matches!(store.close(), Err(Error::Poisoned { .. })), "closing ends, and tells");
    disk.unhook();
    let again = open(&sim.restart(Loss::Everything), &options()).expect("opens");
    assert_eq!(again.get(1).expect("reads").as_deref(), Some(&b"durable"[..]));
}

#[test]
fn an_image_whose_writing_panics_is_reported_and_written_later() {
    let sim = SimDisk::new(2);
    let disk = HookDisk::new(&sim);
    let options = Options { checkpoint_tail_bytes: 2000, ..options() };
    let store = disk.open_store(&options).expect("opens");
    // A hook that panics is gone.
    let no_image = || {
        disk.hook(|call| {
            assert!(!matches!(call, Call::Write(name, ..) if name.starts_with("img-")), "no image today");
            Ok(())
        });
    };
    no_image();
    for key in 0..200 {
        store.put(key, &[7; 50]).expect("writes go on");
    }
    wait_for("the panic", || failure(&store).is_some());
    assert!(failure(&store).expect("told").contains("the writing of an image failed: no image today"));
    no_image();
    let foreground = store.checkpoint().expect_err("here it is an error of the call");
    assert!(matches!(foreground, Error::Panicked { .. }), "{foreground}");
    disk.unhook();
    let mut key = 200;
    wait_for("an image", || {
        store.put(key, &[8; 50]).expect("writes go on");
        alex_store::disk::Disk::list(&sim).expect("lists").iter().any(|name| name.starts_with("img-"))
    });
    key += 1;
    store.put(key, b"last").expect("writes go on");
    // Nothing holds segments for an image that was abandoned.
    for key in 0..200 {
        store.put(key, &[9; 50]).expect("writes go on");
    }
    store.compact(&mut |_| true).expect("compacts");
    assert!(store.stats().expect("open").compaction.freed_segments > 0);
    let found = content(&store);
    store.close().expect("closes");
    let again = open(&sim, &options).expect("opens");
    assert_eq!(content(&again), found);
}

#[test]
fn a_compaction_that_panics_poisons_and_loses_nothing() {
    let sim = SimDisk::new(3);
    let disk = HookDisk::new(&sim);
    let store = disk.open_store(&Options { durability: Durability::Os, ..options() }).expect("opens");
    disk.hook(|call| {
        assert!(
            !(matches!(call, Call::Remove(name) if name.starts_with("seg-")) && thread_is("alexpy-compact"))
        );
        Ok(())
    });
    wait_for("the panic", || {
        for key in 0..50 {
            if store.put(key, &[5; 200]).is_err() {
                break;
            }
        }
        failure(&store).is_some()
    });
    assert!(failure(&store).expect("told").contains("alexpy-compact failed"));
    assert!(matches!(store.put(1, b"x"), Err(Error::Poisoned { .. })));
    assert!(store.close().is_err());
    disk.unhook();
    let again = open(&sim.restart(Loss::ProcessOnly), &options()).expect("opens");
    assert_eq!(again.len().expect("open"), 50);
    assert!(again.verify(&mut |_| true).expect("reads").is_ok());
}

#[test]
fn a_panic_while_closing_is_an_error_and_the_lock_is_given_back() {
    let sim = SimDisk::new(4);
    let disk = HookDisk::new(&sim);
    let options = Options { background: false, ..options() };
    let store = disk.open_store(&options).expect("opens");
    store.put(1, b"one").expect("writes");
    disk.hook(|call| {
        assert!(!matches!(call, Call::Sync(name) if name.starts_with("seg-")), "not today");
        Ok(())
    });
    let error = store.close().expect_err("it did not close in order");
    assert!(error.to_string().contains("closing failed: not today"), "{error}");
    disk.unhook();
    let again = open(&sim, &options).expect("the lock was given back");
    assert_eq!(again.get(1).expect("reads").as_deref(), Some(&b"one"[..]));
}
