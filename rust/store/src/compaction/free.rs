//! Frees segments that nothing needs: their disk space goes back, by rules that keep deleted keys deleted and
//! the newest value the newest, wherever a crash cuts in. Knows nothing of why a segment is empty.
//! O(segments).

use std::sync::Arc;

use crate::engine::catalog::Catalog;
use crate::engine::compaction_state::{Compaction, Emptied};
use crate::engine::locks::Guard;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::log::segment::Segment;

/// See `most_emptied_bytes`.
const LEAST_EMPTIED_BYTES: u64 = 256 << 20;
/// The same bound when writers may soon have to wait for space.
const LEAST_WHEN_TIGHT: u64 = 4 << 20;

impl Shared {
    /// Removes the emptied segments that may go: (a) a pass over their records found none that the index
    /// points to; (b) every tombstone in them was droppable or carried on, or they would not count as
    /// emptied; (c) everything that existed after that pass is on the device, so that nothing older than it
    /// is needed again; (d) the manifest drops them, durably in both copies, before the files go; (e) nobody
    /// needs the files any more: no image of the index, no replay over one, and no backup.
    pub(crate) fn free_emptied(&self, compaction: &mut Compaction) -> Result<()> {
        let Some(newest) = compaction.emptied.iter().map(|emptied| emptied.seq).max() else {
            return Ok(());
        };
        self.flush_up_to(newest)?;
        let mut catalog = self.catalog.lock();
        let (free, kept): (Vec<Emptied>, Vec<Emptied>) = {
            let mut writing = self.writing.lock();
            // If the index was since rebuilt from an older image, it may point into them again.
            compaction.emptied.retain(|emptied| emptied.rebuilds == writing.images.rebuilds);
            let may_go = |emptied: &Emptied| {
                let pinned = emptied.segments.iter().any(|segment| segment.is_pinned());
                !pinned && !writing.images.need(emptied)
            };
            let parts: (Vec<_>, _) = std::mem::take(&mut compaction.emptied).into_iter().partition(may_go);
            let segments = parts.0.iter().flat_map(|emptied| &emptied.segments);
            writing.freeing = segments.map(|segment| segment.id()).collect();
            parts
        };
        compaction.emptied = kept;
        let freed: Vec<Arc<Segment>> = free.iter().flat_map(|it| it.segments.iter().cloned()).collect();
        let outcome = self.free(&mut catalog, &freed);
        self.writing.lock().freeing.clear();
        if outcome.is_err() {
            compaction.emptied.extend(free);
        }
        outcome
    }

    /// Like `free_emptied`; if only images still need the segments, those images are given up for a new one.
    pub(crate) fn free_in_spite_of_images(&self, compaction: &mut Compaction) -> Result<()> {
        self.free_emptied(compaction)?;
        if self.writing.lock().images.that_need(&compaction.emptied).is_empty() {
            return Ok(());
        }
        self.replace_images(&compaction.emptied)?;
        self.free_emptied(compaction)
    }

    /// How much space emptied segments may take before a new image is written for their sake: the image is
    /// then small compared with what it frees, or writers need the space soon.
    pub(crate) fn most_emptied_bytes(&self) -> Result<u64> {
        let mut writing = self.writing.lock();
        let image = writing.images.newest_bytes();
        let tight = self.look_at_space(&mut writing)?.is_tight();
        Ok(if tight { LEAST_WHEN_TIGHT.max(image / 2) } else { LEAST_EMPTIED_BYTES.max(2 * image) })
    }

    fn free(&self, catalog: &mut Guard<'_, Catalog>, freed: &[Arc<Segment>]) -> Result<()> {
        if freed.is_empty() {
            return Ok(());
        }
        let free: Vec<u32> = freed.iter().map(|segment| segment.id()).collect();
        for segment in freed {
            // Open scans and values read on.
            segment.outlive_its_name()?;
        }
        self.update_manifest(catalog, |next| {
            next.relocations.retain(|listed| !free.contains(&listed.segment));
            omit(&mut next.segments, &free);
        })?;
        let mut writing = self.writing.lock();
        omit(&mut writing.log.entries, &free);
        let mut state = self.write_state()?;
        state.remove_segments(&free);
        let era = Arc::clone(state.era());
        drop(state);
        drop(writing);
        // What no version needs of what was freed before.
        era.let_go();
        for segment in freed {
            self.compacting.totals.freed(segment.counts().total);
        }
        Ok(())
    }
}

/// Removes segments from the log's list. The segment after each of them no longer follows what the list says.
pub(crate) fn omit(entries: &mut Vec<crate::format::manifest::Entry>, free: &[u32]) {
    let mut after_gap = false;
    entries.retain_mut(|entry| {
        let freed = free.contains(&entry.segment);
        if freed {
            after_gap = true;
        } else {
            entry.after_gap |= std::mem::take(&mut after_gap);
        }
        !freed
    });
}
