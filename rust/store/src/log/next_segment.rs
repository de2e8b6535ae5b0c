//! A segment's file before its first byte: reserved, durable under its name, and mapped, so that the log can
//! go on in it with one write and no sync. Reserving costs system calls and syncs, and therefore happens
//! outside the commit lock; beginning costs one write. Knows nothing of the records that go in.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, Map};
use crate::error::{Error, Result};
use crate::format::header::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::manifest;
use crate::format::record::MARK_BYTES;
use crate::log::segment::Segment;
use crate::operation::Operation;
use crate::options::{MAX_SEGMENT_BYTES, Options, ReadMode, WriteMode};

/// Segment sizes are multiples of this.
const PAGE_BYTES: u64 = 4096;

/// A segment's file before its first byte.
pub(crate) struct Spare {
    pub(crate) listed: manifest::Spare,
    file: Arc<dyn DiskFile>,
    map: Option<Map>,
    copies: bool,
}

impl Spare {
    /// Size of a segment that has room for `room` bytes of records, or an error if none can.
    pub(crate) fn capacity_for(room: u64, options: &Options) -> Result<u64> {
        Self::needed(room)
            .max(options.segment_bytes)
            .checked_next_multiple_of(PAGE_BYTES)
            .filter(|&capacity| capacity <= MAX_SEGMENT_BYTES)
            .ok_or_else(|| {
                Error::Invalid(format!(
                    "one commit of {room} bytes is more than a segment can hold ({MAX_SEGMENT_BYTES}); \
                     split the batch"
                ))
            })
    }

    /// Size of the smallest segment with room for `room` bytes of records.
    pub(crate) fn needed(room: u64) -> u64 {
        // A mark before the records and a footer after them.
        (SEGMENT_HEADER_BYTES + MARK_BYTES + MARK_BYTES).saturating_add(room)
    }

    /// Whether records of this many bytes fit.
    pub(crate) fn has_room(&self, room: u64) -> bool {
        Self::needed(room) <= self.listed.capacity
    }

    /// Creates the file, durable together with its name. With `copies`, its bytes will be copied into a map;
    /// otherwise they are written by system call. If the disk is full, this fails and leaves nothing behind.
    pub(crate) fn reserve(
        disk: &Arc<dyn Disk>,
        listed: manifest::Spare,
        copies: bool,
        options: &Options,
    ) -> Result<Self> {
        let name = Segment::name(listed.segment);
        let path = disk.path_of(&name);
        let wrap = |operation: Operation| {
            let path = path.clone();
            move |error: io::Error| Error::io(operation, &path, error)
        };
        let file = disk.create(&name, listed.capacity).map_err(wrap(Operation::Reserve))?;
        let prepare = || {
            let copies = copies
                && match file.map_for_writing(listed.capacity) {
                    // The file system can map safely, but the blocks of this file are not reserved.
                    Err(error)
                        if error.kind() == io::ErrorKind::Unsupported
                            && options.write_mode == WriteMode::Auto =>
                    {
                        false
                    }
                    outcome => outcome.map(|()| true).map_err(wrap(Operation::Map))?,
                };
            let map = match options.read_mode {
                ReadMode::Mmap => Some(file.map(listed.capacity).map_err(wrap(Operation::Map))?),
                ReadMode::Pread => None,
            };
            file.sync().map_err(wrap(Operation::Sync))?;
            disk.sync_dir().map_err(wrap(Operation::SyncDirectory))?;
            Ok((map, copies))
        };
        match prepare() {
            Ok((map, copies)) => Ok(Self { listed, file, map, copies }),
            Err(error) => {
                // Nothing refers to the file. If this fails too, the next opening removes it as an orphan.
                let _ = disk.remove(&name);
                Err(error)
            }
        }
    }

    /// Bytes allocated on the disk.
    pub(crate) fn allocated(&self) -> u64 {
        // For statistics only: falls back on the reserved size if the system does not say.
        self.file.allocated().unwrap_or(self.listed.capacity)
    }

    /// Writes the header; records may follow it. Nothing is durable yet.
    pub(crate) fn begin(self, disk: &Arc<dyn Disk>, header: SegmentHeader) -> Result<Segment> {
        debug_assert_eq!(
            (header.id, header.salt, header.capacity),
            (self.listed.segment, self.listed.salt, self.listed.capacity)
        );
        let segment = Segment::over(disk, header, self.file, self.map, self.copies);
        segment.write(0, &header.encode())?;
        segment.show_up_to(SEGMENT_HEADER_BYTES);
        Ok(segment)
    }
}
