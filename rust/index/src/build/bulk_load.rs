//! Building a subtree from ascending entries in one pass: the whole tree, or the nodes that replace a full
//! leaf.
//!
//! A model node gets about sixteen slots for each leaf that it is expected to have. Neighbouring slots share a
//! leaf while it stays small. A slot with too many keys for a leaf gets a nested model node, whose range is
//! tight around the slot's keys. A run of slots whose keys no model fits is halved; in a bulk load also one whose
//! keys would be found too slowly (docs/dev/047-bulk-loads-divide-leaves.md). Only `route` decides which child a
//! key belongs to.
//!
//! Depth: a nested node covers the keys of one slot, which is at most 2^(shift + 1) wide (slot 0, where no
//! whole slot fits above the least key), and has at least 16 slots. So its shift is smaller than its parent's;
//! shifts are less than the bits of a key, so no path has more model nodes than a key has bits.
//!
//! Keys outside the range that a node was asked to cover stay in its edge slots. They are never more than a
//! fraction of one leaf (`clip` here, `adapt/extend.rs` later). `O(n)`.

use std::ops::Range;

use super::draft::{Chain, Draft, Entries, Plan, balance, prefix};
use crate::count;
use crate::key::{Distance, Key};
use crate::node::layout::{ACCEPTABLE_STEPS, Layout, PACKED_FILL, slots_for, slots_within};
use crate::node::{InnerHeader, NIL, NodeId, Trend};
use crate::tree::Alex;

/// Entries for each slot of a leaf after a bulk load. Slots of keys of 128 bits are half as large again, so fewer stay free.
pub(crate) const fn load_fill<K: Key>() -> f64 {
    if K::BITS > 64 { 0.75 } else { 0.7 }
}
/// Entries for each slot after an expansion or a split: room for 40 % more before the next one, 35 % of wide keys.
pub(crate) const fn split_fill<K: Key>() -> f64 {
    if K::BITS > 64 { 0.63 } else { 0.6 }
}
/// Entries for each slot of leaves that a trend has left behind. A little more than after a load, because
/// removals leave gaps there that no insert fills.
const SETTLED_FILL: f64 = 0.72;
/// Mean search work that is as good as none: one entry in twenty is in the line after its own.
const EASY_STEPS: f64 = 0.05;
/// The fewest entries that a bulk load divides because one leaf of them would be searched too slowly, as a share of the
/// most slots: 341. With 256 cell ids are found a tenth faster, and take 0.8 bytes a key more.
const DIVIDED_SHARE: usize = 48;
/// Mean search work above which it divides a leaf: where the slots of the model node above can cut it in two, and where
/// it takes one more model node.
const DIVIDED_STEPS: (f64, f64) = (0.5, 1.0);
/// The same for a large leaf, whose parts take few bytes more; and what a large one is, as a share of the most slots.
const LARGE_DIVIDED_STEPS: (f64, f64) = (0.2, 0.4);
const LARGE_SHARE: usize = 16;
/// Slots of a new model node for each leaf that it is expected to have. The sum is rounded up to a power of two. With
/// many slots few of them hold more keys than a leaf, and few nodes are nested.
const SLOTS_PER_LEAF: usize = 16;
/// The smallest and the largest fan-out of a new model node, as powers of two.
const FANOUT_LOG: (u32, u32) = (4, 16);
/// The smallest fan-out where most keys would share a slot: more slots make for fewer nested model nodes.
const SKEWED_LOG: u32 = 8;

impl<K: Key> Alex<K> {
    /// The most entries of a leaf that is built with this fill.
    pub(crate) fn most_entries(&self, fill: f64) -> usize {
        (self.max_slots as f64 * fill) as usize
    }

    /// The fewest entries of a leaf that is split because no model fits it. Fewer of wide keys: UUIDs have constant bits in
    /// their middle, so that even a few hundred lie on the steps of a staircase (docs/dev/043-keys-of-128-bits.md).
    pub(crate) fn min_split(&self) -> usize {
        let share = if K::BITS > 64 { 128 } else { 32 };
        (self.max_slots / share).max(16)
    }

    /// Builds a leaf at the end of `chain`.
    pub(crate) fn new_leaf(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        capacity: usize,
        trend: Trend,
    ) -> u32 {
        self.measured_leaf(chain, entries, capacity, trend).0
    }

    /// `new_leaf` that also returns the leaf's mean search work.
    pub(crate) fn measured_leaf(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        capacity: usize,
        trend: Trend,
    ) -> (u32, f64) {
        let layout = Layout::of(entries.keys, capacity, trend);
        self.lay_out(chain, entries, capacity, layout)
    }

    /// Builds a leaf at the end of `chain`, or returns `None` if its entries should be split instead. A
    /// sample tells most of these cases before any entry is moved.
    pub(crate) fn fitting_leaf(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        capacity: usize,
        trend: Trend,
    ) -> Option<u32> {
        let most = self.tolerable_steps(entries.len());
        self.easy_leaf(chain, entries, capacity, trend, most)
    }

    /// Builds a leaf at the end of `chain`, or returns `None` if its mean search work would exceed `most`.
    fn easy_leaf(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        capacity: usize,
        trend: Trend,
        most: f64,
    ) -> Option<u32> {
        let layout = Layout::of(entries.keys, capacity, trend);
        if layout.steps > most {
            return None;
        }
        let (leaf, steps) = self.lay_out(chain, entries, capacity, layout);
        // Cases that the sample missed are split only if they are half as bad again.
        if entries.len() >= self.min_split() && steps > ACCEPTABLE_STEPS * 1.5 {
            self.drop_leaf(chain);
            return None;
        }
        Some(leaf)
    }

    /// The most mean search work of a leaf of so many entries. `cut` says whether a slot boundary divides them well.
    fn most_steps(&self, entries: usize, plan: Plan<K>, cut: bool) -> f64 {
        if plan.divides && entries >= (self.max_slots / DIVIDED_SHARE).max(16) {
            let large = entries >= self.max_slots / LARGE_SHARE;
            let (at_a_cut, below) = if large { LARGE_DIVIDED_STEPS } else { DIVIDED_STEPS };
            return if cut { at_a_cut } else { below };
        }
        self.tolerable_steps(entries)
    }

    /// The most mean search work of a leaf that an insert leaves behind.
    fn tolerable_steps(&self, entries: usize) -> f64 {
        if entries >= self.min_split() { ACCEPTABLE_STEPS } else { f64::MAX }
    }

    fn lay_out(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        capacity: usize,
        layout: Layout<K>,
    ) -> (u32, f64) {
        let backend = self.backend;
        let id = self.arena.allocate_leaf(capacity);
        let mut leaf = self.arena.leaf_mut(id);
        (leaf.head.prev, leaf.head.next) = (chain.last, NIL);
        let steps = layout.fill(backend, &mut leaf, entries.keys, entries.payloads);
        if chain.last == NIL {
            chain.first = id;
        } else {
            self.arena.leaf_head_mut(chain.last).next = id;
        }
        chain.last = id;
        (id, steps)
    }

    /// Removes the last leaf of `chain`.
    pub(crate) fn drop_leaf(&mut self, chain: &mut Chain) {
        let id = chain.last;
        chain.last = self.arena.leaf(id).head.prev;
        if chain.last == NIL {
            chain.first = NIL;
        } else {
            self.arena.leaf_head_mut(chain.last).next = NIL;
        }
        self.arena.free_leaf(id);
    }

    /// Builds a leaf if the entries fit one, else a model node with its children.
    pub(crate) fn do_leaf_or_node(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        plan: Plan<K>,
    ) -> NodeId {
        if entries.len() <= self.most_entries(plan.fill) {
            // So many entries as fit exactly are given a slot more, which the largest leaf has not.
            let capacity = slots_within(entries.len(), plan.fill, self.max_slots);
            let most = self.most_steps(entries.len(), plan, false);
            if let Some(leaf) = self.easy_leaf(chain, entries, capacity, Trend::Anywhere, most) {
                return NodeId::leaf(leaf);
            }
        }
        self.do_new_node(chain, entries, plan)
    }

    /// Builds a model node over `entries`, or a single leaf if a model node does not help them.
    pub(crate) fn do_new_node(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        plan: Plan<K>,
    ) -> NodeId {
        let most = self.most_entries(plan.fill);
        let goal = (most * 3 / 4).min(entries.len() / 2 + 1);
        let (first, last) = self.clip(entries.keys, plan);
        if first >= last || plan.below == 0 {
            // At most one of the keys is inside the bounds, and the node must not tell the others apart. They
            // come from one leaf, or are the few that `clip` leaves out, so they fit one leaf.
            let capacity = slots_within(entries.len(), plan.fill, self.max_slots);
            return NodeId::leaf(self.new_leaf(chain, entries, capacity, Trend::Anywhere));
        }
        let range = last.since(first);
        let wanted = (entries.len().div_ceil(goal) * SLOTS_PER_LEAF).next_power_of_two().ilog2();
        let wanted = wanted.clamp(FANOUT_LOG.0, FANOUT_LOG.1);
        let mut shift = range.bits().saturating_sub(wanted);
        let eighth = entries.len() / 8;
        let slot_of = |at: usize| entries.keys[at].max(first).min(last).since(first) >> shift;
        if slot_of(eighth) == slot_of(entries.len() - 1 - eighth) {
            shift = range.bits().saturating_sub(wanted.max(SKEWED_LOG));
        }
        debug_assert!(shift < plan.below, "a nested node is narrower than its parent's slot");
        let fanout = range.slots(shift) as u32 + 1;
        let head = InnerHeader { base: first, fanout, shift, children: 0 };
        let mut draft = Draft { head, plan, pieces: Vec::new() };
        self.sweep(chain, entries, &mut draft, most, goal);
        self.finish(&draft)
    }

    /// Gathers slots into runs that fit a leaf, and builds the leaf of each run, or the nested node of a
    /// large slot.
    fn sweep(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        draft: &mut Draft<K>,
        most: usize,
        goal: usize,
    ) {
        let head = draft.head;
        // The first slot and the first entry of the run that is being gathered.
        let (mut run_slot, mut run_entry, mut at) = (0, 0, 0);
        while at < entries.len() {
            let slot = head.route(entries.keys[at]);
            let end = at + prefix(&entries.keys[at..], |key| head.route(key) == slot);
            if end - at > most {
                self.do_emit(chain, entries.part(run_entry..at), draft, run_slot..slot);
                let nested = self.do_new_node(chain, entries.part(at..end), draft.plan.nested(&head, slot));
                draft.pieces.push((slot, nested));
                (run_slot, run_entry) = (slot + 1, end);
            } else if end - run_entry > goal && run_entry < at {
                self.do_emit(chain, entries.part(run_entry..at), draft, run_slot..slot);
                (run_slot, run_entry) = (slot, at);
            }
            at = end;
        }
        self.do_emit(chain, entries.part(run_entry..at), draft, run_slot..head.fanout as usize);
    }

    /// Builds the leaf of a run of slots, or several leaves if no model fits its entries.
    pub(crate) fn do_emit(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_, K>,
        draft: &mut Draft<K>,
        slots: Range<usize>,
    ) {
        let count = entries.len();
        let open = draft.pieces.last().is_some_and(|&(_, piece)| piece.is_leaf());
        if slots.is_empty() || (count == 0 && open) {
            // Slots without entries join the leaf before them.
            return;
        }
        let (head, plan) = (draft.head, draft.plan);
        let boundary = balance(&head, entries.keys, &slots);
        let capacity = slots_for(count, plan.fill);
        if capacity <= self.max_slots {
            let even = boundary.is_some_and(|(_, cut)| cut.min(count - cut) >= count / 8);
            let most = self.most_steps(count, plan, even);
            if let Some(leaf) = self.easy_leaf(chain, entries, capacity, Trend::Anywhere, most) {
                draft.pieces.push((slots.start, NodeId::leaf(leaf)));
                return;
            }
        }
        if let Some((boundary, cut)) = boundary {
            self.do_emit(chain, entries.part(0..cut), draft, slots.start..boundary);
            self.do_emit(chain, entries.part(cut..count), draft, boundary..slots.end);
            return;
        }
        // All entries share one slot. It gets a nested node, and the slots before and behind it get a leaf
        // each.
        let none = entries.part(0..0);
        let slot = head.route(entries.keys[0]);
        self.do_emit(chain, none, draft, slots.start..slot);
        let nested = self.do_new_node(chain, entries, draft.plan.nested(&head, slot));
        draft.pieces.push((slot, nested));
        if !nested.is_leaf() {
            self.do_emit(chain, none, draft, slot + 1..slots.end);
        }
    }

    /// Writes a drafted model node. Where it has only one child, that child takes its place.
    fn finish(&mut self, draft: &Draft<K>) -> NodeId {
        if let [(_, only)] = draft.pieces[..] {
            return only;
        }
        let id = self.arena.allocate_inner(draft.head.fanout as usize);
        let node = self.arena.inner_mut(id);
        *node.head = InnerHeader { children: draft.pieces.len() as u32, ..draft.head };
        count::touch(node.children);
        node.children.copy_from_slice(&draft.children());
        NodeId::inner(id)
    }

    /// The key range of a node over these keys: the plan's, tightened to the keys, and without a few far
    /// outliers at either end. Those go to the edge slots; inside the range they would crowd all other keys
    /// into one slot.
    fn clip(&self, keys: &[K], plan: Plan<K>) -> (K, K) {
        let (Some(&first), Some(&last)) = (keys.first(), keys.last()) else { return (K::ZERO, K::ZERO) };
        let (mut low, mut high) = (first.max(plan.bounds.0), last.min(plan.bounds.1));
        let few = (keys.len() / 32).min(self.max_slots / 8);
        let (inner_low, inner_high) = (keys[few], keys[keys.len() - 1 - few]);
        let core = inner_high.since(inner_low).max(K::Distance::ONE);
        if keys.len() >= 64 && inner_low.above(low) > core.times(8) {
            let from = keys.partition_point(|&key| key < inner_low.down_to_min(core));
            low = low.max(keys[from]);
        }
        if keys.len() >= 64 && high.above(inner_high) > core.times(8) {
            let to = keys.partition_point(|&key| key <= inner_high.up_to_max(core));
            high = high.min(keys[to - 1]);
        }
        if low > high { (K::ZERO, K::ZERO) } else { (low, high) }
    }
}

/// The fill of leaves on the side of a split that the trend leaves behind. Few inserts will come there, so
/// they are about as full as after a bulk load, and packed where the keys are found as easily then, as a
/// counter's are.
pub(crate) fn settled_fill<K: Key>(keys: &[K], trend: Trend) -> f64 {
    let easy =
        |&fill: &f64| Layout::of(keys, slots_for(keys.len(), fill), Trend::Anywhere).steps <= EASY_STEPS;
    match trend {
        Trend::Anywhere => split_fill::<K>(),
        _ => Some(PACKED_FILL).filter(easy).unwrap_or(SETTLED_FILL),
    }
}
