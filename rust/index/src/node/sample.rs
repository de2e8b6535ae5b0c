//! A sample of a leaf's keys, to which a line is fitted and by which it is judged.
//!
//! Floating point, and used only to choose a model: what a model predicts is integers. Reads at most 128 keys, once
//! each. Knows keys in order and numbers of slots, nothing of what slots hold.

use std::ops::Range;

use crate::count;
use crate::key::{Distance, Key};
use crate::search::WINDOW;

/// The most keys of a sample. It has at least half as many, if the leaf has them.
const MOST: usize = 128;
/// Every so many of them judge a line.
const JUDGED: usize = 2;
/// Sums are kept in so many lanes, which the processor adds up side by side.
const LANES: usize = 4;

/// Evenly spaced keys of a leaf, by their distances from one of them.
pub(super) struct Sample<K> {
    origin: K,
    distances: [f64; MOST],
    count: usize,
    /// The rank of the first one, and from each to the next.
    first: usize,
    pitch: usize,
    /// How many keys the leaf has.
    keys: usize,
}

/// A line from a key's distance to a rank or a slot: `slope * distance + intercept`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

impl Line {
    /// From a line to ranks that to slots, `slots_per_key` apart from slot `offset` on.
    pub(super) fn scaled(self, slots_per_key: f64, offset: f64) -> Self {
        Self { slope: self.slope * slots_per_key, intercept: self.intercept * slots_per_key + offset }
    }

    #[inline(always)]
    fn at(&self, distance: f64) -> f64 {
        self.slope * distance + self.intercept
    }
}

impl<K: Key> Sample<K> {
    /// Of strictly ascending keys.
    pub(super) fn of(keys: &[K]) -> Self {
        let origin = keys.get(keys.len() / 2).copied().unwrap_or(K::ZERO);
        let pitch = keys.len().div_ceil(MOST).max(1);
        let first = keys.len().saturating_sub(1) % pitch / 2;
        let (mut distances, mut count) = ([0.0; MOST], 0);
        for (distance, key) in distances.iter_mut().zip(keys.iter().skip(first).step_by(pitch)) {
            count::touch_one(key);
            *distance = if *key < origin { -origin.since(*key).to_f64() } else { key.since(origin).to_f64() };
            count += 1;
        }
        Self { origin, distances, count, first, pitch, keys: keys.len() }
    }

    /// The key that the distances are from.
    pub(super) fn origin(&self) -> K {
        self.origin
    }

    #[inline(always)]
    fn rank(&self, at: usize) -> usize {
        self.first + at * self.pitch
    }

    /// From distance to rank: least squares over all keys or over their middle three quarters, which outliers at the
    /// ends cannot bend: whichever has the smaller mean log2 error.
    pub(super) fn line(&self) -> Line {
        let (count, margin) = (self.count, self.count / 8);
        if self.keys < 32 {
            return self.sums(0..count).line();
        }
        // The origin is among the middle ones, too, so that no difference of large sums is left with nothing.
        let inner = self.sums(margin..count - margin);
        let middle = inner.line();
        let all = inner.and(self.sums(0..margin)).and(self.sums(count - margin..count)).line();
        if self.error(middle) < self.error(all) { middle } else { all }
    }

    /// The sums of some of the keys.
    fn sums(&self, part: Range<usize>) -> Sums {
        let (chunks, rest) = self.distances[part.clone()].as_chunks::<LANES>();
        let mut lanes = [[0.0; LANES]; 3];
        let mut at = [0.0, 1.0, 2.0, 3.0];
        for xs in chunks {
            for lane in 0..LANES {
                let x = xs[lane];
                lanes[0][lane] += x;
                lanes[1][lane] += x * x;
                lanes[2][lane] += x * at[lane];
                at[lane] += LANES as f64;
            }
        }
        let [mut x, mut xx, mut xi] = lanes.map(|lanes| lanes.iter().sum::<f64>());
        for (&distance, at) in rest.iter().zip(at) {
            x += distance;
            xx += distance * distance;
            xi += distance * at;
        }
        let (count, pitch, first) = (part.len() as f64, self.pitch as f64, self.rank(part.start) as f64);
        // The sum of the ranks, and of the products of distance and rank.
        Sums { count, x, y: count * (first + (count - 1.0) / 2.0 * pitch), xx, xy: first * x + pitch * xi }
    }

    /// The sum, over some of the keys, of the logarithm of the distance between a key's rank and the line.
    fn error(&self, line: Line) -> u64 {
        let last = self.keys.saturating_sub(1) as f64;
        let mut sum = 0;
        for (i, &distance) in self.distances[..self.count].iter().step_by(JUDGED).enumerate() {
            let guess = line.at(distance).max(0.0).min(last);
            // The bits of a float above one, read as an integer, are its logarithm, interpolated linearly
            // between powers of two.
            sum += (1.0 + (guess - self.rank(i * JUDGED) as f64).abs()).to_bits() >> 8;
        }
        sum
    }

    /// The search work of a leaf of `capacity` slots in which this line predicts the slots: the mean of the doublings
    /// beyond the predicted line of eight. An entry is at its predicted slot, but within `span`, or as far behind it as
    /// the entries before push it.
    pub(super) fn steps(&self, line: Line, capacity: usize, span: Range<usize>) -> f64 {
        let (mut slot, mut steps, mut count) = (self.first, 0, 0u32);
        let last = (capacity - 1) as f64;
        let pitch = self.pitch * JUDGED;
        for (i, &distance) in self.distances[..self.count].iter().step_by(JUDGED).enumerate() {
            let at = self.first + i * pitch;
            let guess = whole(line.at(distance).max(0.0).min(last));
            let wanted = guess.max(span.start).min(span.end);
            slot = wanted.max(slot).min(capacity - self.keys + at);
            steps += line_distance(slot, guess);
            slot += pitch;
            count += 1;
        }
        f64::from(steps) / f64::from(count.max(1))
    }
}

/// A small positive number, rounded to a whole one.
#[inline(always)]
fn whole(number: f64) -> usize {
    // Where neighbouring floats are one apart, their lowest bits are an integer.
    const ONE_APART: f64 = (3u64 << 51) as f64;
    (number + ONE_APART).to_bits() as u32 as usize
}

/// Doublings from the line of one slot to that of another.
#[inline(always)]
pub(super) fn line_distance(slot: usize, guess: usize) -> u32 {
    usize::BITS - (slot / WINDOW).abs_diff(guess / WINDOW).leading_zeros()
}

/// What least squares need of some keys.
#[derive(Clone, Copy)]
struct Sums {
    count: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Sums {
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            x: self.x + other.x,
            y: self.y + other.y,
            xx: self.xx + other.xx,
            xy: self.xy + other.xy,
        }
    }

    fn line(self) -> Line {
        let spread = self.xx - self.x * self.x / self.count;
        let slope = if spread > 0.0 { (self.xy - self.x * self.y / self.count) / spread } else { 0.0 };
        Line { slope, intercept: (self.y - slope * self.x) / self.count.max(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Sample};
    use crate::key::{Distance, Key};

    /// Keys at these multiples of 2^shift above `start`.
    fn keys<K: Key>(start: K, shift: u32, factors: impl Iterator<Item = usize>) -> Vec<K> {
        factors.filter_map(|factor| K::Distance::of_slots(factor, shift)).map(|far| start.up(far)).collect()
    }

    fn the_ranks_of_straight_keys_are_on_the_line<K: Key>() {
        for count in [1, 2, 3, 31, 32, 100, 127, 128, 129, 130, 255, 256, 257, 1_000, 11_468] {
            for (start, shift) in [(K::MIN, 0), (K::ZERO, 20), (K::MIN, K::BITS - 14)] {
                let keys = keys(start, shift, 0..count);
                let sample = Sample::of(&keys);
                let line = sample.line();
                let middle = count / 2;
                assert!((line.intercept - middle as f64).abs() < 1e-6, "{count} {shift}: {line:?}");
                let first = line.at(-sample.origin().since(keys[0]).to_f64());
                assert!(count == 1 || first.abs() < 1e-6, "{count} {shift}: {first} {line:?}");
                let pitch = 1.5;
                let steps = sample.steps(line.scaled(pitch, 0.0), count * 2 + 2, 0..count * 2);
                assert_eq!((steps * 16.0) as u64, 0, "{count} {shift}");
            }
        }
    }

    #[test]
    fn the_ranks_of_straight_keys_of_both_kinds_are_on_the_line() {
        the_ranks_of_straight_keys_are_on_the_line::<i64>();
        the_ranks_of_straight_keys_are_on_the_line::<i128>();
    }

    fn the_sums_of_three_parts_are_those_of_all<K: Key>() {
        for count in [32, 77, 128, 500, 3_000] {
            let keys = keys(K::ZERO.down(K::Distance::ONE << 30), 0, (0..count).map(|i| i * i));
            let sample = Sample::of(&keys);
            let (cut, all) = (sample.count / 8, sample.sums(0..sample.count));
            let parts = sample.sums(cut..sample.count - cut).and(sample.sums(0..cut));
            let parts = parts.and(sample.sums(sample.count - cut..sample.count));
            for (a, b) in [(all.x, parts.x), (all.y, parts.y), (all.xx, parts.xx), (all.xy, parts.xy)] {
                assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{count}: {a} {b}");
            }
            let rank = |at: usize| sample.rank(at) as f64;
            let products: f64 = (0..sample.count).map(|at| sample.distances[at] * rank(at)).sum();
            assert!((all.xy - products).abs() <= 1e-9 * products.abs(), "{count}: {} {products}", all.xy);
            assert!((all.y - (0..sample.count).map(rank).sum::<f64>()).abs() < 1e-6);
        }
    }

    #[test]
    fn the_sums_of_three_parts_are_those_of_all_for_both_kinds() {
        the_sums_of_three_parts_are_those_of_all::<i64>();
        the_sums_of_three_parts_are_those_of_all::<i128>();
    }

    #[test]
    fn a_bend_and_a_crowd_cost_steps() {
        let bent: Vec<i64> = (0..4_000).map(|i| i * i).collect();
        let sample = Sample::of(&bent);
        let steps = |sample: &Sample<i64>| sample.steps(sample.line().scaled(1.5, 0.0), 6_016, 0..6_016);
        assert!(steps(&sample) > 4.0, "{}", steps(&sample));
        // Half of the keys are where one slot is predicted, so entries lie behind it.
        let crowd: Vec<i64> = (0..2_000).chain((1..=2_000).map(|i| i << 40)).collect();
        assert!(steps(&Sample::of(&crowd)) > 4.0);
    }

    #[test]
    fn no_keys_give_a_line_that_does_not_rise() {
        let Line { slope, intercept } = Sample::<i64>::of(&[]).line();
        assert!(slope.abs() + intercept.abs() < f64::MIN_POSITIVE, "{slope} {intercept}");
    }
}
