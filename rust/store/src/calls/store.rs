//! The handle that users hold. The files beside this one say what it can be asked, one kind of call each.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::engine::shared::Shared;
use crate::error::Result;
use crate::index::versions::Version;
use crate::options::Options;
use crate::schema::Schema;

/// What can be asked: a store as it is, or a [`Snapshot`].
#[derive(Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
    /// `None` for the store as it is.
    pub(crate) at: Option<Arc<Version>>,
}

/// An open store. Clones are the same handle. Dropping the last clone stops the threads and releases the lock,
/// but does not seal the log: only [`Store::close`] does.
#[derive(Clone)]
pub struct Store {
    reader: Reader,
    _guard: Arc<LastHandle>,
}

impl Deref for Store {
    type Target = Reader;

    #[inline]
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

/// A store as it was when this was made, for as long as this lives. Clones are the same snapshot. It costs the store
/// nothing until something changes; then memory for each changed key, and the disk space of what compaction removes
/// meanwhile.
#[derive(Clone)]
pub struct Snapshot(Reader);

impl Deref for Snapshot {
    type Target = Reader;

    #[inline]
    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl Store {
    /// Like [`Store::snapshot`], but returns `None` instead of waiting for a lock.
    pub fn try_snapshot(&self) -> Option<Result<Snapshot>> {
        if let Err(error) = self.shared.check_usable() {
            return Some(Err(error));
        }
        let pinned = self.shared.try_read_parts()?.map(|state| Arc::new(state.pin()));
        Some(pinned.map(|at| Snapshot(Reader { shared: Arc::clone(&self.shared), at: Some(at) })))
    }

    /// The store as it is now, kept. O(log snapshots).
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.shared.check_usable()?;
        let at = Arc::new(self.shared.read_parts()?.pin());
        Ok(Snapshot(Reader { shared: Arc::clone(&self.shared), at: Some(at) }))
    }
}

impl Snapshot {
    /// Whether dropping it may take milliseconds, because memory and files are kept for it.
    pub fn keeps_something(&self) -> bool {
        self.0.at.as_ref().is_some_and(|at| at.keeps_something())
    }

    /// The sequence number of the last commit that it has seen.
    pub fn seq(&self) -> u64 {
        self.0.at.as_ref().map_or(0, |at| at.seq())
    }
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
        let guard = Arc::new(LastHandle(Arc::clone(&shared)));
        Self { reader: Reader { shared, at: None }, _guard: guard }
    }
}

impl Reader {
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

    /// What was chosen when the store was made.
    pub fn schema(&self) -> &Schema {
        &self.shared.opened.schema
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
