//! Keys outside a model node's range: the range is extended, or a wider model node goes above.
//!
//! Keys outside the range are clamped into the edge slots. When an edge leaf overflows and an eighth of its
//! keys are outside the range of a node above it, the topmost such node grows on that side. It gets more
//! slots of the same width. If those are too many for its children, slots at the other end are trimmed that
//! one leaf owns in excess. If that does not help, a wider node goes above it. At most one leaf is moved:
//! `O(leaf + fan-out)`.
//!
//! Why this is exact: a nested node never tells keys apart that are outside its slot in a node above
//! (`bounds`). So all keys outside a node's range, on one side, are in one leaf.
//!
//! Bounds: a node grows within `fanout_limit`, or up to the next power of two of its fan-out. A wider node
//! above has at most 65 slots, and its shift is strictly between its parent's and its child's: one of its
//! slots is at least as wide as the child's whole range. Where that shift is not below the parent's, or no
//! such slot fits above the least key, the child already covers a quarter of what it ever can; then it is
//! extended instead, to four times its slots at most, which can happen once.

use super::split::fanout_limit;
use super::target::Target;
use crate::build::{Chain, Entries, split_fill};
use crate::count;
use crate::key::{Distance, Key};
use crate::node::layout::slots_within;
use crate::node::{InnerHeader, NodeId, Trend, everything};
use crate::tree::Alex;

/// A range is extended when at least one in this many keys of the leaf is outside it.
const SHARE: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A model node on the path whose range must grow.
struct Growth<'a, K: Key> {
    /// The path to the node.
    above: &'a [(u32, usize)],
    node: u32,
    head: InnerHeader<K>,
    /// Whether the node is the leaf's parent.
    is_parent: bool,
    side: Side,
    /// The farthest key on that side that the new range must cover.
    reach: K,
    /// The keys that the node's own slot in its parent stands for.
    bounds: (K, K),
}

impl<K: Key> Growth<'_, K> {
    /// How many slots of width 2^shift it takes from the base up to `reach` (right) or down to it (left). On
    /// the left they are whole slots above the least key: at least one at the node's own shift, because of
    /// `nominal_first`.
    fn slots(&self, shift: u32) -> usize {
        let base = self.head.base;
        match self.side {
            Side::Right => self.reach.since(base).slots(shift).saturating_add(1),
            Side::Left => {
                let distance = base.since(self.reach);
                let rest = usize::from(distance >> shift << shift != distance);
                base.since(K::MIN).slots(shift).min(distance.slots(shift).saturating_add(rest))
            }
        }
    }

    /// How many more slots, after `added` new ones, still begin (right) or lie wholly (left) inside the
    /// bounds.
    fn room(&self, added: usize) -> usize {
        let InnerHeader { base, shift, fanout, .. } = self.head;
        let room = match self.side {
            Side::Right => self.head.slot_start(fanout as usize + added).map(|end| self.bounds.1.above(end)),
            Side::Left => K::Distance::of_slots(added, shift)
                .and_then(|width| base.checked_down(width))
                .map(|start| start.above(self.bounds.0)),
        };
        room.map_or(0, |room| room.slots(shift))
    }
}

impl<K: Key> Alex<K> {
    /// Extends a range above the leaf if an eighth of the leaf's keys are outside it. Returns whether it did.
    pub(super) fn extend(&mut self, target: &Target, entries: Entries<'_, K>) -> bool {
        let Some(growth) = self.find_growth(target, entries.keys) else { return false };
        let fanout = growth.head.fanout as usize;
        let added = match growth.side {
            Side::Right => growth.slots(growth.head.shift) - fanout,
            Side::Left => growth.slots(growth.head.shift),
        };
        let round = fanout.next_power_of_two();
        let limit = fanout_limit(growth.head.children + 1).max(round);
        if added <= limit - fanout {
            // A quarter more than needed, so that a trend does not copy all child entries for every leaf.
            let spare = if growth.is_parent { (fanout / 4).min(limit - fanout - added) } else { 0 };
            self.widen(target, entries, &growth, added + spare.min(growth.room(added)));
        } else if !(growth.is_parent && self.trim(&growth)) {
            let parent_shift =
                growth.above.last().map_or(K::BITS, |&(node, _)| self.arena.inner(node).head.shift);
            let own = growth.head.shift + round.ilog2();
            let (reach, base) = (growth.reach, growth.head.base);
            let distance = reach.max(base).since(reach.min(base));
            let shift = own.max(distance.bits().saturating_sub(6));
            if shift >= parent_shift || growth.slots(shift) == 0 {
                self.widen(target, entries, &growth, added);
            } else {
                self.wrap(target, entries, &growth, shift);
            }
        }
        true
    }

    /// The topmost node on the path that has enough of the keys outside its range.
    fn find_growth<'a>(&self, target: &'a Target, keys: &[K]) -> Option<Growth<'a, K>> {
        let share = (keys.len() / SHARE).max(1);
        let mut bounds = everything();
        for (depth, &(node, slot)) in target.path.iter().enumerate() {
            let head = *self.arena.inner(node).head;
            let beyond = keys.len() - keys.partition_point(|&key| key <= head.nominal_last());
            let before = keys.partition_point(|&key| key < head.nominal_first());
            let (low, high) = (
                lowest(&keys[..before], &head).max(bounds.0),
                highest(&keys[keys.len() - beyond..], &head).min(bounds.1),
            );
            let found = if beyond >= share && high > head.nominal_last() {
                Some((Side::Right, high))
            } else if before >= share && low < head.nominal_first() {
                Some((Side::Left, low))
            } else {
                None
            };
            if let Some((side, reach)) = found {
                let above = &target.path[..depth];
                let is_parent = depth + 1 == target.path.len();
                return Some(Growth { above, node, head, is_parent, side, reach, bounds });
            }
            bounds = head.slot_bounds(slot, bounds);
        }
        None
    }

    /// Adds slots of the same width on one side. The leaf owns them if it is a child of the node. Else the
    /// keys outside move to a new leaf, which owns them.
    fn widen(&mut self, target: &Target, entries: Entries<'_, K>, growth: &Growth<'_, K>, added: usize) {
        let mut head = growth.head;
        let owner = if growth.is_parent {
            target.leaf
        } else {
            let edge = match growth.side {
                // There are keys beyond the last one of the range.
                Side::Right => head.nominal_last().up(K::Distance::ONE),
                Side::Left => head.base,
            };
            head.children += 1;
            self.move_out(target, entries, growth.side, edge)
        };
        let more = std::iter::repeat_n(NodeId::leaf(owner).0, added);
        let old = self.arena.inner(growth.node).children;
        count::touch(old);
        let children: Vec<u32> = match growth.side {
            Side::Right => old.iter().copied().chain(more).collect(),
            Side::Left => more.chain(old.iter().copied()).collect(),
        };
        if growth.side == Side::Left {
            head.base = head.base.down(width_of::<K>(added, head.shift));
        }
        self.rewrite_inner(growth.above, growth.node, head, &children);
    }

    /// Puts a wider model node above the node: one slot is for the node, the others are for the keys outside.
    fn wrap(&mut self, target: &Target, entries: Entries<'_, K>, growth: &Growth<'_, K>, shift: u32) {
        let base = growth.head.base;
        // Keys outside the child's range stay with it where they are inside its slot of the wider node.
        let (fanout, place, first, edge) = match growth.side {
            Side::Right => (growth.slots(shift), 0, base, base.up(width_of::<K>(1, shift))),
            Side::Left => {
                let below = growth.slots(shift);
                (below + 1, below, base.down(width_of::<K>(below, shift)), base)
            }
        };
        let leaf = self.move_out(target, entries, growth.side, edge);
        let id = self.arena.allocate_inner(fanout);
        let wrapper = self.arena.inner_mut(id);
        *wrapper.head = InnerHeader { base: first, fanout: fanout as u32, shift, children: 2 };
        wrapper.children.fill(NodeId::leaf(leaf).0);
        wrapper.children[place] = NodeId::inner(growth.node).0;
        self.point(growth.above, NodeId::inner(id));
    }

    /// Splits the leaf before the key `edge`. The keys on the inner side stay in the leaf's slots; those
    /// outside go to a new neighbour, which is returned and is not in any model node yet.
    fn move_out(&mut self, target: &Target, entries: Entries<'_, K>, side: Side, edge: K) -> u32 {
        let cut = entries.keys.partition_point(|&key| key < edge);
        let (left, right) = (entries.part(0..cut), entries.part(cut..entries.len()));
        let mut chain = Chain::new();
        let sizes = [left, right].map(|part| slots_within(part.len(), split_fill::<K>(), self.max_slots));
        let left = self.new_leaf(&mut chain, left, sizes[0], Trend::Anywhere);
        let right = self.new_leaf(&mut chain, right, sizes[1], Trend::Anywhere);
        let (inside, outside) = if side == Side::Right { (left, right) } else { (right, left) };
        self.replace(target, &chain, &[NodeId::leaf(inside)]);
        outside
    }

    /// Removes the slots that the leaf at the other end owns beyond one, as in a queue whose old end is
    /// drained. Its keys stay in it, clamped into the slot that it keeps. Returns whether at least half of
    /// the slots went; else does nothing.
    fn trim(&mut self, growth: &Growth<'_, K>) -> bool {
        let mut head = growth.head;
        let children = self.arena.inner(growth.node).children;
        let far = if growth.side == Side::Right { 0 } else { children.len() - 1 };
        let run = self.run_of(growth.node, far);
        count::touch(children);
        let excess = run.len() - 1;
        if excess * 2 < children.len() || run.len() == children.len() {
            return false;
        }
        let kept = match growth.side {
            Side::Right => {
                head.base = head.base.up(width_of::<K>(excess, head.shift));
                children[excess..].to_vec()
            }
            Side::Left => children[..children.len() - excess].to_vec(),
        };
        self.rewrite_inner(growth.above, growth.node, head, &kept);
        true
    }
}

/// The farthest eighth of the keys outside is covered too, unless it is this many times as far away as the
/// others.
const FAR: u8 = 8;

/// The width of slots whose both ends are known to be keys.
fn width_of<K: Key>(slots: usize, shift: u32) -> K::Distance {
    let width = K::Distance::of_slots(slots, shift);
    debug_assert!(width.is_some(), "{slots} slots of 2^{shift} keys are wider than all keys");
    width.unwrap_or(K::Distance::ZERO)
}

/// The highest key that an extension should cover, of those above the range. Without any, a key inside the
/// range.
fn highest<K: Key>(beyond: &[K], head: &InnerHeader<K>) -> K {
    let Some(&last) = beyond.last() else { return head.nominal_last() };
    let most = beyond[beyond.len() - 1 - beyond.len() / SHARE];
    if last.since(most) > most.since(head.nominal_last()).times(FAR) { most } else { last }
}

/// The lowest key that an extension should cover, of those below the range. Without any, a key inside the
/// range.
fn lowest<K: Key>(before: &[K], head: &InnerHeader<K>) -> K {
    let Some(&first) = before.first() else { return head.nominal_first() };
    let most = before[before.len() / SHARE];
    if most.since(first) > head.nominal_first().since(most).times(FAR) { most } else { first }
}
