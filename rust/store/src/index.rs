//! The index of a store: keys to locations, opened from an image or built by replay. Gives no answer that
//! came from a damaged image: every call that meets damage says [`Damaged`] instead, and from then on every
//! call does. What replay found behind an image may be kept apart from it (`tail.rs`); until both are one,
//! only what looks up keys may be called. Knows nothing of locks; `rebuild.rs` is what helps against damage,
//! `whole.rs` makes one of two parts. Costs are those of `Alex`.

use std::ops::Bound;

use alex_index::Alex;

use crate::error::Error;
use crate::segment::Location;
use crate::tail::{self, Tail};

/// The image is damaged where a call needed it: the index must be rebuilt, and the call made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl From<Damaged> for Error {
    fn from(_: Damaged) -> Self {
        Self::ImageDamaged
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    alex: Alex,
    /// The image that it was opened from.
    image: Option<u32>,
    /// Newer than all else.
    tail: Option<Box<Tail>>,
}

impl Index {
    pub(crate) fn from_image(alex: Alex, image: u32) -> Self {
        Self { alex, image: Some(image), tail: None }
    }

    /// Keeps what comes from here on apart, so that it touches nothing of the image; for replay.
    pub(crate) fn keep_apart(&mut self) {
        self.tail = Some(Box::default());
    }

    /// Whether nothing is kept apart.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.tail.is_none()
    }

    /// Brings the next `limit` keys that are kept apart to the others; adds the records that this replaces to
    /// `dead`. Looking up keys gives the same answers before and after. O(limit * log n).
    pub(crate) fn join(&mut self, limit: usize, dead: &mut Vec<Location>) {
        if let Some(tail) = &mut self.tail
            && (!tail.join(&mut self.alex, limit, dead) || self.alex.damage().is_some())
        {
            // Nothing is left, or with damage nothing counts: the log has it all.
            self.tail = None;
        }
    }

    pub(crate) fn image(&self) -> Option<u32> {
        self.image
    }

    /// Whether damage was met.
    #[inline]
    pub(crate) fn is_damaged(&self) -> bool {
        self.alex.damage().is_some()
    }

    #[inline]
    fn vouch<T>(&self, found: T) -> Result<T, Damaged> {
        if self.is_damaged() { Err(Damaged) } else { Ok(found) }
    }

    /// For who checks for damage afterwards: the writer of an image.
    pub(crate) fn alex(&self) -> &Alex {
        &self.alex
    }

    /// An index that is being built from the log alone.
    pub(crate) fn replaced(&mut self, alex: Alex) {
        *self = Self { alex, image: None, tail: None };
    }

    pub(crate) fn len(&self) -> Result<usize, Damaged> {
        debug_assert!(self.is_whole(), "what the parts have in common is not known");
        self.vouch(self.alex.len())
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Damaged> {
        self.vouch(self.is_whole() && self.alex.is_empty())
    }

    pub(crate) fn nbytes(&self) -> usize {
        self.alex.nbytes()
    }

    pub(crate) fn height(&self) -> usize {
        self.alex.height()
    }

    #[inline]
    pub(crate) fn get(&self, key: i64) -> Result<Option<u64>, Damaged> {
        match self.tail.as_ref().and_then(|tail| tail.change(key)) {
            Some(newer) => Ok(tail::there(newer)),
            None => self.vouch(self.alex.get(key)),
        }
    }

    /// Hints that this key is about to be changed.
    #[inline]
    pub(crate) fn prefetch(&self, key: i64) {
        self.alex.prefetch(key);
    }

    #[inline]
    pub(crate) fn contains(&self, key: i64) -> Result<bool, Damaged> {
        match self.tail.as_ref().and_then(|tail| tail.change(key)) {
            Some(newer) => Ok(tail::there(newer).is_some()),
            None => self.vouch(self.alex.contains(key)),
        }
    }

    pub(crate) fn get_many(
        &self,
        keys: &[i64],
        mut visit: impl FnMut(usize, Option<u64>),
    ) -> Result<(), Damaged> {
        match &self.tail {
            None => self.alex.get_many(keys, visit),
            Some(tail) => self.alex.get_many(keys, |i, found| {
                visit(i, tail.change(keys[i]).map_or(found, tail::there));
            }),
        }
        self.vouch(())
    }

    pub(crate) fn first(&self) -> Result<Option<(i64, u64)>, Damaged> {
        self.vouch(self.alex.first())
    }

    pub(crate) fn last(&self) -> Result<Option<(i64, u64)>, Damaged> {
        self.vouch(self.alex.last())
    }

    pub(crate) fn floor(&self, key: i64) -> Result<Option<(i64, u64)>, Damaged> {
        self.vouch(self.alex.floor(key))
    }

    pub(crate) fn ceiling(&self, key: i64) -> Result<Option<(i64, u64)>, Damaged> {
        self.vouch(self.alex.ceiling(key))
    }

    pub(crate) fn lower(&self, key: i64) -> Result<Option<(i64, u64)>, Damaged> {
        self.vouch(self.alex.lower(key))
    }

    pub(crate) fn higher(&self, key: i64) -> Result<Option<(i64, u64)>, Damaged> {
        self.vouch(self.alex.higher(key))
    }

    pub(crate) fn count(&self, start: Bound<i64>, stop: Bound<i64>) -> Result<usize, Damaged> {
        self.vouch(self.alex.count(start, stop))
    }

    pub(crate) fn boundaries(&self, parts: usize) -> Result<Vec<i64>, Damaged> {
        self.vouch(self.alex.boundaries(parts))
    }

    /// As `Alex::scan_into`. With damage nothing is appended.
    pub(crate) fn scan_into(
        &self,
        start: Bound<i64>,
        stop: Bound<i64>,
        reverse: bool,
        limit: usize,
        keys: &mut Vec<i64>,
        locations: &mut Vec<u64>,
    ) -> Result<(), Damaged> {
        let had = keys.len();
        self.alex.scan_into(start, stop, reverse, limit, keys, locations);
        if self.is_damaged() {
            keys.truncate(had);
            locations.truncate(had);
        }
        self.vouch(())
    }

    #[inline]
    pub(crate) fn insert(&mut self, key: i64, location: u64) -> Result<Option<u64>, Damaged> {
        let old = self.alex.insert(key, location);
        self.vouch(old)
    }

    pub(crate) fn insert_many(
        &mut self,
        keys: &[i64],
        locations: &[u64],
        replaced: impl FnMut(usize, u64),
    ) -> Result<(), Damaged> {
        match &mut self.tail {
            None => self.alex.insert_many(keys, locations, replaced),
            Some(tail) => tail.insert_many(keys, locations, replaced),
        }
        self.vouch(())
    }

    pub(crate) fn remove(&mut self, key: i64) -> Result<Option<u64>, Damaged> {
        let old = match &mut self.tail {
            None => self.alex.remove(key),
            Some(tail) => tail.remove(key),
        };
        self.vouch(old)
    }

    pub(crate) fn remove_many(
        &mut self,
        keys: &[i64],
        removed: impl FnMut(usize, u64),
    ) -> Result<(), Damaged> {
        self.alex.remove_many(keys, removed);
        self.vouch(())
    }

    pub(crate) fn replace_if(&mut self, key: i64, expected: u64, new: u64) -> Result<bool, Damaged> {
        let replaced = match &mut self.tail {
            Some(tail) if tail.change(key).is_some() => tail.replace_if(key, expected, new),
            _ => self.alex.replace_if(key, expected, new),
        };
        self.vouch(replaced)
    }

    /// Forgets everything, the image too; not a way out of damage.
    pub(crate) fn clear(&mut self) -> Result<(), Damaged> {
        self.vouch(())?;
        self.replaced(Alex::new());
        Ok(())
    }
}
