//! Reading many keys in one call: groups go through the stages of a lookup together, each stage asking for the
//! cache lines of the next.
//!
//! A lookup is its cache misses; a group's misses overlap, so that a batch costs a fraction of single
//! calls. Results come in the order of the keys. Knows leaves by their ids only.

use crate::node::{Leaf, Near};
use crate::order::Position;
use crate::search::{Kernel, Operation, dispatch, prefetch};
use crate::tree::Alex;

/// Keys of a stage. Two stages have lines under way, four or five lines a key: with 16 keys, or 32, a batch
/// took half as long again (10M uniform keys, 50 ns a key against 33).
const GROUP: usize = 8;

impl Alex {
    /// Looks up every key and calls `visit` with its place and its payload, in order.
    pub fn get_many(&self, keys: &[i64], visit: impl FnMut(usize, Option<u64>)) {
        dispatch(self.backend, GetMany { tree: self, keys, visit });
    }

    /// Calls `visit` with the place of every key and whether it is there, in order.
    pub fn contains_many(&self, keys: &[i64], mut visit: impl FnMut(usize, bool)) {
        self.get_many(keys, |i, payload| visit(i, payload.is_some()));
    }

    /// Calls `visit` with the place of every key and the entry with the largest key at most that one, in
    /// order.
    pub fn floor_many(&self, keys: &[i64], visit: impl FnMut(usize, Option<(i64, u64)>)) {
        dispatch(self.backend, NearMany { tree: self, keys, after: true, visit });
    }

    /// Calls `visit` with the place of every key and the entry with the smallest key at least that one, in
    /// order.
    pub fn ceiling_many(&self, keys: &[i64], visit: impl FnMut(usize, Option<(i64, u64)>)) {
        dispatch(self.backend, NearMany { tree: self, keys, after: false, visit });
    }

    /// Asks for the cache lines that a look-up, an insert or a removal of `key` is about to touch. O(height).
    #[inline]
    pub fn prefetch(&self, key: i64) {
        let leaf = self.arena.leaf(self.leaf_of(key));
        leaf.prefetch(leaf.guess(key));
    }

    /// Routes a group of keys and asks for the headers of their leaves.
    #[inline(always)]
    fn route(&self, keys: &[i64], leaves: &mut [u32; GROUP]) {
        for (leaf, &key) in leaves.iter_mut().zip(keys) {
            *leaf = self.leaf_of(key);
            prefetch(self.arena.address(*leaf));
        }
    }
}

struct GetMany<'a, V> {
    tree: &'a Alex,
    keys: &'a [i64],
    visit: V,
}

/// A key on its way: its leaf, the predicted slot, and what its line said.
#[derive(Clone, Copy)]
struct Probe<'a> {
    leaf: Leaf<'a>,
    guess: usize,
    near: Near,
}

impl<V: FnMut(usize, Option<u64>)> Operation for GetMany<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let (tree, keys) = (self.tree, self.keys);
        let none = Probe { leaf: tree.arena.leaf(tree.first_leaf), guess: 0, near: Near::Absent };
        let mut leaves = [[0; GROUP]; 2];
        let mut probes = [[none; GROUP]; 4];
        let group = |at: usize| keys.get(at * GROUP..).map_or(&[][..], |rest| &rest[..rest.len().min(GROUP)]);
        let groups = keys.len().div_ceil(GROUP);
        // Group `step` is routed, the ones before it are each one stage further.
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
                    probe.near = probe.leaf.look::<K>(key, probe.guess);
                }
            }
            if step >= 3 {
                let first = (step - 3) * GROUP;
                for (i, (probe, &key)) in probes[(step - 3) % 4].iter().zip(group(step - 3)).enumerate() {
                    let slot = probe.leaf.conclude::<K>(key, probe.near);
                    (self.visit)(first + i, slot.map(|slot| probe.leaf.payloads[slot]));
                }
            }
        }
    }
}

/// The nearest entries on one side: before the position after each key, or after the one before it.
struct NearMany<'a, V> {
    tree: &'a Alex,
    keys: &'a [i64],
    after: bool,
    visit: V,
}

impl<V: FnMut(usize, Option<(i64, u64)>)> Operation for NearMany<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let (tree, keys) = (self.tree, self.keys);
        let mut leaves = [[0; GROUP]; 2];
        let group = |at: usize| keys.get(at * GROUP..).map_or(&[][..], |rest| &rest[..rest.len().min(GROUP)]);
        for step in 0..=keys.len().div_ceil(GROUP) {
            tree.route(group(step), &mut leaves[step % 2]);
            for (&leaf, &key) in leaves[step % 2].iter().zip(group(step)) {
                let leaf = tree.arena.leaf(leaf);
                leaf.prefetch(leaf.guess(key));
            }
            let Some(before) = step.checked_sub(1) else { continue };
            for (i, (&id, &key)) in leaves[before % 2].iter().zip(group(before)).enumerate() {
                let leaf = tree.arena.leaf(id);
                let entry = if self.after {
                    tree.entry_before(Position { leaf: id, slot: leaf.upper_bound::<K>(key) })
                } else {
                    tree.entry_after(Position { leaf: id, slot: leaf.lower_bound::<K>(key) })
                };
                (self.visit)(before * GROUP + i, entry);
            }
        }
    }
}
