//! Records that were replaced where nobody may wait for them to be read: counted as dead later, by those who look at
//! counts; and those that could not be read for want of a descriptor. Knows nothing of why they were replaced.

use parking_lot::Mutex;

use crate::engine::locks::{Guard, Lock, Rank};
use crate::format::location::Location;

/// See the module.
pub(crate) struct Uncounted {
    /// Taken after the state's lock.
    records: Mutex<Vec<Location>>,
    /// Held while they are counted, and while counts are replaced; taken before the state's lock.
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

    /// The records, for whoever counts them now.
    pub(crate) fn take(&self) -> Vec<Location> {
        std::mem::take(&mut *self.records.lock())
    }

    /// One of them.
    pub(crate) fn first(&self) -> Option<Location> {
        self.records.lock().first().copied()
    }

    /// The right to count, or to replace what was counted.
    pub(crate) fn counting(&self) -> Guard<'_, ()> {
        self.counting.lock()
    }
}
