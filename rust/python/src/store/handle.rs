//! The engine behind a `Store`: opened so that Ctrl-C is heard, and in a forked child opened again.
//!
//! A child has the parent's memory as it was, with locks that threads held which are not there any more. So nothing
//! of an inherited engine is touched: a writer is refused, a reader opens the store anew at its first use, and
//! closing or forgetting one does nothing to what is the parent's.

use std::path::Path;
use std::sync::OnceLock;

use alex_store::{Error, Options, Store as Engine, fork_generation};
use pyo3::prelude::*;

use crate::errors::{OrRaise, detached, forked_error, to_exception};
use crate::memory;

/// The refusal of an iterator that was made before a fork.
pub(crate) const MADE_BEFORE_FORK: &str = "this iterator was made before fork(); make a new one in the child";

/// The process that an iterator or a batch was made in. In a forked child it is refused: a thread of the parent may
/// have held its locks, and no thread of the child will let them go.
pub(crate) struct Born(u64);

impl Born {
    /// This process.
    pub(crate) fn here() -> Self {
        Self(fork_generation())
    }

    /// Whether this process is a child of the one that made it.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        self.0 != fork_generation()
    }

    /// `ForkedError` with the text `refusal` where it is inherited.
    #[inline]
    pub(crate) fn check(&self, py: Python<'_>, refusal: &'static str) -> PyResult<()> {
        if self.is_inherited() { Err(forked_error(py, refusal)) } else { Ok(()) }
    }
}

/// See the module.
pub(crate) struct Handle {
    engine: Engine,
    /// In a child: what its own first use opened. Filled while attached, when nobody can fork, so that no grandchild
    /// finds it half filled.
    in_child: OnceLock<Box<Handle>>,
}

impl Handle {
    /// Opens a store.
    pub(crate) fn open(py: Python<'_>, path: &Path, options: &Options) -> PyResult<Self> {
        // Recovery may replay gigabytes: a pending Ctrl-C stops it.
        let mut signal = None;
        let opened = py.detach(|| {
            Engine::open(path, options, &mut |_| {
                signal = Python::attach(|py| py.check_signals().err());
                signal.is_none()
            })
        });
        match (opened, signal) {
            (Err(Error::Interrupted), Some(signal)) => Err(signal),
            (opened, _) => Ok(Self { engine: opened.or_raise(py)?, in_child: OnceLock::new() }),
        }
    }

    /// The engine, where it can be used.
    #[inline]
    pub(crate) fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        if self.engine.is_inherited() || memory::is_short() { self.checked(py) } else { Ok(&self.engine) }
    }

    #[cold]
    fn checked(&self, py: Python<'_>) -> PyResult<&Engine> {
        memory::check()?;
        if !self.engine.is_inherited() {
            return Ok(&self.engine);
        }
        let path = self.engine.path();
        if self.engine.is_closed() {
            return Err(to_exception(py, &Error::Closed { path: path.to_owned() }));
        }
        if !self.engine.read_only() {
            return Err(to_exception(py, &Error::Forked { path: path.to_owned() }));
        }
        if self.in_child.get().is_none() {
            let opened = Self::open(py, path, self.engine.options())?;
            // Another thread may have been faster; then its store is used and this one goes.
            let _ = self.in_child.set(Box::new(opened));
        }
        match self.in_child.get() {
            Some(own) => own.engine(py),
            None => Ok(&self.engine),
        }
    }

    /// What describes it, whether it can be used or not.
    pub(crate) fn described(&self) -> &Engine {
        &self.engine
    }

    /// The handle that this process opened itself, if it did.
    fn own(&self) -> Option<&Self> {
        if self.engine.is_inherited() { self.in_child.get().and_then(|own| own.own()) } else { Some(self) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.engine.is_closed() || self.own().is_some_and(|own| own.engine.is_closed())
    }

    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.own() {
            Some(own) => detached(py, || own.engine.close()),
            // Touches nothing but a mark that it is closed here.
            None => self.engine.close().or_raise(py),
        }
    }
}
