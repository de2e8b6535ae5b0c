//! Building a data node: choose a model, put every entry at its predicted slot or the next free one.
//!
//! Knows entries and one leaf, no tree. One pass over the slots: `O(capacity)`. Entries go to the start of
//! the predicted cache line, eight slots, and its gaps to its end: a search compares that one line and
//! sees a larger key behind the wanted one, so it is done, and the payload lies in the line with the same
//! number, asked for at the same time. At a fill of 0.7 one entry in ten overflows its line.

use crate::arena::LeafMut;
use crate::count;
use crate::model::{Line, Model};
use crate::node::{LeafHeader, Trend};
use crate::search::{WINDOW, line_of};

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

/// The slots for `count` entries at `fill`: whole words, and few distinct sizes, so that freed leaves
/// fit the next ones.
pub(crate) fn slots_for(count: usize, fill: f64) -> usize {
    let wanted = ((count as f64 / fill) as usize + 1).max(64);
    let grain = (wanted.next_power_of_two() / 32).max(64);
    wanted.next_multiple_of(grain)
}

/// Fills a fresh leaf with ascending entries, fewer than its slots. `trend` leaves the room at one end.
/// Returns the mean search work in doublings beyond the first window.
pub(crate) fn place(leaf: &mut LeafMut<'_>, keys: &[i64], payloads: &[u64], trend: Trend) -> f64 {
    let capacity = leaf.keys.len();
    assert!(keys.len() < capacity && keys.len() == payloads.len(), "a leaf is built with room to spare");
    let line = Line::fit(keys);
    let packed = keys.len() as f64 / PACKED_FILL;
    let (pitch, offset) = match trend {
        Trend::Anywhere => (capacity as f64 / keys.len().max(1) as f64, 0.0),
        _ if packed >= capacity as f64 => (capacity as f64 / keys.len() as f64, 0.0),
        Trend::Ascending => (1.0 / PACKED_FILL, 0.0),
        Trend::Descending => (1.0 / PACKED_FILL, capacity as f64 - packed),
    };
    let model = Model::from_line(line, pitch, offset, capacity);
    write_header(leaf.head, model, keys.len(), trend);
    let steps =
        if model.is_plain() { f64::MAX } else { put(leaf, keys, payloads, |key, _| model.predict(key)) };
    // A gallop costs its doublings twice (out and back); halving the whole leaf costs its logarithm.
    if steps * 2.0 <= f64::from((capacity / WINDOW).ilog2()) {
        return steps;
    }
    leaf.head.model = Model::PLAIN;
    put(leaf, keys, payloads, |_, rank| (rank as f64 * pitch + offset) as usize);
    steps.min(f64::from((capacity / WINDOW).ilog2()) / 2.0)
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

/// Puts entry `i` at the start of the line of `predict(i)`, at the next free slot, or as early as the rest of them needs.
#[inline(always)]
fn put(leaf: &mut LeafMut<'_>, keys: &[i64], payloads: &[u64], predict: impl Fn(i64, usize) -> usize) -> f64 {
    let capacity = leaf.keys.len();
    count::moved(capacity);
    count::touch(leaf.bits);
    leaf.bits.fill(0);
    let (mut next, mut steps) = (0usize, 0u64);
    let spare = capacity - keys.len();
    for (rank, (&key, &payload)) in keys.iter().zip(payloads).enumerate() {
        let guess = line_of(predict(key, rank).min(capacity - 1));
        // Entry `rank` must leave a slot for each one after it: its last slot is `spare + rank`.
        let slot = guess.max(next).min(spare + rank);
        let gap_key = if rank == 0 { i64::MIN } else { key };
        for gap in &mut leaf.keys[next..slot] {
            *gap = gap_key;
        }
        leaf.keys[slot] = key;
        leaf.payloads[slot] = payload;
        leaf.bits[slot / 64] |= 1 << (slot % 64);
        if rank == 0 {
            leaf.head.begin = slot as u32;
        }
        next = slot + 1;
        steps += u64::from(usize::BITS - (slot.abs_diff(guess) >> 3).leading_zeros());
    }
    if keys.is_empty() {
        leaf.head.begin = 0;
    }
    leaf.head.end = next as u32;
    leaf.keys[next..].fill(i64::MAX);
    steps as f64 / keys.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{place, slots_for};
    use crate::arena::Arena;
    use crate::node::Trend;

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
        let mut arena = Arena::default();
        let id = arena.allocate_leaf(slots_for(keys.len(), 0.7));
        let steps = place(&mut arena.leaf_mut(id), &keys, &payloads, Trend::Anywhere);
        assert!(steps < 0.3, "{steps}");
        let (mut out_keys, mut out_payloads) = (Vec::new(), Vec::new());
        arena.leaf(id).copy_out(&mut out_keys, &mut out_payloads);
        assert_eq!(out_keys, keys);
    }
}
