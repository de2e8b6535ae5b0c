//! A durable, ordered key-value engine for one writer process: `i64` keys, byte values.
//!
//! One append-only, checksummed log is write-ahead log and data at once; an ALEX index in memory says
//! where each key's newest record is. Each file of this crate holds one concept; `disk` is the only one
//! that touches files, `store` holds what all calls share, `commit` and `query` are the calls.

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
pub use disk::fork_generation;
pub use engine::compaction_state::CompactReport;
#[cfg(feature = "lock-times")]
#[doc(hidden)]
pub use engine::locks::{Histogram, LockTimes, Places, lock_times};
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
