//! `Snapshot`, the native half; the calls that read belong to its base class (`reader.rs`), and
//! `alexpy._store.Snapshot` adds the rest of the mapping in Python.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::errors::OrRaise;
use crate::store::one::Store;
use crate::store::reader::Reader;

/// The native half of `alexpy.Snapshot`; `Store.snapshot` makes them.
#[pyclass(frozen, subclass, mapping, weakref, extends = Reader, module = "alexpy._alexpy")]
pub(crate) struct Snapshot {
    seq: u64,
    /// Keeps the store open while only the snapshot refers to it.
    store: Py<Store>,
}

#[pymethods]
impl Snapshot {
    #[new]
    fn new(store: &Bound<'_, Store>) -> PyResult<PyClassInitializer<Self>> {
        let py = store.py();
        let kept = match store.get().engine(py)?.try_snapshot() {
            Some(kept) => kept.or_raise(py)?,
            None => store.get().detached(py, alex_store::Store::snapshot)?,
        };
        let seq = kept.seq();
        let reader = Reader::at(Arc::clone(store.get().handle()), kept);
        Ok(PyClassInitializer::from(reader).add_subclass(Self { seq, store: store.clone().unbind() }))
    }

    /// Lets go of the version of the store; a second call does nothing.
    ///
    /// What was kept for it alone is given back: memory, and the disk space of what was overwritten or
    /// deleted since. Afterwards the snapshot and its iterators raise ClosedError; the store stays open.
    ///
    /// >>> snapshot = s.snapshot()
    /// >>> snapshot.close()
    /// >>> snapshot.closed
    /// True
    fn close(slf: &Bound<'_, Self>) {
        slf.as_super().get().let_go(slf.py());
    }

    /// Whether the snapshot, or its store, was closed. O(1).
    #[getter]
    fn closed(slf: &Bound<'_, Self>) -> bool {
        let reader = slf.as_super().get();
        reader.kept(slf.py()).is_none() || reader.handle().is_closed()
    }

    /// The sequence number of the last commit that the snapshot has seen, as `Stats.last_seq`. O(1).
    #[getter]
    fn seq(&self) -> u64 {
        self.seq
    }

    /// The directory of the store, a `pathlib.Path`. O(1).
    #[getter]
    fn path(slf: &Bound<'_, Self>) -> PathBuf {
        slf.as_super().get().handle().described().path().to_owned()
    }

    /// The store that this is a snapshot of. O(1).
    #[getter]
    fn store(&self, py: Python<'_>) -> Py<Store> {
        self.store.clone_ref(py)
    }
}
