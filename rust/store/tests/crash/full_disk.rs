//! A disk that is full at any moment, followed by a kill: every call that returned is there, every refused
//! one is not, and no file that a manifest may name was removed.

use std::io;
use std::ops::Bound;

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{Content, content, for_seeds, open, options};
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::disk::{Access, Disk};
use alex_store::{Batch, Error, Store};

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

fn names(disk: &dyn Disk, prefix: &str) -> Vec<String> {
    let mut names = disk.list().expect("the power is on");
    names.retain(|name| name.starts_with(prefix));
    names
}

/// One random call on the store, and on the model if it returned.
fn call(store: &Store, model: &mut Content, rng: &mut Rng) -> Result<(), Error> {
    let key = i128::from(rng.below(12));
    let len = [0, 10, 100, 700, 1500, 3000, 5000, 9000][rng.below(8) as usize];
    let value = vec![rng.next_u64() as u8; len];
    let mut next = model.clone();
    match rng.below(14) {
        0..=5 => {
            next.insert(key, value.clone());
            store.put(key, &value)?;
        }
        6 => {
            next.remove(&key);
            store.delete(key)?;
        }
        7 => {
            let mut batch = Batch::new();
            batch.put(key, &value)?;
            batch.put(key + 1, &value)?;
            batch.delete(key + 2);
            next.insert(key, value.clone());
            next.insert(key + 1, value);
            next.remove(&(key + 2));
            store.commit(&batch, rng.one_in(2))?;
        }
        8 => {
            next.retain(|other, _| !(key..=key + 2).contains(other));
            store.delete_range(Bound::Included(key), Bound::Included(key + 2))?;
        }
        9 => store.checkpoint()?,
        10 => store.compact(&mut |_| true).map(|_| ())?,
        11 => store.tend()?,
        12 => {
            let chosen = rng.next_u64();
            store.compact_some(&|id| chosen >> (id % 64) & 1 == 1)?;
        }
        _ => store.flush()?,
    }
    *model = next;
    Ok(())
}

#[test]
fn a_disk_that_is_full_now_and_then_and_a_kill_lose_nothing_and_the_store_opens() {
    for_seeds("a_disk_that_is_full_now_and_then", 10, |seed| {
        let mut rng = Rng::new(seed);
        let options = options(&mut rng);
        let mut disk = SimDisk::new(seed);
        let mut model = Content::new();
        let mut history = Vec::new();
        for life in 0..3 {
            let store =
                open(&disk, &options).unwrap_or_else(|error| panic!("life {life}: {error}\n{history:#?}"));
            assert_eq!(content(&store), model, "life {life}: {history:#?}");
            for _ in 0..rng.below(5) {
                disk.plan(1 + rng.below(120), Fault::Full);
            }
            for _ in 0..4 + rng.below(30) {
                let outcome = call(&store, &mut model, &mut rng);
                history.push(format!("life {life}: {:?}", outcome.err().map(|error| error.to_string())));
                let most = 2 + disk.struck().len();
                assert!(names(&disk, "img").len() <= most, "images do not pile up: {history:#?}");
            }
            disk.unplan();
            if rng.one_in(4) {
                let closed = store.close();
                history.push(format!("life {life}: closed {closed:?}"));
            }
            drop(store);
            disk = disk.restart(Loss::ProcessOnly);
        }
        let store = open(&disk, &options).unwrap_or_else(|error| panic!("{error}\n{history:#?}"));
        assert_eq!(content(&store), model, "{history:#?}");
        assert!(names(&disk, "img").len() <= 2, "two images are kept");
    });
}

#[test]
fn a_segment_that_one_copy_of_the_manifest_names_stays_until_neither_does() {
    for loss in [Loss::ProcessOnly, Loss::Random, Loss::Everything] {
        let sim = SimDisk::new(1);
        let disk = HookDisk::new(&sim);
        let store = disk.open_store(&quiet()).expect("opens");
        store.put(1, &[1; 2000]).expect("writes");
        store.flush().expect("flushes");
        // Copy A names the new segment; copy B does not.
        disk.hook(|call| match call {
            Call::Write("MANIFEST-B.new", ..) => Err(full()),
            _ => Ok(()),
        });
        store.put(2, &[2; 3000]).expect_err("disk full");
        // A larger commit needs a larger segment, and no copy can be written.
        disk.hook(|call| match call {
            Call::Write("MANIFEST-A.new", ..) => Err(full()),
            _ => Ok(()),
        });
        store.put(3, &[3; 6000]).expect_err("disk full");
        let after = open(&sim.restart(loss), &quiet()).unwrap_or_else(|error| panic!("{loss:?}: {error}"));
        assert_eq!(content(&after).into_keys().collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn a_large_commit_that_is_refused_leaves_the_reserved_segment_to_small_ones() {
    // No file can be created; or it can, but the manifest cannot be written; or only its first copy can.
    for refused in ["seg-", "MANIFEST-A.new", "MANIFEST-B.new"] {
        let sim = SimDisk::new(1);
        let disk = HookDisk::new(&sim);
        let store = disk.open_store(&quiet()).expect("opens");
        store.put(1, &[1; 1500]).expect("writes");
        store.tend().expect("makes the next segment");
        disk.hook(move |call| match call {
            Call::Create(name, _) if name.starts_with(refused) => Err(full()),
            _ => Ok(()),
        });
        store.put(2, &[2; 9000]).expect_err("no room for so much");
        if refused == "MANIFEST-B.new" {
            // What copy A names is needed from now on.
            disk.unhook();
        }
        let segments = names(&disk, "seg-");
        let mut model = Content::from([(1, vec![1; 1500])]);
        for key in 10..14 {
            store.put(key, &[1; 1000]).unwrap_or_else(|error| panic!("{refused}, key {key}: {error}"));
            model.insert(key, vec![1; 1000]);
        }
        assert_eq!(segments.len(), if refused == "MANIFEST-B.new" { 3 } else { 2 }, "{segments:?}");
        drop(store);
        assert_eq!(content(&open(&sim.restart(Loss::ProcessOnly), &quiet()).expect("opens")), model);
    }
}

#[test]
fn images_whose_manifest_failed_go_at_once_or_with_the_next_manifest() {
    for refused in ["MANIFEST-A.new", "MANIFEST-B.new"] {
        let sim = SimDisk::new(1);
        let disk = HookDisk::new(&sim);
        let store = disk.open_store(&quiet()).expect("opens");
        for key in 0..50 {
            store.put(key, &[1; 40]).expect("writes");
        }
        store.checkpoint().expect("an image");
        disk.hook(move |call| match call {
            Call::Write(name, ..) if *name == refused => Err(full()),
            _ => Ok(()),
        });
        for round in 0..5 {
            store.put(100, &[round; 8]).expect("there is room");
            store.checkpoint().expect_err("no manifest can be written");
        }
        let there = names(&disk, "img").len();
        assert!(there == 1 || refused == "MANIFEST-B.new", "no copy names them: {there}");
        disk.unhook();
        store.put(101, b"").expect("writes");
        store.end_segment().expect("writes a manifest");
        assert_eq!(names(&disk, "img").len(), 1);
        store.checkpoint().expect("there is space");
        assert_eq!(names(&disk, "img").len(), 2);
    }
}

#[test]
fn a_manifest_whose_second_copy_could_not_be_written_is_no_damage() {
    for refused in ["MANIFEST-A.new", "MANIFEST-B.new"] {
        let sim = SimDisk::new(1);
        let disk = HookDisk::new(&sim);
        let store = disk.open_store(&quiet()).expect("opens");
        store.put(1, &[1; 40]).expect("writes");
        disk.hook(move |call| match call {
            Call::Write(name, ..) if *name == refused => Err(full()),
            _ => Ok(()),
        });
        store.checkpoint().expect_err("one copy of the manifest cannot be written");
        disk.unhook();
        let report = store.verify(&mut |_| true).expect("reads");
        assert!(report.is_ok(), "{refused}: {:?}", report.errors);
        store.put(2, &[2; 40]).expect("writes");
        store.checkpoint().expect("there is space");
        assert!(store.verify(&mut |_| true).expect("reads").is_ok());
        // Copies that differ without such a reason are reported.
        let copy = sim.open("MANIFEST-B", Access::Read).expect("there");
        let mut bytes = vec![0; copy.len().expect("open") as usize];
        copy.read_at(0, &mut bytes).expect("reads");
        store.put(3, &[3; 40]).expect("writes");
        store.checkpoint().expect("an image");
        disk.remove("MANIFEST-B").expect("removes");
        let file = disk.create("MANIFEST-B", 0).expect("creates");
        file.write_at(0, &bytes).expect("writes");
        assert!(!store.verify(&mut |_| true).expect("reads").is_ok(), "an older copy was put in place");
    }
}
