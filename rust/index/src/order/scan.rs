//! Ranges as arrays: copying runs of entries by bitmap words, and counting them.
//!
//! Knows leaves and their bitmaps. A full word is copied whole, any other is compressed by the kernel:
//! under a nanosecond an entry. Counting takes whole leaves from their headers: `O(leaves)`.

use std::ops::Bound;

use crate::node::{Leaf, NIL, bitmap};
use crate::search::{BLOCK, Kernel, Operation, Output, WINDOW, dispatch, prefetch};
use crate::tree::Alex;

/// Entries of a scan that are asked for before it begins.
const EXPECTED: usize = 128;
/// Words of a leaf that are asked for ahead of the one that is copied.
const AHEAD: usize = 3;

impl Alex {
    /// Appends up to `limit` entries of a range to `keys` and `payloads`, ascending, or descending from
    /// its end if `reverse`.
    pub fn scan_into(
        &self,
        start: Bound<i64>,
        stop: Bound<i64>,
        reverse: bool,
        limit: usize,
        keys: &mut Vec<i64>,
        payloads: &mut Vec<u64>,
    ) {
        let (out, run) = (Output { keys, payloads }, (Vec::new(), Vec::new()));
        dispatch(self.backend, Scan { tree: self, start, stop, reverse, limit, out, run });
    }

    /// Appends the entries of every range `starts[i] <= key < stops[i]`, one range after the other, and calls
    /// `ended` with the length of `keys` after each. What the next ranges will read is asked for ahead.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn scan_many(
        &self,
        starts: &[i64],
        stops: &[i64],
        keys: &mut Vec<i64>,
        payloads: &mut Vec<u64>,
        ended: impl FnMut(usize),
    ) {
        assert_eq!(starts.len(), stops.len(), "one stop for each start");
        dispatch(self.backend, ScanMany { tree: self, starts, stops, keys, payloads, ended });
    }

    /// Asks for the lines that a short scan from `start` will read, all at once: they would come one after
    /// another otherwise, before the processor sees a stream in them.
    #[inline(always)]
    fn expect(&self, start: i64, stop: Bound<i64>, limit: usize) {
        let leaf = self.arena.leaf(self.leaf_of(start));
        let first = leaf.guess(start);
        let mut slots =
            (limit.min(EXPECTED) * leaf.keys.len() / (leaf.head.count as usize).max(1)).min(4 * EXPECTED);
        if let Bound::Included(stop) | Bound::Excluded(stop) = stop
            && let last @ 1.. = leaf.guess(stop).saturating_sub(first)
        {
            slots = slots.min(last + 2 * WINDOW);
        }
        for slot in (first..leaf.keys.len().min(first + slots)).step_by(WINDOW) {
            leaf.prefetch(slot);
        }
    }

    /// The number of keys in a range.
    pub fn count(&self, start: Bound<i64>, stop: Bound<i64>) -> usize {
        let Some((from, to)) = self.span(start, stop) else { return 0 };
        let (first, last) = (self.arena.leaf(from.leaf), self.arena.leaf(to.leaf));
        if from.leaf == to.leaf {
            return bitmap::count(first.bits, from.slot, to.slot);
        }
        let mut total =
            bitmap::count(first.bits, from.slot, first.keys.len()) + bitmap::count(last.bits, 0, to.slot);
        let mut id = first.head.next;
        // The list ends early only where an image is damaged.
        while id != to.leaf && id != NIL {
            let head = self.arena.leaf(id).head;
            total += head.count as usize;
            id = head.next;
        }
        total
    }
}

struct Scan<'a> {
    tree: &'a Alex,
    start: Bound<i64>,
    stop: Bound<i64>,
    reverse: bool,
    limit: usize,
    out: Output<'a>,
    /// One word's entries, for a scan in reverse.
    run: (Vec<i64>, Vec<u64>),
}

impl Operation for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self) {
        if let (Bound::Included(key) | Bound::Excluded(key), false) = (self.start, self.reverse) {
            self.tree.expect(key, self.stop, self.limit);
        }
        self.copy::<K>();
    }
}

struct ScanMany<'a, E> {
    tree: &'a Alex,
    starts: &'a [i64],
    stops: &'a [i64],
    keys: &'a mut Vec<i64>,
    payloads: &'a mut Vec<u64>,
    ended: E,
}

impl<E: FnMut(usize)> Operation for ScanMany<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let (tree, starts, stops) = (self.tree, self.starts, self.stops);
        for (i, (&start, &stop)) in starts.iter().zip(stops).enumerate() {
            if let Some(&start) = starts.get(i + 2) {
                prefetch(tree.arena.address(tree.leaf_of(start)));
            }
            if let (Some(&start), Some(&stop)) = (starts.get(i + 1), stops.get(i + 1)) {
                tree.expect(start, Bound::Excluded(stop), usize::MAX);
            }
            let out = Output { keys: self.keys, payloads: self.payloads };
            let (start, stop, run) =
                (Bound::Included(start), Bound::Excluded(stop), (Vec::new(), Vec::new()));
            Scan { tree, start, stop, reverse: false, limit: usize::MAX, out, run }.copy::<K>();
            (self.ended)(self.keys.len());
        }
    }
}

impl Scan<'_> {
    #[inline(always)]
    fn copy<K: Kernel>(mut self) {
        let Some((from, to)) = self.tree.span(self.start, self.stop) else { return };
        let (mut id, last) = if self.reverse { (to.leaf, from.leaf) } else { (from.leaf, to.leaf) };
        while self.limit > 0 {
            let leaf = self.tree.arena.leaf(id);
            let low = if id == from.leaf { from.slot } else { leaf.head.begin as usize };
            let high = if id == to.leaf { to.slot } else { leaf.head.end as usize };
            let next = if self.reverse { leaf.head.prev } else { leaf.head.next };
            if id != last && next != NIL {
                prefetch(self.tree.arena.address(next));
            }
            self.leaf::<K>(&leaf, low, high);
            // The list ends early only where an image is damaged.
            if id == last || next == NIL {
                return;
            }
            id = next;
        }
    }

    /// Copies the entries in slots `low..high`, as far as the limit allows.
    #[inline(always)]
    fn leaf<K: Kernel>(&mut self, leaf: &Leaf<'_>, low: usize, high: usize) {
        if low >= high {
            return;
        }
        self.out.reserve(self.limit.min(leaf.head.count as usize).min(high - low));
        let (first, last) = (low / BLOCK, (high - 1) / BLOCK);
        for step in 0..=last - first {
            let index = if self.reverse { last - step } else { first + step };
            let mut mask = leaf.bits[index];
            if index == first {
                mask &= !0 << (low % BLOCK);
            }
            if index == last {
                mask &= !0 >> (BLOCK - 1 - (high - 1) % BLOCK);
            }
            let ahead = if self.reverse { index.wrapping_sub(AHEAD) } else { index + AHEAD };
            if ahead < leaf.bits.len() && self.limit > AHEAD * BLOCK {
                for line in (0..BLOCK).step_by(WINDOW) {
                    leaf.prefetch(ahead * BLOCK + line);
                }
            }
            if self.reverse {
                self.word_reversed::<K>(leaf, index, mask);
            } else {
                let count = (mask.count_ones() as usize).min(self.limit);
                let (slots, payloads) = leaf.word(index);
                self.out.extend::<K>(mask, slots, payloads, count);
                self.limit -= count;
            }
            if self.limit == 0 {
                return;
            }
        }
    }

    #[inline(always)]
    fn word_reversed<K: Kernel>(&mut self, leaf: &Leaf<'_>, index: usize, mask: u64) {
        let (keys, payloads) = &mut self.run;
        keys.clear();
        payloads.clear();
        let (slots, their_payloads) = leaf.word(index);
        Output { keys, payloads }.extend::<K>(mask, slots, their_payloads, BLOCK);
        let from = keys.len() - keys.len().min(self.limit);
        self.out.keys.extend(keys[from..].iter().rev());
        self.out.payloads.extend(payloads[from..].iter().rev());
        self.limit -= keys.len() - from;
    }
}
