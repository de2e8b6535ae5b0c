//! Limits of resources, as far as a simulated disk can show them. Any call that finds no descriptor, no map
//! or no room returns an error of its own kind. Nothing is lost or poisoned, and the store goes on.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::two_images::files;
use crate::common::{Content, compression, content, for_seeds, key_kind, open};
use alex_store::disk::sim::{Loss, Rng, SimDisk};
use alex_store::{Batch, Compression, Error, Options, ReadMode, Store, WriteMode};

/// What the system reports, and for which calls it can.
#[derive(Debug, Clone, Copy)]
enum Lack {
    Descriptors,
    Maps,
    Permission,
    Room,
    FileSize,
}

impl Lack {
    fn errno(self) -> i32 {
        match self {
            Self::Descriptors => libc::EMFILE,
            Self::Maps => libc::ENOMEM,
            Self::Permission => libc::EACCES,
            Self::Room => libc::ENOSPC,
            Self::FileSize => libc::EFBIG,
        }
    }

    fn hits(self, call: &Call<'_>) -> bool {
        match self {
            Self::Descriptors => matches!(call, Call::Open(_) | Call::Create(..)),
            Self::Permission => matches!(call, Call::Open(_)),
            Self::Maps => matches!(call, Call::Map(_) | Call::MapForWriting),
            Self::Room | Self::FileSize => matches!(call, Call::Create(..) | Call::Write(..)),
        }
    }
}

/// Starting with the `first` call of its kind, `count` calls fail.
fn fail(disk: &HookDisk, lack: Lack, first: u64, count: u64) -> Arc<AtomicU64> {
    let (mut calls, struck) = (0, Arc::new(AtomicU64::new(0)));
    let told = Arc::clone(&struck);
    disk.hook(move |call| {
        if !lack.hits(call) {
            return Ok(());
        }
        calls += 1;
        if calls < first || calls >= first + count {
            return Ok(());
        }
        told.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::from_raw_os_error(lack.errno()))
    });
    struck
}

/// One random call. It changes the store as it changes `model`, or not at all.
fn call(store: &Store, rng: &mut Rng, model: &mut Content) -> Result<(), Error> {
    let mut next = model.clone();
    let key = i128::from(rng.below(40));
    let value = vec![rng.next_u64() as u8; rng.below(700) as usize];
    match rng.below(12) {
        0..=4 => {
            store.put(key, &value)?;
            next.insert(key, value);
        }
        5 => {
            let keys: Vec<i128> = (key..key + 5).collect();
            store.put_many(&keys, &vec![value.clone(); 5][..], rng.one_in(2))?;
            next.extend(keys.into_iter().map(|key| (key, value.clone())));
        }
        6 => {
            store.delete(key)?;
            next.remove(&key);
        }
        7 => {
            store.delete_range(Bound::Included(key), Bound::Excluded(key + 9))?;
            next.retain(|&other, _| !(key..key + 9).contains(&other));
        }
        8 => {
            let mut batch = Batch::new();
            batch.put(key, &value).expect("short");
            batch.delete(key + 1);
            store.commit(&batch, false)?;
            next.insert(key, value);
            next.remove(&(key + 1));
        }
        9 => store.compact(&mut |_| true).map(|_| ())?,
        10 => store.checkpoint()?,
        _ => store.flush()?,
    }
    *model = next;
    Ok(())
}

fn says(error: &Error, lack: Lack) -> bool {
    matches!(error, Error::Io { source, .. } if source.raw_os_error() == Some(lack.errno()))
}

#[test]
fn a_call_that_lacks_a_resource_poisons_nothing_and_loses_nothing() {
    for_seeds("whatever_call_lacks_something", 5, |seed| {
        let mut rng = Rng::new(seed);
        let lack = [Lack::Descriptors, Lack::Maps, Lack::Room, Lack::FileSize][rng.below(4) as usize];
        let (disk, mut model) = (SimDisk::new(rng.next_u64()), Content::new());
        let options = Options {
            key: key_kind(),
            compression: compression(),
            read_mode: [ReadMode::Mmap, ReadMode::Pread][rng.below(2) as usize],
            write_mode: [WriteMode::Mmap, WriteMode::Pwrite, WriteMode::Auto][rng.below(3) as usize],
            checkpoint_tail_bytes: [1, 3000, 64 << 20][rng.below(3) as usize],
            ..quiet()
        };
        let hooked = HookDisk::new(&disk);
        for life in 0..3 {
            let struck = fail(&hooked, lack, 1 + rng.below(30), 1 + rng.below(6));
            let store = loop {
                match hooked.open_store(&options) {
                    Ok(store) => break store,
                    // A store that was just being created does not exist yet.
                    Err(error) => assert!(says(&error, lack), "seed {seed}, life {life}: {lack:?}: {error}"),
                }
            };
            for step in 0..rng.below(60) {
                if rng.one_in(10) {
                    fail(&hooked, lack, 1 + rng.below(12), 1 + rng.below(6));
                }
                if let Err(error) = call(&store, &mut rng, &mut model) {
                    assert!(says(&error, lack), "seed {seed}, life {life}, step {step}: {lack:?}: {error}");
                }
                if rng.one_in(8) {
                    hooked.unhook();
                    assert_eq!(content(&store), model, "seed {seed}, life {life}, step {step}: {lack:?}");
                }
            }
            hooked.unhook();
            assert_eq!(content(&store), model, "seed {seed}: {lack:?}, struck {struck:?}");
            store.put(77, b"usable again").expect("nothing is lacking");
            model.insert(77, b"usable again".to_vec());
            match rng.below(3) {
                0 => store.close().expect("nothing is lacking"),
                1 => {
                    // If closing lacks something, that costs the next opening time, and nothing else.
                    fail(&hooked, lack, 1 + rng.below(4), 1);
                    if let Err(error) = store.close() {
                        assert!(says(&error, lack), "seed {seed}: {lack:?}: {error}");
                    }
                    hooked.unhook();
                }
                _ => drop(store),
            }
        }
        let again = open(&disk.restart(Loss::ProcessOnly), &options).expect("opens");
        assert_eq!(content(&again), model, "seed {seed}: {lack:?}, after all");
    });
}

#[test]
fn a_call_of_a_fixed_workload_that_finds_no_descriptor_fails_alone() {
    for read_mode in [ReadMode::Mmap, ReadMode::Pread] {
        let options = Options { read_mode, checkpoint_tail_bytes: 1000, ..quiet() };
        for first in 1.. {
            let (mut rng, mut model) = (Rng::new(7), Content::new());
            let hooked = HookDisk::new(&SimDisk::new(1));
            let store = hooked.open_store(&options).expect("opens");
            let struck = fail(&hooked, Lack::Descriptors, first, 1);
            for _ in 0..80 {
                if let Err(error) = call(&store, &mut rng, &mut model) {
                    assert!(says(&error, Lack::Descriptors), "{read_mode:?}, call {first}: {error}");
                }
            }
            hooked.unhook();
            assert_eq!(content(&store), model, "{read_mode:?}, call {first}");
            store.close().expect("nothing is lacking");
            if struck.load(Ordering::Relaxed) == 0 {
                assert!(first > 20, "only {first} calls open a file");
                break;
            }
        }
    }
}

#[test]
fn records_replaced_while_no_descriptor_was_left_are_counted_later() {
    let hooked = HookDisk::new(&SimDisk::new(1));
    let options = Options { read_mode: ReadMode::Pread, write_mode: WriteMode::Pwrite, ..quiet() };
    let store = hooked.open_store(&options).expect("opens");
    let mut model = Content::new();
    for key in 0..50 {
        store.put(key, &[1; 100]).expect("writes");
        model.insert(key, vec![1; 100]);
    }
    store.close().expect("closes");
    // Segments are opened for each read: there are more than a handle holds descriptors for.
    let store = hooked.open_store(&options).expect("opens");
    store.put(1000, b"").expect("writes");
    model.insert(1000, Vec::new());
    hooked.hook(|call| match call {
        Call::Read(_) | Call::Open(_) => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        _ => Ok(()),
    });
    store.put(1, &[2; 100]).expect("needs no descriptor");
    store.delete(2).expect("needs no descriptor");
    store.put_many(&[3_i64, 4], &[[3_u8; 10]; 2][..], false).expect("needs no descriptor");
    model.remove(&2);
    model.extend([(1, vec![2; 100]), (3, vec![3; 10]), (4, vec![3; 10])]);
    assert!(
        store.checkpoint().is_err_and(|error| says(&error, Lack::Descriptors)),
        "an image would count them wrongly"
    );
    hooked.unhook();
    assert_eq!(content(&store), model);
    store.checkpoint().expect("nothing is lacking");
    store.close().expect("closes");
    assert_eq!(content(&hooked.open_store(&options).expect("opens")), model);
}

#[test]
fn a_file_left_behind_that_cannot_be_read_now_refuses_an_opening_that_writes() {
    let disk = SimDisk::new(1);
    let hooked = HookDisk::new(&disk);
    let options = Options { segment_bytes: 8192, ..quiet() };
    let store = hooked.open_store(&options).expect("opens");
    for round in 0..20_u8 {
        for key in 0..100 {
            store.put(key, &[round; 10]).expect("writes");
        }
    }
    let model = content(&store);
    hooked.hook(|call| match call {
        Call::Remove(name) if name.starts_with("seg-") => Err(io::Error::from_raw_os_error(libc::EIO)),
        _ => Ok(()),
    });
    store.compact(&mut |_| true).expect("a file that stays harms nothing");
    drop(store);
    let left = files(&disk, "seg-").remove(0);
    for lack in [Lack::Descriptors, Lack::Maps, Lack::Permission] {
        let there = left.clone();
        hooked.hook(move |call| match call {
            Call::Open(name) | Call::Map(name) if *name == there && lack.hits(call) => {
                Err(io::Error::from_raw_os_error(lack.errno()))
            }
            _ => Ok(()),
        });
        let refused =
            hooked.open_store(&options).map(|_| ()).expect_err("its sequence numbers are not known");
        assert!(says(&refused, lack), "{refused}");
    }
    hooked.unhook();
    assert_eq!(content(&hooked.open_store(&options).expect("opens")), model);
}

#[test]
fn a_full_disk_takes_deletes_until_there_is_room_again() {
    let hooked = HookDisk::new(&SimDisk::new(1));
    let options = Options { segment_bytes: 256 << 10, ..quiet() };
    let store = hooked.open_store(&options).expect("opens");
    store.put(-1, b"the first segment is made").expect("writes");
    // What is left of the disk holds no file of more than 64 KiB.
    let (filled, small) = (Arc::new(AtomicU64::new(0)), 64 << 10);
    let full = Arc::clone(&filled);
    hooked.hook(move |call| match call {
        Call::Create(_, bytes) if full.load(Ordering::Relaxed) > 0 && *bytes > small => {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }
        _ => Ok(()),
    });
    filled.store(1, Ordering::Relaxed);
    let refused = (0..10_000).find_map(|key| store.put(key, &[7; 1000]).err()).expect("it is full");
    assert!(says(&refused, Lack::Room), "{refused}");
    let keys = store.len().expect("open").cast_signed() - 1;
    assert!(keys > 100);
    for key in -1..keys {
        assert!(store.delete(key).expect("a full disk takes deletes"), "key {key}");
    }
    store.flush().expect("flushes");
    filled.store(0, Ordering::Relaxed);
    store.put(1, b"usable again").expect("there is room");
    assert_eq!(store.len().expect("open"), 1);
}

#[test]
fn a_full_disk_takes_batches_of_deletes_in_a_compressed_store_too() {
    let hooked = HookDisk::new(&SimDisk::new(1));
    let options = Options { segment_bytes: 256 << 10, compression: Compression::Zstd, ..quiet() };
    let store = hooked.open_store(&options).expect("opens");
    let rows: Vec<Vec<u8>> = (0..4000)
        .map(|i| format!("{{\"carrier\": \"UA\", \"number\": {i}, \"gate\": null}}").into())
        .collect();
    let keys: Vec<i64> = (-4000..0).collect();
    store.put_many(&keys, &rows[..], false).expect("writes");
    assert!(store.stats().expect("open").live_bytes < 4000 * 64, "they are compressed");
    hooked.hook(|call| match call {
        Call::Create(..) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        _ => Ok(()),
    });
    let refused = (0..100_000).find_map(|key| store.put(key, b"").err()).expect("it is full");
    assert!(says(&refused, Lack::Room), "{refused}");
    for key in 0..10 {
        let mut batch = Batch::new();
        batch.delete(2 * key);
        batch.delete(2 * key + 1);
        store.commit(&batch, false).unwrap_or_else(|error| panic!("key {key}: {error}"));
    }
}

#[test]
fn a_segment_filled_by_puts_takes_some_deletes_if_no_other_can_be_made() {
    let hooked = HookDisk::new(&SimDisk::new(1));
    let options = Options { segment_bytes: 256 << 10, ..quiet() };
    let store = hooked.open_store(&options).expect("opens");
    store.put(-1, b"the first segment is made").expect("writes");
    hooked.hook(|call| match call {
        Call::Create(..) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        _ => Ok(()),
    });
    let refused = (0..100_000).find_map(|key| store.put(key, b"").err()).expect("it is full");
    assert!(says(&refused, Lack::Room), "{refused}");
    for key in 0..50 {
        assert!(store.delete(key).expect("there is room for some"), "key {key}");
    }
}
