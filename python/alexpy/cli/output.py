"""Standard output: results as bytes, whatever the locale. Tells a vanished reader from a full disk."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from .options import STORE_ERROR, Stopped
from .text import json_line

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK_BYTES = 1 << 16


def is_terminal() -> bool:
    """Whether a person reads the output."""
    return sys.stdout is not None and sys.stdout.isatty()


def write(data: bytes | memoryview) -> None:
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
        forget(sys.stdout)
        raise Stopped(f"cannot write the output: {error.strerror or error}", STORE_ERROR) from error


def write_text(text: str) -> None:
    """Write one line of text, in which a path may be any bytes."""
    write(f"{text}\n".encode(errors="surrogateescape"))


def report(text: str) -> None:
    """Write what a command has done; if that cannot be written, the error says it, for it is done.

    Raises:
        BrokenPipeError, Stopped: as `write`.

    """
    try:
        write_text(text)
    except Stopped as error:
        raise Stopped(f"{error}; the work is done: {text}", error.exit_code) from error


def report_json(figures: object) -> None:
    """Write what a command has done as one line of JSON, as `report` does."""
    report(json_line(figures).decode().rstrip("\n"))


def forget(stream: TextIO | None) -> None:
    """Drop what could not be written, or Python would try again, and complain, when it closes the file."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


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
