//! Nodes: what lies in one, how keys are laid out in it, and what happens inside it.
//!
//! `header` and `view` are what a node consists of, `units` is how much it takes; `model` predicts, `bitmap` says
//! which slots are occupied; `layout` fills a fresh data node, `leaf` changes one. Knows no tree.

pub(crate) mod bitmap;
mod header;
pub(crate) mod layout;
mod leaf;
mod model;
mod units;
mod view;

pub(crate) use header::{EVERYTHING, InnerHeader, LeafHeader, NIL, NodeId, Trend};
pub(crate) use leaf::{Insertion, Near};
pub(crate) use model::Model;
pub(crate) use units::{
    BLOCK_SHIFT, CHUNK_BYTES, CHUNK_SHIFT, CHUNK_UNITS, UNIT, bitmap_bytes, inner_bytes, leaf_bytes,
    node_bytes, units_of,
};
pub(crate) use view::{Inner, InnerMut, Leaf, LeafMut};
