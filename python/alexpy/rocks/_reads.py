"""The reading half of `RocksStore`: the index answers what needs no value, RocksDB holds the values.

Changes nothing. `_store` makes what it uses: the index, RocksDB, and the lock under which both change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import numpy as np

from alexpy._convert import Row
from alexpy._mapping import Items, Keys, Values
from alexpy.errors import ClosedError

from ._convert import many_keys, one_key, to_raw, to_raw_many
from ._errors import rocksdb_errors
from ._scan import Scan, paired

if TYPE_CHECKING:
    import threading
    import weakref
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from alexpy._index import AlexIndex

    from ._config import RocksConfig

_T = TypeVar("_T")
# Values read by one MultiGet.
_RUN: Final = 4096


class RocksReads:
    """The methods of `alexpy.Store` that change nothing, for `RocksStore`."""

    _path: Path
    _config: RocksConfig
    _closed: bool
    # Held to change the index and RocksDB together, and to see both at one moment.
    _lock: threading.RLock
    _db: Any
    _index: AlexIndex
    _scans: weakref.WeakSet[Scan]

    # One key

    def __getitem__(self, key: int) -> bytes:
        """Return the value of `key`; KeyError if it is absent."""
        value = self.get(key)
        if value is None:
            raise KeyError(one_key(key))
        return value

    def __contains__(self, key: object) -> bool:
        """Whether `key` is present; only the index is asked."""
        number = one_key(key)
        self._check_open()
        return number in self._index

    def __len__(self) -> int:
        """Return the number of keys; O(1), exact."""
        self._check_open()
        return len(self._index)

    def __bool__(self) -> bool:
        """Whether there is any key."""
        return len(self) > 0

    def __iter__(self) -> Iterator[int]:
        """Iterate over the keys, ascending, as they are now."""
        return self.scan_keys()

    def __reversed__(self) -> Iterator[int]:
        """Iterate over the keys, descending, as they are now."""
        return self.scan_keys(reverse=True)

    @overload
    def get(self, key: int) -> bytes | None: ...
    @overload
    def get(self, key: int, default: _T) -> bytes | _T: ...
    def get(self, key: int, default: object = None) -> object:
        """Return the value of `key`, or `default`; the index answers for absent keys."""
        number = one_key(key)
        self._check_open()
        if number not in self._index:
            return default
        return self._read(to_raw(number), default)

    # Many keys

    def get_many(self, keys: Any, default: Any = None) -> list[Any]:
        """Return the values of many keys as a list in their order, with `default` for absent keys."""
        numbers = many_keys(keys)
        self._check_open()
        there = self._index.contains_many(numbers)
        found = self._read_many(numbers[there])
        if there.all():
            return [default if value is None else value for value in found] if None in found else found
        values = iter(found)
        answers = (next(values) if present else None for present in there.tolist())
        return [default if value is None else value for value in answers]

    def get_array(
        self,
        keys: Any,
        dtype: DTypeLike,
        shape: tuple[int, ...] | int = (),
        *,
        fill: Any = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Return values of one length in one array, as `Store.get_array` does."""
        row = Row(dtype, shape, fill)
        memory = None if out is None else row.memory(out)
        numbers = many_keys(keys)
        if memory is not None and np.may_share_memory(numbers, memory):
            raise ValueError("out shares memory with keys")
        if out is not None and len(out) != len(numbers):
            raise ValueError(f"out has {len(out)} rows, and there are {len(numbers)} keys")
        values = self.get_many(numbers)
        for at, value in enumerate(values):
            if value is None:
                if row.filled is None:
                    raise KeyError(int(numbers[at]))
                values[at] = row.filled
            elif len(value) != row.nbytes:
                raise ValueError(
                    f"the value of key {numbers[at]} has {len(value)} bytes, and a row of {row.dtype} and "
                    f"shape {row.shape} has {row.nbytes}"
                )
        rows = np.frombuffer(bytearray(b"".join(values)), np.uint8)
        if out is None or memory is None:
            return row.array(rows, len(values))
        memory[:] = rows
        return out

    def keys_array(self, start: int | None = None, stop: int | None = None) -> NDArray[np.int64]:
        """Return the keys of a range as an array; only the index is asked."""
        self._check_open()
        return self._index.keys_array(start, stop)

    def contains_many(self, keys: Any) -> NDArray[np.bool_]:
        """Return which of many keys are present; only the index is asked."""
        numbers = many_keys(keys)
        self._check_open()
        return self._index.contains_many(numbers)

    # Ranges

    def scan(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[int, bytes]]:
        """Iterate over (key, value) of a range, as the store is now; bounds as in `Store.scan`."""
        with self._lock:
            self._check_open()
            # The index scan and RocksDB's snapshot show the same moment, because writers wait for the lock.
            keys = self._index.scan_keys(
                start,
                stop,
                include_start=include_start,
                include_stop=include_stop,
                reverse=reverse,
                limit=limit,
            )
            first = next(keys, None)
            if first is None:
                return Scan(self, iter(()))
            with rocksdb_errors(self._path):
                values = self._db.snapshot().items(backwards=reverse, from_key=to_raw(first))
        return Scan(self, paired(self._path, first, keys, values))

    def scan_keys(self, start: int | None = None, stop: int | None = None, **options: Any) -> Iterator[int]:
        """Iterate over the keys of a range; the index alone holds them. Options as in `scan`."""
        self._check_open()
        return Scan(self, self._index.scan_keys(start, stop, **options))

    def scan_values(
        self, start: int | None = None, stop: int | None = None, **options: Any
    ) -> Iterator[bytes]:
        """Iterate over the values of a range, in the order of their keys. Options as in `scan`."""
        scan = self.scan(start, stop, **options)
        return Scan(self, (value for _, value in scan))

    def count(self, start: int | None = None, stop: int | None = None) -> int:
        """Return the number of keys of `start <= key < stop`; the index alone counts them."""
        self._check_open()
        return self._index.count(start, stop)

    def keys(self) -> Any:
        """Return a live view of the keys."""
        return Keys(self)

    def values(self) -> Any:
        """Return a live view of the values, in the order of their keys."""
        return Values(self)

    def items(self) -> Any:
        """Return a live view of the items, in key order."""
        return Items(self)

    def first(self) -> tuple[int, bytes] | None:
        """Return the item with the smallest key, or None."""
        return self._item(self._index.first)

    def last(self) -> tuple[int, bytes] | None:
        """Return the item with the largest key, or None."""
        return self._item(self._index.last)

    def floor(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the largest key at or below `key`, or None."""
        return self._item(self._index.floor, key)

    def ceiling(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the smallest key at or above `key`, or None."""
        return self._item(self._index.ceiling, key)

    def lower(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the largest key below `key`, or None."""
        return self._item(self._index.lower, key)

    def higher(self, key: int) -> tuple[int, bytes] | None:
        """Return the item with the smallest key above `key`, or None."""
        return self._item(self._index.higher, key)

    # The store itself

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._closed

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    @property
    def read_only(self) -> bool:
        """Always False: RocksDB is opened for writing."""
        return False

    @property
    def config(self) -> RocksConfig:
        """The options that it was opened with."""
        return self._config

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a mapping with the same items; O(bytes)."""
        if self is other:
            return True
        if isinstance(other, RocksReads):
            return len(self) == len(other) and all(
                mine == its for mine, its in zip_longest(self.scan(), other.scan())
            )
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        return all(key in other and other[key] == value for key, value in self.scan())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Name the directory, and the number of keys while the store is open."""
        state = "closed" if self._closed else f"{len(self._index)} keys"
        return f"<alexpy.rocks.RocksStore {os.fspath(self._path)!r}, {state}>"

    # Inner

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"store {os.fspath(self._path)!r} is closed")

    def _read(self, raw: bytes, default: object) -> object:
        with rocksdb_errors(self._path):
            return self._db.get(raw, default)

    def _read_many(self, numbers: NDArray[np.int64]) -> list[bytes | None]:
        raw = to_raw_many(numbers)
        found: list[bytes | None] = []
        with rocksdb_errors(self._path):
            for at in range(0, len(raw), _RUN):
                found += self._db.get(raw[at : at + _RUN])
        return found

    def _item(self, neighbour: Any, *key: Any) -> tuple[int, bytes] | None:
        arguments = [one_key(number) for number in key]
        with self._lock:
            self._check_open()
            found = neighbour(*arguments)
            if found is None:
                return None
            with rocksdb_errors(self._path):
                return found[0], self._db[to_raw(found[0])]
