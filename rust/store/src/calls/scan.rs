//! Scans: the items of a key range as they were when the scan began, read run by run. `index/open_scans.rs`
//! explains how that works beside writers.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::shared::Shared;
use crate::error::Result;
use crate::format::location::Location;
use crate::index::open_scans::{Rest, ScanRange};
use crate::log::segments::Segments;
use crate::room::room;
use crate::values::value::Values;

/// A run of entries: keys and the locations of their records.
pub(crate) struct Run {
    pub(crate) keys: Vec<i64>,
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
    pub keys: Vec<i64>,
    /// Their values.
    pub values: Values,
}

/// An iterator over the store as it was when the scan was made.
pub struct Scan {
    pub(crate) shared: Arc<Shared>,
    rest: Arc<Mutex<Rest>>,
}

impl Scan {
    pub(crate) fn new(shared: Arc<Shared>, range: ScanRange) -> Result<Self> {
        let rest = Arc::new(Mutex::new(Rest::of(range)));
        if shared.options.read_only {
            // Nothing will change meanwhile.
            drop(shared.read_state()?);
        } else {
            shared.write_state()?.scans.add(&rest);
        }
        Ok(Self { shared, rest })
    }

    /// Up to `max` further items; an empty run means the end. O(log n + items), and a read of each value.
    pub fn next_run(&mut self, max: usize) -> Result<ScanRun> {
        let _running = self.shared.enter()?;
        let run = self.take(max)?;
        let mut values = Values::default();
        values.read(&run.keys, true, self.shared.options.verify_reads, |locations| {
            room(locations, run.locations.len())?;
            locations.extend(run.locations.iter().map(|&raw| Some(Location(raw))));
            Ok(run.segments)
        })?;
        Ok(ScanRun { keys: run.keys, values })
    }

    /// Up to `max` further keys without their values; an empty vector means the end.
    pub fn next_keys(&mut self, max: usize) -> Result<Vec<i64>> {
        let _running = self.shared.enter()?;
        Ok(self.take(max)?.keys)
    }

    /// Like [`Scan::take`], and also returns what lookups of those keys find, if nothing changed since the
    /// scan was made.
    pub(crate) fn take_looked_up(&mut self, max: usize) -> Result<(Run, Option<Vec<Option<u64>>>)> {
        let shared = Arc::clone(&self.shared);
        shared.mending(|| {
            let state = self.shared.read_state()?;
            let mut rest = self.rest.lock();
            let (mut keys, mut locations) = (Vec::new(), Vec::new());
            let segments = rest.take(&state.index, &state.segments, max, &mut keys, &mut locations)?;
            let run = Run { keys, locations, segments };
            let mut found = None;
            if !rest.is_frozen() {
                let looked_up = found.insert(Vec::with_capacity(run.keys.len()));
                // The leaves of these keys were just read, so no damage can come up here.
                state.index.get_many(&run.keys, |_, location| looked_up.push(location))?;
            }
            drop(rest);
            Ok((run, found))
        })
    }

    /// Up to `max` further entries; an empty run means the end.
    pub(crate) fn take(&mut self, max: usize) -> Result<Run> {
        let (mut keys, mut locations) = (Vec::new(), Vec::new());
        let segments = self.take_into(max, &mut keys, &mut locations)?;
        Ok(Run { keys, locations, segments })
    }

    /// Like [`Scan::take`], but appends to the caller's vectors. Returns the segments that the records are
    /// in.
    pub(crate) fn take_into(
        &mut self,
        max: usize,
        keys: &mut Vec<i64>,
        locations: &mut Vec<u64>,
    ) -> Result<Arc<Segments>> {
        let had = keys.len();
        self.shared.mending(|| {
            keys.truncate(had);
            locations.truncate(had);
            let state = self.shared.read_state()?;
            self.rest.lock().take(&state.index, &state.segments, max, keys, locations)
        })
    }
}
