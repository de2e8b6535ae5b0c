//! Ranges as arrays: copying runs of entries by bitmap words, and counting them.
//!
//! Knows leaves and their bitmaps. A full word is copied whole, any other is compressed by the kernel:
//! under a nanosecond an entry. Counting takes whole leaves from their headers: `O(leaves)`.

use std::ops::Bound;

use crate::arena::Leaf;
use crate::bitmap;
use crate::node::NIL;
use crate::search::{Kernel, Run, prefetch};
use crate::simd::{Operation, dispatch};
use crate::tree::Alex;

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
        dispatch(
            self.level,
            Scan { tree: self, start, stop, reverse, limit, out: Output { keys, payloads } },
        );
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

struct Output<'a> {
    keys: &'a mut Vec<i64>,
    payloads: &'a mut Vec<u64>,
}

struct Scan<'a> {
    tree: &'a Alex,
    start: Bound<i64>,
    stop: Bound<i64>,
    reverse: bool,
    limit: usize,
    out: Output<'a>,
}

impl Operation for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(mut self) {
        let Some((from, to)) = self.tree.span(self.start, self.stop) else { return };
        let (mut id, last) = if self.reverse { (to.leaf, from.leaf) } else { (from.leaf, to.leaf) };
        let mut run = Run { keys: [0; 72], payloads: [0; 72] };
        while self.limit > 0 {
            let leaf = self.tree.arena.leaf(id);
            let low = if id == from.leaf { from.slot } else { leaf.head.begin as usize };
            let high = if id == to.leaf { to.slot } else { leaf.head.end as usize };
            let next = if self.reverse { leaf.head.prev } else { leaf.head.next };
            if id != last && next != NIL {
                prefetch(self.tree.arena.address(next));
            }
            self.leaf::<K>(&leaf, low, high, &mut run);
            // The list ends early only where an image is damaged.
            if id == last || next == NIL {
                return;
            }
            id = next;
        }
    }
}

impl Scan<'_> {
    /// Copies the entries in slots `low..high`, as far as the limit allows.
    #[inline(always)]
    fn leaf<K: Kernel>(&mut self, leaf: &Leaf<'_>, low: usize, high: usize, run: &mut Run) {
        if low >= high {
            return;
        }
        let (first, last) = (low / 64, (high - 1) / 64);
        for step in 0..=last - first {
            let index = if self.reverse { last - step } else { first + step };
            let mut mask = leaf.bits[index];
            if index == first {
                mask &= !0 << (low % 64);
            }
            if index == last {
                mask &= !0 >> (63 - (high - 1) % 64);
            }
            self.word::<K>(leaf, index, mask, run);
            if self.limit == 0 {
                return;
            }
        }
    }

    #[inline(always)]
    fn word<K: Kernel>(&mut self, leaf: &Leaf<'_>, index: usize, mask: u64, run: &mut Run) {
        let (keys, payloads) = (&leaf.keys[index * 64..][..64], &leaf.payloads[index * 64..][..64]);
        // Both slices have 64 elements: a word of the bitmap.
        let keys: &[i64; 64] = keys.try_into().expect("64 slots to a word");
        let payloads: &[u64; 64] = payloads.try_into().expect("64 slots to a word");
        let found = K::compress(mask, keys, payloads, run);
        let count = found.min(self.limit);
        self.limit -= count;
        if self.reverse {
            self.out.keys.extend(run.keys[found - count..found].iter().rev());
            self.out.payloads.extend(run.payloads[found - count..found].iter().rev());
        } else {
            self.out.keys.extend_from_slice(&run.keys[..count]);
            self.out.payloads.extend_from_slice(&run.payloads[..count]);
        }
    }
}
