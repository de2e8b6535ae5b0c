//! An image: the whole index as one position-independent file, written by streaming and opened by mapping.
//!
//! [`ImageWriter`] builds packed, freshly modelled nodes from an ascending stream of entries and hands
//! bytes to whatever the caller writes to; [`Alex::open_image`](crate::Alex::open_image) takes a private
//! mapping ([`ImageMemory`]) and is ready at once: header, checksum table and model nodes are checked
//! then, data nodes when they are first used. Knows nothing of what payloads mean or where files lie.
//! Writing is O(entries) in bounded memory; opening is O(blocks of 64 KiB + model nodes).

mod open;
mod skeleton;
mod write;

pub use crate::mapped::format::{Damage, Identity, ImageError, check_file};
pub use crate::mapped::memory::ImageMemory;
pub use open::Opened;
pub use write::{ImageSink, ImageWriter, Written};
