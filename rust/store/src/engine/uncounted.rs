//! Replaced records that are yet to be counted as dead: records replaced where nobody may wait for them to be
//! read, and records that could not be read for want of a descriptor. They are counted by the next caller
//! that needs the counts. Knows nothing of why they were replaced.

use parking_lot::Mutex;

use crate::engine::locks::{Guard, Lock, Rank};
use crate::format::location::Location;

/// Replaced records that are yet to be counted as dead.
pub(crate) struct Uncounted {
    /// Taken after the state's lock.
    records: Mutex<Vec<Location>>,
    /// Held while records are counted, and while counts are replaced. Taken before the state's lock.
    counting: Lock<()>,
}

impl Default for Uncounted {
    fn default() -> Self {
        Self { records: Mutex::default(), counting: Lock::new(Rank::Counting, ()) }
    }
}

impl Uncounted {
    pub(crate) fn add(&self, records: Vec<Location>) {
        self.records.lock().extend(records);
    }

    /// Takes all records, to count them.
    pub(crate) fn take(&self) -> Vec<Location> {
        std::mem::take(&mut *self.records.lock())
    }

    /// Any one of the records.
    pub(crate) fn first(&self) -> Option<Location> {
        self.records.lock().first().copied()
    }

    /// The right to count, or to replace the counts.
    pub(crate) fn counting(&self) -> Guard<'_, ()> {
        self.counting.lock()
    }
}
