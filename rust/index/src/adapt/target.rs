//! The leaf that a change is about: the path to it, its entries, and the slots that name it.
//!
//! Reads the tree and changes nothing. `O(height)`, and `O(leaf)` where entries are copied.

use std::ops::Range;

use crate::build::Entries;
use crate::count;
use crate::key::Key;
use crate::node::{Leaf, NodeId, Trend, everything};
use crate::search::{Kernel, Operation, Output, WORD, dispatch};
use crate::tree::Alex;

/// A leaf that is about to be replaced, and the path to it.
pub(crate) struct Target {
    /// The model nodes from the root to the leaf, each with the slot that the path takes.
    pub(crate) path: Vec<(u32, usize)>,
    pub(crate) leaf: u32,
    pub(crate) trend: Trend,
    /// Whether its inserts moved too many slots: more keys come in one place than its model can spread.
    pub(crate) crowded: bool,
}

impl<K: Key> Alex<K> {
    /// The leaf that owns `key`, and the path to it.
    pub(crate) fn target(&self, key: K) -> Target {
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

    /// Calls `work` with a copy of a leaf's entries.
    pub(crate) fn with_entries(&mut self, leaf: u32, work: impl FnOnce(&mut Self, Entries<'_, K>)) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.keys.clear();
        scratch.payloads.clear();
        self.copy_out(leaf, &mut scratch.keys, &mut scratch.payloads);
        work(self, Entries { keys: &scratch.keys, payloads: &scratch.payloads });
        self.scratch = scratch;
    }

    /// Appends all entries of a leaf.
    pub(crate) fn copy_out(&self, leaf: u32, keys: &mut Vec<K>, payloads: &mut Vec<u64>) {
        dispatch(self.backend, CopyOut { leaf: self.arena.leaf(leaf), out: Output { keys, payloads } });
    }

    /// The keys that the path's last slot stands for, in every model node on the path.
    pub(crate) fn bounds(&self, path: &[(u32, usize)]) -> (K, K) {
        path.iter()
            .fold(everything(), |bounds, &(node, slot)| self.arena.inner(node).head.slot_bounds(slot, bounds))
    }

    /// The run of slots that name the same child as `slot`.
    pub(crate) fn run_of(&self, inner: u32, slot: usize) -> Range<usize> {
        let children = self.arena.inner(inner).children;
        let same = |&&child: &&u32| child == children[slot];
        let left = children[..slot].iter().rev().take_while(same).count();
        let right = children[slot..].iter().take_while(same).count();
        count::touch(&children[slot - left..slot + right]);
        slot - left..slot + right
    }
}

struct CopyOut<'a, K: Key> {
    leaf: Leaf<'a, K>,
    out: Output<'a, K>,
}

impl<K: Key> Operation for CopyOut<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(mut self) {
        count::touch(self.leaf.bits);
        count::moved(self.leaf.head.count as usize);
        self.out.reserve(self.leaf.head.count as usize);
        for (index, &mask) in self.leaf.bits.iter().enumerate() {
            let (keys, payloads) = self.leaf.word(index);
            self.out.extend::<S>(mask, keys, payloads, WORD);
        }
    }
}
