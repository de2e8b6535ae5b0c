//! The end of recovery: records that the device never confirmed are written again to a new segment and
//! flushed, and the old log ends before them. They may have been read from the page cache only, where pages
//! that a failed flush lost look clean. Knows nothing of how the end of the log was found. O(bytes that are
//! not proven).

use std::sync::Arc;

use crate::disk::Disk;
use crate::engine::catalog::{LogFacts, reserve_spare};
use crate::engine::state::State;
use crate::error::{Error, Result};
use crate::format::compressed::Compressed;
use crate::format::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES};
use crate::format::location::Location;
use crate::format::manifest::Manifest;
use crate::format::record::{Body, Kind, Record};
use crate::log::append::{Log, Trim};
use crate::log::dictionaries::Loaded;
use crate::log::reader::{Next, SegmentReader};
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::options::Options;
use crate::recovery::chain::Chain;
use crate::schema::Compression;

/// Writes the records between `proven` and `reached` again.
pub(crate) struct Rewrite<'r> {
    pub(crate) disk: &'r Arc<dyn Disk>,
    pub(crate) options: &'r Options,
    pub(crate) chain: &'r Chain,
    /// Everything up to here is on the device.
    pub(crate) proven: LogEnd,
    /// Everything up to here was accepted.
    pub(crate) reached: LogEnd,
}

impl Rewrite<'_> {
    /// Writes the records again, flushes, and lists the new segments in place of the old end. The records are
    /// read for a second time: unless exactly those that replay accepted are found, this fails, and nothing
    /// that it wrote counts (docs/dev/028).
    pub(crate) fn run(&self, state: &mut State, log: &mut Log, manifest: &mut Manifest) -> Result<()> {
        log.end = self.proven;
        log.entries = self.chain.entries_up_to(self.proven);
        manifest.segments.clone_from(&log.entries);
        manifest.spare = None;
        let mut segments = Segments::default();
        let relocated = self.chain.relocations.iter().map(|(segment, _)| segment);
        let listed = manifest.file_set();
        for kept in self.chain.segments.iter().chain(relocated).filter(|kept| listed.contains(&kept.id())) {
            segments.insert(Arc::clone(kept));
        }
        let mut begin = |log: &mut Log, room: u64| -> Result<()> {
            let facts = LogFacts::of(log);
            log.spare = Some(reserve_spare(self.disk, self.options, manifest, &facts, room, true)?);
            segments.insert(log.roll(self.disk, self.proven.last_seq, Origin::Recovery)?);
            Ok(())
        };
        begin(log, 0)?;
        for (old, from, to) in self.chain.between(self.proven, self.reached) {
            self.write_again(&old, from, to, state, log, &mut begin)?;
        }
        log.write_again()?;
        state.segments = Arc::new(segments);
        for segment in log.unsynced.drain(..).chain(log.active.clone()) {
            segment.sync()?;
        }
        self.list(log, manifest)
    }

    /// Writes the records of one segment. `begin` goes on in a segment with room for the given number of
    /// bytes.
    #[expect(
        clippy::too_many_arguments,
        reason = "a piece of the old log, and all that the new one consists of"
    )]
    fn write_again(
        &self,
        old: &Arc<Segment>,
        from: u64,
        to: u64,
        state: &mut State,
        log: &mut Log,
        begin: &mut dyn FnMut(&mut Log, u64) -> Result<()>,
    ) -> Result<()> {
        let here = old.id() == self.proven.segment && from > SEGMENT_HEADER_BYTES;
        let mut seq = if here { self.proven.last_seq + 1 } else { old.header.base_seq };
        let mut reader = SegmentReader::new(old, from, to);
        let mut ahead = SegmentReader::new(old, from, to);
        while !reader.is_at_limit() {
            // Pages that a failed flush lost may leave memory at any moment: an early end now is not the end
            // of the log.
            let (offset, record) = reader.next_again(seq)?;
            seq += 1;
            old.count_cut(&record);
            let Some(room) = room_for(&record) else { continue };
            let by = needed(old, from, offset, &record, &mut ahead)?;
            let room = room + by.as_ref().map_or(0, |by| by.record_size());
            if !log.has_room(room) {
                log.write_again()?;
                begin(log, room)?;
            }
            if let Some(by) = by {
                log.place_again(&by)?;
            }
            let body = match Compressed::of(record.value).filter(|_| record.compressed) {
                Some(Compressed { place, frame }) => {
                    let place = dictionary(old, from, place)?.map_or(Ok(0), |by| log.place_again(&by))?;
                    Body::Compressed(Compressed { place, frame })
                }
                None => Body::from(record.value),
            };
            let new = log.append_again(record.kind, record.key, body)?;
            let old_location = Location::new(old.id(), offset);
            if record.kind.is_put() && state.index.replace_if(record.key, old_location.0, new.0)? {
                old.count_dead(record.size());
                if let Some(active) = &log.active {
                    active.count_live(record.size());
                }
            }
        }
        Ok(())
    }

    /// Makes the manifest list the log as it is now, and marks the log as proven.
    fn list(&self, log: &mut Log, manifest: &mut Manifest) -> Result<()> {
        manifest.segments.clone_from(&log.entries);
        manifest.watermark = log.end.last_seq;
        manifest.next_seq = manifest.next_seq.max(log.next_seq_bound());
        manifest.clean = false;
        for relocation in &mut manifest.relocations {
            // If the log was cut before damage, relocated records beyond the cut do not count either, now or
            // after any later opening.
            relocation.last_seq = relocation.last_seq.min(self.reached.last_seq);
        }
        manifest.write(&**self.disk)?;
        log.written_again()?;
        log.to_trim.drain(..).for_each(Trim::give_back);
        Ok(())
    }
}

/// The dictionary that a record needs before it; a batch has one for all its values, which must not lie inside it.
/// `ahead` reads from one batch to the next.
fn needed<'o>(
    old: &'o Segment,
    from: u64,
    offset: u64,
    record: &Record<'_>,
    ahead: &mut SegmentReader<'_>,
) -> Result<Option<Loaded<'o>>> {
    let place = |record: &Record<'_>| {
        let value = Compressed::of(record.value).filter(|_| record.compressed);
        value.map_or(0, |value| value.place)
    };
    match record.kind {
        Kind::Put => dictionary(old, from, place(record)),
        Kind::BatchBegin if old.header.compression != Compression::None => {
            ahead.go_to(offset);
            while let Next::Record(_, record) = ahead.next()? {
                if place(&record) != 0 {
                    return dictionary(old, from, place(&record));
                }
                if record.kind == Kind::BatchCommit {
                    break;
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The dictionary at a place of the old log, whose records are written again from the offset `from` on. One before it that is
/// damaged costs its values, as a damaged value there costs itself, and not the store: what takes its place goes into the
/// new log, so that they can be told from others. One behind it was whole when replay read it.
fn dictionary(old: &Segment, from: u64, place: u32) -> Result<Option<Loaded<'_>>> {
    match old.dictionary(place) {
        Err(Error::Corruption { .. }) if u64::from(place) << 3 < from => {
            old.lost_dictionary(place).map(|lost| Some(Loaded::Passing(lost)))
        }
        found => found,
    }
}

/// Room that a segment must have before this record goes in; `None` if the record is not written.
fn room_for(record: &Record<'_>) -> Option<u64> {
    match (record.kind, record.batch()) {
        (Kind::Mark | Kind::Footer | Kind::Dictionary, _) => None,
        // A batch stays in one segment.
        (Kind::BatchBegin, Some(batch)) => Some(batch.bytes.get()),
        (Kind::Put | Kind::Tombstone | Kind::RangeTombstone, _) => Some(record.size()),
        _ => Some(0),
    }
}
