"""Scans beside what they cannot do without: making the same Python objects, and copying the same bytes.

The store is loaded in random order. For the floors the same items lie in memory, packed and in key order:
`struct.iter_unpack` makes an int, a bytes and a tuple of each, in a loop that runs in C, as a scan's does.
Everything in turn, several times over in one process; figures are medians.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.keys import SEED, draw, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 100
_PACKED = struct.Struct(f"<q{WIDTH}s")
_ROW = np.dtype([("key", "<i8"), ("value", np.uint8, WIDTH)])


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    rows = np.empty(sizes.keys, _ROW)
    rows["key"] = draw("uniform", sizes.keys)
    rows["value"] = np.random.default_rng([SEED, WIDTH]).integers(0, 256, (len(rows), WIDTH), np.uint8)
    engine.open(folder / "store", mode)
    for at in range(0, len(rows), sizes.batch):
        part = rows[at : at + sizes.batch]
        engine.put_many(engine.batch_items(part["key"].copy(), split(part["value"].copy())))
    rows.sort(order="key")
    _scans(bench, engine, rows, sizes)
    _ranges(bench, engine, rows, sizes)
    engine.close()


def _scans(bench: Bench, engine: StoreEngine, rows: np.ndarray, sizes: Sizes) -> None:
    packed = rows.tobytes()
    last = _PACKED.unpack(packed[-_PACKED.size :])

    def items(scan: Callable[[], Iterator[Any]]) -> Callable[[], float]:
        def work() -> float:
            began = time.perf_counter()
            end = deque(scan(), maxlen=1)
            seconds = time.perf_counter() - began
            bench.check("scans_items", right=end[0] == last)
            return seconds

        return work

    keys, values = rows["key"].copy(), rows["value"].copy().reshape(-1)

    def batches() -> float:
        began = time.perf_counter()
        found = sum(len(keys) for keys, _ in engine.scan_batches())
        seconds = time.perf_counter() - began
        bench.check("scans_batches", right=found == len(rows))
        return seconds

    # The timed scans were counted and dropped; this one checks what they give, and how many rows a batch has.
    given = list(engine.scan_batches())
    bench.check("scans_batches", right=np.array_equal(np.concatenate([keys for keys, _ in given]), keys))
    bench.check("scans_batches", right=np.array_equal(np.concatenate([data for _, data in given]), values))
    step = len(given[0][0])
    del given

    def copies() -> float:
        began = time.perf_counter()
        found = 0
        for at in range(0, len(rows), step):
            copied = keys[at : at + step].copy(), values[at * WIDTH : (at + step) * WIDTH].copy()
            found += len(copied[0])
        seconds = time.perf_counter() - began
        bench.check("scans_copy", right=found == len(rows))
        return seconds

    bench.in_turn(
        {"scans_items": items(engine.scan), "scans_objects": items(lambda: _PACKED.iter_unpack(packed))},
        sizes.keys,
    )
    bench.in_turn({"scans_batches": batches, "scans_copy": copies}, sizes.keys)


def _ranges(bench: Bench, engine: StoreEngine, rows: np.ndarray, sizes: Sizes) -> None:
    length = min(sizes.range_keys, len(rows))
    first = np.random.default_rng(SEED + 2).integers(0, len(rows) - length + 1, sizes.ranges).tolist()
    starts = engine.single_keys(rows["key"][first])
    packed = memoryview(rows.tobytes())
    size = _PACKED.size
    parts = [packed[at * size : (at + length) * size] for at in first]

    def objects() -> float:
        began = time.perf_counter()
        found = sum(len(list(_PACKED.iter_unpack(part))) for part in parts)
        seconds = time.perf_counter() - began
        bench.check("scans_range_objects", right=found == length * len(parts))
        return seconds

    def ranges() -> float:
        began = time.perf_counter()
        found = sum(len(items) for items in engine.ranges(starts, length))
        seconds = time.perf_counter() - began
        bench.check("scans_ranges", right=found == length * len(parts))
        return seconds

    for part, items in zip(parts, engine.ranges(starts, length), strict=True):
        bench.check("scans_ranges", right=list(_PACKED.iter_unpack(part)) == items)
    bench.in_turn({"scans_ranges": ranges, "scans_range_objects": objects}, sizes.ranges)
