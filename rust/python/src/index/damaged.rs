//! Why a call on an `AlexIndex` failed, and the exception for it.

use std::path::{Path, PathBuf};

use alex_index::image::Damage;
use alex_store::Error;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

use crate::errors::{OrRaise, alex_error, corruption_error};
use crate::memory;

/// Why a call on an index failed.
#[derive(Clone)]
pub(crate) enum Damaged {
    /// Damage in the file that the index was loaded from, found by a later call.
    File { damage: Damage, path: Option<PathBuf> },
    /// The call panicked.
    Panicked {
        why: String,
        /// Memory was short, which explains the panic.
        no_memory: bool,
        left: Left,
    },
}

/// What a panic has left of an index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing was about to be changed.
    AsItWas,
    /// It passed a check afterwards.
    Whole,
    /// It did not pass, and is never used again.
    Broken,
}

impl Damaged {
    #[cold]
    pub(crate) fn of(damage: &Damage, path: Option<&Path>) -> Self {
        Self::File { damage: damage.clone(), path: path.map(Path::to_owned) }
    }

    #[cold]
    pub(crate) fn by(panic: &Error, left: Left) -> Self {
        let no_memory = memory::is_short() || matches!(panic, Error::IndexOutOfMemory { .. });
        Self::Panicked { why: panic.to_string(), no_memory, left }
    }
}

impl<T> OrRaise<T> for Result<T, Damaged> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|damaged| raise(py, damaged))
    }
}

#[cold]
fn raise(py: Python<'_>, damaged: Damaged) -> PyErr {
    match damaged {
        Damaged::File { damage, path } => {
            let name =
                path.as_deref().map_or_else(|| "the file".to_owned(), |path| path.display().to_string());
            let message = format!("{name}, which this index was loaded from, is {damage}; load another copy");
            corruption_error(py, message, path.as_deref(), &damage)
        }
        Damaged::Panicked { why, no_memory, left } => {
            let why = if no_memory { "there is no memory for more of the index" } else { &why };
            let rest = match left {
                Left::AsItWas => "nothing was changed",
                Left::Whole => "of a call on many keys, some may be done",
                Left::Broken => "the index may be half changed and must be made anew",
            };
            let message = format!("{why}; {rest}");
            if no_memory { PyMemoryError::new_err(message) } else { alex_error(py, message) }
        }
    }
}
