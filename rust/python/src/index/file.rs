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

use alex_index::image::{Identity, ImageError, ImageMemory, ImageSink, ImageWriter, Opened};
use alex_index::{Alex, Key as KeyOfAlex, Options};
use alex_store::{Error, KeyKind, Operation, Tree, crowds_memory};
use pyo3::prelude::*;

use crate::errors::{OrRaise, corruption_error, format_error, to_exception};
use crate::index::one::AlexIndex;
use crate::index::shared::Indexed;

/// Entries copied to the file at a time.
const RUN_ITEMS: usize = 8192;

/// As much of a file's name is in the name that it has until it is whole.
const BEGINNING_CHARS: usize = 25;

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
    // Of a long name the beginning: a name has 255 bytes, and a character at most four.
    let name: String =
        path.file_name().unwrap_or_default().to_string_lossy().chars().take(BEGINNING_CHARS).collect();
    path.with_file_name(format!(".{name}.{}-{count}.unfinished", std::process::id()))
}

/// What an image of these keys has attached: the name of their kind, unless they are int64.
fn attachment(kind: KeyKind) -> &'static [u8] {
    if kind == KeyKind::Int64 { &[] } else { kind.name().as_bytes() }
}

/// Writes the whole index and makes it durable.
fn write<K: KeyOfAlex>(alex: &Alex<K>, kind: KeyKind, file: File) -> io::Result<()> {
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
    let (_, Sink(file)) = writer.finish(attachment(kind))?;
    file.sync_all()
}

/// Moves the file above the descriptors that programs take for standard input, output and error.
fn above_standard(file: File) -> io::Result<File> {
    // A clone is always above them.
    if file.as_raw_fd() > 2 { Ok(file) } else { file.try_clone() }
}

fn save(tree: &Tree, kind: KeyKind, path: &Path) -> io::Result<()> {
    let temporary = unfinished(path);
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    let written = above_standard(file).and_then(|file| match tree {
        Tree::Narrow(alex) => write(alex, kind, file),
        Tree::Wide(alex) => write(alex, kind, file),
    });
    let replaced = written.and_then(|()| fs::rename(&temporary, path));
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

fn load(path: &Path) -> Result<(KeyKind, Tree), Failure> {
    let open = |error| Failure::Io(Operation::Open, error);
    // Before it is opened: a pipe would wait for whoever writes to it.
    let metadata = fs::metadata(path).map_err(open)?;
    if metadata.is_dir() {
        return Err(open(io::Error::from_raw_os_error(IS_A_DIRECTORY)));
    }
    if !metadata.is_file() {
        return Err(Failure::Image(ImageError::Format("is no file that can be mapped".to_owned())));
    }
    let file = File::open(path).map_err(open)?;
    let metadata = file.metadata().map_err(open)?;
    let map = || {
        let mut memory =
            ImageMemory::map(&file, metadata.len()).map_err(|error| Failure::Io(Operation::Map, error))?;
        if crowds_memory(metadata.len()) {
            memory.read_nothing_ahead();
        }
        Ok(memory)
    };
    let opened = match Alex::<i64>::open_image(map()?, Options::default()) {
        Ok(Opened { index, identity, attachment, .. }) => Ok((Tree::Narrow(index), identity, attachment)),
        // Maybe because its keys have 128 bits.
        Err(ImageError::Format(_)) => Alex::<i128>::open_image(map()?, Options::default())
            .map(|Opened { index, identity, attachment, .. }| (Tree::Wide(index), identity, attachment)),
        Err(damaged) => Err(damaged),
    };
    let (tree, identity, attachment) = opened.map_err(Failure::Image)?;
    let refuse = |text: String| Err(Failure::Image(ImageError::Format(text)));
    if identity != Identity::default() {
        return refuse("belongs to a store; open that with alexpy.open()".to_owned());
    }
    let name = String::from_utf8_lossy(&attachment);
    let kind = if name.is_empty() { Some(KeyKind::Int64) } else { KeyKind::from_name(&name) };
    match kind {
        Some(kind) if (kind == KeyKind::Uuid) == matches!(tree, Tree::Wide(_)) => Ok((kind, tree)),
        _ => {
            refuse(format!("has keys of kind {name:?}, which this alexpy does not know; install a newer one"))
        }
    }
}

#[pymethods]
impl AlexIndex {
    /// Writes the index to the file `path`, to be opened by `load`; an existing file is replaced.
    ///
    /// The file is whole and on the device before it gets its name, so a crash leaves the old file or the new
    /// one. It holds the index as it was at the call: changes wait until it is written. Raises OSError, and
    /// CorruptionError if the file that the index was loaded from is damaged. O(keys), 23 to 33 bytes a key,
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
        let kind = self.kind();
        let saved = py.detach(|| self.shared().ask(|tree| save(tree, kind, &path))).or_raise(py)?;
        saved.map_err(|error| raise(py, &path, Failure::Io(Operation::Save, error)))
    }

    /// Replaces this index, which is empty, by the image at `path`.
    fn _load(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.shared().check(py)?;
        let (kind, tree) = py.detach(|| load(&path)).map_err(|failure| raise(py, &path, failure))?;
        py.detach(|| self.replace(kind, Indexed::loaded(tree, path))).or_raise(py)
    }
}
