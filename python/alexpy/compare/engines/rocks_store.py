"""`alexpy.rocks.RocksStore`, the origin's phase 1: an ALEX index over RocksDB, tuned and as it was."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from alexpy.compare.engine import Lacks
from alexpy.compare.promise import Mode
from alexpy.rocks import RocksConfig, RocksStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys

_PROMISES = {
    Mode.KILL: 'durability="os": kill on return, power cut after flush()',
    Mode.POWER: 'durability="sync"',
}


class PhaseOne:
    """The tuned configuration: 256 MB write buffers, level-0 trigger 8, no compression."""

    name = "ALEX over RocksDB, tuned"
    config = RocksConfig()

    def versions(self) -> dict[str, str]:
        return {"alexpy": alexpy.__version__, "rocksdict": version("rocksdict")}

    def settings(self) -> dict[str, object]:
        return {name: getattr(self.config, name) for name in RocksConfig.__slots__ if name != "durability"}

    def promise(self, mode: Mode) -> str:
        return _PROMISES[mode]

    def open(self, path: Path, mode: Mode) -> None:
        durability = "sync" if mode is Mode.POWER else "os"
        settings: Any = self.settings() | {"durability": durability}
        self._store = RocksStore(path, config=RocksConfig(**settings))
        self.put = self._store.put
        self.get = self._store.get
        self.delete = self._store.delete

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
        return self._store.get_many(keys)

    def get_array(self, keys: Keys, width: int) -> NDArray[np.uint8]:
        return self._store.get_array(keys, np.uint8, width)

    def scan(self) -> Iterator[Item]:
        return self._store.scan()

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def ranges(self, starts: list[int], length: int) -> list[list[Item]]:
        scan = self._store.scan
        return [list(scan(start, limit=length)) for start in starts]

    def range_batches(self, starts: list[int], length: int) -> list[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def delete_each(self, keys: list[int]) -> None:
        delete = self._store.delete
        for key in keys:
            delete(key)

    def writer(self) -> Callable[[Any, bytes], None]:
        return self._store.put

    def flush(self) -> None:
        self._store.flush()

    def compact(self) -> None:
        self._store.compact()

    def backup(self, path: Path) -> None:
        self._store.backup(path)


class PhaseOneAsItWas(PhaseOne):
    """Before the roadmap's tuning: 64 MB write buffers, level-0 trigger 4, LZ4."""

    name = "ALEX over RocksDB, untuned"
    config = RocksConfig(
        write_buffer_mb=64, level0_trigger=4, level_base_mb=256, target_file_mb=64, compression="lz4"
    )
