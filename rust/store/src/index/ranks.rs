//! Ranks in a version: those of the live index, corrected by the notes of the keys that came or went since, one piece of
//! the keys after the other. Knows nothing of values, nor of locks.

use std::ops::Bound;

use crate::error::Result;
use crate::format::location::Location;
use crate::index::history::Past;
use crate::index::versions::{MERGED, View};
use crate::keys::{Key, KeyVec};
use crate::room::{room, with_room};

/// The entries of a version from some key on, as far as so many notes reach.
pub(crate) struct Piece {
    /// How many keys the live index has before the piece.
    live_before: u64,
    /// The keys that have notes, ascending, and what each was.
    keys: KeyVec,
    past: Vec<Past>,
    /// Whether the live index has each.
    is: Vec<bool>,
    /// How many more keys the version has than the live index, in the piece before each of them.
    more: Vec<i64>,
    /// How many entries the version has in the piece, and the last key of it; `None` if all further entries are in it.
    end: Option<(u64, Key)>,
}

impl View<'_> {
    /// How many keys of the live index are below `key`.
    fn live_rank(&self, key: Key) -> Result<u64> {
        Ok(self.vouch(self.index().rank(key))? as u64)
    }

    /// The next piece, after the keys up to `after`. O(log n) if nothing has changed since; else O(`MERGED` * log n).
    pub(crate) fn piece(&self, after: Option<Key>) -> Result<Piece> {
        let live_before = match after {
            None => 0,
            Some(key) => self.live_rank(key)? + u64::from(self.vouch(self.index().contains(key))?),
        };
        let (mut keys, mut past) = (KeyVec::default(), Vec::new());
        if let Some(history) = self.history() {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            history.scan_into(start, Bound::Unbounded, false, MERGED, self.seq(), &mut keys, &mut past)?;
        }
        let (mut is, mut more) = (with_room(keys.len())?, with_room(keys.len())?);
        self.vouch(self.index().get_many(keys.as_keys(), |_, found| is.push(found.is_some())))?;
        let mut sum = 0;
        for (past, &is) in past.iter().zip(&is) {
            more.push(sum);
            sum += i64::from(was(*past, is)) - i64::from(is);
        }
        let end = match keys.last() {
            Some(last) if keys.len() == MERGED => {
                let live = self.live_rank(last)? + u64::from(is.last() == Some(&true)) - live_before;
                Some((live.saturating_add_signed(sum), last))
            }
            _ => None,
        };
        Ok(Piece { live_before, keys, past, is, more, end })
    }

    /// Appends the entries of a piece at these ranks, which ascend and count from its beginning, until one is not in it.
    /// Returns how many were appended. O(ranks * log n * log notes); batches without notes overlap their cache misses.
    pub(crate) fn nth_many(
        &self,
        piece: &Piece,
        ranks: impl Iterator<Item = u64>,
        entries: &mut Vec<(Key, Location)>,
    ) -> Result<usize> {
        let had = entries.len();
        if piece.keys.is_empty() {
            // The version has what the live index has.
            let mut live = with_room(ranks.size_hint().0)?;
            let place = |rank| usize::try_from(piece.live_before.checked_add(rank)?).ok();
            live.extend(ranks.map_while(place));
            room(entries, live.len())?;
            let mut push = |key, location| entries.push((key, Location(location)));
            self.vouch(self.index().nth_many(&live, &mut push))?;
            return Ok(entries.len() - had);
        }
        for rank in ranks {
            let Some(entry) = self.nth(piece, rank)? else { break };
            room(entries, 1)?;
            entries.push(entry);
        }
        Ok(entries.len() - had)
    }

    /// The entry of a piece at a rank.
    fn nth(&self, piece: &Piece, rank: u64) -> Result<Option<(Key, Location)>> {
        if piece.end.is_some_and(|(entries, _)| rank >= entries) {
            return Ok(None);
        }
        // The first of the noted keys that have more than `rank` entries of the version before them.
        let (mut low, mut high) = (0, piece.keys.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.rank_of_note(piece, middle)? <= rank {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(note) = low.checked_sub(1) else {
            return self.live_nth(piece.live_before.checked_add(rank));
        };
        let (key, past, is) = (piece.keys.get(note), piece.past[note], piece.is[note]);
        let rest = rank - self.rank_of_note(piece, note)?;
        if rest == 0 && was(past, is) {
            return match past {
                Past::At(location) => Ok(Some((key, location))),
                _ => Ok(self.vouch(self.index().get(key))?.map(|location| (key, Location(location)))),
            };
        }
        let before = self.live_rank(key)? + u64::from(is);
        self.live_nth(before.checked_add(rest - u64::from(was(past, is))))
    }

    /// How many entries the version has in a piece before a key that has a note.
    fn rank_of_note(&self, piece: &Piece, note: usize) -> Result<u64> {
        let live = self.live_rank(piece.keys.get(note))? - piece.live_before;
        Ok(live.saturating_add_signed(piece.more[note]))
    }

    /// The entry of the live index at a rank, if there are such numbers and keys.
    fn live_nth(&self, rank: Option<u64>) -> Result<Option<(Key, Location)>> {
        let Some(rank) = rank.and_then(|rank| usize::try_from(rank).ok()) else { return Ok(None) };
        Ok(self.vouch(self.index().nth(rank))?.map(|(key, location)| (key, Location(location))))
    }
}

impl Piece {
    /// How many entries are in it, and the last key that belongs to it; `None` if no piece follows.
    pub(crate) fn end(&self) -> Option<(u64, Key)> {
        self.end
    }
}

/// Whether the version has a key, given whether the live index has it.
fn was(past: Past, is: bool) -> bool {
    match past {
        Past::Unchanged => is,
        Past::Absent => false,
        Past::At(_) => true,
    }
}
