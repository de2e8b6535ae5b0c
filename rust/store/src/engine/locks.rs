//! The locks of an open store, and the one order in which they are taken: a thread that holds a lock takes
//! only locks of a later [`Rank`]. Builds with debug assertions, and so all tests, check this at each lock.
//! Locks outside this table protect one value for a moment, and no other lock is taken while one is held; but for what
//! is kept for versions (`index/versions.rs`), whose locks come after all of these.
//! Knows nothing of what the locks protect.
//!
//! With the feature `lock-times`, the commit lock and the state's lock also report how long they are held
//! (`lock_times.rs`).

use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};
#[cfg(not(feature = "lock-times"))]
use parking_lot::{
    Mutex as CommitInner, MutexGuard as CommitInnerGuard, RwLock as StateInner,
    RwLockReadGuard as StateInnerReadGuard, RwLockWriteGuard as StateInnerWriteGuard,
};

#[cfg(feature = "lock-times")]
use crate::engine::lock_times::{
    Timed as CommitInner, TimedGuard as CommitInnerGuard, TimedReadGuard as StateInnerReadGuard,
    TimedRw as StateInner, TimedWriteGuard as StateInnerWriteGuard,
};

/// The locks, in the order in which they are taken. The table in docs/ARCHITECTURE.md has the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The right to compact, and what one unit leaves to the next. Held across everything that a compaction
    /// does.
    Compaction,
    /// Either an image is written or records are relocated, never both. Held across the writing of an image
    /// and the moving of a unit's keys.
    Maintenance,
    /// The manifest and the next ids. Held across the syncs of a change of the manifest.
    Catalog,
    /// The right to flush, after waiting for a turn (`turn.rs`). Held across the syncs of a flush.
    Flushing,
    /// The end of the log and the order of commits. Held across the writes of a commit and a rebuild of a
    /// damaged index; never across a sync, except while closing and after a write that failed.
    Commit,
    /// Counts that are being corrected. Held across reads of record headers.
    Counting,
    /// The index, the segments and the versions. Never held across a system call, except while closing writes an
    /// image and after a write that failed.
    State,
}

/// A lock that this thread holds, or waits for.
struct Held {
    #[cfg(debug_assertions)]
    rank: Rank,
}

#[cfg(debug_assertions)]
mod order {
    use std::cell::Cell;

    use super::{Held, Rank};

    thread_local! {
        /// One bit for each rank.
        static HELD: Cell<u8> = const { Cell::new(0) };
    }

    impl Held {
        #[track_caller]
        pub(super) fn begin(rank: Rank) -> Self {
            let held = HELD.get();
            assert!(held >> rank as u8 == 0, "the lock of {rank:?} comes before one that is held: {held:#b}");
            HELD.set(held | 1 << rank as u8);
            Self { rank }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.set(HELD.get() & !(1 << self.rank as u8));
        }
    }
}

#[cfg(not(debug_assertions))]
impl Held {
    #[inline(always)]
    fn begin(_rank: Rank) -> Self {
        Self {}
    }
}

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident, $inner:ident) => {
        $(#[$doc])*
        pub(crate) struct $name<'l, T> {
            // Fields drop in order: the lock is released before the thread stops counting as its holder.
            inner: $inner<'l, T>,
            _held: Held,
        }

        impl<T> Deref for $name<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.inner
            }
        }
    };
    ($(#[$doc:meta])* $name:ident, $inner:ident, mut) => {
        guard!($(#[$doc])* $name, $inner);

        impl<T> DerefMut for $name<'_, T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                &mut self.inner
            }
        }
    };
}

guard!(
    /// A [`Lock`] that is held.
    Guard, MutexGuard, mut
);
guard!(
    /// The commit lock, held.
    CommitGuard, CommitInnerGuard, mut
);
guard!(
    /// The state's lock, held for reading.
    StateReadGuard, StateInnerReadGuard
);
guard!(
    /// The state's lock, held for writing.
    StateWriteGuard, StateInnerWriteGuard, mut
);

/// A lock with a place in the order.
pub(crate) struct Lock<T> {
    rank: Rank,
    inner: Mutex<T>,
}

impl<T> Lock<T> {
    pub(crate) fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: Mutex::new(value) }
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let held = Held::begin(self.rank);
        Guard { inner: self.inner.lock(), _held: held }
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let held = Held::begin(self.rank);
        Some(Guard { inner: self.inner.try_lock()?, _held: held })
    }
}

/// The commit lock.
pub(crate) struct CommitLock<T>(CommitInner<T>);

impl<T> CommitLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(CommitInner::new(value))
    }

    #[inline]
    #[track_caller]
    pub(crate) fn lock(&self) -> CommitGuard<'_, T> {
        let held = Held::begin(Rank::Commit);
        CommitGuard { inner: self.0.lock(), _held: held }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn try_lock(&self) -> Option<CommitGuard<'_, T>> {
        let held = Held::begin(Rank::Commit);
        Some(CommitGuard { inner: self.0.try_lock()?, _held: held })
    }
}

/// The lock on the published state.
pub(crate) struct StateLock<T>(StateInner<T>);

impl<T> StateLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(StateInner::new(value))
    }

    #[inline]
    #[track_caller]
    pub(crate) fn read(&self) -> StateReadGuard<'_, T> {
        let held = Held::begin(Rank::State);
        StateReadGuard { inner: self.0.read(), _held: held }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn try_read(&self) -> Option<StateReadGuard<'_, T>> {
        let held = Held::begin(Rank::State);
        Some(StateReadGuard { inner: self.0.try_read()?, _held: held })
    }

    #[inline]
    #[track_caller]
    pub(crate) fn write(&self) -> StateWriteGuard<'_, T> {
        let held = Held::begin(Rank::State);
        StateWriteGuard { inner: self.0.write(), _held: held }
    }

    #[inline]
    #[track_caller]
    pub(crate) fn try_write(&self) -> Option<StateWriteGuard<'_, T>> {
        let held = Held::begin(Rank::State);
        Some(StateWriteGuard { inner: self.0.try_write()?, _held: held })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{CommitLock, Lock, Rank, StateLock};

    #[test]
    fn a_lock_taken_out_of_order_is_reported_and_held_locks_are_released() {
        let catalog = Lock::new(Rank::Catalog, ());
        let (commit, state) = (CommitLock::new(()), StateLock::new(()));
        for _ in 0..2 {
            let in_order = (catalog.lock(), commit.lock(), state.read());
            drop(in_order);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let _state = state.write();
                let _commit = commit.lock();
            }));
            assert_eq!(outcome.is_err(), cfg!(debug_assertions));
            let twice = catch_unwind(AssertUnwindSafe(|| {
                let _once = catalog.lock();
                assert!(catalog.try_lock().is_none());
            }));
            assert_eq!(twice.is_err(), cfg!(debug_assertions));
        }
        drop((
            catalog.try_lock().expect("free"),
            commit.try_lock().expect("free"),
            state.try_write().expect("free"),
        ));
    }
}
