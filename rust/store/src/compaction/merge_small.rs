//! Merging small segments: sessions that are short, or end in a kill, leave a segment each, and files, maps and the
//! time to open are to be bounded by the bytes of a store, not by its sessions. Segments of one size class are
//! brought together in one relocation segment once there are enough of them, as in a log-structured merge: each byte
//! is copied once for each class. Knows which segments and when; how, and when files may go, is compaction's
//! (`relocate.rs`, `free.rs`). O(bytes of the merged segments), amortised O(1) for a session.

use std::collections::HashSet;

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
/// A new image, without which the files of merged segments stay where images need them, is written for one small
/// segment for each so many bytes of it.
const IMAGE_BYTES_EACH: u64 = 1 << 20;

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
    /// Merges small segments until there are few of each class, and frees them.
    pub(crate) fn merge_small(
        &self,
        compaction: &mut Compaction,
        which: Merge,
        pace: &mut Pace<'_>,
    ) -> Result<()> {
        // What was written is not merged again at once.
        let mut tried = HashSet::new();
        loop {
            let inputs = self.inputs(compaction);
            let chosen = self.small_ones(inputs, which, &tried);
            if chosen.is_empty() || !self.worth_an_image(chosen.len(), which) {
                return Ok(());
            }
            tried.extend(chosen.iter().map(|input| input.segment.id()));
            tried.extend(self.empty(compaction, chosen, pace)?);
            self.free_in_spite_of_images(compaction)?;
        }
    }

    /// As `merge_small`, for an opening: only what is done in a moment, and a failure that poisons nothing costs
    /// nothing but files.
    pub(crate) fn merge_at_open(&self) -> Result<()> {
        let mut compaction = self.compacting.lock();
        match self.merge_small(&mut compaction, Merge::Lowest, &mut |_| self.check_writable()) {
            Err(error) if self.check_writable().is_err() => Err(error),
            _ => Ok(()),
        }
    }

    /// Small segments of one class, the smallest class first; none where there are too few.
    fn small_ones(&self, mut inputs: Vec<Input>, which: Merge, tried: &HashSet<u32>) -> Vec<Input> {
        let options = &self.options;
        inputs.retain(|input| {
            let bytes = input.bytes();
            let small = bytes <= small_bytes(options) && !input.segment.is_pinned();
            small && !tried.contains(&input.segment.id())
        });
        inputs.sort_by_key(Input::bytes);
        let least = if which == Merge::All { 2 } else { options.merge_small_from };
        let mut classes: Vec<Vec<Input>> = Vec::new();
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
                && let Some(inputs) = classes.last_mut().filter(|inputs| !full(inputs))
            {
                inputs.push(input);
            } else {
                bytes = input.bytes();
                classes.push(vec![input]);
            }
            gathered = Some(class);
        }
        classes.into_iter().find(|inputs| inputs.len() >= least).unwrap_or_default()
    }

    /// Whether files come free without a new image, or are many beside what one costs.
    fn worth_an_image(&self, segments: usize, which: Merge) -> bool {
        let bytes = self.writing.lock().images.newest_bytes();
        which == Merge::All || bytes <= segments as u64 * IMAGE_BYTES_EACH
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
