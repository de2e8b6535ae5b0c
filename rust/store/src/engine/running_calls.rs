//! The calls that are running: closing waits for them, and admits no new ones. Only calls on many keys and
//! calls that read files register; calls on one key hold the state's lock instead. Knows nothing of what a
//! call does. O(1).

use std::sync::Arc;
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

use crate::disk::fork_generation;

/// The calls that are running.
#[derive(Default)]
pub(crate) struct RunningCalls {
    running: Mutex<Running>,
    ended: Condvar,
}

#[derive(Default)]
struct Running {
    /// The thread of each call.
    threads: Vec<ThreadId>,
    closing: bool,
}

impl RunningCalls {
    /// Registers a call; `None` once the store is closing. Calls made from within a running call (by the
    /// caller's callback, say) are admitted even while closing waits.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Call> {
        let thread = thread::current().id();
        let mut running = self.running.lock();
        if running.closing && !running.threads.contains(&thread) {
            return None;
        }
        running.threads.push(thread);
        Some(Call { calls: Some(Arc::clone(self)), thread, generation: fork_generation() })
    }

    /// Admits no new calls. Returns false for a thread that is inside a call, since it would wait for itself.
    pub(crate) fn begin_close(&self) -> bool {
        let mut running = self.running.lock();
        if running.threads.contains(&thread::current().id()) {
            return false;
        }
        running.closing = true;
        true
    }

    /// Waits until no call is running.
    pub(crate) fn wait(&self) {
        let mut running = self.running.lock();
        while !running.threads.is_empty() {
            self.ended.wait(&mut running);
        }
    }
}

/// A running call, registered while this value lives.
pub(crate) struct Call {
    /// `None` if nobody waits for the call.
    calls: Option<Arc<RunningCalls>>,
    /// The thread that began the call, whichever thread ends it.
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
            // In a forked child, whoever held the lock when the process was forked is not here to release it.
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
