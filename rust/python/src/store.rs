//! `Store`, the native half: every call that reaches the engine. `alexpy._store.Store` adds the rest
//! of the mapping in Python.
//!
//! Calls on one key try the engine while attached, because leaving and taking the GIL costs more than
//! a lookup; when the engine would wait they detach and wait there. All other calls detach.

use std::path::PathBuf;
use std::time::Duration;

use alex_store::{
    Durability, Error, Options, ReadMode, Recovery, Store as Engine, Value, ValueSource, WriteMode,
};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::{PyKeyError, PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMemoryView};

use crate::batch::WriteBatch;
use crate::errors::{OrRaise, detached, to_exception};
use crate::scan::{PREFETCH_AHEAD, StoreIterator, Yields};
use crate::{bounds, buffers, keys, values};

/// Keys looked up between two looks at pending signals: few enough that the values checked by the engine
/// are still near when they are copied, enough that the GIL is not fought over.
const PIECE_KEYS: usize = 1 << 14;

/// The native half of `alexpy.Store`; `alexpy.open` makes them.
#[pyclass(frozen, subclass, mapping, weakref, module = "alexpy._alexpy")]
pub(crate) struct Store {
    engine: Engine,
    config: Py<PyAny>,
}

impl Store {
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// `ClosedError` once the store is closed.
    #[inline]
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        if self.engine.is_closed() {
            let path = self.engine.path().to_owned();
            return Err(to_exception(py, &Error::Closed { path }));
        }
        Ok(())
    }

    #[inline]
    fn lookup(&self, py: Python<'_>, key: i64) -> PyResult<Option<Value>> {
        match self.engine.try_get(key) {
            Some(found) => found.or_raise(py),
            None => detached(py, || self.engine.get(key)),
        }
    }

    #[inline]
    fn remove(&self, py: Python<'_>, key: i64) -> PyResult<bool> {
        match self.engine.try_delete(key) {
            Some(removed) => removed.or_raise(py),
            None => detached(py, || self.engine.delete(key)),
        }
    }
}

/// A key and its value as Python gets them.
type Item<'py> = (i64, Bound<'py, PyBytes>);

fn item(py: Python<'_>, found: Option<(i64, Value)>) -> Option<Item<'_>> {
    found.map(|(key, value)| (key, PyBytes::new(py, &value)))
}

/// One of a few words; an unknown one is refused with the words that exist.
fn choice<T: Copy>(option: &str, word: &str, choices: &[(&str, T)]) -> PyResult<T> {
    choices.iter().find(|(name, _)| *name == word).map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        PyValueError::new_err(format!("{option} must be one of {}, not {word:?}", names.join(", ")))
    })
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (path, config, *, read_only, create, durability, sync_interval_ms, segment_bytes,
                        write_mode, read_mode, verify_reads, background, recovery))]
    // PyO3 makes the path, and gives it away.
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, clippy::needless_pass_by_value)]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        config: Py<PyAny>,
        read_only: bool,
        create: bool,
        durability: &str,
        sync_interval_ms: u64,
        segment_bytes: u64,
        write_mode: &str,
        read_mode: &str,
        verify_reads: bool,
        background: bool,
        recovery: &str,
    ) -> PyResult<Self> {
        let options = Options {
            read_only,
            create,
            durability: choice(
                "durability",
                durability,
                &[("sync", Durability::Sync), ("interval", Durability::Interval), ("os", Durability::Os)],
            )?,
            sync_interval: Duration::from_millis(sync_interval_ms),
            segment_bytes,
            write_mode: choice(
                "write_mode",
                write_mode,
                &[("auto", WriteMode::Auto), ("mmap", WriteMode::Mmap), ("pwrite", WriteMode::Pwrite)],
            )?,
            read_mode: choice(
                "read_mode",
                read_mode,
                &[("mmap", ReadMode::Mmap), ("pread", ReadMode::Pread)],
            )?,
            verify_reads,
            background,
            recovery: choice(
                "recovery",
                recovery,
                &[("strict", Recovery::Strict), ("point_in_time", Recovery::PointInTime)],
            )?,
        };
        // Recovery may replay gigabytes: a pending Ctrl-C stops it.
        let mut signal = None;
        let opened = py.detach(|| {
            Engine::open(&path, &options, &mut |_| {
                signal = Python::attach(|py| py.check_signals().err());
                signal.is_none()
            })
        });
        match (opened, signal) {
            (Err(Error::Interrupted), Some(signal)) => Err(signal),
            (opened, _) => Ok(Self { engine: opened.or_raise(py)?, config }),
        }
    }

    // ---- one key ----

    fn __getitem__<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        match self.lookup(py, keys::one(key)?)? {
            Some(value) => Ok(PyBytes::new(py, &value)),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(py, key, value)
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.remove(py, keys::one(key)?)? {
            Ok(())
        } else {
            Err(PyKeyError::new_err(key.clone().unbind()))
        }
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = keys::one(key)?;
        match self.engine.try_contains(key) {
            Some(found) => found.or_raise(py),
            None => detached(py, || self.engine.contains(key)),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let keys = match self.engine.try_len() {
            Some(keys) => keys.or_raise(py),
            None => detached(py, || self.engine.len()),
        };
        keys.map(|keys| keys as usize)
    }

    /// The value of `key` as bytes, or `default` where the key is not there.
    ///
    /// Raises TypeError or OverflowError for what is no int64, CorruptionError where the stored value
    /// is damaged. O(1) in practice: one predicted position in the index, one read.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.get(1), s.get(2), s.get(2, b"")
    /// (b'one', None, b'')
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.lookup(py, keys::one(key)?)? {
            Some(value) => Ok(Some(PyBytes::new(py, &value).into_any())),
            None => Ok(default),
        }
    }

    /// The value of `key` as a read-only memoryview of the stored bytes, or None.
    ///
    /// Nothing is copied. The view stays valid, and its bytes the same, after the key is overwritten
    /// or deleted and after the store is closed; while it lives, its segment's disk space does too.
    /// Raises as `get`. O(1).
    ///
    /// >>> s[1] = b"one"
    /// >>> view = s.get_view(1)
    /// >>> del s[1]
    /// >>> bytes(view), view.readonly
    /// (b'one', True)
    fn get_view<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        let value = self.lookup(py, keys::one(key)?)?;
        value.map(|value| buffers::view(py, value)).transpose()
    }

    /// Stores `value` under `key`, replacing what was there.
    ///
    /// `key` is an int64; `value` is bytes or any other contiguous buffer (bytearray, memoryview, NumPy
    /// array), stored as its raw memory, at most 2**32-1 bytes. When the call returns, the write
    /// survives a kill of the process; with `durability="sync"` also a power cut. Raises TypeError,
    /// OverflowError, ValueError or BufferError for what cannot be stored, ReadOnlyError, ClosedError,
    /// PoisonedError, or OSError (ENOSPC where the disk is full). O(len(value)).
    ///
    /// >>> s.put(1, b"one")
    /// >>> s[1]
    /// b'one'
    fn put(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = keys::one(key)?;
        let value = values::one(value, "value")?;
        let bytes: &[u8] = &value;
        match self.engine.try_put(key, bytes) {
            Some(written) => written.or_raise(py),
            None => detached(py, || self.engine.put(key, bytes)),
        }
    }

    /// Removes `key`; True if it was there.
    ///
    /// Raises TypeError or OverflowError for what is no int64, and as `put` for what stops a write.
    /// O(1).
    ///
    /// >>> s[1] = b"one"
    /// >>> s.delete(1), s.delete(1)
    /// (True, False)
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.remove(py, keys::one(key)?)
    }

    /// Removes `key` and returns its value, or None where it was not there.
    fn _take<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let key = keys::one(key)?;
        let taken = detached(py, || self.engine.take(key))?;
        Ok(taken.map(|value| PyBytes::new(py, &value)))
    }

    /// Removes the last item, or with `last=False` the first, and returns it.
    ///
    /// One commit: no two threads get the same item. Raises KeyError where the store is empty, and as
    /// `put` for what stops a write. O(1).
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> s.popitem(), s.popitem(last=False)
    /// ((3, b'c'), (1, b'a'))
    #[pyo3(signature = (last=true))]
    fn popitem<'py>(&self, py: Python<'py>, last: bool) -> PyResult<Item<'py>> {
        let taken = detached(py, || self.engine.take_end(last))?;
        item(py, taken).ok_or_else(|| PyKeyError::new_err("popitem(): the store is empty"))
    }

    /// The value of `key`; where it is not there, `default` is stored first.
    ///
    /// Atomic among threads. `default` is a value as in `put`. Raises as `put`. O(len(default)).
    ///
    /// >>> s.setdefault(1, b"one"), s.setdefault(1, b"uno")
    /// (b'one', b'one')
    fn setdefault<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let key = keys::one(key)?;
        let value = values::one(default, "default")?;
        let bytes: &[u8] = &value;
        let there = detached(py, || self.engine.get_or_put(key, bytes))?;
        Ok(PyBytes::new(py, there.as_deref().unwrap_or(bytes)))
    }

    /// Stores `value` under `key` only where the key is not there; True if it was stored.
    ///
    /// Atomic among threads. Raises as `put`. O(len(value)).
    ///
    /// >>> s.put_if_absent(1, b"one"), s.put_if_absent(1, b"uno"), s[1]
    /// (True, False, b'one')
    fn put_if_absent(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let key = keys::one(key)?;
        let value = values::one(value, "value")?;
        let bytes: &[u8] = &value;
        detached(py, || self.engine.get_or_put(key, bytes)).map(|there| there.is_none())
    }

    /// Stores `new` under `key` only where its value equals `expected`; True if it was stored.
    ///
    /// None means absent: `expected=None` stores only where the key is not there, `new=None` deletes.
    /// Atomic among threads. Raises as `put`. O(len(expected) + len(new)).
    ///
    /// >>> s.compare_and_set(1, None, b"one"), s.compare_and_set(1, b"two", b"three")
    /// (True, False)
    #[pyo3(signature = (key, expected, new))]
    fn compare_and_set(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        expected: Option<&Bound<'_, PyAny>>,
        new: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let key = keys::one(key)?;
        let expected = expected.map(|value| values::one(value, "expected")).transpose()?;
        let new = new.map(|value| values::one(value, "new")).transpose()?;
        let (expected, new) = (expected.as_deref(), new.as_deref());
        detached(py, || self.engine.compare_and_set(key, expected, new))
    }

    /// Removes everything, in one commit.
    ///
    /// Raises as `put` for what stops a write.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.clear()
    /// >>> len(s)
    /// 0
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.engine.clear()).map(drop)
    }

    // ---- many keys ----

    /// Stores `values[i]` under `keys[i]` for every i, in one atomic batch; how many distinct keys.
    ///
    /// `keys`: a one-dimensional integer array or buffer (native int64 is read without a conversion), an
    /// Arrow integer array, or any iterable of ints. `values`: a sequence or iterator of values as in
    /// `put`; or an array whose first axis is the keys, each row's memory one value; or an Arrow binary
    /// array. The last duplicate of a key wins. With `sync=True` the call returns once everything is
    /// safe on the device. A crash leaves all of it or nothing. Raises ValueError where the lengths
    /// differ, and as `put`; nothing is written then. O(bytes), the GIL released.
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
        // Copied, though an array could be read in place: log and index must see the same keys, also
        // when another thread changes the array meanwhile.
        let keys = keys::many(keys, keys::Role::Key)?.as_slice().to_vec();
        let values = values::many(values, keys.len())?;
        let source = values.source();
        values::check_count(keys.len(), source.len())?;
        detached(py, || self.engine.put_many(&keys, &source, sync))
    }

    /// The values of many keys as a list of bytes, with `default` for those that are not there.
    ///
    /// `keys` as in `put_many`; the list has their order and their duplicates. Raises TypeError,
    /// OverflowError or ValueError for what are no keys, CorruptionError where a stored value is
    /// damaged. O(keys); lookups are interleaved and the GIL is released meanwhile.
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
        let keys = keys.as_slice();
        self.check_open(py)?;
        // Made full of the default: a list with empty slots must not be seen by other threads.
        let default = default.unwrap_or_else(|| py.None().into_bound(py));
        let list = PyList::new(py, [default])?.as_sequence().repeat(keys.len())?.cast_into::<PyList>()?;
        for (piece, start) in keys.chunks(PIECE_KEYS).zip((0..).step_by(PIECE_KEYS)) {
            py.check_signals()?;
            let values = detached(py, || self.engine.get_many(piece))?;
            for i in 0..piece.len() {
                if let Some(ahead) = values.get(i + PREFETCH_AHEAD) {
                    buffers::prefetch(ahead);
                }
                if let Some(value) = values.get(i) {
                    list.set_item(start + i, PyBytes::new(py, value))?;
                }
            }
        }
        Ok(list)
    }

    /// The part of `get_array` that reads: the values of `keys`, each `width` bytes, one after another.
    ///
    /// A key that is not there gets the bytes of `fill`, or raises KeyError.
    fn _get_rows<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        width: usize,
        fill: Option<&[u8]>,
    ) -> PyResult<(Bound<'py, PyArray1<u8>>, usize)> {
        let keys = keys::many(keys, keys::Role::Key)?;
        let keys = keys.as_slice();
        self.check_open(py)?;
        let bytes = keys.len().checked_mul(width).filter(|&bytes| isize::try_from(bytes).is_ok());
        let bytes = bytes.ok_or_else(|| PyMemoryError::new_err("more bytes than memory can have"))?;
        // NumPy's own allocation asks for huge pages, which saves a page fault for every 4 KiB.
        let array = PyArray1::zeros(py, bytes, false);
        {
            let mut rows = array.try_readwrite()?;
            let rows = rows.as_slice_mut()?;
            if let Some(fill) = fill.filter(|fill| !fill.is_empty()) {
                rows.chunks_exact_mut(fill.len()).for_each(|row| row.copy_from_slice(fill));
            }
            for (number, piece) in keys.chunks(PIECE_KEYS).enumerate() {
                py.check_signals()?;
                let from = number * PIECE_KEYS * width;
                let rows = &mut rows[from..from + piece.len() * width];
                let missing = detached(py, || self.engine.get_rows(piece, width, rows))?;
                if let (Some(missing), None) = (missing, fill) {
                    return Err(PyKeyError::new_err(piece[missing]));
                }
            }
        }
        Ok((array, keys.len()))
    }

    /// Which of many keys are there, as a bool array of the same length.
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
        let keys = keys.as_slice();
        self.check_open(py)?;
        let mut found = vec![false; keys.len()];
        for (piece, found) in keys.chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            py.check_signals()?;
            detached(py, || self.engine.contains_many(piece, found))?;
        }
        Ok(PyArray1::from_vec(py, found))
    }

    /// Removes many keys in one atomic batch; how many of them were there.
    ///
    /// `keys` as in `put_many`; duplicates count once. Raises as `put_many`. O(keys), the GIL released.
    ///
    /// >>> s.put_many([1, 2, 3], [b"", b"", b""])
    /// 3
    /// >>> s.delete_many([1, 2, 2, 9])
    /// 2
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<u64> {
        let keys = keys::many(keys, keys::Role::Key)?;
        let keys = keys.as_slice();
        detached(py, || self.engine.delete_many(keys))
    }

    /// Removes every key of `start <= key < stop` in one commit; how many there were.
    ///
    /// Bounds as in `scan`, but at least one must be given: `clear` removes everything (TypeError).
    /// Raises as `put` for what stops a write.
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
        if start.is_none() && stop.is_none() {
            return Err(PyTypeError::new_err("delete_range() needs a bound; clear() removes every key"));
        }
        match bounds::range(start, stop, true, false)? {
            Some((start, stop)) => detached(py, || self.engine.delete_range(start, stop)),
            // The engine still says what stops a write.
            None => detached(py, || self.engine.delete_many(&[])),
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
        store.check_open(slf.py())?;
        if store.engine.read_only() {
            let path = store.engine.path().to_owned();
            return Err(to_exception(slf.py(), &Error::ReadOnly { path }));
        }
        Ok(WriteBatch::new(slf, sync))
    }

    // ---- order ----

    /// The item with the smallest key, or None where the store is empty.
    ///
    /// Returns (key, value). Raises ClosedError, CorruptionError. O(1).
    ///
    /// >>> s.put_many([1, 2], [b"one", b"two"])
    /// 2
    /// >>> s.first()
    /// (1, b'one')
    fn first<'py>(&self, py: Python<'py>) -> PyResult<Option<Item<'py>>> {
        Ok(item(py, detached(py, || self.engine.first())?))
    }

    /// The item with the largest key, or None where the store is empty.
    ///
    /// Returns (key, value). Raises ClosedError, CorruptionError. O(1).
    ///
    /// >>> s.put_many([1, 2], [b"one", b"two"])
    /// 2
    /// >>> s.last()
    /// (2, b'two')
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Option<Item<'py>>> {
        Ok(item(py, detached(py, || self.engine.last())?))
    }

    /// The item with the largest key at or below `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.floor(19), s.floor(9)
    /// ((10, b'a'), None)
    fn floor<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = keys::one(key)?;
        Ok(item(py, detached(py, || self.engine.floor(key))?))
    }

    /// The item with the smallest key at or above `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.ceiling(11), s.ceiling(21)
    /// ((20, b'b'), None)
    fn ceiling<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = keys::one(key)?;
        Ok(item(py, detached(py, || self.engine.ceiling(key))?))
    }

    /// The item with the largest key below `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.lower(20), s.lower(10)
    /// ((10, b'a'), None)
    fn lower<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = keys::one(key)?;
        Ok(item(py, detached(py, || self.engine.lower(key))?))
    }

    /// The item with the smallest key above `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.higher(10), s.higher(20)
    /// ((20, b'b'), None)
    fn higher<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = keys::one(key)?;
        Ok(item(py, detached(py, || self.engine.higher(key))?))
    }

    // ---- ranges ----

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<StoreIterator> {
        StoreIterator::over(slf, bounds::ALL, false, None, Yields::Keys)
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> PyResult<StoreIterator> {
        StoreIterator::over(slf, bounds::ALL, true, None, Yields::Keys)
    }

    /// Iterates over (key, value) of `start <= key < stop`, in key order.
    ///
    /// Bounds are any ints (clamped to int64) or None for no bound; `include_start` and `include_stop`
    /// say whether a bound belongs to the range; `reverse=True` goes from the top without swapping the
    /// bounds; `limit` is the most items. What comes is the store as it was when the iterator was made,
    /// whatever is written meanwhile. Raises TypeError for bounds that are no ints, ValueError for a
    /// negative limit, ClosedError once the store is closed. O(1) to make and an item.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> list(s.scan(1, 3)), list(s.scan(limit=1, reverse=True))
    /// ([(1, b'a'), (2, b'b')], [(3, b'c')])
    #[pyo3(signature = (start=None, stop=None, *, include_start=true, include_stop=false, reverse=false,
                        limit=None))]
    fn scan(
        slf: &Bound<'_, Self>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<StoreIterator> {
        let range = bounds::range(start, stop, include_start, include_stop)?;
        StoreIterator::over(slf, range, reverse, bounds::limit(limit)?, Yields::Items)
    }

    /// Iterates over the keys of a range; no value is read.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> list(s.scan_keys(2))
    /// [2, 3]
    #[pyo3(signature = (start=None, stop=None, *, include_start=true, include_stop=false, reverse=false,
                        limit=None))]
    fn scan_keys(
        slf: &Bound<'_, Self>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<StoreIterator> {
        let range = bounds::range(start, stop, include_start, include_stop)?;
        StoreIterator::over(slf, range, reverse, bounds::limit(limit)?, Yields::Keys)
    }

    /// Iterates over the values of a range, in the order of their keys.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> list(s.scan_values(stop=3))
    /// [b'a', b'b']
    #[pyo3(signature = (start=None, stop=None, *, include_start=true, include_stop=false, reverse=false,
                        limit=None))]
    fn scan_values(
        slf: &Bound<'_, Self>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<StoreIterator> {
        let range = bounds::range(start, stop, include_start, include_stop)?;
        StoreIterator::over(slf, range, reverse, bounds::limit(limit)?, Yields::Values)
    }

    /// How many keys there are of `start <= key < stop`.
    ///
    /// Bounds and errors as in `scan`. No value is read.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> s.count(2), s.count()
    /// (2, 3)
    #[pyo3(signature = (start=None, stop=None))]
    fn count(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        match bounds::range(start, stop, true, false)? {
            Some((start, stop)) => detached(py, || self.engine.count(start, stop)),
            None => self.check_open(py).map(|()| 0),
        }
    }

    // ---- care ----

    /// Returns when everything written before the call is safe on the device.
    ///
    /// Raises OSError where the device refuses, after which the store takes no more writes
    /// (PoisonedError) until it is opened again. One device flush, the GIL released.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.flush()
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.engine.flush())
    }

    /// The figures of `stats` as a dict.
    fn _stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = detached(py, || self.engine.stats())?;
        let figures = PyDict::new(py);
        figures.set_item("keys", stats.keys)?;
        figures.set_item("live_bytes", stats.live_bytes)?;
        figures.set_item("dead_bytes", stats.dead_bytes)?;
        figures.set_item("disk_bytes", stats.disk_bytes)?;
        figures.set_item("segments", stats.segments)?;
        figures.set_item("tail_bytes", stats.tail_bytes)?;
        figures.set_item("index_bytes", stats.index_bytes)?;
        figures.set_item("index_height", stats.index_height)?;
        figures.set_item("last_seq", stats.last_seq)?;
        figures.set_item("durable_seq", stats.durable_seq)?;
        figures.set_item("last_sync_seconds", stats.last_sync_seconds)?;
        figures.set_item("dropped_bytes", stats.dropped_bytes)?;
        figures.set_item("write_mode", stats.write_mode)?;
        Ok(figures)
    }

    /// Flushes, closes and gives up the lock; a second call does nothing.
    ///
    /// Waits for calls that run in other threads. Afterwards the store, its iterators and its batches
    /// raise ClosedError; views of values stay valid. Raises OSError where the last flush fails.
    ///
    /// >>> s.close()
    /// >>> s.closed
    /// True
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.engine.close())
    }

    /// Whether the store was closed. O(1).
    #[getter]
    fn closed(&self) -> bool {
        self.engine.is_closed()
    }

    /// The store's directory, a `pathlib.Path`. O(1).
    #[getter]
    fn path(&self) -> PathBuf {
        self.engine.path().to_owned()
    }

    /// Whether the store was opened with `read_only=True`. O(1).
    #[getter]
    fn read_only(&self) -> bool {
        self.engine.read_only()
    }

    /// The `Config` that the store was opened with. O(1).
    #[getter]
    fn config(&self, py: Python<'_>) -> Py<PyAny> {
        self.config.clone_ref(py)
    }
}
