//! The free space of the arena: extents of whole units, taken by best fit and joined with free neighbours.
//!
//! Knows offsets and lengths, nothing of memory or nodes. Every operation is `O(log extents)`, and only
//! structural changes of the tree, one in thousands of inserts, need one.

use std::collections::{BTreeMap, BTreeSet};

/// Free extents, by offset and by length, both in units.
#[derive(Debug, Default)]
pub(crate) struct FreeSpace {
    by_offset: BTreeMap<u32, u32>,
    by_length: BTreeSet<(u32, u32)>,
}

impl FreeSpace {
    /// Takes `units` from the shortest extent that has as many, the lowest of equals. Returns their offset.
    pub(crate) fn take(&mut self, units: u32) -> Option<u32> {
        let (length, offset) = self.by_length.range((units, 0)..).next().copied()?;
        self.forget(offset, length);
        if length > units {
            self.record(offset + units, length - units);
        }
        Some(offset)
    }

    /// Gives an extent back and joins it with its free neighbours in the same chunk.
    pub(crate) fn give(&mut self, offset: u32, units: u32, chunk_units: u32) {
        let (mut start, mut length) = (offset, units);
        if let Some((&left, &left_length)) = self.by_offset.range(..offset).next_back() {
            debug_assert!(left + left_length <= offset, "an extent was freed twice");
            if left + left_length == offset && !offset.is_multiple_of(chunk_units) {
                self.forget(left, left_length);
                start = left;
                length += left_length;
            }
        }
        let end = offset + units;
        if let Some(&right_length) = self.by_offset.get(&end)
            && !end.is_multiple_of(chunk_units)
        {
            self.forget(end, right_length);
            length += right_length;
        }
        self.record(start, length);
    }

    /// How many units are free.
    pub(crate) fn units(&self) -> u64 {
        self.by_offset.values().map(|&length| u64::from(length)).sum()
    }

    fn record(&mut self, offset: u32, length: u32) {
        self.by_offset.insert(offset, length);
        self.by_length.insert((length, offset));
    }

    fn forget(&mut self, offset: u32, length: u32) {
        self.by_offset.remove(&offset);
        self.by_length.remove(&(length, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::FreeSpace;

    #[test]
    fn freed_neighbours_join_inside_a_chunk_and_not_across_chunks() {
        let mut free = FreeSpace::default();
        free.give(0, 100, 100);
        free.give(100, 100, 100);
        assert_eq!(free.take(200), None);
        assert_eq!(free.take(60), Some(0));
        assert_eq!(free.take(60), Some(100));
        assert_eq!(free.take(40), Some(60));
        free.give(0, 60, 100);
        free.give(60, 40, 100);
        assert_eq!(free.units(), 140);
        assert_eq!(free.take(100), Some(0));
    }
}
