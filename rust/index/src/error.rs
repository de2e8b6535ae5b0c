//! The errors of this crate that are not about images.

/// Keys that should have been strictly ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "keys must be strictly ascending: {key} at position {position} follows {previous}; \
     sort them and remove duplicates, or load them unsorted"
)]
#[non_exhaustive]
pub struct Unsorted {
    /// Position of the first key that is not above the one before it.
    pub position: usize,
    /// The key before it.
    pub previous: i64,
    /// That key.
    pub key: i64,
}

/// An invariant of the tree that does not hold: a defect of this crate, or damaged memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index is damaged at {place}: {message}")]
#[non_exhaustive]
pub struct CheckError {
    /// Which node.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

/// A backend that this processor cannot run, or a name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SIMD backend {wanted:?} is not available on this machine: choose one of auto, {available}")]
#[non_exhaustive]
pub struct BackendError {
    /// What was asked for.
    pub wanted: String,
    /// The names that would work, in order of width.
    pub available: String,
}
