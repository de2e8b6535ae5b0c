//! From keys to locations: the index, checked at its first use, and what keeps readers' views of it steady.

pub(crate) mod checked;
pub(crate) mod noted;
pub(crate) mod open_scans;
pub(crate) mod overlay;
