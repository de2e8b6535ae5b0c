//! The linear model of a data node: from key to slot, in fixed point, monotone.
//!
//! Fitting uses floating point. Prediction uses integers only, so that it gives every caller the same slot. A
//! prediction is one multiplication. Knows nothing of what slots hold.

use super::sample::Line;
use crate::key::{Distance, Key};

/// `slot = delta * slope >> 96`, where `delta` is the 64 bits of `min(key - base, span)` below the leading zeros of `span`.
/// Keys below `base` count as `base`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Model<K: Key> {
    base: K,
    span: K::Distance,
    /// Zero marks a plain leaf, which has no model and is searched by binary search.
    slope: u64,
}

impl<K: Key> Model<K> {
    /// The model of a plain leaf.
    pub(crate) const PLAIN: Self = Self { base: K::ZERO, span: K::Distance::ZERO, slope: 0 };

    /// Appends the model as bytes of an image: the layout that it has in memory, little-endian, then zeros.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        let Self { base, span, slope } = *self;
        let start = bytes.len();
        bytes.extend_from_slice(base.to_bytes().as_ref());
        bytes.extend_from_slice(K::ZERO.up(span).to_bytes().as_ref());
        bytes.extend_from_slice(&slope.to_le_bytes());
        bytes.resize(start + size_of::<Self>(), 0);
    }

    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.slope == 0
    }

    /// The predicted slot. It may lie beyond the leaf's last slot.
    #[inline]
    pub(crate) fn predict(&self, key: K) -> usize {
        let scaled = key.above(self.base).min(self.span).scaled(self.span);
        ((u128::from(scaled) * u128::from(self.slope)) >> 96) as usize
    }

    /// The inverse of `predict`.
    pub(crate) fn boundaries(&self) -> Boundaries {
        // slot = delta * 2^(64 - bits) * slope / 2^96
        let bits = self.span.bits() as i32;
        Boundaries { deltas_per_slot: power(32 + bits) / self.slope as f64 }
    }

    /// The model of a line from the distance from `origin` to the slot, in a leaf of `capacity` slots. A line that does
    /// not rise gives a plain leaf.
    pub(crate) fn from_line(origin: K, line: Line, capacity: usize) -> Self {
        let Line { slope, intercept } = line;
        if !(slope.is_finite() && slope > 0.0 && intercept.is_finite()) {
            return Self::PLAIN;
        }
        let back = K::Distance::from_f64((intercept / slope).abs());
        let base = if intercept >= 0.0 { origin.down_to_min(back) } else { origin.up_to_max(back) };
        // Keys farther than `span` from the base are predicted beyond the last slot in any case.
        let span = K::Distance::from_f64(capacity as f64 / slope).max(K::Distance::ONE);
        let scale = power(32 + span.bits() as i32);
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
    pub(crate) fn last_below<K: Key>(&self, model: &Model<K>, slot: usize) -> K {
        let delta = K::Distance::from_f64(slot as f64 * self.deltas_per_slot);
        let guess = model.base.up_to_max(delta);
        let one = K::Distance::ONE;
        let (below, above) = (guess.down_to_min(one), guess.up_to_max(one));
        if model.predict(guess) >= slot {
            if model.predict(below) >= slot { below.down_to_min(one) } else { below }
        } else if model.predict(above) >= slot {
            guess
        } else {
            above
        }
    }
}

/// Two to the power of a small exponent.
const fn power(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Model;
    use crate::key::{Distance, Key};
    use crate::node::sample::Sample;

    fn model<K: Key>(keys: &[K], capacity: usize) -> Model<K> {
        let sample = Sample::of(keys);
        Model::from_line(
            sample.origin(),
            sample.line().scaled(capacity as f64 / keys.len() as f64, 0.0),
            capacity,
        )
    }

    fn predictions_are_monotone_and_close_on_straight_keys<K: Key>() {
        for (factor, shift) in [(1, 0), (7, 0), (1, 20), (1, 50), (3, K::BITS - 14)] {
            let far = |i: usize| K::Distance::of_slots(i * factor, shift).unwrap();
            for start in [K::MIN, K::ZERO.down(far(1)), K::ZERO, K::MAX.down(far(1_000))] {
                let keys: Vec<K> = (0..1_000).map(|i| start.up(far(i))).collect();
                let model = model(&keys, 1_408);
                let guesses: Vec<usize> = keys.iter().map(|&key| model.predict(key)).collect();
                assert!(guesses.is_sorted());
                for (i, &guess) in guesses.iter().enumerate() {
                    assert!(guess.abs_diff(i * 1_408 / 1_000) <= 2, "{start} {factor} {shift} {i} {guess}");
                }
                assert!(model.predict(K::MIN) <= model.predict(start));
                assert!(model.predict(K::MAX) >= *guesses.last().unwrap());
            }
        }
    }

    #[test]
    fn predictions_are_monotone_and_close_on_straight_keys_of_both_kinds() {
        predictions_are_monotone_and_close_on_straight_keys::<i64>();
        predictions_are_monotone_and_close_on_straight_keys::<i128>();
    }

    fn one_outlier_does_not_bend_the_model<K: Key>() {
        let key = |i: usize| K::ZERO.up(K::Distance::of_slots(i, 0).unwrap());
        let mut keys: Vec<K> = (0..4_000).map(key).collect();
        keys.push(K::MAX);
        let model = model(&keys, 8_002);
        for i in (0..4_000).step_by(37) {
            assert!(model.predict(key(i)).abs_diff(i * 2) <= 4);
        }
    }

    #[test]
    fn one_outlier_does_not_bend_the_model_of_either_kind() {
        one_outlier_does_not_bend_the_model::<i64>();
        one_outlier_does_not_bend_the_model::<i128>();
    }

    fn the_extreme_pair_fits<K: Key>() {
        let model = model(&[K::MIN, K::MAX], 64);
        assert_eq!(model.predict(K::MIN), 0);
        assert!(model.predict(K::ZERO).abs_diff(16) <= 1);
        assert!(model.predict(K::MAX).abs_diff(32) <= 1);
    }

    #[test]
    fn the_extreme_pair_of_both_kinds_fits() {
        the_extreme_pair_fits::<i64>();
        the_extreme_pair_fits::<i128>();
    }
}
