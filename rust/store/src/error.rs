//! The one error type of the engine. Variants carry what a person needs to act: the path, the offset, what
//! was expected and what was found. The Python layer maps them to exceptions in one place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::operation::Operation;

/// Every way in which a call on a store can fail.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file of the store.
    #[error("cannot {operation} {}: {source}", .path.display())]
    Io {
        /// The operation that failed.
        operation: Operation,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Stored bytes are not what was written.
    #[error("{} is damaged at offset {offset}: expected {expected}, found {found}; alexpy.repair({:?}, dest, mode=\"salvage\") copies every value that can still be read into a new store and changes nothing in this one", .path.display(), store_of(.path))]
    Corruption {
        /// The damaged file.
        path: PathBuf,
        /// Byte offset of the damage in that file.
        offset: u64,
        /// What an undamaged file would hold there.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// The directory or file is not a store in a format that this version reads. Nothing was changed.
    #[error("{} {problem}", .path.display())]
    Format {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// Another handle has the store open for writing.
    #[error("{} is already open for writing{}, or open with read_only=True", .path.display(), holder_text(*.pid))]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// The process that holds the lock, if known.
        pid: Option<u32>,
    },
    /// The store's directory or its lock file was removed, renamed or replaced while the handle was open.
    /// What is there now is not changed.
    #[error("{} is no longer what this store was opened with: it was removed, renamed or replaced; what is there now was not changed, and everything committed is in the store's own directory: to go on, open that", .path.display())]
    Moved {
        /// The directory or the lock file.
        path: PathBuf,
    },
    /// The directory in which a new store should be created does not exist.
    #[error("cannot create {}: its parent directory does not exist; create it first, or open with parents=True", .path.display())]
    NoParent {
        /// The path given.
        path: PathBuf,
    },
    /// There is no store at the path, and the options do not allow creating one.
    #[error("there is no store at {}; open with create=True and without read_only to make one", .path.display())]
    NotFound {
        /// The path given.
        path: PathBuf,
    },
    /// The path leads to a file.
    #[error("{} is a file; a store is a directory", .path.display())]
    NotADirectory {
        /// The path given.
        path: PathBuf,
    },
    /// A write on a handle that was opened with `read_only`.
    #[error("{} was opened read-only", .path.display())]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
    /// A write to a directory that somebody keeps up to date with a store elsewhere.
    #[error("{} follows a store that is shipped, and what was written here would be lost: open it with read_only=True; to get a store to write to, restore what was shipped, or make a backup of this", .path.display())]
    Mirror {
        /// The directory.
        path: PathBuf,
    },
    /// The handle was closed.
    #[error("the store at {} is closed", .path.display())]
    Closed {
        /// The store's directory.
        path: PathBuf,
    },
    /// An earlier flush failed, or a background thread failed in the middle of a change. The contents of the
    /// device are unknown, so no write is accepted until the store is opened again.
    #[error("{} takes no more writes because {} ({cause}); reads go on, and writes once the store has been opened anew", .path.display(), poison_text(.cause))]
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
    /// The image from which the index was opened is damaged where a call needed it. The engine rebuilds the
    /// index and repeats the call, so no call returns this.
    #[doc(hidden)]
    #[error("an image of the index is damaged; open the store again")]
    ImageDamaged,
    /// Background work ended in a panic, a defect of this library. Calls go on.
    #[error("{what} failed: {message}; that is a defect of alexpy, please report it")]
    Panicked {
        /// The thread or the work.
        what: &'static str,
        /// The message of the panic.
        message: String,
    },
    /// There is not enough memory for the call. Nothing was changed.
    #[error("there is no memory for {bytes} bytes; nothing was changed")]
    OutOfMemory {
        /// The number of bytes requested.
        bytes: u64,
    },
    /// There is not enough memory for the index to grow. What the log holds stays as it is.
    #[error(
        "there is no memory for {bytes} more bytes of the index; what was committed is in the log, open the store again once there is memory"
    )]
    IndexOutOfMemory {
        /// The number of bytes requested.
        bytes: u64,
    },
    /// A store cannot be closed by the callback of a call that is still using it.
    #[error("{} cannot be closed in the middle of a call on it by the same thread; close it once that call has returned", .path.display())]
    InCall {
        /// The store's directory.
        path: PathBuf,
    },
    /// Some of the changes that were asked for are no longer in the log.
    #[error("the changes of {} after sequence {since} are gone: compaction has freed some of them, or the store was cut back, before damage or by a power cut; read the whole store through a snapshot, and go on with the changes after its seq", .path.display())]
    HistoryGone {
        /// The store's directory.
        path: PathBuf,
        /// The sequence number after which changes were asked for.
        since: u64,
    },
    /// An argument that can never be accepted. Nothing was changed.
    #[error("{0}")]
    Invalid(String),
    /// A number that would be stored is none that can be. Nothing was changed.
    #[error("{0}")]
    Overflow(String),
    /// The caller's progress callback asked to stop. Nothing was changed, except that compaction keeps what
    /// it has done.
    #[error("interrupted")]
    Interrupted,
}

/// The result of a call on a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether this process lacks a resource or permission now, rather than that a device is bad.
    pub(crate) fn says_not_now(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => source,
            other => return matches!(other, Self::OutOfMemory { .. } | Self::IndexOutOfMemory { .. }),
        };
        let says = source.raw_os_error();
        self.says_no_descriptor()
            || matches!(says, Some(libc::ENOMEM | libc::EAGAIN | libc::EACCES | libc::EPERM))
    }

    /// Whether there is no room for a file of that size, on the disk or by a limit.
    pub(crate) fn says_full(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
            || source.kind() == io::ErrorKind::StorageFull
    }

    /// Whether this process, or the machine, has no descriptors left.
    pub(crate) fn says_no_descriptor(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
    }

    pub(crate) fn io(operation: Operation, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
            None => Self::Io { operation, path, source: Arc::new(source) },
            Some(Refusal::Moved(what)) => Self::Moved { path: what.clone() },
            Some(refusal) => Self::Format {
                path,
                problem: format!(
                    "{refusal}; put the store's own file back, or move this one away (nothing was changed)"
                ),
            },
        }
    }
}

/// Why a file is left alone although the operating system would allow access; inside an [`io::Error`].
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A name of the store belongs to something that is not a file.
    NoFile(&'static str),
    /// A lock file with other contents.
    ForeignLock,
    /// What is at this path is not what was opened: it was removed, renamed or replaced.
    Moved(PathBuf),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile(what) => write!(f, "is {what}, where a store has a file"),
            Self::ForeignLock => f.write_str("holds something that is not the lock of a store"),
            Self::Moved(path) => write!(f, "{} was removed, renamed or replaced", path.display()),
        }
    }
}

impl std::error::Error for Refusal {}

/// The directory of a store's file.
fn store_of(file: &Path) -> &Path {
    match file.parent() {
        Some(store) if !store.as_os_str().is_empty() => store,
        _ => file,
    }
}

/// Who holds the lock, and what to do about it.
fn holder_text(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => format!(
            " by process {pid}, which is this very process; use what it has open, which all its threads may share, \
             close that first"
        ),
        Some(pid) => format!(" by process {pid}; close it there"),
        None => "; close it there".to_owned(),
    }
}

fn poison_text(cause: &Error) -> &'static str {
    match cause {
        Error::Panicked { .. } => "a background thread failed in the middle of a change",
        Error::OutOfMemory { .. } | Error::IndexOutOfMemory { .. } => "there was no memory for a change",
        Error::Io { operation: Operation::Sync | Operation::SyncDirectory, .. } => "an earlier flush failed",
        Error::Io { .. } => "an earlier write failed, and might be found after all",
        Error::Corruption { .. } | Error::ImageDamaged => "damage was found in the middle of a change",
        _ => "an earlier change failed",
    }
}
