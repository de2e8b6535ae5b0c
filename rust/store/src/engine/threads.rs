//! The threads of an open store, and the bells that wake them. The code that opens the store
//! (`calls/open.rs`) says what they do.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::log::prefault::Ahead;
use crate::threads::bell::Bell;
use crate::threads::worker::Worker;

/// The threads of an open store, and the bells that wake them.
pub(crate) struct Threads {
    /// Rung when a checkpoint is due.
    pub(crate) checkpointer: Bell,
    /// Rung when somebody should check how much is dead.
    pub(crate) compactor: Bell,
    /// Rung when the log's next segment should be made.
    pub(crate) preparer: Bell,
    /// Prepares pages for the writer.
    pub(crate) ahead: Arc<Ahead>,
    running: Mutex<Vec<Worker>>,
}

impl Threads {
    /// No thread runs yet.
    pub(crate) fn new(ahead: Arc<Ahead>) -> Self {
        Self {
            checkpointer: Bell::default(),
            compactor: Bell::default(),
            preparer: Bell::default(),
            ahead,
            running: Mutex::default(),
        }
    }

    /// Starts threads. `start` passes each worker on as it is made.
    pub(crate) fn start(
        &self,
        start: impl FnOnce(&mut dyn FnMut(io::Result<Worker>) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut running = self.running.lock();
        start(&mut |worker| {
            running.push(worker?);
            Ok(())
        })
    }

    /// Ends all threads and waits for them, also where another thread is doing so: whoever goes on before they have ended
    /// could take back that they must stop (`Bell::answered`).
    pub(crate) fn stop(&self) {
        let mut running = self.running.lock();
        running.iter().for_each(Worker::stop);
        // Dropping a worker waits for its thread.
        running.clear();
    }
}
