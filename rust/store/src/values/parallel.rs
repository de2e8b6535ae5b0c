//! Runs large batch reads on several threads. Knows nothing of what they read.
//!
//! Reading records of random keys means waiting for memory, which each processor does independently. Threads
//! live as long as the call that started them. For why it pays, see
//! docs/dev/014-large-batches-use-two-threads.md.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use crate::room::probe;

/// Below this many items, or bytes of long items, another thread does not pay: it takes about 50 us to start,
/// and the first thread of a process a millisecond.
const PART_ITEMS: usize = 1 << 12;
const PART_BYTES: usize = 1 << 22;

/// So much memory must be left for a thread: one that finds none as it starts ends the process. Much more than that takes,
/// because others take some meanwhile; more than what glibc's allocator learns from.
const THREAD_BYTES: usize = 64 << 20;

/// More threads would wait for the same memory.
const MAX_THREADS: usize = 4;

/// How many items each thread gets, including the caller's, out of `items` of at least `item_bytes` each.
pub(crate) fn part_len(items: usize, item_bytes: usize) -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    let cpus = *CPUS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get));
    let least = PART_ITEMS.min(PART_BYTES / item_bytes.max(1)).max(1);
    items.div_ceil(cpus.min(MAX_THREADS)).max(least)
}

/// Applies `work` to each of `parts` and returns the results in order. The first part runs on the caller's
/// thread, each other part on a thread of its own, or on the caller's too if the system provides no thread.
pub(crate) fn map<I: Send, T: Send>(
    mut parts: impl Iterator<Item = I>,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let first = parts.next();
    let Some(second) = parts.next() else { return first.map(work).into_iter().collect() };
    let slots: Vec<_> =
        first.into_iter().chain([second]).chain(parts).map(|part| Mutex::new(Some(part))).collect();
    let run = |slot: &Mutex<Option<I>>| {
        let part = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        part.map(&work)
    };
    let run = &run;
    thread::scope(|scope| {
        let start = |slot| {
            probe(THREAD_BYTES)
                .ok()
                .and_then(|()| thread::Builder::new().spawn_scoped(scope, move || run(slot)).ok())
        };
        let started: Vec<_> = slots.iter().skip(1).map(start).collect();
        let first = slots.first().and_then(run);
        let others = slots.iter().skip(1).zip(started).map(|(slot, started)| match started {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => run(slot),
        });
        [first].into_iter().chain(others).flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{PART_ITEMS, map, part_len};

    #[test]
    fn results_have_the_order_of_the_parts() {
        assert_eq!(map(0..7, |i| i * 10), [0, 10, 20, 30, 40, 50, 60]);
        assert_eq!(map(0..1, |i| i), [0]);
        assert_eq!(map(0..0, |i| i), [] as [i32; 0]);
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let outcome = std::panic::catch_unwind(|| map(0..3, |i| assert_ne!(i, 2)));
        assert!(outcome.is_err());
    }

    #[test]
    fn small_batches_stay_whole() {
        assert_eq!(part_len(0, 0), PART_ITEMS);
        assert_eq!(part_len(PART_ITEMS, 100), PART_ITEMS);
        assert!(part_len(1 << 30, 100) >= 1 << 28);
        assert_eq!(part_len(0, 1 << 16), 64);
        assert_eq!(part_len(1, usize::MAX), 1);
    }
}
