//! Whether a handle may still be used: it may be closed, or belong to the process from which this one was
//! forked. Holds the writer's lock on the directory. Knows nothing of what closing does.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::disk::fork_generation;

/// The writer's lock on the directory, held while this value lives.
pub(crate) type DirectoryLock = Box<dyn Send + Sync>;

/// Whether a handle may still be used.
pub(crate) struct Lifetime {
    closed: AtomicBool,
    fork_generation: u64,
    lock: Mutex<Option<DirectoryLock>>,
}

impl Lifetime {
    pub(crate) fn begin(lock: Option<DirectoryLock>) -> Self {
        Self { closed: AtomicBool::new(false), fork_generation: fork_generation(), lock: Mutex::new(lock) }
    }

    /// Whether this process is a forked child of the one that opened the handle.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.fork_generation != fork_generation()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the handle. Returns whether it was already closed.
    pub(crate) fn close(&self) -> bool {
        self.closed.swap(true, Ordering::AcqRel)
    }

    /// Releases the writer's lock.
    pub(crate) fn unlock(&self) {
        *self.lock.lock() = None;
    }
}
