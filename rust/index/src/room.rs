//! Room in memory for the index and for copies of its entries. Where there is none, a panic says so, and a caller may
//! catch it: a failing allocator would end the process.

use std::any::Any;

/// How the panic begins.
const NO_MEMORY: &str = "there is no memory for ";

/// Panics, where a failing allocator would end the process: the caller may have other work, and files to
/// close.
#[cold]
pub(crate) fn no_memory(bytes: usize) -> ! {
    panic!("{NO_MEMORY}{bytes} more bytes of the index")
}

/// Makes room for `more` items, or panics.
#[inline]
pub(crate) fn room<T>(items: &mut Vec<T>, more: usize) {
    if items.try_reserve(more).is_err() && items.try_reserve_exact(more).is_err() {
        no_memory(more.saturating_mul(size_of::<T>()));
    }
}

/// Whether a panic says that there was no memory for the index, or for a copy of its entries: for so many bytes.
#[doc(hidden)]
pub fn lacked_bytes(panic: &(dyn Any + Send)) -> Option<u64> {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text?.strip_prefix(NO_MEMORY)?.split(' ').next()?.parse().ok()
}
