//! What compaction can work on: segments that take no more records and are on the device, and how much each
//! would gain. Knows nothing of how segments are emptied. O(segments).

use std::sync::Arc;

use crate::engine::compaction_state::Compaction;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::format::header::Origin;
use crate::format::location::Location;
use crate::format::manifest::Relocation;
use crate::format::record::MARK_BYTES;
use crate::keys::Packed;
use crate::log::segment::{Counts, Segment};
use crate::operation::Operation;

/// Called with the number of bytes handled since the last call. May sleep; ends the unit by returning an
/// error.
pub(crate) type Pace<'a> = dyn FnMut(u64) -> Result<()> + 'a;

/// What compaction looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Segments with overwritten or deleted values.
    Values,
    /// Segments with tombstones, which may no longer hide anything.
    Tombstones,
}

/// A segment that takes no more records and is on the device.
pub(crate) struct Input {
    pub(crate) segment: Arc<Segment>,
    pub(crate) counts: Counts,
    pub(crate) end: u64,
    /// Records above this sequence number do not count.
    pub(crate) last_seq: u64,
}

impl Input {
    /// Bytes of its records.
    pub(crate) fn bytes(&self) -> u64 {
        self.counts.total
    }

    /// Bytes of records that neither the index nor a deletion needs, and no value that is in use.
    pub(crate) fn dead(&self) -> u64 {
        let in_use = self.segment.header.origin == Origin::Relocation && self.counts.live > 0;
        let dictionary = if in_use { self.segment.dictionary_bytes() } else { 0 };
        let kept = self.counts.live + self.counts.tombstones + MARK_BYTES + dictionary;
        self.counts.total.saturating_sub(kept)
    }

    /// Whether nothing in it is in use, except for tombstones that may still be needed.
    pub(crate) fn is_wholly_dead(&self) -> bool {
        self.counts.live == 0 && self.dead() * 2 > self.counts.total && !self.segment.is_pinned()
    }

    pub(crate) fn gain(&self, phase: Phase) -> f64 {
        let gain = match phase {
            Phase::Tombstones if self.counts.tombstones > 0 => self.dead() + self.counts.tombstones,
            Phase::Tombstones => 0,
            Phase::Values => self.dead(),
        };
        gain as f64 / self.counts.total.max(1) as f64
    }
}

impl Shared {
    /// Every segment that could be compacted: ended, durable, not damaged, and not waiting to be freed.
    pub(crate) fn inputs(&self, compaction: &Compaction) -> Vec<Input> {
        let relocations = self.catalog.lock().manifest.relocations.clone();
        let entries = self.writing.lock().log.entries.clone();
        let durable = self.watermarks.durable();
        self.count_replaced();
        let segments = Arc::clone(&self.state.read().segments);
        // The last segment of the log stays, since it says where the log ends.
        let ended = entries.split_last().map_or(&[][..], |(_, ended)| ended);
        let log = ended.iter().filter_map(|entry| entry.end).filter(|end| end.last_seq <= durable);
        log.map(|end| (end.segment, end.offset, u64::MAX))
            .chain(relocations.iter().map(|it: &Relocation| (it.segment, it.end, it.last_seq)))
            .filter(|(id, ..)| !compaction.damaged.contains_key(id))
            .filter(|(id, ..)| !compaction.emptied.iter().any(|emptied| emptied.holds(*id)))
            .filter_map(|(id, end, last_seq)| {
                let segment = Arc::clone(segments.get(id)?);
                Some(Input { counts: segment.counts(), segment, end, last_seq })
            })
            .collect()
    }
}

/// Bytes that the index does not point to, and all bytes.
pub(crate) fn dead_of(inputs: &[Input]) -> (u64, u64) {
    let total: u64 = inputs.iter().map(|input| input.counts.total).sum();
    let live: u64 = inputs.iter().map(|input| input.counts.live).sum();
    (total.saturating_sub(live), total)
}

/// A record that the index pointed to when it was looked up.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    pub(crate) key: Packed,
    pub(crate) seq: u64,
    pub(crate) from: Location,
    pub(crate) bytes: u64,
    /// Where in its segment the dictionary of its value is; 0 for none.
    pub(crate) by: u32,
}

/// Whether bytes differ from what was written, or can no longer be read, so that another attempt would not
/// help.
pub(crate) fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corruption { .. } => true,
        Error::Io { source, operation: Operation::Read | Operation::Open, .. } => {
            source.raw_os_error() == Some(libc::EIO)
        }
        _ => false,
    }
}
