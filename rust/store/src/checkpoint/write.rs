//! Writes an image of the index while writers go on, and makes the manifest list it.
//!
//! Entries are copied in runs under the read lock, so a change waits for microseconds. Entries that were
//! logged after `begin`, a commit boundary, are left out: the image has the model nodes of the index as it
//! was when the image was begun, and later keys need not fit them. A writer that keeps adding keys at the end
//! must not keep the image from finishing, either. So each key is in the image as it was at `begin`, or is
//! missing if it has changed since. Replaying every record from `begin` on repairs that: at `until`, the
//! commit boundary where the last entry was read, the index is what it was then, and so are the counts, which
//! were taken there. The log is durable past `until` before the manifest lists an image, so an image never
//! refers to anything that recovery could drop. Two images are kept. O(keys), in memory of a few leaves.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use alex_index::image::{Identity, ImageSink};

use crate::checkpoint::image_file::TreeWriter;
use crate::disk::{Access, DiskFile};
use crate::engine::compaction_state::Emptied;
use crate::engine::health::Harm;
use crate::engine::locks::Guard;
use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::attachment::{Attachment, Count, image_name};
use crate::format::header::{LogEnd, Origin};
use crate::format::location::Location;
use crate::format::manifest::ImageEntry;
use crate::keys::{Key, KeyVec};
use crate::log::segment::{Counts, Segment};
use crate::log::segments::Segments;
use crate::operation::Operation;
use crate::threads::panics::catching;

/// Entries copied under one lock: takes two microseconds, which a put beside a checkpoint may have to wait.
const RUN: usize = 1024;
/// How many images are kept.
pub(crate) const GENERATIONS: usize = 2;
struct Sink(Arc<dyn DiskFile>);

impl ImageSink for Sink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
}

impl Shared {
    /// Writes an image of the index now, unless nothing was written since the last one.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let maintenance = self.maintenance.lock();
        self.check_writable()?;
        {
            let mut writing = self.writing.lock();
            let end = writing.log.end;
            if end.segment == 0 || writing.images.has_one_at(end) {
                writing.images.nothing_follows(self.options.checkpoint_tail_bytes);
                writing.bound_tail();
                return Ok(());
            }
        }
        self.new_image(&maintenance, &[])
    }

    /// Makes sure that no image needs the emptied segments any more. Gives up the images that do, after
    /// writing a new one if none would remain. A full disk must not keep segments from being freed: there no
    /// image may remain.
    pub(crate) fn replace_images(&self, emptied: &[Emptied]) -> Result<()> {
        let maintenance = self.maintenance.lock();
        self.check_writable()?;
        let (give_up, left) = {
            let writing = self.writing.lock();
            let give_up = writing.images.that_need(emptied);
            let left = writing.images.has_one_without(&give_up);
            (give_up, left)
        };
        if !left {
            match self.new_image(&maintenance, &give_up) {
                Err(error) if error.says_full() => {}
                outcome => return outcome,
            }
        }
        let mut catalog = self.catalog.lock();
        self.update_manifest(&mut catalog, |next| next.images.retain(|image| !give_up.contains(&image.id)))?;
        self.writing.lock().images.listed(&catalog.manifest.images);
        Ok(())
    }

    /// Writes an image and makes the manifest list it, and drop the images in `give_up`.
    fn new_image(&self, _maintenance: &Guard<'_, ()>, give_up: &[u32]) -> Result<()> {
        let least_bytes = self.options.checkpoint_tail_bytes;
        let (id, older) = {
            let mut catalog = self.catalog.lock();
            (catalog.next_image(&*self.disk), catalog.manifest.images.clone())
        };
        let id = id.inspect_err(|_| {
            // Commits must not wait for an image that cannot be written.
            let mut writing = self.writing.lock();
            writing.images.put_off(least_bytes);
            writing.bound_tail();
        })?;
        let (begin, tail_before) = {
            let mut writing = self.writing.lock();
            let end = writing.log.end;
            writing.images.begin(id, end);
            (end, writing.images.tail_bytes)
        };
        self.make_room_for_image(&older);
        let write = || self.mending(|| self.write_image(id, begin));
        let written = catching("the writing of an image", write).unwrap_or_else(|panicked| {
            // Nothing refers to what was written. The image is written anew when one is due again.
            self.health.panicked(panicked.clone(), Harm::None);
            Err(panicked)
        });
        let written = written.inspect_err(|_| {
            // No manifest lists the file. If this fails too, the next opening removes it as an orphan.
            let _ = self.disk.remove(&image_name(id));
            let mut writing = self.writing.lock();
            writing.images.abandon(id, least_bytes);
            writing.bound_tail();
        })?;
        let mut catalog = self.catalog.lock();
        // If this fails, a copy of the manifest may list the image all the same. It then counts as kept, and
        // its file is removed with the next manifest that certainly is on the disk and does not list it.
        self.update_manifest(&mut catalog, |next| {
            next.images.retain(|image| !give_up.contains(&image.id));
            next.images.insert(0, written);
            next.images.truncate(GENERATIONS);
            next.next_image = next.next_image.max(id + 1);
        })
        .inspect_err(|failure| {
            if !failure.maybe_there {
                let _ = self.disk.remove(&image_name(id));
            }
            let mut writing = self.writing.lock();
            if failure.maybe_there {
                writing.images.put_off(least_bytes);
            } else {
                writing.images.abandon(id, least_bytes);
            }
            writing.bound_tail();
        })?;
        let mut writing = self.writing.lock();
        writing.images.published(&catalog.manifest.images, tail_before, least_bytes);
        writing.bound_tail();
        Ok(())
    }

    /// Where memory cannot cache all files, older images need not stay there beside the new one: only another opening
    /// would read them, and values would make room for them. The one that the index was opened from stays, since its pages
    /// are read as they are needed.
    fn make_room_for_image(&self, older: &[ImageEntry]) {
        let (segments, own) = {
            let state = self.state.read();
            (Arc::clone(&state.segments), state.index.image())
        };
        self.asks_ahead.look(&segments);
        if self.disk.is_crowded() {
            for image in older.iter().filter(|image| Some(image.id) != own) {
                // A hint: whatever fails here, the kernel chooses what goes.
                if let Ok(file) = self.disk.open(&image_name(image.id), Access::Read) {
                    file.will_not_read();
                }
            }
        }
    }

    /// One round of the thread that writes images.
    pub(crate) fn checkpoint_if_due(&self) {
        let due = || self.writing.lock().images.is_due() && self.check_writable().is_ok();
        // Another image may have become due meanwhile. A failure that matters is remembered; a full disk is
        // met again by the next write.
        while due() && !self.threads.checkpointer.stopping() && self.checkpoint().is_ok() {}
    }

    /// Writes the file of an image begun at `begin`, durable under its name, and makes the log durable past
    /// everything that the image refers to.
    fn write_image(&self, id: u32, begin: LogEnd) -> Result<ImageEntry> {
        let rebuilds = self.writing.lock().images.rebuilds;
        let mut file = ImageFile::create(self, id)?;
        let (mut stream, mut writer) = {
            let state = self.read_state()?;
            (Stream::of(&state, begin)?, TreeWriter::begin(state.index.tree(), file.sink(), file.identity))
        };
        loop {
            if self.threads.checkpointer.stopping() {
                return Err(self.closed_error());
            }
            if !stream.next_run(&*self.read_state()?)? {
                break;
            }
            writer
                .push(stream.keys.as_keys(), &stream.locations)
                .map_err(|error| file.failed(Operation::Write, error))?;
        }
        // Counts most of them while no lock is held.
        self.count_replaced();
        let (until, counts) = {
            let writing = self.writing.lock();
            if writing.images.rebuilds != rebuilds {
                // A rebuilt index may point to where records were before they were moved, so entries read
                // before and after do not match either set of counts. The image is written again.
                return Err(Error::ImageDamaged);
            }
            self.all_counted()?;
            (writing.log.end, self.read_state()?.segments.counted())
        };
        let entry = file.finish(writer, &Attachment { begin, until, counts })?;
        self.flush_up_to(until.last_seq)?;
        debug_assert!(self.watermarks.durable() >= until.last_seq);
        Ok(entry)
    }

    /// Refuses to write an image while replaced records cannot be read: its counts would be wrong for good.
    fn all_counted(&self) -> Result<()> {
        while !self.count_replaced() {
            let segments = Arc::clone(&self.state.read().segments);
            if let Some(location) = self.uncounted.first()
                && let Some(segment) = segments.get(location.segment())
            {
                // If the record can be read by now, everything is counted again.
                segment.record_size(location.offset())?;
            }
        }
        Ok(())
    }

    /// Writes an image of the final index on closing, if it is worthwhile. The log is sealed and synced. A
    /// failure costs the next opening time and nothing else.
    pub(crate) fn image_at_close(
        &self,
        writing: &Writing,
        id: u32,
        older: &[ImageEntry],
    ) -> Option<ImageEntry> {
        if !writing.images.worth_at_close(self.options.checkpoint_tail_bytes) {
            return None;
        }
        self.make_room_for_image(older);
        let write = || -> Result<ImageEntry> {
            let mut file = ImageFile::create(self, id)?;
            let state = self.read_state()?;
            let mut writer = TreeWriter::begin(state.index.tree(), file.sink(), file.identity);
            let mut stream = Stream::of(&state, writing.log.end)?;
            while stream.next_run(&state)? {
                writer
                    .push(stream.keys.as_keys(), &stream.locations)
                    .map_err(|error| file.failed(Operation::Write, error))?;
            }
            drop(state);
            self.all_counted()?;
            let counts = self.read_state()?.segments.counted();
            file.finish(writer, &Attachment { begin: writing.log.end, until: writing.log.end, counts })
        };
        catching("the writing of an image", write)
            .and_then(|written| written)
            .inspect_err(|_| {
                // No manifest lists the file; a later opening removes it if this fails.
                let _ = self.disk.remove(&image_name(id));
            })
            .ok()
    }
}

/// The entries of an image, run by run: those that were logged before `begin`.
struct Stream {
    begin: LogEnd,
    /// Relocation segments with higher ids than the segment of `begin`. Their records are older.
    relocated: Vec<u32>,
    after: Bound<Key>,
    /// The highest key at the beginning; keys beyond it are new.
    last: Key,
    keys: KeyVec,
    locations: Vec<u64>,
}

impl Stream {
    /// Streams the index as of when the image's model nodes are taken, at or after `begin`. No entry moves
    /// while the image is written, because the caller holds the `maintenance` lock.
    fn of(state: &State, begin: LogEnd) -> Result<Self> {
        let relocated = |segment: &&Arc<Segment>| {
            segment.id() > begin.segment && segment.header.origin == Origin::Relocation
        };
        Ok(Self {
            begin,
            relocated: state.segments.iter().filter(relocated).map(|segment| segment.id()).collect(),
            after: Bound::Unbounded,
            last: state.index.last()?.map_or(Key::MIN, |(key, _)| key),
            keys: KeyVec::default(),
            locations: Vec::with_capacity(RUN),
        })
    }

    /// Reads the next run, which may be empty; false once there are no more. O(log n + run).
    fn next_run(&mut self, state: &State) -> Result<bool> {
        let Self { begin, relocated, after, last, keys, locations } = self;
        keys.clear();
        locations.clear();
        state.index.scan_into(*after, Bound::Included(*last), false, RUN, keys, locations)?;
        let Some(reached) = keys.last() else { return Ok(false) };
        *after = Bound::Excluded(reached);
        let is_old = |location: u64| {
            let location = Location(location);
            (location.segment(), location.offset()) < (begin.segment, begin.offset)
                || location.segment() > begin.segment && relocated.binary_search(&location.segment()).is_ok()
        };
        if !locations.iter().all(|&location| is_old(location)) {
            let mut kept = 0;
            for at in 0..keys.len() {
                if is_old(locations[at]) {
                    keys.copy_within(at, kept);
                    locations[kept] = locations[at];
                    kept += 1;
                }
            }
            keys.truncate(kept);
            locations.truncate(kept);
        }
        Ok(true)
    }
}

/// The file of an image that is being written.
struct ImageFile<'s> {
    shared: &'s Shared,
    id: u32,
    identity: Identity,
    file: Arc<dyn DiskFile>,
}

impl<'s> ImageFile<'s> {
    fn create(shared: &'s Shared, id: u32) -> Result<Self> {
        let name = image_name(id);
        let path = shared.disk.path_of(&name);
        match shared.disk.remove(&name) {
            // The file was left by an attempt that found damage in the image from which the index came.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(Operation::Remove, &path, error));
            }
            _ => {}
        }
        let file =
            shared.disk.create(&name, 0).map_err(|error| Error::io(Operation::Create, &path, error))?;
        let store = shared.opened.store_id;
        Ok(Self { shared, id, identity: Identity { store, file: id.into() }, file })
    }

    fn sink(&mut self) -> Sink {
        Sink(Arc::clone(&self.file))
    }

    fn failed(&self, operation: Operation, error: io::Error) -> Error {
        Error::io(operation, &self.shared.disk.path_of(&image_name(self.id)), error)
    }

    /// Writes the rest, and makes the file durable together with its name.
    fn finish(self, writer: TreeWriter<Sink>, attachment: &Attachment) -> Result<ImageEntry> {
        let (written, _) =
            writer.finish(&attachment.encode()).map_err(|error| self.failed(Operation::Write, error))?;
        self.file.sync().map_err(|error| self.failed(Operation::Sync, error))?;
        let disk = &self.shared.disk;
        disk.sync_dir().map_err(|error| Error::io(Operation::SyncDirectory, disk.path(), error))?;
        Ok(ImageEntry { id: self.id, position: attachment.begin, bytes: written.bytes, keys: written.keys })
    }
}

impl Segments {
    /// The counts of each segment, taken under the commit lock.
    fn counted(&self) -> Vec<Count> {
        let count = |segment: &Arc<Segment>| {
            let Counts { live, tombstones, .. } = segment.counts();
            Count { segment: segment.id(), live, tombstones }
        };
        self.iter().map(count).collect()
    }
}
