//! Reading many keys in one call.
//!
//! A group of keys goes through the stages of a lookup together, and each stage prefetches the cache lines of
//! the next. The time of a lookup is that of its cache misses, and a group's misses overlap, so a batch costs
//! a fraction of single calls. Results come in the order of the keys. Changes nothing.

use crate::key::Key;
use crate::node::{Leaf, Near};
use crate::order::Position;
use crate::search::{Kernel, Operation, dispatch};
use crate::tree::Alex;

/// Keys that go through a stage together. Two stages have lines in flight at a time, four or five lines for
/// each key. With 16 or 32 keys a batch took half as long again (10M uniform keys: 50 ns a key, 33 ns with
/// 8).
const READ_GROUP: usize = 8;

impl<K: Key> Alex<K> {
    /// Looks up every key. Calls `visit` with its position in `keys` and its payload, in order.
    pub fn get_many(&self, keys: &[K], visit: impl FnMut(usize, Option<u64>)) {
        dispatch(self.backend, GetMany { tree: self, keys, visit });
    }

    /// Looks up every key. Calls `visit` with its position in `keys` and whether the index holds it, in
    /// order.
    pub fn contains_many(&self, keys: &[K], mut visit: impl FnMut(usize, bool)) {
        self.get_many(keys, |i, payload| visit(i, payload.is_some()));
    }

    /// Calls `visit` with the position of each of `keys` and the entry with the largest key less than or
    /// equal to it, in order.
    pub fn floor_many(&self, keys: &[K], visit: impl FnMut(usize, Option<(K, u64)>)) {
        dispatch(self.backend, NearMany { tree: self, keys, after: true, visit });
    }

    /// Calls `visit` with the position of each of `keys` and the entry with the smallest key greater than or
    /// equal to it, in order.
    pub fn ceiling_many(&self, keys: &[K], visit: impl FnMut(usize, Option<(K, u64)>)) {
        dispatch(self.backend, NearMany { tree: self, keys, after: false, visit });
    }

    /// Prefetches the cache lines that a lookup, an insert or a removal of `key` touches first. `O(height)`.
    #[inline]
    pub fn prefetch(&self, key: K) {
        let leaf = self.arena.leaf(self.leaf_of(key));
        leaf.prefetch(leaf.guess(key));
    }

    /// Routes a group of keys and prefetches the headers of their leaves.
    #[inline(always)]
    fn route(&self, keys: &[K], leaves: &mut [u32; READ_GROUP]) {
        for (leaf, &key) in leaves.iter_mut().zip(keys) {
            *leaf = self.leaf_of(key);
            self.arena.prefetch(*leaf);
        }
    }
}

struct GetMany<'a, K: Key, V> {
    tree: &'a Alex<K>,
    keys: &'a [K],
    visit: V,
}

/// The state of a lookup between two stages.
#[derive(Clone, Copy)]
struct Probe<'a, K: Key> {
    leaf: Leaf<'a, K>,
    guess: usize,
    near: Near,
}

impl<K: Key, V: FnMut(usize, Option<u64>)> Operation for GetMany<'_, K, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(mut self) {
        let (tree, keys) = (self.tree, self.keys);
        let none = Probe { leaf: tree.arena.leaf(tree.first_leaf), guess: 0, near: Near::Absent };
        let mut leaves = [[0; READ_GROUP]; 2];
        let mut probes = [[none; READ_GROUP]; 4];
        let group = |at: usize| {
            keys.get(at * READ_GROUP..).map_or(&[][..], |rest| &rest[..rest.len().min(READ_GROUP)])
        };
        let groups = keys.len().div_ceil(READ_GROUP);
        // Group `step` is routed, and each of the three groups before it is one stage further.
        for step in 0..groups + 3 {
            tree.route(group(step), &mut leaves[step % 2]);
            if step >= 1 {
                let (ids, probes) = (&leaves[(step - 1) % 2], &mut probes[(step - 1) % 4]);
                for ((probe, &leaf), &key) in probes.iter_mut().zip(ids).zip(group(step - 1)) {
                    let leaf = tree.arena.leaf(leaf);
                    let guess = leaf.guess(key);
                    leaf.prefetch(guess);
                    *probe = Probe { leaf, guess, near: Near::Absent };
                }
            }
            if step >= 2 {
                for (probe, &key) in probes[(step - 2) % 4].iter_mut().zip(group(step - 2)) {
                    probe.near = probe.leaf.look::<S>(key, probe.guess);
                }
            }
            if step >= 3 {
                let first = (step - 3) * READ_GROUP;
                for (i, (probe, &key)) in probes[(step - 3) % 4].iter().zip(group(step - 3)).enumerate() {
                    let slot = probe.leaf.conclude::<S>(key, probe.near);
                    (self.visit)(first + i, slot.map(|slot| probe.leaf.payloads[slot]));
                }
            }
        }
    }
}

/// Finds the nearest entry of each key: at or below it, or at or above it.
struct NearMany<'a, K: Key, V> {
    tree: &'a Alex<K>,
    keys: &'a [K],
    /// Whether the entry at or below the key is wanted: the one before the position after the key.
    after: bool,
    visit: V,
}

impl<K: Key, V: FnMut(usize, Option<(K, u64)>)> Operation for NearMany<'_, K, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(mut self) {
        let (tree, keys) = (self.tree, self.keys);
        let mut leaves = [[0; READ_GROUP]; 2];
        let group = |at: usize| {
            keys.get(at * READ_GROUP..).map_or(&[][..], |rest| &rest[..rest.len().min(READ_GROUP)])
        };
        for step in 0..=keys.len().div_ceil(READ_GROUP) {
            tree.route(group(step), &mut leaves[step % 2]);
            for (&leaf, &key) in leaves[step % 2].iter().zip(group(step)) {
                let leaf = tree.arena.leaf(leaf);
                leaf.prefetch(leaf.guess(key));
            }
            let Some(before) = step.checked_sub(1) else { continue };
            for (i, (&id, &key)) in leaves[before % 2].iter().zip(group(before)).enumerate() {
                let leaf = tree.arena.leaf(id);
                let entry = if self.after {
                    tree.entry_before(Position { leaf: id, slot: leaf.upper_bound::<S>(key) })
                } else {
                    tree.entry_after(Position { leaf: id, slot: leaf.lower_bound::<S>(key) })
                };
                (self.visit)(before * READ_GROUP + i, entry);
            }
        }
    }
}
