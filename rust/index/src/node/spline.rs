//! Eight lines in place of one, in the same bytes: for the keys of a leaf that bend.
//!
//! The range of the keys is divided into eight parts of equal width. A knot says at which slot a part begins, and within
//! a part the slot rises with the key, as a line does. So a part with many keys gets many slots. Knots come from the
//! ranks of the keys where parts meet, not from a fit: seven searches.
//!
//! A prediction is two multiplications in integers, monotone, and the same for every caller. Packed, the second half of
//! a model has eight numbers of 16 bits: how the distance from the base becomes a place among the parts, and the knots
//! 1 to 7. Knot 0 is slot 0, and knot 8 is the number of slots. Knows nothing of what slots hold.

use crate::count;
use crate::key::{Distance, Key};

/// Lines of a spline.
const PARTS: usize = 8;
/// Bits of a place within one part.
const PLACE_BITS: u32 = 32;
/// Bits of the factor, between one and two, by which a distance that is shifted to the left becomes a place.
const FACTOR_BITS: u32 = 9;
/// Bits of a shifted distance that do not count, so that its product with the factor fits 64 bits.
const DROPPED_BITS: u32 = 10;
/// How far that product has to be shifted to the right to be a place.
const PRODUCT_SHIFT: u32 = u64::BITS - DROPPED_BITS + (FACTOR_BITS - 1) - PARTS.ilog2() - PLACE_BITS;
/// The end of the last part.
const LAST_PLACE: u64 = ((PARTS as u64) << PLACE_BITS) - 1;
/// A spline of fewer keys tells little more than a line.
const LEAST_KEYS: usize = 64;

/// The second half of a model: a factor and a shift, and seven knots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Knots(u128);

impl Knots {
    /// The knots for these ascending keys, spread evenly over so many slots; `None` where a line will do as well.
    pub(crate) fn fit<K: Key>(keys: &[K], slots: usize) -> Option<Self> {
        let (&first, &last) = (keys.first()?, keys.last()?);
        if keys.len() < LEAST_KEYS || slots > usize::from(u16::MAX) {
            return None;
        }
        let range = last.since(first);
        // The factor is rounded down, so the last key is in the last part.
        let shift = K::BITS - range.bits();
        let high = range.scaled(range) >> (u64::BITS - FACTOR_BITS);
        let factor = (1 << (2 * FACTOR_BITS - 1)) / (high + 1);
        debug_assert!(factor <= 1 << FACTOR_BITS && shift < 1 << 7);
        let mut packed = u128::from(factor - 1) << 7 | u128::from(shift);
        let unknotted = Self(packed);
        let mut from = 0;
        for part in 1..PARTS {
            let place = |key: K| unknotted.place(key.since(first));
            let below = keys[from..].partition_point(|key| {
                count::touch_one(key);
                place(*key) >> PLACE_BITS < part as u64
            });
            from += below;
            let knot = (from * slots / keys.len()).clamp(1, slots - 1) as u128;
            packed |= knot << (16 * part);
        }
        Some(Self(packed))
    }

    pub(crate) fn pack(self) -> (u64, u64) {
        (self.0 as u64, (self.0 >> 64) as u64)
    }

    #[inline(always)]
    pub(crate) fn unpack(low: u64, high: u64) -> Self {
        Self(u128::from(low) | u128::from(high) << 64)
    }

    /// Where among the parts a distance from the base lies: the part, and `PLACE_BITS` bits of the place within it.
    /// Beyond the last part everything is at its end.
    #[inline(always)]
    fn place<D: Distance>(self, distance: D) -> u64 {
        let shift = self.0 as u32 & 0x7F;
        let factor = (self.0 as u64 >> 7 & 0x1FF) + 1;
        let product = (distance.highest(shift) >> DROPPED_BITS) * factor;
        (product >> PRODUCT_SHIFT).min(LAST_PLACE)
    }

    /// The slots at which a part begins and ends.
    #[inline(always)]
    fn ends(self, part: u64, slots: usize) -> (u64, u64) {
        let pair = (self.0 >> (16 * part as u32)) as u32;
        let begin = if part == 0 { 0 } else { u64::from(pair as u16) };
        let end = if part == PARTS as u64 - 1 { slots as u64 } else { u64::from(pair >> 16) };
        (begin, end)
    }

    /// The slot of a key at a distance from the base, in a leaf of so many slots.
    #[inline(always)]
    pub(crate) fn slot<D: Distance>(self, distance: D, slots: usize) -> usize {
        let place = self.place(distance);
        let (begin, end) = self.ends(place >> PLACE_BITS, slots);
        let within = place & ((1 << PLACE_BITS) - 1);
        (begin + (end.wrapping_sub(begin).wrapping_mul(within) >> PLACE_BITS)) as usize
    }

    /// About the least distance from the base that leads to `slot` or beyond.
    pub(crate) fn distance_of<D: Distance>(self, slot: usize, slots: usize) -> D {
        let mut part = 0;
        while part < PARTS as u64 - 1 && self.ends(part, slots).1 < slot as u64 {
            part += 1;
        }
        let (begin, end) = self.ends(part, slots);
        let within = (slot as u64).saturating_sub(begin) as f64 / end.saturating_sub(begin).max(1) as f64;
        let shift = self.0 as u32 & 0x7F;
        let factor = (self.0 as u64 >> 7 & 0x1FF) + 1;
        let exponent = D::BITS + FACTOR_BITS - 1 - PARTS.ilog2() - shift;
        let distances_a_part = 2f64.powi(exponent as i32) / factor as f64;
        D::from_f64((part as f64 + within) * distances_a_part)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Knots;
    use crate::key::{Distance, Key};
    use crate::node::model::Model;

    /// Keys whose distances grow, up to the largest that fit.
    fn bent<K: Key>(count: usize, start: K) -> Vec<K> {
        let room = K::MAX.since(start) >> 1;
        let unit = (0..K::BITS)
            .rev()
            .find(|&shift| K::Distance::of_slots(count * count, shift).is_some_and(|far| far <= room));
        (0..count).map(|i| start.up(K::Distance::of_slots(i * i, unit.unwrap_or(0)).unwrap())).collect()
    }

    fn predictions_are_monotone_and_within_the_leaf<K: Key>() {
        for start in [K::MIN, K::ZERO, K::ZERO.down(K::Distance::ONE << 9)] {
            for slots in [192, 1_408, 16_384] {
                let keys = bent(slots * 7 / 10, start);
                let model = Model::spline(&keys, slots).unwrap();
                let guesses: Vec<usize> = keys.iter().map(|&key| model.predict(key, slots)).collect();
                assert!(guesses.is_sorted());
                // A line errs by a quarter of the leaf. In the first part the square root is steepest.
                let error = |(i, &guess): (usize, &usize)| guess.abs_diff(i * slots / keys.len());
                let errors: Vec<usize> = guesses.iter().enumerate().map(error).collect();
                assert!(errors.iter().all(|&error| error <= slots / 10), "{start} {slots}: {errors:?}");
                assert!(
                    errors.iter().sum::<usize>() <= keys.len() * slots / 30,
                    "{start} {slots}: {errors:?}"
                );
                for key in [K::MIN, start, keys[1], K::MAX] {
                    assert!(model.predict(key, slots) < slots);
                }
                assert!(
                    model.predict(K::MIN, slots) == 0
                        && model.predict(K::MAX, slots) >= *guesses.last().unwrap()
                );
            }
        }
    }

    #[test]
    fn predictions_are_monotone_and_within_the_leaf_for_both_kinds() {
        predictions_are_monotone_and_within_the_leaf::<i64>();
        predictions_are_monotone_and_within_the_leaf::<i128>();
    }

    fn a_boundary_is_the_last_key_below_its_slot<K: Key>() {
        let near: Vec<K> =
            (0..900).map(|i| K::ZERO.up(K::Distance::of_slots(i * i / 7 + i, 0).unwrap())).collect();
        for keys in [near, bent(900, K::MIN)] {
            let model = Model::spline(&keys, 1_408).unwrap();
            let boundaries = model.boundaries(1_408);
            for slot in (8..=1_408).step_by(8) {
                let below = boundaries.last_below(&model, slot);
                assert!(model.predict(below, 1_408) < slot || below <= keys[0]);
                let wrong = |&&key: &&K| (key <= below) != (model.predict(key, 1_408) < slot);
                assert_eq!(keys.iter().filter(wrong).count(), 0, "slot {slot}");
            }
        }
    }

    #[test]
    fn a_boundary_is_the_last_key_below_its_slot_for_both_kinds() {
        a_boundary_is_the_last_key_below_its_slot::<i64>();
        a_boundary_is_the_last_key_below_its_slot::<i128>();
    }

    #[test]
    fn the_widest_and_the_narrowest_range_have_knots() {
        let widest: Vec<i64> = (0..64).map(|i| i64::MIN + i).chain([i64::MAX]).collect();
        let model = Model::spline(&widest, 128).unwrap();
        assert_eq!((model.predict(i64::MIN, 128), model.predict(i64::MAX, 128)), (0, 127));
        let narrowest: Vec<i64> = (0..64).collect();
        let model = Model::spline(&narrowest, 128).unwrap();
        for (at, &key) in narrowest.iter().enumerate() {
            assert!(model.predict(key, 128).abs_diff(at * 2) <= 2);
        }
        assert_eq!(Knots::fit(&narrowest[..63], 128), None);
    }
}
