//! The directory of a store, identified by a descriptor held since opening rather than by its name. Every
//! file is looked up in that directory and nowhere else, whatever its path means by then. Only plain files
//! are opened, without ever blocking. Before a name in it changes, the path and the lock file are compared
//! with what is held. Knows nothing of what the files hold. Each call costs a few system calls.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::Access;
use crate::error::Refusal;

/// Standard input, output and error: whatever file has these numbers receives what a program writes to them.
const STANDARD: i32 = 2;

/// The file that the writer locks in addition to the directory.
pub(crate) const LOCK_FILE: &str = "LOCK";
/// A lock file of ours is never longer: a process id has at most seven digits.
const LOCK_BYTES: usize = 32;

/// Identifies a file or directory, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(found: &Stat) -> Self {
        Self { device: found.st_dev, inode: found.st_ino }
    }
}

fn refused(refusal: Refusal) -> io::Error {
    io::Error::other(refusal)
}

/// The directory of a store, held by a descriptor.
pub(super) struct Directory {
    file: OwnedFd,
    /// Contains no symbolic link.
    path: PathBuf,
    identity: Identity,
    /// The lock file while it is held.
    lock_file: Mutex<Option<Identity>>,
    /// The mode of new files, if it is not derived from the directory's mode.
    file_mode: Option<Mode>,
}

impl Directory {
    /// Opens an existing directory.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = above_standard(fs::openat(CWD, path, flags, Mode::empty())?)?;
        let identity = Identity::of(&fs::fstat(&file)?);
        let path = path.canonicalize()?;
        Ok(Self { file, path, identity, lock_file: Mutex::new(None), file_mode: None })
    }

    /// New files get exactly this mode.
    pub(super) fn with_file_mode(self, mode: u32) -> Self {
        Self { file_mode: Some(Mode::from_raw_mode(mode | 0o600)), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Points the descriptor elsewhere, so that a handle that was closed but not yet collected keeps no file
    /// system busy. The descriptor number stays ours; the system refuses any later operation on it.
    pub(super) fn let_go(&self) {
        if let Ok(nowhere) = File::open("/dev/null") {
            // SAFETY: dup3 between two open descriptors touches no memory; `self.file` stays an open descriptor
            // of ours.
            unsafe { libc::dup3(nowhere.as_raw_fd(), self.file.as_raw_fd(), libc::O_CLOEXEC) };
        }
    }

    /// The names in the directory, in no particular order.
    pub(super) fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.file)? {
            // A name that is not UTF-8 is not ours, but it exists: a directory with one is not empty.
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Disk space that all its files occupy, in bytes, whatever their lengths say. A file that is removed
    /// meanwhile counts as nothing.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0_u64;
        for entry in Dir::read_from(&self.file)? {
            let name = entry?;
            let found = fs::statat(&self.file, name.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            // Blocks count 512 bytes on every file system.
            let blocks: u64 = found.map_or(0, |found| found.st_blocks.try_into().unwrap_or(0));
            bytes = bytes.saturating_add(blocks.saturating_mul(512));
        }
        Ok(bytes)
    }

    /// The kind of its file system, as Linux's magic number.
    pub(super) fn file_system(&self) -> io::Result<i64> {
        Ok(fs::fstatfs(&self.file)?.f_type)
    }

    /// Opens a plain file. Never blocks, and follows no link out of the directory.
    pub(super) fn open_file(&self, name: &str, access: Access) -> io::Result<File> {
        let access = if access == Access::Write { OFlags::RDWR } else { OFlags::RDONLY };
        plain_file(fs::openat(&self.file, name, access | GUARDED, Mode::empty()))
    }

    /// Creates a new file.
    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        let directory = self.check()?;
        let (mode, forced) = self.modes(&directory);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | GUARDED;
        let created = fs::openat(&self.file, name, flags, mode)?;
        let finished = above_standard(created).and_then(|file| {
            permit(&file, forced)?;
            Ok(File::from(file))
        });
        if finished.is_err() {
            // Nothing refers to the file yet. If this fails too, opening clears it as an orphan.
            let _ = self.remove(name);
        }
        finished
    }

    /// The mode that a new file requests, which the process's umask may reduce, and the mode bits that it
    /// gets regardless. Users without access to the directory get none to the file. A directory that a group
    /// shares (its set-group-id bit says so) shares its files with the group.
    fn modes(&self, directory: &Stat) -> (Mode, Mode) {
        if let Some(mode) = self.file_mode {
            return (mode & (Mode::RUSR | Mode::WUSR), mode);
        }
        let of_directory = Mode::from_raw_mode(directory.st_mode);
        let wanted = Mode::RUSR
            | Mode::WUSR
            | of_directory & (Mode::RGRP | Mode::WGRP)
            | of_directory & (Mode::ROTH | Mode::WOTH);
        let shared = of_directory.contains(Mode::SGID);
        (wanted, if shared { wanted & (Mode::RGRP | Mode::WGRP) } else { Mode::empty() })
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check()?;
        Ok(fs::renameat(&self.file, from, &self.file, to)?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.check()?;
        Ok(fs::unlinkat(&self.file, name, AtFlags::empty())?)
    }

    /// Links a file of another directory into this one.
    pub(super) fn link_from(&self, source: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        self.check()?;
        Ok(fs::linkat(source, name, &self.file, name, AtFlags::empty())?)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| fs::fsync(&self.file))?)
    }

    /// Another descriptor of the directory, for a lock of its own.
    pub(super) fn again(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = fs::openat(&self.file, ".", flags, Mode::empty())?;
        Ok(File::from(above_standard(file)?))
    }

    /// Opens the lock file; `None` if there is none and none should be made. A file that is not ours is left
    /// alone.
    pub(super) fn open_lock_file(&self, make: bool) -> io::Result<Option<File>> {
        let opened = if make {
            let directory = self.check()?;
            let (mode, forced) = self.modes(&directory);
            let flags = OFlags::RDWR | OFlags::CREATE | GUARDED;
            let there = fs::statat(&self.file, LOCK_FILE, AtFlags::SYMLINK_NOFOLLOW).is_ok();
            let file = plain_file(fs::openat(&self.file, LOCK_FILE, flags, mode))?;
            if !there {
                permit(&file, forced)?;
            }
            Some(file)
        } else {
            match self.open_file(LOCK_FILE, Access::Read) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                opened => Some(opened?),
            }
        };
        if let Some(file) = &opened {
            lock_text(file)?;
        }
        Ok(opened)
    }

    /// From now on [`Directory::check`] compares the lock file as well.
    pub(super) fn hold(&self, lock_file: &File) -> io::Result<()> {
        *self.lock_file.lock() = Some(Identity::of(&fs::fstat(lock_file)?));
        self.check().map(|_| ())
    }

    /// The process id that the holder of the lock wrote into its file.
    pub(super) fn holder(&self) -> Option<u32> {
        let file = self.open_file(LOCK_FILE, Access::Read).ok()?;
        lock_text(&file).ok()?.trim().parse().ok()
    }

    /// Fails once the path or the lock file in the directory is no longer what was opened and locked:
    /// whatever is there now must not be changed, and a process that finds no lock file may create another.
    /// Returns the status of the directory.
    pub(super) fn check(&self) -> io::Result<Stat> {
        let moved = |path: PathBuf| refused(Refusal::Moved(path));
        let there = match fs::statat(CWD, &self.path, AtFlags::empty()) {
            Ok(found) if Identity::of(&found) == self.identity => found,
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(moved(self.path.clone())),
            Err(errno) => return Err(errno.into()),
        };
        let Some(held) = *self.lock_file.lock() else { return Ok(there) };
        match fs::statat(&self.file, LOCK_FILE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if Identity::of(&found) == held => Ok(there),
            Ok(_) | Err(Errno::NOENT) => Err(moved(self.path.join(LOCK_FILE))),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The opened file, if it is a plain file.
fn plain_file(opened: Result<OwnedFd, Errno>) -> io::Result<File> {
    let file = opened.map_err(|errno| match errno {
        Errno::LOOP => refused(Refusal::NoFile("a symbolic link")),
        Errno::ISDIR => refused(Refusal::NoFile("a directory")),
        Errno::NXIO => refused(Refusal::NoFile("a socket or a device")),
        errno => errno.into(),
    })?;
    let file = above_standard(file)?;
    match FileType::from_raw_mode(fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        FileType::Directory => Err(refused(Refusal::NoFile("a directory"))),
        FileType::Fifo => Err(refused(Refusal::NoFile("a pipe"))),
        _ => Err(refused(Refusal::NoFile("a socket or a device"))),
    }
}

/// The contents of a lock file. Fails if it is not ours.
fn lock_text(file: &File) -> io::Result<String> {
    let mut bytes = [0; LOCK_BYTES + 1];
    let read = std::os::unix::fs::FileExt::read_at(file, &mut bytes, 0)?;
    // A power cut may leave zeros in place of what was written.
    let ours = |&byte: &u8| byte.is_ascii_digit() || byte.is_ascii_whitespace() || byte == 0;
    if read > LOCK_BYTES || !bytes[..read].iter().all(ours) {
        return Err(refused(Refusal::ForeignLock));
    }
    Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

/// Flags for store files. Standard descriptors are avoided, since other code of the process may unknowingly
/// write to them.
const GUARDED: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

fn above_standard(file: OwnedFd) -> io::Result<OwnedFd> {
    if file.as_raw_fd() > STANDARD { Ok(file) } else { Ok(fcntl_dupfd_cloexec(&file, STANDARD + 1)?) }
}

/// Gives a file the mode bits that it lacks.
fn permit(file: impl AsFd, forced: Mode) -> io::Result<()> {
    let has = Mode::from_raw_mode(fs::fstat(&file)?.st_mode);
    if !has.contains(forced) {
        fs::fchmod(&file, has | forced)?;
    }
    Ok(())
}
