"""Other distributions of keys: load and batch gets of the same values under each."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.keys import KINDS, SEED, draw, missing, values_of

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
    count = sizes.distribution_keys
    values = values_of(count, WIDTH)
    for kind in KINDS:
        if kind == "uniform":
            continue
        if reason := missing(kind):
            bench.lacks(f"load_{kind}", reason)
            bench.lacks(f"get_{kind}", reason)
            continue
        data = Data.make(draw(kind, count), values)
        path = folder / kind
        engine.open(path, mode)
        bench.seconds(f"load_{kind}", load(engine, data.keys, data.values, sizes.batch), count)
        keys, expected = data.picked(np.random.default_rng(SEED + 1).permutation(count))
        many = engine.batch_keys(keys)
        bench.timed(
            f"get_{kind}",
            count,
            lambda many=many: engine.get_many(many),  # type: ignore[misc]
            lambda got, expected=expected: list(got) == expected,  # type: ignore[misc]
        )
        engine.close()
        shutil.rmtree(path)
