//! What wakes a worker. Knows nothing of what the worker does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

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

    /// Tells the worker to end.
    pub(super) fn stop(&self) {
        self.0.0.lock().stop = true;
        self.0.1.notify_all();
    }

    /// The worker has ended, and so have the calls that ask: what comes now is not to stop.
    pub(crate) fn answered(&self) {
        self.0.0.lock().stop = false;
    }

    /// Whether the worker is to end: long tasks ask between two steps.
    pub(crate) fn stopping(&self) -> bool {
        self.0.0.lock().stop
    }

    /// Waits for so long, whoever rings; false once the worker is to end.
    pub(super) fn rest(&self, long: Duration) -> bool {
        let until = Instant::now() + long;
        let mut signal = self.0.0.lock();
        while !signal.stop && !self.0.1.wait_until(&mut signal, until).timed_out() {}
        !signal.stop
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
