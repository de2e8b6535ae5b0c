//! Keys in memory. One key is an `i128`, whatever the kind. Many keys are `i64` where the store's are, so that a batch of
//! them takes half the memory and is searched without a copy, and `i128` otherwise. Knows nothing of kinds.

use std::cmp::Ordering;
use std::ops::{Bound, Range};

use crate::error::Result;
use crate::room::{room, with_room};

/// A key: an integer of 64 or of 128 bits.
pub type Key = i128;

/// A key in a list of many things, where padding to sixteen bytes would take more memory than the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed([u64; 2]);

impl From<Key> for Packed {
    #[inline]
    fn from(key: Key) -> Self {
        Self([key as u64, (key >> 64) as u64])
    }
}

impl From<Packed> for Key {
    #[inline]
    fn from(Packed([low, high]): Packed) -> Self {
        Self::from(high as i64) << 64 | Self::from(low)
    }
}

/// How many bytes the keys of a store have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Eight bytes.
    Narrow,
    /// Sixteen bytes.
    Wide,
}

impl Width {
    /// The least and the greatest key.
    pub(crate) fn keys(self) -> (Key, Key) {
        match self {
            Self::Narrow => (i64::MIN.into(), i64::MAX.into()),
            Self::Wide => (Key::MIN, Key::MAX),
        }
    }
}

/// Many keys, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum Keys<'k> {
    /// Of 64 bits.
    Narrow(&'k [i64]),
    /// Of 128 bits.
    Wide(&'k [i128]),
}

/// Runs one expression for either width of an enum that has both.
macro_rules! either {
    ($type:ident, $value:expr, $inner:ident => $run:expr) => {
        match $value {
            $type::Narrow($inner) => $run,
            $type::Wide($inner) => $run,
        }
    };
}
pub(crate) use either;

impl Keys<'_> {
    /// How many there are.
    #[inline]
    pub fn len(self) -> usize {
        either!(Keys, self, keys => keys.len())
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The i-th key.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "called once for each key of a batch")]
    pub fn get(self, i: usize) -> Key {
        match self {
            Self::Narrow(keys) => Key::from(keys[i]),
            Self::Wide(keys) => keys[i],
        }
    }

    /// The last key.
    pub fn last(self) -> Option<Key> {
        self.len().checked_sub(1).map(|last| self.get(last))
    }

    /// Some of the keys.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn slice(self, places: Range<usize>) -> Self {
        match self {
            Self::Narrow(keys) => Self::Narrow(&keys[places]),
            Self::Wide(keys) => Self::Wide(&keys[places]),
        }
    }

    /// Pieces of `len` keys, of which the last may have fewer.
    pub fn chunks(self, len: usize) -> impl ExactSizeIterator<Item = Self> + Clone {
        let all = self.len();
        (0..all.div_ceil(len)).map(move |piece| self.slice(piece * len..all.min((piece + 1) * len)))
    }

    /// The keys, one after another.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Key> + ExactSizeIterator + Clone {
        (0..self.len()).map(move |i| self.get(i))
    }

    /// The positions of the keys that leave each key once, in ascending order; of equal keys the last stays, and the order
    /// of the positions is otherwise that of their keys. O(n log n), and O(n) if the keys ascend already.
    pub(crate) fn sorted_last(self) -> Result<Vec<usize>> {
        fn sorted<K: Ord + Copy>(given: &[K]) -> Result<Vec<usize>> {
            let mut order: Vec<(K, usize)> = with_room(given.len())?;
            order.extend(given.iter().copied().zip(0..));
            if !order.is_sorted_by(|a, b| a.0 < b.0) {
                order.sort_unstable();
                // Of equal keys, the one given last comes last and must stay.
                order.reverse();
                order.dedup_by_key(|entry| entry.0);
                order.reverse();
            }
            let mut places = with_room(order.len())?;
            places.extend(order.iter().map(|&(_, place)| place));
            Ok(places)
        }
        either!(Keys, self, keys => sorted(keys))
    }
}

/// Lists of keys of one width, borrowed as [`Keys`] of it.
macro_rules! keys_of {
    ($width:ident, $key:ty) => {
        impl<'k> From<&'k [$key]> for Keys<'k> {
            fn from(keys: &'k [$key]) -> Self {
                Self::$width(keys)
            }
        }

        impl<'k> From<&'k Vec<$key>> for Keys<'k> {
            fn from(keys: &'k Vec<$key>) -> Self {
                Self::$width(keys)
            }
        }

        impl<'k, const N: usize> From<&'k [$key; N]> for Keys<'k> {
            fn from(keys: &'k [$key; N]) -> Self {
                Self::$width(keys)
            }
        }
    };
}
keys_of!(Narrow, i64);
keys_of!(Wide, i128);

impl<'k> From<&'k KeyVec> for Keys<'k> {
    fn from(keys: &'k KeyVec) -> Self {
        keys.as_keys()
    }
}

/// Many keys, owned. Of 64 bits until it is asked for, or given, wider ones.
#[derive(Debug, Clone)]
pub enum KeyVec {
    /// Of 64 bits.
    Narrow(Vec<i64>),
    /// Of 128 bits.
    Wide(Vec<i128>),
}

impl Default for KeyVec {
    fn default() -> Self {
        Self::Narrow(Vec::new())
    }
}

impl From<Vec<i64>> for KeyVec {
    fn from(keys: Vec<i64>) -> Self {
        Self::Narrow(keys)
    }
}

impl From<Vec<i128>> for KeyVec {
    fn from(keys: Vec<i128>) -> Self {
        Self::Wide(keys)
    }
}

impl PartialEq for KeyVec {
    fn eq(&self, other: &Self) -> bool {
        self.as_keys().iter().eq(other.as_keys().iter())
    }
}

impl Eq for KeyVec {}

impl PartialEq<Vec<i64>> for KeyVec {
    fn eq(&self, other: &Vec<i64>) -> bool {
        self.iter().eq(Keys::from(other).iter())
    }
}

impl PartialEq<Vec<i128>> for KeyVec {
    fn eq(&self, other: &Vec<i128>) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

impl KeyVec {
    /// No keys, with room for so many of the width of `like`.
    pub(crate) fn with_room(keys: usize, like: Keys<'_>) -> Result<Self> {
        match like {
            Keys::Narrow(_) => Self::of_width(keys, Width::Narrow),
            Keys::Wide(_) => Self::of_width(keys, Width::Wide),
        }
    }

    /// No keys, with room for so many of this width.
    pub(crate) fn of_width(keys: usize, width: Width) -> Result<Self> {
        Ok(match width {
            Width::Narrow => Self::Narrow(with_room(keys)?),
            Width::Wide => Self::Wide(with_room(keys)?),
        })
    }

    /// The keys.
    #[inline]
    pub fn as_keys(&self) -> Keys<'_> {
        match self {
            Self::Narrow(keys) => Keys::Narrow(keys),
            Self::Wide(keys) => Keys::Wide(keys),
        }
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        either!(KeyVec, self, keys => keys.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Keys::get`].
    #[inline]
    pub fn get(&self, i: usize) -> Key {
        self.as_keys().get(i)
    }

    /// The first key.
    pub fn first(&self) -> Option<Key> {
        (!self.is_empty()).then(|| self.get(0))
    }

    /// The last key.
    pub fn last(&self) -> Option<Key> {
        self.as_keys().last()
    }

    /// The keys, one after another.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Key> + ExactSizeIterator + Clone {
        self.as_keys().iter()
    }

    /// Removes all keys, and keeps their memory.
    pub fn clear(&mut self) {
        either!(KeyVec, self, keys => keys.clear());
    }

    /// Removes the keys from the `len`-th on.
    pub fn truncate(&mut self, len: usize) {
        either!(KeyVec, self, keys => keys.truncate(len));
    }

    /// Removes the first `count` keys.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn remove_first(&mut self, count: usize) {
        either!(KeyVec, self, keys => drop(keys.drain(..count)));
    }

    /// Makes room for `more` further keys of the width of those that are there.
    pub(crate) fn room(&mut self, more: usize) -> Result<()> {
        either!(KeyVec, self, keys => room(keys, more))
    }

    /// Adds a key, for which there should be room.
    #[inline]
    pub fn push(&mut self, key: Key) {
        match (&mut *self, i64::try_from(key)) {
            (Self::Narrow(keys), Ok(key)) => keys.push(key),
            (Self::Wide(keys), _) => keys.push(key),
            (Self::Narrow(_), Err(_)) => self.wide().push(key),
        }
    }

    /// Adds keys.
    pub(crate) fn extend(&mut self, more: Keys<'_>) -> Result<()> {
        match (&mut *self, more) {
            (Self::Narrow(keys), Keys::Narrow(more)) => {
                room(keys, more.len())?;
                keys.extend_from_slice(more);
            }
            (_, more) => {
                let keys = self.wide();
                room(keys, more.len())?;
                keys.extend(more.iter());
            }
        }
        Ok(())
    }

    /// Puts the key at `from` in the place of the one at `to`.
    pub(crate) fn copy_within(&mut self, from: usize, to: usize) {
        either!(KeyVec, self, keys => keys[to] = keys[from]);
    }

    /// Puts a key in the place of the one at `place`.
    pub fn set(&mut self, place: usize, key: Key) {
        match (&mut *self, i64::try_from(key)) {
            (Self::Narrow(keys), Ok(key)) => keys[place] = key,
            (Self::Wide(keys), _) => keys[place] = key,
            (Self::Narrow(_), Err(_)) => self.wide()[place] = key,
        }
    }

    /// As a list of 64-bit keys, all of which must be that.
    #[inline]
    pub(crate) fn narrow(&mut self) -> &mut Vec<i64> {
        if let Self::Wide(keys) = self {
            debug_assert!(keys.iter().all(|&key| i64::try_from(key).is_ok()), "only such are asked for so");
            *self = Self::Narrow(keys.iter().map(|&key| key as i64).collect());
        }
        match self {
            Self::Narrow(keys) => keys,
            Self::Wide(_) => unreachable!("it was made narrow"),
        }
    }

    /// As a list of 128-bit keys.
    #[inline]
    pub(crate) fn wide(&mut self) -> &mut Vec<i128> {
        if let Self::Narrow(keys) = self {
            *self = Self::Wide(keys.iter().map(|&key| key.into()).collect());
        }
        match self {
            Self::Wide(keys) => keys,
            Self::Narrow(_) => unreachable!("it was made wide"),
        }
    }

    /// Sorts the keys, and leaves each once. O(n log n).
    pub fn sort_and_dedup(&mut self) {
        either!(KeyVec, self, keys => {
            keys.sort_unstable();
            keys.dedup();
        });
    }
}

/// A range of keys as one of 64-bit keys, of which it has the same.
pub(crate) fn narrow_range(start: Bound<Key>, stop: Bound<Key>) -> (Bound<i64>, Bound<i64>) {
    (narrow_end(start, Ordering::Less), narrow_end(stop, Ordering::Greater))
}

/// One end of a range; `outside` says on which side of it the range is not.
fn narrow_end(end: Bound<Key>, outside: Ordering) -> Bound<i64> {
    let (key, exact): (Key, fn(i64) -> Bound<i64>) = match end {
        Bound::Included(key) => (key, Bound::Included),
        Bound::Excluded(key) => (key, Bound::Excluded),
        Bound::Unbounded => return Bound::Unbounded,
    };
    match i64::try_from(key) {
        Ok(key) => exact(key),
        // All 64-bit keys are above it.
        Err(_) if key < 0 && outside == Ordering::Less => Bound::Unbounded,
        Err(_) if key < 0 => Bound::Excluded(i64::MIN),
        // All are below it.
        Err(_) if outside == Ordering::Less => Bound::Excluded(i64::MAX),
        Err(_) => Bound::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    use std::ops::RangeBounds;

    use super::{Key, KeyVec, Keys, Packed, narrow_range};

    #[test]
    fn a_list_is_of_64_bits_until_it_is_given_a_wider_key() {
        let mut keys = KeyVec::default();
        keys.push(-5);
        keys.extend(Keys::Narrow(&[7])).expect("memory");
        assert!(matches!(&keys, KeyVec::Narrow(keys) if *keys == [-5, 7]));
        keys.push(Key::MAX);
        keys.extend(Keys::Narrow(&[1])).expect("memory");
        assert!(matches!(&keys, KeyVec::Wide(keys) if *keys == [-5, 7, Key::MAX, 1]));
        assert_eq!(keys.as_keys().sorted_last().expect("memory"), [0, 3, 1, 2]);
        keys.truncate(2);
        assert_eq!(*keys.narrow(), [-5, 7]);
        assert_eq!(keys, KeyVec::from(vec![-5_i128, 7]));
    }

    #[test]
    fn a_packed_key_comes_back() {
        for key in [0, 1, -1, Key::MIN, Key::MAX, 1 << 64, -1 << 64, i64::MIN.into(), u64::MAX.into()] {
            assert_eq!(Key::from(Packed::from(key)), key);
        }
    }

    #[test]
    fn a_narrow_range_has_the_same_64_bit_keys() {
        let (least, most) = (Key::from(i64::MIN), Key::from(i64::MAX));
        let probes = [Key::MIN, least - 1, least, least + 1, -1, 0, 1, most - 1, most, most + 1, Key::MAX];
        let ends: Vec<_> =
            probes.iter().flat_map(|&key| [Included(key), Excluded(key)]).chain([Unbounded]).collect();
        for &start in &ends {
            for &stop in &ends {
                let narrow = narrow_range(start, stop);
                for &key in probes.iter().filter(|&&key| least <= key && key <= most) {
                    assert_eq!(
                        narrow.contains(&(key as i64)),
                        (start, stop).contains(&key),
                        "{start:?} {stop:?} {key}"
                    );
                }
            }
        }
    }
}
