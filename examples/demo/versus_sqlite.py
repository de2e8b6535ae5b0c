"""One million random keys with 100-byte values: alexpy beside SQLite, the same work, promise and batches.

SQLite is at its best as measured: WAL, synchronous=NORMAL, INTEGER PRIMARY KEY, the whole database in its
page cache, rare checkpoints, prepared statements, one transaction a batch, arguments built before the clock
starts. Of its batch reads (IN lists of 200 to 20,000, a JSON array, a join with a temporary table) the IN
list of 500 was as fast as any. Every answer of both sides is compared with the data that went in.
"""

from __future__ import annotations

import gc
import os
import platform
import shutil
import sqlite3
import statistics
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

import alexpy
from show import Checks, stopwatch, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SEED = 20130704
VALUE_BYTES = 100
BATCH = 10_000
GETS = 200_000
RANGES = 10_000
RANGE_KEYS = 100
READ_ROUNDS = 3
LOAD_ROUNDS = 3
# SQLite's load takes far the most time; no further round begins after this.
LOAD_SECONDS = 25.0
IN_LIST = 500
# Of the row's name: how many times faster than SQLite alexpy is meant to be.
TARGETS = {"load": 5, "single gets": 3, "batch gets": 10}

Item = tuple[int, bytes]


@dataclass(frozen=True)
class Work:
    """The data and the questions, the same for both sides and built before any clock starts."""

    items: list[Item]
    gets: list[int]
    ranges: list[int]

    @classmethod
    def make(cls, count: int) -> Work:
        """Make `count` items from a fixed seed: the top 64 bits of random UUIDs, and random bytes."""
        rng = np.random.default_rng(SEED)
        top = rng.integers(0, 2**64, count + count // 1000, dtype=np.uint64)
        # A version-4 UUID has its version, 4, in bits 12 to 15 of its top half.
        keys = (top & ~np.uint64(0xF000)) | np.uint64(0x4000)
        _, first = np.unique(keys, return_index=True)
        keys = keys[np.sort(first)][:count].view(np.int64)
        data = rng.bytes(count * VALUE_BYTES)
        values = [data[at : at + VALUE_BYTES] for at in range(0, len(data), VALUE_BYTES)]
        asked = rng.permutation(keys)
        return cls(
            items=list(zip(keys.tolist(), values, strict=True)),
            gets=asked[:GETS].tolist(),
            ranges=asked[-RANGES:].tolist(),
        )


class Side(Protocol):
    """One of the two stores under test."""

    name: str

    def load(self, work: Work, path: Path) -> float:
        """Load everything into a new store at `path`; return the seconds until all is safe on the device."""

    def readers(self, work: Work) -> dict[str, Callable[[], object]]:
        """Return what is timed for each kind of read; each returns its answer."""

    def items(self) -> deque[Item] | list[Item]:
        """Return everything in key order."""

    def close(self) -> None:
        """Close the store, leaving nothing to do on the next open."""


class Alexpy:
    """alexpy with its defaults: durability "interval", checksums verified on every read."""

    name = "alexpy"

    def load(self, work: Work, path: Path) -> float:
        batches = [
            (
                np.fromiter((key for key, _ in work.items[at : at + BATCH]), np.int64),
                [value for _, value in work.items[at : at + BATCH]],
            )
            for at in range(0, len(work.items), BATCH)
        ]
        self.store = alexpy.open(path)
        with stopwatch() as seconds:
            for keys, values in batches:
                self.store.put_many(keys, values)
            self.store.flush()
        return seconds[0]

    def readers(self, work: Work) -> dict[str, Callable[[], object]]:
        store = self.store
        asked = np.array(work.gets, np.int64)

        def ranges() -> list[list[Item]]:
            return [list(store.scan(start, limit=RANGE_KEYS)) for start in work.ranges]

        def single() -> list[bytes | None]:
            get = store.get
            return [get(key) for key in work.gets]

        return {
            "single gets": single,
            "batch gets": lambda: store.get_many(asked),
            "array gets": lambda: store.get_array(asked, np.uint8, VALUE_BYTES),
            "range scans": ranges,
            "whole scan": lambda: len(deque(store.items(), maxlen=1)),
        }

    def items(self) -> list[Item]:
        return list(self.store.items())

    def close(self) -> None:
        self.store.close()


class SQLite:
    """The `sqlite3` module of Python, tuned."""

    name = "SQLite"
    pragmas = (
        "page_size=4096",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "cache_size=-524288",
        "mmap_size=1073741824",
        "wal_autocheckpoint=100000",
        "temp_store=MEMORY",
    )

    def load(self, work: Work, path: Path) -> float:
        path.mkdir()
        self.connection = sqlite3.connect(path / "demo.sqlite", isolation_level=None)
        for pragma in self.pragmas:
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("CREATE TABLE item (key INTEGER PRIMARY KEY, value BLOB NOT NULL)")
        batches = [work.items[at : at + BATCH] for at in range(0, len(work.items), BATCH)]
        with stopwatch() as seconds:
            for batch in batches:
                self.connection.execute("BEGIN")
                self.connection.executemany("INSERT OR REPLACE INTO item VALUES (?, ?)", batch)
                self.connection.execute("COMMIT")
            self.connection.execute("PRAGMA wal_checkpoint(FULL)")
        return seconds[0]

    def readers(self, work: Work) -> dict[str, Callable[[], object]]:
        execute = self.connection.execute
        gets = [(key,) for key in work.gets]
        chunks = [work.gets[at : at + IN_LIST] for at in range(0, len(work.gets), IN_LIST)]
        starts = [(start,) for start in work.ranges]
        in_list = f"SELECT key, value FROM item WHERE key IN ({','.join('?' * IN_LIST)})"
        in_range = f"SELECT key, value FROM item WHERE key >= ? ORDER BY key LIMIT {RANGE_KEYS}"

        def single() -> list[bytes]:
            return [execute("SELECT value FROM item WHERE key = ?", key).fetchone()[0] for key in gets]

        def batch() -> list[bytes]:
            values: list[bytes] = []
            for chunk in chunks:
                # An IN list answers in its own order; the dict brings it into ours.
                found = dict(execute(in_list, chunk))
                values.extend(map(found.__getitem__, chunk))
            return values

        return {
            "single gets": single,
            "batch gets": batch,
            "array gets": lambda: np.frombuffer(b"".join(batch()), np.uint8).reshape(-1, VALUE_BYTES),
            "range scans": lambda: [execute(in_range, start).fetchall() for start in starts],
            "whole scan": lambda: len(deque(execute("SELECT key, value FROM item ORDER BY key"), maxlen=1)),
        }

    def items(self) -> list[Item]:
        return self.connection.execute("SELECT key, value FROM item ORDER BY key").fetchall()

    def close(self) -> None:
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()


@dataclass(frozen=True)
class Result:
    """Every timing of one run, and where it was taken."""

    count: int
    machine: dict[str, object]
    seconds: dict[str, dict[str, list[float]]]
    disk_bytes: dict[str, int]

    def as_json(self) -> dict[str, object]:
        """Return what is written to the results file."""
        return asdict(self)


def compare(folder: Path, count: int, checks: Checks) -> Result:
    """Load and read `count` items on both sides, taking turns, and check every answer."""
    work = Work.make(count)
    sides: tuple[Side, Side] = (Alexpy(), SQLite())
    seconds: dict[str, dict[str, list[float]]] = {"load": {side.name: [] for side in sides}}
    began = time.perf_counter()
    for round_number in range(LOAD_ROUNDS):
        if round_number and time.perf_counter() - began > LOAD_SECONDS:
            break
        for side in sides:
            if round_number:
                side.close()
            path = folder / side.name.lower()
            shutil.rmtree(path, ignore_errors=True)
            os.sync()
            seconds["load"][side.name].append(side.load(work, path))
        last = ", ".join(f"{side.name} {seconds['load'][side.name][-1]:.2f} s" for side in sides)
        print(f"  load {round_number + 1}: {last}", flush=True)
    print("  comparing everything loaded, then reading ...", flush=True)
    _check_items(sides, work, checks)
    _time_reads(sides, work, seconds, checks)
    disk_bytes = {}
    for side in sides:
        side.close()
        disk_bytes[side.name] = _allocated(folder / side.name.lower())
        shutil.rmtree(folder / side.name.lower())
    return Result(count, _machine(), seconds, disk_bytes)


def _check_items(sides: Sequence[Side], work: Work, checks: Checks) -> None:
    expected = sorted(work.items)
    for side in sides:
        checks.same(f"{side.name} holds what was loaded", side.items(), expected)


def _time_reads(
    sides: Sequence[Side], work: Work, seconds: dict[str, dict[str, list[float]]], checks: Checks
) -> None:
    values = dict(work.items)
    in_order = sorted(work.items)
    position = {key: at for at, (key, _) in enumerate(in_order)}
    asked = [values[key] for key in work.gets]
    expected: dict[str, object] = {
        "single gets": asked,
        "batch gets": asked,
        "array gets": b"".join(asked),
        "range scans": [in_order[position[key] : position[key] + RANGE_KEYS] for key in work.ranges],
        "whole scan": min(1, len(in_order)),
    }
    readers = {side.name: side.readers(work) for side in sides}
    # A collection of garbage would fall into the one side's time or the other's by chance.
    gc.collect()
    gc.disable()
    for what, right in expected.items():
        seconds[what] = {side.name: [] for side in sides}
        for _ in range(READ_ROUNDS):
            for side in sides:
                with stopwatch() as took:
                    answer = readers[side.name][what]()
                seconds[what][side.name].append(took[0])
                if isinstance(answer, np.ndarray):
                    answer = answer.tobytes()
                checks.same(f"{what} of {side.name}", answer, right)
                del answer
    gc.enable()


def _allocated(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _machine() -> dict[str, object]:
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "numpy": np.__version__,
        "alexpy": alexpy.build_info(),
        "alexpy_durability": alexpy.Config().durability,
        "sqlite_pragmas": list(SQLite.pragmas),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def as_table(result: Result) -> str:
    """Return the medians as a Markdown table, with the promises of both sides in its caption."""
    count = f"{result.count:,}"
    labels = {
        "load": f"load {count} x {VALUE_BYTES} B in batches of {BATCH:,}, then flush",
        "single gets": f"{GETS:,} single gets, random",
        "batch gets": f"{GETS:,} gets in batch calls, to a list",
        "array gets": f"{GETS:,} gets in batch calls, to one array",
        "range scans": f"{RANGES:,} range scans of {RANGE_KEYS}",
        "whole scan": "scan of everything, in order",
    }
    rows = [["work", "SQLite", "alexpy", "times faster", "target"]]
    for what, label in labels.items():
        sqlite, ours = (statistics.median(result.seconds[what][name]) for name in ("SQLite", "alexpy"))
        ratio = sqlite / ours
        target = TARGETS.get(what)
        goal = "" if target is None else f"{target}x {'met' if ratio >= target else 'MISSED'}"
        rows.append([label, f"{sqlite:.2f} s", f"{ours:.3f} s", f"{ratio:.1f}x", goal])
    sqlite_mb, ours_mb = (result.disk_bytes[name] / 1e6 for name in ("SQLite", "alexpy"))
    less = ours_mb <= sqlite_mb
    rows.append(
        [
            "size on disk after close",
            f"{sqlite_mb:.0f} MB",
            f"{ours_mb:.0f} MB",
            f"{sqlite_mb / ours_mb:.1f}x less" if less else f"{ours_mb / sqlite_mb:.1f}x more",
            "",
        ]
    )
    return f"{table(rows)}\n\n{_caption(result)}"


def _caption(result: Result) -> str:
    rounds = len(result.seconds["load"]["SQLite"])
    machine, build = result.machine, alexpy.build_info()
    return (
        f"Random keys (top 64 bits of UUIDs), {machine['cpus']} CPUs, {machine['processor']}, Python "
        f"{machine['python']}, alexpy {build['version']} ({build['profile']} build, {build['simd']}), SQLite "
        f"{machine['sqlite']}. Promise on both sides: a batch is atomic, survives a kill once its call "
        "returned, and a power cut after the final flush, which the load includes (alexpy: "
        'durability="interval" and flush(); SQLite: WAL, synchronous=NORMAL and a checkpoint). Medians of '
        f"{rounds} {'load' if rounds == 1 else 'loads'} and {READ_ROUNDS} reads, in turns; every answer "
        "checked."
    )
