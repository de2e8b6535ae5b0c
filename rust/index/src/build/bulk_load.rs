//! Building a subtree from ascending entries in one pass: the whole tree, or what replaces a full leaf.
//!
//! A model node gets about eight entries for each leaf it expects. Neighbouring slots share a leaf
//! while it stays small; a slot too full for a leaf becomes a nested model node, tight around its own
//! keys; a run of slots whose keys no model fits is halved. Child boundaries come from `route` alone.
//!
//! Depth: a nested node covers keys of one slot, at most 2^(shift + 1) wide (slot 0 where no whole slot fits above `i64::MIN`), with at least 16 slots, so
//! its shift is smaller than its parent's; shifts lie in 0..=63, so no path has more than 64 model
//! nodes. Keys outside the range that a node was asked to cover stay in its edge slots; there are never
//! more of them than a fraction of one leaf (`clip` here, `extend.rs` later). `O(n)` time.

use std::ops::Range;

use super::draft::{Chain, Draft, Entries, Plan, balance, prefix};
use crate::count;
use crate::node::layout::{ACCEPTABLE_STEPS, Layout, PACKED_FILL, slots_for, slots_within};
use crate::node::{InnerHeader, NIL, NodeId, Trend};
use crate::tree::Alex;

/// Entries per slot after a bulk load.
pub(crate) const LOAD_FILL: f64 = 0.7;
/// Entries per slot after an expansion or a split: room for 40 % more before the next one.
pub(crate) const SPLIT_FILL: f64 = 0.6;
/// Entries per slot of leaves that a trend has left behind. A little more than after a load: what is removed
/// from them leaves gaps, which no insert comes to fill.
const SETTLED_FILL: f64 = 0.72;
/// Search work that is as good as none: one entry in twenty lies in the line after its own.
const EASY_STEPS: f64 = 0.05;
/// Slots that a model node gets for each leaf it expects (rounded up to a power of two in all).
const SLOTS_PER_LEAF: usize = 8;
/// Smallest and largest fan-out of a new model node, as powers of two.
const FANOUT_LOG: (u32, u32) = (4, 16);
/// The smallest where most keys would share a slot: nesting is left after fewer model nodes.
const SKEWED_LOG: u32 = 8;

impl Alex {
    /// The most entries of a leaf built with this fill.
    pub(crate) fn most_entries(&self, fill: f64) -> usize {
        (self.max_slots as f64 * fill) as usize
    }

    /// Leaves of at least this many entries are split when no model fits them.
    pub(crate) fn min_split(&self) -> usize {
        (self.max_slots / 32).max(16)
    }

    /// Builds a leaf at the end of `chain`.
    pub(crate) fn new_leaf(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_>,
        capacity: usize,
        trend: Trend,
    ) -> u32 {
        self.measured_leaf(chain, entries, capacity, trend).0
    }

    /// `new_leaf`; returns its search work, too (see `place`).
    pub(crate) fn measured_leaf(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_>,
        capacity: usize,
        trend: Trend,
    ) -> (u32, f64) {
        let layout = Layout::of(entries.keys, capacity, trend);
        self.lay_out(chain, entries, capacity, layout)
    }

    /// Builds a leaf at the end of `chain`, unless its entries should rather be split. Most of what should
    /// is told from a sample, before an entry is moved.
    pub(crate) fn fitting_leaf(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_>,
        capacity: usize,
        trend: Trend,
    ) -> Option<u32> {
        let layout = Layout::of(entries.keys, capacity, trend);
        let splits = entries.len() >= self.min_split();
        if splits && layout.steps > ACCEPTABLE_STEPS {
            return None;
        }
        let (leaf, steps) = self.lay_out(chain, entries, capacity, layout);
        // What the sample missed may be half as bad again.
        if splits && steps > ACCEPTABLE_STEPS * 1.5 {
            self.drop_leaf(chain);
            return None;
        }
        Some(leaf)
    }

    fn lay_out(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_>,
        capacity: usize,
        layout: Layout,
    ) -> (u32, f64) {
        let backend = self.backend;
        let id = self.arena.allocate_leaf(capacity);
        let mut leaf = self.arena.leaf_mut(id);
        (leaf.head.prev, leaf.head.next) = (chain.last, NIL);
        let steps = layout.place(backend, &mut leaf, entries.keys, entries.payloads);
        if chain.last == NIL {
            chain.first = id;
        } else {
            self.arena.leaf_head_mut(chain.last).next = id;
        }
        chain.last = id;
        (id, steps)
    }

    /// Takes the last leaf of `chain` back.
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

    /// A leaf where one will do, else a model node with its children.
    pub(crate) fn leaf_or_node(&mut self, chain: &mut Chain, entries: Entries<'_>, plan: Plan) -> NodeId {
        if entries.len() <= self.most_entries(plan.fill) {
            let capacity = slots_for(entries.len(), plan.fill);
            if let Some(leaf) = self.fitting_leaf(chain, entries, capacity, Trend::Anywhere) {
                return NodeId::leaf(leaf);
            }
        }
        self.new_node(chain, entries, plan)
    }

    /// A model node over `entries`; a single leaf if they turn out not to need one.
    pub(crate) fn new_node(&mut self, chain: &mut Chain, entries: Entries<'_>, plan: Plan) -> NodeId {
        let most = self.most_entries(plan.fill);
        let target = (most * 3 / 4).min(entries.len() / 2 + 1);
        let (first, last) = self.clip(entries.keys, plan);
        if first >= last || plan.below == 0 {
            // All but one of the keys at most lie outside what the node may tell apart: no model node helps them. They
            // come from one leaf, or are the few that `clip` leaves out, so they fit one.
            let capacity = slots_within(entries.len(), plan.fill, self.max_slots);
            return NodeId::leaf(self.new_leaf(chain, entries, capacity, Trend::Anywhere));
        }
        let range = last.wrapping_sub(first) as u64;
        let wanted = (entries.len().div_ceil(target) * SLOTS_PER_LEAF).next_power_of_two().ilog2();
        let wanted = wanted.clamp(FANOUT_LOG.0, FANOUT_LOG.1);
        let mut shift = (range.ilog2() + 1).saturating_sub(wanted);
        let eighth = entries.len() / 8;
        let slot_of = |at: usize| entries.keys[at].max(first).min(last).wrapping_sub(first) as u64 >> shift;
        if slot_of(eighth) == slot_of(entries.len() - 1 - eighth) {
            shift = (range.ilog2() + 1).saturating_sub(wanted.max(SKEWED_LOG));
        }
        debug_assert!(shift < plan.below, "a nested node is narrower than its parent's slot");
        let fanout = (range >> shift) as u32 + 1;
        let head = InnerHeader { base: first, fanout, shift, children: 0 };
        let mut draft = Draft { head, plan, pieces: Vec::new() };
        self.sweep(chain, entries, &mut draft, most, target);
        self.finish(&draft)
    }

    /// Cuts the entries at slot boundaries and emits every run.
    fn sweep(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_>,
        draft: &mut Draft,
        most: usize,
        target: usize,
    ) {
        let head = draft.head;
        // The run being gathered: its first slot and first entry.
        let (mut run_slot, mut run_entry, mut at) = (0, 0, 0);
        while at < entries.len() {
            let slot = head.route(entries.keys[at]);
            let end = at + prefix(&entries.keys[at..], |key| head.route(key) == slot);
            if end - at > most {
                self.emit(chain, entries.part(run_entry..at), draft, run_slot..slot);
                let nested = self.new_node(chain, entries.part(at..end), draft.plan.nested(&head, slot));
                draft.pieces.push((slot, nested));
                (run_slot, run_entry) = (slot + 1, end);
            } else if end - run_entry > target && run_entry < at {
                self.emit(chain, entries.part(run_entry..at), draft, run_slot..slot);
                (run_slot, run_entry) = (slot, at);
            }
            at = end;
        }
        self.emit(chain, entries.part(run_entry..at), draft, run_slot..head.fanout as usize);
    }

    /// Makes the leaf of a run of slots, or several if no model fits its entries.
    pub(crate) fn emit(
        &mut self,
        chain: &mut Chain,
        entries: Entries<'_>,
        draft: &mut Draft,
        slots: Range<usize>,
    ) {
        let count = entries.len();
        let open = draft.pieces.last().is_some_and(|&(_, piece)| piece.is_leaf());
        if slots.is_empty() || (count == 0 && open) {
            // Slots without entries belong to the leaf before them.
            return;
        }
        let fill = draft.plan.fill;
        let capacity = slots_for(count, fill);
        if capacity <= self.max_slots
            && let Some(leaf) = self.fitting_leaf(chain, entries, capacity, Trend::Anywhere)
        {
            draft.pieces.push((slots.start, NodeId::leaf(leaf)));
            return;
        }
        let head = draft.head;
        if let Some((boundary, cut)) = balance(&head, entries.keys, &slots)
            && cut > 0
            && cut < count
        {
            self.emit(chain, entries.part(0..cut), draft, slots.start..boundary);
            self.emit(chain, entries.part(cut..count), draft, boundary..slots.end);
            return;
        }
        // All entries share one slot: it gets a nested node, and the slots around it a leaf each.
        let none = entries.part(0..0);
        let slot = head.route(entries.keys[0]);
        self.emit(chain, none, draft, slots.start..slot);
        let nested = self.new_node(chain, entries, draft.plan.nested(&head, slot));
        draft.pieces.push((slot, nested));
        if !nested.is_leaf() {
            self.emit(chain, none, draft, slot + 1..slots.end);
        }
    }

    /// Writes a drafted model node, unless it has one child, which then takes its place.
    fn finish(&mut self, draft: &Draft) -> NodeId {
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

    /// The key range that a node over these keys covers: the plan's, tightened to the keys, without a
    /// few far outliers, which the edge slots take: they would leave everything else in one slot.
    fn clip(&self, keys: &[i64], plan: Plan) -> (i64, i64) {
        let (Some(&first), Some(&last)) = (keys.first(), keys.last()) else { return (0, 0) };
        let (mut low, mut high) = (i128::from(first).max(plan.bounds.0), i128::from(last).min(plan.bounds.1));
        let few = (keys.len() / 32).min(self.max_slots / 8);
        let (inner_low, inner_high) = (i128::from(keys[few]), i128::from(keys[keys.len() - 1 - few]));
        let core = (inner_high - inner_low).max(1);
        if keys.len() >= 64 && inner_low - low > core * 8 {
            let from = keys.partition_point(|&key| i128::from(key) < inner_low - core);
            low = low.max(keys[from].into());
        }
        if keys.len() >= 64 && high - inner_high > core * 8 {
            let to = keys.partition_point(|&key| i128::from(key) <= inner_high + core);
            high = high.min(keys[to - 1].into());
        }
        // Both ends are keys or bounds of a slot clipped to keys: they fit an i64 where low <= high.
        if low > high { (0, 0) } else { (low as i64, high as i64) }
    }
}

/// Fill of leaves that a trend has left behind: hardly anything comes into them any more, so that they are
/// about as full as a bulk load's, and packed where a counter's keys are found as easily for it.
pub(crate) fn settled_fill(keys: &[i64], trend: Trend) -> f64 {
    let easy =
        |&fill: &f64| Layout::of(keys, slots_for(keys.len(), fill), Trend::Anywhere).steps <= EASY_STEPS;
    match trend {
        Trend::Anywhere => SPLIT_FILL,
        _ => Some(PACKED_FILL).filter(easy).unwrap_or(SETTLED_FILL),
    }
}
