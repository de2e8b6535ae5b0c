//! An ALEX of keys of 64 or of 128 bits, behind one face. Batches of keys of the tree's own width are taken as they
//! are; others, which only tests and a few odd keys lead to, are copied first. Knows nothing of what payloads mean. Costs are
//! those of `Alex`.

use std::ops::Bound;

use alex_index::Alex;
use alex_index::image::Damage;

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
pub(crate) enum Tree {
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

    pub(crate) fn damage(&self) -> Option<&Damage> {
        either!(Tree, self, alex => alex.damage())
    }

    pub(crate) fn len(&self) -> usize {
        either!(Tree, self, alex => alex.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn nbytes(&self) -> usize {
        either!(Tree, self, alex => alex.nbytes())
    }

    pub(crate) fn height(&self) -> usize {
        either!(Tree, self, alex => alex.height())
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<u64> {
        match self {
            Self::Narrow(alex) => alex.get(i64::try_from(key).ok()?),
            Self::Wide(alex) => alex.get(key),
        }
    }

    #[inline]
    pub(crate) fn prefetch(&self, key: Key) {
        match self {
            Self::Narrow(alex) => alex.prefetch(key as i64),
            Self::Wide(alex) => alex.prefetch(key),
        }
    }

    #[inline]
    pub(crate) fn contains(&self, key: Key) -> bool {
        match self {
            Self::Narrow(alex) => i64::try_from(key).is_ok_and(|key| alex.contains(key)),
            Self::Wide(alex) => alex.contains(key),
        }
    }

    /// As `Alex::get_many`.
    pub(crate) fn get_many(&self, keys: Keys<'_>, mut visit: impl FnMut(usize, Option<u64>)) {
        match (self, keys) {
            (Self::Narrow(alex), Keys::Narrow(keys)) => alex.get_many(keys, visit),
            (Self::Wide(alex), Keys::Wide(keys)) => alex.get_many(keys, visit),
            _ => match self.of_own_width(keys) {
                Some(own) => self.get_many(own.as_keys(), visit),
                None => keys.iter().enumerate().for_each(|(i, key)| visit(i, self.get(key))),
            },
        }
    }

    pub(crate) fn first(&self) -> Option<(Key, u64)> {
        either!(Tree, self, alex => entry(alex.first()))
    }

    pub(crate) fn last(&self) -> Option<(Key, u64)> {
        either!(Tree, self, alex => entry(alex.last()))
    }

    pub(crate) fn floor(&self, key: Key) -> Option<(Key, u64)> {
        match self {
            Self::Narrow(_) if key < i64::MIN.into() => None,
            Self::Narrow(alex) => entry(alex.floor(i64::try_from(key).unwrap_or(i64::MAX))),
            Self::Wide(alex) => alex.floor(key),
        }
    }

    pub(crate) fn ceiling(&self, key: Key) -> Option<(Key, u64)> {
        match self {
            Self::Narrow(_) if key > i64::MAX.into() => None,
            Self::Narrow(alex) => entry(alex.ceiling(i64::try_from(key).unwrap_or(i64::MIN))),
            Self::Wide(alex) => alex.ceiling(key),
        }
    }

    pub(crate) fn lower(&self, key: Key) -> Option<(Key, u64)> {
        self.floor(key.checked_sub(1)?)
    }

    pub(crate) fn higher(&self, key: Key) -> Option<(Key, u64)> {
        self.ceiling(key.checked_add(1)?)
    }

    /// One neighbour of a key.
    pub(crate) fn nearest(&self, key: Key, which: Neighbour) -> Option<(Key, u64)> {
        match which {
            Neighbour::Floor => self.floor(key),
            Neighbour::Ceiling => self.ceiling(key),
        }
    }

    /// The same neighbour of each key, in their order.
    pub(crate) fn nearest_many(
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

    pub(crate) fn count(&self, start: Bound<Key>, stop: Bound<Key>) -> usize {
        match self {
            Self::Narrow(alex) => {
                let (start, stop) = narrow_range(start, stop);
                alex.count(start, stop)
            }
            Self::Wide(alex) => alex.count(start, stop),
        }
    }

    /// As `Alex::rank`.
    pub(crate) fn rank(&self, key: Key) -> usize {
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
    pub(crate) fn nth(&self, rank: usize) -> Option<(Key, u64)> {
        either!(Tree, self, alex => entry(alex.nth(rank)))
    }

    pub(crate) fn boundaries(&self, parts: usize) -> KeyVec {
        either!(Tree, self, alex => alex.boundaries(parts).into())
    }

    /// As `Alex::scan_into`.
    #[expect(clippy::too_many_arguments, reason = "as Alex::scan_into")]
    pub(crate) fn scan_into(
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
    pub(crate) fn insert(&mut self, key: Key, payload: u64) -> Option<u64> {
        match self {
            Self::Narrow(alex) => alex.insert(narrow(key), payload),
            Self::Wide(alex) => alex.insert(key, payload),
        }
    }

    /// As `Alex::insert_many`.
    pub(crate) fn insert_many(&mut self, keys: Keys<'_>, payloads: &[u64], replaced: impl FnMut(usize, u64)) {
        match (&mut *self, keys) {
            (Self::Narrow(alex), Keys::Narrow(keys)) => alex.insert_many(keys, payloads, replaced),
            (Self::Wide(alex), Keys::Wide(keys)) => alex.insert_many(keys, payloads, replaced),
            _ => match self.of_own_width(keys) {
                Some(own) => self.insert_many(own.as_keys(), payloads, replaced),
                None => debug_assert!(false, "keys of 64 bits are checked before they are written"),
            },
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<u64> {
        match self {
            Self::Narrow(alex) => alex.remove(i64::try_from(key).ok()?),
            Self::Wide(alex) => alex.remove(key),
        }
    }

    /// As `Alex::remove_many`.
    pub(crate) fn remove_many(&mut self, keys: Keys<'_>, mut removed: impl FnMut(usize, u64)) {
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

    pub(crate) fn replace_if(&mut self, key: Key, expected: u64, new: u64) -> bool {
        match self {
            Self::Narrow(alex) => i64::try_from(key).is_ok_and(|key| alex.replace_if(key, expected, new)),
            Self::Wide(alex) => alex.replace_if(key, expected, new),
        }
    }
}

/// A key that is known to have 64 bits.
#[inline]
fn narrow(key: Key) -> i64 {
    debug_assert!(i64::try_from(key).is_ok(), "a key of 64 bits is checked before it is written");
    key as i64
}
