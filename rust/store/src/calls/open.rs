//! Opens a store, for writing or beside a writer: from a path to a handle with its threads running. Knows the
//! order of steps and when to look again. What the files say is up to recovery (`recovery/recover.rs`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::calls::store::Store;
use crate::disk::{self, Disk, LOCK_FILE, Lock, RealDisk};
use crate::engine::catalog::Catalog;
use crate::engine::compaction_state::Compacting;
use crate::engine::compressor::Compressor;
use crate::engine::flow::Waits;
use crate::engine::followed::Followed;
use crate::engine::health::{Harm, Health};
use crate::engine::kept_images::Images;
use crate::engine::lifetime::{DirectoryLock, Lifetime};
use crate::engine::locks::{CommitLock, Lock as OrderedLock, Rank, StateLock};
use crate::engine::running_calls::RunningCalls;
use crate::engine::shared::{Opened, Shared};
use crate::engine::threads::Threads;
use crate::engine::turn::FlushTurn;
use crate::engine::uncounted::Uncounted;
use crate::engine::watermarks::Watermarks;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::operation::Operation;
use crate::options::{Durability, Options, check_path};
use crate::progress::OpenProgress;
use crate::random::random_id;
use crate::recovery::beside_writer::recover_beside_writer;
use crate::recovery::mirror;
use crate::recovery::rebuild::rebuilt;
use crate::recovery::recover::{self, Look, Recovered};
use crate::threads::bell::Bell;
use crate::threads::worker::{Task, Worker};
use crate::values::ahead::AsksAhead;

/// The flushing thread checks at least this often whether a segment has ended.
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// The compaction thread checks this often how much is dead.
const COMPACTOR_NAP: Duration = Duration::from_millis(500);

/// The preparing thread is woken by its bell; this covers a missed ring.
const PREPARER_NAP: Duration = Duration::from_secs(3600);

impl Store {
    /// Opens the store in the directory `path`, and creates it if the options allow. `progress` is called
    /// every few mebibytes of log; once it returns false, opening stops with [`Error::Interrupted`].
    ///
    /// O(bytes of log since the last checkpoint). Without a checkpoint, or if both images are damaged, the
    /// index is built from the segments: O(bytes of log).
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

    /// Like [`Store::open`], on any disk. For tests that cut the power.
    #[doc(hidden)]
    pub fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<Self> {
        options.validate()?;
        if options.read_only {
            let recovered = recover_beside_writer(&disk, path, options, progress)?;
            return Ok(assemble(disk, path, options, recovered, None));
        }
        Self::open_writer(disk, path, options, progress)
    }

    fn open_writer(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: &Options,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<Self> {
        mirror::refuse_writer(&*disk)?;
        // Look before taking the lock, whose file would be the first thing written to the directory.
        if recover::find_manifest(&*disk, path)?.is_none() && !options.create {
            return Err(Error::NotFound { path: path.to_owned() });
        }
        let lock =
            match disk.lock().map_err(|error| Error::io(Operation::Lock, &path.join(LOCK_FILE), error))? {
                Lock::Taken(lock) => lock,
                Lock::Held(pid) => return Err(Error::Locked { path: path.to_owned(), pid }),
            };
        // Look again: now nobody else changes what is found.
        let (manifest, agree) = match recover::find_manifest(&*disk, path)? {
            Some(found) => found,
            None => {
                let mut manifest = Manifest::new(random_id(path)?, options.schema());
                manifest.write(&*disk)?;
                (manifest, true)
            }
        };
        let recovered =
            recover::recover(&disk, manifest, agree, options, &mut Look::of_a_writer(), progress)?;
        let store = assemble(disk, path, options, recovered, Some(lock));
        store.shared.merge_at_open()?;
        if options.background {
            start_threads(&store.shared).map_err(|error| Error::io(Operation::StartThreads, path, error))?;
        }
        Ok(store)
    }
}

fn assemble(
    disk: Arc<dyn Disk>,
    path: &Path,
    options: &Options,
    recovered: Recovered,
    lock: Option<DirectoryLock>,
) -> Store {
    let Recovered {
        mut state,
        log,
        manifest,
        last_commit,
        tail_bytes,
        durable_seq,
        uncounted,
        dropped_bytes,
    } = recovered;
    // Without it, only the next values take more room, until there is another.
    let dictionary = manifest.dictionary.and_then(|at| {
        let found = state.segments.get(at.segment())?.dictionary((at.offset() >> 3) as u32).ok()??;
        Some((Arc::clone(&found), at))
    });
    let compressor = Compressor::new(manifest.schema.compression, options, dictionary);
    let images = Images::new(&manifest.images, tail_bytes, options.checkpoint_tail_bytes);
    disk::watch_forks();
    state.is_after(log.end.last_seq);
    let followed = options.read_only.then(|| Followed::new(manifest.clone(), last_commit));
    let pending = Uncounted::default();
    pending.add(uncounted);
    Store::of(Arc::new(Shared {
        asks_ahead: AsksAhead::new(&disk),
        disk,
        path: path.to_owned(),
        options: options.clone(),
        opened: Opened { store_id: manifest.store_id, schema: manifest.schema.clone(), dropped_bytes },
        lifetime: Lifetime::begin(lock),
        calls: Arc::new(RunningCalls::default()),
        health: Health::default(),
        compacting: Compacting::default(),
        compressor,
        maintenance: OrderedLock::new(Rank::Maintenance, ()),
        catalog: OrderedLock::new(Rank::Catalog, Catalog::new(manifest)),
        turn: FlushTurn::default(),
        flushing: OrderedLock::new(Rank::Flushing, ()),
        watermarks: Watermarks::new(log.end.last_seq, durable_seq),
        threads: Threads::new(Arc::clone(&log.ahead)),
        writing: CommitLock::new(Writing::new(log, images, followed)),
        state: StateLock::new(state),
        uncounted: pending,
        damaged_images: Mutex::new(Vec::new()),
        waits: Waits::default(),
        fed: Mutex::default(),
        rebuild: rebuilt,
    }))
}

/// Starts the threads that flush on time, prepare segments and pages, write images and compact.
fn start_threads(shared: &Arc<Shared>) -> io::Result<()> {
    {
        let mut writing = shared.writing.lock();
        writing.flow.follow(true);
        writing.bound_tail();
    }
    let poisons = |name, run: fn(&Shared)| Task {
        name,
        run,
        panicked: |shared: &Shared, error| shared.health.panicked(error, Harm::Poisons),
    };
    let threads = &shared.threads;
    threads.start(|started| {
        let mut start = |task: &Task<Shared>, bell: &Bell, nap| {
            started(Worker::start(task, Arc::downgrade(shared), bell.clone(), nap))
        };
        if shared.options.durability != Durability::Sync {
            let nap = shared.options.sync_interval.min(LONGEST_NAP);
            start(&poisons("alexpy-flush", Shared::background_flush), &Bell::default(), nap)?;
        }
        let ahead = Task {
            name: "alexpy-ahead",
            run: |shared: &Shared| shared.threads.ahead.prepare(),
            panicked: |shared: &Shared, error| shared.health.panicked(error, Harm::None),
        };
        start(&ahead, &threads.ahead.bell, PREPARER_NAP)?;
        start(&poisons("alexpy-prepare", Shared::prepare), &threads.preparer, PREPARER_NAP)?;
        let image = |shared: &Shared| {
            shared.make_whole_in_background();
            shared.checkpoint_if_due();
        };
        start(&poisons("alexpy-image", image), &threads.checkpointer, PREPARER_NAP)?;
        threads.checkpointer.ring();
        start(&poisons("alexpy-compact", Shared::compact_in_background), &threads.compactor, COMPACTOR_NAP)
    })
}
