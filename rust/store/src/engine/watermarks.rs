//! How far the log goes and how much of it is on the device, for callers that hold no lock. Knows nothing of
//! files. O(1).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How far the log goes and how much of it is on the device.
pub(crate) struct Watermarks {
    last: AtomicU64,
    durable: AtomicU64,
    /// A segment has ended since the last flush.
    ended_unsynced: AtomicBool,
    opened: Instant,
    /// Microseconds from `opened` to the end of the last flush.
    last_flush_micros: AtomicU64,
    /// Nanoseconds that the last flush took; 0 before the first.
    last_flush_nanos: AtomicU64,
}

impl Watermarks {
    pub(crate) fn new(last: u64, durable: u64) -> Self {
        Self {
            last: AtomicU64::new(last),
            durable: AtomicU64::new(durable),
            ended_unsynced: AtomicBool::new(false),
            opened: Instant::now(),
            last_flush_micros: AtomicU64::new(0),
            last_flush_nanos: AtomicU64::new(0),
        }
    }

    /// The sequence number of the last record in the log.
    #[inline]
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// The sequence number up to which everything is on the device.
    #[inline]
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Publishes the sequence number of the last record.
    #[inline]
    pub(crate) fn reached(&self, last: u64) {
        self.last.store(last, Ordering::Release);
    }

    /// Records the end of a flush, how long it took, and that everything up to this sequence number is on the
    /// device.
    pub(crate) fn flushed(&self, durable: u64, took: Duration) {
        self.made_durable(durable);
        self.last_flush_nanos.store(took.as_nanos() as u64, Ordering::Relaxed);
        self.last_flush_micros.store(self.opened.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// Records that everything up to this sequence number is on the device.
    pub(crate) fn made_durable(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
    }

    /// Whether segments have ended that no flush has covered yet.
    #[inline]
    pub(crate) fn ended_unsynced(&self) -> bool {
        self.ended_unsynced.load(Ordering::Relaxed)
    }

    /// Sets whether there are such segments. The caller holds the commit lock.
    pub(crate) fn note_ended(&self, unsynced: bool) {
        self.ended_unsynced.store(unsynced, Ordering::Relaxed);
    }

    /// Time since the last flush ended, or since the store was opened.
    #[inline]
    pub(crate) fn since_flush(&self) -> Duration {
        let last = Duration::from_micros(self.last_flush_micros.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(last)
    }

    /// How long the last flush took; `None` before the first.
    pub(crate) fn last_flush(&self) -> Option<Duration> {
        let nanos = self.last_flush_nanos.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }
}
