//! Writes a segment of relocated records: records outside the log that keep their original sequence numbers.
//! Knows nothing of why they are relocated, or of the index. O(bytes).

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Result;
use crate::format::compressed::Dictionary;
use crate::format::header::{LogEnd, Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::location::Location;
use crate::format::manifest::{self, Relocation};
use crate::format::record::{self, Body, Kind, MARK_BYTES};
use crate::keys::Key;
use crate::log::dictionaries::{Placed, Stored};
use crate::log::next_segment::Spare;
use crate::log::segment::Segment;
use crate::options::{MAX_SEGMENT_BYTES, Options};
use crate::random::random_u64;
use crate::room::room;
use crate::schema::{Compression, KeyKind};

/// Bytes gathered for one write.
const SCRATCH_BYTES: usize = 256 << 10;
const PAGE_BYTES: u64 = 4096;

/// A relocation segment that takes records.
pub(crate) struct RelocationWriter {
    segment: Segment,
    /// The dictionaries in the segment.
    placed: Placed,
    scratch: Vec<u8>,
    written: u64,
    last_seq: u64,
    watermark: u64,
}

/// What the new segment will hold.
pub(crate) struct Plan {
    pub(crate) id: u32,
    pub(crate) store_id: [u8; 16],
    pub(crate) key: KeyKind,
    pub(crate) compression: Compression,
    /// Bytes of all its records.
    pub(crate) bytes: u64,
    /// The lowest sequence number among them.
    pub(crate) first_seq: u64,
    pub(crate) watermark: u64,
}

impl RelocationWriter {
    /// Whether records of this many bytes fit one segment.
    pub(crate) fn fits(bytes: u64) -> bool {
        bytes.saturating_add(SEGMENT_HEADER_BYTES + MARK_BYTES + PAGE_BYTES) <= MAX_SEGMENT_BYTES
    }

    /// Creates the file, durable under its name, and writes its header.
    pub(crate) fn begin(disk: &Arc<dyn Disk>, plan: &Plan, options: &Options) -> Result<Self> {
        let needed = SEGMENT_HEADER_BYTES + plan.bytes + MARK_BYTES;
        let listed = manifest::Spare {
            segment: plan.id,
            capacity: needed.next_multiple_of(PAGE_BYTES),
            salt: random_u64(disk.path())?,
        };
        let header = SegmentHeader {
            store_id: plan.store_id,
            key: plan.key,
            compression: plan.compression,
            id: listed.segment,
            origin: Origin::Relocation,
            salt: listed.salt,
            base_seq: plan.first_seq,
            capacity: listed.capacity,
            watermark: plan.watermark,
            predecessor: LogEnd::default(),
            boot_id: disk.boot_id(),
        };
        let segment = Spare::reserve(disk, listed, false, options)?.begin(disk, header)?;
        Ok(Self {
            segment,
            placed: Placed::default(),
            scratch: Vec::new(),
            written: SEGMENT_HEADER_BYTES,
            last_seq: 0,
            watermark: plan.watermark,
        })
    }

    /// Appends one put, behind the dictionary of its value. Returns its location.
    pub(crate) fn put(&mut self, seq: u64, key: Key, value: Stored<'_>) -> Result<Location> {
        if let Stored::Compressed { by: Some(by), .. } = value
            && self.placed.place_of(by).is_none()
        {
            let at = self.push(Kind::Dictionary, 0, 0, Body::from(by.bytes()))?;
            self.placed.add(by, at.offset());
            self.segment.wrote_dictionary(by, at.offset());
        }
        let value = self.placed.body(value);
        self.push(Kind::Put, seq, key, value)
    }

    /// Where it holds a dictionary.
    pub(crate) fn location_of(&self, dictionary: &Arc<Dictionary>) -> Option<Location> {
        let place = self.placed.place_of(dictionary)?;
        Some(Location::new(self.segment.id(), u64::from(place) << 3))
    }

    /// Appends one record. Returns its location.
    pub(crate) fn push(&mut self, kind: Kind, seq: u64, key: Key, value: Body<'_>) -> Result<Location> {
        let offset = self.written + self.scratch.len() as u64;
        let width = self.segment.header.key.width();
        room(&mut self.scratch, width.size_of_put(value.len() as u64) as usize)?;
        let key = (width, key);
        record::encode(&mut self.scratch, self.segment.seal(), offset, kind, seq, key, value);
        if !matches!(kind, Kind::Footer) {
            self.last_seq = self.last_seq.max(seq);
        }
        if kind.is_tombstone() {
            self.segment.count_tombstone(self.written + self.scratch.len() as u64 - offset);
        }
        if self.scratch.len() >= SCRATCH_BYTES {
            self.flush()?;
        }
        Ok(Location::new(self.segment.id(), offset))
    }

    fn flush(&mut self) -> Result<()> {
        self.segment.write(self.written, &self.scratch)?;
        self.written += self.scratch.len() as u64;
        self.scratch.clear();
        Ok(())
    }

    /// Seals the segment: all of it is on the device when this returns, and it never changes again.
    pub(crate) fn seal(mut self) -> Result<(Arc<Segment>, Relocation)> {
        self.push(Kind::Footer, 0, 0, Body::from(&self.watermark.to_le_bytes()))?;
        self.flush()?;
        self.segment.sync()?;
        self.segment.show_up_to(self.written);
        self.segment.count_appended(self.written - SEGMENT_HEADER_BYTES);
        self.segment.release();
        let listed = Relocation { segment: self.segment.id(), end: self.written, last_seq: self.last_seq };
        Ok((Arc::new(self.segment), listed))
    }
}
