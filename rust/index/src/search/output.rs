//! Two vectors that entries are appended to: kernels compress slots straight into their spare capacity.
//!
//! Knows kernels and vectors, nothing of nodes.
#![allow(unsafe_code)]

use super::kernel::{Kernel, ROOM, WORD};
use crate::key::Key;
use crate::room::room;

/// The vectors that entries are appended to.
pub(crate) struct Output<'a, K> {
    pub(crate) keys: &'a mut Vec<K>,
    pub(crate) payloads: &'a mut Vec<u64>,
}

impl<K: Key> Output<'_, K> {
    /// Reserves room for `entries`, and for what a kernel may write beyond them, or panics like a tree that cannot grow.
    pub(crate) fn reserve(&mut self, entries: usize) {
        room(self.keys, entries + ROOM);
        room(self.payloads, entries + ROOM);
    }

    /// Appends the slots whose bit is set, the first `count` of them at most.
    #[inline(always)]
    pub(crate) fn extend<S: Kernel>(
        &mut self,
        mask: u64,
        keys: &[K; WORD],
        payloads: &[u64; WORD],
        count: usize,
    ) {
        if self.keys.capacity() - self.keys.len() < ROOM
            || self.payloads.capacity() - self.payloads.len() < ROOM
        {
            self.reserve(0);
        }
        let (Some(key_room), Some(payload_room)) = (
            self.keys.spare_capacity_mut().first_chunk_mut(),
            self.payloads.spare_capacity_mut().first_chunk_mut(),
        ) else {
            unreachable!("both vectors have a room reserved");
        };
        let found = S::compress(mask, keys, payloads, key_room, payload_room);
        let count = count.min(found);
        // SAFETY: `compress` has initialised `found >= count` elements of each room, which begins at the
        // vector's length and lies within its capacity.
        unsafe {
            self.keys.set_len(self.keys.len() + count);
            self.payloads.set_len(self.payloads.len() + count);
        }
    }
}
