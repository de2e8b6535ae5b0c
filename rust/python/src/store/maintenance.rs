//! Maintenance of a store: `verify`, `compact`, `checkpoint`, `backup`, `repair` of one that does not open, and mirrors.

use std::path::PathBuf;

use alex_store::{RepairMode, Store as Engine, VerifyReport};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors::{detached, to_exception};
use crate::progress::with_progress;
use crate::store::one::Store;

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
        let engine = self.engine(py)?;
        let report = with_progress(py, progress, |progress| engine.verify(progress))?;
        verified(py, &report)
    }

    /// Makes a store in the new directory `dest` that holds what this one holds now.
    ///
    /// Reads and writes go on meanwhile. `dest` must not exist or must be empty; it gets its name only when
    /// all of it is safe on the device. Finished files are hard links if the file system allows, which costs
    /// no space but shares the fate of the disk: copy `dest` elsewhere against its loss. `progress(done,
    /// total)` is called every few mebibytes with bytes; an exception that it raises stops the call. Raises
    /// ValueError if `dest` is not empty, is a symbolic link or lies inside the store, OSError, ClosedError.
    /// O(bytes copied), the GIL released.
    ///
    /// >>> import tempfile
    /// >>> s[1] = b"one"
    /// >>> copy = tempfile.mkdtemp()
    /// >>> s.backup(copy)
    /// >>> with alexpy.open(copy) as backup:
    /// ...     backup[1]
    /// b'one'
    #[pyo3(signature = (dest, progress=None))]
    #[allow(clippy::needless_pass_by_value)]
    fn backup(&self, py: Python<'_>, dest: PathBuf, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let engine = self.engine(py)?;
        with_progress(py, progress, |progress| engine.backup(&dest, progress))
    }

    /// The figures of `compact` as (freed segments, freed bytes, moved bytes).
    fn _compact(&self, py: Python<'_>, progress: Option<&Bound<'_, PyAny>>) -> PyResult<(u64, u64, u64)> {
        let engine = self.engine(py)?;
        let report = with_progress(py, progress, |progress| engine.compact(progress))?;
        Ok((report.freed_segments, report.freed_bytes, report.moved_bytes))
    }

    /// Writes an image of the index, so that the next opening starts from it, not from the log before it.
    ///
    /// The background thread does this by itself (`checkpoint_tail_bytes`), and so does closing if it saves
    /// time later. Readers and writers go on meanwhile; when the call returns, everything written before it
    /// is on the device. Does nothing if nothing was written since the last image. Raises ReadOnlyError,
    /// ClosedError, PoisonedError, OSError; a full disk costs the image and nothing else. O(keys), about 24
    /// bytes a key on the disk, twice.
    ///
    /// >>> s[1] = b"one"
    /// >>> s.checkpoint()
    /// >>> s.stats().tail_bytes
    /// 0
    fn checkpoint(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Engine::checkpoint)
    }
}

/// Like `Store._verify`, for the files of a store that cannot be opened.
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

/// Keys kept; records lost; path, offset and length of each damaged place; what salvage would keep, if that is more.
type Repaired = (u64, u64, Vec<(PathBuf, u64, u64)>, Option<u64>);

/// The figures of `alexpy.repair` as (kept, lost, damaged, kept by salvage).
#[pyfunction]
#[pyo3(signature = (path, dest, mode, codec, progress))]
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn _repair(
    py: Python<'_>,
    path: PathBuf,
    dest: PathBuf,
    mode: &str,
    codec: Option<String>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Repaired> {
    let mode = match mode {
        "point_in_time" => RepairMode::PointInTime,
        "salvage" => RepairMode::Salvage,
        other => {
            return Err(PyValueError::new_err(format!(
                "mode must be one of \"point_in_time\", \"salvage\", not {other:?}"
            )));
        }
    };
    let report =
        with_progress(py, progress, |progress| Engine::repair(&path, &dest, mode, codec.clone(), progress))?;
    Ok((report.kept, report.lost, report.damaged, report.salvage_keeps))
}

/// Makes the mirror in the directory `path` show what a backup's manifest lists; see `ship.follow`.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn _list_mirror(py: Python<'_>, path: PathBuf, manifest: &[u8], generation: u64) -> PyResult<()> {
    detached(py, || Engine::list_mirror(&path, manifest, generation))
}

/// Ends what a `_list_mirror` that was interrupted has begun.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn _settle_mirror(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    detached(py, || Engine::settle_mirror(&path))
}
