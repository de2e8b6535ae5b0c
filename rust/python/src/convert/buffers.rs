//! Raw memory across the boundary: values exported without a copy, foreign buffers copied into bytes.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use alex_store::Value;
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// The longest value, in bytes: its length is a u32 on disk.
pub(crate) const MAX_VALUE_BYTES: usize = u32::MAX as usize;

/// How many values ahead of the one being copied are prefetched: the engine has checked them, but a run is larger
/// than the nearest caches.
pub(crate) const PREFETCH_AHEAD: usize = 8;

/// Refuses a value that no record can hold.
#[inline]
pub(crate) fn check_length(length: usize, place: &str) -> PyResult<()> {
    if length > MAX_VALUE_BYTES {
        return Err(PyValueError::new_err(format!(
            "{place} has {length} bytes, and the limit is {MAX_VALUE_BYTES} (2**32-1)"
        )));
    }
    Ok(())
}

/// One value of a store as a buffer; `Store.get_view` returns a memoryview of it.
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
    ///
    /// Called by the interpreter only, with `view` as the buffer protocol describes it.
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
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

/// Prefetches the first two cache lines of a value that is read soon.
#[inline]
pub(crate) fn prefetch(value: &[u8]) {
    alex_index::prefetch(value.as_ptr());
    alex_index::prefetch(value.as_ptr().wrapping_add(64));
}

/// A buffer that an object exports, released when dropped. Made and dropped while attached to the interpreter.
struct Exported<'py> {
    py: Python<'py>,
    /// Boxed, because exporters may point into the struct itself.
    view: Box<ffi::Py_buffer>,
}

impl<'py> Exported<'py> {
    fn get(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: `object` is alive and the thread attached; `view` is a valid place for a Py_buffer.
        let status = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, ffi::PyBUF_FULL_RO) };
        if status == 0 { Ok(Self { py: object.py(), view }) } else { Err(PyErr::fetch(object.py())) }
    }

    fn is_c_contiguous(&self) -> bool {
        let order = c_char::from_ne_bytes(*b"C");
        // SAFETY: `view` was filled by PyObject_GetBuffer and is not yet released.
        unsafe { ffi::PyBuffer_IsContiguous(&raw const *self.view, order) == 1 }
    }

    /// Whether its elements are pointers to Python objects.
    fn holds_objects(&self) -> bool {
        if self.view.format.is_null() {
            return false;
        }
        // SAFETY: a format that is not null is a C string that lives as long as the export.
        holds_objects(unsafe { CStr::from_ptr(self.view.format) }.to_bytes())
    }

    fn len(&self) -> usize {
        usize::try_from(self.view.len).unwrap_or_default()
    }

    fn copied(&self) -> PyResult<Bound<'py, PyBytes>> {
        let length = self.len();
        PyBytes::new_with(self.py, length, |target| {
            if length > 0 {
                // SAFETY: the buffer is C-contiguous (checked by the caller) and exported until `self` is
                // dropped, so it is readable for `length` bytes; `target` is that long and was just
                // allocated, so the two do not overlap. What another thread writes meanwhile, without a GIL,
                // or anything that holds none, is copied as it happens to be: any byte is a value.
                unsafe { ptr::copy_nonoverlapping(self.view.buf.cast(), target.as_mut_ptr(), length) };
            }
            Ok(())
        })
    }
}

impl Drop for Exported<'_> {
    fn drop(&mut self) {
        // SAFETY: filled by PyObject_GetBuffer, released once, and the thread is attached: `py` says so.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.view) };
    }
}

/// A copy of a C-contiguous buffer of any format as bytes. `place` names the object in messages.
///
/// The inner error is the exporter's own: a `TypeError` if the object exports no buffer at all.
pub(crate) fn copied<'py>(
    object: &Bound<'py, PyAny>,
    place: &str,
) -> PyResult<Result<Bound<'py, PyBytes>, PyErr>> {
    let buffer = match Exported::get(object) {
        Ok(buffer) => buffer,
        Err(error) => return Ok(Err(error)),
    };
    if buffer.holds_objects() {
        return Err(PyTypeError::new_err(format!(
            "{place} is an array of Python objects; a value is the raw memory of numbers or bytes"
        )));
    }
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err(format!(
            "{place} is not C-contiguous; store a copy, for instance numpy.ascontiguousarray(value)"
        )));
    }
    check_length(buffer.len(), place)?;
    buffer.copied().map(Ok)
}

/// Whether a struct format has an `O` outside its field names (which stand between colons).
fn holds_objects(format: &[u8]) -> bool {
    let mut in_name = false;
    format.iter().any(|&code| {
        in_name ^= code == b':';
        code == b'O' && !in_name
    })
}
