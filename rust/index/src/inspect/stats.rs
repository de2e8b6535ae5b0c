//! Figures about the shape of the tree, for people, tests and tuning.
//!
//! Knows nodes. `O(slots)`.

use crate::key::Key;
use crate::node::{NodeId, bitmap};
use crate::tree::Alex;

/// Figures about the shape of the tree, from [`Alex::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Number of keys.
    pub keys: usize,
    /// Nodes on the longest path: 1 if the tree is a single data node.
    pub height: usize,
    /// Number of data nodes.
    pub leaves: usize,
    /// Number of data nodes that no model fits, which are searched by binary search.
    pub plain_leaves: usize,
    /// Number of model nodes.
    pub inner_nodes: usize,
    /// Slots of all data nodes together.
    pub slots: usize,
    /// Share of the slots that hold keys.
    pub fill: f64,
    /// Bytes of the nodes.
    pub bytes: usize,
    /// Child entries of all model nodes together.
    pub pointer_entries: usize,
    /// Mean distance between a key's predicted slot and its own, over the data nodes with a model.
    pub mean_error: f64,
    /// The greatest such distance.
    pub max_error: usize,
    /// Slots of the largest data node: one insert moves no more.
    pub largest_leaf: usize,
    /// Mean number of nodes on the path to a key.
    pub mean_depth: f64,
}

impl<K: Key> Alex<K> {
    /// Nodes on the longest path: 1 if the tree is a single data node. Reads only the model nodes.
    pub fn height(&self) -> usize {
        let mut height = 1;
        let mut nodes = vec![(self.root, 1)];
        while let Some((node, depth)) = nodes.pop() {
            height = height.max(depth);
            if !node.is_leaf() {
                let children = self.arena.inner(node.id()).children.chunk_by(|a, b| a == b);
                nodes.extend(children.map(|run| (NodeId(run[0]), depth + 1)));
            }
        }
        height
    }

    /// Figures about the shape of the tree. Reads all of it: `O(slots)`.
    pub fn stats(&self) -> Stats {
        K::stats(self)
    }

    pub(crate) fn do_stats(&self) -> Stats {
        let mut stats = Stats { keys: self.len, bytes: self.nbytes(), ..Stats::default() };
        let (mut errors, mut modelled) = (0u64, 0usize);
        let mut nodes = vec![(self.root, 1usize)];
        let mut depths = 0usize;
        while let Some((node, depth)) = nodes.pop() {
            stats.height = stats.height.max(depth);
            if node.is_leaf() {
                let leaf = self.arena.leaf(node.id());
                stats.leaves += 1;
                stats.slots += leaf.keys.len();
                stats.largest_leaf = stats.largest_leaf.max(leaf.keys.len());
                depths += depth * leaf.head.count as usize;
                if leaf.head.model.is_plain() {
                    stats.plain_leaves += 1;
                    continue;
                }
                modelled += leaf.head.count as usize;
                let occupied = (0..leaf.keys.len()).filter(|&slot| bitmap::is_set(leaf.bits, slot));
                for slot in occupied {
                    let guess = leaf.head.model.predict(leaf.keys[slot]).min(leaf.keys.len() - 1);
                    errors += guess.abs_diff(slot) as u64;
                    stats.max_error = stats.max_error.max(guess.abs_diff(slot));
                }
            } else {
                let inner = self.arena.inner(node.id());
                stats.inner_nodes += 1;
                stats.pointer_entries += inner.children.len();
                let children = inner.children.chunk_by(|a, b| a == b);
                nodes.extend(children.map(|run| (NodeId(run[0]), depth + 1)));
            }
        }
        stats.fill = stats.keys as f64 / stats.slots as f64;
        stats.mean_error = errors as f64 / modelled.max(1) as f64;
        stats.mean_depth = depths as f64 / stats.keys.max(1) as f64;
        stats
    }
}
