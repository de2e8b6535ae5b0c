//! Making room in a full leaf: expand and retrain it, or split it sideways or down.
//!
//! A leaf is rebuilt larger while it is below its maximum and a model fits it. Else, if it holds many
//! keys outside its model node's range, the range is extended (`extend.rs`); else it is split between
//! two of its slots; else the parent's entries are doubled until a split would balance; else the slot
//! gets a nested model node. Each step works on one leaf and one array of entries: `O(leaf + fan-out)`.

use std::ops::Range;

use crate::build::{Chain, Draft, Entries, Plan, SPLIT_FILL, balance, settled_fill};
use crate::count;
use crate::node::layout::{PACKED_FILL, slots_for, slots_within};
use crate::node::{EVERYTHING, InnerHeader, NIL, NodeId, Trend};
use crate::tree::Alex;

/// Entries that a model node may have for each of its children, and in any case.
const ENTRIES_PER_CHILD: usize = 16;
const ENTRIES_FREE: usize = 1024;
const MAX_FANOUT: usize = 1 << 16;

/// Entries that a model node with this many children may grow to.
pub(crate) fn fanout_limit(children: u32) -> usize {
    (children as usize * ENTRIES_PER_CHILD).clamp(ENTRIES_FREE, MAX_FANOUT)
}

/// A leaf about to be replaced, and the way to it.
pub(crate) struct Target {
    /// Model nodes from the root, each with the slot taken.
    pub(crate) path: Vec<(u32, usize)>,
    pub(crate) leaf: u32,
    pub(crate) trend: Trend,
    /// Shifts within it have run up a debt: more keys come in one place than its model can spread.
    pub(crate) crowded: bool,
}

impl Alex {
    /// The leaf that owns `key`, with its path.
    pub(crate) fn target(&self, key: i64) -> Target {
        let mut path = Vec::with_capacity(8);
        let mut node = self.root;
        while !node.is_leaf() {
            let inner = self.arena.inner(node.id());
            let slot = inner.head.route(key);
            path.push((node.id(), slot));
            count::touch_one(&inner.children[slot]);
            node = NodeId(inner.children[slot]);
        }
        let head = self.arena.leaf(node.id()).head;
        Target { path, leaf: node.id(), trend: head.trend(), crowded: head.is_crowded() }
    }

    /// Changes the tree so that the leaf that owns `key` comes closer to having room.
    #[cold]
    #[inline(never)]
    pub(crate) fn make_room(&mut self, key: i64) {
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

    /// `make_room` for many: never by rebuilding the leaf as it is.
    #[cold]
    #[inline(never)]
    pub(crate) fn divide(&mut self, key: i64) {
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

    /// Calls `work` with a copy of a leaf's entries.
    pub(crate) fn with_entries(&mut self, leaf: u32, work: impl FnOnce(&mut Self, Entries<'_>)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.keys.clear();
        scratch.payloads.clear();
        self.copy_out(leaf, &mut scratch.keys, &mut scratch.payloads);
        work(self, Entries { keys: &scratch.keys, payloads: &scratch.payloads });
        self.scratch = scratch;
    }

    /// The last resort, should `make_room` ever fail to get anywhere: a larger leaf, whatever its size. A
    /// slow leaf is better than an endless insert; tests see it as the defect it would be.
    #[cold]
    #[inline(never)]
    pub(crate) fn force_room(&mut self, key: i64) {
        debug_assert!(false, "making room for {key} gets nowhere");
        let target = self.target(key);
        let (mut keys, mut payloads) = (Vec::new(), Vec::new());
        self.copy_out(target.leaf, &mut keys, &mut payloads);
        self.version += 1;
        let mut chain = Chain::new();
        let entries = Entries { keys: &keys, payloads: &payloads };
        let capacity = slots_for(entries.len(), SPLIT_FILL);
        let leaf = self.new_leaf(&mut chain, entries, capacity, Trend::Anywhere);
        self.replace(&target, &chain, &[NodeId::leaf(leaf)]);
    }

    /// Rebuilds the leaf with more slots, if it may have more and a model fits it.
    fn expand(&mut self, target: &Target, entries: Entries<'_>) -> bool {
        let count = entries.len();
        if target.crowded && count >= self.min_split() {
            // Smaller leaves move less; in one of this size the next key would be as dear as the last.
            return false;
        }
        let (most, capacity) = match target.trend {
            Trend::Anywhere => (0.72, slots_for(count, SPLIT_FILL)),
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

    /// Splits the leaf one way or another.
    fn split(&mut self, target: &Target, entries: Entries<'_>) {
        let fill = settled_fill(entries.keys, target.trend);
        let Some(&(parent, slot)) = target.path.last() else {
            let mut chain = Chain::new();
            let root = self.new_node(&mut chain, entries, Plan::whole(fill));
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

    /// `run` cut at `boundary`. On a trend the side left behind is settled, in as many leaves as suit it, and
    /// the side that grows starts with room.
    fn split_sideways(
        &mut self,
        target: &Target,
        entries: Entries<'_>,
        run: &Range<usize>,
        boundary: usize,
        cut: usize,
    ) {
        let Some((&(parent, _), above)) = target.path.split_last() else { return };
        let (left, right) = (entries.part(0..cut), entries.part(cut..entries.len()));
        let head = *self.arena.inner(parent).head;
        let plan = |fill| Plan { bounds: self.bounds(above), below: 64, fill };
        let settled = if target.trend == Trend::Descending { right } else { left };
        let plan = plan(settled_fill(settled.keys, target.trend));
        let mut draft = Draft { head, plan, pieces: Vec::new() };
        let mut chain = Chain::new();
        let sides =
            [(left, run.start..boundary, Trend::Descending), (right, boundary..run.end, Trend::Ascending)];
        for (part, slots, growth) in sides {
            if target.trend == growth {
                // Room for as many again: a trend may end here, and what it leaves empty must be paid for.
                let room = entries.len().min(self.max_slots / 2).next_multiple_of(64);
                let capacity =
                    slots_within(part.len(), PACKED_FILL, self.max_slots).max(room.min(self.max_slots));
                let leaf = self.new_leaf(&mut chain, part, capacity, growth);
                draft.pieces.push((slots.start, NodeId::leaf(leaf)));
            } else {
                self.emit(&mut chain, part, &mut draft, slots);
            }
        }
        let pieces: Vec<NodeId> = draft.children_of(run.clone()).into_iter().map(NodeId).collect();
        self.replace(target, &chain, &pieces);
    }

    /// One slot holds nearly everything: it gets a model node, and the slots around it a leaf each.
    fn split_down(
        &mut self,
        target: &Target,
        entries: Entries<'_>,
        run: &Range<usize>,
        head: &InnerHeader,
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
                slots_within(low, SPLIT_FILL, self.max_slots),
                Trend::Anywhere,
            );
            pieces.resize(slot - run.start, NodeId::leaf(leaf));
        }
        let above = &target.path[..target.path.len().saturating_sub(1)];
        let bounds = head.slot_bounds(slot, self.bounds(above));
        let plan = Plan { bounds, below: head.shift, fill };
        pieces.push(self.new_node(&mut chain, entries.part(low..high), plan));
        if slot + 1 < run.end {
            let part = entries.part(high..entries.len());
            let capacity = slots_within(part.len(), SPLIT_FILL, self.max_slots);
            let leaf = self.new_leaf(&mut chain, part, capacity, Trend::Anywhere);
            pieces.resize(run.len(), NodeId::leaf(leaf));
        }
        self.replace(target, &chain, &pieces);
    }

    /// How often the parent's entries must be doubled for a split of one slot to balance, if they may.
    fn useful_doublings(&self, target: &Target, keys: &[i64]) -> Option<u32> {
        let (&(parent, _), above) = target.path.split_last()?;
        let node = self.arena.inner(parent);
        let limit = fanout_limit(node.head.children + 1);
        if node.children.len() * 2 > limit {
            return None;
        }
        // A model node owns exactly one slot, which is what bounds the depth: its parent keeps its shift.
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

    /// Gives a model node a new header and new entries; its place changes, its parent follows.
    pub(crate) fn rewrite_inner(
        &mut self,
        above: &[(u32, usize)],
        old: u32,
        head: InnerHeader,
        children: &[u32],
    ) -> u32 {
        let id = self.arena.allocate_inner(children.len());
        let node = self.arena.inner_mut(id);
        *node.head = InnerHeader { fanout: children.len() as u32, ..head };
        count::touch(node.children);
        node.children.copy_from_slice(children);
        self.arena.free_inner(old);
        self.point(above, NodeId::inner(id));
        id
    }

    /// Makes the one slot that `above` ends in (or the root) name `node`.
    pub(crate) fn point(&mut self, above: &[(u32, usize)], node: NodeId) {
        match above.last() {
            Some(&(parent, slot)) => self.arena.inner_mut(parent).children[slot] = node.0,
            None => self.root = node,
        }
    }

    /// The keys that the end of a path stands for in every model node on it.
    pub(crate) fn bounds(&self, path: &[(u32, usize)]) -> (i128, i128) {
        path.iter()
            .fold(EVERYTHING, |bounds, &(node, slot)| self.arena.inner(node).head.slot_bounds(slot, bounds))
    }

    /// The run of entries that name the same child as `slot`.
    pub(crate) fn run_of(&self, inner: u32, slot: usize) -> Range<usize> {
        let children = self.arena.inner(inner).children;
        let same = |&&child: &&u32| child == children[slot];
        let left = children[..slot].iter().rev().take_while(same).count();
        let right = children[slot..].iter().take_while(same).count();
        count::touch(&children[slot - left..slot + right]);
        slot - left..slot + right
    }

    /// Puts new nodes in place of a leaf: one entry for each slot of its run, or one for all, and their
    /// leaves into the leaf list.
    pub(crate) fn replace(&mut self, target: &Target, chain: &Chain, pieces: &[NodeId]) {
        match target.path.last() {
            Some(&(parent, slot)) => {
                let run = self.run_of(parent, slot);
                let node = self.arena.inner_mut(parent);
                if let [only] = pieces {
                    node.children[run].fill(only.0);
                } else {
                    for (entry, piece) in node.children[run].iter_mut().zip(pieces) {
                        *entry = piece.0;
                    }
                    node.head.children += pieces.chunk_by(|a, b| a == b).count() as u32 - 1;
                }
            }
            None => self.root = pieces[0],
        }
        self.splice(target.leaf, chain);
    }

    /// Puts a chain of leaves where `old` is in the leaf list, and frees `old`.
    pub(crate) fn splice(&mut self, old: u32, chain: &Chain) {
        let (prev, next) = (self.arena.leaf(old).head.prev, self.arena.leaf(old).head.next);
        self.arena.free_leaf(old);
        self.link(prev, chain.first);
        self.link(chain.last, next);
    }

    /// Makes two leaves neighbours; `NIL` is the end of the list.
    pub(crate) fn link(&mut self, left: u32, right: u32) {
        if left == NIL {
            self.first_leaf = right;
        } else {
            self.arena.leaf_head_mut(left).next = right;
        }
        if right == NIL {
            self.last_leaf = left;
        } else {
            self.arena.leaf_head_mut(right).prev = left;
        }
    }
}

/// Where to cut a run of slots: beside the growing end on a trend, else in the middle; `None` if no cut
/// leaves at least an eighth (on a trend: a half behind) on each side.
fn choose(head: &InnerHeader, keys: &[i64], run: &Range<usize>, trend: Trend) -> Option<(usize, usize)> {
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
