//! Key and value pairs as tuples that the garbage collector does not track.
//!
//! The collector starts a pass after every 700 new tuples that are kept, so the collections over a list of a million
//! pairs cost as much as making the list. A tuple of ints and bytes cannot be in a cycle, and the collector untracks
//! such a tuple when it first visits it; this does so at once. O(1).
#![allow(unsafe_code)]

use alex_store::{Key, KeyKind};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

use crate::convert::kinds;
use crate::memory::int;

/// `(key, value)` of a store.
#[inline]
pub(crate) fn item<'py>(
    py: Python<'py>,
    key: Bound<'py, PyInt>,
    value: Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyAny>> {
    pair(py, key.into_any(), value.into_any())
}

/// `(key, value)` of an index.
#[inline]
pub(crate) fn of_index(py: Python<'_>, kind: KeyKind, key: Key, value: i64) -> PyResult<Bound<'_, PyAny>> {
    if kind == KeyKind::Int64 {
        return pair(py, int(py, key as i64)?.into_any(), int(py, value)?.into_any());
    }
    Ok((kinds::object(py, kind, key)?, value).into_pyobject(py)?.into_any())
}

#[inline]
fn pair<'py>(
    py: Python<'py>,
    key: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the thread is attached. Nothing else refers to the new tuple, so both places can be filled, each with a
    // reference given away; null is a `MemoryError`. The tuple is alive and of a type that the collector tracks. Both
    // callers fill it with exact ints and bytes, which refer to no other object. Deallocation untracks it a second
    // time, which is allowed.
    unsafe {
        let pair = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(2))?;
        ffi::PyTuple_SetItem(pair.as_ptr(), 0, key.into_ptr());
        ffi::PyTuple_SetItem(pair.as_ptr(), 1, value.into_ptr());
        ffi::PyObject_GC_UnTrack(pair.as_ptr().cast());
        Ok(pair)
    }
}
