//! Making one index of an image and what came behind it (`index/overlay.rs`): at the first call that needs more than
//! looking up keys, or by a thread of the store soon after opening. Knows who waits; knows nothing of how.

use std::sync::Arc;

use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::format::location::Location;
use crate::log::segments::Segments;

/// Keys joined under one write lock: less than a millisecond.
const STEP_KEYS: usize = 256;

impl Shared {
    /// Joins the parts of the index, if there are two, while `go_on` says so. Readers get in between.
    pub(crate) fn make_whole(&self, go_on: impl Fn() -> bool) {
        while go_on() {
            let mut state = self.state.write();
            self.join(&mut state, STEP_KEYS);
            if state.index.is_whole() {
                break;
            }
        }
    }

    /// Joins up to so many keys; the caller holds the write lock.
    pub(crate) fn join(&self, state: &mut State, keys: usize) {
        let mut dead = Vec::new();
        state.index.join(keys, &mut dead);
        self.uncounted.add(dead);
    }

    /// Counts the records that a commit replaced.
    #[inline]
    pub(crate) fn count_dead(&self, segments: &Segments, dead: &[Location]) {
        let left = segments.count_dead(dead);
        if !left.is_empty() {
            self.uncounted.add(left);
        }
    }

    /// Counts the records that joining replaced, and those that could not be looked at before; for those who look at
    /// counts. Whether all are counted now. Reads a header of each.
    pub(crate) fn count_replaced(&self) -> bool {
        // Held to the end, so that whoever comes meanwhile waits until the counts are right. Those who join
        // hold the state's lock and must not wait for records that are read.
        let _counting = self.uncounted.counting();
        let segments = Arc::clone(&self.state.read().segments);
        let uncounted = self.uncounted.take();
        let left = segments.count_dead(&uncounted);
        let all = left.is_empty();
        self.uncounted.add(left);
        all
    }

    /// What the thread that writes images does first of all.
    pub(crate) fn make_whole_in_background(&self) {
        self.make_whole(|| !self.threads.checkpointer.stopping());
        self.count_replaced();
    }
}
