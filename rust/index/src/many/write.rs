//! Changing many keys in one call: the keys are sorted and taken run by run, where a run is the keys of one
//! leaf.
//!
//! A run that is large compared with its leaf is merged: the leaf is rewritten in one pass. A batch that is
//! large compared with the tree is merged with the whole tree. Other keys are inserted or removed one by one,
//! in order of keys, while the lines of the next few are prefetched.
//!
//! `O(n + leaves touched)` besides the sorting; a leaf is rewritten only if a [`MERGE_SHARE`]th of it
//! changes. Knows leaves by their entries; `node/leaf.rs` knows what happens in one.

use std::ops::Bound;

use crate::adapt::Target;
use crate::build::{Chain, Entries, Pair, sort_pairs, split_fill};
use crate::key::Key;
use crate::node::layout::{ACCEPTABLE_STEPS, PACKED_FILL, slots_for, slots_within};
use crate::node::{Insertion, NodeId, Trend};
use crate::room::room;
use crate::search::{Kernel, Operation, dispatch, prefetch_slot};
use crate::tree::{Alex, Scratch};

/// A run is merged if it has at least one key for this many entries of the leaf: rewriting an entry costs
/// about a quarter of inserting one.
const MERGE_SHARE: usize = 4;
/// Runs of fewer keys are never merged.
const MERGE_LEAST: usize = 32;
/// Keys that are prefetched together.
const WRITE_GROUP: usize = 8;
/// Entries from which on a write looks ahead at prefetched lines. A smaller tree is in the last-level cache,
/// and looking ahead costs more than it saves (10 % at 1M keys).
const LOOK_FROM: usize = 1 << 21;
/// Attempts to make room for a run before its keys are inserted one by one.
const MAX_DIVISIONS: usize = 64;
/// Memory for sorting that is kept from one batch to the next, in pairs.
const KEPT_PAIRS: usize = 1 << 16;

/// The keys of a batch with their positions in it, and a second buffer for sorting them.
struct Batch<K> {
    pairs: Vec<Pair<K>>,
    spare: Vec<Pair<K>>,
}

impl<K: Key> Batch<K> {
    /// Sorts the keys of a batch. Equal keys stay in order of their positions.
    fn of(keys: &[K], scratch: &mut Scratch<K>) -> Self {
        let mut pairs = std::mem::take(&mut scratch.batch);
        let mut spare = std::mem::take(&mut scratch.batch_sort);
        pairs.clear();
        room(&mut pairs, keys.len());
        pairs.extend(keys.iter().copied().zip(0..));
        sort_pairs(&mut pairs, &mut spare);
        Self { pairs, spare }
    }

    /// Keeps some memory for the next batch and frees the rest.
    fn keep(mut self, scratch: &mut Scratch<K>) {
        self.pairs.clear();
        self.pairs.shrink_to(KEPT_PAIRS);
        self.spare.truncate(KEPT_PAIRS);
        self.spare.shrink_to(KEPT_PAIRS);
        (scratch.batch, scratch.batch_sort) = (self.pairs, self.spare);
    }
}

impl<K: Key> Alex<K> {
    /// Inserts every key with its payload, or replaces its payload. Of equal keys the last counts.
    ///
    /// Calls `replaced` with the position of each key that was there already, be it from earlier in the
    /// batch, and with its previous payload: in order of keys, and for equal keys in order of positions.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn insert_many(&mut self, keys: &[K], payloads: &[u64], mut replaced: impl FnMut(usize, u64)) {
        K::insert_many(self, keys, payloads, &mut replaced);
    }

    pub(crate) fn do_insert_many(
        &mut self,
        keys: &[K],
        payloads: &[u64],
        replaced: &mut dyn FnMut(usize, u64),
    ) {
        assert_eq!(keys.len(), payloads.len(), "one payload for each key");
        let batch = Batch::of(keys, &mut self.scratch);
        dispatch(self.backend, InsertRuns { tree: self, pairs: &batch.pairs, payloads, replaced });
        batch.keep(&mut self.scratch);
    }

    /// Removes every key. Calls `removed` with the position of each key that was there and its payload, in
    /// order of keys. Of equal keys the first position counts.
    pub fn remove_many(&mut self, keys: &[K], mut removed: impl FnMut(usize, u64)) {
        K::remove_many(self, keys, &mut removed);
    }

    pub(crate) fn do_remove_many(&mut self, keys: &[K], removed: &mut dyn FnMut(usize, u64)) {
        let batch = Batch::of(keys, &mut self.scratch);
        dispatch(self.backend, RemoveRuns { tree: self, pairs: &batch.pairs, removed });
        batch.keep(&mut self.scratch);
    }

    /// Routes a group of keys and prefetches the lines that a change of each key reads and writes.
    #[inline(always)]
    fn approach(&self, group: &[Pair<K>], payloads: &[u64], leaves: &mut [u32; WRITE_GROUP]) {
        for (leaf, &(key, place)) in leaves.iter_mut().zip(group) {
            *leaf = self.leaf_of(key);
            self.arena.prefetch(*leaf);
            // The payloads of the batch lie in the caller's order, not in that of the keys.
            prefetch_slot(payloads, place as usize);
        }
        for (&leaf, &(key, _)) in leaves.iter().zip(group) {
            let leaf = self.arena.leaf(leaf);
            let guess = leaf.guess(key);
            leaf.prefetch(guess);
            prefetch_slot(leaf.bits, guess / 64);
        }
    }

    /// Looks at the lines that were prefetched, and prefetches the neighbouring lines that the changes need
    /// as well.
    #[inline(always)]
    fn look_ahead<S: Kernel>(&self, group: &[Pair<K>], leaves: &[u32; WRITE_GROUP]) {
        for (&leaf, &(key, _)) in leaves.iter().zip(group) {
            let leaf = self.arena.leaf(leaf);
            leaf.prefetch_neighbour::<S>(key);
        }
    }

    /// How many of the pairs, from the first on, belong to the first one's leaf, if they are enough to be
    /// merged; else zero.
    fn long_run(&self, pairs: &[Pair<K>]) -> usize {
        if self.damage().is_some() {
            return 0;
        }
        let leaf = self.leaf_of(pairs[0].0);
        let many = (self.arena.leaf(leaf).head.count as usize / MERGE_SHARE).max(MERGE_LEAST);
        if pairs.get(many - 1).is_none_or(|&(key, _)| self.leaf_of(key) != leaf) {
            return 0;
        }
        many + pairs[many..].partition_point(|&(key, _)| self.leaf_of(key) == leaf)
    }

    /// Merges the pairs into the whole tree.
    fn merge_all(&mut self, pairs: &[Pair<K>], payloads: &[u64], replaced: &mut impl FnMut(usize, u64)) {
        let mut old = (Vec::new(), Vec::new());
        room(&mut old.0, self.len);
        room(&mut old.1, self.len);
        self.scan_into(Bound::Unbounded, Bound::Unbounded, false, usize::MAX, &mut old.0, &mut old.1);
        if self.damage().is_some() {
            // Entries are missing from what was read, so the tree must not be replaced; `damage` tells of it.
            return;
        }
        let mut new = (Vec::new(), Vec::new());
        let entries = Entries { keys: &old.0, payloads: &old.1 };
        merge(entries, pairs, payloads, (&mut new.0, &mut new.1), replaced);
        drop(old);
        self.reload(&new.0, &new.1);
    }

    /// Merges as much of a run into its leaf as the leaf has room for, and returns how much. Where that is
    /// too little, splits the leaf or extends a range instead, and returns zero.
    fn merge_run(
        &mut self,
        run: &[Pair<K>],
        payloads: &[u64],
        replaced: &mut impl FnMut(usize, u64),
    ) -> usize {
        let key = run[0].0;
        let target = self.target(key);
        let head = self.arena.leaf(target.leaf).head;
        let count = head.count as usize;
        // A run above the last entry counts as a trend, whatever came before it.
        let tail = self.arena.leaf(target.leaf).last_key().is_none_or(|last| last < key) && count > 0;
        let trend = if tail { Trend::Ascending } else { target.trend };
        let most = self.most_entries(if trend == Trend::Anywhere { 0.72 } else { 0.9 });
        let taken = run.len().min(most.saturating_sub(count));
        if taken < run.len().min((count / MERGE_SHARE).max(MERGE_LEAST)) {
            self.divide(key);
            return 0;
        }
        let mut merged = std::mem::take(&mut self.scratch.merged);
        merged.0.clear();
        merged.1.clear();
        self.with_entries(target.leaf, |_, old| {
            merge(old, &run[..taken], payloads, (&mut merged.0, &mut merged.1), replaced);
        });
        let entries = Entries { keys: &merged.0, payloads: &merged.1 };
        let capacity = match trend {
            Trend::Anywhere => slots_for(entries.len(), split_fill::<K>()),
            _ => slots_for(entries.len() * 2, PACKED_FILL),
        };
        let steps = self.rebuild(&target, entries, capacity.min(self.max_slots), trend);
        self.len += entries.len() - count;
        self.counted(key, run[taken - 1].0, (entries.len() - count) as i64);
        let splits = steps > ACCEPTABLE_STEPS && entries.len() >= self.min_split();
        self.scratch.merged = merged;
        let leaf = self.leaf_of(key);
        let head = self.arena.leaf_head_mut(leaf);
        head.inserts = taken.min(usize::from(u16::MAX)) as u16;
        head.tail_inserts = if tail { head.inserts } else { 0 };
        if splits {
            self.divide(key);
        }
        taken
    }

    /// Replaces a leaf by one with other entries. Returns the mean search work of the new one.
    fn rebuild(&mut self, target: &Target, entries: Entries<'_, K>, capacity: usize, trend: Trend) -> f64 {
        self.version += 1;
        let mut chain = Chain::new();
        let (leaf, steps) = self.measured_leaf(&mut chain, entries, capacity, trend);
        self.replace(target, &chain, &[NodeId::leaf(leaf)]);
        steps
    }

    /// Removes a run from its leaf in one pass.
    fn drain_run(&mut self, run: &[Pair<K>], removed: &mut impl FnMut(usize, u64)) {
        let key = run[0].0;
        let target = self.target(key);
        let mut merged = std::mem::take(&mut self.scratch.merged);
        merged.0.clear();
        merged.1.clear();
        let mut rest = run.iter().peekable();
        let mut count = 0;
        self.with_entries(target.leaf, |_, old| {
            count = old.len();
            for (&key, &payload) in old.keys.iter().zip(old.payloads) {
                while rest.next_if(|pair| pair.0 < key).is_some() {}
                match rest.peek() {
                    Some(&&(wanted, place)) if wanted == key => removed(place as usize, payload),
                    _ => {
                        merged.0.push(key);
                        merged.1.push(payload);
                    }
                }
            }
        });
        let entries = Entries { keys: &merged.0, payloads: &merged.1 };
        if entries.len() < count {
            let capacity = slots_within(entries.len(), split_fill::<K>(), self.max_slots);
            // Where there is no memory for the new leaf, nothing is counted.
            self.rebuild(&target, entries, capacity, Trend::Anywhere);
            self.len -= count - entries.len();
            self.counted(key, run[run.len() - 1].0, -((count - entries.len()) as i64));
            self.scratch.merged = merged;
            // The leaf may now be small enough to merge with a neighbour.
            self.contract(key);
        } else {
            self.scratch.merged = merged;
        }
    }
}

/// Merges entries with the keys of `pairs` and the payloads at their positions. Of equal keys the last
/// counts.
fn merge<K: Key>(
    old: Entries<'_, K>,
    pairs: &[Pair<K>],
    payloads: &[u64],
    (keys, out): (&mut Vec<K>, &mut Vec<u64>),
    replaced: &mut impl FnMut(usize, u64),
) {
    room(keys, old.len() + pairs.len());
    room(out, old.len() + pairs.len());
    let mut at = 0;
    for (i, &(key, place)) in pairs.iter().enumerate() {
        let payload = payloads[place as usize];
        if let Some(previous) = i.checked_sub(1)
            && pairs[previous].0 == key
        {
            replaced(place as usize, payloads[pairs[previous].1 as usize]);
            if let Some(last) = out.last_mut() {
                *last = payload;
            }
            continue;
        }
        let from = at;
        while at < old.len() && old.keys[at] < key {
            at += 1;
        }
        keys.extend_from_slice(&old.keys[from..at]);
        out.extend_from_slice(&old.payloads[from..at]);
        if old.keys.get(at) == Some(&key) {
            replaced(place as usize, old.payloads[at]);
            at += 1;
        }
        keys.push(key);
        out.push(payload);
    }
    keys.extend_from_slice(&old.keys[at..]);
    out.extend_from_slice(&old.payloads[at..]);
}

struct InsertRuns<'a, K: Key, V> {
    tree: &'a mut Alex<K>,
    pairs: &'a [Pair<K>],
    payloads: &'a [u64],
    replaced: V,
}

impl<K: Key, V: FnMut(usize, u64)> Operation for InsertRuns<'_, K, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(mut self) {
        let (tree, pairs) = (self.tree, self.pairs);
        if pairs.is_empty() {
            return;
        }
        if pairs.len() >= MERGE_LEAST && pairs.len() * 2 >= tree.len {
            return tree.merge_all(pairs, self.payloads, &mut self.replaced);
        }
        let (mut at, mut rounds) = (0, 0);
        // Up to here, pairs are known not to begin a run that is worth merging.
        let mut short_until = 0;
        // Three groups are in flight: one is prefetched, one is looked at, one is inserted. `ready` is the
        // position and the version of the tree for which `leaves` are right.
        let mut leaves = [[0; WRITE_GROUP]; 3];
        let mut ready = (usize::MAX, tree.version);
        let group = |at: usize| pairs.get(at..).map_or(&[][..], |rest| &rest[..rest.len().min(WRITE_GROUP)]);
        let place = |at: usize| at / WRITE_GROUP % 3;
        while at < pairs.len() {
            if at >= short_until {
                let run = tree.long_run(&pairs[at..]);
                if run > 0 && rounds < MAX_DIVISIONS {
                    let taken = tree.merge_run(&pairs[at..at + run], self.payloads, &mut self.replaced);
                    rounds = if taken > 0 { 0 } else { rounds + 1 };
                    at += taken;
                    continue;
                }
                rounds = 0;
                short_until = at + MERGE_LEAST;
            }
            let (next, last) = (at + WRITE_GROUP, at + 2 * WRITE_GROUP);
            if ready != (at, tree.version) {
                tree.approach(group(at), self.payloads, &mut leaves[place(at)]);
                tree.approach(group(next), self.payloads, &mut leaves[place(next)]);
            }
            tree.approach(group(last), self.payloads, &mut leaves[place(last)]);
            if tree.len >= LOOK_FROM {
                tree.look_ahead::<S>(group(next), &leaves[place(next)]);
            }
            ready = (next, tree.version);
            for (&(key, from), &leaf) in group(at).iter().zip(&leaves[place(at)]) {
                let payload = self.payloads[from as usize];
                let previous = if tree.version == ready.1 {
                    tree.insert_in::<S>(leaf, key, payload)
                } else {
                    tree.insert_with::<S>(key, payload)
                };
                if let Some(previous) = previous {
                    (self.replaced)(from as usize, previous);
                }
            }
            at = next;
        }
    }
}

struct RemoveRuns<'a, K: Key, V> {
    tree: &'a mut Alex<K>,
    pairs: &'a [Pair<K>],
    removed: V,
}

impl<K: Key, V: FnMut(usize, u64)> Operation for RemoveRuns<'_, K, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(mut self) {
        let (tree, pairs) = (self.tree, self.pairs);
        let mut leaves = [0; WRITE_GROUP];
        let (mut at, mut short_until) = (0, 0);
        while at < pairs.len() {
            if at >= short_until {
                let run = tree.long_run(&pairs[at..]);
                if run > 0 {
                    tree.drain_run(&pairs[at..at + run], &mut self.removed);
                    at += run;
                    continue;
                }
                short_until = at + MERGE_LEAST;
            }
            let group = &pairs[at..pairs.len().min(at + WRITE_GROUP)];
            tree.approach(group, &[], &mut leaves);
            for &(key, place) in group {
                if let Some(payload) = tree.remove_with::<S>(key) {
                    (self.removed)(place as usize, payload);
                }
            }
            at += group.len();
        }
    }
}

impl<K: Key> Alex<K> {
    /// `insert_with` into a known leaf.
    #[inline(always)]
    fn insert_in<S: Kernel>(&mut self, leaf: u32, key: K, payload: u64) -> Option<u64> {
        match self.arena.leaf_mut(leaf).insert::<S>(key, payload) {
            Insertion::Replaced(previous) => Some(previous),
            Insertion::Added => {
                self.len += 1;
                self.counted(key, key, 1);
                None
            }
            Insertion::NoRoom => {
                self.make_room(key);
                self.insert_with::<S>(key, payload)
            }
        }
    }
}
