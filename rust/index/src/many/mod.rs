//! Many keys in one call: their cache misses overlap, and what changes one leaf changes it once.

mod read;
mod write;
