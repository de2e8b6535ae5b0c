//! Keeps a forked child from inheriting the right to write. A child gets another generation number, by which
//! handles tell that they were inherited. Its copies of lock descriptors are pointed elsewhere, since an
//! inherited descriptor keeps a lock alive after its holder is killed.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Once, OnceLock};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::directory::Identity;

static GENERATION: AtomicU64 = AtomicU64::new(0);
static LOCKED: Mutex<Vec<Held>> = Mutex::new(Vec::new());
static NOWHERE: OnceLock<File> = OnceLock::new();
static INSTALL: Once = Once::new();

/// How many forks lie between the first process of this program and this one.
#[inline]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// A descriptor that holds a lock on a store's directory, or on its lock file.
struct Held {
    descriptor: RawFd,
    directory: Identity,
    /// The generation of the process that took the lock.
    generation: u64,
}

/// Whether this very process holds a lock on the directory.
pub(super) fn holds(directory: Identity) -> bool {
    let now = generation();
    LOCKED.lock().iter().any(|held| held.directory == directory && held.generation == now)
}

/// Installs the handlers that count forks. Readers take no lock but need this all the same.
pub fn watch() {
    INSTALL.call_once(|| {
        // SAFETY: the handlers are plain functions for the life of the program.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

/// A descriptor with a lock, released in every child that is forked while it is held.
pub(super) struct NotInherited(File);

impl NotInherited {
    /// Locks the file and records that in one step, so that a thread that finds it locked by another thread
    /// of this process is told so. `None` if somebody has the lock. If the system cannot lock such a file,
    /// that is an error only if the lock is `needed`.
    pub(super) fn lock(file: File, directory: Identity, needed: bool) -> io::Result<Option<Self>> {
        if NOWHERE.get().is_none() {
            // Opened now, because a child of a threaded program may call little more than dup2.
            let _ = NOWHERE.set(File::open("/dev/null")?);
        }
        watch();
        let mut locked = LOCKED.lock();
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::BADF | Errno::INVAL | Errno::OPNOTSUPP) if !needed => {}
            Err(error) => return Err(error.into()),
        }
        locked.push(Held { descriptor: file.as_raw_fd(), directory, generation: generation() });
        Ok(Some(Self(file)))
    }
}

impl NotInherited {
    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for NotInherited {
    fn drop(&mut self) {
        // Unlock explicitly, since a child forked between here and the close would keep the lock alive. In a
        // child the descriptor leads nowhere, and so does this call.
        let _ = flock(&self.0, FlockOperation::Unlock);
        let descriptor = self.0.as_raw_fd();
        LOCKED.lock().retain(|other| other.descriptor != descriptor);
    }
}

/// Before the fork: the list must not be half changed in the child.
extern "C" fn before() {
    std::mem::forget(LOCKED.lock());
}

extern "C" fn in_parent() {
    // SAFETY: `before` locked it in this thread and forgot the guard.
    unsafe { LOCKED.force_unlock() };
}

/// Runs in the child, right after the fork, where only async-signal-safe calls are allowed.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    if let Some(nowhere) = NOWHERE.get() {
        // SAFETY: `before` locked the list, and this is the child's only thread.
        for &Held { descriptor, .. } in unsafe { &*LOCKED.data_ptr() } {
            // The descriptor number stays ours, so that the child's own drop closes nobody else's file.
            // SAFETY: dup3 between two open descriptors is async-signal-safe and touches no memory.
            unsafe { libc::dup3(nowhere.as_raw_fd(), descriptor, libc::O_CLOEXEC) };
        }
    }
    // SAFETY: as in `in_parent`.
    unsafe { LOCKED.force_unlock() };
}
