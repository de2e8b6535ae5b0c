//! The SIMD backend: which instruction sets the processor has, which one is used, and how an operation runs
//! on it.
//!
//! An operation is a value whose body is generic over a `Kernel`. `dispatch` enters it through a function
//! that is compiled for the chosen instruction set, so that everything inlined into it uses that set: one
//! branch an operation. Knows the processor, nothing of trees.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::kernel::Kernel;
use super::scalar::Scalar;
use crate::error::BackendError;
use crate::options::Backend;

impl Backend {
    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        let avx2 = || {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt")
        };
        match self {
            Self::Scalar => true,
            Self::Avx2 => avx2(),
            Self::Avx512 => {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Self::Scalar
    }
}

/// A backend that this processor supports. `of` and `active` make one only after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Supported(Backend);

impl Supported {
    pub(crate) fn of(backend: Backend) -> Result<Self, BackendError> {
        if backend.is_available() { Ok(Self(backend)) } else { Err(unavailable(backend.name())) }
    }

    pub(crate) fn active() -> Self {
        // 0 means that none was chosen yet; otherwise it is one more than the backend's discriminant, stored
        // after a check that the processor supports it.
        match ACTIVE.load(Ordering::Relaxed) {
            2 => Self(Backend::Avx2),
            3 => Self(Backend::Avx512),
            1 => Self(Backend::Scalar),
            _ => choose_best(),
        }
    }

    pub(crate) fn backend(self) -> Backend {
        self.0
    }
}

static ACTIVE: AtomicU8 = AtomicU8::new(0);

fn choose_best() -> Supported {
    let best = available().last().copied().unwrap_or(Backend::Scalar);
    ACTIVE.store(best as u8 + 1, Ordering::Relaxed);
    Supported(best)
}

fn unavailable(wanted: &str) -> BackendError {
    let names: Vec<&str> = available().into_iter().map(Backend::name).collect();
    BackendError { wanted: wanted.to_owned(), available: names.join(", ") }
}

/// The backends that this processor can run, narrowest first; never empty.
pub fn available() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| backend.is_available()).collect()
}

/// The backend of new trees: the widest available, unless another was selected.
pub fn active() -> Backend {
    Supported::active().backend()
}

/// Selects the backend of trees made from now on.
pub fn select(backend: Backend) -> Result<(), BackendError> {
    let supported = Supported::of(backend)?;
    ACTIVE.store(supported.0 as u8 + 1, Ordering::Relaxed);
    Ok(())
}

/// Selects the backend by name: `auto`, `scalar`, `avx2` or `avx512`. Returns the backend selected.
pub fn select_by_name(name: &str) -> Result<Backend, BackendError> {
    if name == "auto" {
        return Ok(choose_best().backend());
    }
    let backend = Backend::ALL.into_iter().find(|backend| backend.name() == name);
    let backend = backend.ok_or_else(|| unavailable(name))?;
    select(backend)?;
    Ok(backend)
}

/// An operation, compiled once for each backend. `run` must be `inline(always)`.
pub(crate) trait Operation {
    type Output;
    fn run<K: Kernel>(self) -> Self::Output;
}

/// Runs an operation with the kernel of a backend.
#[inline]
pub(crate) fn dispatch<O: Operation>(supported: Supported, operation: O) -> O::Output {
    #[cfg(target_arch = "x86_64")]
    match supported.0 {
        // SAFETY: a `Supported` exists only after `is_available` found every feature that its entry enables.
        Backend::Avx512 => return unsafe { enter_avx512(operation) },
        // SAFETY: the same check, for AVX2.
        Backend::Avx2 => return unsafe { enter_avx2(operation) },
        Backend::Scalar => {}
    }
    let _ = supported;
    operation.run::<Scalar>()
}

/// # Safety
/// The processor must have every feature that this function enables.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn enter_avx2<O: Operation>(operation: O) -> O::Output {
    operation.run::<Avx2>()
}

/// # Safety
/// The processor must have every feature that this function enables.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn enter_avx512<O: Operation>(operation: O) -> O::Output {
    operation.run::<Avx512>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{active, available, select_by_name};
    use crate::options::Backend;

    #[test]
    fn an_unknown_name_is_refused_with_the_names_that_work() {
        let error = select_by_name("sse9").unwrap_err().to_string();
        assert!(error.contains("sse9") && error.contains("auto, scalar"), "{error}");
    }

    #[test]
    fn auto_is_the_widest() {
        assert_eq!(select_by_name("auto").ok(), available().last().copied());
        assert!(available().contains(&active()));
        assert!(available().contains(&Backend::Scalar));
    }
}
