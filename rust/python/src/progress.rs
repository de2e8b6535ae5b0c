//! Progress of long work: between two steps it checks for Ctrl-C and calls the caller's callback.
//!
//! The engine calls from a thread without the GIL and with no lock held. An exception of the callback stops the work
//! and reaches the caller.

use alex_store::{Error, OpenProgress};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::OrRaise;

/// Runs `work` without the GIL and passes it a function that calls `callback(done, total)`, in bytes.
pub(crate) fn with_progress<T: Send>(
    py: Python<'_>,
    callback: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&mut dyn FnMut(OpenProgress) -> bool) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let callback = callback.filter(|callback| !callback.is_none());
    if let Some(other) = callback.filter(|callback| !callback.is_callable()) {
        return Err(PyTypeError::new_err(format!(
            "progress is a {}; give a function that is called with (done, total), in bytes",
            other.get_type().name()?
        )));
    }
    let callback = callback.map(|callback| callback.clone().unbind());
    let mut raised = None;
    let outcome = py.detach(|| {
        work(&mut |at| {
            raised = Python::attach(|py| {
                py.check_signals()?;
                if let Some(callback) = &callback {
                    callback.call1(py, (at.bytes_done, at.bytes_total))?;
                }
                Ok(())
            })
            .err();
            raised.is_none()
        })
    });
    match (outcome, raised) {
        // Even if the work had finished by then: no exception is lost.
        (Err(Error::Interrupted) | Ok(_), Some(raised)) => Err(raised),
        (outcome, _) => outcome.or_raise(py),
    }
}
