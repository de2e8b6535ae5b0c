//! Recovery beside a writer, which may go on between any two looks at the files: until they fit together, they are looked
//! at again. Knows nothing of what the files say.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::options::{Options, Recovery};
use crate::progress::OpenProgress;
use crate::recovery::recover::{self, Look, Recovered};

/// How often files that do not fit together are read while the manifest stays the same: a running writer appends without
/// changing the manifest, too.
pub(crate) const STILL_LOOKS: usize = 5;

/// Time between two such looks.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// How long a reader starts over because a writer changes the manifest meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a file was gone when it was to be opened.
pub(crate) fn says_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Recovers the store for reading, and writes nothing.
pub(crate) fn recover_beside_writer(
    disk: &Arc<dyn Disk>,
    path: &Path,
    options: &Options,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<Recovered> {
    let begun = Instant::now();
    let (mut still_looks, mut look) = (0, Look::default());
    // The unfinished work of a running writer looks like damage, so only damage that persists is
    // tolerated.
    let strict = Options { recovery: Recovery::Strict, ..options.clone() };
    let mut stays = false;
    loop {
        let Some((manifest, agree)) = recover::find_manifest(&**disk, path)? else {
            return Err(Error::NotFound { path: path.to_owned() });
        };
        let (generation, clean) = (manifest.generation, manifest.clean);
        let rules = if stays { options } else { &strict };
        let error = match recover::recover(disk, manifest, agree, rules, &mut look, progress) {
            Ok(recovered) => {
                let moved_on = || -> Result<bool> {
                    let now = recover::read_manifest(&**disk)?;
                    Ok(now.is_none_or(|(now, _)| now.generation != generation))
                };
                if stays && begun.elapsed() <= PATIENCE && moved_on()? {
                    stays = false;
                    continue;
                }
                return Ok(recovered);
            }
            Err(error) => error,
        };
        let gone = says_gone(&error);
        if !gone && !matches!(error, Error::Corruption { .. } | Error::Format { .. }) {
            return Err(error);
        }
        // A running writer may have gone on between two looks. As long as it writes manifests, another
        // look finds another store. Damage that persists is damage, and without a running writer nothing
        // can have changed.
        let still = recover::read_manifest(&**disk)?.is_some_and(|(now, _)| now.generation == generation);
        still_looks = if still { still_looks + 1 } else { 0 };
        // If an image is missing that is listed for good, the log is read instead.
        let without_image = gone && !std::mem::replace(&mut look.images_may_be_gone, still) && still;
        // A format that is refused does not change without a new manifest either.
        let settled = still && (clean || matches!(error, Error::Format { .. }));
        let over = settled || still_looks >= STILL_LOOKS || begun.elapsed() > PATIENCE;
        if over && !without_image {
            if stays || options.recovery == Recovery::Strict {
                return Err(error);
            }
            stays = true;
            continue;
        }
        if still && !without_image {
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
}
