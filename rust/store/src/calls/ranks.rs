//! Ranks: how many keys are below a key, and the items at given ranks.

use std::ops::Bound;
use std::sync::Arc;

use crate::calls::moment::Moment;
use crate::calls::store::Reader;
use crate::error::Result;
use crate::format::location::Location;
use crate::keys::{Key, KeyVec};
use crate::log::segments::Segments;
use crate::room::with_room;
use crate::values::value::Value;

/// Ranks looked up under one hold of the state's lock; each takes about a microsecond.
const PIECE_RANKS: usize = 256;

impl Reader {
    /// How many keys are below `key`. O(log n); the first call after many changes takes O(leaves), and a snapshot
    /// O(keys below it that have changed since).
    pub fn rank(&self, key: impl Into<Key>) -> Result<u64> {
        let key = key.into();
        if self.at.is_some() {
            return self.count(Bound::Unbounded, Bound::Excluded(key));
        }
        self.shared.mending(|| Ok(self.shared.read_state()?.index.rank(key)? as u64))
    }

    /// The item that has exactly `rank` keys below it or, `from_end`, above it. O(log n) like [`Reader::rank`]; a snapshot
    /// takes O(keys that have changed since, up to the item).
    pub fn nth(&self, rank: u64, from_end: bool) -> Result<Option<(Key, Value)>> {
        if self.at.is_none() {
            return self.shared.mending(|| {
                self.shared.item(|index| {
                    let Some(rank) = place(rank, from_end, index.len()? as u64) else { return Ok(None) };
                    index.nth(rank as usize)
                })
            });
        }
        // Of a snapshot, the length stays what it is.
        let len = if from_end { self.len()? } else { u64::MAX };
        let Some(rank) = place(rank, from_end, len) else { return Ok(None) };
        let mut entries = Vec::new();
        let segments = self.moment()?.entries_at(&[rank], &mut entries)?;
        let Some(&(key, location)) = entries.first() else { return Ok(None) };
        let verify = self.shared.options.verify_reads;
        let value = Value::read(segments.at(location)?, location.offset(), key, verify)?;
        Ok(Some((key, value)))
    }
}

/// The rank from the beginning, if there are so many keys.
fn place(rank: u64, from_end: bool, len: u64) -> Option<u64> {
    if from_end { len.checked_sub(1)?.checked_sub(rank) } else { (rank < len).then_some(rank) }
}

impl Moment {
    /// Appends the keys at these ranks, which must ascend, to `keys`; fewer if a rank is too large.
    /// O(ranks * log n), and for a snapshot O(keys that have changed since) besides.
    pub fn keys_at(&self, ranks: &[u64], keys: &mut KeyVec) -> Result<()> {
        let mut entries = Vec::new();
        self.entries_at(ranks, &mut entries)?;
        keys.room(entries.len())?;
        for &(key, _) in &entries {
            keys.push(key);
        }
        Ok(())
    }

    /// Appends the entries at these ranks, which ascend, until one is too large. Returns the segments that the records are
    /// in.
    fn entries_at(&self, ranks: &[u64], entries: &mut Vec<(Key, Location)>) -> Result<Arc<Segments>> {
        *entries = with_room(ranks.len())?;
        // The keys up to `after` are done with, of which there are `before`.
        let (mut after, mut before) = (None, 0);
        loop {
            let done = entries.len();
            let left = &ranks[done..];
            let (found, end, segments) = self.shared.mending(|| {
                entries.truncate(done);
                let state = self.shared.read_state()?;
                let view = state.at(&self.version)?;
                let piece = view.piece(after)?;
                let wanted = left.iter().take(PIECE_RANKS).map(|rank| rank - before);
                Ok((view.nth_many(&piece, wanted, entries)?, piece.end(), view.segments()))
            })?;
            if found == left.len().min(PIECE_RANKS) {
                if found == left.len() {
                    return Ok(segments);
                }
                continue;
            }
            // The next one is not in this piece.
            let Some((in_piece, last)) = end else { return Ok(segments) };
            before += in_piece;
            after = Some(last);
        }
    }
}
