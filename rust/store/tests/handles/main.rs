//! Open stores as the process and the system see them: locks, directories, forks, limits, panics, closing.

#[path = "../common/mod.rs"]
mod common;

mod background_panics;
mod closing;
mod descriptors;
mod fork;
mod identity;
mod limits;
mod locking;
mod messages;
mod schema;
