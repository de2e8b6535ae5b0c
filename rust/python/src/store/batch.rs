//! `WriteBatch`: operations collected in memory and committed together.

use std::sync::{Mutex, MutexGuard, TryLockError};

use alex_store::{Batch, ValueSource};
use pyo3::prelude::*;

use crate::convert::generic::generic_class;
use crate::convert::{bounds, kinds, values};
use crate::errors::{OrRaise, closed_error};
use crate::locks;
use crate::store::handle::Born;
use crate::store::one::Store;

/// Writes that commit together or not at all; made by `Store.batch`.
///
/// Values are copied when they are put. Reads on the store do not see the batch before it commits;
/// the last operation on a key wins. Used by one thread at a time. Leaving a `with` block commits;
/// an exception inside it drops everything.
///
/// >>> with s.batch() as b:
/// ...     b.put(1, b"one")
/// ...     b[2] = b"two"
/// ...     b.delete(1)
/// >>> list(s.items())
/// [(2, b'two')]
#[pyclass(frozen, module = "alexpy", weakref)]
pub(crate) struct WriteBatch {
    store: Py<Store>,
    sync: bool,
    /// `None` after the commit or discard.
    pending: Mutex<Option<Batch>>,
    born: Born,
}

impl WriteBatch {
    pub(crate) fn new(store: &Bound<'_, Store>, sync: bool) -> Self {
        Self {
            store: store.clone().unbind(),
            sync,
            pending: Mutex::new(Some(Batch::new())),
            born: Born::here(),
        }
    }

    /// Runs `change` on the pending operations: attached, or detached if another thread is using them.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut Batch) -> alex_store::Result<T> + Send,
    ) -> PyResult<T> {
        self.check_born(py)?;
        self.store.get().check_open(py)?;
        let outcome = match self.pending.try_lock() {
            Ok(mut pending) => pending.as_mut().map(change),
            Err(TryLockError::Poisoned(broken)) => broken.into_inner().as_mut().map(change),
            Err(TryLockError::WouldBlock) => py.detach(|| self.lock().as_mut().map(change)),
        };
        outcome.ok_or_else(|| ended(py))?.or_raise(py)
    }

    fn change_detached<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut Batch) -> alex_store::Result<T> + Send,
    ) -> PyResult<T> {
        self.check_born(py)?;
        self.store.get().check_open(py)?;
        py.detach(|| self.lock().as_mut().map(change)).ok_or_else(|| ended(py))?.or_raise(py)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Batch>> {
        // A panic in the engine leaves the operations as they were before the one that panicked.
        locks::waiting(&self.pending)
    }

    fn check_born(&self, py: Python<'_>) -> PyResult<()> {
        self.born.check(py, "this batch was begun before fork(); begin a new one in the child")
    }

    /// Drops the operations; true if the batch had not ended.
    fn end(&self, py: Python<'_>) -> bool {
        py.detach(|| self.lock().take().is_some())
    }
}

#[cold]
fn ended(py: Python<'_>) -> PyErr {
    closed_error(py, "this batch was already committed or discarded; Store.batch() makes a new one")
}

generic_class!(WriteBatch);

#[pymethods]
impl WriteBatch {
    /// Puts `value` under `key` when the batch commits.
    ///
    /// `key` is of the store's kind, `value` any contiguous buffer of at most 2**32-1 bytes, copied now.
    /// Raises TypeError, OverflowError, ValueError or BufferError for what cannot be stored, ClosedError
    /// after the end of the batch. O(len(value)).
    ///
    /// >>> with s.batch() as b:
    /// ...     b.put(1, b"one")
    /// >>> s[1]
    /// b'one'
    fn put(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = kinds::one(self.store.get().kind(), key)?;
        let value = values::one(self.store.get().codec(), key, value, "value")?;
        let bytes: &[u8] = &value;
        self.change(py, |batch| batch.put(key, bytes))
    }

    /// Deletes `key` when the batch commits; an absent key is no error.
    ///
    /// Raises TypeError or OverflowError for what is no key of the store's kind, ClosedError after the end of
    /// the batch. O(1).
    ///
    /// >>> s[1] = b"one"
    /// >>> with s.batch() as b:
    /// ...     b.delete(1)
    /// >>> 1 in s
    /// False
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = kinds::one(self.store.get().kind(), key)?;
        self.change(py, |batch| {
            batch.reserve(1)?;
            batch.delete(key);
            Ok(())
        })
    }

    /// Puts many values, `values[i]` under `keys[i]`, when the batch commits.
    ///
    /// `keys` and `values` as in `Store.put_many`; their lengths are checked first (ValueError), and
    /// nothing is added if any of them is refused. O(bytes), the GIL released.
    ///
    /// >>> with s.batch() as b:
    /// ...     b.put_many([1, 2], [b"one", b"two"])
    /// >>> len(s)
    /// 2
    #[pyo3(signature = (keys, values=None), text_signature = "($self, keys, values)")]
    fn put_many(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let values = values::given(keys, values, None)?;
        let keys = kinds::many(self.store.get().kind(), keys)?;
        let values = values::many(self.store.get().codec(), keys.as_keys(), values)?;
        let source = values.source();
        values::check_count(keys.len(), source.len())?;
        self.change_detached(py, |batch| {
            let had = batch.len();
            let put = keys.iter().enumerate().try_for_each(|(i, key)| batch.put(key, source.get(i)));
            if put.is_err() {
                batch.truncate(had);
            }
            put
        })
    }

    /// Deletes many keys when the batch commits; absent keys are no error.
    ///
    /// `keys` as in `Store.delete_many`; nothing is added if any of them is refused. O(keys), the GIL
    /// released.
    ///
    /// >>> s.put_many([1, 2, 3], [b"", b"", b""])
    /// 3
    /// >>> with s.batch() as b:
    /// ...     b.delete_many([1, 2])
    /// >>> list(s)
    /// [3]
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<()> {
        let keys = kinds::many(self.store.get().kind(), keys)?;
        self.change_detached(py, |batch| {
            batch.reserve(keys.len())?;
            for key in keys.iter() {
                batch.delete(key);
            }
            Ok(())
        })
    }

    /// Deletes every key of `start <= key < stop` when the batch commits.
    ///
    /// In order with the other operations: what was put before goes, what is put afterwards stays. Bounds as
    /// in `Store.delete_range`: at least one must be given, else TypeError. O(1), and O(keys in the range)
    /// at the commit.
    ///
    /// >>> s.put_many([1, 2, 3], [b"", b"", b""])
    /// 3
    /// >>> with s.batch() as b:
    /// ...     b.put(4, b"four")
    /// ...     b.delete_range(2)
    /// ...     b.put(3, b"three")
    /// >>> list(s.items())
    /// [(1, b''), (3, b'three')]
    #[pyo3(signature = (start=None, stop=None))]
    fn delete_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let range = bounds::deleted_range(self.store.get().kind(), start, stop)?
            .and_then(|range| bounds::first_and_last(self.store.get().kind(), range));
        self.change(py, |batch| {
            batch.reserve(1)?;
            if let Some((first, last)) = range {
                batch.delete_range(first, last);
            }
            Ok(())
        })
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(py, key, value)
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.delete(py, key)
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.change(py, |batch| Ok(batch.len()))
    }

    /// Commits everything in the batch at once and ends it.
    ///
    /// With `sync=True` given to `Store.batch` it returns once everything is safe on the device. A
    /// commit that is refused (store closed, poisoned, disk full) leaves the batch as it was, to be
    /// tried again or discarded. O(bytes), the GIL released.
    ///
    /// >>> b = s.batch()
    /// >>> b.put(1, b"one")
    /// >>> b.commit()
    /// >>> s[1]
    /// b'one'
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.check_born(py)?;
        let engine = self.store.get().check_open(py)?;
        let outcome = py.detach(|| {
            let mut pending = self.lock();
            let committed = engine.commit(pending.as_ref()?, self.sync);
            if committed.is_ok() {
                *pending = None;
            }
            Some(committed)
        });
        outcome.ok_or_else(|| ended(py))?.or_raise(py)
    }

    /// Drops everything in the batch and ends it; the store is as if it had never been.
    ///
    /// Raises ClosedError after the end of the batch. O(1).
    ///
    /// >>> b = s.batch()
    /// >>> b.put(1, b"one")
    /// >>> b.discard()
    /// >>> 1 in s
    /// False
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        self.check_born(py)?;
        if self.end(py) { Ok(()) } else { Err(ended(py)) }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().change(slf.py(), |_| Ok(()))?;
        Ok(slf)
    }

    /// Commits, or drops everything if the block raised.
    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_value, traceback);
        if self.born.is_inherited() {
            // Only the parent may commit it.
            return Ok(());
        }
        let open = py.detach(|| self.lock().is_some());
        let outcome = if open && exc_type.is_none() { self.commit(py) } else { Ok(()) };
        self.end(py);
        outcome
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        if self.born.is_inherited() {
            return "<alexpy.WriteBatch of another process>".to_owned();
        }
        match py.detach(|| self.lock().as_ref().map(Batch::len)) {
            Some(operations) => format!("<alexpy.WriteBatch of {operations} operations>"),
            None => "<alexpy.WriteBatch, ended>".to_owned(),
        }
    }
}
