//! The parts of a node under construction: entries, leaves made so far, and a model node's plan and draft.
//!
//! Knows entries and slots, no memory.

use std::ops::Range;

use crate::key::Key;
use crate::node::{InnerHeader, NIL, NodeId, everything};

/// Entries in ascending order of keys.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a, K> {
    pub(crate) keys: &'a [K],
    pub(crate) payloads: &'a [u64],
}

impl<K> Entries<'_, K> {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        Self { keys: &self.keys[range.clone()], payloads: &self.payloads[range] }
    }
}

/// New leaves, linked with each other and not yet with the tree's.
pub(crate) struct Chain {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self { first: NIL, last: NIL }
    }
}

/// The keys that a new model node must cover, and the fill of its leaves.
#[derive(Clone, Copy)]
pub(crate) struct Plan<K> {
    /// The keys that its slot stands for in every node above it. Keys outside stay together in one edge slot
    /// at every depth, so that a node above can later move them out of one leaf.
    pub(crate) bounds: (K, K),
    /// The parent's shift, and the bits of a key at the root. The node's shift must be smaller.
    pub(crate) below: u32,
    /// Entries for each slot of its leaves.
    pub(crate) fill: f64,
    /// Whether leaves are divided until they are searched fast, not just until a model fits them: in bulk loads.
    pub(crate) divides: bool,
}

impl<K: Key> Plan<K> {
    /// Of a whole tree that is loaded.
    pub(crate) fn load(fill: f64) -> Self {
        Self { divides: true, ..Self::whole(fill) }
    }

    /// Of a whole tree.
    pub(crate) fn whole(fill: f64) -> Self {
        Self { bounds: everything(), below: K::BITS, fill, divides: false }
    }

    /// The plan of a node nested in one slot of `head`, whose plan this is.
    pub(crate) fn nested(self, head: &InnerHeader<K>, slot: usize) -> Self {
        Self { bounds: head.slot_bounds(slot, self.bounds), below: head.shift, ..self }
    }
}

/// A model node under construction.
pub(crate) struct Draft<K> {
    pub(crate) head: InnerHeader<K>,
    pub(crate) plan: Plan<K>,
    /// The children made so far, each with its first slot, ascending.
    pub(crate) pieces: Vec<(usize, NodeId)>,
}

impl<K> Draft<K> {
    /// The child entries of the finished node.
    pub(crate) fn children(&self) -> Vec<u32> {
        self.children_of(0..self.head.fanout as usize)
    }

    /// The child entries of these slots, which the pieces must cover.
    pub(crate) fn children_of(&self, slots: Range<usize>) -> Vec<u32> {
        let mut children = Vec::with_capacity(slots.len());
        let ends = self.pieces.iter().skip(1).map(|&(slot, _)| slot).chain([slots.end]);
        for (&(_, piece), end) in self.pieces.iter().zip(ends) {
            children.resize(end - slots.start, piece.0);
        }
        children
    }
}

/// The slot boundary inside `slots` that halves the keys best, and how many keys are below it: at least one
/// and not all. `None` if all keys share one slot.
pub(crate) fn balance<K: Key>(
    head: &InnerHeader<K>,
    keys: &[K],
    slots: &Range<usize>,
) -> Option<(usize, usize)> {
    let middle = head.route(*keys.get(keys.len() / 2)?);
    [middle, middle + 1]
        .into_iter()
        .filter(|boundary| (slots.start + 1..slots.end).contains(boundary))
        .map(|boundary| (boundary, keys.partition_point(|&key| head.route(key) < boundary)))
        // A cut must have keys on both sides. One at an end, if it were allowed, could win over a real one.
        .filter(|&(_, cut)| cut > 0 && cut < keys.len())
        .min_by_key(|&(_, cut)| cut.abs_diff(keys.len() / 2))
}

/// How many leading keys satisfy `holds`, which must hold for a prefix of them. Gallops: `O(log result)`.
pub(crate) fn prefix<K: Copy>(keys: &[K], holds: impl Fn(K) -> bool) -> usize {
    let mut bound = 1;
    while bound < keys.len() && holds(keys[bound]) {
        bound *= 2;
    }
    let low = bound / 2;
    low + keys[low..keys.len().min(bound)].partition_point(|&key| holds(key))
}

#[cfg(test)]
mod tests {
    use super::balance;
    use crate::node::InnerHeader;

    #[test]
    fn a_cut_has_keys_on_both_sides() {
        // Fourteen keys in slot 1 and one in slot 2: a cut before all of them would be as unbalanced as the
        // right one.
        let head = InnerHeader { base: 0, fanout: 4, shift: 4, children: 4 };
        let keys: Vec<i64> = (16..30).chain([40]).collect();
        assert_eq!(balance(&head, &keys, &(0..4)), Some((2, 14)));
        assert_eq!(balance(&head, &keys[..14], &(0..4)), None);
    }
}
