//! What a caller may choose when making a tree.

use crate::simd::Backend;

/// The largest data node, in slots.
pub const MAX_LEAF_SLOTS: usize = 1 << 14;

/// How to make a tree; the default is right for everything but tests and experiments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The SIMD backend of this tree; `None` is the process's ([`crate::simd::active`]).
    pub backend: Option<Backend>,
    /// The most slots of a data node, clamped to 128..=[`MAX_LEAF_SLOTS`]; `None` is the largest. Small
    /// leaves split and merge often, which is what structural tests want.
    pub max_leaf_slots: Option<usize>,
}
