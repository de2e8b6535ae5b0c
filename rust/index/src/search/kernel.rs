//! What differs between instruction sets: counting keys in a few cache lines, and compressing a bitmap word.
//!
//! Knows fixed-size arrays only. `O(1)`.
// `Kernel` is an unsafe trait.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Slots compared at once: one cache line.
pub(crate) const WINDOW: usize = 8;

/// Slots of the last comparison of a gallop.
pub(crate) const PAIR: usize = 2 * WINDOW;

/// Slots of the last comparison of a search around the line.
pub(crate) const QUAD: usize = 4 * WINDOW;

/// Slots of a bitmap word, and the fewest that a leaf has.
pub(crate) const BLOCK: usize = 64;

/// Places that a kernel may write for one word: 64 and the slack of whole vectors.
pub(crate) const ROOM: usize = BLOCK + 8;

/// Room for the entries of one word, not initialised.
pub(crate) type Room<T> = [MaybeUninit<T>; ROOM];

/// What differs between instruction sets. `Scalar` is the specification.
///
/// # Safety
/// `compress` must initialise as many elements of each room as it returns.
pub(crate) unsafe trait Kernel {
    /// How many keys of an ascending window are at most `target`.
    fn count_at_most(window: &[i64; WINDOW], target: i64) -> usize;

    /// `count_at_most`, unless none or all of them are.
    #[inline(always)]
    fn count_inside(window: &[i64; WINDOW], target: i64) -> Option<usize> {
        let count = Self::count_at_most(window, target);
        (count.wrapping_sub(1) < WINDOW - 1).then_some(count)
    }

    /// How many keys of an ascending pair of windows are at most `target`.
    fn count_in_pair(pair: &[i64; PAIR], target: i64) -> usize;

    /// How many keys of four ascending windows are at most `target`.
    fn count_in_quad(quad: &[i64; QUAD], target: i64) -> usize;

    /// Copies the slots whose bit is set to the front of the two rooms, in order, and returns how many.
    fn compress(
        mask: u64,
        keys: &[i64; BLOCK],
        payloads: &[u64; BLOCK],
        key_room: &mut Room<i64>,
        payload_room: &mut Room<u64>,
    ) -> usize;
}
