//! Single-key calls of many threads, beside compaction, checkpoints and segments that roll: each history has an order of
//! its calls that keeps to the times at which they ran and explains every answer (Herlihy and Wing 1990). The search is
//! that of Wing and Gong 1993, with the states that led nowhere remembered.

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alex_store::disk::sim::Rng;
use alex_store::{Durability, Options, ReadMode, Store, WriteMode};

const KEYS: u64 = 3;
const THREADS: u64 = 3;
/// Calls of each thread in a round. All calls of a round on one key must fit the bits of a word.
const CALLS: u64 = 16;

/// What a register may hold: nothing, or a number.
type Content = Option<u64>;

#[derive(Debug, Clone, Copy)]
enum What {
    Get(Content),
    Put(u64),
    Delete(bool),
    PutIfAbsent(u64, Content),
    CompareAndSet(Content, Content, bool),
}

/// A call that was made and what it answered.
#[derive(Debug, Clone, Copy)]
struct Made {
    key: u64,
    begun: u64,
    ended: u64,
    what: What,
}

impl What {
    /// The content after the call if it takes effect on `now`; `None` if its answer does not fit.
    fn after(self, now: Content) -> Option<Content> {
        match self {
            Self::Get(found) => (found == now).then_some(now),
            Self::Put(new) => Some(Some(new)),
            Self::Delete(was) => (was == now.is_some()).then_some(None),
            Self::PutIfAbsent(new, found) => (found == now).then_some(Some(now.unwrap_or(new))),
            Self::CompareAndSet(expected, new, done) => {
                ((expected == now) == done).then_some(if done { new } else { now })
            }
        }
    }
}

/// Whether the calls on one key can be put into an order that explains them, from `now` on; what the key then holds.
fn contents_after(calls: &[Made], now: Content) -> HashSet<Content> {
    let all = (1u64 << calls.len()) - 1;
    let (mut seen, mut found) = (HashSet::new(), HashSet::new());
    let mut stack = vec![(0u64, now)];
    while let Some((done, now)) = stack.pop() {
        if done == all {
            found.insert(now);
            continue;
        }
        let open = || (0..calls.len()).filter(|at| done >> at & 1 == 0);
        // A call that began after another one had ended comes after it.
        let first_end = open().map(|at| calls[at].ended).min().unwrap_or(u64::MAX);
        for at in open().filter(|&at| calls[at].begun < first_end) {
            if let Some(after) = calls[at].what.after(now) {
                let next = (done | 1 << at, after);
                if seen.insert(next) {
                    stack.push(next);
                }
            }
        }
    }
    found
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// Makes random calls; values are different numbers, of different lengths.
fn make_calls(store: &Store, thread: u64, rng: &mut Rng, clock: &AtomicU64, values: &AtomicU64) -> Vec<Made> {
    let mut made = Vec::new();
    let mut last_seen = [None; KEYS as usize];
    for _ in 0..CALLS {
        let key = rng.below(KEYS);
        let id = i128::from(key) * 1000;
        let new = values.fetch_add(1, Ordering::Relaxed) * THREADS + thread;
        let bytes = |number: u64| number.to_le_bytes().repeat(1 + number as usize % 60);
        let begun = clock.fetch_add(1, Ordering::SeqCst);
        let found = |value: Option<alex_store::Value>| value.map(|value| number(&value));
        let what = match rng.below(8) {
            0..=2 => What::Get(found(match store.try_get(id) {
                Some(found) => found.expect("reads"),
                None => store.get(id).expect("reads"),
            })),
            3 => What::Get(store.get_many(&[id]).expect("reads").get(0).map(number)),
            4 => {
                store.put(id, &bytes(new)).expect("writes");
                What::Put(new)
            }
            5 => What::Delete(store.delete(id).expect("writes")),
            6 => What::PutIfAbsent(new, found(store.get_or_put(id, &bytes(new)).expect("writes"))),
            _ => {
                let expected = last_seen[key as usize];
                let next = (!rng.one_in(4)).then_some(new);
                let (was, will) = (expected.map(bytes), next.map(bytes));
                let done = store.compare_and_set(id, was.as_deref(), will.as_deref()).expect("writes");
                What::CompareAndSet(expected, next, done)
            }
        };
        let ended = clock.fetch_add(1, Ordering::SeqCst);
        match what {
            What::Get(content) => last_seen[key as usize] = content,
            What::Put(new) => last_seen[key as usize] = Some(new),
            _ => {}
        }
        made.push(Made { key, begun, ended, what });
    }
    made
}

#[test]
fn the_search_accepts_what_can_be_explained_and_refuses_what_cannot() {
    let call = |begun, ended, what| Made { key: 0, begun, ended, what };
    let stale = [call(0, 1, What::Put(1)), call(2, 3, What::Put(2)), call(4, 5, What::Get(Some(1)))];
    assert!(contents_after(&stale, None).is_empty(), "an older value after a newer one");
    let beside = [call(0, 5, What::Put(1)), call(1, 2, What::Get(None)), call(3, 4, What::Get(Some(1)))];
    assert_eq!(contents_after(&beside, None), HashSet::from([Some(1)]));
    let back = [call(0, 5, What::Put(1)), call(1, 2, What::Get(Some(1))), call(3, 4, What::Get(None))];
    assert!(contents_after(&back, None).is_empty(), "a value that was seen goes away");
    let both = [call(0, 3, What::PutIfAbsent(1, None)), call(1, 2, What::PutIfAbsent(2, None))];
    assert!(contents_after(&both, None).is_empty(), "two were the first");
}

#[test]
fn calls_of_many_threads_beside_compaction_and_checkpoints_have_an_order_that_explains_them() {
    let rounds = crate::common::seeds(10).end.clamp(50, 20_000);
    for (read_mode, write_mode, durability) in [
        (ReadMode::Mmap, WriteMode::Mmap, Durability::Interval),
        (ReadMode::Pread, WriteMode::Pwrite, Durability::Os),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options {
            segment_bytes: 64 << 10,
            checkpoint_tail_bytes: 32 << 10,
            read_mode,
            write_mode,
            durability,
            ..Options::default()
        };
        let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        let (clock, values, over) = (AtomicU64::new(0), AtomicU64::new(1), AtomicBool::new(false));
        let start = Barrier::new(THREADS as usize);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    store.checkpoint().expect("writes");
                    store.compact(&mut |_| true).expect("writes");
                }
            });
            let mut contents = vec![HashSet::from([None]); KEYS as usize];
            for round in 0..rounds {
                let callers: Vec<_> = (0..THREADS)
                    .map(|thread| {
                        let (store, start, clock, values) = (&store, &start, &clock, &values);
                        threads.spawn(move || {
                            let mut rng = Rng::new(round * THREADS + thread);
                            start.wait();
                            make_calls(store, thread, &mut rng, clock, values)
                        })
                    })
                    .collect();
                let made: Vec<Made> =
                    callers.into_iter().flat_map(|caller| caller.join().expect("no panic")).collect();
                for key in 0..KEYS {
                    let calls: Vec<Made> = made.iter().copied().filter(|made| made.key == key).collect();
                    let before = std::mem::take(&mut contents[key as usize]);
                    let after = before.iter().flat_map(|&now| contents_after(&calls, now)).collect();
                    contents[key as usize] = after;
                    if contents[key as usize].is_empty() {
                        over.store(true, Ordering::Relaxed);
                        panic!("round {round}, key {key}, from {before:?}: no order explains\n{calls:#?}");
                    }
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let freed = store.stats().expect("open").compaction.freed_segments;
        assert!(freed > 0, "compaction was at work");
    }
}
