//! What a store asks of the operating system, as its errors name it, and which failures leave the contents of
//! the device unknown. The caller of an operation states which one it is. Knows nothing of why it failed.

use std::fmt;

/// An operation on a file or directory. Displayed as a verb that fits "cannot {operation} {path}".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a file or directory that should exist.
    Open,
    /// Reading bytes, or asking for a length.
    Read,
    /// Listing a directory.
    List,
    /// Creating a file or directory.
    Create,
    /// Reserving blocks for a new file.
    Reserve,
    /// Writing by system call. What a failed write left is erased, or lies where nothing is ever read.
    Write,
    /// Copying into a writable map; otherwise like `Write`.
    CopyInto,
    /// Mapping a file.
    Map,
    /// Bringing pages of a map into memory.
    Prepare,
    /// Cutting a file to a length.
    Cut,
    /// Removing a name.
    Remove,
    /// Renaming a file, replacing any file with the new name.
    Rename,
    /// Waiting for the device to confirm what was written to a file.
    Sync,
    /// Waiting for the device to confirm the names in a directory.
    SyncDirectory,
    /// Taking the lock.
    Lock,
    /// Starting threads.
    StartThreads,
    /// Getting random bytes.
    GetRandom,
    /// Finding out which directory a path leads to.
    Find,
    /// Writing an index to a file of its own.
    Save,
}

impl Operation {
    /// Whether, after it failed, bytes or names handed over earlier may or may not be on the device, now and
    /// after any later success: the kernel forgets what it failed to write. A rename counts as well, since it
    /// can have happened even though it reports a failure of the device. All other operations change nothing
    /// that counts.
    pub(crate) fn leaves_doubt(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDirectory | Self::Rename)
    }

    /// Whether, after it failed, any part of the bytes may lie in the file, so that they must be erased
    /// before anything reads there.
    pub(crate) fn may_leave_bytes(self) -> bool {
        matches!(self, Self::Write | Self::CopyInto)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::List => "list",
            Self::Create => "create",
            Self::Reserve => "reserve",
            Self::Write => "write",
            Self::CopyInto => "copy into",
            Self::Map => "map",
            Self::Prepare => "prepare",
            Self::Cut => "cut",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Sync => "sync",
            Self::SyncDirectory => "sync the directory of",
            Self::Lock => "lock",
            Self::StartThreads => "start the threads of",
            Self::GetRandom => "get random bytes for",
            Self::Find => "find",
            Self::Save => "save",
        })
    }
}
