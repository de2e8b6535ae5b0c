//! Closing: ends calls and threads, seals the log so that the next opening finds it whole, and releases
//! files.

use crate::calls::store::Store;
use crate::checkpoint::write::GENERATIONS;
use crate::engine::catalog::Catalog;
use crate::engine::locks::Guard;
use crate::engine::shared::Shared;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::index::checked::Index;
use crate::log::append::Trim;
use crate::threads::panics::catching;

impl Store {
    /// Flushes, seals what was written and releases the lock; waits for running calls. Further calls do
    /// nothing. Values that were already read stay valid; scans and writes raise [`Error::Closed`].
    pub fn close(&self) -> Result<()> {
        let shared = &*self.shared;
        if shared.is_inherited() {
            // Everything that could be ended belongs to the parent. Locks that its other threads held stay
            // locked here forever.
            shared.lifetime.close();
            return Ok(());
        }
        if !shared.calls.begin_close() {
            return Err(Error::InCall { path: shared.path.clone() });
        }
        // Stop the threads first, since they take the same locks.
        shared.stop_threads();
        shared.compacting.hurry_for_good();
        shared.calls.wait();
        let outcome = {
            let mut compaction = shared.compacting.lock();
            shared.threads.checkpointer.answered();
            // A failure that poisons is met again below; any other only leaves more files.
            let _ = catching("merging small segments", || shared.merge_at_close(&mut compaction))
                .map_err(|panicked| shared.health.poison(panicked));
            let _maintenance = shared.maintenance.lock();
            let mut catalog = shared.catalog.lock();
            let _flushing = shared.flushing.lock();
            let mut writing = shared.writing.lock();
            if shared.lifetime.close() {
                return Ok(());
            }
            // A flush that waited for this one must not take the log for empty.
            let outcome = catching("closing", || seal(shared, &mut catalog, &mut writing))
                .and_then(|sealed| sealed)
                .map_err(|error| shared.health.poison(error));
            writing.log.let_go_of_files();
            outcome
        };
        let empty = Index::empty(self.shared.width()).ok();
        let opened = shared.state.write().close(empty);
        drop(opened);
        shared.lifetime.unlock();
        shared.disk.let_go();
        outcome
    }
}

/// Ends the log so that the next opening finds it whole.
fn seal(shared: &Shared, catalog: &mut Guard<'_, Catalog>, writing: &mut Writing) -> Result<()> {
    if shared.options.read_only {
        return Ok(());
    }
    // What a failed flush may have lost must not look cleanly closed.
    shared.check_unpoisoned()?;
    if writing.log.active.is_none() && writing.log.unsynced.is_empty() && catalog.manifest.clean {
        return Ok(());
    }
    writing.log.end_active(shared.watermarks.durable())?;
    for segment in &writing.log.unsynced {
        segment.sync()?;
    }
    shared.watermarks.reached(writing.log.end.last_seq);
    shared.watermarks.made_durable(writing.log.end.last_seq);
    let image = catalog.next_image(&*shared.disk).ok();
    let written = image.and_then(|image| shared.image_at_close(writing, image, &catalog.manifest.images));
    let mut images = catalog.manifest.images.clone();
    images.splice(0..0, written);
    images.truncate(GENERATIONS);
    let mut next = Manifest {
        images,
        segments: writing.log.entries.clone(),
        spare: None,
        next_seq: catalog.manifest.next_seq.max(writing.log.next_seq),
        watermark: writing.log.end.last_seq,
        clean: true,
        ..catalog.manifest.clone()
    };
    shared.without_damaged(&mut next);
    shared.write_manifest(catalog, next)?;
    writing.log.to_trim.drain(..).for_each(Trim::give_back);
    Ok(())
}
