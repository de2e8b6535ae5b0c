//! Sorting pairs of key and payload by key, stably, for keys that come in no order.
//!
//! A least-significant-digit radix sort over the highest bits in which the keys differ: as many bits as it
//! takes to make groups of equal digits small. Then each group is sorted in the same way, small groups by
//! comparison. Random keys take two or three passes whatever their width, dense keys as many as their range
//! has bytes. `O(n)`, and the memory of a second copy. Knows nothing of trees.

use crate::key::{Distance, Key};
use crate::room::room;

/// A key with its payload, or with its position in a batch.
pub(crate) type Pair<K> = (K, u64);

/// Bits of a digit, as [`Distance::digit`] has them: 2^8 streams of writes fit the first-level cache, and their pages its TLB.
const DIGIT: u32 = 8;
const _: () = assert!(DIGIT == u8::BITS);
/// Fewer pairs than this are sorted by comparison.
const SMALL: usize = 256;

/// Sorts pairs by key. Equal keys keep their order. `buffer` is memory to sort in, and grows as needed.
pub(crate) fn sort_pairs<K: Key>(pairs: &mut [Pair<K>], buffer: &mut Vec<Pair<K>>) {
    if !pairs.is_sorted_by_key(|pair| pair.0) {
        room(buffer, pairs.len().saturating_sub(buffer.len()));
        buffer.resize(buffer.len().max(pairs.len()), (K::ZERO, 0));
        sort(pairs, buffer);
    }
}

/// Recursion is shallow: the keys of a group span at most 2^-16 of the range that the group came from.
fn sort<K: Key>(pairs: &mut [Pair<K>], buffer: &mut [Pair<K>]) {
    if pairs.len() < SMALL {
        pairs.sort_by_key(|pair| pair.0);
        return;
    }
    let (low, high) =
        pairs.iter().fold((K::MAX, K::MIN), |(low, high), &(key, _)| (low.min(key), high.max(key)));
    let width = high.since(low).bits();
    // Enough digits for groups of one pair, on average, if the keys are spread evenly.
    let wanted = (usize::BITS - pairs.len().leading_zeros()).div_ceil(DIGIT) * DIGIT;
    let first = width.saturating_sub(wanted);
    let (mut from, mut to) = (&mut *pairs, &mut buffer[..]);
    let mut swapped = false;
    let mut shift = first;
    while shift < width {
        if pass(from, &mut to[..from.len()], low, shift) {
            let length = from.len();
            (from, to) = (&mut to[..length], from);
            swapped = !swapped;
        }
        shift += DIGIT;
    }
    if swapped {
        to.copy_from_slice(from);
    }
    if first > 0 {
        finish(pairs, buffer, |key| key.since(low) >> first);
    }
}

/// One stable pass over the digit at `shift`. Returns false if all pairs have the same digit and nothing was
/// moved.
fn pass<K: Key>(from: &[Pair<K>], to: &mut [Pair<K>], low: K, shift: u32) -> bool {
    let digit = |key: K| key.since(low).digit(shift);
    let mut places = [0usize; 1 << DIGIT];
    for &(key, _) in from {
        places[digit(key)] += 1;
    }
    if places.contains(&from.len()) {
        return false;
    }
    let mut next = 0;
    for place in &mut places {
        next += std::mem::replace(place, next);
    }
    for &pair in from {
        let place = &mut places[digit(pair.0)];
        to[*place] = pair;
        *place += 1;
    }
    true
}

/// Sorts each run of pairs with equal digits.
fn finish<K: Key>(pairs: &mut [Pair<K>], buffer: &mut [Pair<K>], digits: impl Fn(K) -> K::Distance) {
    let mut from = 0;
    while from < pairs.len() {
        let group = digits(pairs[from].0);
        let mut to = from + 1;
        let mut sorted = true;
        while to < pairs.len() && digits(pairs[to].0) == group {
            sorted &= pairs[to - 1].0 <= pairs[to].0;
            to += 1;
        }
        if !sorted {
            sort(&mut pairs[from..to], buffer);
        }
        from = to;
    }
}

/// Splits sorted pairs into keys and payloads. Of equal keys the last counts.
pub(crate) fn unzip_last<K: Key>(pairs: &[Pair<K>]) -> (Vec<K>, Vec<u64>) {
    let (mut keys, mut payloads) = (Vec::new(), Vec::new());
    room(&mut keys, pairs.len());
    room(&mut payloads, pairs.len());
    for (i, &(key, payload)) in pairs.iter().enumerate() {
        if pairs.get(i + 1).is_none_or(|next| next.0 != key) {
            keys.push(key);
            payloads.push(payload);
        }
    }
    (keys, payloads)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::distr::{Distribution, StandardUniform};
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::{Pair, sort_pairs, unzip_last};
    use crate::key::{Distance, Key};

    fn pairs_sort_as_a_stable_sort_sorts_them<K: Key + std::ops::Shr<u32, Output = K>>()
    where
        StandardUniform: Distribution<K>,
    {
        let mut random = SmallRng::seed_from_u64(6);
        let mut buffer = Vec::new();
        for count in [0, 1, 2, 255, 256, 257, 3_000, 70_000] {
            for shift in [0, 1, 20, 40, 56, 63, K::BITS - 60, K::BITS - 1] {
                for crowd in [0, 3] {
                    let mut pairs: Vec<Pair<K>> = (0..count)
                        .map(|i| {
                            let key = random.random::<K>() >> shift;
                            // A crowd of neighbours in one place, and far keys beside them.
                            let near =
                                K::ZERO.up(K::Distance::of_slots(key.above(K::ZERO).digit(0), 4).unwrap());
                            (if i % 4 < crowd { near } else { key }, i)
                        })
                        .collect();
                    if count > 2 {
                        (pairs[0].0, pairs[1].0) = (K::MAX, K::MIN);
                    }
                    let mut wanted = pairs.clone();
                    wanted.sort_by_key(|pair| pair.0);
                    sort_pairs(&mut pairs, &mut buffer);
                    assert!(pairs == wanted, "{count} pairs, shift {shift}, crowd {crowd}");
                }
            }
        }
    }

    #[test]
    fn pairs_sort_as_a_stable_sort_sorts_them_in_both_kinds() {
        pairs_sort_as_a_stable_sort_sorts_them::<i64>();
        pairs_sort_as_a_stable_sort_sorts_them::<i128>();
    }

    #[test]
    fn the_last_of_equal_keys_is_kept() {
        let (keys, payloads) = unzip_last(&[(1i64, 5), (1, 6), (2, 7), (3, 8), (3, 9)]);
        assert_eq!((keys, payloads), (vec![1, 2, 3], vec![6, 7, 9]));
    }
}
