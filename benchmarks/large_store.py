"""A store of 1, 10 and 100 million rows of 100 bytes: loaded, opened, read, scanned, killed and compacted.

Each size runs in a process of its own. Keys are random and rows are made from keys, so that nothing has to be
kept to compare with, and every row that is read is compared. Times are of the calls alone; reads are medians
of three. 100 million rows take 17 GB of disk and of memory.
`python benchmarks/large_store.py --json FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import alexpy
from alexpy.compare.bench import allocated
from alexpy.compare.keys import rows_of
from result import require, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MILLIONS = (1, 10, 100)
BYTES = 100
BATCH = 100_000
# Rows that a writer which is killed has added.
TAIL = 1_000_000
GETS = 1_000_000


def keys_at(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the key at each position: one to one, and as random as SplitMix64 makes them."""
    words = positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    return (words ^ (words >> np.uint64(31))).view(np.int64)


def add(store: alexpy.Store, start: int, stop: int) -> float:
    """Put the rows of these positions; the seconds that the calls take."""
    seconds = 0.0
    for at in range(start, stop, BATCH):
        keys = keys_at(np.arange(at, min(at + BATCH, stop)))
        rows = rows_of(keys, BYTES)
        seconds += timed(lambda keys=keys, rows=rows: store.put_many(keys, rows))
    return seconds


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def memory(name: str) -> int:
    """Return a figure of the memory of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def get(store: alexpy.Store, positions: NDArray[np.int64]) -> float:
    """Get the rows of these positions by one call; seconds."""
    keys = keys_at(positions)
    out = np.empty((len(keys), BYTES), np.uint8)
    seconds = timed(lambda: store.get_array(keys, np.uint8, BYTES, out=out))
    require((out == rows_of(keys, BYTES)).all(), "a row is another")
    return seconds


def scan(store: alexpy.Store, rows: int) -> float:
    """Read everything in key order, in batches; the seconds that reading takes."""
    seconds, seen, last = 0.0, 0, -(2**63)
    batches = store.scan_batches()
    while True:
        begun = time.perf_counter()
        batch = next(batches, None)
        seconds += time.perf_counter() - begun
        if batch is None:
            break
        keys = batch.keys
        require(keys[0] >= last and (np.diff(keys) > 0).all(), "the order is another")
        found = np.frombuffer(batch.data, np.uint8).reshape(len(keys), BYTES)
        require((found == rows_of(keys, BYTES)).all(), "a scanned row is another")
        seen, last = seen + len(keys), keys[-1]
    require(seen == rows, f"{seen} rows were scanned of {rows}")
    return seconds


def opened(path: Path, position: int) -> tuple[alexpy.Store, float]:
    """Open the store and get one row; seconds."""
    key = int(keys_at(np.array([position]))[0])
    begun = time.perf_counter()
    store = alexpy.open(path)
    value = store[key]
    seconds = time.perf_counter() - begun
    require(value == rows_of(np.array([key]), BYTES).tobytes(), "the first row is another")
    return store, seconds


def measured(path: Path, rows: int) -> dict[str, float]:
    """Everything of one size: seconds, nanoseconds a row, and bytes."""
    found: dict[str, float] = {}
    random = np.random.default_rng(5)
    store = alexpy.open(path)
    found["load, s"] = add(store, 0, rows) + timed(store.flush)
    figures = store.stats()
    found["index, bytes a key"] = figures.index_bytes / rows
    found["height of the index"] = figures.index_height
    found["commits slowed, s"] = figures.slowed_seconds
    found["memory of its own after the load, GB"] = memory("RssAnon") / 1e9
    found["close, s"] = timed(store.close)
    found["on disk, bytes a row"] = allocated(path) / rows
    store, found["open and first get, s"] = opened(path, 7)
    times = [get(store, random.integers(0, rows, GETS)) for _ in range(4)]
    found["first million gets, ns each"] = times[0] * 1e9 / GETS
    found["a million gets, ns each"] = statistics.median(times[1:]) * 1e9 / GETS
    found["scan in batches, ns a row"] = scan(store, rows) * 1e9 / rows
    store.close()
    child = subprocess.run(
        [sys.executable, __file__, "--add", str(rows), str(path)], capture_output=True, text=True, check=False
    )
    require(child.returncode == -9 and child.stdout, f"the writer was not killed: {child.stderr}")
    found["the last million rows, s"] = float(child.stdout)
    store, found["open after a kill, s"] = opened(path, rows + TAIL - 1)
    require(len(store) == rows + TAIL, "a row is missing after the kill")
    get(store, random.integers(rows, rows + TAIL, GETS))
    rows += TAIL
    tenth = np.arange(0, rows, 10)
    dead = keys_at(tenth)
    found["delete a tenth, ns each"] = timed(lambda: store.delete_many(dead)) * 1e9 / len(tenth)
    before = store.stats()
    found["compact, s"] = timed(store.compact)
    after = store.stats()
    found["compact, GB moved"] = (after.moved_bytes - before.moved_bytes) / 1e9
    found["dead bytes after it, share"] = after.dead_bytes / (after.dead_bytes + after.live_bytes)
    alive = random.integers(0, rows // 10, GETS) * 10 + random.integers(1, 10, GETS)
    found["a million gets after it, ns each"] = (
        statistics.median([get(store, alive[alive < rows]) for _ in range(3)]) * 1e9 / GETS
    )
    require(not store.contains_many(dead[: 10 * BATCH]).any(), "a deleted row is there")
    store.close()
    found["most memory with mapped files, GB"] = memory("VmHWM") / 1e9
    return found


def add_and_die(path: Path, rows: int) -> None:
    """Add the tail, tell how long it took, and die of SIGKILL."""
    store = alexpy.open(path)
    sys.stdout.write(f"{add(store, rows, rows + TAIL)}")
    sys.stdout.flush()
    os.kill(os.getpid(), 9)


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, action="append")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--folder", type=Path, help="where the stores go; the temporary folder if it is not given"
    )
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--add", type=int, help=argparse.SUPPRESS)
    parser.add_argument("path", type=Path, nargs="?", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.add is not None:
        add_and_die(arguments.path, arguments.add)
    if arguments.one is not None:
        print(json.dumps(measured(arguments.path, arguments.one * 1_000_000)))
        return
    found: dict[int, dict[str, float]] = {}
    for millions in arguments.millions or MILLIONS:
        folder = Path(tempfile.mkdtemp(prefix="alexpy-large-", dir=arguments.folder))
        try:
            child = subprocess.run(
                [sys.executable, __file__, "--one", str(millions), str(folder / "store")],
                stdout=subprocess.PIPE,
                check=True,
            )
        finally:
            shutil.rmtree(folder)
        found[millions] = json.loads(child.stdout)
    print(f"{'millions of rows':38}" + "".join(f"{millions:>12,}" for millions in found))
    for name in next(iter(found.values())):
        print(f"{name:38}" + "".join(f"{one[name]:12.4g}" for one in found.values()))
    if arguments.json:
        write(
            arguments.json,
            {"row_bytes": BYTES, "batch": BATCH, "tail": TAIL, "millions": found},
            arguments.folder,
        )


if __name__ == "__main__":
    main()
