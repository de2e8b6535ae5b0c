//! What a forked child must not inherit: the right to write. A child gets another generation number,
//! by which handles tell that they were inherited, and its copies of lock files are pointed elsewhere,
//! since an inherited descriptor keeps a lock alive after its holder is killed.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Once, OnceLock};

use parking_lot::Mutex;

static GENERATION: AtomicU64 = AtomicU64::new(0);
static LOCKED: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
static NOWHERE: OnceLock<File> = OnceLock::new();
static INSTALL: Once = Once::new();

/// How many forks lie between the first process of this program and this one.
#[inline]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// A lock file's descriptor, released in every child that is forked while it is held.
pub(super) struct NotInherited(File);

impl NotInherited {
    pub(super) fn new(file: File) -> io::Result<Self> {
        if NOWHERE.get().is_none() {
            // Opened now: a child of a threaded program may call little more than dup2.
            let _ = NOWHERE.set(File::open("/dev/null")?);
        }
        INSTALL.call_once(|| {
            // SAFETY: the handler is a plain function for the life of the program.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        LOCKED.lock().push(file.as_raw_fd());
        Ok(Self(file))
    }
}

impl Drop for NotInherited {
    fn drop(&mut self) {
        let descriptor = self.0.as_raw_fd();
        LOCKED.lock().retain(|&other| other != descriptor);
    }
}

/// Runs in the child, straight after the fork, where only async-signal-safe calls are allowed.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // Never wait here: the thread that holds the list does not exist in the child.
    let (Some(held), Some(nowhere)) = (LOCKED.try_lock(), NOWHERE.get()) else { return };
    for &descriptor in held.iter() {
        // The number stays ours, so that the child's own drop closes nothing of anybody else's.
        // SAFETY: dup2 between two open descriptors is async-signal-safe and touches no memory.
        unsafe { libc::dup2(nowhere.as_raw_fd(), descriptor) };
    }
}
