//! Background threads: bells that wake them, and panics turned into errors. Know nothing of stores.

pub(crate) mod bell;
pub(crate) mod panics;
pub(crate) mod worker;
