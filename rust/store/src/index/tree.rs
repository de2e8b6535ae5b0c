//! An ALEX of keys of 64 or of 128 bits, behind one face. Batches of keys of the tree's own width are taken as they
//! are; others, which only tests and a few odd keys lead to, are copied first. Knows nothing of what payloads mean. Costs are
//! those of `Alex`.

use std::ops::Bound;

use alex_index::image::Damage;
use alex_index::simd::Backend;
use alex_index::{Alex, CheckError, Stats};

use crate::keys::{Key, KeyVec, Keys, Width, either, narrow_range};

/// A neighbour of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// The item with the highest key at or below it.
    Floor,
    /// The item with the lowest key at or above it.
    Ceiling,
}

/// Keys to payloads, ordered.
#[derive(Debug)]
pub enum Tree {
    /// Of 64 bits.
    Narrow(Alex<i64>),
    /// Of 128 bits.
    Wide(Alex<i128>),
}

#[inline]
fn entry<K: Into<Key>>(found: Option<(K, u64)>) -> Option<(Key, u64)> {
    found.map(|(key, payload)| (key.into(), payload))
}

impl Tree {
    /// A tree of no keys.
    pub(crate) fn empty(width: Width) -> Self {
        match width {
            Width::Narrow => Self::Narrow(Alex::new()),
            Width::Wide => Self::Wide(Alex::new()),
        }
    }

    /// How many bytes its keys have.
    pub(crate) fn width(&self) -> Width {
        match self {
            Self::Narrow(_) => Width::Narrow,
            Self::Wide(_) => Width::Wide,
        }
    }

    /// The keys in this tree's width; `None` if one has more bits.
    fn of_own_width(&self, keys: Keys<'_>) -> Option<KeyVec> {
        Some(match self {
            Self::Narrow(_) => {
                KeyVec::Narrow(keys.iter().map(|key| i64::try_from(key).ok()).collect::<Option<_>>()?)
            }
            Self::Wide(_) => KeyVec::Wide(keys.iter().collect()),
        })
    }

    /// A tree of these keys, and of the same width as this one; `None` if they do not ascend.
    pub(crate) fn built(&self, keys: Keys<'_>, payloads: &[u64]) -> Option<Self> {
        match (self, keys) {
            (Self::Narrow(_), Keys::Narrow(keys)) => Alex::from_sorted(keys, payloads).ok().map(Self::Narrow),
            (Self::Wide(_), Keys::Wide(keys)) => Alex::from_sorted(keys, payloads).ok().map(Self::Wide),
            (_, keys) => self.built(self.of_own_width(keys)?.as_keys(), payloads),
        }
    }

    /// As `Alex::damage`.
    pub fn damage(&self) -> Option<&Damage> {
        either!(Tree, self, alex => alex.damage())
    }

    /// As `Alex::len`.
    pub fn len(&self) -> usize {
        either!(Tree, self, alex => alex.len())
    }

    /// As `Alex::is_empty`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As `Alex::nbytes`.
    pub fn nbytes(&self) -> usize {
        either!(Tree, self, alex => alex.nbytes())
    }

    /// As `Alex::height`.
    pub fn height(&self) -> usize {
        either!(Tree, self, alex => alex.height())
    }

    /// As `Alex::get`.
    #[inline]
    pub fn get(&self, key: Key) -> Option<u64> {
        match self {
            Self::Narrow(alex) => alex.get(i64::try_from(key).ok()?),
            Self::Wide(alex) => alex.get(key),
        }
    }

    /// As `Alex::prefetch`.
    #[inline]
    pub fn prefetch(&self, key: Key) {
        match self {
            Self::Narrow(alex) => alex.prefetch(key as i64),
            Self::Wide(alex) => alex.prefetch(key),
        }
    }

    /// As `Alex::contains`.
    #[inline]
    pub fn contains(&self, key: Key) -> bool {
        match self {
            Self::Narrow(alex) => i64::try_from(key).is_ok_and(|key| alex.contains(key)),
            Self::Wide(alex) => alex.contains(key),
        }
    }

    /// As `Alex::get_many`.
    pub fn get_many(&self, keys: Keys<'_>, mut visit: impl FnMut(usize, Option<u64>)) {
        match (self, keys) {
            (Self::Narrow(alex), Keys::Narrow(keys)) => alex.get_many(keys, visit),
            (Self::Wide(alex), Keys::Wide(keys)) => alex.get_many(keys, visit),
            _ => match self.of_own_width(keys) {
                Some(own) => self.get_many(own.as_keys(), visit),
                None => keys.iter().enumerate().for_each(|(i, key)| visit(i, self.get(key))),
            },
        }
    }

    /// As `Alex::first`.
    pub fn first(&self) -> Option<(Key, u64)> {
        either!(Tree, self, alex => entry(alex.first()))
    }

    /// As `Alex::last`.
    pub fn last(&self) -> Option<(Key, u64)> {
        either!(Tree, self, alex => entry(alex.last()))
    }

    /// As `Alex::floor`.
    pub fn floor(&self, key: Key) -> Option<(Key, u64)> {
        match self {
            Self::Narrow(_) if key < i64::MIN.into() => None,
            Self::Narrow(alex) => entry(alex.floor(i64::try_from(key).unwrap_or(i64::MAX))),
            Self::Wide(alex) => alex.floor(key),
        }
    }

    /// As `Alex::ceiling`.
    pub fn ceiling(&self, key: Key) -> Option<(Key, u64)> {
        match self {
            Self::Narrow(_) if key > i64::MAX.into() => None,
            Self::Narrow(alex) => entry(alex.ceiling(i64::try_from(key).unwrap_or(i64::MIN))),
            Self::Wide(alex) => alex.ceiling(key),
        }
    }

    /// As `Alex::lower`.
    pub fn lower(&self, key: Key) -> Option<(Key, u64)> {
        self.floor(key.checked_sub(1)?)
    }

    /// As `Alex::higher`.
    pub fn higher(&self, key: Key) -> Option<(Key, u64)> {
        self.ceiling(key.checked_add(1)?)
    }

    /// One neighbour of a key.
    pub fn nearest(&self, key: Key, which: Neighbour) -> Option<(Key, u64)> {
        match which {
            Neighbour::Floor => self.floor(key),
            Neighbour::Ceiling => self.ceiling(key),
        }
    }

    /// The same neighbour of each key, in their order.
    pub fn nearest_many(
        &self,
        keys: Keys<'_>,
        which: Neighbour,
        mut visit: impl FnMut(usize, Option<(Key, u64)>),
    ) {
        match (self, keys, which) {
            (Self::Narrow(alex), Keys::Narrow(keys), Neighbour::Floor) => {
                alex.floor_many(keys, |i, found| visit(i, entry(found)));
            }
            (Self::Narrow(alex), Keys::Narrow(keys), Neighbour::Ceiling) => {
                alex.ceiling_many(keys, |i, found| visit(i, entry(found)));
            }
            (Self::Wide(alex), Keys::Wide(keys), Neighbour::Floor) => alex.floor_many(keys, visit),
            (Self::Wide(alex), Keys::Wide(keys), Neighbour::Ceiling) => alex.ceiling_many(keys, visit),
            _ => keys.iter().enumerate().for_each(|(i, key)| visit(i, self.nearest(key, which))),
        }
    }

    /// As `Alex::count`.
    pub fn count(&self, start: Bound<Key>, stop: Bound<Key>) -> usize {
        match self {
            Self::Narrow(alex) => {
                let (start, stop) = narrow_range(start, stop);
                alex.count(start, stop)
            }
            Self::Wide(alex) => alex.count(start, stop),
        }
    }

    /// As `Alex::rank`.
    pub fn rank(&self, key: Key) -> usize {
        match self {
            Self::Narrow(alex) => match i64::try_from(key) {
                Ok(key) => alex.rank(key),
                Err(_) if key < 0 => 0,
                Err(_) => alex.len(),
            },
            Self::Wide(alex) => alex.rank(key),
        }
    }

    /// As `Alex::nth`.
    pub fn nth(&self, rank: usize) -> Option<(Key, u64)> {
        either!(Tree, self, alex => entry(alex.nth(rank)))
    }

    /// As `Alex::nth_many`.
    pub fn nth_many(&self, ranks: &[usize], mut visit: impl FnMut(Key, u64)) {
        match self {
            Self::Narrow(alex) => alex.nth_many(ranks, |key, payload| visit(key.into(), payload)),
            Self::Wide(alex) => alex.nth_many(ranks, visit),
        }
    }

    /// As `Alex::boundaries`.
    pub fn boundaries(&self, parts: usize) -> KeyVec {
        either!(Tree, self, alex => alex.boundaries(parts).into())
    }

    /// As `Alex::scan_into`.
    #[expect(clippy::too_many_arguments, reason = "as Alex::scan_into")]
    pub fn scan_into(
        &self,
        start: Bound<Key>,
        stop: Bound<Key>,
        reverse: bool,
        limit: usize,
        keys: &mut KeyVec,
        payloads: &mut Vec<u64>,
    ) {
        match self {
            Self::Narrow(alex) => {
                let (start, stop) = narrow_range(start, stop);
                alex.scan_into(start, stop, reverse, limit, keys.narrow(), payloads);
            }
            Self::Wide(alex) => alex.scan_into(start, stop, reverse, limit, keys.wide(), payloads),
        }
    }

    /// Inserts a key, which a tree of 64-bit keys must be able to hold.
    #[inline]
    pub fn insert(&mut self, key: Key, payload: u64) -> Option<u64> {
        match self {
            Self::Narrow(alex) => alex.insert(narrow(key), payload),
            Self::Wide(alex) => alex.insert(key, payload),
        }
    }

    /// As `Alex::insert_many`.
    pub fn insert_many(&mut self, keys: Keys<'_>, payloads: &[u64], replaced: impl FnMut(usize, u64)) {
        match (&mut *self, keys) {
            (Self::Narrow(alex), Keys::Narrow(keys)) => alex.insert_many(keys, payloads, replaced),
            (Self::Wide(alex), Keys::Wide(keys)) => alex.insert_many(keys, payloads, replaced),
            _ => match self.of_own_width(keys) {
                Some(own) => self.insert_many(own.as_keys(), payloads, replaced),
                None => debug_assert!(false, "keys of 64 bits are checked before they are written"),
            },
        }
    }

    /// As `Alex::remove`.
    pub fn remove(&mut self, key: Key) -> Option<u64> {
        match self {
            Self::Narrow(alex) => alex.remove(i64::try_from(key).ok()?),
            Self::Wide(alex) => alex.remove(key),
        }
    }

    /// As `Alex::remove_many`.
    pub fn remove_many(&mut self, keys: Keys<'_>, mut removed: impl FnMut(usize, u64)) {
        match (&mut *self, keys) {
            (Self::Narrow(alex), Keys::Narrow(keys)) => alex.remove_many(keys, removed),
            (Self::Wide(alex), Keys::Wide(keys)) => alex.remove_many(keys, removed),
            _ => match self.of_own_width(keys) {
                Some(own) => self.remove_many(own.as_keys(), removed),
                None => keys.iter().enumerate().for_each(|(i, key)| {
                    if let Some(old) = self.remove(key) {
                        removed(i, old);
                    }
                }),
            },
        }
    }

    /// As `Alex::replace_if`.
    pub fn replace_if(&mut self, key: Key, expected: u64, new: u64) -> bool {
        match self {
            Self::Narrow(alex) => i64::try_from(key).is_ok_and(|key| alex.replace_if(key, expected, new)),
            Self::Wide(alex) => alex.replace_if(key, expected, new),
        }
    }

    /// As `Alex::from_unsorted`.
    pub fn from_unsorted(keys: Keys<'_>, payloads: &[u64]) -> Self {
        match keys {
            Keys::Narrow(keys) => Self::Narrow(Alex::from_unsorted(keys, payloads)),
            Keys::Wide(keys) => Self::Wide(Alex::from_unsorted(keys, payloads)),
        }
    }

    /// As `Alex::scan_many`.
    pub fn scan_many(
        &self,
        starts: Keys<'_>,
        stops: Keys<'_>,
        keys: &mut KeyVec,
        payloads: &mut Vec<u64>,
        visit: impl FnMut(usize),
    ) {
        match (self, starts, stops) {
            (Self::Narrow(alex), Keys::Narrow(starts), Keys::Narrow(stops)) => {
                alex.scan_many(starts, stops, keys.narrow(), payloads, visit);
            }
            (Self::Wide(alex), Keys::Wide(starts), Keys::Wide(stops)) => {
                alex.scan_many(starts, stops, keys.wide(), payloads, visit);
            }
            _ => match (self.of_own_width(starts), self.of_own_width(stops)) {
                (Some(starts), Some(stops)) => {
                    self.scan_many(starts.as_keys(), stops.as_keys(), keys, payloads, visit);
                }
                _ => debug_assert!(false, "the ends of ranges are keys of the tree"),
            },
        }
    }

    /// As `Alex::check`.
    pub fn check(&self) -> Result<(), CheckError> {
        either!(Tree, self, alex => alex.check())
    }

    /// As `Alex::stats`.
    pub fn stats(&self) -> Stats {
        either!(Tree, self, alex => alex.stats())
    }

    /// As `Alex::backend`.
    pub fn backend(&self) -> Backend {
        either!(Tree, self, alex => alex.backend())
    }

    /// As `Alex::clear`.
    pub fn clear(&mut self) {
        either!(Tree, self, alex => alex.clear());
    }
}

/// A key that is known to have 64 bits.
#[inline]
fn narrow(key: Key) -> i64 {
    debug_assert!(i64::try_from(key).is_ok(), "a key of 64 bits is checked before it is written");
    key as i64
}
