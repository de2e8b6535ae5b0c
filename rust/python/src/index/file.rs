//! `AlexIndex.save` and `AlexIndex.load`: an index as one file, opened by mapping it.
//!
//! The format is that of alex-index's images; this file handles opening, replacing and exceptions. A file is replaced
//! as a whole: its bytes are written under another name, flushed to the device, and the file is renamed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Bound as End;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alex_index::image::{Identity, ImageError, ImageMemory, ImageSink, ImageWriter};
use alex_index::{Alex, Options};
use alex_store::{Error, Operation};
use pyo3::prelude::*;

use crate::errors::{OrRaise, corruption_error, format_error, to_exception};
use crate::index::one::AlexIndex;
use crate::index::shared::Indexed;

/// Entries copied to the file at a time.
const RUN_ITEMS: usize = 8192;

/// Linux's EISDIR.
const IS_A_DIRECTORY: i32 = 21;

/// Why a file was not loaded or saved.
enum Failure {
    Io(Operation, io::Error),
    Image(ImageError),
}

fn raise(py: Python<'_>, path: &Path, failure: Failure) -> PyErr {
    match failure {
        Failure::Io(operation, source) => {
            to_exception(py, &Error::Io { operation, path: path.to_owned(), source: Arc::new(source) })
        }
        Failure::Image(ImageError::Damaged(damage)) => {
            corruption_error(py, format!("{} is {damage}", path.display()), Some(path), &damage)
        }
        Failure::Image(error) => {
            let text = error.to_string();
            let text = text.strip_prefix("the file ").unwrap_or(&text);
            format_error(py, format!("{} {text}", path.display()))
        }
    }
}

struct Sink(File);

impl ImageSink for Sink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
}

/// A name beside `path` that no other call uses.
fn unfinished(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{count}.unfinished", std::process::id()))
}

/// Writes the whole index and makes it durable.
fn write(alex: &Alex, file: File) -> io::Result<()> {
    let mut writer = ImageWriter::begin(alex, Sink(file), Identity::default());
    let (mut keys, mut payloads) = (Vec::new(), Vec::new());
    loop {
        let after = writer.last_key().map_or(End::Unbounded, End::Excluded);
        alex.scan_into(after, End::Unbounded, false, RUN_ITEMS, &mut keys, &mut payloads);
        // The caller reports the damage. A damaged file must not get a copy that looks whole.
        if alex.damage().is_some() {
            return Err(io::Error::other("the file that the index was loaded from is damaged"));
        }
        if keys.is_empty() {
            break;
        }
        writer.push(&keys, &payloads)?;
        keys.clear();
        payloads.clear();
    }
    let (_, Sink(file)) = writer.finish(&[])?;
    file.sync_all()
}

/// Moves the file above the descriptors that programs take for standard input, output and error.
fn above_standard(file: File) -> io::Result<File> {
    // A clone is always above them.
    if file.as_raw_fd() > 2 { Ok(file) } else { file.try_clone() }
}

fn save(alex: &Alex, path: &Path) -> io::Result<()> {
    let temporary = unfinished(path);
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    let replaced =
        above_standard(file).and_then(|file| write(alex, file)).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = replaced {
        // Nothing refers to it, and the first failure is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn load(path: &Path) -> Result<Alex, Failure> {
    let open = |error| Failure::Io(Operation::Open, error);
    let file = File::open(path).map_err(open)?;
    let metadata = file.metadata().map_err(open)?;
    if metadata.is_dir() {
        return Err(open(io::Error::from_raw_os_error(IS_A_DIRECTORY)));
    }
    let memory =
        ImageMemory::map(&file, metadata.len()).map_err(|error| Failure::Io(Operation::Map, error))?;
    let opened = Alex::open_image(memory, Options::default()).map_err(Failure::Image)?;
    if opened.identity != Identity::default() {
        let text = "belongs to a store; open that with alexpy.open()".to_owned();
        return Err(Failure::Image(ImageError::Format(text)));
    }
    Ok(opened.index)
}

#[pymethods]
impl AlexIndex {
    /// Writes the index to the file `path`, to be opened by `load`; an existing file is replaced.
    ///
    /// The file is whole and on the device before it gets its name, so a crash leaves the old file or the new
    /// one. It holds the index as it was at the call: changes wait until it is written. Raises OSError, and
    /// CorruptionError if the file that the index was loaded from is damaged. O(keys), about 23 bytes a key,
    /// the GIL released.
    ///
    /// >>> x.put_many([1, 2, 3], [10, 20, 30])
    /// 3
    /// >>> x.save(path)
    /// >>> AlexIndex.load(path)[2]
    /// 20
    #[allow(clippy::needless_pass_by_value)]
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.shared().check(py)?;
        let saved = py.detach(|| self.shared().ask(|alex| save(alex, &path))).or_raise(py)?;
        saved.map_err(|error| raise(py, &path, Failure::Io(Operation::Save, error)))
    }

    /// Replaces this index, which is empty, by the image at `path`.
    fn _load(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.shared().check(py)?;
        let alex = py.detach(|| load(&path)).map_err(|failure| raise(py, &path, failure))?;
        py.detach(|| self.shared().replace(Indexed::loaded(alex, path)));
        Ok(())
    }
}
