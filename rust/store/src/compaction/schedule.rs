//! When compaction runs, on which segments, and for how long: in rounds of the background thread, and in
//! calls.
//!
//! Compaction gathers live records in new segments and gives back the disk space of old ones. It works in
//! units of the few segments with the most dead bytes: `relocate.rs` moves what is needed elsewhere, then
//! `free.rs` removes the files. Knows nothing of records. O(bytes of the segments it reads).

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

/// The most segments in one unit: emptied ones cost no copying, but each costs a little manifest space.
const UNIT_SEGMENTS: usize = 64;
/// The most bytes that one unit reads, unless a segment is larger. Progress is reported this often.
const UNIT_BYTES: u64 = 256 << 20;
/// Segments that would free no more than this share of their bytes are skipped.
const WORTH_IT: f64 = 0.01;
/// If nothing was written since the last look, this share of the allowed dead bytes is enough to begin.
/// Otherwise a store at rest would stay just below the limit forever, at 1.43 times its live bytes by
/// default, while `docs/safety.md` allows at most 1.4.
const AT_REST: f64 = 0.9;
/// Compaction that makes room for writers ends at this share of the allowed dead bytes (`engine/space.rs`).
const ROOM: f64 = 0.35;
/// After this many rounds in a row that freed nothing, writers that wait for space may go on
/// (`engine/space.rs`).
const FRUITLESS: u32 = 3;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(5);
/// After a failure the background thread waits this long before it tries again.
const BACK_OFF: Duration = Duration::from_secs(10);

/// The progress of a round of units.
struct Round {
    phase: Phase,
    goal: Goal,
    /// Only log segments that had ended when the round began: a writer that goes on must not make the round
    /// endless.
    newest: u32,
    /// Segments that this phase has written or examined: nothing more can be gained from them.
    tried: Vec<u32>,
    /// The most dead bytes that were left alone because a backup reads their segments.
    pinned: u64,
    /// The round ended because nothing more could be gained, not because it reached its goal.
    nothing_left: bool,
}

/// How far a round goes.
#[derive(Clone, Copy, PartialEq)]
enum Goal {
    /// Until at most this share of the bytes is dead.
    DeadRatio(f64),
    /// Until writers have room again; only what is cheapest to free.
    Room,
    /// Only what costs no copying.
    WhollyDead,
}

impl Shared {
    pub(crate) fn compact(&self, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<CompactReport> {
        let done = self.compact_now(progress);
        // The background thread left its round to this call; writers may be waiting for the rest of it.
        self.threads.compactor.ring();
        done
    }

    fn compact_now(&self, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<CompactReport> {
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

    /// Moves the log on to a new segment if the active one holds dead records, and makes all old segments
    /// durable: only durable segments can be compacted.
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
            // Unless another thread did it first.
            if writing.log.active.is_some() && writing.log.spare_has_room(0) {
                self.roll(&mut writing)?;
            }
            writing.log.end.last_seq
        };
        self.flush_up_to(last_seq)
    }

    /// One round of the background thread: works until little enough is dead, until a call wants to compact, or
    /// until it is told to stop.
    pub(crate) fn compact_in_background(&self) {
        // As long as writers wait for space this thread would never be done, and the call would wait forever.
        let yields = || self.compacting.is_hurried();
        if yields() {
            return;
        }
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
                // The writer sets the rate now: the sooner space is freed, the less it must wait.
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
                // A failure that matters has been remembered where it was noticed: a failed sync poisons.
                // Anything else, most of all a full disk, is tried again.
                compaction.not_before = Some(Instant::now() + BACK_OFF);
                break;
            }
            // While writers wait, nobody rings.
            if yields() || !self.space().is_ok_and(|space| space.is_slow()) {
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

    /// Does in the foreground, and at once, what the background thread does.
    pub(crate) fn compact_if_due(&self) -> Result<()> {
        self.compact_to_goal(&mut self.compacting.lock(), &mut |_| self.check_writable())
    }

    fn compact_to_goal(&self, compaction: &mut Compaction, pace: &mut Pace<'_>) -> Result<()> {
        let tight = self.space()?.is_tight();
        if tight {
            // Only what is on the device can be compacted, and the newest ended segments matter most.
            self.flush_up_to(self.watermarks.last())?;
        }
        // Includes what an interrupted round left.
        self.free_for_space(compaction)?;
        self.merge_small(compaction, Merge::Enough, pace)?;
        let inputs = self.inputs(compaction);
        let (dead, total) = dead_of(&inputs);
        compaction.settled = compaction.settled.min(dead);
        if compaction.emptied.is_empty() && !inputs.iter().any(|input| input.segment.is_pinned()) {
            // Each dead put can hold back a tombstone only once: it is in no later segment.
            compaction.settled = compaction.settled.saturating_sub(std::mem::take(&mut compaction.held));
        }
        let last_seq = self.watermarks.last();
        let at_rest = std::mem::replace(&mut compaction.seen_seq, last_seq) == last_seq;
        let ratio = self.options.compact_dead_ratio;
        // The ratio refers to all bytes; this converts it to a share of the live ones.
        let allowed = (total - dead) as f64 * ratio / (1.0 - ratio);
        let due = dead as f64 > if at_rest { allowed * AT_REST } else { allowed };
        let goal = if tight {
            Goal::Room
        } else if due {
            Goal::DeadRatio(ratio / 2.0)
        } else if inputs.iter().any(Input::is_wholly_dead) {
            Goal::WhollyDead
        } else {
            // When nothing more is written, only this frees what was emptied.
            return if at_rest { self.free_in_spite_of_images(compaction) } else { Ok(()) };
        };
        // What the last round could not free must not start the next one.
        if goal != Goal::WhollyDead && dead < compaction.settled + total / 20 {
            return Ok(());
        }
        let held_before = std::mem::take(&mut compaction.held);
        let mut round = Round::new(goal);
        while self.unit(compaction, &mut round, pace)?.is_some() && !self.compacting.is_hurried() {}
        if goal == Goal::Room {
            self.free_for_space(compaction)?;
        } else if goal != Goal::WhollyDead {
            self.free_in_spite_of_images(compaction)?;
        }
        if round.nothing_left {
            compaction.held += round.pinned;
            compaction.settled = dead_of(&self.inputs(compaction)).0;
        } else {
            // What an earlier round had to leave, and what can be freed once nobody holds it, is unchanged.
            compaction.held += held_before;
        }
        // Waiting writers need not wait until somebody looks again.
        self.space().map(drop)
    }

    /// Frees what was emptied; writes a new image for it if that is worthwhile.
    fn free_for_space(&self, compaction: &mut Compaction) -> Result<()> {
        self.free_emptied(compaction)?;
        let waiting = compaction.emptied.iter().map(Emptied::bytes).sum::<u64>();
        if waiting > 0 && waiting > self.most_emptied_bytes()? {
            self.free_in_spite_of_images(compaction)
        } else {
            Ok(())
        }
    }

    /// Sleeps in short steps, and stops early if somebody waits for what this thread holds.
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

    /// One unit of work. Returns the number of bytes in the segments that it read, or `None` if nothing is
    /// left to do.
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
                // Otherwise every put that was emptied out of them would keep its tombstone needed.
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

    /// The segments with the most dead bytes, as many as fit one relocation segment after what is dead is
    /// dropped.
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
