//! An index in two parts among everything else: a store of several image blocks is killed, cut, damaged and
//! opened again and again, beside a model, with scans and values held over each change.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{Content, content, for_seeds, open};
use alex_store::disk::Disk;
use alex_store::disk::sim::{Fault, Loss, Rng, SimDisk};
use alex_store::{Batch, Options, ReadMode, Scan, ScanRange, Store, Value, WriteMode};

/// Enough for several blocks of an image.
const KEYS: u64 = 5000;
const ALL: ScanRange =
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };

fn options(rng: &mut Rng) -> Options {
    Options {
        background: false,
        sync_interval: Duration::from_secs(3600),
        segment_bytes: [16 << 10, 64 << 10, 256 << 10][rng.below(3) as usize],
        checkpoint_tail_bytes: [20_000, 1 << 30][rng.below(2) as usize],
        read_mode: [ReadMode::Mmap, ReadMode::Pread][rng.below(2) as usize],
        write_mode: [WriteMode::Mmap, WriteMode::Pwrite][rng.below(2) as usize],
        ..Options::default()
    }
}

/// What changed since everything was on the device.
#[derive(Default, Clone)]
struct Model {
    durable: Content,
    commits: Vec<Vec<(i128, Option<Vec<u8>>)>>,
    now: Content,
}

fn apply(content: &mut Content, commit: &[(i128, Option<Vec<u8>>)]) {
    for (key, value) in commit {
        match value {
            Some(value) => content.insert(*key, value.clone()),
            None => content.remove(key),
        };
    }
}

impl Model {
    fn commit(&mut self, commit: Vec<(i128, Option<Vec<u8>>)>) {
        apply(&mut self.now, &commit);
        self.commits.push(commit);
    }

    fn flushed(&mut self) {
        self.durable = self.now.clone();
        self.commits.clear();
    }

    fn judge(&mut self, found: Content, loss: Loss, what: &str) {
        if loss == Loss::ProcessOnly {
            assert_eq!(found.len(), self.now.len(), "{what}: a kill loses nothing");
            assert!(found == self.now, "{what}: a kill loses nothing");
        } else {
            let mut prefix = self.durable.clone();
            let mut there = prefix == found;
            for commit in &self.commits {
                apply(&mut prefix, commit);
                there |= prefix == found;
            }
            assert!(there, "{what}: no prefix");
        }
        self.now = found;
        self.flushed();
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let mut value = vec![0; rng.below(40) as usize];
    // Zeros to the end, as a torn record may have.
    if let Some(first) = value.first_mut() {
        *first = rng.next_u64() as u8;
    }
    value
}

fn key(rng: &mut Rng) -> i128 {
    match rng.below(40) {
        0 => i128::from(i64::MIN),
        1 => i128::from(i64::MAX),
        _ => i128::from(rng.below(KEYS)) * 3,
    }
}

/// One call of any kind, judged.
fn call(store: &Store, model: &mut Model, rng: &mut Rng) {
    let key = key(rng);
    match rng.below(30) {
        0..=8 => change(store, model, rng, key),
        9..=11 => change_many(store, model, rng, key),
        12..=15 => change_if(store, model, rng, key),
        16..=22 => ask(store, &model.now, rng, key),
        _ => work(store, model, rng),
    }
}

fn change(store: &Store, model: &mut Model, rng: &mut Rng, at: i128) {
    match rng.below(9) {
        0..=4 => {
            let value = value(rng);
            let tried = if rng.one_in(2) { store.try_put(at, &value) } else { None };
            tried.unwrap_or_else(|| store.put(at, &value)).expect("no fault");
            model.commit(vec![(at, Some(value))]);
        }
        5 | 6 => {
            let tried = if rng.one_in(2) { store.try_delete(at) } else { None };
            let there = tried.unwrap_or_else(|| store.delete(at)).expect("no fault");
            assert_eq!(there, model.now.contains_key(&at));
            if there {
                model.commit(vec![(at, None)]);
            }
        }
        _ => {
            let many = [3, 40, 700][rng.below(3) as usize];
            let keys: Vec<i128> = (0..many).map(|_| key(rng)).collect();
            let values: Vec<Vec<u8>> = keys.iter().map(|_| value(rng)).collect();
            store.put_many(&keys, &values[..], false).expect("no fault");
            model.commit(keys.into_iter().zip(values.into_iter().map(Some)).collect());
        }
    }
}

fn change_many(store: &Store, model: &mut Model, rng: &mut Rng, at: i128) {
    match rng.below(3) {
        0 => {
            let mut batch = Batch::new();
            let mut commit = Vec::new();
            for _ in 0..=rng.below(8) {
                let key = key(rng);
                if rng.one_in(2) {
                    batch.delete(key);
                    commit.push((key, None));
                } else {
                    let value = value(rng);
                    batch.put(key, &value).expect("short");
                    commit.push((key, Some(value)));
                }
            }
            store.commit(&batch, false).expect("no fault");
            model.commit(commit);
        }
        1 => {
            let stop = at.saturating_add(i128::from(rng.below(600)));
            let gone: Vec<i128> = model.now.range(at..stop.max(at)).map(|(&key, _)| key).collect();
            let count = store.delete_range(Bound::Included(at), Bound::Excluded(stop)).expect("no fault");
            assert_eq!(count as usize, gone.len());
            model.commit(gone.into_iter().map(|key| (key, None)).collect());
        }
        _ => {
            let keys: Vec<i128> = (0..20).map(|_| key(rng)).collect();
            let mut gone: Vec<i128> =
                keys.iter().copied().filter(|key| model.now.contains_key(key)).collect();
            gone.sort_unstable();
            gone.dedup();
            assert_eq!(store.delete_many(&keys).expect("no fault") as usize, gone.len());
            model.commit(gone.into_iter().map(|key| (key, None)).collect());
        }
    }
}

fn change_if(store: &Store, model: &mut Model, rng: &mut Rng, at: i128) {
    match rng.below(4) {
        0 => {
            let value = value(rng);
            let there = store.get_or_put(at, &value).expect("no fault");
            assert_eq!(there.as_deref(), model.now.get(&at).map(Vec::as_slice));
            if there.is_none() {
                model.commit(vec![(at, Some(value))]);
            }
        }
        1 => {
            let new = if rng.one_in(3) { None } else { Some(value(rng)) };
            let expected = model.now.get(&at).cloned().filter(|_| !rng.one_in(4));
            let should = expected == model.now.get(&at).cloned();
            let did = store.compare_and_set(at, expected.as_deref(), new.as_deref()).expect("no fault");
            assert_eq!(did, should);
            if did {
                model.commit(vec![(at, new)]);
            }
        }
        2 => {
            let taken = store.take(at).expect("no fault").map(|value| value.to_vec());
            assert_eq!(taken.as_ref(), model.now.get(&at));
            model.commit(vec![(at, None)]);
        }
        _ => {
            let last = rng.one_in(2);
            let taken = store.take_end(last).expect("no fault").map(|(key, value)| (key, value.to_vec()));
            let end = if last { model.now.last_key_value() } else { model.now.first_key_value() };
            assert_eq!(taken, end.map(|(key, value)| (*key, value.clone())));
            if let Some((key, _)) = taken {
                model.commit(vec![(key, None)]);
            }
        }
    }
}

fn ask(store: &Store, now: &Content, rng: &mut Rng, at: i128) {
    match rng.below(7) {
        0 => {
            let (from, to) = (at, at.saturating_add(900));
            let count = store.count(Bound::Included(from), Bound::Excluded(to)).expect("open");
            assert_eq!(count as usize, now.range(from..to.max(from)).count());
        }
        1 => assert_eq!(store.len().expect("open") as usize, now.len()),
        2 => {
            let found = store.ceiling(at).expect("open").map(|(key, value)| (key, value.to_vec()));
            assert_eq!(found, now.range(at..).next().map(|(k, v)| (*k, v.clone())));
        }
        3 => {
            let found = store.lower(at).expect("open").map(|(key, value)| (key, value.to_vec()));
            assert_eq!(found, now.range(..at).next_back().map(|(k, v)| (*k, v.clone())));
        }
        4 => {
            let report = store.verify(&mut |_| true).expect("reads");
            let log_damage: Vec<_> =
                report.errors.iter().filter(|error| !error.to_string().contains("img-")).collect();
            assert!(log_damage.is_empty(), "{log_damage:?}");
        }
        5 => {
            let stats = store.stats().expect("open");
            assert_eq!(stats.keys as usize, now.len());
            assert_eq!(stats.live_bytes, store.bytes_of_records().expect("open"));
        }
        _ => look_up(store, now, rng),
    }
}

fn work(store: &Store, model: &mut Model, rng: &mut Rng) {
    match rng.below(7) {
        0 | 1 => {
            store.checkpoint().expect("no fault");
        }
        2 => {
            store.compact(&mut |_| true).expect("no fault");
        }
        3 => {
            let chosen = rng.next_u64();
            store.compact_some(&|id| chosen >> (id % 64) & 1 == 1).expect("no fault");
        }
        4 => store.end_segment().expect("no fault"),
        5 => {
            store.flush().expect("no fault");
            model.flushed();
        }
        _ => store.tend().expect("no fault"),
    }
}

fn look_up(store: &Store, now: &Content, rng: &mut Rng) {
    let keys: Vec<i128> = (0..200).map(|_| key(rng)).collect();
    let mut found = vec![false; keys.len()];
    store.contains_many(&keys, &mut found).expect("open");
    let values = store.get_many(&keys).expect("open");
    for (i, key) in keys.iter().enumerate() {
        let expected = now.get(key).map(Vec::as_slice);
        assert_eq!(values.get(i), expected);
        assert_eq!(found[i], expected.is_some());
        assert_eq!(store.get(*key).expect("open").as_deref(), expected);
        if let Some(tried) = store.try_get(*key) {
            assert_eq!(tried.expect("open").as_deref(), expected);
        }
    }
}

/// What a scan has yet to yield.
type Rest = Vec<(i128, Vec<u8>)>;

/// What was begun before a change and goes on after it.
#[derive(Default)]
struct Held {
    scans: Vec<(Scan, Rest)>,
    values: Vec<(Value, Vec<u8>)>,
}

impl Held {
    fn hold(&mut self, store: &Store, now: &Content, rng: &mut Rng) {
        if rng.one_in(2) {
            let scan = store.scan(ScanRange { reverse: rng.one_in(2), ..ALL }).expect("open");
            let mut expected: Vec<_> = now.iter().map(|(key, value)| (*key, value.clone())).collect();
            let mut scan = (scan, expected.split_off(0));
            let run = scan.0.next_run(rng.below(50) as usize).expect("open");
            let reverse = run.keys.len() > 1 && run.keys.get(0) > run.keys.get(1);
            if run.keys.len() < 2 {
                return;
            }
            if reverse {
                scan.1.reverse();
            }
            let rest = scan.1.split_off(run.keys.len());
            for (i, (key, value)) in scan.1.iter().enumerate() {
                assert_eq!((run.keys.get(i), run.values.get(i)), (*key, Some(&value[..])));
            }
            self.scans.push((scan.0, rest));
        } else {
            let key = key(rng);
            if let Some(value) = store.get(key).expect("open") {
                assert_eq!(Some(&*value), now.get(&key).map(Vec::as_slice));
                self.values.push((value, now[&key].clone()));
            }
        }
    }

    fn let_go(&mut self, open: bool) {
        for (mut scan, expected) in self.scans.drain(..) {
            if !open {
                continue;
            }
            let mut at = 0;
            loop {
                let run = scan.next_run(333).expect("open");
                if run.keys.is_empty() {
                    break;
                }
                for (i, key) in run.keys.iter().enumerate() {
                    assert_eq!((key, run.values.get(i)), (expected[at].0, Some(&expected[at].1[..])));
                    at += 1;
                }
            }
            assert_eq!(at, expected.len());
        }
        for (value, expected) in self.values.drain(..) {
            assert_eq!(*value, expected[..]);
        }
    }
}

fn images(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list().expect("the power is on");
    names.retain(|name| name.starts_with("img-"));
    names.sort();
    names
}

#[test]
#[expect(clippy::too_many_lines, reason = "one arm for each call")]
fn a_store_in_parts_equals_a_model_whatever_is_called_held_cut_or_damaged() {
    for_seeds("a_store_in_parts_is_that_of_a_model", 1, |seed| {
        let mut rng = Rng::new(seed);
        let mut disk = SimDisk::new(seed);
        let mut model = Model::default();
        let store = open(&disk, &options(&mut rng)).expect("opens");
        let keys: Vec<i128> = (0..i128::from(KEYS)).map(|key| key * 3).filter(|_| !rng.one_in(4)).collect();
        let values: Vec<Vec<u8>> = keys.iter().map(|_| value(&mut rng)).collect();
        store.put_many(&keys, &values[..], true).expect("no fault");
        model.commit(keys.into_iter().zip(values.into_iter().map(Some)).collect());
        model.flushed();
        store.checkpoint().expect("no fault");
        let mut store = Some(store);
        let mut loss = Loss::ProcessOnly;
        for life in 0..4 {
            let what = format!("seed {seed}, life {life}");
            let writer = match store.take() {
                Some(store) => store,
                None => {
                    if rng.one_in(3) {
                        // Sometimes cut off while it opens.
                        for _ in 0..rng.below(4) {
                            let inner = disk.clone();
                            inner.plan(1 + rng.below(30), Fault::Cut);
                            drop(open(&inner, &options(&mut rng)));
                            disk = inner.restart(loss);
                        }
                    }
                    if rng.one_in(3) {
                        let reader =
                            open(&disk, &Options { read_only: true, ..options(&mut rng) }).expect("opens");
                        if loss == Loss::ProcessOnly {
                            look_up(&reader, &model.now, &mut rng);
                        }
                        model.clone().judge(content(&reader), loss, &format!("{what}, a reader"));
                    }
                    open(&disk, &options(&mut rng)).unwrap_or_else(|error| panic!("{what}: {error}"))
                }
            };
            let mut held = Held::default();
            if loss == Loss::ProcessOnly {
                // What opening showed is durable.
                model.flushed();
                for _ in 0..rng.below(3) {
                    call(&writer, &mut model, &mut rng);
                    held.hold(&writer, &model.now, &mut rng);
                }
            }
            if loss == Loss::ProcessOnly {
                assert!(content(&writer) == model.now, "{what}: a kill loses nothing");
            } else {
                model.judge(content(&writer), loss, &what);
            }
            for _ in 0..rng.below(25) {
                call(&writer, &mut model, &mut rng);
                if rng.one_in(5) {
                    held.hold(&writer, &model.now, &mut rng);
                }
                if rng.one_in(12) {
                    held.let_go(true);
                }
            }
            held.let_go(true);
            assert!(content(&writer) == model.now, "{what}: at the end");

            if rng.one_in(5) {
                writer.close().expect("no fault");
                model.flushed();
            }
            drop(writer);
            held.let_go(false);
            loss =
                [Loss::ProcessOnly, Loss::ProcessOnly, Loss::Random, Loss::Everything][rng.below(4) as usize];
            disk = disk.restart(loss);
            if rng.one_in(2) {
                for name in images(&disk) {
                    if rng.one_in(2) {
                        let at = rng.next_u64();
                        disk.corrupt(&name, |bytes| {
                            let at = at as usize % bytes.len();
                            bytes[at] ^= 1 << (at % 8);
                        });
                    }
                }
            }
        }
    });
}

/// What one thread does to its own keys beside others, and what it knows of them.
fn work_on_own_keys(store: &Store, own: &mut Content, thread: i128, threads: i128, rng: &mut Rng) {
    let own_key = |rng: &mut Rng| i128::from(rng.below(KEYS * 4)) * threads + thread;
    match rng.below(20) {
        0..=4 => {
            let (key, value) = (own_key(rng), value(rng));
            let tried = store.try_put(key, &value);
            tried.unwrap_or_else(|| store.put(key, &value)).expect("no fault");
            own.insert(key, value);
        }
        5 | 6 => {
            let key = own_key(rng);
            assert_eq!(store.delete(key).expect("no fault"), own.remove(&key).is_some());
        }
        7 => {
            let keys: Vec<i128> = (0..50).map(|_| own_key(rng)).collect();
            let values: Vec<Vec<u8>> = keys.iter().map(|_| value(rng)).collect();
            store.put_many(&keys, &values[..], false).expect("no fault");
            own.extend(keys.into_iter().zip(values));
        }
        8 => {
            let from = own_key(rng);
            let range = (Bound::Included(from), Bound::Excluded(from + 1000));
            let mut scan = store.scan(ScanRange { start: range.0, stop: range.1, ..ALL }).expect("open");
            let mut found = Content::new();
            loop {
                let run = scan.next_run(50).expect("open");
                if run.keys.is_empty() {
                    break;
                }
                for (i, key) in run.keys.iter().enumerate() {
                    if key.rem_euclid(threads) == thread {
                        found.insert(key, run.values.get(i).expect("there").to_vec());
                    }
                }
            }
            let expected: Content = own.range(range).map(|(key, value)| (*key, value.clone())).collect();
            assert!(found == expected, "a scan from {from}");
        }
        9 => {
            let key = own_key(rng);
            let taken = store.take(key).expect("no fault").map(|value| value.to_vec());
            assert_eq!(taken, own.remove(&key));
        }
        10 if rng.one_in(6) => match thread {
            0 => store.checkpoint().expect("no fault"),
            1 => store.compact(&mut |_| true).map(drop).expect("no fault"),
            2 => assert!(store.stats().expect("open").live_bytes < 1 << 40),
            _ => assert!(store.len().expect("open") > 0),
        },
        _ => {
            let keys: Vec<i128> = (0..20).map(|_| own_key(rng)).collect();
            let values = store.get_many(&keys).expect("open");
            for (i, key) in keys.iter().enumerate() {
                let expected = own.get(key).map(Vec::as_slice);
                assert_eq!(values.get(i), expected, "key {key} among many");
                assert_eq!(store.get(*key).expect("open").as_deref(), expected, "key {key}");
            }
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scenario, told from its beginning to its end")]
fn threads_find_their_own_keys_while_the_parts_are_joined_or_found_damaged() {
    const THREADS: i128 = 4;
    for round in 0..3 {
        let mut rng = Rng::new(round);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        let options = Options {
            segment_bytes: 1 << 20,
            sync_interval: Duration::from_millis(5),
            checkpoint_tail_bytes: [100_000, 1 << 30][rng.below(2) as usize],
            read_mode: [ReadMode::Mmap, ReadMode::Pread][rng.below(2) as usize],
            ..Options::default()
        };
        let alone = Options { background: false, checkpoint_tail_bytes: 1 << 30, ..options.clone() };
        let mut owned: Vec<Content> = vec![Content::new(); THREADS as usize];
        let put = |store: &Store, keys: Vec<i128>, owned: &mut Vec<Content>, rng: &mut Rng| {
            let values: Vec<Vec<u8>> = keys.iter().map(|_| value(rng)).collect();
            store.put_many(&keys, &values[..], false).expect("no fault");
            for (key, value) in keys.into_iter().zip(values) {
                owned[(key % THREADS) as usize].insert(key, value);
            }
        };
        let open = |options: &Options| Store::open(&path, options, &mut |_| true).expect("opens");
        let store = open(&alone);
        put(&store, (0..i128::from(KEYS) * 4 * THREADS).collect(), &mut owned, &mut rng);
        store.checkpoint().expect("no fault");
        drop(store);
        for life in 0..3 {
            let store = open(&alone);
            for _ in 0..10 {
                let keys = (0..2000).map(|_| i128::from(rng.below(KEYS * 4 * THREADS as u64))).collect();
                put(&store, keys, &mut owned, &mut rng);
            }
            drop(store);
            if rng.one_in(2) {
                for entry in std::fs::read_dir(&path).expect("lists") {
                    let file = entry.expect("lists").path();
                    if file.extension().is_some_and(|name| name == "idx") && rng.one_in(2) {
                        let mut bytes = std::fs::read(&file).expect("reads");
                        let at = rng.next_u64() as usize % bytes.len();
                        bytes[at] ^= 4;
                        std::fs::write(&file, bytes).expect("writes");
                    }
                }
            }
            let store = open(&options);
            std::thread::scope(|scope| {
                for (thread, own) in owned.iter_mut().enumerate() {
                    let (store, mut rng) = (store.clone(), Rng::new(rng.next_u64()));
                    scope.spawn(move || {
                        for _ in 0..150 {
                            work_on_own_keys(&store, own, thread as i128, THREADS, &mut rng);
                        }
                    });
                }
            });
            let all: Content = owned.iter().flatten().map(|(key, value)| (*key, value.clone())).collect();
            assert!(content(&store) == all, "round {round}, life {life}");
            if life == 1 {
                store.close().expect("no fault");
            }
        }
    }
}

#[test]
fn a_lookup_does_not_wait_for_records_that_are_counted_while_the_parts_are_joined() {
    let disk = SimDisk::new(1);
    let options = Options { segment_bytes: 64 << 20, read_mode: ReadMode::Pread, ..quiet() };
    let store = open(&disk, &options).expect("opens");
    let keys: Vec<i128> = (0..600_000).collect();
    let values = vec![[1_u8; 8]; keys.len()];
    store.put_many(&keys, &values[..], true).expect("no fault");
    store.checkpoint().expect("no fault");
    store.put_many(&keys, &values[..], true).expect("no fault");
    drop(store);
    let hooked = HookDisk::new(&disk.restart(Loss::ProcessOnly));
    let store = hooked.open_store(&options).expect("opens");
    let (counting, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begun, done) = (Arc::clone(&counting), Arc::clone(&answered));
    hooked.hook(move |call| {
        if matches!(call, Call::Read(name) if name.starts_with("seg-")) && !begun.swap(true, SeqCst) {
            // Reading the header of a replaced record, on a slow disk.
            let until = Instant::now() + Duration::from_secs(2);
            while !done.load(SeqCst) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    });
    // Do now what it would otherwise do later.
    store.tend().expect("no fault");
    let longest = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !counting.load(SeqCst) {
                store.tend().expect("no fault");
            }
        });
        scope.spawn(|| assert_eq!(store.len().expect("open"), 600_000));
        while !counting.load(SeqCst) {
            std::thread::yield_now();
        }
        let mut longest = Duration::ZERO;
        for key in 0..20 {
            let since = Instant::now();
            assert!(store.contains(key).expect("open"));
            longest = longest.max(since.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        answered.store(true, SeqCst);
        longest
    });
    assert!(longest < Duration::from_secs(1), "a lookup waited for {longest:?}");
    assert_eq!(store.stats().expect("open").live_bytes, 600_000 * 32);
}
