//! A durable, ordered key-value engine for one writer process: `i64` keys, byte values.
//!
//! One append-only, checksummed log is write-ahead log and data at once; an ALEX index in memory says
//! where each key's newest record is. Folders are layers, from top to bottom:
//!
//! - `calls`: what a user can ask of a store, a kind of call a file; the handle, opening and closing.
//! - `recovery`: from files to a state.
//! - `compaction`: giving disk space back.
//! - `checkpoint`: images of the index.
//! - `engine`: what an open store is: its parts, its locks, and the changes that take several parts.
//! - `repair`: what can be read of a damaged store, and the directory that a new one comes into being in.
//! - `values`: values on their way out.
//! - `index`: keys to locations, every answer checked.
//! - `log`: segments, appending to them, and reading them back.
//! - `format`: what bytes mean, and their checks.
//! - `threads`: threads beside callers, the bells that wake them, panics made into errors.
//! - `disk`: the only layer that touches files.
//! - the ground, files beside this one: `error`, `operation`, `options`, `progress`, `random`, `room`.
//!
//! A file uses its own layer, the layers below it, and the ground; no two files use each other. What an upper layer does
//! for a lower one (a thread's task, the rebuilding of an index) the lower one is told when a store is opened.

mod calls;
mod checkpoint;
mod compaction;
pub mod disk;
mod engine;
mod error;
mod format;
mod index;
mod log;
mod operation;
mod options;
mod progress;
mod random;
mod recovery;
mod repair;
mod room;
mod threads;
mod values;

pub use calls::bulk_load::SortedKeys;
pub use calls::columns::ItemColumns;
pub use calls::moment::Moment;
pub use calls::repair::RepairReport;
pub use calls::scan::{Scan, ScanRun};
pub use calls::stats::Stats;
pub use calls::store::Store;
pub use calls::verify::VerifyReport;
pub use disk::{fork_generation, watch_forks};
pub use engine::compaction_state::CompactReport;
#[cfg(feature = "lock-times")]
#[doc(hidden)]
pub use engine::lock_times::{Histogram, LockTimes, Places, lock_times};
pub use error::{Error, Result};
pub use format::measure::checksum_records;
pub use index::open_scans::ScanRange;
pub use log::batch::{Batch, ValueSource};
pub use operation::Operation;
pub use options::{
    DEFAULT_SEGMENT_BYTES, Durability, MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, Options, ReadMode, Recovery,
    WriteMode,
};
pub use progress::OpenProgress;
pub use repair::salvage::RepairMode;
#[doc(hidden)]
pub use threads::panics::{catching, panic_is_caught};
pub use values::column::ValueColumn;
pub use values::value::{NEAR_BYTES, Value, Values};
