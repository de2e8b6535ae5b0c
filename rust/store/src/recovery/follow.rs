//! Following: a read-only handle takes up what a writer has committed since it last looked. It reads the log from where it
//! stands, whole commits only, goes on from segment to segment as the writer did, and then does without the segments that
//! the writer has freed. Where the log does not lead on, because a writer was killed or what lay between was freed, the
//! handle reads the store afresh. Knows nothing of who waits.
//! O(bytes of new log), O(bytes of freed segments), and a few system calls if there is nothing new.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::compaction::free::omit;
use crate::disk::{Access, Disk, DiskFile};
use crate::engine::catalog::Catalog;
use crate::engine::followed::{Followed, Unbegun};
use crate::engine::kept_images::Images;
use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::location::Location;
use crate::format::manifest::{self, Entry, Manifest};
use crate::format::record::Kind;
use crate::index::checked::Damaged;
use crate::keys::{Key, KeyVec};
use crate::log::reader::{Next, SegmentReader, watermark_beyond};
use crate::log::segment::Segment;
use crate::recovery::beside_writer::{
    BETWEEN_LOOKS, PATIENCE, STILL_LOOKS, recover_beside_writer, says_gone,
};
use crate::recovery::chain::keep_open;
use crate::recovery::changes::{Change, Commits};
use crate::recovery::mirror;
use crate::recovery::recover::{Recovered, read_manifest};

/// Commits are shown together until they make this many changes, so that reads wait little.
const SHOWN_TOGETHER: usize = 1024;
/// A handle that would have to move more records than this starts afresh.
const MOST_MOVED: usize = 1 << 20;
/// A record that is not whole may be on its way into the file: it is looked at this often, this long apart.
const UNFINISHED_LOOKS: usize = 20;
const BETWEEN_UNFINISHED: Duration = Duration::from_micros(50);
/// Where damage was ruled out, it is looked for again after this time: the device may since have confirmed what is missing.
const STALLED_FOR: Duration = Duration::from_secs(1);

/// Takes up everything whose commit returned, in whatever process, before this call. On an error the handle stays at a
/// commit, perhaps a later one than before.
pub(crate) fn follow(shared: &Shared, catalog: &mut Catalog, writing: &mut Writing) -> Result<()> {
    let mut follower = Follower { shared, writing };
    if follower.is_current()? {
        return Ok(());
    }
    let begun = Instant::now();
    let (mut still_looks, mut seen) = (0, None);
    loop {
        let error = match follower.round(catalog) {
            Ok(true) => return Ok(()),
            Ok(false) => return follower.start_afresh(catalog),
            Err(error @ (Error::Corruption { .. } | Error::Format { .. })) => error,
            Err(error) if says_gone(&error) => error,
            Err(error) => return Err(error),
        };
        // A writer may have gone on between two looks.
        let now = read_manifest(&*shared.disk)?.map(|(now, _)| now.generation);
        still_looks = if now == seen { still_looks + 1 } else { 0 };
        seen = now;
        if still_looks >= STILL_LOOKS || begun.elapsed() > PATIENCE {
            return Err(error);
        }
        std::thread::sleep(if still_looks > 0 { BETWEEN_LOOKS } else { Duration::ZERO });
    }
}

/// The newest manifest of the store that was read from `before`.
pub(crate) fn newest_manifest(shared: &Shared, before: &Arc<Manifest>) -> Result<Arc<Manifest>> {
    let Some((manifest, _)) = read_manifest(&*shared.disk)? else {
        return Err(Error::NotFound { path: shared.path.clone() });
    };
    if manifest.store_id != before.store_id || manifest.generation < before.generation {
        let problem = "was replaced by another store, or by an older copy of this one; close this handle and open \
                       the store again (nothing was changed)";
        return Err(Error::Format { path: shared.path.clone(), problem: problem.to_owned() });
    }
    if manifest == **before { Ok(Arc::clone(before)) } else { Ok(Arc::new(manifest)) }
}

/// The copy of the manifest that is written last. It has its name for as long as no manifest is newer: both copies are
/// written before anything is done on the strength of them. `None` if it had another name as well, or has lost its own
/// already: then its loss would not show.
fn last_copy(disk: &dyn Disk) -> Option<Arc<dyn DiskFile>> {
    let [_, name] = manifest::NAMES;
    disk.open(name, Access::Read).ok().filter(|file| has_one_name(&**file))
}

fn has_one_name(file: &dyn DiskFile) -> bool {
    file.links().is_ok_and(|links| links == 1)
}

/// A read-only handle that takes up changes.
struct Follower<'f> {
    shared: &'f Shared,
    writing: &'f mut Writing,
}

/// Where the log goes on.
enum Onward {
    /// Nowhere yet.
    Ends,
    In(Arc<Segment>),
    /// In a segment that does not follow where the handle stands.
    Elsewhere,
}

/// Memory for the changes that are shown together.
#[derive(Default)]
struct Shown {
    changes: Vec<Change>,
    keys: KeyVec,
    locations: Vec<u64>,
    dead: Vec<Location>,
    range: (KeyVec, Vec<u64>),
    /// The last commit among them: marks and footers behind it count for nothing, recovery does not write them again.
    last_commit: u64,
}

impl Follower<'_> {
    fn followed(&mut self) -> Result<&mut Followed> {
        // Only a handle that follows gets here.
        self.writing.followed.as_mut().ok_or_else(|| Error::ReadOnly { path: self.shared.path.clone() })
    }

    /// Whether nothing was committed since the last look. At most three system calls.
    fn is_current(&mut self) -> Result<bool> {
        let end = self.writing.log.end;
        // Look at the manifest first: whatever it does not list yet comes later.
        if !self.is_listed_last()? || self.followed()?.stalled.is_some() {
            return Ok(false);
        }
        if let Some(next) = &self.followed()?.next
            && !next.is_unwritten()?
        {
            return Ok(false);
        }
        let listed = self.followed()?.manifest.segments.iter().rev().find(|it| it.segment == end.segment);
        if listed.is_some_and(|listed| listed.end == Some(end)) {
            // Nothing more comes into a segment once its end is listed.
            return Ok(true);
        }
        self.segment(end.segment)?.map_or(Ok(true), |segment| segment.is_unwritten(end.offset))
    }

    /// Whether the manifest that was read last is still the newest.
    fn is_listed_last(&mut self) -> Result<bool> {
        Ok(self.followed()?.copy.as_ref().is_some_and(|file| has_one_name(&**file)))
    }

    /// The segment in which the handle's log ends, or any other that it holds.
    fn segment(&self, id: u32) -> Result<Option<Arc<Segment>>> {
        Ok(self.shared.read_parts()?.segments.get(id).cloned())
    }

    /// Takes up what there is. Returns false if the log does not lead on from where the handle stands.
    fn round(&mut self, catalog: &mut Catalog) -> Result<bool> {
        // In this order: what a commit needs was listed before the commit returned.
        let before = Arc::clone(&self.followed()?.manifest);
        let (copy, manifest) = if self.is_listed_last()? {
            (self.followed()?.copy.take(), Arc::clone(&before))
        } else {
            (last_copy(&*self.shared.disk), newest_manifest(self.shared, &before)?)
        };
        // Until all of it was taken up.
        self.followed()?.copy = None;
        let mut entered = false;
        loop {
            let end = self.writing.log.end;
            let listed = manifest.segments.iter().find(|entry| entry.segment == end.segment);
            let known = listed.and_then(|entry| entry.end);
            if known.is_some_and(|known| known.offset < end.offset) {
                // A writer was killed, and another one has written again what was not proven to be on the device.
                return Ok(false);
            }
            self.drain(known)?;
            match self.onward(&manifest)? {
                Onward::Ends => break,
                Onward::In(segment) => self.enter(&segment)?,
                Onward::Elsewhere => return Ok(false),
            }
            entered = true;
        }
        if (entered || !Arc::ptr_eq(&before, &manifest)) && !self.do_without_freed(&before, &manifest)? {
            return Ok(false);
        }
        if !Arc::ptr_eq(&before, &manifest) {
            catalog.manifest = Manifest::clone(&manifest);
        }
        let followed = self.followed()?;
        followed.manifest = manifest;
        followed.copy = copy;
        Ok(true)
    }

    /// Takes up the commits that follow in the segment in which the handle's log ends: up to `known`, where the segment
    /// is known to end, or as far as there are whole commits.
    fn drain(&mut self, known: Option<LogEnd>) -> Result<()> {
        let end = self.writing.log.end;
        let Some(segment) = self.segment(end.segment)?.filter(|_| known != Some(end)) else { return Ok(()) };
        let mut expected =
            if end.offset > SEGMENT_HEADER_BYTES { end.last_seq + 1 } else { segment.header.base_seq };
        let mut reader =
            SegmentReader::new(&segment, end.offset, known.map_or(u64::MAX, |known| known.offset));
        let (mut commits, mut shown, mut reached) = (Commits::default(), Shown::default(), end);
        // A whole record is not on its way: if it does not belong here, it never will.
        let (bad_offset, found, whole) = loop {
            let (offset, record) = match reader.next()? {
                Next::Record(offset, record) => (offset, record),
                Next::End(offset, bad) => break (offset, bad.to_string(), false),
            };
            if record.seq != expected {
                break (offset, format!("sequence {} where {expected} comes next", record.seq), true);
            }
            let location = Location::new(segment.id(), offset);
            if let Err(found) = commits.accept(&record, location, |_, change| shown.changes.push(change)) {
                break (offset, found, true);
            }
            expected += 1;
            if record.kind == Kind::Footer {
                self.writing.log.footers.push(record.seq);
            }
            if commits.is_whole() {
                reached = LogEnd { offset: offset + record.size(), last_seq: record.seq, ..end };
                if !record.kind.is_beside() {
                    shown.last_commit = record.seq;
                }
                if shown.changes.len() >= SHOWN_TOGETHER {
                    self.show(&segment, reached, &mut shown)?;
                }
            }
        };
        // The changes of a batch are passed on when it is whole.
        self.show(&segment, reached, &mut shown)?;
        self.confirm(commits.watermark);
        match known {
            _ if whole => Err(broken(&segment, bad_offset, found)),
            Some(known) if known != reached => Err(broken(&segment, bad_offset, found)),
            Some(_) => Ok(()),
            None => self.rule_out_damage(&segment, bad_offset, found),
        }
    }

    /// Shows commits to readers, up to `end`.
    fn show(&mut self, segment: &Arc<Segment>, end: LogEnd, shown: &mut Shown) -> Result<()> {
        let before = self.writing.log.end;
        if before == end {
            return Ok(());
        }
        segment.show_up_to(end.offset);
        segment.count_appended(end.offset - before.offset);
        self.writing.log.end = end;
        if let Some(last) = self.writing.log.entries.last_mut() {
            last.end = Some(end);
        }
        if !shown.changes.is_empty() {
            self.followed()?.last_commit = shown.last_commit;
            let absorbed = self.shared.absorb(self.writing, before, |state| shown.change(state))?;
            if let Some((live, segments)) = absorbed {
                segment.count_live(live);
                let width = segment.header.key.width();
                segment
                    .count_tombstone(shown.changes.iter().map(|change| change.tombstone_bytes(width)).sum());
                self.shared.count_dead(&segments, &shown.dead);
            }
            shown.changes.clear();
        }
        self.shared.watermarks.reached(end.last_seq);
        Ok(())
    }

    /// Everything up to the watermark is on the device.
    fn confirm(&self, watermark: u64) {
        let watermarks = &self.shared.watermarks;
        let durable = watermark.min(watermarks.last());
        if durable > watermarks.durable() {
            watermarks.made_durable(durable);
        }
    }

    /// A record that is not whole was not committed yet, unless the device has confirmed something behind it.
    fn rule_out_damage(&mut self, segment: &Arc<Segment>, bad_offset: u64, found: String) -> Result<()> {
        let end = self.writing.log.end;
        let before = self.followed()?.stalled.take();
        if segment.is_unwritten(bad_offset)? {
            return Ok(());
        }
        if let Some((place, at)) = before
            && place == end
            && at.elapsed() < STALLED_FOR
        {
            self.followed()?.stalled = before;
            return Ok(());
        }
        for _ in 0..UNFINISHED_LOOKS {
            std::thread::sleep(BETWEEN_UNFINISHED);
            if matches!(SegmentReader::new(segment, bad_offset, u64::MAX).next()?, Next::Record(..)) {
                // It is whole now. The next call takes it up.
                return Ok(());
            }
        }
        if watermark_beyond(segment, bad_offset, end.last_seq)?.watermark > end.last_seq {
            // The bytes may have come between the two looks.
            if !matches!(SegmentReader::new(segment, bad_offset, u64::MAX).next()?, Next::Record(..)) {
                return Err(broken(segment, bad_offset, found));
            }
            return Ok(());
        }
        self.followed()?.stalled = Some((end, Instant::now()));
        Ok(())
    }

    /// Where the log goes on behind the handle's end of it.
    fn onward(&mut self, manifest: &Manifest) -> Result<Onward> {
        let end = self.writing.log.end;
        let (disk, read_mode) = (&self.shared.disk, self.shared.options.read_mode);
        let segment = if let Some(entry) = manifest.segments.iter().find(|entry| entry.segment > end.segment)
        {
            Segment::open(disk, entry.segment, Access::Read, read_mode)?
        } else if let Some(spare) = manifest.spare.filter(|spare| spare.segment > end.segment) {
            if let Some(next) = &self.followed()?.next
                && next.segment.id() == spare.segment
                && next.is_unwritten()?
            {
                return Ok(Onward::Ends);
            }
            let unbegun = SegmentHeader::unbegun(manifest, spare);
            let (segment, begun) = Segment::open_spare(disk, unbegun, Access::Read, read_mode)?;
            if !begun {
                let first_page = segment.first_page(read_mode);
                self.followed()?.next = Some(Unbegun { segment, first_page });
                return Ok(Onward::Ends);
            }
            segment
        } else {
            self.followed()?.next = None;
            return Ok(Onward::Ends);
        };
        self.followed()?.next = None;
        let found = segment.header.predecessor;
        if segment.header.store_id != manifest.store_id || segment.header.origin == Origin::Relocation {
            let expected = format!("a segment of this store that follows segment {}", end.segment);
            return Err(segment.other_than(expected, "another one".to_owned()));
        }
        if found == end {
            return Ok(Onward::In(Arc::new(segment)));
        }
        if found.segment == end.segment && found.offset > end.offset {
            // A mirror gets no more of a segment that was freed meanwhile.
            if !manifest.lists(end.segment) && mirror::is_on(&**disk)? {
                return Ok(Onward::Elsewhere);
            }
            // Whoever wrote that header had everything before it in place.
            let Some(before) = self.segment(end.segment)? else { return Ok(Onward::Elsewhere) };
            self.drain(None)?;
            if self.writing.log.end == found {
                return Ok(Onward::In(Arc::new(segment)));
            }
            let found = format!("none, and the log goes on in segment {}", segment.id());
            return Err(broken(&before, self.writing.log.end.offset, found));
        }
        Ok(Onward::Elsewhere)
    }

    /// Goes on in the next segment.
    fn enter(&mut self, segment: &Arc<Segment>) -> Result<()> {
        let shared = self.shared;
        segment.show_up_to(SEGMENT_HEADER_BYTES);
        segment.read_nothing_ahead()?;
        if let Some(ended) = self.segment(self.writing.log.end.segment)? {
            let held = shared.read_parts()?.segments.iter().count();
            keep_open(&ended, held, &shared.options)?;
        }
        shared.write_state()?.add_segment(Arc::clone(segment));
        shared.disk.grew(segment.header.capacity);
        let segments = Arc::clone(&shared.read_parts()?.segments);
        shared.asks_ahead.look(&segments);
        let log = &mut self.writing.log;
        log.end = LogEnd { segment: segment.id(), offset: SEGMENT_HEADER_BYTES, last_seq: log.end.last_seq };
        log.entries.push(Entry { segment: segment.id(), end: Some(log.end), after_gap: false });
        self.confirm(segment.header.watermark);
        Ok(())
    }

    /// Reads the index, which is built anew if it is damaged.
    fn indexed<T>(&mut self, read: impl Fn(&State) -> Result<T, Damaged>) -> Result<T> {
        loop {
            let found = read(&*self.shared.read_state()?);
            if let Ok(found) = found {
                return Ok(found);
            }
            let end = self.writing.log.end;
            self.shared.rebuild_index(self.writing, end)?;
        }
    }

    /// Moves to where the writer has moved them the records of segments that `manifest` no longer lists, and does without
    /// those segments. Returns false if a record that the index points to is nowhere else, or if the index was rebuilt
    /// meanwhile: from the files of `before`, it may point into segments of which a pass had found that it does not.
    fn do_without_freed(&mut self, before: &Manifest, manifest: &Manifest) -> Result<bool> {
        let (shared, end) = (self.shared, self.writing.log.end);
        let rebuilds = self.writing.images.rebuilds;
        let mut listed = manifest.file_set();
        listed.insert(end.segment);
        let segments = Arc::clone(&shared.read_state()?.segments);
        let freed: Vec<Arc<Segment>> =
            segments.iter().filter(|it| !listed.contains(&it.id())).cloned().collect();
        let mut copies = Vec::new();
        for relocation in &manifest.relocations {
            let segment = match segments.get(relocation.segment) {
                Some(known) => Arc::clone(known),
                None => Arc::new(self.open_relocation(relocation.segment, manifest)?),
            };
            copies.push((segment, *relocation));
        }
        let mut pointed = HashMap::new();
        for segment in &freed {
            // Of very many it is cheaper to start from an image than to find each.
            if pointed.len() > MOST_MOVED || !self.still_pointed_to(segment, before, &mut pointed)? {
                return Ok(false);
            }
        }
        let mut moves = Vec::new();
        // The newest are the likeliest.
        for (segment, relocation) in copies.iter().rev() {
            if pointed.is_empty() {
                break;
            }
            let mut reader = SegmentReader::new(segment, SEGMENT_HEADER_BYTES, relocation.end);
            while let Next::Record(offset, record) = reader.next()? {
                let same = |old: &&(u64, Location)| record.kind == Kind::Put && old.0 == record.seq;
                if let Some(&(_, from)) = pointed.get(&record.key).filter(same) {
                    pointed.remove(&record.key);
                    moves.push((record.key, from, Location::new(segment.id(), offset), record.size()));
                }
            }
        }
        if !pointed.is_empty() {
            return Ok(false);
        }
        for (segment, relocation) in copies.iter().filter(|(segment, _)| segments.get(segment.id()).is_none())
        {
            segment.count_appended(relocation.end.saturating_sub(SEGMENT_HEADER_BYTES));
            shared.write_state()?.add_segment(Arc::clone(segment));
        }
        for moves in moves.chunks(SHOWN_TOGETHER) {
            self.move_to_copies(moves, &copies)?;
        }
        if self.writing.images.rebuilds != rebuilds {
            return Ok(false);
        }
        let freed: Vec<u32> = freed.iter().map(|segment| segment.id()).collect();
        omit(&mut self.writing.log.entries, &freed);
        shared.write_state()?.remove_segments(&freed);
        Ok(true)
    }

    fn open_relocation(&self, id: u32, manifest: &Manifest) -> Result<Segment> {
        let options = &self.shared.options;
        let segment = Segment::open(&self.shared.disk, id, Access::Read, options.read_mode)?;
        if segment.header.store_id != manifest.store_id || segment.header.origin != Origin::Relocation {
            let found = "another one".to_owned();
            return Err(segment.other_than("a segment of relocated records of this store".to_owned(), found));
        }
        keep_open(&segment, self.shared.read_parts()?.segments.iter().count(), options)?;
        Ok(segment)
    }

    /// Adds the records of a segment that the index points to: for each key, its sequence number and location. Returns
    /// false if not all records can be read.
    fn still_pointed_to(
        &mut self,
        segment: &Arc<Segment>,
        before: &Manifest,
        pointed: &mut HashMap<Key, (u64, Location)>,
    ) -> Result<bool> {
        let id = segment.id();
        let relocated = before.relocations.iter().find(|it| it.segment == id).map(|it| it.end);
        let logged = self.writing.log.entries.iter().find(|it| it.segment == id);
        let Some(end) = relocated.or_else(|| logged?.end.map(|end| end.offset)) else { return Ok(false) };
        let mut reader = SegmentReader::new(segment, SEGMENT_HEADER_BYTES, end);
        let (mut keys, mut records) = (KeyVec::default(), Vec::new());
        loop {
            let at_end = match reader.next()? {
                Next::Record(offset, record) => {
                    if record.kind.is_put() {
                        keys.push(record.key);
                        records.push((record.seq, Location::new(id, offset)));
                    }
                    false
                }
                Next::End(..) => true,
            };
            if keys.len() == SHOWN_TOGETHER || at_end {
                let found = self.indexed(|state| {
                    let mut found = vec![None; keys.len()];
                    state.index.get_many(keys.as_keys(), |i, location| found[i] = location)?;
                    Ok(found)
                })?;
                for ((key, record), found) in keys.iter().zip(records.drain(..)).zip(found) {
                    if found == Some(record.1.0) {
                        pointed.insert(key, record);
                    }
                }
                keys.clear();
            }
            if at_end {
                return Ok(reader.is_at_limit());
            }
        }
    }

    fn move_to_copies(
        &mut self,
        moves: &[(Key, Location, Location, u64)],
        copies: &[(Arc<Segment>, manifest::Relocation)],
    ) -> Result<()> {
        let mut bytes_moved = vec![0; copies.len()];
        let outcome = {
            let mut state = self.shared.write_state()?;
            moves.iter().try_for_each(|&(key, from, to, size)| {
                if state.index.replace_if(key, from.0, to.0)?
                    && let Some(at) = copies.iter().position(|(segment, _)| segment.id() == to.segment())
                {
                    bytes_moved[at] += size;
                }
                Ok(())
            })
        };
        if let Err(Damaged) = outcome {
            // The handle starts afresh, but versions need the index as it is.
            let end = self.writing.log.end;
            return self.shared.rebuild_index(self.writing, end);
        }
        for ((segment, _), bytes) in copies.iter().zip(bytes_moved) {
            segment.count_live(bytes);
        }
        Ok(())
    }

    /// Reads the store as if it was opened now. Versions keep what they see.
    fn start_afresh(&mut self, catalog: &mut Catalog) -> Result<()> {
        let shared = self.shared;
        let recovered = recover_beside_writer(&shared.disk, &shared.path, &shared.options, &mut |_| true)?;
        let Recovered {
            state: fresh, log, manifest, last_commit, tail_bytes, durable_seq, uncounted, ..
        } = recovered;
        let (seen, has) = (self.followed()?.last_commit, log.end.last_seq);
        if has < seen || manifest.store_id != shared.opened.store_id {
            return Err(Error::Format {
                path: shared.path.clone(),
                problem: format!(
                    "ends at sequence {has}, and this handle has seen {seen}: it was replaced, or cut back before \
                     damage; close this handle and open the store again (nothing was changed)"
                ),
            });
        }
        // The log has gone on above that number, but without what this handle has seen.
        if manifest.cuts.took(seen) {
            return Err(Error::Format {
                path: shared.path.clone(),
                problem: format!(
                    "was cut back before damage, and what this handle has seen last, sequence {seen}, may be gone; \
                     close this handle and open the store again (nothing was changed)"
                ),
            });
        }
        self.writing.images = Images::new(&manifest.images, tail_bytes, shared.options.checkpoint_tail_bytes);
        self.writing.log = log;
        catalog.manifest = manifest.clone();
        self.writing.followed = Some(Followed::new(manifest, last_commit.max(seen)));
        shared.damaged_images.lock().clear();
        let old = {
            let _counting = shared.uncounted.counting();
            let mut state = shared.write_state()?;
            drop(shared.uncounted.take());
            shared.uncounted.add(uncounted);
            state.replace(fresh, has)
        };
        drop(old);
        // A footer that the handle has seen may be gone, since recovery does not write it again.
        shared.watermarks.reached(has.max(shared.watermarks.last()));
        self.confirm(durable_seq);
        Ok(())
    }
}

impl Shown {
    /// Applies the changes to the index. Returns the bytes of records that became live.
    fn change(&mut self, state: &mut State) -> Result<u64, Damaged> {
        let Self { changes, keys, locations, dead, range, .. } = self;
        dead.clear();
        let mut live = 0;
        for run in changes.chunk_by(|a, b| matches!((a, b), (Change::Put { .. }, Change::Put { .. }))) {
            match run[0] {
                Change::Delete { key } => dead.extend(state.delete(key)?),
                Change::DeleteRange { first, last } => state.delete_range_with(first, last, dead, range)?,
                Change::Put { key, location, size } if run.len() == 1 => {
                    live += size;
                    dead.extend(state.put(key, location)?);
                }
                Change::Put { .. } => {
                    keys.clear();
                    locations.clear();
                    for put in run {
                        if let Change::Put { key, location, size } = *put {
                            live += size;
                            keys.push(key);
                            locations.push(location.0);
                        }
                    }
                    state.put_many(keys.as_keys(), locations, dead)?;
                }
            }
        }
        Ok(live)
    }
}

/// The error for records that are not there although the log goes on behind them.
fn broken(segment: &Segment, offset: u64, found: String) -> Error {
    segment.unexpected(offset, "a whole record, since the log goes on behind it".to_owned(), found)
}
