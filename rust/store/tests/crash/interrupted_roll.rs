//! Beginning or filling a segment is interrupted by an error or a panic; the store goes on.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::alone::ran_in_own_process;
use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{content, open};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Loss, SimDisk};
use alex_store::{Options, ReadMode, ValueSource, WriteMode};

#[test]
fn a_segment_whose_header_failed_never_ends_the_log_before_it() {
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        let disk = HookDisk::new(&sim);
        let options = Options { write_mode: WriteMode::Pwrite, ..quiet() };
        let store = disk.open_store(&options).expect("opens");
        store.put(1, b"one").expect("writes");
        store.flush().expect("flushes");
        disk.hook(|call| match call {
            Call::Write(_, 0, bytes) if bytes.starts_with(b"ALEXSEG") => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        });
        store.put(2, &[2; 5000]).expect_err("the new segment cannot be begun");
        disk.unhook();
        store.put(3, b"three").expect("the next segment takes it");
        store.flush().expect("flushes");
        let after = open(&sim.restart(Loss::Random), &options).expect("opens");
        assert!(after.contains(3).expect("open"), "seed {seed}: a flushed put is gone");
    }
}

#[test]
fn openings_that_fail_leave_no_pile_of_segments() {
    let sim = SimDisk::new(1);
    let store = open(&sim, &quiet()).expect("opens");
    store.put(1, b"one").expect("writes");
    drop(store);
    let sim = sim.restart(Loss::ProcessOnly);
    let disk = HookDisk::new(&sim);
    disk.hook(|call| match call {
        Call::Write(name, ..) if name.starts_with("MANIFEST") => {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        _ => Ok(()),
    });
    for _ in 0..5 {
        disk.open_store(&quiet()).expect_err("recovery cannot finish");
        let segments = disk.list().expect("lists").iter().filter(|name| name.starts_with("seg")).count();
        assert!(segments <= 2, "{segments} segments");
    }
    disk.unhook();
    assert_eq!(content(&disk.open_store(&quiet()).expect("opens")).len(), 1);
}

/// Values that panic once, in the pass that encodes them.
struct PanicsOnce {
    passes: AtomicUsize,
    value: Vec<u8>,
}

const RECORDS: usize = 12_000;

impl ValueSource for PanicsOnce {
    fn len(&self) -> usize {
        RECORDS
    }

    fn get(&self, i: usize) -> &[u8] {
        let pass = if i == 0 { self.passes.fetch_add(1, Ordering::Relaxed) } else { 0 };
        assert!(i + 1 < RECORDS || self.passes.load(Ordering::Relaxed) != 2, "from the caller, pass {pass}");
        &self.value
    }
}

#[test]
fn a_panic_inside_a_batch_leaves_the_batch_absent_and_the_store_usable() {
    let sim = SimDisk::new(1);
    let options = Options { segment_bytes: 1 << 20, ..quiet() };
    let store = open(&sim, &options).expect("opens");
    store.put(-1, b"before").expect("writes");
    let keys: Vec<i128> = (0..RECORDS as i128).collect();
    let values = PanicsOnce { passes: AtomicUsize::new(0), value: vec![0xAA; 40] };
    let outcome =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.put_many(&keys, &values, false)));
    assert!(outcome.is_err(), "the caller's panic goes on");
    assert_eq!(store.len().expect("open"), 1, "the batch is absent");
    let again = vec![[0xBB; 40]; RECORDS];
    store.put_many(&keys, &again[..], false).expect("the store is usable");
    assert_eq!(store.stats().expect("open").segments, 2, "nothing is written over what was abandoned");
    let after = open(&sim.restart(Loss::ProcessOnly), &options).expect("opens");
    let found = content(&after);
    assert_eq!(found.len(), RECORDS + 1);
    assert!(found.values().all(|value| value[0] != 0xAA));
}

#[test]
fn auto_writes_by_system_call_where_blocks_cannot_be_reserved() {
    let disk = HookDisk::new(&SimDisk::new(1));
    disk.hook(|call| match call {
        Call::MapForWriting => Err(io::ErrorKind::Unsupported.into()),
        _ => Ok(()),
    });
    let store = disk.open_store(&Options { write_mode: WriteMode::Auto, ..quiet() }).expect("opens");
    store.put(1, b"one").expect("writes");
    drop(store);
    let mmap = disk.open_store(&Options { write_mode: WriteMode::Mmap, ..quiet() });
    let refused = mmap.and_then(|store| store.put(2, b"two")).expect_err("mmap was asked for by name");
    assert!(refused.to_string().contains("map"), "{refused}");
}

#[test]
fn one_unreadable_manifest_copy_is_no_loss() {
    let disk = HookDisk::new(&SimDisk::new(1));
    let store = disk.open_store(&quiet()).expect("opens");
    store.put(1, b"one").expect("writes");
    store.close().expect("closes");
    disk.hook(|call| match call {
        Call::Read("MANIFEST-A") => Err(io::Error::other("simulated device error")),
        _ => Ok(()),
    });
    for read_only in [true, false] {
        let store = disk.open_store(&Options { read_only, ..quiet() }).expect("copy B is whole");
        assert_eq!(content(&store).len(), 1);
    }
}

#[test]
fn a_damaged_length_is_an_error_and_takes_no_memory() {
    if ran_in_own_process(|| ()) {
        return;
    }
    let sim = SimDisk::new(1);
    let store = open(&sim, &Options { read_mode: ReadMode::Pread, ..quiet() }).expect("opens");
    store.put(1, b"one").expect("writes");
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("there").to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    let before = peak();
    sim.corrupt("seg-00000001.log", |bytes| {
        let record = (192..400).step_by(8).find(|&at| bytes[at + 8] == 1).expect("the put is there");
        bytes[record + 7] ^= 0x40;
    });
    store.get(1).expect_err("the length is damaged");
    assert!(peak() - before < 100 << 10, "a get of three bytes took {} KiB", peak() - before);
}
