//! Images of the index: written while writers go on, opened and checked.

pub(crate) mod image_file;
pub(crate) mod write;
