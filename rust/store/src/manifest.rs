//! The manifest: which segments make up the log and how far each counts, and which images of the index
//! are kept, in two copies that are written one after the other. Knows nothing of what the files hold.
//! Reading and writing are O(segments).

use std::io;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::header::{FileHeader, LogEnd};

const MAGIC: [u8; 8] = *b"ALEXMAN\0";
/// The two copies.
pub(crate) const NAMES: [&str; 2] = ["MANIFEST-A", "MANIFEST-B"];
/// What a copy is called until it is whole.
pub(crate) const UNFINISHED: [&str; 2] = ["MANIFEST-A.new", "MANIFEST-B.new"];
/// A manifest of more segments than can ever be is damage, and must not make a reader allocate.
const MAX_BYTES: u64 = 1 << 30;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawManifest {
    file: FileHeader,
    next_segment: U64,
    next_seq: U64,
    watermark: U64,
    clean: U32,
    segments: U32,
    images: U32,
    next_image: U32,
}

const _: () = assert!(size_of::<RawManifest>() == 104);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEntry {
    segment: U32,
    ended: U32,
    end: U64,
    last_seq: U64,
}

const _: () = assert!(size_of::<RawEntry>() == 24);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawImage {
    id: U32,
    segment: U32,
    offset: U64,
    last_seq: U64,
    bytes: U64,
    keys: U64,
}

const _: () = assert!(size_of::<RawImage>() == 40);

/// What the manifest says of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) segment: u32,
    /// How far it counts; `None` while it takes records.
    pub(crate) end: Option<LogEnd>,
}

/// What the manifest says of one image of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageEntry {
    pub(crate) id: u32,
    /// Where the log ended when its writing began: replay goes on from there.
    pub(crate) position: LogEnd,
    /// Bytes of its file.
    pub(crate) bytes: u64,
    /// Keys in it.
    pub(crate) keys: u64,
}

/// The content of both copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store_id: [u8; 16],
    /// Rises with every change.
    pub(crate) generation: u64,
    /// Ids from here on were never used.
    pub(crate) next_segment: u32,
    /// Sequences from here on were never used by the segments it lists.
    pub(crate) next_seq: u64,
    /// Every record up to this sequence was once confirmed by the device.
    pub(crate) watermark: u64,
    /// The last writer closed the store: everything listed is flushed and ended.
    pub(crate) clean: bool,
    /// The log, in order.
    pub(crate) segments: Vec<Entry>,
    /// The images that opening may begin from, newest first.
    pub(crate) images: Vec<ImageEntry>,
    /// Image ids from here on were never used.
    pub(crate) next_image: u32,
}

/// The outcome of looking for a manifest.
pub(crate) enum Found {
    /// The newer whole copy, and whether the other one is its like.
    Manifest(Manifest, bool),
    /// There is no copy at all.
    Nothing,
}

impl Manifest {
    pub(crate) fn new(store_id: [u8; 16]) -> Self {
        Self {
            store_id,
            generation: 0,
            next_segment: 1,
            next_seq: 1,
            watermark: 0,
            clean: true,
            segments: Vec::new(),
            images: Vec::new(),
            next_image: 1,
        }
    }

    /// Whether the segment is part of the log.
    pub(crate) fn lists(&self, segment: u32) -> bool {
        self.segments.iter().any(|entry| entry.segment == segment)
    }

    /// Reads the newer of the whole copies.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Found> {
        let mut copies = Vec::new();
        let mut damaged = None;
        for name in NAMES {
            match Self::read_copy(disk, name) {
                Ok(copy) => copies.extend(copy),
                // A newer format is refused even if the other copy could be read.
                Err(error @ (Error::Corruption { .. } | Error::Io { .. })) => damaged = Some(error),
                Err(error) => return Err(error),
            }
        }
        let agree = copies.len() == NAMES.len() && copies[0] == copies[1];
        match (copies.into_iter().max_by_key(|copy| copy.generation), damaged) {
            (Some(newest), _) => Ok(Found::Manifest(newest, agree)),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Found::Nothing),
        }
    }

    fn read_copy(disk: &dyn Disk, name: &str) -> Result<Option<Self>> {
        let path = disk.path_of(name);
        let wrap = |operation: &'static str| {
            let path = path.clone();
            move |error: io::Error| Error::io(operation, &path, error)
        };
        let file = match disk.open(name, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(wrap("open"))?,
        };
        let len = file.len().map_err(wrap("read"))?.min(MAX_BYTES);
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(0, &mut bytes).map_err(wrap("read"))?;
        bytes.truncate(read);
        Self::decode(&bytes, &path).map(Some)
    }

    /// Writes both copies, each durable under its name before the next step. O(segments), four syncs.
    pub(crate) fn write(&mut self, disk: &dyn Disk) -> Result<()> {
        self.generation += 1;
        let bytes = self.encode();
        for (name, unfinished) in NAMES.into_iter().zip(UNFINISHED) {
            let path = disk.path_of(name);
            let wrap = |operation: &'static str| {
                let path = path.clone();
                move |error: io::Error| Error::io(operation, &path, error)
            };
            match disk.remove(unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrap("remove")(error)),
                _ => {}
            }
            let file = disk.create(unfinished, 0).map_err(wrap("create"))?;
            file.write_at(0, &bytes).map_err(wrap("write"))?;
            file.sync().map_err(wrap("sync"))?;
            disk.rename(unfinished, name).map_err(wrap("rename"))?;
            disk.sync_dir().map_err(wrap("sync the directory of"))?;
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let len = size_of::<RawManifest>()
            + self.segments.len() * size_of::<RawEntry>()
            + self.images.len() * size_of::<RawImage>()
            + 4;
        let raw = RawManifest {
            file: FileHeader::new(MAGIC, self.store_id, self.generation, len),
            next_segment: U64::new(u64::from(self.next_segment)),
            next_seq: U64::new(self.next_seq),
            watermark: U64::new(self.watermark),
            clean: U32::new(u32::from(self.clean)),
            segments: U32::new(self.segments.len() as u32),
            images: U32::new(self.images.len() as u32),
            next_image: U32::new(self.next_image),
        };
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(raw.as_bytes());
        for entry in &self.segments {
            let end = entry.end.unwrap_or_default();
            let raw = RawEntry {
                segment: U32::new(entry.segment),
                ended: U32::new(u32::from(entry.end.is_some())),
                end: U64::new(end.offset),
                last_seq: U64::new(end.last_seq),
            };
            bytes.extend_from_slice(raw.as_bytes());
        }
        for image in &self.images {
            let raw = RawImage {
                id: U32::new(image.id),
                segment: U32::new(image.position.segment),
                offset: U64::new(image.position.offset),
                last_seq: U64::new(image.position.last_seq),
                bytes: U64::new(image.bytes),
                keys: U64::new(image.keys),
            };
            bytes.extend_from_slice(raw.as_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], path: &std::path::Path) -> Result<Self> {
        let damaged = |offset: usize, expected: &str, found: String| Error::Corruption {
            path: path.to_owned(),
            offset: offset as u64,
            expected: expected.to_owned(),
            found,
        };
        let Ok((raw, rest)) = RawManifest::ref_from_prefix(bytes) else {
            return Err(damaged(0, "a manifest", format!("{} bytes", bytes.len())));
        };
        if raw.file.magic != MAGIC {
            return Err(damaged(0, "the magic of a manifest", format!("{:02x?}", raw.file.magic)));
        }
        let Some((covered, stored)) = bytes.split_last_chunk::<4>() else {
            return Err(damaged(0, "a manifest", format!("{} bytes", bytes.len())));
        };
        let (computed, stored) = (crc32c::crc32c(covered), u32::from_le_bytes(*stored));
        if computed != stored {
            return Err(damaged(
                covered.len(),
                &format!("checksum {computed:#010x}"),
                format!("{stored:#010x}"),
            ));
        }
        raw.file.refuse_newer(path)?;
        let count = raw.segments.get() as usize;
        let Ok((entries, rest)) = <[RawEntry]>::ref_from_prefix_with_elems(rest, count) else {
            return Err(damaged(92, "as many entries as fit the file", count.to_string()));
        };
        let count = raw.images.get() as usize;
        let Ok((images, _)) = <[RawImage]>::ref_from_prefix_with_elems(rest, count) else {
            return Err(damaged(96, "as many images as fit the file", count.to_string()));
        };
        let segments = entries
            .iter()
            .map(|entry| Entry {
                segment: entry.segment.get(),
                end: (entry.ended.get() != 0).then(|| LogEnd {
                    segment: entry.segment.get(),
                    offset: entry.end.get(),
                    last_seq: entry.last_seq.get(),
                }),
            })
            .collect();
        let images = images
            .iter()
            .map(|image| ImageEntry {
                id: image.id.get(),
                position: LogEnd {
                    segment: image.segment.get(),
                    offset: image.offset.get(),
                    last_seq: image.last_seq.get(),
                },
                bytes: image.bytes.get(),
                keys: image.keys.get(),
            })
            .collect();
        Ok(Self {
            store_id: raw.file.store_id,
            generation: raw.file.file_id.get(),
            next_segment: u32::try_from(raw.next_segment.get())
                .map_err(|_| damaged(64, "a segment id of 32 bits", raw.next_segment.get().to_string()))?,
            next_seq: raw.next_seq.get(),
            watermark: raw.watermark.get(),
            clean: raw.clean.get() != 0,
            segments,
            images,
            next_image: raw.next_image.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manifest() -> Manifest {
        let end = LogEnd { segment: 1, offset: 4000, last_seq: 70 };
        Manifest {
            generation: 5,
            next_segment: 3,
            next_seq: 99,
            watermark: 70,
            clean: false,
            segments: vec![Entry { segment: 1, end: Some(end) }, Entry { segment: 2, end: None }],
            images: vec![ImageEntry { id: 4, position: end, bytes: 8192, keys: 60 }],
            next_image: 5,
            ..Manifest::new([9; 16])
        }
    }

    #[test]
    fn a_manifest_comes_back_as_written() {
        assert_eq!(Manifest::decode(&manifest().encode(), Path::new("m")).expect("valid"), manifest());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_manifest_is_noticed() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&broken, Path::new("m")).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len], Path::new("m")).is_err(), "length {len}");
        }
    }
}
