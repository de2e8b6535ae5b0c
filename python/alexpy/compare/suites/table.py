"""The rows of 'The store, from Python' that one loaded store answers: load, gets, scans, ranges, changes."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.bench import allocated
from alexpy.compare.engine import Lacks
from alexpy.compare.keys import SEED, draw, values_of
from alexpy.compare.promise import Mode

from .data import Data, load

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import Keys, StoreEngine
    from alexpy.compare.sizes import Sizes

WIDTH = 100


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    keys = draw("uniform", sizes.keys + sizes.puts)
    values = values_of(len(keys), WIDTH)
    data = Data.make(keys[: sizes.keys], values[: sizes.keys])
    path = folder / "store"
    os.sync()
    bench.begin_memory()
    engine.open(path, mode)
    bench.seconds("load_batches", load(engine, data.keys, data.values, sizes.batch), sizes.keys)
    bench.end_memory()
    _gets(bench, engine, data, sizes)
    _scans(bench, engine, data, sizes)
    _ranges(bench, engine, data, sizes)
    if mode is Mode.MEMORY:
        for cell in ("close", "open", "disk"):
            bench.lacks(cell, "is in memory")
    else:
        _reopen(bench, engine, data, mode, path)
    _changes(bench, engine, data, keys[sizes.keys :], values[sizes.keys :], sizes)
    engine.close()


def _gets(bench: Bench, engine: StoreEngine, data: Data, sizes: Sizes) -> None:
    generator = np.random.default_rng(SEED + 1)
    keys, expected = data.picked(generator.permutation(len(data.keys))[: sizes.gets])
    one_by_one = engine.single_keys(keys)
    bench.timed(
        "get_each", sizes.gets, lambda: engine.get_each(one_by_one), lambda answer: answer == expected
    )
    keys, expected = data.picked(generator.permutation(len(data.keys)))
    many = engine.batch_keys(keys)
    bench.timed("get_many", len(keys), lambda: engine.get_many(many), lambda answer: list(answer) == expected)
    joined = b"".join(expected)
    bench.timed(
        "get_array",
        len(keys),
        lambda: engine.get_array(many, WIDTH),
        lambda rows: rows.shape == (len(keys), WIDTH) and rows.tobytes() == joined,
    )


def _scans(bench: Bench, engine: StoreEngine, data: Data, sizes: Sizes) -> None:
    in_order = engine.single_keys(data.keys[data.order])
    values = data.sorted_values()
    bench.timed(
        "scan_dropped",
        sizes.keys,
        lambda: deque(engine.scan(), maxlen=1),
        lambda last: last[0] == (in_order[-1], values[-1]),
    )
    bench.timed(
        "scan_kept",
        sizes.keys,
        lambda: list(engine.scan()),
        lambda items: [item[0] for item in items] == in_order and [item[1] for item in items] == values,
    )
    bench.timed(
        "scan_arrays",
        sizes.keys,
        lambda: sum(len(keys) for keys, _ in engine.scan_batches()),
        lambda rows: rows == sizes.keys,
    )
    if "lacks" not in bench.figures["scan_arrays"]:
        # The timed scan was counted and dropped; a second scan checks its content.
        batches = list(engine.scan_batches())
        bench.check(
            "scan_arrays",
            right=bool(
                (np.concatenate([keys for keys, _ in batches]) == data.keys[data.order]).all()
                and b"".join(rows.tobytes() for _, rows in batches) == b"".join(values)
            ),
        )


def _ranges(bench: Bench, engine: StoreEngine, data: Data, sizes: Sizes) -> None:
    generator = np.random.default_rng(SEED + 2)
    first = generator.integers(0, len(data.keys), sizes.ranges)
    in_order = data.keys[data.order]
    starts = engine.single_keys(in_order[first])
    # Kept as a list of the engine's own keys: the answers come in them.
    keys = engine.single_keys(in_order)
    values = data.sorted_values()
    length = sizes.range_keys
    in_ranges = int(np.minimum(length, len(keys) - first).sum())
    # The timed ranges are counted and dropped; a second pass of the same calls keeps and checks the answers.
    bench.timed(
        "ranges_items",
        sizes.ranges,
        lambda: sum(len(items) for items in engine.ranges(starts, length)),
        lambda items: items == in_ranges,
    )
    bench.timed(
        "ranges_kept",
        sizes.ranges,
        lambda: list(engine.ranges(starts, length)),
        lambda found: all(
            list(map(tuple, items))
            == list(zip(keys[at : at + length], values[at : at + length], strict=True))
            for at, items in zip(first.tolist(), found, strict=True)
        ),
    )
    bench.timed(
        "ranges_arrays",
        sizes.ranges,
        lambda: sum(len(keys) for keys, _ in engine.range_batches(starts, length)),
        lambda rows: rows == in_ranges,
    )
    if "lacks" not in bench.figures["ranges_arrays"]:
        found = engine.range_batches(starts, length)
        bench.check(
            "ranges_arrays",
            right=all(
                got.tolist() == in_order[at : at + length].tolist()
                and rows.tobytes() == b"".join(values[at : at + length])
                for at, (got, rows) in zip(first.tolist(), found, strict=True)
            ),
        )


def _reopen(bench: Bench, engine: StoreEngine, data: Data, mode: Mode, path: Path) -> None:
    bench.timed("close", 1, engine.close)
    bench.bytes("disk", allocated(path))
    wanted = engine.single_keys(data.keys[:1])[0]

    def open_and_get() -> bytes | None:
        engine.open(path, mode)
        return engine.get(wanted)

    bench.timed("open", 1, open_and_get, lambda value: value == data.values[0])


def _changes(
    bench: Bench, engine: StoreEngine, data: Data, new_keys: Keys, new_values: list[bytes], sizes: Sizes
) -> None:
    keys = engine.single_keys(new_keys)
    bench.timed(
        "put_each",
        len(keys),
        lambda: engine.put_each(keys, new_values),
        lambda _: engine.get_each(keys) == new_values,
    )
    gone = np.random.default_rng(SEED + 3).permutation(len(data.keys))[: sizes.deletes]
    doomed = engine.single_keys(data.keys[gone])

    def all_gone(_: None) -> bool:
        missing = all(engine.get(key) is None for key in doomed)
        try:
            left = sum(1 for _ in engine.scan())
        except Lacks:
            return missing
        return missing and left == len(data.keys) + len(keys) - len(doomed)

    bench.timed("delete_each", len(doomed), lambda: engine.delete_each(doomed), all_gone)
