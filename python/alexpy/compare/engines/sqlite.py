"""Python's own `sqlite3`, tuned: WAL, INTEGER PRIMARY KEY, a cache that holds all, executemany, IN lists.

Of its batch reads (IN lists of 200 to 20,000, a JSON array, a join with a temporary table) the IN list of 500
was as fast as any.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from alexpy.compare.engine import Lacks, joined_rows
from alexpy.compare.promise import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from alexpy.compare.engine import Item, Keys

_IN_LIST = 500
_PRAGMAS = {
    "page_size": 4096,
    "journal_mode": "WAL",
    "cache_size": -524288,
    "mmap_size": 1 << 30,
    "wal_autocheckpoint": 100_000,
    "temp_store": "MEMORY",
}
# Where its file is larger than memory: no map, whose faults read ahead, and a cache that fits.
_LITTLE_MEMORY = {"mmap_size": 0, "cache_size": -32768}
_FILE = "store.sqlite"
_RANGE = "SELECT key, value FROM item WHERE key >= ? ORDER BY key LIMIT"
_PUT = "INSERT OR REPLACE INTO item VALUES (?, ?)"
_GET = "SELECT value FROM item WHERE key = ?"
_DELETE = "DELETE FROM item WHERE key = ?"
_PROMISES = {
    Mode.KILL: "WAL, synchronous=NORMAL: kill on return, power cut after a checkpoint, which flush makes",
    Mode.POWER: "WAL, synchronous=FULL",
}


class SQLite:
    """A table of two columns."""

    name = "SQLite"

    def versions(self) -> dict[str, str]:
        return {"sqlite": sqlite3.sqlite_version}

    def settings(self) -> dict[str, object]:
        little = {f"{name}, values larger than memory": value for name, value in _LITTLE_MEMORY.items()}
        return {
            **_PRAGMAS,
            **little,
            "in_list": _IN_LIST,
            "statements": "prepared and cached; executemany for batches",
        }

    def promise(self, mode: Mode) -> str:
        return _PROMISES[mode]

    def __init__(self) -> None:
        self._pragmas = _PRAGMAS

    def expect_little_memory(self) -> None:
        self._pragmas = _PRAGMAS | _LITTLE_MEMORY

    def open(self, path: Path, mode: Mode) -> None:
        path.mkdir(exist_ok=True)
        self._path, self._mode = path / _FILE, mode
        self._connection = self._connect()
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS item (key INTEGER PRIMARY KEY, value BLOB NOT NULL)"
        )
        self._others: list[sqlite3.Connection] = []
        self._others_lock = threading.Lock()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=60, check_same_thread=False)
        for name, value in self._pragmas.items():
            connection.execute(f"PRAGMA {name}={value}")
        connection.execute(f"PRAGMA synchronous={'FULL' if self._mode is Mode.POWER else 'NORMAL'}")
        return connection

    def close(self) -> None:
        for other in self._others:
            other.close()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def single_keys(self, keys: Keys) -> list[int]:
        return keys.tolist()  # type: ignore[no-any-return]

    def batch_keys(self, keys: Keys) -> list[list[int]]:
        plain = keys.tolist()
        return [plain[at : at + _IN_LIST] for at in range(0, len(plain), _IN_LIST)]

    def batch_items(self, keys: Keys, values: list[bytes]) -> list[tuple[int, bytes]]:
        return list(zip(keys.tolist(), values, strict=True))

    def put_many(self, items: list[tuple[int, bytes]]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(_PUT, items)
        self._connection.execute("COMMIT")

    def put_each(self, keys: list[int], values: list[bytes]) -> None:
        execute = self._connection.execute
        for item in zip(keys, values, strict=True):
            execute(_PUT, item)

    def get_each(self, keys: list[int]) -> list[bytes]:
        execute = self._connection.execute
        return [execute(_GET, (key,)).fetchone()[0] for key in keys]

    def get_many(self, keys: list[list[int]]) -> Sequence[bytes]:
        execute = self._connection.execute
        values: list[bytes] = []
        for chunk in keys:
            # An IN list answers in its own order; the dict brings it into ours.
            marks = ",".join("?" * len(chunk))
            query = f"SELECT key, value FROM item WHERE key IN ({marks})"  # noqa: S608 - question marks only
            found = dict(execute(query, chunk))
            values.extend(map(found.__getitem__, chunk))
        return values

    def get_array(self, keys: list[list[int]], width: int) -> NDArray[np.uint8]:
        return joined_rows(self.get_many(keys), width)

    def scan(self) -> Iterator[Item]:
        return self._connection.execute("SELECT key, value FROM item ORDER BY key")

    def scan_batches(self) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def ranges(self, starts: list[int], length: int) -> Iterator[list[Item]]:
        execute = self._connection.execute
        query = f"{_RANGE} {length:d}"
        return (execute(query, (start,)).fetchall() for start in starts)

    def range_batches(self, starts: list[int], length: int) -> Iterator[tuple[Keys, NDArray[np.uint8]]]:
        raise Lacks("makes an object of every value")

    def delete_each(self, keys: list[int]) -> None:
        execute = self._connection.execute
        for key in keys:
            execute(_DELETE, (key,))

    def put(self, key: int, value: bytes) -> None:
        self._connection.execute(_PUT, (key, value))

    def get(self, key: int) -> bytes | None:
        row = self._connection.execute(_GET, (key,)).fetchone()
        return None if row is None else row[0]

    def delete(self, key: int) -> None:
        self._connection.execute(_DELETE, (key,))

    def writer(self) -> Callable[[Any, bytes], None]:
        connection = self._connect()
        with self._others_lock:
            self._others.append(connection)

        def put(key: int, value: bytes) -> None:
            connection.execute(_PUT, (key, value))

        return put

    def flush(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(FULL)")

    def compact(self) -> None:
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def backup(self, path: Path) -> None:
        path.mkdir()
        copy = sqlite3.connect(path / _FILE)
        self._connection.backup(copy)
        copy.close()
