//! Work as tests judge it: cache lines touched and slots moved, counted inside the index.
//!
//! Knows addresses and numbers only. Counts where this is a test build (feature `count`, which the tests of
//! this crate ask for, and debug assertions) and a [`work`] call is running on the thread; anywhere else
//! every call below is empty, so that a release build, benchmarks included, contains nothing of it.

/// Whether this build counts at all.
pub const COUNTS: bool = cfg!(all(feature = "count", debug_assertions));

/// What some operations cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Different cache lines touched by each operation, moved slots aside.
    pub lines: u64,
    /// Slots (a key and its payload) written to another place, or filled with the key of a gap.
    pub slots: u64,
}

impl Work {
    /// Both in cache lines: eight slots to a line.
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

/// Runs one operation and says what it cost: nothing, in a build that does not count.
pub fn work<T>(operation: impl FnOnce() -> T) -> (T, Work) {
    #[cfg(all(feature = "count", debug_assertions))]
    return tally::work(operation);
    #[cfg(not(all(feature = "count", debug_assertions)))]
    (operation(), Work::default())
}

/// The operation reads or writes these elements.
#[inline(always)]
pub fn touch<T>(elements: &[T]) {
    #[cfg(all(feature = "count", debug_assertions))]
    tally::touch(elements.as_ptr().addr(), size_of_val(elements));
    #[cfg(not(all(feature = "count", debug_assertions)))]
    let _ = elements;
}

/// The operation reads or writes this element.
#[inline(always)]
pub fn touch_one<T>(element: &T) {
    touch(std::slice::from_ref(element));
}

/// The operation reads or writes the line at this address.
#[inline(always)]
pub fn touch_line(address: *const u8) {
    #[cfg(all(feature = "count", debug_assertions))]
    tally::touch(address.addr(), 1);
    #[cfg(not(all(feature = "count", debug_assertions)))]
    let _ = address;
}

/// The operation writes this many slots that are not the entry it is about.
#[inline(always)]
pub fn moved(slots: usize) {
    #[cfg(all(feature = "count", debug_assertions))]
    tally::moved(slots);
    #[cfg(not(all(feature = "count", debug_assertions)))]
    let _ = slots;
}
