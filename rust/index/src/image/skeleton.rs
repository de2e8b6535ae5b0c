//! The skeleton of a tree: a copy of its model nodes, by which an image is built while the tree goes on
//! changing.
//!
//! Knows no entries. Time and memory: `O(model nodes)`.

use crate::arena::Arena;
use crate::key::Key;
use crate::node::{InnerHeader, NIL, NodeId};

/// A slot of a model node of the skeleton that leads to no further model node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: u32,
    pub(super) slot: usize,
}

/// A model node of the skeleton.
pub(super) struct Bone<K> {
    pub(super) head: InnerHeader<K>,
    /// The slot that leads to it. The root's has no meaning.
    pub(super) parent: Place,
    /// The model node that each slot leads to, or `NIL` for a data node.
    children: Vec<u32>,
}

/// The model nodes, parents before children. A tree of one data node has none.
pub(super) struct Skeleton<K>(Vec<Bone<K>>);

impl<K: Key> Skeleton<K> {
    pub(super) fn of(arena: &Arena<K>, root: NodeId) -> Self {
        let mut bones: Vec<Bone<K>> = Vec::new();
        let mut waiting = vec![(root, Place { node: 0, slot: 0 })];
        while let Some((node, parent)) = waiting.pop() {
            if node.is_leaf() {
                continue;
            }
            let number = bones.len() as u32;
            if let Some(above) = bones.get_mut(parent.node as usize) {
                above.children[parent.slot] = number;
            }
            let inner = arena.inner(node.id());
            let nested = inner.children.iter().enumerate().filter(|(_, child)| !NodeId(**child).is_leaf());
            waiting.extend(nested.map(|(slot, &child)| (NodeId(child), Place { node: number, slot })));
            bones.push(Bone { head: *inner.head, parent, children: vec![NIL; inner.children.len()] });
        }
        Self(bones)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bone(&self, node: u32) -> &Bone<K> {
        &self.0[node as usize]
    }

    /// The slot that owns a key. Ascending keys pass the slots in the order of a walk.
    #[inline]
    pub(super) fn route(&self, key: K) -> Place {
        let mut node = 0;
        loop {
            let bone = &self.0[node as usize];
            let slot = bone.head.route(key);
            match bone.children[slot] {
                NIL => return Place { node, slot },
                nested => node = nested,
            }
        }
    }

    /// The model nodes from the root to this one, both included.
    pub(super) fn path(&self, mut node: u32) -> Vec<u32> {
        let mut path = vec![node];
        while node != 0 {
            node = self.bone(node).parent.node;
            path.push(node);
        }
        path.reverse();
        path
    }
}
