//! Parts of a commit by themselves, for `alexpy bench profile`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The checksum of each record of `record_bytes` in `data`, folded into one number.
///
/// For `alexpy bench profile` only. Raises ValueError where `record_bytes` is 0. O(len(data)), the GIL
/// released.
#[pyfunction]
#[pyo3(name = "_checksum_records")]
pub(crate) fn checksum_records(py: Python<'_>, data: &[u8], record_bytes: usize) -> PyResult<u32> {
    if record_bytes == 0 {
        return Err(PyValueError::new_err("record_bytes must be above 0"));
    }
    Ok(py.detach(|| alex_store::checksum_records(data, record_bytes)))
}
