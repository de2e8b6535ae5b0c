//! Upper-bound search in a sorted slot array, from a guess.
//!
//! The cache line of the guess, eight slots, is compared branch-free, then its neighbour; outside them the
//! search gallops by 64, 128, 256 slots, halves, and ends by counting one block of 64, branch-free again:
//! `O(log error)` always, never a scan. Placement (`place.rs`) fills predicted lines from their left end, so
//! that nine of ten searches end in the first line. Knows slices of keys, nothing of nodes. The kernels differ in the window and in `compress` only.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod output;
mod prefetch;
mod scalar;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use output::{Output, Room};
pub(crate) use prefetch::{prefetch, prefetch_slot};
pub(crate) use scalar::Scalar;

use crate::count;

/// Slots compared at once: one cache line.
pub(crate) const WINDOW: usize = 8;

/// Slots of the last comparison of a longer search: a bitmap word's, and the fewest that a leaf has.
pub(crate) const BLOCK: usize = 64;

/// What differs between instruction sets. `Scalar` is the specification.
///
/// # Safety
/// `compress` must initialise as many elements of each room as it returns.
#[allow(unsafe_code)]
pub(crate) unsafe trait Kernel {
    /// How many keys of an ascending window are at most `target`.
    fn count_at_most(window: &[i64; WINDOW], target: i64) -> usize;

    /// How many keys of an ascending block are at most `target`.
    #[inline(always)]
    fn count_in_block(block: &[i64; BLOCK], target: i64) -> usize {
        // The first keys of the lines say which line to count. No closure: what it calls would be compiled
        // without the kernel's instruction set.
        let (lines, _) = block.as_chunks::<WINDOW>();
        let mut begun = 0;
        for line in lines {
            begun += usize::from(line[0] <= target);
        }
        let last = begun.saturating_sub(1);
        last * WINDOW + Self::count_at_most(&lines[last], target)
    }

    /// Copies the slots whose bit is set to the front of the two rooms, in order, and returns how many.
    fn compress(
        mask: u64,
        keys: &[i64; BLOCK],
        payloads: &[u64; BLOCK],
        key_room: &mut Room<i64>,
        payload_room: &mut Room<u64>,
    ) -> usize;
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

#[inline(always)]
fn block(keys: &[i64], start: usize) -> &[i64; BLOCK] {
    // As above, less a block.
    let (block, _) = keys[start..].split_first_chunk().expect("start is at most the length less a block");
    count::touch(block);
    block
}

/// The start of the cache line of a guess, which is a slot of a leaf (whole lines), and how many of its keys
/// are at most `target`.
#[inline(always)]
pub(crate) fn in_line<K: Kernel>(keys: &[i64], guess: usize, target: i64) -> (usize, usize) {
    let (lines, _) = keys.as_chunks::<WINDOW>();
    let line = &lines[guess / WINDOW];
    count::touch(line);
    (line_of(guess), K::count_at_most(line, target))
}

/// How many keys of ascending `keys` are at most `target`. At least 64 keys; any guess.
#[inline(always)]
pub(crate) fn upper_bound<K: Kernel>(keys: &[i64], guess: usize, target: i64) -> usize {
    let start = line_of(guess).min(keys.len() - WINDOW);
    let count = K::count_at_most(window(keys, start), target);
    // Strictly inside the window the answer is certain; at its edges neighbours may belong to it.
    if count.wrapping_sub(1) < WINDOW - 1 { start + count } else { beyond::<K>(keys, start, count, target) }
}

/// `upper_bound`, comparing more lines at first.
#[inline(always)]
pub(crate) fn upper_bound_in<K: Kernel, const LINES: usize>(
    keys: &[i64],
    guess: usize,
    target: i64,
) -> usize {
    let slots = LINES * WINDOW;
    let start = (guess / slots * slots).min(keys.len() - slots);
    let mut count = 0;
    for line in 0..LINES {
        count += K::count_at_most(window(keys, start + line * WINDOW), target);
    }
    if count.wrapping_sub(1) < slots - 1 {
        start + count
    } else if count == 0 {
        below::<K>(keys, start, target)
    } else {
        above::<K>(keys, start + slots, target)
    }
}

/// `upper_bound` when `count` of the window at `start` are at most `target`: none or all. The next line on
/// that side, the next block, then gallops. The side is a matter of arithmetic up to there: a branch on it
/// would be guessed wrong every other time.
#[inline(always)]
pub(crate) fn beyond<K: Kernel>(keys: &[i64], start: usize, count: usize, target: i64) -> usize {
    let right = count != 0;
    let line = if right { (start + WINDOW).min(keys.len() - WINDOW) } else { start.saturating_sub(WINDOW) };
    let count = K::count_at_most(window(keys, line), target);
    if count != if right { WINDOW } else { 0 } {
        return line + count;
    }
    let from = if right { (line + WINDOW).min(keys.len() - BLOCK) } else { line.saturating_sub(BLOCK) };
    let count = K::count_in_block(block(keys, from), target);
    if count != if right { BLOCK } else { 0 } {
        return from + count;
    }
    if right { above::<K>(keys, from + BLOCK, target) } else { below::<K>(keys, from, target) }
}

/// The answer is at most `high`: blocks twice as far each time.
#[inline(always)]
fn below<K: Kernel>(keys: &[i64], mut high: usize, target: i64) -> usize {
    let mut step = 2 * BLOCK;
    loop {
        // Keys from `high` on are above the target, so that a block may reach past it.
        let from = high.saturating_sub(step);
        count::touch_one(&keys[from]);
        if from == 0 || keys[from] <= target {
            return between::<K>(keys, from, high, target);
        }
        high = from;
        step *= 2;
    }
}

/// The answer is at least `low`: mirrors `below`.
#[inline(always)]
fn above<K: Kernel>(keys: &[i64], mut low: usize, target: i64) -> usize {
    let mut step = 2 * BLOCK;
    loop {
        let to = (low + step).min(keys.len());
        count::touch_one(&keys[to - 1]);
        if to == keys.len() || keys[to - 1] > target {
            return between::<K>(keys, low, to, target);
        }
        low = to;
        step *= 2;
    }
}

/// `upper_bound` when the answer is known to lie in `low..=high`.
#[inline(always)]
pub(crate) fn between<K: Kernel>(keys: &[i64], mut low: usize, mut high: usize, target: i64) -> usize {
    while high - low > BLOCK {
        let middle = low.midpoint(high);
        count::touch_one(&keys[middle]);
        if keys[middle] <= target {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let start = low.min(keys.len() - BLOCK);
    start + K::count_in_block(block(keys, start), target)
}
