//! Prefetch: a hint that a cache line will be wanted. Changes nothing that can be observed.
#![allow(unsafe_code)]

/// Asks for the cache line at `place`; any address is allowed, nothing is read.
#[inline(always)]
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch of any address, valid or not, has no effect but on caches.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Asks for the cache line of `items[slot]`.
#[inline(always)]
pub(crate) fn prefetch_slot<T>(items: &[T], slot: usize) {
    prefetch(items.as_ptr().wrapping_add(slot));
}
