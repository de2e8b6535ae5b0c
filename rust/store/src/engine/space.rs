//! How much of the disk is dead compared with what is live, and what follows: when compaction stops pacing
//! itself, and how far the log may grow before compaction has caught up. Knows nothing of how space is freed.
//! O(segments).

use std::sync::Arc;

use crate::engine::flow::{Follower, Limit, Wait};
use crate::engine::shared::Shared;
use crate::engine::writing::Writing;
use crate::error::Result;

/// How many bytes of records may exist for each live byte. The promise is 2.5 and four segments
/// (docs/safety.md). Of the four, two are the reserved ends of the active segment and the next, and a third
/// is the copy that compaction makes. A quarter of the fourth, and a little for each live byte, is left for
/// what is not counted as records and for what a commit adds before the next check.
const MOST_FOR_A_LIVE_BYTE: f64 = 2.3;
/// Smaller segments count as this size here: otherwise every few commits of a small store would wait for a
/// flush.
const LEAST_SEGMENT_BYTES: u64 = 16 << 20;
/// From the share `HURRY` of the allowed dead bytes, compaction works as fast as it can; from `SLOW`, commits
/// are slowed.
const HURRY: f64 = 0.5;
const SLOW: f64 = 0.75;

/// Counted in bytes of records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    live: u64,
    total: u64,
    /// How many bytes may exist.
    allowed: u64,
}

impl Space {
    fn new(live: u64, total: u64, segment_bytes: u64) -> Self {
        let segment = segment_bytes.max(LEAST_SEGMENT_BYTES);
        let allowed = (live as f64 * MOST_FOR_A_LIVE_BYTE) as u64 + segment * 7 / 4 - segment.min(live);
        Self { live, total, allowed }
    }

    /// 0 if nothing is dead, 1 if as much is dead as is allowed.
    pub(crate) fn pressure(&self) -> f64 {
        let dead = self.total.saturating_sub(self.live);
        dead as f64 / (self.allowed - self.live) as f64
    }

    /// Whether compaction must not pace itself.
    pub(crate) fn is_tight(&self) -> bool {
        self.pressure() >= HURRY
    }

    /// Whether commits are slowed.
    pub(crate) fn is_slow(&self) -> bool {
        self.pressure() >= SLOW
    }

    /// How far the log may grow, if it has come to `written`.
    fn limit(&self, written: u64) -> Limit {
        let slow = self.live + ((self.allowed - self.live) as f64 * SLOW) as u64;
        Limit { slow_from: written + slow - self.total, stop_at: written + self.allowed - self.total }
    }
}

impl Shared {
    /// What a commit of this many bytes must wait for, if it may not begin at once.
    pub(crate) fn wait_for_followers(&self, writing: &mut Writing, bytes: u64) -> Result<Option<Wait>> {
        match writing.flow.behind() {
            // What was put since the last look is live, and allows for more.
            Some(Follower::Compaction) => drop(self.look_at_space(writing)?),
            // Waiting commits do not ring otherwise: an image made to free space may have left a tail that is
            // too long.
            Some(Follower::Checkpoint) if writing.images.wants_checkpoint() => {
                self.threads.checkpointer.ring();
            }
            _ => {}
        }
        Ok(writing.flow.wait(bytes))
    }

    /// Makes a commit wait. Returns whether it must check again afterwards. The caller holds no lock.
    pub(crate) fn let_follow(&self, wait: Wait) -> bool {
        self.waits.wait(wait);
        wait == Wait::UntilThereIsRoom
    }

    /// Checks how much is dead, and tells writers how far they may go. The caller holds the commit lock.
    pub(crate) fn look_at_space(&self, writing: &mut Writing) -> Result<Space> {
        self.count_replaced();
        let segments = Arc::clone(&self.read_state()?.segments);
        let (mut live, mut total) = (0, 0);
        for segment in segments.iter() {
            let counts = segment.counts();
            live += counts.live;
            total += counts.total;
        }
        let space = Space::new(live, total, self.options.segment_bytes);
        let mut limit = space.limit(writing.flow.written());
        let grace = self.compacting.grace();
        limit.slow_from = limit.slow_from.max(grace);
        limit.stop_at = limit.stop_at.max(grace);
        writing.flow.limit(Follower::Compaction, limit);
        Ok(space)
    }

    /// Like [`Shared::look_at_space`], for callers that do not hold the commit lock.
    pub(crate) fn space(&self) -> Result<Space> {
        self.look_at_space(&mut self.writing.lock())
    }

    /// Compaction cannot make progress now: a backup holds what is dead, or it cannot be read, or the disk is
    /// full. Writers may go on for a segment until compaction has tried again.
    pub(crate) fn give_grace(&self) {
        let written = self.writing.lock().flow.written();
        let segment = self.options.segment_bytes.max(LEAST_SEGMENT_BYTES);
        self.compacting.give_grace(written + segment);
    }
}

#[cfg(test)]
mod tests {
    use super::Space;

    const SEGMENT: u64 = 64 << 20;

    #[test]
    fn the_allowed_bytes_keep_to_two_and_a_half_live_bytes_and_four_segments_with_the_reserved_ends() {
        for live in [0, 1, 1 << 20, SEGMENT, 500 << 20, 1 << 40] {
            let space = Space::new(live, live, SEGMENT);
            assert!(space.pressure() == 0.0 && !space.is_tight());
            // The ends of two segments are reserved, and a relocation holds up to a segment more.
            let most = space.allowed + 2 * SEGMENT + SEGMENT.min(live);
            assert!(most <= live * 5 / 2 + 4 * SEGMENT, "{live}");
            let full = Space::new(live, space.allowed, SEGMENT);
            let written = 1 << 62;
            assert!(
                full.is_tight()
                    && full.limit(written).stop_at == written
                    && full.limit(written).slow_from < written
            );
            assert_eq!(space.limit(written).stop_at, written + space.allowed - live);
        }
    }
}
