//! What an index consists of, and the descent to the leaf that owns a key, which all operations share.
//!
//! Knows nodes by their views. Operations and changes are in the folders above, as methods of [`Alex`]. A
//! descent is one table read for each model node on the way.

use std::sync::OnceLock;

use crate::arena::Arena;
use crate::count;
use crate::key::Key;
use crate::mapped::format::Damage;
use crate::node::NodeId;
use crate::options::Backend;
use crate::search::Supported;
use crate::tally::Tally;

/// An ordered map from keys to `u64` payloads. The keys are `i64`, unless it is an `Alex<i128>`.
///
/// Lookups take `&self`, write nothing, and may run from many threads at once.
#[derive(Debug)]
pub struct Alex<K: Key = i64> {
    pub(crate) arena: Arena<K>,
    pub(crate) root: NodeId,
    /// First and last data node of the list that links them in key order.
    pub(crate) first_leaf: u32,
    pub(crate) last_leaf: u32,
    pub(crate) len: usize,
    /// Grows with every structural change; a leaf id is valid only for the version that it was found in.
    pub(crate) version: u64,
    pub(crate) backend: Supported,
    pub(crate) max_slots: usize,
    pub(crate) scratch: Scratch<K>,
    /// How many keys are where; made when somebody first asks for a rank.
    pub(crate) tally: OnceLock<Box<Tally<K>>>,
}

/// Buffers kept from one change to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch<K> {
    /// The entries of the leaf that is being replaced.
    pub(crate) keys: Vec<K>,
    pub(crate) payloads: Vec<u64>,
    /// The entries of the leaf that takes its place, keys and payloads.
    pub(crate) merged: (Vec<K>, Vec<u64>),
    /// The keys of a batch with their positions in it, and a second buffer for sorting them.
    pub(crate) batch: Vec<(K, u64)>,
    pub(crate) batch_sort: Vec<(K, u64)>,
}

impl<K: Key> Alex<K> {
    /// The number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the index has no keys.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The SIMD backend that this index searches with.
    pub fn backend(&self) -> Backend {
        self.backend.backend()
    }

    /// Bytes of the index's nodes.
    pub fn nbytes(&self) -> usize {
        self.arena.live_bytes() + size_of::<Self>()
    }

    /// The first damage found in the image that this index was opened from. Once there is some, answers may
    /// be wrong, those of the call that met it included, and the index must be dropped.
    #[inline]
    pub fn damage(&self) -> Option<&Damage> {
        self.arena.image()?.damage()
    }

    /// Says that `by` keys from `first` to `last` have come or, if it is negative, gone, as `len` does.
    #[inline(always)]
    pub(crate) fn counted(&mut self, first: K, last: K, by: i64) {
        if self.tally.get().is_some() {
            self.tallied(first, last, by);
        }
    }

    #[inline(never)]
    fn tallied(&mut self, first: K, last: K, by: i64) {
        if self.tally.get_mut().is_some_and(|tally| !tally.change(first, last, by)) {
            self.tally = OnceLock::new();
        }
    }

    /// The leaf that owns `key`.
    #[inline(always)]
    pub(crate) fn leaf_of(&self, key: K) -> u32 {
        self.leaf_below(self.root, key)
    }

    /// The leaf that owns `key` among those below `node`.
    #[inline(always)]
    pub(crate) fn leaf_below(&self, mut node: NodeId, key: K) -> u32 {
        while !node.is_leaf() {
            let inner = self.arena.inner(node.id());
            let child = &inner.children[inner.head.route(key)];
            count::touch_one(child);
            node = NodeId(*child);
        }
        node.id()
    }
}
