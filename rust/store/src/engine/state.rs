//! What readers see: the index, the segments it points into, and the open scans. Changed only under its write
//! lock, which is never held across a system call. Knows nothing of the log's end.

use std::mem::take;
use std::ops::Bound;
use std::sync::Arc;

use crate::format::location::Location;
use crate::index::checked::{Damaged, Index};
use crate::index::noted::Moments;
use crate::index::open_scans::OpenScans;
use crate::log::batch::Op;
use crate::log::segments::Segments;

/// The published state of an open store.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) segments: Arc<Segments>,
    pub(crate) scans: OpenScans,
    /// Large reads in progress.
    pub(crate) moments: Moments,
    pub(crate) closed: bool,
}

impl State {
    pub(crate) fn new(index: Index, segments: Segments) -> Self {
        Self {
            index,
            segments: Arc::new(segments),
            scans: OpenScans::default(),
            moments: Moments::default(),
            closed: false,
        }
    }

    /// Lets go of everything and returns it, to be dropped with no lock held. `empty` takes the place of the
    /// index; if there was no memory for one, the index stays until the handle goes.
    pub(crate) fn close(&mut self, empty: Option<Index>) -> impl Sized + use<> {
        self.closed = true;
        let index = empty.map(|empty| std::mem::replace(&mut self.index, empty));
        (index, take(&mut self.segments), take(&mut self.scans), take(&mut self.moments))
    }

    /// Must be called, and succeed, before the first change of a commit.
    #[inline]
    pub(crate) fn before_change<'a>(&mut self, ops: impl Iterator<Item = Op<'a>>) -> Result<(), Damaged> {
        self.scans.before_change(&self.index, &self.segments)?;
        self.moments.before_change(&self.index, ops)
    }

    /// Like [`State::before_change`], for many puts.
    pub(crate) fn before_puts(&mut self, keys: &[i64]) -> Result<(), Damaged> {
        self.scans.before_change(&self.index, &self.segments)?;
        self.moments.before_puts(&self.index, keys)
    }

    /// Points a key at its newest record. Returns the location of the record that this replaces.
    #[inline]
    pub(crate) fn put(&mut self, key: i64, location: Location) -> Result<Option<Location>, Damaged> {
        Ok(self.index.insert(key, location.0)?.map(Location))
    }

    /// Points many keys at their newest records, in order. Adds the replaced records to `dead`.
    pub(crate) fn put_many(
        &mut self,
        keys: &[i64],
        locations: &[u64],
        dead: &mut Vec<Location>,
    ) -> Result<(), Damaged> {
        // One pass over keys if they ascend; refused at once if they do not.
        if self.index.is_empty()? && self.index.build(keys, locations)? {
            return Ok(());
        }
        self.index.insert_many(keys, locations, |_, old| dead.push(Location(old)))
    }

    /// Removes a key. Returns the location of its record.
    pub(crate) fn delete(&mut self, key: i64) -> Result<Option<Location>, Damaged> {
        Ok(self.index.remove(key)?.map(Location))
    }

    /// Removes every key from `first` to `last`. Adds their records to `dead`. O(keys in the range).
    pub(crate) fn delete_range(
        &mut self,
        first: i64,
        last: i64,
        dead: &mut Vec<Location>,
    ) -> Result<(), Damaged> {
        self.delete_range_with(first, last, dead, &mut (Vec::new(), Vec::new()))
    }

    /// Like [`State::delete_range`], with memory for the keys in the range and their locations.
    pub(crate) fn delete_range_with(
        &mut self,
        first: i64,
        last: i64,
        dead: &mut Vec<Location>,
        (keys, locations): &mut (Vec<i64>, Vec<u64>),
    ) -> Result<(), Damaged> {
        keys.clear();
        locations.clear();
        let (start, stop) = (Bound::Included(first), Bound::Included(last));
        self.index.scan_into(start, stop, false, usize::MAX, keys, locations)?;
        if keys.len() == self.index.len()? {
            self.index.clear()?;
        } else {
            self.index.remove_many(keys, |_, _| {})?;
        }
        dead.extend(locations.drain(..).map(Location));
        Ok(())
    }
}
