//! Read-only views of a file's bytes. The unsafe part of reading is here and nowhere else; knows
//! nothing of records. Every access is O(1).
#![allow(unsafe_code)]

use std::any::Any;
use std::sync::Arc;

/// A read-only window on a file, valid for as long as it lives, also after the file was removed.
///
/// Bytes that were published (committed to the index, or below an accepted end of a log) are never
/// written again or cut off, which is what makes handing out plain slices of them sound. Behind them the file
/// may be written or cut: `Segment::shown` asks for nothing there, whatever the length in a record says.
#[derive(Clone)]
pub struct Map {
    start: *const u8,
    len: usize,
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the memory is owned by `_owner`, which is Send and Sync, and is only read through here.
unsafe impl Send for Map {}
// SAFETY: as above; `&Map` gives out shared slices only.
unsafe impl Sync for Map {}

impl Map {
    /// A window of `len` bytes from `start`.
    ///
    /// # Safety
    /// `start..start + len` must be readable for as long as `owner` lives.
    pub(super) unsafe fn new(start: *const u8, len: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { start, len, _owner: owner }
    }

    /// Its length in bytes; the file may be shorter by now.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// The bytes at `offset`, or `None` where the window ends before `offset + len`.
    #[inline]
    pub fn bytes(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset).ok()?;
        let end = from.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `end <= self.len` was checked just above, `new` promises that window, and callers
        // ask only for published bytes, which nobody writes (see the type's documentation).
        Some(unsafe { std::slice::from_raw_parts(self.start.add(from), len) })
    }

    /// Asks the processor to fetch the cache line at `offset`; a hint, never an access.
    #[inline]
    pub fn prefetch(&self, offset: u64) {
        prefetch(self.start.wrapping_add(offset as usize));
    }
}

/// Asks the processor to fetch the cache line at any address; a hint, never an access.
#[inline]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed; it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
