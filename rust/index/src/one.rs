//! Operations on one key: get, insert, remove, replace.
//!
//! Each is one descent and one operation on a leaf. Where a leaf has too little room, or too much, `adapt`
//! changes the tree. `O(height + log prediction error)`; an insert or removal moves at most one leaf besides.

use crate::key::Key;
use crate::node::Insertion;
use crate::search::{Kernel, Operation, dispatch};
use crate::tree::Alex;

/// Structural changes that one insert may ask for: far more often than a slot can be halved.
const MAX_STRUCTURAL_CHANGES: usize = 256;

impl<K: Key> Alex<K> {
    /// The payload of `key`.
    #[inline]
    pub fn get(&self, key: K) -> Option<u64> {
        K::get(self, key)
    }

    #[inline]
    pub(crate) fn do_get(&self, key: K) -> Option<u64> {
        dispatch(self.backend, Get { tree: self, key })
    }

    /// Whether the index holds `key`.
    #[inline]
    pub fn contains(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// Inserts `key`, or replaces its payload. Returns the previous payload.
    #[inline]
    pub fn insert(&mut self, key: K, payload: u64) -> Option<u64> {
        K::insert(self, key, payload)
    }

    #[inline]
    pub(crate) fn do_insert(&mut self, key: K, payload: u64) -> Option<u64> {
        dispatch(self.backend, Insert { tree: self, key, payload })
    }

    /// Removes `key` and returns its payload.
    #[inline]
    pub fn remove(&mut self, key: K) -> Option<u64> {
        K::remove(self, key)
    }

    #[inline]
    pub(crate) fn do_remove(&mut self, key: K) -> Option<u64> {
        dispatch(self.backend, Remove { tree: self, key })
    }

    /// Replaces the payload of `key` by `new` if it is `expected`. Returns whether it was.
    pub fn replace_if(&mut self, key: K, expected: u64, new: u64) -> bool {
        K::replace_if(self, key, expected, new)
    }

    pub(crate) fn do_replace_if(&mut self, key: K, expected: u64, new: u64) -> bool {
        dispatch(self.backend, ReplaceIf { tree: self, key, expected, new })
    }

    #[inline(always)]
    pub(crate) fn insert_with<S: Kernel>(&mut self, key: K, payload: u64) -> Option<u64> {
        let mut rounds = 0;
        loop {
            let leaf = self.leaf_of(key);
            match self.arena.leaf_mut(leaf).insert::<S>(key, payload) {
                Insertion::Replaced(previous) => return Some(previous),
                Insertion::Added => {
                    self.len += 1;
                    self.counted(key, key, 1);
                    return None;
                }
                // The image is damaged, so its nodes are not changed any further.
                Insertion::NoRoom if self.damage().is_some() => return None,
                // Each round leaves the leaf with room, with fewer keys, or with a narrower slot.
                Insertion::NoRoom if rounds < MAX_STRUCTURAL_CHANGES => self.make_room(key),
                Insertion::NoRoom => self.force_room(key),
            }
            rounds += 1;
        }
    }

    #[inline(always)]
    pub(crate) fn remove_with<S: Kernel>(&mut self, key: K) -> Option<u64> {
        let leaf = self.leaf_of(key);
        let removal = self.arena.leaf_mut(leaf).remove::<S>(key)?;
        self.len -= 1;
        self.counted(key, key, -1);
        if removal.sparse {
            self.contract(key);
        }
        Some(removal.payload)
    }
}

struct Get<'a, K: Key> {
    tree: &'a Alex<K>,
    key: K,
}

impl<K: Key> Operation for Get<'_, K> {
    type Output = Option<u64>;

    #[inline(always)]
    fn run<S: Kernel>(self) -> Option<u64> {
        let leaf = self.tree.arena.leaf(self.tree.leaf_of(self.key));
        leaf.find::<S>(self.key).map(|slot| leaf.payloads[slot])
    }
}

struct Insert<'a, K: Key> {
    tree: &'a mut Alex<K>,
    key: K,
    payload: u64,
}

impl<K: Key> Operation for Insert<'_, K> {
    type Output = Option<u64>;

    #[inline(always)]
    fn run<S: Kernel>(self) -> Option<u64> {
        self.tree.insert_with::<S>(self.key, self.payload)
    }
}

struct Remove<'a, K: Key> {
    tree: &'a mut Alex<K>,
    key: K,
}

impl<K: Key> Operation for Remove<'_, K> {
    type Output = Option<u64>;

    #[inline(always)]
    fn run<S: Kernel>(self) -> Option<u64> {
        self.tree.remove_with::<S>(self.key)
    }
}

struct ReplaceIf<'a, K: Key> {
    tree: &'a mut Alex<K>,
    key: K,
    expected: u64,
    new: u64,
}

impl<K: Key> Operation for ReplaceIf<'_, K> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Kernel>(self) -> bool {
        let id = self.tree.leaf_of(self.key);
        let leaf = self.tree.arena.leaf_mut(id);
        match leaf.view().find::<S>(self.key) {
            Some(slot) if leaf.payloads[slot] == self.expected => {
                leaf.payloads[slot] = self.new;
                true
            }
            _ => false,
        }
    }
}
