//! What a read-only handle knows of the files that it follows. Guarded by the commit lock. Knows nothing of how they are
//! read.

use std::sync::Arc;
use std::time::Instant;

use crate::disk::{DiskFile, Map};
use crate::error::Result;
use crate::format::header::LogEnd;
use crate::format::manifest::Manifest;
use crate::format::record::HEADER_BYTES;
use crate::log::segment::Segment;

/// What a read-only handle knows of the files that it follows.
pub(crate) struct Followed {
    /// The manifest that was read last. The handle holds open the files that it lists.
    pub(crate) manifest: Arc<Manifest>,
    /// The last commit that the handle has seen.
    pub(crate) last_commit: u64,
    /// The copy of the manifest that is written last, as it was before the manifest was read, while it still had its name.
    pub(crate) copy: Option<Arc<dyn DiskFile>>,
    /// The segment in which the log will go on, as long as it has not begun there.
    pub(crate) next: Option<Unbegun>,
    /// Where something other than a whole record was found, and when damage was last ruled out there.
    pub(crate) stalled: Option<(LogEnd, Instant)>,
}

/// A segment in which the log has not begun yet.
pub(crate) struct Unbegun {
    pub(crate) segment: Segment,
    /// Its first page, for looking without a system call.
    pub(crate) first_page: Option<Map>,
}

impl Unbegun {
    /// Whether the log has still not begun there.
    pub(crate) fn is_unwritten(&self) -> Result<bool> {
        match self.first_page.as_ref().and_then(|page| page.is_zero(0, HEADER_BYTES)) {
            Some(zero) => Ok(zero),
            None => self.segment.is_unwritten(0),
        }
    }
}

impl Followed {
    /// Knows only the manifest with which the handle was opened.
    pub(crate) fn new(manifest: Manifest, last_commit: u64) -> Self {
        Self { manifest: Arc::new(manifest), last_commit, copy: None, next: None, stalled: None }
    }
}
