//! The portable kernel, which is the specification of the others.
// `Kernel` is an unsafe trait.
#![allow(unsafe_code)]

use super::kernel::{Kernel, PAIR, QUAD, Room, WINDOW, WORD};
use crate::key::Key;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

// SAFETY: `compress` writes each element below the count that it returns.
unsafe impl Kernel for Scalar {
    #[inline(always)]
    fn count_at_most<K: Key>(window: &[K; WINDOW], target: K) -> usize {
        if size_of::<K>() > size_of::<i64>() {
            // Eight comparisons that do not wait for each other are faster here than four that do.
            return window.iter().map(|key| usize::from(*key <= target)).sum();
        }
        // A binary search without branches: nothing to mispredict, and four loads instead of eight.
        let mut low = 0;
        low += usize::from(window[low + 3] <= target) * 4;
        low += usize::from(window[low + 1] <= target) * 2;
        low += usize::from(window[low] <= target);
        low + usize::from(window[low] <= target)
    }

    #[inline(always)]
    fn count_in_pair<K: Key>(pair: &[K; PAIR], target: K) -> usize {
        let mut low = 0;
        for half in [8, 4, 2, 1] {
            low += usize::from(pair[low + half - 1] <= target) * half;
        }
        low + usize::from(pair[low] <= target)
    }

    #[inline(always)]
    fn count_in_quad<K: Key>(quad: &[K; QUAD], target: K) -> usize {
        let mut low = 0;
        for half in [16, 8, 4, 2, 1] {
            low += usize::from(quad[low + half - 1] <= target) * half;
        }
        low + usize::from(quad[low] <= target)
    }

    #[inline(always)]
    fn compress<K: Key>(
        mask: u64,
        keys: &[K; WORD],
        payloads: &[u64; WORD],
        key_room: &mut Room<K>,
        payload_room: &mut Room<u64>,
    ) -> usize {
        let mut count = 0;
        let mut rest = mask;
        while rest != 0 {
            let slot = rest.trailing_zeros() as usize;
            key_room[count].write(keys[slot]);
            payload_room[count].write(payloads[slot]);
            count += 1;
            rest &= rest - 1;
        }
        count
    }
}
