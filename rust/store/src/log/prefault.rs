//! Brings the pages that a fast writer is about to copy into memory, on a thread beside the writer. A first
//! store into a page of a file costs a fault of 2 us, and now and then one of milliseconds (docs/dev/016).
//! This is only a hint: a page that was not prepared is faulted in as usual. Knows nothing of records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::log::segment::Segment;
use crate::threads::bell::Bell;

/// How far ahead of the writer pages are prepared. Pages that are prepared but not yet written go to the
/// device as zeros if a flush comes in between, so this is no more than the thread needs to stay ahead.
const WINDOW_BYTES: u64 = 4 << 20;
/// How much must be written between two flushes, and between two rings of the bell, before pages are
/// prepared. For a writer that flushes more often, each page would be written twice.
const STEP_BYTES: u64 = 1 << 20;
/// How much is prepared at a time. Ending a segment waits for this.
const CHUNK_BYTES: u64 = 512 << 10;

/// The writer reports where it is, and the thread prepares what comes next.
pub(crate) struct Ahead {
    pub(crate) bell: Bell,
    /// The writer reports once it has reached this offset in its segment.
    tell_at: AtomicU64,
    tail: Mutex<Tail>,
}

#[derive(Default)]
struct Tail {
    segment: Weak<Segment>,
    written: u64,
    prepared: u64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { bell: Bell::default(), tell_at: AtomicU64::new(STEP_BYTES), tail: Mutex::default() }
    }
}

impl Ahead {
    /// The writer has moved on to a new segment.
    pub(crate) fn rolled(&self) {
        self.tell_at.store(STEP_BYTES, Ordering::Relaxed);
    }

    /// Nothing in the active segment below `end` needs pages: it is about to be flushed, or was written by
    /// system call. Ends a round of the thread.
    pub(crate) fn passed(&self, end: u64) {
        self.tell_at.fetch_max(end.saturating_add(STEP_BYTES), Ordering::Relaxed);
        // The flush may take prepared pages out of the map. The next fast writer reports where it is.
        *self.tail.lock() = Tail::default();
    }

    /// The writer has written everything below `end`. O(1), usually a single comparison.
    #[inline]
    pub(crate) fn wrote(&self, segment: &Arc<Segment>, end: u64) {
        if end >= self.tell_at.load(Ordering::Relaxed) {
            self.tell(segment, end);
        }
    }

    #[cold]
    fn tell(&self, segment: &Arc<Segment>, end: u64) {
        self.tell_at.store(end.saturating_add(STEP_BYTES), Ordering::Relaxed);
        if !segment.copies() {
            return;
        }
        let mut tail = self.tail.lock();
        if !std::ptr::eq(tail.segment.as_ptr(), Arc::as_ptr(segment)) {
            *tail = Tail { segment: Arc::downgrade(segment), written: 0, prepared: 0 };
        }
        tail.written = end;
        drop(tail);
        self.bell.ring();
    }

    /// One round of the thread: prepares pages until the whole window ahead of the writer is ready.
    pub(crate) fn prepare(&self) {
        while !self.bell.stopping() {
            let (segment, from, len) = {
                let mut tail = self.tail.lock();
                let Some(segment) = tail.segment.upgrade() else { return };
                let from = tail.prepared.max(tail.written.next_multiple_of(CHUNK_BYTES));
                let end = (from + CHUNK_BYTES).min(segment.header.capacity);
                if end <= from || from >= tail.written + WINDOW_BYTES {
                    return;
                }
                tail.prepared = end;
                (segment, from, end - from)
            };
            if segment.prepare(from, len).is_err() {
                // The segment has ended, or the system does not support this.
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Ahead, STEP_BYTES, WINDOW_BYTES};
    use crate::disk::{Disk, RealDisk};
    use crate::format::header::SegmentHeader;
    use crate::format::manifest;
    use crate::log::next_segment::Spare;
    use crate::log::segment::Segment;
    use crate::options::Options;

    const CAPACITY: u64 = 8 << 20;

    fn segment(disk: &Arc<dyn Disk>, copies: bool) -> Arc<Segment> {
        let options = Options::default();
        let listed = manifest::Spare { segment: 1, capacity: CAPACITY, salt: 3 };
        let spare = Spare::reserve(disk, listed, copies, &options).unwrap();
        let header = SegmentHeader { store_id: [1; 16], salt: 3, ..SegmentHeader::of_test(1, CAPACITY) };
        Arc::new(spare.begin(disk, header).unwrap())
    }

    #[test]
    fn only_a_writer_that_outruns_the_flushes_gets_pages() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()).unwrap());
        let segment = segment(&disk, true);
        let ahead = Ahead::default();
        for end in (0..4 * STEP_BYTES).step_by(4096) {
            ahead.passed(end);
            ahead.wrote(&segment, end + 4096);
            ahead.prepare();
        }
        assert_eq!(ahead.tail.lock().prepared, 0, "each page would have gone to the device twice");
        if !segment.copies() {
            return;
        }
        let written = 6 * STEP_BYTES;
        ahead.wrote(&segment, written);
        ahead.prepare();
        assert_eq!(ahead.tail.lock().prepared, CAPACITY.min(written + WINDOW_BYTES));
        ahead.passed(written);
        ahead.prepare();
        assert_eq!(ahead.tail.lock().prepared, 0, "from a place that the writer has left");
    }

    #[test]
    fn prepared_pages_hold_what_was_and_take_what_comes() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()).unwrap());
        let segment = segment(&disk, true);
        let ahead = Ahead::default();
        let before: Vec<u8> = (0..STEP_BYTES).map(|i| i as u8).collect();
        segment.write(4096, &before).unwrap();
        ahead.wrote(&segment, 4096 + STEP_BYTES);
        ahead.prepare();
        segment.write(4096 + STEP_BYTES, b"after").unwrap();
        let mut found = vec![0; before.len() + 6];
        segment.read_at(4096, &mut found).unwrap();
        assert_eq!(found[..before.len()], before);
        assert_eq!(&found[before.len()..], b"after\0");
    }

    #[test]
    fn an_ended_segment_and_one_without_a_map_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()).unwrap());
        let ahead = Ahead::default();
        let plain = segment(&disk, false);
        ahead.wrote(&plain, 2 * STEP_BYTES);
        ahead.prepare();
        assert_eq!(ahead.tail.lock().prepared, 0);
        drop(plain);
        disk.remove(&Segment::name(1)).unwrap();
        let ended = segment(&disk, true);
        ahead.rolled();
        ahead.wrote(&ended, STEP_BYTES);
        ended.stop_writing();
        ahead.prepare();
        drop(ended);
        ahead.prepare();
    }
}
