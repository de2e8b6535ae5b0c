//! Random workloads on a simulated disk, compared with a model, and the judgement after each crash: the store
//! must equal a prefix of its commits that includes every durable one.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod alone;
pub mod forge;
pub mod forged_store;
pub mod hook;
pub mod memory;
pub mod two_images;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alex_store::disk::Disk;
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk, SyncFailure};
use alex_store::{
    Batch, Compression, Durability, Error, KeyKind, Operation, Options, ReadMode, Reader, ScanRange,
    Snapshot, Store, WriteMode,
};

/// The content of a store.
pub type Content = BTreeMap<i128, Vec<u8>>;

/// How many seeds a test runs: its share of `ALEXPY_SEEDS`, which defaults to 10,000.
pub fn seeds(share_percent: u64) -> std::ops::Range<u64> {
    let all: u64 = std::env::var("ALEXPY_SEEDS")
        .map_or(10_000, |text| text.parse().expect("ALEXPY_SEEDS is a number of seeds"));
    match std::env::var("ALEXPY_SEED") {
        Ok(text) => {
            let seed = text.parse().expect("ALEXPY_SEED is one seed to replay");
            seed..seed + 1
        }
        Err(_) => 0..(all * share_percent).div_ceil(100),
    }
}

thread_local! {
    static WIDE: Cell<bool> = const { Cell::new(false) };
    static COMPRESSED: Cell<bool> = const { Cell::new(false) };
}

/// Says whether the stores that this thread makes from now on compress values, which then are of a kind that it pays for.
pub fn make_compressed(compressed: bool) {
    COMPRESSED.set(compressed);
}

/// How the stores of this seed compress values.
pub fn compression() -> Compression {
    if COMPRESSED.get() { Compression::Zstd } else { Compression::None }
}

/// Says whether the stores that this thread makes from now on have keys of 128 bits.
pub fn make_wide(wide: bool) {
    WIDE.set(wide);
}

/// The kind of keys of the stores that this seed makes: every other one has keys of 128 bits.
pub fn key_kind() -> Option<KeyKind> {
    WIDE.get().then_some(KeyKind::Uuid)
}

/// Bytes of a record besides its value.
pub fn record_header_bytes(store: &Reader) -> usize {
    if store.schema().key == KeyKind::Uuid { 32 } else { 24 }
}

/// The lowest and the highest key.
pub fn ends() -> (i128, i128) {
    if WIDE.get() { (i128::MIN, i128::MAX) } else { (i64::MIN.into(), i64::MAX.into()) }
}

/// Runs `one` for every seed. A failure names the seed and how to replay it.
pub fn for_seeds(test: &str, share_percent: u64, one: impl Fn(u64)) {
    for seed in seeds(share_percent) {
        make_wide(seed % 2 == 1);
        make_compressed(seed % 5 < 2);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(seed)));
        if let Err(panic) = outcome {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_default();
            panic!(
                "seed {seed} failed; replay it with: ALEXPY_SEED={seed} cargo test -p alex-store {test}\n{message}"
            );
        }
    }
}

/// Options that a seed chooses among: every durability, write and read mode, and small segments.
pub fn options(rng: &mut Rng) -> Options {
    Options {
        durability: [Durability::Sync, Durability::Interval, Durability::Os][rng.below(3) as usize],
        write_mode: [WriteMode::Mmap, WriteMode::Pwrite, WriteMode::Auto][rng.below(3) as usize],
        read_mode: [ReadMode::Mmap, ReadMode::Pread][rng.below(2) as usize],
        key: key_kind(),
        compression: compression(),
        // Enough for a dictionary, and less than most workloads write.
        train_from_bytes: 2500,
        segment_bytes: [4096, 4096, 8192, 16384][rng.below(4) as usize],
        // No clock decides anything: flushes are part of the workload.
        background: false,
        sync_interval: Duration::from_secs(3600),
        checkpoint_tail_bytes: [1, 500, 3000, 64 << 20][rng.below(4) as usize],
        merge_small_from: [2, 2, 3, 8][rng.below(4) as usize],
        ..Options::default()
    }
}

/// Opens a store on a simulated disk.
pub fn open(disk: &SimDisk, options: &Options) -> Result<Store, Error> {
    let compression =
        if options.compression == Compression::None { compression() } else { options.compression };
    let options = Options { key: options.key.or(key_kind()), compression, ..options.clone() };
    Store::open_on(Arc::new(disk.clone()), Path::new("simulated"), &options, &mut |_| true)
}

/// Like `open`, but only if the power is still on afterwards: giving space back is the last step of opening,
/// and its failure does not matter.
pub fn open_with_power(disk: &SimDisk, options: &Options) -> Option<Store> {
    open(disk, options).ok().filter(|_| disk.has_power())
}

/// The whole content of the store, read in three ways that must agree.
pub fn content(store: &Store) -> Content {
    let content = content_of(store);
    let live: usize =
        content.values().map(|value| record_header_bytes(store) + value.len().next_multiple_of(8)).sum();
    let counted = store.stats().expect("open").live_bytes;
    assert_eq!(counted, store.bytes_of_records().expect("open"), "live bytes are exact");
    match store.schema().compression {
        Compression::None => assert_eq!(counted, live as u64, "each value takes its length"),
        _ => assert!(counted <= live as u64, "no value takes more than its length"),
    }
    content
}

/// Like `content`, of a store or a snapshot.
pub fn content_of(store: &Reader) -> Content {
    let range = ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };
    let mut scan = store.scan(range).expect("an open store scans");
    let mut content = Content::new();
    loop {
        let run = scan.next_run(7).expect("every record of the store is readable");
        if run.keys.is_empty() {
            break;
        }
        for (i, key) in run.keys.iter().enumerate() {
            let value = run.values.get(i).expect("a scanned key has a value").to_vec();
            assert!(content.last_key_value().is_none_or(|(&last, _)| last < key), "scan order");
            content.insert(key, value);
        }
    }
    assert_eq!(store.len().expect("open"), content.len() as u64, "len counts what a scan yields");
    let keys: Vec<i128> = content.keys().copied().collect();
    let values = store.get_many(&keys).expect("open");
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(values.get(i), content.get(key).map(Vec::as_slice), "get_many of {key}");
        let value = store.get(*key).expect("open").expect("scanned");
        assert_eq!(*value, content[key][..], "get of {key}");
    }
    content
}

#[derive(Clone)]
/// What a store may hold: its commits in order, and which of them a power cut must not lose.
pub struct Model {
    commits: Vec<Content>,
    durable: usize,
    pub log: Vec<String>,
}

impl Model {
    pub fn new() -> Self {
        Self { commits: vec![Content::new()], durable: 0, log: Vec::new() }
    }

    pub fn now(&self) -> &Content {
        self.commits.last().expect("there is always a state")
    }

    pub fn commit(&mut self, next: Content, durable: bool) {
        self.commits.push(next);
        if durable {
            self.all_durable();
        }
    }

    /// A commit that failed but may be found all the same.
    pub fn maybe(&mut self, next: Content) {
        let now = self.now().clone();
        self.commits.push(next);
        // If it is not found, the state before it is; both orders are prefixes.
        self.commits.push(now);
    }

    pub fn all_durable(&mut self) {
        self.durable = self.commits.len() - 1;
    }

    /// Judges what was found, and goes on from there.
    pub fn judge(&mut self, found: &Content, what: &str) {
        let allowed = &self.commits[self.durable..];
        if !allowed.contains(found) {
            let older = self.commits[..self.durable].iter().position(|commit| commit == found);
            panic!(
                "{what}: the store is no allowed prefix\nfound {}\nof {} commits, durable {}, matches older {older:?}\nnewest {}\nhistory:\n{}",
                brief(found),
                self.commits.len(),
                self.durable,
                brief(self.now()),
                self.log.join("\n")
            );
        }
        self.commits = vec![found.clone()];
        self.durable = 0;
    }

    pub fn note(&mut self, line: String) {
        self.log.push(line);
    }
}

fn brief(content: &Content) -> String {
    let items: Vec<String> =
        content.iter().map(|(key, value)| format!("{key}:{}x{:02x?}", value.len(), value.first())).collect();
    format!("{{{}}}", items.join(", "))
}

/// A key from a small set, so that overwrites, deletes and extremes are frequent.
fn key(rng: &mut Rng) -> i128 {
    match rng.below(16) {
        0 => ends().0,
        1 => ends().1,
        2 => -1,
        // Wide keys share their high halves by threes, and their low halves, too.
        other if WIDE.get() => (i128::from(other) / 3) << 64 | (i128::from(other) % 3) << 62,
        other => i128::from(other) * 1000,
    }
}

pub fn value(rng: &mut Rng) -> Vec<u8> {
    if COMPRESSED.get() && !rng.one_in(4) {
        return similar_value(rng);
    }
    let len = match rng.below(10) {
        0 => 0,
        1 => 600 + rng.below(700),
        2 => 8,
        _ => rng.below(120),
    };
    let mut bytes = vec![rng.next_u64() as u8; len as usize];
    if let Some(last) = bytes.last_mut() {
        *last = rng.next_u64() as u8;
    }
    bytes
}

/// One of many values that have much in common.
fn similar_value(rng: &mut Rng) -> Vec<u8> {
    let words = ["departure", "arrival", "carrier", "origin", "destination", "delayed by minutes"];
    let field = |rng: &mut Rng| format!("{:?}: {}, ", words[rng.below(6) as usize], rng.below(1000));
    (0..=rng.below(12)).map(|_| field(rng)).collect::<String>().into_bytes()
}

/// Work that changes where things are, but no content.
fn background_work(store: &Store, rng: &mut Rng) -> (&'static str, bool, Result<(), Error>) {
    match rng.below(3) {
        0 => ("tend", false, store.tend()),
        1 => ("compact", true, store.compact(&mut |_| true).map(|_| ())),
        _ => {
            let chosen = rng.next_u64();
            ("compact_some", true, store.compact_some(&|id| chosen >> (id % 64) & 1 == 1))
        }
    }
}

fn bulk_load(store: &Store, keys: &[i128], values: &[Vec<u8>]) -> Result<u64, Error> {
    store.bulk_load(keys, values, &mut |_| true)
}

/// One random call. Returns false if the store can take no more calls (power off or poisoned).
#[expect(clippy::too_many_lines, reason = "one arm for each call")]
pub fn step(store: &Store, model: &mut Model, rng: &mut Rng, options: &Options, disk: &SimDisk) -> bool {
    let durable = options.durability == Durability::Sync;
    let mut next = model.now().clone();
    let choice = rng.below(20);
    let (name, synced, outcome) = match choice {
        0..=7 => {
            let (key, value) = (key(rng), value(rng));
            next.insert(key, value.clone());
            let quick = if rng.one_in(2) { store.try_put(key, &value) } else { None };
            ("put", durable, quick.unwrap_or_else(|| store.put(key, &value)))
        }
        8..=9 => {
            let key = key(rng);
            let there = next.remove(&key).is_some();
            let quick = if rng.one_in(2) { store.try_delete(key) } else { None };
            let deleted = quick.unwrap_or_else(|| store.delete(key));
            ("delete", durable, deleted.map(|deleted| assert_eq!(deleted, there, "delete of {key}")))
        }
        10..=12 => {
            let count = rng.below(6);
            let keys: Vec<i128> = (0..count).map(|_| key(rng)).collect();
            let values: Vec<Vec<u8>> = (0..count).map(|_| value(rng)).collect();
            next.extend(keys.iter().copied().zip(values.iter().cloned()));
            let mut distinct = keys.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let (sync, bulk) = (rng.one_in(3), rng.one_in(3));
            let put = if bulk {
                bulk_load(store, &keys, &values)
            } else {
                store.put_many(&keys, &values[..], sync)
            };
            let outcome = put.map(|count| assert_eq!(count, distinct.len() as u64, "put_many counts keys"));
            ("put_many", count > 0 && (durable || sync && !bulk), outcome)
        }
        13 => {
            let keys: Vec<i128> = (0..rng.below(6)).map(|_| key(rng)).collect();
            let before = next.len();
            next.retain(|key, _| !keys.contains(key));
            let expected = (before - next.len()) as u64;
            let outcome = store
                .delete_many(&keys)
                .map(|count| assert_eq!(count, expected, "delete_many counts keys that were there"));
            ("delete_many", durable && expected > 0, outcome)
        }
        14..=15 => {
            let mut batch = Batch::new();
            for _ in 0..rng.below(6) {
                let key = key(rng);
                if rng.one_in(3) {
                    batch.delete(key);
                    next.remove(&key);
                } else {
                    let value = value(rng);
                    batch.put(key, &value).expect("short");
                    next.insert(key, value);
                }
            }
            let sync = rng.one_in(3);
            ("commit", !batch.is_empty() && (durable || sync), store.commit(&batch, sync))
        }
        16 => {
            let (a, b) = (key(rng), key(rng));
            let (from, to) = (a.min(b), a.max(b));
            let before = next.len();
            next.retain(|key, _| !(from..=to).contains(key));
            let expected = (before - next.len()) as u64;
            let outcome = store
                .delete_range(Bound::Included(from), Bound::Included(to))
                .map(|count| assert_eq!(count, expected, "delete_range counts"));
            ("delete_range", durable && expected > 0, outcome)
        }
        17 => background_work(store, rng),
        18 => ("checkpoint", true, store.checkpoint()),
        _ => ("flush", true, store.flush()),
    };
    model.note(format!(
        "step {}: {name} {:?}",
        disk.steps(),
        outcome.as_ref().err().map(ToString::to_string)
    ));
    match outcome {
        Ok(()) => {
            model.commit(next, synced);
            true
        }
        Err(error) if refuses_only_the_call(&error) => {
            // Absent from the running store, which goes on, and after every later crash.
            assert_eq!(&content(store), model.now(), "a commit refused by the disk changes nothing");
            true
        }
        Err(error) => {
            assert!(
                !disk.has_power() || !disk.struck().is_empty() || matches!(error, Error::Poisoned { .. }),
                "{name} failed without a fault: {error}"
            );
            model.maybe(next);
            false
        }
    }
}

/// Whether a disk that is full or cannot write refused only this call.
fn refuses_only_the_call(error: &Error) -> bool {
    use Operation::{Create, Reserve, Write};
    let Error::Io { source, operation: Reserve | Create | Write, .. } = error else { return false };
    source.kind() == std::io::ErrorKind::StorageFull || source.raw_os_error() == Some(5)
}

/// What a seed does between two restarts of the disk.
pub struct Plan {
    pub faults: Vec<(u64, Fault)>,
    pub losses: Vec<Loss>,
}

/// Random calls, among them snapshots that are read at the end, and sometimes a close.
fn live(store: &Store, model: &mut Model, rng: &mut Rng, options: &Options, disk: &SimDisk) {
    let mut alive = true;
    let mut snapshots: Vec<(Snapshot, Content)> = Vec::new();
    for _ in 0..rng.below(40) {
        if rng.one_in(10) {
            snapshots.truncate(2);
            snapshots.push((store.snapshot().expect("open"), model.now().clone()));
        }
        alive = step(store, model, rng, options, disk);
        if !alive {
            break;
        }
    }
    for (snapshot, then) in snapshots {
        if disk.has_power() {
            assert_eq!(content_of(&snapshot), then, "a snapshot\n{}", model.log.join("\n"));
        }
    }
    if alive && rng.one_in(4) {
        let closed = store.close();
        model.note(format!("step {}: close {closed:?}", disk.steps()));
        if closed.is_ok() {
            model.all_durable();
        }
    }
}

/// Runs one seed: several lives of a store, each ended by a cut, a kill or a close and followed by a
/// judgement. At last the store must open twice with the same content.
pub fn run_seed(seed: u64, plan: impl Fn(&mut Rng) -> Plan) {
    let mut rng = Rng::new(seed);
    let mut disk = SimDisk::new(rng.next_u64());
    let mut model = Model::new();
    for life in 0..4 {
        let options = options(&mut rng);
        let Plan { faults, losses } = plan(&mut rng);
        for &(ahead, fault) in &faults {
            disk.plan(ahead, fault);
        }
        model.note(format!("life {life}: {:?} {:?} {faults:?}", options.durability, options.write_mode));
        match open(&disk, &options) {
            Ok(_) if !disk.has_power() => {}
            Ok(store) => {
                model.judge(&content(&store), "after opening");
                live(&store, &mut model, &mut rng, &options, &disk);
            }
            Err(error) => {
                model.note(format!("step {}: open failed: {error}", disk.steps()));
                assert!(
                    !disk.has_power() || !disk.struck().is_empty(),
                    "opening failed without a fault: {error}\nhistory:\n{}",
                    model.log.join("\n")
                );
            }
        }
        let loss = losses[rng.below(losses.len() as u64) as usize];
        model.note(format!("ended after {} steps with the loss of {loss:?}", disk.steps()));
        disk = disk.restart(loss);
    }
    let options = options(&mut rng);
    let reader = Options { read_only: true, ..options.clone() };
    if has_store(&disk) {
        let store = open(&disk, &reader).unwrap_or_else(|error| {
            panic!("reading only failed: {error}\nhistory:\n{}", model.log.join("\n"))
        });
        let found = content(&store);
        let mut shown = model.clone();
        shown.judge(&found, "read-only");
    }
    let store = open(&disk, &options).unwrap_or_else(|error| {
        panic!("the last opening failed: {error}\nhistory:\n{}", model.log.join("\n"))
    });
    let found = content(&store);
    model.judge(&found, "at the end");
    drop(store);
    // What a writer has shown is durable from then on.
    let again = open(&disk.restart(Loss::Everything), &options).expect("opens a second time");
    assert_eq!(content(&again), found, "the second opening finds the same\n{}", model.log.join("\n"));
}

/// Whether there is a store to read: its first opening may have been cut off.
fn has_store(disk: &SimDisk) -> bool {
    disk.list().expect("the power is on").iter().any(|name| name == "MANIFEST-A" || name == "MANIFEST-B")
}

/// A sync failure of either kind.
pub fn sync_failure(rng: &mut Rng) -> Fault {
    Fault::Sync(if rng.one_in(2) { SyncFailure::StaysDirty } else { SyncFailure::MarkedClean })
}
