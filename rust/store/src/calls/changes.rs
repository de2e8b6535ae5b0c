//! The log as a feed of changes: what was committed after a sequence, in order. Knows nothing of the index.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::calls::store::Store;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::format::header::{LogEnd, SEGMENT_HEADER_BYTES};
use crate::format::location::Location;
use crate::keys::Key;
use crate::log::reader::{Next, SegmentReader};
use crate::log::segment::{Pin, Segment};
use crate::recovery::changes::{Change, Commits};
use crate::values::value::Value;

/// Commits are read together until they make this many changes, or take this many bytes.
const READ_TOGETHER: usize = 4096;
const READ_BYTES: u64 = 1 << 20;

/// One committed change, and the sequence number of its record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Changed {
    /// The sequence number; it rises from change to change.
    pub seq: u64,
    /// What changed.
    pub what: What,
}

/// What a change does.
#[derive(Debug)]
pub enum What {
    /// A value was stored under this key.
    Put(Key, Value),
    /// This key was removed.
    Deleted(Key),
    /// All keys from the first to the last were removed, both included.
    RangeDeleted(Key, Key),
}

/// The changes after a sequence number, in order; made by [`Store::changes`].
pub struct Changes {
    shared: Arc<Shared>,
    /// Changes up to this sequence number were passed on, or not asked for.
    since: u64,
    /// The last change that was read.
    last: u64,
    /// How far the log was read.
    at: LogEnd,
    /// What of the log is still to be read. The last part stays, so that its file does.
    parts: VecDeque<Part>,
    /// The next changes, and the segment that they are in.
    read: VecDeque<(u64, Change)>,
    segment: Option<Arc<Segment>>,
}

/// A piece of a segment. Its file is not removed while this lives.
struct Part {
    pin: Pin,
    from: u64,
    to: u64,
}

impl Store {
    /// The changes that were committed after the sequence number `since`, or from now on, as far as this handle has seen
    /// them. Whole commits in their order; removals of whole ranges are one change. Where compaction has freed a part of
    /// them, or the store was cut back below `since`, the call fails with [`Error::HistoryGone`]; while the iterator
    /// lives, it frees none of those that there are now.
    ///
    /// After a writer was killed, commits that the device had not confirmed are in the log again, in the same order and
    /// under new sequence numbers: to apply them once more leaves the same content.
    ///
    /// O(segments), and O(bytes of one segment) to find the first change, unless another iterator has just ended before it.
    pub fn changes(&self, since: Option<u64>) -> Result<Changes> {
        let _running = self.shared.enter()?;
        // Whoever has followed so far need not search for where that was.
        let end = self.shared.writing.lock().log.end;
        let since = since.unwrap_or(end.last_seq);
        let fed = self.shared.fed.lock().filter(|&(seq, _)| seq <= since);
        let at = if since >= end.last_seq { Some(end) } else { fed.map(|(_, at)| at) };
        let mut changes = Changes {
            shared: Arc::clone(&self.shared),
            since,
            last: since,
            at: at.unwrap_or_default(),
            parts: VecDeque::new(),
            read: VecDeque::new(),
            segment: None,
        };
        changes.look()?;
        Ok(changes)
    }
}

impl Changes {
    /// Up to `max` further changes; none at the end of what this handle has seen. What comes before damage is passed on
    /// before the error is. O(bytes).
    pub fn next_some(&mut self, max: usize) -> Result<Vec<Changed>> {
        let _running = self.shared.enter()?;
        let mut some = Vec::new();
        while some.len() < max {
            match self.next() {
                Ok(Some(changed)) => some.push(changed),
                Err(error) if some.is_empty() => return Err(error),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(some)
    }

    /// The next change. After an error it is the next one still.
    fn next(&mut self) -> Result<Option<Changed>> {
        if !self.is_more()? {
            return Ok(None);
        }
        let (Some(&(seq, change)), Some(segment)) = (self.read.front(), &self.segment) else {
            return Ok(None);
        };
        let what = match change {
            Change::Put { key, location, .. } => {
                let verify = self.shared.options.verify_reads;
                What::Put(key, Value::read(segment, location.offset(), key, verify)?)
            }
            Change::Delete { key } => What::Deleted(key),
            Change::DeleteRange { first, last } => What::RangeDeleted(first, last),
        };
        self.read.pop_front();
        Ok(Some(Changed { seq, what }))
    }

    /// Whether there is a further change, which is then read.
    fn is_more(&mut self) -> Result<bool> {
        loop {
            if !self.read.is_empty() {
                return Ok(true);
            }
            match self.parts.front() {
                Some(part) if part.from < part.to => self.read_some()?,
                Some(_) if self.parts.len() > 1 => drop(self.parts.pop_front()),
                _ => {
                    if !self.look()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Looks where the log ends now. Returns whether there is more of it.
    fn look(&mut self) -> Result<bool> {
        let shared = &self.shared;
        let catalog = shared.catalog.lock();
        if catalog.manifest.cuts.took(self.since) {
            // What was told so far is not all in this store.
            return Err(self.gone());
        }
        let writing = shared.writing.lock();
        let end = writing.log.end;
        if end.last_seq <= self.since {
            *shared.fed.lock() = Some((self.last, self.at));
            return Ok(false);
        }
        let segments = Arc::clone(&shared.read_parts()?.segments);
        let logged =
            writing.log.entries.iter().filter_map(|entry| Some((entry, segments.get(entry.segment)?)));
        let logged: Vec<_> = logged.collect();
        let first =
            logged.iter().rposition(|(_, segment)| segment.header.base_seq <= self.since + 1).unwrap_or(0);
        let mut before = None;
        let mut parts = VecDeque::new();
        for &(entry, segment) in &logged[first.min(logged.len())..] {
            let predecessor = segment.header.predecessor;
            let follows = match before {
                Some(before) => predecessor.segment == before,
                None => segment.header.base_seq <= self.since + 1,
            };
            // Of a segment that was freed, nothing is missing if its footer alone came after `since`.
            let only_footer = || writing.log.footers.binary_search(&(self.since + 1)).is_ok();
            let seen = match predecessor.last_seq.saturating_sub(self.since) {
                0 => true,
                1 => only_footer(),
                _ => false,
            };
            if !follows && !seen {
                return Err(self.gone());
            }
            before = Some(segment.id());
            let known = entry.end.filter(|_| segment.id() != end.segment).unwrap_or(end);
            let read = segment.id() == self.at.segment;
            let from = if read { self.at.offset } else { SEGMENT_HEADER_BYTES };
            parts.push_back(Part { pin: segment.pin(), from, to: known.offset });
        }
        if parts.is_empty() {
            // All that was committed is in relocated records only.
            return Err(self.gone());
        }
        self.parts = parts;
        // Nothing but the ends of segments may lie there.
        self.since =
            if self.parts.iter().all(|part| part.from >= part.to) { end.last_seq } else { self.since };
        Ok(self.since < end.last_seq)
    }

    fn gone(&self) -> Error {
        Error::HistoryGone { path: self.shared.path.clone(), since: self.since }
    }

    /// Reads the next commits of the first part, when those read before were passed on.
    fn read_some(&mut self) -> Result<()> {
        let Some(part) = self.parts.front_mut() else { return Ok(()) };
        let segment = Arc::clone(part.pin.segment());
        self.segment = Some(Arc::clone(&segment));
        let begun = part.from;
        let mut commits = Commits::default();
        let mut reader = SegmentReader::new(&segment, part.from, part.to);
        let since = self.since;
        loop {
            let (offset, record) = match reader.next()? {
                Next::Record(offset, record) => (offset, record),
                Next::End(..) if !self.read.is_empty() => break,
                Next::End(offset, bad) => return Err(segment.damaged(offset, bad)),
            };
            let location = Location::new(segment.id(), offset);
            let (read, last) = (&mut self.read, &mut self.last);
            let accepted = commits.accept(&record, location, |seq, change| {
                if seq > since {
                    read.push_back((seq, change));
                    *last = seq;
                }
            });
            if let Err(found) = accepted {
                if !self.read.is_empty() {
                    break;
                }
                return Err(segment.unexpected(offset, "a whole commit".to_owned(), found));
            }
            let end = offset + record.size();
            if commits.is_whole() {
                part.from = end;
                self.since = self.since.max(record.seq);
                self.at = LogEnd { segment: segment.id(), offset: end, last_seq: record.seq };
                if end == part.to || self.read.len() >= READ_TOGETHER || end - begun >= READ_BYTES {
                    break;
                }
            }
        }
        Ok(())
    }
}
