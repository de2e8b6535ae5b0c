//! Writing: each call is one commit. If a call waits for a flush, it does so after the commit lock is
//! released. A call that fails before its commit changes nothing.

use std::ops::Bound;

use crate::calls::store::Store;
use crate::engine::shared::Shared;
use crate::error::{Error, Result};
use crate::keys::{Key, KeyVec, Keys};
use crate::log::append::{Shape, op_bytes};
use crate::log::batch::{Batch, Op, ValueSource, check_value};
use crate::options::Durability;
use crate::room::with_room;
use crate::values::value::Value;

/// The longest value that is copied while the caller keeps other threads of its interpreter waiting.
const QUICK_VALUE_BYTES: usize = 4096;

impl Store {
    /// Sets a key to a value. O(log n + bytes).
    pub fn put(&self, key: impl Into<Key>, value: &[u8]) -> Result<()> {
        let key = key.into();
        self.shared.check_key(key)?;
        check_value(value)?;
        self.shared.check_usable()?;
        let one = self.shared.compressor.one(value)?;
        let put = Op::Put(key, one.stored(value));
        let seq = {
            let mut writing = self.shared.ready_log(self.shape_of(put))?;
            self.shared.commit_one(&mut writing, put)?;
            writing.log.end.last_seq
        };
        self.settle(seq, false)
    }

    /// Like [`Store::put`], but returns `None` instead of waiting for a lock, a system call or a flush.
    #[inline]
    pub fn try_put(&self, key: impl Into<Key>, value: &[u8]) -> Option<Result<()>> {
        let key = key.into();
        if value.len() > QUICK_VALUE_BYTES || !self.shared.opened.schema.key.has(key) {
            return None;
        }
        let compressor = &self.shared.compressor;
        if compressor.is_on() && (self.shared.check_usable().is_err() || compressor.trains_with(value)) {
            return None;
        }
        let one = match compressor.one(value) {
            Ok(one) => one,
            Err(error) => return Some(Err(error)),
        };
        self.shared.try_commit_one(Op::Put(key, one.stored(value))).map(|done| done.map(|_| ()))
    }

    /// Removes a key. Returns whether it existed. O(log n).
    pub fn delete(&self, key: impl Into<Key>) -> Result<bool> {
        let key = key.into();
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
    pub fn try_delete(&self, key: impl Into<Key>) -> Option<Result<bool>> {
        let key = key.into();
        self.shared.try_commit_one(Op::Delete(key))
    }

    /// Removes a key and returns its value, in one commit.
    pub fn take(&self, key: impl Into<Key>) -> Result<Option<Value>> {
        let key = key.into();
        let mut taken = None;
        self.change(Op::Delete(key), |shared| {
            taken = shared.value_of(key, None)?;
            Ok(taken.is_some().then_some(Op::Delete(key)))
        })?;
        Ok(taken)
    }

    /// Removes and returns the first or the last item, in one commit.
    pub fn take_end(&self, last: bool) -> Result<Option<(Key, Value)>> {
        let mut taken = None;
        self.change(Op::Delete(0), |shared| {
            taken = shared.item(|index| if last { index.last() } else { index.first() })?;
            Ok(taken.as_ref().map(|(key, _)| Op::Delete(*key)))
        })?;
        Ok(taken)
    }

    /// Puts only if the key is absent. Returns the existing value, or `None` if it put.
    pub fn get_or_put(&self, key: impl Into<Key>, value: &[u8]) -> Result<Option<Value>> {
        let key = key.into();
        self.shared.check_key(key)?;
        check_value(value)?;
        self.shared.check_usable()?;
        let one = self.shared.compressor.one(value)?;
        let put = Op::Put(key, one.stored(value));
        let mut there = None;
        self.change(put, |shared| {
            there = shared.value_of(key, None)?;
            Ok(there.is_none().then_some(put))
        })?;
        Ok(there)
    }

    /// Puts `new` only if the value equals `expected`; `None` means absent on both sides. Returns whether it
    /// did.
    pub fn compare_and_set(
        &self,
        key: impl Into<Key>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let key = key.into();
        self.shared.check_key(key)?;
        new.map_or(Ok(()), check_value)?;
        self.shared.check_usable()?;
        let one = new.map(|new| self.shared.compressor.one(new)).transpose()?;
        let put = new.zip(one.as_ref()).map(|(new, one)| Op::Put(key, one.stored(new)));
        let mut equal = false;
        self.change(put.unwrap_or(Op::Delete(key)), |shared| {
            let current = shared.value_of(key, None)?;
            equal = current.as_deref() == expected;
            Ok(match (equal, put, &current) {
                (true, Some(put), _) => Some(put),
                (true, None, Some(_)) => Some(Op::Delete(key)),
                _ => None,
            })
        })?;
        Ok(equal)
    }

    /// Puts many values in one atomic commit. Returns the number of distinct keys. The last duplicate wins.
    pub fn put_many<'k, V: ValueSource + ?Sized>(
        &self,
        keys: impl Into<Keys<'k>>,
        values: &V,
        sync: bool,
    ) -> Result<u64> {
        let keys = keys.into();
        if keys.len() != values.len() {
            return Err(Error::Invalid(format!(
                "there are {} keys and {} values; each key needs one value",
                keys.len(),
                values.len()
            )));
        }
        self.shared.check_keys(keys)?;
        let (width, mut bytes) = (self.shared.width(), 0);
        for i in 0..keys.len() {
            let value = values.get(i);
            check_value(value)?;
            bytes += width.size_of_put(value.len() as u64);
        }
        if keys.is_empty() {
            return self.shared.log_if_writable().map(|_| 0);
        }
        self.shared.check_usable()?;
        let values = self.shared.compressor.many(values)?;
        if values.is_compressed() {
            bytes = (0..keys.len()).map(|i| width.size_of_put(values.get(i).len() as u64)).sum();
        }
        let shape = Shape { records: keys.len() as u64, bytes, frees: false, by: values.by.as_ref() };
        let (seq, distinct) = self.shared.commit_puts(keys, &values, shape)?;
        self.settle(seq, sync)?;
        Ok(distinct)
    }

    /// Removes many keys in one atomic commit. Returns how many existed.
    pub fn delete_many<'k>(&self, keys: impl Into<Keys<'k>>) -> Result<u64> {
        let given = keys.into();
        let mut keys = KeyVec::with_room(given.len(), given)?;
        keys.extend(given)?;
        keys.sort_and_dedup();
        let tombstone = self.shared.width().size_of_tombstone();
        let most = keys.len() as u64;
        let most = Shape { records: most, bytes: most * tombstone, frees: true, by: None };
        let mut there = with_room(keys.len())?;
        let mut writing = self.shared.mending(|| {
            let writing =
                if keys.is_empty() { self.shared.log_if_writable()? } else { self.shared.ready_log(most)? };
            there.clear();
            self.shared.read_state()?.index.get_many(keys.as_keys(), |i, found| {
                if found.is_some() {
                    there.push(keys.get(i));
                }
            })?;
            Ok(writing)
        })?;
        if there.is_empty() {
            return Ok(0);
        }
        let count = there.len() as u64;
        let ops = there.iter().map(|&key| Op::Delete(key));
        let shape = Shape { records: count, bytes: count * tombstone, frees: true, by: None };
        let seq = self.shared.commit_ops(&mut writing, &ops, shape)?;
        drop(writing);
        self.settle(seq, false)?;
        Ok(count)
    }

    /// Removes every key of a range in one commit. Returns how many existed. Writes one record.
    pub fn delete_range(&self, start: Bound<Key>, stop: Bound<Key>) -> Result<u64> {
        let (lowest, highest) = self.shared.width().keys();
        let first = match start {
            Bound::Included(key) => Some(key),
            Bound::Excluded(key) => key.checked_add(1),
            Bound::Unbounded => Some(lowest),
        };
        let last = match stop {
            Bound::Included(key) => Some(key),
            Bound::Excluded(key) => key.checked_sub(1),
            Bound::Unbounded => Some(highest),
        };
        let mut count = 0;
        self.change(Op::DeleteRange(0, 0), |shared| {
            let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
            let (first, last) = (first.max(lowest), last.min(highest));
            if first > last {
                return Ok(None);
            }
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
        if batch.is_empty() {
            return self.shared.log_if_writable().map(|_| ());
        }
        self.shared.check_usable()?;
        let values = self.shared.compressor.many(batch)?;
        let ops = (0..batch.len()).map(|i| batch.op(i, values.get(i)));
        let shape = Shape {
            records: batch.len() as u64,
            bytes: ops.clone().map(|op| op_bytes(op, self.shared.width())).sum(),
            frees: !ops.clone().any(|op| matches!(op, Op::Put(..))),
            by: values.by.as_ref(),
        };
        for op in ops.clone() {
            match op {
                Op::Put(key, _) | Op::Delete(key) => self.shared.check_key(key)?,
                Op::DeleteRange(first, last) => {
                    self.shared.check_key(first)?;
                    self.shared.check_key(last)?;
                }
            }
        }
        let seq = {
            let mut writing = self.shared.ready_log(shape)?;
            self.shared.commit_ops(&mut writing, &ops, shape)?
        };
        self.settle(seq, sync)
    }

    fn shape_of<'a>(&self, op: Op<'a>) -> Shape<'a> {
        Shape::of(op, self.shared.width())
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
                let writing = self.shared.ready_log(self.shape_of(largest))?;
                Ok((writing, decide(&self.shared)?))
            })?;
            let Some(op) = op else { return Ok(None) };
            debug_assert!(
                self.shape_of(op).bytes <= self.shape_of(largest).bytes,
                "room was made for what is written"
            );
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
