//! Laying out a data node: a model is chosen, and each entry goes into its predicted line or the next with
//! room.
//!
//! A line is a cache line of eight slots. Its entries are at its start and its gaps at its end. So a search
//! counts in the predicted line, sees a greater key behind the wanted one, and is done. The payload is in the
//! line of payloads with the same number, which is fetched at the same time. At a fill of 0.7 one entry in
//! ten overflows its line. Knows entries and one leaf, no tree. One pass over the lines: `O(capacity)`.

use std::ops::Range;

use super::header::{LeafHeader, Trend};
use super::model::Model;
use super::sample::{Sample, line_distance};
use super::view::LeafMut;
use crate::count;
use crate::key::Key;
use crate::search::{Kernel, Operation, Supported, WINDOW, dispatch};

/// Fill above which an insert asks for room, in a leaf without a trend.
const GROW_FILL: f64 = 0.85;
/// Fill above which an insert asks for room, in a leaf that is packed for a trend.
const GROW_PACKED: f64 = 0.985;
/// Fill below which a removal contracts the leaf.
const SHRINK_FILL: f64 = 0.44;
/// Entries per slot in the packed part of a leaf that grows at one end.
pub(crate) const PACKED_FILL: f64 = 0.95;

/// Mean search work, in doublings beyond the predicted line, above which a leaf is split rather than kept.
pub(crate) const ACCEPTABLE_STEPS: f64 = 1.5;

/// Above this mean search work, an overflowing entry is rarely in the next line.
const COARSE_STEPS: f64 = 1.0;

/// The slots for `count` entries at `fill`: whole bitmap words, and few distinct sizes, so that the memory of
/// freed leaves fits new ones.
pub(crate) fn slots_for(count: usize, fill: f64) -> usize {
    let wanted = ((count as f64 / fill) as usize + 1).max(64);
    let grain = (wanted.next_power_of_two() / 64).max(64);
    wanted.next_multiple_of(grain)
}

/// `slots_for`, but at most `most` slots, unless the entries and one gap need more: a crowded leaf still
/// works and is split later.
pub(crate) fn slots_within(count: usize, fill: f64, most: usize) -> usize {
    slots_for(count, fill).min(most).max((count + 2).next_multiple_of(64))
}

/// How the entries of a leaf will lie in it: decided from a sample, before any of them is moved.
pub(crate) struct Layout<K: Key> {
    model: Model<K>,
    trend: Trend,
    /// Slots for each entry.
    pitch: f64,
    /// Slots in front of the first entry.
    offset: f64,
    /// The search work that `fill` is expected to return.
    pub(crate) steps: f64,
}

impl<K: Key> Layout<K> {
    /// The layout of ascending keys in a leaf of `capacity` slots. On a trend the free slots are all left at
    /// the end that grows. Reads at most 128 keys.
    pub(crate) fn of(keys: &[K], capacity: usize, trend: Trend) -> Self {
        let packed = keys.len() as f64 / PACKED_FILL;
        let (pitch, offset) = match trend {
            Trend::Anywhere => (capacity as f64 / keys.len().max(1) as f64, 0.0),
            _ if packed >= capacity as f64 => (capacity as f64 / keys.len() as f64, 0.0),
            Trend::Ascending => (1.0 / PACKED_FILL, 0.0),
            Trend::Descending => (1.0 / PACKED_FILL, capacity as f64 - packed),
        };
        let sample = Sample::of(keys);
        let line = sample.line().scaled(pitch, offset);
        let model = Model::from_line(sample.origin(), line, capacity);
        let mut layout = Self { model, trend, pitch, offset, steps: f64::MAX };
        if !model.is_plain() {
            layout.steps = sample.steps(line, capacity, layout.span(keys.len()));
        }
        layout
    }

    /// The slots that the entries may fill. An entry predicted outside stays inside: otherwise a few far keys
    /// would use up the room that is left for a trend, and the leaf would be rebuilt every few inserts.
    fn span(&self, entries: usize) -> Range<usize> {
        self.offset as usize..(self.offset + entries as f64 * self.pitch).ceil() as usize
    }

    /// Fills a fresh leaf with the entries that this layout was made for, which must be fewer than its slots.
    /// Returns the mean search work, in doublings beyond the predicted line.
    pub(crate) fn fill(
        mut self,
        backend: Supported,
        leaf: &mut LeafMut<'_, K>,
        keys: &[K],
        payloads: &[u64],
    ) -> f64 {
        let capacity = leaf.keys.len();
        assert!(keys.len() < capacity && keys.len() == payloads.len(), "a leaf is built with room to spare");
        // A gallop costs each doubling twice, out and back; a binary search costs the leaf's logarithm once.
        // Above this the leaf is better off without a model.
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

fn write_header<K: Key>(head: &mut LeafHeader<K>, model: Model<K>, count: usize, trend: Trend) {
    let capacity = f64::from(head.capacity);
    let fill = count as f64 / capacity;
    let grow = if trend == Trend::Anywhere && fill < GROW_FILL { GROW_FILL } else { GROW_PACKED };
    // At least one gap is kept: an insert below `grow_at` relies on it.
    let grow_at =
        ((capacity * grow) as u32).clamp(count as u32 + 1, head.capacity - 1).min(u32::from(u16::MAX));
    let shrink_at = (capacity * SHRINK_FILL) as u32;
    *head = LeafHeader {
        model,
        count: count as u32,
        prev: head.prev,
        next: head.next,
        grow_at: grow_at as u16,
        shrink_at: shrink_at.min(count as u32 * 7 / 8) as u16,
        ..LeafHeader::empty(head.capacity)
    };
}

struct Put<'a, 'l, K: Key> {
    layout: &'a Layout<K>,
    leaf: &'a mut LeafMut<'l, K>,
    keys: &'a [K],
    payloads: &'a [u64],
}

impl<K: Key> Operation for Put<'_, '_, K> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Kernel>(self) -> f64 {
        let Layout { model, pitch, offset, .. } = *self.layout;
        let keys = self.keys;
        if model.is_plain() {
            // Evenly spread: the entries that belong before the end of the line, less those placed already.
            let before = |line: usize| (((line + 1) * WINDOW) as f64 - offset) / pitch;
            let share = |line: usize, at: usize, _: &[K; WINDOW]| (before(line) as usize).saturating_sub(at);
            return put(self.leaf, keys, self.payloads, share, |_| 0);
        }
        let boundary = model.boundaries();
        let span = self.layout.span(keys.len());
        let share = |line: usize, _: usize, next: &[K; WINDOW]| {
            if (line + 1) * WINDOW <= span.start {
                0
            } else if line * WINDOW >= span.end {
                WINDOW
            } else {
                S::count_at_most(next, boundary.last_below(&model, (line + 1) * WINDOW))
            }
        };
        put(self.leaf, keys, self.payloads, share, |key| model.predict(key))
    }
}

/// Fills the leaf line by line. A line gets as many entries as `share` says, which is told the line, the
/// entries placed so far and the next eight keys: at most eight, and enough for the rest to fit. Returns the
/// mean search work.
#[inline(always)]
fn put<K: Key>(
    leaf: &mut LeafMut<'_, K>,
    keys: &[K],
    payloads: &[u64],
    share: impl Fn(usize, usize, &[K; WINDOW]) -> usize,
    predict: impl Fn(K) -> usize,
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
            slots.fill(K::MAX);
            continue;
        }
        let must = left.saturating_sub((lines - line - 1) * WINDOW);
        let mut next = [K::MAX; WINDOW];
        let mut next_payloads = [0; WINDOW];
        if let (Some(keys), Some(payloads)) = (keys[at..].first_chunk(), payloads[at..].first_chunk()) {
            (next, next_payloads) = (*keys, *payloads);
        } else {
            next[..left].copy_from_slice(&keys[at..]);
            next_payloads[..left].copy_from_slice(&payloads[at..]);
        }
        let count = share(line, at, &next).max(must).min(left).min(WINDOW);
        if count == 0 {
            // A gap holds the next entry's key; before the first entry it holds the least key.
            slots.fill(if at == 0 { K::MIN } else { next[0] });
            continue;
        }
        let following = keys.get(at + count).copied().unwrap_or(K::MAX);
        for lane in 0..WINDOW {
            slots[lane] = if lane < count { next[lane] } else { following };
        }
        *payload_slots = next_payloads;
        leaf.bits[line / 8] |= (0xFF >> (WINDOW - count)) << (line % 8 * 8);
        begin.get_or_insert(line * WINDOW);
        end = line * WINDOW + count;
        // The mean of the first and the last entry stands for all entries of the line.
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
    fn uniform_keys_lie_in_their_predicted_line_or_the_next() {
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
        let mut head = LeafHeader::empty(capacity as u32);
        let (mut bits, mut slots, mut room) = (vec![0; capacity / 64], vec![0; capacity], vec![0; capacity]);
        let layout = Layout::of(&keys, capacity, Trend::Anywhere);
        assert!(layout.steps < 0.3, "{}", layout.steps);
        let mut leaf = LeafMut { head: &mut head, bits: &mut bits, keys: &mut slots, payloads: &mut room };
        let steps = layout.fill(Supported::active(), &mut leaf, &keys, &payloads);
        assert!(steps < 0.3, "{steps}");
        let leaf: Leaf<'_, i64> = leaf.view();
        let occupied = (0..leaf.keys.len()).filter(|&slot| bitmap::is_set(leaf.bits, slot));
        assert!(occupied.map(|slot| leaf.keys[slot]).eq(keys));
    }
}
