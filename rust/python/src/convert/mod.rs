//! Between Python objects and the engine: keys, values and ranges on their way in, arrays and tuples on their way out.
//!
//! Knows nothing of stores and indexes; both use it.

pub(crate) mod arrays;
pub(crate) mod arrow;
pub(crate) mod arrow_input;
pub(crate) mod bounds;
pub(crate) mod buffers;
pub(crate) mod codec;
pub(crate) mod generic;
pub(crate) mod key_type;
pub(crate) mod keys;
pub(crate) mod kinds;
pub(crate) mod pairs;
pub(crate) mod scans;
pub(crate) mod value_type;
pub(crate) mod values;
