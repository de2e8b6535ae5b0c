//! How compaction stores values: by one dictionary, which may be newly trained from them, and never in more bytes than
//! before. Knows nothing of which records are moved, or why. O(bytes).

use std::sync::Arc;

use crate::compaction::inputs::{Live, is_damage};
use crate::compaction::relocation_writer::RelocationWriter;
use crate::engine::compressor::LONGEST_SAMPLE_BYTES;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::format::compressed::{Compressed, Dictionary, compress};
use crate::format::location::Location;
use crate::format::record::Record;
use crate::keys::Width;
use crate::log::dictionaries::Stored;
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::room::room;
use crate::schema::Compression;

/// Records with longer values are copied as they are: a dictionary makes them hardly shorter, and to find that out takes
/// longer than the copy.
const LONGEST_BYTES: usize = 64 << 10;

/// So many dictionaries of a unit are loaded to find equal ones. Only forged files have more.
const TOLD_APART: usize = 128;

/// Stores the values of one unit of compaction.
pub(crate) struct Recompress {
    compression: Compression,
    width: Width,
    by: Option<Arc<Dictionary>>,
    /// The most bytes of dictionaries that the unit's segment may hold.
    pub(crate) dictionary_bytes: u64,
    out: Vec<u8>,
}

impl Shared {
    /// Chooses the dictionary of a unit. What cannot be read is left out, and met again when it is copied.
    pub(crate) fn recompress(&self, live: &[Live], segments: &Segments) -> Result<Recompress> {
        let schema = &self.opened.schema;
        let mut unit = Recompress {
            compression: schema.compression,
            width: schema.key.width(),
            by: None,
            dictionary_bytes: 0,
            out: Vec::new(),
        };
        if unit.compression == Compression::None {
            return Ok(unit);
        }
        let bytes = live.iter().map(|it| it.bytes).sum();
        unit.by = self.compressor.for_relocation(live.len(), bytes, |i| {
            let it = &live[i];
            let (segment, offset) = (segments.at(it.from)?, it.from.offset());
            let read = segment.size_in_memory(offset).and_then(|bytes| match bytes {
                bytes if bytes > LONGEST_SAMPLE_BYTES as u64 => Ok(Vec::new()),
                _ => segment.value_copy(offset, it.key.into()),
            });
            match read {
                Err(error) if is_damage(&error) => Ok(Vec::new()),
                read => read,
            }
        })?;
        unit.dictionary_bytes = dictionary_bytes(live, segments, unit.by.as_ref())?;
        Ok(unit)
    }
}

/// The most that the dictionaries of a unit take: a value whose own dictionary serves it better keeps that.
fn dictionary_bytes(live: &[Live], segments: &Segments, by: Option<&Arc<Dictionary>>) -> Result<u64> {
    let mut places = Vec::new();
    for it in live.iter().filter(|it| it.by != 0) {
        let place = (it.from.segment(), it.by);
        if places.last() != Some(&place) {
            room(&mut places, 1)?;
            places.push(place);
        }
    }
    places.sort_unstable();
    places.dedup();
    let mut told_apart: Vec<_> = by.cloned().into_iter().collect();
    let mut others = 0;
    for (segment, place) in places {
        let segment = segments.at(Location::new(segment, 0))?;
        if told_apart.len() < TOLD_APART {
            match segment.dictionary(place) {
                Ok(Some(own)) if !told_apart.iter().any(|known| Arc::ptr_eq(known, &own)) => {
                    told_apart.push(Arc::clone(&own));
                }
                Err(error) if !is_damage(&error) => return Err(error),
                _ => {}
            }
        } else {
            // What cannot be read is met again when it is copied.
            others += segment.record_size(u64::from(place) << 3).unwrap_or_default();
        }
    }
    Ok(told_apart.iter().map(|it| it.record_size()).sum::<u64>() + others)
}

impl Recompress {
    /// The dictionary of the unit.
    pub(crate) fn by(&self) -> Option<&Arc<Dictionary>> {
        self.by.as_ref()
    }

    /// Writes a put, found at `offset` of `source`. Returns where, and in how many bytes.
    pub(crate) fn put(
        &mut self,
        writer: &mut RelocationWriter,
        source: &Segment,
        offset: u64,
        put: &Record<'_>,
    ) -> Result<(Location, u64)> {
        self.out.clear();
        let compressed = Compressed::of(put.value).filter(|_| put.compressed);
        let by = compressed.map_or(Ok(None), |it| source.dictionary(it.place))?;
        let own = match compressed {
            Some(Compressed { frame, .. }) => Stored::Compressed { frame, by: by.as_deref() },
            None => Stored::Plain(put.value),
        };
        let width = self.width;
        let stored = self.stored(source, offset, put, own)?;
        let to = writer.put(put.seq, put.key, stored)?;
        Ok((to, width.size_of_put(stored.len() as u64)))
    }

    /// The shorter of the value as it is and as the dictionary of the unit makes it.
    fn stored<'a>(
        &'a mut self,
        source: &Segment,
        offset: u64,
        put: &Record<'a>,
        own: Stored<'a>,
    ) -> Result<Stored<'a>> {
        let (Some(by), Compression::Zstd) = (&self.by, self.compression) else { return Ok(own) };
        if own.len() > LONGEST_BYTES {
            return Ok(own);
        }
        if matches!(own, Stored::Compressed { by: Some(own), .. } if Arc::ptr_eq(own, by)) {
            return Ok(own);
        }
        let value;
        let value = if put.compressed {
            value = source.decompressed(put, offset)?;
            &value[..]
        } else {
            put.value
        };
        compress(value, Some(by), &mut self.out)?;
        Ok(match Compressed::of(&self.out) {
            Some(Compressed { frame, .. }) if self.out.len() < own.len() => {
                Stored::Compressed { frame, by: Some(by) }
            }
            _ => own,
        })
    }
}
