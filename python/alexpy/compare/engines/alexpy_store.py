"""alexpy's own store, with its defaults: checksums verified on every read, background work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from alexpy.compare.promise import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys

_PROMISES = {
    Mode.KILL: 'durability="interval": kill on return, power cut within 50 ms or after flush()',
    Mode.POWER: 'durability="sync"',
}


class AlexpyStore:
    """`alexpy.open`."""

    name = "alexpy"

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    def compress(self) -> None:
        self._options["compression"] = "zstd"

    def keep_tail(self) -> None:
        self._options["checkpoint_tail_bytes"] = 1 << 60

    def versions(self) -> dict[str, str]:
        info = alexpy.build_info()
        return {"alexpy": info["version"], "profile": info["profile"], "simd": info["simd"]}

    def settings(self) -> dict[str, object]:
        return {
            "compression": "none; zstd in the rows that name it",
            "checkpoint_tail_bytes": "its default; without end where a row names the tail",
        }

    def promise(self, mode: Mode) -> str:
        return _PROMISES[mode]

    def open(self, path: Path, mode: Mode) -> None:
        options = {"durability": "sync" if mode is Mode.POWER else "interval"} | self._options
        self._opened(alexpy.open(path, **options))

    def open_reader(self, path: Path, own: Path) -> None:
        self._opened(alexpy.open(path, read_only=True))
        self.refresh = self._store.refresh

    def _opened(self, store: alexpy.Store) -> None:
        self._store = store
        # The native methods themselves, as a user's local names would be.
        self.put = store.put
        self.get = store.get
        self.delete = store.delete
        self.snapshot = store.snapshot

    def close(self) -> None:
        self._store.close()

    def single_keys(self, keys: Keys) -> list[int]:
        return keys.tolist()  # type: ignore[no-any-return]

    def batch_keys(self, keys: Keys) -> Keys:
        return keys

    def batch_items(self, keys: Keys, values: list[bytes]) -> tuple[Keys, list[bytes]]:
        return keys, values

    def put_many(self, items: tuple[Keys, list[bytes]]) -> None:
        self._store.put_many(*items)

    def put_each(self, keys: list[int], values: list[bytes]) -> None:
        put = self._store.put
        for key, value in zip(keys, values, strict=True):
            put(key, value)

    def get_each(self, keys: list[int]) -> list[bytes]:
        get = self._store.get
        return [get(key) for key in keys]  # type: ignore[misc]

    def get_many(self, keys: Keys) -> Sequence[bytes]:
        return self._store.get_many(keys)  # type: ignore[return-value]

    def get_array(self, keys: Keys, width: int) -> NDArray[np.uint8]:
        return self._store.get_array(keys, np.uint8, width)

    def scan(self) -> Iterator[Item]:
        return self._store.scan()

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        return ((batch.keys, batch.data) for batch in self._store.scan_batches())

    def ranges(self, starts: list[int], length: int) -> Iterator[list[Item]]:
        scan = self._store.scan
        return (list(scan(start, limit=length)) for start in starts)

    def range_batches(self, starts: list[int], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        scan_batches = self._store.scan_batches
        found = (next(scan_batches(start, rows=length)) for start in starts)
        return ((batch.keys, batch.data) for batch in found)

    def delete_each(self, keys: list[int]) -> None:
        delete = self._store.delete
        for key in keys:
            delete(key)

    def delete_range(self, first: int, stop: int) -> None:
        self._store.delete_range(first, stop)

    def writer(self) -> Callable[[Any, bytes], None]:
        return self._store.put

    def reader(self) -> Callable[[Any], bytes | None]:
        return self._store.get

    def get_array_at(self, snapshot: alexpy.Snapshot, keys: Keys, width: int) -> NDArray[np.uint8]:
        return snapshot.get_array(keys, np.uint8, width)

    def scan_at(self, snapshot: alexpy.Snapshot) -> Iterator[Item]:
        return snapshot.scan()

    def kept_bytes(self) -> int:
        return self._store.stats().history_bytes

    def flush(self) -> None:
        self._store.flush()

    def compact(self) -> None:
        self._store.compact()

    def backup(self, path: Path) -> None:
        self._store.backup(path)


class Unattended(AlexpyStore):
    """The same with nothing in the background: what it would write if nothing kept its files small."""

    name = "alexpy, unattended"

    def __init__(self) -> None:
        super().__init__()
        self._options |= {"background": False, "durability": "os"}
        self.keep_tail()

    def settings(self) -> dict[str, object]:
        return dict(self._options)
