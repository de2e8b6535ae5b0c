//! Reads a segment record by record and goes on behind damage. The next record is found by its alignment, by
//! the range of sequence numbers that the header allows, and by the salted checksum, which bytes of any other
//! origin do not have. Knows nothing of what records mean. O(bytes), whatever is damaged and whatever the
//! damaged bytes look like: checking a plausible place costs a short look (`prefix.rs`), and not a read of
//! the whole length that it claims.

use crate::error::Result;
use crate::format::header::{Origin, SEGMENT_HEADER_BYTES};
use crate::format::record::{self, Bad, HEADER_BYTES, Record};
use crate::log::prefix::Prefixes;
use crate::log::reader::{Next, SegmentReader};
use crate::log::segment::Segment;
use crate::options::MAX_SEGMENT_BYTES;

/// Bytes searched at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Records of at most this many bytes are checked by reading them.
const SHORT_BYTES: u64 = 1 << 10;

/// The highest sequence number that a search among relocated records accepts.
const RELOCATED_SEQS: u64 = 1 << 44;

/// What a walk encounters.
pub(crate) enum Met<'a> {
    /// A valid record at an offset.
    Record(u64, Record<'a>),
    /// Bytes that are no record, from an offset on: how many up to the next record or the end, and why.
    Damage { offset: u64, len: u64, why: Bad },
}

/// Walks the records of a segment up to `limit`, or to the end of its file; `visit` returns false to stop. In
/// a walk without a limit, zeros at the end of the file are space that was never written, not damage.
pub(crate) fn walk(
    segment: &Segment,
    limit: Option<u64>,
    visit: &mut dyn FnMut(Met<'_>) -> Result<bool>,
) -> Result<()> {
    let end = limit.unwrap_or(u64::MAX);
    let mut reader = SegmentReader::new(segment, SEGMENT_HEADER_BYTES, end);
    let mut last_seq = segment.header.base_seq.saturating_sub(1);
    let mut search: Option<Search<'_>> = None;
    loop {
        let at = reader.offset();
        // Behind damage, do not trust a length before its checksum: each may claim all the rest of the file.
        let doubted = match &mut search {
            Some(search) => search.doubt(at)?,
            None => None,
        };
        let (offset, why) = match doubted {
            Some(why) => (at, why),
            None => match reader.next()? {
                Next::Record(offset, record) => {
                    last_seq = last_seq.max(record.seq);
                    if !visit(Met::Record(offset, record))? {
                        return Ok(());
                    }
                    continue;
                }
                Next::End(offset, why) => (offset, why),
            },
        };
        if offset >= end {
            return Ok(());
        }
        let search = match &mut search {
            Some(search) => search,
            none => none.insert(Search::new(segment, end)?),
        };
        let found = search.next_record(offset, last_seq)?;
        let resume = found.record.or(limit).unwrap_or(found.written_end);
        if resume > offset && !visit(Met::Damage { offset, len: resume - offset, why })? {
            return Ok(());
        }
        let Some(next) = found.record else { return Ok(()) };
        reader.go_to(next);
    }
}

struct Found {
    /// Where the next valid record begins.
    record: Option<u64>,
    /// The end of the last byte that is not zero, at most where the search ended.
    written_end: u64,
}

/// Searches for records behind damage, and keeps what it read for the next search.
struct Search<'s> {
    segment: &'s Segment,
    end: u64,
    prefixes: Prefixes<'s>,
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl<'s> Search<'s> {
    fn new(segment: &'s Segment, end: u64) -> Result<Self> {
        let end = segment.len()?.min(end).min(MAX_SEGMENT_BYTES);
        Ok(Self { segment, end, prefixes: Prefixes::new(segment), chunk: Vec::new(), chunk_start: 0 })
    }

    /// Bytes in memory from `offset` on: at least a whole header, unless the file ends before.
    fn bytes_at(&mut self, offset: u64) -> Result<&[u8]> {
        let want = (self.end.saturating_sub(offset)).min(HEADER_BYTES);
        let there = self.chunk_start..=self.chunk_start + self.chunk.len() as u64;
        if !(there.contains(&offset) && there.contains(&(offset + want))) {
            let room = (self.end.saturating_sub(offset) as usize).min(CHUNK_BYTES);
            self.chunk.resize(room, 0);
            self.chunk_start = offset;
            let read = self.segment.read_at(offset, &mut self.chunk)?;
            self.chunk.truncate(read);
        }
        Ok(&self.chunk[(offset - self.chunk_start) as usize..])
    }

    /// Why there is no valid record at `offset`, if only a checksum can tell.
    fn doubt(&mut self, offset: u64) -> Result<Option<Bad>> {
        let Ok(size) = record::peek_size(self.bytes_at(offset)?) else { return Ok(None) };
        if size <= SHORT_BYTES || size > self.end.saturating_sub(offset) {
            return Ok(None);
        }
        self.check_long(offset, size)
    }

    /// Why there is no valid long record at `offset`.
    fn check_long(&mut self, offset: u64, size: u64) -> Result<Option<Bad>> {
        let stored = record::peek_checksum(self.bytes_at(offset)?);
        let seed = self.segment.seal().checksum(offset, &[]);
        let computed = self.prefixes.checksum(seed, offset + 4, offset + size)?;
        Ok(match computed {
            Some(computed) if computed == stored => None,
            Some(computed) => Some(Bad::Checksum(stored, computed)),
            None => Some(Bad::Short(size)),
        })
    }

    /// Searches behind `from` for the next record with a sequence number above `after_seq`. Skips holes in
    /// the file.
    fn next_record(&mut self, from: u64, after_seq: u64) -> Result<Found> {
        let seqs = match self.segment.header.origin {
            Origin::Log | Origin::Recovery => after_seq + 1..=self.segment.header.highest_possible_seq(),
            // Hardly anything is known about relocated records, but this bound still rules out most other
            // bytes.
            Origin::Relocation => 1..=RELOCATED_SEQS,
        };
        let mut found = Found { record: None, written_end: from };
        let mut offset = from;
        while let Some(piece) = self.segment.next_data(offset)?.filter(|piece| piece.start < self.end) {
            // All records begin at multiples of 8, and none with zeros.
            offset = offset.max(piece.start & !7);
            let piece_end = piece.end.min(self.end);
            while offset < piece_end {
                let (begun, len) = (offset, self.bytes_at(offset)?.len());
                // A header that is only partly in memory is examined with the next bytes.
                let places = len.saturating_sub(HEADER_BYTES as usize - 1);
                for at in (0..places).step_by(8) {
                    let place = begun + at as u64;
                    if place > from && self.is_record(place, &seqs)? {
                        found.record = Some(place);
                        return Ok(found);
                    }
                }
                // Only if that found nothing, so that each byte is looked at once.
                let last = self.bytes_at(begun)?.iter().rposition(|&byte| byte != 0);
                found.written_end = last.map_or(0, |last| begun + last as u64 + 1).max(found.written_end);
                offset = (begun + places as u64).next_multiple_of(8).max(begun + 8);
            }
        }
        Ok(found)
    }

    /// Whether a whole record stands at `offset`, with a sequence number in `seqs`.
    fn is_record(&mut self, offset: u64, seqs: &std::ops::RangeInclusive<u64>) -> Result<bool> {
        let end = self.end;
        let seal = self.segment.seal();
        let bytes = self.bytes_at(offset)?;
        // The cheap checks first: few other bytes pass them, so few checksums are computed.
        let Ok(size) = record::peek_size(bytes) else { return Ok(false) };
        if !seqs.contains(&record::peek_seq(bytes)) || size > end - offset {
            return Ok(false);
        }
        if size > SHORT_BYTES {
            return Ok(self.check_long(offset, size)?.is_none());
        }
        if let Some(record) = bytes.get(..size as usize) {
            return Ok(record::parse(record, seal, offset, true).is_ok());
        }
        let mut bytes = vec![0; size as usize];
        let read = self.segment.read_at(offset, &mut bytes)?;
        Ok(record::parse(&bytes[..read], seal, offset, true).is_ok())
    }
}
