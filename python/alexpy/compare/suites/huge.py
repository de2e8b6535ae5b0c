"""A hundred million rows of 100 bytes: loaded, closed, opened, read, scanned, killed and compacted.

Rows are made from keys, so that nothing has to be kept to be compared with. The writer that is killed is a
process of its own (`run_writer`).
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

import alexpy
from alexpy.compare.bench import allocated
from alexpy.compare.children import doomed, say
from alexpy.compare.keys import SEED, rows_of, scattered

from . import large
from .data import WIDTH
from .index_huge import available

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

CELLS = (
    "huge_load", "huge_memory", "huge_peak", "huge_index", "huge_close", "huge_disk", "huge_open",
    "huge_array", "huge_scan", "huge_killed", "huge_delete", "huge_compact", "huge_after",
)  # fmt: skip
# A row in the log, its share of two images, and what compaction needs beside.
_DISK_BYTES = 190
# Its pages in the cache, and its part of the index; with less, the disk is measured and not the store.
_MEMORY_BYTES = 170
_ADDED = 10_000
_ROUNDS = 3
# One row of so many is deleted.
_PART = 10


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path, name: str) -> None:
    """Measure alexpy, where there is enough room; `name` is how the killed writer finds it."""
    count, batch = sizes.huge_rows, sizes.batch * 10
    if reason := _no_room(count, folder):
        for cell in CELLS:
            bench.lacks(cell, reason)
        return
    path = folder / "store"
    bench.begin_memory()
    engine.open(path, mode)
    spread = (scattered(np.arange(at, min(at + batch, count))) for at in range(0, count, batch))
    bench.seconds("huge_load", large.load(engine, spread), count)
    bench.end_memory()
    bench.bytes("huge_memory", bench.memory["private_growth_bytes"])
    engine.close()
    with alexpy.open(path) as store:
        bench.bytes_each("huge_index", store.stats().index_bytes, count)
        # So that closing has an image of the index to write, as after the load.
        again = scattered(np.arange(batch))
        store.put_many(again, rows_of(again, WIDTH))
        bench.timed("huge_close", 1, store.close)
    bench.bytes_each("huge_disk", allocated(path), count)
    large.open_and_get(bench, engine, mode, path, "huge_open", scattered(np.arange(large.SAMPLE)))
    generator = np.random.default_rng(SEED)
    asked = (scattered(generator.integers(0, count, sizes.keys)) for _ in range(_ROUNDS))
    large.batch_gets(bench, engine, asked, "huge_array")
    _scan(bench, engine, count)
    engine.close()
    spec = {"adder": str(path), "engine": name, "mode": mode, "first": count, "count": sizes.long_tail}
    with doomed(spec) as writer:
        writer.answer()
    every = count + sizes.long_tail
    tail = scattered(np.arange(every - large.SAMPLE, every))
    large.open_and_get(bench, engine, mode, path, "huge_killed", tail)
    engine.close()
    with alexpy.open(path) as store:
        bench.check("huge_killed", right=len(store) == every)
        dead = scattered(np.arange(0, every, _PART))
        bench.timed("huge_delete", len(dead), lambda: store.delete_many(dead))
        bench.timed("huge_compact", 1, store.compact)
        bench.check("huge_compact", right=not store.contains_many(dead[: sizes.keys]).any())
    engine.open(path, mode)
    places = (generator.integers(0, count // _PART, sizes.keys) * _PART for _ in range(_ROUNDS))
    alive = (scattered(some + generator.integers(1, _PART, sizes.keys)) for some in places)
    large.batch_gets(bench, engine, alive, "huge_after")
    engine.close()
    bench.end_memory()
    bench.bytes("huge_peak", bench.memory["peak_rss_growth_bytes"])


def _no_room(count: int, folder: Path) -> str | None:
    disk, memory = shutil.disk_usage(folder).free, available()
    if disk < count * _DISK_BYTES:
        return f"had {disk / 2**30:.1f} GiB of disk free, too little for {count:,} rows"
    if memory < count * _MEMORY_BYTES:
        return f"had {memory / 2**30:.1f} GiB of memory free, too little for {count:,} rows"
    return None


def _scan(bench: Bench, engine: StoreEngine, count: int) -> None:
    seconds, seen, last = 0.0, 0, -(2**63)
    batches = engine.scan_batches()
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        seconds += time.perf_counter() - began
        if batch is None:
            break
        keys, data = batch
        ascending = bool(keys[0] >= last and (np.diff(keys) > 0).all())
        values = data.reshape(len(keys), WIDTH)
        bench.check("huge_scan", right=ascending and bool((values == rows_of(keys, WIDTH)).all()))
        seen, last = seen + len(keys), int(keys[-1])
    bench.check("huge_scan", right=seen == count)
    bench.seconds("huge_scan", seconds, seen)


def run_writer(engine: StoreEngine, mode: Mode, path: Path, first: int, count: int) -> None:
    """Add rows in one batch after another, say so, and wait to be killed."""
    engine.open(path, mode)
    end = first + count
    large.load(engine, (scattered(np.arange(at, min(at + _ADDED, end))) for at in range(first, end, _ADDED)))
    say({})
    sys.stdin.read()
