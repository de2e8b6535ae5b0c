//! The calls that are running: closing waits for them, and lets no new ones in. Only calls on many keys and those that
//! read files register; what looks at one key holds the state's lock instead. Knows nothing of what a call does. O(1).

use std::sync::Arc;
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

use crate::disk::fork_generation;

/// See the module.
#[derive(Default)]
pub(crate) struct RunningCalls {
    running: Mutex<Running>,
    ended: Condvar,
}

#[derive(Default)]
struct Running {
    /// Of each call the thread that makes it.
    threads: Vec<ThreadId>,
    closing: bool,
}

impl RunningCalls {
    /// Registers a call; `None` once the store is being closed. What a call itself calls (the caller's callback, say)
    /// is let in also while closing waits.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Call> {
        let thread = thread::current().id();
        let mut running = self.running.lock();
        if running.closing && !running.threads.contains(&thread) {
            return None;
        }
        running.threads.push(thread);
        Some(Call { calls: Some(Arc::clone(self)), thread, generation: fork_generation() })
    }

    /// Lets no new calls in; false for a thread that is in the middle of one, which would wait for itself.
    pub(crate) fn begin_close(&self) -> bool {
        let mut running = self.running.lock();
        if running.threads.contains(&thread::current().id()) {
            return false;
        }
        running.closing = true;
        true
    }

    /// Waits for the calls that are running.
    pub(crate) fn wait(&self) {
        let mut running = self.running.lock();
        while !running.threads.is_empty() {
            self.ended.wait(&mut running);
        }
    }
}

/// A call that is running, for as long as this lives.
pub(crate) struct Call {
    /// `None` where nobody waits for it.
    calls: Option<Arc<RunningCalls>>,
    /// That began it, on whichever it ends.
    thread: ThreadId,
    generation: u64,
}

impl Call {
    /// A call of a reader in a forked child, which has no other threads to close it.
    pub(crate) fn unregistered() -> Self {
        Self { calls: None, thread: thread::current().id(), generation: fork_generation() }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(calls) = &self.calls else { return };
        if self.generation != fork_generation() {
            // Whoever held the lock when the process was forked is not here to let it go.
            return;
        }
        let mut running = calls.running.lock();
        if let Some(at) = running.threads.iter().rposition(|&other| other == self.thread) {
            running.threads.swap_remove(at);
        }
        if running.closing && running.threads.is_empty() {
            calls.ended.notify_all();
        }
    }
}
