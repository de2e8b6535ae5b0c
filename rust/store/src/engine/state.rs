//! What readers see: the index, the segments it points into, and the versions of it. Changed only under its write
//! lock, which is never held across a system call. Knows nothing of the log's end.

use std::mem::take;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::location::Location;
use crate::index::checked::{Damaged, Index};
use crate::index::versions::{Era, Version, View};
use crate::keys::{Key, KeyVec, Keys};
use crate::log::segment::Segment;
use crate::log::segments::Segments;

/// The published state of an open store.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) segments: Arc<Segments>,
    /// The last commit that the index holds.
    seq: u64,
    /// The commit that the index is being changed for.
    applying: u64,
    era: Arc<Era>,
    pub(crate) closed: bool,
}

impl State {
    pub(crate) fn new(index: Index, segments: Segments) -> Self {
        let era = Arc::new(Era::new(index.width()));
        Self { index, segments: Arc::new(segments), seq: 0, applying: 0, era, closed: false }
    }

    /// Lets go of everything and returns it, to be dropped with no lock held. `empty` takes the place of the
    /// index; if there was no memory for one, the index stays until the handle goes.
    pub(crate) fn close(&mut self, empty: Option<Index>) -> impl Sized + use<> {
        self.closed = true;
        let index = empty.map(|empty| std::mem::replace(&mut self.index, empty));
        (index, take(&mut self.segments), self.next_era())
    }

    /// The state as it is, for as long as the version lives. O(log versions).
    pub(crate) fn pin(&self) -> Version {
        self.era.pin(self.seq)
    }

    /// A version, for reading.
    #[inline]
    pub(crate) fn at<'v>(&'v self, version: &'v Version) -> Result<View<'v>> {
        version.view(&self.index, &self.segments, &self.era, self.seq)
    }

    /// Whether anybody reads a version.
    pub(crate) fn is_pinned(&self) -> bool {
        self.era.is_pinned()
    }

    /// The versions of the state.
    pub(crate) fn era(&self) -> &Arc<Era> {
        &self.era
    }

    /// Must be called before the first change of a commit, and before the first change of a further attempt.
    #[inline]
    pub(crate) fn begin(&mut self, seq: u64) {
        self.applying = seq;
    }

    /// Must be called after the last change of a commit.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.seq = self.applying;
    }

    /// Says that the index is as it was after the commit `seq`, whatever it was changed for.
    pub(crate) fn is_after(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Gives up all versions: what the commit `seq` changed is not known.
    pub(crate) fn lose_versions(&self, seq: u64, error: Error) {
        self.era.lose(seq, error);
    }

    /// Points a key at its newest record. Returns the location of the record that this replaces.
    #[inline]
    pub(crate) fn put(&mut self, key: Key, location: Location) -> Result<Option<Location>, Damaged> {
        let was = self.index.insert(key, location.0)?;
        if self.is_pinned() {
            self.era.changed(key, was, self.applying);
        }
        Ok(was.map(Location))
    }

    /// Points many keys at their newest records, in order. Adds the replaced records to `dead`.
    pub(crate) fn put_many(
        &mut self,
        keys: Keys<'_>,
        locations: &[u64],
        dead: &mut Vec<Location>,
    ) -> Result<(), Damaged> {
        if self.index.is_empty()? {
            // That nothing was there needs no notes.
            self.seal()?;
            // One pass over keys if they ascend; refused at once if they do not.
            if self.index.build(keys, locations)? {
                return Ok(());
            }
        }
        if !self.is_pinned() {
            return self.index.insert_many(keys, locations, |_, old| dead.push(Location(old)));
        }
        let mut was = Vec::new();
        let lacks_memory = was.try_reserve_exact(keys.len()).is_err();
        if !lacks_memory {
            was.resize(keys.len(), 0);
        }
        self.index.insert_many(keys, locations, |i, old| {
            dead.push(Location(old));
            if let Some(was) = was.get_mut(i) {
                *was = old;
            }
        })?;
        if lacks_memory {
            self.lose_versions(self.applying, Error::OutOfMemory { bytes: 8 * keys.len() as u64 });
        } else {
            self.era.changed_many(keys, &was, self.applying);
        }
        Ok(())
    }

    /// Removes a key. Returns the location of its record.
    pub(crate) fn delete(&mut self, key: Key) -> Result<Option<Location>, Damaged> {
        let was = self.index.remove(key)?;
        if was.is_some() && self.is_pinned() {
            self.era.changed(key, was, self.applying);
        }
        Ok(was.map(Location))
    }

    /// Removes every key from `first` to `last`. Adds their records to `dead`. O(keys in the range).
    pub(crate) fn delete_range(
        &mut self,
        first: Key,
        last: Key,
        dead: &mut Vec<Location>,
    ) -> Result<(), Damaged> {
        self.delete_range_with(first, last, dead, &mut (KeyVec::default(), Vec::new()))
    }

    /// Like [`State::delete_range`], with memory for the keys in the range and their locations.
    pub(crate) fn delete_range_with(
        &mut self,
        first: Key,
        last: Key,
        dead: &mut Vec<Location>,
        (keys, locations): &mut (KeyVec, Vec<u64>),
    ) -> Result<(), Damaged> {
        keys.clear();
        locations.clear();
        let (start, stop) = (Bound::Included(first), Bound::Included(last));
        self.index.scan_into(start, stop, false, usize::MAX, keys, locations)?;
        if keys.len() == self.index.len()? {
            if !self.seal()? {
                self.index.take()?;
            }
        } else {
            self.index.remove_many(keys.as_keys(), |_, _| {})?;
            if self.is_pinned() {
                self.era.changed_many(keys.as_keys(), locations, self.applying);
            }
        }
        dead.extend(locations.drain(..).map(Location));
        Ok(())
    }

    /// Begins another era, and returns the one that ends.
    fn next_era(&mut self) -> Arc<Era> {
        let next = Arc::new(Era::new(self.index.width()));
        std::mem::replace(&mut self.era, next)
    }

    /// If anybody reads a version, keeps the index whole for them and goes on with an empty one.
    fn seal(&mut self) -> Result<bool, Damaged> {
        if !self.is_pinned() {
            return Ok(false);
        }
        let index = self.index.take()?;
        self.next_era().seal(index, &self.segments);
        Ok(true)
    }

    /// Goes on with another index and other segments, as they are after the commit `seq`. Versions keep what they see.
    /// Returns what nobody needs any more, to be dropped with no lock held.
    pub(crate) fn replace(&mut self, fresh: Self, seq: u64) -> impl Sized + use<> {
        if let Err(Damaged) = self.seal() {
            let error = self.index.failure().unwrap_or(Error::ImageDamaged);
            self.lose_versions(seq, error);
        }
        let old = (
            std::mem::replace(&mut self.index, fresh.index),
            std::mem::replace(&mut self.segments, fresh.segments),
        );
        self.is_after(seq);
        old
    }

    /// Adds a segment that records will be read from.
    pub(crate) fn add_segment(&mut self, segment: Arc<Segment>) {
        Arc::make_mut(&mut self.segments).insert(segment);
    }

    /// Removes segments that the index does not point into. Versions may still.
    pub(crate) fn remove_segments(&mut self, ids: &[u32]) {
        let segments = Arc::make_mut(&mut self.segments);
        for &id in ids {
            if let Some(segment) = segments.remove(id)
                && self.era.is_pinned()
            {
                self.era.freed(segment, self.seq);
            }
        }
    }
}
