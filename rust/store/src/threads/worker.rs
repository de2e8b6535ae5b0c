//! A background thread with one task, which runs when its bell rings or its time has come. It holds what it
//! works on by a weak reference, so that an unused store is dropped. If the task panics, the thread goes on:
//! the task's owner is told, and the task is left alone for a while. Knows nothing of stores.

use std::io;
use std::sync::Weak;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::disk::fork_generation;
use crate::error::Error;
use crate::threads::bell::Bell;
use crate::threads::panics::catching;

/// A task that panicked is left alone for this long.
const BACK_OFF: Duration = Duration::from_secs(10);

/// What a worker does.
pub(crate) struct Task<T> {
    /// Name of the thread; part of the message if the task panics.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&T),
    /// Called after a panic.
    pub(crate) panicked: fn(&T, Error),
}

/// A running thread. Dropping this stops the thread and waits for it.
pub(crate) struct Worker {
    bell: Bell,
    thread: Option<JoinHandle<()>>,
    generation: u64,
}

impl Worker {
    /// Starts a thread that runs `task` whenever its bell rings, and at least every `longest_nap`.
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

    /// Tells the thread to stop, without waiting for it.
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
            // Panics of tasks are caught. A panic outside a task, while waiting, leaves nothing undone.
            let _ = thread.join();
        }
    }
}
