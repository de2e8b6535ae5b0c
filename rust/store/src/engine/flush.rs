//! Flushing: everything written goes to the device, oldest segment first, in one flush for all who wait.
//! Knows nothing of records. O(segments that ended since the last flush) system calls.

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
            // The footer of a segment has a sequence number too.
            self.watermarks.reached(writing.log.end.last_seq);
            (writing.log.unsynced.clone(), writing.log.active.clone(), writing.log.end.last_seq)
        };
        // Sync the oldest first, and raise the watermark only when all are safe: a newer segment on the
        // device would leave a hole if an older one were lost.
        for segment in ended.iter().chain(&active) {
            segment.sync().map_err(|error| self.health.after(Failure::of(error)))?;
        }
        // Only segments that had already ended are certain to have received nothing since.
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

    /// Makes everything up to `seq` durable, for a caller who must find it under the store's path.
    pub(crate) fn flush_in_place(&self, seq: u64) -> Result<()> {
        // While closing waits for this call, it does not let go of the directory; once it has, it has flushed.
        let running = self.enter();
        self.flush_up_to(seq)?;
        if running.is_err() {
            return Ok(());
        }
        self.disk.check_place().map_err(|error| Error::io(Operation::Open, &self.path, error))
    }

    /// Whether the next write must flush, because no background thread does.
    pub(crate) fn flush_due(&self) -> bool {
        if self.options.background {
            return false;
        }
        self.flush_wanted()
    }

    /// A flush is wanted when the interval has passed (with `interval`), and in every mode when a segment has
    /// ended: records not proven durable are written again after a crash, and their number must stay bounded.
    fn flush_wanted(&self) -> bool {
        self.watermarks.ended_unsynced()
            || self.options.durability == Durability::Interval
                && self.watermarks.since_flush() >= self.options.sync_interval
    }

    /// A flush that nobody waits for. A failure is remembered, and the next write reports it.
    pub(crate) fn background_flush(&self) {
        if self.flush_wanted() && self.check_writable().is_ok() {
            // The error poisons the store, which every later write and flush reports.
            let _ = self.flush_up_to(self.watermarks.last());
        }
    }
}
