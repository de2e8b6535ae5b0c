//! The kernel for 256-bit vectors. Runs only below `backend::dispatch`, which has checked the features.
#![allow(unsafe_code)]
// Pointers are cast to vectors that only unaligned loads and stores touch.
#![allow(clippy::cast_ptr_alignment)]

use std::arch::x86_64::{
    __m256i, _mm256_castsi256_ps, _mm256_cmpgt_epi64, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_movemask_ps, _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_epi32,
    _mm256_set1_epi64x, _mm256_storeu_si256,
};

use super::kernel::{Kernel, PAIR, QUAD, Room, WINDOW, WORD};
use super::scalar::Scalar;
use crate::key::Key;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2;

/// For each mask of four lanes, the permutation of their 32-bit halves that moves the marked lanes to the
/// front.
static FRONT: [[i32; 8]; 16] = front();

const fn front() -> [[i32; 8]; 16] {
    let mut table = [[0; 8]; 16];
    let mut mask = 0;
    while mask < 16 {
        let (mut lane, mut count) = (0, 0);
        while lane < 4 {
            if mask >> lane & 1 == 1 {
                table[mask][count * 2] = lane * 2;
                table[mask][count * 2 + 1] = lane * 2 + 1;
                count += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
}

// SAFETY: `compress` writes each element below the count that it returns.
unsafe impl Kernel for Avx2 {
    #[inline(always)]
    fn count_at_most<K: Key>(window: &[K; WINDOW], target: K) -> usize {
        let Some((window, target)) = K::words(window, target) else {
            return Scalar::count_at_most(window, target);
        };
        let place = window.as_ptr().cast::<__m256i>();
        // SAFETY: the processor has AVX2 (this kernel runs only below `backend::dispatch`), and the two
        // unaligned loads read the eight keys of `window`.
        // No closures here or below: they would be compiled without AVX2.
        unsafe {
            let wanted = _mm256_set1_epi64x(target);
            let low = _mm256_cmpgt_epi64(_mm256_loadu_si256(place), wanted);
            let high = _mm256_cmpgt_epi64(_mm256_loadu_si256(place.add(1)), wanted);
            let above = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_packs_epi32(low, high)));
            WINDOW - above.count_ones() as usize
        }
    }

    #[inline(always)]
    fn count_inside<K: Key>(window: &[K; WINDOW], target: K) -> Option<usize> {
        let Some((window, target)) = K::words(window, target) else {
            return Scalar::count_inside(window, target);
        };
        let place = window.as_ptr().cast::<__m256i>();
        // SAFETY: as in `count_at_most`: AVX2, and the eight keys of `window`.
        let above = unsafe {
            let wanted = _mm256_set1_epi64x(target);
            let low = _mm256_cmpgt_epi64(_mm256_loadu_si256(place), wanted);
            let high = _mm256_cmpgt_epi64(_mm256_loadu_si256(place.add(1)), wanted);
            _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_packs_epi32(low, high))) as u8
        };
        // For none or all, adding one leaves only the lowest bit or nothing.
        (above.wrapping_add(1) & !1 != 0).then_some(WINDOW - above.count_ones() as usize)
    }

    #[inline(always)]
    fn count_in_pair<K: Key>(pair: &[K; PAIR], target: K) -> usize {
        let Some((pair, target)) = K::words(pair, target) else {
            return Scalar::count_in_pair(pair, target);
        };
        let place = pair.as_ptr().cast::<__m256i>();
        // SAFETY: AVX2, as in `count_at_most`; the four unaligned loads read the sixteen keys of `pair`.
        unsafe {
            let wanted = _mm256_set1_epi64x(target);
            // A lane is all ones or all zeros. Packing twice leaves two bytes of it; their order does not
            // matter.
            let first = _mm256_packs_epi32(
                _mm256_cmpgt_epi64(_mm256_loadu_si256(place), wanted),
                _mm256_cmpgt_epi64(_mm256_loadu_si256(place.add(1)), wanted),
            );
            let second = _mm256_packs_epi32(
                _mm256_cmpgt_epi64(_mm256_loadu_si256(place.add(2)), wanted),
                _mm256_cmpgt_epi64(_mm256_loadu_si256(place.add(3)), wanted),
            );
            let above = _mm256_movemask_epi8(_mm256_packs_epi16(first, second)).count_ones();
            PAIR - above as usize / 2
        }
    }

    #[inline(always)]
    fn count_in_quad<K: Key>(quad: &[K; QUAD], target: K) -> usize {
        let Some((quad, target)) = K::words(quad, target) else {
            return Scalar::count_in_quad(quad, target);
        };
        let place = quad.as_ptr().cast::<__m256i>();
        // SAFETY: AVX2, as in `count_at_most`; the eight unaligned loads read the 32 keys of `quad`.
        unsafe {
            let wanted = _mm256_set1_epi64x(target);
            macro_rules! above {
                ($at:expr) => {
                    _mm256_packs_epi32(
                        _mm256_cmpgt_epi64(_mm256_loadu_si256(place.add($at)), wanted),
                        _mm256_cmpgt_epi64(_mm256_loadu_si256(place.add($at + 1)), wanted),
                    )
                };
            }
            let low = _mm256_packs_epi16(above!(0), above!(2));
            let high = _mm256_packs_epi16(above!(4), above!(6));
            QUAD - _mm256_movemask_epi8(_mm256_packs_epi16(low, high)).count_ones() as usize
        }
    }

    #[inline(always)]
    fn compress<K: Key>(
        mask: u64,
        keys: &[K; WORD],
        payloads: &[u64; WORD],
        key_room: &mut Room<K>,
        payload_room: &mut Room<u64>,
    ) -> usize {
        let Some((keys, key_room)) = K::words_and_room(keys, key_room) else {
            return Scalar::compress(mask, keys, payloads, key_room, payload_room);
        };
        let mut count = 0;
        for group in 0..16 {
            let lanes = (mask >> (group * 4) & 15) as usize;
            // SAFETY: AVX2, as in `count_at_most`. Loads read four of 64 slots (group < 16) and a table row
            // of 32 bytes; stores write four of 72 elements (count <= 60).
            unsafe {
                let order = _mm256_loadu_si256(FRONT[lanes].as_ptr().cast());
                let four_keys = _mm256_loadu_si256(keys.as_ptr().add(group * 4).cast());
                let four_payloads = _mm256_loadu_si256(payloads.as_ptr().add(group * 4).cast());
                _mm256_storeu_si256(
                    key_room.as_mut_ptr().add(count).cast(),
                    _mm256_permutevar8x32_epi32(four_keys, order),
                );
                _mm256_storeu_si256(
                    payload_room.as_mut_ptr().add(count).cast(),
                    _mm256_permutevar8x32_epi32(four_payloads, order),
                );
            }
            count += lanes.count_ones() as usize;
        }
        count
    }
}
