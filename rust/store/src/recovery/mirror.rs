//! Mirrors: directories that somebody keeps up to date with a store elsewhere, as `alexpy.ship.follow` does. New segments and
//! more bytes of known ones are put there first, and are listed last, as one step (`calls/mirror.rs`). Knows what tells a
//! mirror from a store.
//!
//! Readers find at any moment what the manifest lists. What they find beyond that is not there yet, where in a store it
//! would say that the manifest is too old (`log/outdated.rs`). A mirror takes no writes: they would be lost.

use std::io;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::operation::Operation;

/// A directory with a file of this name is a mirror. What the file holds is up to whoever made it.
pub(crate) const MARK: &str = "FOLLOW";

/// Whether a directory with these files is a mirror.
pub(crate) fn is_among(names: &[String]) -> bool {
    names.iter().any(|name| name == MARK)
}

/// Whether the directory is a mirror.
pub(crate) fn is_on(disk: &dyn Disk) -> Result<bool> {
    match disk.open(MARK, Access::Read) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(Operation::Open, &disk.path_of(MARK), error)),
    }
}

/// Refuses to write to a mirror.
pub(crate) fn refuse_writer(disk: &dyn Disk) -> Result<()> {
    if is_on(disk)? { Err(Error::Mirror { path: disk.path().to_owned() }) } else { Ok(()) }
}
