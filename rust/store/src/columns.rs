//! Many values as columns: their bytes one after another, and where each begins. That is the layout of
//! Arrow's `LargeBinary`, so nothing is converted on the way out. Knows nothing of Python or Arrow. Several
//! threads read a large batch, each into a column of its own, which are then joined: O(bytes).

use std::ops::ControlFlow;

use crate::error::Result;
use crate::parallel;
use crate::query::PIECE_KEYS;
use crate::read;
use crate::scan::{Run, Scan};
use crate::segment::Location;
use crate::store::Store;

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

    /// Appends the values of another column. O(its bytes).
    fn append(&mut self, other: &Self) {
        let from = self.data.len() as i64;
        self.data.extend_from_slice(&other.data);
        self.offsets.extend(other.offsets[1..].iter().map(|&end| from + end));
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
        let parts = keys.chunks(parallel::part_len(keys.len(), 0));
        let read = parallel::map(parts, |keys| -> Result<(ValueColumn, Vec<bool>)> {
            let mut column = ValueColumn::with_capacity(keys.len());
            let mut found = Vec::with_capacity(keys.len());
            let mut locations = Vec::new();
            for keys in keys.chunks(PIECE_KEYS) {
                locations.clear();
                let segments = self.locate(keys, &mut locations)?;
                let verify = self.shared.options.verify_reads;
                read::for_each(&segments, keys, &locations, verify, |_, value| {
                    found.push(value.is_some());
                    column.push(value.map_or(&[], |(value, _)| value));
                    Ok(ControlFlow::Continue(()))
                })?;
            }
            Ok((column, found))
        });
        for part in read {
            let (column, there) = part?;
            values.append(&column);
            found.extend_from_slice(&there);
        }
        Ok(())
    }
}

impl Scan {
    /// Up to `rows` further items; fewer are the end. O(log n + items + bytes).
    pub fn next_columns(&mut self, rows: usize) -> Result<ItemColumns> {
        let (mut keys, mut runs) = (Vec::new(), Vec::new());
        while keys.len() < rows {
            let wanted = PIECE_KEYS.min(rows - keys.len());
            let run = self.take(wanted)?;
            keys.extend_from_slice(&run.keys);
            let taken = run.keys.len();
            runs.push(run);
            if taken < wanted {
                break;
            }
        }
        let runs_each = parallel::part_len(keys.len(), 0).div_ceil(PIECE_KEYS);
        let read = parallel::map(runs.chunks(runs_each), |runs| self.values_of(runs));
        let mut read = read.into_iter();
        let mut values = read.next().transpose()?.unwrap_or_default();
        for part in read {
            values.append(&part?);
        }
        Ok(ItemColumns { keys, values })
    }

    fn values_of(&self, runs: &[Run]) -> Result<ValueColumn> {
        let mut values = ValueColumn::with_capacity(runs.iter().map(|run| run.keys.len()).sum());
        for run in runs {
            let locations: Vec<_> = run.locations.iter().map(|&raw| Some(Location(raw))).collect();
            let verify = self.shared.options.verify_reads;
            read::for_each(&run.segments, &run.keys, &locations, verify, |_, value| {
                values.push(value.map_or(&[], |(value, _)| value));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(values)
    }
}
