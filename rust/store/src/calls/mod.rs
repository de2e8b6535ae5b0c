//! What a user can ask of a store, one kind of call per file.

pub(crate) mod backup;
pub(crate) mod bulk_load;
pub(crate) mod changes;
pub(crate) mod close;
pub(crate) mod columns;
pub(crate) mod counters;
pub(crate) mod maintain;
pub(crate) mod mirror;
pub(crate) mod moment;
pub(crate) mod open;
pub(crate) mod ranks;
pub(crate) mod read;
pub(crate) mod refresh;
pub(crate) mod repair;
pub(crate) mod scan;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod verify;
pub(crate) mod write;
