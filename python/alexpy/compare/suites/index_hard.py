"""The index alone, on keys that are hard to predict: skewed ones, clustered ones, and keys of real data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.keys import HARD, REAL, SEED, draw, missing, most

from .index import batch_lookups, inserts

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import IndexEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WORKS = ("insert", "bulk_load", "batch_lookup")


def run(bench: Bench, engine: IndexEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine on every set."""
    del mode, folder
    for kind in HARD:
        if reason := missing(kind):
            for work in WORKS:
                bench.lacks(f"{work}_{kind}", reason)
            continue
        _measure(bench, engine, kind, most(kind, sizes.hard_keys if kind in REAL else sizes.keys))


def _measure(bench: Bench, engine: IndexEngine, kind: str, count: int) -> None:
    # In random order whatever the kind: appends are another matter.
    keys = np.random.default_rng(SEED).permutation(draw(kind, count))
    values = np.arange(count, dtype=np.int64)
    inserts(bench, engine, keys, values, f"_{kind}")
    bench.timed(f"bulk_load_{kind}", count, lambda: engine.load(keys, values))
    batch_lookups(bench, engine, keys, np.random.default_rng(SEED + 1).permutation(count), f"_{kind}")
