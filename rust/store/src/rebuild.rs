//! Damage found after opening: the index is dropped and built again from an older image or the whole log,
//! while writers, and readers that need it, wait. Knows how an index comes about (`recovery.rs`) and who
//! waits; knows nothing of what is damaged. O(bytes of log).

use std::sync::Arc;

use crate::chain::Chain;
use crate::error::{Error, Result};
use crate::freeing::omit;
use crate::header::LogEnd;
use crate::log::Log;
use crate::manifest::{self, Manifest, Relocation};
use crate::options::{Options, Recovery};
use crate::recovery;
use crate::segment::Counts;
use crate::store::Shared;

impl Shared {
    /// Makes a call that reads the index, again if the image was found damaged. No lock may be held, and the
    /// call must be one that can be made twice.
    pub(crate) fn mending<T>(&self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match call() {
                Err(Error::ImageDamaged) => self.mend()?,
                outcome => return outcome,
            }
        }
    }

    /// Rebuilds the index unless somebody else has done it.
    fn mend(&self) -> Result<()> {
        let mut log = self.log.lock();
        if !self.read_state()?.index.is_damaged() {
            return Ok(());
        }
        let end = log.end;
        match self.try_rebuild(&mut log, end) {
            Err(error) if error.says_not_now() => Err(error),
            Err(error) if !self.options.read_only => Err(self.health.poison(error)),
            outcome => outcome,
        }
    }

    /// Replaces the damaged index by that of the log up to `end`, a commit boundary at or before the log's
    /// end. The caller holds no lock on the state. Should it fail, the store takes no more writes, since the log
    /// may hold a commit that the index will never learn of.
    pub(crate) fn rebuild(&self, log: &mut Log, end: LogEnd) -> Result<()> {
        self.try_rebuild(log, end)
            .map_err(|error| if self.options.read_only { error } else { self.health.poison(error) })
    }

    /// As [`Shared::rebuild`], for who has changed nothing: should it fail, the next call that needs the index
    /// tries it again.
    fn try_rebuild(&self, log: &mut Log, end: LogEnd) -> Result<()> {
        let damaged = self.read_state()?.index.image();
        self.damaged_images.lock().extend(damaged);
        let rebuilt = self.rebuilt(log, end)?;
        let recovery::Based { state: fresh, tail_bytes, bad_images, .. } = rebuilt;
        self.damaged_images.lock().extend(bad_images);
        let _counting = self.counting.lock();
        let mut state = self.write_state()?;
        // Nor counts what was still to be counted.
        self.uncounted.lock().clear();
        for segment in state.segments.iter() {
            let counted = fresh.segments.get(segment.id());
            segment.take_counts(counted.map_or(Counts::default(), |counted| counted.counts()));
        }
        if let Some(active) = &log.active {
            // A commit that the index is yet to learn of.
            active.count_appended(log.end.offset - end.offset);
        }
        state.index = fresh.index;
        drop(state);
        log.images.rebuilt_without(&self.damaged_images.lock(), tail_bytes);
        log.bound_tail();
        self.checkpointer.ring();
        Ok(())
    }

    fn rebuilt(&self, log: &Log, end: LogEnd) -> Result<recovery::Based> {
        let disk = &self.disk;
        // A reader's moment is not that of the manifest on the disk.
        let listed = match (&self.opened_with, Manifest::read(&**disk)) {
            (Some(opened_with), _) => opened_with.clone(),
            (None, Ok(manifest::Found::Manifest(listed, _))) => listed,
            (None, Ok(manifest::Found::Nothing)) => return Err(Error::NotFound { path: self.path.clone() }),
            (None, Err(error)) => return Err(error),
        };
        let mut segments = log.entries.clone();
        // What is about to be removed, or is not known to be listed for good, must not come into use again.
        omit(&mut segments, &log.freeing);
        let known = Arc::clone(&self.read_state()?.segments);
        let in_use = |it: &Relocation| !log.freeing.contains(&it.segment) && known.get(it.segment).is_some();
        let relocations = listed.relocations.iter().copied().filter(in_use).collect();
        if let Some(last) = segments.iter().position(|entry| entry.segment == end.segment) {
            segments.truncate(last + 1);
            segments[last].end = Some(end);
        }
        let mut images = listed.images.clone();
        images.retain(|image| !self.damaged_images.lock().contains(&image.id));
        let manifest = Manifest { segments, relocations, images, spare: None, ..listed };
        let options = Options { read_only: true, recovery: Recovery::Strict, ..self.options.clone() };
        let chain = if self.options.read_only {
            Chain::held(&manifest, &known)?
        } else {
            Chain::find(disk, &manifest, &[], &options)?
        };
        let mut based = recovery::base(disk, &chain, &manifest, &options, true, &mut |_| true)?;
        let mut dead = Vec::new();
        while !based.state.index.is_whole() {
            based.state.index.join(usize::MAX, &mut dead);
        }
        based.state.segments.count_dead(&dead);
        if let Some(stop) = &based.stop {
            return Err(stop.refusal(based.reached.last_seq, end.last_seq));
        }
        Ok(based)
    }
}
