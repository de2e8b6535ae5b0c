//! Writing: each call is one commit. Bytes go into the log, then the index learns of them, both under
//! the commit lock, so that there is one order; the flush that some calls wait for comes after the lock
//! is released. A call that fails before that changed nothing.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::batch::{Batch, Op, ValueSource, check_value};
use crate::error::{Error, Result};
use crate::header::{LogEnd, Origin};
use crate::index::Damaged;
use crate::location::Location;
use crate::lock::CommitGuard;
use crate::log::{Failure, Log, Shape, op_bytes};
use crate::operation::Operation;
use crate::options::Durability;
use crate::read::Value;
use crate::record::size_of_record;
use crate::room::{copy_of, probe, with_room};
use crate::segment::Segments;
use crate::shared::Shared;
use crate::state::State;
use crate::store::Store;

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

/// The longest value that is copied while the caller keeps other threads of its interpreter waiting.
const QUICK_VALUE_BYTES: usize = 4096;

impl Store {
    /// Puts key = value. O(log n + bytes).
    pub fn put(&self, key: i64, value: &[u8]) -> Result<()> {
        check_value(value)?;
        let seq = {
            let mut log = self.shared.ready_log(Shape::of(Op::Put(key, value)))?;
            self.shared.commit_one(&mut log, Op::Put(key, value))?;
            log.end.last_seq
        };
        self.shared.settle(seq, false)
    }

    /// As [`Store::put`], or `None` where that would wait for a lock, a system call or a flush.
    #[inline]
    pub fn try_put(&self, key: i64, value: &[u8]) -> Option<Result<()>> {
        if value.len() > QUICK_VALUE_BYTES {
            return None;
        }
        self.shared.try_commit_one(Op::Put(key, value)).map(|done| done.map(|_| ()))
    }

    /// Removes a key; whether it was there. O(log n).
    pub fn delete(&self, key: i64) -> Result<bool> {
        self.shared.check_writable()?;
        // What is not there needs no room in the log.
        if !self.contains(key)? {
            return Ok(false);
        }
        let delete = Op::Delete(key);
        Ok(self.change(delete, |shared| Ok(shared.contains(key)?.then_some(delete)))?.is_some())
    }

    /// As [`Store::delete`], or `None` where that would wait.
    pub fn try_delete(&self, key: i64) -> Option<Result<bool>> {
        self.shared.try_commit_one(Op::Delete(key))
    }

    /// Removes a key and returns its value, in one commit.
    pub fn take(&self, key: i64) -> Result<Option<Value>> {
        let mut taken = None;
        self.change(Op::Delete(key), |shared| {
            taken = shared.value_of(key)?;
            Ok(taken.is_some().then_some(Op::Delete(key)))
        })?;
        Ok(taken)
    }

    /// Removes and returns the first or the last item, in one commit.
    pub fn take_end(&self, last: bool) -> Result<Option<(i64, Value)>> {
        let mut taken = None;
        self.change(Op::Delete(0), |shared| {
            taken = shared.item(|state| if last { state.index.last() } else { state.index.first() })?;
            Ok(taken.as_ref().map(|(key, _)| Op::Delete(*key)))
        })?;
        Ok(taken)
    }

    /// Puts only where the key is absent; the value that is there already, `None` if it put.
    pub fn get_or_put(&self, key: i64, value: &[u8]) -> Result<Option<Value>> {
        check_value(value)?;
        let mut there = None;
        self.change(Op::Put(key, value), |shared| {
            there = shared.value_of(key)?;
            Ok(there.is_none().then_some(Op::Put(key, value)))
        })?;
        Ok(there)
    }

    /// Puts `new` only where the value equals `expected`; `None` means absent on both sides. Whether it
    /// did.
    pub fn compare_and_set(&self, key: i64, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        new.map_or(Ok(()), check_value)?;
        let mut equal = false;
        let largest = new.map_or(Op::Delete(key), |new| Op::Put(key, new));
        self.change(largest, |shared| {
            let current = shared.value_of(key)?;
            equal = current.as_deref() == expected;
            Ok(match (equal, new, &current) {
                (true, Some(new), _) => Some(Op::Put(key, new)),
                (true, None, Some(_)) => Some(Op::Delete(key)),
                _ => None,
            })
        })?;
        Ok(equal)
    }

    /// Puts many values in one atomic commit; the number of distinct keys. The last duplicate wins.
    pub fn put_many<V: ValueSource + ?Sized>(&self, keys: &[i64], values: &V, sync: bool) -> Result<u64> {
        if keys.len() != values.len() {
            return Err(Error::Invalid(format!(
                "there are {} keys and {} values; each key needs one value",
                keys.len(),
                values.len()
            )));
        }
        let mut bytes = 0;
        for i in 0..keys.len() {
            let value = values.get(i);
            check_value(value)?;
            bytes += size_of_record(value.len() as u64);
        }
        if keys.is_empty() {
            return self.shared.log_if_writable().map(|_| 0);
        }
        let shape = Shape { records: keys.len() as u64, bytes, frees: false };
        // All of it before anything is written: from there on there is no turning back.
        let mut locations = with_room(keys.len())?;
        let mut dead = with_room(keys.len())?;
        let mut rebuilt = false;
        let seq = {
            let mut log = self.shared.ready_log(shape)?;
            // After the log's room was made, which takes memory too.
            probe_index(keys.len())?;
            let ops = keys.iter().enumerate().map(|(i, &key)| {
                values.prefetch(i);
                Op::Put(key, values.get(i))
            });
            let before = self.shared.append(&mut log, ops, shape, |location| locations.push(location.0))?;
            let absorbed = self.shared.absorb(
                &mut log,
                before,
                |state| state.before_puts(keys),
                |state| state.put_many(keys, &locations, &mut dead),
            )?;
            if let Some(((), segments)) = absorbed {
                if let Some(active) = &log.active {
                    active.count_live(bytes);
                }
                segments.count_dead(&dead);
            } else {
                rebuilt = true;
            }
            self.shared.published(&mut log)
        };
        // A replaced record of this very commit, which lies in one segment, was a duplicate among `keys`.
        let here =
            locations.first().copied().unwrap_or_default()..=locations.last().copied().unwrap_or_default();
        let replaced_here = if rebuilt {
            keys.len() - keys.iter().collect::<HashSet<_>>().len()
        } else {
            dead.iter().filter(|dead| here.contains(&dead.0)).count()
        };
        self.shared.settle(seq, sync)?;
        Ok((keys.len() - replaced_here) as u64)
    }

    /// Removes many keys in one atomic commit; how many were there.
    pub fn delete_many(&self, keys: &[i64]) -> Result<u64> {
        let mut keys = copy_of(keys)?;
        keys.sort_unstable();
        keys.dedup();
        let most = keys.len() as u64;
        let most = Shape { records: most, bytes: most * size_of_record(0), frees: true };
        let mut there = with_room(keys.len())?;
        let mut log = self.shared.mending(|| {
            let log =
                if keys.is_empty() { self.shared.log_if_writable()? } else { self.shared.ready_log(most)? };
            there.clear();
            self.shared.read_state()?.index.get_many(&keys, |i, found| {
                if found.is_some() {
                    there.push(keys[i]);
                }
            })?;
            Ok(log)
        })?;
        if there.is_empty() {
            return Ok(0);
        }
        let count = there.len() as u64;
        let ops = there.iter().map(|&key| Op::Delete(key));
        let shape = Shape { records: count, bytes: count * size_of_record(0), frees: true };
        let seq = self.shared.commit_ops(&mut log, &ops, shape)?;
        drop(log);
        self.shared.settle(seq, false)?;
        Ok(count)
    }

    /// Removes every key of a range in one commit; how many there were. Writes one record.
    pub fn delete_range(&self, start: Bound<i64>, stop: Bound<i64>) -> Result<u64> {
        let first = match start {
            Bound::Included(key) => Some(key),
            Bound::Excluded(key) => key.checked_add(1),
            Bound::Unbounded => Some(i64::MIN),
        };
        let last = match stop {
            Bound::Included(key) => Some(key),
            Bound::Excluded(key) => key.checked_sub(1),
            Bound::Unbounded => Some(i64::MAX),
        };
        let mut count = 0;
        self.change(Op::DeleteRange(0, 0), |shared| {
            let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
            let range = (Bound::Included(first), Bound::Included(last));
            count = shared.read_state()?.index.count(range.0, range.1)? as u64;
            Ok((count > 0).then_some(Op::DeleteRange(first, last)))
        })?;
        Ok(count)
    }

    /// Removes every key in one commit; how many there were.
    pub fn clear(&self) -> Result<u64> {
        self.delete_range(Bound::Unbounded, Bound::Unbounded)
    }

    /// Commits everything in `batch`, or nothing. With `sync` it is on the device when this returns.
    pub fn commit(&self, batch: &Batch, sync: bool) -> Result<()> {
        let ops = (0..batch.len()).map(|i| batch.op(i));
        let shape = Shape {
            records: batch.len() as u64,
            bytes: ops.clone().map(op_bytes).sum(),
            frees: !ops.clone().any(|op| matches!(op, Op::Put(..))),
        };
        if batch.is_empty() {
            return self.shared.log_if_writable().map(|_| ());
        }
        let seq = {
            let mut log = self.shared.ready_log(shape)?;
            self.shared.commit_ops(&mut log, &ops, shape)?
        };
        self.shared.settle(seq, sync)
    }

    /// Commits the operation that `decide` finds, looking at the store as nobody else can change it. Its
    /// record is no longer than that of `largest`.
    fn change<'a>(
        &self,
        largest: Op<'_>,
        mut decide: impl FnMut(&Shared) -> Result<Option<Op<'a>>>,
    ) -> Result<Option<()>> {
        let seq = {
            let (mut log, op) = self.shared.mending(|| {
                let log = self.shared.ready_log(Shape::of(largest))?;
                Ok((log, decide(&self.shared)?))
            })?;
            let Some(op) = op else { return Ok(None) };
            debug_assert!(op_bytes(op) <= op_bytes(largest), "room was made for what is written");
            self.shared.commit_one(&mut log, op)?;
            log.end.last_seq
        };
        self.shared.settle(seq, false)?;
        Ok(Some(()))
    }
}

impl Shape {
    fn of(op: Op<'_>) -> Self {
        Self { records: 1, bytes: op_bytes(op), frees: !matches!(op, Op::Put(..)) }
    }
}

impl Shared {
    fn log_if_writable(&self) -> Result<CommitGuard<'_, Log>> {
        // Before the lock, too: in a forked child nobody may be there to let it go.
        self.check_usable()?;
        let log = self.log.lock();
        self.check_writable()?;
        Ok(log)
    }

    /// The commit lock, with room for a commit of this shape. What the disk takes long for happens before
    /// the lock is taken, mostly on the background thread.
    fn ready_log(&self, shape: Shape) -> Result<CommitGuard<'_, Log>> {
        let room = shape.bytes_in_log();
        let mut may_wait = true;
        loop {
            let mut log = self.log_if_writable()?;
            if may_wait
                && !log.flow.is_free()
                && let Some(wait) = self.wait_for_followers(&mut log, room)?
            {
                drop(log);
                may_wait = self.let_follow(wait);
                continue;
            }
            if log.fits(shape) {
                return Ok(log);
            }
            if log.spare_has_room(room) {
                self.roll(&mut log)?;
                return Ok(log);
            }
            drop(log);
            self.prepare_spare(room, shape.frees)?;
        }
    }

    /// Goes on in the spare segment.
    pub(crate) fn roll(&self, log: &mut Log) -> Result<()> {
        let durable_seq = self.watermarks.durable();
        let rolled = log.roll(&self.disk, durable_seq, Origin::Log);
        self.watermarks.note_ended(!log.unsynced.is_empty());
        let segment = rolled.map_err(|error| self.health.after(Failure::of(error)))?;
        Arc::make_mut(&mut self.write_state()?.segments).insert(segment);
        Ok(())
    }

    fn append<'a>(
        &self,
        log: &mut Log,
        ops: impl Iterator<Item = Op<'a>>,
        shape: Shape,
        placed: impl FnMut(Location),
    ) -> Result<LogEnd> {
        let before = log.end;
        let appended = log.append(ops, shape, self.watermarks.durable(), placed);
        if let Err(Error::Io { operation: Operation::Write | Operation::CopyInto, .. }) = &appended {
            // A commit that was refused must stay absent; if that cannot be made sure, nobody knows.
            log.withdraw().map_err(|error| self.health.poison(error))?;
        }
        appended?;
        if self.options.durability == Durability::Sync
            && shape.bytes >= BEGUN_EARLY_BYTES
            && let Some(active) = &log.active
        {
            // While the index learns of the commit.
            active.begin_sync(before.offset, log.end.offset - before.offset);
        }
        Ok(before)
    }

    /// Brings a commit, which the log took in behind `before`, into the index. `None` where the index had to
    /// be built anew: from the log, so that the commit is in it, and in all counts.
    fn absorb<T>(
        &self,
        log: &mut Log,
        before: LogEnd,
        prepare: impl Fn(&mut State) -> Result<(), Damaged>,
        change: impl FnOnce(&mut State) -> Result<T, Damaged>,
    ) -> Result<Option<(T, Arc<Segments>)>> {
        let mut state = self.write_state()?;
        while prepare(&mut state).is_err() {
            // An open scan or a large read has yet to read the index as it was before this commit.
            drop(state);
            self.rebuild_index(log, before)?;
            state = self.write_state()?;
        }
        let changed = change(&mut state);
        let segments = Arc::clone(&state.segments);
        drop(state);
        if let Ok(changed) = changed {
            return Ok(Some((changed, segments)));
        }
        let end = log.end;
        self.rebuild_index(log, end)?;
        Ok(None)
    }

    /// Tells everyone how far the log goes now.
    #[inline]
    fn published(&self, log: &mut Log) -> u64 {
        self.watermarks.reached(log.end.last_seq);
        if log.wants_spare() {
            self.threads.preparer.ring();
        }
        if log.images.wants_checkpoint() {
            self.threads.checkpointer.ring();
        }
        if log.flow.written() >= log.look_at {
            log.look_at = log.flow.written() + LOOK_BYTES;
            self.threads.compactor.ring();
        }
        log.end.last_seq
    }

    /// The memory that bringing a commit into the index takes.
    fn prepared<'a>(
        &self,
        log: &mut Log,
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
                let end = log.end;
                self.rebuild_index(log, end)?;
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
    fn commit_one(&self, log: &mut Log, op: Op<'_>) -> Result<()> {
        self.commit_ops(log, &std::iter::once(op), Shape::of(op)).map(|_| ())
    }

    /// Any operations, for which there is room; the sequence of the last.
    fn commit_ops<'a>(
        &self,
        log: &mut Log,
        ops: &(impl Iterator<Item = Op<'a>> + Clone),
        shape: Shape,
    ) -> Result<u64> {
        let Prepared { mut locations, mut dead, mut range } = self.prepared(log, ops.clone(), shape)?;
        let before = self.append(log, ops.clone(), shape, |location| locations.push(location))?;
        let prepare = |state: &mut State| state.before_change(ops.clone());
        let absorbed = self.absorb(log, before, prepare, |state| {
            let mut live = 0;
            for (op, &location) in ops.clone().zip(&locations) {
                live += apply(state, op, location, &mut dead, &mut range)?;
            }
            Ok(live)
        })?;
        if let Some((live, segments)) = absorbed {
            if let Some(active) = &log.active {
                active.count_live(live);
                active.count_tombstone(shape.bytes - live);
            }
            segments.count_dead(&dead);
        }
        Ok(self.published(log))
    }

    /// A commit that only copies a few bytes into memory, or `None`; false if there was nothing to delete.
    #[inline]
    fn try_commit_one(&self, op: Op<'_>) -> Option<Result<bool>> {
        let mut log = self.log.try_lock()?;
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
        if self.options.durability == Durability::Sync || !log.fits_without_waiting(shape) || self.flush_due()
        {
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
        if let Err(error) = self.append(&mut log, std::iter::once(op), shape, |location| placed = location) {
            return Some(Err(error));
        }
        let puts = matches!(op, Op::Put(..));
        let old = if puts { state.put(key, placed) } else { state.delete(key) };
        let Ok(old) = old else {
            drop(state);
            let end = log.end;
            let rebuilt = self.rebuild_index(&mut log, end);
            self.published(&mut log);
            return Some(rebuilt.map(|()| true));
        };
        let dead = old.map(|old| (old, Arc::clone(&state.segments)));
        drop(state);
        if let Some((old, segments)) = dead {
            segments.count_dead(&[old]);
        }
        match &log.active {
            Some(active) if puts => active.count_live(shape.bytes),
            Some(active) => active.count_tombstone(shape.bytes),
            None => {}
        }
        self.published(&mut log);
        Some(Ok(true))
    }

    /// Waits for what the caller was promised.
    fn settle(&self, seq: u64, sync: bool) -> Result<()> {
        if sync || self.options.durability == Durability::Sync {
            self.flush_up_to(seq)?;
        } else if self.flush_due() {
            self.background_flush();
        }
        if !self.options.background {
            self.checkpoint_if_due();
        }
        Ok(())
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
