//! Merges small segments. Sessions that are short, or end in a kill, leave a segment each, but files, maps
//! and the time to open must be bounded by the size of a store, not by its sessions. Once there are enough
//! segments of one size class, they are merged into one relocation segment, as in a log-structured merge:
//! each byte is copied once per class. Knows which segments to merge and when; how they are emptied is
//! `relocate.rs`, and when files may go is `free.rs`. O(bytes of the merged segments), amortised O(1) for a
//! session.

use crate::compaction::inputs::{Input, Pace};
use crate::compaction::relocation_writer::RelocationWriter;
use crate::engine::compaction_state::Compaction;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::options::Options;

/// Size of the lowest class, in bytes of records: copying this much costs less than the syncs around it.
const LOWEST_BYTES: u64 = 256 << 10;
/// Each class is this many times as large as the one below it.
const CLASS_FACTOR: u64 = 4;
/// The most segments that are merged at a time.
const MOST_SEGMENTS: usize = 64;
/// If images need the files of merged segments, a new image is written once there is a small segment for
/// every `IMAGE_BYTES_EACH` of it, ...
const IMAGE_BYTES_EACH: u64 = 1 << 20;
/// ... or this many segments, however large the image: a process may have 65,530 maps, and opening looks at
/// each file.
const MOST_BEHIND_AN_IMAGE: usize = 4096;

/// Which segments are merged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Those of the lowest class, which takes milliseconds.
    Lowest,
    /// Those of any class that has enough of them.
    Enough,
    /// All small ones, however few, because the caller asked for it.
    All,
}

/// A segment with at most this many bytes of records is small.
fn small_bytes(options: &Options) -> u64 {
    options.segment_bytes / 8
}

/// The size class of a segment.
fn class(bytes: u64, options: &Options) -> u32 {
    let lowest = LOWEST_BYTES.min(small_bytes(options)).max(1);
    (bytes / lowest).max(1).ilog(CLASS_FACTOR)
}

impl Shared {
    /// Merges small segments so that few of each class remain, and frees the merged ones.
    pub(crate) fn merge_small(
        &self,
        compaction: &mut Compaction,
        which: Merge,
        pace: &mut Pace<'_>,
    ) -> Result<()> {
        let groups = self.small_ones(self.inputs(compaction), which);
        let segments = groups.iter().map(Vec::len).sum();
        if segments == 0 || !self.worth_an_image(segments, which) {
            return Ok(());
        }
        // Freeing needs the flush, and what was committed is then safe, whatever becomes of the merge.
        self.flush_up_to(self.watermarks.last())?;
        for group in groups {
            self.empty(compaction, group, pace)?;
        }
        // One image for all groups.
        self.free_in_spite_of_images(compaction)
    }

    /// Like `merge_small`, for an opening after a kill, which writes anyway. An opening that finds a cleanly
    /// closed store writes nothing.
    pub(crate) fn merge_at_open(&self) -> Result<()> {
        if self.catalog.lock().manifest.clean {
            return Ok(());
        }
        match self.merge_lowest(&mut self.compacting.lock()) {
            Err(error) if self.check_writable().is_err() => Err(error),
            _ => Ok(()),
        }
    }

    /// Like `merge_small`, for a close that has something to write.
    pub(crate) fn merge_at_close(&self, compaction: &mut Compaction) -> Result<()> {
        self.check_writable()?;
        let wrote = {
            let writing = self.writing.lock();
            writing.log.active.is_some() || !writing.log.unsynced.is_empty()
        };
        if wrote { self.merge_lowest(compaction) } else { Ok(()) }
    }

    /// Merges only what takes a moment.
    fn merge_lowest(&self, compaction: &mut Compaction) -> Result<()> {
        self.merge_small(compaction, Merge::Lowest, &mut |_| self.check_writable())
    }

    /// Groups of small segments that are worth merging, each group of one class.
    fn small_ones(&self, mut inputs: Vec<Input>, which: Merge) -> Vec<Vec<Input>> {
        let options = &self.options;
        inputs.retain(|input| input.bytes() <= small_bytes(options) && !input.segment.is_pinned());
        inputs.sort_by_key(Input::bytes);
        let least = if which == Merge::All { 2 } else { options.merge_small_from };
        let mut groups: Vec<Vec<Input>> = Vec::new();
        let (mut gathered, mut bytes) = (None, 0);
        for input in inputs {
            let class = if which == Merge::All { 0 } else { class(input.bytes(), options) };
            if which == Merge::Lowest && class > 0 {
                break;
            }
            let full = |inputs: &Vec<Input>| inputs.len() == MOST_SEGMENTS;
            bytes += input.bytes();
            if gathered == Some(class)
                && RelocationWriter::fits(bytes)
                && bytes <= options.segment_bytes
                && let Some(inputs) = groups.last_mut().filter(|inputs| !full(inputs))
            {
                inputs.push(input);
            } else {
                bytes = input.bytes();
                groups.push(vec![input]);
            }
            gathered = Some(class);
        }
        groups.retain(|inputs| inputs.len() >= least);
        groups
    }

    /// Whether files can be freed without a new image, or are so many that one is worth its cost.
    fn worth_an_image(&self, segments: usize, which: Merge) -> bool {
        let image = self.writing.lock().images.newest_bytes();
        let each = IMAGE_BYTES_EACH.min(small_bytes(&self.options));
        which == Merge::All || segments >= MOST_BEHIND_AN_IMAGE || image <= segments as u64 * each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_rise_with_the_bytes_and_the_lowest_takes_all_that_is_tiny() {
        let options = Options::default();
        let classes: Vec<u32> =
            [0, 1, 1000, LOWEST_BYTES, 4 * LOWEST_BYTES - 1, 4 * LOWEST_BYTES, 16 * LOWEST_BYTES]
                .into_iter()
                .map(|bytes| class(bytes, &options))
                .collect();
        assert_eq!(classes, [0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(class(512, &Options { segment_bytes: 4096, ..options }), 0);
    }
}
