//! `AlexIndex`, what has to do with the order of keys: neighbours, counts, and parts of equal counts.

use alex_store::{KeyKind, KeyVec, Neighbour, Tree};
use numpy::PyArray1;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::arrays::array;
use crate::convert::keys::{Role, many};
use crate::convert::{bounds, kinds};
use crate::index::one::{AlexIndex, Item, PIECE_KEYS};
use crate::memory::filled;

/// Ranges read between two checks for Ctrl-C.
const PIECE_RANGES: usize = 4_096;

/// Neighbours of many keys: keys, values and whether there is one.
type Neighbours<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<bool>>);

/// Keys and values.
type Columns<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>);

impl AlexIndex {
    fn neighbours<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        which: Neighbour,
    ) -> PyResult<Neighbours<'py>> {
        let kind = self.kind();
        let keys = kinds::many(kind, keys)?;
        let mut near = kinds::list(kind, keys.len())?;
        (0..keys.len()).for_each(|_| near.push(0));
        let (mut values, mut found) = (filled(0, keys.len())?, filled(false, keys.len())?);
        for (piece, keys) in keys.as_keys().chunks(PIECE_KEYS).enumerate() {
            py.check_signals()?;
            let at = piece * PIECE_KEYS;
            self.ask_detached(py, |tree| {
                tree.nearest_many(keys, which, |i, neighbour| {
                    if let Some((key, payload)) = neighbour {
                        near.set(at + i, key);
                        (values[at + i], found[at + i]) = (payload as i64, true);
                    }
                });
            })?;
        }
        kinds::mark_absent(kind, &mut near, &found);
        Ok((kinds::array(py, kind, near)?, array(py, values), array(py, found)))
    }

    /// The keys and values of a range, ascending.
    fn columns<'py>(
        &self,
        py: Python<'py>,
        start: Option<&Bound<'py, PyAny>>,
        stop: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Columns<'py>> {
        let (mut keys, mut payloads) = (kinds::list(self.kind(), 0)?, Vec::new());
        if let Some((start, stop)) = bounds::range(self.kind(), start, stop, true, false)? {
            self.copy_detached(py, |tree| {
                tree.scan_into(start, stop, false, usize::MAX, &mut keys, &mut payloads);
            })?;
        }
        Ok((kinds::array(py, self.kind(), keys)?, array(py, in_place(payloads))))
    }
}

/// Payloads as values, in the same allocation: both types have one layout.
fn in_place(payloads: Vec<u64>) -> Vec<i64> {
    payloads.into_iter().map(|payload| payload as i64).collect()
}

/// The ends of many ranges.
fn ends(kind: KeyKind, ends: &Bound<'_, PyAny>, name: &'static str) -> PyResult<KeyVec> {
    if kind == KeyKind::Int64 {
        many(ends, Role::Bound(name)).map(KeyVec::from)
    } else {
        kinds::many(kind, ends)
    }
}

#[pymethods]
impl AlexIndex {
    /// The item with the smallest key, or None if the index is empty. O(1).
    ///
    /// Returns (key, value).
    ///
    /// >>> x.put_many([1, 2], [10, 20])
    /// 2
    /// >>> x.first()
    /// (1, 10)
    fn first<'py>(&self, py: Python<'py>) -> PyResult<Option<Item<'py>>> {
        self.item(py, self.read(py, Tree::first)?)
    }

    /// The item with the largest key, or None if the index is empty. O(1).
    ///
    /// Returns (key, value).
    ///
    /// >>> x.put_many([1, 2], [10, 20])
    /// 2
    /// >>> x.last()
    /// (2, 20)
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Option<Item<'py>>> {
        self.item(py, self.read(py, Tree::last)?)
    }

    /// The item with the largest key at or below `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> x.put_many([10, 20], [1, 2])
    /// 2
    /// >>> x.floor(19), x.floor(9)
    /// ((10, 1), None)
    fn floor<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = self.one(key)?;
        self.item(py, self.read(py, |tree| tree.floor(key))?)
    }

    /// The item with the smallest key at or above `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> x.put_many([10, 20], [1, 2])
    /// 2
    /// >>> x.ceiling(11), x.ceiling(21)
    /// ((20, 2), None)
    fn ceiling<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = self.one(key)?;
        self.item(py, self.read(py, |tree| tree.ceiling(key))?)
    }

    /// The item with the largest key below `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> x.put_many([10, 20], [1, 2])
    /// 2
    /// >>> x.lower(20), x.lower(10)
    /// ((10, 1), None)
    fn lower<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = self.one(key)?;
        self.item(py, self.read(py, |tree| tree.lower(key))?)
    }

    /// The item with the smallest key above `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> x.put_many([10, 20], [1, 2])
    /// 2
    /// >>> x.higher(10), x.higher(20)
    /// ((20, 2), None)
    fn higher<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = self.one(key)?;
        self.item(py, self.read(py, |tree| tree.higher(key))?)
    }

    /// For many keys, the item at or below each: (keys, values, found).
    ///
    /// Three arrays of the length of `keys`: of the index's kind, int64 and bool. If the index holds nothing
    /// at or below a key, `found` is False there and the other two are 0 (a moment is NaT). `keys` and errors
    /// as in `put_many`. O(keys), the GIL released.
    ///
    /// >>> x.put_many([10, 20], [1, 2])
    /// 2
    /// >>> keys, values, found = x.floor_many([19, 9, 20])
    /// >>> keys.tolist(), values.tolist(), found.tolist()
    /// ([10, 0, 20], [1, 0, 2], [True, False, True])
    fn floor_many<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Neighbours<'py>> {
        self.neighbours(py, keys, Neighbour::Floor)
    }

    /// For many keys, the item at or above each: (keys, values, found).
    ///
    /// As `floor_many`.
    ///
    /// >>> x.put_many([10, 20], [1, 2])
    /// 2
    /// >>> keys, values, found = x.ceiling_many([11, 21])
    /// >>> keys.tolist(), values.tolist(), found.tolist()
    /// ([20, 0], [2, 0], [True, False])
    fn ceiling_many<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Neighbours<'py>> {
        self.neighbours(py, keys, Neighbour::Ceiling)
    }

    /// The keys and the values of `start <= key < stop` as two arrays of the same length.
    ///
    /// Bounds and errors as in `scan`. O(keys), about a nanosecond each, the GIL released.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> keys, values = x.scan_arrays(2)
    /// >>> keys.tolist(), values.tolist()
    /// ([2, 3], [20, 30])
    #[pyo3(signature = (start=None, stop=None))]
    fn scan_arrays<'py>(
        &self,
        py: Python<'py>,
        start: Option<&Bound<'py, PyAny>>,
        stop: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Columns<'py>> {
        self.columns(py, start, stop)
    }

    /// The keys of `start <= key < stop` as an array of the index's kind, ascending.
    ///
    /// `np.asarray(x.keys())` is the same for all keys. Bounds and errors as in `scan`. O(keys), about a
    /// nanosecond each, the GIL released.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.keys_array(2).tolist(), np.asarray(x.keys()).tolist()
    /// ([2, 3], [1, 2, 3])
    #[pyo3(signature = (start=None, stop=None))]
    fn keys_array<'py>(
        &self,
        py: Python<'py>,
        start: Option<&Bound<'py, PyAny>>,
        stop: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.columns(py, start, stop).map(|(keys, _)| keys)
    }

    /// The items of many ranges, one range after the other: (keys, values, offsets).
    ///
    /// Range i is `starts[i] <= key < stops[i]`; its items are those from `offsets[i]` to `offsets[i + 1]`
    /// of the two arrays. `starts` and `stops` are as the keys of `put_many`, of the same length;
    /// ranges may overlap and come in any order. Raises TypeError, OverflowError or ValueError for what is
    /// none of these. O(ranges + keys): the memory of the next range is prefetched meanwhile, so that a short
    /// range takes half the time of a call of `scan_arrays`. The GIL is released; Ctrl-C is checked for after
    /// each 4,096 ranges.
    ///
    /// >>> x.put_many([1, 2, 3, 4], [10, 20, 30, 40])
    /// 4
    /// >>> keys, values, offsets = x.scan_many([3, 1], [9, 3])
    /// >>> keys.tolist(), values.tolist(), offsets.tolist()
    /// ([3, 4, 1, 2], [30, 40, 10, 20], [0, 2, 4])
    #[allow(clippy::type_complexity)]
    fn scan_many<'py>(
        &self,
        py: Python<'py>,
        starts: &Bound<'py, PyAny>,
        stops: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>)> {
        let starts = ends(self.kind(), starts, "starts")?;
        let stops = ends(self.kind(), stops, "stops")?;
        if starts.len() != stops.len() {
            let (starts, stops) = (starts.len(), stops.len());
            return Err(PyValueError::new_err(format!("there are {starts} starts and {stops} stops")));
        }
        let (mut keys, mut payloads) = (kinds::list(self.kind(), 0)?, Vec::new());
        let mut offsets = Vec::with_capacity(starts.len() + 1);
        offsets.push(0);
        let (starts, stops) = (starts.as_keys(), stops.as_keys());
        for (starts, stops) in starts.chunks(PIECE_RANGES).zip(stops.chunks(PIECE_RANGES)) {
            py.check_signals()?;
            self.copy_detached(py, |tree| {
                tree.scan_many(starts, stops, &mut keys, &mut payloads, |end| offsets.push(end as i64));
            })?;
        }
        let values = array(py, in_place(payloads));
        Ok((kinds::array(py, self.kind(), keys)?, values, array(py, offsets)))
    }

    /// The number of keys of `start <= key < stop`.
    ///
    /// Bounds and errors as in `scan`.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.count(2), x.count()
    /// (2, 3)
    #[pyo3(signature = (start=None, stop=None))]
    fn count(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let Some((start, stop)) = bounds::range(self.kind(), start, stop, true, false)? else {
            return Ok(0);
        };
        self.ask_detached(py, |tree| tree.count(start, stop))
    }

    /// How many keys are below `key`, which need not be there.
    ///
    /// Raises TypeError or OverflowError for what is no key of the index's kind. O(log n); the first call of
    /// `rank` or `nth`, and the first after many changes, counts each node, O(data nodes).
    ///
    /// >>> x.put_many([10, 20, 30], [1, 2, 3])
    /// 3
    /// >>> x.rank(20), x.rank(21), x.rank(-5)
    /// (1, 2, 0)
    fn rank(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        let key = self.one(key)?;
        self.ask_detached(py, |tree| tree.rank(key))
    }

    /// The item with `i` keys below it; with `i < 0` counted from the end, as in a list.
    ///
    /// Returns (key, value). Raises IndexError if there are not so many keys, TypeError if `i` is not an int.
    /// Takes as long as `rank`.
    ///
    /// >>> x.put_many([10, 20, 30], [1, 2, 3])
    /// 3
    /// >>> x.nth(1), x.nth(-1)
    /// ((20, 2), (30, 3))
    fn nth<'py>(&self, py: Python<'py>, i: &Bound<'py, PyAny>) -> PyResult<Item<'py>> {
        let found = match bounds::place(i)? {
            Some((rank, from_end)) => self.ask_detached(py, |tree| {
                let rank = usize::try_from(rank).unwrap_or(usize::MAX);
                let rank = if from_end { tree.len().checked_sub(1)?.checked_sub(rank)? } else { rank };
                tree.nth(rank)
            })?,
            None => None,
        };
        self.item(py, found)?.ok_or_else(|| bounds::no_place(i))
    }

    /// `n` ranges (start, stop) that cover everything and whose counts differ by one at most.
    ///
    /// For parallel work: pass them to `scan` or `scan_arrays`. The first start and the last stop are
    /// None. With fewer keys than `n` some ranges are empty. Raises ValueError if `n` is not from 1 to
    /// 2**24, TypeError if it is not an int. O(data nodes + n).
    ///
    /// >>> x.put_many(range(10), range(10))
    /// 10
    /// >>> x.split(3)
    /// [(None, 3), (3, 6), (6, None)]
    fn split<'py>(&self, py: Python<'py>, n: &Bound<'py, PyAny>) -> PyResult<Vec<bounds::Part<'py>>> {
        let parts = bounds::part_count(n)?;
        bounds::parts(py, self.kind(), &self.ask_detached(py, |tree| tree.boundaries(parts))?)
    }
}
