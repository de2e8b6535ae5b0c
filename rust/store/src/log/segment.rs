//! One file of the log: its header, its bytes, and how many of them still count. Reads and writes at an
//! offset. Knows nothing of commits, recovery or the index.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use crate::disk::{Access, Disk, DiskFile, Map};
use crate::error::{Error, Result};
use crate::format::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::record::{self, Bad, Record, Seal};
use crate::keys::Key;
use crate::log::dictionaries::Met;
use crate::operation::Operation;
use crate::options::{MAX_SEGMENT_BYTES, ReadMode};

/// Of every file system that files can be mapped on.
const PAGE_BYTES: u64 = 4096;

/// An open segment.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    /// Given back once the segment is synced, if it is read only through its map: a process has few
    /// descriptors, and a store may have many segments.
    file: RwLock<Option<Arc<dyn DiskFile>>>,
    disk: Arc<dyn Disk>,
    pub(super) seal: Seal,
    /// `None` with [`ReadMode::Pread`].
    pub(super) map: Option<Map>,
    /// With [`ReadMode::Pread`], replaces a descriptor: keeps the file alive once its name is gone. Read only
    /// by system calls.
    kept: OnceLock<Map>,
    /// End of what may be read through the map: bytes below are never rewritten or cut off.
    shown_end: AtomicU64,
    /// Pieces shorter than this are copied into the writable map; 0 if there is none.
    copies_below: usize,
    /// Bounds of the segment's puts, once they were all read after it ended. The inner option is `None` if it
    /// has no puts.
    pub(crate) put_extent: OnceLock<Option<PutExtent>>,
    /// No tombstone up to this sequence number deletes a put in it. Known of segments that compaction wrote, since
    /// opening.
    pub(crate) nothing_deleted_to: OnceLock<u64>,
    /// The dictionaries of its values, as far as they were needed.
    pub(super) dictionaries: Met,
    /// How many holders need the file under its name.
    pins: AtomicU32,
    /// Bytes of the records that the index points to.
    live_bytes: AtomicU64,
    /// Bytes of all records.
    total_bytes: AtomicU64,
    /// Bytes of the tombstones of both kinds, which the index never points to.
    tombstone_bytes: AtomicU64,
}

/// Bounds of the puts in a segment that takes no more records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PutExtent {
    pub(crate) first: Key,
    pub(crate) last: Key,
    /// The lowest sequence number.
    pub(crate) oldest: u64,
}

impl PutExtent {
    pub(crate) fn with(extent: Option<Self>, key: Key, seq: u64) -> Self {
        let Self { first, last, oldest } = extent.unwrap_or(Self { first: key, last: key, oldest: seq });
        Self { first: first.min(key), last: last.max(key), oldest: oldest.min(seq) }
    }
}

/// Keeps a segment's file under its name while this value lives.
pub(crate) struct Pin(Arc<Segment>);

impl Pin {
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.0
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How the bytes of a segment's records count; used to choose what to compact, and for statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Bytes of records that the index points to.
    pub(crate) live: u64,
    /// Bytes of all records.
    pub(crate) total: u64,
    /// Bytes of tombstones.
    pub(crate) tombstones: u64,
}

impl Segment {
    /// The file's name.
    pub(crate) fn name(id: u32) -> String {
        format!("seg-{id:08x}.log")
    }

    /// The id in a file's name, if the name is a segment's.
    pub(crate) fn id_of(name: &str) -> Option<u32> {
        let digits = name.strip_prefix("seg-")?.strip_suffix(".log")?;
        let id = u32::from_str_radix(digits, 16).ok()?;
        (Self::name(id) == name).then_some(id)
    }

    /// Opens an existing segment.
    pub(crate) fn open(disk: &Arc<dyn Disk>, id: u32, access: Access, read_mode: ReadMode) -> Result<Self> {
        let name = Self::name(id);
        let path = disk.path_of(&name);
        let file = disk.open(&name, access).map_err(|error| Error::io(Operation::Open, &path, error))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let read = file.read_at(0, &mut bytes).map_err(|error| Error::io(Operation::Read, &path, error))?;
        let header = SegmentHeader::decode(&bytes[..read], &path)?;
        if header.id != id {
            return Err(Error::Corruption {
                path,
                offset: 0,
                expected: format!("segment {id}, as its name says"),
                found: format!("segment {}", header.id),
            });
        }
        let len = file.len().map_err(|error| Error::io(Operation::Read, &path, error))?;
        let map = match read_mode {
            // Nothing counts beyond that, however large somebody made the file.
            ReadMode::Mmap => {
                let len = len.min(MAX_SEGMENT_BYTES);
                Some(file.map(len).map_err(|error| Error::io(Operation::Map, &path, error))?)
            }
            ReadMode::Pread => None,
        };
        Ok(Self::over(disk, header, file, map, false))
    }

    /// Opens the segment in which the log goes on, and returns whether the log has begun there. Until its
    /// header is whole, nothing in the segment counts, and `unbegun` stands in for the header.
    pub(crate) fn open_spare(
        disk: &Arc<dyn Disk>,
        unbegun: SegmentHeader,
        access: Access,
        read_mode: ReadMode,
    ) -> Result<(Self, bool)> {
        let name = Self::name(unbegun.id);
        let path = disk.path_of(&name);
        let file = disk.open(&name, access).map_err(|error| Error::io(Operation::Open, &path, error))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let read = file.read_at(0, &mut bytes).map_err(|error| Error::io(Operation::Read, &path, error))?;
        match SegmentHeader::decode(&bytes[..read], &path) {
            Err(Error::Corruption { .. }) => Ok((Self::over(disk, unbegun, file, None, false), false)),
            Err(error) => Err(error),
            Ok(header) if header.salt != unbegun.salt => Err(Error::Corruption {
                path,
                offset: 0,
                expected: "the segment that the manifest lists as the next one".to_owned(),
                found: format!("segment {} of another time or place", header.id),
            }),
            Ok(_) => Ok((Self::open(disk, unbegun.id, access, read_mode)?, true)),
        }
    }

    /// A segment over a file that is already open; `copies` if the file is mapped for writing.
    pub(crate) fn over(
        disk: &Arc<dyn Disk>,
        header: SegmentHeader,
        file: Arc<dyn DiskFile>,
        map: Option<Map>,
        copies: bool,
    ) -> Self {
        Self {
            seal: Seal::new(header.salt),
            path: disk.path_of(&Self::name(header.id)),
            header,
            disk: Arc::clone(disk),
            file: RwLock::new(Some(file)),
            shown_end: AtomicU64::new(map.as_ref().map_or(0, Map::len)),
            map,
            kept: OnceLock::new(),
            copies_below: if copies { disk.copies_below() } else { 0 },
            put_extent: OnceLock::new(),
            nothing_deleted_to: OnceLock::new(),
            dictionaries: Met::default(),
            pins: AtomicU32::new(0),
            live_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            tombstone_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.header.id
    }

    pub(crate) fn seal(&self) -> Seal {
        self.seal
    }

    /// Allows reads through the map up to `end`. Beyond it the file may be cut, or written by others.
    #[inline]
    pub(crate) fn show_up_to(&self, end: u64) {
        self.shown_end.store(end, Ordering::Relaxed);
    }

    /// What the map shows from `offset` on; nothing if that lies too far ahead.
    #[inline]
    pub(super) fn shown<'m>(&self, map: &'m Map, offset: u64) -> &'m [u8] {
        let len = self.shown_end.load(Ordering::Relaxed).saturating_sub(offset);
        map.bytes(offset, len as usize).unwrap_or_default()
    }

    /// Keeps the file from being removed. An `Arc` alone keeps its bytes readable, but not its name. The
    /// caller holds the catalog's lock, under which segments are freed, so a pin cannot come too late.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        self.pins.fetch_add(1, Ordering::AcqRel);
        Pin(Arc::clone(self))
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    /// Whether the segment is mapped for writing.
    pub(crate) fn copies(&self) -> bool {
        self.copies_below > 0
    }

    /// Whether disk blocks are reserved for the whole segment, as far as the handle that created the file
    /// knows.
    pub(crate) fn is_reserved(&self) -> bool {
        self.file.read().as_ref().is_some_and(|file| file.is_reserved())
    }

    /// Whether this many bytes are written by copying, without a system call.
    pub(crate) fn copies_piece(&self, bytes: usize) -> bool {
        bytes < self.copies_below
    }

    /// Calls the file. If its descriptor was given back, the file is opened for this one call.
    fn with_file<T>(
        &self,
        operation: Operation,
        call: impl FnOnce(&dyn DiskFile) -> io::Result<T>,
    ) -> Result<T> {
        let held = self.file.read();
        let outcome = match &*held {
            Some(file) => call(&**file),
            None => {
                let opened = self.disk.open(&Self::name(self.id()), Access::Read);
                call(&*opened.map_err(|error| Error::io(Operation::Open, &self.path, error))?)
            }
        };
        outcome.map_err(|error| Error::io(operation, &self.path, error))
    }

    /// Writes bytes at an offset beyond everything published.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        if self.copies_piece(bytes.len()) {
            self.with_file(Operation::CopyInto, |file| file.copy_into(offset, bytes))
        } else {
            self.with_file(Operation::Write, |file| file.write_at(offset, bytes))
        }
    }

    /// Like [`Segment::write`], for a large write that is flushed soon: a system call is faster than copying
    /// into unprepared pages, and the device begins at once.
    pub(crate) fn write_through(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.with_file(Operation::Write, |file| file.write_at(offset, bytes))?;
        self.begin_sync(offset, bytes.len() as u64);
        Ok(())
    }

    /// Lets the device begin with bytes that will be synced soon. Only a hint: the sync reports failures.
    pub(crate) fn begin_sync(&self, offset: u64, len: u64) {
        if let Some(file) = &*self.file.read() {
            file.begin_sync(offset, len);
        }
    }

    /// Speeds up later copies into a part of the segment.
    pub(crate) fn prepare(&self, offset: u64, len: u64) -> Result<()> {
        self.with_file(Operation::Prepare, |file| file.prepare(offset, len))
    }

    /// Makes sure, durably, that no record begins at `offset`: the record's sequence number and kind, eight
    /// bytes in one sector, become zeros unless the whole header is zero already.
    pub(crate) fn erase_record(&self, offset: u64) -> Result<()> {
        let mut header = [0; record::HEADER_BYTES as usize];
        let there = self.read_at(offset, &mut header)?;
        if header[..there].iter().any(|&byte| byte != 0) {
            let erased = self.with_file(Operation::Write, |file| file.write_at(offset + 8, &[0; 8]));
            // If the bytes cannot be written any more, or only elsewhere on a full disk, they can still be
            // cut off.
            erased.or_else(|_| self.with_file(Operation::Cut, |file| file.truncate(offset)))?;
        }
        self.sync()
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.with_file(Operation::Sync, |file| file.sync())
    }

    /// Takes no more bytes. Returns the file, which is still to be cut to its end.
    pub(crate) fn stop_writing(&self) -> Option<Arc<dyn DiskFile>> {
        let file = self.file.read().clone();
        if let Some(file) = &file {
            file.unmap_writing();
        }
        file
    }

    /// Gives the descriptor back if values are read through the map. Call it only once everything is synced.
    pub(crate) fn release(&self) {
        if self.map.is_some() {
            *self.file.write() = None;
        }
    }

    /// Gives the descriptor back even if each read then has to open the file again.
    pub(crate) fn release_at_any_cost(&self) {
        *self.file.write() = None;
    }

    /// Like [`Segment::release_at_any_cost`], but the contents stay readable after somebody removes the file.
    pub(crate) fn release_but_keep(&self) -> Result<()> {
        if self.map.is_none() && self.kept.get().is_none() {
            let map = self.with_file(Operation::Map, |file| file.map(file.len()?.min(MAX_SEGMENT_BYTES)))?;
            let _ = self.kept.set(map);
        }
        self.release_at_any_cost();
        Ok(())
    }

    /// A second view of the same file, even if its name is gone: with counts and a shown end of its own, and
    /// read only by system calls. For checking what a handle holds.
    pub(crate) fn twin(&self) -> Self {
        let kept = OnceLock::new();
        if let Some(map) = self.map.as_ref().or_else(|| self.kept.get()) {
            let _ = kept.set(map.clone());
        }
        Self {
            header: self.header,
            path: self.path.clone(),
            file: RwLock::new(self.file.read().clone()),
            disk: Arc::clone(&self.disk),
            seal: self.seal,
            map: None,
            kept,
            shown_end: AtomicU64::new(0),
            copies_below: 0,
            put_extent: OnceLock::new(),
            nothing_deleted_to: OnceLock::new(),
            dictionaries: Met::default(),
            pins: AtomicU32::new(0),
            live_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            tombstone_bytes: AtomicU64::new(0),
        }
    }

    /// The outcome of a call on the file or, if the file's name is gone, what `look` finds in the map that
    /// keeps it.
    fn or_kept<T>(&self, outcome: Result<T>, look: impl FnOnce(&Map) -> io::Result<T>) -> Result<T> {
        match (outcome, self.map.as_ref().or_else(|| self.kept.get())) {
            (Err(Error::Io { source, .. }), Some(map)) if source.kind() == io::ErrorKind::NotFound => {
                look(map).map_err(|error| Error::io(Operation::Read, &self.path, error))
            }
            (outcome, _) => outcome,
        }
    }

    /// Fills `buffer` from `offset`; returns the number of bytes read.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let read = self.with_file(Operation::Read, |file| file.read_at(offset, buffer));
        self.or_kept(read, |map| map.copy_out(offset, buffer))
    }

    /// A map of the first page, where the header is or will be; `None` if reads are not to go through maps.
    pub(crate) fn first_page(&self, read_mode: ReadMode) -> Option<Map> {
        match read_mode {
            ReadMode::Mmap => self.with_file(Operation::Map, |file| file.map(PAGE_BYTES)).ok(),
            ReadMode::Pread => None,
        }
    }

    /// Whether nothing was written at `offset` yet, where a record or the segment would begin. Looks into the map where
    /// that is no risk: in a page with bytes that are never cut off.
    pub(crate) fn is_unwritten(&self, offset: u64) -> Result<bool> {
        let within_page =
            !offset.is_multiple_of(PAGE_BYTES) && offset % PAGE_BYTES <= PAGE_BYTES - record::HEADER_BYTES;
        if let Some(map) = self.map.as_ref().filter(|_| within_page)
            && let Some(zero) = map.is_zero(offset, record::HEADER_BYTES)
        {
            return Ok(zero);
        }
        let mut bytes = [0; record::HEADER_BYTES as usize];
        let read = self.read_at(offset, &mut bytes)?;
        Ok(bytes[..read].iter().all(|&byte| byte == 0))
    }

    /// The pieces from `offset` on that may hold something other than zeros.
    pub(crate) fn data_from(&self, mut offset: u64) -> Result<Vec<Range<u64>>> {
        let begin = offset;
        let pieces = self.with_file(Operation::Read, |file| {
            let mut pieces = Vec::new();
            while let Some(piece) = file.next_data(offset)? {
                offset = piece.end;
                pieces.push(piece);
            }
            Ok(pieces)
        });
        self.or_kept(pieces, |map| Ok(rest_of(map, begin).into_iter().collect()))
    }

    /// See [`DiskFile::next_data`].
    pub(crate) fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let piece = self.with_file(Operation::Read, |file| file.next_data(offset));
        self.or_kept(piece, |map| Ok(rest_of(map, offset)))
    }

    /// See [`DiskFile::read_nothing_ahead`].
    pub(crate) fn read_nothing_ahead(&self) -> Result<()> {
        let told = self.with_file(Operation::Read, |file| {
            file.read_nothing_ahead();
            Ok(())
        });
        self.or_kept(told, |_| Ok(()))
    }

    /// Hints that reads of it do not follow each other. If that fails, they read more than they need.
    pub(crate) fn read_at_random(&self) {
        match &self.map {
            Some(map) => map.read_nothing_ahead(),
            None => {
                let _ = self.read_nothing_ahead();
            }
        }
    }

    /// Bytes allocated on the disk under the segment's name: 0 once compaction has removed the file.
    pub(crate) fn allocated(&self) -> Result<u64> {
        match self.with_file(Operation::Read, |file| file.allocated()) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(0),
            allocated => allocated,
        }
    }

    /// Length of the file, whether its bytes count or not; once its name is gone, length of the map.
    pub(crate) fn len(&self) -> Result<u64> {
        self.or_kept(self.with_file(Operation::Read, |file| file.len()), |map| Ok(map.len()))
    }

    /// Bytes of the map, for a value that [`Segment::value`] found there.
    #[inline]
    pub(crate) fn mapped(&self, start: u64, len: u32) -> &[u8] {
        let bytes = self.map.as_ref().and_then(|map| map.bytes(start, len as usize));
        debug_assert!(bytes.is_some(), "only ranges that `value` returned are asked for");
        bytes.unwrap_or_default()
    }

    /// Hints that the record at `offset` is about to be read.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64) {
        if let Some(map) = &self.map {
            // A header and a hundred bytes span three cache lines, unless they happen to be aligned.
            map.prefetch(offset);
            map.prefetch(offset + 64);
            map.prefetch(offset + 127);
        }
    }

    /// Hints that a part of the segment, whole pages, is to be read soon from the device. If that fails, reads wait for it.
    pub(crate) fn will_read(&self, offset: u64, len: u64) {
        match &self.map {
            Some(map) => map.will_read(offset, len),
            None => {
                let _ = self.with_file(Operation::Read, |file| {
                    file.will_read(offset, len);
                    Ok(())
                });
            }
        }
    }

    pub(crate) fn damaged(&self, offset: u64, bad: Bad) -> Error {
        Error::Corruption {
            path: self.path.clone(),
            offset,
            expected: "a whole record".to_owned(),
            found: bad.to_string(),
        }
    }

    /// The error for a segment that is not the one that belongs here.
    pub(crate) fn other_than(&self, expected: String, found: String) -> Error {
        self.unexpected(0, expected, found)
    }

    /// The error for whole records that make no sense at their place.
    pub(crate) fn unexpected(&self, offset: u64, expected: String, found: String) -> Error {
        Error::Corruption { path: self.path.clone(), offset, expected, found }
    }

    /// A key as its users know it.
    pub(super) fn shown_key(&self, key: Key) -> String {
        self.header.key.shown(key)
    }

    /// The error for a whole record that was read when the store was opened and could not be read a moment
    /// later.
    pub(crate) fn read_otherwise(&self, offset: u64, seq: u64, found: String) -> Error {
        Error::Corruption {
            path: self.path.clone(),
            offset,
            expected: format!(
                "the record with sequence {seq}, which was read here a moment ago (the device may have lost what \
                 only memory held; opening the store again will tell)"
            ),
            found,
        }
    }

    /// Counts appended bytes.
    pub(crate) fn count_appended(&self, bytes: u64) {
        self.total_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts records that the index now points to.
    pub(crate) fn count_live(&self, bytes: u64) {
        self.live_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a record that the index no longer points to.
    pub(crate) fn count_dead(&self, bytes: u64) {
        self.live_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts an appended tombstone.
    pub(crate) fn count_tombstone(&self, bytes: u64) {
        self.tombstone_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a record that was found, if it is a tombstone of either kind.
    pub(crate) fn count_if_tombstone(&self, record: &Record<'_>) {
        if record.kind.is_tombstone() {
            self.count_tombstone(record.size());
        }
    }

    /// No longer counts a record that was written again elsewhere, whatever the index points to.
    pub(crate) fn count_cut(&self, record: &Record<'_>) {
        self.total_bytes.fetch_sub(record.size(), Ordering::Relaxed);
        if record.kind.is_tombstone() {
            self.tombstone_bytes.fetch_sub(record.size(), Ordering::Relaxed);
        }
    }

    /// The current counts.
    pub(crate) fn counts(&self) -> Counts {
        let total = self.total_bytes.load(Ordering::Relaxed);
        // A replaced record was counted with the size in its header, which nobody had checked. If that size
        // is damaged, the result may be negative.
        let live = self.live_bytes.load(Ordering::Relaxed).cast_signed().max(0).cast_unsigned();
        // The tombstone count may come from an image, which can claim anything.
        let tombstones = self.tombstone_bytes.load(Ordering::Relaxed).min(total);
        Counts { live: live.min(total), total, tombstones }
    }

    /// Makes sure that holders of the segment can read its bytes after the file is removed.
    pub(crate) fn outlive_its_name(&self) -> Result<()> {
        let mut held = self.file.write();
        if self.map.is_none() && held.is_none() {
            let opened = self.disk.open(&Self::name(self.id()), Access::Read);
            *held = Some(opened.map_err(|error| Error::io(Operation::Open, &self.path, error))?);
        }
        Ok(())
    }

    /// Replaces the counts.
    pub(crate) fn take_counts(&self, counts: Counts) {
        self.live_bytes.store(counts.live, Ordering::Relaxed);
        self.total_bytes.store(counts.total, Ordering::Relaxed);
        self.tombstone_bytes.store(counts.tombstones, Ordering::Relaxed);
    }
}

/// Everything the map holds from `offset` on; a map knows of no holes.
fn rest_of(map: &Map, offset: u64) -> Option<Range<u64>> {
    (offset < map.len()).then_some(offset..map.len())
}
