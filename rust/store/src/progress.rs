//! How far a long call has come, as reported to its caller. Knows nothing of what the call does.

/// Progress of a call that reads many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenProgress {
    /// Bytes handled so far.
    pub bytes_done: u64,
    /// Bytes to handle in total, at most.
    pub bytes_total: u64,
}
