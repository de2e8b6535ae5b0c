//! `Store`, many keys in one call: batch writes and batch reads.
//!
//! All of them convert their arguments while attached and work detached. Long reads are cut into pieces, with a check
//! for Ctrl-C between two.

use alex_store::{Error, Moment, SortedKeys, Store as Engine, ValueSource, Values};
use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::convert::arrays::{Pinned, zeros};
use crate::convert::buffers::{PREFETCH_AHEAD, prefetch};
use crate::convert::{bounds, keys, values};
use crate::errors::{detached, to_exception};
use crate::memory::{bytes, filled};
use crate::progress::with_progress;
use crate::store::batch::WriteBatch;
use crate::store::one::Store;
use crate::store::read_ahead::{PIECE_KEYS, read_ahead};

/// Keys, and bytes of rows, read between two checks for signals if no object is made of the values. Large enough for
/// the engine to share among threads.
pub(crate) const LARGE_PIECE_KEYS: usize = 1 << 18;
const LARGE_PIECE_BYTES: usize = 1 << 28;

impl Store {
    /// The moment as of which a call reads all its keys. The store is not closed while it lives.
    pub(crate) fn moment(&self, py: Python<'_>) -> PyResult<Moment> {
        self.detached(py, Engine::moment)
    }
}

#[pymethods]
impl Store {
    /// Stores `values[i]` under `keys[i]` for every i in one atomic batch; returns how many distinct keys.
    ///
    /// `keys`: a one-dimensional integer array or buffer (native int64 is read without a conversion), an
    /// Arrow integer array, or any iterable of ints. `values`: a sequence or iterator of values as in
    /// `put`; or an array whose first axis is the keys, each row's memory one value; or an Arrow binary
    /// array. The last duplicate of a key wins. With `sync=True` the call returns once everything is
    /// safe on the device. A crash leaves all of it or nothing. Arrays are read where they lie: what
    /// another thread writes into one meanwhile is stored as it happens to be read, and none may free or
    /// resize one, which NumPy allows with `refcheck=False`. Raises ValueError if the lengths differ, and
    /// what `put` raises; nothing is written then. O(bytes), the GIL released.
    ///
    /// >>> s.put_many(np.array([3, 1, 3]), [b"a", b"b", b"c"])
    /// 2
    /// >>> list(s.items())
    /// [(1, b'b'), (3, b'c')]
    #[pyo3(signature = (keys, values, *, sync=false))]
    fn put_many(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        sync: bool,
    ) -> PyResult<u64> {
        let keys = keys::many(keys, keys::Role::Key)?;
        let values = values::many(values, keys.len())?;
        let source = values.source();
        values::check_count(keys.len(), source.len())?;
        self.detached(py, |engine| engine.put_many(&keys, &source, sync))
    }

    /// Stores `values[i]` under `keys[i]` for every i, sorted by key; returns how many distinct keys.
    ///
    /// Values are written in the order of their keys, whatever order they come in, so that ranges are read
    /// sequentially later; the sorting makes it slower than `put_many` at writing. One atomic commit, also if
    /// the store is not empty. `keys`, `values`, errors and what other
    /// threads must leave alone are as in `put_many`; one call takes at most 32
    /// GiB of records. `progress(done, total)` is called with bytes before the work, after the sorting, and
    /// at the end; an exception that it raises before the end leaves the store as it was. O(n log n + bytes),
    /// the GIL released.
    ///
    /// >>> s.bulk_load([3, 1, 3], [b"a", b"b", b"c"])
    /// 2
    /// >>> list(s.items())
    /// [(1, b'b'), (3, b'c')]
    #[pyo3(signature = (keys, values, *, progress=None))]
    fn bulk_load(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let keys = keys::many(keys, keys::Role::Key)?;
        let engine = self.check_open(py)?;
        let Some(progress) = progress.filter(|progress| !progress.is_none()) else {
            // Sorted first, so that the last check for Ctrl-C comes before the values are lent to the engine.
            let sorted = detached(py, || SortedKeys::of(&keys))?;
            py.check_signals()?;
            let values = values::many(values, keys.len())?;
            let source = values.source();
            values::check_count(keys.len(), source.len())?;
            return detached(py, || engine.load_sorted(&sorted, &source));
        };
        // The callback can do anything to an array.
        let values = values::many(values, keys.len())?.owned()?;
        let source = values.source();
        values::check_count(keys.len(), source.len())?;
        with_progress(py, Some(progress), |progress| engine.bulk_load(&keys, &source, progress))
    }

    /// The values of many keys as a list of bytes, with `default` for absent keys.
    ///
    /// `keys` as in `put_many`; the list has their order and their duplicates. Raises TypeError,
    /// OverflowError or ValueError for what are no keys, CorruptionError if a stored value is damaged.
    /// O(keys); lookups are interleaved, with the GIL released. From 16,384 keys on, or ten MiB of long
    /// values, a second thread reads ahead.
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
    ) -> PyResult<Bound<'py, PyList>> {
        let keys = keys::many(keys, keys::Role::Key)?;
        let moment = self.moment(py)?;
        // Filled with the default first: other threads must not see a list with empty slots.
        let default = default.unwrap_or_else(|| py.None().into_bound(py));
        let list = PyList::new(py, [default])?.as_sequence().repeat(keys.len())?.cast_into::<PyList>()?;
        let made = list.clone().unbind();
        let read = |piece: &[i64], values: &mut Values| moment.get_some_into(piece, values);
        read_ahead(py, &keys, read, |py, start, values| {
            let list = made.bind(py);
            for i in 0..values.len() {
                if let Some(ahead) = values.get(i + PREFETCH_AHEAD) {
                    prefetch(ahead);
                }
                if let Some(value) = values.get(i) {
                    list.set_item(start + i, bytes(py, value)?)?;
                }
            }
            Ok(())
        })?;
        Ok(list)
    }

    /// The part of `get_array` that reads: the values of `keys`, each `width` bytes, one after another.
    ///
    /// An absent key gets the bytes of `fill`, or raises KeyError. `out`, if not None, is a pair: a function
    /// that returns the memory of an array, and the array to read into.
    fn _get_rows<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        width: usize,
        fill: Option<&[u8]>,
        out: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    ) -> PyResult<(Bound<'py, PyArray1<u8>>, usize)> {
        let keys = keys::many(keys, keys::Role::Key)?;
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
            for (number, piece) in keys.chunks(piece_keys).enumerate() {
                // A signal handler can do anything to `out`, so its memory is borrowed again for each piece.
                py.check_signals()?;
                pinned.as_ref().map_or(Ok(()), |pinned| pinned.check(py))?;
                let rows = rows.as_slice_mut()?;
                let from = number * piece_keys * width;
                let rows = &mut rows[from..from + piece.len() * width];
                let missing = detached(py, || moment.get_rows(piece, width, rows))?;
                if let (Some(missing), None) = (missing, fill) {
                    return Err(PyKeyError::new_err(piece[missing]));
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
        let keys = keys::many(keys, keys::Role::Key)?;
        let moment = self.moment(py)?;
        let mut found = filled(false, keys.len())?;
        for (piece, found) in keys.chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            py.check_signals()?;
            detached(py, || moment.contains_many(piece, found))?;
        }
        Ok(PyArray1::from_vec(py, found))
    }

    /// Removes many keys in one atomic batch; returns how many of them were present.
    ///
    /// `keys` as in `put_many`; duplicates count once. Raises as `put_many`. O(keys), the GIL released.
    ///
    /// >>> s.put_many([1, 2, 3], [b"", b"", b""])
    /// 3
    /// >>> s.delete_many([1, 2, 2, 9])
    /// 2
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<u64> {
        let keys = keys::many(keys, keys::Role::Key)?;
        self.detached(py, |engine| engine.delete_many(&keys))
    }

    /// Removes every key of `start <= key < stop` in one commit; returns how many there were.
    ///
    /// Bounds as in `scan`, but at least one must be given, else TypeError: `clear` removes everything.
    /// Raises what `put` raises when it cannot write.
    ///
    /// >>> s.put_many([1, 2, 3], [b"", b"", b""])
    /// 3
    /// >>> s.delete_range(2)
    /// 2
    #[pyo3(signature = (start=None, stop=None))]
    fn delete_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        match bounds::deleted_range(start, stop)? {
            Some((start, stop)) => self.detached(py, |engine| engine.delete_range(start, stop)),
            // An empty range, but the engine must still refuse what it cannot write.
            None => self.detached(py, |engine| engine.delete_many(&[])),
        }
    }

    /// A `WriteBatch`: writes that commit together when its `with` block ends.
    ///
    /// With `sync=True` the commit returns once everything is safe on the device, at any durability.
    /// Raises ReadOnlyError or ClosedError. O(1).
    ///
    /// >>> with s.batch() as b:
    /// ...     b.put(1, b"one")
    /// ...     b.put(2, b"two")
    /// >>> len(s)
    /// 2
    #[pyo3(signature = (sync=false))]
    fn batch(slf: &Bound<'_, Self>, sync: bool) -> PyResult<WriteBatch> {
        let store = slf.get();
        let engine = store.check_open(slf.py())?;
        if engine.read_only() {
            let path = engine.path().to_owned();
            return Err(to_exception(slf.py(), &Error::ReadOnly { path }));
        }
        Ok(WriteBatch::new(slf, sync))
    }
}
