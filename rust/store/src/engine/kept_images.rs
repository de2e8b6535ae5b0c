//! The images of the index that are kept or being written: how much log came after them, when the next one is
//! due, and which emptied segments they still need. Guarded by the commit lock. Knows nothing of how images
//! are written.

use crate::engine::compaction_state::Emptied;
use crate::engine::flow::Limit;
use crate::format::header::LogEnd;
use crate::format::manifest::ImageEntry;

/// The tail may always grow to this size before commits wait for a checkpoint, however often checkpoints are
/// wanted.
const LEAST_STOP_BYTES: u64 = 16 << 20;
/// Closing writes an image if at least this many bytes would have to be replayed.
const LEAST_BYTES_AT_CLOSE: u64 = 4 << 20;

/// What the writer knows of images. Guarded by the commit lock.
#[derive(Default)]
pub(crate) struct Images {
    /// Bytes of log since the newest image was begun.
    pub(crate) tail_bytes: u64,
    due: Due,
    /// Commits wait for a checkpoint when the tail is this long.
    stop_at: u64,
    /// How much the log grew while the last image was written.
    grew: u64,
    /// Size of the newest image, in bytes.
    newest_bytes: u64,
    /// Rises with every checkpoint that begins.
    tick: u64,
    /// Rises whenever the index is rebuilt, perhaps from an older image.
    pub(crate) rebuilds: u64,
    /// The kept images and the one being written: when each was begun, and where in the log.
    kept: Vec<Kept>,
}

/// When the next checkpoint is due.
#[derive(Clone, Copy)]
enum Due {
    /// When the tail reaches this length.
    At(u64),
    /// It is due, and the thread that writes images was told.
    Told,
}

impl Default for Due {
    fn default() -> Self {
        Self::At(0)
    }
}

#[derive(Clone, Copy)]
struct Kept {
    id: u32,
    /// 0 for an image that existed when the store was opened.
    tick: u64,
    position: LogEnd,
    /// Whether both copies of the manifest list it.
    published: bool,
}

impl Images {
    pub(crate) fn new(listed: &[ImageEntry], tail_bytes: u64, least_bytes: u64) -> Self {
        let newest_bytes = listed.first().map_or(0, |image| image.bytes);
        let kept = listed.iter().map(|image| Kept {
            id: image.id,
            tick: 0,
            position: image.position,
            published: true,
        });
        let bound = Self::bound(least_bytes, newest_bytes);
        let mut images = Self {
            tail_bytes,
            due: Due::At(0),
            stop_at: 0,
            // Nothing is known yet. The first image of a load should be ready early, while it is small.
            grew: bound,
            newest_bytes,
            tick: 1,
            rebuilds: 0,
            kept: kept.collect(),
        };
        images.schedule(least_bytes);
        // A tail that is already too long must not make the first commit wait.
        images.stop_at = images.stop_at.max(tail_bytes + bound / 2);
        images
    }

    /// The bound on the tail. A checkpoint begins when the tail is at least half as long (`schedule`), so checkpoints write
    /// at most about two bytes for each byte of log.
    fn bound(least_bytes: u64, image_bytes: u64) -> u64 {
        least_bytes.max(image_bytes)
    }

    /// Schedules the next checkpoint so early that it ends before commits are slowed, if the log grows
    /// meanwhile by as much as during the last one. It never begins later than that point: slowed writers add
    /// little while an image is written, and that must not delay the next checkpoint to where writers are
    /// already slowed.
    pub(crate) fn schedule(&mut self, least_bytes: u64) {
        let bound = Self::bound(least_bytes, self.newest_bytes);
        self.stop_at = bound.max(LEAST_STOP_BYTES);
        let latest = bound.min(self.slow_from());
        let early = (self.grew.saturating_mul(5) / 4).min(latest - bound / 2);
        // If nothing was written, none is due.
        self.due = Due::At((latest - early).max(1));
    }

    /// Commits are slowed when the tail is this long.
    fn slow_from(&self) -> u64 {
        self.stop_at - self.stop_at / 4
    }

    /// How far the log may grow, if it has come to `written`.
    pub(crate) fn limit(&self, written: u64) -> Limit {
        Limit {
            slow_from: (written - self.tail_bytes).saturating_add(self.slow_from()),
            stop_at: (written - self.tail_bytes).saturating_add(self.stop_at),
        }
    }

    /// Whether it is time for a checkpoint; returns true only once.
    #[inline]
    pub(crate) fn wants_checkpoint(&mut self) -> bool {
        let wants = matches!(self.due, Due::At(at) if self.tail_bytes >= at);
        if wants {
            self.due = Due::Told;
        }
        wants
    }

    pub(crate) fn is_due(&self) -> bool {
        match self.due {
            Due::At(at) => self.tail_bytes >= at,
            Due::Told => true,
        }
    }

    /// Whether a published image begins at this position, so that nothing follows it.
    pub(crate) fn has_one_at(&self, position: LogEnd) -> bool {
        self.kept.iter().any(|kept| kept.published && kept.position == position)
    }

    /// Whether a published image remains without these.
    pub(crate) fn has_one_without(&self, given_up: &[u32]) -> bool {
        self.kept.iter().any(|kept| kept.published && !given_up.contains(&kept.id))
    }

    /// An image that begins at this position is being written.
    pub(crate) fn begin(&mut self, id: u32, position: LogEnd) {
        self.tick += 1;
        self.kept.push(Kept { id, tick: self.tick, position, published: false });
    }

    /// The image with this id was abandoned: no manifest on the disk names it. Tries again when the tail has
    /// grown by a quarter of its bound.
    pub(crate) fn abandon(&mut self, id: u32, least_bytes: u64) {
        self.kept.retain(|kept| kept.id != id);
        self.put_off(least_bytes);
    }

    pub(crate) fn put_off(&mut self, least_bytes: u64) {
        let bound = Self::bound(least_bytes, self.newest_bytes);
        let due_at = self.tail_bytes.saturating_add((bound / 4).max(1));
        self.due = Due::At(due_at);
        // Whatever prevented the image, commits do not wait for it.
        self.stop_at = due_at.saturating_add(bound.max(LEAST_STOP_BYTES));
    }

    /// Both copies of the manifest list these images and no others.
    pub(crate) fn listed(&mut self, listed: &[ImageEntry]) {
        self.kept.retain(|kept| listed.iter().any(|image| image.id == kept.id));
        self.kept.iter_mut().for_each(|kept| kept.published = true);
        self.newest_bytes = listed.first().map_or(0, |image| image.bytes);
    }

    pub(crate) fn published(&mut self, listed: &[ImageEntry], tail_before: u64, least_bytes: u64) {
        self.listed(listed);
        self.tail_bytes = self.tail_bytes.saturating_sub(tail_before);
        self.grew = self.tail_bytes;
        self.schedule(least_bytes);
    }

    /// A published image begins at the end of the log, or the log is empty. The tail may have counted more:
    /// if the manifest of an image failed at first and a later manifest listed it, the tail was not
    /// corrected.
    pub(crate) fn nothing_follows(&mut self, least_bytes: u64) {
        self.tail_bytes = 0;
        self.schedule(least_bytes);
    }

    /// The index was rebuilt after damage, without the damaged images.
    pub(crate) fn rebuilt_without(&mut self, damaged: &[u32], tail_bytes: u64) {
        self.kept.retain(|kept| !damaged.contains(&kept.id));
        self.rebuilds += 1;
        self.tail_bytes = tail_bytes;
        self.due = Due::At(0);
        self.stop_at = self.stop_at.max(tail_bytes.saturating_add(LEAST_STOP_BYTES));
    }

    /// To be read at the end of a pass that found nothing in the index that points into a segment.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    pub(crate) fn newest_bytes(&self) -> u64 {
        self.newest_bytes
    }

    /// Whether an image that is kept or being written may still point into emptied segments, or needs them
    /// for replay.
    ///
    /// An image begun after the pass that found nothing pointing there has no such entry, and it begins
    /// behind those segments in the log, because none of them was the log's last. So no tombstone is freed
    /// until every image was begun after it: tombstones in the log stay until then, and copies of them are
    /// written later still.
    pub(crate) fn need(&self, emptied: &Emptied) -> bool {
        self.kept.iter().any(|image| image.needs(emptied))
    }

    /// The images that need any of these segments.
    pub(crate) fn that_need(&self, emptied: &[Emptied]) -> Vec<u32> {
        let needs = |image: &&Kept| emptied.iter().any(|emptied| image.needs(emptied));
        self.kept.iter().filter(needs).map(|image| image.id).collect()
    }

    /// Whether closing should write an image, because replaying the tail would cost the next opening more.
    pub(crate) fn worth_at_close(&self, least_bytes: u64) -> bool {
        let worth = LEAST_BYTES_AT_CLOSE.max(self.newest_bytes / 16);
        self.tail_bytes >= worth.min(Self::bound(least_bytes, self.newest_bytes))
    }
}

impl Kept {
    fn needs(&self, emptied: &Emptied) -> bool {
        self.tick <= emptied.tick
    }
}

#[cfg(test)]
mod tests {
    use super::{Due, Images, LEAST_STOP_BYTES};
    use crate::format::header::LogEnd;
    use crate::format::manifest::ImageEntry;

    #[test]
    fn no_image_is_due_once_one_that_begins_at_the_end_of_the_log_is_listed() {
        for least_bytes in [1, 2, 1 << 10, 1 << 20, 64 << 20] {
            for listed_at_once in [true, false] {
                let mut images = Images::new(&[], 100 << 20, least_bytes);
                assert!(images.is_due());
                let end = LogEnd { segment: 2, offset: 4096, ..LogEnd::default() };
                images.begin(1, end);
                let image = ImageEntry { id: 1, position: end, bytes: 4096, keys: 1 };
                if listed_at_once {
                    images.published(&[image], 100 << 20, least_bytes);
                } else {
                    // One copy of the manifest could not be written; a later manifest lists the image.
                    images.put_off(least_bytes);
                    images.listed(&[image]);
                    assert!(images.has_one_at(end));
                    images.nothing_follows(least_bytes);
                }
                assert!(!images.is_due() && !images.wants_checkpoint(), "{least_bytes} {listed_at_once}");
                images.tail_bytes += 1 << 30;
                assert!(images.is_due());
            }
        }
    }

    #[test]
    fn a_checkpoint_begins_before_commits_are_slowed_however_little_was_written_beside_the_last() {
        for (least_bytes, newest_bytes) in
            [(1 << 10, 0), (1 << 20, 1 << 10), (64 << 20, 0), (64 << 20, 1 << 30), (1 << 40, 1 << 30)]
        {
            let mut images = Images::new(&[], 0, least_bytes);
            images.newest_bytes = newest_bytes;
            for grew in [0, 1, 1 << 10, 1 << 20, 32 << 20, 1 << 30, u64::MAX / 8] {
                images.grew = grew;
                images.schedule(least_bytes);
                let Images { due: Due::At(due_at), stop_at, .. } = images else { panic!("told already") };
                let bound = Images::bound(least_bytes, newest_bytes);
                assert_eq!(bound, least_bytes.max(newest_bytes), "as `docs/safety.md` promises");
                assert!(due_at <= bound && due_at <= images.slow_from(), "{due_at} of {stop_at}, {grew}");
                assert!(due_at >= bound / 2 || due_at >= LEAST_STOP_BYTES / 2, "no more images than that");
                assert!(due_at.saturating_add(grew) <= bound || due_at == bound / 2, "it ends in time");
            }
        }
    }
}
