//! The manifest of an open store and every change of it: made outside the commit lock, so that no write
//! waits for its syncs. Here too the log's next segment is prepared. Knows nothing of what records hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::image;
use crate::log::{Failure, Log, Trim};
use crate::manifest::{self, Manifest, NotWritten};
use crate::options::Options;
use crate::random::random_u64;
use crate::record::{self, MAX_SEQ};
use crate::segment::Segment;
use crate::spare::Spare;
use crate::store::Shared;

/// What the manifest on the disk says. Behind a lock that comes before all others but `maintenance`.
pub(crate) struct Catalog {
    /// As it was written last; ids may have been used since.
    pub(crate) manifest: Manifest,
    /// A segment that was made, while the manifest that should list it could not be written.
    unlisted: Option<Spare>,
    /// Segments that a manifest listed which may or may not be on the disk: their files stay until one
    /// that is there for certain lists them no longer.
    uncertain: Vec<u32>,
    /// As `uncertain`, of images.
    uncertain_images: Vec<u32>,
}

impl Catalog {
    pub(crate) fn new(manifest: Manifest) -> Self {
        Self { manifest, unlisted: None, uncertain: Vec::new(), uncertain_images: Vec::new() }
    }

    /// An id for a new segment. Ids are never used twice, not even those of files that were given up.
    pub(crate) fn next_segment(&mut self, disk: &dyn Disk) -> Result<u32> {
        next_segment(&mut self.manifest, disk)
    }

    /// An id for a new image, as [`Catalog::next_segment`].
    pub(crate) fn next_image(&mut self, disk: &dyn Disk) -> Result<u32> {
        let id = self.manifest.next_image;
        if id == u32::MAX {
            return Err(used_up(disk));
        }
        self.manifest.next_image = id + 1;
        Ok(id)
    }
}

fn next_segment(manifest: &mut Manifest, disk: &dyn Disk) -> Result<u32> {
    let id = manifest.next_segment;
    if id == u32::MAX {
        return Err(used_up(disk));
    }
    manifest.next_segment = id + 1;
    Ok(id)
}

fn used_up(disk: &dyn Disk) -> Error {
    Error::Invalid(format!(
        "the store at {} has used up its ids or sequences; copy it into a new one with alexpy.repair()",
        disk.path().display()
    ))
}

/// Where a disk is too full for a whole segment, one of these sizes has to do for what frees space.
const SMALL_BYTES: [u64; 2] = [64 << 10, 8 << 10];

/// Makes a file for the log to go on in, with room for `room` bytes of records; a small one if it `frees` space.
pub(crate) fn reserve_spare(
    disk: &Arc<dyn Disk>,
    options: &Options,
    manifest: &mut Manifest,
    log: &LogFacts,
    room: u64,
    frees: bool,
) -> Result<Spare> {
    let whole = Spare::capacity_for(room, options)?;
    let fits = |bytes: &u64| frees && *bytes < whole && Spare::needed(room) <= *bytes;
    let mut smaller = SMALL_BYTES.into_iter().filter(fits);
    let mut capacity = whole;
    loop {
        if log.next_seq_bound + capacity / record::HEADER_BYTES > MAX_SEQ {
            return Err(used_up(&**disk));
        }
        let salt = random_u64(disk.path())?;
        let segment = next_segment(manifest, &**disk)?;
        let listed = manifest::Spare { segment, capacity, salt };
        match Spare::reserve(disk, listed, log.copies, options) {
            Err(error) if error.says_full() => capacity = smaller.next().ok_or(error)?,
            outcome => return outcome,
        }
    }
}

/// What must be known of the log to prepare its next segment.
#[derive(Clone, Copy)]
pub(crate) struct LogFacts {
    next_seq_bound: u64,
    copies: bool,
}

impl LogFacts {
    pub(crate) fn of(log: &Log) -> Self {
        Self { next_seq_bound: log.next_seq_bound(), copies: log.copies }
    }
}

impl Shared {
    /// Brings the manifest up to the log and lets `change` change the rest, in both copies. Files that it
    /// listed and no longer lists are removed. No lock but the catalog's is held while the disk works.
    pub(crate) fn update_manifest(
        &self,
        catalog: &mut MutexGuard<'_, Catalog>,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), NotWritten> {
        let untouched = |error| NotWritten { error, maybe_there: false };
        self.check_writable().map_err(untouched)?;
        let mut next = catalog.manifest.clone();
        let (begun, next_seq, trims) = {
            let mut log = self.log.lock();
            next.segments.clone_from(&log.entries);
            next.spare = log.spare.as_ref().map(|spare| spare.listed);
            let listed = &catalog.manifest.segments;
            let new = |segment: &&Arc<Segment>| !listed.iter().any(|entry| entry.segment == segment.id());
            let begun: Vec<_> = log.unsynced.iter().chain(&log.active).filter(new).cloned().collect();
            (begun, log.next_seq_bound(), std::mem::take(&mut log.to_trim))
        };
        next.watermark = next.watermark.max(self.durable_seq.load(Ordering::Acquire));
        next.clean = false;
        // A segment that is listed as begun must have its header after a power cut.
        for segment in begun {
            segment.sync().map_err(|error| untouched(self.health.poison(error)))?;
        }
        change(&mut next);
        self.without_damaged(&mut next);
        next.next_seq = next.next_seq.max(next_seq + next.spare.map_or(0, |spare| spare.most_records()));
        let written = self.write_manifest(catalog, next);
        match written {
            Ok(()) => trims.into_iter().for_each(Trim::give_back),
            Err(NotWritten { error, maybe_there }) => {
                self.log.lock().to_trim.extend(trims);
                return Err(NotWritten { error: self.health.after(Failure::of(error)), maybe_there });
            }
        }
        Ok(())
    }

    /// Writes both copies and removes the files that are listed no longer.
    pub(crate) fn write_manifest(
        &self,
        catalog: &mut MutexGuard<'_, Catalog>,
        mut next: Manifest,
    ) -> Result<(), NotWritten> {
        let _whole = self.health.in_one_piece("a change of the manifest");
        let written = next.write(&*self.disk);
        // Whatever became of them, a generation is not used for two contents.
        catalog.manifest.generation = next.generation;
        if let Err(failure) = written {
            let new: Vec<u32> = next.files().filter(|&id| !catalog.manifest.lists(id)).collect();
            catalog.uncertain.extend(new);
            let images = next.images.iter().map(|image| image.id);
            let new: Vec<u32> = images.filter(|&id| !catalog.manifest.lists_image(id)).collect();
            catalog.uncertain_images.extend(new);
            return Err(failure);
        }
        let before = std::mem::replace(&mut catalog.manifest, next);
        let kept = catalog.unlisted.as_ref().map(|spare| spare.listed.segment);
        for id in before.files().chain(std::mem::take(&mut catalog.uncertain)) {
            if Some(id) == kept {
                catalog.uncertain.push(id);
            } else if !catalog.manifest.lists(id) {
                // Should this fail, it costs space until the next opening removes the orphan.
                let _ = self.disk.remove(&Segment::name(id));
            }
        }
        let images = before.images.iter().map(|image| image.id);
        for id in images.chain(std::mem::take(&mut catalog.uncertain_images)) {
            if !catalog.manifest.lists_image(id) {
                // As above.
                let _ = self.disk.remove(&image::name(id));
            }
        }
        Ok(())
    }

    /// Takes images that were found damaged off the list.
    pub(crate) fn without_damaged(&self, next: &mut Manifest) {
        let damaged = self.damaged_images.lock();
        next.images.retain(|image| !damaged.contains(&image.id));
    }

    /// Makes sure that the log can go on with a record of `room` bytes: in the active segment, or in a
    /// spare one that the manifest lists. O(1) system calls and syncs; takes the commit lock briefly.
    /// Where the disk is too full for a whole one, a commit that `frees` space gets a small one; where none can
    /// be had, a smaller spare stays for what fits it.
    pub(crate) fn prepare_spare(&self, room: u64, frees: bool) -> Result<()> {
        let mut catalog = self.catalog.lock();
        self.check_writable()?;
        let facts = {
            let log = self.log.lock();
            if log.spare_has_room(room) {
                return Ok(());
            }
            LogFacts::of(&log)
        };
        let spare = match catalog.unlisted.take_if(|spare| spare.has_room(room)) {
            Some(spare) => spare,
            None => reserve_spare(&self.disk, &self.options, &mut catalog.manifest, &facts, room, frees)
                .map_err(|error| self.health.after(Failure::of(error)))?,
        };
        if let Some(outgrown) = catalog.unlisted.take() {
            // A copy of the manifest may name it: its file goes with the next one that is there for certain.
            catalog.uncertain.push(outgrown.listed.segment);
        }
        // Too small: nobody may begin it any more once the manifest no longer lists it.
        let small = self.log.lock().spare.take();
        let listed = spare.listed;
        match self.update_manifest(&mut catalog, |next| next.spare = Some(listed)) {
            Ok(()) => {
                self.log.lock().spare = Some(spare);
                Ok(())
            }
            Err(NotWritten { error, maybe_there: false }) if small.is_some() => {
                // Every copy lists the small one as before.
                self.log.lock().spare = small;
                let _ = self.disk.remove(&Segment::name(listed.segment));
                Err(error)
            }
            Err(failure) => {
                // The small one's file goes with the next manifest, which lists it no longer.
                catalog.unlisted = Some(spare);
                Err(failure.into())
            }
        }
    }
}
