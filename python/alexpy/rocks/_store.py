"""`RocksStore`: opening, writing, maintenance and closing; the reading half is in `_reads`.

Writes go to RocksDB first and to the index after, under one lock. The index is rebuilt from RocksDB at every
opening, O(keys).
"""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

import numpy as np
from rocksdict import Checkpoint, Rdict, WriteBatch, WriteOptions

from alexpy._index import AlexIndex
from alexpy._mapping import Closing, Merging, columns
from alexpy._path import absolute
from alexpy.errors import FormatError

from ._batch import RocksBatch
from ._config import RocksConfig
from ._convert import from_raw, many_keys, many_values, one_key, one_value, to_raw, to_raw_many
from ._errors import rocksdb_errors
from ._reads import RocksReads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

__all__ = ["RocksStats", "RocksStore"]

_T = TypeVar("_T")
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class RocksStats:
    """Figures of a `RocksStore` at one moment; what `RocksStore.stats` returns."""

    keys: int
    """Keys in the store."""
    live_bytes: int
    """Bytes of keys and values that RocksDB estimates to be live."""
    disk_bytes: int
    """Bytes that the store's files take on disk."""
    index_bytes: int
    """Bytes of memory of the index."""
    index_height: int
    """Nodes on the longest path from the root of the index to a leaf."""
    last_seq: int
    """RocksDB's sequence number of the last write."""


class RocksStore(RocksReads, Merging, Closing):
    """A durable mapping of int64 keys to bytes, ordered by key: ALEX in memory, values in RocksDB.

    `MutableMapping[int, bytes]` with the methods of `alexpy.Store` that RocksDB can support; keys, values,
    bounds and errors are those of `Store`. One process at a time may have it open. All methods may be called
    from many threads. Opening is O(keys): the index is rebuilt.

    Raises:
        LockedError: another handle has it open.
        FileNotFoundError: there is no store, and `create=False` forbids making one.
        NotADirectoryError: `path` is a file.
        FormatError: the directory is neither empty nor a RocksDB; nothing was touched.
        CorruptionError: RocksDB found damage.

    Example:
        >>> import tempfile
        >>> with RocksStore(tempfile.mkdtemp()) as s:
        ...     s[20] = b"twenty"
        ...     s[10] = b"ten"
        ...     s.floor(15), len(s)
        ((10, b'ten'), 2)

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        config: RocksConfig | None = None,
    ) -> None:
        self._closed = True
        self._path = Path(absolute(path))
        self._config = config or RocksConfig()
        _check_directory(self._path, create=create)
        self._lock = threading.RLock()
        with rocksdb_errors(self._path):
            self._db = Rdict(str(self._path), self._config.options())
        self._closed = False
        self._scans = weakref.WeakSet()
        self._writing = WriteOptions()
        self._writing.sync = self._config.durability == "sync"
        self._db.set_write_options(self._writing)
        try:
            with rocksdb_errors(self._path):
                self._index = self._rebuilt()
        except BaseException:
            self.close()
            raise

    def _rebuilt(self) -> AlexIndex:
        """Read every key, and the length of its value, in key order."""
        keys, lengths = bytearray(), []
        for key, value in self._db.items():
            keys += key
            lengths.append(len(value))
        # `items` ends silently at a block that cannot be read; status() then raises.
        end = self._db.iter()
        if keys:
            end.seek(bytes(keys[-8:]))
            if end.valid():
                end.next()
        else:
            end.seek_to_first()
        end.status()
        return AlexIndex(from_raw(bytes(keys)), np.array(lengths, np.int64))

    # One key

    def __setitem__(self, key: int, value: Buffer) -> None:
        """Store `value` under `key`."""
        self.put(key, value)

    def __delitem__(self, key: int) -> None:
        """Remove `key`; KeyError if it is absent."""
        if not self.delete(key):
            raise KeyError(one_key(key))

    def put(self, key: int, value: Buffer) -> None:
        """Store `value` under `key`, replacing what was there; one RocksDB write."""
        number = one_key(key)
        data = one_value(value, "value")
        with self._lock:
            self._check_open()
            with rocksdb_errors(self._path):
                self._db.put(to_raw(number), data)
            self._index.put(number, len(data))

    def delete(self, key: int) -> bool:
        """Remove `key` and return whether it was present."""
        number = one_key(key)
        with self._lock:
            self._check_open()
            if number not in self._index:
                return False
            with rocksdb_errors(self._path):
                self._db.delete(to_raw(number))
            return self._index.delete(number)

    @overload
    def pop(self, key: int) -> bytes: ...
    @overload
    def pop(self, key: int, default: _T) -> bytes | _T: ...
    def pop(self, key: int, default: object = _MISSING) -> object:
        """Remove `key` and return its value, or `default`; KeyError if there is neither."""
        number = one_key(key)
        with self._lock:
            value = self.get(number)
            if value is not None:
                self.delete(number)
                return value
        if default is _MISSING:
            raise KeyError(number)
        return default

    def popitem(self, last: bool = True) -> tuple[int, bytes]:  # noqa: FBT001, FBT002 - as in `Store`
        """Remove the last item, or with `last=False` the first, and return it; KeyError if empty."""
        with self._lock:
            item = self.last() if last else self.first()
            if item is None:
                raise KeyError("popitem(): the store is empty")
            self.delete(item[0])
            return item

    def setdefault(self, key: int, default: Buffer) -> bytes:
        """Return the value of `key`; if it is absent, store `default` first."""
        data = one_value(default, "value")
        with self._lock:
            found = self.get(key)
            if found is None:
                self.put(key, data)
            return data if found is None else found

    def put_if_absent(self, key: int, value: Buffer) -> bool:
        """Store `value` only if `key` is absent; return whether it was stored."""
        data = one_value(value, "value")
        with self._lock:
            if key in self:
                return False
            self.put(key, data)
            return True

    def compare_and_set(self, key: int, expected: Buffer | None, new: Buffer | None) -> bool:
        """Store `new` only if the value of `key` equals `expected`; None means absent."""
        number = one_key(key)
        old = None if expected is None else one_value(expected, "expected")
        data = None if new is None else one_value(new, "new")
        with self._lock:
            if self.get(number) != old:
                return False
            if data is not None:
                self.put(number, data)
            elif old is not None:
                self.delete(number)
            return True

    def clear(self) -> None:
        """Remove everything, in one commit."""
        with self._lock:
            self._check_open()
            keys, _ = self._index.scan_arrays()
            self._delete(keys)

    # Many keys

    def put_many(self, keys: Any, values: Any, *, sync: bool = False) -> int:
        """Store many items in one atomic batch; the last duplicate wins. Return how many distinct keys."""
        numbers = many_keys(keys)
        items = many_values(values, len(numbers))
        batch = WriteBatch(raw_mode=True)
        # The last duplicate wins in RocksDB too, which applies a batch in its order.
        for raw, value in zip(to_raw_many(numbers), items, strict=True):
            batch[raw] = value
        lengths = np.fromiter(map(len, items), np.int64, len(items))
        with self._lock:
            self._check_open()
            with rocksdb_errors(self._path):
                self._db.write(batch, self._options(sync=sync))
            return self._index.put_many(numbers, lengths)

    def update(self, other: Any = (), /, *, sync: bool = False) -> None:
        """Store every item of a mapping or of an iterable of pairs, in one atomic batch."""
        keys, values = columns(other)
        self.put_many(keys, values, sync=sync)

    # `|=` keeps what it is, where `|` makes a dict.
    def __ior__(self, other: Any, /) -> Self:  # type: ignore[misc, override]
        """Store every item of `other`, as `update` does."""
        self.update(other)
        return self

    def delete_many(self, keys: Any) -> int:
        """Remove many keys in one commit; return how many were present."""
        numbers = np.unique(many_keys(keys))
        with self._lock:
            self._check_open()
            return self._delete(numbers[self._index.contains_many(numbers)])

    def delete_range(self, start: int | None = None, stop: int | None = None) -> int:
        """Remove every key of `start <= key < stop` in one commit; return how many there were."""
        if start is None and stop is None:
            raise TypeError("delete_range() needs a bound; clear() removes everything")
        with self._lock:
            self._check_open()
            keys, _ = self._index.scan_arrays(start, stop)
            return self._delete(keys)

    def batch(self, sync: bool = False) -> RocksBatch:  # noqa: FBT001, FBT002 - as in `Store`
        """Return a batch that is written atomically at the end of its `with`."""
        self._check_open()
        return RocksBatch(self, sync=sync)

    # Maintenance

    def flush(self) -> None:
        """Return when everything written before the call is safe on the device."""
        self._check_open()
        with rocksdb_errors(self._path):
            self._db.flush_wal(sync=True)

    def compact(self) -> None:
        """Merge all of RocksDB's files, which gives back the space of overwritten and deleted values."""
        self._check_open()
        with rocksdb_errors(self._path):
            self._db.flush()
            self._db.compact_range(None, None)

    def backup(self, dest: str | os.PathLike[str]) -> None:
        """Copy the store as it is now to the new directory `dest`, by hard links if possible."""
        self._check_open()
        with rocksdb_errors(self._path):
            Checkpoint(self._db).create_checkpoint(os.fsdecode(dest))

    def stats(self) -> RocksStats:
        """Return the figures of this moment."""
        self._check_open()
        files = (file.stat().st_blocks for file in self._path.rglob("*") if file.is_file())
        return RocksStats(
            keys=len(self._index),
            live_bytes=self._db.property_int_value("rocksdb.estimate-live-data-size") or 0,
            disk_bytes=sum(files) * 512,
            index_bytes=self._index.nbytes,
            index_height=self._index.stats().height,
            last_seq=self._db.latest_sequence_number(),
        )

    def close(self) -> None:
        """Close the store; iterators then raise ClosedError. Closing twice is legal."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for scan in list(self._scans):
                scan.end()
            with rocksdb_errors(self._path):
                self._db.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled: RocksDB gives the files to one process."""
        raise TypeError("a store open for writing cannot be pickled")

    # Inner

    def _commit(self, changes: Mapping[int, bytes | None], *, sync: bool) -> None:
        """Apply the last change of each key, atomically; None deletes."""
        batch = WriteBatch(raw_mode=True)
        keys = np.fromiter(changes, np.int64, len(changes))
        for raw, value in zip(to_raw_many(keys), changes.values(), strict=True):
            if value is None:
                del batch[raw]
            else:
                batch[raw] = value
        put = [(key, len(value)) for key, value in changes.items() if value is not None]
        gone = [key for key, value in changes.items() if value is None]
        with self._lock:
            self._check_open()
            with rocksdb_errors(self._path):
                self._db.write(batch, self._options(sync=sync))
            if put:
                self._index.put_many(*np.array(put, np.int64).T.copy())
            if gone:
                self._index.delete_many(np.array(gone, np.int64))

    def _delete(self, keys: NDArray[np.int64]) -> int:
        self._commit(dict.fromkeys(keys.tolist()), sync=False)
        return len(keys)

    def _options(self, *, sync: bool) -> Any:
        if not sync:
            return self._writing
        options = WriteOptions()
        options.sync = True
        return options


def _check_directory(path: Path, *, create: bool) -> None:
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
    entries = [entry.name for entry in path.iterdir()] if path.exists() else []
    if not entries and not create:
        raise FileNotFoundError(errno.ENOENT, "there is no store", os.fspath(path))
    if entries and "CURRENT" not in entries:
        raise FormatError(f"{os.fspath(path)!r} is not empty and holds no RocksDB; nothing was touched")
    path.mkdir(exist_ok=True)


# An ABC as a real base would add a metaclass and a slower isinstance; `Store` does the same.
MutableMapping.register(RocksStore)
