"""The index alone at ten times the size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .index import measure

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import IndexEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes


def run(bench: Bench, engine: IndexEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    del mode, folder
    measure(bench, engine, sizes.large_keys, sizes, "_large")
