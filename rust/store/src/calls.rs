//! The calls that are running: closing waits for them, and lets no new ones in. Only calls on many keys and those that
//! read files register; what looks at one key holds the state's lock instead. Knows nothing of what a call does. O(1).

use std::sync::Arc;
use std::thread::{self, ThreadId};

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::store::Shared;

/// See the module.
#[derive(Default)]
pub(crate) struct Calls {
    running: Mutex<Running>,
    ended: Condvar,
}

#[derive(Default)]
struct Running {
    /// Of each call the thread that makes it.
    threads: Vec<ThreadId>,
    closing: bool,
}

impl Calls {
    /// Lets no new calls in. Refused to a thread that is in the middle of one, which would wait for itself.
    pub(crate) fn begin_close(&self, shared: &Shared) -> Result<()> {
        let mut running = self.running.lock();
        if running.threads.contains(&thread::current().id()) {
            return Err(Error::InCall { path: shared.path.clone() });
        }
        running.closing = true;
        Ok(())
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
    shared: Arc<Shared>,
    /// That began it, on whichever it ends.
    thread: ThreadId,
}

impl Shared {
    /// Registers a call. What a call itself calls (the caller's callback, say) is let in also while closing waits.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Call> {
        self.check_usable()?;
        let thread = thread::current().id();
        if self.is_inherited() {
            // A reader in a forked child: see below.
            return Ok(Call { shared: Arc::clone(self), thread });
        }
        let mut running = self.calls.running.lock();
        if running.closing && !running.threads.contains(&thread) {
            return Err(self.closed_error());
        }
        running.threads.push(thread);
        Ok(Call { shared: Arc::clone(self), thread })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.shared.is_inherited() {
            // Whoever held the lock when the process was forked is not here to let it go.
            return;
        }
        let mut running = self.shared.calls.running.lock();
        if let Some(at) = running.threads.iter().rposition(|&other| other == self.thread) {
            running.threads.swap_remove(at);
        }
        if running.closing && running.threads.is_empty() {
            self.shared.calls.ended.notify_all();
        }
    }
}
