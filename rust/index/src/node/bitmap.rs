//! The bitmap of occupied slots: the nearest set or clear bit in either direction.
//!
//! Knows words of 64 bits only. `O(distance / 64)`.

use crate::count;

/// Whether the slot is occupied.
#[inline(always)]
pub(crate) fn is_set(bits: &[u64], at: usize) -> bool {
    count::touch_one(&bits[at / 64]);
    bits[at / 64] >> (at % 64) & 1 == 1
}

#[inline(always)]
pub(crate) fn set(bits: &mut [u64], at: usize) {
    count::touch_one(&bits[at / 64]);
    bits[at / 64] |= 1 << (at % 64);
}

#[inline(always)]
pub(crate) fn clear(bits: &mut [u64], at: usize) {
    count::touch_one(&bits[at / 64]);
    bits[at / 64] &= !(1 << (at % 64));
}

/// The first slot from `at` on whose bit is set, where all words are combined with `flip` by exclusive or.
#[inline(always)]
fn first_from(bits: &[u64], at: usize, flip: u64) -> Option<usize> {
    let mut index = at / 64;
    let mut word = (*bits.get(index)? ^ flip) & (!0 << (at % 64));
    while word == 0 {
        index += 1;
        word = *bits.get(index)? ^ flip;
    }
    count::touch(&bits[at / 64..=index]);
    Some(index * 64 + word.trailing_zeros() as usize)
}

/// The last slot below `at` whose bit is set, where all words are combined with `flip` by exclusive or.
#[inline(always)]
fn last_below(bits: &[u64], at: usize, flip: u64) -> Option<usize> {
    let at = at.checked_sub(1)?;
    let mut index = at / 64;
    let mut word = (bits[index] ^ flip) & (!0 >> (63 - at % 64));
    while word == 0 {
        index = index.checked_sub(1)?;
        word = bits[index] ^ flip;
    }
    count::touch(&bits[index..=at / 64]);
    Some(index * 64 + 63 - word.leading_zeros() as usize)
}

/// The first occupied slot from `at` on.
#[inline(always)]
pub(crate) fn next_set(bits: &[u64], at: usize) -> Option<usize> {
    first_from(bits, at, 0)
}

/// The first gap from `at` on.
#[inline(always)]
pub(crate) fn next_clear(bits: &[u64], at: usize) -> Option<usize> {
    first_from(bits, at, !0)
}

/// The last occupied slot below `at`.
#[inline(always)]
pub(crate) fn previous_set(bits: &[u64], at: usize) -> Option<usize> {
    last_below(bits, at, 0)
}

/// The last gap below `at`.
#[inline(always)]
pub(crate) fn previous_clear(bits: &[u64], at: usize) -> Option<usize> {
    last_below(bits, at, !0)
}

/// How many slots in `from..to` are occupied.
pub(crate) fn count(bits: &[u64], from: usize, to: usize) -> usize {
    let mut total = 0;
    let mut at = from;
    while at < to {
        let mut word = bits[at / 64] >> (at % 64);
        let width = (64 - at % 64).min(to - at);
        if width < 64 {
            word &= (1 << width) - 1;
        }
        total += word.count_ones() as usize;
        at += width;
    }
    total
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::{count, is_set, next_clear, next_set, previous_clear, previous_set};

    #[test]
    fn neighbours_and_counts_equal_a_slot_by_slot_walk() {
        let mut random = SmallRng::seed_from_u64(4);
        for _ in 0..200 {
            let bits: Vec<u64> = (0..4)
                .map(|_| [0, !0, random.random::<u64>(), 1 << 63, 1][random.random_range(0..5)])
                .collect();
            let on: Vec<bool> = (0..256).map(|at| is_set(&bits, at)).collect();
            for at in 0..=256 {
                assert_eq!(next_set(&bits, at), (at..256).find(|&i| on[i]));
                assert_eq!(next_clear(&bits, at), (at..256).find(|&i| !on[i]));
                assert_eq!(previous_set(&bits, at), (0..at).rev().find(|&i| on[i]));
                assert_eq!(previous_clear(&bits, at), (0..at).rev().find(|&i| !on[i]));
                let to = random.random_range(at..=256);
                assert_eq!(count(&bits, at, to), (at..to).filter(|&i| on[i]).count());
            }
        }
    }
}
