"""Values of two more kinds than random bytes: the flights of 2013 as JSON, and as columns of fixed widths.

`run` leaves compression as each engine has it by default; `run_compressed` asks each for zstd. Loaded in
random order, synced, compacted where the engine can, closed and opened: the first gets read what the disk
has.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.bench import allocated
from alexpy.compare.engine import Compressing, Lacks
from alexpy.compare.keys import SEED, flight_columns, flight_json, missing

from .data import load

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

KINDS = {"json": flight_json, "columns": flight_columns}
WORKS = ("load", "disk", "many", "each")


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine with its defaults."""
    _measure(bench, engine, mode, sizes, folder, "values")


def run_compressed(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine with zstd."""
    if not isinstance(engine, Compressing):
        raise TypeError(f"{engine.name} has no zstd and takes no part")
    engine.compress()
    _measure(bench, engine, mode, sizes, folder, "zstd")


def _measure(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path, cells: str) -> None:
    for kind, made in KINDS.items():
        cell = {work: f"{cells}_{kind}_{work}" for work in WORKS}
        if reason := missing("flights"):
            for each in cell.values():
                bench.lacks(each, reason)
            continue
        values = made()[: sizes.flights]
        generator = np.random.default_rng(SEED)
        keys = generator.permutation(len(values)).astype(np.int64)
        path = folder / kind
        engine.open(path, mode)
        bench.seconds(cell["load"], load(engine, keys, values, sizes.batch), len(values))
        with suppress(Lacks):
            engine.compact()
        engine.close()
        bench.bytes(cell["disk"], allocated(path))
        engine.open(path, mode)
        place = generator.permutation(len(values))
        expected = [values[at] for at in place.tolist()]
        many = engine.batch_keys(keys[place])
        bench.timed(
            cell["many"],
            len(values),
            lambda many=many: engine.get_many(many),  # type: ignore[misc]
            lambda got, expected=expected: list(got) == expected,  # type: ignore[misc]
        )
        some = sizes.gets // 2
        single = engine.single_keys(keys[place[:some]])
        bench.timed(
            cell["each"],
            len(single),
            lambda single=single: engine.get_each(single),  # type: ignore[misc]
            lambda got, expected=expected[:some]: got == expected,  # type: ignore[misc]
        )
        engine.close()
        shutil.rmtree(path)
