"""Durable commits, each returned only when it survives a power cut; and the disk's own floor for them.

The floor writes the same bytes as alexpy's records without a store: `pwrite` and `fdatasync` into a file of
zeros that were written beforehand. The targets are shares of a file that was only reserved, in which ext4
notes the first write to each block; and for comparison there is a file that grows.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from alexpy.compare.bench import in_threads
from alexpy.compare.keys import draw, values_of
from alexpy.compare.machine import write_zeros

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 100
HUNDRED = 100
# A record is its value and a header of 24 bytes, padded to 8 (docs/format.md).
RECORD_BYTES = 128
THREADS = (4, 16)
RAW_PROMISE = "pwrite and fdatasync into a file written beforehand, no store"


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    single, batches = sizes.commits, max(1, sizes.commits // 3)
    keys = draw("uniform", single * (1 + len(THREADS)) + batches * HUNDRED)
    values = values_of(len(keys), WIDTH)
    engine.open(folder / "store", mode)
    one_by_one = engine.single_keys(keys)
    bench.timed("sync_single", single, lambda: engine.put_each(one_by_one[:single], values[:single]))
    done = single
    groups = [
        engine.batch_items(keys[at : at + HUNDRED], values[at : at + HUNDRED])
        for at in range(done, done + batches * HUNDRED, HUNDRED)
    ]

    def put_groups() -> None:
        for items in groups:
            engine.put_many(items)

    bench.timed("sync_hundred", batches, put_groups)
    done += batches * HUNDRED
    for count in THREADS:
        parts = [
            (one_by_one[at : at + single // count], values[at : at + single // count])
            for at in range(done, done + single // count * count, single // count)
        ]
        works = [_putting(engine, part) for part in parts]
        bench.seconds(f"sync_{count}", in_threads(works), sum(len(part[0]) for part in parts))
        done += single // count * count
    expected = values[:done]
    bench.check("durable", right=engine.get_each(one_by_one[:done]) == expected)
    engine.close()


def _putting(engine: StoreEngine, part: tuple[list[object], list[bytes]]) -> Callable[[], None]:
    """Return the work of one thread, with a `put` of its own."""
    put = engine.writer()

    def work() -> None:
        for key, value in zip(*part, strict=True):
            put(key, value)

    return work


def run_raw(bench: Bench, sizes: Sizes, folder: Path) -> None:
    """Measure the disk itself."""
    single, batches = sizes.commits, max(1, sizes.commits // 3)
    for cell, count, size in (
        ("sync_single", single, RECORD_BYTES),
        ("sync_hundred", batches, RECORD_BYTES * HUNDRED),
    ):
        for name, made in ((cell, write_zeros), (f"{cell}_reserved", _reserve), (f"{cell}_growing", None)):
            bench.seconds(name, _raw_commits(folder / cell, count, size, made), count)
    for count in THREADS:
        bench.lacks(f"sync_{count}", "is the floor of one writer")


def _reserve(file: int, count: int) -> None:
    os.posix_fallocate(file, 0, count)
    os.fsync(file)


def _raw_commits(path: Path, count: int, size: int, made: Callable[[int, int], None] | None) -> float:
    data = os.urandom(size)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if made:
            made(file, count * size)
        began = time.perf_counter()
        for at in range(0, count * size, size):
            os.pwrite(file, data, at)
            os.fdatasync(file)
        return time.perf_counter() - began
    finally:
        os.close(file)
