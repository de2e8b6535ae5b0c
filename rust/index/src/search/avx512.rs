//! The kernel for 512-bit vectors. Runs only below `backend::dispatch`, which has checked the features.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_cmple_epi64_mask, _mm512_kunpackb, _mm512_kunpackw, _mm512_loadu_si512,
    _mm512_maskz_compress_epi64, _mm512_set1_epi64, _mm512_storeu_si512,
};

use super::kernel::{Kernel, PAIR, QUAD, Room, WINDOW, WORD};
use super::scalar::Scalar;
use crate::key::Key;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512;

// SAFETY: `compress` writes each element below the count that it returns.
unsafe impl Kernel for Avx512 {
    #[inline(always)]
    fn count_at_most<K: Key>(window: &[K; WINDOW], target: K) -> usize {
        let Some((window, target)) = K::words(window, target) else {
            return Scalar::count_at_most(window, target);
        };
        // SAFETY: the processor has AVX-512 F (this kernel runs only below `backend::dispatch`), and the
        // unaligned load reads the eight keys of `window`.
        unsafe {
            let wanted = _mm512_set1_epi64(target);
            let below = _mm512_cmple_epi64_mask(_mm512_loadu_si512(window.as_ptr().cast()), wanted);
            below.count_ones() as usize
        }
    }

    #[inline(always)]
    fn count_inside<K: Key>(window: &[K; WINDOW], target: K) -> Option<usize> {
        let Some((window, target)) = K::words(window, target) else {
            return Scalar::count_inside(window, target);
        };
        // SAFETY: as in `count_at_most`: AVX-512 F, and the eight keys of `window`.
        let below = unsafe {
            let wanted = _mm512_set1_epi64(target);
            _mm512_cmple_epi64_mask(_mm512_loadu_si512(window.as_ptr().cast()), wanted)
        };
        // For none or all, adding one leaves only the lowest bit or nothing.
        (below.wrapping_add(1) & !1 != 0).then_some(below.count_ones() as usize)
    }

    #[inline(always)]
    fn count_in_pair<K: Key>(pair: &[K; PAIR], target: K) -> usize {
        let Some((pair, target)) = K::words(pair, target) else {
            return Scalar::count_in_pair(pair, target);
        };
        let place = pair.as_ptr();
        // SAFETY: AVX-512 F, as in `count_at_most`; the two unaligned loads read the sixteen keys of `pair`.
        unsafe {
            let wanted = _mm512_set1_epi64(target);
            let low = _mm512_cmple_epi64_mask(_mm512_loadu_si512(place.cast()), wanted);
            let high = _mm512_cmple_epi64_mask(_mm512_loadu_si512(place.add(WINDOW).cast()), wanted);
            _mm512_kunpackb(high.into(), low.into()).count_ones() as usize
        }
    }

    #[inline(always)]
    fn count_in_quad<K: Key>(quad: &[K; QUAD], target: K) -> usize {
        let Some((quad, target)) = K::words(quad, target) else {
            return Scalar::count_in_quad(quad, target);
        };
        let place = quad.as_ptr();
        // SAFETY: AVX-512 F and BW (`backend::dispatch` checks both); the four unaligned loads read the 32
        // keys of `quad`.
        unsafe {
            let wanted = _mm512_set1_epi64(target);
            macro_rules! below {
                ($line:expr) => {
                    _mm512_cmple_epi64_mask(_mm512_loadu_si512(place.add($line * WINDOW).cast()), wanted)
                        .into()
                };
            }
            let low = _mm512_kunpackb(below!(1), below!(0));
            let high = _mm512_kunpackb(below!(3), below!(2));
            _mm512_kunpackw(high.into(), low.into()).count_ones() as usize
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
        for group in 0..8 {
            let lanes = (mask >> (group * 8)) as u8;
            // SAFETY: AVX-512 F, as in `count_at_most`. Loads read eight of 64 slots (group < 8); stores
            // write eight of 72 elements (count <= 56). Compression goes to a register first: straight to
            // memory it is microcoded on Zen 4.
            unsafe {
                let eight_keys = _mm512_loadu_si512(keys.as_ptr().add(group * 8).cast());
                let eight_payloads = _mm512_loadu_si512(payloads.as_ptr().add(group * 8).cast());
                _mm512_storeu_si512(
                    key_room.as_mut_ptr().add(count).cast(),
                    _mm512_maskz_compress_epi64(lanes, eight_keys),
                );
                _mm512_storeu_si512(
                    payload_room.as_mut_ptr().add(count).cast(),
                    _mm512_maskz_compress_epi64(lanes, eight_payloads),
                );
            }
            count += lanes.count_ones() as usize;
        }
        count
    }
}
