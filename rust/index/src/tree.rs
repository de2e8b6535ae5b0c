//! What an index consists of, and the descent to the leaf that owns a key, which all operations share.
//!
//! Knows nodes by their views. Operations and changes are in the folders above, as methods of [`Alex`]. A
//! descent is one table read for each model node on the way.

use crate::arena::Arena;
use crate::count;
use crate::mapped::format::Damage;
use crate::node::NodeId;
use crate::options::Backend;
use crate::search::Supported;

/// An ordered map from `i64` keys to `u64` payloads.
///
/// Lookups take `&self`, write nothing, and may run from many threads at once.
#[derive(Debug)]
pub struct Alex {
    pub(crate) arena: Arena,
    pub(crate) root: NodeId,
    /// The ends of the leaf list.
    pub(crate) first_leaf: u32,
    pub(crate) last_leaf: u32,
    pub(crate) len: usize,
    /// Changes with every structural change: a leaf id found before it may be stale after it.
    pub(crate) version: u64,
    pub(crate) backend: Supported,
    pub(crate) max_slots: usize,
    pub(crate) scratch: Scratch,
}

/// Memory kept from one structural change to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The entries of a leaf under reconstruction.
    pub(crate) keys: Vec<i64>,
    pub(crate) payloads: Vec<u64>,
    /// What a leaf is about to hold instead.
    pub(crate) merged: (Vec<i64>, Vec<u64>),
    /// The keys of the batch that is going in, with their places, and memory to sort them in.
    pub(crate) batch: Vec<(i64, u64)>,
    pub(crate) batch_sort: Vec<(i64, u64)>,
}

impl Alex {
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The SIMD backend that this index searches with.
    pub fn backend(&self) -> Backend {
        self.backend.backend()
    }

    /// Bytes that the index's nodes take.
    pub fn nbytes(&self) -> usize {
        self.arena.live_bytes() + size_of::<Self>()
    }

    /// The damage that was met in the image that this index was opened from. Once there is some, nothing
    /// that any call returned after it was met counts, and the index must be dropped.
    #[inline]
    pub fn damage(&self) -> Option<&Damage> {
        self.arena.image()?.damage()
    }

    /// The leaf that owns `key`.
    #[inline(always)]
    pub(crate) fn leaf_of(&self, key: i64) -> u32 {
        self.leaf_below(self.root, key)
    }

    /// The leaf that owns `key` among those below `node`.
    #[inline(always)]
    pub(crate) fn leaf_below(&self, mut node: NodeId, key: i64) -> u32 {
        while !node.is_leaf() {
            let inner = self.arena.inner(node.id());
            let child = &inner.children[inner.head.route(key)];
            count::touch_one(child);
            node = NodeId(*child);
        }
        node.id()
    }
}
