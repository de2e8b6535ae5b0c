//! The headers of data nodes and model nodes, and how a model node routes keys.
//!
//! A model node divides a key range into slots of equal width and routes by `(key - base) >> shift`, clamped
//! to its slots. Routing uses integers only and is monotone over all keys; bulk load, insert, split, lookup and check all use
//! this one function. Knows no memory and no search.

use std::mem::offset_of;

use super::model::Model;
use crate::key::{Distance, Key};

/// Stands for no leaf, at either end of the leaf list.
pub(crate) const NIL: u32 = u32::MAX;

/// A node as a child entry names it: its id in the arena, with the top bit set for a data node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

impl NodeId {
    pub(crate) const LEAF: u32 = 1 << 31;

    #[inline]
    pub(crate) fn leaf(id: u32) -> Self {
        Self(id | Self::LEAF)
    }

    #[inline]
    pub(crate) fn inner(id: u32) -> Self {
        Self(id)
    }

    #[inline]
    pub(crate) fn is_leaf(self) -> bool {
        self.0 & Self::LEAF != 0
    }

    #[inline]
    pub(crate) fn id(self) -> u32 {
        self.0 & !Self::LEAF
    }
}

/// The range of all keys.
pub(crate) const fn everything<K: Key>() -> (K, K) {
    (K::MIN, K::MAX)
}

/// Header of a data node: one cache line, or two for keys of 128 bits, followed by bitmap, keys and payloads.
///
/// Occupied slots are in `begin..end`. Slots before it hold the least key and slots behind it the greatest, which sort where
/// a search expects them; so both may be keys, too.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct LeafHeader<K: Key> {
    pub(crate) model: Model<K>,
    pub(crate) capacity: u32,
    pub(crate) count: u32,
    pub(crate) begin: u32,
    pub(crate) end: u32,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    /// The count at which an insert asks for room before anything else.
    pub(crate) grow_at: u16,
    /// The count at which a removal tries to contract or merge.
    pub(crate) shrink_at: u16,
    /// Slots that inserts moved beyond what one insert should cost. When it reaches `capacity`, the leaf is
    /// rebuilt.
    pub(crate) debt: u16,
    /// Inserts since the leaf was built, how many of them were above its last key, and how many below its
    /// first.
    pub(crate) inserts: u16,
    pub(crate) tail_inserts: u16,
    pub(crate) head_inserts: u16,
    /// Not zero if a gap may hold a removed entry's key; then a match counts only if the bitmap confirms it.
    pub(crate) ghosts: u16,
    /// Not zero if the model usually errs by more than a line; then searches skip the next line and look
    /// around.
    pub(crate) coarse: u16,
}

/// Where most inserts into a leaf have gone since it was built: anywhere, or to its upper or lower end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trend {
    Anywhere,
    Ascending,
    Descending,
}

impl<K: Key> LeafHeader<K> {
    /// A `shrink_at` that no count reaches: the leaf is never contracted.
    pub(crate) const NEVER: u16 = u16::MAX;
    /// The `debt` of a leaf that must be rebuilt because the room at its end is used up.
    pub(crate) const END_OF_ROOM: u16 = u16::MAX;

    /// The header of a leaf without entries.
    pub(crate) const fn empty(capacity: u32) -> Self {
        Self {
            model: Model::PLAIN,
            capacity,
            count: 0,
            begin: 0,
            end: 0,
            prev: 0,
            next: 0,
            grow_at: 0,
            shrink_at: 0,
            debt: 0,
            inserts: 0,
            tail_inserts: 0,
            head_inserts: 0,
            ghosts: 0,
            coarse: 0,
        }
    }

    /// Whether the leaf must be rebuilt because its inserts moved too many slots.
    pub(crate) fn is_crowded(&self) -> bool {
        u32::from(self.debt) >= self.capacity && self.debt != Self::END_OF_ROOM
    }

    /// Appends the header as bytes of an image: the layout that it has in memory, little-endian, then zeros.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { model, capacity, count, begin, end, prev, next, .. } = *self;
        let Self { grow_at, shrink_at, debt, inserts, tail_inserts, head_inserts, ghosts, coarse, .. } =
            *self;
        let start = bytes.len();
        model.encode(bytes);
        for word in [capacity, count, begin, end, prev, next] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for word in [grow_at, shrink_at, debt, inserts, tail_inserts, head_inserts, ghosts, coarse] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.resize(start + size_of::<Self>(), 0);
    }

    /// Writes `next` into an encoded header.
    pub(crate) fn encode_next(bytes: &mut [u8], next: u32) {
        let at = offset_of!(Self, next);
        bytes[at..at + 4].copy_from_slice(&next.to_le_bytes());
    }

    /// A trend needs at least 16 inserts, seven of eight beyond the same end.
    pub(crate) fn trend(&self) -> Trend {
        let most = u32::from(self.inserts) * 7;
        if self.inserts < 16 {
            Trend::Anywhere
        } else if u32::from(self.tail_inserts) * 8 >= most {
            Trend::Ascending
        } else if u32::from(self.head_inserts) * 8 >= most {
            Trend::Descending
        } else {
            Trend::Anywhere
        }
    }
}

/// Header of a model node: one cache line, followed by `fanout` child entries.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct InnerHeader<K> {
    pub(crate) base: K,
    pub(crate) fanout: u32,
    pub(crate) shift: u32,
    /// Distinct children. It can be less than `fanout`, because a leaf may own several neighbouring entries.
    pub(crate) children: u32,
}

impl<K: Key> InnerHeader<K> {
    /// Appends the header as bytes of an image: the layout that it has in memory, little-endian, then zeros.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { base, fanout, shift, children } = *self;
        let start = bytes.len();
        bytes.extend_from_slice(base.to_bytes().as_ref());
        for word in [fanout, shift, children] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.resize(start + size_of::<Self>(), 0);
    }

    /// The slot that owns `key`. Defined for every key, and monotone.
    #[inline]
    pub(crate) fn route(&self, key: K) -> usize {
        key.above(self.base).slot(self.shift, self.fanout - 1)
    }

    /// The first key of a slot's own range of equal width, before keys outside the node's range are clamped into it. `None`
    /// if the slot begins above every key, as only slots behind the last one do.
    pub(crate) fn slot_start(&self, slot: usize) -> Option<K> {
        self.base.checked_up(K::Distance::of_slots(slot, self.shift)?)
    }

    /// The last key of a slot's own range; the greatest key where the range ends above it.
    pub(crate) fn slot_last(&self, slot: usize) -> K {
        self.slot_start(slot + 1).and_then(K::previous).unwrap_or(K::MAX)
    }

    /// The first key of the node's range: its base, or the least key where no whole slot fits below the base;
    /// slot 0 then takes what is left.
    pub(crate) fn nominal_first(&self) -> K {
        let below = K::Distance::of_slots(1, self.shift).and_then(|slot| self.base.checked_down(slot));
        if below.is_none() { K::MIN } else { self.base }
    }

    /// The last key of the node's range.
    pub(crate) fn nominal_last(&self) -> K {
        self.slot_last(self.fanout as usize - 1)
    }

    /// This node with every slot halved `doublings` times, and how many of the new slots are dropped in
    /// front.
    ///
    /// The first and the last slot may reach beyond `bounds`, the keys that the node stands for. New slots
    /// that are wholly beyond are dropped, in front and behind, because they would tell keys apart that must
    /// stay in one leaf (`adapt/extend.rs`).
    pub(crate) fn doubled(&self, doublings: u32, bounds: (K, K)) -> (Self, usize) {
        let finer = Self { shift: self.shift - doublings, fanout: self.fanout << doublings, ..*self };
        let most = 1usize << doublings;
        let starts_by = |slot: usize, key: K| finer.slot_start(slot).is_some_and(|start| start <= key);
        let before = (0..most - 1).take_while(|&slot| starts_by(slot + 1, bounds.0)).count();
        let last = finer.fanout as usize - 1;
        let behind = (0..most - 1).take_while(|&slot| !starts_by(last - slot, bounds.1)).count();
        // A slot that is kept begins at a key.
        let base = finer.slot_start(before).unwrap_or(finer.base);
        (Self { base, fanout: finer.fanout - (before + behind) as u32, ..finer }, before)
    }

    /// The part of `bounds` that `slot` stands for: no key where the first is above the last.
    pub(crate) fn slot_bounds(&self, slot: usize, bounds: (K, K)) -> (K, K) {
        let first = if slot == 0 { Some(self.nominal_first()) } else { self.slot_start(slot) };
        (first.unwrap_or(K::MAX).max(bounds.0), self.slot_last(slot).min(bounds.1))
    }
}

// An image consists of these structs, and is mapped into memory: their layout is part of its format.
const _: () = {
    // `Arena::place` vouches for the first unit of a node only, which must hold the capacity.
    assert!(offset_of!(LeafHeader<i64>, model) == 0 && offset_of!(LeafHeader<i64>, capacity) == 24);
    assert!(offset_of!(LeafHeader<i64>, next) == 44 && offset_of!(LeafHeader<i64>, grow_at) == 48);
    assert!(offset_of!(LeafHeader<i64>, ghosts) == 60 && size_of::<LeafHeader<i64>>() == 64);
    assert!(offset_of!(InnerHeader<i64>, fanout) == 8 && offset_of!(InnerHeader<i64>, children) == 16);

    assert!(offset_of!(LeafHeader<i128>, model) == 0 && offset_of!(LeafHeader<i128>, capacity) == 48);
    assert!(offset_of!(LeafHeader<i128>, next) == 68 && offset_of!(LeafHeader<i128>, grow_at) == 72);
    assert!(offset_of!(LeafHeader<i128>, ghosts) == 84 && size_of::<LeafHeader<i128>>() == 128);
    assert!(offset_of!(InnerHeader<i128>, fanout) == 16 && offset_of!(InnerHeader<i128>, children) == 24);
};

#[cfg(test)]
mod tests {
    use super::{InnerHeader, everything};
    use crate::key::{Distance, Key};

    fn halved_slots_outside_the_bounds_are_dropped<K: Key + From<i8>>() {
        let key = |key: i8| K::from(key);
        let plain = |fanout, base, shift| InnerHeader { base: key(base), fanout, shift, children: 2 };
        let node = plain(4, -100, 6);
        let is = |(found, dropped): (InnerHeader<K>, usize), wanted: InnerHeader<K>, expected| {
            assert_eq!((found.base, found.fanout, found.shift), (wanted.base, wanted.fanout, wanted.shift));
            assert_eq!(dropped, expected);
        };
        is(node.doubled(1, everything()), plain(8, -100, 5), 0);
        // The last slot is 92..=155, and of its eight parts those from 108 on lie beyond 107.
        is(node.doubled(3, (key(-100), key(107))), plain(26, -100, 3), 0);
        is(node.doubled(3, (key(-100), key(108))), plain(27, -100, 3), 0);
        // The first slot is -100..=-37, and the first of its four parts ends before -84.
        let (far, one) = (key(100).up(key(100).since(key(0))), K::Distance::ONE);
        is(node.doubled(2, (key(-84), far)), plain(15, -84, 4), 1);
        is(node.doubled(2, (key(-84).down(one), far)), plain(16, -100, 4), 0);
    }

    #[test]
    fn halved_slots_outside_the_bounds_are_dropped_in_both_kinds() {
        halved_slots_outside_the_bounds_are_dropped::<i64>();
        halved_slots_outside_the_bounds_are_dropped::<i128>();
    }

    fn slots_end_where_the_keys_end<K: Key>() {
        let half = K::BITS - 1;
        let node = InnerHeader { base: K::ZERO, fanout: 2, shift: half, children: 2 };
        assert_eq!((node.slot_start(1), node.slot_last(0)), (None, K::MAX));
        assert_eq!((node.nominal_first(), node.nominal_last()), (K::ZERO, K::MAX));
        let node = InnerHeader { base: K::MIN, ..node };
        assert_eq!((node.slot_start(1), node.slot_start(2)), (Some(K::ZERO), None));
        assert_eq!(node.slot_bounds(0, everything()), (K::MIN, K::ZERO.previous().unwrap_or(K::MIN)));
        assert_eq!(node.slot_bounds(1, everything()), (K::ZERO, K::MAX));
        let finest = InnerHeader { base: K::MAX.down(K::Distance::ONE), shift: 0, ..node };
        assert_eq!((finest.slot_last(0), finest.nominal_last()), (finest.base, K::MAX));
        let low = InnerHeader { base: K::MIN.up(K::Distance::ONE), shift: 1, ..node };
        assert_eq!(low.nominal_first(), K::MIN);
    }

    #[test]
    fn slots_end_where_the_keys_end_in_both_kinds() {
        slots_end_where_the_keys_end::<i64>();
        slots_end_where_the_keys_end::<i128>();
    }

    fn routing_is_monotone_over_the_whole_key_range<K: Key>() {
        let one = K::Distance::ONE;
        let middle =
            [K::ZERO.down(one << 40), K::ZERO.down(one), K::ZERO, K::ZERO.up(one), K::ZERO.up(one << 40)];
        let high = [K::ZERO.up(one << (K::BITS - 2)), K::MAX.down(one), K::MAX];
        let keys: Vec<K> = [K::MIN, K::MIN.up(one)].into_iter().chain(middle).chain(high).collect();
        for &base in &keys {
            for shift in [0, 1, 13, 40, 63, K::BITS - 1] {
                for fanout in [1, 2, 3, 1 << 16] {
                    let node = InnerHeader { base, fanout, shift, children: 1 };
                    let slots: Vec<usize> = keys.iter().map(|&key| node.route(key)).collect();
                    assert!(slots.is_sorted(), "{node:?}: {slots:?}");
                    assert!(slots.iter().all(|&slot| slot < fanout as usize));
                    assert_eq!(node.route(base), 0);
                }
            }
        }
    }

    #[test]
    fn routing_is_monotone_over_the_whole_key_range_in_both_kinds() {
        routing_is_monotone_over_the_whole_key_range::<i64>();
        routing_is_monotone_over_the_whole_key_range::<i128>();
    }
}
