//! Scans: the entries of a range copied into arrays, or counted.
//!
//! Copies the occupied slots of one bitmap word after another by the kernel's `compress`, which takes less
//! than a nanosecond an entry. Counting reads the headers of whole leaves: `O(leaves)`, or `O(log n)` while there is a
//! tally. Knows leaves and their bitmaps.

use std::ops::Bound;

use super::neighbours::Position;
use crate::key::Key;
use crate::node::{Leaf, NIL, bitmap};
use crate::search::{Kernel, Operation, Output, WINDOW, WORD, dispatch};
use crate::tree::Alex;

/// The most entries that are prefetched before a scan begins.
const PREFETCHED: usize = 128;
/// How many bitmap words ahead of the one that is copied slots are prefetched.
const WORDS_AHEAD: usize = 3;
/// The fewest entries of a leaf for which a scan asks for all of it, where the index is larger than memory.
const ASKED_ENTRIES: usize = 1024;
/// A count looks at this many leaves before it asks the tally, if there is one.
const COUNTED_LEAVES: usize = 8;

impl<K: Key> Alex<K> {
    /// Appends at most `limit` entries of a range to `keys` and `payloads`: ascending from its start, or, if
    /// `reverse`, descending from its end.
    #[expect(clippy::too_many_arguments, reason = "a range and its direction, and where entries go")]
    pub fn scan_into(
        &self,
        start: Bound<K>,
        stop: Bound<K>,
        reverse: bool,
        limit: usize,
        keys: &mut Vec<K>,
        payloads: &mut Vec<u64>,
    ) {
        K::scan_into(self, (start, stop), reverse, limit, (keys, payloads));
    }

    pub(crate) fn do_scan_into(
        &self,
        (start, stop): (Bound<K>, Bound<K>),
        reverse: bool,
        limit: usize,
        (keys, payloads): (&mut Vec<K>, &mut Vec<u64>),
    ) {
        let (out, run) = (Output { keys, payloads }, (Vec::new(), Vec::new()));
        dispatch(self.backend, Scan { tree: self, start, stop, reverse, limit, out, run });
    }

    /// Appends the entries of every range `starts[i] <= key < stops[i]`, one range after the other, and calls
    /// `ended` with the length of `keys` after each. Prefetches for the ranges that come next.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn scan_many(
        &self,
        starts: &[K],
        stops: &[K],
        keys: &mut Vec<K>,
        payloads: &mut Vec<u64>,
        ended: impl FnMut(usize),
    ) {
        assert_eq!(starts.len(), stops.len(), "one stop for each start");
        dispatch(self.backend, ScanMany { tree: self, starts, stops, keys, payloads, ended });
    }

    /// Prefetches the lines that a short scan from `start` reads, all at once. Otherwise they would come one
    /// after another until the processor recognises a stream.
    #[inline(always)]
    fn prefetch_scan(&self, start: K, stop: Bound<K>, limit: usize) {
        let leaf = self.arena.leaf(self.leaf_of(start));
        let first = leaf.guess(start);
        let mut slots =
            (limit.min(PREFETCHED) * leaf.keys.len() / (leaf.head.count as usize).max(1)).min(4 * PREFETCHED);
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
    pub fn count(&self, start: Bound<K>, stop: Bound<K>) -> usize {
        K::count(self, start, stop)
    }

    pub(crate) fn do_count(&self, start: Bound<K>, stop: Bound<K>) -> usize {
        let Some((from, to)) = self.span(start, stop) else { return 0 };
        let tally = self.tally.get();
        let at_once = tally.map_or(usize::MAX, |_| COUNTED_LEAVES);
        if let Some(total) = self.between(from, to, at_once) {
            return total;
        }
        let tally = tally.map(|tally| tally.asked());
        let below = match start {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.rank_at(tally, key, from),
            // What excludes every key has no span.
            Bound::Excluded(key) => self.rank_at(tally, key.next().unwrap_or(key), from),
        };
        let up_to = match stop {
            Bound::Unbounded => self.len,
            Bound::Included(key) => self.rank_at(tally, key, to),
            Bound::Excluded(key) => self.rank_at(tally, key.previous().unwrap_or(key), to),
        };
        up_to - below
    }

    /// How many entries there are between two positions, in this order; `None` if more than `leaves` leaves would have to
    /// be looked at.
    pub(super) fn between(&self, from: Position, to: Position, leaves: usize) -> Option<usize> {
        let (first, last) = (self.arena.leaf(from.leaf), self.arena.leaf(to.leaf));
        if from.leaf == to.leaf {
            return Some(bitmap::count(first.bits, from.slot, to.slot));
        }
        let mut total =
            bitmap::count(first.bits, from.slot, first.keys.len()) + bitmap::count(last.bits, 0, to.slot);
        let mut id = first.head.next;
        let mut looked_at = 2;
        // Only the list of a damaged image ends before `to.leaf`.
        while id != to.leaf && id != NIL {
            looked_at += 1;
            if looked_at > leaves {
                return None;
            }
            let head = self.arena.leaf(id).head;
            total += head.count as usize;
            id = head.next;
        }
        Some(total)
    }
}

struct Scan<'a, K: Key> {
    tree: &'a Alex<K>,
    start: Bound<K>,
    stop: Bound<K>,
    reverse: bool,
    limit: usize,
    out: Output<'a, K>,
    /// The entries of one bitmap word, for a reverse scan.
    run: (Vec<K>, Vec<u64>),
}

impl<K: Key> Operation for Scan<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(self) {
        if let (Bound::Included(key) | Bound::Excluded(key), false) = (self.start, self.reverse) {
            self.tree.prefetch_scan(key, self.stop, self.limit);
        }
        self.copy::<S>();
    }
}

struct ScanMany<'a, K: Key, E> {
    tree: &'a Alex<K>,
    starts: &'a [K],
    stops: &'a [K],
    keys: &'a mut Vec<K>,
    payloads: &'a mut Vec<u64>,
    ended: E,
}

impl<K: Key, E: FnMut(usize)> Operation for ScanMany<'_, K, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Kernel>(mut self) {
        let (tree, starts, stops) = (self.tree, self.starts, self.stops);
        for (i, (&start, &stop)) in starts.iter().zip(stops).enumerate() {
            if let Some(&start) = starts.get(i + 2) {
                tree.arena.prefetch(tree.leaf_of(start));
            }
            if let (Some(&start), Some(&stop)) = (starts.get(i + 1), stops.get(i + 1)) {
                tree.prefetch_scan(start, Bound::Excluded(stop), usize::MAX);
            }
            let out = Output { keys: self.keys, payloads: self.payloads };
            let (start, stop, run) =
                (Bound::Included(start), Bound::Excluded(stop), (Vec::new(), Vec::new()));
            Scan { tree, start, stop, reverse: false, limit: usize::MAX, out, run }.copy::<S>();
            (self.ended)(self.keys.len());
        }
    }
}

impl<K: Key> Scan<'_, K> {
    #[inline(always)]
    fn copy<S: Kernel>(mut self) {
        let Some((from, to)) = self.tree.span(self.start, self.stop) else { return };
        let (mut id, last) = if self.reverse { (to.leaf, from.leaf) } else { (from.leaf, to.leaf) };
        while self.limit > 0 {
            let leaf = self.tree.arena.leaf(id);
            let low = if id == from.leaf { from.slot } else { leaf.head.begin as usize };
            let high = if id == to.leaf { to.slot } else { leaf.head.end as usize };
            let next = if self.reverse { leaf.head.prev } else { leaf.head.next };
            if id != last && next != NIL {
                self.tree.arena.prefetch(next);
            }
            if self.limit.min(high.saturating_sub(low)) >= ASKED_ENTRIES {
                self.tree.arena.will_read(id);
            }
            self.leaf::<S>(&leaf, low, high);
            // Only the list of a damaged image ends before `last`.
            if id == last || next == NIL {
                return;
            }
            id = next;
        }
    }

    /// Copies the entries of slots `low..high` of a leaf, as many as the limit allows.
    #[inline(always)]
    fn leaf<S: Kernel>(&mut self, leaf: &Leaf<'_, K>, low: usize, high: usize) {
        if low >= high {
            return;
        }
        self.out.reserve(self.limit.min(leaf.head.count as usize).min(high - low));
        let (first, last) = (low / WORD, (high - 1) / WORD);
        for step in 0..=last - first {
            let index = if self.reverse { last - step } else { first + step };
            let mut mask = leaf.bits[index];
            if index == first {
                mask &= !0 << (low % WORD);
            }
            if index == last {
                mask &= !0 >> (WORD - 1 - (high - 1) % WORD);
            }
            let ahead = if self.reverse { index.wrapping_sub(WORDS_AHEAD) } else { index + WORDS_AHEAD };
            if ahead < leaf.bits.len() && self.limit > WORDS_AHEAD * WORD {
                for line in (0..WORD).step_by(WINDOW) {
                    leaf.prefetch(ahead * WORD + line);
                }
            }
            if self.reverse {
                self.word_reversed::<S>(leaf, index, mask);
            } else {
                let count = (mask.count_ones() as usize).min(self.limit);
                let (slots, payloads) = leaf.word(index);
                self.out.extend::<S>(mask, slots, payloads, count);
                self.limit -= count;
            }
            if self.limit == 0 {
                return;
            }
        }
    }

    #[inline(always)]
    fn word_reversed<S: Kernel>(&mut self, leaf: &Leaf<'_, K>, index: usize, mask: u64) {
        let (keys, payloads) = &mut self.run;
        keys.clear();
        payloads.clear();
        let (slots, their_payloads) = leaf.word(index);
        Output { keys, payloads }.extend::<S>(mask, slots, their_payloads, WORD);
        let from = keys.len() - keys.len().min(self.limit);
        self.out.keys.extend(keys[from..].iter().rev());
        self.out.payloads.extend(payloads[from..].iter().rev());
        self.limit -= keys.len() - from;
    }
}
