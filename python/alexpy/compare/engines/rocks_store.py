"""`alexpy.rocks.RocksStore`, phase 1 of the first plan: an ALEX index over RocksDB, tuned and as it was."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import alexpy
from alexpy.compare.engine import Lacks
from alexpy.compare.engines.alexpy_store import AlexpyStore
from alexpy.compare.promise import Mode
from alexpy.rocks import RocksConfig, RocksStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from alexpy.compare.engine import Keys

_PROMISES = {
    Mode.KILL: 'durability="os": kill on return, power cut after flush()',
    Mode.POWER: 'durability="sync"',
}


class PhaseOne(AlexpyStore):
    """The tuned one: 256 MB write buffers, level-0 trigger 8, no compression; called as `Store` is."""

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
        self._store = RocksStore(path, config=RocksConfig(**settings))  # type: ignore[assignment]
        self.put = self._store.put
        self.get = self._store.get
        self.delete = self._store.delete

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def range_batches(self, starts: list[int], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")


class PhaseOneAsItWas(PhaseOne):
    """Before the tuning: 64 MB write buffers, level-0 trigger 4, LZ4."""

    name = "ALEX over RocksDB, untuned"
    config = RocksConfig(
        write_buffer_mb=64, level0_trigger=4, level_base_mb=256, target_file_mb=64, compression="lz4"
    )
