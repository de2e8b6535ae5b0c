//! What the handle, its scans and its threads share: the parts of an open store, and who may use them. Each
//! part has its own file, and so do the changes that involve several parts: `flush.rs`, `commit.rs`,
//! `manifest_update.rs`, `join.rs`, `space.rs`, `mending.rs`. Knows nothing of the calls above.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::Disk;
use crate::engine::catalog::Catalog;
use crate::engine::compaction_state::Compacting;
use crate::engine::compressor::Compressor;
use crate::engine::flow::Waits;
use crate::engine::health::Health;
use crate::engine::lifetime::Lifetime;
use crate::engine::locks::{CommitLock, Lock, StateLock, StateReadGuard, StateWriteGuard};
use crate::engine::running_calls::{Call, RunningCalls};
use crate::engine::state::State;
use crate::engine::threads::Threads;
use crate::engine::turn::FlushTurn;
use crate::engine::uncounted::Uncounted;
use crate::engine::watermarks::Watermarks;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::header::LogEnd;
use crate::format::location::Location;
use crate::keys::{Key, Keys, Width};
use crate::options::Options;
use crate::schema::Schema;
use crate::values::ahead::AsksAhead;

/// An open store.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    /// The path as the user gave it, for messages.
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    pub(crate) opened: Opened,
    pub(crate) lifetime: Lifetime,
    /// The calls that closing waits for.
    pub(crate) calls: Arc<RunningCalls>,
    pub(crate) health: Health,
    pub(crate) compacting: Compacting,
    pub(crate) compressor: Compressor,
    /// Held while an image is written, from its beginning to its publication, and while relocated records
    /// replace others: neither happens during the other.
    pub(crate) maintenance: Lock<()>,
    /// What the manifest says. Held while the manifest is changed.
    pub(crate) catalog: Lock<Catalog>,
    /// Taken before `flushing` by threads that want a flush.
    pub(crate) turn: FlushTurn,
    /// Held during a flush. Concurrent flushes wait here and then find their work done.
    pub(crate) flushing: Lock<()>,
    /// The commit lock.
    pub(crate) writing: CommitLock<Writing>,
    pub(crate) state: StateLock<State>,
    pub(crate) watermarks: Watermarks,
    pub(crate) uncounted: Uncounted,
    /// Images that were found damaged. Kept until a manifest that certainly is on the disk no longer lists
    /// them.
    pub(crate) damaged_images: Mutex<Vec<u32>>,
    pub(crate) threads: Threads,
    /// How long commits have waited for the threads that follow them.
    pub(crate) waits: Waits,
    /// Where a feed of changes last stood: all changes up to that sequence number lie before that place.
    pub(crate) fed: Mutex<Option<(u64, LogEnd)>>,
    /// Whether batches of reads ask the kernel for pages ahead.
    pub(crate) asks_ahead: AsksAhead,
    /// Rebuilds an index from files. Provided by the code that opened the store.
    pub(crate) rebuild: Rebuild,
}

/// What opening found.
pub(crate) struct Opened {
    pub(crate) store_id: [u8; 16],
    pub(crate) schema: Schema,
    /// Bytes behind the accepted end of the log, which were dropped.
    pub(crate) dropped_bytes: u64,
}

/// Rebuilds the index from an older image or the whole log, up to a position. The caller holds the commit
/// lock and no lock on the state. O(bytes of log).
pub(crate) type Rebuild = fn(&Shared, &Writing, LogEnd) -> Result<Rebuilt>;

/// An index that was rebuilt.
pub(crate) struct Rebuilt {
    pub(crate) state: State,
    /// Bytes of log behind the image from which it was built.
    pub(crate) tail_bytes: u64,
    /// Images that are damaged, missing, or belong to another log.
    pub(crate) bad_images: Vec<u32>,
    /// Replaced records that could not be read.
    pub(crate) uncounted: Vec<Location>,
}

impl Shared {
    /// Refuses a key that the store cannot hold.
    #[inline]
    pub(crate) fn check_key(&self, key: Key) -> Result<()> {
        if self.opened.schema.key.has(key) { Ok(()) } else { Err(self.not_a_key(key)) }
    }

    /// Refuses keys of which the store cannot hold one.
    pub(crate) fn check_keys(&self, keys: Keys<'_>) -> Result<()> {
        match (self.width(), keys) {
            (Width::Narrow, Keys::Wide(keys)) => keys.iter().try_for_each(|&key| self.check_key(key)),
            _ => Ok(()),
        }
    }

    #[cold]
    fn not_a_key(&self, key: Key) -> Error {
        Error::Invalid(format!("{key} is no key of 64 bits, and {} has no others", self.path.display()))
    }

    /// How many bytes of a key records hold.
    pub(crate) fn width(&self) -> Width {
        self.opened.schema.key.width()
    }

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

    /// Lookups only; the index may still be in two parts.
    #[inline]
    #[track_caller]
    pub(crate) fn read_parts(&self) -> Result<StateReadGuard<'_, State>> {
        self.check_forked()?;
        let state = self.state.read();
        if state.closed { Err(self.closed_error()) } else { Ok(state) }
    }

    /// Like [`Shared::read_state`], but returns `None` instead of waiting.
    #[inline]
    #[track_caller]
    pub(crate) fn try_read_state(&self) -> Option<Result<StateReadGuard<'_, State>>> {
        self.try_read_parts().filter(|state| state.as_ref().map_or(true, |state| state.index.is_whole()))
    }

    /// Like [`Shared::read_parts`], but returns `None` instead of waiting.
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
        self.lifetime.is_inherited()
    }

    #[inline]
    fn check_forked(&self) -> Result<()> {
        if self.is_inherited() { self.check_inherited() } else { Ok(()) }
    }

    #[cold]
    fn check_inherited(&self) -> Result<()> {
        if self.lifetime.is_closed() {
            return Err(self.closed_error());
        }
        // A reader's maps work as well in a child as in its parent.
        if self.options.read_only { Ok(()) } else { Err(Error::Forked { path: self.path.clone() }) }
    }

    pub(crate) fn check_usable(&self) -> Result<()> {
        self.check_forked()?;
        if self.lifetime.is_closed() { Err(self.closed_error()) } else { Ok(()) }
    }

    /// Refuses a write on a handle that accepts none. Called with the commit lock held.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_usable()?;
        if self.options.read_only {
            return Err(Error::ReadOnly { path: self.path.clone() });
        }
        self.check_unpoisoned()
    }

    #[inline]
    pub(crate) fn check_unpoisoned(&self) -> Result<()> {
        match self.health.poisoned_by() {
            None => Ok(()),
            Some(cause) => Err(Error::Poisoned { path: self.path.clone(), cause: Box::new(cause.clone()) }),
        }
    }

    /// Registers a call. Closing then waits for it.
    pub(crate) fn enter(&self) -> Result<Call> {
        self.check_usable()?;
        if self.is_inherited() {
            return Ok(Call::unregistered());
        }
        self.calls.enter().ok_or_else(|| self.closed_error())
    }

    /// Ends the threads. Commits that wait for them go on.
    pub(crate) fn stop_threads(&self) {
        self.threads.stop();
        self.writing.lock().flow.follow(false);
    }
}
