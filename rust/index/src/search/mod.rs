//! Search in the sorted slots of a data node: which instruction set does it, and how.
//!
//! `kernel` is what differs between instruction sets, `scalar`, `avx2` and `avx512` are the kernels, `backend`
//! chooses one and enters it, `bounds` is the search over any of them, `output` the copying of marked slots.
//! `searcher` offers the search by itself. Knows slices of keys, nothing of nodes.

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
pub(crate) use kernel::{BLOCK, Kernel, PAIR, WINDOW};
pub(crate) use output::Output;
pub(crate) use prefetch::{prefetch, prefetch_slot};
