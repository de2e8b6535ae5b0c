//! Raw memory across the boundary: values exported without a copy, foreign buffers read into bytes.
//!
//! The only file of this crate with unsafe code; what it offers is safe.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr;

use alex_store::Value;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// Exports one value of a store; a memoryview over it is what `Store.get_view` returns.
///
/// It owns a reference to the value's memory, so the view stays valid after the value is
/// overwritten, deleted or compacted, and after the store is closed.
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct ValueBuffer {
    value: Value,
}

#[pymethods]
impl ValueBuffer {
    /// # Safety
    /// Called by the interpreter only, with `view` as the buffer protocol describes it.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let value: &[u8] = &slf.get().value;
        let length = ffi::Py_ssize_t::try_from(value.len())
            .map_err(|_| PyBufferError::new_err("the value is longer than an address space"))?;
        // SAFETY: the memory lives as long as `slf`, to which the filled view holds a reference; the
        // class is frozen, so the value inside it never changes. Read-only is 1, so a request for a
        // writable buffer is refused.
        let status = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                value.as_ptr().cast::<c_void>().cast_mut(),
                length,
                1,
                flags,
            )
        };
        if status == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A read-only memoryview of a value, without a copy.
pub(crate) fn view(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyMemoryView>> {
    PyMemoryView::from(Bound::new(py, ValueBuffer { value })?.as_any())
}

/// A copy of a C-contiguous buffer of any format as bytes.
///
/// `TypeError` where the object exports no buffer or its elements are Python objects, `BufferError`
/// where it is not contiguous. `place` names the object in messages.
pub(crate) fn copied<'py>(object: &Bound<'py, PyAny>, place: &str) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    let buffer = exported(object, place)?;
    let length = buffer.len_bytes();
    crate::values::check_length(length, place)?;
    let raw = buffer.buf_ptr().cast::<u8>();
    PyBytes::new_with(py, length, |target| {
        if length > 0 {
            // SAFETY: the buffer is C-contiguous and exported until `buffer` is dropped, so `raw` is
            // readable for `length` bytes; `target` is that long and was just allocated, so the two
            // do not overlap. The GIL is held, so no Python code writes meanwhile.
            unsafe { ptr::copy_nonoverlapping(raw, target.as_mut_ptr(), length) };
        }
        Ok(())
    })
}

/// The buffer of a value, if it is one that can be stored.
fn exported(object: &Bound<'_, PyAny>, place: &str) -> PyResult<PyUntypedBuffer> {
    let buffer = PyUntypedBuffer::get(object)?;
    if holds_objects(buffer.format().to_bytes()) {
        return Err(PyTypeError::new_err(format!(
            "{place} is an array of Python objects; a value is the raw memory of numbers or bytes"
        )));
    }
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err(format!(
            "{place} is not C-contiguous; store a copy, for instance numpy.ascontiguousarray(value)"
        )));
    }
    Ok(buffer)
}

/// Whether a struct format has an `O` outside its field names (which stand between colons).
fn holds_objects(format: &[u8]) -> bool {
    let mut in_name = false;
    format.iter().any(|&code| {
        in_name ^= code == b':';
        code == b'O' && !in_name
    })
}
