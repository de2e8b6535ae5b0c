//! Counters: values of eight bytes that are added to where they are, many in one commit. They are read and written under
//! one hold of the commit lock, so that no addition is lost. O(n log n), for sorting the keys.

use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::calls::read::PIECE_KEYS;
use crate::calls::store::Store;
use crate::engine::compressor::Many;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::format::location::Location;
use crate::keys::{Key, KeyVec, Keys};
use crate::log::append::Shape;
use crate::room::{filled, with_room};
use crate::values::value::{self, Met};

/// Bytes of a counter.
const COUNTER_BYTES: usize = 8;

/// A number that is stored in eight bytes, little-endian.
pub trait Counter: Copy + Display + Send + Sync {
    /// What an absent key counts as.
    const ZERO: Self;

    /// The number in the bytes of a value.
    fn decoded(bytes: [u8; COUNTER_BYTES]) -> Self;

    /// The bytes of a value.
    fn encoded(self) -> [u8; COUNTER_BYTES];

    /// The sum; `None` if there is no such number.
    fn plus(self, delta: Self) -> Option<Self>;
}

impl Counter for i64 {
    const ZERO: Self = 0;

    fn decoded(bytes: [u8; COUNTER_BYTES]) -> Self {
        Self::from_le_bytes(bytes)
    }

    fn encoded(self) -> [u8; COUNTER_BYTES] {
        self.to_le_bytes()
    }

    fn plus(self, delta: Self) -> Option<Self> {
        self.checked_add(delta)
    }
}

impl Counter for f64 {
    const ZERO: Self = 0.0;

    fn decoded(bytes: [u8; COUNTER_BYTES]) -> Self {
        Self::from_le_bytes(bytes)
    }

    fn encoded(self) -> [u8; COUNTER_BYTES] {
        self.to_le_bytes()
    }

    fn plus(self, delta: Self) -> Option<Self> {
        Some(self + delta)
    }
}

/// The counters that a call changes: each key once, ascending.
struct Counters<C> {
    keys: KeyVec,
    values: Vec<[u8; COUNTER_BYTES]>,
    /// The positions of the additions, by key and, for equal keys, in the caller's order.
    order: Vec<(Key, usize)>,
    /// The total after each addition, in the caller's order.
    totals: Vec<C>,
}

impl<C: Counter> Counters<C> {
    fn of(given: Keys<'_>) -> Result<Self> {
        let mut order = with_room(given.len())?;
        order.extend(given.iter().zip(0..));
        order.sort_unstable();
        let mut keys = KeyVec::with_room(given.len(), given)?;
        for &(key, _) in &order {
            keys.push(key);
        }
        keys.sort_and_dedup();
        let values = filled([0; COUNTER_BYTES], keys.len())?;
        let totals = filled(C::ZERO, given.len())?;
        Ok(Self { keys, values, order, totals })
    }

    /// Reads every counter and adds what is to be added to it. Whoever calls holds the commit lock.
    fn add(&mut self, shared: &Shared, deltas: &[C]) -> Result<()> {
        let Self { keys, values, order, totals } = self;
        let mut locations: Vec<Option<Location>> = with_room(PIECE_KEYS.min(keys.len()))?;
        let mut next = 0;
        for (keys, values) in keys.as_keys().chunks(PIECE_KEYS).zip(values.chunks_mut(PIECE_KEYS)) {
            locations.clear();
            let segments = {
                let state = shared.read_parts()?;
                state.index.get_many(keys, |_, found| locations.push(found.map(Location)))?;
                Arc::clone(&state.segments)
            };
            let (verify, asks) = shared.how_to_read();
            let mut ahead = asks.over(locations.iter().map(|&location| (&*segments, location)));
            value::for_each(&segments, keys, &locations, verify, &mut ahead, |i, found| {
                let mut total = found.map_or(Ok(C::ZERO), |value| decoded(shared, keys.get(i), &value))?;
                while let Some(&(_, place)) = order.get(next).filter(|&&(key, _)| key == keys.get(i)) {
                    total = sum(shared, keys.get(i), total, deltas[place])?;
                    totals[place] = total;
                    next += 1;
                }
                values[i] = total.encoded();
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(())
    }
}

fn decoded<C: Counter>(shared: &Shared, key: Key, value: &Met<'_>) -> Result<C> {
    let found = value.len();
    if found != COUNTER_BYTES {
        return Err(Error::Invalid(format!(
            "the value of key {} has {found} bytes, and a counter has {COUNTER_BYTES}; nothing was written",
            shared.opened.schema.key.shown(key)
        )));
    }
    let mut bytes = [0; COUNTER_BYTES];
    value.copy_to(&mut bytes)?;
    Ok(C::decoded(bytes))
}

fn sum<C: Counter>(shared: &Shared, key: Key, total: C, delta: C) -> Result<C> {
    total.plus(delta).ok_or_else(|| {
        Error::Overflow(format!(
            "the counter of key {} is {total}, and adding {delta} to it would leave int64; nothing was written",
            shared.opened.schema.key.shown(key)
        ))
    })
}

impl Store {
    /// Adds `deltas[i]` to the counter of `keys[i]` for every i, in order, in one atomic commit; an absent key counts as 0.
    /// Returns the total after each addition. A value that is not eight bytes long causes [`Error::Invalid`], and a sum
    /// that is no number [`Error::Overflow`]; both name the key, and nothing is written then. O(n log n).
    pub fn add_many<'k, C: Counter>(&self, keys: impl Into<Keys<'k>>, deltas: &[C]) -> Result<Vec<C>> {
        let keys = keys.into();
        if keys.len() != deltas.len() {
            let (keys, deltas) = (keys.len(), deltas.len());
            return Err(Error::Invalid(format!(
                "there are {keys} keys and {deltas} deltas; each key needs one delta"
            )));
        }
        if keys.is_empty() {
            return self.shared.log_if_writable().map(|_| Vec::new());
        }
        self.shared.check_keys(keys)?;
        let mut counters = Counters::of(keys)?;
        let records = counters.keys.len() as u64;
        let bytes = records * self.shared.width().size_of_put(COUNTER_BYTES as u64);
        let shape = Shape { records, bytes, frees: false, by: None };
        let seq = {
            let mut writing = self.shared.mending(|| {
                let writing = self.shared.ready_log(shape)?;
                counters.add(&self.shared, deltas)?;
                Ok(writing)
            })?;
            {
                let values = Many::plain(&counters.values[..]);
                self.shared.commit_puts_in(&mut writing, counters.keys.as_keys(), &values, shape)?.0
            }
        };
        self.settle(seq, false)?;
        Ok(counters.totals)
    }
}
