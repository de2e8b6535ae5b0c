//! The segments of the log as the manifest and their headers link them, checked to follow each other.
//! Knows where each begins and ends; knows nothing of what their records do.

use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::manifest::{Entry, Manifest};
use crate::options::Options;
use crate::reader::{Beyond, Next, SegmentReader, watermark_beyond};
use crate::segment::Segment;

/// The segments of the log in order, checked to follow each other.
pub(crate) struct Chain {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Headers of all segment files that could be read, listed or not: they bound what was ever used.
    pub(crate) all_headers: Vec<SegmentHeader>,
    /// The last segment is not in the manifest: a crash came between beginning and listing it.
    pub(crate) adopted: bool,
    /// Where the log ends in the last segment, if the manifest knows.
    last_end: Option<LogEnd>,
}

impl Chain {
    pub(crate) fn find(
        disk: &dyn Disk,
        manifest: &Manifest,
        names: &[String],
        options: &Options,
    ) -> Result<Self> {
        let access = if options.read_only { Access::Read } else { Access::Write };
        let open = |id| Segment::open(disk, id, access, options.read_mode).map(Arc::new);
        let mut segments = Vec::new();
        let mut all_headers = Vec::new();
        for entry in &manifest.segments {
            let segment = open(entry.segment).map_err(|error| missing(disk, entry.segment, error))?;
            all_headers.push(segment.header);
            segments.push(segment);
        }
        let mut unlisted = Vec::new();
        for id in names.iter().filter_map(|name| Segment::id_of(name)) {
            if manifest.lists(id) {
                continue;
            }
            // A file whose header never became durable was never referred to.
            if let Ok(segment) = open(id)
                && segment.header.store_id == manifest.store_id
            {
                all_headers.push(segment.header);
                unlisted.push(segment);
            }
        }
        let mut last_end = manifest.segments.last().and_then(|entry| entry.end);
        let mut adopted = false;
        // At most one segment is begun before the manifest lists it. What recovery wrote again counts
        // only once it is listed, since before that it may be a part.
        let last_listed = segments.last().map_or(0, |segment| segment.id());
        let follows = |segment: &&Arc<Segment>| {
            segment.header.origin == Origin::Log
                && segment.header.predecessor.segment == last_listed
                && segment.id() > last_listed
        };
        if let Some(next) = unlisted.iter().find(follows) {
            adopted = true;
            last_end = None;
            segments.push(Arc::clone(next));
        }
        let chain = Self { segments, all_headers, adopted, last_end };
        chain.check(manifest)?;
        Ok(chain)
    }

    /// Each segment must belong to this store and begin where the one before it ended.
    fn check(&self, manifest: &Manifest) -> Result<()> {
        let damaged = |segment: &Segment, expected: String, found: String| {
            Err(Error::Corruption { path: segment.path.clone(), offset: 0, expected, found })
        };
        let mut before = LogEnd::default();
        let mut ends = manifest.segments.iter().map(|entry| entry.end);
        for segment in &self.segments {
            let header = &segment.header;
            if header.store_id != manifest.store_id {
                return damaged(
                    segment,
                    "a segment of this store".to_owned(),
                    "a segment of another store".to_owned(),
                );
            }
            let follows = header.predecessor.segment == before.segment
                && (before.offset == 0 || header.predecessor == before);
            if !follows {
                return damaged(
                    segment,
                    format!("a segment that follows {before:?}"),
                    format!("one that follows {:?}", header.predecessor),
                );
            }
            before = LogEnd { segment: segment.id(), ..ends.next().flatten().unwrap_or_default() };
        }
        Ok(())
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
