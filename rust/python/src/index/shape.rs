//! `AlexIndex`, its shape and its health: figures, the survey that `plot` draws, the check of invariants.

use alex_index::LeafSurvey;
use alex_store::{Key, KeyKind, Tree};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::kinds;
use crate::errors::alex_error;
use crate::index::one::AlexIndex;

/// Adds an array made of one number of each element.
fn column<S, T: numpy::Element>(
    columns: &Bound<'_, PyDict>,
    name: &str,
    rows: &[S],
    number: impl Fn(&S) -> T,
) -> PyResult<()> {
    columns.set_item(name, PyArray1::from_vec(columns.py(), rows.iter().map(number).collect()))
}

/// The keys, slots and expected slots of a data node.
type Leaf<'py> = (Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>);

fn keys(py: Python<'_>, kind: KeyKind, keys: impl Iterator<Item = Key>) -> PyResult<Bound<'_, PyAny>> {
    let mut list = kinds::list(kind, 0)?;
    keys.for_each(|key| list.push(key));
    kinds::array(py, kind, list)
}

fn columns<'py, K: Copy + Into<Key>>(
    py: Python<'py>,
    kind: KeyKind,
    leaves: &[LeafSurvey<K>],
) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    columns.set_item("first_key", keys(py, kind, leaves.iter().map(|leaf| leaf.first_key.into()))?)?;
    columns.set_item("last_key", keys(py, kind, leaves.iter().map(|leaf| leaf.last_key.into()))?)?;
    column(&columns, "depth", leaves, |leaf| leaf.depth as i64)?;
    column(&columns, "keys", leaves, |leaf| leaf.keys as i64)?;
    column(&columns, "slots", leaves, |leaf| leaf.slots as i64)?;
    column(&columns, "plain", leaves, |leaf| leaf.plain)?;
    column(&columns, "first_slot", leaves, |leaf| leaf.first_slot as i64)?;
    column(&columns, "last_slot", leaves, |leaf| leaf.last_slot as i64)?;
    column(&columns, "first_at", leaves, |leaf| leaf.first_at as i64)?;
    column(&columns, "last_at", leaves, |leaf| leaf.last_at as i64)?;
    column(&columns, "mean_error", leaves, |leaf| leaf.mean_error)?;
    column(&columns, "max_error", leaves, |leaf| leaf.max_error as i64)?;
    Ok(columns)
}

#[pymethods]
impl AlexIndex {
    /// Bytes of memory that the index holds. O(1).
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, Tree::nbytes)
    }

    /// Checks every invariant of the index; raises AlexError at the first that does not hold.
    ///
    /// For tests and bug reports: a failure is a bug of this library. O(keys), the GIL released.
    ///
    /// >>> x.check()
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let checked = self.ask_detached(py, Tree::check)?;
        checked.map_err(|error| alex_error(py, error.to_string()))
    }

    /// The figures of `stats` as a dict.
    fn _stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, backend, errors) = self.ask_detached(py, |tree| {
            let errors = match tree {
                Tree::Narrow(alex) => alex.survey().errors,
                Tree::Wide(alex) => alex.survey().errors,
            };
            (tree.stats(), tree.backend(), errors)
        })?;
        let figures = PyDict::new(py);
        figures.set_item("keys", stats.keys)?;
        figures.set_item("height", stats.height)?;
        figures.set_item("mean_depth", stats.mean_depth)?;
        figures.set_item("leaves", stats.leaves)?;
        figures.set_item("plain_leaves", stats.plain_leaves)?;
        figures.set_item("largest_leaf", stats.largest_leaf)?;
        figures.set_item("inner_nodes", stats.inner_nodes)?;
        figures.set_item("pointer_entries", stats.pointer_entries)?;
        figures.set_item("slots", stats.slots)?;
        figures.set_item("fill", stats.fill)?;
        figures.set_item("bytes", stats.bytes)?;
        figures.set_item("mean_error", stats.mean_error)?;
        figures.set_item("max_error", stats.max_error)?;
        figures.set_item("errors", pyo3::types::PyTuple::new(py, errors)?)?;
        figures.set_item("simd", backend.name())?;
        Ok(figures)
    }

    /// The data nodes in key order, as a dict of arrays of one length.
    fn _survey<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (narrow, wide) = self.ask_detached(py, |tree| match tree {
            Tree::Narrow(alex) => (alex.survey().leaves, Vec::new()),
            Tree::Wide(alex) => (Vec::new(), alex.survey().leaves),
        })?;
        // An index has a data node at least.
        if wide.is_empty() { columns(py, self.kind(), &narrow) } else { columns(py, self.kind(), &wide) }
    }

    /// One data node, by its place in key order: (keys, slots, slots that the model expects).
    fn _leaf<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Leaf<'py>> {
        let slots: Vec<(Key, usize, usize)> = self.ask_detached(py, |tree| match tree {
            Tree::Narrow(alex) => {
                let slots = alex.leaf_slots(at).into_iter();
                slots.map(|(key, slot, expected)| (key.into(), slot, expected)).collect()
            }
            Tree::Wide(alex) => alex.leaf_slots(at),
        })?;
        let column = |of: fn(&(Key, usize, usize)) -> usize| {
            PyArray1::from_vec(py, slots.iter().map(|entry| of(entry) as i64).collect())
        };
        let keys = keys(py, self.kind(), slots.iter().map(|entry| entry.0))?;
        Ok((keys, column(|entry| entry.1), column(|entry| entry.2)))
    }
}
