"""A million rows of 100 bytes in 1 to 1,000 shards: to build, open, look up and scan them, beside one store.

Medians of `--rounds`, in turn. Every array that is looked up is compared with what was stored.
`python benchmarks/shards.py --json FILE`.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import alexpy
from result import require, write

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 1_000_000
BYTES = 100
SHARDS = (1, 10, 100, 1_000)
BATCHES = (1_000, 10_000, 100_000)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def build(paths: list[Path], keys: np.ndarray, values: np.ndarray) -> None:
    """Fill all shards, one after another."""
    for number, path in enumerate(paths):
        start, stop = ROWS * number // len(paths), ROWS * (number + 1) // len(paths)
        with alexpy.open(path) as shard:
            shard.bulk_load(keys[start:stop], values[start:stop])


def measured(folder: Path, shards: int, keys: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """One round for one number of shards: seconds, or seconds a key."""
    path = folder / f"{shards}"
    found: dict[str, float] = {}
    bounds = [ROWS * number // shards for number in range(1, shards)]
    begun = time.perf_counter()
    paths = alexpy.ShardedStore.create(path, bounds)
    found["create"] = time.perf_counter() - begun
    found["build"] = timed(lambda: build(paths, keys, values))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    begun = time.perf_counter()
    with alexpy.ShardedStore.open(path) as store:
        found["open"] = time.perf_counter() - begun
        found["first use of all"] = timed(lambda: require(len(store) == ROWS, "a row is missing"))
        found["descriptors"] = len(list(Path("/proc/self/fd").iterdir())) - descriptors
        random = np.random.default_rng(1)
        for batch in BATCHES:
            times = []
            for _ in range(8):
                some = random.integers(0, ROWS, batch)
                begun = time.perf_counter()
                rows = store.get_array(some, np.uint8, BYTES)
                times.append((time.perf_counter() - begun) / batch)
                require((rows == values[some]).all(), "a row is another")
            found[f"a key of {batch:,}"] = statistics.median(times[1:])
        rows_seen = 0
        begun = time.perf_counter()
        for piece in store.scan_batches():
            rows_seen += len(piece)
        found["scan in batches"] = time.perf_counter() - begun
        require(rows_seen == ROWS, "a row is missing in the scan")
        some_keys = (np.arange(100_000) * 7 % ROWS).tolist()
        found["one get"] = timed(lambda: [store.get(key) for key in some_keys]) / len(some_keys)
    shutil.rmtree(path)
    return found


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alexpy-shards-"))
    try:
        keys = np.arange(ROWS)
        values = np.random.default_rng(2).integers(0, 256, (ROWS, BYTES), np.uint8)
        rounds: dict[int, list[dict[str, float]]] = {shards: [] for shards in SHARDS}
        for _ in range(arguments.rounds):
            for shards in SHARDS:
                rounds[shards].append(measured(folder, shards, keys, values))
    finally:
        shutil.rmtree(folder)
    medians = {
        shards: {name: statistics.median(one[name] for one in each) for name in each[0]}
        for shards, each in rounds.items()
    }
    print(f"{'':20}" + "".join(f"{shards:>12,}" for shards in SHARDS))
    for name in medians[1]:
        print(f"{name:20}" + "".join(f"{medians[shards][name]:12.3g}" for shards in SHARDS))
    if arguments.json:
        write(arguments.json, {"rows": ROWS, "rounds": arguments.rounds, "medians": medians})


if __name__ == "__main__":
    main()
