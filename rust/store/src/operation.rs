//! What a store asks of the operating system, as its errors name it; and after which of it nobody knows what
//! the device holds. Whoever makes a call knows which of these it is, and says so; knows nothing of why it failed.

use std::fmt;

/// An operation on a file or directory. Shown as a verb with what belongs to it: "cannot {operation} {path}".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Opening a file or directory that should be there.
    Open,
    /// Reading bytes, or asking for a length.
    Read,
    /// Listing a directory.
    List,
    /// Making a file or directory.
    Create,
    /// Making a file whose blocks are reserved.
    Reserve,
    /// Writing by system call. What a failed one left is erased, or lies where nothing is ever read.
    Write,
    /// Copying into a writable map; as `Write`.
    CopyInto,
    /// Mapping a file.
    Map,
    /// Bringing pages of a map into memory.
    Prepare,
    /// Cutting a file to a length.
    Cut,
    /// Linking a file into another directory.
    Link,
    /// Removing a name.
    Remove,
    /// Giving a file the name of another.
    Rename,
    /// Waiting for the device to confirm what was written into a file.
    Sync,
    /// Waiting for the device to confirm the names in a directory.
    SyncDirectory,
    /// Taking the lock.
    Lock,
    /// Starting threads.
    StartThreads,
    /// Getting random bytes.
    GetRandom,
    /// Finding out which directory a path means.
    Find,
    /// Writing an index into a file of its own.
    Save,
}

impl Operation {
    /// Whether, once it failed, bytes or names that were handed over before may or may not be on the device, now
    /// and after any later success: the kernel forgets what it failed to write. A rename counts as well, since it
    /// can have happened although it says that it failed, where the device is the reason. All others change
    /// nothing that counts.
    pub(crate) fn leaves_doubt(self) -> bool {
        matches!(self, Self::Sync | Self::SyncDirectory | Self::Rename)
    }

    /// Whether, once it failed, any part of the bytes that were handed over may lie in the file: they must be erased
    /// before anything that reads there.
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
            Self::Link => "link",
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
