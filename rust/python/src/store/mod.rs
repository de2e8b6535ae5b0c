//! `Store`, `Snapshot` and the objects that they return: one file for each kind of call, each with its own `#[pymethods]` block.

pub(crate) mod batch;
pub(crate) mod buffers;
pub(crate) mod changes;
pub(crate) mod columns;
pub(crate) mod handle;
pub(crate) mod maintenance;
pub(crate) mod many;
pub(crate) mod one;
pub(crate) mod order;
pub(crate) mod read_ahead;
pub(crate) mod read_many;
pub(crate) mod reader;
pub(crate) mod rows;
pub(crate) mod runs;
pub(crate) mod scan;
pub(crate) mod snapshot;
