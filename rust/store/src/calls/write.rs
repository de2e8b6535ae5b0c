//! Writing: each call is one commit. If a call waits for a flush, it does so after the commit lock is
//! released. A call that fails before its commit changes nothing.

use std::ops::Bound;

use crate::calls::store::Store;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::format::record::size_of_record;
use crate::log::append::{Shape, op_bytes};
use crate::log::batch::{Batch, Op, ValueSource, check_value};
use crate::options::Durability;
use crate::room::{copy_of, with_room};
use crate::values::value::Value;

/// The longest value that is copied while the caller keeps other threads of its interpreter waiting.
const QUICK_VALUE_BYTES: usize = 4096;

impl Store {
    /// Sets a key to a value. O(log n + bytes).
    pub fn put(&self, key: i64, value: &[u8]) -> Result<()> {
        check_value(value)?;
        let seq = {
            let mut writing = self.shared.ready_log(Shape::of(Op::Put(key, value)))?;
            self.shared.commit_one(&mut writing, Op::Put(key, value))?;
            writing.log.end.last_seq
        };
        self.settle(seq, false)
    }

    /// Like [`Store::put`], but returns `None` instead of waiting for a lock, a system call or a flush.
    #[inline]
    pub fn try_put(&self, key: i64, value: &[u8]) -> Option<Result<()>> {
        if value.len() > QUICK_VALUE_BYTES {
            return None;
        }
        self.shared.try_commit_one(Op::Put(key, value)).map(|done| done.map(|_| ()))
    }

    /// Removes a key. Returns whether it existed. O(log n).
    pub fn delete(&self, key: i64) -> Result<bool> {
        self.shared.check_writable()?;
        // A missing key needs no room in the log.
        if !self.contains(key)? {
            return Ok(false);
        }
        let delete = Op::Delete(key);
        Ok(self
            .change(delete, |shared| Ok(shared.read_parts()?.index.contains(key)?.then_some(delete)))?
            .is_some())
    }

    /// Like [`Store::delete`], but returns `None` instead of waiting.
    pub fn try_delete(&self, key: i64) -> Option<Result<bool>> {
        self.shared.try_commit_one(Op::Delete(key))
    }

    /// Removes a key and returns its value, in one commit.
    pub fn take(&self, key: i64) -> Result<Option<Value>> {
        let mut taken = None;
        self.change(Op::Delete(key), |shared| {
            taken = shared.value_of(key, None)?;
            Ok(taken.is_some().then_some(Op::Delete(key)))
        })?;
        Ok(taken)
    }

    /// Removes and returns the first or the last item, in one commit.
    pub fn take_end(&self, last: bool) -> Result<Option<(i64, Value)>> {
        let mut taken = None;
        self.change(Op::Delete(0), |shared| {
            taken = shared.item(|index| if last { index.last() } else { index.first() })?;
            Ok(taken.as_ref().map(|(key, _)| Op::Delete(*key)))
        })?;
        Ok(taken)
    }

    /// Puts only if the key is absent. Returns the existing value, or `None` if it put.
    pub fn get_or_put(&self, key: i64, value: &[u8]) -> Result<Option<Value>> {
        check_value(value)?;
        let mut there = None;
        self.change(Op::Put(key, value), |shared| {
            there = shared.value_of(key, None)?;
            Ok(there.is_none().then_some(Op::Put(key, value)))
        })?;
        Ok(there)
    }

    /// Puts `new` only if the value equals `expected`; `None` means absent on both sides. Returns whether it
    /// did.
    pub fn compare_and_set(&self, key: i64, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        new.map_or(Ok(()), check_value)?;
        let mut equal = false;
        let largest = new.map_or(Op::Delete(key), |new| Op::Put(key, new));
        self.change(largest, |shared| {
            let current = shared.value_of(key, None)?;
            equal = current.as_deref() == expected;
            Ok(match (equal, new, &current) {
                (true, Some(new), _) => Some(Op::Put(key, new)),
                (true, None, Some(_)) => Some(Op::Delete(key)),
                _ => None,
            })
        })?;
        Ok(equal)
    }

    /// Puts many values in one atomic commit. Returns the number of distinct keys. The last duplicate wins.
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
        let (seq, distinct) = self.shared.commit_puts(keys, values, shape)?;
        self.settle(seq, sync)?;
        Ok(distinct)
    }

    /// Removes many keys in one atomic commit. Returns how many existed.
    pub fn delete_many(&self, keys: &[i64]) -> Result<u64> {
        let mut keys = copy_of(keys)?;
        keys.sort_unstable();
        keys.dedup();
        let most = keys.len() as u64;
        let most = Shape { records: most, bytes: most * size_of_record(0), frees: true };
        let mut there = with_room(keys.len())?;
        let mut writing = self.shared.mending(|| {
            let writing =
                if keys.is_empty() { self.shared.log_if_writable()? } else { self.shared.ready_log(most)? };
            there.clear();
            self.shared.read_state()?.index.get_many(&keys, |i, found| {
                if found.is_some() {
                    there.push(keys[i]);
                }
            })?;
            Ok(writing)
        })?;
        if there.is_empty() {
            return Ok(0);
        }
        let count = there.len() as u64;
        let ops = there.iter().map(|&key| Op::Delete(key));
        let shape = Shape { records: count, bytes: count * size_of_record(0), frees: true };
        let seq = self.shared.commit_ops(&mut writing, &ops, shape)?;
        drop(writing);
        self.settle(seq, false)?;
        Ok(count)
    }

    /// Removes every key of a range in one commit. Returns how many existed. Writes one record.
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

    /// Removes every key in one commit. Returns how many existed.
    pub fn clear(&self) -> Result<u64> {
        self.delete_range(Bound::Unbounded, Bound::Unbounded)
    }

    /// Commits everything in `batch`, or nothing. With `sync`, it is on the device when this returns.
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
            let mut writing = self.shared.ready_log(shape)?;
            self.shared.commit_ops(&mut writing, &ops, shape)?
        };
        self.settle(seq, sync)
    }

    /// Commits the operation that `decide` chooses while nobody else can change the store. Its record is no
    /// longer than that of `largest`.
    fn change<'a>(
        &self,
        largest: Op<'_>,
        mut decide: impl FnMut(&Shared) -> Result<Option<Op<'a>>>,
    ) -> Result<Option<()>> {
        let seq = {
            let (mut writing, op) = self.shared.mending(|| {
                let writing = self.shared.ready_log(Shape::of(largest))?;
                Ok((writing, decide(&self.shared)?))
            })?;
            let Some(op) = op else { return Ok(None) };
            debug_assert!(op_bytes(op) <= op_bytes(largest), "room was made for what is written");
            self.shared.commit_one(&mut writing, op)?;
            writing.log.end.last_seq
        };
        self.settle(seq, false)?;
        Ok(Some(()))
    }

    /// Makes a commit as durable as the caller was promised.
    pub(super) fn settle(&self, seq: u64, sync: bool) -> Result<()> {
        if sync || self.shared.options.durability == Durability::Sync {
            self.shared.flush_in_place(seq)?;
        } else if self.shared.flush_due() {
            self.shared.background_flush();
        }
        if !self.shared.options.background {
            self.shared.checkpoint_if_due();
        }
        Ok(())
    }
}
