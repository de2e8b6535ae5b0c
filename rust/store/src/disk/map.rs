//! Read-only views of a file's bytes. All unsafe code for reading is here. Knows nothing of records. Every
//! access is O(1).
#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;

/// Keeps the memory of a [`Map`].
pub(super) trait Mapped: Send + Sync {
    /// Hints that a part of it, which begins with a page, is to be read soon.
    fn will_read(&self, offset: usize, len: usize);

    /// Hints that reads of it do not follow each other, and that nothing should be read ahead for them.
    fn read_nothing_ahead(&self);
}

/// A read-only window on a file, valid for as long as it lives, even after the file is removed.
///
/// Published bytes (those committed to the index, or below an accepted end of a log) are never rewritten or
/// cut off, which makes it sound to hand out plain slices of them. Behind them the file may be written or
/// cut; `Segment::shown` never requests bytes there, whatever length a record claims.
#[derive(Clone)]
pub struct Map {
    start: *const u8,
    len: usize,
    owner: Arc<dyn Mapped>,
}

// SAFETY: the memory is owned by `owner`, which is Send and Sync, and is only read through here.
unsafe impl Send for Map {}
// SAFETY: as for `Send`; `&Map` gives out shared slices only.
unsafe impl Sync for Map {}

impl Map {
    /// A window of `len` bytes from `start`.
    ///
    /// # Safety
    /// `start..start + len` must be readable for as long as `owner` lives.
    pub(super) unsafe fn new(start: *const u8, len: usize, owner: Arc<dyn Mapped>) -> Self {
        Self { start, len, owner }
    }

    /// Length of the window in bytes; the file may be shorter by now.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// The bytes at `offset`, or `None` if the window ends before `offset + len`.
    #[inline]
    pub fn bytes(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(offset).ok()?;
        let end = from.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: `end <= self.len` was checked just above, `new` guarantees that window, and callers request
        // only published bytes, which nobody writes (see the documentation of the type).
        Some(unsafe { std::slice::from_raw_parts(self.start.add(from), len) })
    }

    /// Whether there are only zeros at `offset`, where somebody may be writing; `None` if the window ends before. The page
    /// must still be part of the file.
    pub(crate) fn is_zero(&self, offset: u64, len: u64) -> Option<bool> {
        let (from, len) = (usize::try_from(offset).ok()?, usize::try_from(len).ok()?);
        if from.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `from + len` lies in the window, which `new` guarantees to be readable. The bytes are read volatile,
        // since others may write them.
        Some((0..len).all(|at| unsafe { self.start.add(from + at).read_volatile() } == 0))
    }

    /// Copies the bytes from `offset` on by system call. Returns how many there were. If the file cannot be
    /// read, or is shorter by now, that is an error or an early end here, and no signal.
    pub fn copy_out(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len);
        let want = buffer.len().min(self.len - from);
        let mut done = 0;
        while done < want {
            let rest = &mut buffer[done..want];
            let local = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
            let start = self.start.wrapping_add(from + done).cast_mut();
            let remote = libc::iovec { iov_base: start.cast(), iov_len: rest.len() };
            // SAFETY: `local` is `rest`, which is borrowed for the call. `remote` lies inside the window, since
            // `from + want` is at most its length, and is only read, by the kernel, which checks each page.
            let copied = unsafe {
                libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
            };
            match usize::try_from(copied) {
                Ok(0) => break,
                Ok(copied) => done += copied,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    match error.raw_os_error() {
                        Some(libc::EINTR) => {}
                        Some(libc::EFAULT) if done > 0 => break,
                        Some(libc::EFAULT) => return Err(io::Error::from_raw_os_error(libc::EIO)),
                        // Some sandboxes forbid the call. Then a page that cannot be read ends the process, as it does
                        // in every read of a map.
                        Some(libc::EPERM | libc::ENOSYS) => {
                            // SAFETY: `rest` is as long as what is left of the window, which stays mapped and is not
                            // part of any buffer.
                            unsafe {
                                let from = self.start.add(from + done);
                                from.copy_to_nonoverlapping(rest.as_mut_ptr(), rest.len());
                            }
                            done = want;
                        }
                        _ => return Err(error),
                    }
                }
            }
        }
        Ok(done)
    }

    /// Hints that a part of the window, whole pages, is to be read soon: the device begins, and nobody waits for it.
    pub(crate) fn will_read(&self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.len());
        if offset < end {
            self.owner.will_read(offset as usize, (end - offset) as usize);
        }
    }

    /// Hints that reads of it do not follow each other, and that nothing should be read ahead for them.
    pub(crate) fn read_nothing_ahead(&self) {
        self.owner.read_nothing_ahead();
    }

    /// Prefetches the cache line at `offset`: a hint, never an access.
    #[inline]
    pub fn prefetch(&self, offset: u64) {
        alex_index::prefetch(self.start.wrapping_add(offset as usize));
    }
}
