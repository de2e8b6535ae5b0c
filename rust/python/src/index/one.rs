//! `AlexIndex`, the native half: making one, and the calls on one key.
//!
//! Calls on one key try the lock while attached to the interpreter and detach only if they would wait; calls on many
//! keys detach. Values are int64, stored as the bits of the index's u64 payloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use alex_index::Alex;
use alex_store::{Key, KeyKind, KeyVec, Tree, catching};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;

use crate::convert::generic::generic_class;
use crate::convert::keys::{Role, lent, many, one_value};
use crate::convert::{kinds, values};
use crate::errors::OrRaise;
use crate::index::damaged::{Damaged, Left};
use crate::index::shared::{Indexed, Shared};
use crate::memory::{self, probe, room};

/// Keys handled between two checks for signals, if the work can be split.
pub(crate) const PIECE_KEYS: usize = 1 << 20;

/// An upper estimate of the memory that the index takes for a key while it grows.
pub(crate) const INDEX_BYTES_A_KEY: usize = 48;

/// The native half of `alexpy.AlexIndex`.
#[pyclass(frozen, subclass, mapping, weakref, module = "alexpy._alexpy")]
pub(crate) struct AlexIndex {
    shared: Arc<Shared>,
    /// The number of the kind of keys, which loading a file into an empty index changes.
    kind: AtomicU8,
}

/// A key and its value.
pub(crate) type Item<'py> = (Bound<'py, PyAny>, i64);

/// A tree of no keys of this kind.
fn no_keys(kind: KeyKind) -> Tree {
    if kind == KeyKind::Uuid { Tree::Wide(Alex::new()) } else { Tree::Narrow(Alex::new()) }
}

impl AlexIndex {
    /// What the keys are.
    #[inline]
    pub(crate) fn kind(&self) -> KeyKind {
        // Every number that is stored here is one of a kind.
        KeyKind::from_number(self.kind.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// Replaces everything by keys of this kind. Waits.
    pub(crate) fn replace(&self, kind: KeyKind, with: Indexed) -> Result<(), Damaged> {
        self.shared.replace(with)?;
        self.kind.store(kind as u8, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    pub(crate) fn one(&self, key: &Bound<'_, PyAny>) -> PyResult<Key> {
        kinds::one(self.kind(), key)
    }

    /// An entry of the tree on its way out.
    pub(crate) fn item<'py>(
        &self,
        py: Python<'py>,
        entry: Option<(Key, u64)>,
    ) -> PyResult<Option<Item<'py>>> {
        entry.map(|(key, payload)| Ok((kinds::object(py, self.kind(), key)?, payload as i64))).transpose()
    }

    /// Reads at once, or detached if a writer holds the lock. For work of nanoseconds.
    #[inline]
    pub(crate) fn read<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&Tree) -> T + Send) -> PyResult<T> {
        self.shared.check(py)?;
        match self.shared.try_read() {
            Some(indexed) => indexed.ask(call),
            None => py.detach(|| self.shared.ask(call)),
        }
        .or_raise(py)
    }

    /// Changes the index at once, or detached if the lock is held or an iterator must be copied out.
    #[inline]
    fn change<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&mut Tree) -> T + Send) -> PyResult<T> {
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
        call: impl FnOnce(&mut Tree) -> T + Send,
    ) -> PyResult<T> {
        memory::check()?;
        self.shared.check(py)?;
        py.detach(|| self.shared.change(call)).or_raise(py)
    }

    /// Copies out of the index, more than the reserve of memory holds.
    pub(crate) fn copy_detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Tree) -> T + Send,
    ) -> PyResult<T> {
        self.shared.check(py)?;
        py.detach(|| self.shared.copy(call)).or_raise(py)
    }

    pub(crate) fn ask_detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Tree) -> T + Send,
    ) -> PyResult<T> {
        self.shared.check(py)?;
        py.detach(|| self.shared.ask(call)).or_raise(py)
    }

    /// An index of these keys and values.
    fn of(py: Python<'_>, kind: KeyKind, keys: &KeyVec, values: &[i64]) -> PyResult<Self> {
        values::check_count(keys.len(), values.len())?;
        // A sorted copy, and the index itself.
        probe(keys.len().saturating_mul(2 * INDEX_BYTES_A_KEY))?;
        let build = || Tree::from_unsorted(keys.as_keys(), payloads(values));
        let made = py.detach(|| catching("making an index", build));
        let tree = made.map_err(|panic| Damaged::by(&panic, Left::AsItWas)).or_raise(py)?;
        Ok(Self::with(kind, tree))
    }

    fn with(kind: KeyKind, tree: Tree) -> Self {
        Self { shared: Arc::new(Shared::new(Indexed::made(tree))), kind: AtomicU8::new(kind as u8) }
    }
}

/// The int64 values of a batch as payloads: the same bits.
pub(crate) fn payloads(values: &[i64]) -> &[u64] {
    zerocopy::transmute_ref!(values)
}

generic_class!(AlexIndex);

#[pymethods]
impl AlexIndex {
    #[new]
    #[pyo3(signature = (keys=None, values=None, *, key=None))]
    fn new(
        py: Python<'_>,
        keys: Option<&Bound<'_, PyAny>>,
        values: Option<&Bound<'_, PyAny>>,
        key: Option<&str>,
    ) -> PyResult<Self> {
        let kind = key.map(kinds::named).transpose()?.unwrap_or_default();
        let Some(keys) = keys else {
            return match values {
                Some(_) => Err(PyTypeError::new_err("AlexIndex() got values without keys")),
                None => Ok(Self::with(kind, no_keys(kind))),
            };
        };
        let keys = kinds::many(kind, keys)?;
        // The keys are copied, because building reads each of them more than once, and must find the same.
        if let Some(values) = values.and_then(lent) {
            let Ok(values) = values.as_slice() else {
                return Err(PyTypeError::new_err("the values are not contiguous"));
            };
            return Self::of(py, kind, &keys, values);
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
        Self::of(py, kind, &keys, &values)
    }

    /// What the keys are, as `AlexIndex(key=...)` names it. O(1).
    ///
    /// >>> x.key_kind
    /// 'int64'
    #[getter]
    fn key_kind(&self) -> &'static str {
        self.kind().name()
    }

    // ---- one key ----

    fn __getitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<i64> {
        let found = self.one(key)?;
        match self.read(py, |tree| tree.get(found))? {
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
        let key = self.one(key)?;
        self.read(py, |tree| tree.contains(key))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, Tree::len)
    }

    /// The value of `key`, an int64, or `default` if the key is absent.
    ///
    /// Raises TypeError or OverflowError for what is no key of the index's kind. O(1) in practice.
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
        let key = self.one(key)?;
        match self.read(py, |tree| tree.get(key))? {
            Some(payload) => Ok(Some((payload as i64).into_pyobject(py)?.into_any())),
            None => Ok(default),
        }
    }

    /// Stores `value` under `key`, an int64, replacing what was there.
    ///
    /// Raises TypeError or OverflowError for what is no key or no int64. O(1) in practice; at worst one data
    /// node of 2**14 slots is moved.
    ///
    /// >>> x.put(1, 10)
    /// >>> x[1]
    /// 10
    fn put(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = self.one(key)?;
        let payload = one_value(value)? as u64;
        self.change(py, |tree| tree.insert(key, payload))?;
        Ok(())
    }

    /// Removes `key`; True if it was there.
    ///
    /// Raises TypeError or OverflowError for what is no key of the index's kind. O(1) in practice.
    ///
    /// >>> x[1] = 10
    /// >>> x.delete(1), x.delete(1)
    /// (True, False)
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = self.one(key)?;
        Ok(self.change(py, |tree| tree.remove(key))?.is_some())
    }

    /// Removes `key` and returns its value, or None if it was absent.
    fn _take(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
        let key = self.one(key)?;
        Ok(self.change(py, |tree| tree.remove(key))?.map(|payload| payload as i64))
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
    fn popitem<'py>(&self, py: Python<'py>, last: bool) -> PyResult<Item<'py>> {
        let taken = self.change(py, |tree| {
            let end = if last { tree.last() } else { tree.first() };
            end.inspect(|&(key, _)| {
                tree.remove(key);
            })
        })?;
        self.item(py, taken)?.ok_or_else(|| PyKeyError::new_err("popitem(): the index is empty"))
    }

    /// The value of `key`; if the key is absent, `default` is stored first.
    ///
    /// Atomic among threads. Raises TypeError or OverflowError for what is no key or no int64. O(1) in
    /// practice.
    ///
    /// >>> x.setdefault(1, 10), x.setdefault(1, 11)
    /// (10, 10)
    fn setdefault(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        default: &Bound<'_, PyAny>,
    ) -> PyResult<i64> {
        let key = self.one(key)?;
        let payload = one_value(default)? as u64;
        let value = self.change(py, |tree| {
            tree.get(key).unwrap_or_else(|| {
                tree.insert(key, payload);
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
        self.change_detached(py, Tree::clear)
    }
}
