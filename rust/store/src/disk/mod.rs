//! The only access to files: a directory of named files behind one trait, with a real and a simulated
//! implementation. Nothing above this folder opens, maps or syncs anything itself, so that a test can cut the
//! power between any two steps. Knows nothing of records, segments or manifests.

mod directory;
mod file;
mod fork;
mod map;
mod memory;
#[cfg(feature = "simulation")]
pub mod sim;

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alex_index::image::ImageMemory;
pub(crate) use directory::LOCK_FILE;
pub(crate) use file::RealDisk;
pub use fork::generation as fork_generation;
pub use fork::watch as watch_forks;
pub use map::Map;
pub use memory::crowds as crowds_memory;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading, writing, syncing and truncating.
    Write,
}

/// A directory that holds one store.
pub trait Disk: Send + Sync {
    /// The directory, for messages.
    fn path(&self) -> &Path;

    /// The names of the files in the directory, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a new file of `bytes` zeros, with real blocks behind them if the file system can reserve them.
    /// Fails if the name is taken. Neither the file nor its name is durable yet.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file, replacing any file with the new name. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Durable after [`Disk::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every earlier create, rename and remove durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// The directory's own descriptor, if it has one; used to link files from it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes the writer's lock, held until the guard is dropped, or says who has it.
    fn lock(&self) -> io::Result<Lock>;

    /// Fails if the path by now leads to another directory, or the lock file is another one: what is written
    /// would be where nobody looks for it.
    fn check_place(&self) -> io::Result<()> {
        Ok(())
    }

    /// Releases the directory itself. Nothing more will be requested of this disk.
    fn let_go(&self) {}

    /// Whether a store into the map of a reserved file is known never to fault here.
    fn maps_safely(&self) -> bool;

    /// Pieces shorter than this go into a map faster by copying; all others by system call.
    fn copies_below(&self) -> usize;

    /// Whether its files are known to be too large for memory to cache all of them. May become true as files are
    /// created.
    fn is_crowded(&self) -> bool {
        false
    }

    /// So many bytes of its files were created, by this process or another one. Files are counted anew whenever it could
    /// matter; O(files) then.
    fn grew(&self, _bytes: u64) {}

    /// How many pages this thread has had read from devices, about. Ascending; compare two of them.
    fn pages_read(&self) -> u64 {
        0
    }

    /// Identifies this boot of the machine; zeros if the system does not say. Kept for diagnosis only.
    fn boot_id(&self) -> [u8; 16];

    /// The full path of a file, for messages.
    fn path_of(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// The outcome of [`Disk::lock`].
pub enum Lock {
    /// The lock is ours until the guard is dropped.
    Taken(Box<dyn Send + Sync>),
    /// Somebody else has the lock; the process id, if known.
    Held(Option<u32>),
}

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Length of the file in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Whether [`Disk::create`] could reserve blocks for the file.
    fn is_reserved(&self) -> bool {
        true
    }

    /// How many names the file has. It has one fewer when another file takes its name.
    fn links(&self) -> io::Result<u64>;

    /// Bytes allocated on the device.
    fn allocated(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`. Returns the number of bytes before the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The next piece of the file, from `offset` on, that may hold anything but zeros; `None` if there is
    /// none. Lets callers skip reserved space, which counts as data once it has been read.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>>;

    /// Hints that a part of the file, whole pages, is to be read soon: the device begins, and nobody waits for it.
    fn will_read(&self, _offset: u64, _len: u64) {}

    /// Hints that reads will reach space that was never written, where reading ahead would yield only zeros.
    fn read_nothing_ahead(&self) {}

    /// Hints that none of it is to be read soon: what is on the device and in nobody's map need not stay in memory.
    fn will_not_read(&self) {}

    /// Writes all of `bytes` with system calls. After an error any part may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Lets the device begin with a part that was written, so that [`DiskFile::sync`] waits less. A hint: it
    /// proves nothing, and if it fails, `sync` reports it.
    fn begin_sync(&self, _offset: u64, _len: u64) {}

    /// Prepares [`DiskFile::copy_into`] for the first `len` bytes. Refused if blocks could not be reserved,
    /// since a store into the map would then end the process on a full disk.
    fn map_for_writing(&self, len: u64) -> io::Result<()>;

    /// Copies `bytes` into the writable map; the only function that stores into one.
    fn copy_into(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Brings the pages of a part of the writable map into memory, ready to be copied into. A hint: it
    /// changes no byte, and if it fails, copying works as before.
    fn prepare(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Releases the writable map.
    fn unmap_writing(&self);

    /// A read-only map of the first `len` bytes, coherent with every kind of write.
    fn map(&self, len: u64) -> io::Result<Map>;

    /// The first `len` bytes as private memory, whose changes never reach the file. Read by default; an
    /// implementation may map it instead.
    fn map_private(&self, len: u64) -> io::Result<ImageMemory> {
        ImageMemory::read(len, |bytes| {
            let read = self.read_at(0, bytes)?;
            if read < bytes.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        })
    }

    /// Gives back blocks from `offset` on that hold only zeros. Neither length nor content changes, so that
    /// processes that have the file mapped can read on. A hint.
    fn give_back_zeros(&self, _offset: u64) {}

    /// Cuts the file to `len` bytes. A process that reads beyond this through a map gets a fatal signal.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Returns when the device has confirmed every byte written before, in either way, and the length.
    fn sync(&self) -> io::Result<()>;
}
