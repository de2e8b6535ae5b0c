//! NumPy arrays on their way out: memory handed over or lent without a copy, and arrays that the caller provides.
//!
//! NumPy lets any code free or replace the memory of an array (`resize(refcheck=False)`, `data`, `__setstate__`). So a
//! call that fills the caller's array in several steps checks between them that the memory is the same ([`Pinned`]).
#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::ptr;

use numpy::ndarray::ArrayView1;
use numpy::npyffi::NPY_ARRAY_WRITEABLE;
use numpy::{Element, PyArray1, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

/// Arrays of at most this length are copied into memory of NumPy's own.
const SMALL_ARRAY_ITEMS: usize = 1024;

/// A NumPy array of `items`: a large one takes over the memory, a small one is cheaper to copy.
pub(crate) fn array<T: Element + Copy>(py: Python<'_>, items: Vec<T>) -> Bound<'_, PyArray1<T>> {
    if items.len() <= SMALL_ARRAY_ITEMS {
        PyArray1::from_slice(py, &items)
    } else {
        PyArray1::from_vec(py, items)
    }
}

/// A read-only array over `memory` that keeps `owner` alive. O(1).
///
/// # Safety
/// `memory` must stay where it is, unchanged, for as long as `owner` lives.
pub(crate) unsafe fn window<'py, T: Element>(
    owner: Bound<'py, PyAny>,
    memory: &[T],
) -> Bound<'py, PyArray1<T>> {
    // SAFETY: by contract the memory lives, unchanged, while the array refers to its owner. No code can write
    // through the array, because the flag that allows writing is cleared before any other code sees the array.
    unsafe {
        let array = PyArray1::borrow_from_array(&ArrayView1::from(memory), owner);
        (*array.as_array_ptr()).fields.flags &= !NPY_ARRAY_WRITEABLE;
        array
    }
}

/// `bytes` zeros, whose pages the system makes when they are first touched.
pub(crate) fn zeros(bytes: usize) -> PyResult<Vec<u8>> {
    let refused = || PyMemoryError::new_err(format!("there is no memory for {bytes} bytes"));
    let layout = Layout::array::<u8>(bytes).map_err(|_| refused())?;
    if bytes == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the layout has a size; the pointer comes from the global allocator for exactly this layout, all of it
    // is initialised, and nothing else refers to it.
    unsafe {
        let memory = alloc::alloc_zeroed(layout);
        if memory.is_null() {
            return Err(refused());
        }
        Ok(Box::from_raw(ptr::slice_from_raw_parts_mut(memory, bytes)).into_vec())
    }
}

/// An array, the array it is a view of, and so on, with the memory that each of them had.
pub(crate) struct Pinned(Vec<(Py<PyUntypedArray>, usize, usize)>);

impl Pinned {
    /// Notes the memory of `array`, of the array it is a view of, and so on.
    pub(crate) fn of(array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut pinned = Vec::new();
        let mut next = array.clone();
        while let Ok(array) = next.cast::<PyUntypedArray>() {
            let (start, bytes) = place(array);
            pinned.push((array.clone().unbind(), start, bytes));
            next = array.getattr("base")?;
        }
        Ok(Self(pinned))
    }

    /// Raises ValueError if any of them has other memory by now.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        let is_there = |(array, start, bytes): &(Py<PyUntypedArray>, usize, usize)| {
            place(array.bind(py)) == (*start, *bytes)
        };
        if self.0.iter().all(is_there) {
            return Ok(());
        }
        Err(PyValueError::new_err("out was given other memory during the call, by a signal handler"))
    }
}

/// Where an array's memory begins, and how many bytes its shape says that it has.
fn place(array: &Bound<'_, PyUntypedArray>) -> (usize, usize) {
    // SAFETY: `array` is alive and an array; the pointer is only looked at.
    let start = unsafe { (*array.as_array_ptr()).fields.data as usize };
    (start, array.len().saturating_mul(array.dtype().itemsize()))
}
