//! The size of a node, and the units, chunks and blocks in which memory and images measure it.
//!
//! Knows sizes only, which are the same in memory and in an image.

use super::header::{InnerHeader, LeafHeader};
use crate::key::Key;

/// Bytes of a unit: nodes begin at multiples of it.
pub(crate) const UNIT: usize = 64;
pub(crate) const CHUNK_SHIFT: u32 = 19;
/// Units of a chunk, which no node crosses.
pub(crate) const CHUNK_UNITS: u32 = 1 << CHUNK_SHIFT;
pub(crate) const CHUNK_BYTES: usize = CHUNK_UNITS as usize * UNIT;
/// Units of a block, by which images are verified, as a power of two: 64 KiB.
pub(crate) const BLOCK_SHIFT: u32 = 10;

const _: () = {
    assert!(size_of::<LeafHeader<i64>>() == UNIT && size_of::<InnerHeader<i64>>() == UNIT);
    assert!(size_of::<LeafHeader<i128>>() == 2 * UNIT && size_of::<InnerHeader<i128>>() == UNIT);
};

/// Bytes of the bitmap of a data node, which fills whole units.
pub(crate) const fn bitmap_bytes(capacity: usize) -> usize {
    // Not `next_multiple_of`, which compiles to a division and a branch.
    (capacity / 8 + UNIT - 1) & !(UNIT - 1)
}

/// Bytes of a slot: a key and its payload.
pub(crate) const fn slot_bytes<K: Key>() -> usize {
    size_of::<K>() + size_of::<u64>()
}

/// Bytes of a data node before its keys: header and bitmap.
pub(crate) const fn leaf_front_bytes<K: Key>(capacity: usize) -> usize {
    size_of::<LeafHeader<K>>() + bitmap_bytes(capacity)
}

/// Bytes of a data node.
pub(crate) const fn leaf_bytes<K: Key>(capacity: usize) -> usize {
    leaf_front_bytes::<K>(capacity) + capacity * slot_bytes::<K>()
}

/// Bytes of a model node, which need not fill its last unit.
pub(crate) const fn inner_bytes(fanout: usize) -> usize {
    UNIT + fanout * size_of::<u32>()
}

/// Bytes of memory for a data node of `capacity` slots or a model node of `fanout` children; the other is
/// zero.
pub(crate) const fn node_bytes<K: Key>(capacity: usize, fanout: usize) -> usize {
    let bytes = if capacity > 0 { leaf_bytes::<K>(capacity) } else { inner_bytes(fanout) };
    bytes.next_multiple_of(UNIT)
}

pub(crate) const fn units_of(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT) as u32
}
