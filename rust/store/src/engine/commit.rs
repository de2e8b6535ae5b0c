//! Commits: bytes go into the log, then the index learns of them, both under the commit lock, so that there
//! is one order. Room in the log is made before the lock is taken, and memory is allocated before the log
//! changes: after that a commit can no longer be refused. Knows nothing of why callers commit what they do.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::engine::compressor::Many;
use crate::engine::locks::CommitGuard;
use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::header::{LogEnd, Origin};
use crate::format::location::Location;
use crate::index::checked::Damaged;
use crate::keys::{KeyVec, Keys};
use crate::log::append::{Failure, Shape, op_bytes};
use crate::log::batch::{Op, ValueSource};
use crate::log::segments::Segments;
use crate::options::Durability;
use crate::room::{no_memory, probe, with_room};

/// With `sync`, the device begins with commits of at least this many bytes before the flush is requested.
/// Smaller commits are left out, because threads that share a flush would each write the same page.
const BEGUN_EARLY_BYTES: u64 = 8 << 10;

/// The compaction thread checks how much is dead each time this much was written.
const LOOK_BYTES: u64 = 8 << 20;
/// Commits of at least `PROBED_KEYS` keys first make sure that the index can grow by `INDEX_BYTES_A_KEY` for
/// each.
const PROBED_KEYS: usize = 1 << 14;
const INDEX_BYTES_A_KEY: usize = 48;
/// The index grows in chunks of 32 MiB, and something else may need memory meanwhile.
const INDEX_CHUNK_BYTES: usize = 64 << 20;
/// So many operations before one is applied, its place in the index is prefetched.
const PREFETCHED: usize = 8;

impl Shared {
    pub(crate) fn log_if_writable(&self) -> Result<CommitGuard<'_, Writing>> {
        // Check before taking the lock, too: in a forked child its holder may not exist to release it.
        self.check_usable()?;
        let writing = self.writing.lock();
        self.check_writable()?;
        Ok(writing)
    }

    /// Takes the commit lock, with room for a commit of this shape. Slow disk work happens before the lock is
    /// taken, mostly on the background thread.
    pub(crate) fn ready_log(&self, shape: Shape<'_>) -> Result<CommitGuard<'_, Writing>> {
        let room = shape.most_bytes();
        let mut may_wait = true;
        loop {
            let mut writing = self.log_if_writable()?;
            if may_wait
                && !writing.flow.is_free()
                && let Some(wait) = self.wait_for_followers(&mut writing, shape.bytes_in_log())?
            {
                drop(writing);
                may_wait = self.let_follow(wait);
                continue;
            }
            if writing.log.fits(shape) {
                return Ok(writing);
            }
            if writing.log.spare_has_room(room) {
                self.roll(&mut writing)?;
                return Ok(writing);
            }
            drop(writing);
            self.prepare_spare(room, shape.frees)?;
        }
    }

    /// Moves the log on to the spare segment.
    pub(crate) fn roll(&self, writing: &mut Writing) -> Result<()> {
        let durable_seq = self.watermarks.durable();
        let rolled = writing.log.roll(&self.disk, durable_seq, Origin::Log);
        self.compressor.rolled();
        self.watermarks.note_ended(!writing.log.unsynced.is_empty());
        let segment = rolled.map_err(|error| self.health.after(Failure::of(error)))?;
        self.asks_ahead.tell(&segment);
        self.write_state()?.add_segment(segment);
        Ok(())
    }

    fn append<'a>(
        &self,
        writing: &mut Writing,
        ops: impl Iterator<Item = Op<'a>>,
        shape: Shape<'_>,
        placed: impl FnMut(Location),
    ) -> Result<LogEnd> {
        let before = writing.log.end;
        let appended = writing.log.append(ops, shape, self.watermarks.durable(), placed);
        if let Err(Error::Io { operation, .. }) = &appended
            && operation.may_leave_bytes()
        {
            // A refused commit must stay absent. If that cannot be ensured, the outcome is unknown.
            writing.log.withdraw().map_err(|error| self.health.poison(error))?;
        }
        appended?;
        let bytes = writing.log.end.offset - before.offset;
        writing.wrote(bytes);
        if let Some(by) = shape.by
            && let Some(at) = writing.log.location_of(by)
        {
            self.compressor.was_placed(by, at, true);
        }
        if self.options.durability == Durability::Sync
            && shape.bytes >= BEGUN_EARLY_BYTES
            && let Some(active) = &writing.log.active
        {
            // The device works while the index learns of the commit.
            active.begin_sync(before.offset, bytes);
        }
        Ok(before)
    }

    /// Applies a commit to the index; the log already holds it behind `before`. `None` if the index had to be
    /// rebuilt: the rebuild reads the log, so the commit is in the new index and in all counts. `change` may be called
    /// twice.
    pub(crate) fn absorb<T>(
        &self,
        writing: &mut Writing,
        before: LogEnd,
        mut change: impl FnMut(&mut State) -> Result<T, Damaged>,
    ) -> Result<Option<(T, Arc<Segments>)>> {
        let end = writing.log.end;
        for again in [false, true] {
            let mut state = self.write_state()?;
            state.begin(end.last_seq);
            let changed = change(&mut state);
            if let Ok(changed) = changed {
                state.end();
                return Ok(Some((changed, Arc::clone(&state.segments))));
            }
            if !state.is_pinned() {
                break;
            }
            // Versions need to know what this commit replaces, which only the index before it can tell.
            if again {
                let error = state.index.failure().unwrap_or_else(|| no_memory::<Location>(1));
                state.lose_versions(end.last_seq, error);
                break;
            }
            drop(state);
            self.rebuild_index(writing, before)?;
        }
        self.rebuild_index(writing, end)?;
        Ok(None)
    }

    /// Publishes the new end of the log, and wakes the threads that wait for it to grow.
    #[inline]
    fn published(&self, writing: &mut Writing) -> u64 {
        self.watermarks.reached(writing.log.end.last_seq);
        if writing.log.wants_spare() {
            self.threads.preparer.ring();
        }
        if writing.images.wants_checkpoint() {
            self.threads.checkpointer.ring();
        }
        if writing.flow.written() >= writing.look_at {
            writing.look_at = writing.flow.written() + LOOK_BYTES;
            self.threads.compactor.ring();
        }
        writing.log.end.last_seq
    }

    /// Allocates the memory that applying a commit to the index needs.
    fn prepared<'a>(
        &self,
        writing: &mut Writing,
        ops: impl Iterator<Item = Op<'a>>,
        Shape { records, .. }: Shape<'_>,
    ) -> Result<Prepared> {
        let records = records as usize;
        let (mut dead, mut longest) = (records, 0);
        for op in ops {
            let Op::DeleteRange(first, last) = op else { continue };
            let in_range = loop {
                let range = (Bound::Included(first), Bound::Included(last));
                if let Ok(count) = self.read_state()?.index.count(range.0, range.1) {
                    break count + records;
                }
                let end = writing.log.end;
                self.rebuild_index(writing, end)?;
            };
            dead += in_range;
            longest = longest.max(in_range);
        }
        probe_index(records)?;
        Ok(Prepared {
            locations: with_room(records)?,
            dead: with_room(dead)?,
            range: (KeyVec::of_width(longest, self.width())?, with_room(longest)?),
        })
    }

    /// Commits one operation, for which there must be room.
    pub(crate) fn commit_one(&self, writing: &mut Writing, op: Op<'_>) -> Result<()> {
        self.commit_ops(writing, &std::iter::once(op), Shape::of(op, self.width())).map(|_| ())
    }

    /// Commits any operations, for which there must be room. Returns the sequence number of the last record.
    pub(crate) fn commit_ops<'a>(
        &self,
        writing: &mut Writing,
        ops: &(impl Iterator<Item = Op<'a>> + Clone),
        shape: Shape<'_>,
    ) -> Result<u64> {
        let Prepared { mut locations, mut dead, mut range } = self.prepared(writing, ops.clone(), shape)?;
        let before = self.append(writing, ops.clone(), shape, |location| locations.push(location))?;
        let absorbed = self.absorb(writing, before, |state| {
            let mut live = 0;
            dead.clear();
            let mut soon = ops.clone().skip(PREFETCHED);
            for (op, &location) in ops.clone().zip(&locations) {
                if let Some(Op::Put(key, _) | Op::Delete(key)) = soon.next() {
                    state.index.prefetch(key);
                }
                live += apply(state, op, location, &mut dead, &mut range)?;
            }
            Ok(live)
        })?;
        if let Some((live, segments)) = absorbed {
            if let Some(active) = &writing.log.active {
                active.count_live(live);
                active.count_tombstone(shape.bytes - live);
            }
            self.count_dead(&segments, &dead);
        }
        Ok(self.published(writing))
    }

    /// Commits many puts at once. Returns the sequence number, and the number of distinct keys.
    pub(crate) fn commit_puts<V: ValueSource + ?Sized>(
        &self,
        keys: Keys<'_>,
        values: &Many<'_, V>,
        shape: Shape<'_>,
    ) -> Result<(u64, u64)> {
        let (seq, placed) = {
            let mut writing = self.ready_log(shape)?;
            self.commit_puts_in(&mut writing, keys, values, shape)?
        };
        Ok((seq, (keys.len() - placed.replaced_among(keys)) as u64))
    }

    /// Like [`Shared::commit_puts`], for which there must be room.
    pub(crate) fn commit_puts_in<V: ValueSource + ?Sized>(
        &self,
        writing: &mut Writing,
        keys: Keys<'_>,
        values: &Many<'_, V>,
        shape: Shape<'_>,
    ) -> Result<(u64, Placed)> {
        // Allocate everything before anything is written: after that the commit can no longer be refused. And after room
        // was made in the log, which takes memory too.
        let mut placed =
            Placed { locations: with_room(keys.len())?, dead: with_room(keys.len())?, rebuilt: false };
        probe_index(keys.len())?;
        let ops = keys.iter().enumerate().map(|(i, key)| {
            values.prefetch(i);
            Op::Put(key, values.get(i))
        });
        let Placed { locations, dead, rebuilt } = &mut placed;
        let before = self.append(writing, ops, shape, |location| locations.push(location.0))?;
        let absorbed = self.absorb(writing, before, |state| {
            dead.clear();
            state.put_many(keys, locations, dead)
        })?;
        if let Some(((), segments)) = absorbed {
            if let Some(active) = &writing.log.active {
                active.count_live(shape.bytes);
            }
            self.count_dead(&segments, dead);
        } else {
            *rebuilt = true;
        }
        Ok((self.published(writing), placed))
    }

    /// A commit that only copies a few bytes into memory; `None` if this one would do more. Returns false if
    /// there was nothing to delete.
    #[inline]
    pub(crate) fn try_commit_one(&self, op: Op<'_>) -> Option<Result<bool>> {
        let mut writing = self.writing.try_lock()?;
        if let Err(error) = self.check_writable() {
            return Some(Err(error));
        }
        if let Op::Delete(key) = op {
            let state = match self.try_read_state()? {
                Ok(state) => state,
                Err(error) => return Some(Err(error)),
            };
            match state.index.get(key).ok()? {
                // The record will be counted as dead at the end; prefetch it while the log is written.
                Some(record) => state.segments.prefetch(Location(record)),
                None => return Some(Ok(false)),
            }
        }
        let shape = Shape::of(op, self.width());
        if self.options.durability == Durability::Sync || !writing.takes_at_once(shape) || self.flush_due() {
            return None;
        }
        // Take the state before the log changes: after that the commit can no longer be refused.
        let mut state = self.state.try_write().filter(|state| state.index.is_whole())?;
        let key = match op {
            Op::Put(key, _) => {
                // The index is searched after the log is written.
                state.index.prefetch(key);
                key
            }
            Op::Delete(key) => key,
            Op::DeleteRange(..) => return None,
        };
        let mut placed = Location(0);
        let before = match self.append(&mut writing, std::iter::once(op), shape, |at| placed = at) {
            Ok(before) => before,
            Err(error) => return Some(Err(error)),
        };
        state.begin(writing.log.end.last_seq);
        let puts = matches!(op, Op::Put(..));
        let change = |state: &mut State| if puts { state.put(key, placed) } else { state.delete(key) };
        let absorbed = match change(&mut state) {
            Ok(old) => {
                state.end();
                let dead = old.map(|old| (old, Arc::clone(&state.segments)));
                drop(state);
                Ok(Some(dead))
            }
            Err(Damaged) => {
                drop(state);
                let absorbed = self.absorb(&mut writing, before, change);
                absorbed.map(|absorbed| absorbed.map(|(old, segments)| old.map(|old| (old, segments))))
            }
        };
        if let Ok(Some(dead)) = &absorbed {
            if let Some((old, segments)) = dead {
                self.count_dead(segments, &[*old]);
            }
            match &writing.log.active {
                Some(active) if puts => active.count_live(shape.bytes),
                Some(active) => active.count_tombstone(shape.bytes),
                None => {}
            }
        }
        self.published(&mut writing);
        Some(absorbed.map(|_| true))
    }
}

/// Where puts that were committed are, and what they replaced.
pub(crate) struct Placed {
    locations: Vec<u64>,
    dead: Vec<Location>,
    /// Whether the index had to be rebuilt, so that what was replaced is not known.
    rebuilt: bool,
}

impl Placed {
    /// How many of `keys`, which were put, replaced an earlier one of them.
    fn replaced_among(&self, keys: Keys<'_>) -> usize {
        if self.rebuilt {
            return keys.len() - keys.iter().collect::<HashSet<_>>().len();
        }
        // A commit lies in one segment, so a replaced record within these locations was a duplicate among `keys`.
        let first = self.locations.first().copied().unwrap_or_default();
        let here = first..=self.locations.last().copied().unwrap_or_default();
        self.dead.iter().filter(|dead| here.contains(&dead.0)).count()
    }
}

/// See [`Shared::prepared`].
struct Prepared {
    locations: Vec<Location>,
    dead: Vec<Location>,
    range: (KeyVec, Vec<u64>),
}

/// Refuses a large commit if the index could probably not grow for its keys: once it is in the log, it cannot
/// be undone.
fn probe_index(keys: usize) -> Result<()> {
    if keys < PROBED_KEYS {
        return Ok(());
    }
    probe(keys.saturating_mul(INDEX_BYTES_A_KEY).saturating_add(INDEX_CHUNK_BYTES))
}

/// Applies one committed operation to the index. Returns the number of bytes that became live.
fn apply(
    state: &mut State,
    op: Op<'_>,
    location: Location,
    dead: &mut Vec<Location>,
    range: &mut (KeyVec, Vec<u64>),
) -> Result<u64, Damaged> {
    match op {
        Op::Put(key, _) => {
            dead.extend(state.put(key, location)?);
            Ok(op_bytes(op, state.index.width()))
        }
        Op::Delete(key) => {
            dead.extend(state.delete(key)?);
            Ok(0)
        }
        Op::DeleteRange(first, last) => {
            state.delete_range_with(first, last, dead, range)?;
            Ok(0)
        }
    }
}
