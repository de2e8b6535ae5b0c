//! Care of a store: `verify`.

use std::path::PathBuf;

use alex_store::{Store as Engine, VerifyReport};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors::to_exception;
use crate::progress::with_progress;
use crate::store::Store;

/// Records, bytes, and the errors as exceptions.
type Verified<'py> = (u64, u64, Bound<'py, PyList>);

fn verified<'py>(py: Python<'py>, report: &VerifyReport) -> PyResult<Verified<'py>> {
    let errors = report.errors.iter().map(|error| to_exception(py, error).into_value(py));
    Ok((report.records, report.bytes, PyList::new(py, errors.collect::<Vec<_>>())?))
}

#[pymethods]
impl Store {
    /// The figures of `verify` as (records, bytes, errors).
    fn _verify<'py>(&self, py: Python<'py>, progress: Option<&Bound<'py, PyAny>>) -> PyResult<Verified<'py>> {
        let report = with_progress(py, progress, |progress| self.engine().verify(progress))?;
        verified(py, &report)
    }
}

/// As `Store._verify`, of the files of a store that cannot be opened.
#[pyfunction]
#[pyo3(signature = (path, progress))]
// PyO3 makes the path, and gives it away.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn _verify_files<'py>(
    py: Python<'py>,
    path: PathBuf,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Verified<'py>> {
    let report = with_progress(py, progress, |progress| Engine::verify_files(&path, progress))?;
    verified(py, &report)
}
