//! The keys of a store, of whichever kind: from Python's objects and arrays to the engine's integers, and back.
//!
//! int64 keys are read and made here without a detour. For the others, `alexpy._kinds` says what is accepted and what a
//! refusal says; this module does what is done often: `uuid.UUID`, ints, lists of them, and the memory of arrays.

use alex_store::{Key, KeyKind, KeyVec, Keys};
use numpy::PyArray1;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple, PyType};

use crate::convert::arrays::array as array_of;
use crate::convert::keys::{self, Role, SIGNAL_CHECK_ITEMS, readonly};
use crate::memory;

pub(crate) const UUID_BYTES: usize = 16;

/// A number without a sign as a key of the same order, and back: its highest bit is flipped.
fn of_u64(number: u64) -> Key {
    Key::from((number ^ 1 << 63).cast_signed())
}

pub(crate) fn as_u64(key: Key) -> u64 {
    key as u64 ^ 1 << 63
}

/// Likewise for numbers of 128 bits.
fn of_u128(number: u128) -> Key {
    (number ^ 1 << 127).cast_signed()
}

fn as_u128(key: Key) -> u128 {
    key.cast_unsigned() ^ 1 << 127
}

static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn python<'py>(py: Python<'py>, function: &'static str) -> PyResult<Bound<'py, PyAny>> {
    static KINDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    KINDS
        .get_or_try_init(py, || py.import("alexpy._kinds").map(|module| module.into_any().unbind()))?
        .bind(py)
        .getattr(function)
}

/// The kind of keys of this name.
pub(crate) fn named(name: &str) -> PyResult<KeyKind> {
    KeyKind::from_name(name).ok_or_else(|| {
        let names: Vec<_> = KeyKind::names().map(|name| format!("{name:?}")).collect();
        PyValueError::new_err(format!("key must be one of {}, not {name:?}", names.join(", ")))
    })
}

/// One key.
#[inline(always)]
#[allow(clippy::inline_always, reason = "called for each get, where it is one test and one call")]
pub(crate) fn one(kind: KeyKind, key: &Bound<'_, PyAny>) -> PyResult<Key> {
    match kind {
        KeyKind::Int64 => keys::one(key).map(Key::from),
        _ => other(kind, key, "key"),
    }
}

/// One key that is no int64; `place` names it in messages.
fn other(kind: KeyKind, key: &Bound<'_, PyAny>, place: &str) -> PyResult<Key> {
    let py = key.py();
    match kind {
        KeyKind::Uuid => {
            if key.get_type().is(UUID.import(py, "uuid", "UUID")?) {
                return key.getattr(intern!(py, "int"))?.extract().map(of_u128);
            }
            if let Ok(bytes) = key.cast_exact::<PyBytes>()
                && let Ok(bytes) = bytes.as_bytes().try_into()
            {
                return Ok(of_u128(u128::from_be_bytes(bytes)));
            }
        }
        KeyKind::Uint64 if key.is_exact_instance_of::<PyInt>() => {
            if let Ok(number) = key.extract::<u64>() {
                return Ok(of_u64(number));
            }
        }
        _ => {}
    }
    of_number(kind, &python(py, "one")?.call1((key, kind.name(), place))?)
}

/// The key of a number that `alexpy._kinds` made of it.
fn of_number(kind: KeyKind, number: &Bound<'_, PyAny>) -> PyResult<Key> {
    match kind {
        KeyKind::Uuid => number.extract().map(of_u128),
        KeyKind::Uint64 => number.extract().map(of_u64),
        _ => number.extract::<i64>().map(Key::from),
    }
}

/// Many keys, whatever they come in.
pub(crate) fn many(kind: KeyKind, object: &Bound<'_, PyAny>) -> PyResult<KeyVec> {
    if kind == KeyKind::Int64 {
        return keys::many(object, Role::Key).map(KeyVec::from);
    }
    memory::check()?;
    if let Ok(list) = object.cast::<PyList>() {
        return collect(kind, list.iter().map(Ok), list.len());
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return collect(kind, tuple.iter().map(Ok), tuple.len());
    }
    let converted = python(object.py(), "many")?.call1((object, kind.name()))?;
    if converted.is_none() {
        let iterator = object.try_iter()?;
        let expected = iterator.size_hint().0;
        return collect(kind, iterator, expected);
    }
    if kind == KeyKind::Uuid {
        let bytes = converted.cast::<PyArray1<u8>>()?;
        let bytes = readonly(bytes, "keys")?;
        let (bytes, _) = bytes.as_slice()?.as_chunks::<16>();
        let mut keys = Vec::new();
        memory::room(&mut keys, bytes.len())?;
        keys.extend(bytes.iter().map(|bytes| of_u128(u128::from_be_bytes(*bytes))));
        return Ok(KeyVec::from(keys));
    }
    let numbers = converted.cast::<PyArray1<i64>>()?;
    let mut keys = memory::copy_of(readonly(numbers, "keys")?.as_slice()?)?;
    if kind == KeyKind::Uint64 {
        for key in &mut keys {
            *key ^= i64::MIN;
        }
    }
    Ok(KeyVec::from(keys))
}

fn collect<'py>(
    kind: KeyKind,
    items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    expected: usize,
) -> PyResult<KeyVec> {
    // A length hint may be wrong.
    let mut keys = list(kind, expected.min(1 << 24))?;
    for (position, item) in items.enumerate() {
        let item = item?;
        if position % SIGNAL_CHECK_ITEMS == SIGNAL_CHECK_ITEMS - 1 {
            item.py().check_signals()?;
        }
        let key = match other(kind, &item, "key") {
            Ok(key) => key,
            // Once more, for a message that says where it is. An interrupt would be gone the second time.
            Err(error) if error.is_instance_of::<PyException>(item.py()) => {
                other(kind, &item, &format!("keys[{position}]"))?
            }
            Err(error) => return Err(error),
        };
        match &mut keys {
            KeyVec::Narrow(keys) => memory::room(keys, 1)?,
            KeyVec::Wide(keys) => memory::room(keys, 1)?,
        }
        keys.push(key);
    }
    Ok(keys)
}

/// No keys, with room for so many.
pub(crate) fn list(kind: KeyKind, keys: usize) -> PyResult<KeyVec> {
    if kind == KeyKind::Uuid {
        let mut list = Vec::<i128>::new();
        memory::room(&mut list, keys)?;
        return Ok(list.into());
    }
    let mut list = Vec::<i64>::new();
    memory::room(&mut list, keys)?;
    Ok(list.into())
}

/// A copy of keys.
pub(crate) fn copied(keys: Keys<'_>) -> PyResult<KeyVec> {
    Ok(match keys {
        Keys::Narrow(keys) => memory::copy_of(keys)?.into(),
        Keys::Wide(keys) => memory::copy_of(keys)?.into(),
    })
}

/// A key on its way out.
#[inline(always)]
#[allow(clippy::inline_always, reason = "called for each item of a scan")]
pub(crate) fn object(py: Python<'_>, kind: KeyKind, key: Key) -> PyResult<Bound<'_, PyAny>> {
    if kind == KeyKind::Int64 {
        memory::int(py, key as i64).map(Bound::into_any)
    } else {
        other_object(py, kind, key)
    }
}

fn other_object(py: Python<'_>, kind: KeyKind, key: Key) -> PyResult<Bound<'_, PyAny>> {
    match kind {
        KeyKind::Uint64 => Ok(as_u64(key).into_pyobject(py)?.into_any()),
        KeyKind::Uuid => python(py, "uuid_of")?.call1((as_u128(key),)),
        _ => python(py, "moment_of")?.call1((key as i64, kind.name())),
    }
}

/// Gives the keys that were not found what stands for none: 0, or NaT.
pub(crate) fn mark_absent(kind: KeyKind, keys: &mut KeyVec, found: &[bool]) {
    if kind != KeyKind::Int64 {
        let none = kind.keys().0;
        for (place, _) in found.iter().enumerate().filter(|(_, found)| !**found) {
            keys.set(place, none);
        }
    }
}

/// Many keys on their way out, as an array of the kind.
pub(crate) fn array(py: Python<'_>, kind: KeyKind, keys: KeyVec) -> PyResult<Bound<'_, PyAny>> {
    let mut keys = match keys {
        KeyVec::Narrow(keys) if kind != KeyKind::Uuid => keys,
        keys => return wide_array(py, &keys),
    };
    if kind == KeyKind::Uint64 {
        for key in &mut keys {
            *key ^= i64::MIN;
        }
    }
    let numbers = array_of(py, keys).into_any();
    if kind == KeyKind::Int64 { Ok(numbers) } else { python(py, "array_of")?.call1((numbers, kind.name())) }
}

/// Appends the bytes of UUIDs, most significant first, to a vector with room for them.
pub(crate) fn uuid_bytes(keys: &KeyVec, bytes: &mut Vec<u8>) {
    for key in keys.iter() {
        bytes.extend_from_slice(&as_u128(key).to_be_bytes());
    }
}

fn wide_array<'py>(py: Python<'py>, keys: &KeyVec) -> PyResult<Bound<'py, PyAny>> {
    let mut bytes = Vec::new();
    memory::room(&mut bytes, keys.len() * UUID_BYTES)?;
    uuid_bytes(keys, &mut bytes);
    python(py, "array_of")?.call1((array_of(py, bytes), KeyKind::Uuid.name()))
}

/// One end of a range as the caller gave it.
pub(crate) enum Edge {
    /// No bound.
    None,
    /// A key.
    At(Key),
    BelowAll,
    AboveAll,
}

/// One end of a range of other keys than int64, and whether it is a key: else it lies between the key before and that.
pub(crate) fn end(kind: KeyKind, bound: &Bound<'_, PyAny>, name: &'static str) -> PyResult<(Edge, bool)> {
    let py = bound.py();
    let (side, number) =
        python(py, "end")?.call1((bound, kind.name(), name))?.extract::<(i8, Bound<'_, PyAny>)>()?;
    let edge = match side {
        0 | 2 => Edge::At(of_number(kind, &number)?),
        1 => Edge::AboveAll,
        _ => Edge::BelowAll,
    };
    Ok((edge, side != 2))
}
