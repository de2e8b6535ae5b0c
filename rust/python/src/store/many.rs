//! `Store`, changes of many keys in one call. All of them convert their arguments while attached and work detached.

use alex_store::{Error, SortedKeys, ValueSource};
use pyo3::prelude::*;

use crate::convert::arrays::array;
use crate::convert::keys::Deltas;
use crate::convert::{bounds, keys, kinds, values};
use crate::errors::{detached, to_exception};
use crate::progress::with_progress;
use crate::store::batch::WriteBatch;
use crate::store::one::Store;

#[pymethods]
impl Store {
    /// Stores `values[i]` under `keys[i]` for every i in one atomic batch; returns how many distinct keys.
    ///
    /// `keys`: a one-dimensional array or buffer of the store's kind (native int64 is read without a
    /// conversion), an Arrow array of it, or any iterable of keys. `values`: a sequence or iterator of values
    /// as in `put`; or an array whose first axis is the keys, each row's memory one value; or an Arrow binary
    /// array. With a codec: values that it takes; with `codecs.numpy` and `codecs.struct` also one array of
    /// them, and with `codecs.text` an Arrow array of text. The last duplicate of a key wins. With
    /// `sync=True` the call returns once everything is safe on the device. A crash leaves all of it or
    /// nothing. Arrays are read where they lie: what another thread writes into one meanwhile is stored as it
    /// happens to be read, and none may free or resize one, which NumPy allows with `refcheck=False`. Raises
    /// ValueError if the lengths differ, and what `put` raises; nothing is written then. O(bytes), the GIL
    /// released.
    ///
    /// >>> s.put_many(np.array([3, 1, 3]), [b"a", b"b", b"c"])
    /// 2
    /// >>> list(s.items())
    /// [(1, b'b'), (3, b'c')]
    #[pyo3(
        signature = (keys, values=None, *, sync=false),
        text_signature = "($self, keys, values, *, sync=False)"
    )]
    fn put_many(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        sync: bool,
    ) -> PyResult<u64> {
        let values = values::given(keys, values, Some("update"))?;
        let keys = kinds::many(self.kind(), keys)?;
        let values = values::many(self.codec(), keys.as_keys(), values)?;
        let source = values.source();
        values::check_count(keys.len(), source.len())?;
        self.detached(py, |engine| engine.put_many(&keys, &source, sync))
    }

    /// Stores `values[i]` under `keys[i]` for every i, sorted by key; returns how many distinct keys.
    ///
    /// Values are written in the order of their keys, whatever order they come in, so that ranges are read
    /// sequentially later; the sorting makes it slower than `put_many` at writing. One atomic commit, also if
    /// the store is not empty. `keys`, `values`, errors and what other
    /// threads must leave alone are as in `put_many`; one call takes at most 32
    /// GiB of records. `progress(done, total)` is called with bytes before the work, after the sorting, and
    /// at the end; an exception that it raises before the end leaves the store as it was. O(n log n + bytes),
    /// the GIL released.
    ///
    /// >>> s.bulk_load([3, 1, 3], [b"a", b"b", b"c"])
    /// 2
    /// >>> list(s.items())
    /// [(1, b'b'), (3, b'c')]
    #[pyo3(
        signature = (keys, values=None, *, progress=None),
        text_signature = "($self, keys, values, *, progress=None)"
    )]
    fn bulk_load(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let values = values::given(keys, values, Some("update"))?;
        let keys = kinds::many(self.kind(), keys)?;
        let engine = self.check_open(py)?;
        let Some(progress) = progress.filter(|progress| !progress.is_none()) else {
            // Sorted first, so that the last check for Ctrl-C comes before the values are lent to the engine.
            let sorted = detached(py, || SortedKeys::of(&keys))?;
            py.check_signals()?;
            let values = values::many(self.codec(), keys.as_keys(), values)?;
            let source = values.source();
            values::check_count(keys.len(), source.len())?;
            return detached(py, || engine.load_sorted(&sorted, &source));
        };
        // The callback can do anything to an array.
        let values = values::many(self.codec(), keys.as_keys(), values)?.owned()?;
        let source = values.source();
        values::check_count(keys.len(), source.len())?;
        with_progress(py, Some(progress), |progress| engine.bulk_load(&keys, &source, progress))
    }

    /// Adds `deltas[i]` to the counter under `keys[i]` for every i, in one commit; returns the totals.
    ///
    /// A counter is a value of 8 bytes, little-endian: an int64 if `deltas` are integers, a float64 if they
    /// are floats (or some of them, in a list). An absent key counts as 0. `deltas`: a one-dimensional array,
    /// an iterable, or one number for all keys. Equal keys add up in order. The result is an int64 or float64
    /// array of the length of `keys`: the total after each addition. No other write comes in between. In a
    /// store with a codec its values must be such numbers, else TypeError. Raises ValueError for a value that
    /// is not 8 bytes long and OverflowError for a sum outside int64, both naming the key, and what
    /// `put_many` raises; nothing is written then. O(n log n), the GIL released.
    ///
    /// >>> s.add_many([7, 8, 7], [1, 10, 2]).tolist()
    /// [1, 10, 3]
    /// >>> s.add_many([7, 8], 1).tolist(), s.get_array([7, 8], np.int64).tolist()
    /// ([4, 11], [4, 11])
    fn add_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        deltas: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let keys = kinds::many(self.kind(), keys)?;
        let deltas = keys::deltas(deltas, keys.len())?;
        let deltas = match self.codec() {
            Some(codec) => codec.deltas(deltas)?,
            None => deltas,
        };
        match deltas {
            Deltas::Ints(deltas) => {
                let totals = self.detached(py, |engine| engine.add_many(&keys, &deltas))?;
                Ok(array(py, totals).into_any())
            }
            Deltas::Floats(deltas) => {
                let totals = self.detached(py, |engine| engine.add_many(&keys, &deltas))?;
                Ok(array(py, totals).into_any())
            }
        }
    }

    /// Removes many keys in one atomic batch; returns how many of them were present.
    ///
    /// `keys` as in `put_many`; duplicates count once. Raises as `put_many`. O(keys), the GIL released.
    ///
    /// >>> s.put_many([1, 2, 3], [b"", b"", b""])
    /// 3
    /// >>> s.delete_many([1, 2, 2, 9])
    /// 2
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<u64> {
        let keys = kinds::many(self.kind(), keys)?;
        self.detached(py, |engine| engine.delete_many(&keys))
    }

    /// Removes every key of `start <= key < stop` in one commit; returns how many there were.
    ///
    /// Bounds as in `scan`, but at least one must be given, else TypeError: `clear` removes everything.
    /// Raises what `put` raises when it cannot write.
    ///
    /// >>> s.put_many([1, 2, 3], [b"", b"", b""])
    /// 3
    /// >>> s.delete_range(2)
    /// 2
    #[pyo3(signature = (start=None, stop=None))]
    fn delete_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        match bounds::deleted_range(self.kind(), start, stop)? {
            Some((start, stop)) => self.detached(py, |engine| engine.delete_range(start, stop)),
            // An empty range, but the engine must still refuse what it cannot write.
            None => self.detached(py, |engine| engine.delete_many(&[0_i64; 0])),
        }
    }

    /// A `WriteBatch`: writes that commit together when its `with` block ends.
    ///
    /// With `sync=True` the commit returns once everything is safe on the device, at any durability.
    /// Raises ReadOnlyError or ClosedError. O(1).
    ///
    /// >>> with s.batch() as b:
    /// ...     b.put(1, b"one")
    /// ...     b.put(2, b"two")
    /// >>> len(s)
    /// 2
    #[pyo3(signature = (sync=false))]
    fn batch(slf: &Bound<'_, Self>, sync: bool) -> PyResult<WriteBatch> {
        let store = slf.get();
        let engine = store.check_open(slf.py())?;
        if engine.read_only() {
            let path = engine.path().to_owned();
            return Err(to_exception(slf.py(), &Error::ReadOnly { path }));
        }
        Ok(WriteBatch::new(slf, sync))
    }
}
