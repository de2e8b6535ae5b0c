//! Counters of an open store, for statistics.

use std::ops::Bound;
use std::sync::Arc;

use crate::calls::store::Store;
use crate::engine::compaction_state::CompactReport;
use crate::engine::flow::Follower;
use crate::error::Result;
use crate::index::versions::ScanRange;
use crate::log::next_segment::Spare;
use crate::recovery::lag::lag;

/// Counters of an open store.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Live keys.
    pub keys: u64,
    /// Bytes of records that the index points to.
    pub live_bytes: u64,
    /// Bytes of all other records.
    pub dead_bytes: u64,
    /// Bytes allocated on the disk for the segments.
    pub disk_bytes: u64,
    /// Number of segments.
    pub segments: u64,
    /// Bytes of log that the next opening must replay.
    pub tail_bytes: u64,
    /// Bytes of memory that the index uses.
    pub index_bytes: u64,
    /// Tree height of the index.
    pub index_height: u32,
    /// The sequence number of the last commit.
    pub last_seq: u64,
    /// Everything up to this sequence number is on the device.
    pub durable_seq: u64,
    /// How long the last flush took; `None` before the first.
    pub last_sync_seconds: Option<f64>,
    /// Bytes that opening found behind the accepted end of the log and dropped.
    pub dropped_bytes: u64,
    /// What compaction has done since the store was opened.
    pub compaction: CompactReport,
    /// Segments that compaction leaves alone because a record in them is damaged.
    pub damaged_segments: u64,
    /// The message of the first panic on a background thread, which is a defect of this library.
    pub background_failure: Option<String>,
    /// How bytes reach the log: "mmap" or "pwrite".
    pub write_mode: &'static str,
    /// How long commits have waited, in total, because a checkpoint or compaction could not keep up.
    pub slowed_seconds: f64,
    /// What commits wait for now, if anything: "checkpoint" or "compaction".
    pub slowed_by: Option<&'static str>,
    /// How many snapshots, open scans and large reads there are, of the store as it is since it was last emptied.
    pub snapshots: u64,
    /// Bytes of memory that they need for what has changed since.
    pub history_bytes: u64,
    /// Of a read-only handle, how many sequence numbers were committed that it does not show, all of which `refresh` takes
    /// up; `None` if `refresh` would fail, and of a handle for writing.
    pub lag: Option<u64>,
}

impl Store {
    /// What the store holds and does. O(segments + model nodes of the index), of a read-only handle also O(bytes of log that
    /// it has not seen).
    pub fn stats(&self) -> Result<Stats> {
        let _running = self.shared.enter()?;
        let (segments, keys, index_bytes, index_height, (snapshots, history_bytes)) =
            self.shared.mending(|| {
                let state = self.shared.read_state()?;
                let (index, history) = (&state.index, state.era().size());
                let keys = index.len()? as u64;
                Ok((Arc::clone(&state.segments), keys, index.nbytes() as u64, index.height(), history))
            })?;
        self.shared.count_replaced();
        let (mut live_bytes, mut total_bytes, mut disk_bytes, mut count) = (0, 0, 0, 0);
        for segment in segments.iter() {
            let counts = segment.counts();
            live_bytes += counts.live;
            total_bytes += counts.total;
            disk_bytes += segment.allocated()?;
            count += 1;
        }
        let shared = &self.shared;
        // Read before the sequence number of the last commit, which is never below it.
        let durable_seq = shared.watermarks.durable();
        let (tail_bytes, copies, behind, lag) = {
            let writing = shared.writing.lock();
            disk_bytes += writing.log.spare.as_ref().map_or(0, Spare::allocated);
            // A segment whose blocks could not be reserved is not mapped, whatever mode was chosen.
            let copies = writing.log.active.as_ref().map_or(writing.log.copies, |active| active.copies());
            (writing.images.tail_bytes, copies, writing.flow.behind(), lag(shared, &writing)?)
        };
        Ok(Stats {
            keys,
            live_bytes,
            dead_bytes: total_bytes.saturating_sub(live_bytes),
            disk_bytes,
            segments: count,
            tail_bytes,
            index_bytes,
            index_height: index_height as u32,
            last_seq: shared.watermarks.last(),
            durable_seq,
            last_sync_seconds: shared.watermarks.last_flush().map(|took| took.as_secs_f64()),
            dropped_bytes: shared.opened.dropped_bytes,
            compaction: shared.compacting.totals.report(),
            damaged_segments: shared.compacting.totals.damaged_segments(),
            background_failure: shared.health.background_failure(),
            write_mode: if copies { "mmap" } else { "pwrite" },
            slowed_seconds: shared.waits.waited().as_secs_f64(),
            slowed_by: behind.map(Follower::name),
            snapshots,
            history_bytes,
            lag,
        })
    }

    /// Bytes of the records that the index points to, each measured: what `live_bytes` counts. For tests. O(keys).
    #[doc(hidden)]
    pub fn bytes_of_records(&self) -> Result<u64> {
        let all = ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };
        let (mut scan, mut bytes) = (self.scan(all)?, 0);
        loop {
            let run = scan.take(4096)?;
            if run.keys.is_empty() {
                return Ok(bytes);
            }
            for i in 0..run.keys.len() {
                let location = run.location(i);
                bytes += run.segments.at(location)?.record_size(location.offset())?;
            }
        }
    }
}
