//! Keys in order: the nearest ones, ranges, scans into arrays, and ranks.
//!
//! Knows the leaf list and what lies in leaves; changes nothing.

mod neighbours;
mod range;
mod rank;
mod scan;

pub(crate) use neighbours::Position;
pub use range::Range;
