//! Batch reads on more than one CPU: one thread reads ahead while the caller makes objects of what was
//! read, or several read parts of the same batch.
//!
//! Threads live as long as the call that started them and touch no Python object; the caller waits for them
//! without the GIL. Small batches, and machines with one CPU, stay on the caller's thread. What is read is
//! the same either way. Why it pays: docs/dev/014-large-batches-use-two-threads.md.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use alex_store::{Error, Values};
use pyo3::prelude::*;

use crate::errors::{detached, to_exception};

/// Keys looked up between two looks at pending signals: few enough that the values checked by the engine
/// are still near when they are copied, enough that the GIL is not fought over.
pub(crate) const PIECE_KEYS: usize = 1 << 12;

/// Keys from which on a second thread pays for its start, some 50 us.
const SHARED_KEYS: usize = 4 * PIECE_KEYS;

/// Threads that one batch is split among at most: they wait for memory, of which more would not give more.
const MAX_THREADS: usize = 4;

/// Pieces that are being read or wait to be used, so that neither side waits for each single one.
const PIECES_AHEAD: usize = 3;

/// How many threads a batch of so many keys is read by, the caller's among them.
fn threads_for(keys: usize) -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    if keys < SHARED_KEYS {
        return 1;
    }
    (*CPUS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))).min(MAX_THREADS)
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
    if threads_for(keys.len()) > 1 {
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

/// Fills `rows`, `width` bytes for each of `keys`, with `read`, which returns the place of the first key
/// that is not there; returns that of all keys. Signals are checked on the way.
pub(crate) fn read_rows(
    py: Python<'_>,
    keys: &[i64],
    width: usize,
    mut rows: &mut [u8],
    read: impl Fn(&[i64], &mut [u8]) -> Result<Option<usize>, Error> + Send + Sync,
) -> PyResult<Option<usize>> {
    let pieces = keys.chunks(PIECE_KEYS).enumerate().map(|(number, keys)| {
        let (own, rest) = std::mem::take(&mut rows).split_at_mut(keys.len() * width);
        rows = rest;
        (number * PIECE_KEYS, keys, own)
    });
    let pieces = Mutex::new(pieces.fuse());
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    // What each thread does: the first missing key of the pieces that fell to it.
    let work = |check: fn() -> PyResult<()>| {
        let mut missing = None;
        while let Some((start, keys, rows)) = next() {
            let outcome = check().map_err(Stop::Signal);
            match outcome.and_then(|()| read(keys, rows).map_err(Stop::Engine)) {
                Ok(found) => missing = missing.or(found.map(|at| start + at)),
                Err(stop) => {
                    while next().is_some() {}
                    return Err(stop);
                }
            }
        }
        Ok(missing)
    };
    let read_all = || {
        thread::scope(|scope| {
            // Where the system gives no further thread, the others do its work.
            let start = |_| thread::Builder::new().spawn_scoped(scope, || work(|| Ok(()))).ok();
            let helpers: Vec<_> = (1..threads_for(keys.len())).filter_map(start).collect();
            let own = work(check_signals);
            helpers.into_iter().fold(own, |all, helper| {
                let other = helper.join().unwrap_or_else(|panic| resume_unwind(panic));
                Ok([all?, other?].into_iter().flatten().min())
            })
        })
    };
    py.detach(read_all).map_err(|stop| match stop {
        Stop::Signal(error) => error,
        Stop::Engine(error) => to_exception(py, &error),
    })
}

fn check_signals() -> PyResult<()> {
    Python::attach(|py| {
        py.check_signals()?;
        Ok(())
    })
}

/// Why a batch was not read to its end.
enum Stop {
    Signal(PyErr),
    Engine(Error),
}
