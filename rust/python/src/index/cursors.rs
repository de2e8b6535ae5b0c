//! The cursors of an index's iterators: how an iterator keeps seeing the index as it was when it was made.
//!
//! An iterator pulls runs from the live index, and the index knows its unfinished iterators. Before the first change
//! after an iterator was made, the rest of its range is copied out for it. So making an iterator is O(1), iterating
//! copies nothing twice, and only a change during an iteration costs more: once, about a nanosecond for each key that
//! the iterator has left.
//!
//! Lock order: the index, then a cursor. No thread waits for the interpreter under either.

use std::ops::Bound as End;
use std::sync::{Arc, Mutex, Weak};

use alex_index::image::Damage;
use alex_store::{Key, KeyVec, Tree, catching};
use pyo3::prelude::*;

use crate::convert::bounds::Range;
use crate::index::damaged::{Damaged, Left};
use crate::locks;

/// Items of the first run, and of the longest.
const FIRST_RUN_ITEMS: usize = 128;
const LAST_RUN_ITEMS: usize = 8192;

/// The iterators that may still pull from the index.
#[derive(Default)]
pub(crate) struct Cursors {
    unfinished: Vec<Weak<Cursor>>,
    /// Entries of dropped iterators are removed when the list reaches this length, so adding is O(1) on average.
    sweep_at: usize,
}

impl Cursors {
    pub(crate) fn add(&mut self, cursor: &Arc<Cursor>) {
        if self.unfinished.len() >= self.sweep_at {
            self.unfinished.retain(|cursor| cursor.strong_count() > 0);
            self.sweep_at = (self.unfinished.len() * 2).max(16);
        }
        self.unfinished.push(Arc::downgrade(cursor));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// Gives every unfinished iterator its own copy of what it has left, or leaves it as it was if there is no memory for
    /// that. Called before any change.
    pub(crate) fn release(&mut self, tree: &Tree) -> Result<(), Damaged> {
        for cursor in self.unfinished.iter().filter_map(Weak::upgrade) {
            cursor.pull_rest(tree)?;
        }
        self.unfinished.clear();
        self.sweep_at = 0;
        Ok(())
    }
}

/// The state of one iterator.
pub(crate) struct Cursor(Mutex<Position>);

struct Position {
    keys: KeyVec,
    payloads: Vec<u64>,
    /// The next item of the current run, as an index.
    next: usize,
    /// The rest of the range, which only the index holds.
    rest: Option<Rest>,
    next_run_items: usize,
    /// Damage, in the file that the index was loaded from, which ends the iteration.
    damage: Option<Damage>,
}

struct Rest {
    start: End<Key>,
    stop: End<Key>,
    reverse: bool,
    /// Items that the limit still allows.
    left: usize,
}

impl Cursor {
    /// The cursor of a new iterator, which has pulled nothing yet.
    pub(crate) fn over(range: Range, reverse: bool, limit: Option<u64>) -> Self {
        let left = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self(Mutex::new(Position {
            keys: KeyVec::default(),
            payloads: Vec::new(),
            next: 0,
            rest: range.map(|(start, stop)| Rest { start, stop, reverse, left }),
            next_run_items: FIRST_RUN_ITEMS,
            damage: None,
        }))
    }

    /// The next item of the current run. Waits, detached, while a change copies out what the iterator has left.
    #[inline]
    pub(crate) fn take(&self, py: Python<'_>) -> Option<(Key, u64)> {
        let mut position = locks::attached(py, &self.0);
        let next = position.next;
        let item = position.payloads.get(next).map(|&payload| (position.keys.get(next), payload));
        position.next += usize::from(item.is_some());
        item
    }

    /// The damage that ended the iteration, if any.
    pub(crate) fn damage(&self, py: Python<'_>) -> Option<Damage> {
        locks::attached(py, &self.0).damage.clone()
    }

    /// Replaces a run that is used up; false at the end of the range. Waits.
    pub(crate) fn pull_run(&self, tree: &Tree) -> Result<bool, Damaged> {
        let mut position = locks::waiting(&self.0);
        if position.damage.is_some() {
            return Ok(false);
        }
        if position.next < position.keys.len() {
            return Ok(true);
        }
        position.keys.clear();
        position.payloads.clear();
        position.next = 0;
        let items = position.next_run_items;
        position.next_run_items = (items * 2).min(LAST_RUN_ITEMS);
        position.pull(tree, items)?;
        Ok(!position.keys.is_empty())
    }

    /// How many items are left. Waits.
    pub(crate) fn left(&self, tree: &Tree) -> usize {
        let position = locks::waiting(&self.0);
        let rest = position.rest.as_ref();
        let rest = rest.map_or(0, |rest| tree.count(rest.start, rest.stop).min(rest.left));
        position.keys.len() - position.next + rest
    }

    fn pull_rest(&self, tree: &Tree) -> Result<(), Damaged> {
        let mut position = locks::waiting(&self.0);
        let done = position.next;
        position.keys.remove_first(done);
        position.payloads.drain(..done);
        position.next = 0;
        position.pull(tree, usize::MAX)
    }
}

impl Position {
    /// Appends up to `items` items of the rest. Nothing is changed if there is no memory for them.
    fn pull(&mut self, tree: &Tree, items: usize) -> Result<(), Damaged> {
        let Some(mut rest) = self.rest.take() else { return Ok(()) };
        let wanted = items.min(rest.left);
        let had = self.keys.len();
        let (keys, payloads) = (&mut self.keys, &mut self.payloads);
        let copied = catching("a copy out of the index", || {
            tree.scan_into(rest.start, rest.stop, rest.reverse, wanted, keys, payloads);
        });
        if copied.is_err() || tree.damage().is_some() {
            self.keys.truncate(had);
            self.payloads.truncate(had);
        }
        if let Err(panic) = copied {
            self.rest = Some(rest);
            return Err(Damaged::by(&panic, Left::AsItWas));
        }
        if let Some(damage) = tree.damage() {
            self.damage = Some(damage.clone());
            return Ok(());
        }
        let got = self.keys.len() - had;
        if let Some(last) = self.keys.last()
            && got == wanted
            && rest.left > wanted
        {
            rest.left -= wanted;
            *(if rest.reverse { &mut rest.stop } else { &mut rest.start }) = End::Excluded(last);
            self.rest = Some(rest);
        }
        Ok(())
    }
}
