//! Search in the sorted slots of a data node, for each instruction set.
//!
//! `kernel` declares what an instruction set provides; `scalar`, `avx2` and `avx512` provide it. `backend`
//! chooses one and enters it. `bounds` searches with any of them, `output` copies entries with any of them,
//! and `searcher` offers the search to callers. Knows slices of keys, nothing of nodes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod backend;
mod bounds;
mod kernel;
mod output;
mod prefetch;
mod scalar;
pub(crate) mod searcher;
#[cfg(test)]
mod tests;

pub(crate) use backend::{Operation, Supported, dispatch};
pub(crate) use bounds::{around, between, beyond, in_line, line_of};
pub(crate) use kernel::{Kernel, PAIR, WINDOW, WORD};
pub(crate) use output::Output;
pub use prefetch::prefetch;
pub(crate) use prefetch::{prefetch_line, prefetch_slot};
