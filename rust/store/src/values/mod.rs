//! Values on their way out: single values, many at once, and columns.

pub(crate) mod ahead;
pub(crate) mod column;
pub(crate) mod parallel;
pub(crate) mod value;
