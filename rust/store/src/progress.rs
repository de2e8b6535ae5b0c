//! How far a long call has come, as its caller is told. Knows nothing of what the call does.

/// Progress of a call that reads many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenProgress {
    /// Bytes handled so far.
    pub bytes_done: u64,
    /// Bytes there are to handle, at most.
    pub bytes_total: u64,
}
