//! Following a writer: `refresh`, `wait`, and the feed of changes.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use alex_store::{Changed, Changes, KeyKind, Store as Engine, What};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyRange, PyType};

use crate::convert::codec::Codec;
use crate::convert::{bounds, kinds, values};
use crate::errors::{detached, to_exception};
use crate::locks;
use crate::store::handle::{Born, MADE_BEFORE_FORK};
use crate::store::one::Store;

/// Changes read at a time.
const RUN_CHANGES: usize = 4096;
/// How long `wait` sleeps between two looks: at first, and at most.
const FIRST_NAP: Duration = Duration::from_micros(50);
const LONGEST_NAP: Duration = Duration::from_millis(2);

static CHANGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static RANGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Iterates over committed changes in their order.
///
/// What `Store.changes` returns: an iterator of `Change`. Each step is O(1), with the GIL released once in a
/// run of up to 4,096 changes. While it lives, compaction frees none of the changes that it had found when
/// it was made, or when it last looked beyond them. Raises ClosedError once the store is closed,
/// CorruptionError if a record is damaged, and HistoryGoneError if further changes were freed before it came
/// to them. Not picklable.
///
/// >>> feed = s.changes()
/// >>> s[1] = b"one"
/// >>> next(feed).value
/// b'one'
#[pyclass(frozen, module = "alexpy._alexpy")]
pub(crate) struct ChangeIterator {
    /// Keeps the store open while only the iterator refers to it.
    store: Py<Store>,
    /// Waited for without the GIL only.
    state: Mutex<State>,
    born: Born,
}

struct State {
    /// `None` at the end.
    changes: Option<Changes>,
    run: VecDeque<Changed>,
}

impl ChangeIterator {
    /// The next change of the run that was read, if no other thread is reading.
    fn at_hand(&self) -> Option<Changed> {
        self.state.try_lock().ok()?.run.pop_front()
    }

    /// The next change.
    fn pull(&self) -> Result<Option<Changed>, alex_store::Error> {
        let mut state = locks::waiting(&self.state);
        if state.run.is_empty()
            && let Some(changes) = &mut state.changes
        {
            let run = changes.next_some(RUN_CHANGES)?;
            if run.is_empty() {
                // An iterator that has ended stays at its end.
                state.changes = None;
            }
            state.run.extend(run);
        }
        Ok(state.run.pop_front())
    }
}

#[pymethods]
impl ChangeIterator {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.born.check(py, MADE_BEFORE_FORK)?;
        let next = match self.at_hand() {
            Some(changed) => Some(changed),
            None => py.detach(|| self.pull()).map_err(|error| to_exception(py, &error))?,
        };
        let codec = self.store.get().handle().codec();
        let kind = self.store.get().kind();
        next.map(|changed| change(py, kind, codec, changed)).transpose()
    }
}

fn change<'py>(
    py: Python<'py>,
    kind: KeyKind,
    codec: Option<&Codec>,
    changed: Changed,
) -> PyResult<Bound<'py, PyAny>> {
    let class = CHANGE.import(py, "alexpy._changes", "Change")?;
    match changed.what {
        What::Put(key, value) => {
            let value = values::object(py, codec, key, value)?;
            class.call1((changed.seq, kinds::object(py, kind, key)?, value))
        }
        What::Deleted(key) => class.call1((changed.seq, kinds::object(py, kind, key)?, py.None())),
        What::RangeDeleted(first, last) => {
            let (first, last) = (kinds::object(py, kind, first)?, kinds::object(py, kind, last)?);
            let keys = match kind {
                KeyKind::Int64 | KeyKind::Uint64 => py.get_type::<PyRange>().call1((first, last.add(1)?))?,
                _ => RANGE.import(py, "alexpy._changes", "KeyRange")?.call1((first, last))?,
            };
            class.call1((changed.seq, keys, py.None()))
        }
    }
}

#[pymethods]
impl Store {
    /// Brings a read-only store up to date; the sequence number of the last commit that it then shows.
    ///
    /// Every write that had returned before the call is visible afterwards, in whatever process of this
    /// machine it was made; whole commits only, and never an older state than before. Snapshots and
    /// iterators keep what they see. The writer is neither asked nor slowed. Of a store opened for writing:
    /// the sequence number of its last commit. Raises CorruptionError if the log is damaged where it is yet
    /// to be read, FormatError if the store was replaced or was cut back (`recovery="point_in_time"`) to
    /// before what was visible, FileNotFoundError if it was removed; what was visible stays so. O(bytes of
    /// new log), and a few system calls if there is nothing new.
    ///
    /// >>> with alexpy.open(s.path, read_only=True) as reader:
    /// ...     s[1] = b"one"
    /// ...     before = 1 in reader
    /// ...     seq = reader.refresh()
    /// ...     before, reader[1], seq == s.stats().last_seq
    /// (False, b'one', True)
    fn refresh(&self, py: Python<'_>) -> PyResult<u64> {
        self.detached(py, Engine::refresh)
    }

    /// Waits until the commit with sequence number `seq` is visible here; the sequence number reached.
    ///
    /// In a read-only store this refreshes, at first every 50 us and at last every 2 ms. Returns after
    /// `timeout` seconds in any case: compare what it returns with `seq`. Ctrl-C ends it. Raises as
    /// `refresh`; ValueError if `timeout` or `seq` is negative, or `seq` above 2**64-1.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.wait(1, timeout=10) >= 1
    /// True
    #[pyo3(signature = (seq, timeout=None))]
    fn wait(
        &self,
        py: Python<'_>,
        seq: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let begun = Instant::now();
        let (seq, timeout) = (bounds::seq(seq, "seq")?, bounds::timeout(timeout)?);
        let mut nap = FIRST_NAP;
        loop {
            let reached = self.refresh(py)?;
            let left = timeout.saturating_sub(begun.elapsed());
            if reached >= seq || left.is_zero() {
                return Ok(reached);
            }
            py.detach(|| std::thread::sleep(nap.min(left)));
            py.check_signals()?;
            nap = (2 * nap).min(LONGEST_NAP);
        }
    }

    /// Iterates over the changes after the sequence number `since`, in the order of their commits.
    ///
    /// Each is a `Change` (seq, key, value). `since=None` means from now on. It ends at the newest change
    /// that this store shows; to go on, `wait` (or `refresh`) and ask for the changes after the last one
    /// seen. What a read-only store shows comes with `refresh`. Raises HistoryGoneError if compaction has
    /// freed some of them, or the store was cut back to before `since`: read the whole store through a
    /// `snapshot`, then go on from its `seq`. After a writer was killed, changes that the device had not
    /// confirmed come again, in the same order, under new sequence numbers. ValueError if `since` is not from
    /// 0 to 2**64-1. O(segments), and O(bytes of one segment) to find the first change.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.delete_range(5, 9)
    /// 0
    /// >>> del s[1]
    /// >>> [(change.key, change.value) for change in s.changes(since=0)]
    /// [(1, b'one'), (1, None)]
    #[pyo3(signature = (since=None))]
    fn changes(slf: &Bound<'_, Self>, since: Option<&Bound<'_, PyAny>>) -> PyResult<ChangeIterator> {
        let py = slf.py();
        let since = since.map(|since| bounds::seq(since, "since")).transpose()?;
        let engine = slf.get().check_open(py)?;
        let changes = detached(py, || engine.changes(since))?;
        Ok(ChangeIterator {
            store: slf.clone().unbind(),
            state: Mutex::new(State { changes: Some(changes), run: VecDeque::new() }),
            born: Born::here(),
        })
    }
}
