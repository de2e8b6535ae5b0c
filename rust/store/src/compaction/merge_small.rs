//! Merging small segments: sessions that are short, or end in a kill, leave a segment each, and files, maps and the
//! time to open are to be bounded by the bytes of a store, not by its sessions. Segments of one size class are
//! brought together in one relocation segment once there are enough of them, as in a log-structured merge: each byte
//! is copied once for each class. Knows which segments and when; how, and when files may go, is compaction's
//! (`emptying.rs`, `freeing.rs`). O(bytes of the merged segments), amortised O(1) for a session.

use crate::compaction::inputs::{Input, Pace};
use crate::compaction::relocation_writer::RelocationWriter;
use crate::engine::compaction_state::Compaction;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::options::Options;

/// Bytes of records of the lowest class: to copy so much costs less than the syncs around it.
const LOWEST_BYTES: u64 = 256 << 10;
/// Each class is so many times as large as the one below it.
const CLASS_FACTOR: u64 = 4;
/// The most segments that are merged at a time.
const MOST_SEGMENTS: usize = 64;
/// Where images need the files of merged segments, a new image is written once there is a small segment for each so
/// many bytes of it, ...
const IMAGE_BYTES_EACH: u64 = 1 << 20;
/// ... or so many of them, however large the image: a process may have 65,530 maps, and opening looks at each file.
const MOST_BEHIND_AN_IMAGE: usize = 4096;

/// Which segments are merged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Those of the lowest class, which takes milliseconds.
    Lowest,
    /// Those of any class of which there are enough.
    Enough,
    /// All small ones, however few: somebody asked for it.
    All,
}

/// Records of so many bytes make a segment a small one.
fn small_bytes(options: &Options) -> u64 {
    options.segment_bytes / 8
}

/// The size class of a segment.
fn class(bytes: u64, options: &Options) -> u32 {
    let lowest = LOWEST_BYTES.min(small_bytes(options)).max(1);
    (bytes / lowest).max(1).ilog(CLASS_FACTOR)
}

impl Shared {
    /// Merges small segments so that there are few of each class, and frees them.
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
        // Freeing needs it, and what was committed is safe then, whatever becomes of this.
        self.flush_up_to(self.watermarks.last())?;
        for group in groups {
            self.empty(compaction, group, pace)?;
        }
        // One image for all of them.
        self.free_in_spite_of_images(compaction)
    }

    /// As `merge_small`, for an opening after a kill, which writes anyway. One that finds the store as a close left it
    /// writes nothing.
    pub(crate) fn merge_at_open(&self) -> Result<()> {
        if self.catalog.lock().manifest.clean {
            return Ok(());
        }
        match self.merge_lowest(&mut self.compacting.lock()) {
            Err(error) if self.check_writable().is_err() => Err(error),
            _ => Ok(()),
        }
    }

    /// As `merge_small`, for a close that has something to write.
    pub(crate) fn merge_at_close(&self, compaction: &mut Compaction) -> Result<()> {
        self.check_writable()?;
        let wrote = {
            let writing = self.writing.lock();
            writing.log.active.is_some() || !writing.log.unsynced.is_empty()
        };
        if wrote { self.merge_lowest(compaction) } else { Ok(()) }
    }

    /// Only what is done in a moment.
    fn merge_lowest(&self, compaction: &mut Compaction) -> Result<()> {
        self.merge_small(compaction, Merge::Lowest, &mut |_| self.check_writable())
    }

    /// Groups of small segments that are worth a segment of their own, each of one class.
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

    /// Whether files come free without a new image, or are many beside what one costs.
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
