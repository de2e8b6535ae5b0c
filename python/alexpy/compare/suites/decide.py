"""The work that the first plan's gates are about: a million random writes of 8 bytes, then random reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.keys import SEED, draw, values_of

from .data import Data, load

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 8


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    data = Data.make(draw("uniform", sizes.keys), values_of(sizes.keys, WIDTH))
    os.sync()
    engine.open(folder / "store", mode)
    bench.seconds("decide_write", load(engine, data.keys, data.values, sizes.keys), sizes.keys)
    shuffled = np.random.default_rng(SEED + 1).permutation(sizes.keys)
    keys, expected = data.picked(shuffled)
    many = engine.batch_keys(keys)
    bench.timed(
        "decide_read", sizes.keys, lambda: engine.get_many(many), lambda answer: list(answer) == expected
    )
    one_by_one = engine.single_keys(keys[: sizes.gets])
    bench.timed(
        "decide_get",
        sizes.gets,
        lambda: engine.get_each(one_by_one),
        lambda answer: answer == expected[: sizes.gets],
    )
    engine.close()
