//! The headers of data nodes and model nodes, and how a model node routes keys.
//!
//! A model node divides a key range into slots of equal width and routes by `(key - base) >> shift`, clamped
//! to its slots. Routing uses integers only and is monotone over all of `i64`; bulk load, insert, split,
//! lookup and check all use this one function. Knows no memory and no search.

use super::model::Model;

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
pub(crate) const EVERYTHING: (i128, i128) = (i64::MIN as i128, i64::MAX as i128);

/// Header of a data node: one cache line, followed by bitmap, keys and payloads.
///
/// Occupied slots are in `begin..end`. Slots before it hold `i64::MIN` and slots behind it `i64::MAX`, which
/// sort where a search expects them; so both values may be keys, too.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct LeafHeader {
    pub(crate) model: Model,
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

impl LeafHeader {
    /// A `shrink_at` that no count reaches: the leaf is never contracted.
    pub(crate) const NEVER: u16 = u16::MAX;
    /// The `debt` of a leaf that must be rebuilt because the room at its end is used up.
    pub(crate) const END_OF_ROOM: u16 = u16::MAX;

    /// Whether the leaf must be rebuilt because its inserts moved too many slots.
    pub(crate) fn is_crowded(&self) -> bool {
        u32::from(self.debt) >= self.capacity && self.debt != Self::END_OF_ROOM
    }

    /// Offset of `next` in the encoded header.
    const NEXT_AT: usize = 44;

    /// The header as bytes of an image: the layout that it has in memory, little-endian.
    pub(crate) fn encode(&self) -> [u8; 64] {
        let Self { model, capacity, count, begin, end, prev, next, .. } = *self;
        let Self { grow_at, shrink_at, debt, inserts, tail_inserts, head_inserts, ghosts, coarse, .. } =
            *self;
        let mut bytes = [0; 64];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        for word in model.words() {
            put(&word.to_le_bytes());
        }
        for word in [capacity, count, begin, end, prev, next] {
            put(&word.to_le_bytes());
        }
        for word in [grow_at, shrink_at, debt, inserts, tail_inserts, head_inserts, ghosts, coarse] {
            put(&word.to_le_bytes());
        }
        bytes
    }

    /// Writes `next` into an encoded header.
    pub(crate) fn encode_next(bytes: &mut [u8], next: u32) {
        bytes[Self::NEXT_AT..Self::NEXT_AT + 4].copy_from_slice(&next.to_le_bytes());
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
pub(crate) struct InnerHeader {
    pub(crate) base: i64,
    pub(crate) fanout: u32,
    pub(crate) shift: u32,
    /// Distinct children. It can be less than `fanout`, because a leaf may own several neighbouring entries.
    pub(crate) children: u32,
}

impl InnerHeader {
    /// The header as bytes of an image: the layout that it has in memory, little-endian, then zeros.
    pub(crate) fn encode(&self) -> [u8; 64] {
        let Self { base, fanout, shift, children } = *self;
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&base.to_le_bytes());
        bytes[8..12].copy_from_slice(&fanout.to_le_bytes());
        bytes[12..16].copy_from_slice(&shift.to_le_bytes());
        bytes[16..20].copy_from_slice(&children.to_le_bytes());
        bytes
    }

    /// The slot that owns `key`. Defined for every key, and monotone.
    #[inline]
    pub(crate) fn route(&self, key: i64) -> usize {
        let delta = key.max(self.base).wrapping_sub(self.base) as u64;
        ((delta >> (self.shift & 63)).min(u64::from(self.fanout - 1))) as usize
    }

    /// The first key of a slot's own range of equal width, before keys outside the node's range are clamped
    /// into it.
    pub(crate) fn slot_start(&self, slot: usize) -> i128 {
        i128::from(self.base) + ((slot as i128) << self.shift)
    }

    /// The first key of the node's range: its base, or `i64::MIN` where no whole slot fits below the base;
    /// slot 0 then takes what is left.
    pub(crate) fn nominal_first(&self) -> i128 {
        let below = self.slot_start(0) - (1 << self.shift);
        if below < i64::MIN.into() { i64::MIN.into() } else { self.base.into() }
    }

    /// This node with every slot halved `doublings` times, and how many of the new slots are dropped in
    /// front.
    ///
    /// The first and the last slot may reach beyond `bounds`, the keys that the node stands for. New slots
    /// that are wholly beyond are dropped, in front and behind, because they would tell keys apart that must
    /// stay in one leaf (`adapt/extend.rs`).
    pub(crate) fn doubled(&self, doublings: u32, bounds: (i128, i128)) -> (Self, usize) {
        let finer = Self { shift: self.shift - doublings, fanout: self.fanout << doublings, ..*self };
        let most = 1usize << doublings;
        let before = (0..most - 1).take_while(|&slot| finer.slot_start(slot + 1) <= bounds.0).count();
        let last = finer.fanout as usize - 1;
        let behind = (0..most - 1).take_while(|&slot| finer.slot_start(last - slot) > bounds.1).count();
        let base = finer.slot_start(before) as i64;
        (Self { base, fanout: finer.fanout - (before + behind) as u32, ..finer }, before)
    }

    /// The part of `bounds` that `slot` stands for.
    pub(crate) fn slot_bounds(&self, slot: usize, bounds: (i128, i128)) -> (i128, i128) {
        let first = if slot == 0 { self.nominal_first() } else { self.slot_start(slot) };
        (first.max(bounds.0), (self.slot_start(slot + 1) - 1).min(bounds.1))
    }

    /// The last key of the node's range.
    pub(crate) fn nominal_last(&self) -> i128 {
        self.slot_start(self.fanout as usize) - 1
    }
}

// An image consists of these structs, and is mapped into memory: their layout is part of its format.
const _: () = {
    assert!(std::mem::offset_of!(LeafHeader, model) == 0 && std::mem::offset_of!(LeafHeader, capacity) == 24);
    assert!(std::mem::offset_of!(LeafHeader, next) == LeafHeader::NEXT_AT);
    assert!(
        std::mem::offset_of!(LeafHeader, grow_at) == 48 && std::mem::offset_of!(LeafHeader, ghosts) == 60
    );
    assert!(
        std::mem::offset_of!(InnerHeader, fanout) == 8 && std::mem::offset_of!(InnerHeader, children) == 16
    );
};

#[cfg(test)]
mod tests {
    use super::{EVERYTHING, InnerHeader};

    #[test]
    fn halved_slots_outside_the_bounds_are_dropped() {
        let node = InnerHeader { base: -100, fanout: 4, shift: 6, children: 2 };
        let plain = |fanout, base, shift| InnerHeader { base, fanout, shift, children: 2 };
        let is = |(found, dropped): (InnerHeader, usize), wanted: InnerHeader, expected| {
            assert_eq!((found.base, found.fanout, found.shift), (wanted.base, wanted.fanout, wanted.shift));
            assert_eq!(dropped, expected);
        };
        is(node.doubled(1, EVERYTHING), plain(8, -100, 5), 0);
        // The last slot is 92..=155, and of its eight parts those from 108 on lie beyond 107.
        is(node.doubled(3, (-100, 107)), plain(26, -100, 3), 0);
        is(node.doubled(3, (-100, 108)), plain(27, -100, 3), 0);
        // The first slot is -100..=-37, and the first of its four parts ends before -84.
        is(node.doubled(2, (-84, 200)), plain(15, -84, 4), 1);
        is(node.doubled(2, (-85, 200)), plain(16, -100, 4), 0);
    }

    #[test]
    fn routing_is_monotone_over_the_whole_key_range() {
        let keys = [i64::MIN, i64::MIN + 1, -1_000_000, -1, 0, 1, 999, 1 << 40, i64::MAX - 1, i64::MAX];
        for base in keys {
            for shift in [0, 1, 13, 40, 63] {
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
}
