//! Scans: the items of a key range of a version of the store, read run by run.

use std::sync::Arc;

use crate::calls::read::PIECE_KEYS;
use crate::calls::store::Reader;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::format::location::Location;
use crate::index::versions::{Rest, ScanRange, Version};
use crate::keys::{Key, KeyVec};
use crate::log::segments::Segments;
use crate::room::{room, with_room};
use crate::values::value::{HowMuch, Values};

/// A run of entries: keys and the locations of their records.
pub(crate) struct Run {
    pub(crate) keys: KeyVec,
    pub(crate) locations: Vec<u64>,
    pub(crate) segments: Arc<Segments>,
}

impl Run {
    pub(crate) fn location(&self, i: usize) -> Location {
        Location(self.locations[i])
    }
}

/// A run of a scan.
pub struct ScanRun {
    /// The keys, in the scan's order.
    pub keys: KeyVec,
    /// Their values.
    pub values: Values,
}

/// An iterator over the store as it was when the scan was made.
pub struct Scan {
    pub(crate) shared: Arc<Shared>,
    version: Arc<Version>,
    rest: Rest,
}

impl Reader {
    /// The items of a range as they are now, whatever is written while they are read. O(log snapshots).
    pub fn scan(&self, range: ScanRange) -> Result<Scan> {
        self.shared.check_usable()?;
        Ok(Scan { shared: Arc::clone(&self.shared), version: self.version()?, rest: Rest::of(range) })
    }
}

impl Scan {
    /// Like `Snapshot::keeps_something`.
    pub fn keeps_something(&self) -> bool {
        self.version.keeps_something()
    }

    /// Another scan of what is left, of the same moment.
    #[must_use]
    pub fn of_rest(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            version: Arc::clone(&self.version),
            rest: self.rest.without_memory(),
        }
    }

    /// Whether nothing is left; if false, there may still be nothing.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Up to `max` further items; an empty run means the end. O(log n + items), and a read of each value.
    pub fn next_run(&mut self, max: usize) -> Result<ScanRun> {
        let _running = self.shared.enter()?;
        let run = self.take(max)?;
        let mut values = Values::default();
        values.read(run.keys.as_keys(), HowMuch::All, self.shared.how_to_read(), |locations| {
            room(locations, run.locations.len())?;
            locations.extend(run.locations.iter().map(|&raw| Some(Location(raw))));
            Ok(run.segments)
        })?;
        Ok(ScanRun { keys: run.keys, values })
    }

    /// Up to `max` further keys without their values; an empty vector means the end.
    pub fn next_keys(&mut self, max: usize) -> Result<KeyVec> {
        let _running = self.shared.enter()?;
        Ok(self.take(max)?.keys)
    }

    /// Appends up to `max` further keys to the caller's vector, fewer only at the end. O(log n + keys).
    pub fn next_keys_into(&mut self, max: usize, keys: &mut KeyVec) -> Result<()> {
        let _running = self.shared.enter()?;
        let (mut piece, mut locations) = (KeyVec::default(), with_room(PIECE_KEYS.min(max))?);
        let end = keys.len().saturating_add(max);
        while keys.len() < end {
            let wanted = PIECE_KEYS.min(end - keys.len());
            piece.clear();
            locations.clear();
            self.take_into(wanted, &mut piece, &mut locations)?;
            keys.extend(piece.as_keys())?;
            if piece.len() < wanted {
                break;
            }
        }
        Ok(())
    }

    /// How many items are left: exact if nothing has changed in their range since the scan was made, else about as many.
    /// As [`Reader::count`] of a store as it is.
    pub fn likely_left(&self) -> Result<u64> {
        let Some((start, stop, left)) = self.rest.left() else { return Ok(0) };
        let likely = self.shared.mending(|| {
            let state = self.shared.read_state()?;
            state.at(&self.version)?.likely_count(start, stop)
        })?;
        Ok(likely.min(left))
    }

    /// Like [`Scan::take`], and also returns what lookups of those keys find, if nothing changed since the
    /// scan was made.
    pub(crate) fn take_looked_up(&mut self, max: usize) -> Result<(Run, Option<Vec<Option<u64>>>)> {
        let Self { shared, version, rest } = self;
        let unchanged = shared.mending(|| {
            let state = shared.read_state()?;
            let view = state.at(version)?;
            if !view.is_current() {
                return Ok(None);
            }
            let (mut keys, mut locations) = (KeyVec::default(), Vec::new());
            rest.take(&view, max, &mut keys, &mut locations)?;
            // Under the same hold of the lock, since records may be moved. The leaves of these keys were just read, so no
            // damage can come up here.
            let mut looked_up = Vec::with_capacity(keys.len());
            state.index.get_many(keys.as_keys(), |_, location| looked_up.push(location))?;
            Ok(Some((Run { keys, locations, segments: view.segments() }, Some(looked_up))))
        })?;
        match unchanged {
            Some(run) => Ok(run),
            None => Ok((self.take(max)?, None)),
        }
    }

    /// Up to `max` further entries; an empty run means the end.
    pub(crate) fn take(&mut self, max: usize) -> Result<Run> {
        let (mut keys, mut locations) = (KeyVec::default(), Vec::new());
        let segments = self.take_into(max, &mut keys, &mut locations)?;
        Ok(Run { keys, locations, segments })
    }

    /// Undoes the taking of the last `items` entries, those behind the key `last`.
    pub(crate) fn put_back(&mut self, last: Key, items: usize) {
        self.rest.put_back(last, items as u64);
    }

    /// Like [`Scan::take`], but appends to the caller's vectors, fewer entries only at the end. Returns the segments that
    /// the records, and those of earlier calls, are in.
    pub(crate) fn take_into(
        &mut self,
        max: usize,
        keys: &mut KeyVec,
        locations: &mut Vec<u64>,
    ) -> Result<Arc<Segments>> {
        let Self { shared, version, rest } = self;
        let had = keys.len();
        loop {
            let begun = keys.len();
            let segments = shared.mending(|| {
                keys.truncate(begun);
                locations.truncate(begun);
                let state = shared.read_state()?;
                let view = state.at(version)?;
                rest.take(&view, had + max - begun, keys, locations)?;
                Ok(view.segments())
            })?;
            if rest.is_empty() || keys.len() - had >= max {
                return Ok(segments);
            }
        }
    }
}
