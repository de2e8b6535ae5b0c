//! `repair`: copies what can be read of a damaged store into a new one. The damaged store is not changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::calls::store::Store;
use crate::disk::{Disk, LOCK_FILE, Lock, RealDisk};
use crate::error::{Error, Result};
use crate::keys::KeyVec;
use crate::operation::Operation;
use crate::options::{Durability, Options, check_path};
use crate::progress::OpenProgress;
use crate::repair::new_dir::NewDir;
use crate::repair::salvage::{RepairMode, Salvaged};
use crate::schema::Schema;

/// Values are written in commits of about this many bytes, and at most this many keys.
const COMMIT_BYTES: usize = 4 << 20;
const COMMIT_KEYS: usize = 1 << 14;

/// What [`Store::repair`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Keys in the new store.
    pub kept: u64,
    /// Records that are known to have been in the old store and could not be kept.
    pub lost: u64,
    /// File, offset and length in bytes of each damaged place. A length of 0 stands for a whole file whose
    /// length does not tell what it held.
    pub damaged: Vec<(PathBuf, u64, u64)>,
    /// How many keys [`RepairMode::Salvage`] would keep, if more.
    pub salvage_keeps: Option<u64>,
}

impl Store {
    /// Copies what can be read of the store in `path` into a new store in `dest`, which must be empty or not
    /// exist. `path` is only read, and must not be open for writing. With [`RepairMode::Salvage`], a key
    /// whose deletion was lost comes back. `codec` names the codec of the values, which is needed only if both copies of the
    /// manifest are gone, and must not be another than the one that they name.
    ///
    /// O(bytes), with the keys in memory. `progress` works as in [`Store::verify`].
    pub fn repair(
        path: &Path,
        dest: &Path,
        mode: RepairMode,
        codec: Option<String>,
        progress: &mut dyn FnMut(OpenProgress) -> bool,
    ) -> Result<RepairReport> {
        check_path(path)?;
        check_path(dest)?;
        match std::fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(Error::NotADirectory { path: path.to_owned() }),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound { path: path.to_owned() });
            }
            Err(error) => return Err(Error::io(Operation::Open, path, error)),
        }
        let source = RealDisk::new(path).map_err(|error| Error::io(Operation::Open, path, error))?;
        // Hold the lock to the end: nobody writes meanwhile.
        let _lock = match source
            .lock_existing()
            .map_err(|error| Error::io(Operation::Lock, &path.join(LOCK_FILE), error))?
        {
            Lock::Held(pid) => return Err(Error::Locked { path: path.to_owned(), pid }),
            Lock::Taken(lock) => lock,
        };
        let source: Arc<dyn Disk> = Arc::new(source);
        // Read everything before creating anything.
        let salvaged = Salvaged::read(&source, mode, progress)?;
        let options = Options { durability: Durability::Os, background: false, codec, ..Options::default() };
        let options = options_for(&salvaged, path, &options)?;
        let by_salvage = kept_by_salvage(&source, &salvaged, mode, progress)?;
        let new_dir = NewDir::begin(dest, path)?;
        let disk = new_dir.disk()?;
        let report = write(&salvaged, Arc::new(disk), new_dir.work(), &options)?;
        new_dir.finish()?;
        Ok(report.beside(by_salvage))
    }

    /// Like [`Store::repair`], from any disk to any disk. For tests.
    #[doc(hidden)]
    pub fn repair_on(
        source: &Arc<dyn Disk>,
        dest: Arc<dyn Disk>,
        mode: RepairMode,
        options: &Options,
    ) -> Result<RepairReport> {
        let salvaged = Salvaged::read(source, mode, &mut |_| true)?;
        let options = options_for(&salvaged, source.path(), options)?;
        let by_salvage = kept_by_salvage(source, &salvaged, mode, &mut |_| true)?;
        Ok(write(&salvaged, dest, Path::new("repaired"), &options)?.beside(by_salvage))
    }
}

impl RepairReport {
    /// Records how many keys salvage would keep, if more.
    fn beside(mut self, by_salvage: u64) -> Self {
        self.salvage_keeps = (by_salvage > self.kept).then_some(by_salvage);
        self
    }
}

/// How many keys salvage would keep; 0 if this repair lost nothing or is a salvage itself, or if nobody can
/// tell.
fn kept_by_salvage(
    source: &Arc<dyn Disk>,
    read: &Salvaged,
    mode: RepairMode,
    progress: &mut dyn FnMut(OpenProgress) -> bool,
) -> Result<u64> {
    if mode == RepairMode::Salvage || (read.lost == 0 && read.damaged.is_empty()) {
        return Ok(0);
    }
    match Salvaged::read(source, RepairMode::Salvage, progress) {
        Ok(salvaged) => Ok(salvaged.keys()),
        Err(error @ Error::Interrupted) => Err(error),
        Err(_) => Ok(0),
    }
}

/// The options of the new store, whose codec is the one that is asked for only if nobody knows that of the old one.
fn options_for(salvaged: &Salvaged, path: &Path, options: &Options) -> Result<Options> {
    let Schema { key, codec, compression } = salvaged.schema_for(options.codec.as_deref(), path)?;
    let options = Options { key: Some(key), codec, compression, ..options.clone() };
    options.validate()?;
    Ok(options)
}

/// Writes what was found into a new store, durable when this returns.
fn write(salvaged: &Salvaged, dest: Arc<dyn Disk>, path: &Path, options: &Options) -> Result<RepairReport> {
    let store = Store::open_on(dest, path, options, &mut |_| true)?;
    let (mut keys, mut values, mut bytes) = (KeyVec::default(), Vec::new(), 0);
    let mut kept = 0;
    for item in salvaged.items() {
        let (key, value) = item?;
        bytes += value.len();
        keys.push(key);
        values.push(value);
        if bytes >= COMMIT_BYTES || keys.len() == COMMIT_KEYS {
            kept += store.put_many(&keys, &values[..], false)?;
            keys.clear();
            values.clear();
            bytes = 0;
        }
    }
    kept += store.put_many(&keys, &values[..], false)?;
    store.close()?;
    let (lost, damaged) = (salvaged.lost, salvaged.damaged.clone());
    Ok(RepairReport { kept, lost, damaged, salvage_keeps: None })
}
