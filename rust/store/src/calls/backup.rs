//! `backup`: copies an open store into a new directory, consistent at one sequence number. Finished segments
//! are shared by hard links, which takes no space; the rest is copied. Writes go on meanwhile. O(segments),
//! and O(bytes) of what is copied.

use std::path::Path;
use std::sync::Arc;

use crate::calls::store::Store;
use crate::disk::{Access, Disk, DiskFile, RealDisk};
use crate::error::{Error, Result};
use crate::format::header::LogEnd;
use crate::format::manifest::{Entry, Manifest};
use crate::log::segment::Segment;
use crate::operation::Operation;
use crate::progress::OpenProgress;
use crate::repair::new_dir::NewDir;

/// Bytes copied at a time.
const CHUNK_BYTES: usize = 4 << 20;

/// A segment as it goes into a backup.
struct Part {
    segment: Arc<Segment>,
    /// How many of its bytes count.
    bytes: u64,
    /// Its file is complete: nothing will be written to it or cut from it any more, and all of it is on the
    /// device.
    finished: bool,
}

impl Store {
    /// Creates a store in the directory `dest`, which must be empty or not exist, with everything that this
    /// one holds now. `dest` gets its name only once it is whole and durable. Finished segments become hard
    /// links where the file system allows it, so damage to such a file affects both stores; copy `dest`
    /// elsewhere to guard against that. `progress` works as in [`Store::verify`].
    pub fn backup(&self, dest: &Path, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<()> {
        let shared = &self.shared;
        let _running = shared.enter()?;
        let (mut manifest, parts, _pins) = {
            let catalog = shared.catalog.lock();
            let writing = shared.writing.lock();
            let segments = Arc::clone(&shared.read_state()?.segments);
            let mut listed = catalog.manifest.clone();
            listed.segments.clone_from(&writing.log.entries);
            // Compaction must not remove a file before it is linked or copied.
            let pins: Vec<_> = segments.iter().map(Segment::pin).collect();
            let manifest = listed.of_backup(writing.log.end, writing.log.next_seq_bound());
            let mut parts = Vec::new();
            // Beside a reader, the writer may go on where the reader's log ends.
            let written = shared.options.read_only && !catalog.manifest.clean;
            for (id, bytes, ended) in manifest.parts(&writing.log.entries) {
                let Some(segment) = segments.get(id) else { continue };
                let unsynced = writing.log.unsynced.iter().any(|unsynced| unsynced.id() == id);
                let finished = ended && !unsynced && !(written && id == writing.log.end.segment);
                parts.push(Part { segment: Arc::clone(segment), bytes, finished });
            }
            (manifest, parts, pins)
        };
        let new_dir = NewDir::begin(dest, shared.disk.path())?;
        let disk = new_dir.disk()?;
        let bytes_total = parts.iter().map(|part| part.bytes).sum();
        let mut bytes_done = 0;
        for part in &parts {
            let mut report = |done| progress(OpenProgress { bytes_done: bytes_done + done, bytes_total });
            if !(part.finished && link(part, &*shared.disk, &disk)?) {
                copy(part, &disk, &mut report)?;
            }
            bytes_done += part.bytes;
            if !progress(OpenProgress { bytes_done, bytes_total }) {
                return Err(Error::Interrupted);
            }
        }
        disk.sync_dir().map_err(|error| Error::io(Operation::SyncDirectory, disk.path(), error))?;
        // Until now the directory does not open as a store.
        manifest.write(&disk)?;
        new_dir.finish()
    }
}

impl Manifest {
    /// The manifest of a backup: the log up to `end`, cleanly closed.
    fn of_backup(&self, end: LogEnd, next_seq: u64) -> Self {
        let mut manifest = self.up_to(end);
        manifest.generation = 0;
        manifest.next_seq = manifest.next_seq.max(next_seq);
        manifest.watermark = end.last_seq;
        manifest.clean = true;
        manifest.spare = None;
        // An image is only an index that saves reading the log.
        manifest.images.clear();
        manifest
    }

    /// For each segment: its id, its size in bytes, and whether it had ended according to `entries`.
    fn parts(&self, entries: &[Entry]) -> Vec<(u32, u64, bool)> {
        let log =
            self.segments.iter().zip(entries).map(|(entry, now)| {
                (entry.segment, entry.end.map_or(0, |end| end.offset), now.end.is_some())
            });
        let relocations = self.relocations.iter().map(|entry| (entry.segment, entry.end, true));
        log.chain(relocations).collect()
    }
}

/// Shares a finished file; false if that is impossible.
fn link(part: &Part, source: &dyn Disk, disk: &RealDisk) -> Result<bool> {
    // Reserved space behind its end may still be cut off.
    if part.segment.len()? != part.bytes {
        return Ok(false);
    }
    let name = Segment::name(part.segment.id());
    let to = disk.path_of(&name);
    // Another file system, one without links, or links forbidden: a copy serves in every case.
    if disk.link_from(source, &name).is_err() {
        return Ok(false);
    }
    let file = disk.open(&name, Access::Read).map_err(|error| Error::io(Operation::Open, &to, error))?;
    file.sync().map_err(|error| Error::io(Operation::Sync, &to, error))?;
    Ok(true)
}

fn copy(part: &Part, disk: &RealDisk, report: &mut dyn FnMut(u64) -> bool) -> Result<()> {
    let name = Segment::name(part.segment.id());
    let to = disk.path_of(&name);
    let file: Arc<dyn DiskFile> =
        disk.create(&name, 0).map_err(|error| Error::io(Operation::Create, &to, error))?;
    let mut chunk = vec![0; CHUNK_BYTES.min(part.bytes as usize)];
    let mut offset = 0;
    while offset < part.bytes {
        let want = chunk.len().min((part.bytes - offset) as usize);
        let read = part.segment.read_at(offset, &mut chunk[..want])?;
        if read < want {
            return Err(Error::Corruption {
                path: part.segment.path.clone(),
                offset: offset + read as u64,
                expected: format!("{} bytes", part.bytes),
                found: "the end of the file".to_owned(),
            });
        }
        file.write_at(offset, &chunk[..read]).map_err(|error| Error::io(Operation::Write, &to, error))?;
        offset += read as u64;
        if !report(offset) {
            return Err(Error::Interrupted);
        }
    }
    file.sync().map_err(|error| Error::io(Operation::Sync, &to, error))
}
