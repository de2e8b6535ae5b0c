//! The thread that flushes on time. It holds the store weakly, so that a store nobody uses goes away.

use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::store::Shared;

#[derive(Default)]
struct Signal {
    stop: Mutex<bool>,
    changed: Condvar,
}

/// A running thread; dropping it stops the thread and waits for it.
pub(crate) struct Background {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(store: Weak<Shared>, interval: Duration) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let heard = Arc::clone(&signal);
        let thread = std::thread::Builder::new().name("alexpy-flush".to_owned()).spawn(move || {
            loop {
                {
                    let mut stop = heard.stop.lock();
                    if !*stop {
                        heard.changed.wait_for(&mut stop, interval);
                    }
                    if *stop {
                        return;
                    }
                }
                let Some(store) = store.upgrade() else { return };
                store.background_flush();
            }
        })?;
        Ok(Self { signal, thread: Some(thread) })
    }

    fn tell(&self) {
        *self.signal.stop.lock() = true;
        self.signal.changed.notify_all();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.tell();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook; closing goes on all the same.
            let _ = thread.join();
        }
    }
}
