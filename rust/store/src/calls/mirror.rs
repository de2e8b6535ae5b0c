//! What keeps a mirror (`recovery/mirror.rs`) up to date: what was put there is listed, if all of it is there and fits.
//! Knows nothing of where the bytes come from.

use std::path::Path;
use std::sync::Arc;

use crate::calls::store::Store;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::format::manifest::{self, Manifest};
use crate::log::segment::Segment;
use crate::operation::Operation;
use crate::options::{Options, ReadMode, check_path};
use crate::recovery::chain::Chain;
use crate::recovery::recover::{read_manifest, remove_orphans};

impl Store {
    /// Makes the mirror in the directory `path` show what the manifest `bytes` of a backup lists, in one step: readers
    /// see what they saw before, or that. All the segments must be in the directory and on the device. The caller is the
    /// only one who writes there. `generation` must be higher than the one of the call before.
    ///
    /// O(segments), and a few syncs.
    pub fn list_mirror(path: &Path, bytes: &[u8], generation: u64) -> Result<()> {
        Self::list_mirror_on(&disk_of(path)?, bytes, generation)
    }

    /// Ends what a [`Store::list_mirror`] that was interrupted has begun, in a directory that shows something, and
    /// removes what it does not list.
    pub fn settle_mirror(path: &Path) -> Result<()> {
        Self::settle_mirror_on(&disk_of(path)?)
    }

    /// Like [`Store::list_mirror`], on any disk. For tests that cut the power.
    #[doc(hidden)]
    pub fn list_mirror_on(disk: &Arc<dyn Disk>, bytes: &[u8], generation: u64) -> Result<()> {
        list(disk, bytes, generation)
    }

    /// Like [`Store::settle_mirror`], on any disk. For tests that cut the power.
    #[doc(hidden)]
    pub fn settle_mirror_on(disk: &Arc<dyn Disk>) -> Result<()> {
        settle(disk)
    }
}

fn disk_of(path: &Path) -> Result<Arc<dyn Disk>> {
    check_path(path)?;
    let disk = RealDisk::new(path).map_err(|error| Error::io(Operation::Open, path, error))?;
    Ok(Arc::new(disk))
}

/// Lists what the manifest `bytes` of a backup lists, all of which is in the directory and on the device, and removes
/// what it does not. `generation` is higher than what the directory shows now. Nothing is changed where something is
/// missing or does not fit. O(segments), and a few syncs.
fn list(disk: &Arc<dyn Disk>, bytes: &[u8], generation: u64) -> Result<()> {
    let mut manifest = Manifest::decode(bytes, &disk.path_of(manifest::NAMES[0]))?;
    if let Some((shown, _)) = read_manifest(&**disk)?
        && (shown.store_id != manifest.store_id || shown.generation >= generation)
    {
        return Err(Error::Format {
            path: disk.path().to_owned(),
            problem: format!(
                "shows generation {} of its store, and generation {generation} of the same or of another one was to \
                 take its place (nothing was changed)",
                shown.generation
            ),
        });
    }
    let names = disk.list().map_err(|error| Error::io(Operation::List, disk.path(), error))?;
    check(disk, &manifest, &names)?;
    // Raised as it is written.
    manifest.generation = generation.saturating_sub(1);
    // Nobody has closed it: the last segment may grow.
    manifest.clean = false;
    manifest.images.clear();
    manifest.write(&**disk)?;
    remove_orphans(disk, &names, &manifest)
}

/// Ends what an interrupted [`list`] has begun: both copies of the manifest say the same, and what they do not list is
/// removed.
fn settle(disk: &Arc<dyn Disk>) -> Result<()> {
    let Some((mut manifest, agree)) = read_manifest(&**disk)? else { return Ok(()) };
    if !agree {
        manifest.generation = manifest.generation.saturating_sub(1);
        manifest.write(&**disk)?;
    }
    let names = disk.list().map_err(|error| Error::io(Operation::List, disk.path(), error))?;
    remove_orphans(disk, &names, &manifest)
}

/// Whether every segment is there, follows the one before it, and is as long as the manifest says.
fn check(disk: &Arc<dyn Disk>, manifest: &Manifest, names: &[String]) -> Result<()> {
    let options = Options { read_only: true, read_mode: ReadMode::Pread, ..Options::default() };
    let chain = Chain::find(disk, manifest, names, &options)?;
    let long_enough = |segment: &Segment, end: u64| -> Result<()> {
        match segment.len()? {
            len if len < end => Err(segment.unexpected(
                len,
                format!("{end} bytes, as the manifest says"),
                format!("{len} bytes"),
            )),
            _ => Ok(()),
        }
    };
    for (at, segment) in chain.segments.iter().enumerate() {
        let Some(end) = chain.known_end(at) else {
            return Err(
                segment.other_than("a segment whose end is listed".to_owned(), "one without".to_owned())
            );
        };
        long_enough(segment, end.offset)?;
    }
    chain.relocations.iter().try_for_each(|(segment, relocation)| long_enough(segment, relocation.end))
}
