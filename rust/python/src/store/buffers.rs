//! Values of many keys as columns: `Store.get_buffers`, `floor_many` and `ceiling_many`.
//!
//! No Python object is made for a value. The engine reads into Rust memory without the GIL. NumPy and Arrow arrays
//! are windows on that memory, which never changes and lives as long as any of them.
#![allow(unsafe_code)]

use std::sync::Arc;

use alex_store::{KeyVec, Keys, Neighbour, ValueColumn};
use numpy::{PyArray1, PyArrayDescr, PyArrayDescrMethods};
use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::convert::arrays::window;
use crate::convert::arrow::{ArrowArray, Columns};
use crate::convert::codec::Codec;
use crate::convert::generic::generic_class;
use crate::convert::keys::{self, Role};
use crate::convert::kinds;
use crate::convert::value_type::{Layout, ValueType};
use crate::errors::{OrRaise, detached};
use crate::memory;
use crate::store::read_many::LARGE_PIECE_KEYS;
use crate::store::reader::Reader;
use crate::store::rows::{FoundValues, RowIterator, row};

/// The values of many keys in two arrays; what `Store.get_buffers` returns.
///
/// Value `i` is `data[offsets[i]:offsets[i + 1]]`, empty if `found[i]` is False. The arrays are
/// read-only, and stay valid after the store is closed. `len` is the number of keys; `x[i]` and iteration
/// give values, or None for an absent key. Arrow libraries read it as it is, sharing its memory:
/// `pyarrow.array(x)`, `polars.Series(x)`.
///
/// >>> s.put_many([1, 2], [b"one", b"three"])
/// 2
/// >>> got = s.get_buffers([2, 7, 1])
/// >>> got.data.tobytes(), got.offsets.tolist(), got.found.tolist()
/// (b'threeone', [0, 5, 5, 8], [True, False, True])
/// >>> got[0], got[1], list(got)
/// (b'three', None, [b'three', None, b'one'])
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct ValueBuffers {
    values: Arc<FoundValues>,
    types: ValueType,
}

impl ValueBuffers {
    fn columns(&self) -> Columns {
        Columns::of_values(&self.types, &self.values.column, &self.values.found)
    }
}

/// What an array of values is made of: the dtype that was asked for, or that of the codec.
pub(crate) fn dtype_of<'py>(
    py: Python<'py>,
    asked: Option<&Bound<'py, PyAny>>,
    codec: Option<&Codec>,
) -> PyResult<Bound<'py, PyArrayDescr>> {
    let rows = codec.filter(|codec| codec.row_bytes().is_some());
    let dtype = match (asked, rows) {
        (Some(dtype), _) => PyArrayDescr::new(py, dtype)?,
        (None, Some(rows)) => {
            let rows = rows.object(py);
            PyArrayDescr::new(py, (rows.getattr("dtype")?, rows.getattr("shape")?))?
        }
        (None, None) => {
            return Err(PyTypeError::new_err(
                "dtype is None; only codecs.numpy and codecs.struct know of what dtype values are",
            ));
        }
    };
    if dtype.has_object() {
        return Err(PyTypeError::new_err(format!(
            "dtype {dtype} holds Python objects; values are plain memory"
        )));
    }
    Ok(dtype)
}

/// `rows` values that lie in `data` one after another as an array, without a copy. An element of a dtype such as
/// ("f4", (3,)) is itself an array, of the base dtype.
pub(crate) fn viewed<'py>(
    data: &Bound<'py, PyArray1<u8>>,
    dtype: &Bound<'py, PyArrayDescr>,
    rows: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let py = data.py();
    let shape = PyTuple::new(py, [vec![rows], dtype.shape()].concat())?;
    if dtype.itemsize() == 0 {
        return py.import("numpy")?.call_method1("empty", (shape, dtype.base()));
    }
    data.call_method1("view", (dtype.base(),))?.call_method1("reshape", (shape,))
}

generic_class!(ValueBuffers);

#[pymethods]
impl ValueBuffers {
    fn __len__(&self) -> usize {
        self.values.found.len()
    }

    /// Values of several of these in one: row `i` is the value `places[i]` of `parts[which[i]]`.
    ///
    /// All parts are of stores with the same codec. Raises IndexError if there is no such part or value.
    /// O(bytes).
    #[staticmethod]
    fn _joined(
        py: Python<'_>,
        parts: Vec<PyRef<'_, Self>>,
        which: &Bound<'_, PyAny>,
        places: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let which = keys::many(which, Role::Bound("which"))?;
        let places = keys::many(places, Role::Bound("places"))?;
        let missing = || PyIndexError::new_err("there is no such part or value");
        let types = parts.first().ok_or_else(missing)?.types.clone();
        let values: Vec<_> = parts.into_iter().map(|part| Arc::clone(&part.values)).collect();
        let mut rows = Vec::new();
        memory::room(&mut rows, places.len())?;
        for (part, place) in which.into_iter().zip(places) {
            let row = (usize::try_from(part)?, usize::try_from(place)?);
            values.get(row.0).and_then(|part| part.found.get(row.1)).ok_or_else(missing)?;
            rows.push(row);
        }
        let columns: Vec<_> = values.iter().map(|values| &*values.column).collect();
        let column = detached(py, || ValueColumn::joined(&columns, &rows))?;
        let found = rows.iter().map(|&(part, row)| values[part].found[row]).collect();
        let mut keys = KeyVec::default();
        let codec = values[0].codec.clone();
        if codec.is_some() {
            for &(part, row) in &rows {
                keys.push(values[part].keys.get(row));
            }
        }
        let values = Arc::new(FoundValues { column: Arc::new(column), found, codec, keys });
        Ok(Self { values, types })
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        row(&*self.values, index)
    }

    fn __iter__(&self) -> RowIterator {
        RowIterator::over(self.values.clone())
    }

    /// The Arrow type alone.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        self.columns().schema(py, Layout::Large)
    }

    /// The values as an Arrow array, with null for an absent key. A requested layout of binary values or of
    /// text is granted.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        self.columns().export(py, requested_schema)
    }

    /// The bytes of all values, one after another: a read-only uint8 array. O(1).
    #[getter]
    fn data<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<u8>> {
        // SAFETY: the class is frozen, so its columns never change while it lives.
        unsafe { window(slf.clone().into_any(), slf.get().values.column.data()) }
    }

    /// Where each value begins in `data`, and where the last one ends: a read-only int64 array. O(1).
    #[getter]
    fn offsets<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<i64>> {
        // SAFETY: as in `data`.
        unsafe { window(slf.clone().into_any(), slf.get().values.column.offsets()) }
    }

    /// Whether each key was present: a read-only bool array. O(1).
    #[getter]
    fn found<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyArray1<bool>> {
        // SAFETY: as in `data`.
        unsafe { window(slf.clone().into_any(), &slf.get().values.found) }
    }

    /// The values for any Arrow library, with null for an absent key; of the types of `ScanBatch`.
    ///
    /// What the Arrow libraries also read of this object itself: `pyarrow.array(x)`, `polars.Series(x)`.
    /// Values that are bytes or text are not copied if no key is absent. O(keys).
    ///
    /// >>> s[1] = b"one"
    /// >>> pyarrow.array(s.get_buffers([1, 2]).to_arrow()).to_pylist()  # doctest: +SKIP
    /// [b'one', None]
    /// >>> len(s.get_buffers([1, 2]).to_arrow())
    /// 2
    fn to_arrow(&self) -> ArrowArray {
        self.columns().into()
    }

    /// The values as an array of `dtype`, one element for each key, and `fill` for an absent key.
    ///
    /// Without a dtype it is that of the codec (`codecs.numpy`, `codecs.struct`). If no key is absent, the
    /// array is a read-only window on `data`; else a copy. Raises ValueError if a value has another length, a
    /// key is absent and no `fill` was given, or `fill` would change as a row, and TypeError if `dtype` holds
    /// Python objects, or is None where the codec has none. O(bytes).
    ///
    /// >>> s.put_many([1, 2], np.array([0.5, 1.5]))
    /// 2
    /// >>> s.get_buffers([2, 7, 1]).to_array(np.float64, fill=np.nan).tolist()
    /// [1.5, nan, 0.5]
    #[pyo3(signature = (dtype=None, *, fill=None))]
    fn to_array<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<&Bound<'py, PyAny>>,
        fill: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let FoundValues { column, found, codec, .. } = &*slf.get().values;
        let dtype = dtype_of(py, dtype, codec.as_deref())?;
        let width = dtype.itemsize() as i64;
        let lengths = column.offsets().windows(2).map(|pair| pair[1] - pair[0]);
        if let Some((at, length)) = lengths.enumerate().find(|&(at, length)| found[at] && length != width) {
            return Err(PyValueError::new_err(format!(
                "value {at} has {length} bytes, and one {dtype} has {width}"
            )));
        }
        let there = found.iter().filter(|&&found| found).count();
        let values = viewed(&Self::data(slf), &dtype, there)?;
        if there == found.len() {
            return Ok(values);
        }
        let Some(fill) = fill else {
            let at = found.iter().position(|found| !found).unwrap_or_default();
            return Err(PyValueError::new_err(format!(
                "there is no value {at}, because its key was not found; fill=... says what stands there"
            )));
        };
        let row = py.import("alexpy._convert")?.getattr("Row")?;
        let all = row.call1((&dtype, PyTuple::empty(py), fill))?.call_method1("fillings", (found.len(),))?;
        all.set_item(Self::found(slf), values)?;
        Ok(all)
    }

    fn __repr__(&self) -> String {
        let there = self.values.found.iter().filter(|&&found| found).count();
        let bytes = self.values.column.data().len();
        format!("<alexpy.ValueBuffers, {there} of {} keys, {bytes} bytes>", self.values.found.len())
    }
}

/// The neighbours of many keys: their keys and their values.
type Nearest<'py> = (Bound<'py, PyAny>, ValueBuffers);

impl Reader {
    /// What was read of many keys; `keys` are those of the values.
    fn buffers(
        &self,
        py: Python<'_>,
        column: ValueColumn,
        found: Vec<bool>,
        keys: Keys<'_>,
    ) -> PyResult<ValueBuffers> {
        let codec = self.handle().shared_codec();
        let keys = if codec.is_some() { kinds::copied(keys)? } else { KeyVec::default() };
        let values = Arc::new(FoundValues { column: Arc::new(column), found, codec, keys });
        Ok(ValueBuffers { values, types: self.value_type(py)? })
    }

    fn nearest<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        which: Neighbour,
    ) -> PyResult<Nearest<'py>> {
        let keys = kinds::many(self.kind(), keys)?;
        let moment = self.moment(py)?;
        let mut column = ValueColumn::with_room(keys.len()).or_raise(py)?;
        let (mut near, mut found) = (kinds::list(self.kind(), keys.len())?, Vec::new());
        memory::room(&mut found, keys.len())?;
        for piece in keys.as_keys().chunks(LARGE_PIECE_KEYS) {
            py.check_signals()?;
            detached(py, || moment.get_nearest_column(piece, which, &mut near, &mut column, &mut found))?;
        }
        kinds::mark_absent(self.kind(), &mut near, &found);
        let buffers = self.buffers(py, column, found, near.as_keys())?;
        Ok((kinds::array(py, self.kind(), near)?, buffers))
    }
}

#[pymethods]
impl Reader {
    /// The values of many keys in one buffer with offsets: a `ValueBuffers`.
    ///
    /// For values of different lengths, without making an object for each; `get_array` is for values of one
    /// length. `keys` as in `put_many`; the result has their order and their duplicates, and says which keys
    /// were present. Raises as `get_many`. O(keys + bytes), the GIL released.
    ///
    /// >>> s.put_many([1, 2], [b"one", b"three"])
    /// 2
    /// >>> s.get_buffers([2, 1]).offsets.tolist()
    /// [0, 5, 8]
    fn get_buffers(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<ValueBuffers> {
        let keys = kinds::many(self.kind(), keys)?;
        let moment = self.moment(py)?;
        let mut column = ValueColumn::with_room(keys.len()).or_raise(py)?;
        let mut found = Vec::new();
        memory::room(&mut found, keys.len())?;
        for piece in keys.as_keys().chunks(LARGE_PIECE_KEYS) {
            py.check_signals()?;
            detached(py, || moment.get_column(piece, &mut column, &mut found))?;
        }
        self.buffers(py, column, found, keys.as_keys())
    }

    /// For many keys, the item at or below each: (found_keys, buffers).
    ///
    /// An as-of lookup: what was known at each of many times. `found_keys` is an array of the length of
    /// `keys`, `buffers` a `ValueBuffers` with the values. Where nothing lies at or below a key,
    /// `buffers.found` is False, the key 0 (NaT for moments) and the value empty. `keys` as in `put_many`;
    /// the result has their order, and all of it is of one moment. Raises as `get_many`. O(keys + bytes) in
    /// practice, the GIL released; a snapshot takes longer for keys next to some that have changed since.
    ///
    /// >>> s.put_many([10, 20], [b"ten", b"twenty"])
    /// 2
    /// >>> found_keys, buffers = s.floor_many([19, 9, 20])
    /// >>> found_keys.tolist(), buffers.found.tolist(), buffers.data.tobytes()
    /// ([10, 0, 20], [True, False, True], b'tentwenty')
    fn floor_many<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Nearest<'py>> {
        self.nearest(py, keys, Neighbour::Floor)
    }

    /// For many keys, the item at or above each: (found_keys, buffers).
    ///
    /// As `floor_many`.
    ///
    /// >>> s.put_many([10, 20], [b"ten", b"twenty"])
    /// 2
    /// >>> found_keys, buffers = s.ceiling_many([11, 21])
    /// >>> found_keys.tolist(), buffers.found.tolist(), buffers.data.tobytes()
    /// ([20, 0], [True, False], b'twenty')
    fn ceiling_many<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Nearest<'py>> {
        self.nearest(py, keys, Neighbour::Ceiling)
    }
}
