//! How much a node takes and where it may lie: units, chunks and blocks.
//!
//! Knows sizes only. The same in memory and in an image.

use super::header::{InnerHeader, LeafHeader};

pub(crate) const UNIT: usize = 64;
pub(crate) const CHUNK_SHIFT: u32 = 19;
pub(crate) const CHUNK_UNITS: u32 = 1 << CHUNK_SHIFT;
pub(crate) const CHUNK_BYTES: usize = CHUNK_UNITS as usize * UNIT;
/// What an image is verified by, in units: 64 KiB.
pub(crate) const BLOCK_SHIFT: u32 = 10;

const _: () = assert!(size_of::<LeafHeader>() == UNIT && size_of::<InnerHeader>() == UNIT);

pub(crate) const fn bitmap_bytes(capacity: usize) -> usize {
    // `next_multiple_of` compiles to a division's remainder and a branch.
    (capacity / 8 + UNIT - 1) & !(UNIT - 1)
}

pub(crate) const fn leaf_bytes(capacity: usize) -> usize {
    UNIT + bitmap_bytes(capacity) + capacity * 16
}

pub(crate) const fn inner_bytes(fanout: usize) -> usize {
    UNIT + fanout * size_of::<u32>()
}

/// What a data node of `capacity` slots or a model node of `fanout` children takes; the other is zero.
pub(crate) const fn node_bytes(capacity: usize, fanout: usize) -> usize {
    let bytes = if capacity > 0 { leaf_bytes(capacity) } else { inner_bytes(fanout) };
    bytes.next_multiple_of(UNIT)
}

pub(crate) const fn units_of(bytes: usize) -> u32 {
    bytes.div_ceil(UNIT) as u32
}
