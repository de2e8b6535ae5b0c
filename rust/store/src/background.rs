//! Threads that work for an open store beside its callers: each does one task when it is rung for, or when
//! its time has come. They hold the store weakly, so that a store nobody uses goes away. A panic of a task, which
//! would be a defect of ours, ends no thread: it is remembered by name, and the store takes no more writes where
//! the task may have left something half changed.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::disk::fork_generation;
use crate::error::Error;
use crate::store::Shared;

/// A task that panicked is left alone for so long.
const BACK_OFF: Duration = Duration::from_secs(10);

/// What a panic in the middle of a task may leave behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Nothing: it only prepares what others do without.
    None,
    /// Files, counts or the index may be half changed: the store takes no more writes.
    Poisons,
}

/// What a worker does, and how bad it is if it panics.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    /// Of the thread, and what people are told.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Shared),
    pub(crate) harm: Harm,
}

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught and told by the store's errors and figures, so that a panic hook need
/// say nothing of it.
pub fn panic_is_caught() -> bool {
    CAUGHT.get()
}

/// Runs `work`; its panic is an error that names `what`.
pub(crate) fn catching<T>(what: &'static str, work: impl FnOnce() -> T) -> Result<T, Error> {
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    outcome.map_err(|panic| Error::Panicked { what, message: message_of(&*panic) })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[derive(Default)]
struct Signal {
    stop: bool,
    rung: bool,
}

/// Wakes a worker; made before it, so that whoever needs the worker can ring at any time.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<(Mutex<Signal>, Condvar)>);

impl Bell {
    /// Wakes the worker now, or makes it go round once more.
    pub(crate) fn ring(&self) {
        self.0.0.lock().rung = true;
        self.0.1.notify_all();
    }

    fn stop(&self) {
        self.0.0.lock().stop = true;
        self.0.1.notify_all();
    }

    /// Whether the worker is to end: long tasks ask between two steps.
    pub(crate) fn stopping(&self) -> bool {
        self.0.0.lock().stop
    }

    /// Waits for so long, whoever rings; false once the worker is to end.
    fn rest(&self, long: Duration) -> bool {
        let until = Instant::now() + long;
        let mut signal = self.0.0.lock();
        while !signal.stop && !self.0.1.wait_until(&mut signal, until).timed_out() {}
        !signal.stop
    }

    /// Waits until it is rung, or for so long; false once the worker is to end.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let mut signal = self.0.0.lock();
        if !signal.stop && !signal.rung {
            self.0.1.wait_for(&mut signal, longest);
        }
        signal.rung = false;
        !signal.stop
    }
}

/// A running thread; dropping it stops the thread and waits for it.
pub(crate) struct Worker {
    bell: Bell,
    thread: Option<JoinHandle<()>>,
    generation: u64,
}

impl Worker {
    /// Starts a thread that runs `task` each time it is rung for, and at least every `longest_nap`.
    pub(crate) fn start(
        task: Task,
        store: Weak<Shared>,
        bell: Bell,
        longest_nap: Duration,
    ) -> io::Result<Self> {
        let heard = bell.clone();
        let thread = std::thread::Builder::new().name(task.name.to_owned()).spawn(move || {
            while heard.wait(longest_nap) {
                let Some(store) = store.upgrade() else { return };
                let panicked = catching(task.name, || (task.run)(&store)).is_err_and(|error| {
                    store.panicked(error, task.harm);
                    true
                });
                drop(store);
                if panicked && !heard.rest(BACK_OFF) {
                    return;
                }
            }
        })?;
        Ok(Self { bell, thread: Some(thread), generation: fork_generation() })
    }

    /// Tells the thread to end, without waiting for it.
    pub(crate) fn stop(&self) {
        self.bell.stop();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.generation != fork_generation() {
            // The thread stayed in the parent, and may have held its bell when the process was forked.
            std::mem::forget(self.thread.take());
            return;
        }
        self.stop();
        if let Some(thread) = self.thread.take() {
            // Tasks are caught; a panic in between, in waiting, left nothing undone.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Remembers the first panic, which is a defect of ours, for `stats`; and what it may have half changed.
    pub(crate) fn panicked(&self, error: Error, harm: Harm) {
        let mut failure = self.background_failure.lock();
        if failure.is_none() {
            *failure = Some(error.to_string());
        }
        drop(failure);
        if harm == Harm::Poisons {
            self.poison(error);
        }
    }
}

/// Held during a change that must be whole; dropped by a panic, whoever's, it poisons the store.
pub(crate) struct InOnePiece<'s> {
    shared: &'s Shared,
    what: &'static str,
}

impl<'s> InOnePiece<'s> {
    pub(crate) fn begin(shared: &'s Shared, what: &'static str) -> Self {
        Self { shared, what }
    }
}

impl Drop for InOnePiece<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "it came to no end".to_owned();
            self.shared.poison(Error::Panicked { what: self.what, message });
        }
    }
}
