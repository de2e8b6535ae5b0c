//! A thread that reads a batch ahead while the caller makes objects of what was read.
//!
//! It lives as long as the call that started it and touches no Python object; the caller waits for it without
//! the GIL. Small batches, and processes with one CPU, stay on the caller's thread. The result is the same
//! either way. Why it pays: docs/dev/014-large-batches-use-two-threads.md.

use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use alex_store::{Error, Keys, SHARES, Values};
use pyo3::prelude::*;

use crate::errors::{detached, to_exception};
use crate::memory;

/// Keys looked up before objects are made of what was found. Few enough that the values the engine has checked are
/// still in the CPU caches when they are copied; enough that the threads rarely compete for the GIL. The engine
/// reads fewer at once if values are long.
pub(crate) const PIECE_KEYS: usize = 1 << 12;

/// From this many keys on, a second thread saves more than its start costs (about 50 us).
const SHARED_KEYS: usize = 4 * PIECE_KEYS;

/// The same limit if long values cut pieces short, counted in such pieces of a MiB.
const LONG_PIECES_SHARED: usize = 8;

/// The fewest keys looked up at once.
const LEAST_PIECE_KEYS: usize = 16;

/// Pieces that are being read or are waiting to be used: enough that neither side waits for every piece.
const PIECES_AHEAD: usize = 3;

/// How many threads may run at the same time.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// The keys that remain to be read.
#[derive(Clone, Copy)]
struct Pieces<'k> {
    rest: Keys<'k>,
    /// How many to look up at once. After a piece that was cut short, hardly more than were read.
    piece_keys: usize,
}

impl Pieces<'_> {
    /// Reads the next piece; true if long values cut it short.
    fn next(
        &mut self,
        read: impl Fn(Keys<'_>, usize, &mut Values) -> Result<(), Error>,
        left_packed: usize,
        values: &mut Values,
    ) -> Result<bool, Error> {
        let piece = self.rest.slice(0..self.rest.len().min(self.piece_keys));
        read(piece, left_packed, values)?;
        self.rest = self.rest.slice(values.len()..self.rest.len());
        let cut_short = values.len() < piece.len();
        let more = if cut_short { values.len() / 16 } else { values.len() };
        self.piece_keys = (values.len() + more).clamp(LEAST_PIECE_KEYS, PIECE_KEYS);
        Ok(cut_short)
    }
}

/// Calls `each` for piece after piece of `keys`, in order, with the number of the piece's first key and its values,
/// while a thread reads the next pieces with `read`. `read` may leave out the last of the keys that it is given, and may
/// leave the share of compressed values that it is told to `each`, which would else wait. Signals are checked before each
/// piece.
pub(crate) fn read_ahead(
    py: Python<'_>,
    keys: Keys<'_>,
    read: impl Fn(Keys<'_>, usize, &mut Values) -> Result<(), Error> + Send + Sync,
    mut each: impl FnMut(Python<'_>, usize, &Values) -> PyResult<()> + Send,
) -> PyResult<()> {
    let mut pieces = Pieces { rest: keys, piece_keys: PIECE_KEYS };
    let mut values = Values::default();
    let mut share = keys.len() >= SHARED_KEYS;
    while !pieces.rest.is_empty() {
        if share && processors() > 1 && memory::holds_a_thread() {
            py.detach(|| read_on_a_thread(keys, &mut pieces, &read, &mut each))?;
            if pieces.rest.is_empty() {
                break;
            }
        }
        py.check_signals()?;
        let first = keys.len() - pieces.rest.len();
        // Decompressed without the GIL, which other threads may want.
        let cut_short = detached(py, || pieces.next(&read, 0, &mut values))?;
        each(py, first, &values)?;
        share = cut_short && pieces.rest.len() > LONG_PIECES_SHARED * values.len();
    }
    Ok(())
}

/// The part of `read_ahead` with a second thread. Reads all that is left, or nothing if no thread can be started.
fn read_on_a_thread(
    keys: Keys<'_>,
    pieces: &mut Pieces<'_>,
    read: &(impl Fn(Keys<'_>, usize, &mut Values) -> Result<(), Error> + Sync),
    each: &mut (impl FnMut(Python<'_>, usize, &Values) -> PyResult<()> + Send),
) -> PyResult<()> {
    // Whether the caller has nothing to do.
    let idle = &AtomicBool::new(true);
    thread::scope(|scope| {
        let (give_back, spare) = sync_channel(PIECES_AHEAD);
        let (hand_over, done) = sync_channel(PIECES_AHEAD);
        for _ in 0..PIECES_AHEAD {
            // The channel has a place for each of them.
            let _ = give_back.send(Values::default());
        }
        let mut ahead = *pieces;
        // Whoever has less to do decompresses more.
        let mut left_packed = SHARES / 3;
        let read_all = move || {
            while !ahead.rest.is_empty() {
                // The caller has ended early, after an error or a signal.
                let Ok(mut values) = spare.recv() else { return };
                let outcome = ahead.next(read, left_packed, &mut values).map(|_| values);
                let failed = outcome.is_err();
                left_packed = if idle.load(Ordering::Relaxed) {
                    SHARES.min(left_packed + 1)
                } else {
                    left_packed.saturating_sub(1)
                };
                if hand_over.send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        if thread::Builder::new().spawn_scoped(scope, read_all).is_err() {
            return Ok(());
        }
        loop {
            idle.store(true, Ordering::Relaxed);
            let Ok(outcome) = done.recv() else { break };
            idle.store(false, Ordering::Relaxed);
            let values = Python::attach(|py| {
                py.check_signals()?;
                let values = outcome.map_err(|error| to_exception(py, &error))?;
                each(py, keys.len() - pieces.rest.len(), &values)?;
                Ok::<_, PyErr>(values)
            })?;
            pieces.rest = pieces.rest.slice(values.len()..pieces.rest.len());
            // Fails once the last piece is read, when no thread waits for it.
            let _ = give_back.send(values);
        }
        Ok(())
    })
}
