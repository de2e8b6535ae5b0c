//! The handle users hold, and what all handles and threads of a store share. Lock order: `compaction`,
//! `maintenance`, `catalog`, `flushing`, `log`, `counting`, `state`; the state lock is never held across a system
//! call, the log's not across a sync.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::ahead::Ahead;
use crate::bell::Bell;
use crate::calls::Calls;
use crate::catalog::Catalog;
use crate::checkpoint::GENERATIONS;
use crate::compaction::{Compaction, Totals};
use crate::disk::{self, Disk, LOCK_FILE, Lock, RealDisk};
use crate::error::{Error, Result};
use crate::flow::Waits;
use crate::health::{Harm, Health};
use crate::location::Location;
use crate::lock::{CommitLock, StateLock, StateReadGuard, StateWriteGuard};
use crate::log::{Log, Trim};
use crate::manifest::Manifest;
use crate::operation::Operation;
use crate::options::{Durability, Options, check_path};
use crate::panics::catching;
use crate::progress::OpenProgress;
use crate::random::random_id;
use crate::recovery::{self, Look, Recovered};
use crate::state::State;
use crate::turn::FlushTurn;
use crate::worker::{Task, Worker};

/// How often a read-only opening looks at files that do not fit while no manifest changes: a writer at work also
/// appends without one.
const STILL_LOOKS: usize = 5;

/// How long a read-only opening starts again because a writer changes the manifest under it.
const READER_PATIENCE: Duration = Duration::from_secs(10);

/// The flushing thread looks at least this often whether a segment has ended.
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// The compacting thread looks this often how much is dead.
const COMPACTOR_NAP: Duration = Duration::from_millis(500);

/// The preparing thread is rung for; this is for what it missed.
const PREPARER_NAP: Duration = Duration::from_secs(3600);

/// An open store. Clones are the same handle; the store closes when the last one is gone.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    _guard: Arc<LastHandle>,
}

/// Gone with the last clone of the handle, while scans may still read what they share with it.
struct LastHandle(Arc<Shared>);

impl Drop for LastHandle {
    /// A store that is dropped unclosed ends as if the process had been killed: every commit is in the
    /// page cache. Only the lock is given up, once the thread that might still flush has ended.
    fn drop(&mut self) {
        if self.0.is_inherited() {
            // The threads and the lock are the parent's, and so is whoever may hold what is taken below; the fork
            // handler let go of our descriptor.
            return;
        }
        self.0.stop_workers();
        *self.0.lock.lock() = None;
    }
}

/// What the handle, its scans and its background thread share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    /// The path as the user gave it, for messages.
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    /// Held while an image is written, from its begin to its publication, and while relocated records take
    /// the place of others: neither happens within the other.
    pub(crate) maintenance: Mutex<()>,
    /// What the manifest says; held while it is changed.
    pub(crate) catalog: Mutex<Catalog>,
    /// Held by whoever flushes: concurrent flushes wait here and find their work done.
    pub(crate) flushing: Mutex<()>,
    /// Taken before `flushing` by those who want a flush.
    turn: FlushTurn,
    /// The commit lock.
    pub(crate) log: CommitLock<Log>,
    pub(crate) state: StateLock<State>,
    pub(crate) last_seq: AtomicU64,
    pub(crate) durable_seq: AtomicU64,
    /// Nanoseconds that the last flush took, 0 before the first.
    pub(crate) last_sync_nanos: AtomicU64,
    /// Microseconds from `opened` to the end of the last flush.
    last_flush_micros: AtomicU64,
    opened: Instant,
    /// A segment was ended since the last flush.
    pub(crate) ended_unsynced: AtomicBool,
    pub(crate) health: Health,
    closed: AtomicBool,
    fork_generation: u64,
    pub(crate) dropped_bytes: u64,
    pub(crate) store_id: [u8; 16],
    /// The manifest that a read-only handle was opened with: what it lists is held open.
    pub(crate) opened_with: Option<Manifest>,
    /// Records that were replaced but not counted yet (`whole.rs`); taken after the state's lock.
    pub(crate) uncounted: Mutex<Vec<Location>>,
    /// Held while they are counted, and while counts are replaced; taken before the state's lock.
    pub(crate) counting: Mutex<()>,
    /// Images that were found damaged, until the manifest lists them no longer and for good.
    pub(crate) damaged_images: Mutex<Vec<u32>>,
    /// Rung when a checkpoint is due.
    pub(crate) checkpointer: Bell,
    /// One compaction at a time; comes before all other locks.
    pub(crate) compaction: Mutex<Compaction>,
    pub(crate) totals: Totals,
    /// How many wait for the compaction that runs.
    pub(crate) hurry: AtomicU64,
    /// Tells the compacting thread to end.
    pub(crate) compactor: Bell,
    /// Rung when the log's next segment should be made.
    pub(crate) preparer: Bell,
    /// The log may grow to here whatever is dead (`space.rs`).
    pub(crate) space_grace: AtomicU64,
    /// How long commits have waited for the threads that follow them.
    pub(crate) waits: Waits,
    /// Prepares pages for the writer.
    ahead: Arc<Ahead>,
    workers: Mutex<Vec<Worker>>,
    /// What closing waits for.
    pub(crate) calls: Calls,
    /// The writer's lock on the directory.
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl Store {
    /// Opens the store in the directory `path`, making it where the options allow. `progress` is called
    /// every few mebibytes of log; once it returns false, opening stops with [`Error::Interrupted`].
    ///
    /// O(bytes of log since the last checkpoint); without one, or if both images are damaged, O(bytes of log):
    /// the index is then built from the segments.
    pub fn open(
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<Self> {
        options.validate()?;
        check_path(path)?;
        match std::fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(Error::NotADirectory { path: path.to_owned() }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if options.read_only || !options.create {
                    return Err(Error::NotFound { path: path.to_owned() });
                }
                RealDisk::make_dir(path, options.parents).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Error::NoParent { path: path.to_owned() },
                    _ => Error::io(Operation::Create, path, error),
                })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::NotADirectory { path: path.to_owned() });
            }
            Err(error) => return Err(Error::io(Operation::Open, path, error)),
        }
        let disk = RealDisk::new(path).map_err(|error| Error::io(Operation::Open, path, error))?;
        Self::open_on(Arc::new(disk), path, options, progress)
    }

    /// As [`Store::open`], on any disk. For tests that cut the power.
    #[doc(hidden)]
    pub fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<Self> {
        options.validate()?;
        if options.read_only {
            return Self::open_reader(&disk, path, options, progress);
        }
        Self::open_writer(disk, path, options, progress)
    }

    fn open_reader(
        disk: &Arc<dyn Disk>,
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<Self> {
        let begun = Instant::now();
        let (mut still_looks, mut look) = (0, Look::default());
        loop {
            let Some((manifest, agree)) = recovery::find_manifest(&**disk, path)? else {
                return Err(Error::NotFound { path: path.to_owned() });
            };
            let (generation, clean) = (manifest.generation, manifest.clean);
            let error = match recovery::recover(disk, manifest, agree, options, &mut look, progress) {
                Ok(recovered) => {
                    return Ok(Self::assemble(Arc::clone(disk), path, options, recovered, None));
                }
                Err(error) => error,
            };
            let gone = matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
            if !gone && !matches!(error, Error::Corruption { .. } | Error::Format { .. }) {
                return Err(error);
            }
            // A writer at work may have gone on between two looks. As long as it writes manifests, another look
            // finds another store; damage that stays is damage, and where no writer was at work nothing can have
            // moved.
            let still =
                recovery::read_manifest(&**disk)?.is_some_and(|(now, _)| now.generation == generation);
            still_looks = if still { still_looks + 1 } else { 0 };
            // Without an image that is listed for good the log is read.
            let without_image = gone && !std::mem::replace(&mut look.images_may_be_gone, still) && still;
            // Nor does what is refused by its format change without a manifest.
            let settled = still && (clean || matches!(error, Error::Format { .. }));
            let over = settled || still_looks == STILL_LOOKS || begun.elapsed() > READER_PATIENCE;
            if over && !without_image {
                return Err(error);
            }
            if still && !without_image {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn open_writer(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<Self> {
        // Looked at before the lock, whose file would be the first thing written into the directory.
        if recovery::find_manifest(&*disk, path)?.is_none() && !options.create {
            return Err(Error::NotFound { path: path.to_owned() });
        }
        let lock =
            match disk.lock().map_err(|error| Error::io(Operation::Lock, &path.join(LOCK_FILE), error))? {
                Lock::Taken(lock) => lock,
                Lock::Held(pid) => return Err(Error::Locked { path: path.to_owned(), pid }),
            };
        // Again, since now nobody else changes what is found.
        let (manifest, agree) = match recovery::find_manifest(&*disk, path)? {
            Some(found) => found,
            None => {
                let mut manifest = Manifest::new(random_id(path)?);
                manifest.write(&*disk)?;
                (manifest, true)
            }
        };
        let recovered =
            recovery::recover(&disk, manifest, agree, options, &mut Look::of_a_writer(), progress)?;
        let store = Self::assemble(disk, path, options, recovered, Some(lock));
        store.shared.merge_at_open()?;
        if options.background {
            store.shared.start_workers().map_err(|error| Error::io(Operation::StartThreads, path, error))?;
        }
        Ok(store)
    }

    fn assemble(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &Options,
        recovered: Recovered,
        lock: Option<Box<dyn Send + Sync>>,
    ) -> Self {
        let Recovered { state, log, manifest, durable_seq, dropped_bytes } = recovered;
        disk::watch_forks();
        let shared = Shared {
            disk,
            path: path.to_owned(),
            options: options.clone(),
            maintenance: Mutex::new(()),
            store_id: manifest.store_id,
            opened_with: options.read_only.then(|| manifest.clone()),
            catalog: Mutex::new(Catalog::new(manifest)),
            turn: FlushTurn::default(),
            flushing: Mutex::new(()),
            last_seq: AtomicU64::new(log.end.last_seq),
            durable_seq: AtomicU64::new(durable_seq),
            ahead: Arc::clone(&log.ahead),
            log: CommitLock::new(log),
            state: StateLock::new(state),
            last_sync_nanos: AtomicU64::new(0),
            last_flush_micros: AtomicU64::new(0),
            opened: Instant::now(),
            ended_unsynced: AtomicBool::new(false),
            health: Health::default(),
            closed: AtomicBool::new(false),
            fork_generation: disk::fork_generation(),
            dropped_bytes,
            uncounted: Mutex::default(),
            counting: Mutex::default(),
            damaged_images: Mutex::new(Vec::new()),
            checkpointer: Bell::default(),
            compaction: Mutex::default(),
            totals: Totals::default(),
            hurry: AtomicU64::new(0),
            compactor: Bell::default(),
            preparer: Bell::default(),
            space_grace: AtomicU64::new(0),
            waits: Waits::default(),
            workers: Mutex::new(Vec::new()),
            calls: Calls::default(),
            lock: Mutex::new(lock),
        };
        let shared = Arc::new(shared);
        Self { _guard: Arc::new(LastHandle(Arc::clone(&shared))), shared }
    }

    /// Flushes, seals what was written and gives the lock back; waits for running calls. Further calls
    /// do nothing. Values read before stay valid; scans and writes raise [`Error::Closed`].
    pub fn close(&self) -> Result<()> {
        self.shared.close()
    }

    /// How it was opened.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Whether this is a child of the process that opened it: then nothing of it may be used.
    #[inline]
    pub fn is_inherited(&self) -> bool {
        self.shared.is_inherited()
    }

    /// Whether [`Store::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// The directory, as it was given.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Whether the handle refuses writes.
    pub fn read_only(&self) -> bool {
        self.shared.options.read_only
    }

    /// What the background threads do when their time has come, once and now. For tests that need to
    /// know when it happens.
    #[doc(hidden)]
    pub fn tend(&self) -> Result<()> {
        self.shared.check_writable()?;
        self.shared.prepare();
        self.shared.checkpoint_if_due();
        self.shared.compact_if_due()
    }

    /// Returns when everything written before the call is safe on the device.
    pub fn flush(&self) -> Result<()> {
        self.shared.check_usable()?;
        if self.read_only() {
            return Ok(());
        }
        let last = self.shared.last_seq.load(Ordering::Acquire);
        self.shared.flush_up_to(last)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Shared {
    /// The published state, for reading, with a whole index. Never waits for a disk.
    #[inline]
    #[track_caller]
    pub(crate) fn read_state(&self) -> Result<StateReadGuard<'_, State>> {
        loop {
            let state = self.read_parts()?;
            if state.index.is_whole() {
                return Ok(state);
            }
            drop(state);
            self.make_whole(|| true);
        }
    }

    /// As [`Shared::read_state`], for who only looks up keys.
    #[inline]
    #[track_caller]
    pub(crate) fn read_parts(&self) -> Result<StateReadGuard<'_, State>> {
        self.check_forked()?;
        let state = self.state.read();
        if state.closed { Err(self.closed_error()) } else { Ok(state) }
    }

    /// As [`Shared::read_state`], or `None` instead of waiting.
    #[inline]
    #[track_caller]
    pub(crate) fn try_read_state(&self) -> Option<Result<StateReadGuard<'_, State>>> {
        self.try_read_parts().filter(|state| state.as_ref().map_or(true, |state| state.index.is_whole()))
    }

    /// As [`Shared::read_parts`], or `None` instead of waiting.
    #[inline]
    #[track_caller]
    pub(crate) fn try_read_parts(&self) -> Option<Result<StateReadGuard<'_, State>>> {
        if let Err(error) = self.check_forked() {
            return Some(Err(error));
        }
        let state = self.state.try_read()?;
        Some(if state.closed { Err(self.closed_error()) } else { Ok(state) })
    }

    /// The published state, for changing, with a whole index.
    #[track_caller]
    pub(crate) fn write_state(&self) -> Result<StateWriteGuard<'_, State>> {
        self.check_forked()?;
        let mut state = self.state.write();
        while !state.index.is_whole() {
            self.join(&mut state, usize::MAX);
        }
        if state.closed { Err(self.closed_error()) } else { Ok(state) }
    }

    pub(crate) fn closed_error(&self) -> Error {
        Error::Closed { path: self.path.clone() }
    }

    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.fork_generation != disk::fork_generation()
    }

    #[inline]
    fn check_forked(&self) -> Result<()> {
        if self.is_inherited() { self.check_inherited() } else { Ok(()) }
    }

    #[cold]
    fn check_inherited(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(self.closed_error());
        }
        // A reader's maps are as good in a child as in its parent.
        if self.options.read_only { Ok(()) } else { Err(Error::Forked { path: self.path.clone() }) }
    }

    pub(crate) fn check_usable(&self) -> Result<()> {
        self.check_forked()?;
        if self.closed.load(Ordering::Acquire) { Err(self.closed_error()) } else { Ok(()) }
    }

    /// Refuses a write on a handle that takes none; called with the commit lock held.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_usable()?;
        if self.options.read_only {
            return Err(Error::ReadOnly { path: self.path.clone() });
        }
        self.check_unpoisoned()
    }

    #[inline]
    fn check_unpoisoned(&self) -> Result<()> {
        match self.health.poisoned_by() {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned { path: self.path.clone(), cause: Box::new(cause.clone()) }),
        }
    }

    /// Makes everything up to `seq` durable. Concurrent calls share one flush of the device.
    pub(crate) fn flush_up_to(&self, seq: u64) -> Result<()> {
        if self.durable_seq.load(Ordering::Acquire) >= seq {
            return Ok(());
        }
        let durable = || self.durable_seq.load(Ordering::Acquire) >= seq;
        let Some(_turn) = self.turn.take(durable) else { return Ok(()) };
        let _one_at_a_time = self.flushing.lock();
        if durable() {
            return Ok(());
        }
        self.check_unpoisoned()?;
        let _whole = self.health.in_one_piece("a flush");
        let begun = Instant::now();
        let (ended, active, last_seq) = {
            let log = self.log.lock();
            self.ended_unsynced.store(false, Ordering::Relaxed);
            self.ahead.passed(log.end.offset);
            // What ends a segment has a sequence too.
            self.last_seq.store(log.end.last_seq, Ordering::Release);
            (log.unsynced.clone(), log.active.clone(), log.end.last_seq)
        };
        // Oldest first, and the watermark rises only when all of them are safe: a newer segment on the
        // device with an older one lost would be a hole.
        for segment in ended.iter().chain(&active) {
            segment.sync().map_err(|error| self.health.poison(error))?;
        }
        // Only of those that had ended before is it known that nothing was added since.
        self.log.lock().unsynced.retain(|segment| !ended.iter().any(|synced| Arc::ptr_eq(synced, segment)));
        for segment in &ended {
            segment.release();
        }
        self.durable_seq.store(last_seq, Ordering::Release);
        self.last_sync_nanos.store(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.last_flush_micros.store(self.opened.elapsed().as_micros() as u64, Ordering::Relaxed);
        Ok(())
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
        let ended = self.ended_unsynced.load(Ordering::Relaxed);
        ended
            || self.options.durability == Durability::Interval && {
                let last = Duration::from_micros(self.last_flush_micros.load(Ordering::Relaxed));
                self.opened.elapsed().saturating_sub(last) >= self.options.sync_interval
            }
    }

    /// The flush that nobody waits for. A failure is remembered and raised by the next write.
    pub(crate) fn background_flush(&self) {
        if self.flush_wanted() && self.check_writable().is_ok() {
            let last = self.last_seq.load(Ordering::Acquire);
            // The error poisons the store, which every later write and flush reports.
            let _ = self.flush_up_to(last);
        }
    }

    /// Starts the threads that flush on time and make segments ahead of need.
    fn start_workers(self: &Arc<Self>) -> io::Result<()> {
        {
            let mut log = self.log.lock();
            log.flow.follow(true);
            log.bound_tail();
        }
        let mut workers = self.workers.lock();
        let mut start = |task: Task<Self>, bell, nap| -> io::Result<()> {
            workers.push(Worker::start(task, Arc::downgrade(self), bell, nap)?);
            Ok(())
        };
        let poisons = |name, run| Task {
            name,
            run,
            panicked: |shared: &Self, error| shared.health.panicked(error, Harm::Poisons),
        };
        if self.options.durability != Durability::Sync {
            let nap = self.options.sync_interval.min(LONGEST_NAP);
            start(poisons("alexpy-flush", Self::background_flush), Bell::default(), nap)?;
        }
        let ahead = Task {
            name: "alexpy-ahead",
            run: |shared: &Self| shared.ahead.prepare(),
            panicked: |shared, error| shared.health.panicked(error, Harm::None),
        };
        start(ahead, self.ahead.bell.clone(), PREPARER_NAP)?;
        start(poisons("alexpy-prepare", Self::prepare), self.preparer.clone(), PREPARER_NAP)?;
        let image = |shared: &Self| {
            shared.make_whole_in_background();
            shared.checkpoint_if_due();
        };
        start(poisons("alexpy-image", image), self.checkpointer.clone(), PREPARER_NAP)?;
        self.checkpointer.ring();
        let compact = poisons("alexpy-compact", Self::compact_in_background);
        start(compact, self.compactor.clone(), COMPACTOR_NAP)
    }

    fn stop_workers(&self) {
        let workers = std::mem::take(&mut *self.workers.lock());
        workers.iter().for_each(Worker::stop);
        // Each waits for its thread.
        drop(workers);
        // Commits that wait for them go on.
        self.log.lock().flow.follow(false);
    }

    /// One round of the thread that makes segments ahead of need.
    pub(crate) fn prepare(&self) {
        let wanted = {
            let log = self.log.lock();
            log.spare.is_none() && log.active.is_some()
        };
        if wanted {
            // A failure that matters is remembered, or met again by the write that needs the segment.
            let _ = self.prepare_spare(0, false);
        }
    }

    fn close(&self) -> Result<()> {
        if self.is_inherited() {
            // All there is to end is the parent's. Whatever its other threads held is locked here for ever.
            self.closed.store(true, Ordering::Release);
            return Ok(());
        }
        self.calls.begin_close(self)?;
        // First of all the threads, which take the same locks.
        self.stop_workers();
        self.hurry.fetch_add(1, Ordering::AcqRel);
        self.calls.wait();
        let compaction = self.compaction.lock();
        let maintenance = self.maintenance.lock();
        let mut catalog = self.catalog.lock();
        let flushing = self.flushing.lock();
        let mut log = self.log.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // A flush that waited for this one must not take the log for empty.
        let outcome = catching("closing", || self.seal(&mut catalog, &mut log))
            .and_then(|sealed| sealed)
            .map_err(|error| self.health.poison(error));
        log.active = None;
        log.spare = None;
        log.unsynced.clear();
        log.to_trim.clear();
        drop(log);
        drop(flushing);
        drop(catalog);
        drop(maintenance);
        drop(compaction);
        let open_state = {
            let mut state = self.state.write();
            std::mem::replace(&mut *state, State { closed: true, ..State::default() })
        };
        drop(open_state);
        *self.lock.lock() = None;
        self.disk.let_go();
        outcome
    }

    /// Ends the log so that the next opening finds it whole.
    fn seal(&self, catalog: &mut MutexGuard<'_, Catalog>, log: &mut Log) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        // What a failed flush may have lost must not look safely closed.
        self.check_unpoisoned()?;
        let durable_seq = self.durable_seq.load(Ordering::Acquire);
        if log.active.is_none() && log.unsynced.is_empty() && catalog.manifest.clean {
            return Ok(());
        }
        log.end_active(durable_seq)?;
        for segment in &log.unsynced {
            segment.sync()?;
        }
        self.last_seq.store(log.end.last_seq, Ordering::Release);
        self.durable_seq.store(log.end.last_seq, Ordering::Release);
        let image = catalog.next_image(&*self.disk).ok();
        let written = image.and_then(|image| self.image_at_close(log, image));
        let mut images = catalog.manifest.images.clone();
        images.splice(0..0, written);
        images.truncate(GENERATIONS);
        let mut next = Manifest {
            images,
            segments: log.entries.clone(),
            spare: None,
            next_seq: catalog.manifest.next_seq.max(log.next_seq),
            watermark: log.end.last_seq,
            clean: true,
            ..catalog.manifest.clone()
        };
        self.without_damaged(&mut next);
        self.write_manifest(catalog, next)?;
        log.to_trim.drain(..).for_each(Trim::give_back);
        Ok(())
    }
}
