//! Opening: from the manifest and the segments back to the index, by the rules of `docs/safety.md`.
//! Accepts the longest valid prefix of the log, refuses when data that the device once confirmed is
//! damaged, and writes again what was never proven durable before new writes are accepted. O(log bytes).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{Failure, Log};
use crate::manifest::{self, Entry, Manifest};
use crate::options::{Options, Recovery, WriteMode};
use crate::reader::{Next, SegmentReader, watermark_beyond};
use crate::record::{BatchBegin, Kind, MARK_BYTES, Record};
use crate::segment::{Location, Segment, Segments};
use crate::state::State;

/// Progress of a replay, in bytes of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenProgress {
    /// Bytes replayed so far.
    pub bytes_done: u64,
    /// Bytes there are to replay, at most.
    pub bytes_total: u64,
}

/// A store brought back.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) log: Log,
    /// Everything up to here is on the device.
    pub(crate) durable_seq: u64,
    /// Bytes that were found behind the accepted end and dropped.
    pub(crate) dropped_bytes: u64,
}

/// Puts are published to the index in runs of this many.
const RUN: usize = 4096;
/// Bytes between two calls of the progress callback.
const PROGRESS_BYTES: u64 = 8 << 20;

/// Brings the store back. With `read_only` nothing is written and what was not proven is shown as is.
pub(crate) fn recover(
    disk: &dyn Disk,
    manifest: Manifest,
    copies_agree: bool,
    options: &Options,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<Recovered> {
    let names = disk.list().map_err(|error| Error::io("list", disk.path(), error))?;
    let chain = Chain::find(disk, &manifest, &names, options)?;
    let mut replay = Replay::new(&chain, &manifest);
    replay.run(options, progress)?;
    let Replay { mut state, reached, watermark, stop, .. } = replay;

    let mut dropped_bytes = 0;
    if let Some(stop) = &stop {
        let beyond = chain.watermark_beyond(stop, reached.last_seq)?;
        let confirmed = watermark.max(beyond.watermark);
        if confirmed > reached.last_seq && options.recovery == Recovery::Strict {
            return Err(stop.refusal(reached.last_seq, confirmed));
        }
        dropped_bytes = beyond.bytes;
    } else if watermark > reached.last_seq && options.recovery == Recovery::Strict {
        return Err(Error::Corruption {
            path: disk.path().to_owned(),
            offset: 0,
            expected: format!("records up to sequence {watermark}, which the device had confirmed"),
            found: format!("a log that ends at sequence {}", reached.last_seq),
        });
    }

    let copies = match options.write_mode {
        WriteMode::Mmap => true,
        WriteMode::Pwrite => false,
        // A commit that is flushed at once is faster by system call; see docs/dev.
        WriteMode::Auto => disk.maps_safely() && options.durability != crate::options::Durability::Sync,
    };
    let clean = manifest.clean && !chain.adopted && stop.is_none() && watermark >= reached.last_seq;
    let mut next_seq = manifest.next_seq.max(reached.last_seq + 1);
    let mut next_segment = manifest.next_segment;
    for header in &chain.all_headers {
        next_seq = next_seq.max(header.highest_possible_seq() + 1);
    }
    // Also of files whose header is damaged or never became durable.
    for id in names.iter().filter_map(|name| Segment::id_of(name)) {
        next_segment = next_segment.max(id.saturating_add(1));
    }
    let manifest = Manifest { next_segment, next_seq, ..manifest };
    let mut log = Log::new(manifest, reached, next_seq, copies);

    if options.read_only {
        let durable_seq = watermark.min(reached.last_seq);
        return Ok(Recovered { state, log, durable_seq, dropped_bytes });
    }
    if clean {
        if !copies_agree {
            log.manifest.write(disk)?;
        }
        remove_orphans(disk, &names, &log.manifest)?;
        return Ok(Recovered { state, log, durable_seq: reached.last_seq, dropped_bytes });
    }
    let proven = chain.end_of(watermark.min(reached.last_seq))?;
    prove(disk, options, &chain, proven, reached, &mut state, &mut log)?;
    remove_orphans(disk, &names, &log.manifest)?;
    let durable_seq = log.end.last_seq;
    Ok(Recovered { state, log, durable_seq, dropped_bytes })
}

/// Appends the records between `proven` and `reached` again to a new segment, flushes it, and ends the
/// old log at `proven`: what could be read may have been only in the page cache, and pages that a failed
/// flush lost look clean.
fn prove(
    disk: &dyn Disk,
    options: &Options,
    chain: &Chain,
    proven: LogEnd,
    reached: LogEnd,
    state: &mut State,
    log: &mut Log,
) -> Result<()> {
    let clean_or_not = |failure| match failure {
        Failure::Clean(error) | Failure::Poisons(error) => error,
    };
    let tail = chain.between(proven, reached);
    let room: u64 = tail.iter().map(|(_, from, to)| to - from).sum();
    log.end = proven;
    log.manifest.segments = chain.entries_up_to(proven);
    let segment = log
        .begin_segment(disk, options, room + MARK_BYTES, proven.last_seq, Origin::Recovery)
        .map_err(clean_or_not)?;
    let mut segments = Segments::default();
    for kept in chain.segments.iter().filter(|kept| log.manifest.lists(kept.id())) {
        segments.push(Arc::clone(kept));
    }
    segments.push(Arc::clone(&segment));

    for (old, from, to) in tail {
        let mut reader = SegmentReader::new(&old, from, to);
        while let Next::Record(offset, record) = reader.next()? {
            if matches!(record.kind, Kind::Mark | Kind::Footer) {
                continue;
            }
            let new = log.append_again(record.kind, record.key, record.value)?;
            let old_location = Location::new(old.id(), offset);
            if matches!(record.kind, Kind::Put | Kind::BatchPut)
                && state.index.replace_if(record.key, old_location.0, new.0)
            {
                segment.count_live(record.size());
                old.count_dead(record.size());
            }
        }
    }
    state.segments = Arc::new(segments);
    segment.sync()?;
    log.manifest.watermark = log.end.last_seq;
    log.list(disk).map_err(clean_or_not)?;
    // Below `reached` a reader of another process may have the file mapped; above it nobody has.
    if let Some(last) = chain.segments.last().filter(|last| log.manifest.lists(last.id()))
        && last.id() == reached.segment
    {
        let _ = last.file.truncate(reached.offset);
    }
    Ok(())
}

/// Removes files that no manifest names: halves of what a crash interrupted, and segments whose records
/// were all written again. Only after the manifest is durable in both copies.
fn remove_orphans(disk: &dyn Disk, names: &[String], manifest: &Manifest) -> Result<()> {
    let mut removed = false;
    for name in names {
        let unlisted_segment = Segment::id_of(name).is_some_and(|id| !manifest.lists(id));
        if unlisted_segment || manifest::UNFINISHED.contains(&name.as_str()) {
            match disk.remove(name) {
                // The manifest's own writing may have been faster.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                outcome => outcome.map_err(|error| Error::io("remove", &disk.path_of(name), error))?,
            }
            removed = true;
        }
    }
    if removed {
        disk.sync_dir().map_err(|error| Error::io("sync the directory of", disk.path(), error))?;
    }
    Ok(())
}

/// The segments of the log in order, checked to follow each other.
struct Chain {
    segments: Vec<Arc<Segment>>,
    /// Headers of all segment files that could be read, listed or not: they bound what was ever used.
    all_headers: Vec<SegmentHeader>,
    /// The last segment is not in the manifest: a crash came between beginning and listing it.
    adopted: bool,
    /// Where the log ends in the last segment, if the manifest knows.
    last_end: Option<LogEnd>,
}

impl Chain {
    fn find(disk: &dyn Disk, manifest: &Manifest, names: &[String], options: &Options) -> Result<Self> {
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
    fn known_end(&self, at: usize) -> Option<LogEnd> {
        match self.segments.get(at + 1) {
            Some(successor) => Some(successor.header.predecessor),
            None => self.last_end,
        }
    }

    /// Looks behind the place where replay stopped for a watermark that covers what is missing.
    fn watermark_beyond(&self, stop: &Stop, last_seq: u64) -> Result<Beyond> {
        let mut beyond = Beyond { watermark: 0, bytes: 0 };
        for (at, segment) in self.segments.iter().enumerate().skip(stop.at) {
            let from = if at == stop.at { stop.offset } else { SEGMENT_HEADER_BYTES };
            let found = watermark_beyond(segment, from, last_seq)?;
            beyond.watermark = beyond.watermark.max(segment.header.watermark).max(found.watermark);
            beyond.bytes += found.bytes;
        }
        Ok(beyond)
    }

    /// The place right behind the record with sequence `seq`, which was accepted.
    fn end_of(&self, seq: u64) -> Result<LogEnd> {
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
    fn between(&self, from: LogEnd, to: LogEnd) -> Vec<(Arc<Segment>, u64, u64)> {
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
    fn entries_up_to(&self, end: LogEnd) -> Vec<Entry> {
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

struct Beyond {
    watermark: u64,
    bytes: u64,
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

/// Where and why replay could not go on.
struct Stop {
    /// Position in the chain.
    at: usize,
    path: PathBuf,
    /// The first byte that does not count.
    offset: u64,
    expected: String,
    found: String,
}

impl Stop {
    fn refusal(&self, last_seq: u64, confirmed: u64) -> Error {
        Error::Corruption {
            path: self.path.clone(),
            offset: self.offset,
            expected: format!(
                "{}, since the device had confirmed everything up to sequence {confirmed} and only \
                 {last_seq} is whole",
                self.expected
            ),
            found: self.found.clone(),
        }
    }
}

/// A batch whose commit was not reached yet.
struct OpenBatch {
    begin_offset: u64,
    end_offset: u64,
    records: u64,
    ops: Vec<Change>,
}

/// One change of the index, as replayed.
#[derive(Clone, Copy)]
enum Change {
    Put { key: i64, location: Location, size: u64 },
    Delete { key: i64 },
    DeleteRange { first: i64, last: i64 },
}

impl Change {
    /// What a record changes; `None` for those that change nothing, or whose value is no key.
    fn of(record: &Record<'_>, location: Location) -> Option<Self> {
        let key = record.key;
        match record.kind {
            Kind::Put | Kind::BatchPut => Some(Self::Put { key, location, size: record.size() }),
            Kind::Tombstone | Kind::BatchTombstone => Some(Self::Delete { key }),
            Kind::RangeTombstone | Kind::BatchRangeTombstone => {
                Some(Self::DeleteRange { first: key, last: record.last_key()? })
            }
            Kind::BatchBegin | Kind::BatchCommit | Kind::Mark | Kind::Footer => None,
        }
    }
}

/// Reads the log in order and builds the index.
struct Replay<'c> {
    chain: &'c Chain,
    state: State,
    /// The end of what is accepted.
    reached: LogEnd,
    watermark: u64,
    stop: Option<Stop>,
    keys: Vec<i64>,
    locations: Vec<u64>,
    dead: Vec<Location>,
}

impl<'c> Replay<'c> {
    fn new(chain: &'c Chain, manifest: &Manifest) -> Self {
        let mut segments = Segments::default();
        for segment in &chain.segments {
            segments.push(Arc::clone(segment));
        }
        Self {
            chain,
            state: State { segments: Arc::new(segments), ..State::default() },
            reached: LogEnd::default(),
            watermark: manifest.watermark,
            stop: None,
            keys: Vec::with_capacity(RUN),
            locations: Vec::with_capacity(RUN),
            dead: Vec::new(),
        }
    }

    fn run(&mut self, options: &Options, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<()> {
        let _ = options;
        let mut bytes_total = 0;
        for (at, segment) in self.chain.segments.iter().enumerate() {
            bytes_total += match self.chain.known_end(at) {
                Some(end) => end.offset,
                None => segment.header.capacity,
            };
        }
        let mut bytes_done = 0;
        for at in 0..self.chain.segments.len() {
            let mut report =
                |offset: u64| progress(OpenProgress { bytes_done: bytes_done + offset, bytes_total });
            self.segment(at, &mut report)?;
            self.publish();
            if self.stop.is_some() {
                break;
            }
            bytes_done += self.reached.offset;
        }
        Ok(())
    }

    /// Replays one segment up to its known end, or as far as its records are valid.
    fn segment(&mut self, at: usize, report: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let segment = Arc::clone(&self.chain.segments[at]);
        let known_end = self.chain.known_end(at);
        self.watermark = self.watermark.max(segment.header.watermark);
        self.reached =
            LogEnd { segment: segment.id(), offset: SEGMENT_HEADER_BYTES, last_seq: self.reached.last_seq };
        let limit = known_end.map_or(u64::MAX, |end| end.offset);
        let mut reader = SegmentReader::new(&segment, SEGMENT_HEADER_BYTES, limit);
        let mut expected_seq = segment.header.base_seq;
        let mut batch: Option<OpenBatch> = None;
        let mut next_report = PROGRESS_BYTES;
        let (bad_offset, found) = loop {
            let (offset, record) = match reader.next()? {
                Next::Record(offset, record) => (offset, record),
                Next::End(offset, bad) => break (offset, bad.to_string()),
            };
            if record.seq != expected_seq {
                break (offset, format!("sequence {} where {expected_seq} comes next", record.seq));
            }
            let end = offset + record.size();
            if let Err(found) = self.accept(&mut batch, &record, offset, end, segment.id()) {
                break (offset, found);
            }
            expected_seq += 1;
            if batch.is_none() {
                self.reached = LogEnd { offset: end, last_seq: record.seq, ..self.reached };
            }
            if end >= next_report {
                next_report = end + PROGRESS_BYTES;
                if !report(end) {
                    return Err(Error::Interrupted);
                }
            }
        };
        segment.count_appended(self.reached.offset - SEGMENT_HEADER_BYTES);
        let whole = known_end.is_some_and(|end| end == self.reached);
        let last = at + 1 == self.chain.segments.len();
        if !whole {
            // In the segment that was being written this is the normal end; whether something is
            // missing behind it is decided by the watermarks alone.
            let _ = last;
            self.stop = Some(Stop {
                at,
                path: segment.path.clone(),
                offset: self.reached.offset,
                expected: format!("a whole record at offset {bad_offset}"),
                found,
            });
        }
        Ok(())
    }

    /// Takes one record in; an error says what is wrong with it in its place.
    fn accept(
        &mut self,
        batch: &mut Option<OpenBatch>,
        record: &Record<'_>,
        offset: u64,
        end: u64,
        segment: u32,
    ) -> Result<(), String> {
        let change = Change::of(record, Location::new(segment, offset));
        match (record.kind, batch.as_mut()) {
            (Kind::Put | Kind::Tombstone | Kind::RangeTombstone, None) => {
                self.apply(change.ok_or("a range tombstone without its last key")?);
            }
            (Kind::Mark | Kind::Footer, None) => {
                let named = record.number().ok_or("a mark without its watermark")?;
                self.watermark = self.watermark.max(named);
            }
            (Kind::BatchBegin, None) => {
                let BatchBegin { records, bytes } = record.batch().ok_or("a batch without its length")?;
                *batch = Some(OpenBatch {
                    begin_offset: offset,
                    end_offset: offset.saturating_add(bytes.get()),
                    records: records.get(),
                    ops: Vec::new(),
                });
            }
            (Kind::BatchPut | Kind::BatchTombstone | Kind::BatchRangeTombstone, Some(open)) => {
                open.ops.push(change.ok_or("a range tombstone without its last key")?);
            }
            (Kind::BatchCommit, Some(open)) => {
                let whole = record.number() == Some(open.records)
                    && open.ops.len() as u64 == open.records
                    && end == open.end_offset;
                if !whole {
                    return Err(format!("the end of another batch than began at {}", open.begin_offset));
                }
                for change in std::mem::take(&mut open.ops) {
                    self.apply(change);
                }
                *batch = None;
            }
            (kind, open) => {
                let place = if open.is_some() { "inside" } else { "outside" };
                return Err(format!("{kind:?} {place} a batch"));
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put { key, location, size } => {
                self.keys.push(key);
                self.locations.push(location.0);
                if let Some(segment) = self.state.segments.get(location.segment()) {
                    segment.count_live(size);
                }
                if self.keys.len() == RUN {
                    self.publish();
                }
            }
            Change::Delete { key } => {
                self.publish();
                self.dead.extend(self.state.delete(key));
            }
            Change::DeleteRange { first, last } => {
                self.publish();
                self.state.delete_range(first, last, &mut self.dead);
            }
        }
    }

    /// Brings the collected puts into the index.
    fn publish(&mut self) {
        self.state.put_many(&self.keys, &self.locations, &mut self.dead);
        self.keys.clear();
        self.locations.clear();
        self.state.segments.count_dead(&self.dead);
        self.dead.clear();
    }
}

/// Reads the manifest of a directory that must hold a store; tells whether both copies agree.
pub(crate) fn read_manifest(disk: &dyn Disk) -> Result<Option<(Manifest, bool)>> {
    match Manifest::read(disk)? {
        manifest::Found::Manifest(manifest, agree) => Ok(Some((manifest, agree))),
        manifest::Found::Nothing => Ok(None),
    }
}

/// Refuses a directory that holds other people's files.
pub(crate) fn refuse_foreign(path: &Path, names: &[String]) -> Result<()> {
    // What a crash leaves of a store that was being made counts as empty.
    let ours = |name: &String| name == "LOCK" || manifest::UNFINISHED.contains(&name.as_str());
    if names.iter().all(ours) {
        return Ok(());
    }
    Err(Error::Format {
        path: path.to_owned(),
        problem: "is not an alexpy store: it holds files but no manifest; choose an empty or a new \
                  directory (nothing was changed)"
            .to_owned(),
    })
}
