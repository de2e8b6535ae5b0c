//! Iteration over a store: one native iterator that pulls runs of items without the GIL.
//!
//! The first run is short, so that taking one item of a huge range is cheap; each further run is up to four
//! times as long, so that a full scan releases the GIL once in thousands of items. Items are made one
//! at a time from the run. The engine guarantees that the iterator sees the store as it was when the
//! iterator was made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use alex_store::{Error, Key, KeyKind, KeyVec, NEAR_BYTES, Scan, ScanRun, Values};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::bounds::{ScanRequest, Yields, scan_range};
use crate::convert::buffers::{PREFETCH_AHEAD, prefetch};
use crate::convert::{kinds, pairs};
use crate::errors::{detached, to_exception};
use crate::locks;
use crate::memory::{bytes, int};
use crate::store::handle::{Born, MADE_BEFORE_FORK, drop_version};
use crate::store::reader::Reader;

/// Items of the first run, and of the longest.
const FIRST_RUN_ITEMS: usize = 16;
const LAST_RUN_ITEMS: usize = 4096;
/// A range with a limit up to this is read in one run: callers who give a limit mostly take all of it.
const WHOLE_LIMIT_ITEMS: u64 = 256;
/// How many times as long each further run is, unless its values would leave the CPU caches before they are copied.
const RUN_GROWTH: usize = 4;

/// Iterates over a range of a store as it was when the iterator was made.
///
/// What `iter(store)`, `Store.scan`, `scan_keys` and `scan_values` return. Each step is O(1), with the
/// GIL released once in a run of up to 4,096 items. Raises ClosedError once the store is closed and
/// CorruptionError if a stored record is damaged. Not picklable.
///
/// >>> s[1] = b"one"
/// >>> next(s.scan())
/// (1, b'one')
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct StoreIterator {
    yields: Yields,
    /// Keeps the store open while only the iterator refers to it.
    store: Py<Reader>,
    state: Mutex<State>,
    pulled: Condvar,
    /// An iterator that has ended stays at its end, even if the store is closed.
    finished: AtomicBool,
    born: Born,
}

struct State {
    run: Run,
    /// The next item of the run, as an index.
    position: usize,
    source: Source,
}

/// Where further runs come from.
enum Source {
    Ready {
        scan: Scan,
        next_run_items: usize,
    },
    /// A thread is pulling a run, without the GIL and without this lock.
    Busy,
    /// A pull failed; the next step raises this.
    Failed(Error),
    Finished,
}

struct Run {
    keys: KeyVec,
    values: Option<Values>,
}

impl Run {
    const EMPTY: Self = Self { keys: KeyVec::Narrow(Vec::new()), values: None };

    /// How many items the next run should have, given that `items` were asked of this one.
    fn next_items(&self, items: usize) -> usize {
        let long_bytes = self.values.as_ref().map_or(0, Values::long_bytes);
        let near = (self.keys.len() * NEAR_BYTES).checked_div(long_bytes).unwrap_or(LAST_RUN_ITEMS);
        (items * RUN_GROWTH).min(near).clamp(1, LAST_RUN_ITEMS)
    }
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
        let state = store.get().detached(store.py(), |reader| {
            let mut scan = reader.scan(range)?;
            Ok(match pull(&mut scan, yields, first_run_items) {
                Ok(run) => {
                    let next_run_items = run.next_items(first_run_items);
                    let ended = run.keys.is_empty();
                    let source =
                        if ended { Source::Finished } else { Source::Ready { scan, next_run_items } };
                    State { run, position: 0, source }
                }
                Err(error) => State { run: Run::EMPTY, position: 0, source: Source::Failed(error) },
            })
        })?;
        Ok(Self {
            yields,
            store: store.clone().unbind(),
            state: Mutex::new(state),
            pulled: Condvar::new(),
            finished: AtomicBool::new(false),
            born: Born::here(),
        })
    }

    /// The next item of the current run. The lock is held while attached, but only while ints and bytes are made,
    /// which runs no Python code.
    #[inline]
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Item<'py>>> {
        let mut state = locks::attached(py, &self.state);
        let position = state.position;
        if position >= state.run.keys.len() {
            return Ok(None);
        }
        let key = state.run.keys.get(position);
        let value = || {
            let values = state.run.values.as_ref();
            if let Some(ahead) = values.and_then(|values| values.get(position + PREFETCH_AHEAD)) {
                prefetch(ahead);
            }
            bytes(py, values.and_then(|values| values.get(position)).unwrap_or_default())
        };
        let item = match self.yields {
            Yields::Items => Item::Pair(key, value()?),
            Yields::Keys => Item::Key(key),
            Yields::Values => Item::Value(key, value()?),
        };
        // Only now, so that the next step makes an item for which there was no memory.
        state.position += 1;
        Ok(Some(item))
    }

    /// Replaces a run that is used up; false at the end of the range.
    #[cold]
    fn refill(&self, py: Python<'_>) -> PyResult<bool> {
        py.check_signals()?;
        py.detach(|| self.pull_next()).map_err(|error| to_exception(py, &error))
    }

    fn pull_next(&self) -> Result<bool, Error> {
        let mut state = locks::waiting(&self.state);
        while matches!(state.source, Source::Busy) {
            state = self.pulled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.position < state.run.keys.len() {
            // Another thread has pulled a run while this one waited.
            return Ok(true);
        }
        let (mut scan, items) = match std::mem::replace(&mut state.source, Source::Busy) {
            Source::Ready { scan, next_run_items } => (scan, next_run_items),
            Source::Failed(error) => {
                state.source = Source::Finished;
                return Err(error);
            }
            Source::Finished | Source::Busy => {
                state.source = Source::Finished;
                return Ok(false);
            }
        };
        drop(state);
        let mut done = PullEnd { iterator: self, source: Source::Finished, run: Run::EMPTY };
        done.run = pull(&mut scan, self.yields, items)?;
        let more = !done.run.keys.is_empty();
        if more {
            done.source = Source::Ready { scan, next_run_items: done.run.next_items(items) };
        }
        Ok(more)
    }
}

/// Puts the outcome of a pull back and wakes the threads that wait for it, however the pull ended.
struct PullEnd<'a> {
    iterator: &'a StoreIterator,
    source: Source,
    run: Run,
}

impl Drop for PullEnd<'_> {
    fn drop(&mut self) {
        // A panic leaves at worst a run without a source, which reads as the end.
        let mut state = locks::waiting(&self.iterator.state);
        std::mem::swap(&mut state.run, &mut self.run);
        state.source = std::mem::replace(&mut self.source, Source::Finished);
        state.position = 0;
        drop(state);
        self.iterator.pulled.notify_all();
    }
}

impl Drop for StoreIterator {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Source::Ready { scan, .. } = std::mem::replace(&mut state.source, Source::Finished) {
            drop_version(scan, Scan::keeps_something);
        }
    }
}

fn pull(scan: &mut Scan, yields: Yields, items: usize) -> Result<Run, Error> {
    if yields == Yields::Keys {
        return Ok(Run { keys: scan.next_keys(items)?, values: None });
    }
    let ScanRun { keys, values } = scan.next_run(items)?;
    Ok(Run { keys, values: Some(values) })
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
        detached(py, || {
            let state = locks::waiting(&self.state);
            let at_hand = (state.run.keys.len() - state.position) as u64;
            match &state.source {
                Source::Ready { scan, .. } => Ok(at_hand + scan.likely_left()?),
                Source::Busy | Source::Failed(_) | Source::Finished => Ok(at_hand),
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
                Some(Item::Pair(key, value)) => {
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
                Some(Item::Key(key)) => return kinds::object(py, kind, key).map(Some),
                Some(Item::Value(at, value)) => {
                    return match codec {
                        Some(codec) => codec.decode(at, value).map(Some),
                        None => Ok(Some(value.into_any())),
                    };
                }
                None if self.refill(py)? => {}
                None => {
                    self.finished.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
            }
        }
    }
}
