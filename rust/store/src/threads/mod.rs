//! Background threads: bells that wake them, and panics turned into errors; locks. Know nothing of stores.

pub(crate) mod bell;
pub(crate) mod panics;
pub(crate) mod sync;
pub(crate) mod worker;
