//! Iteration over a store: one native iterator that pulls runs of items without the GIL.
//!
//! The first run is short, so that taking one item of a huge range is cheap; each further run is up to four
//! times as long, so that a full scan releases the GIL once in thousands of items. Items are made one
//! at a time from the run. The engine guarantees that the iterator sees the store as it was when the
//! iterator was made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use alex_store::{Error, Key, KeyKind};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::bounds::{ScanRequest, Yields, scan_range};
use crate::convert::buffers::{PREFETCH_AHEAD, prefetch};
use crate::convert::{kinds, pairs};
use crate::errors::{detached, to_exception};
use crate::locks::{self, Attached};
use crate::memory::{bytes, int};
use crate::store::handle::{Born, MADE_BEFORE_FORK};
use crate::store::reader::Reader;
use crate::store::runs::{FIRST_RUN_ITEMS, Run, Runs};

/// A range with a limit up to this is read in one run: callers who give a limit mostly take all of it.
const WHOLE_LIMIT_ITEMS: u64 = 256;

/// Iterates over a range of a store as it was when the iterator was made.
///
/// What `iter(store)`, `Store.scan`, `scan_keys` and `scan_values` return. Each step is O(1), with the
/// GIL released once in a run of up to 4,096 items. From the 9,552nd item on, a second thread reads the
/// next few runs ahead. Raises ClosedError once the store is closed and CorruptionError if a stored record is
/// damaged. Not picklable.
///
/// >>> s[1] = b"one"
/// >>> next(s.scan())
/// (1, b'one')
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct StoreIterator {
    yields: Yields,
    /// Keeps the store open while only the iterator refers to it.
    store: Py<Reader>,
    at_hand: Attached<AtHand>,
    /// Locked for a moment only, except that a hint of the length looks at the index meanwhile.
    pulls: Mutex<Pulls>,
    pull_ended: Condvar,
    /// An iterator that has ended stays at its end, even if the store is closed.
    finished: AtomicBool,
    born: Born,
}

/// The run whose items are made.
struct AtHand {
    run: Run,
    /// The next item of the run, as an index.
    position: usize,
    /// The number of the run.
    number: u64,
}

/// The runs behind it.
struct Pulls {
    /// The number of the last run that was pulled: of the one at hand, unless a pull is under way or `pulled` is there.
    number: u64,
    /// A run that was pulled and is not at hand yet. Whichever thread comes first puts it there: the one that pulled it
    /// never does if it cannot attach again, because the interpreter ends.
    pulled: Option<Run>,
    source: Source,
}

/// Where further runs come from.
enum Source {
    Ready(Box<Runs>),
    /// A thread is pulling a run, without the GIL and without the lock.
    Busy,
    /// A pull failed; the next step raises this.
    Failed(Error),
    Finished,
}

/// One item, made of objects that the garbage collector does not track; a value with its key, which a codec wants to know.
enum Item<'py> {
    Pair(Key, Bound<'py, PyBytes>),
    Key(Key),
    Value(Key, Bound<'py, PyBytes>),
}

impl StoreIterator {
    /// The iterator that was asked for, with its first run pulled.
    pub(crate) fn over(store: &Bound<'_, Reader>, request: ScanRequest) -> PyResult<Self> {
        let ScanRequest { range, reverse, limit, yields } = request;
        let range = scan_range(range, reverse, limit);
        let first_run_items = match limit {
            Some(limit) if limit <= WHOLE_LIMIT_ITEMS => WHOLE_LIMIT_ITEMS as usize,
            _ => FIRST_RUN_ITEMS,
        };
        let (run, source) = store.get().detached(store.py(), |reader| {
            let mut runs = Box::new(Runs::of(reader.scan(range)?, yields, first_run_items));
            Ok(match runs.pull() {
                Ok(run) => (run, if runs.is_at_end() { Source::Finished } else { Source::Ready(runs) }),
                Err(error) => (Run::EMPTY, Source::Failed(error)),
            })
        })?;
        Ok(Self {
            yields,
            store: store.clone().unbind(),
            at_hand: Attached::new(AtHand { run, position: 0, number: 0 }),
            pulls: Mutex::new(Pulls { number: 0, pulled: None, source }),
            pull_ended: Condvar::new(),
            finished: AtomicBool::new(false),
            born: Born::here(),
        })
    }

    /// The next item of the run at hand, or, if it is used up, its number.
    #[inline]
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Result<Item<'py>, u64>> {
        self.at_hand.with(py, |AtHand { run, position, number }| {
            let Some(key) = run.key(*position) else { return Ok(Err(*number)) };
            let value = || {
                if let Some(ahead) = run.long_value(*position + PREFETCH_AHEAD) {
                    prefetch(ahead);
                }
                bytes(py, run.value(*position))
            };
            let item = match self.yields {
                Yields::Items => Item::Pair(key, value()?),
                Yields::Keys => Item::Key(key),
                Yields::Values => Item::Value(key, value()?),
            };
            // Only now, so that the next step makes an item for which there was no memory.
            *position += 1;
            Ok(Ok(item))
        })?
    }

    /// Replaces the run `number`, which is used up; false at the end of the range.
    #[cold]
    fn refill(&self, py: Python<'_>, number: u64) -> PyResult<bool> {
        py.check_signals()?;
        if !py.detach(|| self.pull_behind(number)).map_err(|error| to_exception(py, &error))? {
            return Ok(false);
        }
        let pulled = {
            let mut pulls = locks::attached(py, &self.pulls);
            pulls.pulled.take().map(|run| (run, pulls.number))
        };
        if let Some((mut run, number)) = pulled {
            self.at_hand.with(py, |at_hand| {
                std::mem::swap(&mut at_hand.run, &mut run);
                at_hand.position = 0;
                at_hand.number = number;
            })?;
        }
        Ok(true)
    }

    /// Sees to it that the run behind `number` is pulled; false at the end of the range.
    fn pull_behind(&self, number: u64) -> Result<bool, Error> {
        let mut pulls = locks::waiting(&self.pulls);
        while matches!(pulls.source, Source::Busy) {
            pulls = self.pull_ended.wait(pulls).unwrap_or_else(PoisonError::into_inner);
        }
        if pulls.number != number {
            // Another thread has pulled a run while this one waited.
            return Ok(true);
        }
        let mut runs = match std::mem::replace(&mut pulls.source, Source::Finished) {
            Source::Ready(runs) => runs,
            Source::Failed(error) => return Err(error),
            Source::Finished | Source::Busy => return Ok(false),
        };
        pulls.source = Source::Busy;
        drop(pulls);
        let mut pull = Pull { iterator: self, source: Source::Finished, run: None };
        let run = runs.pull()?;
        if !runs.is_at_end() {
            pull.source = Source::Ready(runs);
        }
        pull.run = (run.len() > 0).then_some(run);
        Ok(pull.run.is_some())
    }
}

/// Puts the outcome of a pull back and wakes the threads that wait for it, however the pull ended: after an error or a
/// panic, nothing comes any more. So no pull is under way while its thread waits to attach.
struct Pull<'a> {
    iterator: &'a StoreIterator,
    source: Source,
    run: Option<Run>,
}

impl Drop for Pull<'_> {
    fn drop(&mut self) {
        let mut pulls = locks::waiting(&self.iterator.pulls);
        pulls.source = std::mem::replace(&mut self.source, Source::Finished);
        if let Some(run) = self.run.take() {
            pulls.pulled = Some(run);
            pulls.number += 1;
        }
        drop(pulls);
        self.iterator.pull_ended.notify_all();
    }
}

impl Drop for StoreIterator {
    fn drop(&mut self) {
        let pulls = self.pulls.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Source::Ready(runs) = std::mem::replace(&mut pulls.source, Source::Finished) {
            runs.end();
        }
    }
}

#[pymethods]
impl StoreIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// How many items are left; about as many if the store has changed since the iterator was made.
    fn __length_hint__(&self, py: Python<'_>) -> PyResult<u64> {
        let over = self.finished.load(Ordering::Relaxed) || self.born.is_inherited();
        if over || self.store.get().check_open(py).is_err() {
            // Nothing comes any more; the next step says why.
            return Ok(0);
        }
        let at_hand = self.at_hand.with(py, |at_hand| at_hand.run.len() - at_hand.position)? as u64;
        detached(py, || {
            let pulls = locks::waiting(&self.pulls);
            let pulled = at_hand + pulls.pulled.as_ref().map_or(0, Run::len) as u64;
            match &pulls.source {
                Source::Ready(runs) => Ok(pulled + runs.likely_left()?),
                Source::Busy | Source::Failed(_) | Source::Finished => Ok(pulled),
            }
        })
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.finished.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.born.check(py, MADE_BEFORE_FORK)?;
        self.store.get().check_open(py)?;
        let (kind, codec) = (self.store.get().kind(), self.store.get().codec());
        loop {
            match self.take(py)? {
                Ok(Item::Pair(key, value)) => {
                    if let (None, KeyKind::Int64) = (codec, kind) {
                        return pairs::item(py, int(py, key as i64)?, value).map(Some);
                    }
                    let value = match codec {
                        Some(codec) => codec.decode(key, value)?,
                        None => value.into_any(),
                    };
                    let pair = (kinds::object(py, kind, key)?, value).into_pyobject(py)?;
                    return Ok(Some(pair.into_any()));
                }
                Ok(Item::Key(key)) => return kinds::object(py, kind, key).map(Some),
                Ok(Item::Value(at, value)) => {
                    return match codec {
                        Some(codec) => codec.decode(at, value).map(Some),
                        None => Ok(Some(value.into_any())),
                    };
                }
                Err(number) if self.refill(py, number)? => {}
                Err(_) => {
                    self.finished.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
            }
        }
    }
}
