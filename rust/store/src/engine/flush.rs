//! Flushing: everything that was written goes to the device, oldest first, in one go for all who wait. Knows nothing of
//! records. O(segments that ended since the last flush) system calls.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::log::append::Failure;
use crate::operation::Operation;
use crate::options::Durability;

impl Shared {
    /// Makes everything up to `seq` durable. Concurrent calls share one flush of the device.
    pub(crate) fn flush_up_to(&self, seq: u64) -> Result<()> {
        if self.watermarks.durable() >= seq {
            return Ok(());
        }
        let durable = || self.watermarks.durable() >= seq;
        let Some(_turn) = self.turn.take(durable) else { return Ok(()) };
        let _one_at_a_time = self.flushing.lock();
        if durable() {
            return Ok(());
        }
        self.check_unpoisoned()?;
        let _whole = self.health.in_one_piece("a flush");
        let begun = Instant::now();
        let (ended, active, last_seq) = {
            let writing = self.writing.lock();
            self.watermarks.note_ended(false);
            self.threads.ahead.passed(writing.log.end.offset);
            // What ends a segment has a sequence too.
            self.watermarks.reached(writing.log.end.last_seq);
            (writing.log.unsynced.clone(), writing.log.active.clone(), writing.log.end.last_seq)
        };
        // Oldest first, and the watermark rises only when all of them are safe: a newer segment on the
        // device with an older one lost would be a hole.
        for segment in ended.iter().chain(&active) {
            segment.sync().map_err(|error| self.health.after(Failure::of(error)))?;
        }
        // Only of those that had ended before is it known that nothing was added since.
        self.writing
            .lock()
            .log
            .unsynced
            .retain(|segment| !ended.iter().any(|synced| Arc::ptr_eq(synced, segment)));
        for segment in &ended {
            segment.release();
        }
        self.watermarks.flushed(last_seq, begun.elapsed());
        Ok(())
    }

    /// Makes everything up to `seq` durable for a caller who is to find it under the store's path.
    pub(crate) fn flush_in_place(&self, seq: u64) -> Result<()> {
        self.flush_up_to(seq)?;
        self.disk.check_place().map_err(|error| Error::io(Operation::Open, &self.path, error))
    }

    /// Whether a flush is the next write's to do, since no background thread does it.
    pub(crate) fn flush_due(&self) -> bool {
        if self.options.background {
            return false;
        }
        self.flush_wanted()
    }

    /// With `interval` time is up; in every mode a segment has ended: what was never proven durable is
    /// written again after a crash, and that must not grow without bound.
    fn flush_wanted(&self) -> bool {
        self.watermarks.ended_unsynced()
            || self.options.durability == Durability::Interval
                && self.watermarks.since_flush() >= self.options.sync_interval
    }

    /// The flush that nobody waits for. A failure is remembered and raised by the next write.
    pub(crate) fn background_flush(&self) {
        if self.flush_wanted() && self.check_writable().is_ok() {
            // The error poisons the store, which every later write and flush reports.
            let _ = self.flush_up_to(self.watermarks.last());
        }
    }
}
