"""What errors say on the command line: what happened, to what, and which command loses nothing.

The package's own messages name calls of Python; here they name commands. One line each.
"""

from __future__ import annotations

import errno
import shlex
from pathlib import Path

import alexpy

_HISTORY_GONE = (
    "some of these changes are gone: compaction has freed them, which costs the store nothing, or it was cut"
    " back, before damage or by a power cut, and has lost some that were told."
    " Note last_seq of `alexpy stats`, read everything with `alexpy export`, and go on with "
    "`alexpy changes --since` that number"
)
_REPORT = "that is a defect of alexpy: please report it with what `python -X dev -m alexpy ...` prints"


def told(error: BaseException) -> str:  # noqa: PLR0911 - one return a kind of error
    """Return what to say of an exception that ended a command."""
    if isinstance(error, alexpy.LockedError):
        return _locked(error)
    if isinstance(error, alexpy.CorruptionError) and error.path is not None:
        return damage(error)
    if isinstance(error, alexpy.ReadOnlyError):
        return _mirror(error)
    if isinstance(error, alexpy.HistoryGoneError):
        return _HISTORY_GONE
    if isinstance(error, alexpy.AlexError):
        return str(error)
    if isinstance(error, OSError):
        return _refused(error)
    if isinstance(error, MemoryError):
        return str(error) or "there is not enough memory for this; what was committed before is kept"
    return f"{error or 'something failed'}; {_REPORT}"


def damage(error: alexpy.CorruptionError) -> str:
    """Return where something is damaged, and how to keep all that is not."""
    if error.path is None:
        return str(error)
    store = shlex.quote(str(Path(error.path).parent))
    return (
        f"{error.path} is damaged at offset {error.offset}: expected {error.expected}, found {error.found}; "
        f"`alexpy repair {store} NEW --mode salvage` copies every value that can be read into the new store "
        "NEW and changes nothing in this one"
    )


def _locked(error: alexpy.LockedError) -> str:
    by = "another process" if error.pid is None else f"process {error.pid}"
    return (
        f"{error.path} is already open for writing by {by}; run this again when that has ended. These work "
        "meanwhile: get, scan, changes, export, stats, verify, backup"
    )


def _mirror(error: alexpy.ReadOnlyError) -> str:
    # No command writes to what it has opened for reading: it is a directory that follows a shipped store.
    what, _, _ = str(error).partition(": open it with read_only=True")
    return (
        f"{what}; `alexpy backup` makes a store to write to of it, `alexpy ship restore` of what was shipped"
    )


def _refused(error: OSError) -> str:
    what = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        what += "; what was committed before is kept: make room and run this again"
    return what if error.filename is None else f"{error.filename}: {what}"
