//! `bulk_load`: many values in one commit, written in the order of their keys into a segment of their own, so
//! that later ranges of keys are ranges of the file. O(n log n + bytes).

use crate::batch::{ValueSource, check_value};
use crate::error::{Error, Result};
use crate::record::size_of_record;
use crate::replay::OpenProgress;
use crate::store::Store;

/// Values in the order of their keys, each key once.
struct Sorted<'v, V: ?Sized> {
    values: &'v V,
    /// Which of `values` comes at each place.
    places: Vec<usize>,
}

impl<V: ValueSource + ?Sized> ValueSource for Sorted<'_, V> {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn get(&self, i: usize) -> &[u8] {
        self.values.get(self.places[i])
    }
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
        if keys.len() != values.len() {
            return Err(Error::Invalid(format!(
                "there are {} keys and {} values; each key needs one value",
                keys.len(),
                values.len()
            )));
        }
        let mut bytes_total = 0;
        for i in 0..keys.len() {
            check_value(values.get(i))?;
            bytes_total += size_of_record(values.get(i).len() as u64);
        }
        let mut report = |bytes_done| {
            let go_on = progress(OpenProgress { bytes_done, bytes_total });
            if go_on { Ok(()) } else { Err(Error::Interrupted) }
        };
        report(0)?;
        let mut order: Vec<(i64, usize)> = keys.iter().copied().zip(0..).collect();
        if !order.is_sorted_by(|a, b| a.0 < b.0) {
            order.sort_unstable();
            // Of equal keys the last one given stands last: it is the one to stay.
            order.reverse();
            order.dedup_by_key(|entry| entry.0);
            order.reverse();
        }
        report(0)?;
        let (keys, places): (Vec<_>, Vec<_>) = order.into_iter().unzip();
        let loaded = self.put_many(&keys, &Sorted { values, places }, false)?;
        // It is written: the answer is the count, whatever the caller wishes now.
        let _ = report(bytes_total);
        Ok(loaded)
    }
}
