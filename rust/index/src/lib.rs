//! ALEX, an updatable adaptive learned index (Ding et al., SIGMOD 2020): `i64` keys to `u64` payloads,
//! ordered, in memory. [`Alex<i128>`](Alex) has keys of 128 bits, for UUIDs and IPv6 addresses ([`Key`]).
//!
//! Model nodes route a key by exact integer arithmetic. Data nodes are gapped arrays, searched by SIMD
//! from a predicted slot. Any `i64` is a key, or any `i128`. A lookup costs about two cache misses, writes nothing, and
//! is `O(tree height + log prediction error)`. An insert moves the entries of one data node at most, which
//! has at most [`MAX_LEAF_SLOTS`] slots. This crate does no I/O and knows nothing of what payloads mean.
//!
//! ```
//! use alex_index::Alex;
//! use std::ops::Bound::{Excluded, Included};
//!
//! let mut index: Alex = Alex::new();
//! for key in 0..1_000 {
//!     index.insert(key * 10, key as u64);
//! }
//! assert_eq!(index.get(500), Some(50));
//! assert_eq!(index.floor(505), Some((500, 50)));
//! assert_eq!(index.range(Included(20), Excluded(50)).map(|(key, _)| key).collect::<Vec<_>>(), [20, 30, 40]);
//! ```

// Folders are layers: a file uses its own folder and those below it, and anything uses the ground.
//
//     compiled  what is compiled here for both kinds of keys
//     inspect   an index looked into: every invariant, figures, a picture of its nodes
//     image     an index as a file: written from a stream of entries, opened from a mapping
//     many      many keys in one call: read, ranks, write
//     one       one key: get, insert, remove, replace
//     order     keys in order: neighbours, ranges, scans, ranks
//     adapt     the tree changed where keys come or go: expand, split, extend, contract
//     build     nodes from ascending entries: a whole index, or what replaces a leaf
//     tree      what an index consists of, and the descent to a leaf
//     tally     how many keys lie in each part of the key space
//     arena     the memory of nodes: chunks and their free space
//     mapped    the bytes of an image: format, memory, verification
//     node      data nodes and model nodes: headers, models, layout, what happens in a leaf
//     search    search in sorted slots: kernels, and the backend that chooses one
//     ground    key (the two kinds of keys), count (work, as tests judge it), options, error
//
// `tree` declares `Alex`; each layer above it adds methods.

// All code below `search::dispatch` must be inlined into the function that has the target features: a
// function that is called instead is compiled for the baseline instruction set.
#![allow(clippy::inline_always)]

mod adapt;
mod arena;
mod build;
mod compiled;
#[cfg(feature = "count")]
pub mod count;
#[cfg(not(feature = "count"))]
#[allow(dead_code, unreachable_pub)]
mod count;
mod error;
pub mod image;
mod inspect;
mod key;
mod many;
mod mapped;
mod node;
mod one;
mod options;
mod order;
mod room;
mod search;
mod tally;
mod tree;

/// The example of the README, run as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The SIMD backends: which are available, which one new trees use, and the search of a data node by itself.
pub mod simd {
    pub use crate::error::BackendError;
    pub use crate::options::Backend;
    pub use crate::search::backend::{active, available, select, select_by_name};
    pub use crate::search::searcher::{Searcher, Shape};
}

pub use error::{CheckError, Unsorted};
pub use inspect::{ERROR_CLASSES, LeafSurvey, Stats, Survey};
pub use key::Key;
pub use options::{MAX_LEAF_SLOTS, Options};
pub use order::Range;
#[doc(hidden)]
pub use room::lacked_bytes;
#[doc(hidden)]
pub use search::prefetch;
pub use tree::Alex;
