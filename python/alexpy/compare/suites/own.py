"""alexpy against itself: a load beside its parts, what verifying every read costs, and what new memory costs.

Everything in turn, several times over in one process, the order turned each time; figures are medians. The
parts: as many bytes as the load writes copied into a mapped file whose blocks were reserved, the flush of
that file, and the same keys put into an index in the same batches.
"""

from __future__ import annotations

import mmap
import os
import shutil
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

import alexpy
from alexpy._alexpy import _checksum_records
from alexpy.compare.keys import SEED, draw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import Keys, StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 100
# A record is its value and a header of 24 bytes, padded to 8; a batch has a record before it and one after it
# (docs/format.md).
RECORD_BYTES = 128
BATCH_BYTES = 40 + 32
ROUNDS = 5
# As in a commit: records that are in the nearest cache when they are summed.
_SUMMED_AT_ONCE = 64


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure alexpy; `engine` and `mode` are its own."""
    del engine, mode
    keys = draw("uniform", sizes.keys)
    values = np.random.default_rng([SEED, WIDTH]).integers(0, 256, (len(keys), WIDTH), np.uint8)
    taken: dict[str, list[float]] = {}

    def note(cell: str, seconds: float) -> None:
        taken.setdefault(cell, []).append(seconds)

    def whole() -> None:
        shutil.rmtree(folder / "store", ignore_errors=True)
        note("own_load", _load(bench, folder / "store", keys, values, sizes.batch))

    def parts() -> None:
        copied, flushed = _copy_and_flush(bench, folder / "part", len(keys), sizes.batch)
        inserted = _insert(bench, keys, sizes.batch)
        note("own_copy", copied)
        note("own_flush", flushed)
        note("own_index", inserted)
        note("own_parts", copied + flushed + inserted)
        note("own_checksums", _checksums(len(keys)))

    _in_turn(whole, parts)
    _reads(bench, folder / "store", keys, values, note)
    for cell, seconds in taken.items():
        bench.seconds(cell, statistics.median(seconds), len(keys))


def _in_turn(*works: Callable[[], None]) -> None:
    for number in range(ROUNDS):
        for work in works[:: -1 if number % 2 else 1]:
            os.sync()
            work()


def _load(bench: Bench, path: Path, keys: Keys, values: NDArray[np.uint8], batch: int) -> float:
    with alexpy.open(path) as store:
        began = time.perf_counter()
        for at in range(0, len(keys), batch):
            store.put_many(keys[at : at + batch], values[at : at + batch])
        store.flush()
        seconds = time.perf_counter() - began
        bench.check("own_load", right=bool((store.get_array(keys, np.uint8, WIDTH) == values).all()))
    return seconds


def _copy_and_flush(bench: Bench, path: Path, count: int, batch: int) -> tuple[float, float]:
    whole, rest = divmod(count, batch)
    sizes = [batch * RECORD_BYTES + BATCH_BYTES] * whole
    if rest:
        sizes.append(rest * RECORD_BYTES + BATCH_BYTES)
    source = np.random.default_rng(SEED).bytes(sum(sizes))
    parts, at = [], 0
    for size in sizes:
        parts.append((slice(at, at + size), memoryview(source)[at : at + size]))
        at += size
    with path.open("w+b") as file:
        os.posix_fallocate(file.fileno(), 0, len(source))
        os.fsync(file.fileno())
        with mmap.mmap(file.fileno(), len(source)) as mapped:
            began = time.perf_counter()
            for place, part in parts:
                mapped[place] = part
            copied = time.perf_counter()
            os.fdatasync(file.fileno())
            flushed = time.perf_counter()
    bench.check("own_copy", right=path.read_bytes() == source)
    path.unlink()
    return copied - began, flushed - copied


def _insert(bench: Bench, keys: Keys, batch: int) -> float:
    locations = np.arange(len(keys), dtype=np.int64) * (RECORD_BYTES // 8)
    index = alexpy.AlexIndex()
    began = time.perf_counter()
    for at in range(0, len(keys), batch):
        index.put_many(keys[at : at + batch], locations[at : at + batch])
    seconds = time.perf_counter() - began
    bench.check("own_index", right=np.array_equal(index.get_many(keys), locations))
    return seconds


def _checksums(count: int) -> float:
    records = os.urandom(_SUMMED_AT_ONCE * RECORD_BYTES)
    began = time.perf_counter()
    for _ in range(-(-count // _SUMMED_AT_ONCE)):
        _checksum_records(records, RECORD_BYTES)
    return time.perf_counter() - began


def _reads(
    bench: Bench, path: Path, keys: Keys, values: NDArray[np.uint8], note: Callable[[str, float], None]
) -> None:
    shuffled = np.random.default_rng(SEED + 1).permutation(len(keys))
    asked = keys[shuffled]
    expected = [row.tobytes() for row in values[shuffled]]
    with (
        alexpy.open(path, read_only=True, verify_reads=True) as careful,
        alexpy.open(path, read_only=True, verify_reads=False) as trusting,
    ):

        def read(cell: str, store: alexpy.Store) -> Callable[[], None]:
            def work() -> None:
                began = time.perf_counter()
                answer = store.get_many(asked)
                note(cell, time.perf_counter() - began)
                bench.check(cell, right=list(answer) == expected)

            return work

        _in_turn(read("own_verified", careful), read("own_unverified", trusting))

        rows, there = values[shuffled], np.ones((len(keys), WIDTH), np.uint8)

        def read_rows(cell: str, out: NDArray[np.uint8] | None) -> Callable[[], None]:
            def work() -> None:
                there.fill(0)
                began = time.perf_counter()
                answer = careful.get_array(asked, np.uint8, WIDTH, out=out)
                note(cell, time.perf_counter() - began)
                bench.check(cell, right=bool((answer == rows).all()))

            return work

        _in_turn(read_rows("own_array", None), read_rows("own_into", there))
