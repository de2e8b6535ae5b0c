//! Images of the index as files of a store: their names, and what is attached to them. The bytes of the index
//! itself belong to alex-index. Knows nothing of how images are written or opened.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::header::LogEnd;

/// An image's file name.
pub(crate) fn image_name(id: u32) -> String {
    format!("img-{id:08x}.idx")
}

/// The id in a file's name, if the name is an image's.
pub(crate) fn image_id_of(file: &str) -> Option<u32> {
    let digits = file.strip_prefix("img-")?.strip_suffix(".idx")?;
    let id = u32::from_str_radix(digits, 16).ok()?;
    (image_name(id) == file).then_some(id)
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawEnd {
    segment: U32,
    reserved: U32,
    offset: U64,
    last_seq: U64,
}

/// The beginning of an image's attachment; the counts of the segments follow.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawAttachment {
    begin: RawEnd,
    until: RawEnd,
    segments: U64,
}

const _: () = assert!(size_of::<RawAttachment>() == 56);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawCount {
    segment: U32,
    reserved: U32,
    live_bytes: U64,
    tombstone_bytes: U64,
}

const _: () = assert!(size_of::<RawCount>() == 24);

impl RawEnd {
    fn new(end: LogEnd) -> Self {
        Self {
            segment: U32::new(end.segment),
            reserved: U32::ZERO,
            offset: U64::new(end.offset),
            last_seq: U64::new(end.last_seq),
        }
    }

    fn get(self) -> LogEnd {
        LogEnd { segment: self.segment.get(), offset: self.offset.get(), last_seq: self.last_seq.get() }
    }
}

/// How the bytes of a segment count, as far as the segment itself does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) segment: u32,
    /// Bytes of records that the index points to.
    pub(crate) live: u64,
    /// Bytes of tombstones.
    pub(crate) tombstones: u64,
}

/// What an image says besides the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// Where the log ended when the image was begun; replay goes on from there.
    pub(crate) begin: LogEnd,
    /// Where the log ended when the last entry was read. Once replay reaches this position, the index is what
    /// it was then, whatever happened in between.
    pub(crate) until: LogEnd,
    /// How the bytes of each segment counted at `until`.
    pub(crate) counts: Vec<Count>,
}

impl Attachment {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let raw = RawAttachment {
            begin: RawEnd::new(self.begin),
            until: RawEnd::new(self.until),
            segments: U64::new(self.counts.len() as u64),
        };
        let mut bytes = raw.as_bytes().to_vec();
        for count in &self.counts {
            let raw = RawCount {
                segment: U32::new(count.segment),
                reserved: U32::ZERO,
                live_bytes: U64::new(count.live),
                tombstone_bytes: U64::new(count.tombstones),
            };
            bytes.extend_from_slice(raw.as_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (raw, rest) = RawAttachment::ref_from_prefix(bytes).ok()?;
        let counts = <[RawCount]>::ref_from_bytes(rest).ok()?;
        if counts.len() as u64 != raw.segments.get() {
            return None;
        }
        Some(Self {
            begin: raw.begin.get(),
            until: raw.until.get(),
            counts: counts
                .iter()
                .map(|raw| Count {
                    segment: raw.segment.get(),
                    live: raw.live_bytes.get(),
                    tombstones: raw.tombstone_bytes.get(),
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Attachment, Count, image_id_of, image_name};
    use crate::format::header::LogEnd;

    #[test]
    fn an_attachment_comes_back_as_written_and_no_other_length_does() {
        let attachment = Attachment {
            begin: LogEnd { segment: 3, offset: 400, last_seq: 9 },
            until: LogEnd { segment: 4, offset: 192, last_seq: 17 },
            counts: vec![
                Count { segment: 3, live: 208, tombstones: 24 },
                Count { segment: 4, live: 0, tombstones: 0 },
            ],
        };
        let bytes = attachment.encode();
        assert_eq!(Attachment::decode(&bytes).as_ref(), Some(&attachment));
        for len in 0..bytes.len() {
            assert_eq!(Attachment::decode(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn only_names_of_images_have_an_id() {
        assert_eq!(image_id_of(&image_name(0xab)), Some(0xab));
        for other in ["img-1.idx", "img-0000000g.idx", "img-000000AB.idx", "seg-00000001.log"] {
            assert_eq!(image_id_of(other), None, "{other}");
        }
    }
}
