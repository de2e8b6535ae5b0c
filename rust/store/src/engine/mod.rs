//! What an open store is: its parts, the locks around them, and the changes that involve several parts. Calls
//! nothing in the layers above: when the store is opened, they pass in the functions that it needs from them.

pub(crate) mod catalog;
pub(crate) mod commit;
pub(crate) mod compaction_state;
pub(crate) mod compressor;
#[cfg(all(test, loom))]
mod every_order;
pub(crate) mod flow;
pub(crate) mod flush;
pub(crate) mod followed;
pub(crate) mod health;
pub(crate) mod join;
pub(crate) mod kept_images;
pub(crate) mod lifetime;
#[cfg(feature = "lock-times")]
pub(crate) mod lock_times;
pub(crate) mod locks;
pub(crate) mod manifest_update;
pub(crate) mod mending;
pub(crate) mod running_calls;
pub(crate) mod shared;
pub(crate) mod space;
pub(crate) mod state;
pub(crate) mod threads;
pub(crate) mod turn;
pub(crate) mod uncounted;
pub(crate) mod watermarks;
pub(crate) mod writing;
