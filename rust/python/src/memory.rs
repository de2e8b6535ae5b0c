//! Out of memory means `MemoryError`, never the end of the process.
//!
//! Memory that grows with the caller's data is requested before it is needed, and a refusal becomes an error. Other
//! allocations (small ones, and the index's own growth) have no way to fail in Rust. A reserve of address space is
//! kept for them, of which no page is ever touched. When the system refuses memory, the allocator gives the reserve
//! back, so that the running call can finish. Every later call raises `MemoryError` before it begins, until the
//! reserve can be allocated again.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::mem::size_of;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

/// Holds a new chunk of the index, which is 32 MiB at a multiple of 2 MiB, and as much again for everything else.
const RESERVE_BYTES: usize = 64 << 20;
/// Smaller requests are not probed: the reserve covers them.
const PROBED_BYTES: usize = 1 << 20;
/// So much must be left for a thread: more than its stack, what is local to it and what others take meanwhile. As large as
/// the reserve, which must not serve this request. And larger than any free memory that glibc's allocator keeps for itself
/// (32 MiB): a thread gets nothing of that, while its stack may be that of an earlier thread and ask for nothing. No page
/// of it is touched.
const THREAD_BYTES: usize = RESERVE_BYTES;
const RESERVE: Layout = match Layout::from_size_align(RESERVE_BYTES, 64) {
    Ok(layout) => layout,
    Err(_) => panic!("the size is far below the address space"),
};

static RESERVED: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// Whether the reserve was needed and has not been allocated again.
static SHORT: AtomicBool = AtomicBool::new(false);

/// The system's allocator, with the reserve behind it.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: every pointer comes from `System`, for exactly the layout given, and goes back to it.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises a layout of some size, which is passed on.
        let allocate = || unsafe { System.alloc(layout) };
        let memory = allocate();
        if memory.is_null() { again(layout.size(), allocate) } else { memory }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises a layout of some size, which is passed on.
        let allocate = || unsafe { System.alloc_zeroed(layout) };
        let memory = allocate();
        if memory.is_null() { again(layout.size(), allocate) } else { memory }
    }

    #[inline]
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `old` came from here with this layout, and a size above zero, and all of it is passed
        // on. If the system refuses, the old memory stays as it was, and may be asked for again.
        let allocate = || unsafe { System.realloc(old, layout, size) };
        let memory = allocate();
        if memory.is_null() { again(size, allocate) } else { memory }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that the memory came from here, so from `System`, with this layout.
        unsafe { System.dealloc(memory, layout) };
    }
}

/// Gives the reserve back and allocates once more.
#[cold]
fn again(bytes: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    if bytes >= RESERVE_BYTES {
        // Requests of this size come from code that handles a refusal.
        return ptr::null_mut();
    }
    SHORT.store(true, Ordering::Relaxed);
    give_back();
    allocate()
}

fn give_back() {
    let reserved = RESERVED.swap(ptr::null_mut(), Ordering::AcqRel);
    if !reserved.is_null() {
        // SAFETY: allocated by `reserve` with this layout; the swap gives it to one thread alone.
        unsafe { System.dealloc(reserved, RESERVE) };
    }
}

/// Sets the reserve aside; false if there is no memory for it.
pub(crate) fn reserve() -> bool {
    if RESERVED.load(Ordering::Acquire).is_null() {
        // SAFETY: `RESERVE` has a size above zero, which is a constant.
        let memory = unsafe { System.alloc(RESERVE) };
        if memory.is_null() {
            return false;
        }
        if RESERVED.compare_exchange(ptr::null_mut(), memory, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: allocated above; another thread's took its place.
            unsafe { System.dealloc(memory, RESERVE) };
        }
    }
    SHORT.store(false, Ordering::Relaxed);
    true
}

/// Whether the reserve was used, so that [`check`] must be called.
#[inline]
pub(crate) fn is_short() -> bool {
    SHORT.load(Ordering::Relaxed)
}

/// `MemoryError` if the reserve was used and cannot be allocated again. For the beginning of a call.
#[inline]
pub(crate) fn check() -> PyResult<()> {
    if is_short() && !reserve() { Err(short()) } else { Ok(()) }
}

#[cold]
fn short() -> PyErr {
    PyMemoryError::new_err("there is hardly any memory left; nothing was done")
}

/// The `MemoryError` for a refused request of `bytes`.
#[cold]
pub(crate) fn refused(bytes: usize) -> PyErr {
    PyMemoryError::new_err(format!("there is no memory for {bytes} bytes; nothing was changed"))
}

/// Makes room for `more` further items, or raises.
#[inline]
pub(crate) fn room<T>(items: &mut Vec<T>, more: usize) -> PyResult<()> {
    if items.capacity() - items.len() >= more || items.try_reserve(more).is_ok() {
        return Ok(());
    }
    items.try_reserve_exact(more).map_err(|_| refused(more.saturating_mul(size_of::<T>())))
}

/// Raises `MemoryError` if an allocation of `bytes` that cannot fail would be refused a moment later.
pub(crate) fn probe(bytes: usize) -> PyResult<()> {
    check()?;
    if bytes < PROBED_BYTES {
        // The reserve covers it.
        return Ok(());
    }
    // The index grows by whole chunks. The reserve never serves this request, because it is smaller.
    let mut probe = Vec::<u8>::new();
    probe.try_reserve_exact(bytes.saturating_add(RESERVE_BYTES)).map_err(|_| refused(bytes))
}

/// Whether there is memory for another thread, for now. Where there is none for what is local to it, the C library ends
/// the process.
pub(crate) fn holds_a_thread() -> bool {
    let mut probe = Vec::<u8>::new();
    probe.try_reserve_exact(THREAD_BYTES).is_ok()
}

/// A copy, or `MemoryError`.
pub(crate) fn copy_of<T: Copy>(items: &[T]) -> PyResult<Vec<T>> {
    let mut copy = Vec::new();
    room(&mut copy, items.len())?;
    copy.extend_from_slice(items);
    Ok(copy)
}

/// A list of `items` copies of `item`, or `MemoryError`.
pub(crate) fn filled<T: Clone>(item: T, items: usize) -> PyResult<Vec<T>> {
    let mut list = Vec::new();
    room(&mut list, items)?;
    list.resize(items, item);
    Ok(list)
}

/// A `bytes` object, or `MemoryError` (`PyBytes::new` would panic).
#[inline]
pub(crate) fn bytes<'py>(py: Python<'py>, value: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let length = ffi::Py_ssize_t::try_from(value.len()).map_err(|_| refused(value.len()))?;
    // SAFETY: the thread is attached; the pointer is readable for `length` bytes, which are copied; what comes back is a new
    // reference to a bytes object, or null with an exception set.
    unsafe {
        let object = ffi::PyBytes_FromStringAndSize(value.as_ptr().cast(), length);
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}

/// An `int` object, or `MemoryError`.
#[inline]
pub(crate) fn int(py: Python<'_>, number: i64) -> PyResult<Bound<'_, PyInt>> {
    // SAFETY: the thread is attached; what comes back is a new reference to an int, or null with an exception set.
    unsafe {
        let object = ffi::PyLong_FromLongLong(number);
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}
