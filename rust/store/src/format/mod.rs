//! What bytes on the disk mean, and the checks that they are what was written: docs/format.md in code.

pub(crate) mod attachment;
pub(crate) mod compressed;
pub(crate) mod cuts;
pub(crate) mod header;
pub(crate) mod location;
pub(crate) mod manifest;
pub(crate) mod measure;
pub(crate) mod record;
