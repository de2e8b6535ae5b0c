//! What compaction carries from one unit to the next, and what it has done so far. Guarded by the first of
//! all locks, so that only one compaction runs at a time. Knows nothing of how compaction works.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::engine::locks::{Guard, Lock, Rank};
use crate::log::segment::Segment;

/// What a compaction has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Segments whose files were removed.
    pub freed_segments: u64,
    /// Bytes of all records in those segments.
    pub freed_bytes: u64,
    /// Bytes of records that were copied.
    pub moved_bytes: u64,
}

/// What compaction has done since the store was opened.
#[derive(Default)]
pub(crate) struct Totals {
    freed_segments: AtomicU64,
    freed_bytes: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
    /// Segments that are kept because a record in them is damaged.
    pub(crate) damaged_segments: AtomicU64,
}

impl Totals {
    pub(crate) fn report(&self) -> CompactReport {
        CompactReport {
            freed_segments: self.freed_segments.load(Ordering::Relaxed),
            freed_bytes: self.freed_bytes.load(Ordering::Relaxed),
            moved_bytes: self.moved_bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn damaged_segments(&self) -> u64 {
        self.damaged_segments.load(Ordering::Relaxed)
    }

    pub(crate) fn freed(&self, bytes: u64) {
        self.freed_segments.fetch_add(1, Ordering::Relaxed);
        self.freed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What compaction carries from one unit to the next.
#[derive(Default)]
pub(crate) struct Compaction {
    /// Dead bytes that the last round had to leave.
    pub(crate) settled: u64,
    /// The part of `settled` that could have been freed if no segment were held: records in a segment that a
    /// backup reads, and tombstones that hide only puts in held segments.
    pub(crate) held: u64,
    /// Segments that hold a damaged record, each with a description of the damage. They are kept.
    pub(crate) damaged: BTreeMap<u32, String>,
    /// Units whose segments nothing points into any more, until they may be freed.
    pub(crate) emptied: Vec<Emptied>,
    pub(crate) not_before: Option<Instant>,
    /// The last sequence number when the background thread last looked.
    pub(crate) seen_seq: u64,
}

/// The segments of one unit, after everything that is needed was moved elsewhere. They are freed together or
/// not at all: a tombstone in one may have been dropped because its puts are in another.
pub(crate) struct Emptied {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The last sequence number when a pass over their records found none that the index points to.
    pub(crate) seq: u64,
    /// The image tick at that time: says which images had been begun.
    pub(crate) tick: u64,
    /// How often the index had been rebuilt when the pass began.
    pub(crate) rebuilds: u64,
}

impl Emptied {
    pub(crate) fn holds(&self, id: u32) -> bool {
        self.segments.iter().any(|segment| segment.id() == id)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.counts().total).sum()
    }
}

/// The compaction state of an open store.
pub(crate) struct Compacting {
    /// One compaction at a time. Taken before all other locks.
    state: Lock<Compaction>,
    pub(crate) totals: Totals,
    /// How many callers wait for the running compaction.
    hurry: AtomicU64,
    /// The log may grow to here, however much is dead (`space.rs`).
    grace: AtomicU64,
}

impl Default for Compacting {
    fn default() -> Self {
        Self {
            state: Lock::new(Rank::Compaction, Compaction::default()),
            totals: Totals::default(),
            hurry: AtomicU64::new(0),
            grace: AtomicU64::new(0),
        }
    }
}

impl Compacting {
    /// The right to compact.
    pub(crate) fn lock(&self) -> Guard<'_, Compaction> {
        self.state.lock()
    }

    /// The right to compact, or `None` if another thread has it.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, Compaction>> {
        self.state.try_lock()
    }

    /// The right to compact. The background thread, if it has it, ends its round after the unit it is at, without
    /// pacing itself.
    pub(crate) fn hurried(&self) -> Guard<'_, Compaction> {
        self.hurry.fetch_add(1, Ordering::AcqRel);
        let compaction = self.lock();
        self.hurry.fetch_sub(1, Ordering::AcqRel);
        compaction
    }

    /// From now on no compaction paces itself.
    pub(crate) fn hurry_for_good(&self) {
        self.hurry.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether somebody waits for the running compaction.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurry.load(Ordering::Acquire) > 0
    }

    pub(crate) fn grace(&self) -> u64 {
        self.grace.load(Ordering::Relaxed)
    }

    /// Lets the log grow to `written` bytes, however much is dead.
    pub(crate) fn give_grace(&self, written: u64) {
        self.grace.store(written, Ordering::Relaxed);
    }
}
