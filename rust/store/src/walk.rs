//! Reads a segment record by record and goes on behind damage: the next record is found by alignment, by the
//! range of sequences that the header allows and by the salted checksum, which bytes of any other origin do
//! not have. Knows nothing of what records mean. O(bytes), a checksum for each plausible place beside.

use crate::error::Result;
use crate::header::{Origin, SEGMENT_HEADER_BYTES};
use crate::reader::{Next, SegmentReader};
use crate::record::{self, Bad, HEADER_BYTES, Record};
use crate::segment::Segment;

/// Bytes searched at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Sequences that a search among relocated records believes in.
const RELOCATED_SEQS: u64 = 1 << 44;

/// What a walk meets.
pub(crate) enum Met<'a> {
    /// A valid record at an offset.
    Record(u64, Record<'a>),
    /// Bytes that are no record, from an offset on: how many up to the next record or the end, and why.
    Damage { offset: u64, len: u64, why: Bad },
}

/// Walks the records of a segment up to `limit`, or to the end of its file; `visit` says false to stop. Zeros
/// at the end of a file without a limit are space that was never written, not damage.
pub(crate) fn walk(
    segment: &Segment,
    limit: Option<u64>,
    visit: &mut dyn FnMut(Met<'_>) -> Result<bool>,
) -> Result<()> {
    let end = limit.unwrap_or(u64::MAX);
    let mut reader = SegmentReader::new(segment, SEGMENT_HEADER_BYTES, end);
    let mut last_seq = segment.header.base_seq.saturating_sub(1);
    loop {
        let (offset, why) = match reader.next()? {
            Next::Record(offset, record) => {
                last_seq = last_seq.max(record.seq);
                if !visit(Met::Record(offset, record))? {
                    return Ok(());
                }
                continue;
            }
            Next::End(offset, why) => (offset, why),
        };
        if offset >= end {
            return Ok(());
        }
        let found = search(segment, offset, end, last_seq)?;
        let resume = found.record.or(limit).unwrap_or(found.written_end);
        if resume > offset && !visit(Met::Damage { offset, len: resume - offset, why })? {
            return Ok(());
        }
        let Some(next) = found.record else { return Ok(()) };
        reader = SegmentReader::new(segment, next, end);
    }
}

struct Search {
    /// Where the next valid record begins.
    record: Option<u64>,
    /// Behind the last byte that is not zero, at most where the search ended.
    written_end: u64,
}

/// Looks for the next record behind `from`, of a sequence above `after_seq`.
fn search(segment: &Segment, from: u64, end: u64, after_seq: u64) -> Result<Search> {
    let seqs = match segment.header.origin {
        Origin::Log | Origin::Recovery => after_seq + 1..=segment.header.highest_possible_seq(),
        // Of relocated records hardly anything is known, and this much still sifts most other bytes out.
        Origin::Relocation => 1..=RELOCATED_SEQS,
    };
    let file_end = segment.len()?.min(end);
    let mut search = Search { record: None, written_end: from };
    let mut chunk = vec![0; CHUNK_BYTES + HEADER_BYTES as usize];
    let mut start = from;
    while start < file_end {
        let read = segment.read_at(start, &mut chunk)?;
        let piece = &chunk[..read.min((file_end - start) as usize)];
        if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
            for at in (0..=last.min(CHUNK_BYTES - 8)).step_by(8) {
                let offset = start + at as u64;
                let Some(header) = piece.get(at..at + HEADER_BYTES as usize) else { break };
                if offset > from && is_record(segment, header, offset, file_end, &seqs)? {
                    search.record = Some(offset);
                    return Ok(search);
                }
            }
            search.written_end = start + last as u64 + 1;
        }
        if read < chunk.len() {
            break;
        }
        start += CHUNK_BYTES as u64;
    }
    Ok(search)
}

/// Whether a whole record with one of `seqs` stands at `offset`, where `header` was read.
fn is_record(
    segment: &Segment,
    header: &[u8],
    offset: u64,
    end: u64,
    seqs: &std::ops::RangeInclusive<u64>,
) -> Result<bool> {
    // The cheap checks first: hardly any other bytes pass them, so few checksums are computed.
    let Ok(size) = record::peek_size(header) else { return Ok(false) };
    if !seqs.contains(&record::peek_seq(header)) || size > end - offset {
        return Ok(false);
    }
    let mut bytes = vec![0; size as usize];
    let read = segment.read_at(offset, &mut bytes)?;
    Ok(record::parse(&bytes[..read], segment.seal(), offset, true).is_ok())
}
