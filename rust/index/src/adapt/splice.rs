//! Putting new nodes in place of old ones, in the model node above and in the leaf list.
//!
//! Knows links and child entries, nothing of why they change. `O(fan-out)`.

use super::target::Target;
use crate::build::Chain;
use crate::count;
use crate::key::Key;
use crate::node::{InnerHeader, NIL, NodeId};
use crate::tree::Alex;

impl<K: Key> Alex<K> {
    /// Puts new nodes in place of a leaf, and their leaves into the leaf list. `pieces` has one child for
    /// each slot of the leaf's run, or one child for all of them.
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

    /// Puts a chain of leaves in place of `old` in the leaf list, and frees `old`.
    pub(crate) fn splice(&mut self, old: u32, chain: &Chain) {
        let (prev, next) = (self.arena.leaf(old).head.prev, self.arena.leaf(old).head.next);
        self.arena.free_leaf(old);
        self.link(prev, chain.first);
        self.link(chain.last, next);
    }

    /// Makes two leaves neighbours in the leaf list. `NIL` is either end of it.
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

    /// Replaces a model node by one with another header and other children, and points its parent to the new
    /// one.
    pub(crate) fn rewrite_inner(
        &mut self,
        above: &[(u32, usize)],
        old: u32,
        head: InnerHeader<K>,
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

    /// Makes the slot that `above` ends in name `node`; with an empty path, makes `node` the root.
    pub(crate) fn point(&mut self, above: &[(u32, usize)], node: NodeId) {
        match above.last() {
            Some(&(parent, slot)) => self.arena.inner_mut(parent).children[slot] = node.0,
            None => self.root = node,
        }
    }
}
