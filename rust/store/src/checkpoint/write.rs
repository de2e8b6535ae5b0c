//! Writing an image of the index while writers go on, and making the manifest name it.
//!
//! Entries are copied in runs under the read lock, so a change waits for microseconds. Those that the log got
//! after `begin`, a commit boundary, are left out: the model nodes of the image are those of the index as it was
//! when the image was begun, and later keys need not fit them; nor must a writer that goes on at the end of the
//! keys keep the image from ever getting there. So each key is in the image as it was at `begin`, or is not there
//! if it has changed since. Replay of every record from `begin` on mends that: at `until`, the commit boundary
//! where the last entry was read, the index is what it was then, and so are the counts, which were taken there.
//! Before the manifest names an image the log is durable past `until`, so an image refers to nothing that
//! recovery could drop. Two images are kept. O(keys), in memory of a few leaves.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use alex_index::image::{Identity, ImageSink, ImageWriter};

use parking_lot::MutexGuard;

use crate::disk::DiskFile;
use crate::engine::compaction_state::Emptied;
use crate::engine::flow::Limit;
use crate::engine::health::Harm;
use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::error::{Error, Result};
use crate::format::attachment::{Attachment, Count, image_name};
use crate::format::header::{LogEnd, Origin};
use crate::format::location::Location;
use crate::format::manifest::ImageEntry;
use crate::log::append::Log;
use crate::log::segment::{Counts, Segment};
use crate::log::segments::Segments;
use crate::operation::Operation;
use crate::threads::panics::catching;

/// Entries copied under one lock: two microseconds, which is what a put beside a checkpoint may wait for.
const RUN: usize = 1024;
/// Images that are kept.
pub(crate) const GENERATIONS: usize = 2;
/// The tail may always grow to this much before commits wait for a checkpoint, however often those are wanted.
const LEAST_STOP_BYTES: u64 = 16 << 20;
/// Closing writes an image where at least so many bytes would have to be replayed.
const LEAST_BYTES_AT_CLOSE: u64 = 4 << 20;

/// What the log knows of images; behind the commit lock.
#[derive(Default)]
pub(crate) struct Images {
    /// Bytes of log since the newest image was begun.
    pub(crate) tail_bytes: u64,
    /// A checkpoint is due when the tail is so long.
    due_at: u64,
    /// Commits wait for one when the tail is so long.
    stop_at: u64,
    /// How much the log grew while the last image was written.
    grew: u64,
    /// Bytes of the newest image.
    newest_bytes: u64,
    /// Rises with every checkpoint that begins.
    tick: u64,
    /// Rises whenever the index was built anew, maybe from an older image.
    pub(crate) rebuilds: u64,
    /// The kept images, and the one being written: when it was begun, and where.
    kept: Vec<Kept>,
}

#[derive(Clone, Copy)]
struct Kept {
    id: u32,
    /// 0 for one that was there when the store was opened.
    tick: u64,
    position: LogEnd,
    /// Both copies of the manifest name it.
    published: bool,
}

impl Images {
    pub(crate) fn new(listed: &[ImageEntry], tail_bytes: u64, least_bytes: u64) -> Self {
        let newest_bytes = listed.first().map_or(0, |image| image.bytes);
        let kept = listed.iter().map(|image| Kept {
            id: image.id,
            tick: 0,
            position: image.position,
            published: true,
        });
        let bound = Self::bound(least_bytes, newest_bytes);
        let mut images = Self {
            tail_bytes,
            due_at: 0,
            stop_at: 0,
            // Nothing is known yet: the first image of a load had better be ready early, while it is small.
            grew: bound,
            newest_bytes,
            tick: 1,
            rebuilds: 0,
            kept: kept.collect(),
        };
        images.schedule(least_bytes);
        // A tail that is too long already must not keep the first commit waiting.
        images.stop_at = images.stop_at.max(tail_bytes + bound / 2);
        images
    }

    /// The tail is bounded so that checkpoints write at most some two bytes for a byte of log.
    fn bound(least_bytes: u64, image_bytes: u64) -> u64 {
        least_bytes.max(image_bytes / 2)
    }

    /// The next checkpoint begins so early that it ends, as the last one did, before commits are slowed. It never
    /// begins later than that: writers that are slowed add little while an image is written, which must not
    /// make the next one begin where they are slowed already.
    fn schedule(&mut self, least_bytes: u64) {
        let bound = Self::bound(least_bytes, self.newest_bytes);
        self.stop_at = bound.max(LEAST_STOP_BYTES);
        let latest = bound.min(self.slow_from());
        self.due_at = latest - (self.grew.saturating_mul(5) / 4).min(latest - bound / 2);
    }

    /// Commits are slowed when the tail is so long.
    fn slow_from(&self) -> u64 {
        self.stop_at - self.stop_at / 4
    }

    /// How far the log may grow that has come to `written`.
    pub(crate) fn limit(&self, written: u64) -> Limit {
        Limit {
            slow_from: (written - self.tail_bytes).saturating_add(self.slow_from()),
            stop_at: (written - self.tail_bytes).saturating_add(self.stop_at),
        }
    }

    /// Whether it is time for a checkpoint; true once.
    #[inline]
    pub(crate) fn wants_checkpoint(&mut self) -> bool {
        let wants = self.tail_bytes >= self.due_at;
        if wants {
            self.due_at = u64::MAX;
        }
        wants
    }

    fn is_due(&self) -> bool {
        self.tail_bytes >= self.due_at || self.due_at == u64::MAX
    }

    fn begin(&mut self, id: u32, position: LogEnd) {
        self.tick += 1;
        self.kept.push(Kept { id, tick: self.tick, position, published: false });
    }

    /// The image with this id came to nothing: no manifest on the disk names it. Tries again when the tail
    /// has grown by a quarter.
    fn abandon(&mut self, id: u32, least_bytes: u64) {
        self.kept.retain(|kept| kept.id != id);
        self.put_off(least_bytes);
    }

    fn put_off(&mut self, least_bytes: u64) {
        let bound = Self::bound(least_bytes, self.newest_bytes);
        self.due_at = self.tail_bytes.saturating_add((bound / 4).max(1));
        // Whatever kept it from being written, commits do not wait for that.
        self.stop_at = self.due_at.saturating_add(bound.max(LEAST_STOP_BYTES));
    }

    /// Both copies of the manifest list these and no others.
    fn listed(&mut self, listed: &[ImageEntry]) {
        self.kept.retain(|kept| listed.iter().any(|image| image.id == kept.id));
        self.kept.iter_mut().for_each(|kept| kept.published = true);
        self.newest_bytes = listed.first().map_or(0, |image| image.bytes);
    }

    fn published(&mut self, listed: &[ImageEntry], tail_before: u64, least_bytes: u64) {
        self.listed(listed);
        self.tail_bytes = self.tail_bytes.saturating_sub(tail_before);
        self.grew = self.tail_bytes;
        self.schedule(least_bytes);
    }

    /// After damage: the index was built from what is left.
    pub(crate) fn rebuilt_without(&mut self, damaged: &[u32], tail_bytes: u64) {
        self.kept.retain(|kept| !damaged.contains(&kept.id));
        self.rebuilds += 1;
        self.tail_bytes = tail_bytes;
        self.due_at = 0;
        self.stop_at = self.stop_at.max(tail_bytes.saturating_add(LEAST_STOP_BYTES));
    }

    /// To be taken at the end of a pass that found nothing in the index that points into a segment.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    pub(crate) fn newest_bytes(&self) -> u64 {
        self.newest_bytes
    }

    /// Whether an image that is kept, or being written, may still point into emptied segments, or replay over
    /// it reads them.
    ///
    /// One that was begun after the pass that found nothing pointing there holds no such entry, and begins
    /// behind them in the log, of which they were not the last. So no tombstone goes before every image was
    /// begun after it: those in the log stay until then, and copies of them are written later still.
    pub(crate) fn need(&self, emptied: &Emptied) -> bool {
        self.kept.iter().any(|image| image.needs(emptied))
    }

    /// The images that need any of the segments.
    pub(crate) fn that_need(&self, emptied: &[Emptied]) -> Vec<u32> {
        let needs = |image: &&Kept| emptied.iter().any(|emptied| image.needs(emptied));
        self.kept.iter().filter(needs).map(|image| image.id).collect()
    }

    /// Whether closing should write an image: the tail costs the next opening more than that is worth.
    fn worth_at_close(&self, least_bytes: u64) -> bool {
        let worth = LEAST_BYTES_AT_CLOSE.max(self.newest_bytes / 16);
        self.tail_bytes >= worth.min(Self::bound(least_bytes, self.newest_bytes))
    }
}

impl Kept {
    fn needs(&self, emptied: &Emptied) -> bool {
        self.tick <= emptied.tick
    }
}

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
            let mut log = self.log.lock();
            let end = log.end;
            let there = |kept: &Kept| kept.published && kept.position == end;
            if end.segment == 0 || log.images.kept.iter().any(there) {
                // There is nothing behind that image.
                log.images.schedule(self.options.checkpoint_tail_bytes);
                log.bound_tail();
                return Ok(());
            }
        }
        self.new_image(&maintenance, &[])
    }

    /// Sees to it that no image needs the emptied segments any more: gives up those that do, for a new one
    /// where that leaves none. A full disk must not keep segments from coming free, so there it leaves none.
    pub(crate) fn replace_images(&self, emptied: &[Emptied]) -> Result<()> {
        let maintenance = self.maintenance.lock();
        self.check_writable()?;
        let (give_up, left) = {
            let log = self.log.lock();
            let give_up = log.images.that_need(emptied);
            let left = log.images.kept.iter().any(|kept| kept.published && !give_up.contains(&kept.id));
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
        self.log.lock().images.listed(&catalog.manifest.images);
        Ok(())
    }

    /// Writes an image and has the manifest name it, no longer those to `give_up`.
    fn new_image(&self, _maintenance: &MutexGuard<'_, ()>, give_up: &[u32]) -> Result<()> {
        let least_bytes = self.options.checkpoint_tail_bytes;
        let id = self.catalog.lock().next_image(&*self.disk).inspect_err(|_| {
            // Commits must not wait for what cannot come.
            let mut log = self.log.lock();
            log.images.put_off(least_bytes);
            log.bound_tail();
        })?;
        let (begin, tail_before) = {
            let mut log = self.log.lock();
            let end = log.end;
            log.images.begin(id, end);
            (end, log.images.tail_bytes)
        };
        let write = || self.mending(|| self.write_image(id, begin));
        let written = catching("the writing of an image", write).unwrap_or_else(|panicked| {
            // Nothing refers to what was written: it is made anew when it is due again.
            self.health.panicked(panicked.clone(), Harm::None);
            Err(panicked)
        });
        let written = written.inspect_err(|_| {
            // No manifest names it; should this fail too, the next opening removes it as an orphan.
            let _ = self.disk.remove(&image_name(id));
            let mut log = self.log.lock();
            log.images.abandon(id, least_bytes);
            log.bound_tail();
        })?;
        let mut catalog = self.catalog.lock();
        // Should this fail, a copy of the manifest may name the image all the same: it counts as kept, and its file
        // goes with the next manifest that is there for certain and does not name it.
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
            let mut log = self.log.lock();
            if failure.maybe_there {
                log.images.put_off(least_bytes);
            } else {
                log.images.abandon(id, least_bytes);
            }
            log.bound_tail();
        })?;
        let mut log = self.log.lock();
        log.images.published(&catalog.manifest.images, tail_before, least_bytes);
        log.bound_tail();
        Ok(())
    }

    /// One round of the thread that writes images.
    pub(crate) fn checkpoint_if_due(&self) {
        let due = || self.log.lock().images.is_due() && self.check_writable().is_ok();
        // More than is due may have come meanwhile. A failure that matters is remembered; a full disk is met
        // again by the next write.
        while due() && !self.threads.checkpointer.stopping() && self.checkpoint().is_ok() {}
    }

    /// Writes the file of an image begun at `begin`, durable under its name, and makes the log durable past
    /// everything it refers to.
    fn write_image(&self, id: u32, begin: LogEnd) -> Result<ImageEntry> {
        let rebuilds = self.log.lock().images.rebuilds;
        let mut file = ImageFile::create(self, id)?;
        let (mut stream, mut writer) = {
            let state = self.read_state()?;
            (Stream::of(&state, begin)?, ImageWriter::begin(state.index.alex(), file.sink(), file.identity))
        };
        loop {
            if self.threads.checkpointer.stopping() {
                return Err(self.closed_error());
            }
            if !stream.next_run(&*self.read_state()?)? {
                break;
            }
            writer
                .push(&stream.keys, &stream.locations)
                .map_err(|error| file.failed(Operation::Write, error))?;
        }
        self.count_replaced();
        let (until, counts) = {
            let log = self.log.lock();
            if log.images.rebuilds != rebuilds {
                // An index that was built anew may point to where things were before they were moved: what
                // was read of both is not what either counts. Made again.
                return Err(Error::ImageDamaged);
            }
            (log.end, self.read_state()?.segments.counted())
        };
        let entry = file.finish(writer, &Attachment { begin, until, counts })?;
        self.flush_up_to(until.last_seq)?;
        debug_assert!(self.watermarks.durable() >= until.last_seq);
        Ok(entry)
    }

    /// What closing writes: an image of the index as it stays, if that is worth it. The log is sealed and
    /// synced. A failure costs the next opening time and nothing else.
    pub(crate) fn image_at_close(&self, log: &Log, id: u32) -> Option<ImageEntry> {
        if !log.images.worth_at_close(self.options.checkpoint_tail_bytes) {
            return None;
        }
        let write = || -> Result<ImageEntry> {
            let mut file = ImageFile::create(self, id)?;
            let state = self.read_state()?;
            let mut writer = ImageWriter::begin(state.index.alex(), file.sink(), file.identity);
            let mut stream = Stream::of(&state, log.end)?;
            while stream.next_run(&state)? {
                writer
                    .push(&stream.keys, &stream.locations)
                    .map_err(|error| file.failed(Operation::Write, error))?;
            }
            drop(state);
            self.count_replaced();
            let counts = self.read_state()?.segments.counted();
            file.finish(writer, &Attachment { begin: log.end, until: log.end, counts })
        };
        catching("the writing of an image", write)
            .and_then(|written| written)
            .inspect_err(|_| {
                // As in `checkpoint`.
                let _ = self.disk.remove(&image_name(id));
            })
            .ok()
    }
}

/// The entries of an image, run by run: those of the index that the log got before `begin`.
struct Stream {
    begin: LogEnd,
    /// Segments of relocated records whose ids are above that of `begin`'s segment: what they hold is older.
    relocated: Vec<u32>,
    after: Bound<i64>,
    /// The highest key at first: what comes behind it is new.
    last: i64,
    keys: Vec<i64>,
    locations: Vec<u64>,
}

impl Stream {
    /// Of the index as it is when the image's model nodes are taken, at or after `begin`. While the image is written no
    /// entry moves to another place: the caller holds the lock of `maintenance`.
    fn of(state: &State, begin: LogEnd) -> Result<Self> {
        let relocated = |segment: &&Arc<Segment>| {
            segment.id() > begin.segment && segment.header.origin == Origin::Relocation
        };
        Ok(Self {
            begin,
            relocated: state.segments.iter().filter(relocated).map(|segment| segment.id()).collect(),
            after: Bound::Unbounded,
            last: state.index.last()?.map_or(i64::MIN, |(key, _)| key),
            keys: Vec::with_capacity(RUN),
            locations: Vec::with_capacity(RUN),
        })
    }

    /// Reads the next run, which may be empty; false once there is none. O(log n + run).
    fn next_run(&mut self, state: &State) -> Result<bool> {
        let Self { begin, relocated, after, last, keys, locations } = self;
        keys.clear();
        locations.clear();
        state.index.scan_into(*after, Bound::Included(*last), false, RUN, keys, locations)?;
        let Some(&reached) = keys.last() else { return Ok(false) };
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
                    (keys[kept], locations[kept]) = (keys[at], locations[at]);
                    kept += 1;
                }
            }
            keys.truncate(kept);
            locations.truncate(kept);
        }
        Ok(true)
    }
}

/// The file of an image being written.
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
            // Of an attempt that met damage in the image that the index came from.
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

    /// Writes what is left, durable with its name.
    fn finish(self, writer: ImageWriter<Sink>, attachment: &Attachment) -> Result<ImageEntry> {
        let (written, _) =
            writer.finish(&attachment.encode()).map_err(|error| self.failed(Operation::Write, error))?;
        self.file.sync().map_err(|error| self.failed(Operation::Sync, error))?;
        let disk = &self.shared.disk;
        disk.sync_dir().map_err(|error| Error::io(Operation::SyncDirectory, disk.path(), error))?;
        Ok(ImageEntry { id: self.id, position: attachment.begin, bytes: written.bytes, keys: written.keys })
    }
}

impl Segments {
    /// How the bytes of each segment count; taken under the commit lock.
    fn counted(&self) -> Vec<Count> {
        let count = |segment: &Arc<Segment>| {
            let Counts { live, tombstones, .. } = segment.counts();
            Count { segment: segment.id(), live, tombstones }
        };
        self.iter().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Images, LEAST_STOP_BYTES};

    #[test]
    fn a_checkpoint_begins_before_commits_are_slowed_however_little_was_written_beside_the_last() {
        for least_bytes in [1 << 10, 1 << 20, 64 << 20, 1 << 40] {
            let mut images = Images::new(&[], 0, least_bytes);
            for grew in [0, 1, 1 << 10, 1 << 20, 32 << 20, 1 << 30, u64::MAX / 8] {
                images.grew = grew;
                images.schedule(least_bytes);
                let Images { due_at, stop_at, .. } = images;
                let bound = Images::bound(least_bytes, 0);
                assert!(due_at <= bound && due_at <= images.slow_from(), "{due_at} of {stop_at}, {grew}");
                assert!(due_at >= bound / 2 || due_at >= LEAST_STOP_BYTES / 2, "no more images than that");
                assert!(due_at.saturating_add(grew) <= bound || due_at == bound / 2, "it ends in time");
            }
        }
    }
}
