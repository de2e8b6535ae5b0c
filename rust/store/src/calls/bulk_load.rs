//! `bulk_load`: many values in one commit, written in the order of their keys into a segment of their own, so
//! that later ranges of keys are ranges of the file. O(n log n + bytes).

use crate::calls::store::Store;
use crate::disk::prefetch;
use crate::error::{Error, Result};
use crate::format::record::size_of_record;
use crate::log::batch::{ValueSource, check_value};
use crate::progress::OpenProgress;
use crate::room::with_room;

/// How far ahead of the value that is copied values are asked for.
const PREFETCH_AHEAD: usize = 16;

/// Values in the order of their keys, each key once.
struct Sorted<'v>(Vec<&'v [u8]>);

impl ValueSource for Sorted<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, i: usize) -> &[u8] {
        self.0[i]
    }

    /// In the order of their keys the values are anywhere in memory.
    fn prefetch(&self, i: usize) {
        if let Some(value) = self.0.get(i + PREFETCH_AHEAD) {
            prefetch(value.as_ptr());
            prefetch(value.as_ptr().wrapping_add(64));
        }
    }
}

/// Distinct keys in ascending order, and the place that each had among those given.
pub struct SortedKeys {
    keys: Vec<i64>,
    places: Vec<usize>,
    given: usize,
}

impl SortedKeys {
    /// Sorts; of equal keys the last one given stays. O(n log n).
    pub fn of(given: &[i64]) -> Result<Self> {
        let mut order = with_room(given.len())?;
        order.extend(given.iter().copied().zip(0..));
        if !order.is_sorted_by(|a: &(i64, usize), b| a.0 < b.0) {
            order.sort_unstable();
            // Of equal keys the last one given stands last: it is the one to stay.
            order.reverse();
            order.dedup_by_key(|entry| entry.0);
            order.reverse();
        }
        let (mut keys, mut places) = (with_room(order.len())?, with_room(order.len())?);
        for (key, place) in order {
            keys.push(key);
            places.push(place);
        }
        Ok(Self { keys, places, given: given.len() })
    }
}

/// Refuses values that do not go with so many keys, or with any; the bytes of their records.
fn check<V: ValueSource + ?Sized>(keys: usize, values: &V) -> Result<u64> {
    if keys != values.len() {
        return Err(Error::Invalid(format!(
            "there are {keys} keys and {} values; each key needs one value",
            values.len()
        )));
    }
    let mut bytes = 0;
    for i in 0..keys {
        check_value(values.get(i))?;
        bytes += size_of_record(values.get(i).len() as u64);
    }
    Ok(bytes)
}

impl Store {
    /// Puts many values, whose keys come in any order, in one atomic commit; the number of distinct keys. The
    /// last duplicate wins. `progress` is called with no lock held before the work, once the keys are sorted,
    /// and when everything is written; until the last of these, returning false leaves the store as it was.
    pub fn bulk_load<V: ValueSource + ?Sized>(
        &self,
        keys: &[i64],
        values: &V,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<u64> {
        let bytes_total = check(keys.len(), values)?;
        let mut report = |bytes_done| {
            let go_on = progress(OpenProgress { bytes_done, bytes_total });
            if go_on { Ok(()) } else { Err(Error::Interrupted) }
        };
        report(0)?;
        let sorted = SortedKeys::of(keys)?;
        report(0)?;
        let loaded = self.load_sorted(&sorted, values)?;
        // It is written: the answer is the count, whatever the caller wishes now.
        let _ = report(bytes_total);
        Ok(loaded)
    }

    /// As [`Store::bulk_load`], of keys that were sorted before; `values` belong to the keys as they were given.
    pub fn load_sorted<V: ValueSource + ?Sized>(&self, keys: &SortedKeys, values: &V) -> Result<u64> {
        check(keys.given, values)?;
        let mut sorted = with_room(keys.places.len())?;
        sorted.extend(keys.places.iter().map(|&place| values.get(place)));
        self.put_many(&keys.keys, &Sorted(sorted), false)
    }
}
