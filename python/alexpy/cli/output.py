"""Standard output: results as bytes, whatever the locale. Tells a vanished reader from a full disk."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .options import STORE_ERROR, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK_BYTES = 1 << 16


def is_terminal() -> bool:
    """Whether a person reads the output."""
    return sys.stdout is not None and sys.stdout.isatty()


def write(data: bytes) -> None:
    """Write bytes and flush them at once.

    Raises:
        BrokenPipeError: the reader went away.
        Stopped: the output cannot be written, or is closed.

    """
    if sys.stdout is None:
        raise Stopped("cannot write the output: standard output is closed", STORE_ERROR)
    try:
        rest = memoryview(data)
        while rest:
            # With PYTHONUNBUFFERED this is the file itself, whose write() may take only a part.
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Otherwise the buffered rest would fail, and be reported, a second time at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Stopped(f"cannot write the output: {error.strerror or error}", STORE_ERROR) from error


def write_text(text: str) -> None:
    """Write one line of text."""
    write(f"{text}\n".encode())


def write_lines(lines: Iterable[bytes]) -> None:
    """Write lines, many at a time."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES:
            write(b"".join(chunk))
            chunk.clear()
            size = 0
    write(b"".join(chunk))
