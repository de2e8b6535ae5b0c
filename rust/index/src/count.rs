//! The work of an operation, counted inside the index for the tests that bound it: cache lines touched and
//! slots moved.
//!
//! Knows addresses and numbers only. Counting needs the feature `count`, which the tests of this crate ask
//! for, debug assertions, and a [`work`] call running on the thread. In any other build every function here
//! is empty, so that release builds and benchmarks pay nothing.

/// Whether this build counts at all.
pub const COUNTS: bool = cfg!(all(feature = "count", debug_assertions));

/// The work of one or more operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Distinct cache lines touched by each operation, not counting those of moved slots.
    pub lines: u64,
    /// Slots (a key and its payload) copied to another place, or filled with a gap's key.
    pub slots: u64,
}

impl Work {
    /// Lines and slots as one number, in cache lines: eight slots make a line.
    pub fn cost(&self) -> f64 {
        self.lines as f64 + self.slots as f64 / 8.0
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.slots += other.slots;
    }
}

#[cfg(all(feature = "count", debug_assertions))]
mod tally {
    use std::cell::{Cell, RefCell};

    use super::Work;

    const LINE: usize = 64;

    thread_local! {
        static ON: Cell<bool> = const { Cell::new(false) };
        static SLOTS: Cell<u64> = const { Cell::new(0) };
        static LINES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn touch(address: usize, bytes: usize) {
        if ON.get() && bytes > 0 {
            let lines = address / LINE..=(address + bytes - 1) / LINE;
            LINES.with_borrow_mut(|touched| touched.extend(lines));
        }
    }

    pub(super) fn moved(slots: usize) {
        if ON.get() {
            SLOTS.set(SLOTS.get() + slots as u64);
        }
    }

    pub(super) fn work<T>(operation: impl FnOnce() -> T) -> (T, Work) {
        ON.set(true);
        SLOTS.set(0);
        LINES.with_borrow_mut(Vec::clear);
        let result = operation();
        ON.set(false);
        let lines = LINES.with_borrow_mut(|touched| {
            touched.sort_unstable();
            touched.dedup();
            touched.len() as u64
        });
        (result, Work { lines, slots: SLOTS.get() })
    }
}

/// Runs one operation and returns its work, which is zero in a build that does not count.
pub fn work<T>(operation: impl FnOnce() -> T) -> (T, Work) {
    #[cfg(all(feature = "count", debug_assertions))]
    return tally::work(operation);
    #[cfg(not(all(feature = "count", debug_assertions)))]
    (operation(), Work::default())
}

/// Counts the cache lines of these elements, which the operation reads or writes.
#[inline(always)]
pub fn touch<T>(elements: &[T]) {
    #[cfg(all(feature = "count", debug_assertions))]
    tally::touch(elements.as_ptr().addr(), size_of_val(elements));
    #[cfg(not(all(feature = "count", debug_assertions)))]
    let _ = elements;
}

/// Counts the cache line of this element, which the operation reads or writes.
#[inline(always)]
pub fn touch_one<T>(element: &T) {
    touch(std::slice::from_ref(element));
}

/// Counts the cache line at this address, which the operation reads or writes.
#[inline(always)]
pub fn touch_line(address: *const u8) {
    #[cfg(all(feature = "count", debug_assertions))]
    tally::touch(address.addr(), 1);
    #[cfg(not(all(feature = "count", debug_assertions)))]
    let _ = address;
}

/// Counts slots that the operation writes besides that of its own entry.
#[inline(always)]
pub fn moved(slots: usize) {
    #[cfg(all(feature = "count", debug_assertions))]
    tally::moved(slots);
    #[cfg(not(all(feature = "count", debug_assertions)))]
    let _ = slots;
}
