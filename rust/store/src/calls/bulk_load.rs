//! `bulk_load`: stores many values in one commit, in key order in a segment of their own, so that later key
//! ranges are ranges of the file. O(n log n + bytes).

use crate::calls::store::Store;
use crate::error::{Error, Result};
use crate::keys::{KeyVec, Keys, Width};
use crate::log::batch::{ValueSource, check_value};
use crate::progress::OpenProgress;
use crate::room::with_room;

/// How many values ahead of the copied one are prefetched.
const PREFETCH_AHEAD: usize = 16;

/// Values in key order, each key once.
struct Sorted<'v>(Vec<&'v [u8]>);

impl ValueSource for Sorted<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, i: usize) -> &[u8] {
        self.0[i]
    }

    /// In key order, the values lie anywhere in memory.
    fn prefetch(&self, i: usize) {
        if let Some(value) = self.0.get(i + PREFETCH_AHEAD) {
            alex_index::prefetch(value.as_ptr());
            alex_index::prefetch(value.as_ptr().wrapping_add(64));
        }
    }
}

/// Distinct keys in ascending order, each with its position in the given order.
pub struct SortedKeys {
    keys: KeyVec,
    places: Vec<usize>,
    given: usize,
}

impl SortedKeys {
    /// Sorts the keys. The last of equal keys stays. O(n log n).
    pub fn of<'k>(given: impl Into<Keys<'k>>) -> Result<Self> {
        let given = given.into();
        let places = given.sorted_last()?;
        let mut keys = KeyVec::with_room(places.len(), given)?;
        for &place in &places {
            keys.push(given.get(place));
        }
        Ok(Self { keys, places, given: given.len() })
    }
}

/// Refuses values whose number differs from the number of keys, or that are too long. Returns the bytes of
/// their records.
fn check<V: ValueSource + ?Sized>(keys: usize, values: &V, width: Width) -> Result<u64> {
    if keys != values.len() {
        return Err(Error::Invalid(format!(
            "there are {keys} keys and {} values; each key needs one value",
            values.len()
        )));
    }
    let mut bytes = 0;
    for i in 0..keys {
        check_value(values.get(i))?;
        bytes += width.size_of_put(values.get(i).len() as u64);
    }
    Ok(bytes)
}

impl Store {
    /// Puts many values, with keys in any order, in one atomic commit. Returns the number of distinct keys.
    /// The last duplicate wins. `progress` is called with no lock held: before the work, once the keys are
    /// sorted, and when everything is written. If it returns false in any but the last of these calls, the store
    /// stays unchanged.
    pub fn bulk_load<'k, V: ValueSource + ?Sized>(
        &self,
        keys: impl Into<Keys<'k>>,
        values: &V,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<u64> {
        let keys = keys.into();
        let bytes_total = check(keys.len(), values, self.shared.width())?;
        let mut report = |bytes_done| {
            let go_on = progress(OpenProgress { bytes_done, bytes_total });
            if go_on { Ok(()) } else { Err(Error::Interrupted) }
        };
        report(0)?;
        let sorted = SortedKeys::of(keys)?;
        report(0)?;
        let loaded = self.load_sorted(&sorted, values)?;
        // Everything is written: the result is the count, whatever the caller answers now.
        let _ = report(bytes_total);
        Ok(loaded)
    }

    /// Like [`Store::bulk_load`], for keys that are already sorted; `values` are in the order in which the
    /// keys were given.
    pub fn load_sorted<V: ValueSource + ?Sized>(&self, keys: &SortedKeys, values: &V) -> Result<u64> {
        check(keys.given, values, self.shared.width())?;
        let mut sorted = with_room(keys.places.len())?;
        sorted.extend(keys.places.iter().map(|&place| values.get(place)));
        self.put_many(&keys.keys, &Sorted(sorted), false)
    }
}
