//! From keys to locations: the index, checked at its first use, and what it was before.

pub(crate) mod checked;
pub(crate) mod history;
pub(crate) mod nearest;
pub(crate) mod overlay;
pub(crate) mod ranks;
pub(crate) mod tree;
pub(crate) mod versions;
