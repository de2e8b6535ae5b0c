"""Backup of an open store, and compaction of a half dead one: time, space left, reads afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.bench import allocated
from alexpy.compare.keys import SEED, draw, values_of

from .data import Data, load

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 100


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    count = sizes.care_keys
    data = Data.make(draw("uniform", count), values_of(count, WIDTH))
    path, copy = folder / "store", folder / "copy"
    engine.open(path, mode)
    load(engine, data.keys, data.values, sizes.batch)
    bench.timed("backup", 1, lambda: engine.backup(copy))
    shuffled = np.random.default_rng(SEED + 1).permutation(count)
    gone, left = shuffled[: count // 2], shuffled[count // 2 :]
    engine.delete_each(engine.single_keys(data.keys[gone]))
    keys, expected = data.picked(left)
    many = engine.batch_keys(keys)
    bench.timed("care_reads", len(keys), lambda: engine.get_many(many), lambda got: list(got) == expected)
    bench.timed("compact", 1, engine.compact)
    if "lacks" in bench.figures["compact"]:
        for cell in ("compact_reads", "compact_disk"):
            bench.lacks(cell, bench.figures["compact"]["lacks"])
    else:
        bench.timed(
            "compact_reads", len(keys), lambda: engine.get_many(many), lambda got: list(got) == expected
        )
    bench.check("gone", right=all(engine.get(key) is None for key in engine.single_keys(data.keys[gone])))
    engine.close()
    if "lacks" not in bench.figures["compact"]:
        bench.bytes("compact_disk", allocated(path))
    if "lacks" not in bench.figures["backup"]:
        engine.open(copy, mode)
        everything = engine.batch_keys(data.keys)
        bench.check("backup", right=list(engine.get_many(everything)) == data.values)
        engine.close()
