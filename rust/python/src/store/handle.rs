//! The engine behind a `Store`: how it is opened, and what becomes of it in a forked child.
//!
//! A child has a copy of the parent's memory, with locks held by threads that do not exist in the child. So nothing
//! of an inherited engine is touched: a writer is refused, a reader opens the store again at its first use, and
//! closing or dropping an inherited handle does nothing to what belongs to the parent.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use alex_store::{Error, Options, Store as Engine, fork_generation};
use pyo3::prelude::*;

use crate::convert::codec::Codec;
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

    /// `ForkedError` with the text `refusal` if it is inherited.
    #[inline]
    pub(crate) fn check(&self, py: Python<'_>, refusal: &'static str) -> PyResult<()> {
        if self.is_inherited() { Err(forked_error(py, refusal)) } else { Ok(()) }
    }
}

/// Drops a scan or a snapshot; without the GIL if that may take long.
pub(crate) fn drop_version<T: Send>(version: T, keeps_something: impl FnOnce(&T) -> bool) {
    if !keeps_something(&version) {
        return;
    }
    let mut version = Some(version);
    // While the interpreter ends, it is dropped as it is.
    let _ = Python::try_attach(|py| py.detach(|| drop(version.take())));
}

/// See the module.
pub(crate) struct Handle {
    engine: Engine,
    /// What makes bytes of values, and values of bytes; `None` where values are bytes.
    codec: Option<Arc<Codec>>,
    /// In a child: the handle that its first use opened. Filled while attached to the interpreter, in one piece, when no
    /// thread can fork: with a GIL, because it is held, without one, because a fork first makes all threads stand still
    /// at points that the interpreter chooses. So no grandchild finds it half filled.
    in_child: OnceLock<Box<Handle>>,
}

impl Handle {
    /// Opens a store.
    pub(crate) fn open(py: Python<'_>, path: &Path, options: &Options) -> PyResult<Self> {
        // Recovery may replay gigabytes, and Ctrl-C must be able to stop it.
        let mut signal = None;
        let opened = py.detach(|| {
            Engine::open(path, options, &mut |_| {
                signal = Python::attach(|py| py.check_signals().err());
                signal.is_none()
            })
        });
        match (opened, signal) {
            (Err(Error::Interrupted), Some(signal)) => Err(signal),
            (opened, _) => Ok(Self { engine: opened.or_raise(py)?, codec: None, in_child: OnceLock::new() }),
        }
    }

    /// The engine, or the exception that says why it cannot be used.
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
            // If another thread was faster, its handle is used and this one is dropped, which waits for threads.
            if let Err(second) = self.in_child.set(Box::new(opened)) {
                py.detach(|| drop(second));
            }
        }
        match self.in_child.get() {
            Some(own) => own.engine(py),
            None => Ok(&self.engine),
        }
    }

    /// The same store, whose values mean what `codec` makes of them.
    pub(crate) fn with_codec(self, codec: Option<Codec>) -> Self {
        let kind = self.engine.schema().key;
        Self { codec: codec.map(|codec| Arc::new(codec.under(kind))), ..self }
    }

    /// What makes bytes of values, and values of bytes; `None` where values are bytes.
    #[inline]
    pub(crate) fn codec(&self) -> Option<&Codec> {
        self.codec.as_deref()
    }

    /// The same, for what outlives the store.
    pub(crate) fn shared_codec(&self) -> Option<Arc<Codec>> {
        self.codec.clone()
    }

    /// The engine for its path and options only; it may be unusable.
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
            // Only marks it as closed in this process.
            None => self.engine.close().or_raise(py),
        }
    }
}
