//! Where compressed entries go: two vectors that grow together, written without a copy in between.
//!
//! Knows kernels and vectors, nothing of nodes.
#![allow(unsafe_code)]

use super::kernel::{BLOCK, Kernel, ROOM};

/// Entries are appended to both.
pub(crate) struct Output<'a> {
    pub(crate) keys: &'a mut Vec<i64>,
    pub(crate) payloads: &'a mut Vec<u64>,
}

impl Output<'_> {
    /// Makes room for so many entries, and what a word may write beyond them.
    pub(crate) fn reserve(&mut self, entries: usize) {
        self.keys.reserve(entries + ROOM);
        self.payloads.reserve(entries + ROOM);
    }

    /// Appends the first `count` of the slots whose bit is set.
    #[inline(always)]
    pub(crate) fn extend<K: Kernel>(
        &mut self,
        mask: u64,
        keys: &[i64; BLOCK],
        payloads: &[u64; BLOCK],
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
            unreachable!("both were reserved");
        };
        let found = K::compress(mask, keys, payloads, key_room, payload_room);
        let count = count.min(found);
        // SAFETY: `compress` has initialised `found >= count` elements of each room, which begins at the
        // vector's length and lies within its capacity.
        unsafe {
            self.keys.set_len(self.keys.len() + count);
            self.payloads.set_len(self.payloads.len() + count);
        }
    }
}
