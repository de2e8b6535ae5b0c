//! What happens inside one data node: find, insert, remove.
//!
//! A gap holds the key of the next entry on its right, so the slots are sorted without the bitmap and
//! the last slot of an equal run is the entry itself. A removal in a gap run too long to rewrite leaves
//! its key behind as a ghost and marks the leaf; only marked leaves consult the bitmap on a match.
//! Knows no tree: a leaf that needs room says so. A search is `O(log error)`; an insert moves at most
//! one leaf, and moves beyond a bound are counted as debt that has the leaf rebuilt.

use super::bitmap;
use super::header::LeafHeader;
use super::view::{Leaf, LeafMut};
use crate::count;
use crate::search::{self, BLOCK, Kernel, PAIR, WINDOW};

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

/// What the predicted line of a leaf says about a key.
#[derive(Clone, Copy)]
pub(crate) enum Near {
    /// Its entry is in this slot.
    Entry(usize),
    /// There is no entry.
    Absent,
    /// None or all of the keys of the line that begins here are at most the key.
    Beyond(usize),
    /// The leaf is plain: nothing.
    Unknown,
}

/// What a removal did.
pub(crate) struct Removal {
    pub(crate) payload: u64,
    /// The leaf has just become sparse enough to contract or merge.
    pub(crate) sparse: bool,
}

/// Moves the lanes from `at` to the gap on its right by one, and puts `item` in front. Branch-free: a selection
/// for each lane.
#[inline(always)]
fn open_lane<T: Copy, const LANES: usize>(lanes: &mut [T; LANES], at: usize, gap: usize, item: T) {
    let old = *lanes;
    for lane in 0..LANES {
        let moved = if lane > 0 { old[lane - 1] } else { old[0] };
        let shifted = if lane > at && lane <= gap { moved } else { old[lane] };
        lanes[lane] = if lane == at { item } else { shifted };
    }
}

/// Moves the lanes behind the gap in lane 0, up to `at`, by one to the left, and puts `item` into lane `at`.
#[inline(always)]
fn close_lane<T: Copy, const LANES: usize>(lanes: &mut [T; LANES], at: usize, item: T) {
    let old = *lanes;
    for lane in 0..LANES {
        let shifted = if lane < at { old[(lane + 1) % LANES] } else { old[lane] };
        lanes[lane] = if lane == at { item } else { shifted };
    }
}

/// Moves the slots from `at` to the gap on its right by one, and puts `item` in front.
#[inline(always)]
fn open_slots<T: Copy>(slots: &mut [T], at: usize, gap: usize, item: T) {
    match slots[at..].first_chunk_mut() {
        Some(lanes) if gap - at < PAIR => open_lane::<T, PAIR>(lanes, 0, gap - at, item),
        _ => {
            slots.copy_within(at..gap, at + 1);
            slots[at] = item;
        }
    }
}

/// Moves the slots behind a gap, up to `at`, by one to the left, and puts `item` into slot `at`.
#[inline(always)]
fn close_slots<T: Copy>(slots: &mut [T], gap: usize, at: usize, item: T) {
    match slots[gap..].first_chunk_mut() {
        Some(lanes) if at - gap < PAIR => close_lane::<T, PAIR>(lanes, at - gap, item),
        _ => {
            slots.copy_within(gap + 1..=at, gap);
            slots[at] = item;
        }
    }
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
        let (start, count) = search::in_line::<K>(self.keys, guess, key);
        let above =
            if count.wrapping_sub(1) < WINDOW - 1 { start + count } else { self.beyond::<K>(start, key) };
        above.min(end)
    }

    /// The upper bound, given that none or all of the keys of the line at `start` are at most the key.
    #[inline(always)]
    fn beyond<K: Kernel>(&self, start: usize, key: i64) -> usize {
        if self.head.coarse != 0 {
            return search::around::<K>(self.keys, start, key);
        }
        search::beyond::<K>(self.keys, start, key)
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
        let near = self.look::<K>(key, guess);
        let found = self.conclude::<K>(key, near);
        if let Some(slot) = found {
            count::touch_one(&self.payloads[slot]);
        }
        found
    }

    /// What the predicted line says about a key; asks for the next line where that is not all.
    #[inline(always)]
    pub(crate) fn look<K: Kernel>(&self, key: i64, guess: usize) -> Near {
        if self.head.model.is_plain() {
            return Near::Unknown;
        }
        let (start, count) = search::in_line::<K>(self.keys, guess, key);
        // As in `upper_bound`: strictly inside the line the answer is certain.
        if count.wrapping_sub(1) < WINDOW - 1 {
            let slot = start + count - 1;
            let found = self.keys[slot] == key && self.is_entry(slot);
            return if found { Near::Entry(slot) } else { Near::Absent };
        }
        let last = start + WINDOW - 1;
        if count == WINDOW && self.keys[last] == key && bitmap::is_set(self.bits, last) {
            // The last of a full line: its bit says so without a look at the next line.
            return Near::Entry(last);
        }
        self.prefetch(if count == 0 { start.wrapping_sub(WINDOW) } else { start + WINDOW });
        Near::Beyond(start)
    }

    /// The slot of the entry, given what `look` found.
    #[inline(always)]
    pub(crate) fn conclude<K: Kernel>(&self, key: i64, near: Near) -> Option<usize> {
        let above = match near {
            Near::Entry(slot) => return Some(slot),
            Near::Absent => return None,
            Near::Beyond(start) => self.beyond::<K>(start, key),
            Near::Unknown => {
                search::between::<K>(self.keys, self.head.begin as usize, self.head.end as usize, key)
            }
        };
        self.find_far(above, key)
    }

    /// `find`, the upper bound known.
    #[inline(always)]
    fn find_far(&self, above: usize, key: i64) -> Option<usize> {
        let slot = above.min(self.head.end as usize).wrapping_sub(1);
        (self.keys.get(slot) == Some(&key) && self.is_entry(slot)).then_some(slot)
    }

    /// Whether the last slot of an equal run is an entry: not outside the first and last, not a ghost.
    #[inline(always)]
    fn is_entry(&self, slot: usize) -> bool {
        let (begin, end) = (self.head.begin as usize, self.head.end as usize);
        slot.wrapping_sub(begin) < end - begin && (self.head.ghosts == 0 || bitmap::is_set(self.bits, slot))
    }

    /// Asks for the line beside the predicted one, where an insert of this key will need it.
    #[inline(always)]
    pub(crate) fn expect<K: Kernel>(&self, key: i64) {
        let (start, count) = search::in_line::<K>(self.keys, self.guess(key), key);
        if count == 0 {
            search::prefetch_slot(self.keys, start.wrapping_sub(1));
        } else if count == WINDOW {
            self.prefetch(start + WINDOW);
        }
    }

    /// Asks for the lines that a search from `guess` will read, and the payload's.
    #[inline(always)]
    pub(crate) fn prefetch(&self, guess: usize) {
        search::prefetch_slot(self.keys, guess);
        search::prefetch_slot(self.payloads, guess);
    }

    /// The largest key.
    pub(crate) fn last_key(&self) -> Option<i64> {
        // The slot below `end` is occupied, unless there is no entry.
        (self.head.count > 0).then(|| self.keys[self.head.end as usize - 1])
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
        if self.head.tail_inserts > self.head.inserts / 2
            && self.view().last_key().is_some_and(|last| last < key)
            && self.has_room()
        {
            // A trend goes on: nothing to search for.
            self.head.inserts = self.head.inserts.saturating_add(1);
            return self.append(key, payload);
        }
        let guess = self.view().guess(key);
        search::prefetch_slot(self.payloads, guess);
        if !self.head.model.is_plain() && self.head.ghosts == 0 {
            let (begin, end) = (self.head.begin as usize, self.head.end as usize);
            let (mut start, mut count) = search::in_line::<K>(self.keys, guess, key);
            if count == WINDOW && start + 2 * WINDOW <= end {
                // The line is full of smaller keys: an entry that finds that goes into the next one.
                (start, count) = search::in_line::<K>(self.keys, start + WINDOW, key);
            }
            // Below the last key of the line and above the one before it the place is certain; the line lies
            // between the first entry and the last.
            if count < WINDOW
                && start >= begin
                && start + WINDOW <= end
                && (count > 0 || (start > begin && self.keys[start - 1] <= key))
            {
                return self.insert_in_line(start, count, key, payload);
            }
        }
        self.insert_anywhere::<K>(key, guess, payload)
    }

    /// `at` of the eight slots from `start` hold keys at most `key`, not all; if none, the slot before does. The
    /// slots lie between the first entry and the last, and the leaf has no ghosts.
    #[inline(always)]
    fn insert_in_line(&mut self, start: usize, at: usize, key: i64, payload: u64) -> Insertion {
        let above = start + at;
        if self.keys[above - 1] == key {
            // The last of an equal run is the entry.
            count::touch_one(&self.payloads[above - 1]);
            return Insertion::Replaced(std::mem::replace(&mut self.payloads[above - 1], payload));
        }
        if !self.has_room() {
            return Insertion::NoRoom;
        }
        count::touch_one(&self.bits[start / BLOCK]);
        let gaps = !(self.bits[start / BLOCK] >> (start % BLOCK)) as u32 & (0xFF << at) & 0xFF;
        if gaps == 0 {
            self.head.inserts = self.head.inserts.saturating_add(1);
            return self.shift(above, key, payload);
        }
        let gap = gaps.trailing_zeros() as usize;
        let (Some(keys), Some(payloads)) =
            (self.keys[start..].first_chunk_mut(), self.payloads[start..].first_chunk_mut())
        else {
            unreachable!("a line lies inside the leaf");
        };
        count::touch_one(payloads);
        count::moved(gap - at);
        open_lane::<_, WINDOW>(keys, at, gap, key);
        open_lane::<_, WINDOW>(payloads, at, gap, payload);
        bitmap::set(self.bits, start + gap);
        self.head.inserts = self.head.inserts.saturating_add(1);
        self.head.count += 1;
        Insertion::Added
    }

    #[inline(always)]
    fn has_room(&self) -> bool {
        self.head.count < u32::from(self.head.grow_at) && u32::from(self.head.debt) < self.head.capacity
    }

    /// `insert` wherever the key belongs.
    #[inline(always)]
    fn insert_anywhere<K: Kernel>(&mut self, key: i64, guess: usize, payload: u64) -> Insertion {
        let above = self.view().upper_bound_from::<K>(key, guess);
        let (begin, end) = (self.head.begin as usize, self.head.end as usize);
        if above > begin && self.keys[above - 1] == key {
            let slot = above - 1;
            if self.head.ghosts == 0 || bitmap::is_set(self.bits, slot) {
                count::touch_one(&self.payloads[slot]);
                return Insertion::Replaced(std::mem::replace(&mut self.payloads[slot], payload));
            }
            return self.occupy(slot, key, payload);
        }
        if !self.has_room() {
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
        // Not `clamp`: it is not inlined below a target feature, and the call spills vectors (a sixth of an append).
        search::line_of(self.head.model.predict(key)).max(first).min(last)
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
            open_slots(self.keys, above, gap, key);
            open_slots(self.payloads, above, gap, payload);
            bitmap::set(self.bits, gap);
            self.head.end = self.head.end.max(gap as u32 + 1);
            above
        } else {
            // As above: `left` is the nearer, so it exists.
            let gap = left.expect("a leaf below grow_at has a gap");
            moved = above - gap;
            close_slots(self.keys, gap, above - 1, key);
            close_slots(self.payloads, gap, above - 1, payload);
            bitmap::set(self.bits, gap);
            self.head.begin = self.head.begin.min(gap as u32);
            above - 1
        };
        count::moved(moved);
        self.head.debt = self.head.debt.saturating_add(moved.saturating_sub(REWRITE) as u16);
        count::touch_one(&self.keys[slot]);
        count::touch_one(&self.payloads[slot]);
        self.head.count += 1;
        Insertion::Added
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
