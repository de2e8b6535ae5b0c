//! The first and the last key, and the nearest keys on either side of a key: floor, ceiling, lower, higher.
//!
//! Knows leaves and the list that links them. One descent and one search; empty leaves are skipped.

use crate::key::Key;
use crate::node::{NIL, bitmap};
use crate::search::{Kernel, Operation, dispatch};
use crate::tree::Alex;

/// A position between two slots of a leaf: `slot` is the one on its right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) leaf: u32,
    pub(crate) slot: usize,
}

impl<K: Key> Alex<K> {
    /// The entry with the smallest key.
    pub fn first(&self) -> Option<(K, u64)> {
        K::first(self)
    }

    pub(crate) fn do_first(&self) -> Option<(K, u64)> {
        self.entry_after(Position { leaf: self.first_leaf, slot: 0 })
    }

    /// The entry with the largest key.
    pub fn last(&self) -> Option<(K, u64)> {
        K::last(self)
    }

    pub(crate) fn do_last(&self) -> Option<(K, u64)> {
        let slot = self.arena.leaf(self.last_leaf).keys.len();
        self.entry_before(Position { leaf: self.last_leaf, slot })
    }

    /// The entry with the largest key less than or equal to `key`.
    pub fn floor(&self, key: K) -> Option<(K, u64)> {
        K::floor(self, key)
    }

    pub(crate) fn do_floor(&self, key: K) -> Option<(K, u64)> {
        self.entry_before(self.position_above(key))
    }

    /// The entry with the smallest key greater than or equal to `key`.
    pub fn ceiling(&self, key: K) -> Option<(K, u64)> {
        K::ceiling(self, key)
    }

    pub(crate) fn do_ceiling(&self, key: K) -> Option<(K, u64)> {
        self.entry_after(self.position_below(key))
    }

    /// The entry with the largest key less than `key`.
    pub fn lower(&self, key: K) -> Option<(K, u64)> {
        K::lower(self, key)
    }

    pub(crate) fn do_lower(&self, key: K) -> Option<(K, u64)> {
        self.entry_before(self.position_below(key))
    }

    /// The entry with the smallest key greater than `key`.
    pub fn higher(&self, key: K) -> Option<(K, u64)> {
        K::higher(self, key)
    }

    pub(crate) fn do_higher(&self, key: K) -> Option<(K, u64)> {
        self.entry_after(self.position_above(key))
    }

    /// The position after all keys less than or equal to `key`, in the leaf that owns `key`.
    pub(crate) fn position_above(&self, key: K) -> Position {
        dispatch(self.backend, Locate { tree: self, key, after: true })
    }

    /// The position after all keys less than `key`, in the leaf that owns `key`.
    pub(crate) fn position_below(&self, key: K) -> Position {
        dispatch(self.backend, Locate { tree: self, key, after: false })
    }

    /// The first entry after a position.
    pub(crate) fn entry_after(&self, from: Position) -> Option<(K, u64)> {
        let Position { leaf: mut id, mut slot } = from;
        while id != NIL {
            let leaf = self.arena.leaf(id);
            if let Some(slot) = bitmap::next_set(leaf.bits, slot) {
                return Some((leaf.keys[slot], leaf.payloads[slot]));
            }
            (id, slot) = (leaf.head.next, 0);
        }
        None
    }

    /// The last entry before a position.
    pub(crate) fn entry_before(&self, to: Position) -> Option<(K, u64)> {
        let (mut id, mut slot) = (to.leaf, Some(to.slot));
        while id != NIL {
            let leaf = self.arena.leaf(id);
            if let Some(slot) = bitmap::previous_set(leaf.bits, slot.unwrap_or(leaf.keys.len())) {
                return Some((leaf.keys[slot], leaf.payloads[slot]));
            }
            (id, slot) = (leaf.head.prev, None);
        }
        None
    }
}

struct Locate<'a, K: Key> {
    tree: &'a Alex<K>,
    key: K,
    after: bool,
}

impl<K: Key> Operation for Locate<'_, K> {
    type Output = Position;

    #[inline(always)]
    fn run<S: Kernel>(self) -> Position {
        let id = self.tree.leaf_of(self.key);
        let leaf = self.tree.arena.leaf(id);
        // The lower bound is the upper bound of the key's predecessor, in the leaf that owns `key` itself.
        let slot = if self.after { leaf.upper_bound::<S>(self.key) } else { leaf.lower_bound::<S>(self.key) };
        Position { leaf: id, slot }
    }
}
