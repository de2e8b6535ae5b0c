//! How far a read-only handle is behind its writer: where the log ends now, found without taking anything up. Knows
//! nothing of what the commits change.

use std::ops::Range;

use crate::disk::Access;
use crate::engine::shared::Shared;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::location::Location;
use crate::format::manifest::Manifest;
use crate::log::reader::{Next, SegmentReader};
use crate::log::segment::Segment;
use crate::options::ReadMode;
use crate::recovery::beside_writer::says_gone;
use crate::recovery::changes::Commits;
use crate::recovery::follow::newest_manifest;

/// How many sequence numbers were committed that the handle does not show; `None` if its files cannot be read as those of
/// the store that it was opened from, of which `refresh` says why. O(bytes of new log in the newest segment).
pub(crate) fn lag(shared: &Shared, writing: &Writing) -> Result<Option<u64>> {
    let Some(followed) = &writing.followed else { return Ok(None) };
    let end = writing.log.end;
    let newest = newest_manifest(shared, &followed.manifest)
        .and_then(|manifest| newest_segment(shared, &manifest))
        .and_then(|segment| match segment {
            Some((segment, until)) if segment.id() == end.segment && end.offset > SEGMENT_HEADER_BYTES => {
                last_commit(&segment, end.offset..until, end.last_seq + 1, end.last_seq)
            }
            Some((segment, until)) => {
                let SegmentHeader { base_seq, predecessor, .. } = segment.header;
                last_commit(&segment, SEGMENT_HEADER_BYTES..until, base_seq, predecessor.last_seq)
            }
            None => Ok(end.last_seq),
        });
    match newest {
        Ok(newest) => Ok(Some(newest.saturating_sub(end.last_seq))),
        Err(Error::NotFound { .. } | Error::Format { .. } | Error::Corruption { .. }) => Ok(None),
        Err(error) if says_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The segment in which the log ends, and up to where it may count: behind its end, a mirror has what is not there yet.
fn newest_segment(shared: &Shared, manifest: &Manifest) -> Result<Option<(Segment, u64)>> {
    let disk = &shared.disk;
    if let Some(spare) = manifest.spare {
        let unbegun = SegmentHeader::unbegun(manifest, spare);
        let (segment, begun) = Segment::open_spare(disk, unbegun, Access::Read, ReadMode::Pread)?;
        if begun {
            return Ok(Some((segment, u64::MAX)));
        }
    }
    let Some(last) = manifest.segments.last() else { return Ok(None) };
    let segment = Segment::open(disk, last.segment, Access::Read, ReadMode::Pread)?;
    Ok(Some((segment, last.end.map_or(u64::MAX, |end| end.offset))))
}

/// The sequence number of the last whole commit in a piece of a segment, which begins with `expected`; `reached` if there is
/// none.
fn last_commit(segment: &Segment, piece: Range<u64>, mut expected: u64, mut reached: u64) -> Result<u64> {
    let (mut reader, mut commits) = (SegmentReader::new(segment, piece.start, piece.end), Commits::default());
    while let Next::Record(offset, record) = reader.next()? {
        let location = Location::new(segment.id(), offset);
        if record.seq != expected || commits.accept(&record, location, |_, _| {}).is_err() {
            break;
        }
        if commits.is_whole() {
            reached = record.seq;
        }
        expected += 1;
    }
    Ok(reached)
}
