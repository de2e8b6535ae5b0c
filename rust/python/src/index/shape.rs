//! `AlexIndex`, its shape and its health: figures, the survey that `plot` draws, the check of invariants.

use alex_index::Alex;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;

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

#[pymethods]
impl AlexIndex {
    /// Bytes of memory that the index holds. O(1).
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, Alex::nbytes)
    }

    /// Checks every invariant of the index; raises AlexError at the first that does not hold.
    ///
    /// For tests and bug reports: a failure is a bug of this library. O(keys), the GIL released.
    ///
    /// >>> x.check()
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let checked = self.ask_detached(py, Alex::check)?;
        checked.map_err(|error| alex_error(py, error.to_string()))
    }

    /// The figures of `stats` as a dict.
    fn _stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, survey, backend) =
            self.ask_detached(py, |alex| (alex.stats(), alex.survey(), alex.backend()))?;
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
        figures.set_item("errors", pyo3::types::PyTuple::new(py, survey.errors)?)?;
        figures.set_item("simd", backend.name())?;
        Ok(figures)
    }

    /// The data nodes in key order, as a dict of arrays of one length.
    fn _survey<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let leaves = self.ask_detached(py, Alex::survey)?.leaves;
        let columns = PyDict::new(py);
        column(&columns, "depth", &leaves, |leaf| leaf.depth as i64)?;
        column(&columns, "keys", &leaves, |leaf| leaf.keys as i64)?;
        column(&columns, "slots", &leaves, |leaf| leaf.slots as i64)?;
        column(&columns, "first_key", &leaves, |leaf| leaf.first_key)?;
        column(&columns, "last_key", &leaves, |leaf| leaf.last_key)?;
        column(&columns, "plain", &leaves, |leaf| leaf.plain)?;
        column(&columns, "first_slot", &leaves, |leaf| leaf.first_slot as i64)?;
        column(&columns, "last_slot", &leaves, |leaf| leaf.last_slot as i64)?;
        column(&columns, "first_at", &leaves, |leaf| leaf.first_at as i64)?;
        column(&columns, "last_at", &leaves, |leaf| leaf.last_at as i64)?;
        column(&columns, "mean_error", &leaves, |leaf| leaf.mean_error)?;
        column(&columns, "max_error", &leaves, |leaf| leaf.max_error as i64)?;
        Ok(columns)
    }

    /// One data node, by its place in key order: (keys, slots, slots that the model expects).
    fn _leaf<'py>(&self, py: Python<'py>, at: usize) -> PyResult<[Bound<'py, PyArray1<i64>>; 3]> {
        let slots = self.ask_detached(py, |alex| alex.leaf_slots(at))?;
        let column =
            |of: fn(&(i64, usize, usize)) -> i64| PyArray1::from_vec(py, slots.iter().map(of).collect());
        Ok([column(|entry| entry.0), column(|entry| entry.1 as i64), column(|entry| entry.2 as i64)])
    }
}
