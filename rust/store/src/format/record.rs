//! The record: the bytes of one operation in a segment. This is the only code that writes and parses them.
//! Knows nothing of files, of the index or of what order means. Encoding and checking are O(length).

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::compressed::{Compressed, MAX_VALUE_BYTES};
use crate::keys::{Key, Width};

/// Bytes before the value, or before the rest of a wide key.
pub(crate) const HEADER_BYTES: u64 = 24;
/// Sequence numbers have 56 bits.
pub(crate) const MAX_SEQ: u64 = (1 << 56) - 1;

/// Bytes of a wide key that follow the header; it holds the others.
const REST_BYTES: u64 = 8;
/// Added to the number of a kind in the record of a wide key.
const WIDE: u8 = 1 << 4;
/// Added to the number of a kind in the record of a put whose value is compressed.
const COMPRESSED: u8 = 1 << 5;

impl Width {
    /// Bytes between the header and the value.
    const fn rest(self) -> u64 {
        match self {
            Self::Narrow => 0,
            Self::Wide => REST_BYTES,
        }
    }

    /// Size of the record of a put of `len` bytes.
    pub(crate) const fn size_of_put(self, len: u64) -> u64 {
        self.rest() + size_of_record(len)
    }

    /// Size of a tombstone.
    pub(crate) const fn size_of_tombstone(self) -> u64 {
        self.size_of_put(0)
    }

    /// Size of a range tombstone.
    pub(crate) const fn size_of_range_tombstone(self) -> u64 {
        self.size_of_put(8 + self.rest())
    }

    /// The value of a range tombstone whose last key is this.
    pub(crate) fn last_key(self, last: Key) -> LastKey {
        LastKey { bytes: last.to_le_bytes(), len: 8 + self.rest() as usize }
    }
}

/// The last key of a range, as a record holds it.
pub(crate) struct LastKey {
    bytes: [u8; 16],
    len: usize,
}

impl std::ops::Deref for LastKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a record says. Zero is not a kind, so zeros never parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Sets a key to a value.
    Put = 1,
    /// Deletes the key.
    Tombstone = 2,
    /// Deletes every key from `key` to the value (a key), both included.
    RangeTombstone = 3,
    /// The following records count only once the matching commit is reached. Value: [`BatchBegin`].
    BatchBegin = 4,
    /// Ends a batch. Value: the number of records, as in its begin record.
    BatchCommit = 5,
    /// Like `Put`, inside a batch.
    BatchPut = 6,
    /// Like `Tombstone`, inside a batch.
    BatchTombstone = 7,
    /// Like `RangeTombstone`, inside a batch.
    BatchRangeTombstone = 8,
    /// Records the durable watermark. Value: the highest sequence number (u64) that a finished flush covered.
    Mark = 9,
    /// Ends a segment. Value: the durable watermark, as in `Mark`.
    Footer = 10,
    /// Changes nothing. Value: the dictionary of compressed values behind it in the same segment.
    Dictionary = 11,
}

impl Kind {
    fn from_u8(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::Put,
            2 => Self::Tombstone,
            3 => Self::RangeTombstone,
            4 => Self::BatchBegin,
            5 => Self::BatchCommit,
            6 => Self::BatchPut,
            7 => Self::BatchTombstone,
            8 => Self::BatchRangeTombstone,
            9 => Self::Mark,
            10 => Self::Footer,
            11 => Self::Dictionary,
            _ => return None,
        })
    }

    /// Whether it gives a key a value.
    pub(crate) fn is_put(self) -> bool {
        matches!(self, Self::Put | Self::BatchPut)
    }

    /// Whether it concerns a key.
    pub(crate) fn has_key(self) -> bool {
        self.is_put() || self.is_tombstone()
    }

    /// Whether it says nothing of what is stored, in a batch or outside.
    pub(crate) fn is_beside(self) -> bool {
        matches!(self, Self::Mark | Self::Footer | Self::Dictionary)
    }

    /// The kind of this number, how many bytes its key has, and whether its value is compressed.
    fn and_form(number: u8) -> Option<(Self, Width, bool)> {
        let kind = Self::from_u8(number & !(WIDE | COMPRESSED))?;
        let (wide, compressed) = (number & WIDE != 0, number & COMPRESSED != 0);
        let fits = (kind.has_key() || !wide) && (kind.is_put() || !compressed);
        let width = if wide { Width::Wide } else { Width::Narrow };
        fits.then_some((kind, width, compressed))
    }

    /// Whether it deletes: a tombstone of one key or of many, in a batch or not.
    pub(crate) fn is_tombstone(self) -> bool {
        matches!(
            self,
            Self::Tombstone | Self::RangeTombstone | Self::BatchTombstone | Self::BatchRangeTombstone
        )
    }

    /// The kind to use inside a batch.
    pub(crate) fn in_batch(self) -> Self {
        match self {
            Self::Put => Self::BatchPut,
            Self::Tombstone => Self::BatchTombstone,
            Self::RangeTombstone => Self::BatchRangeTombstone,
            other => other,
        }
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    crc: U32,
    value_len: U32,
    kind_and_seq: U64,
    /// The key, or the high half of a wide one.
    key: I64,
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_BYTES as usize);

/// The value of a batch's first record.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct BatchBegin {
    /// Number of records between begin and commit.
    pub(crate) records: U64,
    /// Bytes from the start of the begin record to the end of the commit record.
    pub(crate) bytes: U64,
}

const _: () = assert!(size_of::<BatchBegin>() == 16);

/// Bytes that a batch needs besides its records.
pub(crate) const BATCH_BYTES: u64 = size_of_record(16) + size_of_record(8);
/// Size of a mark, and of a footer.
pub(crate) const MARK_BYTES: u64 = size_of_record(8);

/// Size of a record with a narrow key, or none, and a value of `value_len` bytes: header, value, padding to 8.
pub(crate) const fn size_of_record(value_len: u64) -> u64 {
    HEADER_BYTES + value_len.next_multiple_of(8)
}

/// Spreads an offset over the seed: 2^32 divided by the golden ratio, made odd.
const PLACE_FACTOR: u32 = 0x9E37_79B1;

/// Ties a checksum to its place. The checksum starts from a seed made of the segment's salt and the record's
/// offset, so that stale, copied or misplaced bytes never parse. Two offsets of a segment never share a seed,
/// since an odd factor maps the 32 bits of `offset / 8` one to one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal(u32);

impl Seal {
    pub(crate) fn new(salt: u64) -> Self {
        Self(crc32c::crc32c(&salt.to_le_bytes()))
    }

    #[inline]
    pub(crate) fn checksum(self, offset: u64, covered: &[u8]) -> u32 {
        let place = ((offset >> 3) as u32).wrapping_mul(PLACE_FACTOR);
        crc32c::crc32c_append(self.0 ^ place, covered)
    }
}

/// The checksum of a record, computed piece by piece.
pub(crate) struct Unsealed {
    stored: u32,
    computed: u32,
}

impl Unsealed {
    /// For the record at `offset` that begins with `header`.
    pub(crate) fn new(seal: Seal, offset: u64, header: &[u8]) -> Self {
        Self { stored: peek_checksum(header), computed: seal.checksum(offset, &[]) }
    }

    /// Adds the next bytes that the checksum covers: everything behind its first four.
    pub(crate) fn add(&mut self, covered: &[u8]) {
        self.computed = crc32c::crc32c_append(self.computed, covered);
    }

    pub(crate) fn is_right(&self) -> bool {
        self.computed == self.stored
    }
}

/// A record as found in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) seq: u64,
    pub(crate) key: Key,
    pub(crate) width: Width,
    /// Whether the value is compressed.
    pub(crate) compressed: bool,
    /// The value as it is stored.
    pub(crate) value: &'a [u8],
}

/// A value on its way into a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    Plain(&'a [u8]),
    Compressed(Compressed<'a>),
}

impl Body<'_> {
    /// How many bytes of it a record holds.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(value) => value.len(),
            Self::Compressed(value) => value.stored_len(),
        }
    }
}

impl<'a, const LEN: usize> From<&'a [u8; LEN]> for Body<'a> {
    fn from(value: &'a [u8; LEN]) -> Self {
        Self::Plain(value)
    }
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Plain(value)
    }
}

impl Record<'_> {
    /// Size of the record in the segment, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.width.size_of_put(self.value.len() as u64)
    }

    /// Where its value begins, in bytes from its start.
    pub(crate) fn value_at(&self) -> u64 {
        HEADER_BYTES + self.width.rest()
    }

    /// The value of a mark, a footer or a batch's end.
    pub(crate) fn number(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.value.try_into().ok()?))
    }

    /// The last key of a range tombstone.
    pub(crate) fn last_key(&self) -> Option<Key> {
        Some(match self.width {
            Width::Narrow => i64::from_le_bytes(self.value.try_into().ok()?).into(),
            Width::Wide => Key::from_le_bytes(self.value.try_into().ok()?),
        })
    }

    /// The value of a batch's begin record.
    pub(crate) fn batch(&self) -> Option<BatchBegin> {
        BatchBegin::read_from_bytes(self.value).ok()
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Zeros: nothing was ever written here.
    Empty,
    /// Fewer bytes are left than the record needs; the number that it needs.
    Short(u64),
    /// The kind is not one of ours.
    Kind(u8),
    /// The key has another width than those of the store.
    Width(Width),
    /// The stored and the computed checksum.
    Checksum(u32, u32),
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "zeros"),
            Self::Short(needed) => write!(f, "a record of {needed} bytes that runs past the end"),
            Self::Kind(kind) => write!(f, "a record of unknown kind {kind}"),
            Self::Width(Width::Narrow) => write!(f, "a record of a key of 64 bits in a store of 128"),
            Self::Width(Width::Wide) => write!(f, "a record of a key of 128 bits in a store of 64"),
            Self::Checksum(stored, computed) => {
                write!(f, "checksum {stored:#010x} over bytes whose checksum is {computed:#010x}")
            }
        }
    }
}

/// Appends one record to `out`, encoded for `offset`.
#[expect(clippy::too_many_arguments, reason = "the fields of a record, and where it goes")]
pub(crate) fn encode<'a>(
    out: &mut Vec<u8>,
    seal: Seal,
    offset: u64,
    kind: Kind,
    seq: u64,
    (width, key): (Width, Key),
    value: impl Into<Body<'a>>,
) {
    let value = value.into();
    debug_assert!(offset.is_multiple_of(8) && seq <= MAX_SEQ && value.len() as u64 <= MAX_VALUE_BYTES);
    let start = out.len();
    let width = if kind.has_key() { width } else { Width::Narrow };
    let form = if matches!(value, Body::Compressed(_)) { COMPRESSED } else { 0 };
    let (number, high) = match width {
        Width::Narrow => (kind as u8 | form, key as i64),
        Width::Wide => (kind as u8 | form | WIDE, (key >> 64) as i64),
    };
    debug_assert!(width == Width::Wide || Key::from(high) == key, "a key fits its record");
    let mut header = RawHeader {
        crc: U32::ZERO,
        value_len: U32::new(value.len() as u32),
        kind_and_seq: U64::new(seq << 8 | u64::from(number)),
        key: I64::new(high),
    };
    out.extend_from_slice(header.as_bytes());
    if width == Width::Wide {
        out.extend_from_slice(&(key as u64).to_le_bytes());
    }
    match value {
        Body::Plain(value) => out.extend_from_slice(value),
        Body::Compressed(Compressed { place, frame }) => {
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(frame);
        }
    }
    out.resize(start + width.size_of_put(value.len() as u64) as usize, 0);
    header.crc = U32::new(seal.checksum(offset, &out[start + 4..]));
    out[start..start + 4].copy_from_slice(header.crc.as_bytes());
}

/// Size of a record, from its first 24 bytes. Checks only the kind.
pub(crate) fn peek_size(header: &[u8]) -> Result<u64, Bad> {
    let raw = RawHeader::read_from_prefix(header).map_err(|_| Bad::Short(HEADER_BYTES))?.0;
    let kind = raw.kind_and_seq.get() as u8;
    if kind == 0 && raw.as_bytes().iter().all(|&byte| byte == 0) {
        return Err(Bad::Empty);
    }
    let (_, width, _) = Kind::and_form(kind).ok_or(Bad::Kind(kind))?;
    Ok(width.size_of_put(u64::from(raw.value_len.get())))
}

/// Length of the value of a put, from the first bytes of its record, if the value is compressed. Checks only that it can
/// be.
pub(crate) fn peek_value_len(head: &[u8]) -> Option<u64> {
    let (raw, rest) = RawHeader::ref_from_prefix(head).ok()?;
    let (_, width, compressed) = Kind::and_form(raw.kind_and_seq.get() as u8)?;
    let value = Compressed::of(rest.get(width.rest() as usize..)?)?;
    let stored = u64::from(raw.value_len.get());
    if compressed { value.value_len(stored) } else { None }
}

/// The checksum stored in the first 24 bytes of a record. Checks nothing.
pub(crate) fn peek_checksum(header: &[u8]) -> u32 {
    RawHeader::read_from_prefix(header).map_or(0, |(raw, _)| raw.crc.get())
}

/// The sequence number stored in the first 24 bytes of a record. Checks nothing.
pub(crate) fn peek_seq(header: &[u8]) -> u64 {
    RawHeader::read_from_prefix(header).map_or(0, |(raw, _)| raw.kind_and_seq.get() >> 8)
}

/// Parses and checks the record at the start of `bytes`, which stands at `offset` in its segment. If `verify`
/// is false, the checksum is not checked, but the lengths still are.
#[inline]
pub(crate) fn parse(bytes: &[u8], seal: Seal, offset: u64, verify: bool) -> Result<Record<'_>, Bad> {
    let size = peek_size(bytes)?;
    let Some(record) = usize::try_from(size).ok().and_then(|size| bytes.get(..size)) else {
        return Err(Bad::Short(size));
    };
    let (raw, rest) = RawHeader::ref_from_prefix(record).map_err(|_| Bad::Short(size))?;
    if verify {
        let computed = seal.checksum(offset, &record[4..]);
        if computed != raw.crc.get() {
            return Err(Bad::Checksum(raw.crc.get(), computed));
        }
    }
    let kind_and_seq = raw.kind_and_seq.get();
    let (kind, width, compressed) =
        Kind::and_form(kind_and_seq as u8).ok_or(Bad::Kind(kind_and_seq as u8))?;
    let high = Key::from(raw.key.get());
    let (key, rest) = match width {
        Width::Narrow => (high, rest),
        Width::Wide => {
            let (low, rest) = rest.split_first_chunk().ok_or(Bad::Short(size))?;
            (high << 64 | Key::from(u64::from_le_bytes(*low)), rest)
        }
    };
    let value = &rest[..raw.value_len.get() as usize];
    Ok(Record { kind, seq: kind_and_seq >> 8, key, width, compressed, value })
}

/// The length of the value of `key`, and where in the record it begins, if a whole put of the key stands at the start of
/// `bytes`, at `offset` of its segment, and the value is not compressed. Otherwise `None`, and [`parse`] says why. The fast path for reads, which know the
/// key.
#[inline]
pub(crate) fn value_of(bytes: &[u8], seal: Seal, offset: u64, key: Key, verify: bool) -> Option<(u32, u64)> {
    const PUT: u8 = Kind::Put as u8;
    const BATCH_PUT: u8 = Kind::BatchPut as u8;
    const WIDE_PUT: u8 = Kind::Put as u8 | WIDE;
    const WIDE_BATCH_PUT: u8 = Kind::BatchPut as u8 | WIDE;
    let (raw, rest) = RawHeader::ref_from_prefix(bytes).ok()?;
    let high = Key::from(raw.key.get());
    let (found, width) = match raw.kind_and_seq.get() as u8 {
        PUT | BATCH_PUT => (high, Width::Narrow),
        WIDE_PUT | WIDE_BATCH_PUT => {
            (high << 64 | Key::from(u64::from_le_bytes(*rest.first_chunk()?)), Width::Wide)
        }
        _ => return None,
    };
    if found != key {
        return None;
    }
    let value_len = raw.value_len.get();
    let record = bytes.get(..usize::try_from(width.size_of_put(u64::from(value_len))).ok()?)?;
    let whole = !verify || seal.checksum(offset, &record[4..]) == raw.crc.get();
    whole.then_some((value_len, HEADER_BYTES + width.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: [(Width, Key); 2] = [(Width::Narrow, -3), (Width::Wide, -3 << 70 | 5)];

    fn record(key: (Width, Key), value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, Seal::new(7), 128, Kind::Put, 5, key, value);
        out
    }

    #[test]
    fn a_record_comes_back_as_written() {
        for (width, key) in WIDTHS {
            for len in 0..70 {
                let value: Vec<u8> = (0..len).collect();
                let bytes = record((width, key), &value);
                let found = parse(&bytes, Seal::new(7), 128, true).expect("valid");
                assert_eq!((found.kind, found.seq, found.key, found.value), (Kind::Put, 5, key, &value[..]));
                assert_eq!((found.size(), found.width), (bytes.len() as u64, width));
                assert_eq!(peek_size(&bytes), Ok(found.size()));
            }
        }
    }

    #[test]
    fn the_last_key_of_a_range_comes_back_as_written() {
        for (width, key) in WIDTHS {
            for last in [key, key + 1, if width == Width::Wide { Key::MAX } else { i64::MAX.into() }] {
                let mut out = Vec::new();
                encode(
                    &mut out,
                    Seal::new(7),
                    128,
                    Kind::RangeTombstone,
                    5,
                    (width, key),
                    &width.last_key(last)[..],
                );
                assert_eq!(out.len() as u64, width.size_of_range_tombstone());
                let found = parse(&out, Seal::new(7), 128, true).expect("valid");
                assert_eq!(
                    (found.kind, found.key, found.last_key()),
                    (Kind::RangeTombstone, key, Some(last))
                );
            }
        }
    }

    #[test]
    fn records_without_a_key_have_one_form() {
        let forms = WIDTHS.map(|(width, _)| {
            let mut out = Vec::new();
            encode(&mut out, Seal::new(7), 128, Kind::Mark, 5, (width, 0), &[1; 8]);
            out
        });
        assert_eq!(forms[0], forms[1]);
        assert_eq!(Kind::and_form(Kind::Mark as u8 | WIDE), None);
        assert_eq!(Kind::and_form(Kind::Mark as u8 | COMPRESSED), None);
        assert_eq!(Kind::and_form(Kind::Tombstone as u8 | COMPRESSED), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed_padding_included() {
        for (width, key) in WIDTHS {
            let bytes = record((width, key), b"hello");
            for bit in 0..bytes.len() * 8 {
                let mut broken = bytes.clone();
                broken[bit / 8] ^= 1 << (bit % 8);
                assert!(parse(&broken, Seal::new(7), 128, true).is_err(), "bit {bit}");
                assert_eq!(value_of(&broken, Seal::new(7), 128, key, true), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn only_a_whole_put_of_the_key_has_a_value() {
        let seal = Seal::new(7);
        for (width, key) in WIDTHS {
            let bytes = record((width, key), b"hello");
            let begin = HEADER_BYTES + width.rest();
            assert_eq!(value_of(&bytes, seal, 128, key, true), Some((5, begin)));
            assert_eq!(value_of(&bytes, seal, 128, key, false), Some((5, begin)));
            assert_eq!(&bytes[begin as usize..][..5], b"hello");
            assert_eq!(value_of(&bytes, seal, 136, key, true), None, "another place");
            for verify in [true, false] {
                for other in [key - 1, key ^ 1 << 64, key ^ 1 << 100] {
                    assert_eq!(value_of(&bytes, seal, 128, other, verify), None, "another key");
                }
                assert_eq!(value_of(&bytes[..begin as usize], seal, 128, key, verify), None, "cut short");
                assert_eq!(value_of(&bytes[..24], seal, 128, key, verify), None, "cut short");
                assert_eq!(value_of(&[], seal, 128, key, verify), None, "nothing");
                let mut tombstone = Vec::new();
                encode(&mut tombstone, seal, 128, Kind::Tombstone, 5, (width, key), b"");
                assert_eq!(value_of(&tombstone, seal, 128, key, verify), None, "a tombstone");
            }
        }
    }

    #[test]
    fn a_record_elsewhere_or_of_another_segment_does_not_parse() {
        let bytes = record(WIDTHS[0], b"hello");
        assert!(matches!(parse(&bytes, Seal::new(7), 136, true), Err(Bad::Checksum(..))));
        assert!(matches!(parse(&bytes, Seal::new(8), 128, true), Err(Bad::Checksum(..))));
    }

    #[test]
    fn zeros_and_short_bytes_do_not_parse() {
        assert!(matches!(parse(&[0; 64], Seal::new(7), 128, true), Err(Bad::Empty)));
        assert!(matches!(
            parse(&record(WIDTHS[0], b"hello")[..24], Seal::new(7), 128, true),
            Err(Bad::Short(32))
        ));
    }
}
