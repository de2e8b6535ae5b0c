//! Giving room back: a sparse leaf merges with a neighbour or gets fewer slots.
//!
//! Hysteresis: a removal comes here when 0.44 of the slots are filled, a rebuilt leaf has 0.6 of its slots
//! filled, a merged one at most 0.3 of the largest leaf, and where neither helps the leaf waits for half of
//! its entries to go. A model node left with one leaf is
//! replaced by it. One or two leaves are touched: `O(leaf + fan-out)`.

use super::target::Target;
use crate::build::{Chain, Entries, SPLIT_FILL};
use crate::count;
use crate::node::layout::slots_for;
use crate::node::{LeafHeader, NIL, NodeId, Trend};
use crate::tree::Alex;

/// The most entries of a merged leaf, as a share of the largest leaf's slots.
const MERGE_FILL: f64 = 0.3;

impl Alex {
    /// Contracts or merges the leaf that owns `key`, if that is worth it.
    #[cold]
    #[inline(never)]
    pub(crate) fn contract(&mut self, key: i64) {
        if self.damage().is_some() {
            return;
        }
        let target = self.target(key);
        self.version += 1;
        if self.merge(&target) {
            self.collapse(target.path);
            return;
        }
        let leaf = self.arena.leaf(target.leaf);
        let capacity = slots_for(leaf.head.count as usize, SPLIT_FILL);
        if capacity < leaf.keys.len() {
            self.with_entries(target.leaf, |tree, entries| {
                let mut chain = Chain::new();
                let leaf = tree.new_leaf(&mut chain, entries, capacity, Trend::Anywhere);
                tree.replace(&target, &chain, &[NodeId::leaf(leaf)]);
            });
        } else {
            // Nothing helped: half of the entries must go, or all of them once, before it is tried again.
            let head = self.arena.leaf_head_mut(target.leaf);
            head.shrink_at = if head.count == 0 { LeafHeader::NEVER } else { (head.count / 2) as u16 };
        }
    }

    /// Joins the leaf with a neighbour under the same model node, if both together are small.
    fn merge(&mut self, target: &Target) -> bool {
        let Some(&(parent, slot)) = target.path.last() else { return false };
        let run = self.run_of(parent, slot);
        let children = self.arena.inner(parent).children;
        let leaf_at = |slot: Option<usize>| {
            slot.and_then(|slot| children.get(slot)).map(|&child| NodeId(child)).filter(|node| node.is_leaf())
        };
        let left = leaf_at(run.start.checked_sub(1)).map(NodeId::id);
        let right = leaf_at(Some(run.end)).map(NodeId::id);
        let count_of = |leaf: u32| self.arena.leaf(leaf).head.count as usize;
        let count = count_of(target.leaf);
        let Some(other) = [left, right].into_iter().flatten().min_by_key(|&leaf| count_of(leaf)) else {
            return false;
        };
        if count == 0 {
            self.forget(parent, run, other, target.leaf);
            return true;
        }
        if (count + count_of(other)) as f64 > self.max_slots as f64 * MERGE_FILL {
            return false;
        }
        let pair = if Some(other) == left { [other, target.leaf] } else { [target.leaf, other] };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.keys.clear();
        scratch.payloads.clear();
        for leaf in pair {
            self.copy_out(leaf, &mut scratch.keys, &mut scratch.payloads);
        }
        let entries = Entries { keys: &scratch.keys, payloads: &scratch.payloads };
        let mut chain = Chain::new();
        let capacity = slots_for(entries.len(), SPLIT_FILL);
        let merged = self.fitting_leaf(&mut chain, entries, capacity, Trend::Anywhere);
        if let Some(merged) = merged {
            self.forget(parent, run, other, target.leaf);
            let slots = self.slots_of(parent, other);
            self.arena.inner_mut(parent).children[slots].fill(NodeId::leaf(merged).0);
            self.splice(other, &chain);
        }
        self.scratch = scratch;
        merged.is_some()
    }

    /// Gives a leaf's slots to a neighbour and frees the leaf, whose entries are none or elsewhere.
    fn forget(&mut self, parent: u32, run: std::ops::Range<usize>, heir: u32, leaf: u32) {
        let node = self.arena.inner_mut(parent);
        node.children[run].fill(NodeId::leaf(heir).0);
        node.head.children -= 1;
        let (prev, next) = (self.arena.leaf(leaf).head.prev, self.arena.leaf(leaf).head.next);
        self.arena.free_leaf(leaf);
        debug_assert!(prev != NIL || next != NIL, "the heir is a neighbour");
        self.link(prev, next);
    }

    fn slots_of(&self, parent: u32, leaf: u32) -> std::ops::Range<usize> {
        let children = self.arena.inner(parent).children;
        let entry = NodeId::leaf(leaf).0;
        let first = children.iter().position(|&child| child == entry).unwrap_or(0);
        count::touch(&children[..=first]);
        self.run_of(parent, first)
    }

    /// Replaces model nodes with a single child by that child, from below.
    fn collapse(&mut self, mut path: Vec<(u32, usize)>) {
        while let Some((node, _)) = path.pop() {
            let inner = self.arena.inner(node);
            if inner.head.children != 1 {
                return;
            }
            let only = NodeId(inner.children[0]);
            self.arena.free_inner(node);
            self.point(&path, only);
        }
    }
}
