//! Many changes in one call: the keys are sorted, then taken run by run, a run being those of one leaf.
//!
//! A run that is large beside its leaf is merged: one pass writes the leaf anew. A batch that is large
//! beside the tree is merged with all of it. Other keys go in one by one, in order of keys, the lines of the
//! next few asked for meanwhile. Knows leaves by their entries; what a leaf does with one key is in
//! `leaf.rs`. `O(n + leaves touched)` besides the sorting; at most one leaf is written for each
//! [`MERGE_SHARE`]th of it that changes.

use std::ops::Bound;

use crate::adapt::Target;
use crate::build::{Chain, Entries, Pair, SPLIT_FILL, sort_pairs};
use crate::node::layout::{ACCEPTABLE_STEPS, PACKED_FILL, slots_for, slots_within};
use crate::node::{Insertion, NodeId, Trend};
use crate::search::{Kernel, Operation, dispatch, prefetch, prefetch_slot};
use crate::tree::{Alex, Scratch};

/// A run of more than a leaf's entries over this is merged rather than inserted one by one: writing an old
/// entry anew costs about a quarter of inserting one.
const MERGE_SHARE: usize = 4;
/// Shorter runs are never merged.
const MERGE_LEAST: usize = 32;
/// Keys asked for ahead.
const GROUP: usize = 8;
/// Below so many entries a tree is in the last cache, and looking ahead costs more than it saves (1M keys: 10 %).
const LOOK_FROM: usize = 1 << 21;
/// Attempts to make room before keys go in one by one, whatever the leaf looks like.
const MAX_ROUNDS: usize = 64;
/// Sorting memory kept from one batch to the next, in pairs.
const KEPT: usize = 1 << 16;

/// The pairs of a batch and memory to sort them in.
struct Batch {
    pairs: Vec<Pair>,
    spare: Vec<Pair>,
}

impl Batch {
    /// Keys with their places, ascending; places ascend among equal keys.
    fn of(keys: &[i64], scratch: &mut Scratch) -> Self {
        let mut pairs = std::mem::take(&mut scratch.batch);
        let mut spare = std::mem::take(&mut scratch.batch_sort);
        pairs.clear();
        pairs.extend(keys.iter().copied().zip(0..));
        sort_pairs(&mut pairs, &mut spare);
        Self { pairs, spare }
    }

    /// Keeps some of the memory for the next batch, and gives the rest back.
    fn keep(mut self, scratch: &mut Scratch) {
        self.pairs.clear();
        self.pairs.shrink_to(KEPT);
        self.spare.truncate(KEPT);
        self.spare.shrink_to(KEPT);
        (scratch.batch, scratch.batch_sort) = (self.pairs, self.spare);
    }
}

impl Alex {
    /// Inserts every key with its payload, so that the last of equal keys counts; calls `replaced` with the
    /// place of each key that was there already (earlier in the batch, too), and its previous payload. The
    /// calls come in order of keys; those for equal keys in order of places.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn insert_many(&mut self, keys: &[i64], payloads: &[u64], replaced: impl FnMut(usize, u64)) {
        assert_eq!(keys.len(), payloads.len(), "one payload for each key");
        let batch = Batch::of(keys, &mut self.scratch);
        dispatch(self.backend, InsertRuns { tree: self, pairs: &batch.pairs, payloads, replaced });
        batch.keep(&mut self.scratch);
    }

    /// Removes every key; calls `removed` with the place of each that was there, and its payload, in order of
    /// keys. Of equal keys the first place counts.
    pub fn remove_many(&mut self, keys: &[i64], removed: impl FnMut(usize, u64)) {
        let batch = Batch::of(keys, &mut self.scratch);
        dispatch(self.backend, RemoveRuns { tree: self, pairs: &batch.pairs, removed });
        batch.keep(&mut self.scratch);
    }

    /// Routes a group of keys and asks for the lines that a change of each will read and write.
    #[inline(always)]
    fn approach(&self, group: &[Pair], payloads: &[u64], leaves: &mut [u32; GROUP]) {
        for (leaf, &(key, place)) in leaves.iter_mut().zip(group) {
            *leaf = self.leaf_of(key);
            prefetch(self.arena.address(*leaf));
            // The batch's own, in no order.
            prefetch_slot(payloads, place as usize);
        }
        for (&leaf, &(key, _)) in leaves.iter().zip(group) {
            let leaf = self.arena.leaf(leaf);
            let guess = leaf.guess(key);
            leaf.prefetch(guess);
            prefetch_slot(leaf.bits, guess / 64);
        }
    }

    /// Looks at the lines that were asked for, and asks for the neighbours that the changes will need, too.
    #[inline(always)]
    fn look_ahead<K: Kernel>(&self, group: &[Pair], leaves: &[u32; GROUP]) {
        for (&leaf, &(key, _)) in leaves.iter().zip(group) {
            let leaf = self.arena.leaf(leaf);
            leaf.expect::<K>(key);
        }
    }

    /// How many of the pairs, from the first on, belong to its leaf, if they are many beside its entries:
    /// else zero.
    fn long_run(&self, pairs: &[Pair]) -> usize {
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

    /// Merges the whole tree with the pairs.
    fn merge_all(&mut self, pairs: &[Pair], payloads: &[u64], replaced: &mut impl FnMut(usize, u64)) {
        let mut old = (Vec::with_capacity(self.len), Vec::with_capacity(self.len));
        self.scan_into(Bound::Unbounded, Bound::Unbounded, false, usize::MAX, &mut old.0, &mut old.1);
        if self.damage().is_some() {
            // What was read is not all there was; the tree stays, and tells.
            return;
        }
        let mut new =
            (Vec::with_capacity(old.0.len() + pairs.len()), Vec::with_capacity(old.0.len() + pairs.len()));
        let old = Entries { keys: &old.0, payloads: &old.1 };
        merge(old, pairs, payloads, (&mut new.0, &mut new.1), replaced);
        self.reload(&new.0, &new.1);
    }

    /// Merges as much of a run into its leaf as there is room for, and returns how much: nothing if the leaf
    /// must be split or its range extended first, which is then done.
    fn merge_run(&mut self, run: &[Pair], payloads: &[u64], replaced: &mut impl FnMut(usize, u64)) -> usize {
        let key = run[0].0;
        let target = self.target(key);
        let head = self.arena.leaf(target.leaf).head;
        let count = head.count as usize;
        // A run beyond the last entry is a trend, whatever the leaf has seen so far.
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
            Trend::Anywhere => slots_for(entries.len(), SPLIT_FILL),
            _ => slots_for(entries.len() * 2, PACKED_FILL),
        };
        let steps = self.rebuild(&target, entries, capacity.min(self.max_slots), trend);
        self.len += entries.len() - count;
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

    /// Writes a leaf anew with other entries; returns its search work (see `place`).
    fn rebuild(&mut self, target: &Target, entries: Entries<'_>, capacity: usize, trend: Trend) -> f64 {
        self.version += 1;
        let mut chain = Chain::new();
        let (leaf, steps) = self.measured_leaf(&mut chain, entries, capacity, trend);
        self.replace(target, &chain, &[NodeId::leaf(leaf)]);
        steps
    }

    /// Takes a run out of its leaf in one pass.
    fn drain_run(&mut self, run: &[Pair], removed: &mut impl FnMut(usize, u64)) {
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
            self.len -= count - entries.len();
            let capacity = slots_within(entries.len(), SPLIT_FILL, self.max_slots);
            self.rebuild(&target, entries, capacity, Trend::Anywhere);
            self.scratch.merged = merged;
            // It may now be small enough to join a neighbour.
            self.contract(key);
        } else {
            self.scratch.merged = merged;
        }
    }
}

/// Merges entries with the pairs' keys and the payloads at their places, the last of equal keys counting.
fn merge(
    old: Entries<'_>,
    pairs: &[Pair],
    payloads: &[u64],
    (keys, out): (&mut Vec<i64>, &mut Vec<u64>),
    replaced: &mut impl FnMut(usize, u64),
) {
    keys.reserve(old.len() + pairs.len());
    out.reserve(old.len() + pairs.len());
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

struct InsertRuns<'a, V> {
    tree: &'a mut Alex,
    pairs: &'a [Pair],
    payloads: &'a [u64],
    replaced: V,
}

impl<V: FnMut(usize, u64)> Operation for InsertRuns<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let (tree, pairs) = (self.tree, self.pairs);
        if pairs.is_empty() {
            return;
        }
        if pairs.len() >= MERGE_LEAST && pairs.len() * 2 >= tree.len {
            return tree.merge_all(pairs, self.payloads, &mut self.replaced);
        }
        let (mut at, mut rounds) = (0, 0);
        // The run that begins here is known to be short up to there.
        let mut short_until = 0;
        // Three groups are on their way: asked for, looked at, and going in. The leaves are right for this
        // place and version.
        let mut leaves = [[0; GROUP]; 3];
        let mut ready = (usize::MAX, tree.version);
        let group = |at: usize| pairs.get(at..).map_or(&[][..], |rest| &rest[..rest.len().min(GROUP)]);
        let place = |at: usize| at / GROUP % 3;
        while at < pairs.len() {
            if at >= short_until {
                let run = tree.long_run(&pairs[at..]);
                if run > 0 && rounds < MAX_ROUNDS {
                    let taken = tree.merge_run(&pairs[at..at + run], self.payloads, &mut self.replaced);
                    rounds = if taken > 0 { 0 } else { rounds + 1 };
                    at += taken;
                    continue;
                }
                rounds = 0;
                short_until = at + MERGE_LEAST;
            }
            let (next, last) = (at + GROUP, at + 2 * GROUP);
            if ready != (at, tree.version) {
                tree.approach(group(at), self.payloads, &mut leaves[place(at)]);
                tree.approach(group(next), self.payloads, &mut leaves[place(next)]);
            }
            tree.approach(group(last), self.payloads, &mut leaves[place(last)]);
            if tree.len >= LOOK_FROM {
                tree.look_ahead::<K>(group(next), &leaves[place(next)]);
            }
            ready = (next, tree.version);
            for (&(key, from), &leaf) in group(at).iter().zip(&leaves[place(at)]) {
                let payload = self.payloads[from as usize];
                let previous = if tree.version == ready.1 {
                    tree.insert_in::<K>(leaf, key, payload)
                } else {
                    tree.insert_with::<K>(key, payload)
                };
                if let Some(previous) = previous {
                    (self.replaced)(from as usize, previous);
                }
            }
            at = next;
        }
    }
}

struct RemoveRuns<'a, V> {
    tree: &'a mut Alex,
    pairs: &'a [Pair],
    removed: V,
}

impl<V: FnMut(usize, u64)> Operation for RemoveRuns<'_, V> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let (tree, pairs) = (self.tree, self.pairs);
        let mut leaves = [0; GROUP];
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
            let group = &pairs[at..pairs.len().min(at + GROUP)];
            tree.approach(group, &[], &mut leaves);
            for &(key, place) in group {
                if let Some(payload) = tree.remove_with::<K>(key) {
                    (self.removed)(place as usize, payload);
                }
            }
            at += group.len();
        }
    }
}

impl Alex {
    /// `insert_with`, the leaf known.
    #[inline(always)]
    fn insert_in<K: Kernel>(&mut self, leaf: u32, key: i64, payload: u64) -> Option<u64> {
        match self.arena.leaf_mut(leaf).insert::<K>(key, payload) {
            Insertion::Replaced(previous) => Some(previous),
            Insertion::Added => {
                self.len += 1;
                None
            }
            Insertion::NoRoom => {
                self.make_room(key);
                self.insert_with::<K>(key, payload)
            }
        }
    }
}
