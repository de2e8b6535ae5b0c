//! `AlexIndex`, the native half: the index of alex-index behind a lock, without a store.
//!
//! Calls on one key try the lock while attached and detach only where they would wait; calls on many
//! keys detach. Values are int64, kept as the bits of the index's u64 payloads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use alex_index::Alex;
use numpy::PyArray1;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;

use crate::errors::OrRaise;
use crate::index_file::Damaged;
use crate::index_iter::{Cursors, IndexIterator};
use crate::keys::{Role, lent, many, one, one_value};
use crate::memory::{self, filled, probe, room};
use crate::scan::Yields;
use crate::{bounds, values};

/// Keys handled between two looks at pending signals, where the work can be split.
pub(crate) const PIECE_KEYS: usize = 1 << 20;

/// What the index takes for a key while it grows, at most, as far as one can say beforehand.
const INDEX_BYTES_A_KEY: usize = 48;

/// Arrays up to this length are copied into memory of NumPy's own.
const SMALL_ARRAY_ITEMS: usize = 1024;

/// An index and the iterators that read it.
#[derive(Default)]
pub(crate) struct Indexed {
    alex: Alex,
    cursors: Mutex<Cursors>,
    /// The file it was loaded from.
    source: Option<PathBuf>,
}

impl Indexed {
    /// An index that was loaded from a file.
    pub(crate) fn loaded(alex: Alex, source: PathBuf) -> Self {
        Self { alex, cursors: Mutex::default(), source: Some(source) }
    }

    fn cursors(&mut self) -> &mut Cursors {
        self.cursors.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call found, unless it met damage in the file: then nothing that it found counts.
    #[inline]
    fn vouch<T>(&self, found: T) -> Result<T, Damaged> {
        match self.alex.damage() {
            None => Ok(found),
            Some(damage) => Err(Damaged::of(damage, self.source.as_deref())),
        }
    }

    /// Changes the index, once no iterator reads it any more.
    fn change<T>(&mut self, call: impl FnOnce(&mut Alex) -> T) -> Result<T, Damaged> {
        self.cursors.get_mut().unwrap_or_else(PoisonError::into_inner).release(&self.alex);
        let found = call(&mut self.alex);
        self.vouch(found)
    }
}

/// What an `AlexIndex` and its iterators share.
#[derive(Default)]
pub(crate) struct Shared(RwLock<Indexed>);

impl Shared {
    /// Waits; call it detached.
    fn read(&self) -> RwLockReadGuard<'_, Indexed> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads. Waits; call it detached.
    pub(crate) fn ask<T>(&self, call: impl FnOnce(&Alex) -> T) -> Result<T, Damaged> {
        let indexed = self.read();
        let found = call(&indexed.alex);
        indexed.vouch(found)
    }

    /// Waits; call it detached.
    fn change<T>(&self, call: impl FnOnce(&mut Alex) -> T) -> Result<T, Damaged> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).change(call)
    }

    /// Replaces everything. Waits; call it detached.
    pub(crate) fn replace(&self, with: Indexed) {
        let mut indexed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Indexed { alex, cursors, .. } = &mut *indexed;
        cursors.get_mut().unwrap_or_else(PoisonError::into_inner).release(alex);
        *indexed = with;
    }
}

/// The native half of `alexpy.AlexIndex`.
#[pyclass(frozen, subclass, mapping, weakref, module = "alexpy._alexpy")]
pub(crate) struct AlexIndex {
    shared: Arc<Shared>,
}

impl AlexIndex {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads at once, or detached if a writer is at work. For work of nanoseconds.
    #[inline]
    pub(crate) fn read<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&Alex) -> T + Send) -> PyResult<T> {
        match self.shared.0.try_read() {
            Ok(indexed) => {
                let found = call(&indexed.alex);
                indexed.vouch(found)
            }
            Err(TryLockError::Poisoned(broken)) => {
                let indexed = broken.into_inner();
                let found = call(&indexed.alex);
                indexed.vouch(found)
            }
            Err(TryLockError::WouldBlock) => py.detach(|| self.shared.ask(call)),
        }
        .or_raise(py)
    }

    /// Changes at once, or detached if anyone else is at work or an iterator must be copied out.
    #[inline]
    fn change<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&mut Alex) -> T + Send) -> PyResult<T> {
        memory::check()?;
        if let Ok(mut indexed) = self.shared.0.try_write()
            && indexed.cursors().is_empty()
        {
            return indexed.change(call).or_raise(py);
        }
        self.change_detached(py, call)
    }

    fn change_detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Alex) -> T + Send,
    ) -> PyResult<T> {
        py.detach(|| self.shared.change(call)).or_raise(py)
    }

    pub(crate) fn ask_detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Alex) -> T + Send,
    ) -> PyResult<T> {
        py.detach(|| self.shared.ask(call)).or_raise(py)
    }

    pub(crate) fn with_cursors(&self, py: Python<'_>, call: impl FnOnce(&mut Cursors) + Send) {
        let run = |indexed: &Indexed| {
            call(&mut indexed.cursors.lock().unwrap_or_else(PoisonError::into_inner));
        };
        match self.shared.0.try_read() {
            Ok(indexed) => run(&indexed),
            Err(TryLockError::Poisoned(broken)) => run(&broken.into_inner()),
            Err(TryLockError::WouldBlock) => py.detach(|| run(&self.shared.read())),
        }
    }
}

impl AlexIndex {
    /// The index of so many keys and values.
    fn of(py: Python<'_>, keys: &[i64], values: &[i64]) -> PyResult<Self> {
        values::check_count(keys.len(), values.len())?;
        // A sorted copy, and the index itself.
        probe(keys.len().saturating_mul(2 * INDEX_BYTES_A_KEY))?;
        let alex = py.detach(|| Alex::from_unsorted(keys, payloads(values)));
        Ok(Self { shared: Arc::new(Shared(RwLock::new(Indexed { alex, ..Indexed::default() }))) })
    }
}

type Entry = Option<(i64, u64)>;

pub(crate) fn item(entry: Entry) -> Option<(i64, i64)> {
    entry.map(|(key, payload)| (key, payload as i64))
}

/// The int64 values of a batch as payloads: the same bits.
fn payloads(values: &[i64]) -> &[u64] {
    zerocopy::transmute_ref!(values)
}

/// How many different keys there are; O(n) where they ascend.
fn distinct(keys: &[i64]) -> usize {
    if keys.is_sorted_by(|a, b| a < b) {
        return keys.len();
    }
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}

/// A NumPy array of `items`: a large one takes over the memory, a small one is cheaper to copy.
pub(crate) fn array<T: numpy::Element + Copy>(py: Python<'_>, items: Vec<T>) -> Bound<'_, PyArray1<T>> {
    if items.len() <= SMALL_ARRAY_ITEMS {
        PyArray1::from_slice(py, &items)
    } else {
        PyArray1::from_vec(py, items)
    }
}

#[pymethods]
impl AlexIndex {
    #[new]
    #[pyo3(signature = (keys=None, values=None))]
    fn new(
        py: Python<'_>,
        keys: Option<&Bound<'_, PyAny>>,
        values: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let Some(keys) = keys else {
            return match values {
                Some(_) => Err(PyTypeError::new_err("AlexIndex() got values without keys")),
                None => Ok(Self { shared: Arc::default() }),
            };
        };
        if let (Some(keys), Some(values)) = (lent(keys), values.and_then(lent)) {
            let (Ok(keys), Ok(values)) = (keys.as_slice(), values.as_slice()) else {
                return Err(PyTypeError::new_err("the arrays are not contiguous"));
            };
            return Self::of(py, keys, values);
        }
        let keys = many(keys, Role::Key)?;
        let values = match values {
            Some(values) => many(values, Role::Value)?,
            None => {
                let mut places = Vec::new();
                room(&mut places, keys.len())?;
                places.extend(0..keys.len() as i64);
                places
            }
        };
        Self::of(py, &keys, &values)
    }

    // ---- one key ----

    fn __getitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<i64> {
        let found = one(key)?;
        match self.read(py, |alex| alex.get(found))? {
            Some(payload) => Ok(payload as i64),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(py, key, value)
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.delete(py, key)? { Ok(()) } else { Err(PyKeyError::new_err(key.clone().unbind())) }
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = one(key)?;
        self.read(py, |alex| alex.contains(key))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, Alex::len)
    }

    /// The value of `key`, an int64, or `default` where the key is not there.
    ///
    /// Raises TypeError or OverflowError for what is no int64 key. O(1) in practice.
    ///
    /// >>> x[1] = 10
    /// >>> x.get(1), x.get(2), x.get(2, -1)
    /// (10, None, -1)
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = one(key)?;
        match self.read(py, |alex| alex.get(key))? {
            Some(payload) => Ok(Some((payload as i64).into_pyobject(py)?.into_any())),
            None => Ok(default),
        }
    }

    /// Stores `value` under `key`, both int64, replacing what was there.
    ///
    /// Raises TypeError or OverflowError for what is no int64. O(1) in practice, at worst one leaf of
    /// 2**14 slots is moved.
    ///
    /// >>> x.put(1, 10)
    /// >>> x[1]
    /// 10
    fn put(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = one(key)?;
        let payload = one_value(value)? as u64;
        self.change(py, |alex| alex.insert(key, payload))?;
        Ok(())
    }

    /// Removes `key`; True if it was there.
    ///
    /// Raises TypeError or OverflowError for what is no int64. O(1) in practice.
    ///
    /// >>> x[1] = 10
    /// >>> x.delete(1), x.delete(1)
    /// (True, False)
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = one(key)?;
        Ok(self.change(py, |alex| alex.remove(key))?.is_some())
    }

    /// Removes `key` and returns its value, or None where it was not there.
    fn _take(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
        let key = one(key)?;
        Ok(self.change(py, |alex| alex.remove(key))?.map(|payload| payload as i64))
    }

    /// Removes the last item, or with `last=False` the first, and returns it.
    ///
    /// No two threads get the same item. Raises KeyError where the index is empty. O(1) in practice.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.popitem(), x.popitem(last=False)
    /// ((3, 30), (1, 10))
    #[pyo3(signature = (last=true))]
    fn popitem(&self, py: Python<'_>, last: bool) -> PyResult<(i64, i64)> {
        let taken = self.change(py, |alex| {
            let end = if last { alex.last() } else { alex.first() };
            end.inspect(|&(key, _)| {
                alex.remove(key);
            })
        })?;
        item(taken).ok_or_else(|| PyKeyError::new_err("popitem(): the index is empty"))
    }

    /// The value of `key`; where it is not there, `default` is stored first.
    ///
    /// Atomic among threads. Raises TypeError or OverflowError for what is no int64. O(1) in practice.
    ///
    /// >>> x.setdefault(1, 10), x.setdefault(1, 11)
    /// (10, 10)
    fn setdefault(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        default: &Bound<'_, PyAny>,
    ) -> PyResult<i64> {
        let key = one(key)?;
        let payload = one_value(default)? as u64;
        let value = self.change(py, |alex| {
            alex.get(key).unwrap_or_else(|| {
                alex.insert(key, payload);
                payload
            })
        })?;
        Ok(value as i64)
    }

    /// Removes everything. O(memory).
    ///
    /// >>> x[1] = 10
    /// >>> x.clear()
    /// >>> len(x)
    /// 0
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.change_detached(py, Alex::clear)
    }

    // ---- many keys ----

    /// Stores `values[i]` under `keys[i]` for every i; how many distinct keys.
    ///
    /// Both are one-dimensional integer arrays or buffers (native int64 is read without a copy), Arrow
    /// integer arrays, or iterables of ints, of the same length. The last duplicate of a key wins.
    /// Raises TypeError, OverflowError or ValueError for what is none of these; nothing is stored then.
    /// O(keys), the GIL released. Ctrl-C is looked for after each million keys, which stay stored.
    ///
    /// >>> x.put_many(np.array([3, 1, 3]), [30, 10, 33])
    /// 2
    /// >>> list(x.items())
    /// [(1, 10), (3, 33)]
    fn put_many(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let keys = many(keys, Role::Key)?;
        let values = many(values, Role::Value)?;
        values::check_count(keys.len(), values.len())?;
        let mut replaced = 0usize;
        for (keys, values) in keys.chunks(PIECE_KEYS).zip(values.chunks(PIECE_KEYS)) {
            py.check_signals()?;
            probe(keys.len().saturating_mul(INDEX_BYTES_A_KEY))?;
            self.change_detached(py, |alex| {
                alex.insert_many(keys, payloads(values), |_, _| replaced += 1);
            })?;
        }
        // A duplicate replaces what the batch itself has put.
        Ok(if replaced == 0 { keys.len() } else { py.detach(|| distinct(&keys)) })
    }

    /// The values of many keys as an int64 array of the same length.
    ///
    /// `keys` as in `put_many`. A key that is not there raises KeyError naming it, unless `default`, an
    /// int64, is given to stand in its place. O(keys); lookups are interleaved, the GIL is released.
    ///
    /// >>> x.put_many([1, 2], [10, 20])
    /// 2
    /// >>> x.get_many([2, 1, 5], default=-1).tolist()
    /// [20, 10, -1]
    #[pyo3(signature = (keys, default=None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        default: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let keys = many(keys, Role::Key)?;
        let default = default.map(one_value).transpose()?;
        let mut found = filled(default.unwrap_or_default(), keys.len())?;
        for (piece, found) in keys.chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            py.check_signals()?;
            let missing = self.ask_detached(py, |alex| lookup_many(alex, piece, found))?;
            if let (Some(position), None) = (missing, default) {
                return Err(PyKeyError::new_err(piece[position]));
            }
        }
        Ok(array(py, found))
    }

    /// Which of many keys are there, as a bool array of the same length.
    ///
    /// `keys` and errors as in `put_many`. O(keys), the GIL released.
    ///
    /// >>> x[1] = 10
    /// >>> x.contains_many([0, 1]).tolist()
    /// [False, True]
    fn contains_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let keys = many(keys, Role::Key)?;
        let mut found = filled(false, keys.len())?;
        for (piece, found) in keys.chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            py.check_signals()?;
            self.ask_detached(py, |alex| alex.get_many(piece, |i, payload| found[i] = payload.is_some()))?;
        }
        Ok(array(py, found))
    }

    /// Removes many keys; how many of them were there.
    ///
    /// `keys`, errors and Ctrl-C as in `put_many`; duplicates count once. O(keys), the GIL released.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.delete_many([1, 2, 2, 9])
    /// 2
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let keys = many(keys, Role::Key)?;
        let mut removed = 0;
        for keys in keys.chunks(PIECE_KEYS) {
            py.check_signals()?;
            removed += self.change_detached(py, |alex| remove_many(alex, keys))?;
        }
        Ok(removed)
    }

    /// Removes every key of `start <= key < stop`; how many there were.
    ///
    /// Bounds as in `scan`, but at least one must be given: `clear` removes everything (TypeError).
    /// O(keys removed).
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.delete_range(2)
    /// 2
    #[pyo3(signature = (start=None, stop=None))]
    fn delete_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        if start.is_none() && stop.is_none() {
            return Err(PyTypeError::new_err("delete_range() needs a bound; clear() removes every key"));
        }
        let Some((start, stop)) = bounds::range(start, stop, true, false)? else { return Ok(0) };
        self.change_detached(py, |alex| {
            let (mut keys, mut payloads) = (Vec::new(), Vec::new());
            alex.scan_into(start, stop, false, usize::MAX, &mut keys, &mut payloads);
            remove_many(alex, &keys)
        })
    }

    // ---- ranges ----

    fn __iter__(&self, py: Python<'_>) -> IndexIterator {
        IndexIterator::over(py, self, bounds::ALL, false, None, Yields::Keys)
    }

    fn __reversed__(&self, py: Python<'_>) -> IndexIterator {
        IndexIterator::over(py, self, bounds::ALL, true, None, Yields::Keys)
    }

    /// Iterates over (key, value) of `start <= key < stop`, in key order.
    ///
    /// Bounds are any ints (clamped to int64) or None for no bound; `include_start` and `include_stop`
    /// say whether a bound belongs to the range; `reverse=True` goes from the top without swapping the
    /// bounds; `limit` is the most items. What comes is the index as it was when the iterator was made;
    /// the first change during an iteration copies what the iterator has left. Raises TypeError for
    /// bounds that are no ints, ValueError for a negative limit. O(1) to make and an item.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> list(x.scan(1, 3)), list(x.scan(limit=1, reverse=True))
    /// ([(1, 10), (2, 20)], [(3, 30)])
    #[pyo3(signature = (start=None, stop=None, *, include_start=true, include_stop=false, reverse=false,
                        limit=None))]
    #[allow(clippy::too_many_arguments)]
    fn scan(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<IndexIterator> {
        let range = bounds::range(start, stop, include_start, include_stop)?;
        Ok(IndexIterator::over(py, self, range, reverse, bounds::limit(limit)?, Yields::Items))
    }

    /// Iterates over the keys of a range.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> list(x.scan_keys(2))
    /// [2, 3]
    #[pyo3(signature = (start=None, stop=None, *, include_start=true, include_stop=false, reverse=false,
                        limit=None))]
    #[allow(clippy::too_many_arguments)]
    fn scan_keys(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<IndexIterator> {
        let range = bounds::range(start, stop, include_start, include_stop)?;
        Ok(IndexIterator::over(py, self, range, reverse, bounds::limit(limit)?, Yields::Keys))
    }

    /// Iterates over the values of a range, in the order of their keys.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> list(x.scan_values(stop=3))
    /// [10, 20]
    #[pyo3(signature = (start=None, stop=None, *, include_start=true, include_stop=false, reverse=false,
                        limit=None))]
    #[allow(clippy::too_many_arguments)]
    fn scan_values(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        include_start: bool,
        include_stop: bool,
        reverse: bool,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<IndexIterator> {
        let range = bounds::range(start, stop, include_start, include_stop)?;
        Ok(IndexIterator::over(py, self, range, reverse, bounds::limit(limit)?, Yields::Values))
    }
}

/// Looks up `keys`; what is not there keeps its place in `found` as it is. The first missing position.
fn lookup_many(alex: &Alex, keys: &[i64], found: &mut [i64]) -> Option<usize> {
    let mut missing = None;
    alex.get_many(keys, |i, payload| match payload {
        Some(payload) => found[i] = payload as i64,
        None => missing = missing.or(Some(i)),
    });
    missing
}

fn remove_many(alex: &mut Alex, keys: &[i64]) -> usize {
    let mut removed = 0;
    alex.remove_many(keys, |_, _| removed += 1);
    removed
}
