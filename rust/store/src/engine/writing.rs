//! What the commit lock guards: the log, and what commits must know of the threads that follow them. Knows
//! nothing of the index.

use crate::engine::flow::{Flow, Follower};
use crate::engine::followed::Followed;
use crate::engine::kept_images::Images;
use crate::log::append::{Log, Shape};

/// What the commit lock guards.
pub(crate) struct Writing {
    pub(crate) log: Log,
    /// Which images exist, and how much of the log came after them.
    pub(crate) images: Images,
    /// How far the writer is, and how far it may go.
    pub(crate) flow: Flow,
    /// When this much was written, the compaction thread checks again how much is dead.
    pub(crate) look_at: u64,
    /// Segments that nothing needs, while the manifest drops them and their files are removed.
    pub(crate) freeing: Vec<u32>,
    /// Of a read-only handle.
    pub(crate) followed: Option<Followed>,
}

impl Writing {
    pub(crate) fn new(log: Log, images: Images, followed: Option<Followed>) -> Self {
        Self { log, images, flow: Flow::default(), look_at: 0, freeing: Vec::new(), followed }
    }

    /// Records that this many bytes were added to the log.
    #[inline]
    pub(crate) fn wrote(&mut self, bytes: u64) {
        self.images.tail_bytes += bytes;
        self.flow.wrote(bytes);
    }

    /// Whether a commit of this shape would only copy into memory, and need not wait for the threads that
    /// follow.
    #[inline]
    pub(crate) fn takes_at_once(&self, shape: Shape<'_>) -> bool {
        self.flow.is_free() && self.log.fits_by_copying(shape)
    }

    /// Sets how far commits may run ahead of the next checkpoint.
    pub(crate) fn bound_tail(&mut self) {
        let limit = self.images.limit(self.flow.written());
        self.flow.limit(Follower::Checkpoint, limit);
    }
}
