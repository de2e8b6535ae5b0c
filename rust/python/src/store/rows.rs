//! Rows of columns, one by one: indexing and iteration of `ValueBuffers` and `ScanBatch`. An object is made for a row when
//! somebody asks for it: of what the codec of the store makes of the bytes, if it has one. Knows nothing of stores.
//! O(1 + bytes) a row, and what the codec does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alex_store::{ItemColumns, KeyKind, KeyVec, ValueColumn};
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PySlice;

use crate::convert::codec::Codec;
use crate::convert::{kinds, pairs, values};
use crate::memory::{bytes, int};

/// What has rows.
pub(crate) trait Rows: Send + Sync {
    fn count(&self) -> usize;

    /// Row `i`, which is below the count.
    fn at<'py>(&self, py: Python<'py>, i: usize) -> PyResult<Bound<'py, PyAny>>;
}

/// The values of many keys.
pub(crate) struct FoundValues {
    pub(crate) column: Arc<ValueColumn>,
    pub(crate) found: Vec<bool>,
    pub(crate) codec: Option<Arc<Codec>>,
    /// The keys of the values, which a codec wants to know; none without a codec.
    pub(crate) keys: KeyVec,
}

/// A value, or None for an absent key.
impl Rows for FoundValues {
    fn count(&self) -> usize {
        self.found.len()
    }

    fn at<'py>(&self, py: Python<'py>, i: usize) -> PyResult<Bound<'py, PyAny>> {
        match self.column.get(i).filter(|_| self.found[i]) {
            Some(value) => {
                let key = if i < self.keys.len() { self.keys.get(i) } else { 0 };
                values::object(py, self.codec.as_deref(), key, value)
            }
            None => Ok(py.None().into_bound(py)),
        }
    }
}

/// Consecutive items.
pub(crate) struct FoundItems {
    pub(crate) columns: Arc<ItemColumns>,
    pub(crate) codec: Option<Arc<Codec>>,
}

/// A key and its value.
impl Rows for FoundItems {
    fn count(&self) -> usize {
        self.columns.keys.len()
    }

    fn at<'py>(&self, py: Python<'py>, i: usize) -> PyResult<Bound<'py, PyAny>> {
        let (kind, at) = (self.columns.kind, self.columns.keys.get(i));
        let value = bytes(py, self.columns.values.get(i).unwrap_or_default())?;
        if let (None, KeyKind::Int64) = (&self.codec, kind) {
            return pairs::item(py, int(py, at as i64)?, value);
        }
        let value = match &self.codec {
            Some(codec) => codec.decode(at, value)?,
            None => value.into_any(),
        };
        Ok((kinds::object(py, kind, at)?, value).into_pyobject(py)?.into_any())
    }
}

/// The row that `index` names, counted from the end if it is negative.
pub(crate) fn row<'py>(rows: &impl Rows, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (py, count) = (index.py(), rows.count());
    if index.is_instance_of::<PySlice>() {
        return Err(PyTypeError::new_err(
            "an index is one row, not a slice; list(x) has all rows, and Arrow libraries slice what they read of x",
        ));
    }
    let index = match index.extract::<isize>() {
        Ok(index) if index < 0 => count.checked_sub(index.unsigned_abs()),
        Ok(index) => Some(index.unsigned_abs()),
        Err(error) if error.is_instance_of::<PyOverflowError>(py) => None,
        Err(error) => return Err(error),
    };
    match index.filter(|&index| index < count) {
        Some(index) => rows.at(py, index),
        None => Err(PyIndexError::new_err(format!("there are {count} rows"))),
    }
}

/// Iterates over the rows of a `ValueBuffers` or of a `ScanBatch`.
///
/// Threads that share one get each row once.
///
/// >>> s[1] = b"one"
/// >>> list(s.get_buffers([1, 2]))
/// [b'one', None]
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct RowIterator {
    rows: Arc<dyn Rows>,
    next: AtomicUsize,
}

impl RowIterator {
    pub(crate) fn over(rows: Arc<dyn Rows>) -> Self {
        Self { rows, next: AtomicUsize::new(0) }
    }
}

#[pymethods]
impl RowIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __length_hint__(&self) -> usize {
        self.rows.count() - self.next.load(Ordering::Relaxed)
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let count = self.rows.count();
        let step = |next| (next < count).then_some(next + 1);
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        taken.ok().map(|row| self.rows.at(py, row)).transpose()
    }
}
