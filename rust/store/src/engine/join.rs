//! Joins an image and what came after it into one index (`index/overlay.rs`): at the first call that needs
//! more than lookups of keys, or on a thread of the store soon after opening. Knows who waits; knows nothing
//! of how the parts are joined.

use std::sync::Arc;

use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::format::location::Location;
use crate::log::segments::Segments;

/// Keys joined under one write lock; takes less than a millisecond.
const STEP_KEYS: usize = 256;

impl Shared {
    /// Joins the parts of the index, if there are two, while `go_on` returns true. Readers can run in
    /// between.
    pub(crate) fn make_whole(&self, go_on: impl Fn() -> bool) {
        while go_on() {
            let mut state = self.state.write();
            self.join(&mut state, STEP_KEYS);
            if state.index.is_whole() {
                break;
            }
        }
    }

    /// Joins up to this many keys. The caller holds the write lock.
    pub(crate) fn join(&self, state: &mut State, keys: usize) {
        let mut dead = Vec::new();
        state.index.join(keys, &mut dead);
        self.uncounted.add(dead);
    }

    /// Counts the records that a commit replaced as dead.
    #[inline]
    pub(crate) fn count_dead(&self, segments: &Segments, dead: &[Location]) {
        let left = self.count_dead_of(segments, dead);
        if !left.is_empty() {
            self.uncounted.add(left);
        }
    }

    #[inline]
    fn count_dead_of(&self, segments: &Segments, dead: &[Location]) -> Vec<Location> {
        if dead.len() < 2 {
            return segments.count_dead(dead, || {});
        }
        let mut ahead = self.asks_ahead.over_headers(dead.iter().map(|&location| (segments, location)));
        segments.count_dead(dead, || ahead.before_next())
    }

    /// Counts the records that joining replaced, and those that could not be read before, so that counts are
    /// right. Returns whether all are counted now. Reads the header of each record.
    pub(crate) fn count_replaced(&self) -> bool {
        // Hold this to the end, so that callers who arrive meanwhile wait until the counts are right. The
        // records are read without the state's lock: threads that join hold that lock and must not wait for
        // reads.
        let _counting = self.uncounted.counting();
        let segments = Arc::clone(&self.state.read().segments);
        let uncounted = self.uncounted.take();
        let left = self.count_dead_of(&segments, &uncounted);
        let all = left.is_empty();
        self.uncounted.add(left);
        all
    }

    /// The first task of the thread that writes images.
    pub(crate) fn make_whole_in_background(&self) {
        self.make_whole(|| !self.threads.checkpointer.stopping());
        self.count_replaced();
    }
}
