"""`Store`: the Python-shaped half of a store, on top of the native class.

Calls that reach the engine are native methods (`_alexpy.Store`), so the Python subclass does not slow them
down. Here is what else Python code expects of a mapping, and `open`. No engine logic.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Never, Self, SupportsIndex, TypeVar, Unpack, overload

from . import _alexpy
from ._alexpy import WriteBatch
from ._maintenance import CompactReport, VerifyReport
from ._mapping import Closing, columns
from ._path import absolute
from ._reads import Reads
from ._types import K, V
from .codecs import Codec, named
from .config import Config, Integers, Moments, Options, chosen, takes_options
from .errors import FormatError

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    import numpy as np
    from _typeshed import SupportsKeysAndGetItem

    from ._alexpy import _Arrow, _Value
    from .ship import Shipper

__all__ = ["Snapshot", "Stats", "Store", "WriteBatch", "open"]

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
    remote_seq: int | None
    """Highest sequence number that is shipped to every place to which an `alexpy.ship.Shipper` of this handle
    ships; None where there is none."""
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
    snapshots: int
    """Snapshots, iterators and running reads of many keys, since the store was last emptied."""
    history_bytes: int
    """Bytes of memory that they need for what has changed since they were made."""
    lag: int | None
    """Writes that were committed and that a read-only store does not show, all of which `refresh()` takes up;
    None if `refresh()` would fail, and of a store that is open for writing."""


class Store(_alexpy.Store[K, V], Reads[K, V], Closing):
    """A durable mapping of keys to values, ordered by key, in a directory; `alexpy.open` makes them.

    A `MutableMapping[K, V]`: it has the methods of a dict, and every write survives a kill of the
    process. Keys are what `operator.index` takes, within int64; values are bytes or any other contiguous
    buffer and come back as bytes. Chosen when the store is made, keys are of another kind (`key_kind`):
    unsigned integers, moments or UUIDs; and with a codec (`alexpy.codecs`) values of another type. A
    `Store[K, V]` has keys K and values V, and `Store` alone is `Store[int, bytes]`. Iteration is in key
    order, over the store as it was when the iterator was made. All methods may be called from many threads.

    In the examples `s` is an open, empty store.

    Example:
        >>> s[20] = b"twenty"
        >>> s[10] = b"ten"
        >>> list(s.items())
        [(10, b'ten'), (20, b'twenty')]
        >>> s.floor(15)
        (10, b'ten')

    """

    __slots__ = ("_shippers",)

    _shippers: tuple[Shipper, ...]
    """Those at work; each enters and leaves by itself."""

    def __new__(cls, *_args: Never, **_options: Never) -> Self:
        """Refuse: `alexpy.open` makes stores."""
        raise TypeError("alexpy.open(path) opens a store; Store is the class of what it returns")

    @classmethod
    def _opened(
        cls,
        path: str,
        config: Config,
        *,
        read_only: bool,
        create: bool,
        parents: bool,
        key: str | None = None,
        codec: Codec[Any] | None = None,
        compression: str | None = None,
        find_codec: Callable[[str], Codec[Any]] | None = named,
    ) -> Self:
        try:
            store = super().__new__(
                cls,
                path,
                config,
                read_only=read_only,
                create=create,
                parents=parents,
                key=key,
                codec=codec,
                compression=compression,
                find_codec=find_codec,
            )
        except FormatError:
            if _is_sharded(path):
                raise FormatError(
                    f"{path} is a sharded store: alexpy.ShardedStore.open reads it, and alexpy.open each of "
                    "the stores in it (nothing was changed)"
                ) from None
            raise
        store._shippers = ()
        return store

    @overload
    def pop(self, key: SupportsIndex | K) -> V: ...
    @overload
    def pop(self, key: SupportsIndex | K, default: _T) -> V | _T: ...
    def pop(self, key: Any, default: object = _MISSING) -> object:
        """Remove `key` and return its value, or `default` if the key is absent.

        One commit: no two threads get the same value. O(1).

        Raises:
            KeyError: the key is absent and no default was given.
            CodecError: the codec cannot read the value, which stays where it is.

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

    @overload
    def update(
        self: Store[K, bytes],
        other: SupportsKeysAndGetItem[K, _Value] | Iterable[tuple[K, _Value]] | _Arrow = (),
        /,
        *,
        sync: bool = False,
    ) -> None: ...
    @overload
    def update(
        self,
        other: SupportsKeysAndGetItem[K, V] | Iterable[tuple[K, V]] | _Arrow = (),
        /,
        *,
        sync: bool = False,
    ) -> None: ...
    def update(self, other: Any = (), /, *, sync: bool = False) -> None:
        """Store every item of a mapping or of an iterable of (key, value), in one atomic batch.

        Or every row of a table of any Arrow library, or of pandas, with just the columns `key` and `value`,
        as the Arrow libraries read them from a store. The last duplicate of a key wins. With `sync=True` it
        returns once everything is safe on the device. O(bytes). Raises as `put_many`; nothing is written
        then.

        Example:
            >>> s.update({1: b"one", 2: b"two"})
            >>> s.update(s.snapshot().to_arrow())
            >>> len(s)
            2

        """
        keys, values = columns(other)
        self.put_many(keys, values, sync=sync)

    # `|=` keeps what it is, where `|` makes a dict.
    def __ior__(  # type: ignore[misc, override]
        self, other: SupportsKeysAndGetItem[K, V] | Iterable[tuple[K, V]] | _Arrow, /
    ) -> Self:
        """Store every item of `other`, as `update` does."""
        self.update(other)
        return self

    def snapshot(self) -> Snapshot[K, V]:
        """Return the store as it is now, to be read for as long as it is kept, whatever is written meanwhile.

        Any number may be kept. One costs nothing while nothing changes; then about 60 bytes of memory for
        each key that changes, however often it does, and the disk space of what is overwritten or deleted,
        until it is closed or dropped. O(1).

        Raises:
            ClosedError: the store is closed.

        Example:
            >>> s[1] = b"one"
            >>> with s.snapshot() as before:
            ...     s[1] = b"uno"
            ...     before[1], s[1]
            (b'one', b'uno')

        """
        return Snapshot(self)

    def stats(self) -> Stats:
        """Return the figures of this moment; O(segments).

        Raises:
            ClosedError: the store is closed.

        Example:
            >>> s.stats().keys
            0

        """
        # Asked for first: what is shipped is never above what the store holds.
        remote_seq = min((shipper.seq for shipper in self._shippers), default=None)
        return Stats(**self._stats(), remote_seq=remote_seq)

    def flush(self, *, remote: bool = False) -> None:
        """Return when everything written before the call is safe on the device.

        With `remote` also in every place to which an `alexpy.ship.Shipper` of this handle ships. One device
        flush, the GIL released; `remote` costs a push.

        Raises:
            OSError: the device refuses; the store then takes no more writes (PoisonedError) until it is
                opened again. With ESTALE the directory was renamed or replaced: all is safe where it is now.
            ClosedError, PoisonedError: the store is closed, or takes no more writes.
            ValueError: `remote` without a Shipper.
            With `remote` what `Shipper.flush` raises. All is safe on the device then, and shipping goes on.

        Example:
            >>> s[1] = b"one"
            >>> s.flush()

        """
        super().flush()
        if not remote:
            return
        if not self._shippers:
            raise ValueError(
                "flush(remote=True) waits for the shippers of this handle, and there is none: begin one with "
                "alexpy.ship.Shipper(store, place); all is safe on this machine's device"
            )
        for shipper in self._shippers:
            shipper.flush()

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a read-only store as its path and options: unpickling opens it again."""
        if not self.read_only:
            raise TypeError("a store open for writing cannot be pickled; open it with read_only=True")
        return _reopen, (os.fspath(self.path), self.config, self.codec)

    def __repr__(self) -> str:
        """Name the directory, and the number of keys while the store is open."""
        path = os.fspath(self.path)
        if self.closed:
            return f"<alexpy.Store {path!r}, closed>"
        if self._inherited and not self.read_only:
            return f"<alexpy.Store {path!r}, of another process>"
        mode = ", read-only" if self.read_only else ""
        return f"<alexpy.Store {path!r}, {len(self)} keys{mode}>"


class Snapshot(_alexpy.Snapshot[K, V], Reads[K, V]):
    """A store as it was at one moment; what `Store.snapshot` returns.

    A `Mapping[K, V]` with all the methods of `Store` that read. It stays the same for as long as it is
    kept, whatever is written, cleared or compacted. Closing the store closes it too. May be used by many
    threads; in a forked child it raises ForkedError. Not picklable.

    Example:
        >>> s.update({1: b"one", 2: b"two"})
        >>> before = s.snapshot()
        >>> s.clear()
        >>> list(before.items()), len(before), len(s)
        ([(1, b'one'), (2, b'two')], 2, 0)

    """

    __slots__ = ()

    def __enter__(self) -> Self:
        """Return the snapshot."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the snapshot."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse: another process has no part in what keeps the snapshot readable."""
        raise TypeError("a snapshot cannot be pickled; pickle a store that is open with read_only=True")

    def __repr__(self) -> str:
        """Name the directory and the sequence number, and the number of keys while the snapshot is open."""
        path = os.fspath(self.path)
        if self.closed:
            return f"<alexpy.Snapshot of {path!r}, closed>"
        return f"<alexpy.Snapshot of {path!r} at {self.seq}, {len(self)} keys>"


# An ABC as a real base would give the native class a metaclass; for type checkers the stub names it as one.
MutableMapping.register(Store)
Mapping.register(Snapshot)


@overload
def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    key: Integers | None = ...,
    read_only: bool = ...,
    create: bool = ...,
    parents: bool = ...,
    codec: Codec[V] | None = ...,
    compression: Literal["zstd"] | None = ...,
    config: Config | None = ...,
    **options: Unpack[Options],
) -> Store[int, V]: ...
@overload
def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    key: Moments,
    read_only: bool = ...,
    create: bool = ...,
    parents: bool = ...,
    codec: Codec[V] | None = ...,
    compression: Literal["zstd"] | None = ...,
    config: Config | None = ...,
    **options: Unpack[Options],
) -> Store[np.datetime64, V]: ...
@overload
def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    key: Literal["uuid"],
    read_only: bool = ...,
    create: bool = ...,
    parents: bool = ...,
    codec: Codec[V] | None = ...,
    compression: Literal["zstd"] | None = ...,
    config: Config | None = ...,
    **options: Unpack[Options],
) -> Store[uuid.UUID, V]: ...
@takes_options
def open(  # noqa: A001 - `alexpy.open` is the public name
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    read_only: bool = False,
    create: bool = True,
    parents: bool = False,
    codec: Codec[V] | None = None,
    compression: Literal["zstd"] | None = None,
    config: Config | None = None,
    **options: Unpack[Options],
) -> Store[Any, V]:
    """Open the store in the directory `path`, and make one if there is none.

    With `create=False` none is made; with `parents=True` the directories above it are made as well, as
    `Path.mkdir` does. Only one handle, of all processes, may be open for writing; any number may be open with
    `read_only=True`, which takes no lock.

    `key` says what the keys are: "int64" (also if it is None), "uint64", "datetime64[s]", "datetime64[ms]",
    "datetime64[us]", "datetime64[ns]", or "uuid", which are `uuid.UUID` or any other keys of 128 bits. Where
    a docstring says int64, a key of the store's kind is meant, and errors are raised for others likewise.
    `codec` says what the values are: bytes if it is None, else what `alexpy.codecs` or a `Codec` of yours
    makes of them. `compression="zstd"` compresses each value by itself, with a dictionary that is trained
    from the store's own values: JSON of some hundred bytes becomes several times smaller. All three are
    chosen when the store is made, and remembered: afterwards they can be left out, except for a codec of
    your own. Every field of `Config` is an option too, and overrides that of `config`. Opening replays the
    end of the log: O(tail). Ctrl-C stops it.

    Raises:
        LockedError: another handle has the store open for writing.
        FileNotFoundError: there is no store, and `read_only` or `create=False` forbids making one; or the
            parent directory does not exist, and `parents` is False.
        NotADirectoryError: `path` is a file.
        FormatError: the directory is neither empty nor a store; or the store has a newer format; or one of
            its files is a symbolic link or not a regular file; or its manifests are older than its segments,
            as in a copy that was taken file by file while a writer was at work; or it was made with another
            kind of key, another codec or without compression; or with a codec of somebody's own, and `codec`
            is None. Nothing was touched.
        CorruptionError: data that was safe on the device is damaged.
        TypeError: there is no option of that name; the message says which is nearest.
        ValueError: the value of an option is impossible, or the path is empty or holds a NUL.

    Example:
        >>> import tempfile
        >>> with alexpy.open(tempfile.mkdtemp(), durability="sync") as store:
        ...     store[1] = b"one"
        ...     len(store)
        1

    """
    made = chosen(config, options, open)
    if key is not None and not isinstance(key, str):
        raise TypeError(
            f'key is a {type(key).__name__}; give the name of a kind of keys, for instance key="uint64"'
        )
    if codec is not None and not isinstance(codec, Codec):
        raise TypeError(f"codec is a {type(codec).__name__}; give one of alexpy.codecs, or an alexpy.Codec")
    return Store._opened(  # noqa: SLF001
        absolute(path),
        made,
        read_only=read_only,
        create=create,
        parents=parents,
        key=key,
        codec=codec,
        compression=check_compression(compression),
    )


def check_compression(compression: object) -> Literal["zstd"] | None:
    """Return a compression that there is.

    Raises:
        TypeError, ValueError: there is none of that kind.

    Example:
        >>> from alexpy._store import check_compression
        >>> check_compression("zstd")
        'zstd'

    """
    if compression is None or compression == "zstd":
        return compression
    if not isinstance(compression, str):
        raise TypeError(f'compression is a {type(compression).__name__}; give None, or compression="zstd"')
    raise ValueError(f'compression must be None or "zstd", not {json.dumps(compression)}')


def open_raw(
    path: str,
    *,
    read_only: bool = False,
    create: bool = True,
    key: str | None = None,
    codec: Codec[Any] | None = None,
    compression: str | None = None,
    config: Config,
) -> Store[Any, bytes]:
    """Open a store whose values are bytes, whatever its codec: for the command line.

    `key`, `codec` and `compression` are what a new store is made with, and what an old one must have, unless
    they are None.

    Raises:
        As `open`.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp()
        >>> with alexpy.open(path, codec=alexpy.codecs.text) as store:
        ...     store[1] = "one"
        >>> with open_raw(path, config=alexpy.Config()) as store:
        ...     store[1], store.codec, store.codec_name
        (b'one', None, 'text')

    """
    if codec is not None:
        # Makes the store, or checks its codec; an open handle with a codec has no bytes.
        Store._opened(  # noqa: SLF001
            absolute(path),
            config,
            read_only=read_only,
            create=create,
            parents=False,
            key=key,
            codec=codec,
            compression=compression,
        ).close()
    return Store._opened(  # noqa: SLF001
        absolute(path),
        config,
        read_only=read_only,
        create=create and codec is None,
        parents=False,
        key=key,
        compression=compression,
        find_codec=None,
    )


def _is_sharded(path: str) -> bool:
    from ._shards import newest  # noqa: PLC0415 - for an error only

    try:
        return newest(Path(path)) > 0
    except OSError:
        return False


def _reopen(path: str, config: Config, codec: Codec[Any] | None) -> Store[Any, Any]:
    return open(path, read_only=True, codec=codec, config=config)
