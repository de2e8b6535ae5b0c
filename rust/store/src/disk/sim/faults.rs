//! What can go wrong on a simulated disk, and which steps it can strike.

/// How much is lost of everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is left.
    Everything,
    /// Sectors, pages, lengths and names are lost at random.
    Random,
    /// Everything is left: the process was killed and the machine keeps running.
    ProcessOnly,
}

/// How a sync fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFailure {
    /// The data stays dirty; a later sync would write it.
    StaysDirty,
    /// The kernel forgets that the pages are dirty: reads see them, later syncs succeed without them.
    MarkedClean,
}

/// What goes wrong at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power is cut.
    Cut,
    /// A sync (or a rename) fails.
    Sync(SyncFailure),
    /// A reservation, or a write by system call, finds the disk full. A part of the write is done.
    Full,
    /// A write by system call fails after a part of it, or all, is done.
    Write,
}

/// Of a step that only a cut strikes.
pub(super) fn never(_: Fault) -> bool {
    false
}

/// Of a write by system call.
pub(super) fn writes(fault: Fault) -> bool {
    matches!(fault, Fault::Full | Fault::Write)
}

/// Of a reservation.
pub(super) fn fills(fault: Fault) -> bool {
    fault == Fault::Full
}

/// Of a sync.
pub(super) fn syncs(fault: Fault) -> bool {
    matches!(fault, Fault::Sync(_))
}
