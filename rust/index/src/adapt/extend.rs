//! Keys outside a model node's range: extending the range, or a new model node above.
//!
//! Keys beyond the range are clamped into the edge slots. When an edge leaf overflows and an eighth of
//! it lies outside, the topmost node for which that holds gets more entries of the same width, on that
//! side; if that would be too many for its children, slots that the far leaf owns in excess are
//! trimmed; else a wider node goes above it. Moves at most one leaf; `O(leaf + fan-out)`.
//!
//! What keeps this exact: a nested node never tells keys apart that lie outside its slot in any node
//! above (`bounds`), so that all keys outside a node's range are in its one outermost leaf.
//!
//! Bounds: an array grows within `fanout_limit`, or to no more than the next power of two beside it. A
//! node above has at most 65 entries, and its shift lies strictly between its parent's and its child's:
//! it is at least the width of the child's whole range. Where that is not below the parent's, or no such
//! slot fits above `i64::MIN`, the child fills a quarter of what it can ever cover and is extended
//! instead, to four times its entries at most, once.

use super::split::fanout_limit;
use super::target::Target;
use crate::build::{Chain, Entries, SPLIT_FILL};
use crate::count;
use crate::node::layout::slots_within;
use crate::node::{EVERYTHING, InnerHeader, NodeId, Trend};
use crate::tree::Alex;

/// One in this many keys outside the range asks for an extension.
const SHARE: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A model node on the path whose range is to grow.
struct Growth<'a> {
    /// The nodes above it, the node, and whether it is the leaf's parent.
    above: &'a [(u32, usize)],
    node: u32,
    head: InnerHeader,
    is_parent: bool,
    side: Side,
    /// How far its own slot reaches, clipped to the keys.
    reach: i128,
    /// The keys that its own slot stands for.
    bounds: (i128, i128),
}

impl Growth<'_> {
    /// Slots of width 2^shift from the base to the farthest key (right), or down to it (left). On the
    /// left as many whole slots as there are above `i64::MIN`: one at least, by `nominal_first`.
    fn slots(&self, shift: u32) -> usize {
        let base = i128::from(self.head.base);
        let slots = match self.side {
            Side::Right => ((self.reach - base) >> shift) + 1,
            Side::Left => {
                let wanted = (base - self.reach + (1 << shift) - 1) >> shift;
                wanted.min((base - EVERYTHING.0) >> shift)
            }
        };
        usize::try_from(slots).unwrap_or(usize::MAX)
    }

    /// How many whole slots after `added` ones still begin (right) or lie (left) inside the bounds.
    fn room(&self, added: usize) -> usize {
        let room = match self.side {
            Side::Right => self.bounds.1 - self.head.slot_start(self.head.fanout as usize + added),
            Side::Left => i128::from(self.head.base) - ((added as i128) << self.head.shift) - self.bounds.0,
        };
        usize::try_from(room >> self.head.shift).unwrap_or(0)
    }
}

impl Alex {
    /// Extends a range if an eighth of the leaf's keys lie outside one; says whether it did.
    pub(super) fn extend(&mut self, target: &Target, entries: Entries<'_>) -> bool {
        let Some(growth) = self.find_growth(target, entries.keys) else { return false };
        let fanout = growth.head.fanout as usize;
        let added = match growth.side {
            Side::Right => growth.slots(growth.head.shift) - fanout,
            Side::Left => growth.slots(growth.head.shift),
        };
        let round = fanout.next_power_of_two();
        let limit = fanout_limit(growth.head.children + 1).max(round);
        if added <= limit - fanout {
            // A quarter more than needed, so that a trend does not copy the entries for every leaf.
            let spare = if growth.is_parent { (fanout / 4).min(limit - fanout - added) } else { 0 };
            self.widen(target, entries, &growth, added + spare.min(growth.room(added)));
        } else if !(growth.is_parent && self.trim(&growth)) {
            let parent_shift = growth.above.last().map_or(64, |&(node, _)| self.arena.inner(node).head.shift);
            let own = growth.head.shift + round.ilog2();
            let distance = (growth.reach - i128::from(growth.head.base)).unsigned_abs();
            let shift = own.max((distance.ilog2() + 1).saturating_sub(6));
            if shift >= parent_shift || growth.slots(shift) == 0 {
                self.widen(target, entries, &growth, added);
            } else {
                self.wrap(target, entries, &growth, shift);
            }
        }
        true
    }

    /// The topmost node on the path with enough of the keys outside its range.
    fn find_growth<'a>(&self, target: &'a Target, keys: &[i64]) -> Option<Growth<'a>> {
        let share = (keys.len() / SHARE).max(1);
        let mut bounds = EVERYTHING;
        for (depth, &(node, slot)) in target.path.iter().enumerate() {
            let head = *self.arena.inner(node).head;
            let beyond = keys.len() - keys.partition_point(|&key| i128::from(key) <= head.nominal_last());
            let before = keys.partition_point(|&key| i128::from(key) < head.nominal_first());
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

    /// Adds entries of the same width on one side. They go to the leaf itself if it is a child of the
    /// node; else the keys outside move to a leaf of their own, which owns them.
    fn widen(&mut self, target: &Target, entries: Entries<'_>, growth: &Growth<'_>, added: usize) {
        let mut head = growth.head;
        let owner = if growth.is_parent {
            target.leaf
        } else {
            let edge = match growth.side {
                Side::Right => head.nominal_last() + 1,
                Side::Left => head.base.into(),
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
            head.base = (i128::from(head.base) - ((added as i128) << head.shift)) as i64;
        }
        self.rewrite_inner(growth.above, growth.node, head, &children);
    }

    /// Puts a wider model node above: one slot for the node, the others for the keys outside.
    fn wrap(&mut self, target: &Target, entries: Entries<'_>, growth: &Growth<'_>, shift: u32) {
        let base = i128::from(growth.head.base);
        // Keys outside the child's range but in its new slot stay with it.
        let (fanout, place, first, edge) = match growth.side {
            Side::Right => (growth.slots(shift), 0, base, base + (1 << shift)),
            Side::Left => {
                let below = growth.slots(shift);
                (below + 1, below, base - ((below as i128) << shift), base)
            }
        };
        let leaf = self.move_out(target, entries, growth.side, edge);
        let id = self.arena.allocate_inner(fanout);
        let wrapper = self.arena.inner_mut(id);
        *wrapper.head = InnerHeader { base: first as i64, fanout: fanout as u32, shift, children: 2 };
        wrapper.children.fill(NodeId::leaf(leaf).0);
        wrapper.children[place] = NodeId::inner(growth.node).0;
        self.point(growth.above, NodeId::inner(id));
    }

    /// Splits the leaf below the key `edge`: its place keeps the keys on the inner side, a new neighbour
    /// takes those outside and is returned, not yet in any model node.
    fn move_out(&mut self, target: &Target, entries: Entries<'_>, side: Side, edge: i128) -> u32 {
        let cut = entries.keys.partition_point(|&key| i128::from(key) < edge);
        let (left, right) = (entries.part(0..cut), entries.part(cut..entries.len()));
        let mut chain = Chain::new();
        let sizes = [left, right].map(|part| slots_within(part.len(), SPLIT_FILL, self.max_slots));
        let left = self.new_leaf(&mut chain, left, sizes[0], Trend::Anywhere);
        let right = self.new_leaf(&mut chain, right, sizes[1], Trend::Anywhere);
        let (inside, outside) = if side == Side::Right { (left, right) } else { (right, left) };
        self.replace(target, &chain, &[NodeId::leaf(inside)]);
        outside
    }

    /// Takes slots in excess from the leaf at the other end: of a queue, the drained part. Its keys stay
    /// where they are, clamped. Says whether half of the entries went.
    fn trim(&mut self, growth: &Growth<'_>) -> bool {
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
                head.base = head.slot_start(excess) as i64;
                children[excess..].to_vec()
            }
            Side::Left => children[..children.len() - excess].to_vec(),
        };
        self.rewrite_inner(growth.above, growth.node, head, &kept);
        true
    }
}

/// How many times as far as the others an eighth of the keys outside may lie and still be covered.
const FAR: i128 = 8;

/// The highest of the keys above a range that an extension should cover, or one inside if there is none.
fn highest(beyond: &[i64], head: &InnerHeader) -> i128 {
    let Some(&last) = beyond.last() else { return head.nominal_last() };
    let most = i128::from(beyond[beyond.len() - 1 - beyond.len() / SHARE]);
    let last = i128::from(last);
    if last - most > FAR * (most - head.nominal_last()) { most } else { last }
}

/// The lowest of the keys below a range that an extension should cover, or one inside if there is none.
fn lowest(before: &[i64], head: &InnerHeader) -> i128 {
    let Some(&first) = before.first() else { return head.nominal_first() };
    let (first, most) = (i128::from(first), i128::from(before[before.len() / SHARE]));
    if most - first > FAR * (head.nominal_first() - most) { most } else { first }
}
