//! Threads that work for an open store beside its callers: each does one task when it is rung for, or when
//! its time has come. They hold the store weakly, so that a store nobody uses goes away.

use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::store::Shared;

#[derive(Default)]
struct Signal {
    stop: bool,
    rung: bool,
}

/// Wakes a worker; made before it, so that whoever needs the worker can ring at any time.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<(Mutex<Signal>, Condvar)>);

impl Bell {
    /// Wakes the worker now, or makes it go round once more.
    pub(crate) fn ring(&self) {
        self.0.0.lock().rung = true;
        self.0.1.notify_all();
    }

    fn stop(&self) {
        self.0.0.lock().stop = true;
        self.0.1.notify_all();
    }

    /// Whether the worker is to end: long tasks ask between two steps.
    pub(crate) fn stopping(&self) -> bool {
        self.0.0.lock().stop
    }

    /// Waits until it is rung, or for so long; false once the worker is to end.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let mut signal = self.0.0.lock();
        if !signal.stop && !signal.rung {
            self.0.1.wait_for(&mut signal, longest);
        }
        signal.rung = false;
        !signal.stop
    }
}

/// A running thread; dropping it stops the thread and waits for it.
pub(crate) struct Worker {
    bell: Bell,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread that runs `task` each time it is rung for, and at least every `longest_nap`.
    pub(crate) fn start(
        name: &str,
        store: Weak<Shared>,
        bell: Bell,
        longest_nap: Duration,
        task: fn(&Shared),
    ) -> io::Result<Self> {
        let heard = bell.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while heard.wait(longest_nap) {
                let Some(store) = store.upgrade() else { return };
                task(&store);
            }
        })?;
        Ok(Self { bell, thread: Some(thread) })
    }

    /// Tells the thread to end, without waiting for it.
    pub(crate) fn stop(&self) {
        self.bell.stop();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook; closing goes on all the same.
            let _ = thread.join();
        }
    }
}
