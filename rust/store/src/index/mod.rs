//! From keys to locations: the index, checked at its first use, and what keeps a reader's view of it stable.

pub(crate) mod checked;
pub(crate) mod noted;
pub(crate) mod open_scans;
pub(crate) mod overlay;
