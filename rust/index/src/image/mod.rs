//! An image: the whole index as one position-independent file, which is written as a stream and opened by
//! mapping.
//!
//! [`ImageWriter`] builds packed nodes with new models from an ascending stream of entries, and hands the
//! bytes to an [`ImageSink`] of the caller's. [`Alex::open_image`](crate::Alex::open_image) takes a private
//! mapping ([`ImageMemory`]) and is ready at once: it checks header, checksum table and model nodes; each
//! data node is verified when it is first used.
//!
//! Writing is `O(entries)` in bounded memory; opening is `O(blocks of 64 KiB + model nodes)`. Knows nothing
//! of what payloads mean, or where files are.

mod open;
mod skeleton;
mod write;

pub use crate::mapped::format::{Damage, Identity, ImageError, check_file};
pub use crate::mapped::memory::ImageMemory;
pub use open::Opened;
pub use write::{ImageSink, ImageWriter, Written};
