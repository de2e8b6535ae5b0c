"""LevelDB by the package `plyvel`: write batches, a cache that holds everything, Bloom filters."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

import plyvel

from alexpy.compare.engine import Lacks, joined_rows, ordered_bytes
from alexpy.compare.promise import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys

_OPTIONS = {
    "write_buffer_size": 64 << 20,
    "lru_cache_size": 512 << 20,
    "bloom_filter_bits": 10,
    "compression": None,
}
_PROMISES = {
    Mode.KILL: "sync=False: kill on return; flush is one synced write, which syncs its current log only",
    Mode.POWER: "sync=True",
}


class LevelDb:
    """No batch get: a get of many is a loop."""

    name = "LevelDB"

    def versions(self) -> dict[str, str]:
        return {"plyvel": version("plyvel")}

    def settings(self) -> dict[str, object]:
        return dict(_OPTIONS)

    def promise(self, mode: Mode) -> str:
        return _PROMISES[mode]

    def open(self, path: Path, mode: Mode) -> None:
        self._db = plyvel.DB(str(path), create_if_missing=True, **_OPTIONS)
        self._sync = mode is Mode.POWER
        self.get = self._db.get
        self.snapshot = self._db.snapshot

    def close(self) -> None:
        self._db.close()

    def single_keys(self, keys: Keys) -> list[bytes]:
        return ordered_bytes(keys)

    def batch_keys(self, keys: Keys) -> list[bytes]:
        return ordered_bytes(keys)

    def batch_items(self, keys: Keys, values: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        return ordered_bytes(keys), values

    def put_many(self, items: tuple[list[bytes], list[bytes]]) -> None:
        with self._db.write_batch(sync=self._sync) as batch:
            put = batch.put
            for key, value in zip(*items, strict=True):
                put(key, value)

    def put_each(self, keys: list[bytes], values: list[bytes]) -> None:
        put, sync = self._db.put, self._sync
        for key, value in zip(keys, values, strict=True):
            put(key, value, sync=sync)

    def get_each(self, keys: list[bytes]) -> list[bytes]:
        get = self._db.get
        return [get(key) for key in keys]

    def get_many(self, keys: list[bytes]) -> Sequence[bytes]:
        return self.get_each(keys)

    def get_array(self, keys: list[bytes], width: int) -> NDArray[np.uint8]:
        return joined_rows(self.get_each(keys), width)

    def scan(self) -> Iterator[Item]:
        return self._db.iterator()  # type: ignore[no-any-return]

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def ranges(self, starts: list[bytes], length: int) -> Iterator[list[Item]]:
        iterator = self._db.iterator
        return (list(islice(iterator(start=start), length)) for start in starts)

    def range_batches(self, starts: list[bytes], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def delete_each(self, keys: list[bytes]) -> None:
        delete, sync = self._db.delete, self._sync
        for key in keys:
            delete(key, sync=sync)

    def put(self, key: bytes, value: bytes) -> None:
        self._db.put(key, value, sync=self._sync)

    def delete(self, key: bytes) -> None:
        self._db.delete(key, sync=self._sync)

    def writer(self) -> Callable[[Any, bytes], None]:
        return self.put

    def reader(self) -> Callable[[Any], bytes | None]:
        return self._db.get  # type: ignore[no-any-return]

    def get_array_at(self, snapshot: Any, keys: list[bytes], width: int) -> NDArray[np.uint8]:
        get = snapshot.get
        return joined_rows([get(key) for key in keys], width)

    def scan_at(self, snapshot: Any) -> Iterator[Item]:
        return snapshot.iterator()  # type: ignore[no-any-return]

    def kept_bytes(self) -> int:
        raise Lacks("keeps old values in its files")

    def flush(self) -> None:
        with self._db.write_batch(sync=True):
            pass

    def compact(self) -> None:
        self._db.compact_range()

    def backup(self, path: Path) -> None:
        raise Lacks("has no backup call")
