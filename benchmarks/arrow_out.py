"""A whole store as Arrow columns: 1M rows of 100 bytes to pyarrow, polars and DuckDB, beside a copy of them.

Two stores, one loaded in key order by `bulk_load`, one at random by `put_many` of 10,000 at a time.
Everything in turn, `--rounds` times; medians. Each result is compared with what was stored, once. The same
rows through `scan_batches` are the engine alone. `python benchmarks/arrow_out.py --json FILE`; DuckDB only
if it is installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

import alexpy
from result import require, write

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE_BYTES = 100
BATCH = 10_000
MILLISECONDS = 60


def made(folder: Path, count: int, *, ordered: bool) -> tuple[alexpy.Store, np.ndarray, np.ndarray]:
    """A store of `count` rows, and its keys and values in order."""
    rng = np.random.default_rng(7)
    keys = np.sort(rng.choice(np.int64(1) << 60, count, replace=False))
    values = rng.integers(0, 256, (count, VALUE_BYTES), dtype=np.uint8)
    store = alexpy.open(folder)
    if ordered:
        store.bulk_load(keys, values)
    else:
        order = rng.permutation(count)
        for first in range(0, count, BATCH):
            some = order[first : first + BATCH]
            store.put_many(keys[some], values[some])
    store.flush()
    return store, keys, values


def ways(store: alexpy.Store, values: np.ndarray) -> dict[str, Callable[[], Any]]:
    """What is measured."""
    found: dict[str, Callable[[], Any]] = {
        "copy of the values": values.copy,
        "scan_batches": lambda: list(store.scan_batches()),
        "pyarrow.table(store.to_arrow())": lambda: pa.table(store.to_arrow()),
        "polars.DataFrame(store.to_arrow())": lambda: pl.DataFrame(store.to_arrow()),
    }
    if hasattr(store, "__arrow_c_stream__"):
        found["pyarrow.table(store)"] = lambda: pa.table(store)
        found["polars.DataFrame(store.items())"] = lambda: pl.DataFrame(store.items())
        views = pa.schema([("key", pa.int64()), ("value", pa.binary_view())])
        found["pyarrow.table(store, schema of views)"] = lambda: pa.table(store, schema=views)
    try:
        duckdb = importlib.import_module("duckdb")
    except ImportError:
        return found

    def counted() -> Any:
        stream = store.to_arrow()
        require(stream is not None, "a stream, which the query names")
        return duckdb.sql("select count(*), sum(octet_length(value)) from stream").fetchall()

    found["duckdb: count and lengths"] = counted
    return found


def check(result: Any, keys: np.ndarray, values: np.ndarray) -> None:
    """Compare one result with what was stored."""
    if isinstance(result, pl.DataFrame):
        result = result.to_arrow()
    if isinstance(result, pa.Table):
        require((result["key"].to_numpy() == keys).all(), "the keys")
        rows = b"".join(result["value"].to_pylist())
        require(rows == values.tobytes(), "the values")
    elif isinstance(result, list) and isinstance(result[0], tuple):
        require(result == [(len(keys), values.size)], "the sums")
    elif isinstance(result, list):
        require(np.array_equal(np.concatenate([batch.keys for batch in result]), keys), "the keys")


def measured(store: alexpy.Store, keys: np.ndarray, values: np.ndarray, rounds: int) -> dict[str, Any]:
    """Milliseconds of each way, all in turn."""
    calls = ways(store, values)
    for call in calls.values():
        check(call(), keys, values)
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            gc.collect()
            start = time.perf_counter()
            result = call()
            took[name].append((time.perf_counter() - start) * 1000)
            del result
    return {
        name: {"median_ms": round(statistics.median(all_), 1), "all_ms": [round(one, 1) for one in all_]}
        for name, all_ in took.items()
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alexpy-arrow-"))
    found: dict[str, Any] = {}
    try:
        for layout in ("bulk_load in key order", "put_many at random"):
            store, keys, values = made(folder / layout[:4], options.rows, ordered="in key order" in layout)
            with store:
                found[layout] = measured(store, keys, values, options.rounds)
            for name, times in found[layout].items():
                print(f"{layout:24} {name:40} {times['median_ms']:8.1f} ms")
    finally:
        shutil.rmtree(folder)
    if options.json:
        names = "polars", "pyarrow"
        versions = {name: importlib.import_module(name).__version__ for name in names}
        head = {"rows": options.rows, "value_bytes": VALUE_BYTES, "target_ms": MILLISECONDS}
        write(
            options.json,
            head | {"versions": versions, "durability": "interval", "times": found},
            folder.parent,
        )


if __name__ == "__main__":
    main()
