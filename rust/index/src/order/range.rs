//! Ordered iteration, both ways, and the positions that a range of keys begins and ends at.
//!
//! Knows the leaf list and the bitmaps; never searches after it has begun. `O(1)` an entry.

use std::iter::FusedIterator;
use std::ops::Bound;

use super::neighbours::Position;
use crate::node::{Leaf, NIL, bitmap};
use crate::tree::Alex;

impl Alex {
    /// The entries between two bounds, in ascending order of keys, from either end. A start above the
    /// stop is an empty range.
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

    /// The positions that bound a range; `None` if it is empty for certain. The first never lies beyond
    /// the second.
    pub(crate) fn span(&self, start: Bound<i64>, stop: Bound<i64>) -> Option<(Position, Position)> {
        // As inclusive keys: bounds that exclude the whole key space leave nothing.
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
    /// Both are there until the range is used up.
    front: Option<Front<'a>>,
    back: Option<Back<'a>>,
}

#[derive(Clone)]
struct Front<'a> {
    leaf: Leaf<'a>,
    id: u32,
    /// Slots yet to visit in word `index` of the bitmap.
    word: u64,
    index: usize,
}

#[derive(Clone)]
struct Back<'a> {
    leaf: Leaf<'a>,
    id: u32,
    /// Entries from here on are out of range or were yielded.
    slot: usize,
}

impl<'a> Front<'a> {
    fn new(tree: &'a Alex, from: Position) -> Self {
        let leaf = tree.arena.leaf(from.leaf);
        let index = from.slot / 64;
        let word = leaf.bits.get(index).map_or(0, |bits| bits & (!0 << (from.slot % 64)));
        Self { leaf, id: from.leaf, word, index }
    }

    /// The next occupied slot of this leaf, not yet taken.
    #[inline]
    fn peek(&mut self) -> Option<usize> {
        while self.word == 0 {
            self.index += 1;
            self.word = *self.leaf.bits.get(self.index)?;
        }
        Some(self.index * 64 + self.word.trailing_zeros() as usize)
    }

    /// The first slot not yet taken.
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
