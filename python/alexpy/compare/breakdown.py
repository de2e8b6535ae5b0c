"""Where the time of a million writes and reads goes, in alexpy's own store and in an ALEX index over RocksDB.

Nothing is timed inside the engines, where hooks would distort what they measure. The whole is timed, and then
each part by itself on the same data in the same batches; what no part explains is called overhead. A part by
itself has the CPU caches to itself, so parts are lower bounds and the overhead is an upper bound. The parts:

- index: the same keys, in the same batches, put into or looked up in an `AlexIndex` (the same code).
- log copy: as many bytes as the records have, copied into a mapped, reserved, prepared file.
- checksum: of writes, the checksum of records over the same bytes; of reads, the whole with `verify_reads`
  less the whole without.
- flush: timed within the whole, right after the last batch.
- conversion: the whole with Python objects for values less the whole with one existing array of them.
- storage (RocksDB): the same batches, keys ready as bytes, written to or read from RocksDB alone.
"""

from __future__ import annotations

import gc
import mmap
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from alexpy._alexpy import _checksum_records

from .engine import ordered_bytes
from .keys import SEED, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from .engine import Keys

BATCH = 10_000
HEADER_BYTES = 24
PAGE_BYTES = 4096
ENGINES = ("rocksdb", "alexpy")
_ORDERS = {"sequential": "sequential", "random": "uniform"}


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One whole and its parts, in seconds; medians of the repetitions."""

    engine: str
    work: str
    whole: float
    parts: dict[str, float]

    @property
    def overhead(self) -> float:
        """What no part explains."""
        return self.whole - sum(self.parts.values())


@dataclass(frozen=True)
class Work:
    """Keys, their values as objects and as rows, and the reading order."""

    keys: Keys
    rows: NDArray[np.uint8]
    values: list[bytes]
    asked: Keys
    expected: list[bytes]

    @classmethod
    def make(cls, kind: str, count: int, width: int) -> Work:
        """Make `count` items with values of `width` bytes; sequential keys are read in order."""
        keys = draw(kind, count)
        rows = np.random.default_rng(SEED).integers(0, 256, (count, width), np.uint8)
        data = rows.tobytes()
        values = [data[at : at + width] for at in range(0, len(data), width)]
        if kind == "sequential":
            return cls(keys, rows, values, keys, values)
        order = np.random.default_rng(SEED + 1).permutation(count)
        return cls(keys, rows, values, keys[order], [values[at] for at in order.tolist()])

    def batches(self) -> Iterator[slice]:
        """Yield the parts that are written together."""
        return (slice(at, at + BATCH) for at in range(0, len(self.keys), BATCH))


def breakdowns(
    count: int, width: int, repetitions: int, engines: tuple[str, ...] = ENGINES
) -> Iterator[Breakdown]:
    """Measure writes and reads of `count` items in both orders; every answer is checked.

    Raises:
        AssertionError: a store answered wrong.

    """
    for engine in engines:
        for order, kind in _ORDERS.items():
            work = Work.make(kind, count, width)
            measure = _of_alexpy if engine == "alexpy" else _of_rocksdb
            runs: dict[str, list[tuple[float, dict[str, float]]]] = {}
            for _ in range(repetitions):
                with tempfile.TemporaryDirectory(prefix="alexpy-profile-") as folder:
                    for name, whole, parts in measure(work, Path(folder)):
                        runs.setdefault(name, []).append((whole, parts))
            for name, taken in runs.items():
                yield Breakdown(
                    engine,
                    f"{count:,} {order} {name}",
                    statistics.median(whole for whole, _ in taken),
                    {part: statistics.median(parts[part] for _, parts in taken) for part in taken[0][1]},
                )


def missing() -> str | None:
    """Say why RocksDB cannot be measured, or None."""
    return None if find_spec("rocksdict") else "the package rocksdict is not installed (alexpy[rocksdb])"


def _of_alexpy(work: Work, folder: Path) -> Iterator[tuple[str, float, dict[str, float]]]:
    objects, flush = _written(work, folder / "objects", work.values)
    rows, _ = _written(work, folder / "rows", work.rows)
    record_bytes = _record_bytes(work)
    records = np.random.default_rng(SEED).integers(0, 256, record_bytes * len(work.keys), np.uint8)
    yield (
        "inserts",
        objects + flush,
        {
            "index": _index_inserts(work),
            "log copy": _log_copy(records, folder / "copy"),
            "checksum": _checksum(records, record_bytes),
            "flush": flush,
            "conversion": objects - rows,
        },
    )
    verified, plain = (
        _read(work, folder / "objects", verify=True),
        _read(work, folder / "objects", verify=False),
    )
    with alexpy.open(folder / "objects") as store:
        there = np.ones_like(work.rows)
        width = there.shape[1]
        store.get_array(work.asked, np.uint8, width, out=there)
        array = _seconds(lambda: store.get_array(work.asked, np.uint8, width, out=there))
        _right(there.tobytes() == b"".join(work.expected))
    yield (
        "reads",
        verified,
        {
            "index": _index_reads(work),
            "checksum": verified - plain,
            "conversion": verified - array,
        },
    )


def _written(work: Work, path: Path, values: Any) -> tuple[float, float]:
    """Return the seconds of all batches, and of the flush after them."""
    os.sync()
    with alexpy.open(path) as store:
        put = [(work.keys[part], values[part]) for part in work.batches()]

        flush: list[float] = []

        def batches() -> None:
            for keys, items in put:
                store.put_many(keys, items)
            # At once, or the timed flush would do it while no clock runs.
            began = time.perf_counter()
            store.flush()
            flush.append(time.perf_counter() - began)

        took = _seconds(batches)
        _right(len(store) == len(work.keys))
    return took - flush[0], flush[0]


def _read(work: Work, path: Path, *, verify: bool) -> float:
    with alexpy.open(path, verify_reads=verify) as store:
        # The first call touches pages that this handle has not mapped yet.
        store.get_many(work.asked)
        answers: list[Any] = []
        took = _seconds(lambda: answers.append(store.get_many(work.asked)))
    _right(answers[0] == work.expected)
    return took


def _index_inserts(work: Work) -> float:
    index = alexpy.AlexIndex()
    positions = np.arange(len(work.keys), dtype=np.int64)

    def batches() -> None:
        for part in work.batches():
            index.put_many(work.keys[part], positions[part])

    took = _seconds(batches)
    _right(len(index) == len(work.keys))
    return took


def _index_reads(work: Work) -> float:
    index = alexpy.AlexIndex(work.keys)
    answers: list[Any] = []
    took = _seconds(lambda: answers.append(index.get_many(work.asked)))
    # Without values, a key's value is its position.
    _right(np.array_equal(work.keys[answers[0]], work.asked))
    return took


def _record_bytes(work: Work) -> int:
    width: int = work.rows.shape[1]
    return HEADER_BYTES + -(-width // 8) * 8


def _log_copy(records: NDArray[np.uint8], path: Path) -> float:
    with path.open("w+b") as file:
        os.posix_fallocate(file.fileno(), 0, len(records))
        with mmap.mmap(file.fileno(), len(records)) as mapped:
            return _copied(np.frombuffer(mapped, np.uint8), records)


def _copied(target: NDArray[np.uint8], records: NDArray[np.uint8]) -> float:
    # The store prepares its pages ahead, in another thread.
    target[::PAGE_BYTES] = 1

    def copy() -> None:
        target[:] = records

    return _seconds(copy)


def _checksum(records: NDArray[np.uint8], record_bytes: int) -> float:
    data = records.tobytes()
    return _seconds(lambda: _checksum_records(data, record_bytes))


def _of_rocksdb(work: Work, folder: Path) -> Iterator[tuple[str, float, dict[str, float]]]:
    from rocksdict import Rdict, WriteBatch  # noqa: PLC0415 - an extra

    from alexpy.rocks import RocksConfig, RocksStore  # noqa: PLC0415 - an extra

    os.sync()
    with RocksStore(folder / "whole") as store:
        put = [(work.keys[part], work.values[part]) for part in work.batches()]

        def batches() -> None:
            for keys, values in put:
                store.put_many(keys, values)
            store.flush()

        written = _seconds(batches)
        # As alexpy: what is timed has been read before.
        store.get_many(work.asked)
        answers: list[Any] = []
        read = _seconds(lambda: answers.append(store.get_many(work.asked)))
        _right(answers[0] == work.expected)
        lookups = store.contains_many(work.asked)
        _right(bool(lookups.all()))
        looked_up = _seconds(lambda: store.contains_many(work.asked))
    raw = [(ordered_bytes(work.keys[part]), work.values[part]) for part in work.batches()]
    ordered = ordered_bytes(work.asked)
    asked = [ordered[at : at + 4096] for at in range(0, len(ordered), 4096)]
    os.sync()
    db = Rdict(str(folder / "alone"), RocksConfig().options())

    def storage_writes() -> None:
        for keys, values in raw:
            batch = WriteBatch(raw_mode=True)
            for key, value in zip(keys, values, strict=True):
                batch[key] = value
            db.write(batch)
        db.flush_wal(sync=True)

    found: list[bytes] = []

    def storage_reads() -> None:
        for part in asked:
            found.extend(db.get(part))

    storage_written = _seconds(storage_writes)
    storage_reads()
    found.clear()
    storage_read = _seconds(storage_reads)
    _right(found == work.expected)
    db.close()
    yield "inserts", written, {"storage": storage_written, "index": _index_inserts(work)}
    yield "reads", read, {"storage": storage_read, "index": looked_up}


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        answer = work()
        took = time.perf_counter() - began
    finally:
        gc.enable()
    # Freed after the clock has stopped.
    del answer
    return took


def _right(answer: bool) -> None:  # noqa: FBT001 - a check
    if not answer:
        raise AssertionError("a store answered wrong; its figures are void")
