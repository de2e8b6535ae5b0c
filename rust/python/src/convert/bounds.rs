//! The ends of a range: a key, any int where keys are ints (clamped to them), or None for no bound.
//!
//! The rules of half-open ranges are decided here once. The engine and the index only see ranges that could hold a
//! key.

use std::convert::Infallible;
use std::ops::Bound as End;
use std::time::Duration;

use alex_store::{Key, KeyKind, KeyVec, ScanRange};
use pyo3::Borrowed;
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::convert::keys::{Role, refuse_one, text};
use crate::convert::kinds::{self, Edge};

/// Start and stop of a range of keys; `None` is an empty range.
pub(crate) type Range = Option<(End<Key>, End<Key>)>;

/// Every key.
const ALL: Range = Some((End::Unbounded, End::Unbounded));

/// The rows of a batch, unless the caller says how many.
const ROWS: usize = 1 << 16;

/// The most parts that `split` makes.
const MOST_PARTS: usize = 1 << 24;

/// What an iterator yields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Yields {
    Items,
    Keys,
    Values,
}

/// What an iteration was asked for.
#[derive(Clone, Copy)]
pub(crate) struct ScanRequest {
    pub(crate) range: Range,
    pub(crate) reverse: bool,
    /// The most items; `None` is no limit.
    pub(crate) limit: Option<u64>,
    pub(crate) yields: Yields,
}

impl ScanRequest {
    /// Every key, ascending, or descending with `reverse`.
    pub(crate) fn of_keys(reverse: bool) -> Self {
        Self { range: ALL, reverse, limit: None, yields: Yields::Keys }
    }
}

/// The range between two ends. `start >= stop` is empty, except equal with both ends included.
pub(crate) fn range(
    kind: KeyKind,
    start: Option<&Bound<'_, PyAny>>,
    stop: Option<&Bound<'_, PyAny>>,
    include_start: bool,
    include_stop: bool,
) -> PyResult<Range> {
    // From between two keys on is from the second on, and up to there is up to the second without it.
    let (start, is_key) = edge(kind, start, "start")?;
    let include_start = include_start || !is_key;
    let (stop, is_key) = edge(kind, stop, "stop")?;
    let include_stop = include_stop && is_key;
    if let (Edge::At(low), Edge::At(high)) = (&start, &stop)
        && (low > high || (low == high && !(include_start && include_stop)))
    {
        return Ok(None);
    }
    let low = match start {
        Edge::None | Edge::BelowAll => End::Unbounded,
        Edge::At(key) if include_start => End::Included(key),
        Edge::At(key) => End::Excluded(key),
        Edge::AboveAll => return Ok(None),
    };
    let high = match stop {
        Edge::None | Edge::AboveAll => End::Unbounded,
        Edge::At(key) if include_stop => End::Included(key),
        Edge::At(key) => End::Excluded(key),
        Edge::BelowAll => return Ok(None),
    };
    Ok(Some((low, high)))
}

/// The range of a `delete_range`, which needs at least one end.
pub(crate) fn deleted_range(
    kind: KeyKind,
    start: Option<&Bound<'_, PyAny>>,
    stop: Option<&Bound<'_, PyAny>>,
) -> PyResult<Range> {
    if start.is_none() && stop.is_none() {
        return Err(PyTypeError::new_err("delete_range() needs a bound; clear() removes every key"));
    }
    range(kind, start, stop, true, false)
}

/// The lowest and the highest key that a range could hold; `None` if it can hold none.
pub(crate) fn first_and_last(kind: KeyKind, (start, stop): (End<Key>, End<Key>)) -> Option<(Key, Key)> {
    let (lowest, highest) = kind.keys();
    let first = match start {
        End::Included(key) => key,
        End::Excluded(key) => key.checked_add(1)?,
        End::Unbounded => lowest,
    };
    let last = match stop {
        End::Included(key) => key,
        End::Excluded(key) => key.checked_sub(1)?,
        End::Unbounded => highest,
    };
    (lowest <= first && first <= last && last <= highest).then_some((first, last))
}

/// A range as the engine scans it.
pub(crate) fn scan_range(range: Range, reverse: bool, limit: Option<u64>) -> ScanRange {
    match range {
        Some((start, stop)) => ScanRange { start, stop, reverse, limit },
        None => ScanRange { start: End::Unbounded, stop: End::Unbounded, reverse, limit: Some(0) },
    }
}

/// One end of a range, and whether it is a key, as [`kinds::end`] says.
fn edge(kind: KeyKind, bound: Option<&Bound<'_, PyAny>>, name: &'static str) -> PyResult<(Edge, bool)> {
    let Some(bound) = bound else { return Ok((Edge::None, true)) };
    if kind != KeyKind::Int64 {
        return kinds::end(kind, bound, name);
    }
    let edge = match bound.extract::<i64>() {
        Ok(key) => Edge::At(key.into()),
        Err(error) if error.is_instance_of::<PyOverflowError>(bound.py()) => {
            if is_negative(bound)? {
                Edge::BelowAll
            } else {
                Edge::AboveAll
            }
        }
        Err(error) => return Err(refuse_one(error, bound, Role::Bound(name))),
    };
    Ok((edge, true))
}

/// The most items; `None` is no limit.
pub(crate) fn limit(limit: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(limit) = limit else { return Ok(None) };
    match limit.extract::<i64>() {
        Ok(count) => match u64::try_from(count) {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(PyValueError::new_err(format!("limit must be at least 0 or None, not {count}"))),
        },
        Err(error) if error.is_instance_of::<PyOverflowError>(limit.py()) => {
            if is_negative(limit)? {
                return Err(PyValueError::new_err("limit must be at least 0 or None, not a negative int"));
            }
            Ok(None)
        }
        Err(error) => Err(refuse_one(error, limit, Role::Bound("limit"))),
    }
}

/// A place in the order of keys: how far it is from an end, and whether that is the last one. `None` if it is further than
/// any number of keys.
pub(crate) fn place(i: &Bound<'_, PyAny>) -> PyResult<Option<(u64, bool)>> {
    match i.extract::<i64>() {
        Ok(i) => Ok(Some((if i < 0 { !i } else { i } as u64, i < 0))),
        Err(error) if error.is_instance_of::<PyOverflowError>(i.py()) => Ok(None),
        Err(error) => Err(refuse_one(error, i, Role::Bound("i"))),
    }
}

/// The refusal of a place that there is not.
#[cold]
pub(crate) fn no_place(i: &Bound<'_, PyAny>) -> PyErr {
    let shown = i.str().map_or_else(|_| text(i), |digits| digits.to_string());
    PyIndexError::new_err(format!("nth({shown}): there are not so many keys"))
}

/// A sequence number, or another count of 64 bits.
pub(crate) fn seq(number: &Bound<'_, PyAny>, name: &'static str) -> PyResult<u64> {
    number.extract::<u64>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(number.py()) {
            return PyValueError::new_err(format!(
                "{name} is {}; it must be from 0 to 2**64-1",
                text(number)
            ));
        }
        refuse_one(error, number, Role::Bound(name))
    })
}

/// The most rows of a batch, as the caller gave it; by default 65,536.
#[derive(Default)]
pub(crate) struct Rows<'py>(Option<Bound<'py, PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Rows<'py> {
    type Error = Infallible;

    fn extract(rows: Borrowed<'_, 'py, PyAny>) -> Result<Self, Infallible> {
        Ok(Self(Some(rows.to_owned())))
    }
}

/// The most rows of a batch, which may be more than any store has.
pub(crate) fn rows(rows: &Rows<'_>) -> PyResult<usize> {
    let Rows(Some(rows)) = rows else { return Ok(ROWS) };
    let wanted = match rows.extract::<i64>() {
        Ok(count) => usize::try_from(count).ok(),
        Err(error) if error.is_instance_of::<PyOverflowError>(rows.py()) => {
            (!is_negative(rows)?).then_some(usize::MAX)
        }
        Err(error) => return Err(refuse_one(error, rows, Role::Bound("rows"))),
    };
    let refused = || PyValueError::new_err(format!("rows must be at least 1, not {}", text(rows)));
    wanted.filter(|&rows| rows > 0).ok_or_else(refused)
}

/// How long to wait; `None` is without end.
pub(crate) fn timeout(seconds: Option<&Bound<'_, PyAny>>) -> PyResult<Duration> {
    let Some(seconds) = seconds else { return Ok(Duration::MAX) };
    let refused = || PyValueError::new_err(format!("timeout must be at least 0, not {}", text(seconds)));
    match seconds.extract::<f64>() {
        Ok(count) if count >= 0.0 => Ok(Duration::try_from_secs_f64(count).unwrap_or(Duration::MAX)),
        Ok(_) => Err(refused()),
        Err(error) if error.is_instance_of::<PyOverflowError>(seconds.py()) => {
            if is_negative(seconds)? {
                Err(refused())
            } else {
                Ok(Duration::MAX)
            }
        }
        Err(error) if error.is_instance_of::<PyTypeError>(seconds.py()) => Err(PyTypeError::new_err(
            format!("timeout is {}; give seconds as a number, or None", text(seconds)),
        )),
        Err(error) => Err(error),
    }
}

/// Start and stop of a range that `split` makes; `None` is no bound.
pub(crate) type Part<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// Ranges that cover every key, given the keys at which one ends and the next begins.
pub(crate) fn parts<'py>(py: Python<'py>, kind: KeyKind, boundaries: &KeyVec) -> PyResult<Vec<Part<'py>>> {
    let inner = boundaries.iter().map(|key| kinds::object(py, kind, key)).collect::<PyResult<Vec<_>>>()?;
    let starts = std::iter::once(None).chain(inner.iter().cloned().map(Some));
    let stops = inner.iter().cloned().map(Some).chain([None]);
    Ok(starts.zip(stops).collect())
}

/// The number of parts that `split` was asked for.
pub(crate) fn part_count(n: &Bound<'_, PyAny>) -> PyResult<usize> {
    let wanted = limit(Some(n)).ok().flatten().and_then(|n| usize::try_from(n).ok());
    match wanted {
        Some(n @ 1..=MOST_PARTS) => Ok(n),
        Some(_) => Err(PyValueError::new_err(format!("n must be from 1 to {MOST_PARTS}, not {n}"))),
        None => {
            // Not an int, or one outside every range.
            n.extract::<i64>().map_err(|error| refuse_one(error, n, Role::Bound("n")))?;
            Err(PyValueError::new_err(format!("n must be from 1 to {MOST_PARTS}, not {n}")))
        }
    }
}

fn is_negative(number: &Bound<'_, PyAny>) -> PyResult<bool> {
    static INDEX: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    INDEX.import(number.py(), "operator", "index")?.call1((number,))?.lt(0)
}
