//! Whether a handle may still be used: it was closed, or belongs to the process that this one was forked from. Holds the
//! writer's lock on the directory. Knows nothing of what is closed.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::disk::fork_generation;

/// The writer's lock on the directory, for as long as this lives.
pub(crate) type DirectoryLock = Box<dyn Send + Sync>;

/// See the module.
pub(crate) struct Lifetime {
    closed: AtomicBool,
    fork_generation: u64,
    lock: Mutex<Option<DirectoryLock>>,
}

impl Lifetime {
    pub(crate) fn begin(lock: Option<DirectoryLock>) -> Self {
        Self { closed: AtomicBool::new(false), fork_generation: fork_generation(), lock: Mutex::new(lock) }
    }

    /// Whether this process is a child of the one that opened the handle.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.fork_generation != fork_generation()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the handle; whether it was closed before.
    pub(crate) fn close(&self) -> bool {
        self.closed.swap(true, Ordering::AcqRel)
    }

    /// Gives the writer's lock back.
    pub(crate) fn unlock(&self) {
        *self.lock.lock() = None;
    }
}
