//! The manifest: which segments make up the log and how far each counts, which one comes next, which hold
//! relocated records, and which images of the index are kept. It has two copies, written one after the other.
//! Knows nothing of what the files hold. Reading and writing are O(segments).

use std::collections::HashSet;
use std::io;
use std::path::Path;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::format::cuts::Cuts;
use crate::format::header::{
    CODECS, COMPRESSION, FileHeader, LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use crate::format::location::Location;
use crate::format::record::MAX_SEQ;
use crate::operation::Operation;
use crate::options::MAX_SEGMENT_BYTES;
use crate::room::filled;
use crate::schema::{Compression, Schema, add_part, parts};

const MAGIC: [u8; 8] = *b"ALEXMAN\0";
/// The two copies.
pub(crate) const NAMES: [&str; 2] = ["MANIFEST-A", "MANIFEST-B"];
/// The names of unfinished copies.
pub(crate) const UNFINISHED: [&str; 2] = ["MANIFEST-A.new", "MANIFEST-B.new"];
/// A larger manifest lists more segments than can exist: it is damaged, and must not make a reader allocate.
const MAX_BYTES: u64 = 1 << 30;
/// A store keeps at most two images; this leaves room.
const MAX_IMAGES: usize = 16;
/// The highest sequence number in a valid manifest: the next one may exceed the highest possible by a
/// segment's records.
const MAX_NAMED_SEQ: u64 = MAX_SEQ + MAX_SEGMENT_BYTES;
/// More changes than any writer makes, so that counting on from here is safe.
const MAX_GENERATION: u64 = u64::MAX / 2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawManifest {
    file: FileHeader,
    next_segment: U64,
    next_seq: U64,
    watermark: U64,
    committed_seq: U64,
    clean: U32,
    segments: U32,
    images: U32,
    next_image: U32,
}

const _: () = assert!(size_of::<RawManifest>() == 112);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    segment: U32,
    flags: U32,
    end: U64,
    last_seq: U64,
}

const _: () = assert!(size_of::<RawEntry>() == 24);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawImage {
    id: U32,
    segment: U32,
    offset: U64,
    last_seq: U64,
    bytes: U64,
    keys: U64,
}

const _: () = assert!(size_of::<RawImage>() == 40);

/// `end` and `last_seq` say how far the segment counts.
const ENDED: u32 = 1;
/// Relocated records, outside the log.
const RELOCATION: u32 = 2;
/// The log's next segment: `end` is its capacity, `last_seq` its salt.
const SPARE: u32 = 4;
/// A segment of the log right before this one was freed.
const AFTER_GAP: u32 = 8;

/// What the manifest says of one segment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    /// How far the segment counts; `None` while it takes records.
    pub(crate) end: Option<LogEnd>,
    /// A segment of the log right before it was freed.
    pub(crate) after_gap: bool,
}

/// A sealed segment of records that compaction copied from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relocation {
    pub(crate) segment: u32,
    /// How many of the segment's bytes count.
    pub(crate) end: u64,
    /// Records above this sequence number do not count.
    pub(crate) last_seq: u64,
}

/// The segment in which the log goes on once the active one is full. The log may have begun there since: its
/// header tells, and until that is written the segment is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) segment: u32,
    pub(crate) capacity: u64,
    /// Stored here too, so that the watermarks in its records can be read without its header.
    pub(crate) salt: u64,
}

impl SegmentHeader {
    /// Stands in for the header of a segment in which the log has not begun yet.
    pub(crate) fn unbegun(manifest: &Manifest, spare: Spare) -> Self {
        Self {
            store_id: manifest.store_id,
            key: manifest.schema.key,
            compression: manifest.schema.compression,
            id: spare.segment,
            origin: Origin::Log,
            salt: spare.salt,
            base_seq: manifest.next_seq,
            capacity: spare.capacity,
            watermark: 0,
            predecessor: LogEnd::default(),
            boot_id: [0; 16],
        }
    }
}

impl Spare {
    /// More sequence numbers than its records can have, plus the footer of the segment before it.
    pub(crate) fn most_records(&self) -> u64 {
        self.capacity / crate::format::record::HEADER_BYTES + 2
    }
}

/// What the manifest says of one image of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageEntry {
    pub(crate) id: u32,
    /// Where the log ended when the image was begun; replay goes on from there.
    pub(crate) position: LogEnd,
    /// Size of the file, in bytes.
    pub(crate) bytes: u64,
    /// Number of keys.
    pub(crate) keys: u64,
}

/// The content of both copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store_id: [u8; 16],
    /// What was chosen when the store was made.
    pub(crate) schema: Schema,
    /// Rises with every change.
    pub(crate) generation: u64,
    /// Ids from here on were never used.
    pub(crate) next_segment: u32,
    /// Sequence numbers from here on were never used in the listed segments.
    pub(crate) next_seq: u64,
    /// Every record up to this sequence number was once confirmed by the device.
    pub(crate) watermark: u64,
    /// Every batch up to this sequence number is known to be whole, so relocated records count without its
    /// markers.
    pub(crate) committed_seq: u64,
    /// Whether the last writer closed the store: everything listed is flushed and ended.
    pub(crate) clean: bool,
    /// The log, in order.
    pub(crate) segments: Vec<Entry>,
    /// What compaction wrote, in order of id.
    pub(crate) relocations: Vec<Relocation>,
    /// Where the log goes on, if that segment was prepared.
    pub(crate) spare: Option<Spare>,
    /// The images from which opening may start, newest first.
    pub(crate) images: Vec<ImageEntry>,
    /// Image ids from here on were never used.
    pub(crate) next_image: u32,
    /// The record of the dictionary that was last in use, if it is known where one is. Only a hint.
    pub(crate) dictionary: Option<Location>,
    /// Where recovery cut the log back.
    pub(crate) cuts: Cuts,
}

/// The part that holds the location of the dictionary.
const DICTIONARY: u32 = 3;
/// The part that holds the cuts.
const CUTS: u32 = 4;

/// Whether only a stray file can have this id: it lies beyond half of the ids that are left. The store would
/// not reach it within two billion segments, and to go on after it would waste all ids before it.
pub(crate) fn is_stray(next: u32, id: u32) -> bool {
    id > u32::midpoint(next, u32::MAX)
}

/// The outcome of looking for a manifest.
pub(crate) enum Found {
    /// The newer whole copy, and whether the other copy equals it.
    Manifest(Box<Manifest>, bool),
    /// There is no copy at all.
    Nothing,
}

/// Refuses a file that is longer than its header says, before memory is allocated for it.
fn check_length(head: &[u8], len: u64, path: &Path) -> Result<()> {
    // A file that is too short is reported when it is decoded.
    let Ok((raw, _)) = FileHeader::ref_from_prefix(head) else { return Ok(()) };
    check_magic(raw, path)?;
    let most = u64::from(raw.header_bytes()).min(MAX_BYTES);
    if len <= most {
        return Ok(());
    }
    Err(Error::Corruption {
        path: path.to_owned(),
        offset: most,
        expected: format!("a manifest of {most} bytes"),
        found: format!("{len} bytes"),
    })
}

fn check_magic(raw: &FileHeader, path: &Path) -> Result<()> {
    if raw.magic == MAGIC {
        return Ok(());
    }
    Err(Error::Corruption {
        path: path.to_owned(),
        offset: 0,
        expected: "the magic of a manifest".to_owned(),
        found: format!("{:02x?}", raw.magic),
    })
}

/// Why a manifest could not be written.
pub(crate) struct NotWritten {
    pub(crate) error: Error,
    /// A copy of it may be on the disk all the same. The files that it names must stay until another
    /// manifest, which does not name them, certainly is on the disk.
    pub(crate) maybe_there: bool,
}

impl From<NotWritten> for Error {
    fn from(failure: NotWritten) -> Self {
        failure.error
    }
}

impl Manifest {
    /// The manifest, cut to the log up to `end`.
    pub(crate) fn up_to(&self, end: LogEnd) -> Self {
        let mut manifest = self.clone();
        if let Some(last) = manifest.segments.iter().position(|entry| entry.segment == end.segment) {
            manifest.segments.truncate(last + 1);
            manifest.segments[last].end = Some(end);
        }
        manifest
    }

    pub(crate) fn new(store_id: [u8; 16], schema: Schema) -> Self {
        Self {
            store_id,
            schema,
            generation: 0,
            next_segment: 1,
            next_seq: 1,
            watermark: 0,
            committed_seq: 0,
            clean: true,
            segments: Vec::new(),
            relocations: Vec::new(),
            spare: None,
            images: Vec::new(),
            next_image: 1,
            dictionary: None,
            cuts: Cuts::default(),
        }
    }

    /// Whether the segment belongs to the store. O(segments).
    pub(crate) fn lists(&self, segment: u32) -> bool {
        self.entries().any(|entry| entry.segment.get() == segment)
    }

    /// Whether opening may start from this image.
    pub(crate) fn lists_image(&self, id: u32) -> bool {
        self.images.iter().any(|image| image.id == id)
    }

    /// The ids of all segments, for many lookups. O(segments).
    pub(crate) fn file_set(&self) -> HashSet<u32> {
        self.files().collect()
    }

    /// The ids of all segments.
    pub(crate) fn files(&self) -> impl Iterator<Item = u32> {
        self.entries().map(|entry| entry.segment.get())
    }

    fn entries(&self) -> impl Iterator<Item = RawEntry> {
        let log = self.segments.iter().map(|entry| {
            let end = entry.end.unwrap_or_default();
            let ended = if entry.end.is_some() { ENDED } else { 0 };
            let after_gap = if entry.after_gap { AFTER_GAP } else { 0 };
            RawEntry::new(entry.segment, ended | after_gap, end.offset, end.last_seq)
        });
        let relocations = self
            .relocations
            .iter()
            .map(|entry| RawEntry::new(entry.segment, RELOCATION | ENDED, entry.end, entry.last_seq));
        let spare = self.spare.iter().map(|it| RawEntry::new(it.segment, SPARE, it.capacity, it.salt));
        log.chain(relocations).chain(spare)
    }

    /// Reads the newer of the whole copies.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Found> {
        let mut copies = Vec::new();
        let mut damaged = None;
        for name in NAMES {
            match Self::read_copy(disk, name) {
                Ok(copy) => copies.extend(copy),
                Err(error)
                    if !error.says_not_now()
                        && matches!(error, Error::Corruption { .. } | Error::Io { .. }) =>
                {
                    damaged = Some(error);
                }
                // A newer format is refused even if the other copy can be read; and if this copy may be
                // whole, the other one may be older.
                Err(error) => return Err(error),
            }
        }
        let agree = copies.len() == NAMES.len() && copies[0] == copies[1];
        match (copies.into_iter().max_by_key(|copy| copy.generation), damaged) {
            (Some(newest), _) => Ok(Found::Manifest(Box::new(newest), agree)),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Found::Nothing),
        }
    }

    /// Reads one copy; `None` if the file does not exist.
    pub(crate) fn read_copy(disk: &dyn Disk, name: &str) -> Result<Option<Self>> {
        let path = disk.path_of(name);
        let wrap = |operation: Operation| {
            let path = path.clone();
            move |error: io::Error| Error::io(operation, &path, error)
        };
        let file = match disk.open(name, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(wrap(Operation::Open))?,
        };
        let len = file.len().map_err(wrap(Operation::Read))?;
        let mut head = [0; size_of::<RawManifest>()];
        let read = file.read_at(0, &mut head).map_err(wrap(Operation::Read))?;
        check_length(&head[..read], len, &path)?;
        let mut bytes = filled(0, len as usize)?;
        let read = file.read_at(0, &mut bytes).map_err(wrap(Operation::Read))?;
        bytes.truncate(read);
        Self::decode(&bytes, &path).map(Some)
    }

    /// Writes both copies, each durable under its name before the next step. O(segments), four syncs.
    pub(crate) fn write(&mut self, disk: &dyn Disk) -> Result<(), NotWritten> {
        self.generation += 1;
        let bytes = self.encode();
        let mut maybe_there = false;
        for (name, unfinished) in NAMES.into_iter().zip(UNFINISHED) {
            let path = disk.path_of(name);
            let wrap = |operation: Operation, maybe_there: bool| {
                let path = path.clone();
                move |error: io::Error| NotWritten { error: Error::io(operation, &path, error), maybe_there }
            };
            match disk.remove(unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(wrap(Operation::Remove, maybe_there)(error));
                }
                _ => {}
            }
            let file = disk.create(unfinished, 0).map_err(wrap(Operation::Create, maybe_there))?;
            file.write_at(0, &bytes).map_err(wrap(Operation::Write, maybe_there))?;
            file.sync().map_err(wrap(Operation::Sync, maybe_there))?;
            // A rename that fails may still have happened.
            maybe_there = true;
            disk.rename(unfinished, name).map_err(wrap(Operation::Rename, maybe_there))?;
            disk.sync_dir().map_err(wrap(Operation::SyncDirectory, maybe_there))?;
        }
        Ok(())
    }

    /// Size of a copy, in bytes.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        self.encode().len() as u64
    }

    fn encode(&self) -> Vec<u8> {
        let (count, mut schema) = (self.entries().count(), self.schema.encode());
        if let Some(dictionary) = self.dictionary {
            add_part(&mut schema, DICTIONARY, &dictionary.0.to_le_bytes());
        }
        if !self.cuts.is_empty() {
            add_part(&mut schema, CUTS, &self.cuts.encode());
        }
        let len = size_of::<RawManifest>()
            + count * size_of::<RawEntry>()
            + self.images.len() * size_of::<RawImage>()
            + schema.len()
            + 4;
        let file = FileHeader::new(MAGIC, self.store_id, self.schema.key, self.generation, len);
        let codecs = if self.schema.codec.is_some() { CODECS } else { 0 };
        let compression = if self.schema.compression == Compression::None { 0 } else { COMPRESSION };
        let raw = RawManifest {
            file: file.with_feature(codecs | compression),
            next_segment: U64::new(u64::from(self.next_segment)),
            next_seq: U64::new(self.next_seq),
            watermark: U64::new(self.watermark),
            committed_seq: U64::new(self.committed_seq),
            clean: U32::new(u32::from(self.clean)),
            segments: U32::new(count as u32),
            images: U32::new(self.images.len() as u32),
            next_image: U32::new(self.next_image),
        };
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(raw.as_bytes());
        for entry in self.entries() {
            bytes.extend_from_slice(entry.as_bytes());
        }
        for image in &self.images {
            let raw = RawImage {
                id: U32::new(image.id),
                segment: U32::new(image.position.segment),
                offset: U64::new(image.position.offset),
                last_seq: U64::new(image.position.last_seq),
                bytes: U64::new(image.bytes),
                keys: U64::new(image.keys),
            };
            bytes.extend_from_slice(raw.as_bytes());
        }
        bytes.extend_from_slice(&schema);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    #[expect(clippy::too_many_lines, reason = "one check after another, in the order of the bytes")]
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |offset: usize, expected: &str, found: String| Error::Corruption {
            path: path.to_owned(),
            offset: offset as u64,
            expected: expected.to_owned(),
            found,
        };
        let Ok((raw, rest)) = RawManifest::ref_from_prefix(bytes) else {
            return Err(damaged(0, "a manifest", format!("{} bytes", bytes.len())));
        };
        check_magic(&raw.file, path)?;
        let Some((covered, stored)) = bytes.split_last_chunk::<4>() else {
            return Err(damaged(0, "a manifest", format!("{} bytes", bytes.len())));
        };
        let (computed, stored) = (crc32c::crc32c(covered), u32::from_le_bytes(*stored));
        if computed != stored {
            return Err(damaged(
                covered.len(),
                &format!("checksum {computed:#010x}"),
                format!("{stored:#010x}"),
            ));
        }
        raw.file.refuse_newer(path)?;
        let count = raw.segments.get() as usize;
        let Ok((entries, rest)) = <[RawEntry]>::ref_from_prefix_with_elems(rest, count) else {
            return Err(damaged(100, "as many entries as fit the file", count.to_string()));
        };
        let count = raw.images.get() as usize;
        let Ok((images, rest)) = <[RawImage]>::ref_from_prefix_with_elems(rest, count) else {
            return Err(damaged(104, "as many images as fit the file", count.to_string()));
        };
        if count > MAX_IMAGES {
            return Err(damaged(104, "as many images as a store keeps", count.to_string()));
        }
        let Some((behind, _)) = rest.split_last_chunk::<4>() else {
            return Err(damaged(104, "as many images as fit the file", count.to_string()));
        };
        let mut schema = Schema { key: raw.file.key_kind(path)?, ..Schema::default() };
        let (dictionary, cuts) = take_parts(behind, &mut schema)
            .map_err(|found| damaged(covered.len() - behind.len(), "the parts of a schema", found))?;
        let images = images
            .iter()
            .map(|image| ImageEntry {
                id: image.id.get(),
                position: LogEnd {
                    segment: image.segment.get(),
                    offset: image.offset.get(),
                    last_seq: image.last_seq.get(),
                },
                bytes: image.bytes.get(),
                keys: image.keys.get(),
            })
            .collect();
        let mut manifest = Self {
            store_id: raw.file.store_id,
            schema,
            generation: raw.file.file_id.get(),
            next_segment: u32::try_from(raw.next_segment.get())
                .map_err(|_| damaged(64, "a segment id of 32 bits", raw.next_segment.get().to_string()))?,
            next_seq: raw.next_seq.get(),
            watermark: raw.watermark.get(),
            committed_seq: raw.committed_seq.get(),
            clean: raw.clean.get() != 0,
            segments: Vec::new(),
            relocations: Vec::new(),
            spare: None,
            images,
            next_image: raw.next_image.get(),
            dictionary,
            cuts,
        };
        manifest.check_numbers().map_err(|(at, expected, found)| damaged(at, expected, found.to_string()))?;
        for (i, entry) in entries.iter().enumerate() {
            let at = size_of::<RawManifest>() + i * size_of::<RawEntry>();
            entry
                .check()
                .map_err(|(field, expected, found)| damaged(at + field, expected, found.to_string()))?;
            if let Some(last) = manifest.segments.last()
                && entry.is_log()
                && entry.segment.get() <= last.segment
            {
                let expected = format!("a segment of the log behind segment {}", last.segment);
                return Err(damaged(at, &expected, format!("segment {}", entry.segment.get())));
            }
            manifest
                .take(*entry)
                .map_err(|flags| damaged(at + 4, "known flags of a segment", format!("{flags:#x}")))?;
        }
        manifest
            .check_ids()
            .map_err(|id| damaged(112, "each segment listed once", format!("segment {id} listed twice")))?;
        Ok(manifest)
    }

    /// Refuses figures that no store can have, so that counting on from them is safe. An error holds the
    /// offset, what would be right, and the figure.
    fn check_numbers(&self) -> Result<(), (usize, &'static str, u64)> {
        if self.generation > MAX_GENERATION {
            return Err((32, "a generation that others can follow", self.generation));
        }
        let sequences = [(72, self.next_seq), (80, self.watermark), (88, self.committed_seq)];
        for (at, found) in sequences {
            if found > MAX_NAMED_SEQ {
                return Err((at, "a sequence of 56 bits", found));
            }
        }
        match self.images.iter().find(|image| image.position.last_seq > MAX_SEQ) {
            Some(image) => Err((104, "images whose sequences have 56 bits", image.position.last_seq)),
            None => Ok(()),
        }
    }

    /// Returns the id of a segment that is listed twice as an error. O(segments * log segments).
    fn check_ids(&self) -> Result<(), u32> {
        let mut ids: Vec<u32> = self.files().collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(pair[0]),
            None => Ok(()),
        }
    }

    /// Adds one entry. Returns the flags as an error if no segment has them.
    fn take(&mut self, entry: RawEntry) -> Result<(), u32> {
        let (segment, end, last_seq) = (entry.segment.get(), entry.end.get(), entry.last_seq.get());
        let flags = entry.flags.get();
        match flags & !AFTER_GAP {
            0 | ENDED => self.segments.push(Entry {
                segment,
                end: (flags & ENDED != 0).then_some(LogEnd { segment, offset: end, last_seq }),
                after_gap: flags & AFTER_GAP != 0,
            }),
            kind if kind == RELOCATION | ENDED => {
                self.relocations.push(Relocation { segment, end, last_seq });
            }
            SPARE => self.spare = Some(Spare { segment, capacity: end, salt: last_seq }),
            _ => return Err(flags),
        }
        Ok(())
    }
}

/// Reads what stands behind the images: the parts of the schema, where the dictionary is, and the cuts.
fn take_parts(bytes: &[u8], schema: &mut Schema) -> Result<(Option<Location>, Cuts), String> {
    let (mut dictionary, mut cuts) = (None, Cuts::default());
    for (tag, own) in parts(bytes)? {
        match (tag, own.try_into()) {
            (DICTIONARY, Ok(location)) => dictionary = Some(Location(u64::from_le_bytes(location))),
            (CUTS, _) => cuts = Cuts::decode(own)?,
            _ => schema.take((tag, own))?,
        }
    }
    Ok((dictionary, cuts))
}

impl RawEntry {
    fn new(segment: u32, flags: u32, end: u64, last_seq: u64) -> Self {
        Self {
            segment: U32::new(segment),
            flags: U32::new(flags),
            end: U64::new(end),
            last_seq: U64::new(last_seq),
        }
    }

    /// Whether the entry belongs to the log.
    fn is_log(&self) -> bool {
        matches!(self.flags.get() & !AFTER_GAP, 0 | ENDED)
    }

    /// Like [`Manifest::check_numbers`], with the offset counted from the entry's start.
    fn check(&self) -> Result<(), (usize, &'static str, u64)> {
        let (end, last_seq) = (self.end.get(), self.last_seq.get());
        let sized = self.flags.get() & (ENDED | SPARE) != 0;
        if sized && !(SEGMENT_HEADER_BYTES..=MAX_SEGMENT_BYTES).contains(&end) {
            return Err((8, "the length of a segment", end));
        }
        // In a spare, this field is a salt.
        if self.flags.get() & ENDED != 0 && last_seq > MAX_SEQ {
            return Err((16, "a sequence of 56 bits", last_seq));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KeyKind;

    fn manifest() -> Manifest {
        let end = LogEnd { segment: 1, offset: 4000, last_seq: 70 };
        Manifest {
            generation: 5,
            next_segment: 3,
            next_seq: 99,
            watermark: 70,
            clean: false,
            committed_seq: 69,
            segments: vec![
                Entry { segment: 1, end: Some(end), after_gap: true },
                Entry { segment: 2, end: None, after_gap: false },
            ],
            relocations: vec![Relocation { segment: 3, end: 5000, last_seq: 68 }],
            spare: Some(Spare { segment: 4, capacity: 4096, salt: u64::MAX }),
            images: vec![ImageEntry { id: 4, position: end, bytes: 8192, keys: 60 }],
            next_image: 5,
            dictionary: Some(Location::new(3, 192)),
            cuts: Cuts::of_test(&[(20, 40), (60, 99)]),
            ..Manifest::new(
                [9; 16],
                Schema { key: KeyKind::Uuid, codec: Some("text".to_owned()), compression: Compression::Zstd },
            )
        }
    }

    #[test]
    fn a_manifest_comes_back_as_written() {
        assert_eq!(Manifest::decode(&manifest().encode(), Path::new("m")).expect("valid"), manifest());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_manifest_is_noticed() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&broken, Path::new("m")).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len], Path::new("m")).is_err(), "length {len}");
        }
    }

    #[test]
    fn a_manifest_that_no_other_can_follow_is_refused() {
        for (generation, refused) in [(MAX_GENERATION, false), (MAX_GENERATION + 1, true), (u64::MAX, true)] {
            let forged = Manifest { generation, ..manifest() };
            assert_eq!(Manifest::decode(&forged.encode(), Path::new("m")).is_err(), refused, "{generation}");
        }
    }
}
