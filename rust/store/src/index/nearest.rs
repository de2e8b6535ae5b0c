//! The neighbours of many keys in a version: those of the live index, wherever no key nearer to the one that was asked
//! for has changed since, and else those that the notes of the changes lead to. Knows nothing of values, nor of locks.

use std::ops::Bound;

use crate::error::Result;
use crate::format::location::Location;
use crate::index::history::{History, Past};
use crate::index::tree::Neighbour;
use crate::index::versions::{Rest, ScanRange, View};
use crate::keys::{Key, KeyVec, Keys};
use crate::room::{filled, room};

/// After this many keys in a row that are not in the version, a scan looks for the next one, in larger steps.
const STEPS: usize = 8;

impl View<'_> {
    /// Appends a neighbour of each key to `near`, and the location of its record to `locations`: 0 and `None` for a key
    /// that has no such neighbour. O(keys * log n), and for each key of which a neighbour has changed since
    /// O(keys between the two that have changed).
    pub(crate) fn nearest(
        &self,
        keys: Keys<'_>,
        which: Neighbour,
        near: &mut KeyVec,
        locations: &mut Vec<Option<Location>>,
    ) -> Result<()> {
        near.room(keys.len())?;
        room(locations, keys.len())?;
        // The caller may have more of the one than of the other.
        let (near_from, locations_from) = (near.len(), locations.len());
        self.vouch(self.index().nearest_many(keys, which, |_, found| {
            near.push(found.map_or(0, |(key, _)| key));
            locations.push(found.map(|(_, location)| Location(location)));
        }))?;
        let Some(history) = self.history() else { return Ok(()) };
        let mut noted = filled(None, keys.len())?;
        history.nearest_many(keys, which, |i, key| noted[i] = key)?;
        // The last answer that took a search: it holds for all keys between it and the key that was asked for.
        let mut last: Option<(Key, Option<(Key, Location)>)> = None;
        for (i, (key, noted)) in keys.iter().zip(noted).enumerate() {
            let (place, location) = (near_from + i, &mut locations[locations_from + i]);
            match noted {
                Some(noted) if location.is_none() || !is_nearer(which, near.get(place), noted) => {}
                // Neither the neighbour nor any key before it has changed.
                _ => continue,
            }
            let answer = match last {
                Some((asked, answer)) if covers(which, asked, answer, key) => answer,
                _ => self.nearest_of(history, key, which)?,
            };
            last = Some((key, answer));
            near.set(place, answer.map_or(0, |(key, _)| key));
            *location = answer.map(|(_, location)| location);
        }
        Ok(())
    }

    /// A neighbour of one key, of which a note may be the nearest.
    fn nearest_of(&self, history: &History, key: Key, which: Neighbour) -> Result<Option<(Key, Location)>> {
        let mut from = key;
        for _ in 0..STEPS {
            let live = self.vouch(self.index().nearest(from, which))?;
            let live = live.map(|(key, location)| (key, Location(location)));
            let Some((noted, past)) = history.nearest(from, which, self.seq())? else { return Ok(live) };
            match (live, past) {
                (Some((key, _)), _) if is_nearer(which, key, noted) => return Ok(live),
                (Some((key, _)), Past::Unchanged) if key == noted => return Ok(live),
                (_, Past::At(location)) => return Ok(Some((noted, location))),
                (_, Past::Unchanged | Past::Absent) => {}
            }
            let next = match which {
                Neighbour::Floor => noted.checked_sub(1),
                Neighbour::Ceiling => noted.checked_add(1),
            };
            let Some(next) = next else { return Ok(None) };
            from = next;
        }
        let reverse = which == Neighbour::Floor;
        let (start, stop) = match which {
            Neighbour::Floor => (Bound::Unbounded, Bound::Included(from)),
            Neighbour::Ceiling => (Bound::Included(from), Bound::Unbounded),
        };
        let mut rest = Rest::of(ScanRange { start, stop, reverse, limit: Some(1) });
        let (mut keys, mut locations) = (KeyVec::default(), Vec::new());
        while keys.is_empty() && !rest.is_empty() {
            rest.take(self, 1, &mut keys, &mut locations)?;
        }
        Ok(keys.first().zip(locations.first().map(|&location| Location(location))))
    }
}

/// Whether a neighbour `a` is nearer to the key than `b`.
fn is_nearer(which: Neighbour, a: Key, b: Key) -> bool {
    match which {
        Neighbour::Floor => a > b,
        Neighbour::Ceiling => a < b,
    }
}

/// Whether the answer for the key `asked` is that for `key`, too.
fn covers(which: Neighbour, asked: Key, answer: Option<(Key, Location)>, key: Key) -> bool {
    let answer = answer.map(|(key, _)| key);
    match which {
        Neighbour::Floor => key <= asked && answer.is_none_or(|answer| answer <= key),
        Neighbour::Ceiling => key >= asked && answer.is_none_or(|answer| answer >= key),
    }
}
