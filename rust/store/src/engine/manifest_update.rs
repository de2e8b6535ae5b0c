//! Every change of an open store's manifest, made outside the commit lock so that no write waits for its
//! syncs. The log's next segment is prepared here too. Knows nothing of what records hold.

use std::sync::Arc;

use crate::engine::catalog::{Catalog, LogFacts, reserve_spare};
use crate::engine::locks::Guard;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::format::attachment::image_name;
use crate::format::manifest::{Manifest, NotWritten};
use crate::log::append::{Failure, Trim};
use crate::log::segment::Segment;

impl Shared {
    /// Brings the manifest up to date with the log and lets `change` change the rest, in both copies. Removes
    /// files that it no longer lists. No lock but the catalog's is held during disk work.
    pub(crate) fn update_manifest(
        &self,
        catalog: &mut Guard<'_, Catalog>,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), NotWritten> {
        let untouched = |error| NotWritten { error, maybe_there: false };
        self.check_writable().map_err(untouched)?;
        let mut next = catalog.manifest.clone();
        let (begun, next_seq, trims) = {
            let mut writing = self.writing.lock();
            next.segments.clone_from(&writing.log.entries);
            next.spare = writing.log.spare.as_ref().map(|spare| spare.listed);
            let listed = &catalog.manifest.segments;
            let new = |segment: &&Arc<Segment>| !listed.iter().any(|entry| entry.segment == segment.id());
            let begun: Vec<_> =
                writing.log.unsynced.iter().chain(&writing.log.active).filter(new).cloned().collect();
            (begun, writing.log.next_seq_bound(), std::mem::take(&mut writing.log.to_trim))
        };
        next.watermark = next.watermark.max(self.watermarks.durable());
        next.clean = false;
        // A segment that is listed as begun must have its header after a power cut.
        for segment in begun {
            segment.sync().map_err(|error| untouched(self.health.after(Failure::of(error))))?;
        }
        change(&mut next);
        self.without_damaged(&mut next);
        next.next_seq = next.next_seq.max(next_seq + next.spare.map_or(0, |spare| spare.most_records()));
        let written = self.write_manifest(catalog, next);
        match written {
            Ok(()) => trims.into_iter().for_each(Trim::give_back),
            Err(NotWritten { error, maybe_there }) => {
                self.writing.lock().log.to_trim.extend(trims);
                return Err(NotWritten { error: self.health.after(Failure::of(error)), maybe_there });
            }
        }
        Ok(())
    }

    /// Writes both copies and removes the files that are no longer listed.
    pub(crate) fn write_manifest(
        &self,
        catalog: &mut Guard<'_, Catalog>,
        mut next: Manifest,
    ) -> Result<(), NotWritten> {
        let _whole = self.health.in_one_piece("a change of the manifest");
        next.dictionary = self.compressor.at().filter(|at| next.lists(at.segment()));
        let written = next.write(&*self.disk);
        // Even after a failure, one generation never stands for two contents.
        catalog.manifest.generation = next.generation;
        if let Err(failure) = written {
            let listed = catalog.manifest.file_set();
            let new: Vec<u32> = next.files().filter(|id| !listed.contains(id)).collect();
            catalog.uncertain.extend(new);
            let images = next.images.iter().map(|image| image.id);
            let new: Vec<u32> = images.filter(|&id| !catalog.manifest.lists_image(id)).collect();
            catalog.uncertain_images.extend(new);
            catalog.half_written |= failure.maybe_there;
            return Err(failure);
        }
        catalog.half_written = false;
        let before = std::mem::replace(&mut catalog.manifest, next);
        let listed = catalog.manifest.file_set();
        let kept = catalog.unlisted.as_ref().map(|spare| spare.listed.segment);
        for id in before.files().chain(std::mem::take(&mut catalog.uncertain)) {
            if Some(id) == kept {
                catalog.uncertain.push(id);
            } else if !listed.contains(&id) {
                // A failure here costs space until the next opening removes the orphan.
                let _ = self.disk.remove(&Segment::name(id));
            }
        }
        let images = before.images.iter().map(|image| image.id);
        for id in images.chain(std::mem::take(&mut catalog.uncertain_images)) {
            if !catalog.manifest.lists_image(id) {
                // A failure here, too, only costs space.
                let _ = self.disk.remove(&image_name(id));
            }
        }
        Ok(())
    }

    /// Drops images that were found damaged from the list.
    pub(crate) fn without_damaged(&self, next: &mut Manifest) {
        let damaged = self.damaged_images.lock();
        next.images.retain(|image| !damaged.contains(&image.id));
    }

    /// Makes sure that the log can go on with records of `room` bytes: in the active segment, or in a spare
    /// one that the manifest lists. O(1) system calls and syncs; takes the commit lock briefly. If the disk
    /// is too full for a whole segment, a commit that `frees` space gets a small one. If no segment can be
    /// made, a smaller spare stays for what fits it.
    pub(crate) fn prepare_spare(&self, room: u64, frees: bool) -> Result<()> {
        let mut catalog = self.catalog.lock();
        self.check_writable()?;
        let facts = {
            let writing = self.writing.lock();
            if writing.log.spare_has_room(room) {
                return Ok(());
            }
            LogFacts::of(&writing.log)
        };
        let spare = match catalog.unlisted.take_if(|spare| spare.has_room(room)) {
            Some(spare) => spare,
            None => reserve_spare(&self.disk, &self.options, &mut catalog.manifest, &facts, room, frees)
                .map_err(|error| self.health.after(Failure::of(error)))?,
        };
        let segments = Arc::clone(&self.state.read().segments);
        self.asks_ahead.look(&segments);
        if let Some(outgrown) = catalog.unlisted.take() {
            // A copy of the manifest may name it. Its file is removed with the next manifest that certainly
            // is on the disk.
            catalog.uncertain.push(outgrown.listed.segment);
        }
        // Too small. Take it, so that nobody begins it once the manifest no longer lists it.
        let small = self.writing.lock().log.spare.take();
        let listed = spare.listed;
        match self.update_manifest(&mut catalog, |next| next.spare = Some(listed)) {
            Ok(()) => {
                self.writing.lock().log.spare = Some(spare);
                Ok(())
            }
            Err(NotWritten { error, maybe_there: false }) if small.is_some() => {
                // Every copy of the manifest still lists the small one.
                self.writing.lock().log.spare = small;
                let _ = self.disk.remove(&Segment::name(listed.segment));
                Err(error)
            }
            Err(failure) => {
                // The file of the small one is removed with the next manifest, which no longer lists it.
                catalog.unlisted = Some(spare);
                Err(failure.into())
            }
        }
    }

    /// One round of the thread that makes segments ahead of need.
    pub(crate) fn prepare(&self) {
        let wanted = {
            let writing = self.writing.lock();
            writing.log.spare.is_none() && writing.log.active.is_some()
        };
        if wanted {
            // A failure that matters is remembered, or met again by the write that needs the segment.
            let _ = self.prepare_spare(0, false);
        }
    }
}
