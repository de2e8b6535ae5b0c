//! The memory of an opened image: a private, writable copy of a file's bytes, followed by zeros up to a whole
//! chunk.
//!
//! The unsafe code of opening is here and in the arena. Knows nothing of nodes. Mapping is `O(1)`.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use super::format::HEADER_BYTES;
use crate::node::CHUNK_BYTES;

/// The bytes of an image's file in private, writable memory: changes never reach the file.
#[derive(Debug)]
pub struct ImageMemory {
    start: NonNull<u8>,
    /// Bytes of the file.
    len: usize,
    /// Bytes of the memory: the header and whole chunks.
    span: usize,
    /// Whether the kernel reads only the pages that are touched or asked for.
    asks_ahead: bool,
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for ImageMemory {}
// SAFETY: through a shared reference the memory is only read (see `Arena`).
unsafe impl Sync for ImageMemory {}

/// Bytes of the header and of the whole chunks that hold a file of `len` bytes.
fn span_of(len: u64) -> io::Result<usize> {
    let len = usize::try_from(len).ok().filter(|&len| len <= isize::MAX as usize - 2 * CHUNK_BYTES);
    let len = len.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the file is larger than the address space")
    })?;
    let chunks = len.saturating_sub(HEADER_BYTES).div_ceil(CHUNK_BYTES).max(1);
    Ok(HEADER_BYTES + chunks * CHUNK_BYTES)
}

impl ImageMemory {
    /// Maps the first `len` bytes of a file, copy on write. Pages are read when they are first used. The file
    /// must not be shortened while the mapping lives; it may be removed.
    #[cfg(unix)]
    pub fn map(file: impl std::os::fd::AsFd, len: u64) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};

        let memory = Self::zeros(len)?;
        if memory.len > 0 {
            // SAFETY: the fixed address range is the start of our own anonymous mapping of `span >= len`
            // bytes, which nobody refers to yet.
            let place = unsafe {
                mmap(
                    memory.start.as_ptr().cast(),
                    memory.len,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                    file,
                    0,
                )
            }?;
            debug_assert_eq!(place.cast(), memory.start.as_ptr());
        }
        Ok(memory)
    }

    /// For a file that is too large for the memory to cache. Otherwise a touch of one page reads megabytes around it on
    /// some systems, and evicts as much that other lookups need. Before a data node's first use, which reads all of it,
    /// the kernel is asked for it as a whole. Advice: where it is not taken, lookups are right and slow.
    #[cfg(unix)]
    pub fn read_nothing_ahead(&mut self) {
        use rustix::mm::{Advice, madvise};

        // SAFETY: the range is our own mapping, and this advice changes no byte of it.
        self.asks_ahead = unsafe { madvise(self.start.as_ptr().cast(), self.span, Advice::Random) }.is_ok();
    }

    /// Whether [`ImageMemory::read_nothing_ahead`] was called, so that it pays to say what is read next.
    pub(crate) fn asks_ahead(&self) -> bool {
        self.asks_ahead
    }

    /// Says that all of bytes `at..at + len` of the file are read next.
    #[cfg(unix)]
    pub(crate) fn will_read(&self, at: usize, len: usize) {
        use rustix::mm::{Advice, madvise};

        if !self.asks_ahead || at.checked_add(len).is_none_or(|end| end > self.len) {
            return;
        }
        // The kernel takes an address only where a page begins.
        let from = at - at % rustix::param::page_size();
        // SAFETY: in bounds (checked above), and this advice changes no byte.
        let _ = unsafe { madvise(self.start.as_ptr().add(from).cast(), at + len - from, Advice::WillNeed) };
    }

    #[cfg(not(unix))]
    #[allow(clippy::unused_self, reason = "the twin for systems with maps uses it")]
    pub(crate) fn will_read(&self, _at: usize, _len: usize) {}

    /// Memory for `len` bytes, which `fill` reads from the file: for where mapping is not possible or not
    /// wanted.
    pub fn read(len: u64, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Self> {
        let memory = Self::zeros(len)?;
        // SAFETY: `len <= span` bytes of ours, initialised with zeros, and this is the only reference.
        fill(unsafe { std::slice::from_raw_parts_mut(memory.start.as_ptr(), memory.len) })?;
        Ok(memory)
    }

    /// Bytes of the file.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes `at..at + len` of the file.
    ///
    /// The caller, which is in this crate, must see to it that nobody holds an exclusive view of a node
    /// there.
    pub(crate) fn bytes(&self, at: usize, len: usize) -> Option<&[u8]> {
        if at.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: in bounds (checked just above), initialised, and only read while shared.
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(at), len) })
    }

    /// The first byte of a chunk.
    pub(crate) fn chunk(&self, number: usize) -> NonNull<u8> {
        let at = HEADER_BYTES + number * CHUNK_BYTES;
        assert!(at + CHUNK_BYTES <= self.span, "an image has no chunk {number}");
        // SAFETY: in bounds, checked just above.
        unsafe { self.start.add(at) }
    }

    #[cfg(unix)]
    fn zeros(len: u64) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

        let span = span_of(len)?;
        #[cfg(target_os = "linux")]
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        #[cfg(not(target_os = "linux"))]
        let flags = MapFlags::PRIVATE;
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice overlaps nothing.
        let place =
            unsafe { mmap_anonymous(std::ptr::null_mut(), span, ProtFlags::READ | ProtFlags::WRITE, flags)? };
        let start = NonNull::new(place.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len: len as usize, span, asks_ahead: false })
    }

    #[cfg(not(unix))]
    fn zeros(len: u64) -> io::Result<Self> {
        let span = span_of(len)?;
        let layout = Self::layout(span).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the layout has a size above zero.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) });
        let start = start.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len: len as usize, span, asks_ahead: false })
    }

    #[cfg(not(unix))]
    fn layout(span: usize) -> Option<std::alloc::Layout> {
        std::alloc::Layout::from_size_align(span, HEADER_BYTES).ok()
    }
}

impl Drop for ImageMemory {
    fn drop(&mut self) {
        #[cfg(unix)]
        // SAFETY: the mapping is ours, `span` bytes long, and no view outlives its owner.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.span) };
        #[cfg(not(unix))]
        if let Some(layout) = Self::layout(self.span) {
            // SAFETY: allocated in `zeros` with this layout; no view outlives its owner.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) };
        }
    }
}
