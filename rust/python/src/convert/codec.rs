//! A store's codec: what its values mean to Python. The objects are those of `alexpy.codecs`.
//!
//! Values go in and come out as bytes, and a codec makes bytes of objects and objects of bytes. Its code is anybody's:
//! it may close the store, take any lock or raise anything. So it is called with bytes that it may keep, by a thread
//! that holds no lock, has lent no memory, and is in no call of the engine. Whatever it raises becomes a `CodecError`
//! that names the key: a `KeyError` would read as a missing key, a `StopIteration` as the end of an iteration.

use alex_store::{Key, KeyKind, Keys};
use pyo3::exceptions::{PyException, PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::convert::buffers;
use crate::convert::keys::Deltas;
use crate::convert::kinds;
use crate::errors::codec_error;

/// What `alexpy.codecs.Codec` holds.
pub(crate) struct Codec {
    object: Py<PyAny>,
    /// What the keys are, for messages.
    kind: KeyKind,
    name: String,
    encode: Py<PyAny>,
    decode: Py<PyAny>,
    /// Where every value is one row of an array: its bytes.
    row_bytes: Option<usize>,
    /// What `add_many` adds to: "int64", "float64" or nothing.
    counter: Option<String>,
}

impl Codec {
    /// Reads an `alexpy.codecs.Codec`.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            kind: KeyKind::default(),
            name: object.getattr("name")?.extract()?,
            encode: object.getattr("encode")?.unbind(),
            decode: object.getattr("decode")?.unbind(),
            row_bytes: object.getattr("_row_bytes")?.extract()?,
            counter: object.getattr("_counter")?.extract()?,
            object: object.clone().unbind(),
        })
    }

    /// The same, for values under keys of this kind.
    pub(crate) fn under(self, kind: KeyKind) -> Self {
        Self { kind, ..self }
    }

    pub(crate) fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn row_bytes(&self) -> Option<usize> {
        self.row_bytes
    }

    /// The bytes of `value`, which is to be stored under `key`; `None` for a filling, which has no key.
    pub(crate) fn encode<'py>(
        &self,
        key: Option<Key>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = value.py();
        if value.is_none() {
            let hint = "None is no value; to remove a key, delete it";
            return Err(self.refused(key, "encode", hint, PyTypeError::new_err(hint), py));
        }
        let encoded = self.encode.bind(py).call1((value,)).map_err(|error| {
            let told = told(&error);
            self.refused(key, "encode", &told, error, py)
        })?;
        let other = match encoded.cast_into::<PyBytes>() {
            Ok(bytes) => {
                buffers::check_length(bytes.as_bytes().len(), &self.place(key))?;
                return Ok(bytes);
            }
            Err(other) => other.into_inner(),
        };
        // numpy.str_ exports a buffer although it is a str.
        if !other.is_instance_of::<PyString>()
            && let Ok(bytes) = buffers::copied(&other, &self.place(key))?
        {
            return Ok(bytes);
        }
        let hint = format!("its encode() returned a {}, which is no buffer", other.get_type().name()?);
        Err(self.refused(key, "encode", &hint, PyTypeError::new_err(hint.clone()), py))
    }

    /// What the bytes stored under `key` mean.
    pub(crate) fn decode<'py>(&self, key: Key, bytes: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        let py = bytes.py();
        let value = self.decode.bind(py).call1((bytes,)).map_err(|error| {
            let told = told(&error);
            self.refused(Some(key), "decode", &told, error, py)
        })?;
        if value.is_none() {
            let hint = "its decode() returned None, which means that there is no value";
            return Err(self.refused(Some(key), "decode", hint, PyTypeError::new_err(hint), py));
        }
        Ok(value)
    }

    /// Many values in a form that `convert::values` reads, or `None` if each is to be encoded by itself.
    pub(crate) fn encode_many<'py>(
        &self,
        keys: Keys<'_>,
        values: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = values.py();
        let encoded = self.object(py).call_method1("_encode_many", (values, keys.len()))?;
        Ok((!encoded.is_none()).then_some(encoded))
    }

    /// What is to be added to values that are counters.
    pub(crate) fn deltas(&self, deltas: Deltas) -> PyResult<Deltas> {
        match (self.counter.as_deref(), deltas) {
            (Some("int64"), ints @ Deltas::Ints(_)) => Ok(ints),
            (Some("float64"), floats @ Deltas::Floats(_)) => Ok(floats),
            (Some("float64"), Deltas::Ints(ints)) => {
                Ok(Deltas::Floats(ints.into_iter().map(|delta| delta as f64).collect()))
            }
            (Some(counter), _) => Err(PyTypeError::new_err(format!(
                "deltas are floats, and the values of this store are {counter} (its codec is {})",
                self.name
            ))),
            (None, _) => Err(PyTypeError::new_err(format!(
                "add_many() adds to counters of int64 or float64, and the codec of this store is {}",
                self.name
            ))),
        }
    }

    fn place(&self, key: Option<Key>) -> String {
        match key {
            Some(key) => {
                format!("what the codec {} made of the value of key {}", self.name, self.kind.shown(key))
            }
            None => format!("what the codec {} made of the default", self.name),
        }
    }

    /// The exception for a value that the codec does not take, or does not read, and `cause` behind it.
    #[cold]
    fn refused(&self, key: Option<Key>, verb: &str, why: &str, cause: PyErr, py: Python<'_>) -> PyErr {
        if passes(py, &cause) {
            return cause;
        }
        let what = key.map_or_else(
            || "the default".to_owned(),
            |key| format!("the value of key {}", self.kind.shown(key)),
        );
        let end = if verb == "encode" { "; nothing was written" } else { "" };
        let message = format!("the codec {} cannot {verb} {what}: {why}{end}", self.name);
        match key.map(|key| kinds::object(py, self.kind, key)).transpose() {
            Ok(key) => codec_error(py, message, key, &self.name, cause),
            Err(error) => error,
        }
    }
}

/// Whether an exception is none of the codec's: Ctrl-C, the end of the program, or no memory.
fn passes(py: Python<'_>, error: &PyErr) -> bool {
    !error.is_instance_of::<PyException>(py) || error.is_instance_of::<PyMemoryError>(py)
}

/// An exception in one line.
fn told(error: &PyErr) -> String {
    error.to_string().lines().collect::<Vec<_>>().join(" ")
}
