"""UUID keys beside int64 keys: 1M rows of 100 bytes loaded, read and inserted, and memory a key.

Four stores in turn, `--rounds` times, medians: random int64, UUIDs of version 4 (random), of version 7
(2,000 a millisecond, in order and shuffled). Loads and inserts are `put_many` of 10,000 keys at a time; half
of the keys are loaded, half inserted. Reads go one by one through `get` with Python's keys, and in batches
of 10,000 through `get_many` and `get_array` with arrays. What is read is compared with what was written.
`python benchmarks/uuid_keys.py --json FILE`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

import alexpy
from result import require, write

VALUE_BYTES = 100
BATCH = 10_000
SINGLE = 200_000
NANOSECONDS = 1e9


def version_4(count: int, rng: np.random.Generator) -> np.ndarray:
    """Random UUIDs, as rows of 16 bytes."""
    rows = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    rows[:, 6] = rows[:, 6] & 0x0F | 0x40
    rows[:, 8] = rows[:, 8] & 0x3F | 0x80
    return rows


def version_7(count: int, rng: np.random.Generator) -> np.ndarray:
    """UUIDs in the order of time, 2,000 in each millisecond."""
    rows = version_4(count, rng)
    rows[:, 6] = rows[:, 6] & 0x0F | 0x70
    time_ms = 1_790_000_000_000 + np.arange(count) // 2_000
    rows[:, :6] = time_ms.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    order = np.lexsort(rows.T[::-1])
    return rows[order]


def kinds(count: int) -> dict[str, tuple[str, np.ndarray]]:
    """Return for each kind the store's kind of keys, and the keys in the order of writing."""
    rng = np.random.default_rng(3)
    numbers = rng.choice(np.int64(1) << 60, count, replace=False)
    in_order = version_7(count, rng)
    return {
        "int64 random": ("int64", numbers),
        "UUID v4": ("uuid", version_4(count, rng)),
        "UUID v7 in order": ("uuid", in_order),
        "UUID v7 shuffled": ("uuid", in_order[rng.permutation(count)]),
    }


def measured(kind: str, keys: np.ndarray, rows: np.ndarray, folder: Path) -> dict[str, float]:
    """Return nanoseconds a row of each call, and bytes of the index a key."""
    count, half = len(keys), len(keys) // 2
    found: dict[str, float] = {}
    rng = np.random.default_rng(5)
    order = rng.permutation(count)
    if kind == "int64":
        single: list[Any] = keys[order[:SINGLE]].tolist()
        array = keys
    else:
        single = [uuid.UUID(bytes=keys[at].tobytes()) for at in order[:SINGLE]]
        array = keys.view("V16").ravel()
    with alexpy.open(folder, key=kind, background=False) as store:
        for name, first in (("load", 0), ("insert", half)):
            begun = time.perf_counter()
            for at in range(first, first + half, BATCH):
                store.put_many(array[at : at + BATCH], rows[at : at + BATCH])
            found[name] = (time.perf_counter() - begun) / half * NANOSECONDS
            found[f"bytes a key after {name}"] = store.stats().index_bytes / len(store)
        begun = time.perf_counter()
        values = [store.get(key) for key in single]
        found["get"] = (time.perf_counter() - begun) / len(single) * NANOSECONDS
        require(all(map(bytes.__eq__, values, map(bytes, rows[order[:SINGLE]]))), "get")
        shuffled = array[order]
        out = np.empty((count, VALUE_BYTES), np.uint8)
        begun = time.perf_counter()
        for at in range(0, count, BATCH):
            store.get_array(shuffled[at : at + BATCH], "u1", VALUE_BYTES, out=out[at : at + BATCH])
        found["get_array"] = (time.perf_counter() - begun) / count * NANOSECONDS
        require((out == rows[order]).all(), "get_array")
        begun = time.perf_counter()
        lists = [store.get_many(shuffled[at : at + BATCH]) for at in range(0, count, BATCH)]
        found["get_many"] = (time.perf_counter() - begun) / count * NANOSECONDS
        require(sum(map(len, lists)) == count and lists[0][0] == bytes(rows[order[0]]), "get_many")
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    all_kinds = kinds(asked.rows)
    rows = np.random.default_rng(1).integers(0, 256, (asked.rows, VALUE_BYTES), dtype=np.uint8)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in all_kinds}
    for _ in range(asked.rounds):
        for name, (kind, keys) in all_kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                runs[name].append(measured(kind, keys, rows, Path(folder) / "store"))
    medians = {
        name: {call: statistics.median(run[call] for run in many) for call in many[0]}
        for name, many in runs.items()
    }
    calls = list(medians["int64 random"])
    print(" " * 18, *(f"{call:>24}" for call in calls), sep="")
    for name, found in medians.items():
        print(f"{name:18}", *(f"{found[call]:24.1f}" for call in calls), sep="")
    base = medians["int64 random"]
    for name, found in medians.items():
        print(
            f"{name + ', ratio':26}", *(f"{call} {found[call] / base[call]:.2f}  " for call in calls), sep=""
        )
    if asked.json:
        write(asked.json, {"nanoseconds": medians})


if __name__ == "__main__":
    main()
