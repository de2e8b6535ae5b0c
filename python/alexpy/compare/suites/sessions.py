"""Many short sessions on one store: open, put one value, close; then how many files, and an opening."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.keys import rows_of, split

from .data import WIDTH

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    path = folder / "store"
    keys = np.arange(sizes.sessions, dtype=np.int64)
    values = split(rows_of(keys, WIDTH))
    single = engine.single_keys(keys)

    def sessions() -> None:
        for key, value in zip(single, values, strict=True):
            engine.open(path, mode)
            engine.put(key, value)
            engine.close()

    bench.timed("sessions", len(keys), sessions)
    bench.number("sessions_files", sum(file.is_file() for file in path.rglob("*")))

    def open_and_get() -> bytes | None:
        engine.open(path, mode)
        return engine.get(single[0])

    bench.timed("sessions_open", 1, open_and_get, lambda value: value == values[0])
    bench.check("sessions", right=engine.get_each(single) == values)
    engine.close()
