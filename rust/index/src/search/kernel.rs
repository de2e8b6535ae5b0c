//! What each instruction set provides: counting keys in a few cache lines, and compressing a bitmap word.
//!
//! An instruction set may have code of its own for keys of 64 bits and leave those of 128 to `Scalar`. Knows fixed-size arrays
//! only. `O(1)`.
// `Kernel` is an unsafe trait.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use crate::key::Key;

/// Slots compared at once: one cache line of keys of 64 bits, two of keys of 128.
pub(crate) const WINDOW: usize = 8;

/// Slots counted at once at the end of a gallop.
pub(crate) const PAIR: usize = 2 * WINDOW;

/// Slots counted at once at the end of a search around the predicted line.
pub(crate) const QUAD: usize = 4 * WINDOW;

/// Slots of a bitmap word. No leaf has fewer.
pub(crate) const WORD: usize = 64;

/// Elements that a kernel may write for one word: its 64 slots, and what the last whole vector has beyond
/// them.
pub(crate) const ROOM: usize = WORD + 8;

/// Uninitialised room for the entries of one word.
pub(crate) type Room<T> = [MaybeUninit<T>; ROOM];

/// An instruction set. `Scalar` is the specification.
///
/// # Safety
/// `compress` must initialise as many elements of each room as it returns.
pub(crate) unsafe trait Kernel {
    /// How many keys of an ascending window are less than or equal to `target`.
    fn count_at_most<K: Key>(window: &[K; WINDOW], target: K) -> usize;

    /// `count_at_most`, or `None` where the count is zero or the whole window.
    #[inline(always)]
    fn count_inside<K: Key>(window: &[K; WINDOW], target: K) -> Option<usize> {
        let count = Self::count_at_most(window, target);
        (count.wrapping_sub(1) < WINDOW - 1).then_some(count)
    }

    /// `count_at_most` of two windows that ascend together.
    fn count_in_pair<K: Key>(pair: &[K; PAIR], target: K) -> usize;

    /// `count_at_most` of four windows that ascend together.
    fn count_in_quad<K: Key>(quad: &[K; QUAD], target: K) -> usize;

    /// Copies the slots whose bit is set to the front of the two rooms, in order. Returns how many there are.
    fn compress<K: Key>(
        mask: u64,
        keys: &[K; WORD],
        payloads: &[u64; WORD],
        key_room: &mut Room<K>,
        payload_room: &mut Room<u64>,
    ) -> usize;
}
