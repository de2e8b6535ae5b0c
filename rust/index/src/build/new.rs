//! Making an index: an empty one, or one of entries that are sorted or not.
//!
//! Knows what an index consists of; `bulk_load.rs` knows how nodes are built from entries. `O(n)`.

use std::sync::OnceLock;

use super::bulk_load::load_fill;
use super::draft::{Chain, Entries, Plan};
use super::sort::{Pair, sort_pairs, unzip_last};
use crate::arena::Arena;
use crate::error::{BackendError, Unsorted};
use crate::key::Key;
use crate::node::{NIL, NodeId};
use crate::options::{MAX_LEAF_SLOTS, Options};
use crate::room::room;
use crate::search::Supported;
use crate::tree::{Alex, Scratch};

impl<K: Key> Default for Alex<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key> Alex<K> {
    /// An empty index.
    pub fn new() -> Self {
        Self::empty(Supported::active(), MAX_LEAF_SLOTS)
    }

    /// An empty index with a chosen SIMD backend or leaf size.
    pub fn with_options(options: Options) -> Result<Self, BackendError> {
        let backend = options.backend.map_or(Ok(Supported::active()), Supported::of)?;
        // At least 128, so that a leaf of 64 slots can overflow into a larger one.
        let slots = options.max_leaf_slots.unwrap_or(MAX_LEAF_SLOTS).clamp(128, MAX_LEAF_SLOTS);
        Ok(Self::empty(backend, slots.next_multiple_of(64)))
    }

    pub(crate) fn empty(backend: Supported, max_slots: usize) -> Self {
        K::empty(backend, max_slots)
    }

    pub(crate) fn do_empty(backend: Supported, max_slots: usize) -> Self {
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
            tally: OnceLock::new(),
        };
        tree.load(&[], &[]);
        tree
    }

    /// Removes every key and returns the memory to the system.
    pub fn clear(&mut self) {
        let version = self.version + 1;
        *self = Self::empty(self.backend, self.max_slots);
        self.version = version;
    }

    /// An index of strictly ascending keys and their payloads, built in one pass.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn from_sorted(keys: &[K], payloads: &[u64]) -> Result<Self, Unsorted<K>> {
        K::from_sorted(keys, payloads)
    }

    pub(crate) fn do_from_sorted(keys: &[K], payloads: &[u64]) -> Result<Self, Unsorted<K>> {
        assert_eq!(keys.len(), payloads.len(), "one payload for each key");
        if !keys.is_sorted_by(|a, b| a < b) {
            let at = keys.windows(2).position(|pair| pair[0] >= pair[1]).unwrap_or(0);
            return Err(Unsorted { position: at + 1, previous: keys[at], key: keys[at + 1] });
        }
        let mut tree = Self::new();
        tree.reload(keys, payloads);
        Ok(tree)
    }

    /// An index of keys in any order. Of equal keys the last one counts. Keys that ascend already are not
    /// copied.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn from_unsorted(keys: &[K], payloads: &[u64]) -> Self {
        K::from_unsorted(keys, payloads)
    }

    pub(crate) fn do_from_unsorted(keys: &[K], payloads: &[u64]) -> Self {
        if let Ok(tree) = Self::from_sorted(keys, payloads) {
            return tree;
        }
        let mut tree = Self::new();
        let mut pairs: Vec<Pair<K>> = keys.iter().copied().zip(payloads.iter().copied()).collect();
        sort_pairs(&mut pairs, &mut Vec::new());
        let (keys, payloads) = unzip_last(&pairs);
        drop(pairs);
        tree.reload(&keys, &payloads);
        tree
    }

    /// Replaces the contents, and keeps backend and leaf size. The old tree is given up only if there is memory for the
    /// new one. The keys must be strictly ascending.
    pub(crate) fn reload(&mut self, keys: &[K], payloads: &[u64]) {
        let (backend, max_slots): (Supported, usize) = (self.backend, self.max_slots);
        // A tree without keys may still have model nodes.
        if !(self.is_empty() && self.root.is_leaf()) {
            // No page of it is touched: a new tree beside the old one would cost half as much time again.
            room(&mut Vec::<(K, u64)>::new(), 2 * keys.len());
            let version = self.version;
            *self = Self::empty(backend, max_slots);
            self.version = version;
        }
        let old = self.root.id();
        self.load(keys, payloads);
        self.arena.free_leaf(old);
    }

    /// Builds root and leaf list of a tree that has none. The keys must be strictly ascending.
    pub(crate) fn load(&mut self, keys: &[K], payloads: &[u64]) {
        let entries = Entries { keys, payloads };
        let mut chain = Chain::new();
        self.root = self.do_leaf_or_node(&mut chain, entries, Plan::load(load_fill::<K>()));
        (self.first_leaf, self.last_leaf) = (chain.first, chain.last);
        self.len = keys.len();
        self.tally = OnceLock::new();
        self.version += 1;
    }
}
