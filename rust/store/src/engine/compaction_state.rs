//! What compaction leaves from one unit to the next, and what it has done: behind the first of all locks, so that one
//! compaction works at a time. Knows nothing of how it works.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::engine::locks::{Guard, Lock, Rank};
use crate::log::segment::Segment;

/// What a compaction has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Segments whose files were removed.
    pub freed_segments: u64,
    /// Bytes of their records.
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

/// What goes on from one unit to the next.
#[derive(Default)]
pub(crate) struct Compaction {
    /// Dead bytes that the last round had to leave.
    pub(crate) settled: u64,
    /// Those of them that it could have freed, had nobody held a segment: the records of one that a backup
    /// reads, and tombstones that hide nothing but puts in segments that are held.
    pub(crate) held: u64,
    /// Segments that hold a damaged record, and what was found there; they are kept.
    pub(crate) damaged: BTreeMap<u32, String>,
    /// Units whose segments nothing points into, until they may go.
    pub(crate) emptied: Vec<Emptied>,
    pub(crate) not_before: Option<Instant>,
    /// The last sequence there was when the background looked last.
    pub(crate) seen_seq: u64,
}

/// The segments of one unit, from which everything that is needed was moved elsewhere. They go together
/// or not at all: a tombstone in one may have been dropped because its puts are in another.
pub(crate) struct Emptied {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The last sequence there was when a pass over their records found none that the index points to.
    pub(crate) seq: u64,
    /// Which images had been begun then.
    pub(crate) tick: u64,
    /// How often the index had been built anew when the pass began.
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

/// Compaction as a part of an open store.
pub(crate) struct Compacting {
    /// One at a time; comes before all other locks.
    state: Lock<Compaction>,
    pub(crate) totals: Totals,
    /// How many wait for the compaction that runs.
    hurry: AtomicU64,
    /// The log may grow to here whatever is dead (`space.rs`).
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

    /// The right to compact, unless somebody has it.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, Compaction>> {
        self.state.try_lock()
    }

    /// The right to compact; a thread that has it and paces itself no longer does.
    pub(crate) fn hurried(&self) -> Guard<'_, Compaction> {
        self.hurry.fetch_add(1, Ordering::AcqRel);
        let compaction = self.lock();
        self.hurry.fetch_sub(1, Ordering::AcqRel);
        compaction
    }

    /// From now on nobody paces himself.
    pub(crate) fn hurry_for_good(&self) {
        self.hurry.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether somebody waits for the compaction that runs.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurry.load(Ordering::Acquire) > 0
    }

    pub(crate) fn grace(&self) -> u64 {
        self.grace.load(Ordering::Relaxed)
    }

    /// The log may grow to `written` bytes whatever is dead.
    pub(crate) fn give_grace(&self, written: u64) {
        self.grace.store(written, Ordering::Relaxed);
    }
}
