//! Nodes: what they consist of, how entries are laid out in a data node, and what happens inside one.
//!
//! `header` and `view` are the parts of a node, `units` its size. `model` predicts a slot, by a line that is fitted
//! to a `sample`; `bitmap` tells which slots are occupied. `layout` fills a fresh data node, `leaf` searches and
//! changes one. Knows no tree.

pub(crate) mod bitmap;
mod header;
pub(crate) mod layout;
mod leaf;
mod model;
mod sample;
mod units;
mod view;

pub(crate) use header::{InnerHeader, LeafHeader, NIL, NodeId, Trend, everything};
pub(crate) use leaf::{Insertion, Near};
pub(crate) use units::{
    BLOCK_SHIFT, CHUNK_BYTES, CHUNK_SHIFT, CHUNK_UNITS, UNIT, inner_bytes, leaf_bytes, leaf_front_bytes,
    node_bytes, slot_bytes, units_of,
};
pub(crate) use view::{Inner, InnerMut, Leaf, LeafMut};
