//! What is wrong with an open store: the failure after which it takes no more writes, and the first panic on
//! a background thread. [`Operation::leaves_doubt`](crate::operation::Operation) says which failures poison.
//! Knows nothing of locks.

use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::error::Error;
use crate::log::append::Failure;

/// What a panic in the middle of a task may leave behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Nothing: the task only prepares something that others can do without.
    None,
    /// Files, counts or the index may be half changed. The store takes no more writes.
    Poisons,
}

/// What is wrong with an open store.
#[derive(Default)]
pub(crate) struct Health {
    poisoned: OnceLock<Error>,
    /// The message of the first panic on a background thread.
    background_failure: Mutex<Option<String>>,
}

impl Health {
    /// The failure that poisoned the store.
    #[inline]
    pub(crate) fn poisoned_by(&self) -> Option<&Error> {
        self.poisoned.get()
    }

    /// Remembers a failure after which the contents of the device are unknown. The operation is never
    /// retried.
    pub(crate) fn poison(&self, error: Error) -> Error {
        let _ = self.poisoned.set(error.clone());
        error
    }

    /// The error of a failure. Poisons the store if the failure leaves doubt.
    pub(crate) fn after(&self, failure: Failure) -> Error {
        match failure {
            Failure::Clean(error) => error,
            Failure::Poisons(error) => self.poison(error),
        }
    }

    /// Remembers the first panic, which is a defect in this crate. Poisons the store if something may be half
    /// changed.
    pub(crate) fn panicked(&self, error: Error, harm: Harm) {
        self.background_failure.lock().get_or_insert_with(|| error.to_string());
        if harm == Harm::Poisons {
            self.poison(error);
        }
    }

    /// The message of the first panic on a background thread.
    pub(crate) fn background_failure(&self) -> Option<String> {
        self.background_failure.lock().clone()
    }

    /// Begins a change that must be whole. A panic before the guard is dropped poisons the store.
    pub(crate) fn in_one_piece(&self, what: &'static str) -> InOnePiece<'_> {
        InOnePiece { health: self, what }
    }
}

/// Held during a change that must be whole. If a panic anywhere drops it, the store is poisoned.
pub(crate) struct InOnePiece<'h> {
    health: &'h Health,
    what: &'static str,
}

impl Drop for InOnePiece<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "it did not finish".to_owned();
            self.health.poison(Error::Panicked { what: self.what, message });
        }
    }
}
