//! `Store`, the native half: opening, the calls that change one key, figures and closing. The other calls are in the
//! files beside this one, by topic, and those that read belong to its base class (`reader.rs`); `alexpy._store.Store`
//! adds the rest of the mapping in Python.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alex_store::{
    Compression, Durability, Error, Key, KeyKind, Options, ReadMode, Recovery, Store as Engine, Value,
    WriteMode,
};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::codec::Codec;
use crate::convert::{kinds, values};
use crate::errors::{OrRaise, detached, to_exception};
use crate::memory;
use crate::store::handle::Handle;
use crate::store::reader::{Item, Reader, item};

/// The native half of `alexpy.Store`; `alexpy.open` makes them.
#[pyclass(frozen, subclass, mapping, weakref, extends = Reader, module = "alexpy._alexpy")]
pub(crate) struct Store {
    handle: Arc<Handle>,
    config: Py<PyAny>,
}

impl Store {
    /// The engine, or the exception that says why it cannot be used: a fork, or no memory.
    #[inline]
    pub(crate) fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.handle.engine(py)
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Calls the engine without the GIL.
    pub(crate) fn detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&Engine) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let engine = self.engine(py)?;
        detached(py, || call(engine))
    }

    /// The engine of a store that is open; `ClosedError` if it is closed, else as [`Store::engine`].
    #[inline]
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<&Engine> {
        let engine = self.engine(py)?;
        if engine.is_closed() {
            let path = engine.path().to_owned();
            return Err(to_exception(py, &Error::Closed { path }));
        }
        Ok(engine)
    }

    /// What the keys are.
    #[inline]
    pub(crate) fn kind(&self) -> KeyKind {
        self.handle.described().schema().key
    }

    /// What makes bytes of values, and values of bytes; `None` where values are bytes.
    #[inline]
    pub(crate) fn codec(&self) -> Option<&Codec> {
        self.handle.codec()
    }

    /// Removes the item that `find` finds, if the codec can decode it: else it would be lost.
    fn take_decoded<'py>(
        &self,
        py: Python<'py>,
        codec: &Codec,
        find: impl Fn(&Engine) -> Result<Option<(Key, Value)>, Error> + Send + Sync,
    ) -> PyResult<Option<Item<'py>>> {
        let engine = self.engine(py)?;
        if engine.read_only() {
            return Err(to_exception(py, &Error::ReadOnly { path: engine.path().to_owned() }));
        }
        loop {
            let Some((key, stored)) = self.detached(py, &find)? else { return Ok(None) };
            let bytes = memory::bytes(py, &stored)?;
            drop(stored);
            let value = codec.decode(key, bytes.clone())?;
            let stored = bytes.as_bytes();
            if self.detached(py, |engine| engine.compare_and_set(key, Some(stored), None))? {
                return Ok(Some((kinds::object(py, self.kind(), key)?, value)));
            }
            // Another thread was faster.
            py.check_signals()?;
        }
    }

    #[inline]
    fn remove(&self, py: Python<'_>, key: Key) -> PyResult<bool> {
        let engine = self.engine(py)?;
        match engine.try_delete(key) {
            Some(removed) => removed.or_raise(py),
            None => detached(py, || engine.delete(key)),
        }
    }
}

/// The fields of `alexpy.Config`, whose values it has checked.
#[derive(FromPyObject)]
struct Chosen {
    durability: String,
    sync_interval_ms: u64,
    segment_bytes: u64,
    write_mode: String,
    read_mode: String,
    verify_reads: bool,
    background: bool,
    compact_dead_ratio: f64,
    compact_bytes_per_second: u64,
    recovery: String,
    checkpoint_tail_bytes: u64,
}

impl Chosen {
    /// The same as the engine reads them.
    fn options(&self) -> PyResult<Options> {
        let durabilities =
            [("sync", Durability::Sync), ("interval", Durability::Interval), ("os", Durability::Os)];
        let write_modes =
            [("auto", WriteMode::Auto), ("mmap", WriteMode::Mmap), ("pwrite", WriteMode::Pwrite)];
        let read_modes = [("mmap", ReadMode::Mmap), ("pread", ReadMode::Pread)];
        let recoveries = [("strict", Recovery::Strict), ("point_in_time", Recovery::PointInTime)];
        Ok(Options {
            durability: choice("durability", &self.durability, &durabilities)?,
            sync_interval: Duration::from_millis(self.sync_interval_ms),
            segment_bytes: self.segment_bytes,
            write_mode: choice("write_mode", &self.write_mode, &write_modes)?,
            read_mode: choice("read_mode", &self.read_mode, &read_modes)?,
            verify_reads: self.verify_reads,
            background: self.background,
            compact_dead_ratio: self.compact_dead_ratio,
            compact_bytes_per_second: self.compact_bytes_per_second,
            recovery: choice("recovery", &self.recovery, &recoveries)?,
            checkpoint_tail_bytes: self.checkpoint_tail_bytes,
            ..Options::default()
        })
    }
}

/// The value that `word` names among `choices`; an unknown word is refused with those that exist.
fn choice<T: Copy>(option: &str, word: &str, choices: &[(&str, T)]) -> PyResult<T> {
    choices.iter().find(|(name, _)| *name == word).map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        PyValueError::new_err(format!("{option} must be one of {}, not {word:?}", names.join(", ")))
    })
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (path, config, *, read_only, create, parents, key=None, codec=None, compression=None, find_codec=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "one for each argument of `open` that is no field of `Config`"
    )]
    // PyO3 makes the path, and gives it away.
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        // One parameter for each argument that is no field of `Config`.
        config: Bound<'_, PyAny>,
        read_only: bool,
        create: bool,
        parents: bool,
        key: Option<&str>,
        codec: Option<Bound<'_, PyAny>>,
        compression: Option<&str>,
        find_codec: Option<Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let chosen = config.extract::<Chosen>()?.options()?;
        let key = key.map(kinds::named).transpose()?;
        let codec = codec.map(|codec| Codec::of(&codec)).transpose()?;
        let name = codec.as_ref().map(|codec| codec.name().to_owned());
        let compression = match compression {
            None => Compression::None,
            Some(name) => Compression::from_name(name).ok_or_else(|| {
                PyValueError::new_err(format!("compression must be None or \"zstd\", not {name:?}"))
            })?,
        };
        let options = Options { read_only, create, parents, key, codec: name, compression, ..chosen };
        let opened = Handle::open(py, &path, &options)?;
        let codec = match (codec, &opened.described().schema().codec, find_codec) {
            // Another store than it was made for, or one of plain bytes, is refused by the engine.
            (Some(codec), _, _) => Some(codec),
            (None, Some(name), Some(find)) => Some(Codec::of(&find.call1((name,))?)?),
            (None, _, _) => None,
        };
        let handle = Arc::new(opened.with_codec(codec));
        let store = Self { handle: Arc::clone(&handle), config: config.unbind() };
        Ok(PyClassInitializer::from(Reader::of(handle)).add_subclass(store))
    }

    // ---- one key ----

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.put(py, key, value)
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.remove(py, kinds::one(self.kind(), key)?)? {
            Ok(())
        } else {
            Err(PyKeyError::new_err(key.clone().unbind()))
        }
    }

    /// Stores `value` under `key`, replacing what was there.
    ///
    /// `key` is of the store's kind, an int64 unless another was chosen; `value` is bytes or any other
    /// contiguous buffer (bytearray, memoryview, NumPy array), stored as its raw memory, at most 2**32-1
    /// bytes; with a codec, what that takes. When the call returns, the write survives a kill of the process;
    /// with `durability="sync"` also a power cut. Raises TypeError, OverflowError, ValueError or BufferError
    /// for what cannot be stored, ReadOnlyError, ClosedError, PoisonedError, or OSError (ENOSPC if the disk
    /// is full). O(len(value)).
    ///
    /// >>> s.put(1, b"one")
    /// >>> s[1]
    /// b'one'
    fn put(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = kinds::one(self.kind(), key)?;
        let value = values::one(self.codec(), key, value, "value")?;
        let bytes: &[u8] = &value;
        let engine = self.engine(py)?;
        match engine.try_put(key, bytes) {
            Some(written) => written.or_raise(py),
            None => detached(py, || engine.put(key, bytes)),
        }
    }

    /// Removes `key`; True if it was there.
    ///
    /// Raises TypeError or OverflowError for what is no key of the store's kind, and what `put` raises when
    /// it cannot write. O(1).
    ///
    /// >>> s[1] = b"one"
    /// >>> s.delete(1), s.delete(1)
    /// (True, False)
    fn delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.remove(py, kinds::one(self.kind(), key)?)
    }

    /// Removes `key` and returns its value, or None if it was absent.
    fn _take<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = kinds::one(self.kind(), key)?;
        if let Some(codec) = self.codec() {
            let find = |engine: &Engine| Ok(engine.get(key)?.map(|value| (key, value)));
            return Ok(self.take_decoded(py, codec, find)?.map(|(_, value)| value));
        }
        let taken = self.detached(py, |engine| engine.take(key))?;
        taken.map(|value| values::object(py, None, key, value)).transpose()
    }

    /// Removes the last item, or with `last=False` the first, and returns it.
    ///
    /// One commit: no two threads get the same item. Raises KeyError if the store is empty, and what `put`
    /// raises when it cannot write. O(1).
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> s.popitem(), s.popitem(last=False)
    /// ((3, b'c'), (1, b'a'))
    #[pyo3(signature = (last=true))]
    fn popitem<'py>(&self, py: Python<'py>, last: bool) -> PyResult<Item<'py>> {
        let taken = match self.codec() {
            Some(codec) => {
                self.take_decoded(py, codec, |engine| if last { engine.last() } else { engine.first() })?
            }
            None => item(py, self.kind(), None, self.detached(py, |engine| engine.take_end(last))?)?,
        };
        taken.ok_or_else(|| PyKeyError::new_err("popitem(): the store is empty"))
    }

    /// The value of `key`; if the key is absent, `default` is stored first.
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
    ) -> PyResult<Bound<'py, PyAny>> {
        let key = kinds::one(self.kind(), key)?;
        let codec = self.codec();
        let value = values::one(codec, key, default, "default")?;
        let default: &[u8] = &value;
        // As it will be read; before anything is written, for the codec may refuse.
        let stored = memory::bytes(py, default)?;
        let stored = codec.map_or(Ok(stored.clone().into_any()), |codec| codec.decode(key, stored))?;
        match self.detached(py, |engine| engine.get_or_put(key, default))? {
            Some(there) => values::object(py, codec, key, there),
            None => Ok(stored),
        }
    }

    /// Stores `value` under `key` only if the key is absent; True if it was stored.
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
        let key = kinds::one(self.kind(), key)?;
        let value = values::one(self.codec(), key, value, "value")?;
        let bytes: &[u8] = &value;
        self.detached(py, |engine| engine.get_or_put(key, bytes)).map(|there| there.is_none())
    }

    /// Stores `new` under `key` only if its value equals `expected`; True if it was stored.
    ///
    /// None means absent: `expected=None` stores only if the key is absent, `new=None` deletes. With a codec
    /// the values are compared as it encodes them. Atomic among threads. Raises as `put`. O(len(expected) +
    /// len(new)).
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
        let key = kinds::one(self.kind(), key)?;
        let expected = expected.map(|value| values::one(self.codec(), key, value, "expected")).transpose()?;
        let new = new.map(|value| values::one(self.codec(), key, value, "new")).transpose()?;
        let (expected, new) = (expected.as_deref(), new.as_deref());
        self.detached(py, |engine| engine.compare_and_set(key, expected, new))
    }

    /// Removes everything, in one commit.
    ///
    /// Raises what `put` raises when it cannot write.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.clear()
    /// >>> len(s)
    /// 0
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Engine::clear).map(drop)
    }

    // ---- the store as a whole ----

    /// Returns when everything written before the call is safe on the device.
    ///
    /// Raises OSError if the device refuses; the store then takes no more writes (PoisonedError) until it is
    /// opened again. With ESTALE the directory was renamed or replaced, and all is safe where it is now. One
    /// device flush, the GIL released.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.flush()
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Engine::flush)
    }

    /// The figures of `stats` as a dict.
    fn _stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.detached(py, Engine::stats)?;
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
        figures.set_item("freed_segments", stats.compaction.freed_segments)?;
        figures.set_item("freed_bytes", stats.compaction.freed_bytes)?;
        figures.set_item("moved_bytes", stats.compaction.moved_bytes)?;
        figures.set_item("damaged_segments", stats.damaged_segments)?;
        figures.set_item("background_failure", stats.background_failure)?;
        figures.set_item("write_mode", stats.write_mode)?;
        figures.set_item("slowed_seconds", stats.slowed_seconds)?;
        figures.set_item("slowed_by", stats.slowed_by)?;
        figures.set_item("snapshots", stats.snapshots)?;
        figures.set_item("history_bytes", stats.history_bytes)?;
        figures.set_item("lag", stats.lag)?;
        Ok(figures)
    }

    /// Flushes, closes and gives up the lock; a second call does nothing.
    ///
    /// Waits for calls that run in other threads. Afterwards the store, its iterators and its batches
    /// raise ClosedError; views of values stay valid. Raises OSError if the last flush fails.
    ///
    /// >>> s.close()
    /// >>> s.closed
    /// True
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.close(py)
    }

    /// Whether this process is a child of the one that opened the store. O(1).
    #[getter]
    fn _inherited(&self) -> bool {
        self.handle.described().is_inherited()
    }

    /// Whether the store was closed. O(1).
    #[getter]
    fn closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// The store's directory, a `pathlib.Path`. O(1).
    #[getter]
    fn path(&self) -> PathBuf {
        self.handle.described().path().to_owned()
    }

    /// Whether the store was opened with `read_only=True`. O(1).
    #[getter]
    fn read_only(&self) -> bool {
        self.handle.described().read_only()
    }

    /// The `Config` that the store was opened with. O(1).
    #[getter]
    fn config(&self, py: Python<'_>) -> Py<PyAny> {
        self.config.clone_ref(py)
    }
}
