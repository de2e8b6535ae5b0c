//! The log as files: segments, how commits are appended to them, and how they are read back.

pub(crate) mod append;
pub(crate) mod batch;
pub(crate) mod dictionaries;
pub(crate) mod next_segment;
pub(crate) mod outdated;
pub(crate) mod prefault;
pub(crate) mod prefix;
pub(crate) mod reader;
pub(crate) mod records;
pub(crate) mod resync;
pub(crate) mod segment;
pub(crate) mod segments;
