//! `bulk_load`: many values in one commit, written in the order of their keys into a segment of their own, so
//! that later ranges of keys are ranges of the file. O(n log n + bytes).

use crate::batch::{ValueSource, check_value};
use crate::disk::prefetch;
use crate::error::{Error, Result};
use crate::record::size_of_record;
use crate::replay::OpenProgress;
use crate::store::Store;

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
        let (keys, sorted): (Vec<_>, Vec<_>) =
            order.into_iter().map(|(key, place)| (key, values.get(place))).unzip();
        let loaded = self.put_many(&keys, &Sorted(sorted), false)?;
        // It is written: the answer is the count, whatever the caller wishes now.
        let _ = report(bytes_total);
        Ok(loaded)
    }
}
