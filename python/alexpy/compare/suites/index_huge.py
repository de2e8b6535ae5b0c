"""The index alone at a hundred times the size: a bulk load of sorted keys, lookups, and memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.keys import SEED

if TYPE_CHECKING:
    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import IndexEngine, Keys
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

CELLS = ("sorted_load_huge", "batch_lookup_huge", "key_bytes_huge")
# Keys, values, what an engine makes of both, and what it needs to sort them: 8 GiB for a hundred million.
_BYTES_PER_KEY = 86


def run(bench: Bench, engine: IndexEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine, where there is enough memory."""
    del mode, folder
    count = sizes.huge_keys
    free = available()
    if free < count * _BYTES_PER_KEY:
        for cell in CELLS:
            bench.lacks(cell, f"had {free / 2**30:.1f} GiB of memory free, too little for {count:,} keys")
        return
    keys = ascending(count)
    values = np.arange(count, dtype=np.int64)
    bench.begin_memory()
    bench.timed("sorted_load_huge", count, lambda: engine.load(keys, values))
    bench.end_memory()
    bench.bytes_each("key_bytes_huge", bench.memory["private_growth_bytes"], count)
    asked = np.random.default_rng(SEED + 1).integers(0, count, sizes.keys)
    wanted = keys[asked]
    bench.timed(
        "batch_lookup_huge",
        len(asked),
        lambda: engine.get_many(wanted),
        lambda got: np.array_equal(np.asarray(got), asked),
    )


def ascending(count: int) -> Keys:
    """Return uniform keys, distinct and sorted, without sorting: their gaps are exponential."""
    gaps = np.random.default_rng(SEED).standard_exponential(count)
    # All of them together come to 15/16 of the range of the keys, give or take far less than the rest.
    gaps *= 2.0**64 * 15 / 16 / count
    keys: Keys = gaps.astype(np.int64)
    del gaps
    keys += 1
    # From the least key on; the sum wraps around to positive keys as it should.
    keys[0] -= 2**63 - 1
    return np.cumsum(keys, out=keys)


def available() -> int:
    """Return how many bytes of memory processes can still take (Linux)."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
