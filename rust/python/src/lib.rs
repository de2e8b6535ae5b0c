//! The extension module `alexpy._alexpy`: what Python calls. It decides nothing that the engine decides.
//!
//! It converts arguments, lets go of the GIL for whatever may wait, and turns engine errors into the
//! exceptions of `alexpy.errors`. Python-shaped conveniences (views, `pop`, `update` ...) are written
//! in Python on top of these classes, in `alexpy/_store.py` and `alexpy/_index.py`.
//!
//! Folders are layers; a file uses its own folder, the folders below it and the ground. From top to bottom:
//!
//! 1. this file: the names that the module exports, and what belongs to the whole process;
//! 2. `store/`, `index/` and `shuffle.rs`, side by side: `Store`, `AlexIndex`, the order of training sets; none uses
//!    another;
//! 3. `convert/`: Python objects to keys, values and ranges, and back;
//! 4. the ground: `errors.rs`, `locks.rs`, `progress.rs` and `memory.rs`.
//!
//! Two rules hold everywhere. A thread that is attached to the interpreter never waits for a lock or a device: it
//! tries first, and detaches if it would block. And no lock is held while Python code can run, which includes making
//! any object that the garbage collector tracks, or while a thread attaches.
//!
//! To be attached keeps no other thread out: without a GIL many are at once, and each may change any object that can be
//! changed. What one call reads twice it has copied or locked. See docs/dev/041-no-gil.md.
// Doc comments of Python classes and functions are their docstrings: read with help(), not as Markdown.
#![allow(clippy::doc_markdown, clippy::doc_link_with_quotes, rustdoc::broken_intra_doc_links)]

mod convert;
mod errors;
mod index;
mod locks;
mod memory;
mod progress;
mod shuffle;
mod store;

use alex_index::simd::{self, Backend};
use pyo3::exceptions::{PyImportError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Describes this build: `version`, `profile`, `simd` in use and `simd_available`.
///
/// Returns a dict: `version` (str), `profile` ("release" or "debug"), `simd` (the backend that the
/// index searches with) and `simd_available` (list of the backends this processor has). O(1).
///
/// >>> sorted(alexpy.build_info())
/// ['profile', 'simd', 'simd_available', 'version']
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("profile", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    info.set_item("simd", simd::active().name())?;
    let available: Vec<_> = simd::available().into_iter().map(Backend::name).collect();
    info.set_item("simd_available", available)?;
    Ok(info)
}

/// The checksum of each record of `record_bytes` in `data`, folded into one number.
///
/// For `alexpy bench profile` only. Raises ValueError if `record_bytes` is 0. O(len(data)), the GIL
/// released.
#[pyfunction]
#[pyo3(name = "_checksum_records")]
fn checksum_records(py: Python<'_>, data: &[u8], record_bytes: usize) -> PyResult<u32> {
    if record_bytes == 0 {
        return Err(PyValueError::new_err("record_bytes must be above 0"));
    }
    Ok(py.detach(|| alex_store::checksum_records(data, record_bytes)))
}

/// Images and arrays of keys are used as they lie in memory and in files, where integers are little-endian.
fn refuse_big_endian() -> PyResult<()> {
    if cfg!(target_endian = "big") {
        return Err(PyImportError::new_err(
            "alexpy needs a little-endian machine, as x86-64 and aarch64 are; this one is big-endian, and the files \
             of a store are used as they lie in memory",
        ));
    }
    Ok(())
}

/// The SIMD backend belongs to the process: it is chosen here, once, before any index exists.
fn choose_simd() -> PyResult<()> {
    let wanted = match std::env::var_os("ALEXPY_SIMD") {
        Some(name) if !name.is_empty() => name.to_string_lossy().into_owned(),
        _ => "auto".to_owned(),
    };
    simd::select_by_name(&wanted)
        .map(drop)
        .map_err(|error| PyRuntimeError::new_err(format!("ALEXPY_SIMD={wanted}: {error}")))
}

/// Keeps panics that the engine catches off stderr: its errors and `stats()` report them. The hook is this module's
/// alone, because the module has its own copy of Rust's standard library.
fn silence_caught_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !alex_store::panic_is_caught() {
            report(panic);
        }
    }));
}

/// Native half of alexpy; import `alexpy` instead.
// PyO3's default since 0.28. Written out, because it is a promise that somebody has to keep.
#[pymodule(gil_used = false)]
mod _alexpy {
    #[pymodule_export]
    use super::convert::arrow::ArrowArray;
    #[pymodule_export]
    use super::convert::arrow_input::{ArrowInput, arrow_input};
    #[pymodule_export]
    use super::index::iter::IndexIterator;
    #[pymodule_export]
    use super::index::one::AlexIndex;
    #[pymodule_export]
    use super::shuffle::shuffled;
    #[pymodule_export]
    use super::store::batch::WriteBatch;
    #[pymodule_export]
    use super::store::buffers::ValueBuffers;
    #[pymodule_export]
    use super::store::changes::ChangeIterator;
    #[pymodule_export]
    use super::store::columns::{ArrowStream, BatchIterator, ScanBatch};
    #[pymodule_export]
    use super::store::maintenance::{_list_mirror, _repair, _settle_mirror, _verify_files};
    #[pymodule_export]
    use super::store::one::Store;
    #[pymodule_export]
    use super::store::reader::Reader;
    #[pymodule_export]
    use super::store::rows::RowIterator;
    #[pymodule_export]
    use super::store::scan::StoreIterator;
    #[pymodule_export]
    use super::store::snapshot::Snapshot;
    #[pymodule_export]
    use super::{build_info, checksum_records};

    #[pymodule_init]
    fn init() -> pyo3::PyResult<()> {
        super::refuse_big_endian()?;
        super::silence_caught_panics();
        super::memory::reserve();
        super::choose_simd()
    }
}
