//! A thread that works for something beside those who call it: it does one task when it is rung for, or when its time
//! has come. It holds what it works on weakly, so that a store nobody uses goes away. A panic of the task ends no
//! thread: the task's owner hears of it, and the task is left alone for a while. Knows nothing of stores.

use std::io;
use std::sync::Weak;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::disk::fork_generation;
use crate::error::Error;
use crate::threads::bell::Bell;
use crate::threads::panics::catching;

/// A task that panicked is left alone for so long.
const BACK_OFF: Duration = Duration::from_secs(10);

/// What a worker does.
pub(crate) struct Task<T> {
    /// Name of the thread, which people are told when the task panics.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&T),
    /// Hears of a panic.
    pub(crate) panicked: fn(&T, Error),
}

/// A running thread; dropping it stops the thread and waits for it.
pub(crate) struct Worker {
    bell: Bell,
    thread: Option<JoinHandle<()>>,
    generation: u64,
}

impl Worker {
    /// Starts a thread that runs `task` each time it is rung for, and at least every `longest_nap`.
    pub(crate) fn start<T: Send + Sync + 'static>(
        task: &Task<T>,
        works_on: Weak<T>,
        bell: Bell,
        longest_nap: Duration,
    ) -> io::Result<Self> {
        let &Task { name, run, panicked } = task;
        let heard = bell.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while heard.wait(longest_nap) {
                let Some(owner) = works_on.upgrade() else { return };
                let failed = catching(name, || run(&owner)).is_err_and(|error| {
                    panicked(&owner, error);
                    true
                });
                drop(owner);
                if failed && !heard.rest(BACK_OFF) {
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
