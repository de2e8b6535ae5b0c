"""How long single durable puts take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alexpy.compare.keys import draw, values_of

from .latency import WIDTH, put_times

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    keys = draw("uniform", sizes.commits)
    values = values_of(len(keys), WIDTH)
    engine.open(folder / "store", mode)
    own = engine.single_keys(keys)
    bench.latencies("latency_sync", put_times(engine, own, values))
    bench.check("latency_sync", right=engine.get_each(own) == values)
    engine.close()
