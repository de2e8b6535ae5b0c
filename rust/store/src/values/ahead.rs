//! Asks the kernel for the pages of the next records of a batch while earlier ones are read, so that the device always
//! has many reads to do. Only where the files are too large for memory to cache, or have become so, and only while that
//! is seen to help: `docs/dev/049-batches-ask-ahead.md` has the figures. Knows nothing of values. O(1) a record.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::Disk;
use crate::format::location::Location;
use crate::format::record::HEADER_BYTES;
use crate::log::segment::Segment;
use crate::log::segments::Segments;

/// Records, and bytes of them, that are asked for at a time.
const STEP_RECORDS: usize = 128;
const STEP_BYTES: u64 = 1 << 20;
/// How many steps have been asked for beyond the one whose records are read.
const STEPS_AHEAD: usize = 2;
/// Of a record whose size nobody has read yet, at most this much is asked for, however long others were: two pages.
const UNSEEN_BYTES: u64 = 4096;
/// Of one record, at most this much is asked for: a damaged size could be any.
const MOST_BYTES: u64 = 16 << 20;
/// The kernel cuts what is asked for in one call to what it reads ahead of a device, by default this.
const ASK_BYTES: u64 = 128 << 10;
const PAGE_BYTES: u64 = 4096;
/// While nothing is asked for, the device's reads are looked at after so many records.
const LOOK_RECORDS: usize = 512;
/// To ask for a page that is there costs less than a hundredth of a read. So asking pays if one record in so many
/// has to be read from the device.
const WORTH_RECORDS: u64 = 128;

/// Whether batches ask ahead, as far as past ones tell.
pub(crate) struct AsksAhead {
    disk: Arc<dyn Disk>,
    /// Whether the last batch of reads had anything read from the device.
    misses: AtomicBool,
    /// The same of the last batch that needed headers only, which writers make.
    header_misses: AtomicBool,
    /// Whether segments that are mapped were told that memory cannot cache them all. Those that come later are mapped so.
    told: AtomicBool,
}

impl AsksAhead {
    /// What was just opened is not in memory, as far as anybody knows.
    pub(crate) fn new(disk: &Arc<dyn Disk>) -> Self {
        let told = AtomicBool::new(disk.is_crowded());
        let (misses, header_misses) = (AtomicBool::new(true), AtomicBool::new(true));
        Self { disk: Arc::clone(disk), misses, header_misses, told }
    }

    /// To be called when files were created: if memory can no longer cache them all, nothing more is read ahead in those
    /// that are mapped already. O(1) except for the one time.
    pub(crate) fn look(&self, segments: &Segments) {
        if self.disk.is_crowded() && !self.told.swap(true, Ordering::Relaxed) {
            segments.iter().for_each(|segment| segment.read_at_random());
        }
    }

    /// To be called before a segment joins those that readers find: it may have been mapped before memory became too
    /// small.
    pub(crate) fn tell(&self, segment: &Segment) {
        if self.disk.is_crowded() {
            segment.read_at_random();
        }
    }

    /// Follows a batch: `records` are those that will be read, in that order, `None` for one that does not exist.
    pub(crate) fn over<'a, L, I>(&'a self, records: I) -> Ahead<'a, I::IntoIter>
    where
        L: Into<Option<Location>>,
        I: IntoIterator<Item = (&'a Segments, L)>,
    {
        self.following(records, &self.misses, false)
    }

    /// Follows a batch of which only the headers of the records will be read.
    pub(crate) fn over_headers<'a, L, I>(&'a self, records: I) -> Ahead<'a, I::IntoIter>
    where
        L: Into<Option<Location>>,
        I: IntoIterator<Item = (&'a Segments, L)>,
    {
        self.following(records, &self.header_misses, true)
    }

    fn following<'a, L, I>(
        &'a self,
        records: I,
        misses: &'a AtomicBool,
        headers_only: bool,
    ) -> Ahead<'a, I::IntoIter>
    where
        L: Into<Option<Location>>,
        I: IntoIterator<Item = (&'a Segments, L)>,
    {
        let batch = self.disk.is_crowded().then(|| {
            let pages = self.disk.pages_read();
            Batch {
                disk: &*self.disk,
                misses,
                headers_only,
                records: records.into_iter(),
                steps: VecDeque::new(),
                left: 0,
                passed: 0,
                pages,
                usual_size: 0,
                asks: misses.load(Ordering::Relaxed),
            }
        });
        Ahead(batch)
    }
}

/// What [`AsksAhead::over`] makes.
pub(crate) struct Ahead<'a, I>(Option<Batch<'a, I>>);

impl<'a, L: Into<Option<Location>>, I: Iterator<Item = (&'a Segments, L)>> Ahead<'a, I> {
    /// To be called before each record is read.
    #[inline]
    pub(crate) fn before_next(&mut self) {
        if let Some(batch) = &mut self.0 {
            if batch.left == 0 {
                batch.begin_step();
            }
            batch.left -= 1;
        }
    }
}

/// A batch of a store that may have to be read from the device.
struct Batch<'a, I> {
    disk: &'a dyn Disk,
    /// Whether such batches miss.
    misses: &'a AtomicBool,
    headers_only: bool,
    /// The records that were not asked for yet, except for the first `passed` while nothing is asked for.
    records: I,
    /// What was asked for: the step whose records are read, and those behind it.
    steps: VecDeque<Step<'a>>,
    /// Records left of the present step.
    left: usize,
    /// Records whose step has begun.
    passed: usize,
    /// What [`Disk::pages_read`] was when the batch began.
    pages: u64,
    /// The mean size of the records of the last step whose sizes are known.
    usual_size: u64,
    asks: bool,
}

/// Some records that were asked for together.
struct Step<'a> {
    records: usize,
    /// Those that exist.
    places: Vec<(&'a Segment, u64)>,
}

impl<'a, L: Into<Option<Location>>, I: Iterator<Item = (&'a Segments, L)>> Batch<'a, I> {
    #[cold]
    fn begin_step(&mut self) {
        if !self.asks {
            if self.passed == 0 || !self.has_missed() {
                self.passed += LOOK_RECORDS;
                self.left = LOOK_RECORDS;
                return;
            }
            self.asks = true;
            if self.passed > 0 {
                self.records.nth(self.passed - 1);
            }
        }
        let first = self.steps.pop_front().is_none();
        while self.steps.len() <= STEPS_AHEAD {
            let step = self.ask_for_headers();
            if step.records == 0 {
                break;
            }
            self.steps.push_back(step);
        }
        // Waits for the headers of those records. The pages of the step behind them are on their way meanwhile.
        if first {
            self.ask_for_rest(0);
        }
        self.ask_for_rest(1);
        self.left = self.steps.front().map_or(LOOK_RECORDS, |step| step.records);
        self.passed += self.left;
    }

    /// Asks for the first bytes of the next records, where their sizes are.
    fn ask_for_headers(&mut self) -> Step<'a> {
        let mut step = Step { records: 0, places: Vec::new() };
        let (mut asking, mut bytes) = (Asking::default(), 0);
        while step.records < STEP_RECORDS && bytes < STEP_BYTES {
            let Some((segments, location)) = self.records.next() else { break };
            step.records += 1;
            // A location without a segment is reported by the read.
            let Some(location) = location.into() else { continue };
            let Some(segment) = segments.get(location.segment()) else { continue };
            let offset = location.offset();
            asking.ask(segment, offset, self.usual_size.clamp(HEADER_BYTES, UNSEEN_BYTES));
            step.places.push((segment, offset));
            bytes += self.usual_size;
        }
        asking.finish();
        step
    }

    /// Asks for what is left of the records of a step. Ignores what cannot be read, which the read will report.
    fn ask_for_rest(&mut self, step: usize) {
        if self.headers_only {
            return;
        }
        let Some(step) = self.steps.get(step) else { return };
        let asked = self.usual_size.clamp(HEADER_BYTES, UNSEEN_BYTES);
        let (mut asking, mut bytes) = (Asking::default(), 0);
        for &(segment, offset) in &step.places {
            let size = segment.record_size(offset).unwrap_or_default();
            bytes += size;
            if size > asked {
                asking.ask(segment, offset + HEADER_BYTES, (size - HEADER_BYTES).min(MOST_BYTES));
            }
        }
        asking.finish();
        self.usual_size = bytes.checked_div(step.places.len() as u64).unwrap_or(self.usual_size);
    }
}

impl<I> Batch<'_, I> {
    /// Whether so much was read from the device since the batch began that asking pays.
    fn has_missed(&self) -> bool {
        let pages = self.disk.pages_read().saturating_sub(self.pages);
        pages > 0 && pages.saturating_mul(WORTH_RECORDS) >= self.passed as u64
    }
}

impl<I> Drop for Batch<'_, I> {
    fn drop(&mut self) {
        // Includes what was asked for: if that was in memory, nothing was read.
        self.passed = self.passed.saturating_sub(self.left);
        self.misses.store(self.has_missed(), Ordering::Relaxed);
    }
}

/// Joins what lies together into one request.
#[derive(Default)]
struct Asking<'a> {
    last: Option<(&'a Segment, Range<u64>)>,
}

impl<'a> Asking<'a> {
    fn ask(&mut self, segment: &'a Segment, offset: u64, bytes: u64) {
        let pages = offset / PAGE_BYTES * PAGE_BYTES
            ..offset.saturating_add(bytes).div_ceil(PAGE_BYTES).saturating_mul(PAGE_BYTES);
        if let Some((of, last)) = &mut self.last
            && std::ptr::eq(*of, segment)
            && (last.start..=last.end).contains(&pages.start)
        {
            last.end = last.end.max(pages.end);
            return;
        }
        self.finish();
        self.last = Some((segment, pages));
    }

    fn finish(&mut self) {
        let Some((segment, pages)) = self.last.take() else { return };
        let mut from = pages.start;
        while from < pages.end {
            let bytes = ASK_BYTES.min(pages.end - from);
            segment.will_read(from, bytes);
            from += bytes;
        }
    }
}
