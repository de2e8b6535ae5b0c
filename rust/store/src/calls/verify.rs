//! `verify`: reads every byte of every file of a store without trusting the index, then rebuilds the index
//! from the log and compares the two. Changes nothing; writers and readers go on meanwhile. O(bytes on disk),
//! and the memory of a second index.

use std::collections::BTreeSet;
use std::io::ErrorKind::NotFound;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::calls::scan::Scan;
use crate::calls::store::Store;
use crate::checkpoint::image_file;
use crate::disk::{Access, Disk, RealDisk};
use crate::engine::state::State;
use crate::error::{Error, Result};
use crate::format::header::{LogEnd, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::format::location::Location;
use crate::format::manifest::{self, Manifest, NAMES};
use crate::index::checked::Index;
use crate::index::versions::ScanRange;
use crate::keys::{Key, KeyVec};
use crate::log::resync::{Met, walk};
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::operation::Operation;
use crate::options::{Options, ReadMode, Recovery, check_path};
use crate::progress::OpenProgress;
use crate::recovery::chain::{Chain, missing};
use crate::recovery::replay::Replay;

/// Damage beyond this number is not listed.
const MAX_ERRORS: usize = 1000;
/// How often manifest copies that differ are read again, and how long after.
const MANIFEST_LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Index entries compared at a time.
const RUN: usize = 4096;
/// Bytes between two calls of the progress callback.
const PROGRESS_BYTES: u64 = 8 << 20;

const ALL: ScanRange =
    ScanRange { start: Bound::Unbounded, stop: Bound::Unbounded, reverse: false, limit: None };

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Valid records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Everything that is wrong, in the order in which it was found; at most 1,000 errors.
    pub errors: Vec<Error>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }

    fn add(&mut self, error: Error) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    /// Damage goes into the report; any other failure ends the call.
    fn note<T>(&mut self, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Corruption { .. } | Error::Format { .. })) => {
                self.add(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Store {
    /// Checks every byte of every file without the index, and then the index against the log. Damage is
    /// listed in the report, not raised; a read error of the device is raised. What is written meanwhile is
    /// not checked. `progress` is called every few mebibytes; once it returns false, the call stops with
    /// [`Error::Interrupted`].
    ///
    /// O(bytes), read twice, and the memory of a second index.
    pub fn verify(&self, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<VerifyReport> {
        let shared = &self.shared;
        let _running = shared.enter()?;
        // The log as far as it is published now, and the index at the same moment.
        let (manifest, segments, mut scan, _pins) = {
            let catalog = shared.catalog.lock();
            let writing = shared.writing.lock();
            let scan = self.scan(ALL)?;
            let mut manifest = catalog.manifest.clone();
            manifest.segments.clone_from(&writing.log.entries);
            // The spare segment holds nothing yet, or it is the last of the log's entries.
            manifest.spare = None;
            // Compaction must not remove a file before it is checked.
            let segments = Arc::clone(&shared.read_state()?.segments);
            let pins: Vec<_> = segments.iter().map(Segment::pin).collect();
            (manifest.up_to(writing.log.end), segments, scan, pins)
        };
        let mut report = VerifyReport::default();
        // A writer may remove any file beside a reader, which therefore checks the files that it holds open.
        let held = shared.options.read_only.then_some(&*segments);
        let mut check = Check::new(&shared.disk, &manifest, held, progress);
        check.manifests(&mut report, &|| !shared.options.read_only && !shared.catalog.lock().half_written)?;
        check.segments(&mut report)?;
        check.images(&mut report)?;
        if report.is_ok() {
            check.index(&mut report, &mut scan)?;
        }
        Ok(report)
    }

    /// Like [`Store::verify`], for a closed store in the directory `path` that cannot be opened: checks only
    /// the files, each by itself. Takes no lock and writes nothing.
    pub fn verify_files(path: &Path, progress: &mut dyn FnMut(OpenProgress) -> bool) -> Result<VerifyReport> {
        check_path(path)?;
        let disk = RealDisk::new(path).map_err(|error| Error::io(Operation::Open, path, error))?;
        verify_files_on(&(Arc::new(disk) as Arc<dyn Disk>), progress)
    }
}

/// Like [`Store::verify_files`], on any disk.
pub(crate) fn verify_files_on(
    disk: &Arc<dyn Disk>,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let manifest = report.note(Manifest::read(&**disk))?;
    match manifest {
        Some(manifest::Found::Manifest(manifest, _)) => {
            let mut check = Check::new(disk, &manifest, None, progress);
            check.manifests(&mut report, &|| true)?;
            check.segments(&mut report)?;
            check.images(&mut report)?;
        }
        Some(manifest::Found::Nothing) => return Err(Error::NotFound { path: disk.path().to_owned() }),
        None => {}
    }
    Ok(report)
}

struct Check<'a> {
    disk: &'a Arc<dyn Disk>,
    manifest: &'a Manifest,
    /// The segments that a read-only handle holds open.
    held: Option<&'a Segments>,
    progress: &'a mut dyn FnMut(OpenProgress) -> bool,
    bytes_done: u64,
    bytes_total: u64,
}

impl<'a> Check<'a> {
    fn new(
        disk: &'a Arc<dyn Disk>,
        manifest: &'a Manifest,
        held: Option<&'a Segments>,
        progress: &'a mut dyn FnMut(OpenProgress) -> bool,
    ) -> Self {
        Self { disk, manifest, held, progress, bytes_done: 0, bytes_total: 0 }
    }

    /// Both copies must be whole and, if nobody is changing them at this moment and `must_agree` says so, alike.
    fn manifests(&self, report: &mut VerifyReport, must_agree: &dyn Fn() -> bool) -> Result<()> {
        let read = || NAMES.map(|name| Manifest::read_copy(&**self.disk, name));
        let mut copies = read();
        for _ in 0..MANIFEST_LOOKS {
            match &copies {
                // A writer has replaced one copy and not yet the other.
                [Ok(Some(a)), Ok(Some(b))] if a != b && must_agree() => {}
                _ => break,
            }
            std::thread::sleep(BETWEEN_LOOKS);
            copies = read();
        }
        if let [Ok(Some(a)), Ok(Some(b))] = &copies
            && a != b
            && must_agree()
        {
            report.add(Error::Corruption {
                path: self.disk.path_of(NAMES[1]),
                offset: 0,
                expected: format!("generation {}, as in the other copy", a.generation),
                found: format!("generation {}", b.generation),
            });
        }
        for (name, copy) in NAMES.into_iter().zip(copies) {
            match report.note(copy)? {
                Some(Some(copy)) => report.bytes += copy.encoded_bytes(),
                Some(None) => report.add(Error::Corruption {
                    path: self.disk.path_of(name),
                    offset: 0,
                    expected: "a copy of the manifest".to_owned(),
                    found: "no such file".to_owned(),
                }),
                None => {}
            }
        }
        Ok(())
    }

    /// Checks each segment by itself: its header, every record, and that the records reach as far as the log
    /// counts.
    fn segments(&mut self, report: &mut VerifyReport) -> Result<()> {
        let log = self.manifest.segments.iter().map(|entry| (entry.segment, entry.end));
        let relocated = self.manifest.relocations.iter().map(|entry| {
            let end = LogEnd { segment: entry.segment, offset: entry.end, last_seq: entry.last_seq };
            (entry.segment, Some(end))
        });
        let all: Vec<_> = log.chain(relocated).collect();
        // Once for the bytes, and once for the index.
        self.bytes_total = 2 * all.iter().map(|(_, end)| end.map_or(0, |end| end.offset)).sum::<u64>();
        for (id, end) in all {
            let opened = match self.held {
                Some(held) => self.held_segment(held, id),
                None => Segment::open(self.disk, id, Access::Read, ReadMode::Pread),
            };
            let opened = opened.map_err(|error| missing(&**self.disk, id, error));
            let Some(segment) = report.note(opened)? else { continue };
            report.bytes += SEGMENT_HEADER_BYTES;
            self.records(&segment, end, report)?;
        }
        Ok(())
    }

    /// Checks each image by itself. Opening can do without them, but a user should learn why it takes long.
    fn images(&self, report: &mut VerifyReport) -> Result<()> {
        for entry in &self.manifest.images {
            let checked = image_file::check(&**self.disk, entry);
            let gone = matches!(&checked, Err(Error::Io { source, .. }) if source.kind() == NotFound);
            if gone && !self.is_listed(|now| now.lists_image(entry.id))? {
                // A checkpoint replaced it meanwhile.
                continue;
            }
            let checked = checked.map_err(|error| match error {
                Error::Io { path, .. } if gone => Error::Corruption {
                    path,
                    offset: 0,
                    expected: "an image that the manifest lists".to_owned(),
                    found: "no such file".to_owned(),
                },
                error => error,
            });
            if report.note(checked)?.is_some() {
                report.bytes += entry.bytes;
            }
        }
        Ok(())
    }

    fn records(&mut self, segment: &Segment, end: Option<LogEnd>, report: &mut VerifyReport) -> Result<()> {
        let begun = self.bytes_done;
        let mut next_report = PROGRESS_BYTES;
        let total = self.bytes_total;
        let progress = &mut *self.progress;
        // Where dictionaries are that cannot be read. All the values that need one fail alike.
        let mut lost = BTreeSet::new();
        walk(segment, end.map(|end| end.offset), &mut |met| {
            let at = match met {
                Met::Record(offset, record) => {
                    report.records += 1;
                    report.bytes += record.size();
                    if record.compressed {
                        match segment.decompressed(&record, offset) {
                            Err(Error::Corruption { offset: at, .. })
                                if at != offset && lost.contains(&at) => {}
                            read => {
                                if let Err(Error::Corruption { offset: at, .. }) = &read
                                    && lost.len() < MAX_ERRORS
                                {
                                    lost.insert(*at);
                                }
                                report.note(read)?;
                            }
                        }
                    }
                    offset + record.size()
                }
                Met::Damage { offset, len, why } => {
                    report.bytes += len;
                    report.add(Error::Corruption {
                        path: segment.path.clone(),
                        offset,
                        expected: "a whole record".to_owned(),
                        found: format!("{why} ({len} bytes up to the next whole record)"),
                    });
                    offset + len
                }
            };
            if at >= next_report {
                next_report = at + PROGRESS_BYTES;
                if !progress(OpenProgress { bytes_done: begun + at, bytes_total: total }) {
                    return Err(Error::Interrupted);
                }
            }
            Ok(true)
        })?;
        self.bytes_done = begun + end.map_or(0, |end| end.offset);
        Ok(())
    }

    /// A second look at a segment that is held open. Its name may be gone only if no manifest lists it any
    /// more.
    fn held_segment(&self, held: &Segments, id: u32) -> Result<Segment> {
        let segment = held.at(Location::new(id, 0))?.twin();
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let read = segment.read_at(0, &mut bytes)?;
        let header = SegmentHeader::decode(&bytes[..read], &segment.path)?;
        if header != segment.header {
            return Err(Error::Corruption {
                path: segment.path,
                offset: 0,
                expected: format!("the header of segment {id}, as when the store was opened"),
                found: format!("another one, of segment {}", header.id),
            });
        }
        match self.disk.open(&Segment::name(id), Access::Read) {
            Err(error) if error.kind() == NotFound && self.is_listed(|now| now.lists(id))? => {
                Err(Error::io(Operation::Open, &segment.path, error))
            }
            _ => Ok(segment),
        }
    }

    /// Whether the newest manifest on the disk lists something.
    fn is_listed(&self, listed: impl Fn(&Manifest) -> bool) -> Result<bool> {
        Ok(matches!(Manifest::read(&**self.disk)?, manifest::Found::Manifest(now, _) if listed(&now)))
    }

    /// Replays the log into an index of its own and compares it, key by key, with the store's.
    fn index(&mut self, report: &mut VerifyReport, scan: &mut Scan) -> Result<()> {
        let options = Options {
            read_only: true,
            read_mode: ReadMode::Pread,
            recovery: Recovery::Strict,
            ..Options::default()
        };
        let chain = match self.held {
            Some(held) => Chain::held(self.manifest, held),
            None => Chain::find(self.disk, self.manifest, &[], &options),
        };
        let Some(chain) = report.note(chain)? else {
            return Ok(());
        };
        let mut replay = Replay::new(&chain, self.manifest, Index::empty(self.manifest.schema.key.width())?);
        let (begun, bytes_total) = (self.bytes_done, self.bytes_total);
        let progress = &mut *self.progress;
        replay.run(&mut |at| progress(OpenProgress { bytes_done: begun + at.bytes_done, bytes_total }))?;
        let last = self.manifest.segments.last().and_then(|entry| entry.end);
        if let Some(stop) = &replay.stop
            && last.is_some_and(|end| end != replay.reached)
        {
            report.add(stop.refusal(replay.reached.last_seq, last.map_or(0, |end| end.last_seq)));
            return Ok(());
        }
        self.bytes_done = self.bytes_total;
        compare(report, &replay.state, scan, self.disk.path())
    }
}

/// Compares what the log says with what the store's index says.
fn compare(report: &mut VerifyReport, log: &State, scan: &mut Scan, path: &Path) -> Result<()> {
    let mut after = Bound::Unbounded;
    loop {
        let (run, looked_up) = scan.take_looked_up(RUN)?;
        let (mut keys, mut locations) = (KeyVec::default(), Vec::new());
        let wanted = if run.keys.is_empty() { 1 } else { run.keys.len() };
        log.index.scan_into(after, Bound::Unbounded, false, wanted, &mut keys, &mut locations)?;
        for (i, key) in run.keys.iter().enumerate() {
            let in_log = locations.get(i).map(|&location| (keys.get(i), location));
            let agrees = match in_log {
                Some((logged, location)) if logged == key => {
                    location == run.locations[i]
                        || same_record(
                            key,
                            Location(location),
                            &log.segments,
                            run.location(i),
                            &run.segments,
                        )?
                }
                _ => false,
            };
            let routed = looked_up.as_ref().is_none_or(|found| found[i] == Some(run.locations[i]));
            if !agrees || !routed {
                report.add(Error::Corruption {
                    path: path.to_owned(),
                    offset: run.location(i).offset(),
                    expected: match in_log {
                        Some((logged, location)) => {
                            format!(
                                "an index that says of key {logged} what the log says, {:?}",
                                Location(location)
                            )
                        }
                        None => "an index with no further key, as the log".to_owned(),
                    },
                    found: format!("key {key} at {:?}, found by a lookup: {routed}", run.location(i)),
                });
                return Ok(());
            }
        }
        let Some(last) = run.keys.last() else {
            if let Some(key) = keys.first() {
                report.add(Error::Corruption {
                    path: path.to_owned(),
                    offset: 0,
                    expected: format!("an index that holds key {key}, as the log does"),
                    found: "no such key".to_owned(),
                });
            }
            return Ok(());
        };
        after = Bound::Excluded(last);
    }
}

/// Whether two locations hold the same value of a key: a record may have been moved, but never changed.
fn same_record(key: Key, a: Location, of_a: &Segments, b: Location, of_b: &Segments) -> Result<bool> {
    let value = |location: Location, segments: &Segments| {
        crate::values::value::Value::read(segments.at(location)?, location.offset(), key, true)
    };
    match (value(a, of_a), value(b, of_b)) {
        (Ok(a), Ok(b)) => Ok(*a == *b),
        (Err(error @ Error::Io { .. }), _) | (_, Err(error @ Error::Io { .. })) => Err(error),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let options = Options { background: false, ..Options::default() };
        let store = Store::open(dir.path(), &options, &mut |_| true).expect("opens");
        for key in 0..10_000_i64 {
            store.put(key, &key.to_le_bytes()).expect("writes");
        }
        (dir, store)
    }

    fn found(store: &Store) -> String {
        let report = store.verify(&mut |_| true).expect("reads");
        report.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn an_index_with_a_missing_key_an_extra_key_or_a_wrong_location_is_detected() {
        let (_dir, store) = store();
        assert_eq!(found(&store), "");
        let change = |change: &dyn Fn(&mut State)| change(&mut store.shared.state.write());
        let place = store.shared.state.read().index.get(7).expect("whole").expect("there");
        for key in [0, 5000, 9_999] {
            let old = store.shared.state.read().index.get(key).expect("whole").expect("there");
            change(&|state| {
                state.index.remove(key).expect("whole");
            });
            assert!(found(&store).contains(&format!("key {key}")), "{}", found(&store));
            change(&|state| {
                state.index.insert(key, place).expect("whole");
            });
            assert!(found(&store).contains(&format!("key {key}")), "{}", found(&store));
            change(&|state| {
                state.index.insert(key, old).expect("whole");
            });
            assert_eq!(found(&store), "");
        }
        for key in [-1, 10_000] {
            change(&|state| {
                state.index.insert(key, place).expect("whole");
            });
            assert!(found(&store).contains(&format!("key {key}")), "{}", found(&store));
            change(&|state| {
                state.index.remove(key).expect("whole");
            });
        }
        assert_eq!(found(&store), "");
    }
}
