//! Upper-bound search in a sorted slot array, from a guess: how many keys are less than or equal to a target.
//!
//! The search counts in the line of the guess, eight slots, without a branch, and where the model fits
//! well in the next line. Then it looks at the 128 slots around the line: three keys, 32 slots apart, tell
//! which quarter to count. Outside those it gallops by 256, 1,024 and 4,096 slots and divides the last step
//! by four until 16 slots are left. `O(log error)` always, never a scan. Layout (`node/layout.rs`) fills each
//! predicted line from its left end, so nine of ten searches end in the first line.
//!
//! Nothing branches on which side of the line the key is: the branch would be mispredicted every other time,
//! and the loads behind it would wait for the line. The gallop takes the side as a number instead.
//!
//! Knows slices of keys, nothing of nodes. Kernels differ only in how they count 8, 16 and 32 slots and
//! compress.

use std::hint::select_unpredictable;

use super::kernel::{Kernel, PAIR, QUAD, WINDOW, WORD};
use crate::count;
use crate::key::Key;

/// Slots around the line that are searched before the gallop.
const AROUND: usize = 4 * QUAD;

/// Slots of the first step of a gallop.
const GALLOP: usize = 4 * WORD;
/// How many times as long as the step before each further step is.
const STRETCH: usize = 4;

/// The first slot of the line that a slot is in.
#[inline(always)]
pub(crate) fn line_of(slot: usize) -> usize {
    slot & !(WINDOW - 1)
}

#[inline(always)]
fn window<K: Key>(keys: &[K], start: usize) -> &[K; WINDOW] {
    // Cannot fail: every caller clamps `start` to the length less a window, and a leaf has at least 64 slots.
    let (window, _) = keys[start..].split_first_chunk().expect("start is at most the length less a window");
    count::touch(window);
    window
}

#[inline(always)]
fn pair<K: Key>(keys: &[K], start: usize) -> &[K; PAIR] {
    // Cannot fail: the caller clamps `start` to the length less a pair, and a leaf has at least 64 slots.
    let (pair, _) = keys[start..].split_first_chunk().expect("start is at most the length less a pair");
    count::touch(pair);
    pair
}

/// The first slot of the cache line of `guess`, and how many of its keys are less than or equal to `target`.
/// `guess` must be a slot of `keys`, which must be whole lines.
#[inline(always)]
pub(crate) fn in_line<S: Kernel, K: Key>(keys: &[K], guess: usize, target: K) -> (usize, usize) {
    let (lines, _) = keys.as_chunks::<WINDOW>();
    let line = &lines[guess / WINDOW];
    count::touch(line);
    (line_of(guess), S::count_at_most(line, target))
}

/// How many of the ascending `keys`, at least 64, are less than or equal to `target`, from any `guess`.
/// `COARSE` says that the guess may well be off by more than a line.
#[inline(always)]
pub(crate) fn upper_bound<S: Kernel, K: Key, const COARSE: bool>(
    keys: &[K],
    guess: usize,
    target: K,
) -> usize {
    // Checked once here, so that the compiler drops the check of each line.
    assert!(keys.len() >= WORD, "a leaf has at least 64 slots");
    let (lines, _) = keys.as_chunks::<WINDOW>();
    let line = (guess / WINDOW).min(lines.len() - 1);
    let start = line * WINDOW;
    count::touch(&lines[line]);
    if let Some(count) = S::count_inside(&lines[line], target) {
        start + count
    } else if COARSE {
        around::<S, K>(keys, start, target)
    } else {
        beyond::<S, K>(keys, start, target)
    }
}

/// `upper_bound` that counts in `LINES` lines first and gallops then.
#[inline(always)]
pub(crate) fn upper_bound_in<S: Kernel, K: Key, const LINES: usize>(
    keys: &[K],
    guess: usize,
    target: K,
) -> usize {
    assert!(keys.len() >= WORD, "a leaf has at least 64 slots");
    let slots = LINES * WINDOW;
    let start = (guess / slots * slots).min(keys.len() - slots);
    let mut count = 0;
    for line in 0..LINES {
        count += S::count_at_most(window(keys, start + line * WINDOW), target);
    }
    if count.wrapping_sub(1) < slots - 1 {
        return start + count;
    }
    let right = count != 0;
    gallop::<S, K>(keys, if right { start + slots } else { start }, right, target)
}

/// `upper_bound` when the answer is outside the line at `start`: tries the next line on the right, where an
/// entry is whose own line was full, then `around`.
#[inline(always)]
pub(crate) fn beyond<S: Kernel, K: Key>(keys: &[K], start: usize, target: K) -> usize {
    // One predictable branch: the processor reads the next line before the first one has told whether it
    // must.
    let next = (start + WINDOW).min(keys.len() - WINDOW);
    let last = &keys[next + WINDOW - 1];
    count::touch_one(last);
    // True where the target lies between the two keys. `!=` is compiled to one branch, `&` to two.
    if (*last <= target) != (keys[start] <= target) {
        return next + S::count_at_most(window(keys, next), target);
    }
    around::<S, K>(keys, start, target)
}

/// `beyond` for models that err by more than a line: looks at the 128 slots around the line, then gallops.
/// Which side of the line the key is on does not matter, so nothing waits for the line.
#[inline(always)]
pub(crate) fn around<S: Kernel, K: Key>(keys: &[K], start: usize, target: K) -> usize {
    let Some(last) = keys.len().checked_sub(AROUND) else {
        return quarters::<S, K>(keys, 0, keys.len(), target);
    };
    // This makes the middle one of the three keys the first of the line, which is in the cache already.
    let from = start.saturating_sub(AROUND / 2).min(last);
    // Cannot fail: `from` is at most the length less the slots around.
    let (slots, _): (&[K; AROUND], _) = keys[from..].split_first_chunk().expect("from leaves room");
    count::touch_one(&slots[0]);
    count::touch_one(&slots[AROUND - 1]);
    if slots[0] > target || slots[AROUND - 1] <= target {
        let right = slots[0] <= target;
        return gallop::<S, K>(keys, select_unpredictable(right, from + AROUND, from), right, target);
    }
    // Selecting the position takes 11 instructions, summing comparisons takes 14.
    let mut low = 0;
    for quad in 1..AROUND / QUAD {
        let key = &slots[quad * QUAD];
        count::touch_one(key);
        low = select_unpredictable(*key <= target, quad * QUAD, low);
    }
    // Cannot fail: `low` is at most the slots around less a quad.
    let (quad, _): (&[K; QUAD], _) = slots[low..].split_first_chunk().expect("low leaves room");
    count::touch(quad);
    from + low + S::count_in_quad(quad, target)
}

/// Finds an answer that is at least `edge` (`right`) or at most `edge`: by ever longer steps, then by
/// quarters.
#[inline(always)]
fn gallop<S: Kernel, K: Key>(keys: &[K], edge: usize, right: bool, target: K) -> usize {
    let room = select_unpredictable(right, keys.len() - edge, edge);
    // `base + (slots ^ sign)` is the key `slots` away from the edge: `edge + slots - 1` on the right, `edge -
    // slots` on the left.
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
    quarters::<S, K>(keys, low, step, target)
}

/// `upper_bound` when the answer is in `low..=high` and there is no guess. The binary search branches on
/// purpose: a processor that predicts every other branch right has read ahead by then, where it would wait
/// for each key.
#[inline(always)]
pub(crate) fn between<S: Kernel, K: Key>(keys: &[K], mut low: usize, high: usize, target: K) -> usize {
    let mut slots = high - low;
    while slots > WORD {
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
    quarters::<S, K>(keys, low, slots, target)
}

/// `upper_bound` when the answer is in `low..=low + slots`, without branches. It divides by four because
/// three reads that do not wait for each other cost about as much as one.
#[inline(always)]
fn quarters<S: Kernel, K: Key>(keys: &[K], mut low: usize, mut slots: usize, target: K) -> usize {
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
    start + S::count_in_pair(pair(keys, start), target)
}
