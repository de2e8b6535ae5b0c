//! The end of the log: the segment that takes records, the next sequence number, and what is not synced yet.
//! Appends one commit at a time under the commit lock. When the active segment is full, the log goes on in
//! the spare one, at the cost of two small writes and no sync. Knows nothing of the index or the manifest's
//! files. An append is O(bytes).

use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::format::compressed::Dictionary;
use crate::format::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::location::Location;
use crate::format::manifest::Entry;
use crate::format::record::{self, BATCH_BYTES, BatchBegin, Body, Kind, MARK_BYTES};
use crate::keys::{Key, Width};
use crate::log::batch::Op;
use crate::log::dictionaries::{Placed, Stored};
use crate::log::next_segment::Spare;
use crate::log::prefault::Ahead;
use crate::log::segment::Segment;
use crate::room::room;
use crate::schema::{Compression, KeyKind, Schema};

use zerocopy::IntoBytes;
use zerocopy::little_endian::U64;

/// Records are encoded into a buffer of this size before they go to the segment, whichever way it is written.
const SCRATCH_BYTES: usize = 256 << 10;
/// With `sync`, zeros are written this far ahead of the log's end: at first, and at most.
const LEAST_FILL_BYTES: u64 = 64 << 10;
const MOST_FILL_BYTES: u64 = 1 << 20;
/// Block size of the file system, in bytes.
const BLOCK_BYTES: u64 = 4096;
/// Segments of at least `KEPT_FROM_BYTES` keep `KEPT_BYTES` free for tombstones.
const KEPT_FROM_BYTES: u64 = 64 << 10;
const KEPT_BYTES: u64 = 2 << 10;
/// The source of the zeros that are written ahead.
static ZEROS: [u8; MOST_FILL_BYTES as usize] = [0; MOST_FILL_BYTES as usize];

/// What a commit needs from the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'d> {
    pub(crate) records: u64,
    /// Bytes of those records.
    pub(crate) bytes: u64,
    /// Tombstones only. A full disk must still accept these: nothing else frees space on it.
    pub(crate) frees: bool,
    /// The dictionary that its values need in the segment.
    pub(crate) by: Option<&'d Arc<Dictionary>>,
}

impl<'d> Shape<'d> {
    /// A commit of one operation.
    pub(crate) fn of(op: Op<'d>, width: Width) -> Self {
        let by = match op {
            Op::Put(_, Stored::Compressed { by, .. }) => by,
            _ => None,
        };
        Self { records: 1, bytes: op_bytes(op, width), frees: !matches!(op, Op::Put(..)), by }
    }

    /// A batch of one operation is one plain record, which its own checksum makes whole or absent.
    fn is_batch(self) -> bool {
        self.records > 1
    }

    /// Bytes from the first record of the commit to the last one.
    pub(crate) fn bytes_in_log(self) -> u64 {
        self.bytes + if self.is_batch() { BATCH_BYTES } else { 0 }
    }

    /// What it takes in a segment that does not hold the dictionary yet.
    pub(crate) fn most_bytes(self) -> u64 {
        self.bytes_in_log() + self.by.map_or(0, |by| by.record_size())
    }
}

/// Size of an operation's record, in bytes.
pub(crate) fn op_bytes(op: Op<'_>, width: Width) -> u64 {
    match op {
        Op::Put(_, value) => width.size_of_put(value.len() as u64),
        Op::Delete(_) => width.size_of_tombstone(),
        Op::DeleteRange(..) => width.size_of_range_tombstone(),
    }
}

/// The writer's side of the log, guarded by the commit lock.
pub(crate) struct Log {
    store_id: [u8; 16],
    key: KeyKind,
    compression: Compression,
    /// The segments of the log, in order. Their headers say what the manifest on disk does not say yet.
    pub(crate) entries: Vec<Entry>,
    /// The segment that takes records. `None` until the first write after opening or after a failure.
    pub(crate) active: Option<Arc<Segment>>,
    /// The segment in which the log goes on once the active one is full. The manifest lists it.
    pub(crate) spare: Option<Spare>,
    /// Where the accepted log ends.
    pub(crate) end: LogEnd,
    pub(crate) next_seq: u64,
    /// The sequence numbers of footers that this handle wrote or followed, rising: they changed nothing.
    pub(crate) footers: Vec<u64>,
    /// The next commit records the durable watermark if it is at least this: higher than what the log last
    /// recorded.
    mark_from: u64,
    /// Segments that were ended but not yet synced, oldest first.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// The next segment should be made once the log reaches this offset. `None` once that has been announced.
    ring_at: Option<u64>,
    /// Ended segments and their ends, kept until the manifest lists those ends too.
    pub(crate) to_trim: Vec<Trim>,
    /// Whether segments are written by copying into a map.
    pub(crate) copies: bool,
    /// Whether zeros are written ahead of the log's end (`fill_ahead`).
    pub(crate) fills: bool,
    /// The dictionaries in the active segment.
    placed: Placed,
    /// Bytes at the end of the active segment that only tombstones may use.
    kept_bytes: u64,
    /// The active segment is written up to here, if only with zeros. Blocks beyond are merely reserved.
    filled: u64,
    scratch: Vec<u8>,
    /// Is told how far the active segment is written.
    pub(crate) ahead: Arc<Ahead>,
}

/// A segment that has ended, with reserved space to give back.
pub(crate) struct Trim {
    file: Arc<dyn DiskFile>,
    from: u64,
    /// Whether the file may be shortened, because nobody ever read beyond `from`. Otherwise that part is
    /// zeroed space.
    cut: bool,
}

impl Trim {
    /// A failure here costs space and nothing else.
    pub(crate) fn give_back(self) {
        if self.cut {
            let _: std::io::Result<()> = self.file.truncate(self.from);
        } else {
            self.file.give_back_zeros(self.from);
        }
    }
}

/// A failure whose outcome on the device is unknown poisons the store; all others change nothing.
pub(crate) enum Failure {
    Clean(Error),
    Poisons(Error),
}

impl Failure {
    pub(crate) fn of(error: Error) -> Self {
        match &error {
            Error::Io { operation, .. } if operation.leaves_doubt() => Self::Poisons(error),
            _ => Self::Clean(error),
        }
    }
}

impl Log {
    pub(crate) fn new(
        store_id: [u8; 16],
        schema: &Schema,
        entries: Vec<Entry>,
        end: LogEnd,
        next_seq: u64,
        copies: bool,
    ) -> Self {
        Self {
            store_id,
            key: schema.key,
            compression: schema.compression,
            entries,
            active: None,
            spare: None,
            end,
            next_seq,
            footers: Vec::new(),
            mark_from: end.last_seq + 1,
            unsynced: Vec::new(),
            ring_at: None,
            to_trim: Vec::new(),
            copies,
            fills: false,
            placed: Placed::default(),
            kept_bytes: 0,
            filled: 0,
            scratch: Vec::new(),
            ahead: Arc::default(),
        }
    }

    /// Closes every file of the log.
    pub(crate) fn let_go_of_files(&mut self) {
        self.active = None;
        self.spare = None;
        self.unsynced.clear();
        self.to_trim.clear();
    }

    /// Whether a commit of this shape needs nothing but a copy into memory.
    pub(crate) fn fits_by_copying(&self, shape: Shape<'_>) -> bool {
        let copies =
            |active: &Arc<Segment>| active.copies_piece(shape.most_bytes() as usize + MARK_BYTES as usize);
        self.fits(shape) && self.active.as_ref().is_some_and(copies)
    }

    /// Whether a commit of this shape fits the active segment.
    pub(crate) fn fits(&self, shape: Shape<'_>) -> bool {
        let kept = if shape.frees { 0 } else { self.kept_bytes };
        self.has_room(shape.most_bytes().saturating_add(kept))
    }

    /// Whether records of this many bytes fit the active segment.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.active.as_ref().is_some_and(|active| {
            // Leave room for a mark before the records and for the footer after them.
            let needed = (MARK_BYTES + MARK_BYTES).saturating_add(bytes);
            self.end.offset.saturating_add(needed) <= active.header.capacity
        })
    }

    /// Whether it is time to make the next segment; returns true only once.
    #[inline]
    pub(crate) fn wants_spare(&mut self) -> bool {
        let wants = self.ring_at.is_some_and(|at| self.end.offset >= at);
        if wants {
            self.ring_at = None;
        }
        wants
    }

    /// Whether records of this many bytes fit the spare segment.
    pub(crate) fn spare_has_room(&self, bytes: u64) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.has_room(bytes))
    }

    /// Every record in the active segment has a sequence number below this.
    pub(crate) fn next_seq_bound(&self) -> u64 {
        let active = self.active.as_ref().map_or(0, |active| active.header.highest_possible_seq() + 1);
        self.next_seq.max(active)
    }

    /// Ends the active segment and goes on in the spare one, which becomes the active segment. Like the
    /// records that follow, none of this is durable before the next flush.
    ///
    /// On failure the log ends where it did, and the segment in which it ends takes no more bytes.
    pub(crate) fn roll(
        &mut self,
        disk: &Arc<dyn Disk>,
        durable_seq: u64,
        origin: Origin,
    ) -> Result<Arc<Segment>> {
        let goes_on = self.active.is_some();
        self.end_active(durable_seq)?;
        let Some(spare) = self.spare.take() else {
            debug_assert!(false, "a spare is prepared before the log rolls");
            return Err(Error::Invalid("no segment is open for writing".to_owned()));
        };
        let header = SegmentHeader {
            store_id: self.store_id,
            key: self.key,
            compression: self.compression,
            id: spare.listed.segment,
            origin,
            salt: spare.listed.salt,
            base_seq: self.next_seq,
            capacity: spare.listed.capacity,
            watermark: durable_seq,
            predecessor: self.end,
            boot_id: disk.boot_id(),
        };
        // If this fails, the header may be there all the same. It says where the log ended, so nothing more
        // may go into the previous segment, which has been let go.
        let segment = Arc::new(spare.begin(disk, header)?);
        let before = self.entries.last().map_or(0, |entry| entry.segment);
        let after_gap = header.predecessor.segment != before;
        self.entries.push(Entry { segment: header.id, end: None, after_gap });
        self.active = Some(Arc::clone(&segment));
        self.end = LogEnd { segment: header.id, offset: SEGMENT_HEADER_BYTES, last_seq: self.end.last_seq };
        self.mark_from = durable_seq + 1;
        self.filled = SEGMENT_HEADER_BYTES;
        self.placed.clear();
        self.kept_bytes = if header.capacity < KEPT_FROM_BYTES { 0 } else { KEPT_BYTES };
        self.ahead.rolled();
        // The first segment since opening may never fill; one that follows a full one probably will.
        self.ring_at = Some(if goes_on { 0 } else { header.capacity / 4 });
        Ok(segment)
    }

    /// Writes the footer and lets the active segment go. The segment stays open until it is synced.
    pub(crate) fn end_active(&mut self, durable_seq: u64) -> Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let mut footer = Vec::new();
        let number = durable_seq.to_le_bytes();
        let seq = self.next_seq;
        self.next_seq += 1;
        record::encode(
            &mut footer,
            active.seal(),
            self.end.offset,
            Kind::Footer,
            seq,
            (Width::Narrow, 0),
            &number,
        );
        let written = active.write(self.end.offset, &footer);
        if written.is_ok() {
            active.count_appended(MARK_BYTES);
            self.end.offset += MARK_BYTES;
            self.end.last_seq = seq;
            self.footers.push(seq);
        }
        self.let_go(active, None);
        written
    }

    /// The active segment takes no more records and ends where the log ends now. Its file is cut there later,
    /// unless a commit behind that end failed and wrote up to `failed_end`: another process may have mapped
    /// those bytes.
    fn let_go(&mut self, segment: Arc<Segment>, failed_end: Option<u64>) {
        let file = segment.stop_writing();
        let (from, cut) = (failed_end.unwrap_or(self.end.offset), failed_end.is_none());
        self.to_trim.extend(file.map(|file| Trim { file, from, cut }));
        self.unsynced.push(segment);
        if let Some(entry) = self.entries.last_mut() {
            entry.end = Some(self.end);
        }
    }

    /// Appends one commit, for which the active segment must have room: a mark if the watermark rose, the dictionary if
    /// the segment does not hold it yet, then the operations, as one batch if there are several. `placed` is told the location of each record, in
    /// order. On failure nothing counts: the log ends where it did, and goes on in a new segment.
    pub(crate) fn append<'a>(
        &mut self,
        ops: impl Iterator<Item = Op<'a>>,
        shape: Shape<'_>,
        durable_seq: u64,
        placed: impl FnMut(Location),
    ) -> Result<()> {
        let Some(active) = self.active.take() else {
            debug_assert!(false, "room is made before an append");
            return Err(Error::Invalid("no segment is open for writing".to_owned()));
        };
        if self.fills {
            self.fill_ahead(&active, shape);
        }
        let start = self.end;
        let mark = (durable_seq >= self.mark_from).then_some(durable_seq);
        let dictionary = shape.by.filter(|by| self.placed.place_of(by).is_none());
        let ahead = Arc::clone(&self.ahead);
        let mut writer = Writer {
            segment: &active,
            width: self.key.width(),
            ahead: &ahead,
            placed: std::mem::take(&mut self.placed),
            scratch: std::mem::take(&mut self.scratch),
            written: start.offset,
            seq: self.next_seq,
        };
        // Failed commits use up their sequence numbers too.
        let beside = u64::from(mark.is_some()) + u64::from(dictionary.is_some());
        self.next_seq += shape.records + beside + 2 * u64::from(shape.is_batch());
        // Bytes that may or may not be there are never overwritten. Until the commit is whole, the segment
        // therefore counts as ended, even if a caller's iterator panics.
        let most = start.offset + MARK_BYTES + shape.most_bytes();
        let unfinished = Unfinished { log: self, active: Some(Arc::clone(&active)), end: most };
        writer.commit(ops, shape, mark, dictionary, placed)?;
        let (end, next_seq, mut scratch) = (writer.offset(), writer.seq, writer.scratch);
        let in_segment = writer.placed;
        unfinished.finish();
        self.placed = in_segment;
        debug_assert_eq!(self.next_seq, next_seq);
        scratch.clear();
        if scratch.capacity() <= 4 * SCRATCH_BYTES {
            self.scratch = scratch;
        }
        active.show_up_to(end);
        active.count_appended(end - start.offset);
        self.end = LogEnd { segment: active.id(), offset: end, last_seq: next_seq - 1 };
        self.active = Some(active);
        self.mark_from = self.mark_from.max(durable_seq + 1);
        Ok(())
    }

    /// Writes zeros behind the next commit if the segment's blocks there are only reserved. Commits then
    /// overwrite blocks that hold data, and a flush does not make the file system record, durably, that
    /// reserved blocks hold data now (docs/dev/023). The zeros all lie beyond the end of the log and of that
    /// commit. The caller holds the commit lock. Commits smaller than a block are left out because most go into
    /// a block that is already begun, and large ones because they would write twice the bytes.
    fn fill_ahead(&mut self, active: &Segment, shape: Shape<'_>) {
        let begin = (self.end.offset + MARK_BYTES + shape.most_bytes()).next_multiple_of(BLOCK_BYTES);
        let worthwhile = (BLOCK_BYTES..MOST_FILL_BYTES).contains(&shape.bytes);
        if begin <= self.filled || !worthwhile || !active.is_reserved() {
            return;
        }
        // As much as was written so far, so that a store of a few commits costs little.
        let len = self.end.offset.clamp(LEAST_FILL_BYTES, MOST_FILL_BYTES);
        let len = len.min(active.header.capacity.saturating_sub(begin));
        if len > 0 {
            // Zeros over zeros: if this fails, the commit's own write or flush reports it.
            let _ = active.write(begin, &ZEROS[..len as usize]);
        }
        self.filled = begin + len;
    }

    /// Erases, durably, what a failed write may have left behind the log's end. The missing part of its
    /// record may have been zeros, so that a crash could leave the record whole and bring back a refused
    /// commit. Zeros over the first record's sequence and kind make it no record. The file is not cut, since
    /// another process may have mapped it.
    pub(crate) fn withdraw(&self) -> Result<()> {
        match self.unsynced.last() {
            Some(segment) if segment.id() == self.end.segment => segment.erase_record(self.end.offset),
            _ => Ok(()),
        }
    }

    /// Where the active segment holds a dictionary.
    pub(crate) fn location_of(&self, dictionary: &Arc<Dictionary>) -> Option<Location> {
        self.placed.place_of(dictionary).map(|place| Location::new(self.end.segment, u64::from(place) << 3))
    }

    /// Makes sure, in recovery, that the active segment holds a dictionary. Returns its place. The caller has made room.
    pub(crate) fn place_again(&mut self, dictionary: &Arc<Dictionary>) -> Result<u32> {
        if let Some(place) = self.placed.place_of(dictionary) {
            return Ok(place);
        }
        let at = self.append_again(Kind::Dictionary, 0, Body::from(dictionary.bytes()))?;
        self.placed.add(dictionary, at.offset());
        Ok((at.offset() >> 3) as u32)
    }

    /// Appends a record as it is, with a new sequence number, for recovery. The caller has made room, and
    /// calls [`Log::write_again`] before anything else.
    pub(crate) fn append_again(&mut self, kind: Kind, key: Key, value: Body<'_>) -> Result<Location> {
        let Some(active) = &self.active else {
            return Err(Error::Invalid("no segment is open for writing".to_owned()));
        };
        let (offset, gathered) = (self.end.offset, self.scratch.len());
        let width = self.key.width();
        room(&mut self.scratch, width.size_of_put(value.len() as u64) as usize)?;
        let key = (width, key);
        record::encode(&mut self.scratch, active.seal(), offset, kind, self.next_seq, key, value);
        let bytes = (self.scratch.len() - gathered) as u64;
        active.count_appended(bytes);
        if kind.is_tombstone() {
            active.count_tombstone(bytes);
        }
        let location = Location::new(active.id(), offset);
        self.end = LogEnd { segment: active.id(), offset: offset + bytes, last_seq: self.next_seq };
        self.next_seq += 1;
        if self.scratch.len() >= SCRATCH_BYTES {
            self.write_again()?;
        }
        Ok(location)
    }

    /// Ends recovery: what it wrote is on the device and listed. A mark says so, and is itself on the device
    /// when this returns. It distinguishes the segment from one that a recovery left behind unlisted
    /// (`outdated.rs`).
    pub(crate) fn written_again(&mut self) -> Result<()> {
        let durable_seq = self.end.last_seq;
        self.append_again(Kind::Mark, 0, Body::from(&durable_seq.to_le_bytes()))?;
        self.write_again()?;
        self.mark_from = durable_seq + 1;
        self.active.as_ref().map_or(Ok(()), |active| active.sync())
    }

    /// Writes the records that [`Log::append_again`] gathered.
    pub(crate) fn write_again(&mut self) -> Result<()> {
        if let Some(active) = &self.active {
            active.write_through(self.end.offset - self.scratch.len() as u64, &self.scratch)?;
            active.show_up_to(self.end.offset);
        }
        self.scratch.clear();
        Ok(())
    }
}

/// An append that has begun. If dropped unfinished, it ends the segment where the previous commit ended.
struct Unfinished<'l> {
    log: &'l mut Log,
    active: Option<Arc<Segment>>,
    /// The farthest offset that the append could have written.
    end: u64,
}

impl Unfinished<'_> {
    fn finish(mut self) {
        self.active = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(active) = self.active.take() {
            self.log.let_go(active, Some(self.end));
        }
    }
}

/// Encodes the records of one commit and writes them to the segment piece by piece.
struct Writer<'s> {
    segment: &'s Arc<Segment>,
    width: Width,
    ahead: &'s Ahead,
    /// The dictionaries in the segment.
    placed: Placed,
    scratch: Vec<u8>,
    /// Everything below this offset is in the segment; the scratch buffer follows.
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
        shape: Shape<'_>,
        mark: Option<u64>,
        dictionary: Option<&Arc<Dictionary>>,
        mut placed: impl FnMut(Location),
    ) -> Result<()> {
        if let Some(durable_seq) = mark {
            self.record(Kind::Mark, 0, Body::from(&durable_seq.to_le_bytes()))?;
        }
        if let Some(dictionary) = dictionary {
            self.placed.add(dictionary, self.offset());
            self.record(Kind::Dictionary, 0, Body::from(dictionary.bytes()))?;
        }
        let (batch, begin) = (shape.is_batch(), self.offset());
        if batch {
            let value =
                BatchBegin { records: U64::new(shape.records), bytes: U64::new(shape.bytes_in_log()) };
            self.record(Kind::BatchBegin, 0, Body::from(value.as_bytes()))?;
        }
        for op in ops {
            placed(Location::new(self.segment.id(), self.offset()));
            let last_bytes;
            let (kind, key, value) = match op {
                Op::Put(key, value) => (Kind::Put, key, self.placed.body(value)),
                Op::Delete(key) => (Kind::Tombstone, key, Body::from(&[])),
                Op::DeleteRange(first, last) => {
                    last_bytes = self.width.last_key(last);
                    (Kind::RangeTombstone, first, Body::from(&last_bytes[..]))
                }
            };
            self.record(if batch { kind.in_batch() } else { kind }, key, value)?;
        }
        if batch {
            self.record(Kind::BatchCommit, 0, Body::from(&shape.records.to_le_bytes()))?;
        }
        assert_eq!(
            self.offset() - begin,
            shape.bytes_in_log(),
            "a commit writes exactly the bytes that room was made for"
        );
        self.flush()
    }

    fn record(&mut self, kind: Kind, key: Key, value: Body<'_>) -> Result<()> {
        let offset = self.offset();
        room(&mut self.scratch, self.width.size_of_put(value.len() as u64) as usize)?;
        let key = (self.width, key);
        record::encode(&mut self.scratch, self.segment.seal(), offset, kind, self.seq, key, value);
        self.seq += 1;
        if self.scratch.len() >= SCRATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.segment.write(self.written, &self.scratch)?;
        self.written += self.scratch.len() as u64;
        if self.segment.copies_piece(self.scratch.len()) {
            self.ahead.wrote(self.segment, self.written);
        } else {
            self.ahead.passed(self.written);
        }
        self.scratch.clear();
        Ok(())
    }
}
