//! Finds the tombstones that are still needed: those that hide an older put in another segment, which would
//! come back without them. Knows how to read segments; knows nothing of freeing. O(records of the segments
//! read), sorted one segment at a time; O(tombstones) for segments whose put extent is known and decides, and for those
//! that hold only what was in use when the tombstones were there already.

use crate::error::{Error, Result};
use crate::format::header::SEGMENT_HEADER_BYTES;
use crate::keys::Key;
use crate::log::reader::{Next, SegmentReader};
use crate::log::segment::{PutExtent, Segment};
use crate::room::room;

/// A tombstone of one key or of a range, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) first: Key,
    pub(crate) last: Key,
    pub(crate) seq: u64,
    /// Bytes of its record.
    pub(crate) bytes: u64,
    /// It deletes one key. That key may have no other record.
    pub(crate) single: bool,
    pub(crate) needed: bool,
}

impl Tombstone {
    /// Whether it covers an older put of a segment, if the extent of the segment's puts decides that.
    fn covers_older(&self, puts: PutExtent) -> Option<bool> {
        if self.seq <= puts.oldest || self.last < puts.first || puts.last < self.first {
            return Some(false);
        }
        (self.first <= puts.first && puts.last <= self.last).then_some(true)
    }
}

/// How many puts share one minimum at the lowest level.
const BLOCK: usize = 64;

/// Marks the tombstones that cover an older put in `segment`, up to its `end`. Liveness plays no part: a put
/// that was replaced, or copied and not freed yet, would come back all the same. If the segment cannot be
/// read to its end, returns what was found there; all tombstones must then be assumed to be needed.
pub(crate) fn mark_needed(
    tombstones: &mut [Tombstone],
    segment: &Segment,
    end: u64,
    pace: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Option<Error>> {
    let hides_nothing_to = segment.nothing_deleted_to.get().copied().unwrap_or(0);
    let is_open = |tombstone: &Tombstone| !tombstone.needed && tombstone.seq > hides_nothing_to;
    if let Some(&extent) = segment.put_extent.get() {
        let mut undecided = false;
        for tombstone in tombstones.iter_mut().filter(|tombstone| is_open(tombstone)) {
            match extent.map_or(Some(false), |puts| tombstone.covers_older(puts)) {
                Some(needed) => tombstone.needed = needed,
                None => undecided = true,
            }
        }
        if !undecided {
            return Ok(None);
        }
    }
    let open = tombstones.iter().filter(|tombstone| is_open(tombstone));
    let newest = open.clone().map(|tombstone| tombstone.seq).max().unwrap_or(0);
    let first = open.clone().map(|tombstone| tombstone.first).min().unwrap_or(Key::MAX);
    let last = open.map(|tombstone| tombstone.last).max().unwrap_or(Key::MIN);
    if newest <= segment.header.base_seq {
        // No segment, whether of the log or of relocated records, holds anything below its base sequence
        // number.
        return Ok(None);
    }
    let mut puts: Vec<(Key, u64)> = Vec::new();
    let mut extent = None;
    let mut reader = SegmentReader::new(segment, SEGMENT_HEADER_BYTES, end);
    let mut paced = SEGMENT_HEADER_BYTES;
    loop {
        match reader.next()? {
            Next::Record(offset, record) => {
                let put = record.kind.is_put();
                if put {
                    extent = Some(PutExtent::with(extent, record.key, record.seq));
                }
                if put && record.seq < newest && (first..=last).contains(&record.key) {
                    room(&mut puts, 1)?;
                    puts.push((record.key, record.seq));
                }
                if offset - paced >= PACED_BYTES {
                    pace(offset - paced)?;
                    paced = offset;
                }
            }
            Next::End(offset, _) if offset >= end => break,
            Next::End(offset, bad) => {
                for tombstone in tombstones {
                    tombstone.needed = true;
                }
                return Ok(Some(segment.damaged(offset, bad)));
            }
        }
    }
    pace(end.saturating_sub(paced))?;
    let _ = segment.put_extent.set(extent);
    puts.sort_unstable();
    let oldest = Oldest::of(&puts);
    for tombstone in tombstones.iter_mut().filter(|tombstone| is_open(tombstone)) {
        let from = puts.partition_point(|put| put.0 < tombstone.first);
        let to = from + puts[from..].partition_point(|put| put.0 <= tombstone.last);
        tombstone.needed = oldest.between(from, to) < tombstone.seq;
    }
    Ok(None)
}

/// Bytes read between two calls of `pace`.
pub(crate) const PACED_BYTES: u64 = 1 << 20;

fn oldest(puts: &[(Key, u64)]) -> u64 {
    puts.iter().map(|put| put.1).min().unwrap_or(u64::MAX)
}

/// Finds the oldest put of any range in O(log puts): minima of blocks, of pairs of blocks, and so on.
struct Oldest<'p> {
    puts: &'p [(Key, u64)],
    /// A heap: the second half holds the minima of blocks, and each entry before it the minimum of its two
    /// children.
    minima: Vec<u64>,
}

impl<'p> Oldest<'p> {
    fn of(puts: &'p [(Key, u64)]) -> Self {
        let blocks = puts.len().div_ceil(BLOCK);
        let mut minima = vec![u64::MAX; blocks];
        minima.extend(puts.chunks(BLOCK).map(oldest));
        for at in (1..blocks).rev() {
            minima[at] = minima[2 * at].min(minima[2 * at + 1]);
        }
        Self { puts, minima }
    }

    fn between(&self, from: usize, to: usize) -> u64 {
        let (first, last) = (from.div_ceil(BLOCK), to / BLOCK);
        if first >= last {
            return oldest(&self.puts[from..to]);
        }
        let blocks = self.minima.len() / 2;
        let (mut low, mut high) = (first + blocks, last + blocks);
        let mut found = oldest(&self.puts[from..first * BLOCK]).min(oldest(&self.puts[last * BLOCK..to]));
        while low < high {
            if low % 2 == 1 {
                found = found.min(self.minima[low]);
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                found = found.min(self.minima[high]);
            }
            (low, high) = (low / 2, high / 2);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_decides_about_a_tombstone_only_as_its_puts_would() {
        let puts = [(10, 7), (20, 5), (30, 9)];
        let extent = puts.iter().fold(None, |extent, &(key, seq)| Some(PutExtent::with(extent, key, seq)));
        let extent = extent.expect("there are puts");
        for first in 0..40 {
            for last in first..40 {
                for seq in 1..12 {
                    let tombstone = Tombstone { first, last, seq, bytes: 32, single: false, needed: false };
                    let truth = puts.iter().any(|put| put.0 >= first && put.0 <= last && put.1 < seq);
                    let told = tombstone.covers_older(extent);
                    assert!(told.is_none_or(|told| told == truth), "{tombstone:?}: {told:?}");
                }
            }
        }
    }

    #[test]
    fn the_oldest_put_of_any_range_is_found() {
        for count in [0, 1, 63, 64, 65, 500, 2000] {
            let puts: Vec<(Key, u64)> = (0..count).map(|i| (i, (i * 7919 % 2003) as u64)).collect();
            let found = Oldest::of(&puts);
            let count = puts.len();
            for from in (0..count).step_by(61) {
                for to in (from..=count).step_by(37).chain([count]) {
                    assert_eq!(found.between(from, to), oldest(&puts[from..to]), "{from}..{to} of {count}");
                }
            }
        }
    }
}
