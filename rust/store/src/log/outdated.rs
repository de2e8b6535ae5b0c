//! Finds manifests that are older than the segments beside them: in a copy of a running store that was taken
//! file by file, or in a restored backup mixed with newer files. To such a manifest the newer segments look
//! like orphans, and removing them would lose what they hold. Knows how the two are told apart
//! (docs/dev/028); removes nothing itself. O(bytes) of the segments that are not listed, of which there are
//! few.

use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::format::header::Origin;
use crate::format::manifest::Manifest;
use crate::format::record::Kind;
use crate::log::resync::{Met, walk};
use crate::log::segment::Segment;
use crate::options::ReadMode;

/// How many newer segments a message names.
const NAMED: usize = 3;

/// Refuses a store whose manifests are older than segments in it. `reached` is the last sequence number of
/// the log that the manifest lists, if known.
pub(crate) fn refuse(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    names: &[String],
    reached: Option<u64>,
) -> Result<()> {
    let mut newer = newer_segments(disk, manifest, names, reached)?;
    if newer.is_empty() {
        return Ok(());
    }
    let count = newer.len();
    newer.truncate(NAMED);
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    Err(Error::Format {
        path: disk.path().to_owned(),
        problem: format!(
            "has manifests that are older than segments beside them, which they do not list: {}{more}. A copy \
             that was taken file by file while the store was written looks like this, and so does a backup put \
             over newer files. Nothing was changed. Put the newer MANIFEST-A and MANIFEST-B back if you have \
             them; else repair(path, dest, mode=\"salvage\") brings what all segments hold into a new store",
            newer.join(", ")
        ),
    })
}

/// The names of segments that a newer manifest than this one listed, in order.
///
/// Records go into a segment only once both copies of the manifest list it, and ids rise. So only segments
/// above the newest one that this manifest lists, in the log or as its reserve, need a look: all others
/// existed before the manifest was written, which left them out. Among those above, an interrupted writer
/// leaves some that do not count: reserves without a header; a segment with a header but no record, in which
/// the log could not go on; records that an unfinished recovery wrote again, without the mark
/// that ends a recovery; and relocated records up to the watermark that their header names, which the log
/// holds too. Every other segment was listed.
pub(crate) fn newer_segments(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    names: &[String],
    reached: Option<u64>,
) -> Result<Vec<String>> {
    let log = manifest.segments.iter().map(|entry| entry.segment);
    let newest = log.chain(manifest.spare.map(|spare| spare.segment)).max().unwrap_or(0);
    let mut ids: Vec<u32> = names.iter().filter_map(|name| Segment::id_of(name)).collect();
    let listed = manifest.file_set();
    let whole = ids.iter().filter(|id| listed.contains(id)).count() == listed.len();
    ids.retain(|&id| id > newest && !listed.contains(&id));
    ids.sort_unstable();
    // A listed file that is missing was removed after a newer manifest dropped it, or was lost. In either
    // case a segment may hold a copy of anything that was on the device.
    let reached = if whole { reached } else { Some(0) };
    let mut newer = Vec::new();
    for id in ids {
        let segment = match Segment::open(disk, id, Access::Read, ReadMode::Pread) {
            Ok(segment) if segment.header.store_id == manifest.store_id => segment,
            // The segment belongs to another store, was never begun, or was removed by a writer meanwhile.
            Ok(_) | Err(Error::Corruption { .. } | Error::Format { .. }) => continue,
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let confirmed = reached.is_some_and(|reached| segment.header.watermark > reached);
        let counts = match segment.header.origin {
            Origin::Log => holds(&segment, |_| true)?,
            Origin::Recovery => holds(&segment, |kind| kind == Kind::Mark)?,
            Origin::Relocation => false,
        };
        if confirmed || counts {
            newer.push(Segment::name(id));
        }
    }
    Ok(newer)
}

/// Whether a segment holds a whole record of a wanted kind, even if only behind damage.
fn holds(segment: &Segment, wanted: impl Fn(Kind) -> bool) -> Result<bool> {
    let mut found = false;
    walk(segment, None, &mut |met| {
        found |= matches!(met, Met::Record(_, record) if wanted(record.kind));
        Ok(!found)
    })?;
    Ok(found)
}
