//! The linear model of a data node: from key to slot, in fixed point, monotone.
//!
//! Fitting uses floating point. Prediction uses integers only, so that it gives every caller the same slot. A
//! prediction is one multiplication; a fit reads at most 256 keys. Knows nothing of what slots hold.

use crate::count;

/// `slot = (min(key - base, span) << shift) * slope >> 96`, where `shift` is the leading zeros of `span`.
/// Keys below `base` count as `base`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Model {
    base: i64,
    span: u64,
    /// Zero marks a plain leaf, which has no model and is searched by binary search.
    slope: u64,
}

/// The most keys that a line is fitted to.
const SAMPLES: usize = 256;
/// The most keys that decide which of two lines fits better.
const JUDGED: usize = 64;

/// A line from key to rank: `rank = slope * (key - origin) + intercept`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    origin: i64,
    slope: f64,
    intercept: f64,
}

impl Model {
    /// The model of a plain leaf.
    pub(crate) const PLAIN: Self = Self { base: 0, span: 0, slope: 0 };

    /// The words of the model, in the order that they have in memory and in an image.
    pub(crate) fn words(&self) -> [u64; 3] {
        let Self { base, span, slope } = *self;
        [base as u64, span, slope]
    }

    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.slope == 0
    }

    /// The predicted slot. It may lie beyond the leaf's last slot.
    #[inline]
    pub(crate) fn predict(&self, key: i64) -> usize {
        let delta = (key.max(self.base).wrapping_sub(self.base) as u64).min(self.span);
        let scaled = delta << (self.span.leading_zeros() & 63);
        ((u128::from(scaled) * u128::from(self.slope)) >> 96) as usize
    }

    /// The inverse of `predict`.
    pub(crate) fn boundaries(&self) -> Boundaries {
        // slot = delta * 2^shift * slope / 2^96
        let shift = self.span.leading_zeros() as i32;
        Boundaries { deltas_per_slot: 2f64.powi(96 - shift) / self.slope as f64 }
    }

    /// Scales a line that predicts ranks to slots, `slots_per_key` apart from slot `offset` on, in a leaf of
    /// `capacity` slots. A line that does not rise gives a plain leaf.
    pub(crate) fn from_line(line: Line, slots_per_key: f64, offset: f64, capacity: usize) -> Self {
        let slope = line.slope * slots_per_key;
        let intercept = line.intercept * slots_per_key + offset;
        if !(slope.is_finite() && slope > 0.0 && intercept.is_finite()) {
            return Self::PLAIN;
        }
        let back = (intercept / slope).abs() as u64;
        let base = if intercept >= 0.0 {
            line.origin.saturating_sub_unsigned(back)
        } else {
            line.origin.saturating_add_unsigned(back)
        };
        // Keys farther than `span` from the base are predicted beyond the last slot in any case.
        let span = ((capacity as f64 / slope) as u64).max(1);
        let scale = 2f64.powi(96 - span.leading_zeros() as i32);
        Self { base, span, slope: ((slope * scale) as u64).max(1) }
    }
}

/// The inverse of a model: the keys between which its prediction passes from one slot to the next.
pub(crate) struct Boundaries {
    deltas_per_slot: f64,
}

impl Boundaries {
    /// The largest key whose predicted slot is below `slot`, which is above zero. Exact for keys within 2^50
    /// of the base. Farther away it is off by so little that a key is rarely in between, and an entry that is
    /// ends up one line from its prediction, where a search still finds it.
    #[inline(always)]
    pub(crate) fn last_below(&self, model: &Model, slot: usize) -> i64 {
        let delta = (slot as f64 * self.deltas_per_slot) as u64;
        let guess = model.base.saturating_add_unsigned(delta);
        let (below, above) = (guess.saturating_sub(1), guess.saturating_add(1));
        if model.predict(guess) >= slot {
            if model.predict(below) >= slot { below.saturating_sub(1) } else { below }
        } else if model.predict(above) >= slot {
            guess
        } else {
            above
        }
    }
}

impl Line {
    /// Least squares over all keys or over their middle three quarters, which outliers at the ends cannot
    /// bend: whichever has the smaller mean log2 error. `keys` are strictly ascending.
    pub(crate) fn fit(keys: &[i64]) -> Self {
        let all = Self::least_squares(keys, 0, keys.len());
        if keys.len() < 32 {
            return all;
        }
        let margin = keys.len() / 8;
        let middle = Self::least_squares(keys, margin, keys.len() - margin);
        if middle.error(keys) < all.error(keys) { middle } else { all }
    }

    fn least_squares(keys: &[i64], from: usize, to: usize) -> Self {
        let Some(&origin) = keys.get(from) else {
            return Self { origin: 0, slope: 0.0, intercept: 0.0 };
        };
        let count = (to - from).min(SAMPLES);
        let (mut sum_x, mut sum_y, mut squares, mut products) = (0.0, 0.0, 0.0, 0.0);
        for rank in sample_ranks(from, to, SAMPLES) {
            count::touch_one(&keys[rank]);
            let (x, y) = (keys[rank].wrapping_sub(origin) as u64 as f64, rank as f64);
            sum_x += x;
            sum_y += y;
            squares += x * x;
            products += x * y;
        }
        let weight = count as f64;
        let spread = squares - sum_x * sum_x / weight;
        let slope = if spread > 0.0 { (products - sum_x * sum_y / weight) / spread } else { 0.0 };
        Self { origin, slope, intercept: (sum_y - slope * sum_x) / weight }
    }

    /// The sum, over a sample, of the logarithm of the distance between a key's rank and the line.
    fn error(&self, keys: &[i64]) -> f64 {
        let last = (keys.len() - 1) as f64;
        let mut sum = 0.0;
        for rank in sample_ranks(0, keys.len(), JUDGED) {
            let key = keys[rank];
            count::touch_one(&keys[rank]);
            let distance = key.abs_diff(self.origin) as f64;
            let signed = if key < self.origin { -distance } else { distance };
            let guess = (self.slope * signed + self.intercept).clamp(0.0, last);
            // The bits of a float above one, read as an integer, are its logarithm, interpolated linearly
            // between powers of two.
            sum += (1.0 + (guess - rank as f64).abs()).to_bits() as f64;
        }
        sum
    }
}

/// At most `most` ranks of `from..to`, evenly spaced, the first and the last among them.
fn sample_ranks(from: usize, to: usize, most: usize) -> impl Iterator<Item = usize> {
    let (length, count) = (to - from, (to - from).min(most));
    (0..count).map(move |i| from + i * (length - 1) / (count.max(2) - 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Line, Model};

    fn model(keys: &[i64], capacity: usize) -> Model {
        Model::from_line(Line::fit(keys), capacity as f64 / keys.len() as f64, 0.0, capacity)
    }

    #[test]
    fn predictions_are_monotone_and_close_on_straight_keys() {
        for step in [1i64, 7, 1 << 20, 1 << 50] {
            for start in [i64::MIN, -5, 0, i64::MAX - step * 1_000] {
                let keys: Vec<i64> = (0..1_000).map(|i| start + i * step).collect();
                let model = model(&keys, 1_408);
                let guesses: Vec<usize> = keys.iter().map(|&key| model.predict(key)).collect();
                assert!(guesses.is_sorted());
                for (i, &guess) in guesses.iter().enumerate() {
                    assert!(guess.abs_diff(i * 1_408 / 1_000) <= 2, "{start} {step} {i} {guess}");
                }
                assert!(model.predict(i64::MIN) <= model.predict(start));
                assert!(model.predict(i64::MAX) >= *guesses.last().unwrap());
            }
        }
    }

    #[test]
    fn one_outlier_does_not_bend_the_model() {
        let mut keys: Vec<i64> = (0..4_000).collect();
        keys.push(i64::MAX);
        let model = model(&keys, 8_002);
        for i in (0..4_000).step_by(37) {
            assert!(model.predict(i).abs_diff(i as usize * 2) <= 4);
        }
    }

    #[test]
    fn the_extreme_pair_fits() {
        let model = model(&[i64::MIN, i64::MAX], 64);
        assert_eq!(model.predict(i64::MIN), 0);
        assert!(model.predict(0).abs_diff(16) <= 1);
        assert!(model.predict(i64::MAX).abs_diff(32) <= 1);
    }
}
