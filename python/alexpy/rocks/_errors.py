"""Turns exceptions of rocksdict into the errors of alexpy. Knows RocksDB's texts, no store."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from alexpy.errors import CorruptionError, LockedError

if TYPE_CHECKING:
    from pathlib import Path


class rocksdb_errors:  # noqa: N801 - used as a function is
    """Turns what rocksdict raises, a bare Exception with RocksDB's text, into an error of alexpy."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Raise the error of alexpy that fits."""
        if error is None or kind is not Exception:
            return
        text, path = str(error), os.fspath(self._path)
        if "lock" in text.lower() and "IO error" in text:
            raise LockedError(f"store {path!r} is open elsewhere: {text}", path) from error
        if text.startswith("Corruption"):
            raise CorruptionError(f"store {path!r}: {text}", path) from error
        number = errno.ENOSPC if "No space left" in text else errno.EIO
        raise OSError(number, f"RocksDB: {text}", path) from error
