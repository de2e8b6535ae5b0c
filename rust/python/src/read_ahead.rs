//! A thread that reads a batch ahead while the caller makes objects of what was read.
//!
//! It lives as long as the call that started it and touches no Python object; the caller waits for it without
//! the GIL. Small batches, and processes with one CPU, stay on the caller's thread. What is read is the same
//! either way. Why it pays: docs/dev/014-large-batches-use-two-threads.md.

use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::thread;

use alex_store::{Error, Values};
use pyo3::prelude::*;

use crate::errors::{detached, to_exception};

/// Keys looked up before objects are made of what was found: few enough that the values checked by the
/// engine are still near when they are copied, enough that the GIL is not fought over.
pub(crate) const PIECE_KEYS: usize = 1 << 12;

/// Keys from which on a second thread pays for its start, some 50 us.
const SHARED_KEYS: usize = 4 * PIECE_KEYS;

/// Pieces that are being read or wait to be used, so that neither side waits for each single one.
const PIECES_AHEAD: usize = 3;

/// Whether a second thread may run beside the caller's.
fn two_processors() -> bool {
    static TWO: OnceLock<bool> = OnceLock::new();
    *TWO.get_or_init(|| thread::available_parallelism().is_ok_and(|processors| processors.get() > 1))
}

/// Calls `each` with the number of the first key and the values of piece after piece of `keys`, in order,
/// while a thread reads the next ones with `read`. Signals are checked before each piece.
pub(crate) fn read_ahead(
    py: Python<'_>,
    keys: &[i64],
    read: impl Fn(&[i64], &mut Values) -> Result<(), Error> + Send + Sync,
    mut each: impl FnMut(Python<'_>, usize, &Values) -> PyResult<()> + Send,
) -> PyResult<()> {
    let mut from = 0;
    if keys.len() >= SHARED_KEYS && two_processors() {
        from = py.detach(|| read_on_a_thread(keys, &read, &mut each))?;
    }
    let mut values = Values::default();
    for piece in keys[from..].chunks(PIECE_KEYS) {
        py.check_signals()?;
        detached(py, || read(piece, &mut values))?;
        each(py, from, &values)?;
        from += piece.len();
    }
    Ok(())
}

/// The part of `read_ahead` with a second thread; how many keys are done, which is none where the system
/// gives no thread.
fn read_on_a_thread(
    keys: &[i64],
    read: &(impl Fn(&[i64], &mut Values) -> Result<(), Error> + Sync),
    each: &mut (impl FnMut(Python<'_>, usize, &Values) -> PyResult<()> + Send),
) -> PyResult<usize> {
    thread::scope(|scope| {
        let (give_back, spare) = sync_channel(PIECES_AHEAD);
        let (hand_over, done) = sync_channel(PIECES_AHEAD);
        for _ in 0..PIECES_AHEAD {
            // The channel has a place for each of them.
            let _ = give_back.send(Values::default());
        }
        let read_all = move || {
            for piece in keys.chunks(PIECE_KEYS) {
                // The caller ended early: after an error, or a signal.
                let Ok(mut values) = spare.recv() else { return };
                let outcome = read(piece, &mut values).map(|()| values);
                let failed = outcome.is_err();
                if hand_over.send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        if thread::Builder::new().spawn_scoped(scope, read_all).is_err() {
            return Ok(0);
        }
        let mut from = 0;
        for outcome in done {
            let values = Python::attach(|py| {
                py.check_signals()?;
                let values = outcome.map_err(|error| to_exception(py, &error))?;
                each(py, from, &values)?;
                Ok::<_, PyErr>(values)
            })?;
            from += values.len();
            // Nobody waits for it once the last piece is read.
            let _ = give_back.send(values);
        }
        Ok(from)
    })
}
