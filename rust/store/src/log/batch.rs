//! What a commit consists of: one operation, a batch collected by a user, or arrays of keys and values. Knows
//! nothing of records, locks or files.

use crate::error::{Error, Result};
use crate::format::compressed::MAX_VALUE_BYTES;
use crate::keys::Key;
use crate::log::dictionaries::Stored;
use crate::room::room;

/// One operation of a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op<'a> {
    Put(Key, Stored<'a>),
    Delete(Key),
    /// Both ends included.
    DeleteRange(Key, Key),
}

/// The values of a batch write: the i-th value belongs to the i-th key.
pub trait ValueSource: Sync {
    /// How many values there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The i-th value, for i below `len`.
    fn get(&self, i: usize) -> &[u8];

    /// A hint that the values from the i-th on are about to be copied, in order.
    fn prefetch(&self, i: usize) {
        let _ = i;
    }
}

impl<T: AsRef<[u8]> + Sync> ValueSource for [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    fn get(&self, i: usize) -> &[u8] {
        self[i].as_ref()
    }
}

/// Operations that commit together. The last operation on a key wins.
#[derive(Default)]
pub struct Batch {
    entries: Vec<Entry>,
    values: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Entry {
    Put { key: Key, start: usize, len: usize },
    Delete(Key),
    DeleteRange(Key, Key),
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key to a value; the bytes are copied.
    pub fn put(&mut self, key: Key, value: &[u8]) -> Result<()> {
        check_value(value)?;
        room(&mut self.values, value.len())?;
        room(&mut self.entries, 1)?;
        let start = self.values.len();
        self.values.extend_from_slice(value);
        self.entries.push(Entry::Put { key, start, len: value.len() });
        Ok(())
    }

    /// Makes room for this many further operations.
    pub fn reserve(&mut self, operations: usize) -> Result<()> {
        room(&mut self.entries, operations)
    }

    /// Removes a key, which need not exist.
    pub fn delete(&mut self, key: Key) {
        self.entries.push(Entry::Delete(key));
    }

    /// Drops the operations from the `len`-th on.
    pub fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
        let end = self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Put { start, len, .. } => Some(start + len),
            Entry::Delete(_) | Entry::DeleteRange(..) => None,
        });
        self.values.truncate(end.unwrap_or_default());
    }

    /// Removes every key from `first` to `last`, both included.
    pub fn delete_range(&mut self, first: Key, last: Key) {
        if first <= last {
            self.entries.push(Entry::DeleteRange(first, last));
        }
    }

    /// How many operations the batch holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the batch is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops every operation.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.values.clear();
    }

    /// The i-th operation; `value` is the i-th value as it is to be stored.
    pub(crate) fn op<'a>(&self, i: usize, value: Stored<'a>) -> Op<'a> {
        match self.entries[i] {
            Entry::Put { key, .. } => Op::Put(key, value),
            Entry::Delete(key) => Op::Delete(key),
            Entry::DeleteRange(first, last) => Op::DeleteRange(first, last),
        }
    }
}

/// The values of a batch; what removes something has an empty one.
impl ValueSource for Batch {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, i: usize) -> &[u8] {
        match self.entries[i] {
            Entry::Put { start, len, .. } => &self.values[start..start + len],
            Entry::Delete(_) | Entry::DeleteRange(..) => &[],
        }
    }
}

/// Rejects a value that is too long for a record.
pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    if value.len() as u64 > MAX_VALUE_BYTES {
        return Err(Error::Invalid(format!(
            "a value holds at most {MAX_VALUE_BYTES} bytes, this one has {}",
            value.len()
        )));
    }
    Ok(())
}
