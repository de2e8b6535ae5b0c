//! Iteration over a range of keys from both ends, and the positions where a range begins and ends.
//!
//! Knows the leaf list and the bitmaps. After the two searches at the beginning, an entry is `O(1)`.

use std::iter::FusedIterator;
use std::ops::Bound;

use super::neighbours::Position;
use crate::key::Key;
use crate::node::{Leaf, NIL, bitmap};
use crate::tree::Alex;

impl<K: Key> Alex<K> {
    /// Iterates over the entries between two bounds in ascending order of keys, from either end. A range
    /// whose start is above its stop is empty.
    pub fn range(&self, start: Bound<K>, stop: Bound<K>) -> Range<'_, K> {
        let Some((from, to)) = self.span(start, stop) else {
            return Range { tree: self, front: None, back: None };
        };
        Range {
            tree: self,
            front: Some(Front::new(self, from)),
            back: Some(Back { leaf: self.arena.leaf(to.leaf), id: to.leaf, slot: to.slot }),
        }
    }

    /// The positions where a range begins and ends, in this order, or `None` if the range is certainly empty.
    pub(crate) fn span(&self, start: Bound<K>, stop: Bound<K>) -> Option<(Position, Position)> {
        // Both bounds as inclusive keys. A bound that excludes every key has none, and the range is empty.
        let low = match start {
            Bound::Included(key) => key,
            Bound::Excluded(key) => key.next()?,
            Bound::Unbounded => K::MIN,
        };
        let high = match stop {
            Bound::Included(key) => key,
            Bound::Excluded(key) => key.previous()?,
            Bound::Unbounded => K::MAX,
        };
        if low > high || self.is_empty() {
            return None;
        }
        let from = match start {
            Bound::Unbounded => Position { leaf: self.first_leaf, slot: 0 },
            _ => self.position_below(low),
        };
        let to = match stop {
            Bound::Unbounded => {
                Position { leaf: self.last_leaf, slot: self.arena.leaf(self.last_leaf).head.end as usize }
            }
            _ => self.position_above(high),
        };
        (from.leaf != to.leaf || from.slot < to.slot).then_some((from, to))
    }
}

/// The entries of a range, as [`Alex::range`] returns them.
#[derive(Clone)]
pub struct Range<'a, K: Key = i64> {
    tree: &'a Alex<K>,
    /// Both are `Some` until the range is exhausted.
    front: Option<Front<'a, K>>,
    back: Option<Back<'a, K>>,
}

#[derive(Clone)]
struct Front<'a, K: Key> {
    leaf: Leaf<'a, K>,
    id: u32,
    /// Occupied slots of bitmap word `index` that are still to visit.
    word: u64,
    index: usize,
}

#[derive(Clone)]
struct Back<'a, K: Key> {
    leaf: Leaf<'a, K>,
    id: u32,
    /// Entries from this slot on are outside the range or were yielded.
    slot: usize,
}

impl<'a, K: Key> Front<'a, K> {
    fn new(tree: &'a Alex<K>, from: Position) -> Self {
        let leaf = tree.arena.leaf(from.leaf);
        let index = from.slot / 64;
        let word = leaf.bits.get(index).map_or(0, |bits| bits & (!0 << (from.slot % 64)));
        Self { leaf, id: from.leaf, word, index }
    }

    /// The next slot of this leaf to yield, which is not taken yet.
    #[inline]
    fn peek(&mut self) -> Option<usize> {
        while self.word == 0 {
            self.index += 1;
            self.word = *self.leaf.bits.get(self.index)?;
        }
        Some(self.index * 64 + self.word.trailing_zeros() as usize)
    }

    /// The first slot that is not taken yet, occupied or not.
    fn position(&self) -> usize {
        if self.word == 0 {
            (self.index + 1) * 64
        } else {
            self.index * 64 + self.word.trailing_zeros() as usize
        }
    }
}

impl<K: Key> Range<'_, K> {
    fn end(&mut self) -> Option<(K, u64)> {
        (self.front, self.back) = (None, None);
        None
    }
}

impl<K: Key> Iterator for Range<'_, K> {
    type Item = (K, u64);

    #[inline]
    fn next(&mut self) -> Option<(K, u64)> {
        loop {
            let (front, back) = (self.front.as_mut()?, self.back.as_ref()?);
            let last = front.id == back.id;
            match front.peek() {
                Some(slot) if !last || slot < back.slot => {
                    front.word &= front.word - 1;
                    return Some((front.leaf.keys[slot], front.leaf.payloads[slot]));
                }
                None if !last && front.leaf.head.next != NIL => {
                    let leaf = front.leaf.head.next;
                    self.front = Some(Front::new(self.tree, Position { leaf, slot: 0 }));
                }
                _ => return self.end(),
            }
        }
    }
}

impl<K: Key> DoubleEndedIterator for Range<'_, K> {
    #[inline]
    fn next_back(&mut self) -> Option<(K, u64)> {
        loop {
            let (front, back) = (self.front.as_ref()?, self.back.as_mut()?);
            let last = front.id == back.id;
            match bitmap::previous_set(back.leaf.bits, back.slot) {
                Some(slot) if !last || slot >= front.position() => {
                    back.slot = slot;
                    return Some((back.leaf.keys[slot], back.leaf.payloads[slot]));
                }
                None if !last && back.leaf.head.prev != NIL => {
                    let id = back.leaf.head.prev;
                    let leaf = self.tree.arena.leaf(id);
                    self.back = Some(Back { leaf, id, slot: leaf.head.end as usize });
                }
                _ => return self.end(),
            }
        }
    }
}

impl<K: Key> FusedIterator for Range<'_, K> {}

impl<K: Key> std::fmt::Debug for Range<'_, K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.clone()).finish()
    }
}
