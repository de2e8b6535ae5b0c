//! What can still be read of a damaged store: its segments, with or without a manifest, and the newest record
//! of every key in them. Only reads. Knows nothing of where the records go. O(bytes), with the keys in
//! memory.

use std::collections::{BTreeMap, BinaryHeap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::format::compressed::Compressed;
use crate::format::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES};
use crate::format::location::Location;
use crate::format::manifest::{self, Found, Manifest};
use crate::format::record::{Kind, Record};
use crate::keys::Key;
use crate::log::outdated::newer_segments;
use crate::log::resync::{Met, walk};
use crate::log::segment::Segment;
use crate::operation::Operation;
use crate::options::{MAX_SEGMENT_BYTES, ReadMode};
use crate::progress::OpenProgress;
use crate::schema::{Compression, Schema};

/// Bytes between two calls of the progress callback.
const PROGRESS_BYTES: u64 = 8 << 20;

/// How much of a damaged store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairMode {
    /// Everything before the first damage, as if the store had ended there.
    PointInTime,
    /// Every record that can be read, including those behind damage.
    Salvage,
}

/// A segment of the log, or one of relocated records.
struct Piece {
    /// Its file; `None` if its header cannot be read.
    segment: Option<Arc<Segment>>,
    path: PathBuf,
    /// Where it ends, if anything says so.
    end: Option<LogEnd>,
    /// Whether it holds copies made by compaction, with any sequence numbers, and is not part of the log.
    relocated: bool,
}

/// What was found.
#[derive(Default)]
pub(crate) struct Salvaged {
    /// The newest record of each key: its sequence number and, unless it is a tombstone, its location.
    newest: BTreeMap<Key, (u64, Option<Location>)>,
    ranges: Vec<(u64, Key, Key)>,
    segments: BTreeMap<u32, Arc<Segment>>,
    /// What never changes about the store. Without a manifest nobody knows the codec of its values.
    schema: Schema,
    has_manifest: bool,
    /// Records that are known to have existed and are not kept.
    pub(crate) lost: u64,
    /// File, offset and length.
    pub(crate) damaged: Vec<(PathBuf, u64, u64)>,
}

impl Salvaged {
    /// Reads the whole store.
    pub(crate) fn read(
        disk: &Arc<dyn Disk>,
        mode: RepairMode,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<Self> {
        let mut found = Self::default();
        let pieces = pieces(disk, mode, &mut found)?;
        let mut bytes_total = 0;
        for piece in &pieces {
            bytes_total += match (&piece.segment, piece.end) {
                (_, Some(end)) => end.offset,
                (Some(segment), None) => segment.len()?.min(MAX_SEGMENT_BYTES),
                (None, None) => 0,
            };
        }
        let mut bytes_done = 0;
        let mut reading = Reading { mode, stopped: false, last_seq: 0, reached: 0 };
        for piece in &pieces {
            let mut report = |at| progress(OpenProgress { bytes_done: bytes_done + at, bytes_total });
            bytes_done += reading.piece(piece, &mut found, &mut report)?;
        }
        found.apply_ranges();
        Ok(found)
    }

    /// What never changes about the new store: as of the old one, which must not have another codec than the one that is
    /// asked for. The codec that is asked for if no manifest is left to name one.
    pub(crate) fn schema_for(&self, codec: Option<&str>, path: &Path) -> Result<Schema> {
        if self.has_manifest {
            self.schema.check_asked(None, codec, Compression::None, path)?;
            return Ok(self.schema.clone());
        }
        Ok(Schema { codec: codec.map(str::to_owned), ..self.schema.clone() })
    }

    /// How many keys are left.
    pub(crate) fn keys(&self) -> u64 {
        self.newest.values().filter(|(_, place)| place.is_some()).count() as u64
    }

    /// The keys that are left and their values, in key order.
    pub(crate) fn items(&self) -> impl Iterator<Item = Result<(Key, Vec<u8>)>> {
        self.newest.iter().filter_map(|(&key, &(_, place))| {
            let place = place?;
            let segment = self.segments.get(&place.segment())?;
            Some(segment.value_copy(place.offset(), key).map(|value| (key, value)))
        })
    }

    fn apply(&mut self, seq: u64, change: Change) {
        match change {
            Change::Point(key, place) => {
                let newest = self.newest.entry(key).or_insert((seq, place));
                if newest.0 <= seq {
                    *newest = (seq, place);
                }
            }
            Change::Range(first, last) => self.ranges.push((seq, first, last)),
        }
    }

    /// Range tombstones remove everything older than themselves, in whatever order they were read: one sweep
    /// over keys and ranges. O((keys + ranges) log ranges).
    fn apply_ranges(&mut self) {
        self.ranges.sort_unstable_by_key(|&(_, first, _)| first);
        let mut coming = self.ranges.iter().peekable();
        // The ranges that have begun, the newest on top. One that has ended is removed when it reaches the
        // top.
        let mut begun: BinaryHeap<(u64, Key)> = BinaryHeap::new();
        for (&key, newest) in &mut self.newest {
            while let Some(&(seq, _, last)) = coming.next_if(|&&(_, first, _)| first <= key) {
                begun.push((seq, last));
            }
            while begun.peek().is_some_and(|&(_, last)| last < key) {
                begun.pop();
            }
            if let Some(&(seq, _)) = begun.peek()
                && newest.0 < seq
            {
                *newest = (seq, None);
            }
        }
    }
}

/// Whether the value of a whole record can be read: its dictionary may be damaged.
fn is_readable(segment: &Segment, record: &Record<'_>, offset: u64) -> Result<bool> {
    match record.compressed.then(|| segment.decompressed(record, offset)) {
        Some(Err(Error::Corruption { .. })) => Ok(false),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(true),
    }
}

#[derive(Clone, Copy)]
enum Change {
    /// The newest record of a key; `None` for a tombstone.
    Point(Key, Option<Location>),
    Range(Key, Key),
}

fn change(record: &Record<'_>, place: Location) -> Option<Change> {
    match record.kind {
        Kind::Put | Kind::BatchPut => Some(Change::Point(record.key, Some(place))),
        Kind::Tombstone | Kind::BatchTombstone => Some(Change::Point(record.key, None)),
        Kind::RangeTombstone | Kind::BatchRangeTombstone => {
            Some(Change::Range(record.key, record.last_key()?))
        }
        Kind::BatchBegin | Kind::BatchCommit | Kind::Mark | Kind::Footer | Kind::Dictionary => None,
    }
}

/// One pass over the pieces of the log, in order.
struct Reading {
    mode: RepairMode,
    /// Point in time: damage was found, and nothing behind it counts.
    stopped: bool,
    /// The last sequence number read, in the order of the log.
    last_seq: u64,
    /// The last sequence number that counts.
    reached: u64,
}

impl Reading {
    /// Reads one piece. Returns its size in bytes.
    fn piece(
        &mut self,
        piece: &Piece,
        found: &mut Salvaged,
        report: &mut dyn FnMut(u64) -> bool,
    ) -> Result<u64> {
        let known = piece.end.unwrap_or_default();
        let Some(segment) = &piece.segment else {
            self.damage(found, &piece.path, 0, known.offset);
            found.lost += known.last_seq.saturating_sub(self.last_seq);
            self.last_seq = self.last_seq.max(known.last_seq);
            return Ok(known.offset);
        };
        found.segments.insert(segment.id(), Arc::clone(segment));
        // Only one segment at a time keeps its descriptor; without it, each read would open the file.
        segment.outlive_its_name()?;
        let read = self.read(segment, piece, found, report);
        segment.release_at_any_cost();
        read
    }

    fn read(
        &mut self,
        segment: &Arc<Segment>,
        piece: &Piece,
        found: &mut Salvaged,
        report: &mut dyn FnMut(u64) -> bool,
    ) -> Result<u64> {
        let known = piece.end.unwrap_or_default();
        if !piece.relocated {
            self.last_seq = self.last_seq.max(segment.header.base_seq.saturating_sub(1));
        }
        let mut waiting = Vec::new();
        let (mut end, mut next_report) = (SEGMENT_HEADER_BYTES, PROGRESS_BYTES);
        walk(segment, piece.end.map(|end| end.offset), &mut |met| {
            match met {
                Met::Damage { offset, len, .. } => {
                    self.damage(found, &segment.path, offset, len);
                    end = offset + len;
                }
                Met::Record(offset, record) if !is_readable(segment, &record, offset)? => {
                    self.damage(found, &segment.path, offset, record.size());
                    end = offset + record.size();
                }
                Met::Record(offset, record) => {
                    end = offset + record.size();
                    let place = Location::new(segment.id(), offset);
                    if piece.relocated {
                        self.relocated(found, &record, place, known.last_seq);
                    } else {
                        self.record(found, &record, place, &mut waiting);
                    }
                }
            }
            if end >= next_report {
                next_report = end + PROGRESS_BYTES;
                if !report(end) {
                    return Err(Error::Interrupted);
                }
            }
            Ok(true)
        })?;
        if !piece.relocated && known.last_seq > self.last_seq {
            // The damage is at the very end. Everything before it was whole, so a batch there had its commit.
            found.lost += known.last_seq - self.last_seq;
            if !self.stopped {
                self.accept(found, &mut waiting);
            }
            self.last_seq = known.last_seq;
        }
        Ok(end)
    }

    /// Accepts a record of the log. Records of a batch wait for proof that it was committed: an uncommitted
    /// batch is the last thing in its segment, so anything that follows it, its commit first of all, is
    /// proof.
    fn record(
        &mut self,
        found: &mut Salvaged,
        record: &Record<'_>,
        place: Location,
        waiting: &mut Vec<(u64, Change)>,
    ) {
        let missing = record.seq.saturating_sub(self.last_seq + 1);
        if missing > 0 {
            // Inside a segment, only damage hides a sequence number.
            found.lost += missing;
            self.stopped |= self.mode == RepairMode::PointInTime;
        }
        self.last_seq = record.seq;
        let change = change(record, place);
        if self.stopped {
            found.lost += std::mem::take(waiting).len() as u64 + u64::from(change.is_some());
            return;
        }
        let in_batch =
            matches!(record.kind, Kind::BatchPut | Kind::BatchTombstone | Kind::BatchRangeTombstone);
        if !in_batch {
            self.accept(found, waiting);
            if record.kind != Kind::BatchBegin {
                self.reached = record.seq;
            }
        }
        match change {
            Some(change) if in_batch => waiting.push((record.seq, change)),
            Some(change) => found.apply(record.seq, change),
            None => {}
        }
    }

    fn accept(&mut self, found: &mut Salvaged, waiting: &mut Vec<(u64, Change)>) {
        for (seq, change) in waiting.drain(..) {
            self.reached = self.reached.max(seq);
            found.apply(seq, change);
        }
    }

    /// Accepts a copy of a record. Its sequence number says where in the log it counts.
    fn relocated(&self, found: &mut Salvaged, record: &Record<'_>, place: Location, last_seq: u64) {
        let beyond = record.seq > last_seq && last_seq > 0;
        let dropped = self.mode == RepairMode::PointInTime && self.stopped && record.seq > self.reached;
        if let (Some(change), false) = (change(record, place), beyond || dropped) {
            found.apply(record.seq, change);
        }
    }

    fn damage(&mut self, found: &mut Salvaged, path: &std::path::Path, offset: u64, len: u64) {
        self.stopped |= self.mode == RepairMode::PointInTime;
        found.damaged.push((path.to_owned(), offset, len));
    }
}

/// The pieces of the log in order: as the manifest lists them or, if no copy of it can be read, as the
/// headers of the segments link them. Salvage also follows the headers if both copies are older than segments
/// beside them; point in time goes back to when they were written.
fn pieces(disk: &Arc<dyn Disk>, mode: RepairMode, found: &mut Salvaged) -> Result<Vec<Piece>> {
    match Manifest::read(&**disk) {
        Ok(Found::Manifest(manifest, _)) => {
            found.schema = manifest.schema.clone();
            found.has_manifest = true;
            let names = disk.list().map_err(|error| Error::io(Operation::List, disk.path(), error))?;
            if newer_segments(disk, &manifest, &names, Some(manifest.next_seq.saturating_sub(1)))?.is_empty()
            {
                return listed(disk, &manifest);
            }
            found.damaged.extend(manifest::NAMES.map(|name| (disk.path_of(name), 0, 0)));
            if mode == RepairMode::Salvage { linked(disk, found) } else { listed(disk, &manifest) }
        }
        Ok(Found::Nothing) => linked(disk, found),
        Err(Error::Corruption { path, .. }) => {
            found.damaged.push((path, 0, 0));
            linked(disk, found)
        }
        Err(error) => Err(error),
    }
}

/// Opens a segment; `None` if its file is missing or its header damaged.
fn open(disk: &Arc<dyn Disk>, id: u32) -> Result<Option<Arc<Segment>>> {
    match Segment::open(disk, id, Access::Read, ReadMode::Pread) {
        Ok(segment) => {
            // A store may have more segments than a process may have descriptors.
            segment.release_at_any_cost();
            Ok(Some(Arc::new(segment)))
        }
        Err(Error::Corruption { .. }) => Ok(None),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a segment's file was made but nothing was written to it yet.
fn is_unbegun(disk: &Arc<dyn Disk>, id: u32) -> Result<bool> {
    let name = Segment::name(id);
    let wrap = |error| Error::io(Operation::Read, &disk.path_of(&name), error);
    let file = match disk.open(&name, Access::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        opened => opened.map_err(wrap)?,
    };
    let (mut chunk, mut offset) = (vec![0; 1 << 20], 0);
    while let Some(piece) = file.next_data(offset).map_err(wrap)? {
        offset = piece.start;
        while offset < piece.end {
            let read = file.read_at(offset, &mut chunk).map_err(wrap)?;
            if chunk[..read].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            if read < chunk.len() {
                return Ok(true);
            }
            offset += read as u64;
        }
        offset = offset.max(piece.end);
    }
    Ok(true)
}

fn listed(disk: &Arc<dyn Disk>, manifest: &Manifest) -> Result<Vec<Piece>> {
    let ours = |id| -> Result<Option<Arc<Segment>>> {
        Ok(open(disk, id)?.filter(|segment| segment.header.store_id == manifest.store_id))
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for entry in &manifest.segments {
        let path = disk.path_of(&Segment::name(entry.segment));
        pieces.push(Piece { segment: ours(entry.segment)?, path, end: entry.end, relocated: false });
    }
    // The log may have gone on since the manifest was written.
    if let Some(spare) = manifest.spare
        && !is_unbegun(disk, spare.segment)?
    {
        let segment = ours(spare.segment)?;
        if let (Some(segment), Some(before)) = (&segment, pieces.last_mut()) {
            before.end = Some(segment.header.predecessor);
        }
        let path = disk.path_of(&Segment::name(spare.segment));
        pieces.push(Piece { segment, path, end: None, relocated: false });
    }
    for entry in &manifest.relocations {
        let path = disk.path_of(&Segment::name(entry.segment));
        let end = LogEnd { segment: entry.segment, offset: entry.end, last_seq: entry.last_seq };
        pieces.push(Piece { segment: ours(entry.segment)?, path, end: Some(end), relocated: true });
    }
    Ok(pieces)
}

/// Follows the headers back from the newest segment. If one cannot be read, goes on with the next older
/// segment.
fn linked(disk: &Arc<dyn Disk>, found: &mut Salvaged) -> Result<Vec<Piece>> {
    let names = disk.list().map_err(|error| Error::io(Operation::List, disk.path(), error))?;
    let mut ids: Vec<u32> = names.iter().filter_map(|name| Segment::id_of(name)).collect();
    ids.sort_unstable();
    let mut opened = Vec::new();
    for &id in &ids {
        let segment = open(disk, id)?;
        if segment.is_some() || !is_unbegun(disk, id)? {
            opened.push((id, segment));
        }
    }
    // Files of another store may have been copied in; the majority is right.
    let mut stores: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for (_, segment) in &opened {
        if let Some(segment) = segment {
            *stores.entry(segment.header.store_id).or_default() += 1;
        }
    }
    let Some((&store_id, _)) = stores.iter().max_by_key(|&(_, count)| *count) else {
        return Err(Error::Format {
            path: disk.path().to_owned(),
            problem: "holds no segment whose header can be read, and no manifest; there is nothing to repair"
                .to_owned(),
        });
    };
    opened.retain(|(_, segment)| segment.as_ref().is_none_or(|segment| segment.header.store_id == store_id));
    let ours = opened.iter().find_map(|(_, segment)| segment.as_ref());
    if let Some(segment) = ours {
        found.schema.key = segment.header.key;
        found.schema.compression = segment.header.compression;
    }
    let relocation = |segment: &Option<Arc<Segment>>| {
        segment.as_ref().is_some_and(|segment| segment.header.origin == Origin::Relocation)
    };
    let relocated: Vec<_> = opened.extract_if(.., |(_, segment)| relocation(segment)).collect();
    drop_unlisted_recovery(&mut opened)?;
    let piece = |id, segment, end, relocated| {
        let path = disk.path_of(&Segment::name(id));
        Piece { segment, path, end, relocated }
    };
    let mut pieces: Vec<Piece> = Vec::new();
    // The predecessor named by the header of the next newer segment.
    let mut before: Option<LogEnd> = None;
    for (id, segment) in opened.into_iter().rev() {
        // Nothing that counts lies between a segment and the one that it follows.
        if before.is_some_and(|before| id > before.segment) {
            continue;
        }
        let end = before.filter(|before| before.segment == id);
        before = segment.as_ref().map(|segment| segment.header.predecessor);
        pieces.push(piece(id, segment, end, false));
    }
    pieces.reverse();
    pieces.extend(relocated.into_iter().map(|(id, segment)| piece(id, segment, None, true)));
    Ok(pieces)
}

/// Drops the segments of an interrupted recovery. Recovery writes the end of the log again and lists the new
/// segments only once everything is durable. If it is cut off before that, it leaves segments at the end that
/// repeat a part of the log and would end it too early. They hold nothing but what the log before them holds
/// at the same place.
fn drop_unlisted_recovery(opened: &mut Vec<(u32, Option<Arc<Segment>>)>) -> Result<()> {
    let recovery = |entry: &(u32, Option<Arc<Segment>>)| {
        entry.1.as_ref().is_none_or(|segment| segment.header.origin == Origin::Recovery)
    };
    let first = opened.iter().rposition(|entry| !recovery(entry)).map_or(0, |last| last + 1);
    let proven = |from: usize| opened[from].1.as_ref().map(|segment| segment.header.predecessor);
    let Some(oldest) = (first..opened.len()).filter_map(proven).map(|end| end.segment).min() else {
        return Ok(());
    };
    // All segments are read once, however many recoveries there were.
    let log = Changes::read(opened, oldest)?;
    // An earlier recovery may come right before the last one.
    let repeats = |&from: &usize| proven(from).is_some_and(|proven| log.repeats(opened[from].0, proven));
    if let Some(from) = (first..opened.len()).find(repeats) {
        opened.truncate(from);
    }
    Ok(())
}

/// The changes made by the records of a part of the log, in order, so that copies can be recognised.
struct Changes {
    /// Segment and offset of each.
    places: Vec<(u32, u64)>,
    /// For each change, how many changes counted back from it equal as many at the end of the log.
    like_the_end: Vec<usize>,
}

impl Changes {
    /// The changes of all segments from `oldest` on. O(bytes of those segments).
    fn read(opened: &[(u32, Option<Arc<Segment>>)], oldest: u32) -> Result<Self> {
        let (mut places, mut changes) = (Vec::new(), Vec::new());
        for (id, segment) in opened.iter().filter(|(id, _)| *id >= oldest) {
            let Some(segment) = segment else { continue };
            walk(segment, None, &mut |met| {
                if let Met::Record(offset, record) = met
                    && change(&record, Location::new(*id, offset)).is_some()
                {
                    places.push((*id, offset));
                    // The copy of a compressed value may have its dictionary at another place.
                    let frame = Compressed::of(record.value).filter(|_| record.compressed);
                    let value = frame.map_or(record.value, |it| it.frame);
                    changes.push((record.kind, record.key, crc32c::crc32c(value)));
                }
                Ok(true)
            })?;
        }
        Ok(Self { places, like_the_end: like_the_end(&changes) })
    }

    /// Whether the segments from `from` on only repeat what follows `proven`, the position that the first of
    /// them continues. O(log changes).
    fn repeats(&self, from: u32, proven: LogEnd) -> bool {
        let old = self.places.partition_point(|&place| place < (proven.segment, proven.offset));
        let again = self.places.partition_point(|&(segment, _)| segment < from);
        let count = self.places.len() - again;
        // Behind the last of the changes that would be repeated, all of which come before their copies.
        let end = old + count;
        end <= again && (count == 0 || self.like_the_end[end - 1] >= count)
    }
}

/// For each item, how many items up to it equal as many at the end (the Z algorithm, run backwards).
/// O(items).
fn like_the_end<T: PartialEq>(items: &[T]) -> Vec<usize> {
    let back = |at: usize| &items[items.len() - 1 - at];
    let mut like = vec![0; items.len()];
    // The stretch that reaches farthest of those known to equal the beginning, read backwards.
    let (mut start, mut end) = (0, 0);
    for at in 0..items.len() {
        let mut count = if at < end { like[at - start].min(end - at) } else { 0 };
        while at + count < items.len() && back(count) == back(at + count) {
            count += 1;
        }
        if at > 0 && at + count > end {
            (start, end) = (at, at + count);
        }
        like[at] = count;
    }
    like.reverse();
    like
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::Rng;

    #[test]
    fn a_sweep_over_the_ranges_removes_what_each_by_itself_would() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let mut found = Salvaged::default();
            for _ in 0..rng.below(60) {
                let (key, seq) = (Key::from(rng.below(30)), rng.below(200));
                found.apply(seq, Change::Point(key, Some(Location::new(1, seq * 8))));
            }
            for _ in 0..rng.below(20) {
                let (first, last) = (Key::from(rng.below(32)) - 1, Key::from(rng.below(32)) - 1);
                let last = if rng.one_in(8) { Key::MAX } else { last };
                found.apply(rng.below(200), Change::Range(first, last));
            }
            let mut right = found.newest.clone();
            for &(seq, first, last) in &found.ranges {
                for (_, newest) in right.iter_mut().filter(|(key, _)| (first..=last).contains(*key)) {
                    if newest.0 < seq {
                        *newest = (seq, None);
                    }
                }
            }
            found.apply_ranges();
            let places = |it: &BTreeMap<Key, (u64, Option<Location>)>| -> Vec<_> {
                it.iter().map(|(&key, &(_, place))| (key, place)).collect()
            };
            assert_eq!(places(&found.newest), places(&right), "seed {seed}");
        }
    }

    #[test]
    fn items_that_equal_the_end_are_counted_as_by_comparing_one_by_one() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let different = 1 + rng.below(3);
            let items: Vec<u64> = (0..rng.below(40)).map(|_| rng.below(different)).collect();
            let right = |at: usize| {
                (0..=at).take_while(|&back| items[at - back] == items[items.len() - 1 - back]).count()
            };
            let right: Vec<usize> = (0..items.len()).map(right).collect();
            assert_eq!(like_the_end(&items), right, "seed {seed}: {items:?}");
        }
    }
}
