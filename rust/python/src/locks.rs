//! How a thread that is attached to the interpreter takes a lock of this layer: it tries, and waits detached.
//!
//! Whoever waits while attached stops everyone else: with a GIL at once, without one as soon as the interpreter wants
//! all threads to stand still, for a collection or a fork. Whoever holds such a lock while attached makes ints and bytes
//! at most, which neither runs Python code nor comes to a point at which the interpreter may stop it. So no lock is held
//! by a thread that stands still, and none is held by another thread when a process is forked.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::prelude::*;

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
