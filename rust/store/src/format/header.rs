//! The header with which every file of a store begins, and what a segment adds to it. `docs/format.md`
//! describes each field. Knows nothing of how files are read or written.

use std::path::Path;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::format::record::MAX_SEQ;
use crate::options::MAX_SEGMENT_BYTES;
use crate::schema::{Compression, KeyKind};

/// The format that this version writes.
pub(crate) const FORMAT_VERSION: u16 = 1;
/// The oldest version whose readers understand what this version writes.
const MIN_READER_VERSION: u16 = 1;
/// Keys are of another kind than `int64`: the header says of which.
const KEY_KINDS: u32 = 1;
/// Values have a codec: the manifest names it.
pub(crate) const CODECS: u32 = 2;
/// Values may be compressed.
pub(crate) const COMPRESSION: u32 = 4;
/// Incompatible features that this version understands.
const KNOWN_FEATURES: u32 = KEY_KINDS | CODECS | COMPRESSION;

/// The first 64 bytes of every file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct FileHeader {
    /// What kind of file this is.
    pub(crate) magic: [u8; 8],
    format_version: U16,
    min_reader_version: U16,
    /// A reader that does not know a set bit must not read on.
    incompatible_features: U32,
    /// The same random number in all files of a store.
    pub(crate) store_id: [u8; 16],
    /// The id of a segment, or the generation of a manifest.
    pub(crate) file_id: U64,
    /// Number of bytes covered by the checksum at the end of the header, including these 64.
    header_bytes: U32,
    /// The number of the kind of keys.
    key_kind: u8,
    reserved: [u8; 19],
}

const _: () = assert!(size_of::<FileHeader>() == 64);

impl FileHeader {
    pub(crate) fn new(
        magic: [u8; 8],
        store_id: [u8; 16],
        key: KeyKind,
        file_id: u64,
        header_bytes: usize,
    ) -> Self {
        let features = if key == KeyKind::Int64 { 0 } else { KEY_KINDS };
        Self {
            magic,
            format_version: U16::new(FORMAT_VERSION),
            min_reader_version: U16::new(MIN_READER_VERSION),
            incompatible_features: U32::new(features),
            store_id,
            file_id: U64::new(file_id),
            header_bytes: U32::new(header_bytes as u32),
            key_kind: key as u8,
            reserved: [0; 19],
        }
    }

    /// The header of a file that uses another feature.
    pub(crate) fn with_feature(mut self, feature: u32) -> Self {
        self.incompatible_features.set(self.incompatible_features.get() | feature);
        self
    }

    /// Whether the file uses a feature.
    pub(crate) fn has_feature(&self, feature: u32) -> bool {
        self.incompatible_features.get() & feature != 0
    }

    /// Number of header bytes that end with the checksum; in a manifest, the whole file.
    pub(crate) fn header_bytes(&self) -> u32 {
        self.header_bytes.get()
    }

    /// Refuses what this version must not read. `bytes` is the file from its start. The caller must verify
    /// the checksum first.
    pub(crate) fn refuse_newer(&self, path: &Path) -> Result<()> {
        let version = self.min_reader_version.get();
        if version > FORMAT_VERSION {
            return Err(Error::Format {
                path: path.to_owned(),
                problem: format!(
                    "needs a reader of format {version} and this alexpy reads up to format {FORMAT_VERSION}; \
                     install a newer alexpy (nothing was changed)"
                ),
            });
        }
        let unknown = self.incompatible_features.get() & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(Error::Format {
                path: path.to_owned(),
                problem: format!(
                    "uses features {unknown:#x} that this alexpy does not know; install a newer alexpy \
                     (nothing was changed)"
                ),
            });
        }
        Ok(())
    }

    /// The kind of keys in the file, which must be one that this version knows.
    pub(crate) fn key_kind(&self, path: &Path) -> Result<KeyKind> {
        KeyKind::from_number(self.key_kind).ok_or_else(|| Error::Format {
            path: path.to_owned(),
            problem: format!(
                "has keys of kind {}, which this alexpy does not know; install a newer alexpy (nothing was \
                 changed)",
                self.key_kind
            ),
        })
    }
}

/// Where the kind of keys stands in a header.
const _: () = assert!(std::mem::offset_of!(FileHeader, key_kind) == 44);

/// Why a segment was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Origin {
    /// The previous segment was full, or there was none.
    Log = 0,
    /// Recovery wrote records again here that were not proven durable. Counts only once the manifest lists
    /// it.
    Recovery = 1,
    /// Compaction copied records here from other segments. Not part of the log.
    Relocation = 2,
}

const SEGMENT_MAGIC: [u8; 8] = *b"ALEXSEG\0";

/// The first 192 bytes of a segment; records follow.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawSegmentHeader {
    file: FileHeader,
    origin: U32,
    reserved_0: U32,
    salt: U64,
    base_seq: U64,
    capacity: U64,
    watermark: U64,
    predecessor_id: U64,
    predecessor_end: U64,
    predecessor_last_seq: U64,
    boot_id: [u8; 16],
    reserved_1: [u8; 44],
    crc: U32,
}

/// Bytes before a segment's first record.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 192;
const _: () = assert!(size_of::<RawSegmentHeader>() == SEGMENT_HEADER_BYTES as usize);

/// A position in the log: after the last accepted byte of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogEnd {
    /// The segment; 0 means none, at the beginning of the log.
    pub(crate) segment: u32,
    /// How many of the segment's bytes count.
    pub(crate) offset: u64,
    /// The last sequence number before this position; 0 means none.
    pub(crate) last_seq: u64,
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) key: KeyKind,
    pub(crate) compression: Compression,
    pub(crate) id: u32,
    pub(crate) origin: Origin,
    /// Seeds the checksums of the segment's records.
    pub(crate) salt: u64,
    /// The sequence number of the first record.
    pub(crate) base_seq: u64,
    /// Bytes reserved for the segment, including this header.
    pub(crate) capacity: u64,
    /// The durable watermark when the segment was begun.
    pub(crate) watermark: u64,
    /// Where the log ended before this segment.
    pub(crate) predecessor: LogEnd,
    /// The boot of the machine that began the segment.
    pub(crate) boot_id: [u8; 16],
}

#[cfg(test)]
impl SegmentHeader {
    /// Of a segment of the log of nobody's store, for tests of what lies in it.
    pub(crate) fn of_test(id: u32, capacity: u64) -> Self {
        Self {
            store_id: [0; 16],
            key: KeyKind::Int64,
            compression: Compression::None,
            id,
            origin: Origin::Log,
            salt: 0,
            base_seq: 1,
            capacity,
            watermark: 0,
            predecessor: LogEnd::default(),
            boot_id: [0; 16],
        }
    }
}

impl SegmentHeader {
    /// The highest sequence number that a record of this segment can have.
    pub(crate) fn highest_possible_seq(&self) -> u64 {
        // Bounded, so that adding to it is safe whatever a damaged file says.
        self.base_seq
            .saturating_add(self.capacity / crate::format::record::HEADER_BYTES)
            .min(crate::format::record::MAX_SEQ)
    }

    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let file = FileHeader::new(
            SEGMENT_MAGIC,
            self.store_id,
            self.key,
            u64::from(self.id),
            SEGMENT_HEADER_BYTES as usize,
        );
        let mut raw = RawSegmentHeader {
            file: match self.compression {
                Compression::None => file,
                Compression::Zstd => file.with_feature(COMPRESSION),
            },
            origin: U32::new(self.origin as u32),
            reserved_0: U32::ZERO,
            salt: U64::new(self.salt),
            base_seq: U64::new(self.base_seq),
            capacity: U64::new(self.capacity),
            watermark: U64::new(self.watermark),
            predecessor_id: U64::new(u64::from(self.predecessor.segment)),
            predecessor_end: U64::new(self.predecessor.offset),
            predecessor_last_seq: U64::new(self.predecessor.last_seq),
            boot_id: self.boot_id,
            reserved_1: [0; 44],
            crc: U32::ZERO,
        };
        raw.crc = U32::new(crc32c::crc32c(&raw.as_bytes()[..SEGMENT_HEADER_BYTES as usize - 4]));
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }

    /// Parses and checks a header; `path` is for messages only.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |expected: &str, found: String| Error::Corruption {
            path: path.to_owned(),
            offset: 0,
            expected: expected.to_owned(),
            found,
        };
        let Ok((raw, _)) = RawSegmentHeader::ref_from_prefix(bytes) else {
            return Err(damaged("a segment header of 192 bytes", format!("{} bytes", bytes.len())));
        };
        if raw.file.magic != SEGMENT_MAGIC {
            return Err(damaged("the magic of a segment", format!("{:02x?}", raw.file.magic)));
        }
        let computed = crc32c::crc32c(&raw.as_bytes()[..SEGMENT_HEADER_BYTES as usize - 4]);
        if computed != raw.crc.get() {
            return Err(damaged(
                &format!("header checksum {computed:#010x}"),
                format!("{:#010x}", raw.crc.get()),
            ));
        }
        raw.file.refuse_newer(path)?;
        let origin = match raw.origin.get() {
            0 => Origin::Log,
            1 => Origin::Recovery,
            2 => Origin::Relocation,
            other => return Err(damaged("a known origin", other.to_string())),
        };
        let id = |id: U64| {
            u32::try_from(id.get()).map_err(|_| damaged("a segment id of 32 bits", id.get().to_string()))
        };
        // Values that code counts on from must not overflow, nor exceed what a location can express.
        let sequences = [raw.base_seq, raw.watermark, raw.predecessor_last_seq];
        if let Some(seq) = sequences.iter().find(|seq| seq.get() > MAX_SEQ) {
            return Err(damaged("sequences of 56 bits", seq.get().to_string()));
        }
        if let Some(bytes) =
            [raw.capacity, raw.predecessor_end].iter().find(|bytes| bytes.get() > MAX_SEGMENT_BYTES)
        {
            return Err(damaged("lengths of at most 32 GiB", bytes.get().to_string()));
        }
        Ok(Self {
            store_id: raw.file.store_id,
            key: raw.file.key_kind(path)?,
            compression: if raw.file.has_feature(COMPRESSION) {
                Compression::Zstd
            } else {
                Compression::None
            },
            id: id(raw.file.file_id)?,
            origin,
            salt: raw.salt.get(),
            base_seq: raw.base_seq.get(),
            capacity: raw.capacity.get(),
            watermark: raw.watermark.get(),
            predecessor: LogEnd {
                segment: id(raw.predecessor_id)?,
                offset: raw.predecessor_end.get(),
                last_seq: raw.predecessor_last_seq.get(),
            },
            boot_id: raw.boot_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            store_id: [3; 16],
            key: KeyKind::Uuid,
            compression: Compression::Zstd,
            id: 9,
            origin: Origin::Recovery,
            salt: 77,
            base_seq: 1000,
            capacity: 4096,
            watermark: 998,
            predecessor: LogEnd { segment: 8, offset: 4000, last_seq: 999 },
            boot_id: [4; 16],
        }
    }

    #[test]
    fn a_segment_header_comes_back_as_written() {
        assert_eq!(SegmentHeader::decode(&header().encode(), Path::new("s")).expect("valid"), header());
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_noticed() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&broken, Path::new("s")).is_err(), "bit {bit}");
        }
    }

    fn with(change: impl Fn(&mut RawSegmentHeader)) -> Result<SegmentHeader> {
        let bytes = header().encode();
        let mut raw = RawSegmentHeader::read_from_bytes(&bytes).expect("size");
        change(&mut raw);
        raw.crc = U32::new(crc32c::crc32c(&raw.as_bytes()[..SEGMENT_HEADER_BYTES as usize - 4]));
        SegmentHeader::decode(raw.as_bytes(), Path::new("s"))
    }

    #[test]
    fn a_newer_format_or_an_unknown_feature_is_refused_by_name() {
        let newer = with(|raw| raw.file.min_reader_version = U16::new(2));
        assert!(matches!(newer, Err(Error::Format { .. })), "{newer:?}");
        let feature = with(|raw| raw.file.incompatible_features = U32::new(8));
        assert!(matches!(feature, Err(Error::Format { .. })), "{feature:?}");
    }
}
