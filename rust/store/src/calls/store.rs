//! The handle that users hold. The files beside this one say what it can be asked, one kind of call each.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::engine::shared::Shared;
use crate::options::Options;

/// An open store. Clones are the same handle. Dropping the last clone stops the threads and releases the lock,
/// but does not seal the log: only [`Store::close`] does.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    _guard: Arc<LastHandle>,
}

/// Dropped with the last clone of the handle, while scans may still read what they share with it.
struct LastHandle(Arc<Shared>);

impl Drop for LastHandle {
    /// A store that is dropped without being closed ends as if the process had been killed: every commit is
    /// in the page cache. Only the lock is released, once the thread that might still flush has ended.
    fn drop(&mut self) {
        if self.0.is_inherited() {
            // The threads and the lock belong to the parent, and so do the threads that may hold the locks
            // taken below; the fork handler already closed our descriptor.
            return;
        }
        self.0.stop_threads();
        self.0.lifetime.unlock();
    }
}

impl Store {
    /// A handle on an open store.
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { _guard: Arc::new(LastHandle(Arc::clone(&shared))), shared }
    }

    /// The options with which the store was opened.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Whether this process is a forked child of the one that opened the store. There a handle for writing is
    /// refused; a read-only one still reads.
    #[inline]
    pub fn is_inherited(&self) -> bool {
        self.shared.is_inherited()
    }

    /// Whether [`Store::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.shared.lifetime.is_closed()
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Whether the handle refuses writes.
    pub fn read_only(&self) -> bool {
        self.shared.options.read_only
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}
