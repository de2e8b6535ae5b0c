//! Temporary.
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that searches inside a data node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Portable code.
    Scalar,
    /// 256-bit vectors.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}
/// A backend that this processor cannot run, or a name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SIMD backend {wanted:?} is not available here; available: auto, {available}")]
pub struct BackendError {
    /// What was asked for.
    pub wanted: String,
    /// The names that would work.
    pub available: String,
}
impl Backend {
    /// The name.
    pub fn name(self) -> &'static str {
        match self { Self::Scalar => "scalar", Self::Avx2 => "avx2", Self::Avx512 => "avx512" }
    }
}
static ACTIVE: AtomicU8 = AtomicU8::new(0);
/// The backends of this processor.
pub fn available() -> Vec<Backend> { vec![Backend::Scalar] }
/// The backend in use.
pub fn active() -> Backend { let _ = ACTIVE.load(Ordering::Relaxed); Backend::Scalar }
/// Chooses.
pub fn select(backend: Backend) -> Result<(), BackendError> {
    select_by_name(backend.name()).map(drop)
}
/// Chooses by name.
pub fn select_by_name(name: &str) -> Result<Backend, BackendError> {
    match name {
        "auto" | "scalar" => Ok(Backend::Scalar),
        _ => Err(BackendError { wanted: name.to_owned(), available: "scalar".to_owned() }),
    }
}
