//! What can be read of a damaged store, and the directory in which a new store is created.

pub(crate) mod new_dir;
pub(crate) mod salvage;
