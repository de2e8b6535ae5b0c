//! One unit of compaction. What is needed of a few segments is copied, in key order, into one relocation
//! segment, which is synced and listed before the index moves. The index then moves key by key, except for
//! keys that changed meanwhile, until nothing points into the old segments any more. Knows nothing of why
//! these segments were chosen, nor of when they are removed. O(bytes of the segments).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::compaction::inputs::{Input, Live, Pace, is_damage};
use crate::compaction::recompress::Recompress;
use crate::compaction::relocation_writer::{Plan, RelocationWriter};
use crate::compaction::tombstones::{PACED_BYTES, Tombstone, mark_needed};
use crate::engine::compaction_state::{Compaction, Emptied};
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::format::compressed::Compressed;
use crate::format::header::SEGMENT_HEADER_BYTES;
use crate::format::location::Location;
use crate::format::manifest::{NotWritten, Relocation};
use crate::format::record::{Body, Kind, Record};
use crate::keys::{Key, KeyVec, Packed};
use crate::log::append::Failure;
use crate::log::reader::{Next, SegmentReader};
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::room::{filled, room, with_room};

/// Keys looked up, or moved, under one hold of a lock: takes some tens of microseconds.
const STEP_KEYS: usize = 256;

/// The outcome of copying a unit.
enum Copied {
    /// There was nothing to copy.
    Nothing,
    /// The id of the segment that holds the copies.
    Into(u32),
    /// A record that was whole a moment ago no longer is. Its segment is kept.
    Damaged,
}

/// What a unit found in its inputs.
#[derive(Default)]
struct Gathered {
    live: Vec<Live>,
    tombstones: Vec<Tombstone>,
}

/// Where the record of a key was copied from and to.
struct Move {
    key: Packed,
    from: Location,
    to: Location,
    /// Bytes of both records.
    bytes: (u64, u64),
}

impl Shared {
    /// Moves what is needed out of the chosen segments, and frees them if nothing else needs them. Returns
    /// the id of the segment that holds it now.
    pub(crate) fn empty(
        &self,
        compaction: &mut Compaction,
        chosen: Vec<Input>,
        pace: &mut Pace<'_>,
    ) -> Result<Option<u32>> {
        let (rebuilds, gathered_from) = {
            let writing = self.writing.lock();
            (writing.images.rebuilds, writing.log.end.last_seq)
        };
        let (inputs, mut gathered) = self.gather(compaction, chosen, pace)?;
        self.mark_needed_tombstones(compaction, &inputs, &mut gathered.tombstones, pace)?;
        let written = match self.relocate(compaction, &mut gathered, gathered_from, pace)? {
            Copied::Nothing => None,
            Copied::Into(id) => Some(id),
            Copied::Damaged => return Ok(None),
        };
        if self.anything_points_to(&gathered.live, pace)? {
            // An index that was rebuilt may point to where records were before they were moved.
            debug_assert!(self.writing.lock().images.rebuilds > 0, "every record in use was copied");
            return Ok(written);
        }
        let segments = inputs.into_iter().map(|input| input.segment).collect();
        let (seq, tick) = {
            // A commit that the pass saw in the index is in the log.
            let writing = self.writing.lock();
            (writing.log.end.last_seq, writing.images.tick())
        };
        compaction.emptied.push(Emptied { segments, seq, tick, rebuilds });
        self.free_emptied(compaction)?;
        Ok(written)
    }

    /// Reads and checks every record of the chosen segments. A segment with a bad record is left out and kept
    /// as it is, so that its other records can still be read.
    fn gather(
        &self,
        compaction: &mut Compaction,
        chosen: Vec<Input>,
        pace: &mut Pace<'_>,
    ) -> Result<(Vec<Input>, Gathered)> {
        let mut gathered = Gathered::default();
        let mut inputs = Vec::new();
        for input in chosen {
            let (live, tombstones) = (gathered.live.len(), gathered.tombstones.len());
            match self.gather_one(&input, &mut gathered, pace) {
                Ok(()) => inputs.push(input),
                Err(error) if is_damage(&error) => {
                    gathered.live.truncate(live);
                    gathered.tombstones.truncate(tombstones);
                    self.keep_damaged(compaction, &input.segment, &error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((inputs, gathered))
    }

    fn keep_damaged(&self, compaction: &mut Compaction, segment: &Segment, error: &Error) {
        compaction.damaged.insert(segment.id(), error.to_string());
        self.compacting.totals.damaged_segments.store(compaction.damaged.len() as u64, Ordering::Relaxed);
    }

    fn gather_one(&self, input: &Input, gathered: &mut Gathered, pace: &mut Pace<'_>) -> Result<()> {
        let mut step = with_room(STEP_KEYS)?;
        each_record(input, pace, |offset, record| {
            match record.kind {
                Kind::Put | Kind::BatchPut => step.push(Live {
                    key: record.key.into(),
                    seq: record.seq,
                    from: Location::new(input.segment.id(), offset),
                    bytes: record.size(),
                    by: Compressed::of(record.value).filter(|_| record.compressed).map_or(0, |it| it.place),
                }),
                Kind::Tombstone | Kind::BatchTombstone => {
                    room(&mut gathered.tombstones, 1)?;
                    gathered.tombstones.push(Tombstone {
                        first: record.key,
                        last: record.key,
                        seq: record.seq,
                        bytes: record.size(),
                        single: true,
                        needed: false,
                    });
                }
                Kind::RangeTombstone | Kind::BatchRangeTombstone => {
                    if let Some(last) = record.last_key() {
                        let (first, seq) = (record.key, record.seq);
                        room(&mut gathered.tombstones, 1)?;
                        gathered.tombstones.push(Tombstone {
                            first,
                            last,
                            seq,
                            bytes: record.size(),
                            single: false,
                            needed: false,
                        });
                    }
                }
                Kind::BatchBegin | Kind::BatchCommit | Kind::Mark | Kind::Footer | Kind::Dictionary => {}
            }
            if step.len() == STEP_KEYS {
                self.keep_live(&mut step, &mut gathered.live)?;
            }
            Ok(())
        })?;
        self.keep_live(&mut step, &mut gathered.live)
    }

    /// Moves the records of `step` that the index points to into `live`.
    fn keep_live(&self, step: &mut Vec<Live>, live: &mut Vec<Live>) -> Result<()> {
        let mut keys = KeyVec::default();
        keys.room(step.len())?;
        for it in step.iter() {
            keys.push(it.key.into());
        }
        let mut points_here = filled(false, keys.len())?;
        self.mending(|| {
            let state = self.read_state()?;
            Ok(state
                .index
                .get_many(keys.as_keys(), |i, found| points_here[i] = found == Some(step[i].from.0))?)
        })?;
        room(live, step.len())?;
        live.extend(step.drain(..).zip(points_here).filter_map(|(it, here)| here.then_some(it)));
        Ok(())
    }

    /// Marks the tombstones that hide an older put in a segment that stays. Counts those that only pinned or
    /// emptied segments need, since those go as soon as nobody holds them.
    fn mark_needed_tombstones(
        &self,
        compaction: &mut Compaction,
        inputs: &[Input],
        tombstones: &mut [Tombstone],
        pace: &mut Pace<'_>,
    ) -> Result<()> {
        if tombstones.is_empty() {
            return Ok(());
        }
        // Every existing segment, and how far it counts. What is written later is newer.
        let relocations = self.catalog.lock().manifest.relocations.clone();
        let entries = self.writing.lock().log.entries.clone();
        let segments = Arc::clone(&self.read_state()?.segments);
        let others = entries
            .iter()
            .filter_map(|entry| entry.end)
            .map(|end| (end.segment, end.offset))
            .chain(relocations.iter().map(|it| (it.segment, it.end)))
            .filter(|(id, _)| !inputs.iter().any(|input| input.segment.id() == *id))
            .filter_map(|(id, end)| Some((segments.get(id)?, end)));
        let is_held = |segment: &Segment| {
            segment.is_pinned() || compaction.emptied.iter().any(|emptied| emptied.holds(segment.id()))
        };
        let (held, stay): (Vec<_>, Vec<_>) = others.partition(|(segment, _)| is_held(segment));
        let mut mark = |compaction: &mut Compaction, among: &[(&Arc<Segment>, u64)]| -> Result<u64> {
            for (segment, end) in among {
                if let Some(error) = mark_needed(tombstones, segment, *end, pace)? {
                    self.keep_damaged(compaction, segment, &error);
                }
            }
            Ok(tombstones.iter().filter(|tombstone| tombstone.needed).map(|tombstone| tombstone.bytes).sum())
        };
        let needed = mark(compaction, &stay)?;
        compaction.held += mark(compaction, &held)? - needed;
        Ok(())
    }

    /// Copies what is needed into a new segment and moves the index there. Each value in `gathered` was in use at some
    /// moment after the commit `gathered_from`.
    fn relocate(
        &self,
        compaction: &mut Compaction,
        gathered: &mut Gathered,
        gathered_from: u64,
        pace: &mut Pace<'_>,
    ) -> Result<Copied> {
        let Gathered { live, tombstones } = gathered;
        tombstones.retain(|tombstone| tombstone.needed);
        if live.is_empty() && tombstones.is_empty() {
            return Ok(Copied::Nothing);
        }
        // In key order, so that scans read sequentially.
        live.sort_unstable_by_key(|it| Key::from(it.key));
        let segments = Arc::clone(&self.read_state()?.segments);
        let mut recompress = self.recompress(live, &segments)?;
        let id = self.catalog.lock().next_segment(&*self.disk)?;
        let bytes =
            live.iter().map(|it| it.bytes).chain(tombstones.iter().map(|tombstone| tombstone.bytes)).sum();
        let seqs = live.iter().map(|it| it.seq).chain(tombstones.iter().map(|it| it.seq));
        let plan = Plan {
            id,
            store_id: self.opened.store_id,
            key: self.opened.schema.key,
            compression: self.opened.schema.compression,
            bytes: bytes + recompress.dictionary_bytes,
            first_seq: seqs.min().unwrap_or(0),
            watermark: self.watermarks.durable(),
        };
        let give_up = || {
            // Nothing refers to the file. If this fails too, the next opening removes it as an orphan.
            let _ = self.disk.remove(&Segment::name(id));
        };
        let begun = RelocationWriter::begin(&self.disk, &plan, &self.options);
        let copied = begun.and_then(|mut writer| {
            let copied = self.copy(&mut writer, &mut recompress, (live, &segments), tombstones, pace)?;
            let dictionary = recompress.by().and_then(|by| Some((by, writer.location_of(by)?)));
            Ok(match copied {
                Ok(moves) => Ok((moves, writer.seal()?, dictionary)),
                Err(damage) => Err(damage),
            })
        });
        let (moves, (segment, listed), dictionary) = match copied {
            Ok(Ok(copied)) => copied,
            Ok(Err((damaged, error))) => {
                give_up();
                self.keep_damaged(compaction, &damaged, &error);
                return Ok(Copied::Damaged);
            }
            Err(error) => {
                give_up();
                return Err(self.health.after(Failure::of(error)));
            }
        };
        // What was deleted by then was not in use, and was not gathered.
        let _ = segment.nothing_deleted_to.set(gathered_from);
        self.publish_relocation(&segment, listed).inspect_err(|failure| {
            if !failure.maybe_there {
                give_up();
            }
        })?;
        if let Some((by, at)) = dictionary {
            self.compressor.was_placed(by, at, false);
        }
        self.move_index(&segment, &moves)?;
        self.compacting.totals.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Copied::Into(id))
    }

    /// Writes the records, each checked again as it is read. Returns the segment of a damaged record, if
    /// there is one.
    #[allow(clippy::type_complexity, reason = "made and taken apart in one place")]
    fn copy(
        &self,
        writer: &mut RelocationWriter,
        recompress: &mut Recompress,
        (live, segments): (&[Live], &Segments),
        tombstones: &[Tombstone],
        pace: &mut Pace<'_>,
    ) -> Result<Result<Vec<Move>, (Arc<Segment>, Error)>> {
        let mut moves = with_room(live.len())?;
        let mut unpaced = 0;
        for &Live { key, from, bytes, .. } in live {
            let source = segments.at(from)?;
            let copied = source.with_put(from.offset(), key.into(), |put| {
                recompress.put(writer, source, from.offset(), put)
            });
            let (to, new_bytes) = match copied {
                Err(error) if is_damage(&error) => return Ok(Err((Arc::clone(source), error))),
                copied => copied?,
            };
            moves.push(Move { key, from, to, bytes: (bytes, new_bytes) });
            unpaced += bytes;
            if unpaced >= PACED_BYTES {
                pace(std::mem::take(&mut unpaced))?;
            }
        }
        let width = self.opened.schema.key.width();
        for it in tombstones {
            if it.single {
                writer.push(Kind::Tombstone, it.seq, it.first, Body::from(&[]))?;
            } else {
                writer.push(
                    Kind::RangeTombstone,
                    it.seq,
                    it.first,
                    Body::from(&width.last_key(it.last)[..]),
                )?;
            }
        }
        pace(unpaced)?;
        Ok(Ok(moves))
    }

    /// Lists a sealed relocation segment in both copies of the manifest, then lets readers find it.
    fn publish_relocation(&self, segment: &Arc<Segment>, listed: Relocation) -> Result<(), NotWritten> {
        let mut catalog = self.catalog.lock();
        let durable = self.watermarks.durable();
        debug_assert!(listed.last_seq <= durable, "only what is durable is relocated");
        self.update_manifest(&mut catalog, |next| {
            // Its records lack the markers of their batches, all of which are on the device.
            next.committed_seq = next.committed_seq.max(durable);
            next.relocations.push(listed);
        })?;
        self.asks_ahead.tell(segment);
        let mut state = self.write_state().map_err(|error| NotWritten { error, maybe_there: true })?;
        state.add_segment(Arc::clone(segment));
        Ok(())
    }

    /// Points the index at the copies, a few keys at a time, except for keys that changed meanwhile.
    fn move_index(&self, segment: &Arc<Segment>, moves: &[Move]) -> Result<()> {
        // The log does not record these moves, so they must not happen while an image is being written.
        let _no_image = self.maintenance.lock();
        // If an image turns out to be damaged, the index is rebuilt as it was before the first move.
        self.mending(|| self.move_all(segment, moves))
    }

    fn move_all(&self, segment: &Arc<Segment>, moves: &[Move]) -> Result<()> {
        let _whole = self.health.in_one_piece("moving records");
        for step in moves.chunks(STEP_KEYS) {
            // With the commit lock, so that commits and checkpoints see counts that match the index.
            let _writing = self.writing.lock();
            let mut state = self.write_state()?;
            let segments = Arc::clone(&state.segments);
            for &Move { key, from, to, bytes } in step {
                if state.index.replace_if(key.into(), from.0, to.0)? {
                    segment.count_live(bytes.1);
                    if let Some(from) = segments.get(from.segment()) {
                        from.count_dead(bytes.0);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the index points to any of these records. Together with the records that were unused when they
    /// were read, they are all records of their segments: this is a pass over the records and never relies on
    /// counters. A record that the index does not point to is never used again, since nothing is ever pointed
    /// at an old record.
    fn anything_points_to(&self, records: &[Live], pace: &mut Pace<'_>) -> Result<bool> {
        let (mut step, mut live) = (Vec::with_capacity(STEP_KEYS), Vec::new());
        for some in records.chunks(STEP_KEYS) {
            step.extend_from_slice(some);
            self.keep_live(&mut step, &mut live)?;
            pace(0)?;
        }
        Ok(!live.is_empty())
    }
}

/// Passes every record of a segment that counts to `each`, checked. A bad record is an error.
fn each_record(
    input: &Input,
    pace: &mut Pace<'_>,
    mut each: impl FnMut(u64, &Record<'_>) -> Result<()>,
) -> Result<()> {
    let mut reader = SegmentReader::new(&input.segment, SEGMENT_HEADER_BYTES, input.end);
    let mut paced = SEGMENT_HEADER_BYTES;
    loop {
        match reader.next()? {
            Next::Record(_, record) if record.seq > input.last_seq => {}
            Next::Record(offset, record) => {
                each(offset, &record)?;
                if offset - paced >= PACED_BYTES {
                    pace(offset - paced)?;
                    paced = offset;
                }
            }
            Next::End(offset, _) if offset == input.end => break,
            Next::End(offset, bad) => return Err(input.segment.damaged(offset, bad)),
        }
    }
    pace(input.end - paced)
}
