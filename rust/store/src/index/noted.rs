//! The open moments, and the notes kept for them: each change first notes where the keys that it touches
//! were. While such a read is open, a writer pays a note for each changed key, and memory grows with the keys
//! changed meanwhile. Knows nothing of values.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};

use crate::error::Result;
use crate::format::location::Location;
use crate::index::checked::{Damaged, Index};
use crate::log::batch::Op;
use crate::room::{no_memory, room};

/// The locations, as of the moment, of keys that have been changed since.
#[derive(Default)]
pub(crate) struct Noted {
    /// Notes that no piece has processed yet. A key may occur more than once.
    new: Vec<(i64, Option<Location>)>,
    first: HashMap<i64, Option<Location>>,
    /// There was no memory for a note.
    lost: bool,
}

impl Noted {
    fn note(&mut self, key: i64, was: Option<Location>) {
        if room(&mut self.new, 1).is_err() {
            // The reader fails, not the writer.
            *self = Self { lost: true, ..Self::default() };
        }
        if !self.lost {
            self.new.push((key, was));
        }
    }

    /// Corrects what was found for `keys`.
    pub(crate) fn correct(&mut self, keys: &[i64], found: &mut [Option<Location>]) -> Result<()> {
        let refused = |items| Err(no_memory::<(i64, Option<Location>)>(items));
        if self.lost {
            return refused(1);
        }
        if !self.new.is_empty() {
            if self.first.try_reserve(self.new.len()).is_err() {
                return refused(self.new.len());
            }
            for (key, was) in self.new.drain(..) {
                self.first.entry(key).or_insert(was);
            }
        }
        if !self.first.is_empty() {
            for (key, found) in keys.iter().zip(found) {
                if let Some(&was) = self.first.get(key) {
                    *found = was;
                }
            }
        }
        Ok(())
    }
}

/// The moments that must not see a change.
#[derive(Default)]
pub(crate) struct Moments(Mutex<Vec<Weak<Mutex<Noted>>>>);

impl Moments {
    pub(crate) fn add(&self, noted: &Arc<Mutex<Noted>>) {
        let mut open = self.0.lock();
        // Moments that have ended are removed whenever the list would grow.
        if open.len() == open.capacity() {
            open.retain(|noted| noted.strong_count() > 0);
        }
        open.push(Arc::downgrade(noted));
    }

    fn open(&mut self) -> Vec<Arc<Mutex<Noted>>> {
        let open = self.0.get_mut();
        open.retain(|noted| noted.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).collect()
    }

    /// Notes the locations of the keys that `ops` are about to change. O(1) if no moment is open.
    #[inline]
    pub(crate) fn before_change<'a>(
        &mut self,
        index: &Index,
        ops: impl Iterator<Item = Op<'a>>,
    ) -> Result<(), Damaged> {
        if self.0.get_mut().is_empty() { Ok(()) } else { self.note_ops(index, ops) }
    }

    #[cold]
    fn note_ops<'a>(&mut self, index: &Index, ops: impl Iterator<Item = Op<'a>>) -> Result<(), Damaged> {
        let open = self.open();
        let mut open: Vec<_> = open.iter().map(|noted| noted.lock()).collect();
        if open.is_empty() {
            return Ok(());
        }
        for op in ops {
            match op {
                Op::Put(key, _) | Op::Delete(key) => note(&mut open, key, index.get(key)?),
                Op::DeleteRange(first, last) => {
                    let (start, stop) = (Bound::Included(first), Bound::Included(last));
                    let (mut keys, mut locations) = (Vec::new(), Vec::new());
                    index.scan_into(start, stop, false, usize::MAX, &mut keys, &mut locations)?;
                    for (key, location) in keys.into_iter().zip(locations) {
                        note(&mut open, key, Some(location));
                    }
                }
            }
        }
        Ok(())
    }

    /// Like [`Moments::before_change`], for many puts.
    pub(crate) fn before_puts(&mut self, index: &Index, keys: &[i64]) -> Result<(), Damaged> {
        let open = self.open();
        let mut open: Vec<_> = open.iter().map(|noted| noted.lock()).collect();
        if open.is_empty() { Ok(()) } else { index.get_many(keys, |i, was| note(&mut open, keys[i], was)) }
    }

    /// Notes that a key pointed to a record that was moved.
    pub(crate) fn moved(&mut self, key: i64, from: Location) {
        if !self.0.get_mut().is_empty() {
            for noted in self.open() {
                noted.lock().note(key, Some(from));
            }
        }
    }
}

fn note(open: &mut [MutexGuard<'_, Noted>], key: i64, was: Option<u64>) {
    for noted in open {
        noted.note(key, was.map(Location));
    }
}
