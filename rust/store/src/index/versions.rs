//! Versions: the index as it was after some commit, for as long as somebody reads it. A version is the sequence number
//! of the commit and a pin. It costs nothing until something changes; then each change of a key first notes where the
//! key's record was (`history.rs`), once for all versions that are alike for that key. When the index is emptied at once,
//! it is kept whole instead. Segments that are freed stay readable until no version can need them. Knows nothing of
//! values. docs/dev/039-versions.md has the argument and the measurements.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use crate::disk::fork_generation;
use crate::error::{Error, Result};
use crate::format::attachment::image_name;
use crate::format::location::Location;
use crate::index::checked::{Damaged, Index};
use crate::index::history::{History, Past};
use crate::index::overlay::GONE;
use crate::keys::{Key, KeyVec, Keys, Width};
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::room::room;
use crate::threads::sync::{AtomicBool, AtomicU64, Mutex, RwLock, RwLockReadGuard};

/// Notes that each further note makes a writer look at, to remove them: two, so that the rest becomes less.
const SWEPT_EACH: usize = 2;
/// Entries of the index, and notes, that a scan merges under one hold of the locks.
pub(crate) const MERGED: usize = 1024;

/// The time between two emptyings of the index, and the versions of it. `kept` is locked after the state, and before
/// `pins` and what it holds itself.
pub(crate) struct Era {
    width: Width,
    /// How many versions there are of each sequence number. Added to under the state's lock, for reading at least.
    pins: Mutex<BTreeMap<u64, u64>>,
    /// How many versions there are.
    pinned: AtomicU64,
    /// Changed by those who change the state, and where nothing is needed any more.
    kept: RwLock<Kept>,
    /// Whether anything is kept: dropping it can take milliseconds.
    keeps: AtomicBool,
    /// What the index was when this era ended.
    sealed: OnceLock<Sealed>,
}

/// What is kept for versions.
#[derive(Default)]
struct Kept {
    history: Option<History>,
    /// Versions below this sequence number cannot be read, for want of memory for a note.
    lost: Option<(u64, Error)>,
    /// Segments that were freed, and the last commit at that time.
    freed: Vec<(u64, Arc<Segment>)>,
    /// The segments in use at some time, and the same with the freed ones.
    with_freed: Mutex<Option<(Arc<Segments>, Arc<Segments>)>>,
}

struct Sealed {
    index: Index,
    segments: Arc<Segments>,
}

impl Era {
    /// An era without versions, of an index of such keys.
    pub(crate) fn new(width: Width) -> Self {
        Self {
            width,
            pins: Mutex::default(),
            pinned: AtomicU64::new(0),
            kept: RwLock::default(),
            keeps: AtomicBool::new(false),
            sealed: OnceLock::new(),
        }
    }

    /// A version of this era: the index as it is. The caller holds the state's lock. O(log versions).
    pub(crate) fn pin(self: &Arc<Self>, seq: u64) -> Version {
        *self.pins.lock().entry(seq).or_default() += 1;
        self.pinned.fetch_add(1, Ordering::Relaxed);
        Version { era: Arc::clone(self), seq, fork_generation: fork_generation() }
    }

    /// Whether there is any version. Whoever holds the state's lock for writing is told of each.
    #[inline]
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed) > 0
    }

    fn unpin(&self, seq: u64) {
        let oldest_went = {
            let mut pins = self.pins.lock();
            let first = pins.first_key_value().map(|(&seq, _)| seq);
            match pins.get_mut(&seq) {
                Some(1) => {
                    pins.remove(&seq);
                }
                Some(count) => *count -= 1,
                None => {}
            }
            // Under the lock, so that it is zero only when there is no pin.
            self.pinned.fetch_sub(1, Ordering::Relaxed);
            first == Some(seq) && !pins.contains_key(&seq)
        };
        if oldest_went {
            self.let_go();
        }
    }

    /// The oldest and the newest version.
    fn bounds(&self) -> Option<(u64, u64)> {
        let pins = self.pins.lock();
        Some((*pins.first_key_value()?.0, *pins.last_key_value()?.0))
    }

    /// Lets go of what no version needs any more, unless somebody is at it; they, or the next who calls, will do so then.
    pub(crate) fn let_go(&self) {
        let Some(mut kept) = self.kept.try_write() else { return };
        // What there is was kept for versions older than any that is made from now on.
        let unneeded = match self.bounds() {
            None => {
                self.keeps.store(false, Ordering::Relaxed);
                std::mem::take(&mut *kept)
            }
            Some((oldest, _)) => {
                let (needed, freed) =
                    std::mem::take(&mut kept.freed).into_iter().partition(|&(seq, _)| seq >= oldest);
                kept.freed = needed;
                Kept { freed, with_freed: Mutex::new(kept.with_freed.lock().take()), ..Kept::default() }
            }
        };
        drop(kept);
        drop(unneeded);
    }

    /// Keeps what a change is about to make unfindable. Whoever calls holds the state's lock for writing, and the change
    /// has not been published.
    #[cold]
    fn keep(&self, seq: u64, notes: usize, note: impl FnOnce(&mut History, u64) -> Result<()>) {
        {
            let mut kept = self.kept.write();
            if let Some((oldest, newest)) = self.bounds() {
                self.keeps.store(true, Ordering::Relaxed);
                let outcome = Self::note(&mut kept.history, self.width, |history| {
                    note(history, newest)?;
                    history.sweep(oldest, SWEPT_EACH * notes)
                });
                if let Err(error) = outcome {
                    // The readers fail, not the writer.
                    kept.history = None;
                    kept.lost = Some((seq, error));
                }
            }
        }
        if !self.is_pinned() {
            // The last version went meanwhile, and may have found the lock taken.
            self.let_go();
        }
    }

    fn note(
        history: &mut Option<History>,
        width: Width,
        note: impl FnOnce(&mut History) -> Result<()>,
    ) -> Result<()> {
        match history {
            Some(history) => note(history),
            None => note(history.insert(History::new(width)?)),
        }
    }

    /// Notes where the record of a key was before the change `seq`.
    pub(crate) fn changed(&self, key: Key, was: Option<u64>, seq: u64) {
        self.keep(seq, 1, |history, pinned| history.add(key, was, seq, pinned));
    }

    /// Like [`Era::changed`] for many keys, of which the first of equal ones counts; a location of 0 means that the key
    /// was absent.
    pub(crate) fn changed_many(&self, keys: Keys<'_>, was: &[u64], seq: u64) {
        self.keep(seq, keys.len(), |history, pinned| history.add_many(keys, was, seq, pinned));
    }

    /// Keeps a segment readable that was freed after the commit `seq`. The caller holds the state's lock for writing.
    pub(crate) fn freed(&self, segment: Arc<Segment>, seq: u64) {
        let mut kept = self.kept.write();
        if self.is_pinned() {
            self.keeps.store(true, Ordering::Relaxed);
            kept.freed.push((seq, segment));
            *kept.with_freed.lock() = None;
        }
    }

    /// Gives up all versions: what the commit `seq` changed is not known.
    pub(crate) fn lose(&self, seq: u64, error: Error) {
        let mut kept = self.kept.write();
        kept.history = None;
        kept.lost = Some((seq, error));
    }

    /// Ends the era: the index goes on as another one.
    pub(crate) fn seal(&self, index: Index, segments: &Arc<Segments>) {
        let segments = self.kept.read().segments(segments);
        self.keeps.store(true, Ordering::Relaxed);
        let sealed = self.sealed.set(Sealed { index, segments });
        debug_assert!(sealed.is_ok(), "an era ends once");
    }

    /// Whether anything is kept, once every version has gone.
    #[cfg(all(test, loom))]
    pub(crate) fn keeps_something(&self) -> bool {
        self.keeps.load(Ordering::Relaxed)
    }

    /// How many versions there are, and the bytes of memory that their history takes.
    pub(crate) fn size(&self) -> (u64, u64) {
        // What whoever unpinned the last version left, because this was looking.
        if !self.is_pinned() {
            self.let_go();
        }
        let bytes = self.kept.read().history.as_ref().map_or(0, History::nbytes);
        (self.pinned.load(Ordering::Relaxed), bytes as u64)
    }
}

impl Kept {
    /// The segments in use, and those that were freed. O(1) unless either has changed.
    fn segments(&self, in_use: &Arc<Segments>) -> Arc<Segments> {
        if self.freed.is_empty() {
            return Arc::clone(in_use);
        }
        let mut known = self.with_freed.lock();
        match &*known {
            // The table in use is copied when it changes, as long as it is held here.
            Some((before, all)) if Arc::ptr_eq(before, in_use) => Arc::clone(all),
            _ => {
                let mut all = Segments::clone(in_use);
                for (_, segment) in &self.freed {
                    all.insert(Arc::clone(segment));
                }
                let all = Arc::new(all);
                *known = Some((Arc::clone(in_use), Arc::clone(&all)));
                all
            }
        }
    }
}

/// The index as it was after a commit, while this lives. O(log versions) to drop, and O(what was kept) for the last.
pub(crate) struct Version {
    era: Arc<Era>,
    seq: u64,
    fork_generation: u64,
}

impl Version {
    /// The sequence number of the last commit that it has seen.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether dropping it may take long: if it is the last, memory and maps are given back.
    pub(crate) fn keeps_something(&self) -> bool {
        self.era.keeps.load(Ordering::Relaxed)
    }

    /// The version for reading, given what the state holds now. The caller holds the state's lock.
    pub(crate) fn view<'v>(
        &'v self,
        index: &'v Index,
        segments: &'v Arc<Segments>,
        era: &Arc<Era>,
        seq: u64,
    ) -> Result<View<'v>> {
        let kept = self.era.kept.read();
        if let Some((lost, error)) = &kept.lost
            && self.seq < *lost
        {
            return Err(error.clone());
        }
        if let Some(sealed) = self.era.sealed.get() {
            return Ok(View {
                index: &sealed.index,
                segments: &sealed.segments,
                kept,
                seq: self.seq,
                changed: true,
                sealed: true,
            });
        }
        debug_assert!(Arc::ptr_eq(&self.era, era), "an era that ended is sealed");
        Ok(View { index, segments, kept, seq: self.seq, changed: self.seq != seq, sealed: false })
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        // In a forked child, whoever held the lock when the process was forked is not here to release it.
        if self.fork_generation == fork_generation() {
            self.era.unpin(self.seq);
        }
    }
}

/// A version while the state's lock is held.
pub(crate) struct View<'v> {
    index: &'v Index,
    segments: &'v Arc<Segments>,
    kept: RwLockReadGuard<'v, Kept>,
    seq: u64,
    /// Whether anything was committed since.
    changed: bool,
    sealed: bool,
}

impl View<'_> {
    /// Whether nothing was committed since.
    pub(crate) fn is_current(&self) -> bool {
        !self.changed
    }

    /// The segments in which anything of this version is, or was when it was looked up.
    pub(crate) fn segments(&self) -> Arc<Segments> {
        if self.sealed { Arc::clone(self.segments) } else { self.kept.segments(self.segments) }
    }

    /// The live index, or the one that is kept whole.
    pub(crate) fn index(&self) -> &Index {
        self.index
    }

    /// The last commit that the version has seen.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// What has changed since; `None` if nothing has.
    pub(crate) fn history(&self) -> Option<&History> {
        if self.changed { self.kept.history.as_ref() } else { None }
    }

    /// What the index answered, or the error that says how its damage is mended.
    pub(crate) fn vouch<T>(&self, found: Result<T, Damaged>) -> Result<T> {
        found.map_err(|damaged| match self.index.image().filter(|_| self.sealed) {
            // Nothing can be rebuilt as it was before the store was emptied.
            Some(image) => Error::Corruption {
                path: PathBuf::from(image_name(image)),
                offset: 0,
                expected: "the image of the index from which this snapshot reads; nothing is lost, take a new snapshot"
                    .to_owned(),
                found: "a damaged block".to_owned(),
            },
            None => damaged.into(),
        })
    }

    /// The location of a key's record.
    #[inline]
    pub(crate) fn find(&self, key: Key) -> Result<Option<Location>> {
        match self.history().map_or(Ok(Past::Unchanged), |history| history.find(key, self.seq))? {
            Past::Unchanged => Ok(self.vouch(self.index.get(key))?.map(Location)),
            Past::Absent => Ok(None),
            Past::At(location) => Ok(Some(location)),
        }
    }

    /// Appends the locations of the records of `keys`.
    pub(crate) fn locate(&self, keys: Keys<'_>, locations: &mut Vec<Option<Location>>) -> Result<()> {
        let had = locations.len();
        room(locations, keys.len())?;
        self.vouch(self.index.get_many(keys, |_, found| locations.push(found.map(Location))))?;
        match self.history() {
            Some(history) => history.correct(keys, self.seq, &mut locations[had..]),
            None => Ok(()),
        }
    }

    /// How many keys the index has in a range, whatever this version has there.
    pub(crate) fn likely_count(&self, start: Bound<Key>, stop: Bound<Key>) -> Result<u64> {
        Ok(self.vouch(self.index.count(start, stop))? as u64)
    }

    /// How many keys of the range there are in a first part of it, and the rest of it, if there is one.
    #[expect(clippy::type_complexity, reason = "a range is two bounds")]
    pub(crate) fn count(
        &self,
        start: Bound<Key>,
        stop: Bound<Key>,
    ) -> Result<(u64, Option<(Bound<Key>, Bound<Key>)>)> {
        let Some(history) = self.history() else {
            return Ok((self.vouch(self.index.count(start, stop))? as u64, None));
        };
        let (mut keys, mut past) = (KeyVec::default(), Vec::new());
        history.scan_into(start, stop, false, MERGED, self.seq, &mut keys, &mut past)?;
        let last = keys.last().filter(|_| keys.len() == MERGED);
        let mut count = self.vouch(self.index.count(start, last.map_or(stop, Bound::Included)))? as u64;
        let mut is = Vec::new();
        room(&mut is, keys.len())?;
        self.vouch(self.index.get_many(keys.as_keys(), |_, found| is.push(found.is_some())))?;
        for (past, is) in past.iter().zip(is) {
            if *past != Past::Unchanged {
                count = count + u64::from(*past != Past::Absent) - u64::from(is);
            }
        }
        Ok((count, last.map(|last| (Bound::Excluded(last), stop))))
    }
}

/// Which items a scan yields, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRange {
    /// The lowest key.
    pub start: Bound<Key>,
    /// The highest key; `reverse` does not swap the two.
    pub stop: Bound<Key>,
    /// Highest key first.
    pub reverse: bool,
    /// At most this many items, counted from where the scan begins.
    pub limit: Option<u64>,
}

/// What a scan has not yielded yet.
pub(crate) struct Rest {
    range: ScanRange,
    left: u64,
    ended: bool,
    /// Memory for the next merge.
    merge: Merge,
}

#[derive(Default)]
struct Merge {
    keys: KeyVec,
    locations: Vec<u64>,
    changed: KeyVec,
    past: Vec<Past>,
}

impl Rest {
    /// A scan that has yielded nothing yet.
    pub(crate) fn of(range: ScanRange) -> Self {
        let left = range.limit.unwrap_or(u64::MAX);
        Self { range, left, ended: left == 0, merge: Merge::default() }
    }

    /// The same rest, to be yielded once more.
    pub(crate) fn without_memory(&self) -> Self {
        Self { range: self.range, left: self.left, ended: self.ended, merge: Merge::default() }
    }

    /// The range that is left, and how many items the limit still allows; `None` at the end.
    pub(crate) fn left(&self) -> Option<(Bound<Key>, Bound<Key>, u64)> {
        (!self.ended).then_some((self.range.start, self.range.stop, self.left))
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.ended
    }

    /// Yields the last `items` again, those behind the key `last`.
    pub(crate) fn put_back(&mut self, last: Key, items: u64) {
        let after = Bound::Excluded(last);
        if self.range.reverse {
            self.range.stop = after;
        } else {
            self.range.start = after;
        }
        self.left += items;
        self.ended = false;
    }

    /// Appends up to `max` items, at least one unless the scan has ended or those that it came to are no longer there.
    /// O(log n + items).
    pub(crate) fn take(
        &mut self,
        view: &View<'_>,
        max: usize,
        keys: &mut KeyVec,
        locations: &mut Vec<u64>,
    ) -> Result<()> {
        let max = usize::try_from(self.left).unwrap_or(usize::MAX).min(max);
        if self.ended || max == 0 {
            return Ok(());
        }
        let had = keys.len();
        let last = match view.history() {
            None => {
                let ScanRange { start, stop, reverse, .. } = self.range;
                view.vouch(view.index.scan_into(start, stop, reverse, max, keys, locations))?;
                keys.last().filter(|_| keys.len() - had == max)
            }
            Some(history) => self.merge.take(view, history, (self.range, max), keys, locations)?,
        };
        match last.map(Bound::Excluded) {
            Some(after) if self.range.reverse => self.range.stop = after,
            Some(after) => self.range.start = after,
            None => self.ended = true,
        }
        self.left -= (keys.len() - had) as u64;
        self.ended |= self.left == 0;
        Ok(())
    }
}

impl Merge {
    /// Appends up to `max` items of the next entries of the index and the next notes. Returns the last key that it came
    /// to, or `None` at the end of the range.
    fn take(
        &mut self,
        view: &View<'_>,
        history: &History,
        (range, max): (ScanRange, usize),
        keys: &mut KeyVec,
        locations: &mut Vec<u64>,
    ) -> Result<Option<Key>> {
        let Self { keys: live, locations: live_at, changed, past } = self;
        live.clear();
        live_at.clear();
        changed.clear();
        past.clear();
        let ScanRange { start, stop, reverse, .. } = range;
        let limit = max.min(MERGED);
        view.vouch(view.index.scan_into(start, stop, reverse, limit, live, live_at))?;
        // Beyond the last entry, notes count only if the entries reach the end of the range.
        let live_last = live.last().filter(|_| live.len() == limit);
        let (start, stop) = match live_last.map(Bound::Included) {
            None => (start, stop),
            Some(last) if reverse => (last, stop),
            Some(last) => (start, last),
        };
        history.scan_into(start, stop, reverse, MERGED, view.seq, changed, past)?;
        let all_notes = changed.len() < MERGED;
        keys.room(limit)?;
        room(locations, limit)?;
        let before = |a: Key, b: Key| if reverse { a > b } else { a < b };
        let (mut at_live, mut at_note, mut last, had) = (0, 0, None, keys.len());
        loop {
            let entry = (at_live < live.len()).then(|| live.get(at_live));
            let note = (at_note < changed.len()).then(|| changed.get(at_note));
            if keys.len() - had == limit || (note.is_none() && !all_notes) {
                return Ok(last);
            }
            let (key, is, past) = match (entry, note) {
                (None, None) => return Ok(live_last),
                (Some(key), note) if note.is_none_or(|note| before(key, note)) => {
                    at_live += 1;
                    (key, live_at[at_live - 1], Past::Unchanged)
                }
                (entry, Some(key)) => {
                    let both = entry == Some(key);
                    at_live += usize::from(both);
                    at_note += 1;
                    (key, if both { live_at[at_live - 1] } else { GONE }, past[at_note - 1])
                }
                (Some(_), None) => return Ok(last),
            };
            last = Some(key);
            let location = match past {
                Past::Unchanged => is,
                Past::Absent => GONE,
                Past::At(location) => location.0,
            };
            if location != GONE {
                keys.push(key);
                locations.push(location);
            }
        }
    }
}
