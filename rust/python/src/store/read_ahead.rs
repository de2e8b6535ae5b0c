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
/// engine are still near when they are copied, enough that the GIL is not fought over. Of long values the engine
/// reads fewer at once.
pub(crate) const PIECE_KEYS: usize = 1 << 12;

/// Keys from which on a second thread pays for its start, some 50 us.
const SHARED_KEYS: usize = 4 * PIECE_KEYS;

/// The same where long values cut pieces short, in such pieces: of a MiB.
const LONG_PIECES_SHARED: usize = 8;

/// The least that is looked up at once.
const LEAST_PIECE_KEYS: usize = 16;

/// Pieces that are being read or wait to be used, so that neither side waits for each single one.
const PIECES_AHEAD: usize = 3;

/// Whether a second thread may run beside the caller's.
fn two_processors() -> bool {
    static TWO: OnceLock<bool> = OnceLock::new();
    *TWO.get_or_init(|| thread::available_parallelism().is_ok_and(|processors| processors.get() > 1))
}

/// Keys that are still to be read.
#[derive(Clone, Copy)]
struct Pieces<'k> {
    rest: &'k [i64],
    /// So many are looked up at once: where that was more than could be read, hardly more the next time.
    piece_keys: usize,
}

impl Pieces<'_> {
    /// Reads the next piece; whether long values cut it short.
    fn next(
        &mut self,
        read: impl Fn(&[i64], &mut Values) -> Result<(), Error>,
        values: &mut Values,
    ) -> Result<bool, Error> {
        let piece = &self.rest[..self.rest.len().min(self.piece_keys)];
        read(piece, values)?;
        self.rest = &self.rest[values.len()..];
        let cut_short = values.len() < piece.len();
        let more = if cut_short { values.len() / 16 } else { values.len() };
        self.piece_keys = (values.len() + more).clamp(LEAST_PIECE_KEYS, PIECE_KEYS);
        Ok(cut_short)
    }
}

/// Calls `each` with the number of the first key and the values of piece after piece of `keys`, in order,
/// while a thread reads the next ones with `read`, which may leave out the last of those it is given. Signals
/// are checked before each piece.
pub(crate) fn read_ahead(
    py: Python<'_>,
    keys: &[i64],
    read: impl Fn(&[i64], &mut Values) -> Result<(), Error> + Send + Sync,
    mut each: impl FnMut(Python<'_>, usize, &Values) -> PyResult<()> + Send,
) -> PyResult<()> {
    let mut pieces = Pieces { rest: keys, piece_keys: PIECE_KEYS };
    let mut values = Values::default();
    let mut share = keys.len() >= SHARED_KEYS;
    while !pieces.rest.is_empty() {
        if share && two_processors() {
            py.detach(|| read_on_a_thread(keys, &mut pieces, &read, &mut each))?;
            if pieces.rest.is_empty() {
                break;
            }
        }
        py.check_signals()?;
        let first = keys.len() - pieces.rest.len();
        let cut_short = detached(py, || pieces.next(&read, &mut values))?;
        each(py, first, &values)?;
        share = cut_short && pieces.rest.len() > LONG_PIECES_SHARED * values.len();
    }
    Ok(())
}

/// The part of `read_ahead` with a second thread: all that is left, or nothing where the system gives no thread.
fn read_on_a_thread(
    keys: &[i64],
    pieces: &mut Pieces<'_>,
    read: &(impl Fn(&[i64], &mut Values) -> Result<(), Error> + Sync),
    each: &mut (impl FnMut(Python<'_>, usize, &Values) -> PyResult<()> + Send),
) -> PyResult<()> {
    thread::scope(|scope| {
        let (give_back, spare) = sync_channel(PIECES_AHEAD);
        let (hand_over, done) = sync_channel(PIECES_AHEAD);
        for _ in 0..PIECES_AHEAD {
            // The channel has a place for each of them.
            let _ = give_back.send(Values::default());
        }
        let mut ahead = *pieces;
        let read_all = move || {
            while !ahead.rest.is_empty() {
                // The caller ended early: after an error, or a signal.
                let Ok(mut values) = spare.recv() else { return };
                let outcome = ahead.next(read, &mut values).map(|_| values);
                let failed = outcome.is_err();
                if hand_over.send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        if thread::Builder::new().spawn_scoped(scope, read_all).is_err() {
            return Ok(());
        }
        for outcome in done {
            let values = Python::attach(|py| {
                py.check_signals()?;
                let values = outcome.map_err(|error| to_exception(py, &error))?;
                each(py, keys.len() - pieces.rest.len(), &values)?;
                Ok::<_, PyErr>(values)
            })?;
            pieces.rest = &pieces.rest[values.len()..];
            // Nobody waits for it once the last piece is read.
            let _ = give_back.send(values);
        }
        Ok(())
    })
}
