//! Threads that work beside callers: bells that wake them, and panics made into errors. Know nothing of stores.

pub(crate) mod bell;
pub(crate) mod panics;
pub(crate) mod worker;
