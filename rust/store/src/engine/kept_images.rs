//! The images of the index that are kept, or being written: how much of the log came after them, when the next one is
//! due, and which emptied segments they still need. Behind the commit lock. Knows nothing of how images are written.

use crate::engine::compaction_state::Emptied;
use crate::engine::flow::Limit;
use crate::format::header::LogEnd;
use crate::format::manifest::ImageEntry;

/// The tail may always grow to this much before commits wait for a checkpoint, however often those are wanted.
const LEAST_STOP_BYTES: u64 = 16 << 20;
/// Closing writes an image where at least so many bytes would have to be replayed.
const LEAST_BYTES_AT_CLOSE: u64 = 4 << 20;

/// What the log knows of images; behind the commit lock.
#[derive(Default)]
pub(crate) struct Images {
    /// Bytes of log since the newest image was begun.
    pub(crate) tail_bytes: u64,
    due: Due,
    /// Commits wait for one when the tail is so long.
    stop_at: u64,
    /// How much the log grew while the last image was written.
    grew: u64,
    /// Bytes of the newest image.
    newest_bytes: u64,
    /// Rises with every checkpoint that begins.
    tick: u64,
    /// Rises whenever the index was built anew, maybe from an older image.
    pub(crate) rebuilds: u64,
    /// The kept images, and the one being written: when it was begun, and where.
    kept: Vec<Kept>,
}

/// When the next checkpoint is due.
#[derive(Clone, Copy)]
enum Due {
    /// When the tail is so long.
    At(u64),
    /// It is, and the thread that writes images was told.
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
    /// 0 for one that was there when the store was opened.
    tick: u64,
    position: LogEnd,
    /// Both copies of the manifest name it.
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
            // Nothing is known yet: the first image of a load had better be ready early, while it is small.
            grew: bound,
            newest_bytes,
            tick: 1,
            rebuilds: 0,
            kept: kept.collect(),
        };
        images.schedule(least_bytes);
        // A tail that is too long already must not keep the first commit waiting.
        images.stop_at = images.stop_at.max(tail_bytes + bound / 2);
        images
    }

    /// The tail is bounded so that checkpoints write at most some two bytes for a byte of log.
    fn bound(least_bytes: u64, image_bytes: u64) -> u64 {
        least_bytes.max(image_bytes / 2)
    }

    /// The next checkpoint begins so early that it ends, as the last one did, before commits are slowed. It never
    /// begins later than that: writers that are slowed add little while an image is written, which must not
    /// make the next one begin where they are slowed already.
    pub(crate) fn schedule(&mut self, least_bytes: u64) {
        let bound = Self::bound(least_bytes, self.newest_bytes);
        self.stop_at = bound.max(LEAST_STOP_BYTES);
        let latest = bound.min(self.slow_from());
        let early = (self.grew.saturating_mul(5) / 4).min(latest - bound / 2);
        // Where nothing was written, none is due.
        self.due = Due::At((latest - early).max(1));
    }

    /// Commits are slowed when the tail is so long.
    fn slow_from(&self) -> u64 {
        self.stop_at - self.stop_at / 4
    }

    /// How far the log may grow that has come to `written`.
    pub(crate) fn limit(&self, written: u64) -> Limit {
        Limit {
            slow_from: (written - self.tail_bytes).saturating_add(self.slow_from()),
            stop_at: (written - self.tail_bytes).saturating_add(self.stop_at),
        }
    }

    /// Whether it is time for a checkpoint; true once.
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

    /// Whether a published image begins at this place, so that nothing is behind it.
    pub(crate) fn has_one_at(&self, position: LogEnd) -> bool {
        self.kept.iter().any(|kept| kept.published && kept.position == position)
    }

    /// Whether a published image is left without these.
    pub(crate) fn has_one_without(&self, given_up: &[u32]) -> bool {
        self.kept.iter().any(|kept| kept.published && !given_up.contains(&kept.id))
    }

    /// An image is being written that begins at this place.
    pub(crate) fn begin(&mut self, id: u32, position: LogEnd) {
        self.tick += 1;
        self.kept.push(Kept { id, tick: self.tick, position, published: false });
    }

    /// The image with this id came to nothing: no manifest on the disk names it. Tries again when the tail
    /// has grown by a quarter.
    pub(crate) fn abandon(&mut self, id: u32, least_bytes: u64) {
        self.kept.retain(|kept| kept.id != id);
        self.put_off(least_bytes);
    }

    pub(crate) fn put_off(&mut self, least_bytes: u64) {
        let bound = Self::bound(least_bytes, self.newest_bytes);
        let due_at = self.tail_bytes.saturating_add((bound / 4).max(1));
        self.due = Due::At(due_at);
        // Whatever kept it from being written, commits do not wait for that.
        self.stop_at = due_at.saturating_add(bound.max(LEAST_STOP_BYTES));
    }

    /// Both copies of the manifest list these and no others.
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

    /// A published image begins at the end of the log, or the log is empty. The tail may have counted more: of an
    /// image whose manifest failed at first nobody took note when a later manifest listed it.
    pub(crate) fn nothing_follows(&mut self, least_bytes: u64) {
        self.tail_bytes = 0;
        self.schedule(least_bytes);
    }

    /// After damage: the index was built from what is left.
    pub(crate) fn rebuilt_without(&mut self, damaged: &[u32], tail_bytes: u64) {
        self.kept.retain(|kept| !damaged.contains(&kept.id));
        self.rebuilds += 1;
        self.tail_bytes = tail_bytes;
        self.due = Due::At(0);
        self.stop_at = self.stop_at.max(tail_bytes.saturating_add(LEAST_STOP_BYTES));
    }

    /// To be taken at the end of a pass that found nothing in the index that points into a segment.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    pub(crate) fn newest_bytes(&self) -> u64 {
        self.newest_bytes
    }

    /// Whether an image that is kept, or being written, may still point into emptied segments, or replay over
    /// it reads them.
    ///
    /// One that was begun after the pass that found nothing pointing there holds no such entry, and begins
    /// behind them in the log, of which they were not the last. So no tombstone goes before every image was
    /// begun after it: those in the log stay until then, and copies of them are written later still.
    pub(crate) fn need(&self, emptied: &Emptied) -> bool {
        self.kept.iter().any(|image| image.needs(emptied))
    }

    /// The images that need any of the segments.
    pub(crate) fn that_need(&self, emptied: &[Emptied]) -> Vec<u32> {
        let needs = |image: &&Kept| emptied.iter().any(|emptied| image.needs(emptied));
        self.kept.iter().filter(needs).map(|image| image.id).collect()
    }

    /// Whether closing should write an image: the tail costs the next opening more than that is worth.
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
    fn once_an_image_is_listed_that_begins_at_the_end_of_the_log_no_other_is_due() {
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
                    // One copy of the manifest could not be written, and a later one lists it.
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
        for least_bytes in [1 << 10, 1 << 20, 64 << 20, 1 << 40] {
            let mut images = Images::new(&[], 0, least_bytes);
            for grew in [0, 1, 1 << 10, 1 << 20, 32 << 20, 1 << 30, u64::MAX / 8] {
                images.grew = grew;
                images.schedule(least_bytes);
                let Images { due: Due::At(due_at), stop_at, .. } = images else { panic!("told already") };
                let bound = Images::bound(least_bytes, 0);
                assert!(due_at <= bound && due_at <= images.slow_from(), "{due_at} of {stop_at}, {grew}");
                assert!(due_at >= bound / 2 || due_at >= LEAST_STOP_BYTES / 2, "no more images than that");
                assert!(due_at.saturating_add(grew) <= bound || due_at == bound / 2, "it ends in time");
            }
        }
    }
}
