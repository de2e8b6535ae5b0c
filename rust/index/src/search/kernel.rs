//! What each instruction set provides: counting keys in a few cache lines, and compressing a bitmap word.
//!
//! Knows fixed-size arrays only. `O(1)`.
// `Kernel` is an unsafe trait.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Slots compared at once: one cache line.
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
    fn count_at_most(window: &[i64; WINDOW], target: i64) -> usize;

    /// `count_at_most`, or `None` where the count is zero or the whole window.
    #[inline(always)]
    fn count_inside(window: &[i64; WINDOW], target: i64) -> Option<usize> {
        let count = Self::count_at_most(window, target);
        (count.wrapping_sub(1) < WINDOW - 1).then_some(count)
    }

    /// `count_at_most` of two windows that ascend together.
    fn count_in_pair(pair: &[i64; PAIR], target: i64) -> usize;

    /// `count_at_most` of four windows that ascend together.
    fn count_in_quad(quad: &[i64; QUAD], target: i64) -> usize;

    /// Copies the slots whose bit is set to the front of the two rooms, in order. Returns how many there are.
    fn compress(
        mask: u64,
        keys: &[i64; WORD],
        payloads: &[u64; WORD],
        key_room: &mut Room<i64>,
        payload_room: &mut Room<u64>,
    ) -> usize;
}
