"""Maintenance of stores: what `verify` and `compact` report, and `repair` of a store that does not open."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ._alexpy import _repair
from .codecs import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .codecs import Codec
    from .errors import AlexError

__all__ = ["CompactReport", "RepairReport", "VerifyReport", "repair"]


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What `Store.compact` did.

    Example:
        >>> s.compact()
        CompactReport(freed_segments=0, freed_bytes=0, moved_bytes=0)

    """

    freed_segments: int
    """Files that were removed."""
    freed_bytes: int
    """Bytes of the records in them, including those that were moved."""
    moved_bytes: int
    """Bytes of live records that were copied to other files."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Store.verify` found: `ok`, and how much it read.

    Example:
        >>> s[1] = b"one"
        >>> report = s.verify()
        >>> report.ok, report.records, report.errors
        (True, 1, ())

    """

    records: int
    """Valid records read, including overwritten and deleted ones."""
    bytes: int
    """Bytes read."""
    errors: tuple[AlexError, ...]
    """What is wrong, at most 1,000 entries: `CorruptionError`s with path, offset, expected and found."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors

    def __bool__(self) -> bool:
        """As `ok`."""
        return self.ok


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What `repair` kept of a store, and what it could not.

    Example:
        >>> RepairReport(kept=10, lost=0, damaged=()).kept
        10

    """

    kept: int
    """Keys in the new store."""
    lost: int
    """Records that are known to have existed and were not kept; some may have been overwritten or deleted."""
    damaged: tuple[tuple[Path, int, int], ...]
    """File, offset and length of each damaged place; length 0 means the whole file."""
    salvage_keeps: int | None = None
    """Keys that `mode="salvage"` would keep, if those are more than `kept`; else None."""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost and nothing is damaged."""
        return self.lost == 0 and not self.damaged

    def __bool__(self) -> bool:
        """As `ok`."""
        return self.ok

    def __str__(self) -> str:
        """Return the figures as a sentence, and name the mode that would keep more."""
        places = "1 damaged place" if len(self.damaged) == 1 else f"{len(self.damaged):,} damaged places"
        more = ""
        if self.salvage_keeps is not None:
            more = f'; mode="salvage", into another directory, keeps {self.salvage_keeps:,} keys'
        return f"{self.kept:,} keys kept, {self.lost:,} records lost, {places}{more}"


def repair(
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    mode: Literal["point_in_time", "salvage"] = "point_in_time",
    codec: Codec[Any] | str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> RepairReport:
    """Copy what can be read of a damaged store into a new store in `dest`; `path` is only read.

    With `mode="point_in_time"` the new store holds what the old one held before the first damage. With
    "salvage" it holds every value that can be read, even after damage and without either copy of the
    manifest; a key comes back if the record of its deletion is damaged. If salvage would keep more keys, the
    report says so (`salvage_keeps`; that takes a second reading). The new store has the kind of keys and the
    codec of the old one; `codec`, or its name, is needed only if both copies of the manifest are gone, which
    alone name it. `dest` must not exist or must be empty; it
    gets its name only when it is complete. `progress(done, total)` is called every few mebibytes with bytes;
    an exception that it raises stops the call. O(bytes), with the keys in memory; the GIL is released.

    Raises:
        FileNotFoundError: there is no store.
        LockedError: the store is open for writing.
        FormatError: there is nothing to repair, or the store has a newer format, or another codec.
        ValueError: `dest` is not empty, is a symbolic link or lies inside the store, or `mode` or `codec`
            names none.
        OSError: the device cannot read or write.

    Example:
        >>> import tempfile
        >>> s[1] = b"one"
        >>> s.close()
        >>> alexpy.repair(s.path, tempfile.mkdtemp(), mode="salvage")
        RepairReport(kept=1, lost=0, damaged=(), salvage_keeps=None)

    """
    name = None if codec is None else name_of(codec)
    try:
        figures = _repair(os.fsdecode(path), os.fsdecode(dest), mode, name, progress)
    except FileNotFoundError:
        if not Path(os.fsdecode(path)).exists():
            # A new store would mend nothing.
            raise FileNotFoundError(errno.ENOENT, "there is no store here to repair", path) from None
        if not Path(os.fsdecode(dest)).absolute().parent.exists():
            text = "the directory above it does not exist; make that first"
            raise FileNotFoundError(errno.ENOENT, text, dest) from None
        raise
    kept, lost, damaged, salvage_keeps = figures
    return RepairReport(kept, lost, tuple(damaged), salvage_keeps)
