//! What a caller may choose when opening a store, and which choices are possible at all.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::schema::{Compression, KeyKind, MAX_CODEC_NAME_BYTES, Schema};

/// When a write is safe, and against what. `docs/safety.md` spells out the promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A returned write survives a power cut.
    Sync,
    /// A returned write survives a process kill, and a power cut after the next timed flush.
    Interval,
    /// A returned write survives a process kill; the operating system decides when it reaches the device.
    Os,
}

/// How bytes reach the active segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// `Mmap` if that is known to be safe and fast, otherwise `Pwrite`.
    Auto,
    /// Copied into a shared mapping of the reserved file.
    Mmap,
    /// Written with a system call.
    Pwrite,
}

/// How values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// From read-only mappings: fastest, but a device error ends the process with SIGBUS.
    Mmap,
    /// With one system call per record: a device error is an [`Error::Io`].
    Pread,
}

/// What opening does if acknowledged data is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Refuse to open, and name the place.
    Strict,
    /// Open with everything before the damage.
    PointInTime,
}

/// Options of [`Store::open`](crate::Store::open).
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Refuse writes and take no lock.
    pub read_only: bool,
    /// Create a store if there is none.
    pub create: bool,
    /// Also create missing parent directories.
    pub parents: bool,
    /// The kind of keys: of a store that is made, `int64` if none is named; of another, it must be that.
    pub key: Option<KeyKind>,
    /// The name of the codec of values, likewise; plain bytes if none is named.
    pub codec: Option<String>,
    /// How values are compressed, likewise; [`Compression::None`] names none.
    pub compression: Compression,
    /// See [`Durability`].
    pub durability: Durability,
    /// Time between timed flushes, for [`Durability::Interval`].
    pub sync_interval: Duration,
    /// Bytes reserved for a segment, including its header.
    pub segment_bytes: u64,
    /// See [`WriteMode`].
    pub write_mode: WriteMode,
    /// See [`ReadMode`].
    pub read_mode: ReadMode,
    /// Check a record's checksum whenever it is read.
    pub verify_reads: bool,
    /// Run the background threads. Without them, the first write after a timed flush is due makes that flush,
    /// and compaction runs only on request.
    pub background: bool,
    /// Compaction starts when more than this share of the bytes of ended segments is dead (a little less
    /// while nothing is written), and continues until half this share is dead.
    pub compact_dead_ratio: f64,
    /// The most bytes per second that the background thread reads and writes for compaction.
    pub compact_bytes_per_second: u64,
    /// See [`Recovery`].
    pub recovery: Recovery,
    /// The most log that an opening replays, or the bytes of the last image if that is more: a checkpoint begins so early
    /// that it should end before so much was written since the last one.
    pub checkpoint_tail_bytes: u64,
    /// This many small segments of about one size are merged. Differs from the default only in tests.
    #[doc(hidden)]
    pub merge_small_from: usize,
    /// Dictionaries are trained from at most this many bytes of values. Differs from the default only in tests.
    #[doc(hidden)]
    pub train_from_bytes: u64,
}

/// The smallest allowed segment, in bytes.
pub const MIN_SEGMENT_BYTES: u64 = 4096;
/// The largest allowed segment, in bytes: locations count 8-byte units in 32 bits.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 35;
/// The default size of a segment, in bytes.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            read_only: false,
            create: true,
            parents: false,
            key: None,
            codec: None,
            compression: Compression::None,
            durability: Durability::Interval,
            sync_interval: Duration::from_millis(50),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            write_mode: WriteMode::Auto,
            read_mode: ReadMode::Mmap,
            verify_reads: true,
            background: true,
            compact_dead_ratio: 0.30,
            compact_bytes_per_second: 64 << 20,
            recovery: Recovery::Strict,
            checkpoint_tail_bytes: 64 << 20,
            merge_small_from: 8,
            train_from_bytes: 1 << 20,
        }
    }
}

impl Options {
    /// Refuses values that can never work.
    pub fn validate(&self) -> Result<()> {
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            return Err(Error::Invalid(format!(
                "segment_bytes must be between {MIN_SEGMENT_BYTES} and {MAX_SEGMENT_BYTES}, not {}",
                self.segment_bytes
            )));
        }
        // Written so that NaN fails the check.
        if !(self.compact_dead_ratio > 0.0 && self.compact_dead_ratio < 1.0) {
            return Err(Error::Invalid(format!(
                "compact_dead_ratio must be between 0 and 1, not {}",
                self.compact_dead_ratio
            )));
        }
        if self.compact_bytes_per_second == 0 {
            return Err(Error::Invalid("compact_bytes_per_second must be at least 1".to_owned()));
        }
        if self.checkpoint_tail_bytes == 0 {
            return Err(Error::Invalid("checkpoint_tail_bytes must be at least 1, not 0".to_owned()));
        }
        if self.sync_interval.is_zero() {
            return Err(Error::Invalid(
                "sync_interval_ms must be at least 1; use durability=\"sync\" to flush every commit".into(),
            ));
        }
        if let Some(codec) = &self.codec
            && !(1..=MAX_CODEC_NAME_BYTES).contains(&codec.len())
        {
            return Err(Error::Invalid(format!(
                "the name of a codec has 1 to {MAX_CODEC_NAME_BYTES} bytes, this one has {}",
                codec.len()
            )));
        }
        Ok(())
    }

    /// What a store made with these options never changes.
    pub(crate) fn schema(&self) -> Schema {
        Schema { key: self.key.unwrap_or_default(), codec: self.codec.clone(), compression: self.compression }
    }
}

/// Refuses what cannot be a path.
pub(crate) fn check_path(path: &Path) -> Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err(Error::Invalid(
            "the path of a store is empty; \".\" is the current directory".to_owned(),
        ));
    }
    if bytes.contains(&0) {
        return Err(Error::Invalid(format!(
            "the path {} holds a NUL character, which no path can",
            path.display()
        )));
    }
    Ok(())
}
