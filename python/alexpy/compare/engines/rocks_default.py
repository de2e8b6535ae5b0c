"""RocksDB by `rocksdict` with RocksDB's default options, raw bytes in and out, write-ahead log on.

A get of a list (`MultiGet`) and a WriteBatch are its batch calls.
"""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any

from rocksdict import AccessType, Checkpoint, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from alexpy.compare.engine import Lacks, joined_rows, ordered_bytes
from alexpy.compare.promise import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys

_PROMISES = {
    Mode.KILL: "write-ahead log, sync=False: kill on return, power cut after flush_wal(sync=True)",
    Mode.POWER: "write-ahead log, WriteOptions.sync=True",
}


class RocksDefault:
    """Options as they come."""

    name = "rocksdict"

    def __init__(self) -> None:
        self._zstd = False

    def compress(self) -> None:
        self._zstd = True

    def versions(self) -> dict[str, str]:
        return {"rocksdict": version("rocksdict")}

    def settings(self) -> dict[str, object]:
        return {
            "raw_mode": True,
            "compression": "its default; zstd in the rows that name it",
            "readers": "secondary instances; try_catch_up_with_primary is a refresh",
        }

    def options(self) -> Any:
        """Return the options of the database."""
        options = Options(raw_mode=True)
        if self._zstd:
            options.set_compression_type(DBCompressionType.zstd())
        return options

    def promise(self, mode: Mode) -> str:
        return _PROMISES[mode]

    def open(self, path: Path, mode: Mode) -> None:
        self._opened(Rdict(str(path), self.options()))
        if mode is Mode.POWER:
            synced = WriteOptions()
            synced.sync = True
            self._db.set_write_options(synced)

    def open_reader(self, path: Path, own: Path) -> None:
        self._opened(Rdict(str(path), self.options(), access_type=AccessType.secondary(str(own))))
        self.refresh = self._db.try_catch_up_with_primary

    def _opened(self, db: Any) -> None:
        self._db = db
        self.get = db.get
        self.put = db.put
        self.delete = db.delete
        self.snapshot = db.snapshot

    def close(self) -> None:
        self._db.close()

    def single_keys(self, keys: Keys) -> list[bytes]:
        return ordered_bytes(keys)

    def batch_keys(self, keys: Keys) -> list[bytes]:
        return ordered_bytes(keys)

    def batch_items(self, keys: Keys, values: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        return ordered_bytes(keys), values

    def put_many(self, items: tuple[list[bytes], list[bytes]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in zip(*items, strict=True):
            batch[key] = value
        self._db.write(batch)

    def put_each(self, keys: list[bytes], values: list[bytes]) -> None:
        db = self._db
        for key, value in zip(keys, values, strict=True):
            db[key] = value

    def get_each(self, keys: list[bytes]) -> list[bytes]:
        db = self._db
        return [db[key] for key in keys]

    def get_many(self, keys: list[bytes]) -> Sequence[bytes]:
        return self._db[keys]  # type: ignore[no-any-return]

    def get_array(self, keys: list[bytes], width: int) -> NDArray[np.uint8]:
        return joined_rows(self.get_many(keys), width)

    def scan(self) -> Iterator[Item]:
        return self._db.items()  # type: ignore[no-any-return]

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def ranges(self, starts: list[bytes], length: int) -> Iterator[list[Item]]:
        items = self._db.items
        return (list(islice(items(from_key=start), length)) for start in starts)

    def range_batches(self, starts: list[bytes], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def delete_each(self, keys: list[bytes]) -> None:
        db = self._db
        for key in keys:
            del db[key]

    def delete_range(self, first: bytes, stop: bytes) -> None:
        self._db.delete_range(first, stop)

    def writer(self) -> Callable[[Any, bytes], None]:
        return self._db.put  # type: ignore[no-any-return]

    def reader(self) -> Callable[[Any], bytes | None]:
        return self._db.get  # type: ignore[no-any-return]

    def get_array_at(self, snapshot: Any, keys: list[bytes], width: int) -> NDArray[np.uint8]:
        # A snapshot has no call for many.
        return joined_rows([snapshot[key] for key in keys], width)

    def scan_at(self, snapshot: Any) -> Iterator[Item]:
        return snapshot.items()  # type: ignore[no-any-return]

    def kept_bytes(self) -> int:
        raise Lacks("keeps old values in its files")

    def flush(self) -> None:
        self._db.flush_wal(sync=True)

    def compact(self) -> None:
        self._db.flush()
        self._db.compact_range(None, None)

    def backup(self, path: Path) -> None:
        Checkpoint(self._db).create_checkpoint(str(path))
