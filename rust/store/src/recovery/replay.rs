//! Replay: reads the log in order, accepts the longest valid prefix and builds the index from it. Records
//! that compaction copied are merged back by sequence number, so that index and deletions come out as they
//! once were, in whatever order the files are read. Knows nothing of what happens to the rest of the log.
//! O(log bytes), in bounded memory except for open batches and for 40 bytes per relocated record.

use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::image_file::Image;
use crate::engine::state::State;
use crate::error::{Error, Result};
use crate::format::attachment::{Attachment, Count};
use crate::format::header::{LogEnd, SEGMENT_HEADER_BYTES};
use crate::format::location::Location;
use crate::format::manifest::{Manifest, Relocation};
use crate::format::record::Record;
use crate::index::checked::{Damaged, Index};
use crate::keys::{Key, KeyVec, Packed};
use crate::log::reader::{Next, SegmentReader};
use crate::log::segment::{Counts, Segment};
use crate::log::segments::Segments;
use crate::progress::OpenProgress;
use crate::recovery::chain::Chain;
use crate::recovery::changes::{Change, Commits};

/// Puts are published to the index in runs of this many.
const RUN: usize = 1 << 17;
/// Bytes between two calls of the progress callback.
const PROGRESS_BYTES: u64 = 8 << 20;
/// Distance in bytes between positions from which a segment can be read again without starting at its
/// beginning.
const MILESTONE_BYTES: u64 = 1 << 20;

/// Where and why replay stopped.
pub(crate) struct Stop {
    /// Index of the segment in the chain.
    pub(crate) at: usize,
    path: PathBuf,
    /// The first byte that does not count.
    pub(crate) offset: u64,
    /// Where the broken record begins; in a batch, this lies behind `offset`.
    bad_offset: u64,
    found: String,
}

impl Stop {
    pub(crate) fn refusal(&self, last_seq: u64, confirmed: u64) -> Error {
        Error::Corruption {
            path: self.path.clone(),
            offset: self.bad_offset,
            expected: format!(
                "a whole record, since the device had confirmed everything up to sequence {confirmed} and only \
                 {last_seq} is whole",
            ),
            found: self.found.clone(),
        }
    }
}

/// A record that compaction copied, waiting for its place among the records of the log.
#[derive(Clone, Copy)]
struct Relocated {
    seq: u64,
    key: Packed,
    /// The record's location; for a range tombstone, where in the list of their last keys its own is.
    place: u64,
    /// Size in units of 8 bytes; 0 for a tombstone, `u32::MAX` for a range tombstone.
    size: u32,
}

const TOMBSTONE: u32 = 0;
const RANGE_TOMBSTONE: u32 = u32::MAX;

impl Relocated {
    /// `lasts` takes the last key of a range tombstone.
    fn of(record: &Record<'_>, location: Location, lasts: &mut Vec<Key>) -> Option<Self> {
        let (place, size) = match Change::of(record, location)? {
            Change::Put { size, .. } => (location.0, (size / 8) as u32),
            Change::Delete { .. } => (location.0, TOMBSTONE),
            Change::DeleteRange { last, .. } => {
                lasts.push(last);
                (lasts.len() as u64 - 1, RANGE_TOMBSTONE)
            }
        };
        Some(Self { seq: record.seq, key: record.key.into(), place, size })
    }

    fn change(self, lasts: &[Key]) -> Change {
        let key = self.key.into();
        match self.size {
            TOMBSTONE => Change::Delete { key },
            RANGE_TOMBSTONE => Change::DeleteRange { first: key, last: lasts[self.place as usize] },
            size => Change::Put { key, location: Location(self.place), size: u64::from(size) * 8 },
        }
    }
}

/// Reads the log in order and builds the index.
pub(crate) struct Replay<'c> {
    chain: &'c Chain,
    pub(crate) state: State,
    /// The end of the accepted log.
    pub(crate) reached: LogEnd,
    /// The last commit in it, or an upper bound: footers and marks may follow.
    pub(crate) last_commit: u64,
    /// The highest watermark in anything accepted.
    pub(crate) watermark: u64,
    pub(crate) stop: Option<Stop>,
    /// Sorted by sequence number.
    relocated: Vec<Relocated>,
    /// The last keys of range tombstones among them.
    lasts: Vec<Key>,
    /// How many of `relocated` have been applied.
    merged: usize,
    committed_seq: u64,
    /// Where replay begins: the index in the chain, and the end of the log there.
    from: Option<(usize, LogEnd)>,
    /// Counts from an image, applied once replay reaches the position where they were taken. Until then
    /// nothing is counted.
    uncounted: Option<Attachment>,
    /// Positions passed in the log, about a mebibyte apart.
    pub(crate) milestones: Vec<LogEnd>,
    keys: KeyVec,
    locations: Vec<u64>,
    /// Replaced records that are still to be counted.
    pub(crate) dead: Vec<Location>,
}

impl<'c> Replay<'c> {
    /// Begins with `index`, which is empty or an image's.
    pub(crate) fn new(chain: &'c Chain, manifest: &Manifest, index: Index) -> Self {
        let mut segments = Segments::default();
        let relocations = chain.relocations.iter().map(|(segment, _)| segment);
        for segment in chain.segments.iter().chain(relocations) {
            segment.take_counts(Counts::default());
            segments.insert(Arc::clone(segment));
        }
        Self {
            chain,
            state: State::new(index, segments),
            reached: LogEnd::default(),
            last_commit: 0,
            watermark: manifest.watermark,
            stop: None,
            relocated: Vec::new(),
            lasts: Vec::new(),
            merged: 0,
            committed_seq: manifest.committed_seq,
            from: None,
            uncounted: None,
            milestones: Vec::new(),
            keys: KeyVec::default(),
            locations: Vec::with_capacity(RUN),
            dead: Vec::new(),
        }
    }

    /// Goes on from an image; `None` if the chain does not contain the position where the image begins.
    pub(crate) fn over(chain: &'c Chain, manifest: &Manifest, image: Image) -> Option<Self> {
        let begin = image.attachment.begin;
        let first = chain.segments.iter().position(|segment| segment.id() == begin.segment)?;
        if begin.offset < SEGMENT_HEADER_BYTES
            || chain.known_end(first).is_some_and(|end| end.offset < begin.offset)
        {
            return None;
        }
        let mut replay = Self::new(chain, manifest, image.index);
        for (segment, relocation) in &chain.relocations {
            segment.count_appended(relocation.end.saturating_sub(SEGMENT_HEADER_BYTES));
        }
        for (at, segment) in chain.segments.iter().enumerate().take(first) {
            let end = chain.known_end(at)?.offset;
            segment.show_up_to(end);
            segment.count_appended(end.saturating_sub(SEGMENT_HEADER_BYTES));
            replay.watermark = replay.watermark.max(segment.header.watermark);
        }
        replay.from = Some((first, begin));
        replay.uncounted = Some(image.attachment);
        Some(replay)
    }

    /// Whether the image, if replay began from one, was whole as far as it was used, and so was the log as
    /// far as the image refers to it.
    pub(crate) fn is_sound(&self) -> bool {
        self.uncounted.is_none() && !self.state.index.is_damaged()
    }

    /// Replays the chain, up to the first place without a valid record.
    pub(crate) fn run(&mut self, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<()> {
        let (first, skipped) = self.from.map_or((0, 0), |(first, begin)| (first, begin.offset));
        let mut bytes_total = 0;
        for (at, segment) in self.chain.segments.iter().enumerate().skip(first) {
            bytes_total += match self.chain.known_end(at) {
                Some(end) => end.offset,
                None => segment.header.capacity,
            };
        }
        bytes_total = bytes_total.saturating_sub(skipped);
        // In the first segment, only what follows the image's beginning counts.
        let mut bytes_done = 0u64.wrapping_sub(skipped);
        if self.from.is_none() {
            // An image already contains what it needs of the relocated records.
            bytes_total += self.chain.relocations.iter().map(|(_, listed)| listed.end).sum::<u64>();
            for (segment, listed) in &self.chain.relocations {
                self.read_relocated(segment, *listed)?;
                bytes_done += listed.end;
                if !progress(OpenProgress { bytes_done, bytes_total }) {
                    return Err(Error::Interrupted);
                }
            }
            self.relocated.sort_unstable_by_key(|record| record.seq);
        }
        for at in first..self.chain.segments.len() {
            let mut report = |offset: u64| {
                progress(OpenProgress { bytes_done: bytes_done.wrapping_add(offset), bytes_total })
            };
            self.segment(at, &mut report)?;
            self.publish();
            if self.stop.is_some() {
                break;
            }
            bytes_done = bytes_done.wrapping_add(self.reached.offset);
        }
        // Records above the end of the log are newer than something that was dropped.
        self.merge_below(self.reached.last_seq + 1);
        self.publish();
        if let Some(lack) = self.state.index.lacks_memory() {
            // The image is not at fault.
            return Err(lack);
        }
        if self.from.is_none() && self.state.index.is_damaged() {
            // No image is involved: the index itself is at fault.
            let message = "the log was left as it is".to_owned();
            return Err(Error::Panicked { what: "building the index", message });
        }
        Ok(())
    }

    /// Reads one segment that compaction wrote. The device has confirmed all of it.
    fn read_relocated(&mut self, segment: &Arc<Segment>, listed: Relocation) -> Result<()> {
        let damaged = |offset, expected: &str, found: String| Error::Corruption {
            path: segment.path.clone(),
            offset,
            expected: expected.to_owned(),
            found,
        };
        let mut reader = SegmentReader::new(segment, SEGMENT_HEADER_BYTES, listed.end);
        loop {
            let (offset, record) = match reader.next()? {
                Next::Record(offset, record) => (offset, record),
                Next::End(offset, _) if offset == listed.end => break,
                Next::End(offset, bad) => return Err(segment.damaged(offset, bad)),
            };
            match Relocated::of(&record, Location::new(segment.id(), offset), &mut self.lasts) {
                None if record.kind.is_beside() => {}
                None => {
                    let found = format!("{:?}", record.kind);
                    return Err(damaged(offset, "a relocated record", found));
                }
                Some(_) if record.seq > listed.last_seq => {}
                Some(_) if record.seq > self.committed_seq => {
                    let expected = format!("a sequence up to {}, known to be committed", self.committed_seq);
                    return Err(damaged(offset, &expected, record.seq.to_string()));
                }
                Some(relocated) => {
                    segment.count_if_tombstone(&record);
                    self.relocated.push(relocated);
                }
            }
        }
        segment.count_appended(listed.end - SEGMENT_HEADER_BYTES);
        Ok(())
    }

    /// Applies the relocated records with sequence numbers below `seq`. A copy of a record that is still in
    /// the log comes right after that record, so that the index ends at the copy.
    fn merge_below(&mut self, seq: u64) {
        while let Some(&record) = self.relocated.get(self.merged).filter(|record| record.seq < seq) {
            self.merged += 1;
            self.apply_now(record.change(&self.lasts));
        }
    }

    /// Replays one segment up to its known end, or as far as its records are valid.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of record")]
    fn segment(&mut self, at: usize, report: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let segment = Arc::clone(&self.chain.segments[at]);
        let known_end = self.chain.known_end(at);
        self.watermark = self.watermark.max(segment.header.watermark);
        let mut expected_seq = segment.header.base_seq;
        self.reached = match self.from {
            Some((first, begin)) if first == at => {
                if begin.offset > SEGMENT_HEADER_BYTES {
                    expected_seq = begin.last_seq + 1;
                }
                begin
            }
            _ => LogEnd {
                segment: segment.id(),
                offset: SEGMENT_HEADER_BYTES,
                // Whatever lay between a segment and the one before it was freed.
                last_seq: self.reached.last_seq.max(segment.header.predecessor.last_seq),
            },
        };
        self.last_commit = self.last_commit.max(match self.from {
            Some((first, begin)) if first == at => begin.last_seq,
            _ => 0,
        });
        self.count_from_here();
        if known_end.is_none() {
            segment.read_nothing_ahead()?;
        }
        let limit = known_end.map_or(u64::MAX, |end| end.offset);
        let mut reader = SegmentReader::new(&segment, self.reached.offset, limit);
        let mut commits = Commits::default();
        let mut next_report = self.reached.offset + PROGRESS_BYTES;
        let mut next_milestone = self.reached.offset + MILESTONE_BYTES;
        self.milestones.push(self.reached);
        let (bad_offset, found) = loop {
            let (offset, record) = match reader.next()? {
                Next::Record(offset, record) => (offset, record),
                Next::End(offset, bad) => break (offset, bad.to_string()),
            };
            if record.seq != expected_seq {
                break (offset, format!("sequence {} where {expected_seq} comes next", record.seq));
            }
            let end = offset + record.size();
            segment.count_if_tombstone(&record);
            let location = Location::new(segment.id(), offset);
            if let Err(found) = commits.accept(&record, location, |seq, change| self.apply(seq, change)) {
                break (offset, found);
            }
            expected_seq += 1;
            if commits.is_whole() {
                self.reached = LogEnd { offset: end, last_seq: record.seq, ..self.reached };
                if !record.kind.is_beside() {
                    self.last_commit = record.seq;
                }
                self.count_from_here();
                if end >= next_milestone {
                    next_milestone = end + MILESTONE_BYTES;
                    self.milestones.push(self.reached);
                }
            }
            if end >= next_report {
                next_report = end + PROGRESS_BYTES;
                if !report(end) {
                    return Err(Error::Interrupted);
                }
            }
        };
        self.watermark = self.watermark.max(commits.watermark);
        segment.show_up_to(self.reached.offset);
        segment.count_appended(self.reached.offset - SEGMENT_HEADER_BYTES);
        let whole = known_end.is_some_and(|end| end == self.reached);
        if !whole {
            // For the segment that was being written this is the normal end. Only the watermarks decide
            // whether anything behind it is missing.
            self.stop =
                Some(Stop { at, path: segment.path.clone(), offset: self.reached.offset, bad_offset, found });
        }
        Ok(())
    }

    fn apply(&mut self, seq: u64, change: Change) {
        self.merge_below(seq);
        self.apply_now(change);
    }

    fn apply_now(&mut self, change: Change) {
        match change {
            Change::Put { key, location, size } => {
                self.keys.push(key);
                self.locations.push(location.0);
                if self.uncounted.is_none()
                    && let Some(segment) = self.state.segments.get(location.segment())
                {
                    segment.count_live(size);
                }
                if self.keys.len() == RUN {
                    self.publish();
                }
            }
            Change::Delete { key } => {
                self.publish();
                self.dead.extend(self.state.delete(key).ok().flatten());
            }
            Change::DeleteRange { first, last } => {
                self.publish();
                while !self.state.index.is_whole() {
                    self.state.index.join(usize::MAX, &mut self.dead);
                }
                let _: Result<(), Damaged> = self.state.delete_range(first, last, &mut self.dead);
            }
        }
    }

    /// Applies the collected puts to the index. Damage is checked once, at the end (`is_sound`).
    fn publish(&mut self) {
        let _: Result<(), Damaged> =
            self.state.put_many(self.keys.as_keys(), &self.locations, &mut self.dead);
        self.keys.clear();
        self.locations.clear();
        let left = if self.uncounted.is_none() {
            self.state.segments.count_dead(&self.dead, || {})
        } else {
            Vec::new()
        };
        self.dead.clear();
        self.dead.extend(left);
    }

    /// If this is the position where an image's counts were taken, everything counts from here on. Before it
    /// the image held an arbitrary mixture of old and new entries, which does not show what replaced what.
    #[inline]
    fn count_from_here(&mut self) {
        let here = |attachment: &mut Attachment| {
            let until = attachment.until;
            (until.segment, until.offset) == (self.reached.segment, self.reached.offset)
        };
        if self.uncounted.is_some()
            && let Some(attachment) = self.uncounted.take_if(here)
        {
            self.uncounted = Some(attachment);
            self.publish();
            if let Some(attachment) = self.uncounted.take() {
                for Count { segment, live, tombstones } in attachment.counts {
                    if let Some(segment) = self.state.segments.get(segment) {
                        segment.take_counts(Counts { live, total: segment.counts().total, tombstones });
                    }
                }
                self.state.index.keep_apart();
            }
        }
    }
}
