//! What happens inside one data node: find, insert, remove.
//!
//! A gap holds the key of the next entry on its right. So the slots are sorted, gaps included, and of a run
//! of equal keys the last slot is the entry. A removal would have to rewrite the gaps before it; where they
//! are too many, it leaves the key behind in them, as ghosts, and marks the leaf. Only in a marked leaf does
//! a match need the bitmap.
//!
//! A search is `O(log error)`. An insert moves the entries of one leaf at most; the leaf counts excessive
//! moves as debt, and is rebuilt when the debt is large. Knows no tree: a leaf that needs room says so.

use super::bitmap;
use super::header::LeafHeader;
use super::view::{Leaf, LeafMut};
use crate::count;
use crate::key::Key;
use crate::search::{self, Kernel, PAIR, WINDOW, WORD};

/// The most gaps that one insert or removal rewrites.
const REWRITE: usize = 64;
/// The most gaps that an insert above the last key, or below the first, leaves between them.
const STRIDE: usize = 16;

/// What an insert did.
pub(crate) enum Insertion {
    /// The key was there already, with this payload.
    Replaced(u64),
    Added,
    /// It did nothing: the leaf must be rebuilt or split first.
    NoRoom,
}

/// What the predicted line of a leaf tells about a key.
#[derive(Clone, Copy)]
pub(crate) enum Near {
    /// The key's entry is in this slot.
    Entry(usize),
    /// The leaf has no such key.
    Absent,
    /// The answer is outside the line that begins at this slot.
    Beyond(usize),
    /// The leaf is plain and predicts no line.
    Unknown,
}

/// What a removal did.
pub(crate) struct Removal {
    pub(crate) payload: u64,
    /// Whether the leaf has just become sparse enough to be contracted or merged.
    pub(crate) sparse: bool,
}

/// Moves the lanes from `at` up to the gap on its right by one, and puts `item` into lane `at`. Without
/// branches: each lane is a selection.
#[inline(always)]
fn open_lane<T: Copy, const LANES: usize>(lanes: &mut [T; LANES], at: usize, gap: usize, item: T) {
    let old = *lanes;
    for lane in 0..LANES {
        let moved = if lane > 0 { old[lane - 1] } else { old[0] };
        let shifted = if lane > at && lane <= gap { moved } else { old[lane] };
        lanes[lane] = if lane == at { item } else { shifted };
    }
}

/// Moves the lanes behind the gap, which is lane 0, up to `at` by one to the left, and puts `item` into lane
/// `at`.
#[inline(always)]
fn close_lane<T: Copy, const LANES: usize>(lanes: &mut [T; LANES], at: usize, item: T) {
    let old = *lanes;
    for lane in 0..LANES {
        let shifted = if lane < at { old[(lane + 1) % LANES] } else { old[lane] };
        lanes[lane] = if lane == at { item } else { shifted };
    }
}

/// Moves the slots from `at` up to the gap on its right by one, and puts `item` into slot `at`.
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

/// Moves the slots behind the gap up to `at` by one to the left, and puts `item` into slot `at`.
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

impl<K: Key> Leaf<'_, K> {
    /// The slot that the model predicts for `key`.
    #[inline(always)]
    pub(crate) fn guess(&self, key: K) -> usize {
        self.head.model.predict(key).min(self.keys.len() - 1)
    }

    /// How many slots up to the last entry hold a key less than or equal to `key`.
    #[inline(always)]
    pub(crate) fn upper_bound<S: Kernel>(&self, key: K) -> usize {
        let guess = self.guess(key);
        search::prefetch_slot(self.payloads, guess);
        self.upper_bound_from::<S>(key, guess)
    }

    #[inline(always)]
    fn upper_bound_from<S: Kernel>(&self, key: K, guess: usize) -> usize {
        let end = self.head.end as usize;
        if self.head.model.is_plain() {
            return search::between::<S, K>(self.keys, self.head.begin as usize, end, key).min(end);
        }
        let (start, count) = search::in_line::<S, K>(self.keys, guess, key);
        let above =
            if count.wrapping_sub(1) < WINDOW - 1 { start + count } else { self.beyond::<S>(start, key) };
        above.min(end)
    }

    /// The upper bound, when it is outside the line at `start`.
    #[inline(always)]
    fn beyond<S: Kernel>(&self, start: usize, key: K) -> usize {
        if self.head.coarse != 0 {
            return search::around::<S, K>(self.keys, start, key);
        }
        search::beyond::<S, K>(self.keys, start, key)
    }

    /// How many slots up to the last entry hold a key less than `key`.
    #[inline(always)]
    pub(crate) fn lower_bound<S: Kernel>(&self, key: K) -> usize {
        match key.previous() {
            Some(before) => self.upper_bound::<S>(before),
            None => self.head.begin as usize,
        }
    }

    /// The slot of the entry with this key.
    #[inline(always)]
    pub(crate) fn find<S: Kernel>(&self, key: K) -> Option<usize> {
        let guess = self.guess(key);
        search::prefetch_slot(self.payloads, guess);
        self.find_from::<S>(key, guess)
    }

    /// `find` from a known guess.
    #[inline(always)]
    pub(crate) fn find_from<S: Kernel>(&self, key: K, guess: usize) -> Option<usize> {
        let near = self.look::<S>(key, guess);
        let found = self.conclude::<S>(key, near);
        if let Some(slot) = found {
            count::touch_one(&self.payloads[slot]);
        }
        found
    }

    /// What the predicted line tells about a key. Prefetches the next line where the answer is not in this
    /// one.
    #[inline(always)]
    pub(crate) fn look<S: Kernel>(&self, key: K, guess: usize) -> Near {
        if self.head.model.is_plain() {
            return Near::Unknown;
        }
        let (start, count) = search::in_line::<S, K>(self.keys, guess, key);
        // Strictly inside the line the answer is certain.
        if count.wrapping_sub(1) < WINDOW - 1 {
            let slot = start + count - 1;
            let found = self.keys[slot] == key && self.is_entry(slot);
            return if found { Near::Entry(slot) } else { Near::Absent };
        }
        let last = start + WINDOW - 1;
        if count == WINDOW && self.keys[last] == key && bitmap::is_set(self.bits, last) {
            // The last entry of a full line: its bit tells so, and the next line need not be read.
            return Near::Entry(last);
        }
        self.prefetch(if count == 0 { start.wrapping_sub(WINDOW) } else { start + WINDOW });
        Near::Beyond(start)
    }

    /// The slot of the key's entry, from what `look` found.
    #[inline(always)]
    pub(crate) fn conclude<S: Kernel>(&self, key: K, near: Near) -> Option<usize> {
        let above = match near {
            Near::Entry(slot) => return Some(slot),
            Near::Absent => return None,
            Near::Beyond(start) => self.beyond::<S>(start, key),
            Near::Unknown => {
                search::between::<S, K>(self.keys, self.head.begin as usize, self.head.end as usize, key)
            }
        };
        self.find_far(above, key)
    }

    /// `find` from a known upper bound.
    #[inline(always)]
    fn find_far(&self, above: usize, key: K) -> Option<usize> {
        let slot = above.min(self.head.end as usize).wrapping_sub(1);
        (self.keys.get(slot) == Some(&key) && self.is_entry(slot)).then_some(slot)
    }

    /// Whether the last slot of a run of equal keys is an entry, and neither a ghost nor outside
    /// `begin..end`.
    #[inline(always)]
    fn is_entry(&self, slot: usize) -> bool {
        let (begin, end) = (self.head.begin as usize, self.head.end as usize);
        slot.wrapping_sub(begin) < end - begin && (self.head.ghosts == 0 || bitmap::is_set(self.bits, slot))
    }

    /// Prefetches the line beside the predicted one, if an insert of this key will need it.
    #[inline(always)]
    pub(crate) fn prefetch_neighbour<S: Kernel>(&self, key: K) {
        let (start, count) = search::in_line::<S, K>(self.keys, self.guess(key), key);
        if count == 0 {
            search::prefetch_line(self.keys, start.wrapping_sub(1));
        } else if count == WINDOW {
            self.prefetch(start + WINDOW);
        }
    }

    /// Prefetches the lines that a search from `guess` reads first: of the key and of the payload.
    #[inline(always)]
    pub(crate) fn prefetch(&self, guess: usize) {
        search::prefetch_line(self.keys, guess);
        search::prefetch_slot(self.payloads, guess);
    }

    /// The largest key.
    pub(crate) fn last_key(&self) -> Option<K> {
        // The slot before `end` is occupied, unless the leaf is empty.
        (self.head.count > 0).then(|| self.keys[self.head.end as usize - 1])
    }
}

impl<K: Key> LeafMut<'_, K> {
    #[inline(always)]
    pub(crate) fn view(&self) -> Leaf<'_, K> {
        Leaf { head: self.head, bits: self.bits, keys: self.keys, payloads: self.payloads }
    }

    /// Inserts the key, or replaces its payload.
    #[inline(always)]
    pub(crate) fn insert<S: Kernel>(&mut self, key: K, payload: u64) -> Insertion {
        if self.head.tail_inserts > self.head.inserts / 2
            && self.view().last_key().is_some_and(|last| last < key)
            && self.has_room()
        {
            // The trend goes on, so there is nothing to search for.
            self.head.inserts = self.head.inserts.saturating_add(1);
            return self.append(key, payload);
        }
        let guess = self.view().guess(key);
        search::prefetch_slot(self.payloads, guess);
        if !self.head.model.is_plain() && self.head.ghosts == 0 {
            let (begin, end) = (self.head.begin as usize, self.head.end as usize);
            let (mut start, mut count) = search::in_line::<S, K>(self.keys, guess, key);
            if count == WINDOW && start + 2 * WINDOW <= end {
                // The line is full of smaller keys, so the entry goes into the next line.
                (start, count) = search::in_line::<S, K>(self.keys, start + WINDOW, key);
            }
            // The position is certain where the line lies between the first entry and the last, and the key
            // between the slot before the line and the line's last slot.
            if count < WINDOW
                && start >= begin
                && start + WINDOW <= end
                && (count > 0 || (start > begin && self.keys[start - 1] <= key))
            {
                return self.insert_in_line(start, count, key, payload);
            }
        }
        self.insert_anywhere::<S>(key, guess, payload)
    }

    /// Inserts into the line at `start`, of which the first `at` slots hold keys less than or equal to `key`.
    /// `at` is less than eight, and where it is zero the slot before the line holds such a key. The line lies
    /// between the first entry and the last, and the leaf has no ghosts.
    #[inline(always)]
    fn insert_in_line(&mut self, start: usize, at: usize, key: K, payload: u64) -> Insertion {
        let above = start + at;
        if self.keys[above - 1] == key {
            // The last slot of a run of equal keys is the entry.
            count::touch_one(&self.payloads[above - 1]);
            return Insertion::Replaced(std::mem::replace(&mut self.payloads[above - 1], payload));
        }
        if !self.has_room() {
            return Insertion::NoRoom;
        }
        count::touch_one(&self.bits[start / WORD]);
        let gaps = !(self.bits[start / WORD] >> (start % WORD)) as u32 & (0xFF << at) & 0xFF;
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

    /// Inserts the key wherever it belongs.
    #[inline(always)]
    fn insert_anywhere<S: Kernel>(&mut self, key: K, guess: usize, payload: u64) -> Insertion {
        let above = self.view().upper_bound_from::<S>(key, guess);
        let (begin, end) = (self.head.begin as usize, self.head.end as usize);
        if above > begin && self.keys[above - 1] == key {
            let slot = above - 1;
            if self.head.ghosts == 0 || bitmap::is_set(self.bits, slot) {
                count::touch_one(&self.payloads[slot]);
                return Insertion::Replaced(std::mem::replace(&mut self.payloads[slot], payload));
            }
            if !self.has_room() {
                return Insertion::NoRoom;
            }
            self.head.inserts = self.head.inserts.saturating_add(1);
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
            // `above < end` and the slot before `end` is occupied, so there is a next entry.
            let next = bitmap::next_set(self.bits, above).unwrap_or(end);
            let slot = self.place_for(key, above, next - 1).min(above + REWRITE - 1);
            count::moved(slot - above);
            self.keys[above..=slot].fill(key);
            return self.occupy(slot, key, payload);
        }
        if !bitmap::is_set(self.bits, above - 1) {
            // Only in a leaf with ghosts: the slot below is a ghost with a smaller key.
            return self.occupy(above - 1, key, payload);
        }
        self.shift(above, key, payload)
    }

    /// The slot for `key` among the gaps `first..=last`: the one nearest to the start of the predicted line,
    /// or the middle one in a plain leaf.
    #[inline(always)]
    fn place_for(&self, key: K, first: usize, last: usize) -> usize {
        if self.head.model.is_plain() {
            return first.midpoint(last);
        }
        // Not `clamp`, which is not inlined into functions with target features: the call would spill
        // vectors, a sixth of the time of an append.
        search::line_of(self.head.model.predict(key)).max(first).min(last)
    }

    #[inline(always)]
    fn occupy(&mut self, slot: usize, key: K, payload: u64) -> Insertion {
        count::touch_one(&self.keys[slot]);
        count::touch_one(&self.payloads[slot]);
        self.keys[slot] = key;
        self.payloads[slot] = payload;
        bitmap::set(self.bits, slot);
        self.head.count += 1;
        Insertion::Added
    }

    /// Inserts a key above every entry, or into an empty leaf.
    #[inline(always)]
    fn append(&mut self, key: K, payload: u64) -> Insertion {
        let (begin, end, capacity) =
            (self.head.begin as usize, self.head.end as usize, self.head.capacity as usize);
        self.head.tail_inserts = self.head.tail_inserts.saturating_add(1);
        if begin == end {
            let slot = self.place_for(key, 0, capacity - 1);
            count::moved(capacity);
            self.keys[..slot].fill(K::MIN);
            self.keys[slot..].fill(K::MAX);
            (self.head.begin, self.head.end) = (slot as u32, slot as u32 + 1);
            return self.occupy(slot, key, payload);
        }
        if end == capacity {
            if self.head.tail_inserts >= 16 && self.head.tail_inserts >= self.head.inserts / 2 {
                // The room that was left at this end for a trend is used up: the next insert rebuilds the
                // leaf.
                self.head.debt = LeafHeader::<K>::END_OF_ROOM;
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

    /// Inserts a key below every entry.
    #[inline(always)]
    fn prepend(&mut self, key: K, payload: u64) -> Insertion {
        let begin = self.head.begin as usize;
        self.head.head_inserts = self.head.head_inserts.saturating_add(1);
        if begin == 0 {
            if self.head.head_inserts >= 16 && self.head.head_inserts >= self.head.inserts / 2 {
                self.head.debt = LeafHeader::<K>::END_OF_ROOM;
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

    /// Inserts a key before slot `above`, where both neighbours are occupied or the array ends: moves the
    /// entries between `above` and the nearest gap by one.
    #[inline(always)]
    fn shift(&mut self, above: usize, key: K, payload: u64) -> Insertion {
        let right = bitmap::next_clear(self.bits, above);
        let left = bitmap::previous_clear(self.bits, above);
        let distance = |gap: Option<usize>| gap.map_or(usize::MAX, |gap| gap.abs_diff(above));
        let moved;
        let slot = if distance(right) <= distance(left) {
            // The count is below `grow_at`, which is below the capacity, so one of the two gaps exists.
            let gap = right.expect("a leaf below grow_at has a gap");
            moved = gap - above;
            open_slots(self.keys, above, gap, key);
            open_slots(self.payloads, above, gap, payload);
            bitmap::set(self.bits, gap);
            self.head.end = self.head.end.max(gap as u32 + 1);
            above
        } else {
            // One of the two gaps exists, and the left one is nearer.
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
    pub(crate) fn remove<S: Kernel>(&mut self, key: K) -> Option<Removal> {
        let slot = self.view().find::<S>(key)?;
        let payload = self.payloads[slot];
        bitmap::clear(self.bits, slot);
        self.head.count -= 1;
        self.close(slot);
        let count = self.head.count;
        Some(Removal { payload, sparse: count == u32::from(self.head.shrink_at) })
    }

    /// Restores the gap rule where a removed entry was: gives the slots that hold its key the next entry's.
    /// `begin` and `end` move inwards, so removals from either end rewrite each slot once.
    #[inline(always)]
    fn close(&mut self, slot: usize) {
        let (begin, end) = (self.head.begin as usize, self.head.end as usize);
        if self.head.count == 0 {
            count::moved(end - begin);
            self.keys[begin..end].fill(K::MAX);
            self.head.end = self.head.begin;
        } else if slot == begin {
            let next = bitmap::next_set(self.bits, slot).unwrap_or(end);
            count::moved(next - begin);
            self.keys[begin..next].fill(K::MIN);
            self.head.begin = next as u32;
        } else if slot + 1 == end {
            let last = bitmap::previous_set(self.bits, slot).map_or(begin, |last| last + 1);
            count::moved(end - last);
            self.keys[last..end].fill(K::MAX);
            self.head.end = last as u32;
        } else {
            // The entry at `begin` is another one, so there is one on the left.
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
