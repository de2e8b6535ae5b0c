//! What the manifest of an open store says, the next ids, and which files a copy of it may name. Reserves the
//! file in which the log goes on. Knows nothing of who changes it.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::manifest::{self, Manifest};
use crate::format::record::{self, MAX_SEQ};
use crate::log::append::Log;
use crate::log::next_segment::Spare;
use crate::options::Options;
use crate::random::random_u64;

/// What the manifest on disk says.
pub(crate) struct Catalog {
    /// As last written. Ids may have been used since.
    pub(crate) manifest: Manifest,
    /// A segment that was made, but not listed because its manifest could not be written.
    pub(crate) unlisted: Option<Spare>,
    /// Segments listed in a manifest that may or may not be on the disk. Their files stay until a manifest
    /// that certainly is on the disk no longer lists them.
    pub(crate) uncertain: Vec<u32>,
    /// Like `uncertain`, for images.
    pub(crate) uncertain_images: Vec<u32>,
    /// Whether the copies on the disk may differ, since only one could be written.
    pub(crate) half_written: bool,
}

impl Catalog {
    pub(crate) fn new(manifest: Manifest) -> Self {
        Self {
            manifest,
            unlisted: None,
            uncertain: Vec::new(),
            uncertain_images: Vec::new(),
            half_written: false,
        }
    }

    /// An id for a new segment. Ids are never reused, not even those of abandoned files.
    pub(crate) fn next_segment(&mut self, disk: &dyn Disk) -> Result<u32> {
        next_segment(&mut self.manifest, disk)
    }

    /// An id for a new image. Never reused either.
    pub(crate) fn next_image(&mut self, disk: &dyn Disk) -> Result<u32> {
        let id = self.manifest.next_image;
        if id == u32::MAX {
            return Err(used_up(disk));
        }
        self.manifest.next_image = id + 1;
        Ok(id)
    }
}

fn next_segment(manifest: &mut Manifest, disk: &dyn Disk) -> Result<u32> {
    let id = manifest.next_segment;
    if id == u32::MAX {
        return Err(used_up(disk));
    }
    manifest.next_segment = id + 1;
    Ok(id)
}

fn used_up(disk: &dyn Disk) -> Error {
    Error::Invalid(format!(
        "the store at {} has used up its ids or sequences; copy it into a new one with alexpy.repair()",
        disk.path().display()
    ))
}

/// On a disk too full for a whole segment, one of these sizes must do for commits that free space.
const SMALL_BYTES: [u64; 2] = [64 << 10, 8 << 10];

/// Makes a file in which the log can go on, with room for `room` bytes of records. May be small if it `frees`
/// space.
pub(crate) fn reserve_spare(
    disk: &Arc<dyn Disk>,
    options: &Options,
    manifest: &mut Manifest,
    log: &LogFacts,
    room: u64,
    frees: bool,
) -> Result<Spare> {
    let whole = Spare::capacity_for(room, options)?;
    let fits = |bytes: &u64| frees && *bytes < whole && Spare::needed(room) <= *bytes;
    let mut smaller = SMALL_BYTES.into_iter().filter(fits);
    let mut capacity = whole;
    loop {
        if log.next_seq_bound + capacity / record::HEADER_BYTES > MAX_SEQ {
            return Err(used_up(&**disk));
        }
        let salt = random_u64(disk.path())?;
        let segment = next_segment(manifest, &**disk)?;
        let listed = manifest::Spare { segment, capacity, salt };
        match Spare::reserve(disk, listed, log.copies, options) {
            Err(error) if error.says_full() => capacity = smaller.next().ok_or(error)?,
            outcome => return outcome,
        }
    }
}

/// What must be known of the log to prepare its next segment.
#[derive(Clone, Copy)]
pub(crate) struct LogFacts {
    next_seq_bound: u64,
    copies: bool,
}

impl LogFacts {
    pub(crate) fn of(log: &Log) -> Self {
        Self { next_seq_bound: log.next_seq_bound(), copies: log.copies }
    }
}
