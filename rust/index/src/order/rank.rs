//! Ranks in key order: the rank of a key, the entry at a rank, and the keys that divide the index into parts of equal
//! counts.
//!
//! Knows the leaf list, and the counts and bitmaps of leaves. Single ranks come from the tally, `O(log n)` and
//! `O(slots / 64)` in a few leaves; `O(leaves)` where there is none, because nobody has asked for long.

use super::neighbours::Position;
use crate::key::Key;
use crate::node::{Leaf, NIL, bitmap};
use crate::search::{Kernel, Operation, dispatch};
use crate::tally::{Part, Tally};
use crate::tree::Alex;

impl<K: Key> Alex<K> {
    /// How many keys are below `key`.
    pub fn rank(&self, key: K) -> usize {
        K::rank(self, key)
    }

    pub(crate) fn do_rank(&self, key: K) -> usize {
        self.rank_at(self.tally(), key, self.position_below(key))
    }

    /// The entry that has exactly `rank` keys below it.
    pub fn nth(&self, rank: usize) -> Option<(K, u64)> {
        K::nth(self, rank)
    }

    pub(crate) fn do_nth(&self, rank: usize) -> Option<(K, u64)> {
        if rank >= self.len {
            return None;
        }
        let part = self.tally().map_or(Part::WHOLE, |tally| tally.holder(rank));
        dispatch(self.backend, Nth { tree: self, from: self.beginning(part.start), rest: rank - part.below })
    }

    /// The entry with `rest` entries between it and a position, as a leaf and a slot.
    #[inline(always)]
    pub(crate) fn entry_behind(&self, from: Position, rest: usize) -> Option<(Leaf<'_, K>, usize)> {
        let mut leaf = self.arena.leaf(from.leaf);
        let mut rest = rest + bitmap::count(leaf.bits, 0, from.slot);
        while rest >= leaf.head.count as usize {
            rest -= leaf.head.count as usize;
            if leaf.head.next == NIL {
                // Only the list of a damaged image ends early (`Alex::damage`).
                return None;
            }
            leaf = self.arena.leaf(leaf.head.next);
        }
        Some((leaf, select(leaf.bits, rest)?))
    }

    /// How many keys are before a position, which `key` or its successor has.
    pub(super) fn rank_at(&self, tally: Option<&Tally<K>>, key: K, to: Position) -> usize {
        let part = tally.map_or(Part::WHOLE, |tally| tally.owner(key));
        part.below + self.between(self.beginning(part.start), to, usize::MAX).unwrap_or(0)
    }

    pub(crate) fn beginning(&self, start: Option<K>) -> Position {
        start.map_or(Position { leaf: self.first_leaf, slot: 0 }, |start| self.position_below(start))
    }

    /// The tally, which is made if there is none; `None` if there is no memory for it.
    pub(crate) fn tally(&self) -> Option<&Tally<K>> {
        if self.tally.get().is_none() {
            let mut next = self.first_leaf;
            let parts = std::iter::from_fn(|| {
                while next != NIL {
                    let leaf = self.arena.leaf(next);
                    next = leaf.head.next;
                    if let Some(slot) = bitmap::next_set(leaf.bits, leaf.head.begin as usize) {
                        return Some((leaf.keys[slot], leaf.head.count));
                    }
                }
                None
            });
            // Another thread may have been faster, and its tally is the same.
            let _ = self.tally.set(Box::new(Tally::of(parts)?));
        }
        self.tally.get().map(|tally| tally.asked())
    }

    /// The keys at which the keys in order divide into `parts` parts whose counts differ by one at most: the
    /// first key of the second and each further part, `parts - 1` of them, ascending. Keys repeat if there
    /// are fewer keys than parts; in an empty index all are 0.
    pub fn boundaries(&self, parts: usize) -> Vec<K> {
        K::boundaries(self, parts)
    }

    pub(crate) fn do_boundaries(&self, parts: usize) -> Vec<K> {
        let len = self.len as u128;
        let mut keys = Vec::with_capacity(parts.saturating_sub(1));
        let mut ranks = (1..parts).map(|part| (part as u128 * len / parts as u128) as usize);
        self.visit_ranks(&mut ranks, |key, _| keys.push(key));
        keys.resize(parts.saturating_sub(1), K::ZERO);
        keys
    }

    /// Calls `visit` with the entries at ascending ranks, and stops at the first rank that is too large.
    fn visit_ranks(&self, ranks: &mut impl Iterator<Item = usize>, mut visit: impl FnMut(K, u64)) {
        if self.is_empty() {
            return;
        }
        let (mut leaf, mut below) = (self.arena.leaf(self.first_leaf), 0);
        for rank in ranks.take_while(|&rank| rank < self.len) {
            // The counts of all leaves add up to `len`, so the leaf with this rank is ahead.
            while rank - below >= leaf.head.count as usize {
                below += leaf.head.count as usize;
                if leaf.head.next == NIL {
                    // Only the list of a damaged image ends early (`Alex::damage`).
                    return;
                }
                leaf = self.arena.leaf(leaf.head.next);
            }
            if let Some(slot) = select(leaf.bits, rank - below) {
                visit(leaf.keys[slot], leaf.payloads[slot]);
            }
        }
    }
}

/// `Alex::nth`, from where its part begins. Compiled for each backend: counting bits takes ten times as long without
/// the instruction for it.
struct Nth<'a, K: Key> {
    tree: &'a Alex<K>,
    from: Position,
    rest: usize,
}

impl<K: Key> Operation for Nth<'_, K> {
    type Output = Option<(K, u64)>;

    #[inline(always)]
    fn run<S: Kernel>(self) -> Self::Output {
        let (leaf, slot) = self.tree.entry_behind(self.from, self.rest)?;
        Some((leaf.keys[slot], leaf.payloads[slot]))
    }
}

/// The slot of the set bit with `rank` set bits below it.
#[inline(always)]
fn select(bits: &[u64], mut rank: usize) -> Option<usize> {
    for (index, &word) in bits.iter().enumerate() {
        let ones = word.count_ones() as usize;
        if rank < ones {
            let word = (0..rank).fold(word, |word, _| word & (word - 1));
            return Some(index * 64 + word.trailing_zeros() as usize);
        }
        rank -= ones;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ops::Bound::{Excluded, Unbounded};

    use crate::tree::Alex;

    #[test]
    fn the_key_at_a_rank_has_that_many_keys_below_it() {
        let mut tree = Alex::new();
        assert_eq!((tree.nth(0), tree.boundaries(4)), (None, vec![0, 0, 0]));
        for i in 0..50_000i64 {
            tree.insert(i * i - 1_000_000, i as u64);
        }
        for key in (0..50_000i64).step_by(3) {
            tree.remove(key * key - 1_000_000);
        }
        for rank in (0..tree.len()).step_by(997).chain([tree.len() - 1]) {
            let (key, payload) = tree.nth(rank).unwrap_or_default();
            assert_eq!((tree.count(Unbounded, Excluded(key)), tree.rank(key)), (rank, rank));
            assert_eq!(tree.get(key), Some(payload));
        }
        assert_eq!((tree.nth(tree.len()), tree.nth(usize::MAX)), (None, None));
    }

    #[test]
    fn boundaries_cut_into_parts_that_differ_by_one_at_most() {
        let mut tree = Alex::new();
        for i in 0..10_007i64 {
            tree.insert(i * 31 % 10_007 * 1_000, 0);
        }
        for parts in [1, 2, 3, 7, 64, 1_000, 10_007, 10_008, 25_000] {
            let boundaries = tree.boundaries(parts);
            assert_eq!(boundaries.len(), parts - 1);
            assert!(boundaries.is_sorted());
            let ranks: Vec<usize> = [0]
                .into_iter()
                .chain(boundaries.iter().map(|&key| tree.count(Unbounded, Excluded(key))))
                .chain([tree.len()])
                .collect();
            let counts: Vec<usize> = ranks.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
            assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1, "{parts}: {least:?} to {most:?}");
        }
        assert_eq!(tree.boundaries(0), Vec::<i64>::new());
    }
}
