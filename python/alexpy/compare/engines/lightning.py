"""LMDB by the package `lmdb`: integer keys, one transaction a batch, putmulti and getmulti."""

from __future__ import annotations

import sys
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import lmdb

from alexpy.compare.engine import Lacks, joined_rows, native_bytes
from alexpy.compare.promise import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys

# Address space, not memory: no data set here comes near it.
_MAP_BYTES = 1 << 36
# Room for ten thousand snapshots, each a read transaction; its default is 126.
_MOST_READERS = 1 << 14
_PROMISES = {
    Mode.KILL: "sync=False: kill on return; a power cut before sync() may damage the whole file",
    Mode.POWER: "sync=True, its default",
}


class Lmdb:
    """One named database with MDB_INTEGERKEY; keys are machine words with the sign bit turned."""

    name = "LMDB"

    def versions(self) -> dict[str, str]:
        return {"py-lmdb": lmdb.__version__, "lmdb": ".".join(map(str, lmdb.version()))}

    def settings(self) -> dict[str, object]:
        readahead = "on; off where values are larger than memory"
        return {
            "map_size": _MAP_BYTES,
            "max_readers": _MOST_READERS,
            "integerkey": True,
            "readahead": readahead,
            "writemap": "True; False where each commit is synced, and is slower so",
            "snapshots": "read transactions",
            "readers": "readonly=True; a new read transaction is a refresh",
        }

    def promise(self, mode: Mode) -> str:
        return _PROMISES[mode]

    def __init__(self) -> None:
        self._readahead = True

    def expect_little_memory(self) -> None:
        self._readahead = False

    def open(self, path: Path, mode: Mode) -> None:
        # A commit into the map is up to nine times as fast as one by pwrite, and survives a kill as well.
        self._open(path, sync=mode is Mode.POWER, writemap=mode is not Mode.POWER)

    def open_reader(self, path: Path, own: Path) -> None:
        self._open(path, readonly=True)

    def _open(
        self, path: Path, *, sync: bool = False, writemap: bool = False, readonly: bool = False
    ) -> None:
        self._env = lmdb.open(
            str(path),
            map_size=_MAP_BYTES,
            max_dbs=1,
            max_readers=_MOST_READERS,
            sync=sync,
            writemap=writemap,
            readonly=readonly,
            readahead=self._readahead,
        )
        self._db = self._env.open_db(b"item", integerkey=True, create=not readonly)
        self._reading: Any = None
        self.snapshot = partial(self._env.begin, self._db)

    def close(self) -> None:
        self._stop_reading()
        if not self._env.flags()["readonly"]:
            self._env.sync(force=True)
        self._env.close()

    def _read(self) -> Any:
        """Return the one open read transaction, begun anew after a write."""
        if self._reading is None:
            self._reading = self._env.begin(db=self._db)
        return self._reading

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.abort()
            self._reading = None

    def single_keys(self, keys: Keys) -> list[bytes]:
        return native_bytes(keys)

    def batch_keys(self, keys: Keys) -> list[bytes]:
        return native_bytes(keys)

    def batch_items(self, keys: Keys, values: list[bytes]) -> list[Item]:
        return list(zip(native_bytes(keys), values, strict=True))

    def put_many(self, items: list[Item]) -> None:
        self._stop_reading()
        with self._env.begin(write=True, db=self._db) as transaction:
            transaction.cursor(self._db).putmulti(items)

    def put_each(self, keys: list[bytes], values: list[bytes]) -> None:
        self._stop_reading()
        begin, db = self._env.begin, self._db
        for key, value in zip(keys, values, strict=True):
            with begin(write=True, db=db) as transaction:
                transaction.put(key, value)

    def get_each(self, keys: list[bytes]) -> list[bytes]:
        get = self._read().get
        return [get(key) for key in keys]

    def get_many(self, keys: list[bytes]) -> Sequence[bytes]:
        with self._env.begin(db=self._db) as transaction:
            # Every key is there, so pairs come in the order asked.
            return [value for _, value in transaction.cursor(self._db).getmulti(keys)]

    def get_array(self, keys: list[bytes], width: int) -> NDArray[np.uint8]:
        return joined_rows(self.get_many(keys), width)

    def scan(self) -> Iterator[Item]:
        return iter(self._read().cursor(self._db))

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def ranges(self, starts: list[bytes], length: int) -> Iterator[list[Item]]:
        cursor = self._read().cursor(self._db)
        for start in starts:
            cursor.set_range(start)
            yield list(islice(cursor.iternext(), length))

    def range_batches(self, starts: list[bytes], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def delete_each(self, keys: list[bytes]) -> None:
        self._stop_reading()
        begin, db = self._env.begin, self._db
        for key in keys:
            with begin(write=True, db=db) as transaction:
                transaction.delete(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._stop_reading()
        with self._env.begin(write=True, db=self._db) as transaction:
            transaction.put(key, value)

    def get(self, key: bytes) -> bytes | None:
        return self._read().get(key)  # type: ignore[no-any-return]

    def delete(self, key: bytes) -> None:
        self._stop_reading()
        with self._env.begin(write=True, db=self._db) as transaction:
            transaction.delete(key)

    def delete_range(self, first: bytes, stop: bytes) -> None:
        self._stop_reading()
        # As numbers: the bytes of native words do not sort as these do.
        end = int.from_bytes(stop, sys.byteorder)
        with self._env.begin(write=True, db=self._db) as transaction, transaction.cursor(self._db) as cursor:
            there = cursor.set_range(first)
            while there and int.from_bytes(cursor.key(), sys.byteorder) < end:
                there = cursor.delete()

    def writer(self) -> Callable[[Any, bytes], None]:
        begin, db = self._env.begin, self._db

        def put(key: bytes, value: bytes) -> None:
            with begin(write=True, db=db) as transaction:
                transaction.put(key, value)

        return put

    def reader(self) -> Callable[[Any], bytes | None]:
        begin, db = self._env.begin, self._db

        def get(key: bytes) -> bytes | None:
            with begin(db=db) as transaction:
                value: bytes | None = transaction.get(key)
            return value

        return get

    def get_array_at(self, snapshot: Any, keys: list[bytes], width: int) -> NDArray[np.uint8]:
        return joined_rows([value for _, value in snapshot.cursor(self._db).getmulti(keys)], width)

    def scan_at(self, snapshot: Any) -> Iterator[Item]:
        return iter(snapshot.cursor(self._db))

    def kept_bytes(self) -> int:
        raise Lacks("keeps old pages in its file")

    def refresh(self) -> None:
        # The package has no call to renew a transaction: it does so itself where one has just ended.
        self._stop_reading()
        self._read()

    def flush(self) -> None:
        self._env.sync(force=True)

    def compact(self) -> None:
        raise Lacks("reuses freed pages; only a copy is smaller")

    def backup(self, path: Path) -> None:
        path.mkdir()
        self._env.copy(str(path))
