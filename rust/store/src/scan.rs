//! Scans: the items of a key range as they were when the scan began, at no cost until somebody writes.
//! A scan reads runs straight from the index; the first change after that makes it copy what it has not
//! read yet (16 bytes an item) and go on from the copy. Knows nothing of records.

use std::ops::Bound;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::error::Result;
use crate::index::{Damaged, Index};
use crate::location::Location;
use crate::read::Values;
use crate::room::{no_memory, room};
use crate::segment::Segments;
use crate::shared::Shared;

/// Which items a scan yields, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRange {
    /// The lowest key.
    pub start: Bound<i64>,
    /// The highest key; `reverse` does not swap the two.
    pub stop: Bound<i64>,
    /// Highest key first.
    pub reverse: bool,
    /// At most so many items, counted from where the scan begins.
    pub limit: Option<u64>,
}

/// What a scan has not yielded yet.
pub(crate) struct Rest {
    range: ScanRange,
    left: u64,
    frozen: Option<Frozen>,
    /// There was no memory for a copy of so many items.
    lost: Option<usize>,
}

struct Frozen {
    keys: Vec<i64>,
    locations: Vec<u64>,
    next: usize,
    segments: Arc<Segments>,
}

impl Rest {
    /// Copies what is left, before the index changes. O(items left).
    fn freeze(&mut self, index: &Index, segments: &Arc<Segments>) -> Result<(), Damaged> {
        if self.frozen.is_some() || self.lost.is_some() {
            return Ok(());
        }
        let (mut keys, mut locations) = (Vec::new(), Vec::new());
        let ScanRange { start, stop, reverse, .. } = self.range;
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let items = index.count(start, stop)?.min(left);
        if room(&mut keys, items).is_err() || room(&mut locations, items).is_err() {
            // The scan fails, not the writer.
            self.lost = Some(items);
            return Ok(());
        }
        index.scan_into(start, stop, reverse, left, &mut keys, &mut locations)?;
        self.frozen = Some(Frozen { keys, locations, next: 0, segments: Arc::clone(segments) });
        Ok(())
    }

    /// Appends up to `max` items to `keys` and `locations`; the segments that they are in.
    fn take(
        &mut self,
        index: &Index,
        segments: &Arc<Segments>,
        max: usize,
        keys: &mut Vec<i64>,
        locations: &mut Vec<u64>,
    ) -> Result<Arc<Segments>> {
        if let Some(items) = self.lost {
            return Err(no_memory::<(i64, u64)>(items));
        }
        let max = usize::try_from(self.left).unwrap_or(usize::MAX).min(max);
        let had = keys.len();
        let segments = match &mut self.frozen {
            Some(frozen) => {
                let taken = frozen.next..(frozen.next + max).min(frozen.keys.len());
                room(keys, taken.len())?;
                room(locations, taken.len())?;
                frozen.next = taken.end;
                keys.extend_from_slice(&frozen.keys[taken.clone()]);
                locations.extend_from_slice(&frozen.locations[taken]);
                &frozen.segments
            }
            None => {
                let ScanRange { start, stop, reverse, .. } = self.range;
                index.scan_into(start, stop, reverse, max, keys, locations)?;
                if let Some(&last) = keys[had..].last() {
                    let after = Bound::Excluded(last);
                    if reverse { self.range.stop = after } else { self.range.start = after }
                }
                segments
            }
        };
        self.left -= (keys.len() - had) as u64;
        Ok(Arc::clone(segments))
    }
}

/// A run of entries: keys, and where their records are.
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

/// The scans that a change must not be seen by.
#[derive(Default)]
pub(crate) struct OpenScans(Vec<Weak<Mutex<Rest>>>);

impl OpenScans {
    pub(crate) fn add(&mut self, rest: &Arc<Mutex<Rest>>) {
        // Scans that ended are swept out each time the list would grow.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|scan| scan.strong_count() > 0);
        }
        self.0.push(Arc::downgrade(rest));
    }

    /// Lets every open scan copy what it has not read yet. O(1) when none is open. With damage nothing may
    /// change until they could.
    #[inline]
    pub(crate) fn before_change(&mut self, index: &Index, segments: &Arc<Segments>) -> Result<(), Damaged> {
        for scan in &self.0 {
            if let Some(scan) = scan.upgrade() {
                scan.lock().freeze(index, segments)?;
            }
        }
        self.0.clear();
        Ok(())
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
        let left = range.limit.unwrap_or(u64::MAX);
        let rest = Arc::new(Mutex::new(Rest { range, left, frozen: None, lost: None }));
        if shared.options.read_only {
            // Nothing will change under it.
            drop(shared.read_state()?);
        } else {
            shared.write_state()?.scans.add(&rest);
        }
        Ok(Self { shared, rest })
    }

    /// Up to `max` further items; an empty run is the end. O(log n + items), and a read of each value.
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

    /// Up to `max` further keys, no value read; an empty vector is the end.
    pub fn next_keys(&mut self, max: usize) -> Result<Vec<i64>> {
        let _running = self.shared.enter()?;
        Ok(self.take(max)?.keys)
    }

    /// As [`Scan::take`], and what lookups of those keys find, where nothing changed since the scan was made.
    pub(crate) fn take_looked_up(&mut self, max: usize) -> Result<(Run, Option<Vec<Option<u64>>>)> {
        let shared = Arc::clone(&self.shared);
        shared.mending(|| {
            let state = self.shared.read_state()?;
            let mut rest = self.rest.lock();
            let (mut keys, mut locations) = (Vec::new(), Vec::new());
            let segments = rest.take(&state.index, &state.segments, max, &mut keys, &mut locations)?;
            let run = Run { keys, locations, segments };
            let mut found = None;
            if rest.frozen.is_none() {
                let looked_up = found.insert(Vec::with_capacity(run.keys.len()));
                // The leaves of these keys were just read, so damage is not met here.
                state.index.get_many(&run.keys, |_, location| looked_up.push(location))?;
            }
            drop(rest);
            Ok((run, found))
        })
    }

    /// Up to `max` further entries; an empty run is the end.
    pub(crate) fn take(&mut self, max: usize) -> Result<Run> {
        let (mut keys, mut locations) = (Vec::new(), Vec::new());
        let segments = self.take_into(max, &mut keys, &mut locations)?;
        Ok(Run { keys, locations, segments })
    }

    /// As [`Scan::take`], appended to what the caller has; the segments that those records are in.
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
