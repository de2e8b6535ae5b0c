//! The segments of the log as the manifest and their headers link them, checked to follow each other. Knows
//! where each begins and ends. Knows nothing of what their records do.

use std::io;
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::format::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::location::Location;
use crate::format::manifest::{self, Entry, Manifest, Relocation, is_stray};
use crate::log::reader::{Beyond, SegmentReader, watermark_beyond};
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::options::{Options, ReadMode, Recovery};

/// With `read_mode="pread"` a chain holds at most one in `HELD_SHARE` of the descriptors that the process may
/// have, and at most `HELD_OPEN`; if there are too few for that, it holds none. Other segments are opened for
/// each read.
const HELD_SHARE: u64 = 4;
const HELD_OPEN: u64 = 256;
/// Descriptors that must be left for the rest of opening, and for a first write.
const LEFT_FREE: usize = 8;

/// The segments of the log in order, checked to follow each other, and the files that accompany them.
pub(crate) struct Chain {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Where each segment ends, if known.
    entries: Vec<Entry>,
    /// Segments that compaction wrote.
    pub(crate) relocations: Vec<(Arc<Segment>, Relocation)>,
    /// The next segment, if it has no whole header. Nothing in it counts, but a watermark in it would prove
    /// that it once did.
    unbegun: Option<Segment>,
    /// Whether the process has few descriptors left.
    scarce: bool,
    /// The chain was cut before a damaged segment, as `recovery="point_in_time"` allows.
    pub(crate) cut: bool,
    /// Every sequence number in a segment file is below this.
    pub(crate) next_seq: u64,
    /// Every id of a segment file is below this.
    pub(crate) next_segment: u32,
}

/// Headers of segments are read one by one. Once one had to come from a device, all that remain are asked for, so that
/// the device reads them side by side.
struct HeadersAhead<'a> {
    disk: &'a Arc<dyn Disk>,
    /// What [`Disk::pages_read`] was at the beginning.
    pages: u64,
    asked: bool,
}

impl HeadersAhead<'_> {
    /// To be called after each header, with the segments whose headers were not read yet.
    fn read_one<I: Iterator<Item = u32>>(&mut self, unread: impl FnOnce() -> I) {
        if self.asked || self.disk.pages_read() == self.pages {
            return;
        }
        self.asked = true;
        for id in unread() {
            if let Ok(file) = self.disk.open(&Segment::name(id), Access::Read) {
                file.will_read(0, SEGMENT_HEADER_BYTES);
            }
        }
    }
}

impl Chain {
    /// Opens what the manifest lists. An unlisted file never held a record that counts, since nothing goes
    /// into a segment before both copies of the manifest list it.
    pub(crate) fn find(
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
        names: &[String],
        options: &Options,
    ) -> Result<Self> {
        let mut chain = Self {
            segments: Vec::with_capacity(manifest.segments.len() + 1),
            entries: Vec::with_capacity(manifest.segments.len() + 1),
            relocations: Vec::with_capacity(manifest.relocations.len()),
            unbegun: None,
            scarce: false,
            cut: false,
            next_seq: manifest.next_seq,
            next_segment: manifest.next_segment,
        };
        let listed = manifest.segments.len() + manifest.relocations.len();
        let held = held_open();
        let mut headers = HeadersAhead { disk, pages: disk.pages_read(), asked: false };
        let released = |chain: &Self, left: usize, segment: &Segment| -> Result<()> {
            if chain.scarce || left > held {
                return release_at_any_cost(segment, options);
            }
            segment.release();
            Ok(())
        };
        for (at, relocation) in manifest.relocations.iter().enumerate() {
            let segment = chain.open_segment(disk, manifest, relocation.segment, options)?;
            if segment.header.origin != Origin::Relocation {
                let expected = "a segment of relocated records".to_owned();
                return Err(segment.other_than(expected, "one of the log".to_owned()));
            }
            released(&chain, listed - at, &segment)?;
            chain.relocations.push((Arc::new(segment), *relocation));
            headers.read_one(|| {
                let relocations = manifest.relocations[at + 1..].iter().map(|other| other.segment);
                relocations.chain(manifest.segments.iter().map(|entry| entry.segment))
            });
        }
        for (at, entry) in manifest.segments.iter().enumerate() {
            match chain
                .open_segment(disk, manifest, entry.segment, options)
                .and_then(|segment| chain.check_link(&segment, entry.after_gap).map(|()| segment))
            {
                Ok(segment) => {
                    if entry.end.is_some() {
                        released(&chain, manifest.segments.len() - at, &segment)?;
                    }
                    chain.push(segment, *entry);
                    headers.read_one(|| manifest.segments[at + 1..].iter().map(|other| other.segment));
                }
                Err(Error::Corruption { .. }) if options.recovery == Recovery::PointInTime => {
                    chain.cut = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !chain.cut {
            chain.find_spare(disk, manifest, options)?;
        }
        chain.go_behind_files(disk, manifest, names, options)?;
        if options.read_mode == ReadMode::Pread && !chain.scarce {
            chain.leave_some(disk, options)?;
        }
        Ok(chain)
    }

    /// Makes sure that no id and no sequence number of an existing file is reused, whether the manifest lists
    /// it or not.
    fn go_behind_files(
        &mut self,
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
        names: &[String],
        options: &Options,
    ) -> Result<()> {
        let listed = manifest.file_set();
        for id in names.iter().filter_map(|name| Segment::id_of(name)) {
            let mut ours = listed.contains(&id);
            if !ours {
                match Segment::open(disk, id, Access::Read, options.read_mode) {
                    Ok(orphan) if orphan.header.store_id == manifest.store_id => {
                        self.next_seq = self.next_seq.max(orphan.header.highest_possible_seq() + 1);
                        ours = true;
                    }
                    // The sequence numbers in this file must not be reused, so it cannot be skipped.
                    Err(error) if error.says_not_now() => return Err(error),
                    Ok(_) | Err(_) => {}
                }
            }
            // Includes files whose header is damaged or never became durable.
            if ours || !is_stray(manifest.next_segment, id) {
                self.next_segment = self.next_segment.max(id.saturating_add(1));
            }
        }
        Ok(())
    }

    /// The chain of files that a read-only handle holds open, even if they have been removed since: those
    /// that `manifest` lists. That manifest ends where the handle's log ends.
    pub(crate) fn held(manifest: &Manifest, segments: &Segments) -> Result<Self> {
        let twin = |id| segments.at(Location::new(id, 0)).map(|segment| segment.twin());
        let mut chain = Self {
            segments: Vec::with_capacity(manifest.segments.len()),
            entries: Vec::with_capacity(manifest.segments.len()),
            relocations: Vec::with_capacity(manifest.relocations.len()),
            unbegun: None,
            scarce: false,
            cut: false,
            next_seq: manifest.next_seq,
            next_segment: manifest.next_segment,
        };
        for relocation in &manifest.relocations {
            chain.relocations.push((Arc::new(twin(relocation.segment)?), *relocation));
        }
        for entry in &manifest.segments {
            chain.push(twin(entry.segment)?, *entry);
        }
        Ok(chain)
    }

    /// Adds the next segment if the log went on there before the manifest could say so.
    fn find_spare(&mut self, disk: &Arc<dyn Disk>, manifest: &Manifest, options: &Options) -> Result<()> {
        let Some(spare) = manifest.spare else { return Ok(()) };
        let unbegun = SegmentHeader::unbegun(manifest, spare);
        let access = if options.read_only { Access::Read } else { Access::Write };
        let opened = Segment::open_spare(disk, unbegun, access, options.read_mode)
            .map_err(|error| missing(&**disk, spare.segment, error))
            .and_then(|(segment, begun)| {
                if begun {
                    check_store(&segment, manifest)?;
                    self.check_link(&segment, false)?;
                }
                Ok((segment, begun))
            });
        match opened {
            Ok((segment, true)) => {
                if let Some(before) = self.entries.last_mut() {
                    before.end = Some(segment.header.predecessor);
                }
                let entry = Entry { segment: segment.id(), end: None, after_gap: false };
                self.push(segment, entry);
            }
            Ok((segment, false)) => self.unbegun = Some(segment),
            Err(Error::Corruption { .. }) if options.recovery == Recovery::PointInTime => self.cut = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn push(&mut self, segment: Segment, entry: Entry) {
        self.next_seq = self.next_seq.max(segment.header.highest_possible_seq() + 1);
        self.segments.push(Arc::new(segment));
        self.entries.push(entry);
    }

    /// Releases descriptors if too few would be left for what follows.
    fn leave_some(&self, disk: &Arc<dyn Disk>, options: &Options) -> Result<()> {
        let opened: Vec<_> = (0..LEFT_FREE).map(|_| disk.open(manifest::NAMES[0], Access::Read)).collect();
        let none = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        if opened.iter().any(|opened| opened.as_ref().is_err_and(none)) {
            drop(opened);
            self.let_go(options)?;
        }
        Ok(())
    }

    /// Gives back the descriptors of all segments that have ended.
    fn let_go(&self, options: &Options) -> Result<()> {
        let ended = self.segments.iter().zip(&self.entries).filter(|(_, entry)| entry.end.is_some());
        let relocated = self.relocations.iter().map(|(segment, _)| segment);
        ended
            .map(|(segment, _)| segment)
            .chain(relocated)
            .try_for_each(|segment| release_at_any_cost(segment, options))
    }

    /// Opens a segment, which must belong to this store.
    fn open_segment(
        &mut self,
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
        id: u32,
        options: &Options,
    ) -> Result<Segment> {
        let access = if options.read_only { Access::Read } else { Access::Write };
        let mut opened = Segment::open(disk, id, access, options.read_mode);
        if opened.as_ref().is_err_and(Error::says_no_descriptor) {
            // The segments opened so far can do without their descriptors, if they must.
            self.scarce = true;
            self.let_go(options)?;
            opened = Segment::open(disk, id, access, options.read_mode);
        }
        let segment = opened.map_err(|error| missing(&**disk, id, error))?;
        check_store(&segment, manifest)?;
        Ok(segment)
    }

    /// Checks that a segment begins where the one before it ended. Of a freed segment only the id is known.
    fn check_link(&self, segment: &Segment, after_gap: bool) -> Result<()> {
        let Entry { segment: before, end, .. } =
            self.entries.last().copied().unwrap_or(Entry { segment: 0, end: None, after_gap: false });
        let found = segment.header.predecessor;
        let follows = if after_gap {
            found.segment > before
        } else {
            found.segment == before && end.is_none_or(|end| found == end)
        };
        if segment.header.origin == Origin::Relocation || segment.id() <= before || !follows {
            let expected = format!("a segment that follows segment {before}, which ended at {end:?}");
            return Err(segment.other_than(expected, format!("one that follows {found:?}")));
        }
        Ok(())
    }

    /// The end of a segment, if its successor or the manifest says it.
    pub(crate) fn known_end(&self, at: usize) -> Option<LogEnd> {
        self.entries.get(at)?.end
    }

    /// Searches behind the place where replay stopped for a watermark that covers what is missing.
    pub(crate) fn watermark_beyond(&self, at: usize, offset: u64, last_seq: u64) -> Result<Beyond> {
        let mut beyond = Beyond { watermark: 0, bytes: 0 };
        for (here, segment) in self.segments.iter().enumerate().skip(at) {
            let from = if here == at { offset } else { SEGMENT_HEADER_BYTES };
            let found = watermark_beyond(segment, from, last_seq)?;
            beyond.watermark = beyond.watermark.max(segment.header.watermark).max(found.watermark);
            beyond.bytes += found.bytes;
        }
        if let Some(unbegun) = &self.unbegun {
            let found = watermark_beyond(unbegun, SEGMENT_HEADER_BYTES, last_seq)?;
            beyond.watermark = beyond.watermark.max(found.watermark);
            beyond.bytes += found.bytes;
        }
        Ok(beyond)
    }

    /// The position right behind the record with sequence number `seq`, which was accepted or is in a segment
    /// that was freed since. `milestones` are known positions to start from.
    pub(crate) fn end_of(&self, seq: u64, milestones: &[LogEnd]) -> Result<LogEnd> {
        let holder = self.segments.iter().rposition(|segment| segment.header.base_seq <= seq);
        let (Some(at), true) = (holder, seq > 0) else {
            // Nothing, or a freed segment, lies before the first segment.
            return Ok(self.segments.first().map_or(LogEnd::default(), |first| first.header.predecessor));
        };
        let segment = &self.segments[at];
        if let Some(after) = self.segments.get(at + 1)
            && self.known_end(at).is_some_and(|end| end.last_seq < seq)
        {
            // The record was in a freed segment between these two.
            return Ok(after.header.predecessor);
        }
        let mut end = LogEnd { segment: segment.id(), offset: SEGMENT_HEADER_BYTES, last_seq: seq };
        let mut next_seq = segment.header.base_seq;
        let known = |known: &&LogEnd| {
            let inside = known.segment == end.segment && known.offset > end.offset;
            inside && known.last_seq <= seq
        };
        if let Some(known) = milestones.iter().rfind(known) {
            (end.offset, next_seq) = (known.offset, known.last_seq + 1);
        }
        // Sequence numbers have no gaps inside a segment, so counting records is enough.
        let mut reader = SegmentReader::new(segment, end.offset, u64::MAX);
        for expected in next_seq..=seq {
            let (offset, record) = reader.next_again(expected)?;
            end.offset = offset + record.size();
        }
        Ok(end)
    }

    /// The pieces of segments between two positions in the log.
    pub(crate) fn between(&self, from: LogEnd, to: LogEnd) -> Vec<(Arc<Segment>, u64, u64)> {
        let position = |id| self.segments.iter().position(|segment| segment.id() == id);
        let Some(last) = position(to.segment) else { return Vec::new() };
        // That segment or, if it was freed, the one after it; ids rise along the log.
        let first = self.segments.partition_point(|segment| segment.id() < from.segment);
        (first..=last)
            .map(|at| {
                let start =
                    if self.segments[at].id() == from.segment { from.offset } else { SEGMENT_HEADER_BYTES };
                let end = if at == last {
                    to.offset
                } else {
                    self.known_end(at).map_or(to.offset, |end| end.offset)
                };
                (Arc::clone(&self.segments[at]), start, end.max(start))
            })
            .collect()
    }

    /// Manifest entries for the log up to `end`.
    pub(crate) fn entries_up_to(&self, end: LogEnd) -> Vec<Entry> {
        // Ids rise along the log.
        let mut entries = self.entries.clone();
        entries.retain(|entry| entry.segment <= end.segment);
        if let Some(last) = entries.last_mut().filter(|last| last.segment == end.segment) {
            last.end = Some(end);
        }
        entries
    }
}

fn held_open() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    (limit / HELD_SHARE).min(HELD_OPEN) as usize
}

/// Gives the descriptor of a segment back even though reads may need it.
fn release_at_any_cost(segment: &Segment, options: &Options) -> Result<()> {
    if options.read_only {
        // A writer may remove the file at any moment.
        return segment.release_but_keep();
    }
    segment.release_at_any_cost();
    Ok(())
}

/// Keeps what is needed to read a segment that takes no more records, whatever becomes of its name: its map, or its
/// descriptor if the handle holds few others.
pub(crate) fn keep_open(segment: &Segment, held: usize, options: &Options) -> Result<()> {
    if options.read_mode == ReadMode::Pread && held > held_open() {
        return segment.release_but_keep();
    }
    segment.release();
    Ok(())
}

fn check_store(segment: &Segment, manifest: &Manifest) -> Result<()> {
    if segment.header.store_id != manifest.store_id {
        return Err(
            segment.other_than("a segment of this store".to_owned(), "a segment of another store".to_owned())
        );
    }
    if segment.header.key != manifest.schema.key {
        let (expected, found) = (manifest.schema.key, segment.header.key);
        return Err(segment.other_than(format!("keys of kind {expected}"), format!("keys of kind {found}")));
    }
    Ok(())
}

/// The error of opening a segment that the manifest lists: that there is no such file is damage.
pub(crate) fn missing(disk: &dyn Disk, id: u32, error: Error) -> Error {
    match &error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Error::Corruption {
            path: disk.path_of(&Segment::name(id)),
            offset: 0,
            expected: "a segment that the manifest lists".to_owned(),
            found: "no such file".to_owned(),
        },
        _ => error,
    }
}
