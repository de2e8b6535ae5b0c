//! The bytes of an image: their format, the memory that an image is opened in, and their verification.
//!
//! An opened image is the first chunks of an arena, so this is below the arena. Knows the form of nodes, no
//! tree.

pub(crate) mod format;
pub(crate) mod memory;
mod verify;

pub(crate) use verify::{Image, Named, no_keys};
