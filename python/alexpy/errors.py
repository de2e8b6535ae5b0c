"""The exceptions of alexpy, all below `AlexError`.

Only the classes are here; the extension module raises them, in one place (rust/python/src/errors.rs). If
Python has a class for a failure, that is raised instead: KeyError, TypeError, ValueError, OverflowError,
BufferError, OSError with its errno, FileNotFoundError, NotADirectoryError.
"""

from __future__ import annotations

import errno as _errno

__all__ = [
    "AlexError",
    "ClosedError",
    "CodecError",
    "CorruptionError",
    "FencedError",
    "ForkedError",
    "FormatError",
    "HistoryGoneError",
    "LockedError",
    "PoisonedError",
    "ReadOnlyError",
]


class AlexError(Exception):
    """Base of every exception that alexpy defines.

    Example:
        >>> issubclass(ClosedError, AlexError)
        True

    """


class CorruptionError(AlexError):
    """Stored bytes are not what was written; `path`, `offset`, `expected` and `found` say where and how.

    `offset` counts bytes from the start of the file `path`. `expected` and `found` are texts for people.

    Example:
        >>> CorruptionError("damaged", "segment-1", 64, "checksum 1", "checksum 2").offset
        64

    """

    path: str | None
    offset: int | None
    expected: str | None
    found: str | None

    def __init__(
        self,
        message: str,
        path: str | None = None,
        offset: int | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        """Store the place with the message."""
        super().__init__(message)
        self.path = path
        self.offset = offset
        self.expected = expected
        self.found = found


class LockedError(AlexError, BlockingIOError):
    """Another handle has the store open for writing; `pid` is its process, if known.

    Example:
        >>> LockedError("locked", "store", 4711).pid
        4711

    """

    path: str | None
    pid: int | None

    def __init__(self, message: str, path: str | None = None, pid: int | None = None) -> None:
        """Store the holder with the message."""
        super().__init__(message)
        # Set here, not given to OSError: with a file name it would print "[Errno 11] None".
        self.errno = _errno.EAGAIN
        self.path = path
        self.pid = pid


class ReadOnlyError(AlexError):
    """A write was tried on a store opened with `read_only=True`, or on a mirror of a shipped one.

    Example:
        >>> issubclass(ReadOnlyError, AlexError)
        True

    """


class ClosedError(AlexError, ValueError):
    """The store was closed, or the batch has ended.

    A ValueError too, as for a closed file.

    Example:
        >>> issubclass(ClosedError, ValueError)
        True

    """


class CodecError(AlexError, TypeError, ValueError):
    """A codec could not make bytes of a value, or a value of bytes; `key` and `codec` say which.

    `__cause__` is what the codec raised. A TypeError and a ValueError too, for a value that cannot be stored
    is either. Nothing was written, and what is stored stays as it is: `get_view` and `get_buffers` read it
    without the codec.

    Example:
        >>> CodecError("cannot decode", 7, "json").key
        7

    """

    key: int | None
    codec: str | None

    def __init__(self, message: str, key: int | None = None, codec: str | None = None) -> None:
        """Store the key and the name of the codec with the message."""
        super().__init__(message)
        self.key = key
        self.codec = codec


class PoisonedError(AlexError):
    """An earlier flush or change failed half-way, so the store takes no more writes until it is opened again.

    The message says what failed. Reads go on. `__cause__` is the failure.

    Example:
        >>> issubclass(PoisonedError, AlexError)
        True

    """


class ForkedError(AlexError):
    """A store opened for writing was used in a forked child process; open it again there.

    Example:
        >>> issubclass(ForkedError, AlexError)
        True

    """


class FormatError(AlexError):
    """The directory is not a store, or has a format that this version does not read; nothing was touched.

    Example:
        >>> issubclass(FormatError, AlexError)
        True

    """


class HistoryGoneError(AlexError):
    """The changes asked for are not all in the log any more: compaction has freed some of them.

    Or the store was cut back to before where they begin (by `recovery="point_in_time"`, or by a power cut
    before a flush), so that what was told of it may be gone. Read it whole through a snapshot, and go on
    with the changes after the snapshot's `seq`.

    Example:
        >>> issubclass(HistoryGoneError, AlexError)
        True

    """


class FencedError(AlexError):
    """Another writer published in this place first, so this one must not; nothing was published.

    `place`, `epoch` and `seq` say what is there, as far as it is known. It stays so: trying again does not
    help. For a store that is shipped only `alexpy.ship.restore`, or a push with `fork=True`, leads on; for a
    directory that follows one (`alexpy.ship.follow`), only a new directory.

    Example:
        >>> FencedError("fenced", "s3://bucket/events", 2, 4711).epoch
        2

    """

    place: str | None
    epoch: int | None
    seq: int | None

    def __init__(
        self, message: str, place: str | None = None, epoch: int | None = None, seq: int | None = None
    ) -> None:
        """Store what is there with the message."""
        super().__init__(message)
        self.place = place
        self.epoch = epoch
        self.seq = seq
