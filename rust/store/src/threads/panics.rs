//! Turns panics, each of which is a defect of this library, into errors, so that no thread ends by one. Knows
//! nothing of what was going on.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught and reported in the store's errors and statistics, so that a
/// panic hook need not report it.
pub fn panic_is_caught() -> bool {
    CAUGHT.get()
}

/// Runs `work`. A panic becomes an error that names `what`, or one that says that memory for the index ran
/// out.
pub fn catching<T>(what: &'static str, work: impl FnOnce() -> T) -> Result<T, Error> {
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    outcome.map_err(|panic| match alex_index::lacked_bytes(&*panic) {
        Some(bytes) => Error::IndexOutOfMemory { bytes },
        None => Error::Panicked { what, message: message_of(&*panic) },
    })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
