//! Keys on their way in: one key by the rule of `operator.index`, many keys into a `Vec<i64>` of our own.
//!
//! A native, contiguous int64 array is copied in one piece. It cannot be borrowed, because a call reads its keys more
//! than once, while other threads may write to the array and NumPy lets any code free or replace its memory
//! (`resize(refcheck=False)`, `data`, `__setstate__`). Without a GIL, or from code that holds none, another thread can
//! do either in the middle of that copy: then a key is copied as it happens to be read, and freeing the memory is as
//! forbidden as it is to every user of an array (the docstrings say so). Lists, tuples and other iterables are read here, element by
//! element. `alexpy._convert` brings every other array (widths, byte orders, strides, Arrow) to int64. The same code
//! reads the int64 values of `AlexIndex`.

use numpy::{Element, PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyInt, PyList, PySlice, PyString, PyTuple};

use crate::memory;

/// Items converted between two checks for pending signals.
pub(crate) const SIGNAL_CHECK_ITEMS: usize = 1 << 16;

/// What an argument is, for messages that name it.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// A key, or the keys of a batch.
    Key,
    /// A value of `AlexIndex`, which is an int64 too.
    Value,
    /// One end of a range.
    Bound(&'static str),
}

impl Role {
    fn one(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
            Self::Bound(name) => name,
        }
    }

    /// The name of the argument that holds many.
    pub(crate) fn many(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Value => "values",
            Self::Bound(name) => name,
        }
    }

    /// What it has to be.
    fn rule(self) -> String {
        match self {
            Self::Key | Self::Value => format!("{} are integers", self.many()),
            Self::Bound(name) => format!("{name} is an integer"),
        }
    }
}

/// One key.
#[inline]
pub(crate) fn one(key: &Bound<'_, PyAny>) -> PyResult<i64> {
    // Calls `__index__` if the object is not an int: floats, np.bool_, str and None have none.
    key.extract::<i64>().map_err(|error| refuse_one(error, key, Role::Key))
}

/// One int64 value of `AlexIndex`.
#[inline]
pub(crate) fn one_value(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    value.extract::<i64>().map_err(|error| refuse_one(error, value, Role::Value))
}

/// The exception for one refused integer. An exception of the object's own `__index__` passes unchanged.
#[cold]
pub(crate) fn refuse_one(error: PyErr, object: &Bound<'_, PyAny>, role: Role) -> PyErr {
    refuse(error, object, role, role.one(), hint)
}

#[cold]
fn refuse_item(error: PyErr, object: &Bound<'_, PyAny>, role: Role, position: usize) -> PyErr {
    refuse(error, object, role, &format!("{}[{position}]", role.many()), hint_for_scalar)
}

fn refuse(
    error: PyErr,
    object: &Bound<'_, PyAny>,
    role: Role,
    place: &str,
    hint: fn(&Bound<'_, PyAny>, Role) -> String,
) -> PyErr {
    let py = object.py();
    if error.is_instance_of::<PyOverflowError>(py) {
        return PyOverflowError::new_err(format!(
            "{place} is {}, outside int64 (-2**63 to 2**63-1)",
            text(object)
        ));
    }
    if !error.is_instance_of::<PyTypeError>(py) {
        return error;
    }
    let hint = hint(object, role);
    PyTypeError::new_err(format!("{place} is {}; {}{hint}", text(object), role.rule()))
}

/// Whether there is code of the object's own that would iterate over it.
fn can_iterate(object: &Bound<'_, PyAny>) -> bool {
    object.hasattr("__iter__").unwrap_or_default()
}

/// The object as a message shows it: its type, and its value if that is short.
pub(crate) fn text(object: &Bound<'_, PyAny>) -> String {
    if object.is_none() {
        return "None".to_owned();
    }
    // repr() of an enormous int raises ValueError; repr() of other objects may raise anything.
    let value = object.repr().map(|repr| repr.to_string_lossy().into_owned()).unwrap_or_default();
    let kind = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    match value.chars().count() {
        0 if object.is_instance_of::<PyInt>() => "an enormous int".to_owned(),
        0 => format!("a {kind}"),
        // A column or an array: a message is one line.
        _ if value.contains('\n') => format!("a {kind}"),
        1..=60 if object.is_exact_instance_of::<PyInt>() => value,
        1..=60 => format!("{value} ({kind})"),
        _ => format!("{}... ({kind})", value.chars().take(60).collect::<String>()),
    }
}

/// What to do instead, as the end of a sentence.
fn hint(object: &Bound<'_, PyAny>, role: Role) -> String {
    let scalar = hint_for_scalar(object, role);
    if !scalar.is_empty() {
        scalar
    } else if matches!(role, Role::Value) {
        String::new()
    } else if object.is_instance_of::<PySlice>() {
        ": scan(start, stop) reads a range, delete_range(start, stop) removes one".to_owned()
    } else if matches!(role, Role::Key) && can_iterate(object) {
        ": get_many reads many keys, put_many writes them".to_owned()
    } else {
        String::new()
    }
}

/// What to do instead of giving this one thing; empty if nobody knows.
fn hint_for_scalar(object: &Bound<'_, PyAny>, role: Role) -> String {
    let one = role.one();
    if is_date(object) {
        format!(
            ": a store opened with key=\"datetime64[us]\" has such keys, and \
             numpy.datetime64({one}, 'us').astype('int64') makes microseconds since 1970 of it"
        )
    } else if object.get_type().name().is_ok_and(|name| name == "UUID") {
        ": a store opened with key=\"uuid\" has such keys".to_owned()
    } else if object.is_instance_of::<PyString>() {
        format!(": int({one}) reads one from text")
    } else if object.is_instance_of::<PyBytes>() || object.is_instance_of::<PyByteArray>() {
        format!(": int.from_bytes({one}) reads one from bytes")
    } else if object.get_type().name().is_ok_and(|name| name == "bool" || name == "bool_") {
        format!(": int({one}) makes one of it")
    } else if ["__trunc__", "is_integer"].iter().any(|name| object.hasattr(name).unwrap_or_default()) {
        // float, Decimal and Fraction; the floats of NumPy.
        format!(": convert it yourself, for instance with int({one}), if no fraction can be lost")
    } else {
        String::new()
    }
}

/// Whether it is a date or a moment: of the standard library, of pandas (a subclass) or of NumPy.
fn is_date(object: &Bound<'_, PyAny>) -> bool {
    static DATE: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    let date = DATE.import(object.py(), "datetime", "date");
    date.and_then(|date| object.is_instance(date)).unwrap_or_default()
        || object.get_type().name().is_ok_and(|name| name == "datetime64")
}

/// Many keys (or int64 values), whatever they come in.
pub(crate) fn many(object: &Bound<'_, PyAny>, role: Role) -> PyResult<Vec<i64>> {
    memory::check()?;
    // Exactly this type: subclasses such as masked arrays and matrices have other meanings.
    if let Ok(array) = object.cast_exact::<PyArray1<i64>>()
        && let Some(borrowed) = borrow(array)
    {
        // This thread runs no Python code between the borrow and the copy.
        return memory::copy_of(borrowed.as_slice()?);
    }
    if let Ok(list) = object.cast::<PyList>() {
        return collect(list.iter().map(Ok), list.len(), role);
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return collect(tuple.iter().map(Ok), tuple.len(), role);
    }
    let converted = convert_array(object, role)?;
    if converted.is_none() {
        let iterator = object.try_iter()?;
        let expected = iterator.size_hint().0;
        return collect(iterator, expected, role);
    }
    let array = converted.cast::<PyArray1<i64>>()?;
    let borrowed = readonly(array, role.many())?;
    match borrowed.as_slice() {
        Ok(keys) => memory::copy_of(keys),
        Err(_) => Err(PyTypeError::new_err("alexpy._convert returned an array that is not contiguous int64")),
    }
}

/// What is added to counters.
pub(crate) enum Deltas {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

/// The deltas of an addition to `count` counters, whatever they come in.
pub(crate) fn deltas(object: &Bound<'_, PyAny>, count: usize) -> PyResult<Deltas> {
    static CONVERT: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    memory::check()?;
    let converted = CONVERT.import(object.py(), "alexpy._convert", "deltas")?.call1((object, count))?;
    let Ok(floats) = converted.cast::<PyArray1<f64>>() else {
        return many(&converted, Role::Bound("deltas")).map(Deltas::Ints);
    };
    let borrowed = readonly(floats, "deltas")?;
    match borrowed.as_slice() {
        Ok(floats) => memory::copy_of(floats).map(Deltas::Floats),
        Err(_) => {
            Err(PyTypeError::new_err("alexpy._convert returned an array that is not contiguous float64"))
        }
    }
}

/// A native, contiguous int64 array in place, for a call that runs no Python code from here to its end and for which
/// any number will do, also one that changes between two readings. `None` if the object needs a conversion.
pub(crate) fn lent<'py>(object: &Bound<'py, PyAny>) -> Option<PyReadonlyArray1<'py, i64>> {
    object.cast_exact::<PyArray1<i64>>().ok().and_then(borrow)
}

/// Borrows an array that no other call of this module is filling. `name` is the argument's name in messages.
pub(crate) fn readonly<'py, T: Element>(
    array: &Bound<'py, PyArray1<T>>,
    name: &str,
) -> PyResult<PyReadonlyArray1<'py, T>> {
    array.try_readonly().map_err(|_| {
        PyValueError::new_err(format!(
            "{name} share memory with an array that another call is filling (get_array with out); wait for it, or pass a copy"
        ))
    })
}

/// The array without a copy, if its memory is contiguous, aligned and not borrowed for writing.
fn borrow<'py>(array: &Bound<'py, PyArray1<i64>>) -> Option<PyReadonlyArray1<'py, i64>> {
    let borrowed = array.try_readonly().ok()?;
    borrowed.as_slice().is_ok().then_some(borrowed)
}

/// Calls `alexpy._convert.integers`, which returns an int64 array, or None if `object` is to be iterated.
fn convert_array<'py>(object: &Bound<'py, PyAny>, role: Role) -> PyResult<Bound<'py, PyAny>> {
    static CONVERT: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    CONVERT.import(object.py(), "alexpy._convert", "integers")?.call1((object, role.many()))
}

fn collect<'py>(
    items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    expected: usize,
    role: Role,
) -> PyResult<Vec<i64>> {
    let mut keys = Vec::new();
    // A length hint may be wrong.
    memory::room(&mut keys, expected.min(1 << 24))?;
    for (position, item) in items.enumerate() {
        let item = item?;
        if position % SIGNAL_CHECK_ITEMS == SIGNAL_CHECK_ITEMS - 1 {
            item.py().check_signals()?;
        }
        let key = item.extract::<i64>().map_err(|error| refuse_item(error, &item, role, position))?;
        memory::room(&mut keys, 1)?;
        keys.push(key);
    }
    Ok(keys)
}
