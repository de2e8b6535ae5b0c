//! A durable, ordered key-value engine for one writer process: `Key` keys, byte values.
//!
//! One append-only, checksummed log is both write-ahead log and data; an ALEX index in memory says where each
//! key's newest record is. Folders are layers, from top to bottom:
//!
//! - `calls`: what a user can ask of a store, one kind of call per file; the handle, opening and closing.
//! - `recovery`: from files to a state.
//! - `compaction`: gives disk space back.
//! - `checkpoint`: images of the index.
//! - `engine`: what an open store is: its parts, its locks, and the changes that involve several parts.
//! - `repair`: what can be read of a damaged store, and the directory in which a new one is created.
//! - `values`: values on their way out.
//! - `index`: keys to locations, with every answer checked.
//! - `log`: segments, how records are appended to them, and how they are read back.
//! - `format`: what bytes mean, and their checks.
//! - `threads`: background threads, the bells that wake them, and panics turned into errors.
//! - `disk`: the only layer that touches files.
//! - the ground, the files beside this one: `error`, `keys`, `operation`, `options`, `progress`, `random`, `room`,
//!   `schema`.
//!
//! A file uses its own layer, the layers below it, and the ground; no two files use each other. If a lower
//! layer needs something from an upper one (a thread's task, the rebuilding of an index), it is passed in
//! when a store is opened.

mod calls;
mod checkpoint;
mod compaction;
pub mod disk;
mod engine;
mod error;
mod format;
mod index;
mod keys;
mod log;
mod operation;
mod options;
mod progress;
mod random;
mod recovery;
mod repair;
mod room;
mod schema;
mod threads;
mod values;

/// The example of the README, run as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use calls::bulk_load::SortedKeys;
pub use calls::changes::{Changed, Changes, What};
pub use calls::columns::ItemColumns;
pub use calls::counters::Counter;
pub use calls::moment::Moment;
pub use calls::repair::RepairReport;
pub use calls::scan::{Scan, ScanRun};
pub use calls::stats::Stats;
pub use calls::store::{Reader, Snapshot, Store};
pub use calls::verify::VerifyReport;
pub use disk::{crowds_memory, fork_generation, watch_forks};
pub use engine::compaction_state::CompactReport;
#[cfg(feature = "lock-times")]
#[doc(hidden)]
pub use engine::lock_times::{Histogram, LockTimes, Places, lock_times};
pub use error::{Error, Result};
pub use format::measure::checksum_records;
pub use index::tree::{Neighbour, Tree};
pub use index::versions::ScanRange;
pub use keys::{Key, KeyVec, Keys};
pub use log::batch::{Batch, ValueSource};
pub use operation::Operation;
pub use options::{
    DEFAULT_SEGMENT_BYTES, Durability, MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, Options, ReadMode, Recovery,
    WriteMode,
};
pub use progress::OpenProgress;
pub use repair::salvage::RepairMode;
pub use schema::{Compression, KeyKind, Schema};
#[doc(hidden)]
pub use threads::panics::{catching, panic_is_caught};
pub use values::column::ValueColumn;
pub use values::value::{NEAR_BYTES, SHARES, Value, Values};
