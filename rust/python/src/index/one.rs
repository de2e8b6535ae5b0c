//! `AlexIndex`, the native half: making one, and the calls on one key.
//!
//! Calls on one key try the lock while attached to the interpreter and detach only if they would wait; calls on many
//! keys detach. Values are int64, stored as the bits of the index's u64 payloads.

use std::sync::Arc;

use alex_index::Alex;
use alex_store::KeyKind;
use alex_store::catching;
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;

use crate::convert::keys::{Role, lent, many, one, one_value};
use crate::convert::values;
use crate::errors::OrRaise;
use crate::index::shared::{Damaged, Indexed, Shared};
use crate::memory::{self, probe, room};

/// Keys handled between two checks for signals, if the work can be split.
pub(crate) const PIECE_KEYS: usize = 1 << 20;

/// An upper estimate of the memory that the index takes for a key while it grows.
pub(crate) const INDEX_BYTES_A_KEY: usize = 48;

/// The native half of `alexpy.AlexIndex`.
#[pyclass(frozen, subclass, mapping, weakref, module = "alexpy._alexpy")]
pub(crate) struct AlexIndex {
    shared: Arc<Shared>,
}

impl AlexIndex {
    /// What the keys are.
    #[allow(clippy::unused_self, reason = "as the method of a store")]
    pub(crate) fn kind(&self) -> KeyKind {
        KeyKind::Int64
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads at once, or detached if a writer holds the lock. For work of nanoseconds.
    #[inline]
    pub(crate) fn read<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&Alex) -> T + Send) -> PyResult<T> {
        self.shared.check(py)?;
        match self.shared.try_read() {
            Some(indexed) => indexed.ask(call),
            None => py.detach(|| self.shared.ask(call)),
        }
        .or_raise(py)
    }

    /// Changes the index at once, or detached if the lock is held or an iterator must be copied out.
    #[inline]
    fn change<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&mut Alex) -> T + Send) -> PyResult<T> {
        memory::check()?;
        self.shared.check(py)?;
        match self.shared.try_write() {
            Some(mut indexed) => indexed.change(call),
            None => py.detach(|| self.shared.change(call)),
        }
        .or_raise(py)
    }

    pub(crate) fn change_detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Alex) -> T + Send,
    ) -> PyResult<T> {
        self.shared.check(py)?;
        py.detach(|| self.shared.change(call)).or_raise(py)
    }

    pub(crate) fn ask_detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Alex) -> T + Send,
    ) -> PyResult<T> {
        self.shared.check(py)?;
        py.detach(|| self.shared.ask(call)).or_raise(py)
    }

    /// An index of these keys and values.
    fn of(py: Python<'_>, keys: &[i64], values: &[i64]) -> PyResult<Self> {
        values::check_count(keys.len(), values.len())?;
        // A sorted copy, and the index itself.
        probe(keys.len().saturating_mul(2 * INDEX_BYTES_A_KEY))?;
        let made = py.detach(|| catching("making an index", || Alex::from_unsorted(keys, payloads(values))));
        let alex = made.map_err(|panic| Damaged::by(&panic, true)).or_raise(py)?;
        Ok(Self { shared: Arc::new(Shared::new(Indexed::made(alex))) })
    }
}

type Entry = Option<(i64, u64)>;

pub(crate) fn item(entry: Entry) -> Option<(i64, i64)> {
    entry.map(|(key, payload)| (key, payload as i64))
}

/// The int64 values of a batch as payloads: the same bits.
pub(crate) fn payloads(values: &[i64]) -> &[u64] {
    zerocopy::transmute_ref!(values)
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
        let keys = many(keys, Role::Key)?;
        // The keys are copied, because building reads each of them more than once, and must find the same.
        if let Some(values) = values.and_then(lent) {
            let Ok(values) = values.as_slice() else {
                return Err(PyTypeError::new_err("the values are not contiguous"));
            };
            return Self::of(py, &keys, values);
        }
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

    /// The value of `key`, an int64, or `default` if the key is absent.
    ///
    /// Raises TypeError or OverflowError for a key that is not an int64. O(1) in practice.
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
    /// Raises TypeError or OverflowError for what is not an int64. O(1) in practice; at worst one data node
    /// of 2**14 slots is moved.
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
    /// Raises TypeError or OverflowError for a key that is not an int64. O(1) in practice.
    ///
    /// >>> x[1] = 10
    /// >>> x.delete(1), x.delete(1)
    /// (True, False)
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = one(key)?;
        Ok(self.change(py, |alex| alex.remove(key))?.is_some())
    }

    /// Removes `key` and returns its value, or None if it was absent.
    fn _take(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
        let key = one(key)?;
        Ok(self.change(py, |alex| alex.remove(key))?.map(|payload| payload as i64))
    }

    /// Removes the last item, or with `last=False` the first, and returns it.
    ///
    /// No two threads get the same item. Raises KeyError if the index is empty. O(1) in practice.
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

    /// The value of `key`; if the key is absent, `default` is stored first.
    ///
    /// Atomic among threads. Raises TypeError or OverflowError for what is not an int64. O(1) in practice.
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
}
