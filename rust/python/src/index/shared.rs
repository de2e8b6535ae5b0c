//! What an `AlexIndex` and its iterators share: the index of alex-index and its unfinished iterators, behind a lock.
//!
//! Calls that wait for the lock must be made detached; those named `try_` do not wait.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use alex_index::Alex;
use alex_store::{Error, Tree, catching, fork_generation, watch_forks};
use pyo3::prelude::*;

use crate::errors::forked_error;
use crate::index::cursors::{Cursor, Cursors};
use crate::index::damaged::{Damaged, Left};
use crate::locks;

/// An index and the iterators that read it.
pub(crate) struct Indexed {
    tree: Tree,
    cursors: Mutex<Cursors>,
    /// The file that it was loaded from.
    source: Option<PathBuf>,
    /// Set after a change that panicked and left the tree half changed: it is never used again.
    broken: Option<Damaged>,
}

impl Indexed {
    /// An index that was made in memory.
    pub(crate) fn made(tree: Tree) -> Self {
        Self { tree, cursors: Mutex::default(), source: None, broken: None }
    }

    /// An index that was loaded from a file.
    pub(crate) fn loaded(tree: Tree, source: PathBuf) -> Self {
        Self { source: Some(source), ..Self::made(tree) }
    }

    /// Passes on what a call found, unless the call met damage in the file: then nothing that it found counts.
    #[inline]
    fn vouch<T>(&self, found: T) -> Result<T, Damaged> {
        match self.tree.damage() {
            None => Ok(found),
            Some(damage) => Err(Damaged::of(damage, self.source.as_deref())),
        }
    }

    fn cursors(&mut self) -> &mut Cursors {
        self.cursors.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the index, and copies more of it than the reserve of memory holds: a panic for lack of memory is an error.
    pub(crate) fn copy<T>(&self, call: impl FnOnce(&Tree) -> T) -> Result<T, Damaged> {
        let tree = self.tree()?;
        let found = catching("a copy out of the index", || call(tree))
            .map_err(|panic| Damaged::by(&panic, Left::AsItWas))?;
        self.vouch(found)
    }

    /// Reads the index.
    #[inline]
    pub(crate) fn ask<T>(&self, call: impl FnOnce(&Tree) -> T) -> Result<T, Damaged> {
        let found = call(self.tree()?);
        self.vouch(found)
    }

    /// The tree, unless it may be half changed.
    #[inline]
    fn tree(&self) -> Result<&Tree, Damaged> {
        match &self.broken {
            None => Ok(&self.tree),
            Some(broken) => Err(broken.clone()),
        }
    }

    /// What follows from a panic in the middle of a change. Usually there was no memory for a new node, and the tree
    /// is as it was before that node was needed. O(keys).
    #[cold]
    fn after(&mut self, panic: &Error) -> Damaged {
        let checked = catching("a check of the index", || self.tree.check().is_ok());
        let left = if checked.is_ok_and(|whole| whole) { Left::Whole } else { Left::Broken };
        let damaged = Damaged::by(panic, left);
        if left == Left::Broken {
            self.broken = Some(damaged.clone());
        }
        damaged
    }

    /// Changes the index, after its unfinished iterators were given copies.
    pub(crate) fn change<T>(&mut self, call: impl FnOnce(&mut Tree) -> T) -> Result<T, Damaged> {
        self.tree()?;
        self.cursors.get_mut().unwrap_or_else(PoisonError::into_inner).release(&self.tree)?;
        match catching("a change of the index", || call(&mut self.tree)) {
            Ok(found) => self.vouch(found),
            Err(panic) => Err(self.after(&panic)),
        }
    }

    fn add(&self, cursor: &Arc<Cursor>) {
        locks::waiting(&self.cursors).add(cursor);
    }

    /// Like `add`, or returns false if another thread is adding one.
    fn try_add(&self, cursor: &Arc<Cursor>) -> bool {
        match self.cursors.try_lock() {
            Ok(mut cursors) => cursors.add(cursor),
            Err(TryLockError::Poisoned(broken)) => broken.into_inner().add(cursor),
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }
}

/// See the module.
pub(crate) struct Shared {
    indexed: RwLock<Indexed>,
    /// How many forks lay before the process in which nobody but its own threads holds the lock, or `LOOKING`.
    generation: AtomicU64,
}

/// A thread is finding out whether its process is one.
const LOOKING: u64 = u64::MAX;

impl Drop for Shared {
    fn drop(&mut self) {
        if *self.generation.get_mut() != fork_generation() && self.is_held() {
            // Maybe half changed: its memory stays with the child.
            let indexed = self.indexed.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(std::mem::replace(indexed, Indexed::made(Tree::Narrow(Alex::new()))));
        }
    }
}

impl Shared {
    pub(crate) fn new(indexed: Indexed) -> Self {
        watch_forks();
        Self { indexed: RwLock::new(indexed), generation: AtomicU64::new(fork_generation()) }
    }

    /// Whether a thread that is not in this process, a forked child, holds the lock for ever. For a child in which no
    /// thread has used the index yet.
    fn is_held(&self) -> bool {
        // Taken once for writing, the lock also forgets those who waited for it in the parent.
        matches!(self.indexed.try_write(), Err(TryLockError::WouldBlock))
    }

    /// Refuses an index that a thread of the parent was using when this process was forked. Before every call: then
    /// the first one in a child finds no thread of its own at work.
    #[inline]
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.generation.load(Ordering::Acquire) == fork_generation() { Ok(()) } else { self.inherit(py) }
    }

    /// Looks whether the lock is free, one thread at a time: else one would take another for a thread of the parent.
    #[cold]
    fn inherit(&self, py: Python<'_>) -> PyResult<()> {
        let here = fork_generation();
        loop {
            let seen = self.generation.load(Ordering::Acquire);
            if seen == here {
                return Ok(());
            }
            let looks = seen != LOOKING
                && self
                    .generation
                    .compare_exchange(seen, LOOKING, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok();
            if !looks {
                py.detach(std::thread::yield_now);
                continue;
            }
            // Attached, and without Python code: nobody forks a child from here that would never see the end of it.
            let held = self.is_held();
            self.generation.store(if held { seen } else { here }, Ordering::Release);
            if held {
                let message = "another thread was using this AlexIndex when the process was forked, so that it cannot \
                               be used in the child; make a copy before the fork, or build it in the child";
                return Err(forked_error(py, message));
            }
            return Ok(());
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Indexed> {
        self.indexed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index to read, or `None` if a writer holds the lock.
    #[inline]
    pub(crate) fn try_read(&self) -> Option<RwLockReadGuard<'_, Indexed>> {
        match self.indexed.try_read() {
            Ok(indexed) => Some(indexed),
            Err(TryLockError::Poisoned(broken)) => Some(broken.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Reads. Waits.
    pub(crate) fn ask<T>(&self, call: impl FnOnce(&Tree) -> T) -> Result<T, Damaged> {
        self.read().ask(call)
    }

    /// Copies out of the index. Waits.
    pub(crate) fn copy<T>(&self, call: impl FnOnce(&Tree) -> T) -> Result<T, Damaged> {
        self.read().copy(call)
    }

    /// Changes the index. Waits.
    pub(crate) fn change<T>(&self, call: impl FnOnce(&mut Tree) -> T) -> Result<T, Damaged> {
        self.indexed.write().unwrap_or_else(PoisonError::into_inner).change(call)
    }

    /// The index to change, or `None` if the lock is held or an iterator must be copied out first.
    #[inline]
    pub(crate) fn try_write(&self) -> Option<RwLockWriteGuard<'_, Indexed>> {
        let mut indexed = self.indexed.try_write().ok()?;
        indexed.cursors().is_empty().then_some(indexed)
    }

    /// Replaces everything. Waits.
    pub(crate) fn replace(&self, with: Indexed) -> Result<(), Damaged> {
        let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
        let Indexed { tree, cursors, broken, .. } = &mut *indexed;
        if broken.is_none() {
            cursors.get_mut().unwrap_or_else(PoisonError::into_inner).release(tree)?;
        }
        *indexed = with;
        Ok(())
    }

    /// Adds an iterator. Waits.
    pub(crate) fn add(&self, cursor: &Arc<Cursor>) {
        self.read().add(cursor);
    }

    /// Adds an iterator at once, or returns false if it would wait.
    pub(crate) fn try_add(&self, cursor: &Arc<Cursor>) -> bool {
        self.try_read().is_some_and(|indexed| indexed.try_add(cursor))
    }
}
