//! What can be read of a damaged store, and the directory that a new store comes into being in.

pub(crate) mod new_dir;
pub(crate) mod salvage;
