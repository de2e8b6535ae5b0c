//! Upper-bound search in a sorted slot array, from a guess.
//!
//! The cache line of the guess, eight slots, is compared branch-free, then (where the model fits well) the next
//! one; then three keys, 32 slots apart, say which quarter of the 128 slots around the line to count; outside them
//! the search gallops by 256, 1,024, 4,096 slots and quarters without branches: `O(log error)` always, never a
//! scan. Placement (`place.rs`) fills predicted lines from their left end, so that nine of ten searches end in the
//! first line. Knows slices of keys, nothing of nodes. The kernels differ in how they count 8, 16 and 32 slots and
//! in `compress` only.
//!
//! Which side of the line the key is on does not matter up to the gallop, and is a matter of arithmetic there: a
//! branch on it would be guessed wrong every other time, and what depends on it would wait for the line.

use std::hint::select_unpredictable;

use super::kernel::{BLOCK, Kernel, PAIR, QUAD, WINDOW};
use crate::count;

/// Slots around the line that are searched before galloping.
const AROUND: usize = 4 * QUAD;

/// The first gallop, in slots; each is so many times as long as the one before.
const GALLOP: usize = 4 * BLOCK;
const STRETCH: usize = 4;

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
fn pair(keys: &[i64], start: usize) -> &[i64; PAIR] {
    // As above, less a pair.
    let (pair, _) = keys[start..].split_first_chunk().expect("start is at most the length less a pair");
    count::touch(pair);
    pair
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

/// How many keys of ascending `keys` are at most `target`. At least 64 keys; any guess. `COARSE` where the guess
/// may well be off by more than a line.
#[inline(always)]
pub(crate) fn upper_bound<K: Kernel, const COARSE: bool>(keys: &[i64], guess: usize, target: i64) -> usize {
    // Once, so that the compiler need not ask again for each line.
    assert!(keys.len() >= BLOCK, "a leaf has at least 64 slots");
    let (lines, _) = keys.as_chunks::<WINDOW>();
    let line = (guess / WINDOW).min(lines.len() - 1);
    let start = line * WINDOW;
    count::touch(&lines[line]);
    if let Some(count) = K::count_inside(&lines[line], target) {
        start + count
    } else if COARSE {
        around::<K>(keys, start, target)
    } else {
        beyond::<K>(keys, start, target)
    }
}

/// `upper_bound`, comparing `LINES` lines at first, then galloping.
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
        return start + count;
    }
    let right = count != 0;
    gallop::<K>(keys, if right { start + slots } else { start }, right, target)
}

/// `upper_bound` when none or all of the window at `start` are at most `target`: the next line on the right, where
/// an entry lies that found its line full, then `around`.
#[inline(always)]
pub(crate) fn beyond<K: Kernel>(keys: &[i64], start: usize, target: i64) -> usize {
    // Where the next line usually is it, it is read before it is known that it must be, because nothing but a
    // guessed branch depends on it.
    let next = (start + WINDOW).min(keys.len() - WINDOW);
    let last = &keys[next + WINDOW - 1];
    count::touch_one(last);
    // The key is between the two: written so that it is one branch, where `&` is compiled to two.
    if (*last <= target) != (keys[start] <= target) {
        return next + K::count_at_most(window(keys, next), target);
    }
    around::<K>(keys, start, target)
}

/// `beyond` where models err by more than a line: the 128 slots around the window, then gallops. Nothing waits for
/// the window: which side the key is on does not matter.
#[inline(always)]
pub(crate) fn around<K: Kernel>(keys: &[i64], start: usize, target: i64) -> usize {
    let Some(last) = keys.len().checked_sub(AROUND) else {
        return quarters::<K>(keys, 0, keys.len(), target);
    };
    // The middle one of the three keys is then the first of the line, which has been read.
    let from = start.saturating_sub(AROUND / 2).min(last);
    // `from` is at most the length less the slots around.
    let (slots, _): (&[i64; AROUND], _) = keys[from..].split_first_chunk().expect("from leaves room");
    count::touch_one(&slots[0]);
    count::touch_one(&slots[AROUND - 1]);
    if slots[0] > target || slots[AROUND - 1] <= target {
        let right = slots[0] <= target;
        return gallop::<K>(keys, select_unpredictable(right, from + AROUND, from), right, target);
    }
    // Moves of the place itself: 11 instructions, where a sum of comparisons takes 14.
    let mut low = 0;
    for quad in 1..AROUND / QUAD {
        let key = &slots[quad * QUAD];
        count::touch_one(key);
        low = select_unpredictable(*key <= target, quad * QUAD, low);
    }
    // `low` is at most the slots around less a quad.
    let (quad, _): (&[i64; QUAD], _) = slots[low..].split_first_chunk().expect("low leaves room");
    count::touch(quad);
    from + low + K::count_in_quad(quad, target)
}

/// The answer is at least `edge` (right) or at most `edge`: ever longer steps, then quarters.
#[inline(always)]
fn gallop<K: Kernel>(keys: &[i64], edge: usize, right: bool, target: i64) -> usize {
    let room = select_unpredictable(right, keys.len() - edge, edge);
    // The key that so many slots end or begin with, seen from the edge: `edge + slots - 1` or `edge - slots`.
    let sign = select_unpredictable(right, 0, usize::MAX);
    let base = select_unpredictable(right, edge.wrapping_sub(1), edge.wrapping_add(1));
    let (mut walked, mut step) = (0, GALLOP);
    while walked + step < room {
        let key = &keys[base.wrapping_add((walked + step) ^ sign)];
        count::touch_one(key);
        if (*key <= target) != right {
            break;
        }
        walked += step;
        step *= STRETCH;
    }
    let step = step.min(room - walked);
    let low = select_unpredictable(right, edge + walked, edge.wrapping_sub(walked + step));
    quarters::<K>(keys, low, step, target)
}

/// `upper_bound` when the answer is known to lie in `low..=high`, and no guess is near it. Halvings by branches:
/// a processor that guesses right every other time reads ahead, where it would wait for each key.
#[inline(always)]
pub(crate) fn between<K: Kernel>(keys: &[i64], mut low: usize, high: usize, target: i64) -> usize {
    let mut slots = high - low;
    while slots > BLOCK {
        let half = slots / 2;
        let below = &keys[low + half - 1];
        count::touch_one(below);
        if *below <= target {
            low += half;
            slots -= half;
        } else {
            slots = half;
        }
    }
    quarters::<K>(keys, low, slots, target)
}

/// `upper_bound` when the answer is known to lie in `low..=low + slots`, without branches: quarters, not halves,
/// because three reads at a time do not wait for each other.
#[inline(always)]
fn quarters<K: Kernel>(keys: &[i64], mut low: usize, mut slots: usize, target: i64) -> usize {
    while slots > PAIR {
        let quarter = slots / 4;
        let mut passed = 0;
        for place in 1..4 {
            let key = &keys[low + place * quarter - 1];
            count::touch_one(key);
            passed += usize::from(*key <= target);
        }
        low += passed * quarter;
        slots -= 3 * quarter;
    }
    let start = low.min(keys.len() - PAIR);
    start + K::count_in_pair(pair(keys, start), target)
}
