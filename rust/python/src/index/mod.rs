//! `AlexIndex` and its iterators: one file for each kind of call, each with its own `#[pymethods]` block.

pub(crate) mod cursors;
pub(crate) mod damaged;
pub(crate) mod file;
pub(crate) mod iter;
pub(crate) mod many;
pub(crate) mod one;
pub(crate) mod order;
pub(crate) mod shape;
pub(crate) mod shared;
