//! Prefetching a cache line: a hint to the processor, without any effect but on time.
#![allow(unsafe_code)]

/// Prefetches the cache line at `place`. Any address is allowed: nothing is read.
#[inline(always)]
pub fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch of any address, valid or not, affects caches only.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Prefetches the cache line of `items[slot]`.
#[inline(always)]
pub(crate) fn prefetch_slot<T>(items: &[T], slot: usize) {
    prefetch(items.as_ptr().wrapping_add(slot));
}

/// Prefetches the eight items that `items[slot]` is in line with: one cache line, or two of items of 16 bytes.
#[inline(always)]
pub(crate) fn prefetch_line<T>(items: &[T], slot: usize) {
    prefetch_slot(items, slot);
    if size_of::<T>() > 8 {
        prefetch_slot(items, slot ^ 4);
    }
}
