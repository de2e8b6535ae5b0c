"""Values of 8 bytes in one batch: what the store costs where the values cost nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from alexpy.compare.keys import draw, values_of

from .data import load

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 8


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    keys = draw("uniform", sizes.keys)
    values = values_of(len(keys), WIDTH)
    os.sync()
    engine.open(folder / "store", mode)
    bench.seconds("load_small", load(engine, keys, values, sizes.keys), sizes.keys)
    bench.check("load_small", right=list(engine.get_many(engine.batch_keys(keys))) == values)
    engine.close()
