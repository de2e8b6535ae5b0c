//! The tree: its parts, single-key operations, and the descent that all others share.
//!
//! Knows nodes by their views; what happens inside a data node is in `leaf.rs`, structural change in
//! `adapt.rs`, `extend.rs` and `contract.rs`. Every operation here is one descent (tree height model
//! nodes, one table read each) and one leaf operation.

use crate::arena::Arena;
use crate::count;
use crate::error::BackendError;
use crate::node::{Insertion, NIL, NodeId};
use crate::options::{Backend, MAX_LEAF_SLOTS, Options};
use crate::runs::Batch;
use crate::search::{Kernel, Operation, Supported, dispatch};

/// Structural changes that one insert may ask for: far more than the widths of a key can be narrowed.
const MAX_ROUNDS: usize = 256;

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
    /// The keys of the batch that is going in.
    pub(crate) batch: Batch,
}

impl Default for Alex {
    fn default() -> Self {
        Self::new()
    }
}

impl Alex {
    /// An empty index.
    pub fn new() -> Self {
        Self::empty(Supported::active(), MAX_LEAF_SLOTS)
    }

    /// An empty index with a chosen SIMD backend or leaf size.
    pub fn with_options(options: Options) -> Result<Self, BackendError> {
        let backend = options.backend.map_or(Ok(Supported::active()), Supported::of)?;
        // 128 at least: a leaf of 64 slots must be able to overflow into two.
        let slots = options.max_leaf_slots.unwrap_or(MAX_LEAF_SLOTS).clamp(128, MAX_LEAF_SLOTS);
        Ok(Self::empty(backend, slots.next_multiple_of(64)))
    }

    /// An empty index that searches with `backend`.
    pub fn with_backend(backend: Backend) -> Result<Self, BackendError> {
        Self::with_options(Options { backend: Some(backend), ..Options::default() })
    }

    pub(crate) fn empty(backend: Supported, max_slots: usize) -> Self {
        let mut tree = Self {
            arena: Arena::default(),
            root: NodeId::leaf(0),
            first_leaf: NIL,
            last_leaf: NIL,
            len: 0,
            version: 0,
            backend,
            max_slots,
            scratch: Scratch::default(),
        };
        tree.load(&[], &[]);
        tree
    }

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

    /// Removes every key and gives the memory back.
    pub fn clear(&mut self) {
        let version = self.version + 1;
        *self = Self::empty(self.backend, self.max_slots);
        self.version = version;
    }

    /// Bytes that the index's nodes take.
    pub fn nbytes(&self) -> usize {
        self.arena.live_bytes() + size_of::<Self>()
    }

    /// The payload of `key`.
    #[inline]
    pub fn get(&self, key: i64) -> Option<u64> {
        dispatch(self.backend, Get { tree: self, key })
    }

    /// Whether `key` is there.
    #[inline]
    pub fn contains(&self, key: i64) -> bool {
        self.get(key).is_some()
    }

    /// Inserts `key`, or replaces its payload; returns the previous payload.
    #[inline]
    pub fn insert(&mut self, key: i64, payload: u64) -> Option<u64> {
        dispatch(self.backend, Insert { tree: self, key, payload })
    }

    /// Removes `key` and returns its payload.
    #[inline]
    pub fn remove(&mut self, key: i64) -> Option<u64> {
        dispatch(self.backend, Remove { tree: self, key })
    }

    /// Replaces the payload of `key` by `new` if it is `expected`, and says whether it was.
    pub fn replace_if(&mut self, key: i64, expected: u64, new: u64) -> bool {
        dispatch(self.backend, ReplaceIf { tree: self, key, expected, new })
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

    #[inline(always)]
    pub(crate) fn insert_with<K: Kernel>(&mut self, key: i64, payload: u64) -> Option<u64> {
        let mut rounds = 0;
        loop {
            let leaf = self.leaf_of(key);
            match self.arena.leaf_mut(leaf).insert::<K>(key, payload) {
                Insertion::Replaced(previous) => return Some(previous),
                Insertion::Added => {
                    self.len += 1;
                    return None;
                }
                // Its nodes are not the index any more, and nothing more is built on them.
                Insertion::NoRoom if self.damage().is_some() => return None,
                // Each round leaves the leaf below its limit or with fewer keys, or narrows its slot.
                Insertion::NoRoom if rounds < MAX_ROUNDS => self.make_room(key),
                Insertion::NoRoom => self.force_room(key),
            }
            rounds += 1;
        }
    }

    #[inline(always)]
    pub(crate) fn remove_with<K: Kernel>(&mut self, key: i64) -> Option<u64> {
        let leaf = self.leaf_of(key);
        let removal = self.arena.leaf_mut(leaf).remove::<K>(key)?;
        self.len -= 1;
        if removal.sparse {
            self.contract(key);
        }
        Some(removal.payload)
    }
}

struct Get<'a> {
    tree: &'a Alex,
    key: i64,
}

impl Operation for Get<'_> {
    type Output = Option<u64>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Option<u64> {
        let leaf = self.tree.arena.leaf(self.tree.leaf_of(self.key));
        leaf.find::<K>(self.key).map(|slot| leaf.payloads[slot])
    }
}

struct Insert<'a> {
    tree: &'a mut Alex,
    key: i64,
    payload: u64,
}

impl Operation for Insert<'_> {
    type Output = Option<u64>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Option<u64> {
        self.tree.insert_with::<K>(self.key, self.payload)
    }
}

struct Remove<'a> {
    tree: &'a mut Alex,
    key: i64,
}

impl Operation for Remove<'_> {
    type Output = Option<u64>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Option<u64> {
        self.tree.remove_with::<K>(self.key)
    }
}

struct ReplaceIf<'a> {
    tree: &'a mut Alex,
    key: i64,
    expected: u64,
    new: u64,
}

impl Operation for ReplaceIf<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<K: Kernel>(self) -> bool {
        let id = self.tree.leaf_of(self.key);
        let leaf = self.tree.arena.leaf_mut(id);
        match leaf.view().find::<K>(self.key) {
            Some(slot) if leaf.payloads[slot] == self.expected => {
                leaf.payloads[slot] = self.new;
                true
            }
            _ => false,
        }
    }
}
