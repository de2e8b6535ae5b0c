"""Values of 1 KiB and of 64 KiB: load and batch gets."""

from __future__ import annotations

import shutil
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

_BATCH_BYTES = 8 << 20


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    for name, count, width in (("1k", sizes.kib_values, 1 << 10), ("64k", sizes.wide_values, 64 << 10)):
        data = Data.make(draw("uniform", count), values_of(count, width))
        path = folder / name
        engine.open(path, mode)
        bench.seconds(f"load_{name}", load(engine, data.keys, data.values, _BATCH_BYTES // width), count)
        keys, expected = data.picked(np.random.default_rng(SEED + 1).permutation(count))
        many = engine.batch_keys(keys)
        bench.timed(
            f"get_{name}",
            count,
            lambda many=many: engine.get_many(many),  # type: ignore[misc]
            lambda got, expected=expected: list(got) == expected,  # type: ignore[misc]
        )
        engine.close()
        shutil.rmtree(path)
