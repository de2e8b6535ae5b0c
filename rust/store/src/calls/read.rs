//! Reading: the index says where, the segment has the bytes. Locks are held for the index part only.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::calls::moment::Moment;
use crate::calls::store::Reader;
use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::error::{Error, Result};
use crate::format::location::Location;
use crate::index::checked::{Damaged, Index};
use crate::index::versions::{ScanRange, Version};
use crate::keys::{Key, KeyVec, Keys};
use crate::log::segment::Segment;
use crate::options::ReadMode;
use crate::values::ahead::AsksAhead;
use crate::values::parallel;
use crate::values::value::{self, HowMuch, Value, Values};

/// Keys that a large batch looks up at a time: the results stay in the nearest caches until they are read,
/// and the read lock is held only briefly.
pub(crate) const PIECE_KEYS: usize = 1 << 12;

/// From this many bytes on, a caller should let other threads of its interpreter go on while one value is decompressed.
const SLOW_BYTES: u64 = 64 << 10;

impl Reader {
    /// The value of a key. O(log n + bytes).
    pub fn get(&self, key: impl Into<Key>) -> Result<Option<Value>> {
        let key = key.into();
        self.shared.mending(|| self.shared.value_of(key, self.at()))
    }

    fn at(&self) -> Option<&Version> {
        self.at.as_deref()
    }

    /// Like [`Reader::get`], but returns `None` instead of waiting for a lock or a system call.
    #[inline]
    pub fn try_get(&self, key: impl Into<Key>) -> Option<Result<Option<Value>>> {
        let key = key.into();
        if self.shared.options.read_mode == ReadMode::Pread {
            return None;
        }
        let found = match self.shared.try_read_parts()? {
            Ok(state) => find(&state, key, self.at()),
            Err(error) => return Some(Err(error)),
        };
        match &found {
            Err(Error::ImageDamaged) => return None,
            Ok(Some((segment, offset))) if segment.decompresses(*offset, SLOW_BYTES) => return None,
            _ => {}
        }
        Some(found.and_then(|found| {
            found.map(|(segment, offset)| self.shared.read(&segment, offset, key)).transpose()
        }))
    }

    /// Whether a key exists. O(log n).
    pub fn contains(&self, key: impl Into<Key>) -> Result<bool> {
        let key = key.into();
        self.shared.mending(|| contains(&*self.shared.read_parts()?, key, self.at()))
    }

    /// Like [`Reader::contains`], but returns `None` instead of waiting for a lock.
    pub fn try_contains(&self, key: impl Into<Key>) -> Option<Result<bool>> {
        let key = key.into();
        match self.shared.try_read_parts()? {
            Ok(state) => {
                let found = contains(&state, key, self.at());
                (!matches!(found, Err(Error::ImageDamaged))).then_some(found)
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// The item with the lowest key.
    pub fn first(&self) -> Result<Option<(Key, Value)>> {
        self.end((Bound::Unbounded, Bound::Unbounded), false, Index::first)
    }

    /// The item with the highest key.
    pub fn last(&self) -> Result<Option<(Key, Value)>> {
        self.end((Bound::Unbounded, Bound::Unbounded), true, Index::last)
    }

    /// The item with the highest key that is at most `key`.
    pub fn floor(&self, key: impl Into<Key>) -> Result<Option<(Key, Value)>> {
        let key = key.into();
        self.end((Bound::Unbounded, Bound::Included(key)), true, |index| index.floor(key))
    }

    /// The item with the lowest key that is at least `key`.
    pub fn ceiling(&self, key: impl Into<Key>) -> Result<Option<(Key, Value)>> {
        let key = key.into();
        self.end((Bound::Included(key), Bound::Unbounded), false, |index| index.ceiling(key))
    }

    /// The item with the highest key below `key`.
    pub fn lower(&self, key: impl Into<Key>) -> Result<Option<(Key, Value)>> {
        let key = key.into();
        self.end((Bound::Unbounded, Bound::Excluded(key)), true, |index| index.lower(key))
    }

    /// The item with the lowest key above `key`.
    pub fn higher(&self, key: impl Into<Key>) -> Result<Option<(Key, Value)>> {
        let key = key.into();
        self.end((Bound::Excluded(key), Bound::Unbounded), false, |index| index.higher(key))
    }

    /// The item at an end of a range. `find` finds the same in the index as it is.
    fn end(
        &self,
        (start, stop): (Bound<Key>, Bound<Key>),
        reverse: bool,
        find: impl Fn(&Index) -> Result<Option<(Key, u64)>, Damaged>,
    ) -> Result<Option<(Key, Value)>> {
        if self.at.is_none() {
            return self.shared.mending(|| self.shared.item(&find));
        }
        let run = self.scan(ScanRange { start, stop, reverse, limit: Some(1) })?.take(1)?;
        let Some(key) = run.keys.first() else { return Ok(None) };
        let location = run.location(0);
        Ok(Some((key, self.shared.read(run.segments.at(location)?, location.offset(), key)?)))
    }

    /// The values of many keys, in their order. O(keys * log n), with the cache misses overlapped.
    pub fn get_many<'k>(&self, keys: impl Into<Keys<'k>>) -> Result<Values> {
        let mut values = Values::default();
        self.get_many_into(keys, &mut values)?;
        Ok(values)
    }

    /// Like [`Reader::get_many`], but reuses the memory of values that were read before.
    pub fn get_many_into<'k>(&self, keys: impl Into<Keys<'k>>, values: &mut Values) -> Result<()> {
        self.moment()?.read_into(keys.into(), HowMuch::All, values)
    }

    /// Like [`Moment::get_rows`], as of now.
    ///
    /// # Panics
    /// If `rows` does not hold `keys.len()` rows.
    pub fn get_rows<'k>(
        &self,
        keys: impl Into<Keys<'k>>,
        width: usize,
        rows: &mut [u8],
    ) -> Result<Option<usize>> {
        self.moment()?.get_rows(keys, width, rows)
    }

    /// Like [`Moment::contains_many`], as of now.
    pub fn contains_many<'k>(&self, keys: impl Into<Keys<'k>>, found: &mut [bool]) -> Result<()> {
        self.moment()?.contains_many(keys, found)
    }

    /// How many keys are in a range. O(log n + leaves of the range), and for a snapshot O(keys of the range that have
    /// changed since).
    pub fn count(&self, start: Bound<Key>, stop: Bound<Key>) -> Result<u64> {
        let Some(version) = self.at() else {
            return self.shared.mending(|| Ok(self.shared.read_state()?.index.count(start, stop)? as u64));
        };
        let (mut count, mut rest) = (0, Some((start, stop)));
        while let Some((start, stop)) = rest {
            let (some, further) =
                self.shared.mending(|| self.shared.read_state()?.at(version)?.count(start, stop))?;
            (count, rest) = (count + some, further);
        }
        Ok(count)
    }

    /// Splits the keys into `parts` ranges of about equal counts, for a snapshot as the keys are now. Returns the
    /// `parts - 1` keys with which the second and later ranges begin, ascending; keys repeat if there are fewer keys than
    /// parts. O(leaves + parts).
    pub fn boundaries(&self, parts: usize) -> Result<KeyVec> {
        self.shared.mending(|| Ok(self.shared.read_state()?.index.boundaries(parts)?))
    }

    /// How many keys there are. O(1), and for a snapshot as [`Reader::count`].
    pub fn len(&self) -> Result<u64> {
        if self.at.is_some() {
            return self.count(Bound::Unbounded, Bound::Unbounded);
        }
        self.shared.mending(|| Ok(self.shared.read_state()?.index.len()? as u64))
    }

    /// Like [`Reader::len`], but returns `None` instead of waiting for a lock, or counting.
    pub fn try_len(&self) -> Option<Result<u64>> {
        if self.at.is_some() {
            return None;
        }
        match self.shared.try_read_state()? {
            Ok(state) => state.index.len().ok().map(|len| Ok(len as u64)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl Moment {
    /// The values of many keys, all at once, in the memory of values that were read before.
    pub fn get_many_into<'k>(&self, keys: impl Into<Keys<'k>>, values: &mut Values) -> Result<()> {
        self.read_into(keys.into(), HowMuch::All, values)
    }

    /// Like [`Moment::get_many_into`], but reads only as many long values as stay in the caches until they
    /// are copied, at least one; `values.len()` says how many keys were read, counted from the first.
    pub fn get_some_into<'k>(&self, keys: impl Into<Keys<'k>>, values: &mut Values) -> Result<()> {
        self.read_into(keys.into(), HowMuch::Some { left_packed: 0 }, values)
    }

    /// Like [`Moment::get_some_into`], but of [`SHARES`](crate::SHARES) compressed values of up to 4 KiB leaves `left_packed`
    /// as they are: the caller decompresses them to where it wants them, by [`Values::unpack`].
    pub fn get_some_packed_into<'k>(
        &self,
        keys: impl Into<Keys<'k>>,
        left_packed: usize,
        values: &mut Values,
    ) -> Result<()> {
        self.read_into(keys.into(), HowMuch::Some { left_packed }, values)
    }

    fn read_into(&self, keys: Keys<'_>, how: HowMuch, values: &mut Values) -> Result<()> {
        values.read(keys, how, self.shared.how_to_read(), |locations| {
            // One piece at a time, so that no writer waits for all of them.
            let mut segments = Arc::default();
            for piece in keys.chunks(PIECE_KEYS) {
                segments = self.locate(piece, locations)?;
            }
            Ok(segments)
        })
    }

    /// Reads the values of many keys, all `width` bytes long, one after another into `rows`. A missing key
    /// leaves its row unchanged; returns the position of the first such key. O(keys * log n + bytes).
    ///
    /// A value of another length causes [`Error::Invalid`], which names its key. Several threads read a large
    /// batch.
    ///
    /// # Panics
    /// If `rows` does not hold `keys.len()` rows.
    pub fn get_rows<'k>(
        &self,
        keys: impl Into<Keys<'k>>,
        width: usize,
        mut rows: &mut [u8],
    ) -> Result<Option<usize>> {
        let keys = keys.into();
        assert_eq!(Some(rows.len()), keys.len().checked_mul(width), "one row for each key");
        let part_len = parallel::part_len(keys.len(), width);
        let parts = keys.chunks(part_len).map(|keys| {
            let (own, rest) = std::mem::take(&mut rows).split_at_mut(keys.len() * width);
            rows = rest;
            (keys, own)
        });
        let mut missing = None;
        let read = parallel::map(parts, |(keys, rows)| self.get_rows_of_part(keys, width, rows));
        for (number, found) in read.into_iter().enumerate() {
            missing = missing.or(found?.map(|at| number * part_len + at));
        }
        Ok(missing)
    }

    fn get_rows_of_part(&self, keys: Keys<'_>, width: usize, mut rows: &mut [u8]) -> Result<Option<usize>> {
        let mut missing = None;
        let mut locations = Vec::new();
        for (start, keys) in (0..).step_by(PIECE_KEYS).zip(keys.chunks(PIECE_KEYS)) {
            let (own, rest) = std::mem::take(&mut rows).split_at_mut(keys.len() * width);
            rows = rest;
            locations.clear();
            let segments = self.locate(keys, &mut locations)?;
            let (verify, asks) = self.shared.how_to_read();
            let mut ahead = asks.over(locations.iter().map(|&location| (&*segments, location)));
            value::for_each(&segments, keys, &locations, verify, &mut ahead, |i, found| {
                match found {
                    Some(value) if value.len() == width => {
                        value.copy_to(&mut own[i * width..(i + 1) * width])?;
                    }
                    Some(value) => {
                        return Err(Error::Invalid(format!(
                            "the value of key {} has {} bytes, and each row takes {width}",
                            self.shared.opened.schema.key.shown(keys.get(i)),
                            value.len()
                        )));
                    }
                    None => missing = missing.or(Some(start + i)),
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(missing)
    }

    /// Which of many keys exist; `found` must be as long as `keys`. Reads no values. O(keys * log n).
    pub fn contains_many<'k>(&self, keys: impl Into<Keys<'k>>, found: &mut [bool]) -> Result<()> {
        let (keys, mut locations) = (keys.into(), Vec::new());
        for (keys, found) in keys.chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            locations.clear();
            self.locate(keys, &mut locations)?;
            found.iter_mut().zip(&locations).for_each(|(found, location)| *found = location.is_some());
        }
        Ok(())
    }
}

/// The location of a key's record: as it is, or in a version.
#[inline]
fn find(state: &State, key: Key, at: Option<&Version>) -> Result<Option<(Arc<Segment>, u64)>> {
    let Some(version) = at else {
        let Some(location) = state.index.get(key)?.map(Location) else { return Ok(None) };
        let segment = state.segments.at(location)?;
        // Prefetch now: only the header would tell, later, that there are further lines to fetch.
        segment.prefetch(location.offset());
        return Ok(Some((Arc::clone(segment), location.offset())));
    };
    let view = state.at(version)?;
    let Some(location) = view.find(key)? else { return Ok(None) };
    Ok(Some((Arc::clone(view.segments().at(location)?), location.offset())))
}

fn contains(state: &State, key: Key, at: Option<&Version>) -> Result<bool> {
    match at {
        None => Ok(state.index.contains(key)?),
        Some(version) => Ok(state.at(version)?.find(key)?.is_some()),
    }
}

impl Shared {
    /// Whether checksums are verified, and whether batches ask for pages ahead.
    pub(crate) fn how_to_read(&self) -> (bool, &AsksAhead) {
        (self.options.verify_reads, &self.asks_ahead)
    }

    #[inline]
    fn read(&self, segment: &Arc<Segment>, offset: u64, key: Key) -> Result<Value> {
        Value::read(segment, offset, key, self.options.verify_reads)
            .map_err(|error| self.unless_closed(error))
    }

    /// Reads of one key do not make closing wait, which may let go of the directory before such a read has opened a
    /// segment's file.
    #[cold]
    fn unless_closed(&self, error: Error) -> Error {
        if matches!(error, Error::Io { .. }) && self.lifetime.is_closed() {
            self.closed_error()
        } else {
            error
        }
    }

    /// The value of a key.
    pub(crate) fn value_of(&self, key: Key, at: Option<&Version>) -> Result<Option<Value>> {
        let found = find(&*self.read_parts()?, key, at)?;
        found.map(|(segment, offset)| self.read(&segment, offset, key)).transpose()
    }

    /// The item that `find` finds in the index.
    pub(crate) fn item(
        &self,
        find: impl FnOnce(&Index) -> Result<Option<(Key, u64)>, Damaged>,
    ) -> Result<Option<(Key, Value)>> {
        let (key, segment, offset) = {
            let state = self.read_state()?;
            let Some((key, location)) = find(&state.index)? else { return Ok(None) };
            let location = Location(location);
            (key, Arc::clone(state.segments.at(location)?), location.offset())
        };
        Ok(Some((key, self.read(&segment, offset, key)?)))
    }
}
