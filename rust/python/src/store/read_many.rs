//! `Store` and `Snapshot`, the reads of many keys in one call.
//!
//! They convert their arguments while attached and work detached. Long reads are cut into pieces, with a check for Ctrl-C
//! between two.

use alex_store::{Keys, Moment, Reader as EngineReader, Values};
use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::convert::arrays::{Pinned, zeros};
use crate::convert::buffers::{PREFETCH_AHEAD, prefetch};
use crate::convert::kinds;
use crate::errors::{detached, to_exception};
use crate::memory::{bytes, filled};
use crate::store::read_ahead::{PIECE_KEYS, read_ahead};
use crate::store::reader::Reader;

/// Keys, and bytes of rows, read between two checks for signals if no object is made of the values. Large enough for
/// the engine to share among threads.
pub(crate) const LARGE_PIECE_KEYS: usize = 1 << 18;
const LARGE_PIECE_BYTES: usize = 1 << 28;

impl Reader {
    /// The moment as of which a call reads all its keys. The store is not closed while it lives.
    pub(crate) fn moment(&self, py: Python<'_>) -> PyResult<Moment> {
        self.detached(py, EngineReader::moment)
    }

    /// The bytes of many values, with `absent` for those that are not there.
    fn list<'py>(
        &self,
        py: Python<'py>,
        keys: Keys<'_>,
        absent: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let moment = self.moment(py)?;
        // Filled first: other threads must not see a list with empty slots.
        let list = PyList::new(py, [absent])?.as_sequence().repeat(keys.len())?.cast_into::<PyList>()?;
        let made = list.clone().unbind();
        let read = |piece: Keys<'_>, left_packed: usize, values: &mut Values| {
            moment.get_some_packed_into(piece, left_packed, values)
        };
        read_ahead(py, keys, read, |py, start, values| {
            let list = made.bind(py);
            for i in 0..values.len() {
                if let Some(ahead) = values.get(i + PREFETCH_AHEAD) {
                    prefetch(ahead);
                }
                if let Some(value) = values.get(i) {
                    list.set_item(start + i, bytes(py, value)?)?;
                } else if let Some(len) = values.packed_len(i) {
                    let unpack =
                        |out: &mut [u8]| values.unpack(i, out).map_err(|error| to_exception(py, &error));
                    list.set_item(start + i, PyBytes::new_with(py, len, unpack)?)?;
                }
            }
            Ok(())
        })?;
        Ok(list)
    }
}

#[pymethods]
impl Reader {
    /// The values of many keys as a list, with `default` for absent keys.
    ///
    /// `keys` as in `put_many`; the list has their order and their duplicates. Values are bytes, or what the
    /// codec of the store makes of them. With a codec that makes rows of an array (`codecs.numpy`,
    /// `codecs.struct`) the result is one array of shape (len(keys), *shape), and an absent key is a KeyError
    /// unless there is a default, a value too. Raises TypeError, OverflowError or ValueError for what are no
    /// keys, CorruptionError if a stored value is damaged. O(keys); lookups are interleaved, with the GIL
    /// released. From 16,384 keys on, or ten MiB of long values, a second thread reads ahead.
    ///
    /// >>> s.put_many([1, 2], [b"one", b"two"])
    /// 2
    /// >>> s.get_many([2, 1, 5])
    /// [b'two', b'one', None]
    #[pyo3(signature = (keys, default=None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(codec) = self.codec() else {
            let keys = kinds::many(self.kind(), keys)?;
            let default = default.unwrap_or_else(|| py.None().into_bound(py));
            return Ok(self.list(py, keys.as_keys(), default)?.into_any());
        };
        if let Some(width) = codec.row_bytes() {
            let fill = default.map(|default| codec.encode(None, &default)).transpose()?;
            let fill = fill.as_ref().map(PyBytesMethods::as_bytes);
            let (rows, count) = self.rows(py, keys, width, fill, None)?;
            return codec.object(py).call_method1("_array", (rows, count));
        }
        let keys = kinds::many(self.kind(), keys)?;
        let list = self.list(py, keys.as_keys(), py.None().into_bound(py))?;
        // Only now, when nothing of the store is held any more: the codec's code may do anything.
        for (i, key) in keys.iter().enumerate() {
            match list.get_item(i)?.cast_into::<PyBytes>() {
                Ok(bytes) => list.set_item(i, codec.decode(key, bytes)?)?,
                Err(_) if default.is_some() => list.set_item(i, &default)?,
                Err(_) => {}
            }
        }
        Ok(list.into_any())
    }

    /// The part of `get_array` that reads: the values of `keys`, each `width` bytes, one after another.
    ///
    /// An absent key gets the bytes of `fill`, or raises KeyError. `out`, if not None, is a pair: a function
    /// that returns the memory of an array, and the array to read into.
    #[pyo3(name = "_get_rows")]
    fn rows<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        width: usize,
        fill: Option<&[u8]>,
        out: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    ) -> PyResult<(Bound<'py, PyArray1<u8>>, usize)> {
        let keys = kinds::many(self.kind(), keys)?;
        let moment = self.moment(py)?;
        let bytes = keys.len().saturating_mul(width);
        let out = match out {
            Some((memory, out)) => {
                let memory = memory.call1((&out,))?.cast_into::<PyArray1<u8>>()?;
                Some((out.len()?, memory))
            }
            None => None,
        };
        let (array, pinned) = match out {
            // Not allocated by NumPy, which asks for large pages: if the kernel must move other memory to make
            // them, a first read takes three times as long (docs/measurements).
            None => (PyArray1::from_vec(py, zeros(bytes)?), None),
            Some((rows, out)) if rows == keys.len() && out.len() == bytes => {
                let pinned = Pinned::of(out.as_any())?;
                (out, Some(pinned))
            }
            Some((rows, _)) => {
                let count = keys.len();
                return Err(PyValueError::new_err(format!(
                    "out has {rows} rows, and there are {count} keys"
                )));
            }
        };
        {
            let in_use = |_| PyValueError::new_err("out is being used by another call; wait for it");
            let mut rows = array.try_readwrite().map_err(in_use)?;
            if let Some(fill) = fill.filter(|fill| !fill.is_empty()) {
                rows.as_slice_mut()?.chunks_exact_mut(fill.len()).for_each(|row| row.copy_from_slice(fill));
            }
            let piece_keys = LARGE_PIECE_KEYS.min(LARGE_PIECE_BYTES / width.max(1)).max(1);
            for (number, piece) in keys.as_keys().chunks(piece_keys).enumerate() {
                // A signal handler can do anything to `out`, so its memory is borrowed again for each piece.
                py.check_signals()?;
                pinned.as_ref().map_or(Ok(()), |pinned| pinned.check(py))?;
                let rows = rows.as_slice_mut()?;
                let from = number * piece_keys * width;
                let rows = &mut rows[from..from + piece.len() * width];
                let missing = detached(py, || moment.get_rows(piece, width, rows))?;
                if let (Some(missing), None) = (missing, fill) {
                    let key = kinds::object(py, self.kind(), piece.get(missing))?;
                    return Err(PyKeyError::new_err(key.unbind()));
                }
            }
        }
        Ok((array, keys.len()))
    }

    /// Which of many keys are present, as a bool array of the same length.
    ///
    /// `keys` and errors as in `get_many`. O(keys), no value is read, the GIL is released.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.contains_many([0, 1]).tolist()
    /// [False, True]
    fn contains_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let keys = kinds::many(self.kind(), keys)?;
        let moment = self.moment(py)?;
        let mut found = filled(false, keys.len())?;
        for (piece, found) in keys.as_keys().chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            py.check_signals()?;
            detached(py, || moment.contains_many(piece, found))?;
        }
        Ok(PyArray1::from_vec(py, found))
    }
}
