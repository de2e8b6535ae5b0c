//! Key and value pairs as tuples that the garbage collector does not walk.
//!
//! The collector starts a pass for every 700 new tuples that are kept, and again over all of them: a list
//! of a million pairs costs as much to watch as to make. A tuple of ints and bytes can be in no cycle, and
//! the collector itself lets go of such a tuple when it first meets it; this does the same at once. O(1).
#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

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
pub(crate) fn ints(py: Python<'_>, key: i64, value: i64) -> PyResult<Bound<'_, PyAny>> {
    pair(py, int(py, key)?.into_any(), int(py, value)?.into_any())
}

#[inline]
fn pair<'py>(
    py: Python<'py>,
    key: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the GIL is held. A new tuple of two places is nobody else's, so both can be filled, each with a
    // reference given away; null is `MemoryError`. It is of a type with collector support, and alive; both callers fill
    // it with exact ints and bytes, which refer to nothing. Untracking twice is allowed, as its deallocation will do.
    unsafe {
        let pair = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(2))?;
        ffi::PyTuple_SetItem(pair.as_ptr(), 0, key.into_ptr());
        ffi::PyTuple_SetItem(pair.as_ptr(), 1, value.into_ptr());
        ffi::PyObject_GC_UnTrack(pair.as_ptr().cast());
        Ok(pair)
    }
}
