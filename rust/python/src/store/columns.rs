//! Items of a range as columns: `Store.scan_batches` and `Store.to_arrow`. As in `buffers.rs`, arrays are windows on
//! memory of Rust.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use alex_store::{KeyKind, KeyVec, Scan, ScanRange};
use numpy::{PyArray1, PyArrayDescrMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::convert::arrays::window;
use crate::convert::arrow::{self, ArrowArray, Columns};
use crate::convert::generic::generic_class;
use crate::convert::value_type::{Layout, ValueType};
use crate::convert::{bounds, kinds};
use crate::errors::detached;
use crate::locks;
use crate::store::buffers::{dtype_of, viewed};
use crate::store::handle::{Born, MADE_BEFORE_FORK, drop_version};
use crate::store::reader::Reader;
use crate::store::rows::{FoundItems, RowIterator, row};

/// Consecutive items of a store as arrays; what `Store.scan_batches` yields.
///
/// `keys[i]` has the value `data[offsets[i]:offsets[i + 1]]`. The arrays are read-only, and stay valid
/// after the store is closed. `len` is the number of items; `x[i]` and iteration give (key, value). Arrow
/// libraries read it as it is, sharing its memory: `pyarrow.record_batch(x)`, `polars.DataFrame(x)`.
///
/// >>> s.put_many([1, 2], [b"one", b"three"])
/// 2
/// >>> batch = next(s.scan_batches())
/// >>> batch.keys.tolist(), batch.offsets.tolist(), batch.data.tobytes()
/// ([1, 2], [0, 3, 8], b'onethree')
/// >>> batch[-1], list(batch)
/// ((2, b'three'), [(1, b'one'), (2, b'three')])
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct ScanBatch {
    items: Arc<FoundItems>,
    types: ValueType,
}

impl ScanBatch {
    fn columns(&self) -> Columns {
        Columns::of_items(&self.types, &self.items.columns)
    }
}

generic_class!(ScanBatch);

#[pymethods]
impl ScanBatch {
    fn __len__(&self) -> usize {
        self.items.columns.keys.len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        row(&*self.items, index)
    }

    fn __iter__(&self) -> RowIterator {
        RowIterator::over(self.items.clone())
    }

    /// The Arrow type alone.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        self.columns().schema(py, Layout::Large)
    }

    /// The keys and values as an Arrow struct array. A requested layout of binary values or of text
    /// is granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        self.columns().export(py, requested_schema)
    }

    /// The keys, in the order of the scan: a read-only array of the store's kind. O(items), int64 O(1).
    #[getter]
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let items = &slf.get().items.columns;
        match (&items.keys, items.kind) {
            // SAFETY: the class is frozen, so its columns never change while it lives.
            (KeyVec::Narrow(keys), KeyKind::Int64) => unsafe {
                Ok(window(slf.clone().into_any(), keys).into_any())
            },
            (keys, kind) => {
                let keys = kinds::array(slf.py(), kind, keys.clone())?;
                keys.call_method("setflags", (false,), None)?;
                Ok(keys)
            }
        }
    }

    /// Where each value begins in `data`, and where the last one ends: a read-only int64 array. O(1).
    #[getter]
    fn offsets<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<i64>> {
        // SAFETY: as in `keys`.
        unsafe { window(slf.clone().into_any(), slf.get().items.columns.values.offsets()) }
    }

    /// The bytes of all values, one after another: a read-only uint8 array. O(1).
    #[getter]
    fn data<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<u8>> {
        // SAFETY: as in `keys`.
        unsafe { window(slf.clone().into_any(), slf.get().items.columns.values.data()) }
    }

    /// The keys and values for any Arrow library, as a struct of `key` and `value`.
    ///
    /// What the Arrow libraries also read of this object itself: `pyarrow.record_batch(x)`. Values are
    /// LargeBinary, and with a codec text (`text`, `json`), numbers, lists or structs (`numpy`, `struct`).
    /// int64 keys, times, bytes and text are not copied. O(items).
    ///
    /// >>> s[1] = b"one"
    /// >>> pyarrow.record_batch(next(s.scan_batches()).to_arrow()).to_pydict()  # doctest: +SKIP
    /// {'key': [1], 'value': [b'one']}
    /// >>> len(next(s.scan_batches()).to_arrow())
    /// 1
    fn to_arrow(&self) -> ArrowArray {
        self.columns().into()
    }

    /// The values as a read-only array of `dtype`, if each is as long as one element.
    ///
    /// Without a dtype it is that of the codec (`codecs.numpy`, `codecs.struct`). The array is a window on
    /// `data`; nothing is copied. Raises ValueError, naming the key, if a value has another length, and
    /// TypeError if `dtype` holds Python objects, or is None where the codec has none. O(items).
    ///
    /// >>> s.put_many([1, 2], np.array([0.5, 1.5]))
    /// 2
    /// >>> next(s.scan_batches()).to_array(np.float64).tolist()
    /// [0.5, 1.5]
    #[pyo3(signature = (dtype=None))]
    fn to_array<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let dtype = dtype_of(py, dtype, slf.get().items.codec.as_deref())?;
        let items = &slf.get().items.columns;
        let width = dtype.itemsize() as i64;
        if let Some(at) = items.values.offsets().windows(2).position(|pair| pair[1] - pair[0] != width) {
            let found = items.values.get(at).map_or(0, <[u8]>::len);
            return Err(PyValueError::new_err(format!(
                "the value of key {} has {found} bytes, and one {dtype} has {width}",
                items.kind.shown(items.keys.get(at))
            )));
        }
        viewed(&Self::data(slf), &dtype, items.keys.len())
    }

    fn __repr__(&self) -> String {
        let bytes = self.items.columns.values.data().len();
        match (self.items.columns.keys.first(), self.items.columns.keys.last()) {
            (Some(first), Some(last)) => {
                let (first, last) =
                    (self.items.columns.kind.shown(first), self.items.columns.kind.shown(last));
                format!(
                    "<alexpy.ScanBatch, {} items from {first} to {last}, {bytes} bytes>",
                    self.items.columns.keys.len()
                )
            }
            _ => "<alexpy.ScanBatch, empty>".to_owned(),
        }
    }
}

/// Iterates over a range of a store in batches, as it was when the iterator was made.
///
/// What `Store.scan_batches` returns; yields `ScanBatch`. The GIL is released while a batch is read.
/// Raises ClosedError once the store is closed and CorruptionError if a stored record is damaged. Not
/// picklable.
///
/// >>> s[1] = b"one"
/// >>> [len(batch) for batch in s.scan_batches()]
/// [1]
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct BatchIterator {
    /// Keeps the store open while only the iterator refers to it.
    store: Py<Reader>,
    rows: usize,
    types: ValueType,
    /// `None` at the end. Locked only without the GIL.
    scan: Mutex<Option<Scan>>,
    /// An iterator that has ended stays at its end, even if the store is closed.
    finished: AtomicBool,
    born: Born,
}

impl Drop for BatchIterator {
    fn drop(&mut self) {
        let scan = self.scan.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop_version(scan, |scan| scan.as_ref().is_some_and(Scan::keeps_something));
    }
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// How many batches are left; about as many if the store has changed since the iterator was made.
    fn __length_hint__(&self, py: Python<'_>) -> PyResult<u64> {
        let over = self.finished.load(Ordering::Relaxed) || self.born.is_inherited();
        if over || self.store.get().check_open(py).is_err() {
            // Nothing comes any more; the next step says why.
            return Ok(0);
        }
        detached(py, || {
            let scan = locks::waiting(&self.scan);
            Ok(scan.as_ref().map_or(Ok(0), Scan::likely_left)?.div_ceil(self.rows as u64))
        })
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<ScanBatch>> {
        if self.finished.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.born.check(py, MADE_BEFORE_FORK)?;
        self.store.get().check_open(py)?;
        py.check_signals()?;
        let pulled = detached(py, || {
            let mut scan = locks::waiting(&self.scan);
            // Taken out, so that an error ends the iteration.
            let Some(mut source) = scan.take() else { return Ok(None) };
            let pulled = source.next_columns(self.rows);
            match &pulled {
                Ok(items) if items.keys.len() == self.rows => *scan = Some(source),
                // Only now: threads that come while this one reads wait for the next batch.
                _ => self.finished.store(true, Ordering::Relaxed),
            }
            pulled.map(|items| (!items.keys.is_empty()).then_some(items))
        })?;
        Ok(pulled.map(|items| ScanBatch {
            items: Arc::new(FoundItems {
                columns: Arc::new(items),
                codec: self.store.get().handle().shared_codec(),
            }),
            types: self.types.clone(),
        }))
    }
}

/// A range of a store as an Arrow stream; what `Store.to_arrow` returns.
///
/// Has `__arrow_c_stream__`, so Arrow libraries read it: `pyarrow.table(x)`, `polars.DataFrame(x)`. Each
/// reading sees the store as it was when the reading began, and fails with an error that says so once the
/// store is closed. While one goes on, the store stays open though nothing else may refer to it.
///
/// >>> s[1] = b"one"
/// >>> hasattr(s.to_arrow(), "__arrow_c_stream__")
/// True
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct ArrowStream {
    store: Py<Reader>,
    range: ScanRange,
}

#[pymethods]
impl ArrowStream {
    /// The Arrow type of the stream: a struct of `key` and `value`.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        arrow::stream_type(py, self.store.get().kind(), &self.store.get().value_type(py)?)
    }

    /// A new reading of the range. A requested layout of binary values or of text
    /// is granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        reading(self.store.bind(py), self.range, requested_schema)
    }
}

/// A new reading of a range as an Arrow stream.
fn reading<'py>(
    store: &Bound<'py, Reader>,
    range: ScanRange,
    requested: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let types = store.get().value_type(store.py())?;
    let layout = arrow::layout_of_items(&types, requested)?;
    let scan = store.get().detached(store.py(), |reader| reader.scan(range))?;
    arrow::stream(store.as_any(), scan, store.get().kind(), types, layout)
}

#[pymethods]
impl Reader {
    /// The Arrow type of `__arrow_c_stream__`: a struct of `key` and `value`.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        arrow::stream_type(py, self.kind(), &self.value_type(py)?)
    }

    /// Everything, as an Arrow stream: what `to_arrow()` gives. A requested layout of binary values or of
    /// text is granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        slf: &Bound<'py, Self>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let everything =
            bounds::scan_range(bounds::range(slf.get().kind(), None, None, true, false)?, false, None);
        reading(slf, everything, requested_schema)
    }

    /// Iterates over the items of `start <= key < stop` in batches of `rows`, as arrays, in key order.
    ///
    /// The fastest way through a range: no object is made for an item. Each `ScanBatch` has `rows` items, the
    /// last one perhaps fewer, and holds the memory of their values. The other arguments are those of `scan`:
    /// with `reverse=True` batches, and the items in them, descend; `limit` is the most items in all. The
    /// iterator sees the store as it was when the iterator was made. Raises ValueError if `rows` is below 1,
    /// else as `scan`. O(1) to make, O(1) an item.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> [batch.keys.tolist() for batch in s.scan_batches(rows=2)]
    /// [[1, 2], [3]]
    /// >>> [batch.keys.tolist() for batch in s.scan_batches(reverse=True, limit=2)]
    /// [[3, 2]]
    #[pyo3(signature = (start=None, stop=None, *, rows=bounds::Rows::default(), include_start=true, include_stop=false,
                        reverse=false, limit=None),
           text_signature = "($self, start=None, stop=None, *, rows=65536, include_start=True, include_stop=False, \
                             reverse=False, limit=None)")]
    #[expect(clippy::too_many_arguments, reason = "what Python calls has a parameter for each option")]
    #[expect(clippy::needless_pass_by_value, reason = "arguments of Python are made for the call")]
    fn scan_batches(
        slf: &Bound<'_, Self>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        rows: bounds::Rows<'_>,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<BatchIterator> {
        let range = bounds::range(slf.get().kind(), start, stop, include_start, include_stop)?;
        let range = bounds::scan_range(range, reverse, bounds::limit(limit)?);
        let rows = bounds::rows(&rows)?;
        let scan = slf.get().detached(slf.py(), |reader| reader.scan(range))?;
        Ok(BatchIterator {
            store: slf.clone().unbind(),
            rows,
            types: slf.get().value_type(slf.py())?,
            scan: Mutex::new(Some(scan)),
            finished: AtomicBool::new(false),
            born: Born::here(),
        })
    }

    /// The items of `start <= key < stop` for any Arrow library: a stream of `key` and `value` columns.
    ///
    /// Returns an object with `__arrow_c_stream__`; `pyarrow.table(x)`, `polars.DataFrame(x)`,
    /// `pandas.DataFrame.from_arrow(x)` and DuckDB read it, and it can be read many times. Arrow libraries
    /// also read a store as it is, from its first key to its last. Values are of the types that
    /// `ScanBatch.to_arrow` has. Bounds as in `scan`; each reading sees the store as it was when the reading
    /// began, in arrays of at most 131,072 rows and about 64 MiB. O(1) to make.
    ///
    /// >>> s[1] = b"one"
    /// >>> pyarrow.table(s.to_arrow()).to_pydict()  # doctest: +SKIP
    /// {'key': [1], 'value': [b'one']}
    /// >>> hasattr(s.to_arrow(), "__arrow_c_stream__")
    /// True
    #[pyo3(signature = (start=None, stop=None))]
    fn to_arrow(
        slf: &Bound<'_, Self>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<ArrowStream> {
        let range =
            bounds::scan_range(bounds::range(slf.get().kind(), start, stop, true, false)?, false, None);
        slf.get().check_open(slf.py())?;
        Ok(ArrowStream { store: slf.clone().unbind(), range })
    }
}
