//! `AlexIndex`, many keys in one call. All work detached, in pieces, with a check for Ctrl-C between two.

use alex_store::{KeyVec, Keys, Tree};
use numpy::PyArray1;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;

use crate::convert::arrays::array;
use crate::convert::keys::{Role, many, one_value};
use crate::convert::{bounds, kinds, values};
use crate::index::one::{AlexIndex, INDEX_BYTES_A_KEY, PIECE_KEYS, payloads};
use crate::memory::{filled, probe};

/// How many different keys there are; O(n) if they ascend.
fn distinct(keys: &KeyVec) -> usize {
    fn ascend<K: Ord>(keys: &[K]) -> bool {
        keys.is_sorted_by(|a, b| a < b)
    }
    let sorted = match keys.as_keys() {
        Keys::Narrow(keys) => ascend(keys),
        Keys::Wide(keys) => ascend(keys),
    };
    if sorted {
        return keys.len();
    }
    let mut keys = keys.clone();
    keys.sort_and_dedup();
    keys.len()
}

#[pymethods]
impl AlexIndex {
    /// Stores `values[i]` under `keys[i]` for every i; returns how many distinct keys.
    ///
    /// Both are one-dimensional integer arrays or buffers (native int64 is read without a copy), Arrow
    /// integer arrays, or iterables of ints, of the same length. The last duplicate of a key wins.
    /// Arrays are read where they lie: what another thread writes into one meanwhile is stored as it happens
    /// to be read, and none may free or resize one, which NumPy allows with `refcheck=False`.
    /// Raises TypeError, OverflowError or ValueError for what is none of these; nothing is stored then.
    /// O(keys), the GIL released. Ctrl-C is checked for after each million keys, which stay stored.
    ///
    /// >>> x.put_many(np.array([3, 1, 3]), [30, 10, 33])
    /// 2
    /// >>> list(x.items())
    /// [(1, 10), (3, 33)]
    #[pyo3(signature = (keys, values=None), text_signature = "($self, keys, values)")]
    fn put_many(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let values = values::given(keys, values, Some("update"))?;
        let keys = kinds::many(self.kind(), keys)?;
        let values = many(values, Role::Value)?;
        values::check_count(keys.len(), values.len())?;
        let mut replaced = 0usize;
        for (keys, values) in keys.as_keys().chunks(PIECE_KEYS).zip(values.chunks(PIECE_KEYS)) {
            py.check_signals()?;
            probe(keys.len().saturating_mul(INDEX_BYTES_A_KEY))?;
            self.change_detached(py, |tree| {
                tree.insert_many(keys, payloads(values), |_, _| replaced += 1);
            })?;
        }
        // A replaced value may be one that this batch has put.
        Ok(if replaced == 0 { keys.len() } else { py.detach(|| distinct(&keys)) })
    }

    /// The values of many keys as an int64 array of the same length.
    ///
    /// `keys` as in `put_many`. An absent key raises KeyError naming it, unless `default`, an int64, is given
    /// in its place. O(keys); lookups are interleaved, the GIL is released.
    ///
    /// >>> x.put_many([1, 2], [10, 20])
    /// 2
    /// >>> x.get_many([2, 1, 5], default=-1).tolist()
    /// [20, 10, -1]
    #[pyo3(signature = (keys, default=None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        default: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let keys = kinds::many(self.kind(), keys)?;
        let default = default.map(one_value).transpose()?;
        let mut found = filled(default.unwrap_or_default(), keys.len())?;
        for (piece, found) in keys.as_keys().chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            py.check_signals()?;
            let missing = self.ask_detached(py, |tree| lookup_many(tree, piece, found))?;
            if let (Some(position), None) = (missing, default) {
                let key = piece.get(position);
                return Err(PyKeyError::new_err(kinds::object(py, self.kind(), key)?.unbind()));
            }
        }
        Ok(array(py, found))
    }

    /// Which of many keys are present, as a bool array of the same length.
    ///
    /// `keys` and errors as in `put_many`. O(keys), the GIL released.
    ///
    /// >>> x[1] = 10
    /// >>> x.contains_many([0, 1]).tolist()
    /// [False, True]
    fn contains_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let keys = kinds::many(self.kind(), keys)?;
        let mut found = filled(false, keys.len())?;
        for (piece, found) in keys.as_keys().chunks(PIECE_KEYS).zip(found.chunks_mut(PIECE_KEYS)) {
            py.check_signals()?;
            self.ask_detached(py, |tree| tree.get_many(piece, |i, payload| found[i] = payload.is_some()))?;
        }
        Ok(array(py, found))
    }

    /// Removes many keys; returns how many of them were present.
    ///
    /// `keys`, errors and Ctrl-C as in `put_many`; duplicates count once. O(keys), the GIL released.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.delete_many([1, 2, 2, 9])
    /// 2
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let keys = kinds::many(self.kind(), keys)?;
        let mut removed = 0;
        for keys in keys.as_keys().chunks(PIECE_KEYS) {
            py.check_signals()?;
            removed += self.change_detached(py, |tree| remove_many(tree, keys))?;
        }
        Ok(removed)
    }

    /// Removes every key of `start <= key < stop`; returns how many there were.
    ///
    /// Bounds as in `scan`, but at least one must be given, else TypeError: `clear` removes everything.
    /// O(keys removed), and the memory of a million keys.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.delete_range(2)
    /// 2
    #[pyo3(signature = (start=None, stop=None))]
    fn delete_range(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let Some((start, stop)) = bounds::deleted_range(self.kind(), start, stop)? else {
            return Ok(0);
        };
        self.change_detached(py, |tree| {
            let (mut keys, mut payloads) = (KeyVec::default(), Vec::new());
            let mut removed = 0;
            loop {
                keys.clear();
                payloads.clear();
                tree.scan_into(start, stop, false, PIECE_KEYS, &mut keys, &mut payloads);
                removed += remove_many(tree, keys.as_keys());
                if payloads.len() < PIECE_KEYS || tree.damage().is_some() {
                    return removed;
                }
            }
        })
    }
}

/// Looks up `keys` and returns the first missing position. `found` stays as it is at the positions of
/// missing keys.
fn lookup_many(tree: &Tree, keys: Keys<'_>, found: &mut [i64]) -> Option<usize> {
    let mut missing = None;
    tree.get_many(keys, |i, payload| match payload {
        Some(payload) => found[i] = payload as i64,
        None => missing = missing.or(Some(i)),
    });
    missing
}

fn remove_many(tree: &mut Tree, keys: Keys<'_>) -> usize {
    let mut removed = 0;
    tree.remove_many(keys, |_, _| removed += 1);
    removed
}
