"""A sharded store built, read whole and looked up in by Dask, with one worker process and with two.

Four million rows of eight numbers, not in the order of their keys. Medians of `--rounds`, in turn;
each sum of what was read or looked up is compared with what it must be. Workers have one thread each; the
scheduler and this process have the rest of the machine. How much a second worker can bring here is shown by
Dask's own way for the same rows: sorted by `set_index` into as many Parquet files, and read from them.
`python benchmarks/dask_workers.py --json FILE`.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster, wait

import alexpy.dask
from result import require, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 1 << 22
PARTS = 16
SHARDS = 8
COLUMNS = 8
LOOKED_UP = 1 << 23
CHUNK = 1 << 18
WORKERS = (1, 2)
# Odd, so that multiplication by it, modulo a power of two, gives each key once.
SPREAD = 2_654_435_761


def make_part(part: int) -> pd.DataFrame:
    """Rows of keys that are spread over all there are; each column a multiple of the key."""
    size = ROWS // PARTS
    keys = np.arange(part * size, (part + 1) * size, dtype=np.int64) * SPREAD % ROWS
    return pd.DataFrame({"id": keys} | {f"x{column}": keys * (column + 1.0) for column in range(COLUMNS)})


def sum_of(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """Sum a block of rows in the worker that has it: exact, since all are whole numbers below 2**53."""
    return np.array([sum(int(rows[name].sum()) for name in rows.dtype.names)])


def sum_of_frame(part: pd.DataFrame) -> pd.DataFrame:
    """Sum a partition in the worker that has it."""
    return pd.DataFrame({"rows": [len(part)], "sum": [int(part.to_numpy(np.float64).sum())]})


def chosen(block_id: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the keys that a chunk looks up: random ones, some of them twice."""
    return np.random.default_rng(block_id[0]).integers(0, ROWS, CHUNK)


def expected(sum_of_keys: int) -> int:
    """Return the sum of all columns of keys with this sum."""
    return sum_of_keys * COLUMNS * (COLUMNS + 1) // 2


def scanned(frame: dd.DataFrame) -> float:
    """Return the seconds that it takes to read everything and sum it."""
    begun = time.perf_counter()
    whole = frame.map_partitions(sum_of_frame, meta={"rows": int, "sum": int}).compute()
    took = time.perf_counter() - begun
    require(int(whole["rows"].sum()) == ROWS, "a row is missing")
    require(int(whole["sum"].sum()) == expected(ROWS * (ROWS - 1) // 2), "a row is another")
    return took


def measured(path: Path) -> dict[str, float]:
    """One round with the cluster that is there: seconds of each work."""
    found: dict[str, float] = {}
    frame = dd.from_map(make_part, range(PARTS), meta=make_part(0).iloc[:0])
    begun = time.perf_counter()
    alexpy.dask.write(frame, path, key="id", shards=SHARDS)
    found["build"] = time.perf_counter() - begun

    found["scan"] = scanned(alexpy.dask.read(path))

    begun = time.perf_counter()
    frame.set_index("id", npartitions=SHARDS).to_parquet(path.with_suffix(".parquet"))
    found["Dask's own build"] = time.perf_counter() - begun
    found["Dask's own scan"] = scanned(dd.read_parquet(path.with_suffix(".parquet")))

    chunks = LOOKED_UP // CHUNK
    keys = da.map_blocks(chosen, chunks=((CHUNK,) * chunks,), dtype=np.int64).persist()
    wait(keys)
    begun = time.perf_counter()
    rows = alexpy.dask.lookup(path, keys)
    sums = rows.map_blocks(sum_of, dtype=np.int64, chunks=((1,) * rows.numblocks[0],)).compute()
    found["lookup"] = time.perf_counter() - begun
    require(
        int(sums.sum()) == expected(sum(int(chosen((block,)).sum()) for block in range(chunks))),
        "a row that was looked up is another",
    )
    return found


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alexpy-dask-"))
    rounds: dict[int, list[dict[str, float]]] = {workers: [] for workers in WORKERS}
    try:
        for number in range(arguments.rounds):
            for workers in WORKERS:
                path = folder / f"{number}-{workers}"
                with (
                    dask.config.set({"distributed.worker.memory.terminate": False}),
                    LocalCluster(
                        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
                    ) as cluster,
                    Client(cluster),
                ):
                    rounds[workers].append(measured(path))
                shutil.rmtree(path)
                shutil.rmtree(path.with_suffix(".parquet"))
    finally:
        shutil.rmtree(folder)
    medians = {
        workers: {name: statistics.median(one[name] for one in each) for name in each[0]}
        for workers, each in rounds.items()
    }
    ratios = {name: medians[1][name] / medians[2][name] for name in medians[1]}
    a_worker = {workers: LOOKED_UP / medians[workers]["lookup"] / workers for workers in WORKERS}
    print(f"{'':16}{'1 worker':>12}{'2 workers':>12}{'ratio':>8}")
    for name, ratio in ratios.items():
        print(f"{name:16}{medians[1][name]:10.2f} s{medians[2][name]:10.2f} s{ratio:8.2f}")
    print(f"keys/s a worker: {a_worker[1]:,.0f} of one, {a_worker[2]:,.0f} of each of two")
    if arguments.json:
        found = {
            "rows": ROWS,
            "rounds": rounds,
            "medians": medians,
            "ratios": ratios,
            "keys a second a worker": a_worker,
        }
        write(arguments.json, found)


if __name__ == "__main__":
    main()
