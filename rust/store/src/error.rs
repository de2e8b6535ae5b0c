//! The one error type of the engine. Variants carry what a person needs to act: the path, the offset,
//! what was expected and what was found. The Python layer maps them to exceptions in one place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::operation::Operation;

/// Every way a call on a store can fail.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file of the store.
    #[error("cannot {operation} {}: {source}", .path.display())]
    Io {
        /// What was asked of it.
        operation: Operation,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Stored bytes are not what was written.
    #[error("{} is damaged at offset {offset}: expected {expected}, found {found}; recovery=\"point_in_time\" opens with what was written before the damage and drops the rest for good, so copy the directory first", .path.display())]
    Corruption {
        /// The damaged file.
        path: PathBuf,
        /// Byte offset of the damage in that file.
        offset: u64,
        /// What a whole file would hold there.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// The directory or file is not a store of a format that this version reads. Nothing was touched.
    #[error("{} {problem}", .path.display())]
    Format {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// Another handle has the store open for writing.
    #[error("{} is already open for writing{}; close it there, or open with read_only=True", .path.display(), pid_text(*.pid))]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// The process that holds the lock, where it is known.
        pid: Option<u32>,
    },
    /// There is no store at the path, and creating one was not asked for.
    #[error("there is no store at {}; open with create=True and without read_only to make one", .path.display())]
    NotFound {
        /// The path given.
        path: PathBuf,
    },
    /// The path is a file.
    #[error("{} is a file; a store is a directory", .path.display())]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// A write on a handle opened with `read_only`.
    #[error("{} was opened read-only", .path.display())]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
    /// The handle was closed.
    #[error("the store at {} is closed", .path.display())]
    Closed {
        /// The store's directory.
        path: PathBuf,
    },
    /// A flush failed earlier: what the device holds is unknown, so no write is accepted until the
    /// store is opened again.
    #[error("{} takes no more writes because an earlier flush failed ({cause}); reads go on, reopen the store to write again", .path.display())]
    Poisoned {
        /// The store's directory.
        path: PathBuf,
        /// The failure that poisoned the store.
        cause: Box<Error>,
    },
    /// A handle opened for writing was used in a forked child.
    #[error("{} was opened for writing before fork(); open it again in the child", .path.display())]
    Forked {
        /// The store's directory.
        path: PathBuf,
    },
    /// The image that the index was opened from is damaged where a call needed it. The engine builds the
    /// index anew and makes the call again, so that this leaves no call.
    #[doc(hidden)]
    #[error("an image of the index is damaged; open the store again")]
    ImageDamaged,
    /// An argument that can never be accepted. Nothing was changed.
    #[error("{0}")]
    Invalid(String),
    /// The caller's progress callback asked to stop. Nothing was changed.
    #[error("interrupted")]
    Interrupted,
}

/// The result of a call on a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(operation: Operation, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source: Arc::new(source) }
    }
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}
