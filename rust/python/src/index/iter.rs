//! `AlexIndex`, iteration: the iterator, and the calls that return one.

use std::sync::Arc;

use alex_store::KeyKind;
use pyo3::prelude::*;

use crate::convert::bounds::{ScanRequest, Yields};
use crate::convert::scans::scan_method;
use crate::convert::{kinds, pairs};
use crate::errors::OrRaise;
use crate::index::cursors::Cursor;
use crate::index::damaged::Damaged;
use crate::index::one::AlexIndex;
use crate::index::shared::Shared;
use crate::memory::int;

/// Iterates over a range of an `AlexIndex` as it was when the iterator was made.
///
/// What `iter(index)`, `AlexIndex.scan`, `scan_keys` and `scan_values` return. Each step is O(1). Not
/// picklable.
///
/// >>> x[1] = 10
/// >>> next(x.scan())
/// (1, 10)
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct IndexIterator {
    yields: Yields,
    kind: KeyKind,
    index: Arc<Shared>,
    cursor: Arc<Cursor>,
}

impl IndexIterator {
    pub(crate) fn over(index: &Bound<'_, AlexIndex>, request: ScanRequest) -> PyResult<Self> {
        let ScanRequest { range, reverse, limit, yields } = request;
        let cursor = Arc::new(Cursor::over(range, reverse, limit));
        let py = index.py();
        let kind = index.get().kind();
        let index = Arc::clone(index.get().shared());
        index.check(py)?;
        if !index.try_add(&cursor) {
            py.detach(|| index.add(&cursor));
        }
        Ok(Self { yields, kind, index, cursor })
    }
}

#[pymethods]
impl IndexIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// How many items are left.
    fn __length_hint__(&self, py: Python<'_>) -> PyResult<usize> {
        self.index.check(py)?;
        py.detach(|| self.index.ask(|tree| self.cursor.left(tree))).or_raise(py)
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // Whoever held the cursor when the process was forked held the index, too.
        self.index.check(py)?;
        loop {
            let item = self.cursor.take(py);
            if let Some((key, payload)) = item {
                return Ok(Some(match self.yields {
                    Yields::Items => pairs::of_index(py, self.kind, key, payload as i64)?,
                    Yields::Keys => kinds::object(py, self.kind, key)?,
                    Yields::Values => int(py, payload as i64)?.into_any(),
                }));
            }
            py.check_signals()?;
            let pulled =
                py.detach(|| self.index.ask(|tree| self.cursor.pull_run(tree)).flatten()).or_raise(py)?;
            if !pulled {
                return self
                    .cursor
                    .damage(py)
                    .map_or(Ok(None), |damage| Err(Damaged::of(&damage, None)).or_raise(py));
            }
        }
    }
}

#[pymethods]
impl AlexIndex {
    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<IndexIterator> {
        IndexIterator::over(slf, ScanRequest::of_keys(false))
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> PyResult<IndexIterator> {
        IndexIterator::over(slf, ScanRequest::of_keys(true))
    }
}

scan_method! {
    /// Iterates over (key, value) of `start <= key < stop`, in key order.
    ///
    /// Bounds are keys, or any ints where keys are ints (clamped to them), or None for no bound;
    /// `include_start` and `include_stop` say whether a bound belongs to the range; `reverse=True` goes from
    /// the top without swapping the bounds; `limit` is the most items. The iterator sees the index as it was
    /// when the iterator was made; the first change during an iteration copies what the iterator has left.
    /// Raises TypeError for other bounds, ValueError for a negative limit. O(1) to make, O(1) an item.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> list(x.scan(1, 3)), list(x.scan(limit=1, reverse=True))
    /// ([(1, 10), (2, 20)], [(3, 30)])
    AlexIndex.scan yields Items by IndexIterator
}

scan_method! {
    /// Iterates over the keys of a range.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> list(x.scan_keys(2))
    /// [2, 3]
    AlexIndex.scan_keys yields Keys by IndexIterator
}

scan_method! {
    /// Iterates over the values of a range, in the order of their keys.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> list(x.scan_values(stop=3))
    /// [10, 20]
    AlexIndex.scan_values yields Values by IndexIterator
}
