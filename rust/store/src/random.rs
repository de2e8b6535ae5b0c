//! Random bytes from the operating system, for salts of segments and ids of stores.

use std::path::Path;

use crate::error::{Error, Result};
use crate::operation::Operation;

/// A random number from the operating system.
pub(crate) fn random_u64(path: &Path) -> Result<u64> {
    getrandom::u64().map_err(|error| Error::io(Operation::GetRandom, path, error.into()))
}

/// The id of a new store.
pub(crate) fn random_id(path: &Path) -> Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| Error::io(Operation::GetRandom, path, error.into()))?;
    Ok(id)
}
