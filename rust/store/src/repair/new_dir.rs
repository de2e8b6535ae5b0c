//! Creates a directory that appears whole: it is made under another name beside its own, and renamed once
//! everything in it is durable. A crash in between leaves only the other name. The files, and a directory
//! that did not exist before, get the modes of the store that they come from, so that the same users can use
//! them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::renameat;

use crate::disk::RealDisk;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::options::check_path;

/// Appended to the name of a directory that is not finished.
const UNFINISHED: &str = ".unfinished";

/// A directory that is being made. If dropped unfinished, it is removed.
pub(crate) struct NewDir {
    dest: PathBuf,
    work: PathBuf,
    /// Held open, so that finishing needs no descriptor that might be missing then.
    parent: File,
    /// `None` if the source has no file to take the mode from.
    file_mode: Option<u32>,
    finished: bool,
}

impl NewDir {
    /// Begins the directory `dest`, which must be empty or not exist and be no link, for a copy of the store in `source`.
    pub(crate) fn begin(dest: &Path, source: &Path) -> Result<Self> {
        check_path(dest)?;
        let refuse =
            |problem: &str| Err(Error::Invalid(format!("{} {problem}; nothing was written", dest.display())));
        let mut mode = None;
        match fs::read_dir(dest) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return refuse("is not empty: choose a new directory");
                }
                // Keep the mode that the creator of the directory chose.
                mode = fs::metadata(dest).map(|found| found.permissions().mode()).ok();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::NotADirectory { path: dest.to_owned() });
            }
            Err(error) => return Err(Error::io(Operation::Open, dest, error)),
        }
        // Only made absolute: what `..` behind a symbolic link means is up to the system.
        let dest = std::path::absolute(dest).map_err(|error| Error::io(Operation::Find, dest, error))?;
        let inside = source.canonicalize().is_ok_and(|source| {
            let known = dest.ancestors().find_map(|above| above.canonicalize().ok());
            known.is_some_and(|known| known.starts_with(source))
        });
        if inside {
            return refuse("lies inside the store itself");
        }
        let (Some(parent), Some(name)) = (dest.parent(), dest.file_name()) else {
            return refuse("does not end in a name for a new directory");
        };
        // The rename at the end would not follow it. Joined anew, since a trailing slash does follow it.
        if fs::symlink_metadata(parent.join(name)).is_ok_and(|found| found.is_symlink()) {
            return refuse("is a symbolic link: name the directory that it leads to");
        }
        let parent = match File::open(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoParent { path: dest });
            }
            opened => opened.map_err(|error| Error::io(Operation::Open, parent, error))?,
        };
        let mut unfinished = OsString::from(name);
        unfinished.push(UNFINISHED);
        let work = dest.with_file_name(unfinished);
        if work.exists() {
            return Err(Error::Invalid(format!(
                "{} exists: another call is making it, or an earlier one was cut off; in that case remove it",
                work.display()
            )));
        }
        let wrap = |operation, path: &Path| {
            let path = path.to_owned();
            move |error| Error::io(operation, &path, error)
        };
        let (of_source, file_mode) = modes(source).map_err(wrap(Operation::Read, source))?;
        // At first for nobody else: the final mode is set before anything is in the directory.
        // A failure names what was asked for, not the name that it has meanwhile.
        DirBuilder::new().mode(0o700).create(&work).map_err(wrap(Operation::Create, &dest))?;
        let new = Self { dest, work, parent, file_mode, finished: false };
        // Even if nobody may change the source any more, the owner must be able to fill the copy.
        let mode = Permissions::from_mode(mode.unwrap_or(of_source) & 0o7777 | 0o700);
        fs::set_permissions(&new.work, mode).map_err(wrap(Operation::Create, &new.dest))?;
        Ok(new)
    }

    /// The directory in which its files are made for now.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// A disk on which its files are made.
    pub(crate) fn disk(&self) -> Result<RealDisk> {
        let disk = match self.file_mode {
            Some(mode) => RealDisk::with_file_mode(&self.work, mode),
            None => RealDisk::new(&self.work),
        };
        disk.map_err(|error| Error::io(Operation::Open, &self.work, error))
    }

    /// Renames the directory to its final name. Everything in it must be durable, including the names of its
    /// files.
    pub(crate) fn finish(mut self) -> Result<()> {
        let names = self.work.file_name().zip(self.dest.file_name());
        let renamed = names.map_or(Ok(()), |(from, to)| renameat(&self.parent, from, &self.parent, to));
        renamed.map_err(|errno| Error::io(Operation::Rename, &self.work, errno.into()))?;
        self.finished = true;
        self.parent.sync_all().map_err(|error| Error::io(Operation::SyncDirectory, &self.dest, error))
    }
}

/// The mode of a store's directory, and the mode bits that all its files share.
fn modes(store: &Path) -> io::Result<(u32, Option<u32>)> {
    let mut files = None;
    for entry in fs::read_dir(store)? {
        // A file that is removed meanwhile does not count.
        if let Ok(found) = entry?.metadata()
            && found.is_file()
        {
            files = Some(files.unwrap_or(0o666) & found.permissions().mode());
        }
    }
    Ok((fs::metadata(store)?.permissions().mode(), files))
}

impl Drop for NewDir {
    fn drop(&mut self) {
        if !self.finished {
            // The error that led here is the one to report.
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}
