//! Splitting a leaf.
//!
//! The leaf is cut between two of its slots if that balances. Else the parent's slots are halved until a cut
//! between two of them would balance. Else the slot that holds most keys gets a model node of its own. Each
//! step changes one leaf and one model node: `O(leaf + fan-out)`.

use std::ops::Range;

use super::target::Target;
use crate::build::{Chain, Draft, Entries, Plan, balance, settled_fill, split_fill};
use crate::count;
use crate::key::Key;
use crate::node::layout::{PACKED_FILL, slots_within};
use crate::node::{InnerHeader, NodeId, Trend};
use crate::tree::Alex;

/// The most slots of a model node for each of its children.
const SLOTS_PER_CHILD: usize = 32;
/// Slots that a model node may have however few children it has.
const SLOTS_FREE: usize = 1024;
/// The most slots of a model node.
const MAX_FANOUT: usize = 1 << 16;

/// The most slots of a model node with this many children.
pub(crate) fn fanout_limit(children: u32) -> usize {
    (children as usize * SLOTS_PER_CHILD).clamp(SLOTS_FREE, MAX_FANOUT)
}

impl<K: Key> Alex<K> {
    /// Splits the leaf, or prepares its parent for a split.
    pub(super) fn split(&mut self, target: &Target, entries: Entries<'_, K>) {
        let fill = settled_fill(entries.keys, target.trend);
        let Some(&(parent, slot)) = target.path.last() else {
            let mut chain = Chain::new();
            let root = self.do_new_node(&mut chain, entries, Plan::whole(fill));
            self.replace(target, &chain, &[root]);
            return;
        };
        let run = self.run_of(parent, slot);
        let head = *self.arena.inner(parent).head;
        if let Some((boundary, cut)) = choose(&head, entries.keys, &run, target.trend) {
            self.split_sideways(target, entries, &run, boundary, cut);
        } else if let Some(doublings) = self.useful_doublings(target, entries.keys) {
            self.double(target, doublings);
        } else {
            self.split_down(target, entries, &run, &head, fill);
        }
    }

    /// Splits the leaf of `run` at the slot `boundary`, which is before entry `cut`. On a trend, the side
    /// that the trend leaves behind gets settled leaves, as many as suit it, and the side that grows gets a
    /// leaf with room.
    fn split_sideways(
        &mut self,
        target: &Target,
        entries: Entries<'_, K>,
        run: &Range<usize>,
        boundary: usize,
        cut: usize,
    ) {
        let Some((&(parent, _), above)) = target.path.split_last() else { return };
        let (left, right) = (entries.part(0..cut), entries.part(cut..entries.len()));
        let head = *self.arena.inner(parent).head;
        let plan = |fill| Plan { bounds: self.bounds(above), below: K::BITS, fill, divides: false };
        let settled = if target.trend == Trend::Descending { right } else { left };
        let plan = plan(settled_fill(settled.keys, target.trend));
        let mut draft = Draft { head, plan, pieces: Vec::new() };
        let mut chain = Chain::new();
        let sides =
            [(left, run.start..boundary, Trend::Descending), (right, boundary..run.end, Trend::Ascending)];
        for (part, slots, growth) in sides {
            if target.trend == growth {
                // Room for as many entries again, and no more: a trend may end here, and empty slots cost
                // memory.
                let room = entries.len().min(self.max_slots / 2).next_multiple_of(64);
                let capacity =
                    slots_within(part.len(), PACKED_FILL, self.max_slots).max(room.min(self.max_slots));
                let leaf = self.new_leaf(&mut chain, part, capacity, growth);
                draft.pieces.push((slots.start, NodeId::leaf(leaf)));
            } else {
                self.do_emit(&mut chain, part, &mut draft, slots);
            }
        }
        let pieces: Vec<NodeId> = draft.children_of(run.clone()).into_iter().map(NodeId).collect();
        self.replace(target, &chain, &pieces);
    }

    /// Gives the slot that holds nearly all keys a model node of its own, and the slots before and behind it
    /// a leaf each.
    fn split_down(
        &mut self,
        target: &Target,
        entries: Entries<'_, K>,
        run: &Range<usize>,
        head: &InnerHeader<K>,
        fill: f64,
    ) {
        let slot = head.route(entries.keys[entries.len() / 2]);
        let low = entries.keys.partition_point(|&key| head.route(key) < slot);
        let high = entries.keys.partition_point(|&key| head.route(key) <= slot);
        let mut chain = Chain::new();
        let mut pieces = Vec::with_capacity(run.len());
        if run.start < slot {
            let part = entries.part(0..low);
            let leaf = self.new_leaf(
                &mut chain,
                part,
                slots_within(low, split_fill::<K>(), self.max_slots),
                Trend::Anywhere,
            );
            pieces.resize(slot - run.start, NodeId::leaf(leaf));
        }
        let above = &target.path[..target.path.len().saturating_sub(1)];
        let bounds = head.slot_bounds(slot, self.bounds(above));
        let plan = Plan { bounds, below: head.shift, fill, divides: false };
        pieces.push(self.do_new_node(&mut chain, entries.part(low..high), plan));
        if slot + 1 < run.end {
            let part = entries.part(high..entries.len());
            let capacity = slots_within(part.len(), split_fill::<K>(), self.max_slots);
            let leaf = self.new_leaf(&mut chain, part, capacity, Trend::Anywhere);
            pieces.resize(run.len(), NodeId::leaf(leaf));
        }
        self.replace(target, &chain, &pieces);
    }

    /// How often the parent's slots must be halved so that a cut between two of them balances. `None` if it
    /// takes more slots than the parent may have.
    fn useful_doublings(&self, target: &Target, keys: &[K]) -> Option<u32> {
        let (&(parent, _), above) = target.path.split_last()?;
        let node = self.arena.inner(parent);
        let limit = fanout_limit(node.head.children + 1);
        if node.children.len() * 2 > limit {
            return None;
        }
        // A nested model node owns exactly one slot, on which the bound of the depth relies, so its parent's
        // slots cannot be halved.
        count::touch(node.children);
        if node.children.iter().any(|&child| !NodeId(child).is_leaf()) {
            return None;
        }
        let bounds = self.bounds(above);
        (1..=node.head.shift).take_while(|doublings| node.children.len() << doublings <= limit).find(
            |&doublings| {
                let (finer, _) = node.head.doubled(doublings, bounds);
                choose(&finer, keys, &(0..finer.fanout as usize), target.trend).is_some()
            },
        )
    }

    /// Halves every slot of the leaf's parent `doublings` times.
    fn double(&mut self, target: &Target, doublings: u32) {
        let Some((&(parent, _), above)) = target.path.split_last() else { return };
        let bounds = self.bounds(above);
        let node = self.arena.inner(parent);
        let (head, dropped) = node.head.doubled(doublings, bounds);
        let times = 1 << doublings;
        count::touch(node.children);
        let halves = node.children.iter().flat_map(|&child| std::iter::repeat_n(child, times));
        let children: Vec<u32> = halves.skip(dropped).take(head.fanout as usize).collect();
        self.rewrite_inner(above, parent, head, &children);
    }
}

/// The slot boundary where a run of slots is cut, and how many keys are below it. On a trend it is the
/// outermost boundary at the growing end that leaves at least half of the keys behind; else the most balanced
/// boundary, with at least an eighth of the keys on each side. `None` if there is no such boundary.
fn choose<K: Key>(
    head: &InnerHeader<K>,
    keys: &[K],
    run: &Range<usize>,
    trend: Trend,
) -> Option<(usize, usize)> {
    let (first, last) = (*keys.first()?, *keys.last()?);
    let below = |boundary: usize| keys.partition_point(|&key| head.route(key) < boundary);
    let inside = |boundary: &usize| (run.start + 1..run.end).contains(boundary);
    let half = keys.len() / 2;
    let edge = match trend {
        Trend::Anywhere => None,
        Trend::Ascending => Some(head.route(last)).filter(inside).filter(|&at| below(at) >= half),
        Trend::Descending => {
            Some(head.route(first) + 1).filter(inside).filter(|&at| keys.len() - below(at) >= half)
        }
    };
    if let Some(boundary) = edge {
        return Some((boundary, below(boundary)));
    }
    let (boundary, cut) = balance(head, keys, run)?;
    (cut.min(keys.len() - cut) >= (keys.len() / 8).max(1)).then_some((boundary, cut))
}
