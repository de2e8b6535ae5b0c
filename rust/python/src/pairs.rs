//! Key and value pairs as tuples that the garbage collector does not walk.
//!
//! The collector starts a pass for every 700 new tuples that are kept, and again over all of them: a list
//! of a million pairs costs as much to watch as to make. A tuple of ints and bytes can be in no cycle, and
//! the collector itself lets go of such a tuple when it first meets it; this does the same at once. O(1).
#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

/// `(key, value)` of a store.
#[inline]
pub(crate) fn item<'py>(
    py: Python<'py>,
    key: Bound<'py, PyInt>,
    value: Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(untracked((key, value).into_pyobject(py)?.into_any()))
}

/// `(key, value)` of an index.
#[inline]
pub(crate) fn ints(py: Python<'_>, key: i64, value: i64) -> PyResult<Bound<'_, PyAny>> {
    Ok(untracked((key, value).into_pyobject(py)?.into_any()))
}

#[inline]
fn untracked(pair: Bound<'_, PyAny>) -> Bound<'_, PyAny> {
    // SAFETY: `pair` is a tuple, a type with collector support, and alive; both callers fill it with exact
    // ints and bytes, which refer to nothing. Untracking twice is allowed, as its deallocation will do.
    unsafe { ffi::PyObject_GC_UnTrack(pair.as_ptr().cast()) };
    pair
}
