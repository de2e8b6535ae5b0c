//! What wakes a worker. Knows nothing of what the worker does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct Signal {
    stop: bool,
    rung: bool,
}

/// Wakes a worker. Created before the worker, so that callers can ring at any time.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<(Mutex<Signal>, Condvar)>);

impl Bell {
    /// Wakes the worker now, or makes it run once more.
    pub(crate) fn ring(&self) {
        self.0.0.lock().rung = true;
        self.0.1.notify_all();
    }

    /// Tells the worker to stop.
    pub(super) fn stop(&self) {
        self.0.0.lock().stop = true;
        self.0.1.notify_all();
    }

    /// The worker has ended, and so have the calls that check for a stop. Later work must not stop.
    pub(crate) fn answered(&self) {
        self.0.0.lock().stop = false;
    }

    /// Whether the worker must stop; long tasks check this between two steps.
    pub(crate) fn stopping(&self) -> bool {
        self.0.0.lock().stop
    }

    /// Waits for this long, even if the bell rings; false once the worker must stop.
    pub(super) fn rest(&self, long: Duration) -> bool {
        let until = Instant::now() + long;
        let mut signal = self.0.0.lock();
        while !signal.stop && !self.0.1.wait_until(&mut signal, until).timed_out() {}
        !signal.stop
    }

    /// Waits until the bell rings, or at most this long; false once the worker must stop.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let mut signal = self.0.0.lock();
        if !signal.stop && !signal.rung {
            self.0.1.wait_for(&mut signal, longest);
        }
        signal.rung = false;
        !signal.stop
    }
}
