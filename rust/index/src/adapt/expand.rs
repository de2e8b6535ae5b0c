//! Making room in a full leaf.
//!
//! A leaf is rebuilt with more slots while it is below the largest size and a model fits it. Else, if many of
//! its keys are outside the range of a model node above it, that range is extended (`extend.rs`). Else the
//! leaf is split (`split.rs`). `O(leaf + fan-out)`.

use super::target::Target;
use crate::build::{Chain, Entries, split_fill};
use crate::key::Key;
use crate::node::layout::{PACKED_FILL, slots_for};
use crate::node::{NodeId, Trend};
use crate::tree::Alex;

impl<K: Key> Alex<K> {
    /// Changes the tree so that the leaf that owns `key` has room, or is closer to having room.
    #[cold]
    #[inline(never)]
    pub(crate) fn make_room(&mut self, key: K) {
        if self.damage().is_some() {
            return;
        }
        let target = self.target(key);
        self.version += 1;
        self.with_entries(target.leaf, |tree, entries| {
            if !tree.expand(&target, entries) && !tree.extend(&target, entries) {
                tree.split(&target, entries);
            }
        });
    }

    /// `make_room` for many keys: divides the leaf's keys, because more slots would not be enough.
    #[cold]
    #[inline(never)]
    pub(crate) fn divide(&mut self, key: K) {
        if self.damage().is_some() {
            return;
        }
        let target = self.target(key);
        self.version += 1;
        self.with_entries(target.leaf, |tree, entries| {
            if !tree.extend(&target, entries) {
                tree.split(&target, entries);
            }
        });
    }

    /// The last resort if `make_room` did not help: a larger leaf, whatever its size. It can only be needed
    /// because of a defect, on which test builds panic; in other builds a slow leaf is better than an endless
    /// insert.
    #[cold]
    #[inline(never)]
    pub(crate) fn force_room(&mut self, key: K) {
        debug_assert!(false, "making room for {key} gets nowhere");
        let target = self.target(key);
        let (mut keys, mut payloads) = (Vec::new(), Vec::new());
        self.copy_out(target.leaf, &mut keys, &mut payloads);
        self.version += 1;
        let mut chain = Chain::new();
        let entries = Entries { keys: &keys, payloads: &payloads };
        let capacity = slots_for(entries.len(), split_fill::<K>());
        let leaf = self.new_leaf(&mut chain, entries, capacity, Trend::Anywhere);
        self.replace(&target, &chain, &[NodeId::leaf(leaf)]);
    }

    /// Rebuilds the leaf with more slots if it may have more and a model fits it. Returns whether it did.
    fn expand(&mut self, target: &Target, entries: Entries<'_, K>) -> bool {
        let count = entries.len();
        if target.crowded && count >= self.min_split() {
            // Only smaller leaves move less: in a leaf of this size the next key would cost as much as the
            // last.
            return false;
        }
        let (most, capacity) = match target.trend {
            Trend::Anywhere => (0.72, slots_for(count, split_fill::<K>())),
            _ => (0.9, slots_for(count * 2, PACKED_FILL)),
        };
        if count > self.most_entries(most) {
            return false;
        }
        let mut chain = Chain::new();
        let capacity = capacity.min(self.max_slots);
        let Some(leaf) = self.fitting_leaf(&mut chain, entries, capacity, target.trend) else { return false };
        self.replace(target, &chain, &[NodeId::leaf(leaf)]);
        true
    }
}
