//! The entries at many ranks in one call.
//!
//! As in `read.rs`, a group of ranks goes through the stages together, and each stage prefetches what the next one
//! reads: the header of the leaf in which the rank's part begins, that leaf's bitmap and first key, the entry. Changes
//! nothing.

use crate::key::Key;
use crate::node::Leaf;
use crate::order::Position;
use crate::search::{Kernel, Operation, dispatch, prefetch_slot};
use crate::tally::{Part, Tally};
use crate::tree::Alex;

/// Ranks that go through a stage together.
const GROUP: usize = 16;
/// Words of a bitmap in a cache line.
const LINE_WORDS: usize = 8;

impl<K: Key> Alex<K> {
    /// Calls `visit` with the entry at each of `ranks`, in their order, and stops at the first rank that is too large.
    /// `O(ranks * log n)`.
    pub fn nth_many(&self, ranks: &[usize], mut visit: impl FnMut(K, u64)) {
        K::nth_many(self, ranks, &mut visit);
    }

    pub(crate) fn do_nth_many(&self, ranks: &[usize], visit: &mut dyn FnMut(K, u64)) {
        let inside = ranks.iter().position(|&rank| rank >= self.len).unwrap_or(ranks.len());
        if inside > 0 {
            let tally = self.tally();
            dispatch(self.backend, NthMany { tree: self, tally, ranks: &ranks[..inside], visit });
        }
    }

    /// Where a part begins, of which `leaf` has the first key: at the leaf's first entry, unless keys have come before
    /// it since.
    #[inline(always)]
    fn start_in(&self, part: Part<K>, leaf: u32) -> Position {
        let Leaf { head, keys, .. } = self.arena.leaf(leaf);
        let begin = head.begin as usize;
        match part.start {
            Some(start) if begin == head.end as usize || keys[begin] != start => self.position_below(start),
            Some(_) => Position { leaf, slot: begin },
            None => Position { leaf, slot: 0 },
        }
    }
}

struct NthMany<'a, K: Key> {
    tree: &'a Alex<K>,
    tally: Option<&'a Tally<K>>,
    ranks: &'a [usize],
    visit: &'a mut dyn FnMut(K, u64),
}

impl<K: Key> Operation for NthMany<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(self) {
        let Self { tree, tally, ranks, visit } = self;
        for ranks in ranks.chunks(GROUP) {
            let mut parts = [(Part::WHOLE, tree.first_leaf); GROUP];
            for ((part, leaf), &rank) in parts.iter_mut().zip(ranks) {
                *part = tally.map_or(Part::WHOLE, |tally| tally.holder(rank));
                *leaf = part.start.map_or(tree.first_leaf, |start| tree.leaf_of(start));
                tree.arena.prefetch(*leaf);
            }
            for &(_, leaf) in &parts[..ranks.len()] {
                let Leaf { head, bits, keys, .. } = tree.arena.leaf(leaf);
                prefetch_slot(keys, head.begin as usize);
                for word in (0..bits.len()).step_by(LINE_WORDS) {
                    prefetch_slot(bits, word);
                }
            }
            let mut found = [None; GROUP];
            for ((found, &(part, leaf)), &rank) in found.iter_mut().zip(&parts).zip(ranks) {
                *found = tree.entry_behind(tree.start_in(part, leaf), rank - part.below);
                if let Some((leaf, slot)) = *found {
                    prefetch_slot(leaf.keys, slot);
                    prefetch_slot(leaf.payloads, slot);
                }
            }
            for found in &found[..ranks.len()] {
                // Only the list of a damaged image ends early (`Alex::damage`).
                let Some((leaf, slot)) = *found else { return };
                visit(leaf.keys[slot], leaf.payloads[slot]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::key::Key;
    use crate::tree::Alex;

    fn entries_at_many_ranks_are_those_of_each<K: Key + From<i32>>() {
        let mut tree = Alex::<K>::new();
        tree.nth_many(&[0, 1], |key, _| panic!("an empty index has {key}"));
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 1
        };
        for _ in 0..40_000 {
            tree.insert(K::from(next() as i32), 1);
        }
        for round in 0..4 {
            let ranks: Vec<usize> = (0..5_000).map(|_| next() as usize % tree.len()).collect();
            let mut found = Vec::new();
            tree.nth_many(&ranks, |key, payload| found.push((key, payload)));
            assert!(found.iter().copied().map(Some).eq(ranks.iter().map(|&rank| tree.nth(rank))), "{round}");
            // Keys come below the first of a leaf, and leaves are split and emptied, while the tally stays.
            for _ in 0..2_000 {
                tree.insert(K::from(next() as i32), 2);
                if let Some((key, _)) = tree.nth(next() as usize % tree.len()) {
                    tree.remove(key);
                }
            }
        }
        let mut count = 0;
        tree.nth_many(&[3, 1, tree.len(), 2], |_, _| count += 1);
        assert_eq!(count, 2);
    }

    #[test]
    fn entries_at_many_ranks_are_those_of_each_for_both_kinds() {
        entries_at_many_ranks_are_those_of_each::<i64>();
        entries_at_many_ranks_are_those_of_each::<i128>();
    }
}
