//! Compaction: brings live records together in new segments and gives back the disk space of old ones.
//!
//! It works in units of the deadest few segments: `emptying` moves what is needed elsewhere, then `freeing`
//! takes over. Here is when, which and how many: rounds of the background thread, and calls. Knows nothing
//! of records. O(bytes of the segments it reads).

use std::time::{Duration, Instant};

use crate::compaction::inputs::{Input, Pace, Phase, dead_of};
use crate::compaction::merge_small::Merge;
use crate::compaction::relocation_writer::RelocationWriter;
use crate::engine::compaction_state::{CompactReport, Compaction, Emptied};
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::format::header::Origin;
use crate::log::segment::Counts;
use crate::progress::OpenProgress;

/// The most segments that one unit takes: emptied ones cost no copying, but each manifest entry a little.
const UNIT_SEGMENTS: usize = 64;
/// The most bytes that one unit reads, if that is more than a segment's: so often is progress reported.
const UNIT_BYTES: u64 = 256 << 20;
/// The foreground leaves segments alone of which less than this share would come free.
const WORTH_IT: f64 = 0.01;
/// Where nothing was written since the last look, so much of the dead bytes that may lie beside the live ones is
/// enough to begin: a store at rest would stay just below the limit for good, at 1.43 times its live bytes by
/// default, where 1.4 is the most that `docs/safety.md` allows.
const AT_REST: f64 = 0.9;
/// Compaction for the room of writers ends at this share of the allowed dead bytes (`engine/space.rs`).
const ROOM: f64 = 0.35;
/// After so many rounds in a row that freed nothing, writers that wait for space may go on (`engine/space.rs`).
const FRUITLESS: u32 = 3;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(5);
/// After a failure the background thread waits so long before it tries again.
const BACK_OFF: Duration = Duration::from_secs(10);

/// How far a caller's units have come.
struct Round {
    phase: Phase,
    goal: Goal,
    /// Of the log only what had ended when the round began: a writer that goes on must not make it endless.
    newest: u32,
    /// Segments that this phase has written or looked at: nothing more is to be had from them.
    tried: Vec<u32>,
    /// The most dead bytes that were left alone because a backup reads their segments.
    pinned: u64,
    /// It ended because there was nothing more to be had, not because it had come to its goal.
    nothing_left: bool,
}

/// How far to go.
#[derive(Clone, Copy, PartialEq)]
enum Goal {
    /// Until no more than this share of the bytes is dead.
    DeadRatio(f64),
    /// Until writers have room again: only what is cheapest to free.
    Room,
    /// What costs no copying.
    WhollyDead,
}

impl Shared {
    pub(crate) fn compact(&self, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<CompactReport> {
        self.check_writable()?;
        let before = self.compacting.totals.report();
        let inputs = {
            let compaction = self.compacting.hurried();
            self.end_worthwhile_segment()?;
            self.inputs(&compaction)
        };
        let bytes_total: u64 = inputs.iter().map(|input| input.counts.total).sum();
        let newest = inputs.iter().map(|input| input.segment.id()).max().unwrap_or(0);
        drop(inputs);
        let mut bytes_done = 0;
        let mut round = Round { newest, ..Round::new(Goal::DeadRatio(0.0)) };
        while let Some(bytes) = {
            let mut compaction = self.compacting.hurried();
            self.unit(&mut compaction, &mut round, &mut |_| self.check_writable())?
        } {
            bytes_done = bytes_total.min(bytes_done + bytes);
            if !progress(OpenProgress { bytes_done, bytes_total }) {
                return Err(Error::Interrupted);
            }
        }
        {
            let mut compaction = self.compacting.hurried();
            self.merge_small(&mut compaction, Merge::All, &mut |_| self.check_writable())?;
            self.free_in_spite_of_images(&mut compaction)?;
        }
        let now = self.compacting.totals.report();
        Ok(CompactReport {
            freed_segments: now.freed_segments - before.freed_segments,
            freed_bytes: now.freed_bytes - before.freed_bytes,
            moved_bytes: now.moved_bytes - before.moved_bytes,
        })
    }

    /// Lets the log go on in a new segment if the active one holds dead records, and makes all of the old
    /// ones durable: only those can be compacted.
    fn end_worthwhile_segment(&self) -> Result<()> {
        let worthwhile = self.writing.lock().log.active.as_ref().is_some_and(|active| {
            let counts = active.counts();
            counts.total - counts.live > (counts.total as f64 * WORTH_IT) as u64
        });
        if worthwhile {
            return self.end_segment();
        }
        let last = self.writing.lock().log.end.last_seq;
        self.flush_up_to(last)
    }

    pub(crate) fn end_segment(&self) -> Result<()> {
        self.prepare_spare(0, true)?;
        let last_seq = {
            let mut writing = self.writing.lock();
            // Unless somebody was faster.
            if writing.log.active.is_some() && writing.log.spare_has_room(0) {
                self.roll(&mut writing)?;
            }
            writing.log.end.last_seq
        };
        self.flush_up_to(last_seq)
    }

    /// One round of the background thread: works until too little is dead, or until it is told to end.
    pub(crate) fn compact_in_background(&self) {
        let Some(mut compaction) = self.compacting.try_lock() else { return };
        if self.check_writable().is_err() {
            return;
        }
        if compaction.not_before.is_some_and(|at| Instant::now() < at) {
            self.give_grace();
            return;
        }
        let mut ready_at = Instant::now();
        let mut pace = |bytes: u64| {
            if self.space()?.is_tight() {
                // The rate is the writer's now: the sooner space comes free, the less it has to wait.
                ready_at = Instant::now();
            } else {
                ready_at +=
                    Duration::from_secs_f64(bytes as f64 / self.options.compact_bytes_per_second as f64);
            }
            self.wait_until(ready_at)
        };
        let mut fruitless = 0;
        while fruitless < FRUITLESS {
            let freed = self.compacting.totals.report().freed_bytes;
            if self.compact_to_goal(&mut compaction, &mut pace).is_err() {
                // What matters is remembered by whoever noticed it: a failed sync poisons. All else, a full
                // disk before all, is tried again.
                compaction.not_before = Some(Instant::now() + BACK_OFF);
                break;
            }
            // While writers wait nobody rings.
            if !self.space().is_ok_and(|space| space.is_slow()) {
                return;
            }
            let still_fruitless = || self.compacting.totals.report().freed_bytes == freed;
            // An image costs less than the disk space that writers would go on to take.
            if still_fruitless() && self.free_in_spite_of_images(&mut compaction).is_err() {
                compaction.not_before = Some(Instant::now() + BACK_OFF);
                break;
            }
            fruitless = if still_fruitless() { fruitless + 1 } else { 0 };
            if self.wait_until(Instant::now() + BETWEEN_ROUNDS).is_err() {
                return;
            }
        }
        self.give_grace();
    }

    /// What the background does, in the foreground and at once.
    pub(crate) fn compact_if_due(&self) -> Result<()> {
        self.compact_to_goal(&mut self.compacting.lock(), &mut |_| self.check_writable())
    }

    fn compact_to_goal(&self, compaction: &mut Compaction, pace: &mut Pace<'_>) -> Result<()> {
        let tight = self.space()?.is_tight();
        if tight {
            // Only what is on the device can be compacted, and what has ended last is what is wanted most.
            self.flush_up_to(self.watermarks.last())?;
        }
        // Also what a round left that was interrupted.
        self.free_for_space(compaction)?;
        self.merge_small(compaction, Merge::Enough, pace)?;
        let inputs = self.inputs(compaction);
        let (dead, total) = dead_of(&inputs);
        compaction.settled = compaction.settled.min(dead);
        if compaction.emptied.is_empty() && !inputs.iter().any(|input| input.segment.is_pinned()) {
            // Each dead put can hold a tombstone back once: it is in no segment that comes after.
            compaction.settled = compaction.settled.saturating_sub(std::mem::take(&mut compaction.held));
        }
        let last_seq = self.watermarks.last();
        let at_rest = std::mem::replace(&mut compaction.seen_seq, last_seq) == last_seq;
        let ratio = self.options.compact_dead_ratio;
        // Of all bytes, told as a share of the live ones.
        let allowed = (total - dead) as f64 * ratio / (1.0 - ratio);
        let due = dead as f64 > if at_rest { allowed * AT_REST } else { allowed };
        let goal = if tight {
            Goal::Room
        } else if due {
            Goal::DeadRatio(ratio / 2.0)
        } else if inputs.iter().any(Input::is_wholly_dead) {
            Goal::WhollyDead
        } else {
            // Where nothing is written any more, nothing but this gives back what was emptied.
            return if at_rest { self.free_in_spite_of_images(compaction) } else { Ok(()) };
        };
        // What the last round could not free does not start the next one.
        if goal != Goal::WhollyDead && dead < compaction.settled + total / 20 {
            return Ok(());
        }
        let held_before = std::mem::take(&mut compaction.held);
        let mut round = Round::new(goal);
        while self.unit(compaction, &mut round, pace)?.is_some() {}
        if goal == Goal::Room {
            self.free_for_space(compaction)?;
        } else if goal != Goal::WhollyDead {
            self.free_in_spite_of_images(compaction)?;
        }
        if round.nothing_left {
            compaction.held += round.pinned;
            compaction.settled = dead_of(&self.inputs(compaction)).0;
        } else {
            // What an earlier round had to leave, and may have once nobody holds it, is still so.
            compaction.held += held_before;
        }
        // Writers that wait need not wait until somebody looks again.
        self.space().map(drop)
    }

    /// Frees what was emptied, at the price of an image where it is worth that.
    fn free_for_space(&self, compaction: &mut Compaction) -> Result<()> {
        self.free_emptied(compaction)?;
        let waiting = compaction.emptied.iter().map(Emptied::bytes).sum::<u64>();
        if waiting > 0 && waiting > self.most_emptied_bytes()? {
            self.free_in_spite_of_images(compaction)
        } else {
            Ok(())
        }
    }

    /// Sleeps in pieces, unless somebody waits for what this thread holds.
    fn wait_until(&self, at: Instant) -> Result<()> {
        loop {
            self.check_writable()?;
            if self.threads.compactor.stopping() {
                return Err(Error::Interrupted);
            }
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() || self.compacting.is_hurried() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(5)));
        }
    }

    /// One unit of work: the bytes of the segments that it read, or `None` once there is none left.
    fn unit(
        &self,
        compaction: &mut Compaction,
        round: &mut Round,
        pace: &mut Pace<'_>,
    ) -> Result<Option<u64>> {
        self.free_for_space(compaction)?;
        if round.goal == Goal::Room && self.space()?.pressure() < ROOM {
            return Ok(None);
        }
        let mut chosen = self.choose(compaction, round);
        if chosen.is_empty() && round.phase == Phase::Values && round.goal != Goal::WhollyDead {
            *round = Round { phase: Phase::Tombstones, tried: Vec::new(), ..*round };
            chosen = self.choose(compaction, round);
            if !chosen.is_empty() {
                // Else every put that was emptied out of them before would keep its tombstone.
                self.free_in_spite_of_images(compaction)?;
            }
        }
        if chosen.is_empty() {
            round.nothing_left = round.goal != Goal::WhollyDead;
            return Ok(None);
        }
        let bytes = chosen.iter().map(|input| input.counts.total).sum();
        round.tried.extend(chosen.iter().map(|input| input.segment.id()));
        round.tried.extend(self.empty(compaction, chosen, pace)?);
        Ok(Some(bytes))
    }

    /// The deadest segments, as many as one relocation segment can hold what is left of.
    fn choose(&self, compaction: &Compaction, round: &mut Round) -> Vec<Input> {
        let mut inputs = self.inputs(compaction);
        let (mut dead, mut total) = dead_of(&inputs);
        let phase = round.phase;
        let pinned = inputs.iter().filter(|input| input.segment.is_pinned());
        let pinned = pinned.map(|input| input.counts.total.saturating_sub(input.counts.live)).sum();
        round.pinned = round.pinned.max(pinned);
        inputs.retain(|input| {
            let (id, relocated) = (input.segment.id(), input.segment.header.origin == Origin::Relocation);
            let new = !round.tried.contains(&id) && (relocated || id <= round.newest);
            let fits_goal = round.goal != Goal::WhollyDead || input.is_wholly_dead();
            new && fits_goal && !input.segment.is_pinned() && input.gain(phase) > WORTH_IT
        });
        inputs.sort_by(|a, b| b.gain(phase).total_cmp(&a.gain(phase)));
        let (mut chosen, mut kept, mut read) = (Vec::new(), 0, 0);
        for input in inputs {
            let Counts { live, total: bytes, tombstones } = input.counts;
            kept += live + tombstones;
            read += bytes;
            let much = read > UNIT_BYTES.max(self.options.segment_bytes);
            let full = kept > self.options.segment_bytes || !RelocationWriter::fits(kept) || much;
            let done = match round.goal {
                Goal::DeadRatio(ratio) => dead as f64 <= total as f64 * ratio,
                Goal::Room | Goal::WhollyDead => false,
            };
            if done || full && !chosen.is_empty() || chosen.len() == UNIT_SEGMENTS {
                break;
            }
            dead = dead.saturating_sub(bytes - live.min(bytes));
            total -= bytes - live.min(bytes);
            chosen.push(input);
        }
        chosen
    }
}

impl Round {
    fn new(goal: Goal) -> Self {
        Self {
            phase: Phase::Values,
            goal,
            newest: u32::MAX,
            tried: Vec::new(),
            pinned: 0,
            nothing_left: false,
        }
    }
}
