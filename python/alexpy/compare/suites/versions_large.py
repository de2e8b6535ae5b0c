"""Single puts beside an open iterator at ten times the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alexpy.compare.keys import draw

from .data import Held
from .versions import puts

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import SnapshotStore
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes


def run(bench: Bench, engine: SnapshotStore, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    engine.open(folder / "store", mode)
    held = Held.load(engine, draw("uniform", sizes.large_keys), 10 * sizes.batch)
    puts(bench, engine, held, sizes, "_large")
    engine.close()
