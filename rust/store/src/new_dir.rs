//! A directory that comes into being whole: made under another name beside its own, and renamed once
//! everything in it is durable. A crash in between leaves only the other name.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::RealDisk;
use crate::error::{Error, Result};
use crate::operation::Operation;

/// What is added to the name of a directory that is not finished.
const UNFINISHED: &str = ".unfinished";

/// A directory being made; dropped unfinished, it is removed.
pub(crate) struct NewDir {
    dest: PathBuf,
    work: PathBuf,
    finished: bool,
}

impl NewDir {
    /// Begins the directory `dest`, which must not exist or be empty, for the store in `source`.
    pub(crate) fn begin(dest: &Path, source: &Path) -> Result<Self> {
        let refuse =
            |problem: &str| Err(Error::Invalid(format!("{} {problem}; nothing was written", dest.display())));
        match fs::read_dir(dest) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return refuse("is not empty: choose a new directory");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::NotADirectory { path: dest.to_owned() });
            }
            Err(error) => return Err(Error::io(Operation::Open, dest, error)),
        }
        let dest = std::path::absolute(dest).map_err(|error| Error::io(Operation::Find, dest, error))?;
        let inside = source.canonicalize().is_ok_and(|source| {
            let known = dest.ancestors().find_map(|above| above.canonicalize().ok());
            known.is_some_and(|known| known.starts_with(source))
        });
        let (false, Some(name)) = (inside, dest.file_name()) else {
            return refuse("lies inside the store itself");
        };
        let mut unfinished = OsString::from(name);
        unfinished.push(UNFINISHED);
        let work = dest.with_file_name(unfinished);
        if work.exists() {
            return Err(Error::Invalid(format!(
                "{} exists: another call is making it, or one was cut off; remove it in that case",
                work.display()
            )));
        }
        RealDisk::make_dir(&work).map_err(|error| Error::io(Operation::Create, &work, error))?;
        Ok(Self { dest, work, finished: false })
    }

    /// Where its files go for now.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// Gives it its name. Everything in it must be durable, the names of its files included.
    pub(crate) fn finish(mut self) -> Result<()> {
        fs::rename(&self.work, &self.dest)
            .map_err(|error| Error::io(Operation::Rename, &self.work, error))?;
        self.finished = true;
        if let Some(parent) = self.dest.parent() {
            let synced = fs::File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(|error| Error::io(Operation::SyncDirectory, &self.dest, error))?;
        }
        Ok(())
    }
}

impl Drop for NewDir {
    fn drop(&mut self) {
        if !self.finished {
            // The error that brought us here is the one to report.
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}
