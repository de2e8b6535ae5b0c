"""The path of a store in the form that the engine gets, and what Python code that writes files needs to know.

The path is made absolute, so that chdir() changes nothing. Symbolic links and `..` stay as they are for the
system to resolve, because `link/..` need not be the directory that holds the link.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import FormatError

# Of a file that is read whole.
_MOST_BYTES = 1 << 28
# Names have 255 bytes on most file systems, and 143 where they are encrypted.
_BEGINNING_BYTES = 100


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path; ValueError or TypeError if `path` cannot be one."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        what = "None" if path is None else f"of type {type(path).__name__}"
        raise TypeError(f"path is {what}; give the directory of the store as str or pathlib.Path")
    text = os.fsdecode(path)
    if not text:
        raise ValueError('the path of a store is empty; "." is the current directory')
    if "\0" in text:
        raise ValueError(f"the path {text!r} holds a NUL character, which no path can")
    return os.fspath(Path(text).absolute())


def open_file(path: Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of a file; never waits for the other end of a pipe.

    Raises:
        FormatError: something else is there.

    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise FormatError(
        f"{path} is {kind_of(mode)}, where alexpy has a file; put the file back, or move this one away "
        "(nothing was changed)"
    )


def kind_of(mode: int) -> str:
    """Return what has a mode that is not a file's."""
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket or a device"


def read_whole(path: Path) -> bytes:
    """Return the bytes of a file that is small.

    Raises:
        FormatError: it is no file, or a long one.

    """
    with os.fdopen(open_file(path), "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > _MOST_BYTES:
            raise FormatError(
                f"{path} has {size:,} bytes, and is none of alexpy's: those have {_MOST_BYTES:,} at most; "
                "put the file back, or move this one away (nothing was changed)"
            )
        return file.read()


def lies_in(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Say whether a path is a directory or leads into it, by whatever links; neither need be there."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def beginning(name: str) -> str:
    """Return as much of a file's name as leaves room for what is put around it until the file is whole."""
    return os.fsencode(name)[:_BEGINNING_BYTES].decode(errors="ignore")


def flush(path: Path) -> None:
    """Flush a file or a directory to the device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_still(path: Path, descriptor: int) -> bool:
    """Say whether a path leads to what was opened there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
