//! Many values as columns: their bytes one after another, and where each begins. That is the layout of
//! Arrow's `LargeBinary`, so nothing is converted on the way out. Knows nothing of Python or Arrow. Each value
//! is read once and copied once: O(bytes).

use crate::error::Result;
use crate::read;
use crate::scan::Scan;
use crate::segment::Location;
use crate::store::Store;

/// Entries taken from the index at a time: what a scan copies under the read lock stays short.
const RUN: usize = 4096;

/// Values of any lengths; value `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueColumn {
    data: Vec<u8>,
    offsets: Vec<i64>,
}

impl Default for ValueColumn {
    fn default() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }
}

impl ValueColumn {
    /// An empty column with room for `rows` values.
    pub fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows.saturating_add(1));
        offsets.push(0);
        Self { data: Vec::new(), offsets }
    }

    /// The bytes of all values.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where each value begins, and where the last one ends: never empty, ascending from 0.
    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The i-th value.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        let (start, end) = (*self.offsets.get(i)?, *self.offsets.get(i + 1)?);
        self.data.get(start as usize..end as usize)
    }

    #[inline]
    fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        self.offsets.push(self.data.len() as i64);
    }
}

/// Some items of a scan, as columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemColumns {
    /// The keys, in the scan's order.
    pub keys: Vec<i64>,
    /// Their values.
    pub values: ValueColumn,
}

impl Store {
    /// Appends the values of many keys, in their order, to `values`, and to `found` whether each was there; a
    /// key that is not there gets an empty value. O(keys * log n + bytes), with the cache misses overlapped.
    pub fn get_column(&self, keys: &[i64], values: &mut ValueColumn, found: &mut Vec<bool>) -> Result<()> {
        let mut locations = Vec::new();
        let segments = self.locate(keys, &mut locations)?;
        read::for_each(&segments, keys, &locations, self.shared.options.verify_reads, |_, value| {
            found.push(value.is_some());
            values.push(value.map_or(&[], |(value, _)| value));
            Ok(())
        })
    }
}

impl Scan {
    /// Up to `rows` further items; fewer are the end. O(log n + items + bytes).
    pub fn next_columns(&mut self, rows: usize) -> Result<ItemColumns> {
        let mut columns = ItemColumns::default();
        while columns.keys.len() < rows {
            let wanted = RUN.min(rows - columns.keys.len());
            let run = self.take(wanted)?;
            let locations: Vec<_> = run.locations.iter().map(|&raw| Some(Location(raw))).collect();
            let verify = self.shared.options.verify_reads;
            read::for_each(&run.segments, &run.keys, &locations, verify, |_, value| {
                columns.values.push(value.map_or(&[], |(value, _)| value));
                Ok(())
            })?;
            if columns.keys.is_empty() {
                columns.keys = run.keys;
            } else {
                columns.keys.extend_from_slice(&run.keys);
            }
            if locations.len() < wanted {
                break;
            }
        }
        Ok(columns)
    }
}
