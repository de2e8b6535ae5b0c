//! The end of the log: which segment takes records, what sequence comes next, what is not synced yet.
//! Appends one commit at a time under the commit lock; begins a segment when the active one is full.
//! Knows nothing of the index. An append is O(bytes).

use std::path::Path;
use std::sync::Arc;

use crate::batch::Op;
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::manifest::{Entry, Manifest};
use crate::options::{MAX_SEGMENT_BYTES, Options};
use crate::record::{self, BATCH_BYTES, BatchBegin, Kind, MARK_BYTES, MAX_SEQ, size_of_record};
use crate::segment::{Location, Segment};

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

/// Records are encoded here before they go to the segment, which keeps both ways of writing alike.
const SCRATCH_BYTES: usize = 256 << 10;
/// Segments are whole pages.
const PAGE_BYTES: u64 = 4096;

/// What a commit needs of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) records: u64,
    /// Bytes of those records.
    pub(crate) bytes: u64,
}

impl Shape {
    /// A batch of one is one plain record: whole or absent by its own checksum.
    fn is_batch(self) -> bool {
        self.records > 1
    }

    fn bytes_in_log(self) -> u64 {
        self.bytes + if self.is_batch() { BATCH_BYTES } else { 0 }
    }
}

/// Bytes of the record of an operation.
pub(crate) fn op_bytes(op: Op<'_>) -> u64 {
    match op {
        Op::Put(_, value) => size_of_record(value.len() as u64),
        Op::Delete(_) => size_of_record(0),
        Op::DeleteRange(..) => size_of_record(8),
    }
}

/// The writer's side of the log; behind the commit lock.
pub(crate) struct Log {
    pub(crate) manifest: Manifest,
    /// The segment that takes records; none until the first write after opening or after a failure.
    pub(crate) active: Option<Arc<Segment>>,
    /// Where the accepted log ends.
    pub(crate) end: LogEnd,
    pub(crate) next_seq: u64,
    /// The watermark that the log itself names last.
    pub(crate) marked: u64,
    /// Segments that were ended but not yet synced, oldest first.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// The manifest on the disk does not name the active segment yet.
    unlisted: bool,
    /// The segment ended last, and its end, until the manifest names that too.
    to_trim: Option<(Arc<dyn DiskFile>, u64)>,
    /// Whether segments are written by copying into a map.
    pub(crate) copies: bool,
    scratch: Vec<u8>,
}

/// A failure whose outcome on the device is unknown poisons the store; all others change nothing.
pub(crate) enum Failure {
    Clean(Error),
    Poisons(Error),
}

impl Failure {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Clean(error) | Self::Poisons(error) => error,
        }
    }

    fn of(error: Error) -> Self {
        match &error {
            Error::Io { operation: "create" | "write" | "copy into" | "reserve" | "map", .. } => {
                Self::Clean(error)
            }
            Error::Io { .. } => Self::Poisons(error),
            _ => Self::Clean(error),
        }
    }
}

impl Log {
    pub(crate) fn new(manifest: Manifest, end: LogEnd, next_seq: u64, copies: bool) -> Self {
        Self {
            manifest,
            active: None,
            end,
            next_seq,
            marked: end.last_seq,
            unsynced: Vec::new(),
            unlisted: false,
            to_trim: None,
            copies,
            scratch: Vec::new(),
        }
    }

    /// Whether a commit of this shape would only copy into memory.
    pub(crate) fn fits_without_waiting(&self, shape: Shape) -> bool {
        !self.unlisted && self.fits(shape) && self.active.as_ref().is_some_and(|active| active.copies())
    }

    fn fits(&self, shape: Shape) -> bool {
        self.has_room(shape.bytes_in_log())
    }

    /// Whether records of so many bytes fit the active segment.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.active.as_ref().is_some_and(|active| {
            // Room for a mark before them, and for the footer after them.
            let needed = (MARK_BYTES + MARK_BYTES).saturating_add(bytes);
            self.end.offset.saturating_add(needed) <= active.header.capacity
        })
    }

    /// Begins a segment if the active one has no room for the commit; the new one. A full disk shows
    /// here, before anything is written.
    pub(crate) fn make_room(
        &mut self,
        disk: &Arc<dyn Disk>,
        options: &Options,
        shape: Shape,
        durable_seq: u64,
    ) -> Result<Option<Arc<Segment>>, Failure> {
        if self.fits(shape) {
            return Ok(None);
        }
        self.begin_segment(disk, options, shape.bytes_in_log(), durable_seq, Origin::Log).map(Some)
    }

    /// Ends the active segment and begins the next one. Before a record goes into it, [`Log::list`]
    /// must have succeeded.
    pub(crate) fn begin_segment(
        &mut self,
        disk: &Arc<dyn Disk>,
        options: &Options,
        room: u64,
        durable_seq: u64,
        origin: Origin,
    ) -> Result<Arc<Segment>, Failure> {
        let needed = (SEGMENT_HEADER_BYTES + MARK_BYTES + MARK_BYTES).saturating_add(room);
        let capacity = needed
            .max(options.segment_bytes)
            .checked_next_multiple_of(PAGE_BYTES)
            .filter(|&capacity| capacity <= MAX_SEGMENT_BYTES);
        let Some(capacity) = capacity else {
            return Err(Failure::Clean(Error::Invalid(format!(
                "one commit of {room} bytes is more than a segment can hold ({MAX_SEGMENT_BYTES}); \
                 split the batch"
            ))));
        };
        let id = self.manifest.next_segment;
        let base_seq = self.next_seq + u64::from(self.active.is_some());
        if id == u32::MAX || base_seq + capacity / record::HEADER_BYTES > MAX_SEQ {
            return Err(Failure::Clean(Error::Invalid(
                "this store has used up its segment ids or sequences; copy it into a new one".to_owned(),
            )));
        }
        // The footer goes in after the new file is reserved, so that a full disk changes nothing; its
        // size and sequence are known.
        let mut predecessor = self.end;
        if self.active.is_some() {
            predecessor.offset += MARK_BYTES;
            predecessor.last_seq = self.next_seq;
        }
        let header = SegmentHeader {
            store_id: self.manifest.store_id,
            id,
            origin,
            salt: random_u64(disk.path()).map_err(Failure::Clean)?,
            base_seq,
            capacity,
            watermark: durable_seq,
            predecessor,
            boot_id: disk.boot_id(),
        };
        let created = Segment::create(disk, header, self.copies, options);
        if !matches!(created, Err(Error::Io { operation: "reserve", .. })) {
            // The file may be found by a later opening, so its id is used.
            self.manifest.next_segment = id + 1;
        }
        let segment = created.map_err(Failure::of)?;
        let segment = Arc::new(segment);
        if self.active.is_some()
            && let Err(error) = self.end_active(durable_seq)
        {
            // As in `Segment::create`: nothing refers to it.
            let _ = disk.remove(&Segment::name(id));
            return Err(Failure::Clean(error));
        }
        debug_assert_eq!((self.end, self.next_seq), (predecessor, base_seq));
        segment.sync().map_err(Failure::Poisons)?;
        let path = disk.path();
        disk.sync_dir().map_err(|error| Failure::Poisons(Error::io("sync the directory of", path, error)))?;
        self.active = Some(Arc::clone(&segment));
        self.end = LogEnd { segment: id, offset: SEGMENT_HEADER_BYTES, last_seq: self.end.last_seq };
        self.marked = durable_seq;
        if let Some(entry) = self.manifest.segments.last_mut() {
            entry.end = Some(predecessor);
        }
        self.manifest.segments.push(Entry { segment: id, end: None });
        self.manifest.watermark = durable_seq;
        self.manifest.clean = false;
        self.manifest.next_seq = header.highest_possible_seq() + 1;
        self.unlisted = true;
        Ok(segment)
    }

    /// Makes sure that the manifest names the active segment, after which records may go into it.
    pub(crate) fn list(&mut self, disk: &Arc<dyn Disk>) -> Result<(), Failure> {
        if !self.unlisted {
            return Ok(());
        }
        self.manifest.write(&**disk).map_err(Failure::of)?;
        self.unlisted = false;
        if let Some((ended, end)) = self.to_trim.take() {
            // What was reserved beyond its end goes back to the disk. Should that fail, it costs space
            // and nothing else.
            let _ = ended.truncate(end);
        }
        Ok(())
    }

    /// Writes the footer and lets the active segment go; it stays open until it is synced.
    pub(crate) fn end_active(&mut self, durable_seq: u64) -> Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let mut footer = Vec::new();
        let number = durable_seq.to_le_bytes();
        let seq = self.next_seq;
        self.next_seq += 1;
        record::encode(&mut footer, active.seal(), self.end.offset, Kind::Footer, seq, 0, &number);
        let written = active.write(self.end.offset, &footer);
        if written.is_ok() {
            self.end.offset += MARK_BYTES;
            self.end.last_seq = seq;
        }
        self.let_go(active);
        written
    }

    /// The active segment takes no more: its end is where the log ends now.
    fn let_go(&mut self, segment: Arc<Segment>) {
        self.to_trim = segment.stop_writing().map(|file| (file, self.end.offset));
        self.unsynced.push(segment);
    }

    /// After the active segment was ended and everything is synced: the manifest says so, and the next
    /// opening has nothing to prove.
    pub(crate) fn finish(&mut self, disk: &Arc<dyn Disk>) -> Result<(), Failure> {
        if let Some(entry) = self.manifest.segments.last_mut() {
            entry.end = Some(self.end);
        }
        self.manifest.watermark = self.end.last_seq;
        self.manifest.clean = true;
        self.unlisted = true;
        self.list(disk)
    }

    /// Appends one commit, for which [`Log::make_room`] made room: a mark where the watermark rose, then
    /// the operations, as one batch where they are several. `placed` hears where each record went, in
    /// order. On failure nothing counts: the log ends where it ended, and goes on in a new segment.
    pub(crate) fn append<'a>(
        &mut self,
        ops: impl Iterator<Item = Op<'a>>,
        shape: Shape,
        durable_seq: u64,
        placed: impl FnMut(Location),
    ) -> Result<()> {
        let Some(active) = self.active.take() else {
            debug_assert!(false, "make_room comes before append");
            return Err(Error::Invalid("no segment is open for writing".to_owned()));
        };
        let start = self.end;
        let mark = (durable_seq > self.marked).then_some(durable_seq);
        let mut writer = Writer {
            segment: &active,
            scratch: std::mem::take(&mut self.scratch),
            written: start.offset,
            seq: self.next_seq,
        };
        // Sequences are used up by failed commits too.
        self.next_seq += shape.records + u64::from(mark.is_some()) + 2 * u64::from(shape.is_batch());
        // Nothing is ever written over bytes that may or may not be there: until the commit is whole,
        // also if a caller's iterator panics, the segment is one that has ended.
        let unfinished = Unfinished { log: self, active: Some(Arc::clone(&active)) };
        writer.commit(ops, shape, mark, placed)?;
        let (end, next_seq, mut scratch) = (writer.offset(), writer.seq, writer.scratch);
        unfinished.finish();
        debug_assert_eq!(self.next_seq, next_seq);
        scratch.clear();
        if scratch.capacity() <= 4 * SCRATCH_BYTES {
            self.scratch = scratch;
        }
        active.count_appended(end - start.offset);
        self.end = LogEnd { segment: active.id(), offset: end, last_seq: next_seq - 1 };
        self.active = Some(active);
        self.marked = self.marked.max(durable_seq);
        Ok(())
    }

    /// Appends records as they stand, with new sequences, for recovery; the caller made room.
    pub(crate) fn append_again(&mut self, kind: Kind, key: i64, value: &[u8]) -> Result<Location> {
        let Some(active) = self.active.clone() else {
            return Err(Error::Invalid("no segment is open for writing".to_owned()));
        };
        let offset = self.end.offset;
        let mut scratch = std::mem::take(&mut self.scratch);
        record::encode(&mut scratch, active.seal(), offset, kind, self.next_seq, key, value);
        let written = active.write(offset, &scratch);
        let bytes = scratch.len() as u64;
        scratch.clear();
        self.scratch = scratch;
        written?;
        active.count_appended(bytes);
        self.end = LogEnd { segment: active.id(), offset: offset + bytes, last_seq: self.next_seq };
        self.next_seq += 1;
        Ok(Location::new(active.id(), offset))
    }
}

/// An append that has begun; dropped unfinished, it ends the segment where the commit before it ended.
struct Unfinished<'l> {
    log: &'l mut Log,
    active: Option<Arc<Segment>>,
}

impl Unfinished<'_> {
    fn finish(mut self) {
        self.active = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(active) = self.active.take() {
            self.log.let_go(active);
        }
    }
}

/// Encodes the records of one commit and puts them into the segment piece by piece.
struct Writer<'s> {
    segment: &'s Segment,
    scratch: Vec<u8>,
    /// Everything below this offset is in the segment, the scratch comes next.
    written: u64,
    seq: u64,
}

impl Writer<'_> {
    fn offset(&self) -> u64 {
        self.written + self.scratch.len() as u64
    }

    fn commit<'a>(
        &mut self,
        ops: impl Iterator<Item = Op<'a>>,
        shape: Shape,
        mark: Option<u64>,
        mut placed: impl FnMut(Location),
    ) -> Result<()> {
        if let Some(durable_seq) = mark {
            self.record(Kind::Mark, 0, &durable_seq.to_le_bytes())?;
        }
        let (batch, begin) = (shape.is_batch(), self.offset());
        if batch {
            let value =
                BatchBegin { records: U64::new(shape.records), bytes: U64::new(shape.bytes_in_log()) };
            self.record(Kind::BatchBegin, 0, value.as_bytes())?;
        }
        for op in ops {
            placed(Location::new(self.segment.id(), self.offset()));
            let last_bytes;
            let (kind, key, value) = match op {
                Op::Put(key, value) => (Kind::Put, key, value),
                Op::Delete(key) => (Kind::Tombstone, key, &[][..]),
                Op::DeleteRange(first, last) => {
                    last_bytes = last.to_le_bytes();
                    (Kind::RangeTombstone, first, &last_bytes[..])
                }
            };
            self.record(if batch { kind.in_batch() } else { kind }, key, value)?;
        }
        if batch {
            self.record(Kind::BatchCommit, 0, &shape.records.to_le_bytes())?;
        }
        assert_eq!(
            self.offset() - begin,
            shape.bytes_in_log(),
            "a commit writes exactly the bytes that room was made for"
        );
        self.flush()
    }

    fn record(&mut self, kind: Kind, key: i64, value: &[u8]) -> Result<()> {
        let offset = self.offset();
        record::encode(&mut self.scratch, self.segment.seal(), offset, kind, self.seq, key, value);
        self.seq += 1;
        if self.scratch.len() >= SCRATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.segment.write(self.written, &self.scratch)?;
        self.written += self.scratch.len() as u64;
        self.scratch.clear();
        Ok(())
    }
}

/// A random number from the operating system.
pub(crate) fn random_u64(path: &Path) -> Result<u64> {
    getrandom::u64().map_err(|error| Error::io("get random bytes for", path, error.into()))
}

/// A new store's id.
pub(crate) fn random_id(path: &Path) -> Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::io("get random bytes for", path, error.into()))?;
    Ok(id)
}
