//! Compaction and what it frees: nothing is lost, nothing comes back, and the disk stays bounded by what is
//! live.

#[path = "../common/mod.rs"]
mod common;

mod compaction;
mod counts;
mod growth;
mod nothing_comes_back;
mod short_sessions;
