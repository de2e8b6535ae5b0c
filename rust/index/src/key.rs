//! The two kinds of keys, integers of 64 and of 128 bits, and the exact arithmetic that trees do with them.
//!
//! A node covers a range of keys, which may be all of them. So nothing here is wider than a key: how far a key is from
//! another is an unsigned integer of the key's own width, and the bounds of ranges are inclusive. Knows nothing of nodes.
//! `O(1)`.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::mem::MaybeUninit;
use std::ops::{Shl, Shr};

use crate::compiled::Compiled;

/// A kind of key: `i64`, or `i128` for what has 128 bits, like UUIDs and IPv6 addresses.
///
/// Both are signed. An unsigned integer becomes a key of the same order when its highest bit is flipped:
///
/// ```
/// use alex_index::Key;
/// let key = |uuid: u128| (uuid ^ 1 << 127) as i128;
/// assert!(key(0) == i128::MIN && key(u128::MAX) == i128::MAX && key(1 << 127) > key(5));
/// assert_eq!((i64::BITS, <i128 as Key>::BITS), (64, 128));
/// ```
#[expect(private_bounds, reason = "so that no other type can be a key")]
pub trait Key:
    Exact + Compiled + Copy + Ord + Hash + Default + Debug + Display + Send + Sync + 'static
{
    /// The least key.
    const MIN: Self;
    /// The greatest key.
    const MAX: Self;
    /// Bits of a key.
    const BITS: u32;
}

/// What trees do with keys.
pub(crate) trait Exact: Sized {
    /// How far one key is above another: unsigned, and as wide as a key.
    type Distance: Distance;
    /// A key's bytes, little-endian, as images have them.
    type Bytes: AsRef<[u8]>;

    const ZERO: Self;

    /// How far this key is above `base`, which must not be above it.
    fn since(self, base: Self) -> Self::Distance;

    /// How far this key is above `base`; zero if it is below.
    fn above(self, base: Self) -> Self::Distance;

    /// The key so far above this one, which must exist.
    fn up(self, by: Self::Distance) -> Self;

    /// The key so far below this one, which must exist.
    fn down(self, by: Self::Distance) -> Self;

    /// The key so far above this one, or the greatest.
    fn up_to_max(self, by: Self::Distance) -> Self;

    /// The key so far below this one, or the least.
    fn down_to_min(self, by: Self::Distance) -> Self;

    /// The key so far above this one, if there is one.
    fn checked_up(self, by: Self::Distance) -> Option<Self>;

    /// The key so far below this one, if there is one.
    fn checked_down(self, by: Self::Distance) -> Option<Self>;

    fn to_bytes(self) -> Self::Bytes;

    /// Keys and target as words of 64 bits, if that is what they are: SIMD kernels compare such.
    fn words<const N: usize>(keys: &[Self; N], target: Self) -> Option<(&[i64; N], i64)>;

    /// Keys and room for keys as words of 64 bits, if that is what they are.
    fn words_and_room<'k, 'r, const N: usize, const ROOM: usize>(
        keys: &'k [Self; N],
        room: &'r mut [MaybeUninit<Self>; ROOM],
    ) -> Option<WordsAndRoom<'k, 'r, N, ROOM>>;

    /// The key after this one.
    #[inline(always)]
    fn next(self) -> Option<Self> {
        self.checked_up(Self::Distance::ONE)
    }

    /// The key before this one.
    #[inline(always)]
    fn previous(self) -> Option<Self> {
        self.checked_down(Self::Distance::ONE)
    }
}

/// Keys of 64 bits, and room for such.
pub(crate) type WordsAndRoom<'k, 'r, const N: usize, const ROOM: usize> =
    (&'k [i64; N], &'r mut [MaybeUninit<i64>; ROOM]);

/// A distance between two keys.
pub(crate) trait Distance:
    Copy + Ord + Debug + Shl<u32, Output = Self> + Shr<u32, Output = Self>
{
    const ZERO: Self;
    const ONE: Self;

    /// How many bits the distance has, without leading zeros.
    fn bits(self) -> u32;

    /// The 64 bits of this distance, at most `span`, that lie below the leading zeros of `span`.
    fn scaled(self, span: Self) -> u64;

    /// The slot at this distance in slots of width 2^shift, of which the last is `last`.
    fn slot(self, shift: u32, last: u32) -> usize;

    /// This many slots of width 2^shift, unless they are wider than every distance.
    fn of_slots(slots: usize, shift: u32) -> Option<Self>;

    /// How many whole slots of width 2^shift there are in this distance; the greatest number if they are more than that.
    fn slots(self, shift: u32) -> usize;

    /// The eight bits from `shift` on.
    fn digit(self, shift: u32) -> usize;

    /// So many times this distance, or the greatest.
    fn times(self, factor: u8) -> Self;

    fn to_f64(self) -> f64;

    /// The whole part; the nearest distance where there is none.
    fn from_f64(number: f64) -> Self;
}

macro_rules! key {
    ($key:ident, $distance:ident, $words:ident) => {
        impl Key for $key {
            const MIN: Self = Self::MIN;
            const MAX: Self = Self::MAX;
            const BITS: u32 = Self::BITS;
        }

        impl Exact for $key {
            type Distance = $distance;
            type Bytes = [u8; size_of::<$key>()];

            const ZERO: Self = 0;

            #[inline(always)]
            fn since(self, base: Self) -> $distance {
                self.wrapping_sub(base).cast_unsigned()
            }

            #[inline(always)]
            fn above(self, base: Self) -> $distance {
                self.max(base).wrapping_sub(base).cast_unsigned()
            }

            #[inline(always)]
            fn up(self, by: $distance) -> Self {
                self.wrapping_add_unsigned(by)
            }

            #[inline(always)]
            fn down(self, by: $distance) -> Self {
                self.wrapping_sub_unsigned(by)
            }

            #[inline(always)]
            fn up_to_max(self, by: $distance) -> Self {
                self.saturating_add_unsigned(by)
            }

            #[inline(always)]
            fn down_to_min(self, by: $distance) -> Self {
                self.saturating_sub_unsigned(by)
            }

            #[inline(always)]
            fn checked_up(self, by: $distance) -> Option<Self> {
                self.checked_add_unsigned(by)
            }

            #[inline(always)]
            fn checked_down(self, by: $distance) -> Option<Self> {
                self.checked_sub_unsigned(by)
            }

            #[inline(always)]
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            $words!();
        }

        impl Distance for $distance {
            const ZERO: Self = 0;
            const ONE: Self = 1;

            #[inline(always)]
            fn bits(self) -> u32 {
                Self::BITS - self.leading_zeros()
            }

            #[inline(always)]
            fn scaled(self, span: Self) -> u64 {
                let highest = self << (span.leading_zeros() & (Self::BITS - 1));
                (highest >> (Self::BITS - u64::BITS)) as u64
            }

            #[inline(always)]
            fn slot(self, shift: u32, last: u32) -> usize {
                (self >> (shift & (Self::BITS - 1))).min(Self::from(last)) as usize
            }

            #[inline]
            fn of_slots(slots: usize, shift: u32) -> Option<Self> {
                let slots = slots as Self;
                (slots.leading_zeros() >= shift).then(|| slots << (shift & (Self::BITS - 1)))
            }

            #[inline]
            fn slots(self, shift: u32) -> usize {
                usize::try_from(self >> (shift & (Self::BITS - 1))).unwrap_or(usize::MAX)
            }

            #[inline(always)]
            fn digit(self, shift: u32) -> usize {
                usize::from((self >> shift) as u8)
            }

            #[inline]
            fn times(self, factor: u8) -> Self {
                self.saturating_mul(factor.into())
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline(always)]
            fn from_f64(number: f64) -> Self {
                number as Self
            }
        }
    };
}

macro_rules! words {
    () => {
        #[inline(always)]
        fn words<const N: usize>(keys: &[Self; N], target: Self) -> Option<(&[i64; N], i64)> {
            Some((keys, target))
        }

        #[inline(always)]
        fn words_and_room<'k, 'r, const N: usize, const ROOM: usize>(
            keys: &'k [Self; N],
            room: &'r mut [MaybeUninit<Self>; ROOM],
        ) -> Option<WordsAndRoom<'k, 'r, N, ROOM>> {
            Some((keys, room))
        }
    };
}

macro_rules! no_words {
    () => {
        #[inline(always)]
        fn words<const N: usize>(_: &[Self; N], _: Self) -> Option<(&[i64; N], i64)> {
            None
        }

        #[inline(always)]
        fn words_and_room<'k, 'r, const N: usize, const ROOM: usize>(
            _: &'k [Self; N],
            _: &'r mut [MaybeUninit<Self>; ROOM],
        ) -> Option<WordsAndRoom<'k, 'r, N, ROOM>> {
            None
        }
    };
}

key!(i64, u64, words);
key!(i128, u128, no_words);

#[cfg(test)]
mod tests {
    use super::{Distance, Key};

    fn distances_reach_from_end_to_end<K: Key>() {
        let all = K::MAX.since(K::MIN);
        assert_eq!((all.bits(), K::MIN.up(all), K::MAX.down(all)), (K::BITS, K::MAX, K::MIN));
        assert_eq!((K::MAX.next(), K::MIN.previous()), (None, None));
        assert_eq!((K::MIN.above(K::MAX), K::MAX.above(K::MIN)), (K::Distance::ZERO, all));
        assert_eq!((K::ZERO.up_to_max(all), K::ZERO.down_to_min(all)), (K::MAX, K::MIN));
        assert_eq!((all.times(8), K::Distance::ONE.times(8)), (all, K::Distance::ONE << 3));
        assert_eq!(all.scaled(all), u64::MAX);
        assert_eq!((all.slots(K::BITS - 1), all.slots(0), all.slot(0, 9)), (1, usize::MAX, 9));
        assert_eq!(K::Distance::of_slots(1, K::BITS - 1), Some(K::Distance::ONE << (K::BITS - 1)));
        assert_eq!((K::Distance::of_slots(2, K::BITS - 1), all.digit(K::BITS - 8)), (None, 255));
        // A narrow span uses all 64 bits, too.
        assert_eq!((K::Distance::ONE << 7).scaled(K::Distance::ONE << 8), 1 << 62);
        assert_eq!(K::Distance::from_f64(-1.0), K::Distance::ZERO);
        assert_eq!(K::Distance::from_f64(f64::INFINITY), all);
    }

    #[test]
    fn distances_reach_from_end_to_end_in_both_kinds() {
        distances_reach_from_end_to_end::<i64>();
        distances_reach_from_end_to_end::<i128>();
    }
}
