//! The real disk: files of one directory, through `std`, `rustix` and `memmap2`. Stores into a writable map
//! are the main unsafe act here. Knows nothing of records.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alex_index::image::ImageMemory;
use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use parking_lot::RwLock;
use rustix::fs::{FallocateFlags, SeekFrom, fadvise, fallocate, seek};
use rustix::io::Errno;

use super::directory::{Directory, Identity};
use super::fork::{self, NotInherited};
use super::map::Mapped;
use super::memory;
use super::{Access, Disk, DiskFile, Lock, Map};

/// The first store into a page through a map costs a fault, again after each flush: some microseconds a page
/// on a virtual machine. A system call has no such cost. `docs/dev/022-large-pieces-go-by-system-call.md` has
/// the figures.
const COPIES_BELOW: usize = 8 << 10;

/// Once this much is stored into a map, a flush first takes its pages out of the map (`WritableMap::let_go`).
const LET_GO_BYTES: u64 = 64 << 10;

/// Files are counted anew whenever one in so many of the bytes that memory can cache was created.
const COUNTS_IN: u64 = 16;

const EXT4_MAGIC: i64 = 0xEF53;
const TMPFS_MAGIC: i64 = 0x0102_1994;
const XFS_MAGIC: i64 = 0x5846_5342;

/// A directory in the operating system's file system.
pub(crate) struct RealDisk {
    directory: Directory,
    maps_safely: bool,
    tells_data: bool,
    /// Whether its files are too large for memory to cache. Once true, it stays true.
    crowded: Arc<AtomicBool>,
    /// Bytes of files created since all were last counted.
    uncounted: AtomicU64,
    /// So many bytes of files can memory cache.
    cached_bytes: u64,
}

impl RealDisk {
    /// Opens an existing directory, and holds it whatever becomes of its path.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        Self::over(Directory::open(path)?)
    }

    /// Like [`RealDisk::new`], but new files get exactly this mode.
    pub(crate) fn with_file_mode(path: &Path, mode: u32) -> io::Result<Self> {
        Self::over(Directory::open(path)?.with_file_mode(mode))
    }

    fn over(directory: Directory) -> io::Result<Self> {
        // ext2, ext3 and ext4 share a magic number. All of them reserve blocks before a map may be dirtied.
        let kind = directory.file_system()?;
        let maps_safely = kind == EXT4_MAGIC || kind == TMPFS_MAGIC;
        let cached_bytes = memory::cached_bytes();
        let bytes = directory.bytes()?;
        // File systems known to report pages that only the cache holds as data.
        let tells_data = maps_safely || kind == XFS_MAGIC;
        let crowded = Arc::new(AtomicBool::new(bytes > cached_bytes));
        Ok(Self { directory, maps_safely, tells_data, crowded, uncounted: AtomicU64::new(0), cached_bytes })
    }

    fn file(&self, file: File, reserved: bool) -> Arc<dyn DiskFile> {
        let (tells_data, crowded, cached_bytes) =
            (self.tells_data, Arc::clone(&self.crowded), self.cached_bytes);
        if crowded.load(Ordering::Relaxed) {
            // As in `RealFile::map`; here the kernel reads ahead once two reads follow each other, as those of a record do.
            let _ = fadvise(&file, 0, None, rustix::fs::Advice::Random);
        }
        Arc::new(RealFile { file, reserved, tells_data, crowded, cached_bytes, writable: RwLock::new(None) })
    }

    /// Creates the directory and makes its name durable; with `parents`, also creates the missing directories
    /// above it.
    pub(crate) fn make_dir(path: &Path, parents: bool) -> io::Result<()> {
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Ok(()),
        };
        if parents && !parent.exists() {
            Self::make_dir(parent, parents)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => outcome?,
        }
        File::open(parent)?.sync_all()
    }

    /// Links a finished file of another directory into this one; `Unsupported` if `source` is not a real
    /// directory.
    pub(crate) fn link_from(&self, source: &dyn Disk, name: &str) -> io::Result<()> {
        let source = source.descriptor().ok_or(io::ErrorKind::Unsupported)?;
        self.directory.link_from(source, name)
    }

    /// Like [`Disk::lock`], but writes nothing, and works without a lock file.
    pub(crate) fn lock_existing(&self) -> io::Result<Lock> {
        self.lock_with(false)
    }

    /// Locks the directory itself, so that removing the lock file lets nobody else in, and then the lock
    /// file, which is what earlier versions lock.
    fn lock_with(&self, make: bool) -> io::Result<Lock> {
        let identity = self.directory.identity();
        let held = || Ok(Lock::Held(self.holder(identity)));
        // Some network file systems cannot lock directories; there the lock file must suffice.
        let Some(directory) = NotInherited::lock(self.directory.again()?, identity, false)? else {
            return held();
        };
        let Some(file) = self.directory.open_lock_file(make)? else {
            return Ok(Lock::Taken(Box::new(directory)));
        };
        let Some(file) = NotInherited::lock(file, identity, true)? else { return held() };
        if make {
            // Only a courtesy to the next process that asks; the flock itself is the lock.
            let text = std::process::id().to_string();
            let written = file.file().write_all_at(text.as_bytes(), 0);
            let _ = written.and_then(|()| file.file().set_len(text.len() as u64));
            self.directory.hold(file.file())?;
        }
        // Dropped in this order: a process that finds the directory unlocked finds the file unlocked as well.
        Ok(Lock::Taken(Box::new((file, directory))))
    }

    /// The process that holds the lock, as far as it is known. If containers share a directory, another
    /// process may have the same number as this one.
    fn holder(&self, identity: Identity) -> Option<u32> {
        let own = std::process::id();
        if fork::holds(identity) { Some(own) } else { self.directory.holder().filter(|&pid| pid != own) }
    }
}

impl Disk for RealDisk {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.directory.create_file(name)?;
        let reserved = match reserve(&file, bytes) {
            Ok(reserved) => reserved,
            Err(error) => {
                // Nothing refers to the file yet. If removing it fails too, opening clears it as an orphan.
                let _ = self.directory.remove(name);
                return Err(error);
            }
        };
        self.grew(bytes);
        Ok(self.file(file, reserved))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.directory.open_file(name, access)?, false))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.directory.as_fd())
    }

    fn lock(&self) -> io::Result<Lock> {
        self.lock_with(true)
    }

    fn check_place(&self) -> io::Result<()> {
        self.directory.check().map(|_| ())
    }

    fn let_go(&self) {
        self.directory.let_go();
    }

    fn maps_safely(&self) -> bool {
        self.maps_safely
    }

    fn copies_below(&self) -> usize {
        COPIES_BELOW
    }

    fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    fn grew(&self, bytes: u64) {
        let uncounted = self.uncounted.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if uncounted >= self.cached_bytes / COUNTS_IN
            && !self.is_crowded()
            && let Ok(bytes) = self.directory.bytes()
        {
            self.uncounted.store(0, Ordering::Relaxed);
            if bytes > self.cached_bytes {
                self.crowded.store(true, Ordering::Relaxed);
            }
        }
    }

    fn pages_read(&self) -> u64 {
        memory::pages_read()
    }

    fn boot_id(&self) -> [u8; 16] {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let hex = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(hex, 16).unwrap_or(0);
        }
        id
    }
}

/// Extends the file to `bytes` zeros. Returns true if the file system reserved blocks for them.
fn reserve(file: &File, bytes: u64) -> io::Result<bool> {
    if bytes == 0 {
        return Ok(false);
    }
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(bytes).map(|()| false),
        Err(error) => Err(error.into()),
    }
}

struct RealFile {
    file: File,
    reserved: bool,
    /// Whether [`DiskFile::next_data`] can ask the file system.
    tells_data: bool,
    /// Whether maps are read page by page, without reading ahead: whether its disk is crowded.
    crowded: Arc<AtomicBool>,
    /// So many bytes of files can memory cache.
    cached_bytes: u64,
    writable: RwLock<Option<WritableMap>>,
}

/// A shared map for writing. A forked child does not inherit it, so the child's copy of this value must not
/// unmap whatever may be at its address.
struct WritableMap {
    map: ManuallyDrop<MmapRaw>,
    fork_generation: u64,
    /// Approximate bytes of the pages that were stored into since [`WritableMap::let_go`].
    touched: AtomicU64,
}

impl WritableMap {
    fn touch(&self, bytes: u64) {
        // Not an atomic addition: a lost count costs the interrupts, and a lost reset a system call.
        self.touched.store(self.touched.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// Takes stored-to pages out of the map if there are many. Before the kernel writes a page that is still
    /// in the map, it interrupts every processor that may hold it as writable, once per page; this way there
    /// is one interrupt for all pages. Their contents stay in the file, and the next store brings its page
    /// back.
    fn let_go(&self) {
        if self.fork_generation == fork::generation()
            && self.touched.swap(0, Ordering::Relaxed) >= LET_GO_BYTES
        {
            // SAFETY: the map belongs to this process (checked just above; a child may have other memory
            // there) and is a shared map of a file. Its memory is the file's, and the same bytes are there
            // again at the next access. This is a hint: if it fails, each page causes its own interrupt.
            let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }
}

impl Drop for WritableMap {
    fn drop(&mut self) {
        if self.fork_generation == fork::generation() {
            // SAFETY: dropped once, here; the map belongs to this process (checked just above).
            unsafe { ManuallyDrop::drop(&mut self.map) };
        }
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn is_reserved(&self) -> bool {
        self.reserved
    }

    fn links(&self) -> io::Result<u64> {
        let links = rustix::fs::fstat(&self.file)?.st_nlink;
        #[allow(clippy::useless_conversion, reason = "the kernel of aarch64 counts in 32 bits")]
        Ok(u64::from(links))
    }

    fn allocated(&self) -> io::Result<u64> {
        // st_blocks counts units of 512 bytes on every file system.
        Ok(self.file.metadata()?.blocks() * 512)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        if !self.tells_data {
            return Ok((offset < len).then_some(offset..len));
        }
        // Nobody uses the position that this moves.
        let piece = seek(&self.file, SeekFrom::Data(offset))
            .and_then(|data| Ok(data..seek(&self.file, SeekFrom::Hole(data))?));
        match piece {
            Ok(piece) => Ok(Some(piece)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn will_read(&self, offset: u64, len: u64) {
        let _ = fadvise(&self.file, offset, NonZero::new(len), rustix::fs::Advice::WillNeed);
    }

    fn read_nothing_ahead(&self) {
        let _ = fadvise(&self.file, 0, None, rustix::fs::Advice::Random);
    }

    fn will_not_read(&self) {
        let _ = fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
        // SAFETY: a system call on a descriptor that stays open as long as `self`; it takes no pointer.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    }

    fn map_for_writing(&self, len: u64) -> io::Result<()> {
        if !self.reserved {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this file system cannot reserve blocks, which write_mode=\"mmap\" needs; use \"auto\" or \"pwrite\"",
            ));
        }
        let map = MmapOptions::new().len(usize_len(len)?).map_raw(&self.file)?;
        // A child that wrote here would write into its parent's log.
        map.advise(Advice::DontFork)?;
        // Otherwise the first touch of a page reads ahead around it, which in a reserved file means filling
        // megabytes with zeros, for up to 20 ms under the commit lock. This is a hint: if it fails, that
        // happens.
        let _ = map.advise(Advice::Random);
        *self.writable.write() = Some(WritableMap {
            map: ManuallyDrop::new(map),
            fork_generation: fork::generation(),
            touched: AtomicU64::new(0),
        });
        Ok(())
    }

    fn copy_into(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let guard = self.writable.read();
        let end = offset.checked_add(bytes.len() as u64);
        match (guard.as_ref(), end) {
            (Some(writable @ WritableMap { map, fork_generation, .. }), Some(end))
                if end <= map.len() as u64 && *fork_generation == fork::generation() =>
            {
                // SAFETY: the range was checked to lie in the map, which lives while `guard` does. The caller
                // holds the commit lock, or is recovery, which is alone with the log. It writes only above
                // the published end of the log, so no reader (`Segment::shown`) and no other writer touches
                // these bytes. The file is reserved (checked in `map_for_writing`) and is never shortened
                // while it is mapped for writing.
                unsafe {
                    let to = map.as_mut_ptr().add(offset as usize);
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
                }
                writable.touch(bytes.len() as u64);
                Ok(())
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "outside the writable map")),
        }
    }

    fn prepare(&self, offset: u64, len: u64) -> io::Result<()> {
        let guard = self.writable.read();
        match guard.as_ref() {
            Some(writable @ WritableMap { map, fork_generation, .. })
                if *fork_generation == fork::generation() =>
            {
                writable.touch(len);
                map.advise_range(Advice::PopulateWrite, usize_len(offset)?, usize_len(len)?)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no writable map")),
        }
    }

    fn unmap_writing(&self) {
        *self.writable.write() = None;
    }

    fn map(&self, len: u64) -> io::Result<Map> {
        let raw = MmapOptions::new().len(usize_len(len)?).map_raw_read_only(&self.file)?;
        let crowded = self.crowded.load(Ordering::Relaxed);
        let (start, len) = (raw.as_ptr(), raw.len());
        // SAFETY: the mapping is `len` bytes from `start` and lives as long as its owner. Published
        // bytes lie below the file's final length, under which no file of a store is ever cut.
        let map = unsafe { Map::new(start, len, Arc::new(raw)) };
        if crowded {
            map.read_nothing_ahead();
        }
        Ok(map)
    }

    fn map_private(&self, len: u64) -> io::Result<ImageMemory> {
        let mut memory = ImageMemory::map(&self.file, len)?;
        // One that memory can cache is read fastest in large pieces, however large the log is.
        if len > self.cached_bytes {
            memory.read_nothing_ahead();
        }
        Ok(memory)
    }

    fn give_back_zeros(&self, offset: u64) {
        let Ok(len) = self.len() else { return };
        if offset < len {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(&self.file, hole, offset, len - offset);
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        // A file that is shared with a backup must not be cut.
        if self.file.metadata()?.nlink() > 1 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file has another name"));
        }
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(writable) = self.writable.read().as_ref() {
            writable.let_go();
        }
        // Also flushes pages dirtied through a shared map, and the length if it changed.
        self.file.sync_data()
    }
}

impl Mapped for MmapRaw {
    fn will_read(&self, offset: usize, len: usize) {
        let _ = self.advise_range(Advice::WillNeed, offset, len);
    }

    fn read_nothing_ahead(&self) {
        // Otherwise reading one value would read megabytes ahead, and evict others each time.
        let _ = self.advise(Advice::Random);
    }
}

fn usize_len(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "larger than memory"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{LET_GO_BYTES, RealDisk};
    use crate::disk::sim::Rng;
    use crate::disk::{Access, Disk, DiskFile};

    const LEN: u64 = 1 << 20;

    /// Checks that each nonzero byte from `offset` on lies in a piece. Returns the total length of the
    /// pieces.
    fn pieces_hold_all(file: &dyn DiskFile, offset: u64, seed: u64) -> u64 {
        let (mut pieces, mut at, mut told) = (Vec::new(), offset, 0);
        while let Some(piece) = file.next_data(at).expect("asks") {
            assert!(piece.start >= at && piece.end > piece.start, "seed {seed}: {piece:?} from {at}");
            at = piece.end;
            told += piece.end - piece.start;
            pieces.push(piece);
        }
        let mut bytes = vec![0; file.len().expect("asks") as usize];
        file.read_at(0, &mut bytes).expect("reads");
        for (at, _) in bytes.iter().enumerate().skip(offset as usize).filter(|(_, byte)| **byte != 0) {
            let there = pieces.iter().any(|piece| piece.contains(&(at as u64)));
            assert!(there, "seed {seed}: byte {at} is in none of {pieces:?}");
        }
        told
    }

    #[test]
    fn no_byte_that_was_written_in_any_way_lies_between_the_pieces_of_data() {
        for folder in ["/dev/shm", "/tmp", "."].map(Path::new).into_iter().filter(|path| path.is_dir()) {
            let Ok(folder) = tempfile::tempdir_in(folder) else { continue };
            let disk = RealDisk::new(folder.path()).expect("a directory");
            for seed in 0..40 {
                let mut rng = Rng::new(seed);
                let name = format!("file-{seed}");
                let reserved = if rng.one_in(4) { 0 } else { LEN };
                let file = disk.create(&name, reserved).expect("creates");
                let mapped = reserved > 0 && file.map_for_writing(LEN).is_ok();
                for _ in 0..rng.below(12) {
                    let (offset, len) = (rng.below(LEN - 9000), 1 + rng.below(9000) as usize);
                    let bytes = vec![rng.next_u64() as u8 | 1; len];
                    match rng.below(6) {
                        0 => file.sync().expect("syncs"),
                        1 if mapped => file.prepare(offset & !4095, 8192).expect("prepares"),
                        2..=4 if mapped => file.copy_into(offset, &bytes).expect("copies"),
                        _ => file.write_at(offset, &bytes).expect("writes"),
                    }
                }
                let from = rng.below(LEN / 2);
                pieces_hold_all(&*file, from, seed);
                // Through another descriptor, after the map is gone; what lies behind a cut must be gone,
                // too.
                file.unmap_writing();
                let again = disk.open(&name, Access::Write).expect("opens");
                pieces_hold_all(&*again, from, seed);
                again.truncate(LEN / 3).expect("cuts");
                pieces_hold_all(&*again, 0, seed);
                assert_eq!(again.next_data(LEN / 3).expect("asks"), None, "seed {seed}: behind the end");
            }
        }
    }

    /// A new file that is mapped for writing; `None`, with a message, if this file system cannot reserve its
    /// blocks.
    fn mapped(name: &str) -> Option<(tempfile::TempDir, Arc<dyn DiskFile>)> {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let disk = RealDisk::new(folder.path()).expect("a directory");
        let file = disk.create(name, LEN).expect("creates");
        match file.map_for_writing(LEN) {
            Ok(()) => Some((folder, file)),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                eprintln!("not tested: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Resident kilobytes of this process's writable maps of a file.
    fn resident(name: &str) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
        let mut lines = maps.lines().skip_while(|line| !(line.ends_with(name) && line.contains(" rw-s ")));
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).expect("a map");
        rss.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn a_flush_takes_many_pages_out_of_the_map_and_nothing_out_of_the_file() {
        let Some((_folder, file)) = mapped("let-go") else { return };
        let mut expected = vec![0; LEN as usize];
        let mut rng = Rng::new(1);
        for round in 1..5_u8 {
            for _ in 0..40 {
                let offset = rng.below(LEN - 9000);
                file.copy_into(offset, &[round; 5000]).expect("copies");
                expected[offset as usize..][..5000].fill(round);
            }
            assert!(resident("let-go") >= LET_GO_BYTES >> 10);
            file.sync().expect("syncs");
            assert_eq!(resident("let-go"), 0);
            let mut found = vec![1; LEN as usize];
            file.read_at(0, &mut found).expect("reads");
            assert!(found == expected, "round {round}");
        }
        file.copy_into(0, b"little").expect("copies");
        file.sync().expect("syncs");
        assert!(resident("let-go") > 0, "a small commit keeps its page");
    }

    #[test]
    fn flushes_beside_a_writer_lose_nothing() {
        let Some((_folder, file)) = mapped("beside") else { return };
        let last = 20_u8;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 1..=last {
                    for offset in (0..LEN).step_by(1000) {
                        let len = 1000.min(LEN - offset) as usize;
                        file.copy_into(offset, &[round; 1000][..len]).expect("copies");
                    }
                }
            });
            while !writer.is_finished() {
                file.prepare(LEN / 2, LEN / 4).expect("prepares");
                file.sync().expect("syncs");
            }
        });
        let mut found = vec![0; LEN as usize];
        file.read_at(0, &mut found).expect("reads");
        assert!(found.iter().all(|&byte| byte == last));
    }

    #[test]
    fn images_that_memory_cannot_cache_are_mapped_without_reading_ahead() {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let mut disk = RealDisk::new(folder.path()).expect("a directory");
        for crowded in [false, true] {
            disk.cached_bytes = if crowded { 1 << 15 } else { 1 << 16 };
            let name = format!("image-{crowded}");
            disk.create(&name, 0).expect("creates").write_at(0, &vec![0; 1 << 16]).expect("writes");
            let file = disk.open(&name, Access::Read).expect("opens");
            let _memory = file.map_private(1 << 16).expect("maps");
            let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
            let mut lines = maps.lines().skip_while(|line| !line.ends_with(&name));
            let flags = lines.find(|line| line.starts_with("VmFlags:")).expect("a map");
            assert_eq!(flags.split(' ').any(|flag| flag == "rr"), crowded, "{flags}");
        }
    }

    #[test]
    fn files_that_outgrow_memory_are_noticed_as_they_are_created() {
        let folder = tempfile::tempdir_in(".").expect("a folder");
        let mut disk = RealDisk::new(folder.path()).expect("a directory");
        disk.cached_bytes = 4 * LEN;
        let make = |number: u64| {
            let file = disk.create(&format!("file-{number}"), LEN).expect("creates");
            // Where blocks cannot be reserved, what is written takes them.
            file.write_at(0, &vec![1; LEN as usize]).expect("writes");
        };
        // As many bytes as one likes may come and go.
        for number in 0..20 {
            make(number);
            assert!(!disk.is_crowded(), "after {number}");
            disk.remove(&format!("file-{number}")).expect("removes");
        }
        let mut beside = RealDisk::new(folder.path()).expect("a directory");
        beside.cached_bytes = disk.cached_bytes;
        (20..26).for_each(make);
        assert!(disk.is_crowded(), "six of them are too many");
        // One that follows the writer is told of each.
        assert!(!beside.is_crowded());
        beside.grew(LEN);
        assert!(beside.is_crowded());
    }

    #[test]
    fn space_that_was_reserved_and_never_written_is_not_reported_as_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(folder.path()).expect("a directory");
        let file = disk.create("file", LEN).expect("creates");
        file.write_at(LEN / 2, b"data").expect("writes");
        let told = pieces_hold_all(&*file, 0, 0);
        assert!(told < LEN / 4 || !disk.tells_data, "{told} bytes told");
    }
}
