//! Committing: bytes go into the log, then the index learns of them, both under the commit lock, so that there is one
//! order. Room is made before the lock is taken, and memory before the log changes: from there on there is no turning
//! back. Knows nothing of what the callers decided from.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::engine::locks::CommitGuard;
use crate::engine::shared::Shared;
use crate::engine::state::State;
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::header::{LogEnd, Origin};
use crate::format::location::Location;
use crate::index::checked::Damaged;
use crate::log::append::{Failure, Shape, op_bytes};
use crate::log::batch::{Op, ValueSource};
use crate::log::segments::Segments;
use crate::options::Durability;
use crate::room::{probe, with_room};

/// With `sync`, the device begins with commits of so many bytes before the flush is asked for. Not with smaller
/// ones: threads that share a flush would each write the same page.
const BEGUN_EARLY_BYTES: u64 = 8 << 10;

/// The compacting thread looks how much is dead each time so much was written.
const LOOK_BYTES: u64 = 8 << 20;
/// Commits of so many keys make sure beforehand that the index can grow by as much as so many bytes for each.
const PROBED_KEYS: usize = 1 << 14;
const INDEX_BYTES_A_KEY: usize = 48;
/// It grows by chunks of 32 MiB, and something else may need memory meanwhile.
const INDEX_CHUNK_BYTES: usize = 64 << 20;

impl Shared {
    pub(crate) fn log_if_writable(&self) -> Result<CommitGuard<'_, Writing>> {
        // Before the lock, too: in a forked child nobody may be there to let it go.
        self.check_usable()?;
        let writing = self.writing.lock();
        self.check_writable()?;
        Ok(writing)
    }

    /// The commit lock, with room for a commit of this shape. What the disk takes long for happens before
    /// the lock is taken, mostly on the background thread.
    pub(crate) fn ready_log(&self, shape: Shape) -> Result<CommitGuard<'_, Writing>> {
        let room = shape.bytes_in_log();
        let mut may_wait = true;
        loop {
            let mut writing = self.log_if_writable()?;
            if may_wait
                && !writing.flow.is_free()
                && let Some(wait) = self.wait_for_followers(&mut writing, room)?
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

    /// Goes on in the spare segment.
    pub(crate) fn roll(&self, writing: &mut Writing) -> Result<()> {
        let durable_seq = self.watermarks.durable();
        let rolled = writing.log.roll(&self.disk, durable_seq, Origin::Log);
        self.watermarks.note_ended(!writing.log.unsynced.is_empty());
        let segment = rolled.map_err(|error| self.health.after(Failure::of(error)))?;
        Arc::make_mut(&mut self.write_state()?.segments).insert(segment);
        Ok(())
    }

    fn append<'a>(
        &self,
        writing: &mut Writing,
        ops: impl Iterator<Item = Op<'a>>,
        shape: Shape,
        placed: impl FnMut(Location),
    ) -> Result<LogEnd> {
        let before = writing.log.end;
        let appended = writing.log.append(ops, shape, self.watermarks.durable(), placed);
        if let Err(Error::Io { operation, .. }) = &appended
            && operation.may_leave_bytes()
        {
            // A commit that was refused must stay absent; if that cannot be made sure, nobody knows.
            writing.log.withdraw().map_err(|error| self.health.poison(error))?;
        }
        appended?;
        let bytes = writing.log.end.offset - before.offset;
        writing.wrote(bytes);
        if self.options.durability == Durability::Sync
            && shape.bytes >= BEGUN_EARLY_BYTES
            && let Some(active) = &writing.log.active
        {
            // While the index learns of the commit.
            active.begin_sync(before.offset, bytes);
        }
        Ok(before)
    }

    /// Brings a commit, which the log took in behind `before`, into the index. `None` where the index had to
    /// be built anew: from the log, so that the commit is in it, and in all counts.
    fn absorb<T>(
        &self,
        writing: &mut Writing,
        before: LogEnd,
        prepare: impl Fn(&mut State) -> Result<(), Damaged>,
        change: impl FnOnce(&mut State) -> Result<T, Damaged>,
    ) -> Result<Option<(T, Arc<Segments>)>> {
        let mut state = self.write_state()?;
        while prepare(&mut state).is_err() {
            // An open scan or a large read has yet to read the index as it was before this commit.
            drop(state);
            self.rebuild_index(writing, before)?;
            state = self.write_state()?;
        }
        let changed = change(&mut state);
        let segments = Arc::clone(&state.segments);
        drop(state);
        if let Ok(changed) = changed {
            return Ok(Some((changed, segments)));
        }
        let end = writing.log.end;
        self.rebuild_index(writing, end)?;
        Ok(None)
    }

    /// Tells everyone how far the log goes now.
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

    /// The memory that bringing a commit into the index takes.
    fn prepared<'a>(
        &self,
        writing: &mut Writing,
        ops: impl Iterator<Item = Op<'a>>,
        Shape { records, .. }: Shape,
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
            range: (with_room(longest)?, with_room(longest)?),
        })
    }

    /// One operation, for which there is room.
    pub(crate) fn commit_one(&self, writing: &mut Writing, op: Op<'_>) -> Result<()> {
        self.commit_ops(writing, &std::iter::once(op), Shape::of(op)).map(|_| ())
    }

    /// Any operations, for which there is room; the sequence of the last.
    pub(crate) fn commit_ops<'a>(
        &self,
        writing: &mut Writing,
        ops: &(impl Iterator<Item = Op<'a>> + Clone),
        shape: Shape,
    ) -> Result<u64> {
        let Prepared { mut locations, mut dead, mut range } = self.prepared(writing, ops.clone(), shape)?;
        let before = self.append(writing, ops.clone(), shape, |location| locations.push(location))?;
        let prepare = |state: &mut State| state.before_change(ops.clone());
        let absorbed = self.absorb(writing, before, prepare, |state| {
            let mut live = 0;
            for (op, &location) in ops.clone().zip(&locations) {
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

    /// Many puts, in one commit: its sequence, and how many distinct keys there are.
    pub(crate) fn commit_puts<V: ValueSource + ?Sized>(
        &self,
        keys: &[i64],
        values: &V,
        shape: Shape,
    ) -> Result<(u64, u64)> {
        // All of it before anything is written: from there on there is no turning back.
        let mut locations = with_room(keys.len())?;
        let mut dead = with_room(keys.len())?;
        let mut rebuilt = false;
        let seq = {
            let mut writing = self.ready_log(shape)?;
            // After the log's room was made, which takes memory too.
            probe_index(keys.len())?;
            let ops = keys.iter().enumerate().map(|(i, &key)| {
                values.prefetch(i);
                Op::Put(key, values.get(i))
            });
            let before = self.append(&mut writing, ops, shape, |location| locations.push(location.0))?;
            let absorbed = self.absorb(
                &mut writing,
                before,
                |state| state.before_puts(keys),
                |state| state.put_many(keys, &locations, &mut dead),
            )?;
            if let Some(((), segments)) = absorbed {
                if let Some(active) = &writing.log.active {
                    active.count_live(shape.bytes);
                }
                self.count_dead(&segments, &dead);
            } else {
                rebuilt = true;
            }
            self.published(&mut writing)
        };
        // A replaced record of this very commit, which lies in one segment, was a duplicate among `keys`.
        let here =
            locations.first().copied().unwrap_or_default()..=locations.last().copied().unwrap_or_default();
        let replaced_here = if rebuilt {
            keys.len() - keys.iter().collect::<HashSet<_>>().len()
        } else {
            dead.iter().filter(|dead| here.contains(&dead.0)).count()
        };
        Ok((seq, (keys.len() - replaced_here) as u64))
    }

    /// A commit that only copies a few bytes into memory, or `None`; false if there was nothing to delete.
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
                // Counted as dead in the end; it comes while the log is written.
                Some(record) => state.segments.prefetch(Location(record)),
                None => return Some(Ok(false)),
            }
        }
        let shape = Shape::of(op);
        if self.options.durability == Durability::Sync || !writing.takes_at_once(shape) || self.flush_due() {
            return None;
        }
        // Taken before the log changes: from there on there is no turning back.
        let mut state = self.state.try_write().filter(|state| state.index.is_whole())?;
        let key = match op {
            Op::Put(key, _) => {
                // As above.
                state.index.prefetch(key);
                key
            }
            Op::Delete(key) => key,
            Op::DeleteRange(..) => return None,
        };
        state.before_change(std::iter::once(op)).ok()?;
        let mut placed = Location(0);
        if let Err(error) =
            self.append(&mut writing, std::iter::once(op), shape, |location| placed = location)
        {
            return Some(Err(error));
        }
        let puts = matches!(op, Op::Put(..));
        let old = if puts { state.put(key, placed) } else { state.delete(key) };
        let Ok(old) = old else {
            drop(state);
            let end = writing.log.end;
            let rebuilt = self.rebuild_index(&mut writing, end);
            self.published(&mut writing);
            return Some(rebuilt.map(|()| true));
        };
        let dead = old.map(|old| (old, Arc::clone(&state.segments)));
        drop(state);
        if let Some((old, segments)) = dead {
            self.count_dead(&segments, &[old]);
        }
        match &writing.log.active {
            Some(active) if puts => active.count_live(shape.bytes),
            Some(active) => active.count_tombstone(shape.bytes),
            None => {}
        }
        self.published(&mut writing);
        Some(Ok(true))
    }
}

/// See [`Shared::prepared`].
struct Prepared {
    locations: Vec<Location>,
    dead: Vec<Location>,
    range: (Vec<i64>, Vec<u64>),
}

/// Refuses a large commit for whose keys the index could hardly grow: once it is in the log, there is no way back.
fn probe_index(keys: usize) -> Result<()> {
    if keys < PROBED_KEYS {
        return Ok(());
    }
    probe(keys.saturating_mul(INDEX_BYTES_A_KEY).saturating_add(INDEX_CHUNK_BYTES))
}

/// Brings one committed operation into the index; the bytes that it made live.
fn apply(
    state: &mut State,
    op: Op<'_>,
    location: Location,
    dead: &mut Vec<Location>,
    range: &mut (Vec<i64>, Vec<u64>),
) -> Result<u64, Damaged> {
    match op {
        Op::Put(key, _) => {
            dead.extend(state.put(key, location)?);
            Ok(op_bytes(op))
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
