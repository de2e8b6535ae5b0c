//! The location of a record: what the index holds for each key. Knows nothing of files.

/// A record's location: the segment in the high half, the offset in units of 8 bytes in the low half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location(pub(crate) u64);

impl Location {
    pub(crate) fn new(segment: u32, offset: u64) -> Self {
        debug_assert!(offset.is_multiple_of(8) && offset >> 35 == 0);
        Self(u64::from(segment) << 32 | offset >> 3)
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn offset(self) -> u64 {
        (self.0 & 0xFFFF_FFFF) << 3
    }
}
