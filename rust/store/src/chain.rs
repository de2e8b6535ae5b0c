//! The segments of the log as the manifest and their headers link them, checked to follow each other.
//! Knows where each begins and ends; knows nothing of what their records do.

use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::header::{LogEnd, SEGMENT_HEADER_BYTES};
use crate::manifest::{Entry, Manifest};
use crate::options::{Options, Recovery};
use crate::reader::{Beyond, Next, SegmentReader, watermark_beyond};
use crate::segment::Segment;

/// Descriptors that a chain holds open for `read_mode="pread"`; older segments are opened for each read.
const HELD_OPEN: usize = 256;

/// The segments of the log in order, checked to follow each other.
pub(crate) struct Chain {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The chain was cut before a damaged segment, as `recovery="point_in_time"` allows.
    pub(crate) cut: bool,
    /// No segment file holds a sequence as high as this.
    pub(crate) next_seq: u64,
    /// No segment file has an id as high as this.
    pub(crate) next_segment: u32,
    /// Where the log ends in the last segment, if the manifest knows.
    last_end: Option<LogEnd>,
}

impl Chain {
    /// Opens what the manifest lists. A file that it does not list never held a record that counts,
    /// since nothing goes into a segment before both copies of the manifest name it.
    pub(crate) fn find(
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
        names: &[String],
        options: &Options,
    ) -> Result<Self> {
        let mut chain = Self {
            segments: Vec::with_capacity(manifest.segments.len()),
            cut: false,
            next_seq: manifest.next_seq,
            next_segment: manifest.next_segment,
            last_end: None,
        };
        let mut before = LogEnd::default();
        for (at, entry) in manifest.segments.iter().enumerate() {
            match Self::open_next(disk, manifest, entry.segment, before, options) {
                Ok(segment) => {
                    if at + HELD_OPEN < manifest.segments.len() {
                        segment.release_at_any_cost();
                    } else {
                        segment.release();
                    }
                    chain.next_seq = chain.next_seq.max(segment.header.highest_possible_seq() + 1);
                    chain.segments.push(Arc::new(segment));
                    chain.last_end = entry.end;
                    before = LogEnd { segment: entry.segment, ..entry.end.unwrap_or_default() };
                }
                Err(Error::Corruption { .. }) if options.recovery == Recovery::PointInTime => {
                    chain.cut = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        for id in names.iter().filter_map(|name| Segment::id_of(name)) {
            // Also those whose header is damaged or never became durable.
            chain.next_segment = chain.next_segment.max(id.saturating_add(1));
            if !manifest.lists(id)
                && let Ok(orphan) = Segment::open(disk, id, Access::Read, options.read_mode)
            {
                chain.next_seq = chain.next_seq.max(orphan.header.highest_possible_seq() + 1);
            }
        }
        Ok(chain)
    }

    /// Opens a segment that must belong to this store and begin where the one before it ended.
    fn open_next(
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
        id: u32,
        before: LogEnd,
        options: &Options,
    ) -> Result<Segment> {
        let access = if options.read_only { Access::Read } else { Access::Write };
        let segment = Segment::open(disk, id, access, options.read_mode)
            .map_err(|error| missing(&**disk, id, error))?;
        let header = &segment.header;
        let damaged = |expected: String, found: String| {
            Err(Error::Corruption { path: segment.path.clone(), offset: 0, expected, found })
        };
        if header.store_id != manifest.store_id {
            return damaged("a segment of this store".to_owned(), "a segment of another store".to_owned());
        }
        if header.predecessor != before || id <= before.segment {
            return damaged(
                format!("a segment that follows {before:?}"),
                format!("one that follows {:?}", header.predecessor),
            );
        }
        Ok(segment)
    }

    /// How far a segment counts, where it is known: by its successor or by the manifest.
    pub(crate) fn known_end(&self, at: usize) -> Option<LogEnd> {
        match self.segments.get(at + 1) {
            Some(successor) => Some(successor.header.predecessor),
            None => self.last_end,
        }
    }

    /// Looks behind the place where replay stopped for a watermark that covers what is missing.
    pub(crate) fn watermark_beyond(&self, at: usize, offset: u64, last_seq: u64) -> Result<Beyond> {
        let mut beyond = Beyond { watermark: 0, bytes: 0 };
        for (here, segment) in self.segments.iter().enumerate().skip(at) {
            let from = if here == at { offset } else { SEGMENT_HEADER_BYTES };
            let found = watermark_beyond(segment, from, last_seq)?;
            beyond.watermark = beyond.watermark.max(segment.header.watermark).max(found.watermark);
            beyond.bytes += found.bytes;
        }
        Ok(beyond)
    }

    /// The place right behind the record with sequence `seq`, which was accepted.
    pub(crate) fn end_of(&self, seq: u64) -> Result<LogEnd> {
        let holder = self.segments.iter().rposition(|segment| segment.header.base_seq <= seq);
        let (Some(at), true) = (holder, seq > 0) else { return Ok(LogEnd::default()) };
        let segment = &self.segments[at];
        let mut end = LogEnd { segment: segment.id(), offset: SEGMENT_HEADER_BYTES, last_seq: seq };
        // Sequences have no gaps inside a segment, so counting records is enough.
        let mut reader = SegmentReader::new(segment, end.offset, u64::MAX);
        for _ in segment.header.base_seq..=seq {
            match reader.next()? {
                Next::Record(offset, record) => end.offset = offset + record.size(),
                Next::End(..) => break,
            }
        }
        Ok(end)
    }

    /// The pieces of segments between two places in the log.
    pub(crate) fn between(&self, from: LogEnd, to: LogEnd) -> Vec<(Arc<Segment>, u64, u64)> {
        let position = |id| self.segments.iter().position(|segment| segment.id() == id);
        let Some(last) = position(to.segment) else { return Vec::new() };
        let first = position(from.segment).unwrap_or(0);
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
        let mut entries = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            if end.segment == 0 {
                break;
            }
            let last = segment.id() == end.segment;
            entries.push(Entry {
                segment: segment.id(),
                end: if last { Some(end) } else { self.known_end(at) },
            });
            if last {
                break;
            }
        }
        entries
    }
}

fn missing(disk: &dyn Disk, id: u32, error: Error) -> Error {
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
