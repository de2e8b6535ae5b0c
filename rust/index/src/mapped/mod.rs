//! The bytes of an image: their format, the memory that they are opened in, and their verification.
//!
//! Below the arena, whose first chunks an opened image may be. Knows the form of nodes, no tree.

pub(crate) mod format;
pub(crate) mod memory;
mod verify;

pub(crate) use verify::{Image, NO_KEYS, Named};
