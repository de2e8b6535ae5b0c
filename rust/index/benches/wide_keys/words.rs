//! The two arrays: high and low words of the sorted keys of one data node, searched by the kernel for 64 bits, with ties
//! settled by the low words; beside the same keys in one array, searched as the index searches them.

use alex_index::simd::{Searcher, Shape, active};

/// Keys of a data node of the usual fill.
const LEAF: usize = 8_192;

pub(crate) struct Leaves {
    searcher: Searcher,
    /// The first key of each leaf.
    first: Vec<i128>,
    keys: Vec<i128>,
    high: Vec<i64>,
    low: Vec<u64>,
}

impl Leaves {
    /// `keys` ascend. Only whole leaves count.
    pub(crate) fn of(keys: &[i128]) -> Self {
        let keys = &keys[..keys.len() / LEAF * LEAF];
        Self {
            searcher: Searcher::new(active()).expect("the active backend is available"),
            first: keys.iter().step_by(LEAF).copied().collect(),
            keys: keys.to_vec(),
            high: keys.iter().map(|&key| (key >> 64) as i64).collect(),
            low: keys.iter().map(|&key| key as u64).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The leaf that a key is in, and a guess where: on the line between its first and its last key.
    fn approach(&self, key: i128) -> (usize, usize) {
        let leaf = self.first.partition_point(|&first| first <= key).saturating_sub(1) * LEAF;
        let (first, last) = (self.keys[leaf], self.keys[leaf + LEAF - 1]);
        let share = key.wrapping_sub(first) as u128 as f64 / (last.wrapping_sub(first) as u128 as f64);
        (leaf, ((share * LEAF as f64) as usize).min(LEAF - 1))
    }

    /// The place of a key, found in the one array.
    pub(crate) fn in_one_array(&self, key: i128) -> Option<usize> {
        let (leaf, guess) = self.approach(key);
        let above = self.searcher.upper_bound(Shape::Around, &self.keys[leaf..leaf + LEAF], guess, key);
        let place = (leaf + above).checked_sub(1)?;
        (self.keys[place] == key).then_some(place)
    }

    /// The place of a key, found in the two arrays.
    pub(crate) fn in_two_arrays(&self, key: i128) -> Option<usize> {
        let (leaf, guess) = self.approach(key);
        let (high, low) = ((key >> 64) as i64, key as u64);
        let highs = &self.high[leaf..leaf + LEAF];
        let above = self.searcher.upper_bound(Shape::Around, highs, guess, high);
        let last = above.checked_sub(1)?;
        if highs[last] != high {
            return None;
        }
        // Where the word before differs, the high word is this key's alone. Else the run of equal words is bisected.
        let first = if last == 0 || highs[last - 1] != high {
            last
        } else {
            match high.checked_sub(1) {
                Some(before) => self.searcher.upper_bound(Shape::Around, highs, guess, before),
                None => 0,
            }
        };
        let place = leaf + first + self.low[leaf + first..=leaf + last].partition_point(|&word| word < low);
        (self.low.get(place) == Some(&low)).then_some(place)
    }
}
