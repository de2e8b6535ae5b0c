//! The errors of this crate that are not about images.

/// The keys were not strictly ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "keys must be strictly ascending: {key} at position {position} follows {previous}; \
     sort them and remove duplicates, or load them unsorted"
)]
#[non_exhaustive]
pub struct Unsorted<K = i64> {
    /// Position of the first key that is not greater than the key before it.
    pub position: usize,
    /// The key before it.
    pub previous: K,
    /// The key at `position`.
    pub key: K,
}

/// An invariant of the tree does not hold: a defect of this crate, or damaged memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index is damaged at {place}: {message}")]
#[non_exhaustive]
pub struct CheckError {
    /// The node, or the part of the tree, where it does not hold.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

/// This processor cannot run the backend that was asked for, or no backend has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SIMD backend {wanted:?} is not available on this machine: choose one of auto, {available}")]
#[non_exhaustive]
pub struct BackendError {
    /// The name that was asked for.
    pub wanted: String,
    /// The names that work on this machine, narrowest vectors first.
    pub available: String,
}
