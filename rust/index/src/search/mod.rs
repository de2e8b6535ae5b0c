//! Upper-bound search in a sorted slot array, from a guess.
//!
//! The cache line of the guess, eight slots, is compared branch-free; outside it the search gallops by
//! doubling, then halves, and ends with the same window: `O(log error)` always, never a scan. Placement
//! (`place.rs`) fills predicted lines from their left end, so that nine of ten searches end in the first
//! line. Knows slices of keys, nothing of nodes. The kernels differ in the window and in `compress` only.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod prefetch;
mod scalar;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use prefetch::{prefetch, prefetch_slot};
pub(crate) use scalar::Scalar;

use crate::count;

/// Slots compared at once: one cache line.
pub(crate) const WINDOW: usize = 8;

/// Keys and payloads of a word of 64 slots, compressed; the slack lets a kernel store whole vectors.
pub(crate) struct Run {
    pub(crate) keys: [i64; 72],
    pub(crate) payloads: [u64; 72],
}

/// What differs between instruction sets. `Scalar` is the specification.
pub(crate) trait Kernel {
    /// How many keys of an ascending window are at most `target`.
    fn count_at_most(window: &[i64; WINDOW], target: i64) -> usize;

    /// Moves the slots whose bit is set to the front of `run`, in order, and returns how many.
    fn compress(mask: u64, keys: &[i64; 64], payloads: &[u64; 64], run: &mut Run) -> usize;
}

/// The first slot of the cache line of a slot.
#[inline(always)]
pub(crate) fn line_of(slot: usize) -> usize {
    slot & !(WINDOW - 1)
}

#[inline(always)]
fn window(keys: &[i64], start: usize) -> &[i64; WINDOW] {
    // Every caller clamps `start` to the length less a window, and leaves have 64 slots at least.
    let (window, _) = keys[start..].split_first_chunk().expect("start is at most the length less a window");
    count::touch(window);
    window
}

/// How many keys of ascending `keys` are at most `target`. At least 64 keys; any guess.
#[inline(always)]
pub(crate) fn upper_bound<K: Kernel>(keys: &[i64], guess: usize, target: i64) -> usize {
    let start = line_of(guess).min(keys.len() - WINDOW);
    let count = K::count_at_most(window(keys, start), target);
    // Strictly inside the window the answer is certain; at its edges neighbours may belong to it.
    if count.wrapping_sub(1) < WINDOW - 1 { start + count } else { beyond::<K>(keys, start, count, target) }
}

#[inline(always)]
fn beyond<K: Kernel>(keys: &[i64], start: usize, count: usize, target: i64) -> usize {
    let (mut low, mut high);
    let mut step = WINDOW;
    if count == 0 {
        (low, high) = (0, start);
        while step < high {
            let probe = high - step;
            count::touch_one(&keys[probe]);
            if keys[probe] <= target {
                low = probe + 1;
                break;
            }
            high = probe;
            step *= 2;
        }
    } else {
        (low, high) = (start + WINDOW, keys.len());
        while low + step < keys.len() {
            let probe = low + step;
            count::touch_one(&keys[probe]);
            if keys[probe] > target {
                high = probe;
                break;
            }
            low = probe + 1;
            step *= 2;
        }
    }
    between::<K>(keys, low, high, target)
}

/// `upper_bound` when the answer is known to lie in `low..=high`.
#[inline(always)]
pub(crate) fn between<K: Kernel>(keys: &[i64], mut low: usize, mut high: usize, target: i64) -> usize {
    while high - low > WINDOW {
        let middle = low.midpoint(high);
        count::touch_one(&keys[middle]);
        if keys[middle] <= target {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let start = low.min(keys.len() - WINDOW);
    start + K::count_at_most(window(keys, start), target)
}
