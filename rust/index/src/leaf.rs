//! What happens inside one data node: find, insert, remove.
//!
//! A gap holds the key of the next entry on its right, so the slots are sorted without the bitmap and
//! the last slot of an equal run is the entry itself. A removal in a gap run too long to rewrite leaves
//! its key behind as a ghost and marks the leaf; only marked leaves consult the bitmap on a match.
//! Knows no tree: a leaf that needs room says so. A search is `O(log error)`; an insert moves at most
//! one leaf, and moves beyond a bound are counted as debt that has the leaf rebuilt.

use crate::arena::{Leaf, LeafMut};
use crate::bitmap;
use crate::count;
use crate::node::LeafHeader;
use crate::search::{self, Kernel};

/// A gap run longer than this is not rewritten by one insert or removal.
const REWRITE: usize = 64;
/// An insert beyond the last or first key leaves at most this many gaps behind.
const STRIDE: usize = 16;

/// What an insert did.
pub(crate) enum Insertion {
    /// The key was there, with this payload.
    Replaced(u64),
    Added,
    /// Nothing: the leaf must be rebuilt or split first.
    NoRoom,
}

/// What a removal did.
pub(crate) struct Removal {
    pub(crate) payload: u64,
    /// The leaf has just become sparse enough to contract or merge.
    pub(crate) sparse: bool,
}

impl Leaf<'_> {
    /// The slot that the model predicts for `key`.
    #[inline(always)]
    pub(crate) fn guess(&self, key: i64) -> usize {
        self.head.model.predict(key).min(self.keys.len() - 1)
    }

    /// Slots whose key is at most `key`, as far as the last entry.
    #[inline(always)]
    pub(crate) fn upper_bound<K: Kernel>(&self, key: i64) -> usize {
        let guess = self.guess(key);
        search::prefetch_slot(self.payloads, guess);
        self.upper_bound_from::<K>(key, guess)
    }

    #[inline(always)]
    fn upper_bound_from<K: Kernel>(&self, key: i64, guess: usize) -> usize {
        let end = self.head.end as usize;
        if self.head.model.is_plain() {
            return search::between::<K>(self.keys, self.head.begin as usize, end, key).min(end);
        }
        search::upper_bound::<K>(self.keys, guess, key).min(end)
    }

    /// Slots whose key is below `key`, as far as the last entry.
    #[inline(always)]
    pub(crate) fn lower_bound<K: Kernel>(&self, key: i64) -> usize {
        match key.checked_sub(1) {
            Some(before) => self.upper_bound::<K>(before),
            None => self.head.begin as usize,
        }
    }

    /// The slot of the entry with this key.
    #[inline(always)]
    pub(crate) fn find<K: Kernel>(&self, key: i64) -> Option<usize> {
        let guess = self.guess(key);
        search::prefetch_slot(self.payloads, guess);
        self.find_from::<K>(key, guess)
    }

    /// `find`, the guess known.
    #[inline(always)]
    pub(crate) fn find_from<K: Kernel>(&self, key: i64, guess: usize) -> Option<usize> {
        let slot = self.upper_bound_from::<K>(key, guess).wrapping_sub(1);
        let found = (self.keys.get(slot) == Some(&key) && self.is_entry(slot)).then_some(slot);
        if let Some(slot) = found {
            count::touch_one(&self.payloads[slot]);
        }
        found
    }

    /// Whether the last slot of an equal run is an entry: not before the first, not a ghost.
    #[inline(always)]
    fn is_entry(&self, slot: usize) -> bool {
        slot >= self.head.begin as usize && (self.head.ghosts == 0 || bitmap::is_set(self.bits, slot))
    }

    /// Asks for the lines that a search from `guess` will read, and the payload's.
    #[inline(always)]
    pub(crate) fn prefetch(&self, guess: usize) {
        search::prefetch_slot(self.keys, guess);
        search::prefetch_slot(self.payloads, guess);
    }

    /// Appends all entries.
    pub(crate) fn copy_out(&self, keys: &mut Vec<i64>, payloads: &mut Vec<u64>) {
        count::touch(self.bits);
        count::moved(self.head.count as usize);
        keys.reserve(self.head.count as usize);
        payloads.reserve(self.head.count as usize);
        for (index, &bits) in self.bits.iter().enumerate() {
            let from = index * 64;
            let mut word = bits;
            while word != 0 {
                let slot = from + word.trailing_zeros() as usize;
                keys.push(self.keys[slot]);
                payloads.push(self.payloads[slot]);
                word &= word - 1;
            }
        }
    }
}

impl LeafMut<'_> {
    #[inline(always)]
    pub(crate) fn view(&self) -> Leaf<'_> {
        Leaf { head: self.head, bits: self.bits, keys: self.keys, payloads: self.payloads }
    }

    /// Inserts, or replaces the payload.
    #[inline(always)]
    pub(crate) fn insert<K: Kernel>(&mut self, key: i64, payload: u64) -> Insertion {
        let above = self.view().upper_bound::<K>(key);
        let (begin, end) = (self.head.begin as usize, self.head.end as usize);
        if above > begin && self.keys[above - 1] == key {
            let slot = above - 1;
            if self.head.ghosts == 0 || bitmap::is_set(self.bits, slot) {
                count::touch_one(&self.payloads[slot]);
                return Insertion::Replaced(std::mem::replace(&mut self.payloads[slot], payload));
            }
            return self.occupy(slot, key, payload);
        }
        if self.head.count >= u32::from(self.head.grow_at) || u32::from(self.head.debt) >= self.head.capacity
        {
            return Insertion::NoRoom;
        }
        self.head.inserts = self.head.inserts.saturating_add(1);
        if above >= end {
            return self.append(key, payload);
        }
        if above <= begin {
            return self.prepend(key, payload);
        }
        if !bitmap::is_set(self.bits, above) {
            // `above < end`, and the slot below `end` is occupied, so there is a next entry.
            let next = bitmap::next_set(self.bits, above).unwrap_or(end);
            let slot = self.place_for(key, above, next - 1).min(above + REWRITE - 1);
            count::moved(slot - above);
            self.keys[above..=slot].fill(key);
            return self.occupy(slot, key, payload);
        }
        if !bitmap::is_set(self.bits, above - 1) {
            // Only in a leaf with ghosts: one with a smaller key lies just below.
            return self.occupy(above - 1, key, payload);
        }
        self.shift(above, key, payload)
    }

    /// The slot for `key` inside a run of gaps: as near as it gets to the start of the predicted line;
    /// the middle of it in a plain leaf.
    #[inline(always)]
    fn place_for(&self, key: i64, first: usize, last: usize) -> usize {
        if self.head.model.is_plain() {
            return first.midpoint(last);
        }
        search::line_of(self.head.model.predict(key)).clamp(first, last)
    }

    #[inline(always)]
    fn occupy(&mut self, slot: usize, key: i64, payload: u64) -> Insertion {
        count::touch_one(&self.keys[slot]);
        count::touch_one(&self.payloads[slot]);
        self.keys[slot] = key;
        self.payloads[slot] = payload;
        bitmap::set(self.bits, slot);
        self.head.count += 1;
        Insertion::Added
    }

    /// The key is above every entry (or there is none).
    #[inline(always)]
    fn append(&mut self, key: i64, payload: u64) -> Insertion {
        let (begin, end, capacity) =
            (self.head.begin as usize, self.head.end as usize, self.head.capacity as usize);
        self.head.tail_inserts = self.head.tail_inserts.saturating_add(1);
        if begin == end {
            let slot = self.place_for(key, 0, capacity - 1);
            count::moved(capacity);
            self.keys[..slot].fill(i64::MIN);
            self.keys[slot..].fill(i64::MAX);
            (self.head.begin, self.head.end) = (slot as u32, slot as u32 + 1);
            return self.occupy(slot, key, payload);
        }
        if end == capacity {
            if self.head.tail_inserts >= 16 && self.head.tail_inserts >= self.head.inserts / 2 {
                // Room was left at this end for a trend and is used up: rebuild before the next insert.
                self.head.debt = LeafHeader::END_OF_ROOM;
            }
            return self.shift(end, key, payload);
        }
        let last = (end + STRIDE - 1).min(capacity - 1);
        let slot = if self.head.model.is_plain() { end } else { self.place_for(key, end, last) };
        count::moved(slot - end);
        self.keys[end..slot].fill(key);
        self.head.end = slot as u32 + 1;
        self.occupy(slot, key, payload)
    }

    /// The key is below every entry.
    #[inline(always)]
    fn prepend(&mut self, key: i64, payload: u64) -> Insertion {
        let begin = self.head.begin as usize;
        self.head.head_inserts = self.head.head_inserts.saturating_add(1);
        if begin == 0 {
            if self.head.head_inserts >= 16 && self.head.head_inserts >= self.head.inserts / 2 {
                self.head.debt = LeafHeader::END_OF_ROOM;
            }
            return self.shift(0, key, payload);
        }
        let slot = if self.head.model.is_plain() {
            begin - 1
        } else {
            self.place_for(key, begin.saturating_sub(STRIDE), begin - 1)
        };
        let first = self.keys[begin];
        count::moved(begin - slot - 1);
        self.keys[slot + 1..begin].fill(first);
        self.head.begin = slot as u32;
        self.occupy(slot, key, payload)
    }

    /// Slot `above` and the one below it are occupied (or the array ends there): moves the entries
    /// between `above` and the nearest gap by one.
    #[inline(always)]
    fn shift(&mut self, above: usize, key: i64, payload: u64) -> Insertion {
        let right = bitmap::next_clear(self.bits, above);
        let left = bitmap::previous_clear(self.bits, above);
        let distance = |gap: Option<usize>| gap.map_or(usize::MAX, |gap| gap.abs_diff(above));
        let moved;
        let slot = if distance(right) <= distance(left) {
            // `grow_at` is below the capacity, so one of the two gaps exists.
            let gap = right.expect("a leaf below grow_at has a gap");
            moved = gap - above;
            self.keys.copy_within(above..gap, above + 1);
            self.payloads.copy_within(above..gap, above + 1);
            bitmap::set(self.bits, gap);
            self.head.end = self.head.end.max(gap as u32 + 1);
            above
        } else {
            // As above: `left` is the nearer, so it exists.
            let gap = left.expect("a leaf below grow_at has a gap");
            moved = above - gap;
            self.keys.copy_within(gap + 1..above, gap);
            self.payloads.copy_within(gap + 1..above, gap);
            bitmap::set(self.bits, gap);
            self.head.begin = self.head.begin.min(gap as u32);
            above - 1
        };
        count::moved(moved);
        self.head.debt = self.head.debt.saturating_add(moved.saturating_sub(REWRITE) as u16);
        self.occupy(slot, key, payload)
    }

    /// Removes the entry with this key.
    #[inline(always)]
    pub(crate) fn remove<K: Kernel>(&mut self, key: i64) -> Option<Removal> {
        let slot = self.view().find::<K>(key)?;
        let payload = self.payloads[slot];
        bitmap::clear(self.bits, slot);
        self.head.count -= 1;
        self.close(slot);
        let count = self.head.count;
        Some(Removal { payload, sparse: count == u32::from(self.head.shrink_at) })
    }

    /// Gives the slots that held a removed entry's key the key that the gap rule asks for. The ends of
    /// the leaf move inwards, so removals from either end cost each slot once.
    #[inline(always)]
    fn close(&mut self, slot: usize) {
        let (begin, end) = (self.head.begin as usize, self.head.end as usize);
        if self.head.count == 0 {
            count::moved(end - begin);
            self.keys[begin..end].fill(i64::MAX);
            self.head.end = self.head.begin;
        } else if slot == begin {
            let next = bitmap::next_set(self.bits, slot).unwrap_or(end);
            count::moved(next - begin);
            self.keys[begin..next].fill(i64::MIN);
            self.head.begin = next as u32;
        } else if slot + 1 == end {
            let last = bitmap::previous_set(self.bits, slot).map_or(begin, |last| last + 1);
            count::moved(end - last);
            self.keys[last..end].fill(i64::MAX);
            self.head.end = last as u32;
        } else {
            // The entry at `begin` is another, so there is one on the left.
            let first = bitmap::previous_set(self.bits, slot).map_or(begin, |last| last + 1);
            if slot - first < REWRITE {
                let next = self.keys[slot + 1];
                count::moved(slot + 1 - first);
                self.keys[first..=slot].fill(next);
            } else {
                self.head.ghosts = 1;
            }
        }
    }
}
