//! Giving room back: a sparse leaf is merged with a neighbour or gets fewer slots.
//!
//! Hysteresis: a removal comes here when 0.44 of the slots are filled. A rebuilt leaf has 0.6 of its slots
//! filled, and a merged leaf has at most 0.3 entries for each slot of the largest leaf. Where neither helps,
//! the leaf waits until half of its entries are gone. A model node with a single child is replaced by that
//! child. One or two leaves are touched: `O(leaf + fan-out)`.

use super::target::Target;
use crate::build::{Chain, Entries, split_fill};
use crate::count;
use crate::key::Key;
use crate::node::layout::slots_for;
use crate::node::{LeafHeader, NIL, NodeId, Trend};
use crate::tree::Alex;

/// The most entries of a merged leaf, as a share of the slots of the largest leaf.
const MERGE_FILL: f64 = 0.3;

impl<K: Key> Alex<K> {
    /// Merges or contracts the leaf that owns `key` if that is worth its cost.
    #[cold]
    #[inline(never)]
    pub(crate) fn contract(&mut self, key: K) {
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
        let capacity = slots_for(leaf.head.count as usize, split_fill::<K>());
        if capacity < leaf.keys.len() {
            self.with_entries(target.leaf, |tree, entries| {
                let mut chain = Chain::new();
                let leaf = tree.new_leaf(&mut chain, entries, capacity, Trend::Anywhere);
                tree.replace(&target, &chain, &[NodeId::leaf(leaf)]);
            });
        } else {
            // Neither helps. It is tried again when half of the entries are gone; an empty leaf is left
            // alone.
            let head = self.arena.leaf_head_mut(target.leaf);
            head.shrink_at = if head.count == 0 { LeafHeader::<K>::NEVER } else { (head.count / 2) as u16 };
        }
    }

    /// Merges the leaf with a neighbour under the same model node if both together are small. Returns whether
    /// it did.
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
            self.hand_over(parent, run, other, target.leaf);
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
        let capacity = slots_for(entries.len(), split_fill::<K>());
        let merged = self.fitting_leaf(&mut chain, entries, capacity, Trend::Anywhere);
        if let Some(merged) = merged {
            self.hand_over(parent, run, other, target.leaf);
            let slots = self.slots_of(parent, other);
            self.arena.inner_mut(parent).children[slots].fill(NodeId::leaf(merged).0);
            self.splice(other, &chain);
        }
        self.scratch = scratch;
        merged.is_some()
    }

    /// Gives a leaf's slots to a neighbour and frees the leaf. It must be empty, or its entries must be
    /// copied out.
    fn hand_over(&mut self, parent: u32, run: std::ops::Range<usize>, heir: u32, leaf: u32) {
        let node = self.arena.inner_mut(parent);
        node.children[run].fill(NodeId::leaf(heir).0);
        node.head.children -= 1;
        let (prev, next) = (self.arena.leaf(leaf).head.prev, self.arena.leaf(leaf).head.next);
        self.arena.free_leaf(leaf);
        debug_assert!(prev != NIL || next != NIL, "the heir is a neighbour");
        self.link(prev, next);
    }

    /// The run of slots that name this leaf.
    fn slots_of(&self, parent: u32, leaf: u32) -> std::ops::Range<usize> {
        let children = self.arena.inner(parent).children;
        let entry = NodeId::leaf(leaf).0;
        let first = children.iter().position(|&child| child == entry).unwrap_or(0);
        count::touch(&children[..=first]);
        self.run_of(parent, first)
    }

    /// Replaces each model node with a single child by that child, from the end of the path upwards.
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
