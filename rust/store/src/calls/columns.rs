//! Reads into columns: the values of many keys, and the items of a scan. Several threads read a large batch.
//! Knows nothing of Python or Arrow.

use std::ops::ControlFlow;

use crate::calls::moment::Moment;
use crate::calls::read::PIECE_KEYS;
use crate::calls::scan::Scan;
use crate::calls::store::Reader;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::format::location::Location;
use crate::index::tree::Neighbour;
use crate::keys::{Key, KeyVec, Keys};
use crate::log::segments::Segments;
use crate::room::{room, with_room};
use crate::schema::KeyKind;
use crate::values::ahead::Ahead;
use crate::values::column::{Part, ValueColumn};
use crate::values::parallel;
use crate::values::value::{self, Met};

/// At most this many rows are reserved in advance.
const LIKELY_ROWS: usize = 1 << 16;
/// From this many rows on, it pays to look at a value first, to guess the length of all.
const GUESSED_ROWS: usize = 16;
/// From this many bytes on, it pays to look at more values.
const MUCH_BYTES: usize = 1 << 16;
/// One of so many records is measured to guess what all take: to measure each, a cache miss or a system call, would take a
/// quarter of the time of reading short ones. A prime, so that lengths that repeat with the keys are met alike.
const MEASURED_EVERY: usize = 13;

/// Some items of a scan, as columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemColumns {
    /// What the keys are.
    pub kind: KeyKind,
    /// The keys, in the scan's order.
    pub keys: KeyVec,
    /// Their values.
    pub values: ValueColumn,
}

impl Reader {
    /// Like [`Moment::get_column`], as of now.
    pub fn get_column<'k>(
        &self,
        keys: impl Into<Keys<'k>>,
        values: &mut ValueColumn,
        found: &mut Vec<bool>,
    ) -> Result<()> {
        self.moment()?.get_column(keys, values, found)
    }
}

impl Moment {
    /// Appends the values of many keys, in their order, to `values`, and whether each key exists to `found`.
    /// A missing key gets an empty value. O(keys * log n + bytes), with the cache misses overlapped.
    pub fn get_column<'k>(
        &self,
        keys: impl Into<Keys<'k>>,
        values: &mut ValueColumn,
        found: &mut Vec<bool>,
    ) -> Result<()> {
        let keys = keys.into();
        let width = likely_width(keys.len(), |row| {
            let mut locations = Vec::with_capacity(1);
            let segments = self.locate(keys.slice(row..row + 1), &mut locations).ok()?;
            length(&segments, keys.get(row), locations[0]?)
        });
        let parts = keys.chunks(parallel::part_len(keys.len(), width)).map(|keys| (keys.len(), keys));
        let read = values.append_parts(width, parts.collect(), |keys, part| {
            let mut found = with_room(keys.len())?;
            let mut locations = Vec::new();
            for keys in keys.chunks(PIECE_KEYS) {
                locations.clear();
                let segments = self.locate(keys, &mut locations)?;
                found.extend(locations.iter().map(Option::is_some));
                let ahead = self.shared.asks_ahead.over(locations.iter().map(|&it| (&*segments, it)));
                self.shared.push_values(&segments, keys, &locations, &mut { ahead }, part)?;
            }
            Ok(found)
        })?;
        room(found, keys.len())?;
        found.extend(read.into_iter().flatten());
        Ok(())
    }

    /// Like [`Moment::get_column`], for a neighbour of each key, which is appended to `near`; a key without one gets 0, an
    /// empty value, and false in `found`. O(keys * log n + bytes); for a snapshot, each key whose neighbour has changed
    /// since takes O(changed keys between the two) besides.
    pub fn get_nearest_column<'k>(
        &self,
        keys: impl Into<Keys<'k>>,
        which: Neighbour,
        near: &mut KeyVec,
        values: &mut ValueColumn,
        found: &mut Vec<bool>,
    ) -> Result<()> {
        let keys = keys.into();
        let width = likely_width(keys.len(), |row| {
            let (mut near, mut locations) = (KeyVec::default(), Vec::with_capacity(1));
            let segments =
                self.locate_nearest(keys.slice(row..row + 1), which, &mut near, &mut locations).ok()?;
            length(&segments, near.first()?, locations[0]?)
        });
        let parts = keys.chunks(parallel::part_len(keys.len(), width)).map(|keys| (keys.len(), keys));
        let read = values.append_parts(width, parts.collect(), |keys, part| {
            let (mut near, mut found) = (KeyVec::with_room(keys.len(), keys)?, with_room(keys.len())?);
            let mut locations = Vec::new();
            for keys in keys.chunks(PIECE_KEYS) {
                locations.clear();
                let had = near.len();
                let segments = self.locate_nearest(keys, which, &mut near, &mut locations)?;
                found.extend(locations.iter().map(Option::is_some));
                let near = near.as_keys().slice(had..near.len());
                let ahead = self.shared.asks_ahead.over(locations.iter().map(|&it| (&*segments, it)));
                self.shared.push_values(&segments, near, &locations, &mut { ahead }, part)?;
            }
            Ok((near, found))
        })?;
        room(found, keys.len())?;
        for (part_near, part_found) in read {
            near.extend(part_near.as_keys())?;
            found.extend(part_found);
        }
        Ok(())
    }
}

impl Scan {
    /// Up to `rows` further items; fewer mean the end. O(log n + items + bytes).
    pub fn next_columns(&mut self, rows: usize) -> Result<ItemColumns> {
        self.next_columns_within(rows, u64::MAX)
    }

    /// Up to `rows` further items whose records take about `bytes` in all, so that the memory of a batch is bounded
    /// whatever is stored. At least one item; none means the end. O(log n + items + bytes).
    pub fn next_columns_within(&mut self, rows: usize, bytes: u64) -> Result<ItemColumns> {
        let _running = self.shared.enter()?;
        let (mut keys, mut locations, mut runs) = (KeyVec::default(), Vec::new(), Vec::new());
        let mut left = bytes;
        while keys.len() < rows {
            let (wanted, had) = (PIECE_KEYS.min(rows - keys.len()), keys.len());
            let segments = self.take_into(wanted, &mut keys, &mut locations)?;
            let fit = if bytes == u64::MAX {
                keys.len()
            } else {
                (had + Self::fitting(&segments, &locations[had..], &mut left)).max(1).min(keys.len())
            };
            runs.push(segments);
            if fit < keys.len() {
                self.put_back(keys.get(fit - 1), keys.len() - fit);
                keys.truncate(fit);
                locations.truncate(fit);
                break;
            }
            if keys.len() - had < wanted {
                break;
            }
            // The first run was full, so more are likely.
            let more = (rows - keys.len()).min(LIKELY_ROWS);
            keys.room(more)?;
            room(&mut locations, more)?;
        }
        // This reuses the allocation: both types have the same layout.
        let locations: Vec<_> = locations.into_iter().map(Location).collect();
        let width =
            likely_width(keys.len(), |row| length(&runs[row / PIECE_KEYS], keys.get(row), locations[row]));
        let part_len = parallel::part_len(keys.len(), width);
        // A piece lies in one run. Whole runs divide into pieces of equal length, a power of two like the
        // run's own, of which a part has eight or more.
        let piece_len = PIECE_KEYS.min(1 << (part_len / 8).max(1).ilog2());
        let runs = keys.as_keys().chunks(PIECE_KEYS).zip(locations.chunks(PIECE_KEYS)).zip(&runs);
        let pieces = runs.flat_map(|((keys, locations), segments)| {
            let pieces = keys.chunks(piece_len).zip(locations.chunks(piece_len));
            pieces.map(move |(keys, locations)| (keys, locations, segments))
        });
        let pieces: Vec<_> = pieces.collect();
        let parts = pieces.chunks(part_len.div_ceil(piece_len));
        let parts = parts.map(|part| (part.iter().map(|(keys, ..)| keys.len()).sum(), part)).collect();
        let mut values = ValueColumn::with_room(keys.len())?;
        values.append_parts(width, parts, |pieces, part| {
            let records = pieces.iter().flat_map(|(_, locations, segments)| {
                locations.iter().map(move |&location| (&***segments, location))
            });
            let mut ahead = self.shared.asks_ahead.over(records);
            pieces.iter().try_for_each(|(keys, locations, segments)| {
                self.shared.push_values(segments, *keys, locations, &mut ahead, part)
            })
        })?;
        Ok(ItemColumns { kind: self.shared.opened.schema.key, keys, values })
    }

    /// How many of the records at `locations` take `left` bytes together, which are then subtracted from it: all if a guess
    /// from some says that this leaves much. One that cannot be measured takes none, and fails when it is read.
    fn fitting(segments: &Segments, locations: &[u64], left: &mut u64) -> usize {
        let size = |&raw: &u64| {
            let location = Location(raw);
            let size = segments.at(location).and_then(|segment| segment.size_in_memory(location.offset()));
            size.unwrap_or_default()
        };
        let likely: u64 = locations.iter().step_by(MEASURED_EVERY).map(size).sum();
        let likely = likely.saturating_mul(MEASURED_EVERY as u64);
        if likely <= *left / 2 {
            *left -= likely;
            return locations.len();
        }
        let mut fits = |raw| {
            let rest = left.checked_sub(size(raw));
            *left = rest.unwrap_or(*left);
            rest.is_some()
        };
        locations.iter().position(|raw| !fits(raw)).unwrap_or(locations.len())
    }
}

impl Shared {
    /// Pushes the values of `keys`, which are at `locations`; an empty value for a key without a location.
    fn push_values<'a, L: Copy + Into<Option<Location>>>(
        &self,
        segments: &Segments,
        keys: Keys<'_>,
        locations: &[L],
        ahead: &mut Ahead<'a, impl Iterator<Item = (&'a Segments, L)>>,
        part: &mut Part<'_>,
    ) -> Result<()> {
        value::for_each(segments, keys, locations, self.options.verify_reads, ahead, |_, met| {
            match met {
                None => part.push(&[])?,
                Some(Met::Plain(value, _)) => part.push(value)?,
                Some(Met::Compressed(value, _)) => {
                    part.push_written(value.len, |out| value.copy_to(out))?;
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Length of the value of a key; `None` if only a read could tell, or if the value cannot be read, which the
/// read itself will report.
fn length(segments: &Segments, key: Key, location: Location) -> Option<usize> {
    segments.at(location).ok()?.mapped_len(location.offset(), key)
}

/// The common length of this many values, guessed from the first, or from three of them if all would take
/// much memory; 0 if those differ, or for a few values.
fn likely_width(rows: usize, length: impl Fn(usize) -> Option<usize>) -> usize {
    if rows < GUESSED_ROWS {
        return 0;
    }
    let mut lengths = [0, rows / 2, rows - 1].into_iter().filter_map(length);
    let first = lengths.next().unwrap_or_default();
    let little = first.saturating_mul(rows) < MUCH_BYTES;
    if little || lengths.all(|length| length == first) { first } else { 0 }
}
