//! What `Store` and `Snapshot` have in common: their base class, with the calls that read one key. The reads of many keys
//! and of ranges are in the files beside this one, by topic.
//!
//! Calls on one key try the engine while attached to the interpreter, because releasing and taking the GIL costs more
//! than a lookup. When the engine would wait, they detach and wait there. All other calls detach.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use alex_store::{Error, Key, KeyKind, Reader as EngineReader, Snapshot as Kept, Store as Engine, Value};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use crate::convert::codec::Codec;
use crate::convert::generic::generic_class;
use crate::convert::value_type::ValueType;
use crate::convert::{buffers, kinds, values};
use crate::errors::{OrRaise, closed_error, detached, to_exception};
use crate::locks;
use crate::memory;
use crate::store::handle::{Born, Handle, drop_version};

/// What `Store` and `Snapshot` have in common: the calls that read.
#[pyclass(frozen, subclass, mapping, weakref, module = "alexpy._alexpy")]
pub(crate) struct Reader {
    handle: Arc<Handle>,
    /// `None` for the store as it is.
    at: Option<At>,
}

/// The version that a snapshot reads.
struct At {
    /// `None` once the snapshot is closed. Locked for a moment only.
    kept: Mutex<Option<Kept>>,
    born: Born,
}

/// What a call reads.
pub(crate) enum Reading<'h> {
    Now(&'h Engine),
    Then(Kept),
}

impl Deref for Reading<'_> {
    type Target = EngineReader;

    #[inline]
    fn deref(&self) -> &EngineReader {
        match self {
            Self::Now(engine) => engine,
            Self::Then(kept) => kept,
        }
    }
}

impl Reader {
    /// Reads the store as it is.
    pub(crate) fn of(handle: Arc<Handle>) -> Self {
        Self { handle, at: None }
    }

    /// Reads what the store was.
    pub(crate) fn at(handle: Arc<Handle>, kept: Kept) -> Self {
        Self { handle, at: Some(At { kept: Mutex::new(Some(kept)), born: Born::here() }) }
    }

    /// What the keys are.
    #[inline]
    pub(crate) fn kind(&self) -> KeyKind {
        self.handle.described().schema().key
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    #[inline]
    pub(crate) fn codec(&self) -> Option<&Codec> {
        self.handle.codec()
    }

    /// What values are to an Arrow library.
    pub(crate) fn value_type(&self, py: Python<'_>) -> PyResult<ValueType> {
        ValueType::of(py, self.codec())
    }

    /// The snapshot that is read, unless it is closed, or this is no snapshot.
    pub(crate) fn kept(&self, py: Python<'_>) -> Option<Kept> {
        self.at.as_ref().and_then(|at| locks::attached(py, &at.kept).clone())
    }

    /// Lets go of the snapshot that is read.
    pub(crate) fn let_go(&self, py: Python<'_>) {
        if let Some(at) = &self.at {
            let kept = locks::attached(py, &at.kept).take();
            drop_kept(kept);
        }
    }

    /// What a call reads, or the exception that says why it cannot.
    #[inline]
    pub(crate) fn reading(&self, py: Python<'_>) -> PyResult<Reading<'_>> {
        match &self.at {
            None => Ok(Reading::Now(self.handle.engine(py)?)),
            Some(at) => self.reading_at(py, at),
        }
    }

    fn reading_at(&self, py: Python<'_>, at: &At) -> PyResult<Reading<'_>> {
        at.born.check(py, "this snapshot was made before fork(); take a new one in the child")?;
        if memory::is_short() {
            memory::check()?;
        }
        let kept = self.kept(py).ok_or_else(|| closed_error(py, "the snapshot is closed"))?;
        Ok(Reading::Then(kept))
    }

    /// Reads without the GIL.
    pub(crate) fn detached<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&EngineReader) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let reading = self.reading(py)?;
        detached(py, || call(&reading))
    }

    /// Like [`Reader::reading`], and raises `ClosedError` if the store is closed.
    #[inline]
    pub(crate) fn check_open(&self, py: Python<'_>) -> PyResult<Reading<'_>> {
        let reading = self.reading(py)?;
        if reading.is_closed() {
            let path = reading.path().to_owned();
            return Err(to_exception(py, &Error::Closed { path }));
        }
        Ok(reading)
    }

    #[inline]
    fn lookup(&self, py: Python<'_>, key: Key) -> PyResult<Option<Value>> {
        let reader = self.reading(py)?;
        match reader.try_get(key) {
            Some(found) => found.or_raise(py),
            None => detached(py, || reader.get(key)),
        }
    }
}

/// A key and its value, ready for Python.
pub(crate) type Item<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// What was found, ready for Python.
pub(crate) fn item<'py>(
    py: Python<'py>,
    kind: KeyKind,
    codec: Option<&Codec>,
    found: Option<(Key, Value)>,
) -> PyResult<Option<Item<'py>>> {
    let item = |(key, value)| Ok((kinds::object(py, kind, key)?, values::object(py, codec, key, value)?));
    found.map(item).transpose()
}

fn drop_kept(kept: Option<Kept>) {
    drop_version(kept, |kept| kept.as_ref().is_some_and(Kept::keeps_something));
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(at) = &mut self.at {
            drop_kept(at.kept.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

generic_class!(Reader);

#[pymethods]
impl Reader {
    /// The `alexpy.codecs.Codec` of the values; None where they are bytes. O(1).
    #[getter(codec)]
    fn codec_object(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.codec().map(|codec| codec.object(py).clone().unbind())
    }

    /// What the keys are, as `open(key=...)` names it: "int64", "uuid", "datetime64[us]" and so on.
    ///
    /// Chosen when the store was made. O(1).
    ///
    /// >>> s.key_kind
    /// 'int64'
    #[getter]
    fn key_kind(&self) -> &'static str {
        self.handle.described().schema().key.name()
    }

    /// The name of the codec by which values are read and written; None where they are plain bytes.
    ///
    /// Chosen when the store was made. O(1).
    ///
    /// >>> s.codec_name is None
    /// True
    #[getter]
    fn codec_name(&self) -> Option<&str> {
        self.handle.described().schema().codec.as_deref()
    }

    /// How values are compressed: "zstd", or None where they are stored as they are.
    ///
    /// Chosen when the store was made. O(1).
    ///
    /// >>> s.compression is None
    /// True
    #[getter]
    fn compression(&self) -> Option<&'static str> {
        self.handle.described().schema().compression.name()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let at = kinds::one(self.kind(), key)?;
        match self.lookup(py, at)? {
            Some(value) => values::object(py, self.codec(), at, value),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = kinds::one(self.kind(), key)?;
        let reader = self.reading(py)?;
        match reader.try_contains(key) {
            Some(found) => found.or_raise(py),
            None => detached(py, || reader.contains(key)),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let reader = self.reading(py)?;
        let keys = match reader.try_len() {
            Some(keys) => keys.or_raise(py),
            None => detached(py, || reader.len()),
        };
        keys.map(|keys| keys as usize)
    }

    /// The value of `key`, or `default` if the key is absent.
    ///
    /// It is bytes, or what the codec of the store makes of them (CodecError where it cannot). Raises
    /// TypeError or OverflowError for what is no key of the store's kind, CorruptionError if the stored value
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
        let key = kinds::one(self.kind(), key)?;
        match self.lookup(py, key)? {
            Some(value) => values::object(py, self.codec(), key, value).map(Some),
            None => Ok(default),
        }
    }

    /// The value of `key` as a read-only memoryview of the stored bytes, or None.
    ///
    /// No codec is asked, and nothing is copied, unless the value is stored compressed. The view stays valid,
    /// with the same bytes, after the key is overwritten or deleted and after the store is closed. While it
    /// lives, the disk space of its segment is kept. Raises as `get`. O(1).
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
        let value = self.lookup(py, kinds::one(self.kind(), key)?)?;
        value.map(|value| buffers::view(py, value)).transpose()
    }
}
