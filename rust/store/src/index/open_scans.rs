//! The open scans. A scan reads runs straight from the index, at no cost until somebody writes. The first
//! change after the scan was made first lets it copy what it has not read yet (16 bytes an item); the scan
//! then goes on from the copy. Knows nothing of records.

use std::ops::Bound;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::error::Result;
use crate::index::checked::{Damaged, Index};
use crate::log::segments::Segments;
use crate::room::{no_memory, room};

/// Which items a scan yields, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRange {
    /// The lowest key.
    pub start: Bound<i64>,
    /// The highest key; `reverse` does not swap the two.
    pub stop: Bound<i64>,
    /// Highest key first.
    pub reverse: bool,
    /// At most this many items, counted from where the scan begins.
    pub limit: Option<u64>,
}

/// What a scan has not yielded yet.
pub(crate) struct Rest {
    range: ScanRange,
    left: u64,
    frozen: Option<Frozen>,
    /// There was no memory for a copy of this many items.
    lost: Option<usize>,
}

struct Frozen {
    keys: Vec<i64>,
    locations: Vec<u64>,
    next: usize,
    segments: Arc<Segments>,
}

impl Rest {
    /// A scan that has yielded nothing yet.
    pub(crate) fn of(range: ScanRange) -> Self {
        Self { range, left: range.limit.unwrap_or(u64::MAX), frozen: None, lost: None }
    }

    /// Whether the index has changed since the scan was made.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Copies the remaining items before the index changes. O(items left).
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

    /// Appends up to `max` items to `keys` and `locations`. Returns the segments that they are in.
    pub(crate) fn take(
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

/// The scans that must not see a change.
#[derive(Default)]
pub(crate) struct OpenScans(Vec<Weak<Mutex<Rest>>>);

impl OpenScans {
    pub(crate) fn add(&mut self, rest: &Arc<Mutex<Rest>>) {
        // Scans that have ended are removed whenever the list would grow.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|scan| scan.strong_count() > 0);
        }
        self.0.push(Arc::downgrade(rest));
    }

    /// Lets every open scan copy what it has not read yet. O(1) if none is open. After damage, nothing may
    /// change until they have succeeded.
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
