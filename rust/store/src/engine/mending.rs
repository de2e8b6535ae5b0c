//! Repairs damage found after opening: the index is dropped and rebuilt while writers, and readers that need
//! it, wait. Knows who waits. How an index is rebuilt comes from the code that opened the store
//! ([`Rebuild`](crate::engine::shared::Rebuild)). Knows nothing of what is damaged.

use crate::engine::shared::{Rebuilt, Shared};
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::header::LogEnd;
use crate::log::segment::Counts;

impl Shared {
    /// Makes a call that reads the index, and repeats it if the image was found damaged. The caller holds no
    /// lock, and the call must be repeatable.
    pub(crate) fn mending<T>(&self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match call() {
                Err(Error::ImageDamaged) => self.mend()?,
                outcome => return outcome,
            }
        }
    }

    /// Rebuilds the index unless another thread has done so.
    fn mend(&self) -> Result<()> {
        let mut writing = self.writing.lock();
        if !self.read_state()?.index.is_damaged() {
            return Ok(());
        }
        let end = writing.log.end;
        match self.try_rebuild(&mut writing, end) {
            Err(error) if error.says_not_now() => Err(error),
            Err(error) if !self.options.read_only => Err(self.health.poison(error)),
            outcome => outcome,
        }
    }

    /// Replaces the damaged index by one of the log up to `end`, a commit boundary at or before the log's
    /// end. The caller holds no lock on the state. On failure the store takes no more writes, since the log
    /// may hold a commit that the index will never learn of.
    pub(crate) fn rebuild_index(&self, writing: &mut Writing, end: LogEnd) -> Result<()> {
        self.try_rebuild(writing, end)
            .map_err(|error| if self.options.read_only { error } else { self.health.poison(error) })
    }

    /// Like [`Shared::rebuild_index`], for callers that have changed nothing: after a failure, the next call
    /// that needs the index tries again.
    fn try_rebuild(&self, writing: &mut Writing, end: LogEnd) -> Result<()> {
        let damaged = self.read_state()?.index.image();
        self.damaged_images.lock().extend(damaged);
        let Rebuilt { state: fresh, tail_bytes, bad_images, uncounted } = (self.rebuild)(self, writing, end)?;
        self.damaged_images.lock().extend(bad_images);
        let _counting = self.uncounted.counting();
        let mut state = self.write_state()?;
        // Pending counts belong to the old index; drop them.
        drop(self.uncounted.take());
        self.uncounted.add(uncounted);
        for segment in state.segments.iter() {
            let counted = fresh.segments.get(segment.id());
            segment.take_counts(counted.map_or(Counts::default(), |counted| counted.counts()));
        }
        if let Some(active) = &writing.log.active {
            // A commit that the index has yet to learn of.
            active.count_appended(writing.log.end.offset - end.offset);
        }
        state.index = fresh.index;
        state.is_after(end.last_seq);
        drop(state);
        writing.images.rebuilt_without(&self.damaged_images.lock(), tail_bytes);
        writing.bound_tail();
        self.threads.checkpointer.ring();
        Ok(())
    }
}
