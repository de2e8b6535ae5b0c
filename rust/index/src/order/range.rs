//! Iteration over a range of keys from both ends, and the positions where a range begins and ends.
//!
//! Knows the leaf list and the bitmaps. After the two searches at the beginning, an entry is `O(1)`.

use std::iter::FusedIterator;
use std::ops::Bound;

use super::neighbours::Position;
use crate::node::{Leaf, NIL, bitmap};
use crate::tree::Alex;

impl Alex {
    /// Iterates over the entries between two bounds in ascending order of keys, from either end. A range
    /// whose start is above its stop is empty.
    pub fn range(&self, start: Bound<i64>, stop: Bound<i64>) -> Range<'_> {
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
    pub(crate) fn span(&self, start: Bound<i64>, stop: Bound<i64>) -> Option<(Position, Position)> {
        // Both bounds as inclusive keys. A bound that excludes every key has none, and the range is empty.
        let low = match start {
            Bound::Included(key) => key,
            Bound::Excluded(key) => key.checked_add(1)?,
            Bound::Unbounded => i64::MIN,
        };
        let high = match stop {
            Bound::Included(key) => key,
            Bound::Excluded(key) => key.checked_sub(1)?,
            Bound::Unbounded => i64::MAX,
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
pub struct Range<'a> {
    tree: &'a Alex,
    /// Both are `Some` until the range is exhausted.
    front: Option<Front<'a>>,
    back: Option<Back<'a>>,
}

#[derive(Clone)]
struct Front<'a> {
    leaf: Leaf<'a>,
    id: u32,
    /// Occupied slots of bitmap word `index` that are still to visit.
    word: u64,
    index: usize,
}

#[derive(Clone)]
struct Back<'a> {
    leaf: Leaf<'a>,
    id: u32,
    /// Entries from this slot on are outside the range or were yielded.
    slot: usize,
}

impl<'a> Front<'a> {
    fn new(tree: &'a Alex, from: Position) -> Self {
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

impl Range<'_> {
    fn end(&mut self) -> Option<(i64, u64)> {
        (self.front, self.back) = (None, None);
        None
    }
}

impl Iterator for Range<'_> {
    type Item = (i64, u64);

    #[inline]
    fn next(&mut self) -> Option<(i64, u64)> {
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

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<(i64, u64)> {
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

impl FusedIterator for Range<'_> {}

impl std::fmt::Debug for Range<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.clone()).finish()
    }
}
