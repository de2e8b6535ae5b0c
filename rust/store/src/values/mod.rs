//! Values on their way out: one, many, and columns of them.

pub(crate) mod column;
pub(crate) mod parallel;
pub(crate) mod value;
