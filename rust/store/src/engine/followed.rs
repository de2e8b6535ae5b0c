//! What a read-only handle knows of the files that it follows. Guarded by the commit lock. Knows nothing of how they are
//! read.

use std::sync::Arc;
use std::time::Instant;

use crate::disk::Stamp;
use crate::format::header::LogEnd;
use crate::format::manifest::Manifest;
use crate::log::segment::Segment;

/// What a read-only handle knows of the files that it follows.
pub(crate) struct Followed {
    /// The manifest that was read last. The handle holds open the files that it lists.
    pub(crate) manifest: Arc<Manifest>,
    /// The last commit that the handle has seen.
    pub(crate) last_commit: u64,
    /// The two copies of the manifest when it was read; `None` if they may have changed since without a trace.
    pub(crate) stamps: Option<[Stamp; 2]>,
    /// The segment in which the log will go on, as long as it has not begun there.
    pub(crate) next: Option<Segment>,
    /// Where something other than a whole record was found, and when damage was last ruled out there.
    pub(crate) stalled: Option<(LogEnd, Instant)>,
}

impl Followed {
    /// Knows only the manifest with which the handle was opened.
    pub(crate) fn new(manifest: Manifest, last_commit: u64) -> Self {
        Self { manifest: Arc::new(manifest), last_commit, stamps: None, next: None, stalled: None }
    }
}
