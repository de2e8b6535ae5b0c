//! Where recovery cut the log back: what the store once showed above a place, and does not hold any more. A
//! store that is shipped goes by it, because sequence numbers alone do not tell. Knows nothing of why.

use crate::format::record::MAX_SEQ;

/// So many are kept; of more, the two oldest become one.
const MOST: usize = 64;
/// Bytes of one.
const BYTES: usize = 16;

/// The log went on from the sequence `kept` with the sequence `next`. What had one between them is gone: no
/// sequence is used twice, not even that of a dropped commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    kept: u64,
    next: u64,
}

/// All cuts of a store, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cuts(Vec<Cut>);

impl Cuts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one: `kept` was the last commit that counted, and `next` is above every sequence of before.
    pub(crate) fn add(&mut self, kept: u64, next: u64) {
        let mut new = Cut { kept, next };
        // Nothing is left of what was written after an earlier cut.
        while let Some(last) = self.0.pop_if(|last| last.next > kept) {
            new.kept = new.kept.min(last.kept);
        }
        self.0.push(new);
        if self.0.len() > MOST {
            // What lies between them counts as gone, too: rather that than the other way round.
            let oldest = self.0.remove(0);
            self.0[0].kept = oldest.kept;
        }
    }

    /// Whether what once had this sequence may be gone.
    pub(crate) fn took(&self, seq: u64) -> bool {
        self.0.iter().any(|cut| cut.kept < seq && seq < cut.next)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|cut| [cut.kept, cut.next]).flat_map(u64::to_le_bytes).collect()
    }

    /// Fails with what was found instead of cuts.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() || !bytes.len().is_multiple_of(BYTES) || bytes.len() > MOST * BYTES {
            return Err(format!("cuts in {} bytes", bytes.len()));
        }
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
        let ascend = numbers.chunks(2).all(|cut| cut[0] < cut[1])
            && numbers.chunks(2).zip(numbers.chunks(2).skip(1)).all(|(one, next)| one[1] <= next[0]);
        if !ascend || numbers.iter().any(|&seq| seq > 2 * MAX_SEQ) {
            return Err(format!("cuts at {numbers:?}"));
        }
        Ok(Self(numbers.chunks(2).map(|cut| Cut { kept: cut[0], next: cut[1] }).collect()))
    }

    #[cfg(test)]
    pub(crate) fn of_test(cuts: &[(u64, u64)]) -> Self {
        Self(cuts.iter().map(|&(kept, next)| Cut { kept, next }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cuts, MOST};

    fn after(cuts: &[(u64, u64)]) -> Cuts {
        let mut made = Cuts::default();
        for &(kept, next) in cuts {
            made.add(kept, next);
        }
        made
    }

    #[test]
    fn what_was_written_between_two_cuts_still_counts() {
        assert_eq!(after(&[(5, 20), (25, 40)]), Cuts::of_test(&[(5, 20), (25, 40)]));
        assert_eq!(after(&[(5, 20), (20, 40)]), Cuts::of_test(&[(5, 20), (20, 40)]));
    }

    #[test]
    fn a_cut_below_earlier_ones_takes_their_place() {
        assert_eq!(after(&[(5, 20), (25, 40), (3, 60)]), Cuts::of_test(&[(3, 60)]));
        assert_eq!(after(&[(5, 20), (5, 40)]), Cuts::of_test(&[(5, 40)]));
    }

    #[test]
    fn what_lay_between_where_a_cut_begins_and_where_the_log_went_on_is_gone() {
        let cuts = Cuts::of_test(&[(5, 20), (25, 40)]);
        let gone: Vec<u64> = (0..50).filter(|&seq| cuts.took(seq)).collect();
        assert_eq!(gone, (6..20).chain(26..40).collect::<Vec<_>>());
    }

    #[test]
    fn of_too_many_cuts_the_oldest_become_one() {
        let many: Vec<_> = (0..MOST as u64 + 2).map(|at| (10 * at, 10 * at + 5)).collect();
        let kept = after(&many);
        let mut expected = many[2..].to_vec();
        expected[0].0 = 0;
        assert_eq!(kept, Cuts::of_test(&expected));
        assert!(kept.took(7), "what lay between them counts as gone");
        assert_eq!(Cuts::decode(&kept.encode()), Ok(kept));
    }

    #[test]
    fn what_no_store_can_have_is_refused() {
        for cuts in [vec![(5, 5)], vec![(5, 9), (8, 12)], vec![(5, 9), (3, 12)], vec![(5, u64::MAX)]] {
            assert!(Cuts::decode(&Cuts::of_test(&cuts).encode()).is_err(), "{cuts:?}");
        }
        assert!(Cuts::decode(&[0; 12]).is_err());
        assert!(Cuts::decode(&[0; 16 * (MOST + 1)]).is_err());
    }
}
