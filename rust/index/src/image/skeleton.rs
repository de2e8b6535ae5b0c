//! The shape of a tree without its data nodes: the model nodes, copied in a moment, by which an image is
//! built while the tree goes on changing. Knows no entries. Memory and time: O(model nodes).

use crate::arena::Arena;
use crate::node::{InnerHeader, NIL, NodeId};

/// A slot of a model node of the skeleton that no further model node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: u32,
    pub(super) slot: usize,
}

pub(super) struct Bone {
    pub(super) head: InnerHeader,
    /// Where it hangs; the root's is never asked for.
    pub(super) parent: Place,
    /// The model node in each slot, `NIL` for a data node.
    children: Vec<u32>,
}

/// Model nodes, parents before children; none for a tree that is one data node.
pub(super) struct Skeleton(Vec<Bone>);

impl Skeleton {
    pub(super) fn of(arena: &Arena, root: NodeId) -> Self {
        let mut bones: Vec<Bone> = Vec::new();
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

    pub(super) fn bone(&self, node: u32) -> &Bone {
        &self.0[node as usize]
    }

    /// The slot that a key ends in; ascends with the keys, in the order of a walk.
    #[inline]
    pub(super) fn route(&self, key: i64) -> Place {
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

    /// The model nodes from the root to this one.
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
