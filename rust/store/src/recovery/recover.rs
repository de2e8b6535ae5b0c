//! Opening: from the manifest and the segments back to the index, by the rules of `docs/safety.md`. Accepts
//! the longest valid prefix of the log, refuses the store if data that the device once confirmed is damaged,
//! and writes again what was never proven durable before it accepts new writes. O(log bytes).

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::image_file;
use crate::disk::{Access, Disk};
use crate::engine::state::State;
use crate::error::{Error, Result};
use crate::format::attachment::{image_id_of, image_name};
use crate::format::header::LogEnd;
use crate::format::location::Location;
use crate::format::manifest::{self, Manifest, is_stray};
use crate::index::checked::Index;
use crate::log::append::Log;
use crate::log::outdated;
use crate::log::reader::watermark_beyond;
use crate::log::segment::Segment;
use crate::operation::Operation;
use crate::options::{Durability, Options, ReadMode, Recovery, WriteMode};
use crate::progress::OpenProgress;
use crate::recovery::chain::Chain;
use crate::recovery::mirror;
use crate::recovery::replay::{Replay, Stop};
use crate::recovery::rewrite::Rewrite;

/// How often a directory is read, at most, until its contents and its listing agree.
const LOOKS: usize = 100;

/// A recovered store.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) log: Log,
    pub(crate) manifest: Manifest,
    /// The last commit in the log.
    pub(crate) last_commit: u64,
    /// Bytes behind the newest listed image, which an opening has to read; without an image all bytes.
    pub(crate) tail_bytes: u64,
    /// Everything up to this sequence number is on the device.
    pub(crate) durable_seq: u64,
    /// Replaced records that could not be read.
    pub(crate) uncounted: Vec<Location>,
    /// Bytes found behind the accepted end of the log and dropped.
    pub(crate) dropped_bytes: u64,
}

/// A recovered index, and the facts found on the way.
pub(crate) struct Based {
    pub(crate) state: State,
    /// The end of the accepted log.
    pub(crate) reached: LogEnd,
    /// The last commit in it.
    pub(crate) last_commit: u64,
    /// The highest watermark in anything accepted.
    pub(crate) watermark: u64,
    pub(crate) stop: Option<Stop>,
    /// Where in the log the image begins from which the index was built.
    begin: Option<LogEnd>,
    /// Bytes that were read beside the image; without one those that compaction wrote, too.
    pub(crate) tail_bytes: u64,
    /// Images that are damaged, missing, or belong to another log.
    pub(crate) bad_images: Vec<u32>,
    /// Replaced records that could not be read.
    pub(crate) uncounted: Vec<Location>,
    milestones: Vec<LogEnd>,
}

/// Builds the index from the newest whole image and the log behind it, or else from the whole log.
pub(crate) fn base(
    disk: &Arc<dyn Disk>,
    chain: &Chain,
    manifest: &Manifest,
    options: &Options,
    images_may_be_gone: bool,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<Based> {
    let mut bad_images = Vec::new();
    for entry in &manifest.images {
        match image_file::open(disk, manifest.store_id, manifest.schema.key.width(), entry, options) {
            Ok(image) => {
                if let Some(mut replay) = Replay::over(chain, manifest, image) {
                    replay.run(progress)?;
                    if replay.is_sound() {
                        return Ok(based(replay, chain, Some(entry.position), bad_images));
                    }
                }
            }
            // The log holds the same data. Only a failure that may not recur next time is worth an error.
            Err(Error::Io { source, .. }) if !says_damage(&source, images_may_be_gone) => {
                let operation = Operation::Read;
                return Err(Error::Io { operation, path: disk.path_of(&image_name(entry.id)), source });
            }
            Err(Error::Io { .. } | Error::Corruption { .. }) => {}
            Err(error) => return Err(error),
        }
        bad_images.push(entry.id);
    }
    let mut replay = Replay::new(chain, manifest, Index::empty(manifest.schema.key.width())?);
    replay.run(progress)?;
    Ok(based(replay, chain, None, bad_images))
}

/// Whether a failed read means that the file is gone or its device is bad, rather than that the machine lacks
/// a resource now.
fn says_damage(error: &std::io::Error, may_be_gone: bool) -> bool {
    use std::io::ErrorKind::{NotFound, UnexpectedEof};
    let gone = error.kind() == NotFound && may_be_gone;
    gone || error.kind() == UnexpectedEof || error.raw_os_error() == Some(libc::EIO)
}

fn based(replay: Replay<'_>, chain: &Chain, begin: Option<LogEnd>, bad_images: Vec<u32>) -> Based {
    let Replay { state, reached, last_commit, watermark, stop, milestones, dead: uncounted, .. } = replay;
    let logged: u64 =
        chain.between(begin.unwrap_or_default(), reached).iter().map(|(_, from, to)| to - from).sum();
    // Without an image all that compaction moved must be read, too.
    let moved =
        if begin.is_none() { chain.relocations.iter().map(|(_, listed)| listed.end).sum() } else { 0 };
    let tail_bytes = logged + moved;
    Based {
        state,
        reached,
        last_commit,
        watermark,
        stop,
        begin,
        tail_bytes,
        bad_images,
        uncounted,
        milestones,
    }
}

/// What one attempt to open carries over from earlier ones.
#[derive(Default)]
pub(crate) struct Look {
    /// The watermark on which the last refusal was based.
    confirmed: u64,
    /// Whether a listed image that is missing counts as damaged. Beside a writer it was replaced, and the
    /// manifest must be read again instead, because opening takes long without images.
    pub(crate) images_may_be_gone: bool,
}

impl Look {
    /// The only attempt: nobody else changes anything.
    pub(crate) fn of_a_writer() -> Self {
        Self { confirmed: 0, images_may_be_gone: true }
    }
}

/// Recovers the store. With `read_only` nothing is written, and what was not proven is shown as it is.
///
/// A reader beside a writer can meet a record before it is whole and then, behind it, a watermark that was
/// written meanwhile. So a refusal leaves the watermark on which it was based in `look`, and the reader's
/// next attempt succeeds once it has reached that watermark. Damage that persists never lets it.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    manifest: Manifest,
    copies_agree: bool,
    options: &Options,
    look: &mut Look,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<Recovered> {
    manifest.schema.check_asked(options.key, options.codec.as_deref(), options.compression, disk.path())?;
    let without_images = Manifest { images: Vec::new(), ..manifest.clone() };
    match recover_from(disk, manifest, copies_agree, options, look, progress) {
        // Damage was found after replay; only the whole log is left to build from.
        Err(Error::ImageDamaged) => recover_from(disk, without_images, false, options, look, progress),
        outcome => outcome,
    }
}

fn recover_from(
    disk: &Arc<dyn Disk>,
    manifest: Manifest,
    copies_agree: bool,
    options: &Options,
    look: &mut Look,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<Recovered> {
    let names = disk.list().map_err(|error| Error::io(Operation::List, disk.path(), error))?;
    // What a mirror does not list yet is on its way.
    let may_be_behind = options.read_only && mirror::is_among(&names);
    let refuse_outdated = |reached| {
        if may_be_behind { Ok(()) } else { outdated::refuse(disk, &manifest, &names, reached) }
    };
    let chain = Chain::find(disk, &manifest, &names, options).or_else(|error| {
        // If a file is missing because a newer manifest dropped it, this error explains why.
        refuse_outdated(None)?;
        Err(error)
    })?;
    let based = base(disk, &chain, &manifest, options, look.images_may_be_gone, progress)?;
    let dropped_bytes = accept_end(disk, &chain, &based, options, look)?;
    let Based {
        state, reached, last_commit, watermark, stop, begin, tail_bytes, bad_images, uncounted, ..
    } = based;
    // Check before anything is written or removed.
    refuse_outdated(Some(reached.last_seq))?;

    let clean = manifest.clean && !chain.cut && stop.is_none() && watermark >= reached.last_seq;
    let next_seq = chain.next_seq.max(reached.last_seq + 1);
    let ids = names.iter().filter_map(|name| image_id_of(name));
    let ids = ids.filter(|&id| !is_stray(manifest.next_image, id));
    let next_image = ids.filter_map(|id| id.checked_add(1)).fold(manifest.next_image, u32::max);
    let manifest = Manifest { next_segment: chain.next_segment, next_seq, next_image, ..manifest };
    let log = log_of(&**disk, &manifest, &chain, reached, options);

    let durable_seq = watermark.min(reached.last_seq);
    let mut found =
        Recovered { state, log, manifest, last_commit, tail_bytes, durable_seq, uncounted, dropped_bytes };
    if options.read_only {
        return Ok(found);
    }
    let Recovered { state, log, manifest, .. } = &mut found;
    if !copies_agree {
        // If its writer was killed there, the newer copy may have its name in memory only. A power cut could
        // bring back the older copy, and it would miss the files that are removed because the newer one no
        // longer lists them.
        manifest.write(&**disk)?;
    }
    // Remove what a crash left unfinished. Do it first, so that a full disk gains their space.
    remove_orphans(disk, &names, manifest)?;
    manifest.images.retain(|image| !bad_images.contains(&image.id));
    if clean {
        if !bad_images.is_empty() {
            manifest.write(&**disk)?;
            remove_orphans(disk, &names, manifest)?;
        }
        return Ok(Recovered { durable_seq: reached.last_seq, ..found });
    }
    note_cut(manifest, reached.last_seq, &chain, dropped_bytes > 0 || watermark > reached.last_seq, disk);
    let proven = proven_end(&chain, durable_seq, begin, &based.milestones)?;
    Rewrite { disk, options, chain: &chain, proven, reached }.run(state, log, manifest)?;
    if manifest.lists(reached.segment) {
        give_back_rest(disk, &chain, reached, stop.is_none());
    }
    // Every record in these segments was written again.
    remove_orphans(disk, &names, manifest)?;
    let durable_seq = log.end.last_seq;
    Ok(Recovered { durable_seq, ..found })
}

/// Up to where the log is on the device. An image is listed once the log before it is, and needs the segment in which it
/// begins: where no record of that segment is confirmed, the record before it alone would leave the segment out.
fn proven_end(
    chain: &Chain,
    durable_seq: u64,
    image_begins: Option<LogEnd>,
    milestones: &[LogEnd],
) -> Result<LogEnd> {
    let end = chain.end_of(durable_seq, milestones)?;
    Ok(image_begins.filter(|begin| begin.segment > end.segment).unwrap_or(end))
}

/// Notes in the manifest that commits above `kept` may be gone, which readers once saw: they are, or the chain was cut, or
/// the machine was started since the log was begun, so that the device may have lost something without a trace.
fn note_cut(manifest: &mut Manifest, kept: u64, chain: &Chain, are_gone: bool, disk: &Arc<dyn Disk>) {
    let boot = disk.boot_id();
    if are_gone || chain.cut || chain.segments.last().is_some_and(|last| last.header.boot_id != boot) {
        manifest.cuts.add(kept, manifest.next_seq);
    }
}

/// Decides whether the log may end where replay did. Returns how many bytes behind that end are dropped.
fn accept_end(
    disk: &Arc<dyn Disk>,
    chain: &Chain,
    based: &Based,
    options: &Options,
    look: &mut Look,
) -> Result<u64> {
    let &Based { reached, watermark, .. } = based;
    let strict = options.recovery == Recovery::Strict;
    let Some(stop) = &based.stop else {
        if watermark > reached.last_seq && strict {
            return Err(Error::Corruption {
                path: disk.path().to_owned(),
                offset: 0,
                expected: format!("records up to sequence {watermark}, which the device had confirmed"),
                found: format!("a log that ends at sequence {}", reached.last_seq),
            });
        }
        return Ok(0);
    };
    let beyond = chain.watermark_beyond(stop.at, stop.offset, reached.last_seq)?;
    let highest = watermark.max(beyond.watermark);
    let caught_up = options.read_only && (1..=reached.last_seq).contains(&look.confirmed);
    if highest > reached.last_seq && !caught_up && strict {
        look.confirmed = highest;
        return Err(stop.refusal(reached.last_seq, highest));
    }
    Ok(beyond.bytes)
}

/// The log up to its accepted end, and how it is written from now on.
fn log_of(disk: &dyn Disk, manifest: &Manifest, chain: &Chain, reached: LogEnd, options: &Options) -> Log {
    let copies = match options.write_mode {
        WriteMode::Mmap => true,
        WriteMode::Pwrite => false,
        // A commit that is flushed at once is faster by system call (docs/dev/004).
        WriteMode::Auto => disk.maps_safely() && options.durability != Durability::Sync,
    };
    let mut log = Log::new(
        manifest.store_id,
        &manifest.schema,
        chain.entries_up_to(reached),
        reached,
        manifest.next_seq,
        copies,
    );
    // Only if overwriting happens in place: elsewhere it takes space that nobody reserved. And not if commits
    // are copied into a map: after zeros came into the page cache by the megabyte, one store would make all
    // those pages dirty.
    log.fills = options.durability == Durability::Sync && disk.maps_safely() && !copies;
    log
}

/// Gives back reserved space in the segment in which the log ended. A failure costs space and nothing else.
fn give_back_rest(disk: &Arc<dyn Disk>, chain: &Chain, reached: LogEnd, in_order: bool) {
    let Some(segment) = chain.segments.iter().find(|segment| segment.id() == reached.segment) else { return };
    let (Ok(beyond), Ok(file)) = (
        watermark_beyond(segment, reached.offset, u64::MAX),
        disk.open(&Segment::name(reached.segment), Access::Write),
    ) else {
        return;
    };
    if in_order && beyond.bytes == 0 {
        let _: io::Result<()> = file.truncate(reached.offset);
    } else {
        // A reader in another process may have mapped more than was accepted now.
        file.give_back_zeros(reached.offset + beyond.bytes);
    }
}

/// Removes files that the manifest, durable in at least one copy, does not list: nothing in them counts.
pub(crate) fn remove_orphans(disk: &Arc<dyn Disk>, names: &[String], manifest: &Manifest) -> Result<()> {
    let ours = |id| match Segment::open(disk, id, Access::Read, ReadMode::Pread) {
        Ok(segment) => segment.header.store_id == manifest.store_id,
        // Its header never became durable.
        Err(error) => matches!(error, Error::Corruption { .. }),
    };
    let listed = manifest.file_set();
    let mut removed = false;
    for name in names {
        let orphan = Segment::id_of(name).is_some_and(|id| !listed.contains(&id) && ours(id))
            || image_id_of(name).is_some_and(|id| !manifest.lists_image(id));
        if orphan || manifest::UNFINISHED.contains(&name.as_str()) {
            match disk.remove(name) {
                // Writing the manifest may have removed it first.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                outcome => {
                    outcome.map_err(|error| Error::io(Operation::Remove, &disk.path_of(name), error))?;
                }
            }
            removed = true;
        }
    }
    if removed {
        disk.sync_dir().map_err(|error| Error::io(Operation::SyncDirectory, disk.path(), error))?;
    }
    Ok(())
}

/// Reads the manifest of a directory that must hold a store. Also returns whether both copies agree.
pub(crate) fn read_manifest(disk: &dyn Disk) -> Result<Option<(Manifest, bool)>> {
    match Manifest::read(disk)? {
        manifest::Found::Manifest(manifest, agree) => Ok(Some((*manifest, agree))),
        manifest::Found::Nothing => Ok(None),
    }
}

/// Like [`read_manifest`], for a directory that may be empty, or in which others may be creating a store
/// right now. Refuses a directory that holds foreign files.
pub(crate) fn find_manifest(disk: &dyn Disk, path: &Path) -> Result<Option<(Manifest, bool)>> {
    for _ in 0..LOOKS {
        if let Some(found) = read_manifest(disk)? {
            return Ok(Some(found));
        }
        let names = disk.list().map_err(|error| Error::io(Operation::List, path, error))?;
        // The store was created between the two looks.
        let made = names.iter().any(|name| manifest::NAMES.contains(&name.as_str()));
        if !made {
            refuse_foreign(path, &names)?;
            return Ok(None);
        }
    }
    Err(Error::Format {
        path: path.to_owned(),
        problem: "holds a manifest that cannot be found under its name".to_owned(),
    })
}

/// Refuses a directory that holds foreign files.
fn refuse_foreign(path: &Path, names: &[String]) -> Result<()> {
    // What a crash leaves of a store that was being created counts as empty.
    let ours = |name: &String| name == "LOCK" || manifest::UNFINISHED.contains(&name.as_str());
    if names.iter().all(ours) {
        return Ok(());
    }
    if mirror::is_among(names) {
        return Err(Error::Format {
            path: path.to_owned(),
            problem:
                "is to follow a store that is shipped, and nothing of that is here yet; wait until the first \
                      alexpy.ship.follow has ended, or call it again (nothing was changed)"
                    .to_owned(),
        });
    }
    Err(Error::Format {
        path: path.to_owned(),
        problem: "is not an alexpy store: it holds files but no manifest; choose an empty or a new \
                  directory (nothing was changed)"
            .to_owned(),
    })
}
