//! From files to a state: which part of the log counts, and the index over it.

pub(crate) mod beside_writer;
pub(crate) mod chain;
pub(crate) mod changes;
pub(crate) mod follow;
pub(crate) mod lag;
pub(crate) mod mirror;
pub(crate) mod rebuild;
pub(crate) mod recover;
pub(crate) mod replay;
pub(crate) mod rewrite;
