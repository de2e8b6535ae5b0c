//! The runs of a scan: how long they are, and who reads them.
//!
//! The first run is short, so that taking one item of a huge range is cheap. Each further run is up to four times as long,
//! as far as its values stay in the CPU caches until they are copied. Behind a scan that has come that far a thread reads
//! ahead, a few runs at a time; docs/dev/053-scans-read-ahead.md says why. Knows nothing of Python objects.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use alex_store::{Error, Key, KeyVec, NEAR_BYTES, Scan, ScanRun, Values, fork_generation};

use crate::convert::bounds::Yields;
use crate::memory;
use crate::store::handle::drop_version;
use crate::store::read_ahead::processors;

/// Items of the first run, and of the longest.
pub(crate) const FIRST_RUN_ITEMS: usize = 16;
const LAST_RUN_ITEMS: usize = 4096;
/// How many times as long each further run is, unless its values would leave the CPU caches before they are copied.
const RUN_GROWTH: usize = 4;
/// Runs of full length that are read before a thread begins to read ahead, which takes as long as to read a thousand items.
const RUNS_BEFORE: usize = 2;
/// Runs that a thread reads ahead. Then it ends, so that none waits for a caller who takes his time.
const RUNS_AHEAD: usize = 4;

/// Consecutive items of a scan.
pub(crate) struct Run {
    keys: KeyVec,
    values: Option<Values>,
}

impl Run {
    pub(crate) const EMPTY: Self = Self { keys: KeyVec::Narrow(Vec::new()), values: None };

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key of the i-th item.
    #[inline]
    pub(crate) fn key(&self, i: usize) -> Option<Key> {
        (i < self.keys.len()).then(|| self.keys.get(i))
    }

    /// Its value.
    #[inline]
    pub(crate) fn value(&self, i: usize) -> &[u8] {
        self.values.as_ref().and_then(|values| values.get(i)).unwrap_or_default()
    }

    /// Its value, if some values of the run are long, so that they lie apart from one another.
    #[inline]
    pub(crate) fn long_value(&self, i: usize) -> Option<&[u8]> {
        self.values.as_ref().filter(|values| values.long_bytes() > 0).and_then(|values| values.get(i))
    }

    /// How many items the next run should have, given that `items` were asked of this one.
    fn next_items(&self, items: usize) -> usize {
        let long_bytes = self.values.as_ref().map_or(0, Values::long_bytes);
        let near = (self.keys.len() * NEAR_BYTES).checked_div(long_bytes).unwrap_or(LAST_RUN_ITEMS);
        (items * RUN_GROWTH).min(near).clamp(1, LAST_RUN_ITEMS)
    }
}

/// The runs of a scan that have not been pulled yet.
pub(crate) struct Runs {
    reader: Reader,
    ahead: Option<Ahead>,
    /// Runs of full length that were pulled.
    full: usize,
}

/// What reads them.
struct Reader {
    scan: Scan,
    yields: Yields,
    /// Items of the next run.
    items: usize,
}

impl Reader {
    fn read(&mut self) -> Result<Run, Error> {
        let run = if self.yields == Yields::Keys {
            Run { keys: self.scan.next_keys(self.items)?, values: None }
        } else {
            let ScanRun { keys, values } = self.scan.next_run(self.items)?;
            Run { keys, values: Some(values) }
        };
        self.items = run.next_items(self.items);
        Ok(run)
    }
}

impl Runs {
    pub(crate) fn of(scan: Scan, yields: Yields, first_run_items: usize) -> Self {
        Self { reader: Reader { scan, yields, items: first_run_items }, ahead: None, full: 0 }
    }

    /// The next run; an empty one means the end. For a thread that is detached.
    pub(crate) fn pull(&mut self) -> Result<Run, Error> {
        if let Some(ahead) = &mut self.ahead {
            let (run, last) = ahead.next();
            let run = run?;
            if let Some(reader) = last {
                self.reader = reader;
                self.ahead = None;
                self.read_ahead(&run);
            }
            return Ok(run);
        }
        let asked = self.reader.items;
        let run = self.reader.read()?;
        self.full += usize::from(self.reader.items <= asked);
        if self.full >= RUNS_BEFORE {
            self.read_ahead(&run);
        }
        Ok(run)
    }

    /// Has what comes behind `run` read ahead. Long values are only checked, not copied, and are best copied by the
    /// processor whose caches they are in then.
    fn read_ahead(&mut self, run: &Run) {
        if run.values.as_ref().is_some_and(|values| values.long_bytes() == 0) && !self.is_at_end() {
            self.ahead = Ahead::begin(&self.reader);
        }
    }

    /// Whether nothing is left; if false, there may still be nothing.
    pub(crate) fn is_at_end(&self) -> bool {
        self.ahead.is_none() && self.reader.scan.is_at_end()
    }

    /// As [`Scan::likely_left`].
    pub(crate) fn likely_left(&self) -> Result<u64, Error> {
        let left = self.reader.scan.likely_left()?;
        Ok(left.saturating_sub(self.ahead.as_ref().map_or(0, |ahead| ahead.received)))
    }

    /// Waits for the thread, if there is one, and lets go of the scan: without the GIL if that may take long.
    pub(crate) fn end(self) {
        drop_version(self, |runs| runs.ahead.is_some() || runs.reader.scan.keeps_something());
    }
}

/// A run, and with the last one what goes on behind it.
type Message = (Result<Run, Error>, Option<Reader>);

/// A thread that reads the next runs. To drop it waits for the end of the run that is being read.
struct Ahead {
    /// `None` once it is being dropped.
    link: Option<(Receiver<Message>, JoinHandle<()>)>,
    stop: Arc<AtomicBool>,
    /// Items of the runs that have come.
    received: u64,
    fork_generation: u64,
}

impl Ahead {
    /// Starts a thread, unless as many are running as there are other processors. The reader stays where it is, for what
    /// it tells of the length; the one that comes with the last run goes on behind that.
    fn begin(reader: &Reader) -> Option<Self> {
        let place = Place::take()?;
        if !memory::holds_a_thread() {
            return None;
        }
        let (hand_over, runs) = sync_channel(RUNS_AHEAD);
        let (stop, reader) =
            (Arc::new(AtomicBool::new(false)), Reader { scan: reader.scan.of_rest(), ..*reader });
        let stopped = Arc::clone(&stop);
        let read = move || {
            let _place = place;
            read_some(reader, &hand_over, &stopped);
        };
        let thread = thread::Builder::new().name("alexpy-scan".to_owned()).spawn(read).ok()?;
        Some(Self { link: Some((runs, thread)), stop, received: 0, fork_generation: fork_generation() })
    }

    fn next(&mut self) -> Message {
        let message = self.link.as_ref().and_then(|(runs, _)| runs.recv().ok());
        let Some((run, last)) = message else {
            // It ends without a last run only if it panics.
            if let Some(Err(panic)) = self.link.take().map(|(_, thread)| thread.join()) {
                resume_unwind(panic);
            }
            return (Ok(Run::EMPTY), None);
        };
        self.received += run.as_ref().map_or(0, |run| run.len() as u64);
        (run, last)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let Some((runs, thread)) = self.link.take() else { return };
        if self.fork_generation != fork_generation() {
            // In a forked child there is no such thread, and it may have been handing a run over.
            std::mem::forget((runs, thread));
            return;
        }
        self.stop.store(true, Ordering::Relaxed);
        // A panic has nobody to be told to.
        let _ = thread.join();
    }
}

fn read_some(mut reader: Reader, hand_over: &SyncSender<Message>, stopped: &AtomicBool) {
    for left in (0..RUNS_AHEAD).rev() {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let run = reader.read();
        // The channel has a place for each of them.
        if left == 0 || reader.scan.is_at_end() || run.as_ref().map_or(true, |run| run.len() == 0) {
            let _ = hand_over.send((run, Some(reader)));
            return;
        }
        let _ = hand_over.send((run, None));
    }
}

/// How many threads read ahead, behind the fork generation that they belong to: a child has none of its parent's.
static RUNNING: AtomicU64 = AtomicU64::new(0);

/// The right to be one of the threads that read ahead.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let generation = fork_generation() << 32;
        let taken = RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |known| {
            let running = if known & !u64::from(u32::MAX) == generation { known - generation } else { 0 };
            (running + 1 < processors() as u64).then_some(generation + running + 1)
        });
        taken.ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}
