//! The one place where engine errors become Python exceptions.
//!
//! The classes are those of `alexpy.errors`, imported at first use and kept. Messages are the
//! engine's own, except that an `OSError` carries errno and file name in its own fields.

use std::io;
use std::path::Path;

use alex_index::image::Damage;
use alex_store::Error;
use pyo3::PyErrArguments;
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyOSError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Linux errno values for errors that the engine finds without asking the operating system.
mod errno {
    pub(super) const ENOENT: i32 = 2;
    pub(super) const EIO: i32 = 5;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const ENOTDIR: i32 = 20;
    pub(super) const ESTALE: i32 = 116;
}

/// A class of `alexpy.errors`, imported when the first such error is raised.
struct Class {
    name: &'static str,
    imported: PyOnceLock<Py<PyType>>,
}

impl Class {
    const fn named(name: &'static str) -> Self {
        Self { name, imported: PyOnceLock::new() }
    }

    fn error(&self, py: Python<'_>, arguments: impl PyErrArguments + 'static) -> PyErr {
        match self.imported.import(py, "alexpy.errors", self.name) {
            Ok(class) => PyErr::from_type(class.clone(), arguments),
            Err(failed) => failed,
        }
    }
}

static ALEX: Class = Class::named("AlexError");
static CLOSED: Class = Class::named("ClosedError");
static CODEC: Class = Class::named("CodecError");
static CORRUPTION: Class = Class::named("CorruptionError");
static FORKED: Class = Class::named("ForkedError");
static FORMAT: Class = Class::named("FormatError");
static HISTORY_GONE: Class = Class::named("HistoryGoneError");
static LOCKED: Class = Class::named("LockedError");
static POISONED: Class = Class::named("PoisonedError");
static READ_ONLY: Class = Class::named("ReadOnlyError");

/// Turns an engine result into a Python one.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_exception(py, &error))
    }
}

/// Runs `call` without the GIL, as everything that may wait or take long must.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    call: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    py.detach(call).or_raise(py)
}

/// An `AlexError` for a failed check of the index, which has no class of its own.
#[cold]
pub(crate) fn alex_error(py: Python<'_>, message: String) -> PyErr {
    ALEX.error(py, (message,))
}

/// A `ClosedError` for an object of this layer, such as a batch that has ended.
#[cold]
pub(crate) fn closed_error(py: Python<'_>, message: &'static str) -> PyErr {
    CLOSED.error(py, (message,))
}

/// A `CodecError` for the value of `key`, with what the codec raised as its cause.
#[cold]
pub(crate) fn codec_error(
    py: Python<'_>,
    message: String,
    key: Option<Bound<'_, PyAny>>,
    codec: &str,
    cause: PyErr,
) -> PyErr {
    let error = CODEC.error(py, (message, key.map(Bound::unbind), codec.to_owned()));
    error.set_cause(py, Some(cause));
    error
}

/// A `ForkedError` for an object that was made before a fork.
#[cold]
pub(crate) fn forked_error(py: Python<'_>, message: &'static str) -> PyErr {
    FORKED.error(py, (message,))
}

/// A `FormatError` for a file outside a store: a saved index.
#[cold]
pub(crate) fn format_error(py: Python<'_>, message: String) -> PyErr {
    FORMAT.error(py, (message,))
}

/// A `CorruptionError` for a file outside a store: a saved index.
#[cold]
pub(crate) fn corruption_error(
    py: Python<'_>,
    message: String,
    path: Option<&Path>,
    damage: &Damage,
) -> PyErr {
    let path = path.map(|path| path.as_os_str().to_owned());
    CORRUPTION.error(py, (message, path, damage.offset, damage.expected.clone(), damage.found.clone()))
}

/// The exception for an engine error.
#[cold]
pub(crate) fn to_exception(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Io { operation, path, source } => {
            let errno = source.raw_os_error().unwrap_or(errno::EIO);
            if errno == errno::ENOMEM {
                return PyMemoryError::new_err(message);
            }
            os_error(errno, format!("cannot {operation}: {}", os_text(source)), path)
        }
        Error::NotFound { path } => os_error(
            errno::ENOENT,
            "there is no store here; open with create=True and without read_only to make one".to_owned(),
            path,
        ),
        Error::NoParent { path } => os_error(
            errno::ENOENT,
            "the directory above it does not exist; make that first, or open with parents=True"
                .to_owned(),
            path,
        ),
        Error::Moved { path } => os_error(
            errno::ESTALE,
            "the store's directory was removed, renamed or replaced since it was opened; nothing that is at this \
             path now was changed, and what was committed is in the store's own directory: to go on, open that"
                .to_owned(),
            path,
        ),
        Error::NotADirectory { path } => {
            os_error(errno::ENOTDIR, "this is a file, and a store is a directory".to_owned(), path)
        }
        Error::Corruption { path, offset, expected, found } => CORRUPTION
            .error(py, (message, path.as_os_str().to_owned(), *offset, expected.clone(), found.clone())),
        Error::Locked { path, pid } => LOCKED.error(py, (message, path.as_os_str().to_owned(), *pid)),
        Error::Format { .. } => FORMAT.error(py, (message,)),
        Error::ReadOnly { .. } | Error::Mirror { .. } => READ_ONLY.error(py, (message,)),
        Error::HistoryGone { .. } => HISTORY_GONE.error(py, (message,)),
        Error::Closed { .. } => CLOSED.error(py, (message,)),
        Error::Forked { .. } => FORKED.error(py, (message,)),
        Error::Poisoned { cause, .. } => {
            let poisoned = POISONED.error(py, (message,));
            poisoned.set_cause(py, Some(to_exception(py, cause)));
            poisoned
        }
        Error::Invalid(_) => PyValueError::new_err(message),
        Error::Overflow(_) => PyOverflowError::new_err(message),
        Error::OutOfMemory { .. } | Error::IndexOutOfMemory { .. } => PyMemoryError::new_err(message),
        // Normally the signal handler that asked for the stop has raised its own exception, and the caller passes
        // that one on. This is for a stop without one.
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
        _ => ALEX.error(py, (message,)),
    }
}

/// `OSError(errno, text, file)`: Python picks the subclass (`PermissionError` ...) from the errno.
fn os_error(errno: i32, text: String, path: &Path) -> PyErr {
    PyOSError::new_err((errno, text, path.as_os_str().to_owned()))
}

/// The operating system's text without Rust's "(os error 28)": the errno has a field of its own.
fn os_text(source: &io::Error) -> String {
    let mut text = source.to_string();
    if let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}
