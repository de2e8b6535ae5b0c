//! `Store` and `Snapshot`, the calls that depend on the order of keys: neighbours, ranges and counts. All detach.

use alex_store::{KeyVec, Reader as EngineReader, Scan};
use pyo3::prelude::*;

use crate::convert::bounds::{self, Part, ScanRequest};
use crate::convert::scans::scan_method;
use crate::convert::{keys, kinds};
use crate::errors::detached;
use crate::store::handle::drop_version;
use crate::store::read_ahead::PIECE_KEYS;
use crate::store::read_many::LARGE_PIECE_KEYS;
use crate::store::reader::{Item, Reader, item};
use crate::store::scan::StoreIterator;

#[pymethods]
impl Reader {
    // ---- order ----

    /// The item with the smallest key, or None if the store is empty.
    ///
    /// Returns (key, value). Raises ClosedError, CorruptionError. O(1).
    ///
    /// >>> s.put_many([1, 2], [b"one", b"two"])
    /// 2
    /// >>> s.first()
    /// (1, b'one')
    fn first<'py>(&self, py: Python<'py>) -> PyResult<Option<Item<'py>>> {
        item(py, self.kind(), self.codec(), self.detached(py, EngineReader::first)?)
    }

    /// The item with the largest key, or None if the store is empty.
    ///
    /// Returns (key, value). Raises ClosedError, CorruptionError. O(1).
    ///
    /// >>> s.put_many([1, 2], [b"one", b"two"])
    /// 2
    /// >>> s.last()
    /// (2, b'two')
    fn last<'py>(&self, py: Python<'py>) -> PyResult<Option<Item<'py>>> {
        item(py, self.kind(), self.codec(), self.detached(py, EngineReader::last)?)
    }

    /// The item with the largest key at or below `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.floor(19), s.floor(9)
    /// ((10, b'a'), None)
    fn floor<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = kinds::one(self.kind(), key)?;
        item(py, self.kind(), self.codec(), self.detached(py, |reader| reader.floor(key))?)
    }

    /// The item with the smallest key at or above `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.ceiling(11), s.ceiling(21)
    /// ((20, b'b'), None)
    fn ceiling<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = kinds::one(self.kind(), key)?;
        item(py, self.kind(), self.codec(), self.detached(py, |reader| reader.ceiling(key))?)
    }

    /// The item with the largest key below `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.lower(20), s.lower(10)
    /// ((10, b'a'), None)
    fn lower<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = kinds::one(self.kind(), key)?;
        item(py, self.kind(), self.codec(), self.detached(py, |reader| reader.lower(key))?)
    }

    /// The item with the smallest key above `key`, or None.
    ///
    /// Returns (key, value). Raises as `get`. O(1) in practice.
    ///
    /// >>> s.put_many([10, 20], [b"a", b"b"])
    /// 2
    /// >>> s.higher(10), s.higher(20)
    /// ((20, b'b'), None)
    fn higher<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Item<'py>>> {
        let key = kinds::one(self.kind(), key)?;
        item(py, self.kind(), self.codec(), self.detached(py, |reader| reader.higher(key))?)
    }

    // ---- ranges ----

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<StoreIterator> {
        StoreIterator::over(slf, ScanRequest::of_keys(false))
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> PyResult<StoreIterator> {
        StoreIterator::over(slf, ScanRequest::of_keys(true))
    }

    /// The number of keys of `start <= key < stop`.
    ///
    /// Bounds and errors as in `scan`. No value is read.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> s.count(2), s.count()
    /// (2, 3)
    #[pyo3(signature = (start=None, stop=None))]
    fn count(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        match bounds::range(self.kind(), start, stop, true, false)? {
            Some((start, stop)) => self.detached(py, |reader| reader.count(start, stop)),
            None => self.check_open(py).map(|_| 0),
        }
    }

    /// How many keys are below `key`, which need not be there.
    ///
    /// Raises TypeError or OverflowError for what is no key of the store's kind. O(log n); the first call of
    /// `rank`, `nth` or `sample`, and the first after many changes, counts each node of the index, O(index
    /// nodes). A snapshot takes O(keys below it that have changed since). No value is read.
    ///
    /// >>> s.put_many([10, 20, 30], [b"a", b"b", b"c"])
    /// 3
    /// >>> s.rank(20), s.rank(21), s.rank(-5)
    /// (1, 2, 0)
    fn rank(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<u64> {
        let key = kinds::one(self.kind(), key)?;
        self.detached(py, |reader| reader.rank(key))
    }

    /// The item with `i` keys below it; with `i < 0` counted from the end, as in a list.
    ///
    /// Returns (key, value). Raises IndexError if there are not so many keys, TypeError if `i` is not an int,
    /// and as `get`. Takes as long as `rank`.
    ///
    /// >>> s.put_many([10, 20, 30], [b"a", b"b", b"c"])
    /// 3
    /// >>> s.nth(1), s.nth(-1)
    /// ((20, b'b'), (30, b'c'))
    fn nth<'py>(&self, py: Python<'py>, i: &Bound<'py, PyAny>) -> PyResult<Item<'py>> {
        let found = match bounds::place(i)? {
            Some((rank, from_end)) => {
                item(py, self.kind(), self.codec(), self.detached(py, |reader| reader.nth(rank, from_end))?)?
            }
            None => None,
        };
        found.ok_or_else(|| bounds::no_place(i))
    }

    /// `keys` as an array of the store's kind, in their order, be they in the store or not.
    fn _keys_as_array<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        kinds::array(py, self.kind(), kinds::many(self.kind(), keys)?)
    }

    /// The keys at `ranks`, which ascend; without those that are too large.
    fn _keys_at<'py>(&self, py: Python<'py>, ranks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let ranks = keys::many(ranks, keys::Role::Bound("ranks"))?;
        let moment = self.moment(py)?;
        let mut keys = KeyVec::default();
        for piece in ranks.chunks(PIECE_KEYS) {
            py.check_signals()?;
            let piece: Vec<u64> = piece.iter().map(|&rank| rank as u64).collect();
            detached(py, || moment.keys_at(&piece, &mut keys))?;
        }
        kinds::array(py, self.kind(), keys)
    }

    /// The keys of `start <= key < stop` as an array of the store's kind, ascending.
    ///
    /// `np.asarray(s.keys())` is the same for all keys. Bounds and errors as in `scan`; all keys are of one
    /// moment. O(keys), the GIL released; no value is read.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> s.keys_array(2).tolist(), np.asarray(s.keys()).tolist()
    /// ([2, 3], [1, 2, 3])
    #[pyo3(signature = (start=None, stop=None))]
    fn keys_array<'py>(
        &self,
        py: Python<'py>,
        start: Option<&Bound<'py, PyAny>>,
        stop: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let range = bounds::scan_range(bounds::range(self.kind(), start, stop, true, false)?, false, None);
        let mut scan = self.detached(py, |reader| reader.scan(range))?;
        let likely = detached(py, || scan.likely_left())?;
        let likely = usize::try_from(likely).unwrap_or(usize::MAX);
        let mut keys = kinds::list(self.kind(), likely)?;
        loop {
            py.check_signals()?;
            let had = keys.len();
            detached(py, || scan.next_keys_into(LARGE_PIECE_KEYS, &mut keys))?;
            if keys.len() - had < LARGE_PIECE_KEYS {
                drop_version(scan, Scan::keeps_something);
                return kinds::array(py, self.kind(), keys);
            }
        }
    }

    /// `n` ranges (start, stop) that cover everything and whose counts differ by one at most.
    ///
    /// For parallel work: pass them to `scan`, `scan_batches` or `count`. The first start and the last
    /// stop are None. With fewer keys than `n` some ranges are empty. Raises ValueError if `n` is not
    /// from 1 to 2**24, TypeError if it is not an int, ClosedError. No value is read. O(index nodes + n).
    ///
    /// >>> s.put_many(range(10), [b""] * 10)
    /// 10
    /// >>> s.split(3)
    /// [(None, 3), (3, 6), (6, None)]
    fn split<'py>(&self, py: Python<'py>, n: &Bound<'py, PyAny>) -> PyResult<Vec<Part<'py>>> {
        let parts = bounds::part_count(n)?;
        bounds::parts(py, self.kind(), &self.detached(py, |reader| reader.boundaries(parts))?)
    }
}

scan_method! {
    /// Iterates over (key, value) of `start <= key < stop`, in key order.
    ///
    /// Bounds are keys, or any ints where keys are ints (clamped to them), or None for no bound;
    /// `include_start` and `include_stop` say whether a bound belongs to the range; `reverse=True` goes from
    /// the top without swapping the bounds; `limit` is the most items. The iterator sees the store as it was
    /// when the iterator was made, whatever is written meanwhile. Raises TypeError for other bounds,
    /// ValueError for a negative limit, ClosedError once the store is closed. O(1) to make, O(1) an item.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> list(s.scan(1, 3)), list(s.scan(limit=1, reverse=True))
    /// ([(1, b'a'), (2, b'b')], [(3, b'c')])
    Reader.scan yields Items by StoreIterator
}

scan_method! {
    /// Iterates over the keys of a range; no value is read.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> list(s.scan_keys(2))
    /// [2, 3]
    Reader.scan_keys yields Keys by StoreIterator
}

scan_method! {
    /// Iterates over the values of a range, in the order of their keys.
    ///
    /// Arguments and errors as in `scan`.
    ///
    /// >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
    /// 3
    /// >>> list(s.scan_values(stop=3))
    /// [b'a', b'b']
    Reader.scan_values yields Values by StoreIterator
}
