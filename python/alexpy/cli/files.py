"""Files that commands write: there as a whole or not at all, even if the process or the power fails.

A file is written beside its place, as `.NAME.*.unfinished` with the beginning of a long name, flushed to the
device, and renamed. Knows nothing of what is in it. A kill leaves the unfinished file behind, which nothing
reads.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from alexpy._path import beginning

from . import output
from .options import BAD_INPUT, INTERRUPTED, STORE_ERROR, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer


class Sink:
    """Takes bytes for a file, or for standard output if there is none, and counts them.

    It has what pyarrow asks of a file to write to.
    """

    closed = False

    def __init__(self, name: str, file: IO[bytes] | None) -> None:
        """Write to `file`, or to standard output."""
        self.name = name
        self.bytes_written = 0
        self._file = file
        self._ended = False

    def write(self, data: Buffer) -> int:
        """Write all of `data`; nothing after an error or after the end, when a forgotten writer is closed.

        Raises:
            BrokenPipeError: the reader of standard output, or of a pipe, went away.
            Stopped: it cannot be written.

        """
        whole = memoryview(data).cast("B")
        if not self._ended:
            self._ended = True
            self._write(whole)
            self._ended = False
            self.bytes_written += len(whole)
        return len(whole)

    def _write(self, whole: memoryview) -> None:
        if self._file is None:
            output.write(whole)
            return
        rest = whole
        try:
            while rest:
                # A pipe or a device may take only a part.
                rest = rest[self._file.write(rest) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise cannot_write(self.name, error) from error

    def end(self) -> None:
        """Take no more."""
        self._ended = True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.bytes_written

    def flush(self) -> None:
        """Do nothing: `new_file` flushes when all is written."""


def cannot_write(name: str, error: OSError) -> Stopped:
    """Return the end of a command that cannot write a file."""
    return Stopped(f"cannot write {name}: {error.strerror or error}", STORE_ERROR)


@contextmanager
def new_file(name: str, *, replace: bool) -> Iterator[Sink]:
    """Take the content of the file `name` ("-": standard output), which is there once the block ends well.

    A pipe or a device is written as it goes. An existing file stays as it is if the block raises.

    Raises:
        Stopped: the file is there already and not to be replaced, or it cannot be written.

    """
    if name == "-":
        with _sink("standard output", None) as sink:
            yield sink
        return
    mode = _checked(name, replace=replace)
    if mode is not None and not stat.S_ISREG(mode):
        # By its name: /dev/stdout and >(command) lead to pipes that have no path.
        with _opened(name) as device, _sink(name, device) as sink:
            yield sink
        return
    # A link stays, and what it leads to is written.
    place = Path(os.path.realpath(name))
    import tempfile  # noqa: PLC0415 - with all that it needs, a tenth of the time of `alexpy --help`

    try:
        handle, unfinished = tempfile.mkstemp(".unfinished", f".{beginning(place.name)}.", place.parent)
    except OSError as error:
        raise cannot_write(name, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            with _sink(name, file) as sink:
                yield sink
            _publish(name, file, unfinished, place, mode)
    except KeyboardInterrupt as error:
        raise Stopped(f"interrupted; {name} was not written", INTERRUPTED) from error
    except Stopped as end:
        raise Stopped(f"{end}; {name} was not written", end.exit_code) from end
    finally:
        with suppress(OSError):
            Path(unfinished).unlink()


@contextmanager
def _sink(name: str, file: IO[bytes] | None) -> Iterator[Sink]:
    """Give a sink that takes nothing more after the block."""
    sink = Sink(name, file)
    try:
        yield sink
    finally:
        sink.end()


def _checked(name: str, *, replace: bool) -> int | None:
    """Return the mode of what is there already, if it may be written; None if nothing is."""
    try:
        mode = Path(name).stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_write(name, error) from error
    if stat.S_ISDIR(mode):
        raise Stopped(f"{name} is a directory; name a file in it", BAD_INPUT)
    if stat.S_ISREG(mode) and not replace:
        raise Stopped(f"{name} is there already, and was left as it is; --force replaces it", BAD_INPUT)
    return mode


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    try:
        with Path(name).open("wb", buffering=0) as device:
            yield device
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_write(name, error) from error


def _publish(name: str, file: IO[bytes], unfinished: str, place: Path, mode: int | None) -> None:
    try:
        file.flush()
        os.fchmod(file.fileno(), 0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
        os.fsync(file.fileno())
        Path(unfinished).replace(place)
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise cannot_write(name, error) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
