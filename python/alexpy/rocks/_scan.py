"""Iterators of a `RocksStore`: they end with it, and pair keys with RocksDB's values. O(1) an item."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alexpy.errors import CorruptionError

from ._convert import from_raw, to_raw
from ._errors import rocksdb_errors

if TYPE_CHECKING:
    from pathlib import Path

    from ._reads import RocksReads


class Scan(Iterator[Any]):
    """Yields items while the store is open."""

    __slots__ = ("__weakref__", "_items", "_lock", "_store")

    def __init__(self, store: RocksReads, items: Iterator[Any]) -> None:
        self._store = store
        self._items = items
        # A generator raises if two threads use it at once.
        self._lock = threading.Lock()
        store._scans.add(self)  # noqa: SLF001 - its own store

    def __next__(self) -> Any:
        with self._lock:
            self._store._check_open()  # noqa: SLF001 - its own store
            return next(self._items)

    def end(self) -> None:
        """Let go of RocksDB, which cannot close while an iterator lives."""
        with self._lock:
            self._items = iter(())

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an iterator of a store cannot be pickled")


def paired(
    path: Path, first: int, rest: Iterator[int], items: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[int, bytes]]:
    """Yield each key of the index with its value; both sides go the same way from the same key.

    rocksdict ends an iteration silently at a block that it cannot read; the keys left over reveal it.
    """
    store = f"store {os.fspath(path)!r} is damaged: the index, made when it was opened, has key"
    key: int | None = first
    with rocksdb_errors(path):
        for raw, value in items:
            if key is None:
                return
            if raw != to_raw(key):
                raise CorruptionError(f"{store} {key} where RocksDB has {from_raw(raw)[0]}", os.fspath(path))
            yield key, value
            key = next(rest, None)
    if key is not None:
        raise CorruptionError(f"{store} {key}, which RocksDB does not give", os.fspath(path))
