//! Compaction: when it runs, on which segments, how what is needed is moved out of them, and when their files
//! may go.

pub(crate) mod free;
pub(crate) mod inputs;
pub(crate) mod merge_small;
pub(crate) mod recompress;
pub(crate) mod relocate;
pub(crate) mod relocation_writer;
pub(crate) mod schedule;
pub(crate) mod tombstones;
