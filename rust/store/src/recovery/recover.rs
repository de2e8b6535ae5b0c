//! Opening: from the manifest and the segments back to the index, by the rules of `docs/safety.md`.
//! Accepts the longest valid prefix of the log, refuses when data that the device once confirmed is
//! damaged, and writes again what was never proven durable before new writes are accepted. O(log bytes).

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
use crate::format::manifest::{self, Manifest};
use crate::log::append::Log;
use crate::log::outdated;
use crate::log::reader::watermark_beyond;
use crate::log::segment::Segment;
use crate::operation::Operation;
use crate::options::{Durability, Options, ReadMode, Recovery, WriteMode};
use crate::progress::OpenProgress;
use crate::recovery::chain::Chain;
use crate::recovery::replay::{Replay, Stop};
use crate::recovery::rewrite::Rewrite;

/// A directory is looked at so often, at most, until what is read of it and what it lists agree.
const LOOKS: usize = 100;

/// A store brought back.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) log: Log,
    pub(crate) manifest: Manifest,
    /// Bytes of log behind the newest image that is listed.
    pub(crate) tail_bytes: u64,
    /// Everything up to here is on the device.
    pub(crate) durable_seq: u64,
    /// Replaced records that could not be looked at.
    pub(crate) uncounted: Vec<Location>,
    /// Bytes that were found behind the accepted end and dropped.
    pub(crate) dropped_bytes: u64,
}

/// What the index, or what is left of it, was built from.
pub(crate) struct Based {
    pub(crate) state: State,
    /// The end of what is accepted.
    pub(crate) reached: LogEnd,
    /// The highest that anything accepted names.
    pub(crate) watermark: u64,
    pub(crate) stop: Option<Stop>,
    /// Bytes of log behind the image.
    pub(crate) tail_bytes: u64,
    /// Images that are damaged, missing, or of another log than there is.
    pub(crate) bad_images: Vec<u32>,
    /// Replaced records that could not be looked at.
    pub(crate) uncounted: Vec<Location>,
    milestones: Vec<LogEnd>,
}

/// Builds the index: from the newest image that is whole and what the log holds behind it, else from the
/// whole log.
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
        match image_file::open(disk, manifest.store_id, entry, options) {
            Ok(image) => {
                if let Some(mut replay) = Replay::over(chain, manifest, image) {
                    replay.run(progress)?;
                    if replay.is_sound() {
                        return Ok(based(replay, chain, Some(entry.position), bad_images));
                    }
                }
            }
            // What the log holds is as good; only what may help next time is worth an error.
            Err(Error::Io { source, .. }) if !says_damage(&source, images_may_be_gone) => {
                let operation = Operation::Read;
                return Err(Error::Io { operation, path: disk.path_of(&image_name(entry.id)), source });
            }
            Err(Error::Io { .. } | Error::Corruption { .. }) => {}
            Err(error) => return Err(error),
        }
        bad_images.push(entry.id);
    }
    let mut replay = Replay::new(chain, manifest);
    replay.run(progress)?;
    Ok(based(replay, chain, None, bad_images))
}

/// Whether a failed read says that a file is gone or its device is bad, rather than that the machine lacks
/// something now.
fn says_damage(error: &std::io::Error, may_be_gone: bool) -> bool {
    use std::io::ErrorKind::{NotFound, UnexpectedEof};
    let gone = error.kind() == NotFound && may_be_gone;
    gone || error.kind() == UnexpectedEof || error.raw_os_error() == Some(libc::EIO)
}

fn based(replay: Replay<'_>, chain: &Chain, begin: Option<LogEnd>, bad_images: Vec<u32>) -> Based {
    let Replay { state, reached, watermark, stop, milestones, dead: uncounted, .. } = replay;
    let tail_bytes =
        chain.between(begin.unwrap_or_default(), reached).iter().map(|(_, from, to)| to - from).sum();
    Based { state, reached, watermark, stop, tail_bytes, bad_images, uncounted, milestones }
}

/// What one attempt to open knows of those before it.
#[derive(Default)]
pub(crate) struct Look {
    /// The watermark that the last refusal was based on.
    confirmed: u64,
    /// An image that is listed and not there counts as damaged. Beside a writer it was replaced, and the manifest is
    /// to be read again instead: without images opening takes long.
    pub(crate) images_may_be_gone: bool,
}

impl Look {
    /// The only one: nobody else changes anything.
    pub(crate) fn of_a_writer() -> Self {
        Self { confirmed: 0, images_may_be_gone: true }
    }
}

/// Brings the store back. With `read_only` nothing is written and what was not proven is shown as is.
///
/// A reader beside a writer can meet a record before it is whole and then, behind it, a watermark that
/// was written meanwhile. So a refusal leaves in `look` the watermark it was based on, and the
/// reader's next attempt is content once it has reached that one: damage that stays never lets it.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    manifest: Manifest,
    copies_agree: bool,
    options: &Options,
    look: &mut Look,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<Recovered> {
    let without_images = Manifest { images: Vec::new(), ..manifest.clone() };
    match recover_from(disk, manifest, copies_agree, options, look, progress) {
        // Met by what comes after replay; the whole log is left.
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
    let chain = Chain::find(disk, &manifest, &names, options).or_else(|error| {
        // Where a file is missing that a newer manifest no longer listed, this is why.
        outdated::refuse(disk, &manifest, &names, None)?;
        Err(error)
    })?;
    let Based { mut state, reached, watermark, stop, tail_bytes, bad_images, uncounted, milestones } =
        base(disk, &chain, &manifest, options, look.images_may_be_gone, progress)?;
    let dropped_bytes = match &stop {
        Some(stop) => accept_end(&chain, stop, watermark, reached, options, look)?,
        None if watermark > reached.last_seq && options.recovery == Recovery::Strict => {
            return Err(Error::Corruption {
                path: disk.path().to_owned(),
                offset: 0,
                expected: format!("records up to sequence {watermark}, which the device had confirmed"),
                found: format!("a log that ends at sequence {}", reached.last_seq),
            });
        }
        None => 0,
    };
    // Before anything is written or removed.
    outdated::refuse(disk, &manifest, &names, Some(reached.last_seq))?;

    let clean = manifest.clean && !chain.cut && stop.is_none() && watermark >= reached.last_seq;
    let next_seq = chain.next_seq.max(reached.last_seq + 1);
    let ids = names.iter().filter_map(|name| image_id_of(name));
    // The very last id is never ours.
    let next_image = ids.filter_map(|id| id.checked_add(1)).fold(manifest.next_image, u32::max);
    let mut manifest = Manifest { next_segment: chain.next_segment, next_seq, next_image, ..manifest };
    let mut log = log_of(&**disk, &manifest, &chain, reached, options);

    if options.read_only {
        let durable_seq = watermark.min(reached.last_seq);
        return Ok(Recovered { state, log, manifest, tail_bytes, durable_seq, uncounted, dropped_bytes });
    }
    if !copies_agree {
        // The newer copy may have its name in memory only, if its writer was killed there: a power cut could bring
        // back the older one, and what is removed by the newer would be missed.
        manifest.write(&**disk)?;
    }
    // Of what a crash interrupted. First of all, so that a full disk finds their space.
    remove_orphans(disk, &names, &manifest)?;
    manifest.images.retain(|image| !bad_images.contains(&image.id));
    if clean {
        if !bad_images.is_empty() {
            manifest.write(&**disk)?;
            remove_orphans(disk, &names, &manifest)?;
        }
        return Ok(Recovered {
            state,
            log,
            manifest,
            tail_bytes,
            durable_seq: reached.last_seq,
            uncounted,
            dropped_bytes,
        });
    }
    let proven = chain.end_of(watermark.min(reached.last_seq), &milestones)?;
    Rewrite { disk, options, chain: &chain, proven, reached }.run(&mut state, &mut log, &mut manifest)?;
    if manifest.lists(reached.segment) {
        give_back_rest(disk, &chain, reached, stop.is_none());
    }
    // Of which every record was written again.
    remove_orphans(disk, &names, &manifest)?;
    let durable_seq = log.end.last_seq;
    Ok(Recovered { state, log, manifest, tail_bytes, durable_seq, uncounted, dropped_bytes })
}

/// Whether the log may end where replay stopped; how many bytes behind that are dropped.
fn accept_end(
    chain: &Chain,
    stop: &Stop,
    watermark: u64,
    reached: LogEnd,
    options: &Options,
    look: &mut Look,
) -> Result<u64> {
    let beyond = chain.watermark_beyond(stop.at, stop.offset, reached.last_seq)?;
    let highest = watermark.max(beyond.watermark);
    let caught_up = options.read_only && (1..=reached.last_seq).contains(&look.confirmed);
    if highest > reached.last_seq && !caught_up && options.recovery == Recovery::Strict {
        look.confirmed = highest;
        return Err(stop.refusal(reached.last_seq, highest));
    }
    Ok(beyond.bytes)
}

/// The log up to what was accepted, and how it is written from now on.
fn log_of(disk: &dyn Disk, manifest: &Manifest, chain: &Chain, reached: LogEnd, options: &Options) -> Log {
    let copies = match options.write_mode {
        WriteMode::Mmap => true,
        WriteMode::Pwrite => false,
        // A commit that is flushed at once is faster by system call (docs/dev/004).
        WriteMode::Auto => disk.maps_safely() && options.durability != Durability::Sync,
    };
    let mut log =
        Log::new(manifest.store_id, chain.entries_up_to(reached), reached, manifest.next_seq, copies);
    // Only where what was written once is written over in place: elsewhere that takes space nobody reserved. And
    // not where commits are copied into a map: one stored into pages that came in by the megabyte makes all dirty.
    log.fills = options.durability == Durability::Sync && disk.maps_safely() && !copies;
    log
}

/// Gives back what was reserved in the segment that the log ended in. Should this fail, it costs space and nothing
/// else.
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
        // A reader of another process may have mapped more than was accepted now.
        file.give_back_zeros(reached.offset + beyond.bytes);
    }
}

/// Removes files that the manifest, durable in at least one copy, does not name: nothing in them counts.
fn remove_orphans(disk: &Arc<dyn Disk>, names: &[String], manifest: &Manifest) -> Result<()> {
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
                // The manifest's own writing may have been faster.
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

/// Reads the manifest of a directory that must hold a store; tells whether both copies agree.
pub(crate) fn read_manifest(disk: &dyn Disk) -> Result<Option<(Manifest, bool)>> {
    match Manifest::read(disk)? {
        manifest::Found::Manifest(manifest, agree) => Ok(Some((manifest, agree))),
        manifest::Found::Nothing => Ok(None),
    }
}

/// As [`read_manifest`], of a directory that may as well be empty, and of which others may be making a store just
/// now. One that holds other people's files is refused.
pub(crate) fn find_manifest(disk: &dyn Disk, path: &Path) -> Result<Option<(Manifest, bool)>> {
    for _ in 0..LOOKS {
        if let Some(found) = read_manifest(disk)? {
            return Ok(Some(found));
        }
        let names = disk.list().map_err(|error| Error::io(Operation::List, path, error))?;
        // Made between the two looks.
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

/// Refuses a directory that holds other people's files.
fn refuse_foreign(path: &Path, names: &[String]) -> Result<()> {
    // What a crash leaves of a store that was being made counts as empty.
    let ours = |name: &String| name == "LOCK" || manifest::UNFINISHED.contains(&name.as_str());
    if names.iter().all(ours) {
        return Ok(());
    }
    Err(Error::Format {
        path: path.to_owned(),
        problem: "is not an alexpy store: it holds files but no manifest; choose an empty or a new \
                  directory (nothing was changed)"
            .to_owned(),
    })
}
