//! The ends of the index and the nearest key on either side of one: first, last, floor, ceiling, lower,
//! higher. One descent and one search; empty leaves on the way are stepped over.

use crate::node::{NIL, bitmap};
use crate::search::{Kernel, Operation, dispatch};
use crate::tree::Alex;

/// A place between slots: `slot` is the first slot on the right of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) leaf: u32,
    pub(crate) slot: usize,
}

impl Alex {
    /// The smallest key and its payload.
    pub fn first(&self) -> Option<(i64, u64)> {
        self.entry_after(Position { leaf: self.first_leaf, slot: 0 })
    }

    /// The largest key and its payload.
    pub fn last(&self) -> Option<(i64, u64)> {
        let slot = self.arena.leaf(self.last_leaf).keys.len();
        self.entry_before(Position { leaf: self.last_leaf, slot })
    }

    /// The largest key at most `key`.
    pub fn floor(&self, key: i64) -> Option<(i64, u64)> {
        self.entry_before(self.position_above(key))
    }

    /// The smallest key at least `key`.
    pub fn ceiling(&self, key: i64) -> Option<(i64, u64)> {
        self.entry_after(self.position_below(key))
    }

    /// The largest key below `key`.
    pub fn lower(&self, key: i64) -> Option<(i64, u64)> {
        self.entry_before(self.position_below(key))
    }

    /// The smallest key above `key`.
    pub fn higher(&self, key: i64) -> Option<(i64, u64)> {
        self.entry_after(self.position_above(key))
    }

    /// Between the keys at most `key` and those above it, in the leaf that owns `key`.
    pub(crate) fn position_above(&self, key: i64) -> Position {
        dispatch(self.backend, Locate { tree: self, key, after: true })
    }

    /// Between the keys below `key` and those from it on, in the leaf that owns `key`.
    pub(crate) fn position_below(&self, key: i64) -> Position {
        dispatch(self.backend, Locate { tree: self, key, after: false })
    }

    pub(crate) fn entry_after(&self, from: Position) -> Option<(i64, u64)> {
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

    pub(crate) fn entry_before(&self, to: Position) -> Option<(i64, u64)> {
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

struct Locate<'a> {
    tree: &'a Alex,
    key: i64,
    after: bool,
}

impl Operation for Locate<'_> {
    type Output = Position;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Position {
        let id = self.tree.leaf_of(self.key);
        let leaf = self.tree.arena.leaf(id);
        // Below `key` is above its predecessor; the leaf stays the one that owns `key`.
        let slot = if self.after { leaf.upper_bound::<K>(self.key) } else { leaf.lower_bound::<K>(self.key) };
        Position { leaf: id, slot }
    }
}
