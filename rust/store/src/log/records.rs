//! One record of a segment at a time: the value of a put, decompressed where it is compressed, with the dictionary that it
//! needs. Knows nothing of where the index says that records are. Reading a value is O(its length).

use std::io::Cursor;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::compressed::{Compressed, Dictionary, WriteBuf};
use crate::format::location::Location;
use crate::format::record::{self, Bad, Record};
use crate::keys::Key;
use crate::log::dictionaries::Loaded;
use crate::log::segment::Segment;
use crate::room::{copy_of, filled, room, with_room};
use crate::schema::Compression;

/// So much of a record tells the length of a compressed value, whatever its key.
const HEAD_BYTES: usize = 48;

/// A value read from a segment.
pub(crate) enum Found<'s> {
    /// It lies in the segment's map, from offset `start` on.
    Mapped {
        /// Offset of the value's first byte.
        start: u64,
        /// Its length in bytes.
        len: u32,
    },
    /// It lies compressed in the segment's map.
    Compressed(Packed<'s>),
    /// It was read by a system call.
    Read(Vec<u8>),
}

/// A compressed value whose record was checked, and whose dictionary was not looked for yet.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'s> {
    pub(crate) segment: &'s Segment,
    /// Where its record is.
    pub(crate) offset: u64,
    pub(crate) key: Key,
    pub(crate) stored: Compressed<'s>,
    /// Length of the value, which the frame could hold.
    pub(crate) len: usize,
}

impl Packed<'_> {
    /// Writes the value into `out`, which holds as many bytes.
    pub(crate) fn copy_to(&self, out: &mut (impl WriteBuf + ?Sized)) -> Result<()> {
        let by = self.segment.dictionary(self.stored.place)?;
        let copied = self.stored.copy_to(out, self.len, by.as_ref().map(|by| &***by))?;
        copied.map_err(|found| self.segment.no_compressed_value(self.offset, self.key, found))
    }

    /// Appends the value. No byte of memory is touched that the frame does not fill.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) -> Result<()> {
        room(out, self.len)?;
        let end = out.len() as u64;
        let mut out = Cursor::new(out);
        out.set_position(end);
        self.copy_to(&mut out)
    }

    /// The value.
    pub(crate) fn value(&self) -> Result<Vec<u8>> {
        let mut value = with_room(self.len)?;
        self.copy_to(&mut value)?;
        Ok(value)
    }
}

impl Segment {
    /// Reads the value of the put of `key` at `offset`.
    #[inline]
    pub(crate) fn value(&self, offset: u64, key: Key, verify: bool) -> Result<Found<'_>> {
        match &self.map {
            Some(map) => {
                let shown = self.shown(map, offset);
                let Some((len, begin)) = record::value_of(shown, self.seal, offset, key, verify) else {
                    let found = self.checked(shown, offset, key, verify)?;
                    if found.compressed {
                        return self.packed(&found, offset).map(Found::Compressed);
                    }
                    let (start, len) = (offset + found.value_at(), found.value.len() as u32);
                    return Ok(Found::Mapped { start, len });
                };
                Ok(Found::Mapped { start: offset + begin, len })
            }
            None => {
                let mut bytes = self.read_record(offset)?;
                let found = self.checked(&bytes, offset, key, verify)?;
                if found.compressed {
                    return self.decompressed(&found, offset).map(Found::Read);
                }
                let (start, len) = (found.value_at() as usize, found.value.len());
                bytes.copy_within(start..start + len, 0);
                bytes.truncate(len);
                Ok(Found::Read(bytes))
            }
        }
    }

    /// Length of the value of the put of `key` at `offset`, if a map can tell. Does not check the checksum.
    pub(crate) fn mapped_len(&self, offset: u64, key: Key) -> Option<usize> {
        let found = self.checked(self.shown(self.map.as_ref()?, offset), offset, key, false).ok()?;
        value_len(&found).map(|len| len as usize)
    }

    /// A copy of the value of the put of `key` at `offset`, read with system calls and checked.
    pub(crate) fn value_copy(&self, offset: u64, key: Key) -> Result<Vec<u8>> {
        let bytes = self.read_record(offset)?;
        let found = self.checked(&bytes, offset, key, true)?;
        if found.compressed { self.decompressed(&found, offset) } else { copy_of(found.value) }
    }

    /// Calls `take` with the checked record of the put of `key` at `offset`.
    pub(crate) fn with_put<T>(
        &self,
        offset: u64,
        key: Key,
        take: impl FnOnce(&Record<'_>) -> Result<T>,
    ) -> Result<T> {
        match &self.map {
            Some(map) => take(&self.checked(self.shown(map, offset), offset, key, true)?),
            None => take(&self.checked(&self.read_record(offset)?, offset, key, true)?),
        }
    }

    /// The value of a put at `offset` that holds it compressed.
    pub(crate) fn decompressed(&self, put: &Record<'_>, offset: u64) -> Result<Vec<u8>> {
        self.packed(put, offset)?.value()
    }

    fn packed<'s>(&'s self, put: &Record<'s>, offset: u64) -> Result<Packed<'s>> {
        let stored = Compressed::of(put.value)
            .and_then(|stored| Some((stored, stored.value_len(stored.frame.len() as u64)?)));
        let Some((stored, len)) = stored else {
            let found = "a frame without a length that it can hold".to_owned();
            return Err(self.no_compressed_value(offset, put.key, found));
        };
        Ok(Packed { segment: self, offset, key: put.key, stored, len: len as usize })
    }

    #[cold]
    fn no_compressed_value(&self, offset: u64, key: Key, found: String) -> Error {
        self.unexpected(offset, format!("the compressed value of key {}", self.shown_key(key)), found)
    }

    /// The dictionary whose record begins at this place (an offset divided by 8); none at place 0.
    #[inline]
    pub(crate) fn dictionary(&self, place: u32) -> Result<Option<Loaded<'_>>> {
        match place {
            0 => Ok(None),
            place => self.dictionaries.at(place, || self.load_dictionary(u64::from(place) << 3)).map(Some),
        }
    }

    /// What takes the place of the dictionary at this place, which cannot be read: names where it was damaged.
    pub(crate) fn lost_dictionary(&self, place: u32) -> Result<Arc<Dictionary>> {
        let offset = u64::from(place) << 3;
        let noted = self.read_record(offset).ok().and_then(|bytes| {
            let record = record::parse(&bytes, self.seal, offset, true).ok()?;
            Dictionary::lost_at(record.value)
        });
        Dictionary::lost(noted.unwrap_or(Location::new(self.id(), offset).0))
    }

    /// Notes that the record of a dictionary was written at this offset.
    pub(crate) fn wrote_dictionary(&self, dictionary: &Arc<Dictionary>, offset: u64) {
        self.dictionaries.add((offset >> 3) as u32, dictionary);
    }

    /// Size of the records of its dictionaries, as far as they were written or needed.
    pub(crate) fn dictionary_bytes(&self) -> u64 {
        self.dictionaries.bytes()
    }

    fn load_dictionary(&self, offset: u64) -> Result<Arc<Dictionary>> {
        let wrong = |found: String| {
            let expected = "the dictionary of the compressed values of this segment".to_owned();
            self.unexpected(offset, expected, found)
        };
        let bytes = self.read_record(offset).map_err(|error| match error {
            Error::Corruption { found, .. } => wrong(found),
            error => error,
        })?;
        match record::parse(&bytes, self.seal, offset, true) {
            Ok(record) if record.kind == record::Kind::Dictionary => {
                match Dictionary::lost_at(record.value) {
                    Some(noted) => {
                        let (id, offset) = (Location(noted).segment(), Location(noted).offset());
                        let name = Self::name(id);
                        Err(wrong(format!(
                            "a note that it was damaged in {name} at offset {offset} and could not be kept"
                        )))
                    }
                    None => {
                        Dictionary::of(record.value)?.map_err(|_| wrong("bytes that zstd refuses".to_owned()))
                    }
                }
            }
            Ok(record) => Err(wrong(format!("{:?}", record.kind))),
            Err(bad) => Err(wrong(bad.to_string())),
        }
    }

    /// Whether to read the value of the record at `offset` means to decompress this many bytes or more, as far as a map
    /// can tell.
    #[inline]
    pub(crate) fn decompresses(&self, offset: u64, bytes: u64) -> bool {
        self.header.compression != Compression::None
            && self.map.as_ref().is_some_and(|map| {
                record::peek_value_len(self.shown(map, offset)).is_some_and(|len| len >= bytes)
            })
    }

    /// The raw bytes of the record at `offset`, read with system calls.
    pub(crate) fn read_record(&self, offset: u64) -> Result<Vec<u8>> {
        // One call suffices for most records; a longer record takes a second one.
        let mut bytes = filled(0, 512)?;
        let read = self.read_at(offset, &mut bytes)?;
        bytes.truncate(read);
        let size = record::peek_size(&bytes).map_err(|bad| self.damaged(offset, bad))? as usize;
        if size > bytes.len() {
            // A damaged length must not allocate more memory than the file could hold.
            if offset + size as u64 > self.len()? {
                return Err(self.damaged(offset, Bad::Short(size as u64)));
            }
            let had = bytes.len();
            room(&mut bytes, size - had)?;
            bytes.resize(size, 0);
            if self.read_at(offset + had as u64, &mut bytes[had..])? < size - had {
                return Err(self.damaged(offset, Bad::Short(size as u64)));
            }
        }
        bytes.truncate(size);
        Ok(bytes)
    }

    fn checked<'a>(&self, bytes: &'a [u8], offset: u64, key: Key, verify: bool) -> Result<Record<'a>> {
        let record = record::parse(bytes, self.seal, offset, verify)
            .map_err(|bad| self.damaged_value(offset, key, bad))?;
        if record.key != key || !record.kind.is_put() {
            return Err(Error::Corruption {
                path: self.path.clone(),
                offset,
                expected: format!("a value for key {}", self.shown_key(key)),
                found: format!("{:?} of key {}", record.kind, self.shown_key(record.key)),
            });
        }
        Ok(record)
    }

    /// How much memory the value of the record at `offset` takes, and the record around it. Does not check the checksum.
    pub(crate) fn size_in_memory(&self, offset: u64) -> Result<u64> {
        let size = self.record_size(offset)?;
        if self.header.compression == Compression::None {
            return Ok(size);
        }
        let mut head = [0; HEAD_BYTES];
        let read = self.read_at(offset, &mut head)?;
        Ok(record::peek_value_len(&head[..read]).map_or(size, |len| size.max(len)))
    }

    /// Size of the record at `offset`, in bytes.
    pub(crate) fn record_size(&self, offset: u64) -> Result<u64> {
        let mut header = [0; record::HEADER_BYTES as usize];
        let size = match &self.map {
            Some(map) => record::peek_size(self.shown(map, offset)),
            None => {
                let read = self.read_at(offset, &mut header)?;
                record::peek_size(&header[..read])
            }
        };
        size.map_err(|bad| self.damaged(offset, bad))
    }

    #[cold]
    fn damaged_value(&self, offset: u64, key: Key, bad: Bad) -> Error {
        Error::Corruption {
            path: self.path.clone(),
            offset,
            expected: format!("the whole record of key {}", self.shown_key(key)),
            found: bad.to_string(),
        }
    }
}

/// Length of the value of a put, which may be compressed.
fn value_len(put: &Record<'_>) -> Option<u64> {
    match Compressed::of(put.value).filter(|_| put.compressed) {
        Some(value) => value.value_len(value.frame.len() as u64),
        None => Some(put.value.len() as u64),
    }
}
