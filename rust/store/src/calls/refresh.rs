//! `refresh`: what a read-only handle sees is what has been committed since. Knows nothing of how the log is followed.

use crate::calls::store::Store;
use crate::error::Result;
use crate::recovery::follow::follow;

impl Store {
    /// Shows what a writer, in this process or another, has committed: all that had returned before this call, whole
    /// commits only. Returns the sequence number of the last commit that is shown, which never goes down; of a handle
    /// for writing, that of its last commit.
    ///
    /// Reads go on meanwhile, and see later and later commits. The writer does not notice. After a writer was killed, or
    /// if compaction has freed what this handle has yet to read, the store is read as by [`Store::open`].
    ///
    /// O(bytes of new log), and O(bytes of the segments that the writer has freed).
    pub fn refresh(&self) -> Result<u64> {
        let shared = &self.shared;
        let _running = shared.enter()?;
        if shared.options.read_only {
            let mut catalog = shared.catalog.lock();
            let mut writing = shared.writing.lock();
            follow(shared, &mut catalog, &mut writing)?;
        }
        Ok(shared.watermarks.last())
    }
}
