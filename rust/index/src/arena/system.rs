//! Chunks of zeroed memory from the operating system, aligned to huge pages.
//!
//! Knows bytes only. A chunk costs a few system calls.
#![allow(unsafe_code)]

#[cfg(not(unix))]
pub(super) use from_allocator::{ask_for_huge_pages, map, unmap};
#[cfg(unix)]
pub(super) use from_mappings::{ask_for_huge_pages, map, unmap};

const HUGE_PAGE: usize = 2 << 20;

#[cfg(unix)]
mod from_mappings {
    //! Chunks from anonymous mappings: address space at once, pages when they are first written.
    use std::ptr::{self, NonNull};

    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use super::HUGE_PAGE;
    use crate::node::CHUNK_BYTES;
    use crate::room::no_memory;

    pub(crate) fn map() -> NonNull<u8> {
        let span = CHUNK_BYTES + HUGE_PAGE;
        #[cfg(target_os = "linux")]
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        #[cfg(not(target_os = "linux"))]
        let flags = MapFlags::PRIVATE;
        let map_once = || {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new private anonymous mapping at an address of the kernel's choice overlaps nothing.
            unsafe { mmap_anonymous(ptr::null_mut(), span, access, flags) }
        };
        let mapping = map_once().or_else(|_| {
            // An allocator that holds memory in reserve may release it when a large request to it fails.
            let _ = Vec::<u8>::new().try_reserve_exact(span);
            map_once()
        });
        let Some(start) = mapping.ok().and_then(|place| NonNull::new(place.cast::<u8>())) else {
            no_memory(CHUNK_BYTES);
        };
        let before = start.as_ptr().align_offset(HUGE_PAGE);
        let after = HUGE_PAGE - before;
        // SAFETY: `before <= HUGE_PAGE`, so the chunk lies inside the mapping; the pieces cut off lie
        // outside the chunk, inside the mapping, and are used by nobody.
        unsafe {
            let chunk = start.add(before);
            if before > 0 {
                let _ = munmap(start.as_ptr().cast(), before);
            }
            if after > 0 {
                let _ = munmap(chunk.as_ptr().add(CHUNK_BYTES).cast(), after);
            }
            chunk
        }
    }

    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn ask_for_huge_pages(chunk: NonNull<u8>) {
        // Advice only: a kernel without transparent huge pages refuses it and nothing is lost.
        #[cfg(target_os = "linux")]
        // SAFETY: the range is one whole chunk of ours; this advice changes no contents.
        let _ = unsafe {
            rustix::mm::madvise(chunk.as_ptr().cast(), CHUNK_BYTES, rustix::mm::Advice::LinuxHugepage)
        };
    }

    /// # Safety
    /// `chunk` must come from `map`, and nothing may refer to it any more.
    pub(crate) unsafe fn unmap(chunk: NonNull<u8>) {
        // SAFETY: the caller hands over a whole chunk that nothing refers to.
        let _ = unsafe { munmap(chunk.as_ptr().cast(), CHUNK_BYTES) };
    }
}

#[cfg(not(unix))]
mod from_allocator {
    //! Chunks from the global allocator.
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    use super::HUGE_PAGE;
    use crate::node::CHUNK_BYTES;
    use crate::room::no_memory;

    const LAYOUT: Layout = match Layout::from_size_align(CHUNK_BYTES, HUGE_PAGE) {
        Ok(layout) => layout,
        Err(_) => panic!("both are powers of two"),
    };

    pub(crate) fn map() -> NonNull<u8> {
        // SAFETY: the layout has a size above zero.
        NonNull::new(unsafe { alloc_zeroed(LAYOUT) }).unwrap_or_else(|| no_memory(CHUNK_BYTES))
    }

    pub(crate) fn ask_for_huge_pages(_chunk: NonNull<u8>) {}

    /// # Safety
    /// `chunk` must come from `map`, and nothing may refer to it any more.
    pub(crate) unsafe fn unmap(chunk: NonNull<u8>) {
        // SAFETY: the caller hands over a chunk of this layout.
        unsafe { dealloc(chunk.as_ptr(), LAYOUT) };
    }
}
