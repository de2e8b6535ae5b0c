//! Many keys in one call: groups go through the stages of a lookup together, each stage asking for the
//! cache lines of the next.
//!
//! A lookup is its cache misses; a group's misses overlap, so that a batch costs a fraction of single
//! calls. Results come in the order of the keys. Knows leaves by their ids only.

use crate::leaf::Insertion;
use crate::search::{Kernel, prefetch, prefetch_slot};
use crate::simd::{Operation, dispatch};
use crate::tree::Alex;

/// Keys in flight: enough to cover a memory latency, few enough for the line fill buffers.
const GROUP: usize = 32;

impl Alex {
    /// Looks up every key and calls `visit` with its place and its payload, in order.
    pub fn get_many(&self, keys: &[i64], visit: impl FnMut(usize, Option<u64>)) {
        dispatch(self.level, GetMany { tree: self, keys, visit });
    }

    /// Inserts every key with its payload, in order, so that the last of equal keys counts; calls
    /// `replaced` with the place of each key that was there already, and its previous payload.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn insert_many(&mut self, keys: &[i64], payloads: &[u64], replaced: impl FnMut(usize, u64)) {
        assert_eq!(keys.len(), payloads.len(), "one payload for each key");
        dispatch(self.level, InsertMany { tree: self, keys, payloads, replaced });
    }

    /// Removes every key, in order; calls `removed` with the place of each that was there, and its payload.
    pub fn remove_many(&mut self, keys: &[i64], removed: impl FnMut(usize, u64)) {
        dispatch(self.level, RemoveMany { tree: self, keys, removed });
    }

    /// Routes a group of keys and asks for the headers of their leaves.
    #[inline(always)]
    fn route(&self, keys: &[i64], leaves: &mut [u32; GROUP]) {
        for (leaf, &key) in leaves.iter_mut().zip(keys) {
            *leaf = self.leaf_of(key);
            prefetch(self.arena.address(*leaf));
        }
    }

    /// Routes a group of keys and asks for the lines that a change of each will read and write.
    #[inline(always)]
    fn approach(&self, keys: &[i64], leaves: &mut [u32; GROUP]) {
        self.route(keys, leaves);
        for (&leaf, &key) in leaves.iter().zip(keys) {
            let leaf = self.arena.leaf(leaf);
            let guess = leaf.guess(key);
            leaf.prefetch(guess);
            prefetch_slot(leaf.bits, guess / 64);
        }
    }
}

struct GetMany<'a, V> {
    tree: &'a Alex,
    keys: &'a [i64],
    visit: V,
}

impl<V: FnMut(usize, Option<u64>)> Operation for GetMany<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let mut leaves = [0; GROUP];
        let mut views = [(self.tree.arena.leaf(self.tree.first_leaf), 0); GROUP];
        for (group, keys) in self.keys.chunks(GROUP).enumerate() {
            self.tree.route(keys, &mut leaves);
            for ((view, &leaf), &key) in views.iter_mut().zip(&leaves).zip(keys) {
                let leaf = self.tree.arena.leaf(leaf);
                let guess = leaf.guess(key);
                leaf.prefetch(guess);
                *view = (leaf, guess);
            }
            for (i, (&(leaf, guess), &key)) in views.iter().zip(keys).enumerate() {
                let payload = leaf.find_from::<K>(key, guess).map(|slot| leaf.payloads[slot]);
                (self.visit)(group * GROUP + i, payload);
            }
        }
    }
}

struct InsertMany<'a, V> {
    tree: &'a mut Alex,
    keys: &'a [i64],
    payloads: &'a [u64],
    replaced: V,
}

impl<V: FnMut(usize, u64)> Operation for InsertMany<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let tree = self.tree;
        let mut leaves = [0; GROUP];
        for (group, (keys, payloads)) in self.keys.chunks(GROUP).zip(self.payloads.chunks(GROUP)).enumerate()
        {
            tree.approach(keys, &mut leaves);
            let version = tree.version;
            for (i, (&key, &payload)) in keys.iter().zip(payloads).enumerate() {
                // The ids found above hold until the structure changes.
                let previous = if tree.version == version {
                    match tree.arena.leaf_mut(leaves[i]).insert::<K>(key, payload) {
                        Insertion::Replaced(previous) => Some(previous),
                        Insertion::Added => {
                            tree.len += 1;
                            None
                        }
                        Insertion::NoRoom => {
                            tree.make_room(key);
                            tree.insert_with::<K>(key, payload)
                        }
                    }
                } else {
                    tree.insert_with::<K>(key, payload)
                };
                if let Some(previous) = previous {
                    (self.replaced)(group * GROUP + i, previous);
                }
            }
        }
    }
}

struct RemoveMany<'a, V> {
    tree: &'a mut Alex,
    keys: &'a [i64],
    removed: V,
}

impl<V: FnMut(usize, u64)> Operation for RemoveMany<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let mut leaves = [0; GROUP];
        for (group, keys) in self.keys.chunks(GROUP).enumerate() {
            self.tree.approach(keys, &mut leaves);
            for (i, &key) in keys.iter().enumerate() {
                if let Some(payload) = self.tree.remove_with::<K>(key) {
                    (self.removed)(group * GROUP + i, payload);
                }
            }
        }
    }
}
