//! How many keys lie in each part of the key space: what ranks are answered from. The parts begin where the leaves began
//! when the tally was made, and it is kept up to date from then on; so structural changes are nothing to it. Once a part
//! has become too large, or nobody has asked for long, it is given up, and made anew when somebody asks.
//!
//! A Fenwick tree: `O(log parts)` for a change and for a question. Knows nothing of nodes.
//! docs/dev/042-ranks-come-from-a-tally.md has the argument and the measurements.

use crate::key::Key;
use std::sync::atomic::{AtomicU32, Ordering};

/// A part may grow by this many times what parts had on average at first,
const GROWTH: u32 = 4;
/// and by this many keys besides.
const LEAST_GROWTH: u32 = 256;
/// Changes without a question, for each part and in all, after which the tally is given up: making it again takes about as
/// long as they did.
const PATIENCE: u32 = 8;
const LEAST_PATIENCE: u32 = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tally<K> {
    /// The lowest key that belongs to each part; that of the first is the least.
    starts: Vec<K>,
    /// The Fenwick tree over the counts: element `i` is the sum of the `(i + 1) & -(i + 1)` counts up to the `i`-th.
    sums: Vec<u64>,
    /// How many keys may still be added to each part.
    room: Vec<u32>,
    /// Changes that are still made without a question.
    patience: AtomicU32,
    most_patience: u32,
}

/// A part of the key space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<K> {
    /// The lowest key that belongs to it; `None` for the first part.
    pub(crate) start: Option<K>,
    /// How many keys are below it.
    pub(crate) below: usize,
}

impl<K> Part<K> {
    /// All keys as one part, for whoever has no tally.
    pub(crate) const WHOLE: Self = Self { start: None, below: 0 };
}

impl<K: Key> Tally<K> {
    /// A tally of parts that begin with these keys, ascending, and hold so many keys each; `None` if there are no parts, or
    /// no memory for it. `O(parts)`.
    pub(crate) fn of(parts: impl Iterator<Item = (K, u32)>) -> Option<Self> {
        let (mut starts, mut sums, mut room) = (Vec::new(), Vec::new(), Vec::new());
        for (start, count) in parts {
            starts.try_reserve(1).ok()?;
            sums.try_reserve(1).ok()?;
            room.try_reserve(1).ok()?;
            starts.push(start);
            sums.push(u64::from(count));
            room.push(count);
        }
        *starts.first_mut()? = K::MIN;
        let parts = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        let mean = (sums.iter().sum::<u64>() / u64::from(parts)) as u32;
        let growth = mean.saturating_mul(GROWTH).saturating_add(LEAST_GROWTH);
        for room in &mut room {
            *room = room.saturating_add(growth);
        }
        for i in 0..sums.len() {
            let above = i | (i + 1);
            if above < sums.len() {
                sums[above] += sums[i];
            }
        }
        let most_patience = parts.saturating_mul(PATIENCE).saturating_add(LEAST_PATIENCE);
        Some(Self { starts, sums, room, patience: AtomicU32::new(most_patience), most_patience })
    }

    /// The tally, for a question. It is kept for longer then.
    #[inline]
    pub(crate) fn asked(&self) -> &Self {
        // Threads that ask at once would wait for each other's line if each of them wrote it.
        if self.patience.load(Ordering::Relaxed) < self.most_patience / 2 {
            self.patience.store(self.most_patience, Ordering::Relaxed);
        }
        self
    }

    /// Notes that `by` keys from `first` to `last` have come or, if it is negative, gone. Returns false if the tally must
    /// be given up.
    #[must_use]
    pub(crate) fn change(&mut self, first: K, last: K, by: i64) -> bool {
        let part = self.part_of(first);
        if self.starts.get(part + 1).is_some_and(|&next| next <= last) {
            // How many of them belong to which part is not known.
            return false;
        }
        let patience = self.patience.get_mut();
        let (Some(left), Some(room)) = (
            patience.checked_sub(1),
            u32::try_from(by).map_or(Some(self.room[part]), |more| self.room[part].checked_sub(more)),
        ) else {
            return false;
        };
        (*patience, self.room[part]) = (left, room);
        let mut at = part;
        while let Some(sum) = self.sums.get_mut(at) {
            *sum = sum.wrapping_add_signed(by);
            at |= at + 1;
        }
        true
    }

    fn part_of(&self, key: K) -> usize {
        // The first part has every key that the others have not.
        self.starts[1..].partition_point(|&start| start <= key)
    }

    fn part(&self, part: usize, below: u64) -> Part<K> {
        Part { start: (part > 0).then(|| self.starts[part]), below: below as usize }
    }

    /// The part that a key belongs to.
    pub(crate) fn owner(&self, key: K) -> Part<K> {
        let part = self.part_of(key);
        self.part(part, self.keys_below(part))
    }

    /// The part of the key that has exactly `rank` keys below it. There must be such a key.
    pub(crate) fn holder(&self, rank: usize) -> Part<K> {
        let (mut part, mut below, mut step) = (0, 0, 1 << self.sums.len().ilog2());
        while step > 0 {
            if let Some(sum) = self.sums.get(part + step - 1).filter(|&sum| below + sum <= rank as u64) {
                below += sum;
                part += step;
            }
            step >>= 1;
        }
        self.part(part.min(self.starts.len() - 1), below)
    }

    /// The keys with which the parts after the first begin, and how many keys are in each part; for checks.
    pub(crate) fn parts(&self) -> (&[K], Vec<u64>) {
        let below: Vec<u64> = (0..=self.starts.len()).map(|part| self.keys_below(part)).collect();
        (&self.starts[1..], below.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect())
    }

    /// How many keys are in the parts before this one.
    fn keys_below(&self, mut part: usize) -> u64 {
        let mut below = 0;
        while part > 0 {
            below += self.sums[part - 1];
            part &= part - 1;
        }
        below
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST_PATIENCE, Tally};

    /// A tally of parts that begin at 0, 10, 20 and so on, and the counts that it should have.
    fn of(parts: u32) -> (Tally<i64>, Vec<u64>) {
        let counts: Vec<u64> = (0..parts).map(|part| u64::from(part * 7 % 11)).collect();
        let parts = counts.iter().enumerate().map(|(part, &count)| (part as i64 * 10, count as u32));
        (Tally::of(parts).expect("memory"), counts)
    }

    fn assert_right(tally: &Tally<i64>, counts: &[u64]) {
        assert_eq!(tally.parts().1, counts);
        let mut below = 0;
        for (part, &count) in counts.iter().enumerate() {
            for key in [part as i64 * 10, part as i64 * 10 + 9] {
                let owner = tally.owner(key);
                assert_eq!(
                    (owner.start, owner.below),
                    ((part > 0).then_some(part as i64 * 10), below),
                    "{key}"
                );
            }
            for rank in below..below + count as usize {
                let holder = tally.holder(rank);
                assert_eq!((holder.start, holder.below), ((part > 0).then_some(part as i64 * 10), below));
            }
            below += count as usize;
        }
    }

    #[test]
    fn parts_add_up_for_any_number_of_them_and_after_any_change() {
        for parts in 1..70 {
            let (mut tally, mut counts) = of(parts);
            assert_right(&tally, &counts);
            for change in 0..i64::from(parts) {
                let part = (change * 5 % i64::from(parts)) as usize;
                let by = if counts[part] > 3 { -3 } else { change % 9 };
                let key = part as i64 * 10;
                assert!(tally.change(key, key + 9, by));
                counts[part] = counts[part].saturating_add_signed(by);
                assert_right(&tally, &counts);
            }
            assert_eq!((tally.owner(i64::MIN).below, tally.owner(-1).start), (0, None));
        }
    }

    #[test]
    fn keys_that_may_belong_to_two_parts_end_it() {
        let (mut tally, counts) = of(5);
        assert!(!tally.change(9, 10, 2) && !tally.change(0, i64::MAX, -1));
        assert!(tally.change(40, i64::MAX, 1) && tally.change(i64::MIN, 9, 1));
        assert_eq!(tally.parts().1.iter().sum::<u64>(), counts.iter().sum::<u64>() + 2);
    }

    #[test]
    fn a_part_that_grows_too_large_ends_it_and_so_do_many_changes_without_a_question() {
        let mut tally = Tally::of([(0i64, 100), (1000, 100)].into_iter()).expect("memory");
        let grown = (0..10_000).take_while(|_| tally.change(5, 5, 1)).count();
        assert_eq!(grown, 100 + 4 * 100 + 256);
        let mut tally = Tally::of([(0i64, 100), (1000, 100)].into_iter()).expect("memory");
        let changes = |tally: &mut Tally<i64>| {
            (0..100_000).take_while(|i| tally.change(5, 5, if i % 2 == 0 { 1 } else { -1 })).count()
        };
        let patience = LEAST_PATIENCE as usize + 2 * 8;
        assert!((600..=patience).contains(&changes(&mut tally)));
        let mut tally = Tally::of([(0i64, 1 << 20)].into_iter()).expect("memory");
        for _ in 0..100 {
            for _ in 0..1000 {
                assert!(tally.change(5, 5, 1) && tally.change(5, 5, -1));
            }
            tally.asked();
        }
        assert_eq!(changes(&mut tally), LEAST_PATIENCE as usize + 8);
    }
}
