//! What replay found behind an image, kept apart from it. Inserting a hundred thousand random keys into an
//! image of ten million copies and checks all of the image, which takes about 100 ms. Opening does not wait
//! for that as long as keys are only looked up. Knows nothing of records or locks.
//! docs/dev/019-the-tail-is-joined-late.md has the measurements. Costs are those of a small `Alex`.

use std::ops::Bound;

use crate::format::location::Location;
use crate::index::tree::Tree;
use crate::keys::{Key, KeyVec, Keys, Width};

/// Stands for the location of a deleted key: no record begins inside the header of a segment.
pub(crate) const GONE: u64 = 0;

/// The newest change of each key.
#[derive(Debug)]
pub(crate) struct Tail {
    changes: Tree,
    /// Keys up to here are already in the index, too.
    joined: Option<Key>,
}

impl Tail {
    /// Nothing yet.
    pub(crate) fn new(width: Width) -> Self {
        Self { changes: Tree::empty(width), joined: None }
    }

    /// The newest change of a key, to be passed to [`there`]; `None` if the key did not change.
    #[inline]
    pub(crate) fn change(&self, key: Key) -> Option<u64> {
        self.changes.get(key)
    }

    /// Points keys at their newest records, in order. Calls `replaced` as `Alex::insert_many` does, as far as
    /// replaced records are known here.
    pub(crate) fn insert_many(
        &mut self,
        keys: Keys<'_>,
        locations: &[u64],
        mut replaced: impl FnMut(usize, u64),
    ) {
        self.changes.insert_many(keys, locations, |i, old| {
            if let Some(old) = there(old) {
                replaced(i, old);
            }
        });
    }

    /// Removes a key. Returns its location, if it is known here.
    pub(crate) fn remove(&mut self, key: Key) -> Option<u64> {
        self.changes.insert(key, GONE).and_then(there)
    }

    pub(crate) fn replace_if(&mut self, key: Key, expected: u64, new: u64) -> bool {
        self.changes.replace_if(key, expected, new)
    }

    /// Moves the next `limit` keys into the index. Adds the records that this replaces to `dead`. Returns
    /// false once no keys are left.
    pub(crate) fn join(&mut self, index: &mut Tree, limit: usize, dead: &mut Vec<Location>) -> bool {
        let (mut changed, mut at) = (KeyVec::default(), Vec::new());
        let after = self.joined.map_or(Bound::Unbounded, Bound::Excluded);
        self.changes.scan_into(after, Bound::Unbounded, false, limit, &mut changed, &mut at);
        self.joined = changed.last().or(self.joined);
        let more = changed.len() == limit;
        let (mut put, mut locations, mut gone) = (KeyVec::default(), Vec::new(), KeyVec::default());
        for (key, &location) in changed.iter().zip(&at) {
            if let Some(location) = there(location) {
                put.push(key);
                locations.push(location);
            } else {
                gone.push(key);
            }
        }
        index.insert_many(put.as_keys(), &locations, |_, old| dead.push(Location(old)));
        index.remove_many(gone.as_keys(), |_, old| dead.push(Location(old)));
        more
    }
}

/// The location that a change gave a key; `None` if the change deleted it.
pub(crate) fn there(location: u64) -> Option<u64> {
    (location != GONE).then_some(location)
}
