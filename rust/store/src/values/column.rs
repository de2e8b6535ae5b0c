//! Many values as one column: their bytes one after another, and the offset of each. This is the layout of
//! Arrow's `LargeBinary`, so nothing is converted on the way out. Knows nothing of stores.
//!
//! Several threads can fill a column at once. If all values are as long as guessed, each thread writes them
//! to their final place, and nothing is copied or allocated twice.
#![allow(unsafe_code)]

use std::mem::{MaybeUninit, take};
use std::ops::Range;

use crate::error::Result;
use crate::format::compressed::WriteBuf;
use crate::room::{room, with_room};
use crate::values::parallel;

/// A guess never allocates more than this. Pages that nobody writes to take no memory.
const MOST_GUESSED_BYTES: usize = 1 << 30;

/// From this many bytes on, fresh memory is asked for in huge pages: to touch it by the small page can take longer than to
/// read what is written there.
const HUGE_FROM_BYTES: usize = 1 << 22;

/// Values of any lengths; value `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueColumn {
    data: Vec<u8>,
    offsets: Vec<i64>,
}

impl Default for ValueColumn {
    fn default() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }
}

impl ValueColumn {
    /// An empty column with room for `rows` values.
    pub fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows.saturating_add(1));
        offsets.push(0);
        Self { data: Vec::new(), offsets }
    }

    /// Like [`ValueColumn::with_capacity`], but returns an error if there is no memory.
    pub fn with_room(rows: usize) -> Result<Self> {
        let mut offsets = with_room(rows.saturating_add(1))?;
        offsets.push(0);
        Ok(Self { data: Vec::new(), offsets })
    }

    /// Values of several columns in one: each row says which column, and which of its values. O(bytes).
    ///
    /// # Panics
    /// There is no such column or value.
    pub fn joined(columns: &[&Self], rows: &[(usize, usize)]) -> Result<Self> {
        let values =
            || rows.iter().map(|&(column, row)| columns[column].get(row).expect("a value of the column"));
        let mut joined = Self::with_room(rows.len())?;
        joined.data = with_room(values().map(<[u8]>::len).sum())?;
        for value in values() {
            joined.data.extend_from_slice(value);
            joined.offsets.push(joined.data.len() as i64);
        }
        Ok(joined)
    }

    /// The bytes of all values.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where each value begins, and where the last one ends: never empty, ascending from 0.
    pub fn offsets(&self) -> &[i64] {
        &self.offsets
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The i-th value.
    pub fn get(&self, i: usize) -> Option<&[u8]> {
        let (start, end) = (*self.offsets.get(i)?, *self.offsets.get(i + 1)?);
        self.data.get(start as usize..end as usize)
    }

    /// Appends what `read` pushes for each of `parts`, in their order. Returns what `read` returned for each.
    /// Each part states how many values it has, and is read on a thread of its own. `width` is the likely
    /// length of most values, or 0 if unknown. After an error the column is unchanged. O(bytes).
    pub(crate) fn append_parts<I: Send, T: Send>(
        &mut self,
        width: usize,
        parts: Vec<(usize, I)>,
        read: impl Fn(I, &mut Part<'_>) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let rows: usize = parts.iter().map(|(rows, _)| rows).sum();
        let guessed = rows.checked_mul(width).filter(|&bytes| bytes <= MOST_GUESSED_BYTES).unwrap_or(0);
        let width = if self.data.try_reserve(guessed).is_ok() && guessed > 0 { width } else { 0 };
        let mut end = self.data.len() as i64;
        let mut spare = self.data.spare_capacity_mut();
        ask_for_huge_pages(spare);
        let mut start = 0;
        let parts = parts.into_iter().map(|(rows, input)| {
            let (own, rest) = take(&mut spare).split_at_mut(rows * width);
            spare = rest;
            let part = Part { start, room: own, filled: 0, more: Vec::new(), ends: Vec::new() };
            start += rows * width;
            (input, part, rows)
        });
        let read = parallel::map(parts, |(input, mut part, rows)| {
            part.ends = with_room(rows)?;
            read(input, &mut part).map(|got| (part, got))
        });
        let read = read.into_iter().collect::<Result<Vec<_>>>()?;
        room(&mut self.offsets, rows)?;
        if read.iter().any(|(part, _)| !part.more.is_empty()) {
            let mut outcomes = Vec::with_capacity(read.len());
            let copies = read.into_iter().map(|(part, outcome)| {
                outcomes.push(outcome);
                part.into_bytes()
            });
            let copies = copies.collect::<Result<Vec<_>>>()?;
            self.append_copies(copies)?;
            return Ok(outcomes);
        }
        for (part, _) in &read {
            self.offsets.extend(part.ends.iter().map(|&own| end + own));
            end += part.len() as i64;
        }
        let mut outcomes = Vec::with_capacity(read.len());
        let filled = read.into_iter().map(|(part, outcome)| {
            outcomes.push(outcome);
            part.start..part.start + part.filled
        });
        let filled = filled.collect();
        self.close_up(filled);
        if self.data.capacity() / 4 > self.data.len() {
            // The guess was far too long.
            self.data.shrink_to_fit();
        }
        Ok(outcomes)
    }

    /// Appends the values that parts copied, with their ends, for which there is already room.
    fn append_copies(&mut self, mut copies: Vec<(Vec<u8>, Vec<i64>)>) -> Result<()> {
        let mut bytes: usize = copies.iter().map(|(bytes, _)| bytes.len()).sum();
        let mut end = self.data.len() as i64;
        let mut done = 0;
        if self.data.is_empty()
            && let Some((first, _)) = copies.first_mut()
        {
            bytes -= first.len();
            room(first, bytes)?;
            self.data = take(first);
            done = 1;
        } else {
            room(&mut self.data, bytes)?;
        }
        for (number, (bytes, ends)) in copies.into_iter().enumerate() {
            if number >= done {
                self.data.extend_from_slice(&bytes);
            }
            self.offsets.extend(ends.iter().map(|own| end + own));
            end += ends.last().copied().unwrap_or_default();
        }
        Ok(())
    }

    /// Takes over what parts wrote behind the data; `filled` holds their ranges, counted from its end.
    fn close_up(&mut self, filled: Vec<Range<usize>>) {
        let room = self.data.spare_capacity_mut();
        let mut end = 0;
        for own in filled {
            let len = own.len();
            if own.start != end {
                room.copy_within(own, end);
            }
            end += len;
        }
        let end = self.data.len() + end;
        // SAFETY: each range is the written part of a part's room. The ranges lie within the capacity in
        // ascending order, and each was moved to where the one before it ends, so all bytes up to `end` are
        // initialised.
        unsafe { self.data.set_len(end) };
    }
}

/// Lets the system back large memory that nobody has touched yet with huge pages, if it likes.
fn ask_for_huge_pages(memory: &mut [MaybeUninit<u8>]) {
    const PAGE: usize = 1 << 12;
    if memory.len() < HUGE_FROM_BYTES {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        let start = memory.as_mut_ptr().align_offset(PAGE);
        let whole = (memory.len() - start) / PAGE * PAGE;
        // SAFETY: `memory` is longer than a page, as was tested above, so `start` and the `whole` pages behind it lie in
        // it; the advice changes nothing of what is in them or next to them. A refusal leaves small pages.
        unsafe {
            let pages = memory.as_mut_ptr().add(start).cast();
            let _ = rustix::mm::madvise(pages, whole, rustix::mm::Advice::LinuxHugepage);
        }
    }
}

/// The values that one thread appends.
pub(crate) struct Part<'c> {
    /// Where `room` begins, counted from the end of the column's data.
    start: usize,
    /// Memory of the column, for values as far as they fit.
    room: &'c mut [MaybeUninit<u8>],
    /// This many bytes of `room` are written.
    filled: usize,
    /// The first value that did not fit, and all values after it.
    more: Vec<u8>,
    /// Where each value ends, counted from the beginning of the part.
    ends: Vec<i64>,
}

/// The place of one value, not yet written.
pub(crate) struct Unwritten<'c> {
    place: &'c mut [MaybeUninit<u8>],
    /// So many of its first bytes are written.
    written: usize,
}

// SAFETY: pointer and capacity are those of `place`, and the slice is the part of it that was said to be written.
unsafe impl WriteBuf for Unwritten<'_> {
    fn as_slice(&self) -> &[u8] {
        let written = &self.place[..self.written];
        // SAFETY: `filled_until` was told that these bytes are initialised.
        unsafe { std::slice::from_raw_parts(written.as_ptr().cast::<u8>(), written.len()) }
    }

    fn capacity(&self) -> usize {
        self.place.len()
    }

    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.place.as_mut_ptr().cast::<u8>()
    }

    // SAFETY: by the trait's contract the first `n` bytes are initialised, which `as_slice` relies on.
    unsafe fn filled_until(&mut self, n: usize) {
        self.written = n;
    }
}

impl Part<'_> {
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<()> {
        let end = self.filled + value.len();
        match self.room.get_mut(self.filled..end) {
            Some(room) if self.more.is_empty() => {
                // SAFETY: both are `value.len()` long, and only this part has the memory of the room. Memory that
                // may be uninitialised accepts any bytes.
                unsafe {
                    room.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(value.as_ptr(), value.len());
                };
                self.filled = end;
            }
            _ => {
                room(&mut self.more, value.len())?;
                self.more.extend_from_slice(value);
            }
        }
        self.end_value()
    }

    /// Like [`Part::push`], of a value of `len` bytes that `write` writes to its place. After an error the part is of no
    /// use.
    pub(crate) fn push_written(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut Unwritten<'_>) -> Result<()>,
    ) -> Result<()> {
        let end = self.filled + len;
        let fits = self.more.is_empty() && end <= self.room.len();
        if !fits {
            room(&mut self.more, len)?;
        }
        let place = if fits { &mut self.room[self.filled..end] } else { self.more.spare_capacity_mut() };
        let mut place = Unwritten { place: &mut place[..len], written: 0 };
        write(&mut place)?;
        assert_eq!(place.written, len, "the whole value is written");
        if fits {
            self.filled = end;
        } else {
            // SAFETY: so many bytes behind the end were just written.
            unsafe { self.more.set_len(self.more.len() + len) };
        }
        self.end_value()
    }

    #[inline]
    fn end_value(&mut self) -> Result<()> {
        room(&mut self.ends, 1)?;
        self.ends.push(self.len() as i64);
        Ok(())
    }

    fn len(&self) -> usize {
        self.filled + self.more.len()
    }

    /// All bytes of the part, in memory outside the column, and where each value ends.
    fn into_bytes(self) -> Result<(Vec<u8>, Vec<i64>)> {
        if self.filled == 0 {
            return Ok((self.more, self.ends));
        }
        let filled = &self.room[..self.filled];
        // SAFETY: `push` has written this many bytes, one value after another.
        let filled = unsafe { std::slice::from_raw_parts(filled.as_ptr().cast::<u8>(), filled.len()) };
        let mut bytes = with_room(filled.len() + self.more.len())?;
        bytes.extend_from_slice(filled);
        bytes.extend_from_slice(&self.more);
        Ok((bytes, self.ends))
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_GUESSED_BYTES, ValueColumn};
    use crate::error::Error;

    /// Appends `parts` of values to a column, with a guess, and compares the column with the values one by
    /// one.
    fn check(width: usize, calls: &[&[&[&[u8]]]]) {
        let mut column = ValueColumn::default();
        let mut expected: Vec<&[u8]> = Vec::new();
        for &parts in calls {
            let inputs = parts.iter().map(|&values| (values.len(), values)).collect();
            let outcomes = column.append_parts(width, inputs, |values, part| {
                values.iter().try_for_each(|value| part.push(value))?;
                Ok(values.len())
            });
            assert_eq!(outcomes.expect("no error"), parts.iter().map(|part| part.len()).collect::<Vec<_>>());
            expected.extend(parts.iter().copied().flatten());
            assert_eq!(column.len(), expected.len());
            for (i, value) in expected.iter().enumerate() {
                assert_eq!(column.get(i), Some(*value), "value {i}, guessed {width}, {calls:?}");
            }
            assert_eq!(column.data(), expected.concat());
        }
    }

    #[test]
    fn values_are_one_after_another_whatever_was_guessed() {
        let equal: &[&[&[u8]]] = &[&[b"aaa", b"bbb"], &[b"ccc"], &[b"ddd", b"eee"]];
        let missing: &[&[&[u8]]] = &[&[b"", b"bbb"], &[b""], &[b"ddd", b""], &[b"fff"]];
        let shorter: &[&[&[u8]]] = &[&[b"a", b"bb"], &[b"ccc"], &[b"d", b"e"]];
        let longer: &[&[&[u8]]] = &[&[b"aaa"], &[b"bbb", b"cccccccc", b"d"], &[b"eee", b"f"]];
        let first_longer: &[&[&[u8]]] = &[&[b"aaaaaaaaaaaaaaaaaaaaaaa", b""], &[b"bbb"], &[b"", b"ccc"]];
        let empty: &[&[&[u8]]] = &[&[], &[b"", b""], &[]];
        let cases = [equal, missing, shorter, longer, first_longer, empty];
        for width in [0, 1, 2, 3, 4, 100, MOST_GUESSED_BYTES, usize::MAX] {
            for first in cases {
                check(width, &[first]);
                for second in cases {
                    check(width, &[first, second, first]);
                }
            }
        }
        check(3, &[&[]]);
    }

    #[test]
    fn an_error_leaves_the_column_as_it_was() {
        let mut column = ValueColumn::default();
        let filled = column.append_parts(2, vec![(2, [&b"aa"[..], b"bb"])], |values, part| {
            part.push(values[0])?;
            part.push(values[1])
        });
        filled.expect("no error");
        let before = column.clone();
        for width in [0, 1, 2] {
            let failed = column.append_parts(width, vec![(1, true), (1, false)], |good, part| {
                part.push(b"cc")?;
                if good { Ok(()) } else { Err(Error::Invalid("no".to_owned())) }
            });
            assert!(matches!(failed, Err(Error::Invalid(_))));
            assert_eq!(column, before);
        }
    }
}
