//! The index of a store: keys to locations, opened from an image or built by replay. Gives no answer that
//! came from a damaged image: every call that meets damage says [`Damaged`] instead, and from then on every
//! call does. Knows nothing of locks; `rebuild.rs` is what helps. Costs are those of `Alex`.

use std::ops::Bound;

use alex_index::Alex;

use crate::error::Error;

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
}

impl Index {
    pub(crate) fn from_image(alex: Alex, image: u32) -> Self {
        Self { alex, image: Some(image) }
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
        *self = Self { alex, image: None };
    }

    pub(crate) fn len(&self) -> usize {
        self.alex.len()
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Damaged> {
        self.vouch(self.alex.is_empty())
    }

    pub(crate) fn nbytes(&self) -> usize {
        self.alex.nbytes()
    }

    pub(crate) fn height(&self) -> usize {
        self.alex.height()
    }

    #[inline]
    pub(crate) fn get(&self, key: i64) -> Result<Option<u64>, Damaged> {
        self.vouch(self.alex.get(key))
    }

    #[inline]
    pub(crate) fn contains(&self, key: i64) -> Result<bool, Damaged> {
        self.vouch(self.alex.contains(key))
    }

    pub(crate) fn get_many(
        &self,
        keys: &[i64],
        visit: impl FnMut(usize, Option<u64>),
    ) -> Result<(), Damaged> {
        self.alex.get_many(keys, visit);
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
        self.alex.insert_many(keys, locations, replaced);
        self.vouch(())
    }

    pub(crate) fn remove(&mut self, key: i64) -> Result<Option<u64>, Damaged> {
        let old = self.alex.remove(key);
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
        let replaced = self.alex.replace_if(key, expected, new);
        self.vouch(replaced)
    }

    /// Forgets everything, the image too; not a way out of damage.
    pub(crate) fn clear(&mut self) -> Result<(), Damaged> {
        self.vouch(())?;
        self.replaced(Alex::new());
        Ok(())
    }
}
