//! Rebuilds the index of an open store from an older image or the whole log, as
//! [`Rebuild`](crate::engine::shared::Rebuild) requires. Knows nothing of what is damaged. O(bytes of log).

use std::sync::Arc;

use crate::compaction::free::omit;
use crate::engine::shared::{Rebuilt, Shared};
use crate::engine::writing::Writing;
use crate::error::{Error, Result};
use crate::format::header::LogEnd;
use crate::format::manifest::{self, Manifest, Relocation};
use crate::options::{Options, Recovery};
use crate::recovery::chain::Chain;
use crate::recovery::recover;

/// Rebuilds the index. For a reader, it covers the files that the reader holds open.
pub(crate) fn rebuilt(shared: &Shared, writing: &Writing, end: LogEnd) -> Result<Rebuilt> {
    let disk = &shared.disk;
    // A reader shows an older state than the manifest on the disk.
    let listed = match (&writing.followed, Manifest::read(&**disk)) {
        (Some(followed), _) => Manifest::clone(&followed.manifest),
        (None, Ok(manifest::Found::Manifest(listed, _))) => *listed,
        (None, Ok(manifest::Found::Nothing)) => return Err(Error::NotFound { path: shared.path.clone() }),
        (None, Err(error)) => return Err(error),
    };
    let mut segments = writing.log.entries.clone();
    // A segment that is about to be removed, or that may not be listed for good, must not come into use
    // again.
    omit(&mut segments, &writing.freeing);
    let known = Arc::clone(&shared.read_state()?.segments);
    let in_use = |it: &Relocation| !writing.freeing.contains(&it.segment) && known.get(it.segment).is_some();
    let mut relocations = listed.relocations.clone();
    if writing.followed.is_none() {
        // Where a change reached one copy only, it has not happened: what the older one lists may be in use still, and
        // hold a tombstone that hides a put of the log.
        let older =
            manifest::NAMES.iter().filter_map(|name| Manifest::read_copy(&**disk, name).ok().flatten());
        for relocation in older.flat_map(|copy| copy.relocations) {
            if !relocations.iter().any(|it| it.segment == relocation.segment) {
                relocations.push(relocation);
            }
        }
    }
    relocations.retain(in_use);
    let mut images = listed.images.clone();
    images.retain(|image| !shared.damaged_images.lock().contains(&image.id));
    let manifest = Manifest { segments, relocations, images, spare: None, ..listed }.up_to(end);
    let options = Options { read_only: true, recovery: Recovery::Strict, ..shared.options.clone() };
    let chain = if shared.options.read_only {
        Chain::held(&manifest, &known)?
    } else {
        Chain::find(disk, &manifest, &[], &options)?
    };
    let mut based = recover::base(disk, &chain, &manifest, &options, true, &mut |_| true)?;
    let mut dead = Vec::new();
    while !based.state.index.is_whole() {
        based.state.index.join(usize::MAX, &mut dead);
    }
    let left = based.state.segments.count_dead(&dead, || {});
    based.uncounted.extend(left);
    if let Some(stop) = &based.stop {
        return Err(stop.refusal(based.reached.last_seq, end.last_seq));
    }
    let recover::Based { state, tail_bytes, bad_images, uncounted, .. } = based;
    Ok(Rebuilt { state, tail_bytes, bad_images, uncounted })
}
