//! How a thread that is attached to the interpreter takes a lock of this layer: it tries, and waits detached.
//!
//! Whoever waits while attached stops everyone else: with a GIL at once, without one as soon as the interpreter wants
//! all threads to stand still, for a collection or a fork. Whoever holds such a lock while attached makes ints and bytes
//! at most, which neither runs Python code nor comes to a point at which the interpreter may stop it. So no lock is held
//! by a thread that stands still, and none is held by another thread when a process is forked.
//!
//! What only attached threads touch needs no lock where there is a GIL: see [`Attached`].
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Whether this is built for a Python with a GIL, whose objects begin with a count and a type. Without one they have a
/// thread, a lock and two counts, and no such build can be loaded by a Python with a GIL, nor the other way round.
const HAS_GIL: bool = size_of::<ffi::PyObject>() == 2 * size_of::<usize>();

/// What only attached threads touch, for pieces of work of nanoseconds. With a GIL a flag guards it, in place of a lock: to
/// take and release one takes longer than to make a `bytes` object, since both wait until earlier writes are done.
pub(crate) struct Attached<T> {
    value: UnsafeCell<T>,
    /// With a GIL: whether `value` is lent. Written by whoever holds the GIL, which also orders what threads see of it.
    lent: AtomicBool,
    /// Without one.
    lock: Mutex<()>,
}

// SAFETY: `with` lends the value to one thread at a time, which may be any.
unsafe impl<T: Send> Sync for Attached<T> {}

impl<T: Send> Attached<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), lent: AtomicBool::new(false), lock: Mutex::new(()) }
    }

    /// Lends the value. `work` must neither detach nor run Python code: ints and bytes may be made, and nothing else. But
    /// where there is no memory for those, their error may start a collection of garbage, and that runs finalizers: one that
    /// comes back to this value gets an error.
    #[inline]
    pub(crate) fn with<R>(&self, py: Python<'_>, work: impl FnOnce(&mut T) -> R) -> PyResult<R> {
        let _held = (!HAS_GIL).then(|| attached(py, &self.lock));
        if self.lent.load(Ordering::Relaxed) {
            return Err(lent());
        }
        self.lent.store(true, Ordering::Relaxed);
        let _lent = Lent(&self.lent);
        // SAFETY: nobody else has it. Without a GIL the lock is held. With one, the thread that is attached holds the GIL, and
        // was the only one to do so since it found the flag down and raised it; if `work` let go of the GIL, whoever came here
        // meanwhile would find the flag up.
        Ok(work(unsafe { &mut *self.value.get() }))
    }
}

#[cold]
fn lent() -> PyErr {
    PyRuntimeError::new_err(
        "the iterator is making an item, and was used by code that ran meanwhile; use it later",
    )
}

/// Takes the flag down, whatever the work did.
struct Lent<'a>(&'a AtomicBool);

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The lock, for work of nanoseconds. A panic under it is taken to have left what it guards as it was.
#[inline]
pub(crate) fn attached<'m, T: Send>(py: Python<'_>, mutex: &'m Mutex<T>) -> MutexGuard<'m, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(broken)) => return broken.into_inner(),
            // Let go of again before attaching, which may have to wait for a thread that wants this lock.
            Err(TryLockError::WouldBlock) => py.detach(|| drop(waiting(mutex))),
        }
    }
}

/// The lock, for a thread that is detached and may wait.
pub(crate) fn waiting<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
