//! Threads that wait for the same flush: one of them makes it, the others sleep until it is done and are
//! woken together. With a plain lock they would be woken one after another, each to find nothing left to do.
//! Knows nothing of what a flush does.

use parking_lot::{Condvar, Mutex};

/// The turn to flush.
#[derive(Default)]
pub(crate) struct FlushTurn {
    taken: Mutex<bool>,
    ended: Condvar,
}

impl FlushTurn {
    /// The right to make the next flush, or `None` as soon as `done` says that it is no longer needed.
    pub(crate) fn take(&self, done: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut taken = self.taken.lock();
        loop {
            if done() {
                return None;
            }
            if !*taken {
                *taken = true;
                return Some(Turn(self));
            }
            self.ended.wait(&mut taken);
        }
    }
}

/// Held while a flush is made; given back however it ends.
pub(crate) struct Turn<'t>(&'t FlushTurn);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock() = false;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::FlushTurn;

    #[test]
    fn one_flush_serves_all_who_wait_and_two_never_run_at_once() {
        let turn = FlushTurn::default();
        let (wanted, served, flushes, running) =
            (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mine = wanted.fetch_add(1, Ordering::SeqCst) + 1;
                        let Some(_turn) = turn.take(|| served.load(Ordering::SeqCst) >= mine) else {
                            continue;
                        };
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                        let covered = wanted.load(Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(1));
                        served.fetch_max(covered, Ordering::SeqCst);
                        flushes.fetch_add(1, Ordering::SeqCst);
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(wanted.load(Ordering::SeqCst), 400);
        assert_eq!(served.load(Ordering::SeqCst), 400, "nobody went without");
        assert!(flushes.load(Ordering::SeqCst) <= 300, "waiters share: {flushes:?}");
    }

    #[test]
    fn a_turn_that_panics_is_given_back() {
        let turn = FlushTurn::default();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _turn = turn.take(|| false);
            panic!("in the middle of a flush");
        }));
        assert!(outcome.is_err());
        assert!(turn.take(|| false).is_some());
    }
}
