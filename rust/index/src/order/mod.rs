//! Keys in order: nearest keys, iteration over ranges, scans into arrays, and ranks.
//!
//! Knows the leaf list and the entries of leaves. Changes nothing.

mod neighbours;
mod range;
mod rank;
mod scan;

pub(crate) use neighbours::Position;
pub use range::Range;
