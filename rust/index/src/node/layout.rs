//! Building a data node: choose a model, put every entry at its predicted slot or the next free one.
//!
//! Knows entries and one leaf, no tree. One pass over the lines: `O(capacity)`. Entries go to the start of
//! the predicted cache line, eight slots, and its gaps to its end: a search compares that one line and
//! sees a larger key behind the wanted one, so it is done, and the payload lies in the line with the same
//! number, asked for at the same time. At a fill of 0.7 one entry in ten overflows its line.

use std::ops::Range;

use super::header::{LeafHeader, Trend};
use super::model::{Line, Model};
use super::view::LeafMut;
use crate::count;
use crate::search::{Kernel, Operation, Supported, WINDOW, dispatch};

/// Fill above which an insert asks for room.
const GROW_FILL: f64 = 0.85;
/// The same for a leaf packed for a trend.
const GROW_PACKED: f64 = 0.985;
/// Fill below which a removal contracts.
const SHRINK_FILL: f64 = 0.44;
/// Entries per slot in the packed part of a leaf that grows at one end.
pub(crate) const PACKED_FILL: f64 = 0.95;

/// Search work that a leaf may cost on average, in doublings beyond the first window, before it is
/// split rather than kept.
pub(crate) const ACCEPTABLE_STEPS: f64 = 1.5;

/// Search work from which on the next line is not where an entry that is not in its own line lies.
const COARSE_STEPS: f64 = 1.0;

/// The slots for `count` entries at `fill`: whole words, and few distinct sizes, so that freed leaves
/// fit the next ones.
pub(crate) fn slots_for(count: usize, fill: f64) -> usize {
    let wanted = ((count as f64 / fill) as usize + 1).max(64);
    let grain = (wanted.next_power_of_two() / 64).max(64);
    wanted.next_multiple_of(grain)
}

/// The slots for `count` entries at `fill`, at most `most` of them, but always enough for the entries and a gap to
/// insert into: a crowded leaf is searched and split like any other, one that its entries do not fit is none.
pub(crate) fn slots_within(count: usize, fill: f64, most: usize) -> usize {
    slots_for(count, fill).min(most).max((count + 2).next_multiple_of(64))
}

/// How entries are going to lie in a leaf: decided from a sample, before any is moved.
pub(crate) struct Layout {
    model: Model,
    trend: Trend,
    /// Slots for each entry, and from the left end to the first.
    pitch: f64,
    offset: f64,
    /// The expected result of `place`.
    pub(crate) steps: f64,
}

impl Layout {
    /// For ascending keys in a leaf of `capacity` slots; `trend` leaves the room at one end. Reads a few
    /// hundred keys.
    pub(crate) fn of(keys: &[i64], capacity: usize, trend: Trend) -> Self {
        let packed = keys.len() as f64 / PACKED_FILL;
        let (pitch, offset) = match trend {
            Trend::Anywhere => (capacity as f64 / keys.len().max(1) as f64, 0.0),
            _ if packed >= capacity as f64 => (capacity as f64 / keys.len() as f64, 0.0),
            Trend::Ascending => (1.0 / PACKED_FILL, 0.0),
            Trend::Descending => (1.0 / PACKED_FILL, capacity as f64 - packed),
        };
        let model = Model::from_line(Line::fit(keys), pitch, offset, capacity);
        let mut layout = Self { model, trend, pitch, offset, steps: f64::MAX };
        if !model.is_plain() {
            layout.steps = layout.expected_steps(keys, capacity);
        }
        layout
    }

    /// The slots that so many entries are to fill. Those that predict beyond stay inside: a few far keys
    /// would use up the end that is left for a trend, and have the leaf built anew every few inserts.
    fn span(&self, entries: usize) -> Range<usize> {
        self.offset as usize..(self.offset + entries as f64 * self.pitch).ceil() as usize
    }

    /// What `Put` would return, from a sample: an entry lies at its prediction, or as far behind it as the
    /// entries before it push it.
    fn expected_steps(&self, keys: &[i64], capacity: usize) -> f64 {
        let span = self.span(keys.len());
        let (mut slot, mut rank, mut steps, mut samples) = (0, 0, 0u32, 0u32);
        for at in (0..keys.len()).step_by((keys.len() / 64).max(1)) {
            count::touch_one(&keys[at]);
            let guess = self.model.predict(keys[at]).min(capacity - 1);
            let wanted = guess.clamp(span.start, span.end);
            slot = wanted.max(slot + (at - rank)).min(capacity - (keys.len() - at));
            rank = at;
            steps += line_distance(slot, guess);
            samples += 1;
        }
        f64::from(steps) / f64::from(samples.max(1))
    }

    /// Fills a fresh leaf with the entries, fewer than its slots, that this layout was made for. Returns
    /// the mean search work in doublings beyond the first line.
    pub(crate) fn place(
        mut self,
        backend: Supported,
        leaf: &mut LeafMut<'_>,
        keys: &[i64],
        payloads: &[u64],
    ) -> f64 {
        let capacity = leaf.keys.len();
        assert!(keys.len() < capacity && keys.len() == payloads.len(), "a leaf is built with room to spare");
        // A gallop costs its doublings twice (out and back); halving the whole leaf costs its logarithm.
        let most = f64::from((capacity / WINDOW).ilog2()) / 2.0;
        let mut steps = self.steps;
        if steps <= most * 2.0 {
            write_header(leaf.head, self.model, keys.len(), self.trend);
            steps = dispatch(backend, Put { layout: &self, leaf, keys, payloads });
        }
        if steps > most {
            self.model = Model::PLAIN;
            write_header(leaf.head, self.model, keys.len(), self.trend);
            dispatch(backend, Put { layout: &self, leaf, keys, payloads });
        }
        leaf.head.coarse = u16::from(steps >= COARSE_STEPS);
        steps.min(most)
    }
}

/// Doublings from the line of one slot to that of another.
#[inline(always)]
fn line_distance(slot: usize, guess: usize) -> u32 {
    usize::BITS - (slot / WINDOW).abs_diff(guess / WINDOW).leading_zeros()
}

fn write_header(head: &mut LeafHeader, model: Model, count: usize, trend: Trend) {
    let capacity = f64::from(head.capacity);
    let fill = count as f64 / capacity;
    let grow = if trend == Trend::Anywhere && fill < GROW_FILL { GROW_FILL } else { GROW_PACKED };
    // One gap at least is kept: an insert below grow_at must find it.
    let grow_at =
        ((capacity * grow) as u32).clamp(count as u32 + 1, head.capacity - 1).min(u32::from(u16::MAX));
    let shrink_at = (capacity * SHRINK_FILL) as u32;
    *head = LeafHeader {
        model,
        capacity: head.capacity,
        count: count as u32,
        prev: head.prev,
        next: head.next,
        grow_at: grow_at as u16,
        shrink_at: shrink_at.min(count as u32 * 7 / 8) as u16,
        ..LeafHeader::default()
    };
}

struct Put<'a, 'l> {
    layout: &'a Layout,
    leaf: &'a mut LeafMut<'l>,
    keys: &'a [i64],
    payloads: &'a [u64],
}

impl Operation for Put<'_, '_> {
    type Output = f64;

    #[inline(always)]
    fn run<K: Kernel>(self) -> f64 {
        let Layout { model, pitch, offset, .. } = *self.layout;
        let keys = self.keys;
        if model.is_plain() {
            // Evenly: how many entries belong before the end of the line, less those placed.
            let before = |line: usize| (((line + 1) * WINDOW) as f64 - offset) / pitch;
            let share =
                |line: usize, at: usize, _: &[i64; WINDOW]| (before(line) as usize).saturating_sub(at);
            return put(self.leaf, keys, self.payloads, share, |_| 0);
        }
        let boundary = model.boundaries();
        let span = self.layout.span(keys.len());
        let share = |line: usize, _: usize, next: &[i64; WINDOW]| {
            if (line + 1) * WINDOW <= span.start {
                0
            } else if line * WINDOW >= span.end {
                WINDOW
            } else {
                K::count_at_most(next, boundary.last_below(&model, (line + 1) * WINDOW))
            }
        };
        put(self.leaf, keys, self.payloads, share, |key| model.predict(key))
    }
}

/// Fills the leaf line by line: as many entries as `share` says (of line, entries placed, and the next
/// eight keys), at most eight, and as many as must if the rest is to fit. Returns what `place` does.
#[inline(always)]
fn put(
    leaf: &mut LeafMut<'_>,
    keys: &[i64],
    payloads: &[u64],
    share: impl Fn(usize, usize, &[i64; WINDOW]) -> usize,
    predict: impl Fn(i64) -> usize,
) -> f64 {
    let lines = leaf.keys.len() / WINDOW;
    count::moved(leaf.keys.len());
    count::touch(leaf.bits);
    leaf.bits.fill(0);
    let (slots, _) = leaf.keys.as_chunks_mut::<WINDOW>();
    let (payload_slots, _) = leaf.payloads.as_chunks_mut::<WINDOW>();
    let (mut at, mut steps) = (0, 0u64);
    let (mut begin, mut end) = (None, 0);
    for (line, (slots, payload_slots)) in slots.iter_mut().zip(payload_slots).enumerate() {
        let left = keys.len() - at;
        if left == 0 {
            slots.fill(i64::MAX);
            continue;
        }
        let must = left.saturating_sub((lines - line - 1) * WINDOW);
        let mut next = [i64::MAX; WINDOW];
        let mut next_payloads = [0; WINDOW];
        if let (Some(keys), Some(payloads)) = (keys[at..].first_chunk(), payloads[at..].first_chunk()) {
            (next, next_payloads) = (*keys, *payloads);
        } else {
            next[..left].copy_from_slice(&keys[at..]);
            next_payloads[..left].copy_from_slice(&payloads[at..]);
        }
        let count = share(line, at, &next).max(must).min(left).min(WINDOW);
        if count == 0 {
            // A gap holds the next entry's key, before the first entry the least one.
            slots.fill(if at == 0 { i64::MIN } else { next[0] });
            continue;
        }
        let following = keys.get(at + count).copied().unwrap_or(i64::MAX);
        for lane in 0..WINDOW {
            slots[lane] = if lane < count { next[lane] } else { following };
        }
        *payload_slots = next_payloads;
        leaf.bits[line / 8] |= (0xFF >> (WINDOW - count)) << (line % 8 * 8);
        begin.get_or_insert(line * WINDOW);
        end = line * WINDOW + count;
        // Both ends of the line tell of the entries between them.
        let first = line_distance(line * WINDOW, predict(next[0]).min(lines * WINDOW - 1));
        let last = line_distance(line * WINDOW, predict(next[count - 1]).min(lines * WINDOW - 1));
        steps += u64::from(first + last) * count as u64;
        at += count;
    }
    (leaf.head.begin, leaf.head.end) = (begin.unwrap_or(0) as u32, end as u32);
    steps as f64 / 2.0 / keys.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{Layout, LeafHeader, Trend, slots_for};
    use crate::node::{Leaf, LeafMut, bitmap};
    use crate::search::Supported;

    #[test]
    fn uniform_keys_lie_within_a_window_of_their_prediction() {
        let mut state = 1u64;
        let mut keys: Vec<i64> = (0..8_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state ^ state >> 29) as i64
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let payloads = vec![0; keys.len()];
        let capacity = slots_for(keys.len(), 0.7);
        let mut head = LeafHeader { capacity: capacity as u32, ..LeafHeader::default() };
        let (mut bits, mut slots, mut room) = (vec![0; capacity / 64], vec![0; capacity], vec![0; capacity]);
        let layout = Layout::of(&keys, capacity, Trend::Anywhere);
        assert!(layout.steps < 0.3, "{}", layout.steps);
        let mut leaf = LeafMut { head: &mut head, bits: &mut bits, keys: &mut slots, payloads: &mut room };
        let steps = layout.place(Supported::active(), &mut leaf, &keys, &payloads);
        assert!(steps < 0.3, "{steps}");
        let leaf: Leaf<'_> = leaf.view();
        let occupied = (0..leaf.keys.len()).filter(|&slot| bitmap::is_set(leaf.bits, slot));
        assert!(occupied.map(|slot| leaf.keys[slot]).eq(keys));
    }
}
