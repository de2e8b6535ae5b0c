//! Many keys in one call: cache misses overlap, and a leaf that many keys change is written once.
//!
//! `read` looks keys up in the order given, `ranks` finds the keys at ranks; `write` sorts them first. Knows the
//! operations on one key.

mod ranks;
mod read;
mod write;
