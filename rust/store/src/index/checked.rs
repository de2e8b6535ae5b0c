//! The index of a store: keys to locations, opened from an image or built by replay. Never gives an answer
//! that came from a damaged image: the call that meets damage returns [`Damaged`] instead, and so does every
//! call after it. A change that panics counts as damage too: the image may be at fault, or memory ran out,
//! and the log has everything. What replay found behind an image may be kept apart from it (`overlay.rs`);
//! until the two are joined, only calls that look up keys are allowed. Knows nothing of locks:
//! `engine/mending.rs` repairs damage, and `engine/join.rs` joins the two parts. Costs are those of `Alex`.

use std::ops::Bound;

use crate::error::Error;
use crate::format::location::Location;
use crate::index::overlay::{Tail, there};
use crate::index::tree::{Neighbour, Tree};
use crate::keys::{Key, KeyVec, Keys, Width};
use crate::threads::panics::catching;

/// The image is damaged where a call needed it: rebuild the index, and repeat the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl From<Damaged> for Error {
    fn from(_: Damaged) -> Self {
        Self::ImageDamaged
    }
}

/// An index that reports damage instead of a wrong answer.
#[derive(Debug)]
pub(crate) struct Index {
    tree: Tree,
    /// The image from which it was opened.
    image: Option<u32>,
    /// What replay found behind the image; newer than everything in `tree`.
    tail: Option<Box<Tail>>,
    /// The error of a change that panicked. No answer counts any more.
    broken: Option<Error>,
}

impl Index {
    /// An index of no keys. Fails if there is no memory for its first node.
    pub(crate) fn empty(width: Width) -> Result<Self, Error> {
        Ok(Self::of(catching("making an index", || Tree::empty(width))?))
    }

    fn of(tree: Tree) -> Self {
        Self { tree, image: None, tail: None, broken: None }
    }

    pub(crate) fn from_image(tree: Tree, image: u32) -> Self {
        Self { tree, image: Some(image), tail: None, broken: None }
    }

    /// Keeps what comes from here on apart, so that it changes nothing in the image; for replay.
    pub(crate) fn keep_apart(&mut self) {
        self.tail = Some(Box::new(Tail::new(self.width())));
    }

    /// Whether nothing is kept apart.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.tail.is_none()
    }

    /// Moves the next `limit` keys that are kept apart into the tree. Adds the records that this replaces to
    /// `dead`. Lookups give the same answers before and after. O(limit * log n).
    pub(crate) fn join(&mut self, limit: usize, dead: &mut Vec<Location>) {
        let Some(mut tail) = self.tail.take() else { return };
        if self.change(|tree| tail.join(tree, limit, dead)) == Ok(true) {
            // More keys are left. After damage nothing counts, since the log has it all.
            self.tail = Some(tail);
        }
    }

    /// Changes the tree.
    #[inline]
    fn change<T>(&mut self, change: impl FnOnce(&mut Tree) -> T) -> Result<T, Damaged> {
        match catching("a change of the index", || change(&mut self.tree)) {
            Ok(changed) => self.vouch(changed),
            Err(error) => {
                // The tree may be half changed, so it is never read again.
                self.broken = Some(error);
                Err(Damaged)
            }
        }
    }

    pub(crate) fn image(&self) -> Option<u32> {
        self.image
    }

    /// Whether damage was found.
    #[inline]
    pub(crate) fn is_damaged(&self) -> bool {
        self.broken.is_some() || self.tree.damage().is_some()
    }

    /// The error of a change that failed.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.broken.clone()
    }

    /// The error of a change that ran out of memory, in which case neither an image nor the log is at fault.
    pub(crate) fn lacks_memory(&self) -> Option<Error> {
        self.broken.clone().filter(|error| matches!(error, Error::IndexOutOfMemory { .. }))
    }

    #[inline]
    fn vouch<T>(&self, found: T) -> Result<T, Damaged> {
        if self.is_damaged() { Err(Damaged) } else { Ok(found) }
    }

    /// The bare tree, for a caller that checks for damage afterwards: the writer of an image.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How many bytes its keys have.
    pub(crate) fn width(&self) -> Width {
        self.tree.width()
    }

    /// Builds the index from keys if they ascend. Returns whether they did.
    pub(crate) fn build(&mut self, keys: Keys<'_>, locations: &[u64]) -> Result<bool, Damaged> {
        match self.change(|tree| tree.built(keys, locations))? {
            Some(tree) => {
                *self = Self::of(tree);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    pub(crate) fn len(&self) -> Result<usize, Damaged> {
        debug_assert!(self.is_whole(), "what the parts have in common is not known");
        self.vouch(self.tree.len())
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Damaged> {
        self.vouch(self.is_whole() && self.tree.is_empty())
    }

    pub(crate) fn nbytes(&self) -> usize {
        self.tree.nbytes()
    }

    pub(crate) fn height(&self) -> usize {
        self.tree.height()
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Result<Option<u64>, Damaged> {
        match self.tail.as_ref().and_then(|tail| tail.change(key)) {
            Some(newer) => Ok(there(newer)),
            None => self.vouch(self.tree.get(key)),
        }
    }

    /// Hints that this key is about to be changed.
    #[inline]
    pub(crate) fn prefetch(&self, key: Key) {
        self.tree.prefetch(key);
    }

    #[inline]
    pub(crate) fn contains(&self, key: Key) -> Result<bool, Damaged> {
        match self.tail.as_ref().and_then(|tail| tail.change(key)) {
            Some(newer) => Ok(there(newer).is_some()),
            None => self.vouch(self.tree.contains(key)),
        }
    }

    pub(crate) fn get_many(
        &self,
        keys: Keys<'_>,
        mut visit: impl FnMut(usize, Option<u64>),
    ) -> Result<(), Damaged> {
        match &self.tail {
            None => self.tree.get_many(keys, visit),
            Some(tail) => self.tree.get_many(keys, |i, found| {
                visit(i, tail.change(keys.get(i)).map_or(found, there));
            }),
        }
        self.vouch(())
    }

    pub(crate) fn first(&self) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.first())
    }

    pub(crate) fn last(&self) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.last())
    }

    pub(crate) fn floor(&self, key: Key) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.floor(key))
    }

    pub(crate) fn ceiling(&self, key: Key) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.ceiling(key))
    }

    /// One neighbour of a key.
    pub(crate) fn nearest(&self, key: Key, which: Neighbour) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.nearest(key, which))
    }

    /// The same neighbour of each key, in their order.
    pub(crate) fn nearest_many(
        &self,
        keys: Keys<'_>,
        which: Neighbour,
        visit: impl FnMut(usize, Option<(Key, u64)>),
    ) -> Result<(), Damaged> {
        self.tree.nearest_many(keys, which, visit);
        self.vouch(())
    }

    pub(crate) fn lower(&self, key: Key) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.lower(key))
    }

    pub(crate) fn higher(&self, key: Key) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.higher(key))
    }

    pub(crate) fn count(&self, start: Bound<Key>, stop: Bound<Key>) -> Result<usize, Damaged> {
        self.vouch(self.tree.count(start, stop))
    }

    /// See `Alex::rank`.
    pub(crate) fn rank(&self, key: Key) -> Result<usize, Damaged> {
        self.vouch(self.tree.rank(key))
    }

    /// See `Alex::nth`.
    pub(crate) fn nth(&self, rank: usize) -> Result<Option<(Key, u64)>, Damaged> {
        self.vouch(self.tree.nth(rank))
    }

    /// See `Alex::nth_many`. After damage what was visited may be wrong.
    pub(crate) fn nth_many(&self, ranks: &[usize], visit: impl FnMut(Key, u64)) -> Result<(), Damaged> {
        self.tree.nth_many(ranks, visit);
        self.vouch(())
    }

    pub(crate) fn boundaries(&self, parts: usize) -> Result<KeyVec, Damaged> {
        self.vouch(self.tree.boundaries(parts))
    }

    /// See `Alex::scan_into`. Appends nothing after damage.
    #[expect(clippy::too_many_arguments, reason = "as Alex::scan_into")]
    pub(crate) fn scan_into(
        &self,
        start: Bound<Key>,
        stop: Bound<Key>,
        reverse: bool,
        limit: usize,
        keys: &mut KeyVec,
        locations: &mut Vec<u64>,
    ) -> Result<(), Damaged> {
        let had = keys.len();
        self.tree.scan_into(start, stop, reverse, limit, keys, locations);
        if self.is_damaged() {
            keys.truncate(had);
            locations.truncate(had);
        }
        self.vouch(())
    }

    #[inline]
    pub(crate) fn insert(&mut self, key: Key, location: u64) -> Result<Option<u64>, Damaged> {
        self.change(|tree| tree.insert(key, location))
    }

    pub(crate) fn insert_many(
        &mut self,
        keys: Keys<'_>,
        locations: &[u64],
        replaced: impl FnMut(usize, u64),
    ) -> Result<(), Damaged> {
        if let Some(tail) = &mut self.tail {
            tail.insert_many(keys, locations, replaced);
            return self.vouch(());
        }
        self.change(|tree| tree.insert_many(keys, locations, replaced))
    }

    pub(crate) fn remove(&mut self, key: Key) -> Result<Option<u64>, Damaged> {
        if let Some(tail) = &mut self.tail {
            let old = tail.remove(key);
            return self.vouch(old);
        }
        self.change(|tree| tree.remove(key))
    }

    pub(crate) fn remove_many(
        &mut self,
        keys: Keys<'_>,
        removed: impl FnMut(usize, u64),
    ) -> Result<(), Damaged> {
        self.change(|tree| tree.remove_many(keys, removed))
    }

    pub(crate) fn replace_if(&mut self, key: Key, expected: u64, new: u64) -> Result<bool, Damaged> {
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.change(key).is_some()) {
            let replaced = tail.replace_if(key, expected, new);
            return self.vouch(replaced);
        }
        self.change(|tree| tree.replace_if(key, expected, new))
    }

    /// Removes everything, including the image, and returns it. Fails after damage.
    pub(crate) fn take(&mut self) -> Result<Self, Damaged> {
        self.vouch(())?;
        let width = self.width();
        let empty = Self::of(self.change(|_| Tree::empty(width))?);
        Ok(std::mem::replace(self, empty))
    }
}

#[cfg(test)]
mod tests {
    use alex_index::image::{Identity, ImageMemory, ImageWriter};
    use alex_index::{Alex, Options};

    use super::{Damaged, Index};
    use crate::index::tree::Tree;
    use crate::keys::Keys;

    fn from_image() -> Index {
        let built: Alex = Alex::from_sorted(&[1, 2, 3], &[10, 20, 30]).expect("ascending");
        let mut writer = ImageWriter::begin(&built, Vec::new(), Identity::default());
        writer.push(&[1, 2, 3], &[10, 20, 30]).expect("memory");
        let bytes = writer.finish(&[]).expect("memory").1;
        let read = |memory: &mut [u8]| {
            memory.copy_from_slice(&bytes);
            Ok(())
        };
        let memory = ImageMemory::read(bytes.len() as u64, read).expect("memory");
        let opened = Alex::open_image(memory, Options::default()).expect("an image");
        Index::from_image(Tree::Narrow(opened.index), 1)
    }

    fn from_log() -> Index {
        Index::of(Tree::Narrow(Alex::from_sorted(&[1, 2, 3], &[10, 20, 30]).expect("ascending")))
    }

    #[test]
    fn a_change_that_panics_is_damage_and_no_answer_follows() {
        for index in [from_image(), from_log()] {
            breaks(index);
        }
    }

    #[test]
    fn a_change_that_finds_no_memory_says_so_and_blames_no_image() {
        let mut index = from_image();
        let lacking = index.insert_many(Keys::Narrow(&[2]), &[22], |_, _| {
            panic!("there is no memory for 8 more bytes of the index")
        });
        assert_eq!(lacking, Err(Damaged));
        let lack = index.lacks_memory();
        assert!(matches!(lack, Some(crate::error::Error::IndexOutOfMemory { bytes: 8 })), "{lack:?}");
        let mut index = from_image();
        assert!(
            index.insert_many(Keys::Narrow(&[2]), &[22], |_, _| panic!("as a broken tree would")).is_err()
        );
        assert!(index.is_damaged() && index.lacks_memory().is_none());
    }

    fn breaks(mut index: Index) {
        assert_eq!(index.get(2), Ok(Some(20)));
        assert_eq!(index.insert(2, 21), Ok(Some(20)));
        let broken =
            index.insert_many(Keys::Narrow(&[2, 3]), &[22, 32], |_, _| panic!("as a broken tree would"));
        assert_eq!(broken, Err(Damaged));
        assert_eq!(
            (index.get(2), index.first(), index.insert(9, 9)),
            (Err(Damaged), Err(Damaged), Err(Damaged))
        );
        assert!(index.is_damaged());
    }
}
