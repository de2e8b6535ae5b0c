//! What building goes by: the entries, the leaves made so far, the plan of a model node and its draft.
//!
//! Knows entries and slots, no memory.

use std::ops::Range;

use crate::node::{EVERYTHING, InnerHeader, NIL, NodeId};

/// Ascending entries.
#[derive(Clone, Copy)]
pub(crate) struct Entries<'a> {
    pub(crate) keys: &'a [i64],
    pub(crate) payloads: &'a [u64],
}

impl Entries<'_> {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn part(&self, range: Range<usize>) -> Self {
        Self { keys: &self.keys[range.clone()], payloads: &self.payloads[range] }
    }
}

/// New leaves, linked to each other and not yet to the tree's.
pub(crate) struct Chain {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self { first: NIL, last: NIL }
    }
}

/// What a new model node must cover and how its leaves are filled.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// The keys that its slot stands for in every node above it. Keys outside all go to one edge slot,
    /// at every depth: a node above can later move them out of one leaf.
    pub(crate) bounds: (i128, i128),
    /// The parent's shift: the node's is smaller. 64 at the root.
    pub(crate) below: u32,
    pub(crate) fill: f64,
}

impl Plan {
    pub(crate) fn whole(fill: f64) -> Self {
        Self { bounds: EVERYTHING, below: 64, fill }
    }

    /// The plan of a node nested in one slot of `head`, which has this plan.
    pub(crate) fn nested(self, head: &InnerHeader, slot: usize) -> Self {
        Self { bounds: head.slot_bounds(slot, self.bounds), below: head.shift, ..self }
    }
}

/// A model node under construction: children by their first slot, ascending.
pub(crate) struct Draft {
    pub(crate) head: InnerHeader,
    pub(crate) plan: Plan,
    pub(crate) pieces: Vec<(usize, NodeId)>,
}

impl Draft {
    /// The entries of the finished node.
    pub(crate) fn children(&self) -> Vec<u32> {
        self.children_of(0..self.head.fanout as usize)
    }

    /// The entries of these slots, which the pieces cover.
    pub(crate) fn children_of(&self, slots: Range<usize>) -> Vec<u32> {
        let mut children = Vec::with_capacity(slots.len());
        let ends = self.pieces.iter().skip(1).map(|&(slot, _)| slot).chain([slots.end]);
        for (&(_, piece), end) in self.pieces.iter().zip(ends) {
            children.resize(end - slots.start, piece.0);
        }
        children
    }
}

/// The slot boundary inside `slots` that halves the keys best, and the entries below it: some, not all. `None`
/// if all keys share one slot.
pub(crate) fn balance(head: &InnerHeader, keys: &[i64], slots: &Range<usize>) -> Option<(usize, usize)> {
    let middle = head.route(*keys.get(keys.len() / 2)?);
    [middle, middle + 1]
        .into_iter()
        .filter(|boundary| (slots.start + 1..slots.end).contains(boundary))
        .map(|boundary| (boundary, keys.partition_point(|&key| head.route(key) < boundary)))
        // A cut at an end is none: taken for one, it would hide that the other boundary has a key beyond it.
        .filter(|&(_, cut)| cut > 0 && cut < keys.len())
        .min_by_key(|&(_, cut)| cut.abs_diff(keys.len() / 2))
}

/// How many leading keys satisfy a predicate that holds for a prefix, by galloping: `O(log result)`.
pub(crate) fn prefix(keys: &[i64], holds: impl Fn(i64) -> bool) -> usize {
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
        // Fourteen keys of slot 1 and one of slot 2: a cut before them all halves as badly as the one between.
        let head = InnerHeader { base: 0, fanout: 4, shift: 4, children: 4 };
        let keys: Vec<i64> = (16..30).chain([40]).collect();
        assert_eq!(balance(&head, &keys, &(0..4)), Some((2, 14)));
        assert_eq!(balance(&head, &keys[..14], &(0..4)), None);
    }
}
