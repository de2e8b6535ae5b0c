//! Puts, deletes and range deletes over several segments, compacted in every order and cut off at every step,
//! with the index lost: no deleted key and no older value comes back, and none is lost.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::hook::{Call, HookDisk, quiet};
use crate::common::{Content, content, open, seeds};
use alex_store::disk::sim::{Fault, Loss, SimDisk};
use alex_store::{Options, ReadMode, Store};

/// How many kinds of commit there are. A segment holds one commit, over three keys.
const COMMITS: u64 = 8;

fn commit(store: &Store, model: &mut Content, which: u64, nth: u8) -> Result<(), alex_store::Error> {
    let mut next = model.clone();
    let outcome = match which {
        0..=2 => {
            let key = i128::from(which);
            next.insert(key, vec![nth; 40]);
            store.put(key, &[nth; 40])
        }
        3..=4 => {
            let key = i128::from(which) - 3;
            next.remove(&key);
            store.delete(key).map(|_| ())
        }
        5 => {
            next.retain(|key, _| !(0..=1).contains(key));
            store.delete_range(Bound::Included(0), Bound::Included(1)).map(|_| ())
        }
        6 => {
            next.clear();
            store.clear().map(|_| ())
        }
        _ => {
            let keys = [2, 1, 0];
            next.extend(keys.map(|key| (key, vec![nth; 8])));
            store.put_many(&keys, &[[nth; 8]; 3][..], false).map(|_| ())
        }
    };
    if outcome.is_ok() {
        *model = next;
    }
    outcome
}

/// One history: four segments of one commit each, and two partial compactions. The bits of `first` and
/// `second` choose their segments. The first compaction runs before or after the last commit.
#[derive(Debug, Clone, Copy)]
struct History {
    commits: [u64; 4],
    first: u32,
    early: bool,
    second: u32,
}

fn run(store: &Store, history: History, model: &mut Content) -> Result<(), alex_store::Error> {
    let compact = |mask: u32| store.compact_some(&move |id| mask >> (id % 8) & 1 == 1);
    for (nth, &which) in (1..).zip(&history.commits) {
        if nth == 4 && history.early {
            compact(history.first)?;
        }
        commit(store, model, which, nth)?;
        store.end_segment()?;
    }
    if !history.early {
        compact(history.first)?;
    }
    compact(history.second)
}

fn check(history: History) {
    let disk = SimDisk::new(1);
    let mut model = Content::new();
    let store = open(&disk, &quiet()).expect("opens");
    run(&store, history, &mut model).expect("nothing fails");
    let keys = |content: &Content| content.iter().map(|(key, value)| (*key, value[0])).collect::<Vec<_>>();
    assert_eq!(keys(&content(&store)), keys(&model), "running: {history:?}");
    drop(store);
    // There is no image of the index: opening reads everything.
    let store = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(keys(&content(&store)), keys(&model), "reopened: {history:?}");
}

/// The history with this number. Segments are counted from 2 to 5, and the store begins with 1 or 2;
/// relocation segments come in between, so masks of eight bits reach every one.
fn history(mut number: u64) -> History {
    let mut next = |bound: u64| {
        let digit = number % bound;
        number /= bound;
        digit
    };
    let commits = [next(COMMITS), next(COMMITS), next(COMMITS), next(COMMITS)];
    let early = next(2) == 1;
    History {
        commits,
        early,
        first: next(256) as u32,
        second: [0b1010_1010, 0b1100_1100, 0b1111_1111][next(3) as usize],
    }
}

const HISTORIES: u64 = COMMITS.pow(4) * 2 * 256 * 3;

#[test]
fn no_deleted_key_comes_back_whatever_is_compacted_in_whatever_order() {
    // All histories with a million seeds; otherwise evenly spread ones, at a stride that shares no factor
    // with their number.
    let count = (seeds(100).end * 7).min(HISTORIES);
    let stride = HISTORIES / count;
    let stride = stride + u64::from(stride.is_multiple_of(2));
    for number in 0..count {
        check(history(number * stride % HISTORIES));
    }
}

#[test]
fn power_cut_at_each_step_of_compaction_and_freeing_loses_and_resurrects_nothing() {
    let count = (seeds(100).end / 100).max(10);
    let mut cuts = 0;
    for number in 0..count {
        let history = history(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % HISTORIES);
        let steps = |cut: Option<u64>, loss: Loss| -> u64 {
            let disk = SimDisk::new(number);
            let store = open(&disk, &quiet()).expect("opens");
            let mut model = Content::new();
            for (nth, &which) in (1..).zip(&history.commits) {
                commit(&store, &mut model, which, nth).expect("nothing fails");
                store.end_segment().expect("nothing fails");
            }
            let before = disk.steps();
            if let Some(cut) = cut {
                disk.plan(cut, Fault::Cut);
            }
            let _ = store
                .compact_some(&|id| history.first >> (id % 8) & 1 == 1)
                .and_then(|()| store.compact_some(&|id| history.second >> (id % 8) & 1 == 1))
                .and_then(|()| store.compact(&mut |_| true).map(|_| ()));
            let steps = disk.steps() - before;
            drop(store);
            let mut disk = disk.restart(loss);
            // Sometimes the next opening is cut off too.
            if let Some(cut) = cut.filter(|cut| cut % 3 == 0) {
                disk.plan(1 + cut % 11, Fault::Cut);
                drop(open(&disk, &quiet()));
                disk = disk.restart(loss);
            }
            let store = open(&disk, &quiet()).expect("opens after the cut");
            assert_eq!(content(&store), model, "cut at step {cut:?} of {history:?}, seed {number}");
            let names = alex_store::disk::Disk::list(&disk).expect("the power is on");
            let segments = names.iter().filter(|name| name.starts_with("seg-")).count() as u64;
            let stats = store.stats().expect("open");
            assert!(segments <= stats.segments + 1, "orphans are left: {names:?}");
            store.compact(&mut |_| true).expect("nothing fails");
            assert_eq!(content(&store), model, "compacted again after the cut at {cut:?} of {history:?}");
            steps
        };
        let all = steps(None, Loss::Everything);
        for cut in 1..=all {
            steps(Some(cut), if cut % 2 == 0 { Loss::Everything } else { Loss::Random });
            cuts += 1;
        }
    }
    assert!(cuts > 200, "compaction has steps to cut: {cuts}");
}

#[test]
fn nothing_unneeded_is_left_after_a_compaction() {
    let disk = SimDisk::new(1);
    let store = open(&disk, &Options { segment_bytes: 8192, ..quiet() }).expect("opens");
    for round in 0..20 {
        for key in 0..100 {
            store.put(key, &[round; 40]).expect("writes");
        }
    }
    store.delete_many(&(10..100).collect::<Vec<i64>>()).expect("deletes");
    store.delete_range(Bound::Included(5), Bound::Included(7)).expect("deletes");
    let before = store.stats().expect("open");
    let report = store.compact(&mut |_| true).expect("compacts");
    let after = store.stats().expect("open");
    assert_eq!(after.keys, 7);
    assert!(
        before.segments > 10 && after.segments <= 3,
        "{} segments, then {}",
        before.segments,
        after.segments
    );
    assert_eq!(after.live_bytes, 7 * 64);
    // The footer of one relocated segment. No tombstone is left, because there is nothing for it to hide.
    assert!(after.dead_bytes <= 64, "{after:?}");
    assert_eq!((report.moved_bytes, report), (7 * 64, after.compaction));
    drop(store);
    let again = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
    assert_eq!(content(&again).into_keys().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 8, 9]);
}

#[test]
fn what_is_deleted_while_it_is_being_copied_does_not_come_back() {
    for stage in ["the file of the copies", "the copies"] {
        let disk = SimDisk::new(1);
        let hooked = HookDisk::new(&disk);
        let store = Arc::new(hooked.open_store(&quiet()).expect("opens"));
        store.put_many(&(0..100).collect::<Vec<i64>>(), &[[7; 40]; 100][..], false).expect("writes");
        store.end_segment().expect("nothing fails");
        let copies = Arc::new(AtomicU64::new(0));
        let (deletes, names) = (Mutex::new(Some(Arc::clone(&store))), Arc::clone(&copies));
        let mut gathered = false;
        hooked.hook(move |call| {
            let reached = match call {
                Call::Read(name) if name.starts_with("seg-") => {
                    gathered = true;
                    false
                }
                Call::Create(name, _) if gathered && name.starts_with("seg-") => {
                    let id = u64::from_str_radix(&name[4..12], 16).expect("a number");
                    names.store(id, Ordering::Relaxed);
                    stage == "the file of the copies"
                }
                Call::Write(name, _, bytes) => {
                    stage == "the copies" && name.starts_with("seg-") && bytes.len() > 1000
                }
                _ => false,
            };
            if reached && let Some(store) = deletes.lock().expect("not poisoned").take() {
                assert!(store.delete(50_i64).expect("deletes"), "nobody else did");
            }
            Ok(())
        });
        store.compact_some(&|_| true).expect("compacts");
        hooked.unhook();
        assert_eq!(store.len().expect("open"), 99, "the hook was called");
        let copies = copies.load(Ordering::Relaxed);
        assert_ne!(copies, 0, "records were copied");
        store.end_segment().expect("nothing fails");
        // The copies stay, and the deletion for their sake.
        for _ in 0..2 {
            store.compact_some(&|id| u64::from(id) != copies).expect("compacts");
        }
        let kept = content(&store);
        drop(store);
        let again = open(&disk.restart(Loss::Everything), &quiet()).expect("opens");
        assert_eq!(content(&again).len(), 99, "deleted at {stage}");
        assert_eq!(content(&again), kept);
    }
}

#[test]
fn deletions_at_random_are_compacted_without_reading_all_for_every_segment_of_them() {
    const KEYS: i64 = 20_000;
    let disk = SimDisk::new(1);
    let hooked = HookDisk::new(&disk);
    let options = Options { segment_bytes: 64 << 10, read_mode: ReadMode::Pread, ..quiet() };
    let store = hooked.open_store(&options).expect("opens");
    for first in (0..KEYS).step_by(100) {
        store
            .put_many(&(first..first + 100).collect::<Vec<i64>>(), &[[7; 80]; 100][..], false)
            .expect("writes");
    }
    // Every third, in an order that puts some of each segment into every segment of deletions.
    let dead: Vec<i64> = (0..KEYS / 3).map(|i| i * 1237 % (KEYS / 3) * 3).collect();
    for some in dead.chunks(100) {
        store.delete_many(some).expect("deletes");
    }
    let read = hooked.count_segment_bytes();
    let before = store.stats().expect("open");
    store.compact(&mut |_| true).expect("compacts");
    hooked.unhook();
    let after = store.stats().expect("open");
    assert!(after.dead_bytes * 50 < before.dead_bytes, "{before:?}, then {after:?}");
    let times = read.load(Ordering::Relaxed) as f64 / (before.live_bytes + before.dead_bytes) as f64;
    assert!(times < 5.0, "what there was has been read {times} times");
    drop(store);
    let again = open(&disk.restart(Loss::Everything), &options).expect("opens");
    assert_eq!(again.len().expect("open"), (KEYS - KEYS / 3) as u64);
}
