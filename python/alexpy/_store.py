"""`Store`: the Python-shaped half of a store, on top of the native class.

Calls that reach the engine are native methods (`_alexpy.Store`), so the Python subclass does not slow them
down. Here is what else Python code expects of a mapping, and `open`. No engine logic.
"""

from __future__ import annotations

import os
from collections.abc import ItemsView, Iterable, KeysView, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import numpy as np

from . import _alexpy
from ._alexpy import WriteBatch
from ._convert import Row
from ._maintenance import CompactReport, VerifyReport
from ._mapping import Closing, Items, Keys, Values, columns
from ._path import absolute
from .config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import SupportsKeysAndGetItem
    from numpy.typing import DTypeLike
    from typing_extensions import Buffer

__all__ = ["Stats", "Store", "WriteBatch", "open"]

_T = TypeVar("_T")
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of a store at one moment; what `Store.stats` returns.

    Example:
        >>> s[1] = b"one"
        >>> s.stats().keys
        1

    """

    keys: int
    """Keys in the store."""
    live_bytes: int
    """Bytes of records that hold the current value of a key."""
    dead_bytes: int
    """Bytes of records that were overwritten or deleted."""
    disk_bytes: int
    """Bytes that the store's files take on disk, reserved space included."""
    segments: int
    """Files of the log."""
    tail_bytes: int
    """Bytes of log that the next opening would replay."""
    index_bytes: int
    """Bytes of memory of the index."""
    index_height: int
    """Nodes on the longest path from the root of the index to a leaf."""
    last_seq: int
    """Sequence number of the last commit."""
    durable_seq: int
    """Highest sequence number that is safe on the device."""
    last_sync_seconds: float | None
    """Seconds that the last device flush took; None before the first."""
    dropped_bytes: int
    """Bytes of unfinished or unflushed commits that opening dropped."""
    freed_segments: int
    """Files that compaction has removed since the store was opened."""
    freed_bytes: int
    """Bytes of the records in them."""
    moved_bytes: int
    """Bytes of live records that compaction has copied since the store was opened."""
    damaged_segments: int
    """Files that compaction leaves alone because a record in them is damaged; `verify` names it."""
    background_failure: str | None
    """The panic that ended a background thread, a bug of alexpy to report; None otherwise."""
    write_mode: str
    """How commits reach the log: "mmap" or "pwrite"."""
    slowed_seconds: float
    """Seconds, in all, that commits have waited for a checkpoint or a compaction that could not keep up."""
    slowed_by: str | None
    """What commits are waiting for now: "checkpoint", "compaction" or None."""


class Store(_alexpy.Store, Closing):
    """A durable mapping of int64 keys to bytes, ordered by key, in a directory; `alexpy.open` makes them.

    A `MutableMapping[int, bytes]`: it has the methods of a dict, and every write survives a kill of the
    process. Keys are what `operator.index` takes, within int64; values are bytes or any other contiguous
    buffer and come back as bytes. Iteration is in key order, over the store as it was when the iterator was
    made. All methods may be called from many threads.

    In the examples `s` is an open, empty store.

    Example:
        >>> s[20] = b"twenty"
        >>> s[10] = b"ten"
        >>> list(s.items())
        [(10, b'ten'), (20, b'twenty')]
        >>> s.floor(15)
        (10, b'ten')

    """

    __slots__ = ()

    @overload
    def pop(self, key: int) -> bytes: ...
    @overload
    def pop(self, key: int, default: _T) -> bytes | _T: ...
    def pop(self, key: int, default: object = _MISSING) -> object:
        """Remove `key` and return its value, or `default` if the key is absent.

        One commit: no two threads get the same value. O(1).

        Raises:
            KeyError: the key is absent and no default was given.

        Example:
            >>> s[1] = b"one"
            >>> s.pop(1), s.pop(1, None)
            (b'one', None)

        """
        value = self._take(key)
        if value is not None:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def update(
        self,
        other: SupportsKeysAndGetItem[int, Buffer] | Iterable[tuple[int, Buffer]] = (),
        /,
        *,
        sync: bool = False,
    ) -> None:
        """Store every item of a mapping or of an iterable of (key, value), in one atomic batch.

        The last duplicate of a key wins. With `sync=True` it returns once everything is safe on the device.
        O(bytes). Raises as `put_many`; nothing is written then.

        Example:
            >>> s.update({1: b"one", 2: b"two"})
            >>> len(s)
            2

        """
        keys, values = columns(other)
        self.put_many(keys, values, sync=sync)

    def get_array(
        self,
        keys: Any,
        dtype: DTypeLike,
        shape: tuple[int, ...] | int = (),
        *,
        fill: Any = None,
        out: np.ndarray[Any, Any] | None = None,
    ) -> np.ndarray[Any, Any]:
        """Return the values of many keys, all of one length, in one array of shape (len(keys), *shape).

        The fastest way to read: no object is made for a value. `keys` as in `put_many`; each value is the raw
        memory of one row, an element or an array of `shape` of the native `dtype` given. The rows have the
        order and the duplicates of `keys`. An absent key raises KeyError, or gives a row of `fill`.
        `out`, an array of exactly that dtype and shape, is filled and returned instead of a new array. In a
        loop that saves fresh memory from the operating system, which can take as long as the reading.
        After an error some rows of `out` may be written. No other thread may free or resize it meanwhile, as
        NumPy allows with `refcheck=False`. O(keys + bytes), the GIL released; large batches are read
        by up to four threads.

        Raises:
            KeyError: a key is absent and no `fill` was given.
            ValueError: a value is not as long as a row (the message names the key), or `out` has another
                shape, is not C-contiguous, is read-only, or shares memory with `keys`.
            TypeError: `dtype` holds Python objects, `keys` are no keys, or `out` is no array of `dtype`.
            MemoryError: there is no memory for so many rows.

        Example:
            >>> s.put_many([1, 2], np.array([[0.5, 1.5], [2.5, 3.5]]))
            2
            >>> s.get_array([2, 1, 9], np.float64, (2,), fill=0).tolist()
            [[2.5, 3.5], [0.5, 1.5], [0.0, 0.0]]
            >>> batch = np.empty((2, 2))
            >>> s.get_array([2, 1], np.float64, (2,), out=batch) is batch
            True

        """
        row = Row(dtype, shape, fill)
        if out is None:
            return row.array(*self._get_rows(keys, row.nbytes, row.filled, None))
        if isinstance(keys, np.ndarray) and isinstance(out, np.ndarray) and np.may_share_memory(keys, out):
            raise ValueError("out shares memory with keys")
        # The call takes the memory of `out` after it has read the keys: their code may do anything to `out`.
        self._get_rows(keys, row.nbytes, row.filled, (row.memory, out))
        return out

    def keys(self) -> KeysView[int]:
        """Return a view of the keys, ascending; O(1).

        Example:
            >>> s.update({2: b"two", 1: b"one"})
            >>> list(s.keys()), 2 in s.keys()
            ([1, 2], True)

        """
        return Keys(self)

    def values(self) -> ValuesView[bytes]:
        """Return a view of the values, in the order of their keys; O(1).

        Example:
            >>> s.update({2: b"two", 1: b"one"})
            >>> list(s.values())
            [b'one', b'two']

        """
        return Values(self)

    def items(self) -> ItemsView[int, bytes]:
        """Return a view of the (key, value) pairs, in key order; O(1).

        Example:
            >>> s.update({2: b"two", 1: b"one"})
            >>> list(s.items())
            [(1, b'one'), (2, b'two')]

        """
        return Items(self)

    def stats(self) -> Stats:
        """Return the figures of this moment; O(segments).

        Raises:
            ClosedError: the store is closed.

        Example:
            >>> s.stats().keys
            0

        """
        return Stats(**self._stats())

    def verify(self, progress: Callable[[int, int], object] | None = None) -> VerifyReport:
        """Check every byte of the store's files against its checksum, and the index against the log.

        Nothing is trusted and nothing is changed; damage is listed in the report, not raised. Reads and
        writes go on meanwhile; what is written after the call began is not checked. `progress(done, total)`
        is called every few mebibytes with bytes; an exception that it raises stops the call. O(bytes), read
        twice, and the memory of a second index; the GIL is released.

        Raises:
            ClosedError: the store is closed.
            OSError: the device cannot read.

        Example:
            >>> s[1] = b"one"
            >>> s.verify().ok
            True

        """
        records, size, errors = self._verify(progress)
        return VerifyReport(records, size, tuple(errors))

    def compact(self, progress: Callable[[int, int], object] | None = None) -> CompactReport:
        """Copy live values together and give the disk space of overwritten and deleted ones back.

        A background thread does so by itself once more than `compact_dead_ratio` of the store is dead, or a
        bit less while nothing is written. This call leaves less dead space, starts at once and has no speed
        limit. Reads and writes go on meanwhile. Space that an open iterator, value or view still uses is
        given back when that is released.
        `progress(done, total)` is called between two pieces of work with bytes; an exception that it raises
        stops the call, and what was done stays done. O(bytes of the files it rewrites); the GIL is released.

        Raises:
            ClosedError, ReadOnlyError, PoisonedError: the store takes no writes.
            OSError: the device cannot read or write, or is full; nothing is lost.

        Example:
            >>> s.put_many([1, 2], [b"one", b"two"])
            2
            >>> del s[1]
            >>> s.compact().moved_bytes
            32

        """
        return CompactReport(*self._compact(progress))

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a mapping with the same items; streams both, O(bytes)."""
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        if isinstance(other, Store):
            return all(mine == its for mine, its in zip_longest(self.scan(), other.scan()))
        return all(key in other and other[key] == value for key, value in self.scan())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a read-only store as its path and options: unpickling opens it again."""
        if not self.read_only:
            raise TypeError("a store open for writing cannot be pickled; open it with read_only=True")
        return _reopen, (os.fspath(self.path), self.config)

    def __repr__(self) -> str:
        """Name the directory, and the number of keys while the store is open."""
        path = os.fspath(self.path)
        if self.closed:
            return f"<alexpy.Store {path!r}, closed>"
        if self._inherited and not self.read_only:
            return f"<alexpy.Store {path!r}, of another process>"
        mode = ", read-only" if self.read_only else ""
        return f"<alexpy.Store {path!r}, {len(self)} keys{mode}>"


# An ABC as a real base would give the native class a metaclass; for type checkers the stub names it as one.
MutableMapping.register(Store)


def open(  # noqa: A001 - `alexpy.open` is the public name
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    create: bool = True,
    parents: bool = False,
    config: Config | None = None,
    **options: Any,
) -> Store:
    """Open the store in the directory `path`, and make one if there is none.

    With `parents=True` the directories above it are made as well, as `Path.mkdir` does.
    `options` are fields of `Config` by name and override those of `config`. Only one handle, of all
    processes, may be open for writing; any number may be open with `read_only=True`, which takes no lock.
    Opening replays the end of the log: O(tail). Ctrl-C stops it.

    Raises:
        LockedError: another handle has the store open for writing.
        FileNotFoundError: there is no store, and `read_only` or `create=False` forbids making one; or the
            parent directory does not exist, and `parents` is False.
        NotADirectoryError: `path` is a file.
        FormatError: the directory is neither empty nor a store; or the store has a newer format; or one of
            its files is a symbolic link or not a regular file; or its manifests are older than its segments,
            as in a copy that was taken file by file while a writer was at work. Nothing was touched.
        CorruptionError: data that was safe on the device is damaged.
        ValueError: an option is unknown or its value is impossible, or the path is empty or holds a NUL.

    Example:
        >>> import tempfile
        >>> with alexpy.open(tempfile.mkdtemp(), durability="sync") as store:
        ...     store[1] = b"one"
        ...     len(store)
        1

    """
    chosen = (Config() if config is None else config).with_options(options)
    return Store(absolute(path), chosen, read_only=read_only, create=create, parents=parents)


def _reopen(path: str, config: Config) -> Store:
    return open(path, read_only=True, config=config)
