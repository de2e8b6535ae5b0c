//! Views of nodes: the parts of a node as slices that borrow its memory.
//!
//! Knows what a node consists of, nothing of where it lies. `O(1)`.

use super::header::{InnerHeader, LeafHeader};
use crate::key::Key;

/// Shared view of a data node.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a, K: Key> {
    pub(crate) head: &'a LeafHeader<K>,
    pub(crate) bits: &'a [u64],
    pub(crate) keys: &'a [K],
    pub(crate) payloads: &'a [u64],
}

impl<K: Key> Leaf<'_, K> {
    /// Keys and payloads of the 64 slots of bitmap word `index`.
    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> (&[K; 64], &[u64; 64]) {
        let (keys, payloads) = (&self.keys[index * 64..], &self.payloads[index * 64..]);
        let (Some(keys), Some(payloads)) = (keys.first_chunk(), payloads.first_chunk()) else {
            unreachable!("a leaf has 64 slots for each word of its bitmap");
        };
        (keys, payloads)
    }
}

/// Exclusive view of a data node.
pub(crate) struct LeafMut<'a, K: Key> {
    pub(crate) head: &'a mut LeafHeader<K>,
    pub(crate) bits: &'a mut [u64],
    pub(crate) keys: &'a mut [K],
    pub(crate) payloads: &'a mut [u64],
}

/// Shared view of a model node.
#[derive(Clone, Copy)]
pub(crate) struct Inner<'a, K> {
    pub(crate) head: &'a InnerHeader<K>,
    pub(crate) children: &'a [u32],
}

/// Exclusive view of a model node.
pub(crate) struct InnerMut<'a, K> {
    pub(crate) head: &'a mut InnerHeader<K>,
    pub(crate) children: &'a mut [u32],
}
