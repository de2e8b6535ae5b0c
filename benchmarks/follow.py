"""What it costs to follow a writer: a refresh with nothing new, or for each new record; many processes.

RocksDB's secondary is timed beside where rocksdict is installed (`make .venv/compare`). Every answer is
checked. `python benchmarks/follow.py --keys 10000000 --json FILE`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import alexpy
from result import require, write

VALUE_BYTES = 100
BATCH = 10_000
ROUNDS = 5
READERS = 16
clock = time.perf_counter_ns

# A reader: opens the store, reads keys spread over all of it, says how long opening took, and waits.
READER = """
import sys, time
import numpy as np, alexpy
took = 0
if sys.argv[1]:
    start = time.perf_counter()
    store = alexpy.open(sys.argv[1], read_only=True)
    took = time.perf_counter() - start
    keys = np.arange(0, int(sys.argv[2]), 97)
    found = store.get_array(keys, np.dtype(("V", 100)))
    assert len(found) == len(keys)
    del found, keys
print(took, flush=True)
sys.stdin.readline()
"""


def records(first: int, count: int, version: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return keys in a random order, and for each a value of 100 bytes that begins with the version."""
    keys = np.random.default_rng(version).permutation(np.arange(first, first + count))
    values = np.zeros((count, VALUE_BYTES), np.uint8)
    values[:, :8] = np.frombuffer(np.int64(version).tobytes(), np.uint8)
    return keys, values


def load(store: alexpy.Store, keys: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> None:
    """Put in batches."""
    for first in range(0, len(keys), BATCH):
        store.put_many(keys[first : first + BATCH], values[first : first + BATCH])


def following(store: alexpy.Store, count: int) -> dict[str, Any]:
    """A reader of a store beside its writer."""
    found: dict[str, Any] = {}
    with alexpy.open(store.path, read_only=True) as reader:
        time.sleep(0.1)
        reader.refresh()
        rounds = []
        for _ in range(ROUNDS):
            start = clock()
            for _ in range(20_000):
                reader.refresh()
            rounds.append((clock() - start) / 20_000)
        found["nothing new, ns"] = round(statistics.median(rounds))
        for name, singly in (("batches of 10,000", False), ("single puts", True)):
            rounds = []
            for version in range(1, ROUNDS + 1):
                changed = count // 10 if singly else count
                keys, values = records(0, changed, version)
                if singly:
                    value = bytes(values[0])
                    for key in keys.tolist():
                        store.put(key, value)
                else:
                    load(store, keys, values)
                start = clock()
                reader.refresh()
                rounds.append((clock() - start) / changed)
                require(reader.get_many(keys[:1000]) == store.get_many(keys[:1000]), "stale values")
                require(reader.get(int(keys[-1])) == bytes(values[-1]), "stale values")
            found[f"each new record, {name}, ns"] = round(statistics.median(rounds))
        rounds = []
        for key in range(2000):
            store.put(key, b"x" * VALUE_BYTES)
            start = clock()
            reader.refresh()
            rounds.append(clock() - start)
            require(reader.get(key) == b"x" * VALUE_BYTES, "a stale value")
        found["one put, then a refresh, ns"] = round(statistics.median(rounds))
    return found


def secondary(folder: Path, count: int) -> dict[str, Any]:
    """RocksDB's secondary, under the same work."""
    try:
        from rocksdict import AccessType, Options, Rdict, WriteBatch  # noqa: PLC0415
    except ImportError:
        return {"rocksdb": "not installed"}
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - not ours
    primary = Rdict(str(folder / "primary"), options)
    reader = Rdict(
        str(folder / "primary"),
        Options(raw_mode=True),
        access_type=AccessType.secondary(str(folder / "second")),
    )
    found: dict[str, Any] = {}
    rounds = []
    for _ in range(ROUNDS):
        start = clock()
        for _ in range(2000):
            reader.try_catch_up_with_primary()
        rounds.append((clock() - start) / 2000)
    found["rocksdb secondary, nothing new, ns"] = round(statistics.median(rounds))
    rounds = []
    stale = 0
    for version in range(1, ROUNDS + 1):
        keys, values = records(0, count, version)
        for first in range(0, count, BATCH):
            batch = WriteBatch(raw_mode=True)
            for key, value in zip(
                keys[first : first + BATCH].tolist(), values[first : first + BATCH], strict=True
            ):
                batch.put(key.to_bytes(8, "big"), bytes(value))
            primary.write(batch)
        start = clock()
        reader.try_catch_up_with_primary()
        rounds.append((clock() - start) / count)
        stale += sum(
            reader.get(key.to_bytes(8, "big")) != bytes(value)
            for key, value in zip(keys[:1000].tolist(), values[:1000], strict=True)
        )
    found["rocksdb secondary, each new record, ns"] = round(statistics.median(rounds))
    found["rocksdb secondary, stale of 5,000 values read after catching up"] = stale
    reader.close()
    primary.close()
    return found


def pss(pid: int) -> int:
    """Bytes of memory of a process, with its share of what it shares."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def many_readers(path: Path, keys: int) -> dict[str, Any]:
    """Processes that read all over one store: memory (PSS) beyond that of a process without one; opening."""
    sums = {}
    opened: list[float] = []
    for count, with_store in ((1, True), (READERS, True), (1, False)):
        readers = [
            subprocess.Popen(
                [sys.executable, "-c", READER, str(path) if with_store else "", str(keys)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
            for _ in range(count)
        ]
        for reader in readers:
            assert reader.stdout is not None
            opened.append(float(reader.stdout.readline()))
        sums[count, with_store] = sum(pss(reader.pid) for reader in readers)
        for reader in readers:
            reader.communicate("\n")
            require(reader.returncode == 0, "a reader failed")
    alone = sums[1, False]
    one, all_of_them = sums[1, True] - alone, sums[READERS, True] - READERS * alone
    opened = opened[:-1]
    return {
        "of Python and NumPy, MB a process": round(alone / 1e6),
        "of the store in one process, MB": round(one / 1e6),
        f"of the store in {READERS} processes, MB": round(all_of_them / 1e6),
        "times as much": round(all_of_them / one, 3),
        "opening, median, ms": round(1e3 * statistics.median(opened), 2),
        "opening, longest, ms": round(1e3 * max(opened), 2),
        "opening, each, ms": [round(1e3 * each, 1) for each in opened],
    }


def main() -> None:
    """Measure all rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alexpy-follow-"))
    try:
        found: dict[str, Any] = {"keys": asked.keys}
        with alexpy.open(folder / "store") as store:
            load(store, *records(0, asked.keys, 0))
            found["following"] = following(store, min(asked.keys, 1_000_000))
        found["rivals"] = secondary(folder, min(asked.keys, 1_000_000) // 10)
        found["reader processes"] = many_readers(folder / "store", asked.keys)
    finally:
        shutil.rmtree(folder)
    for name, row in found.items():
        print(f"{name}: {row}")
    if asked.json:
        write(asked.json, found, folder.parent)


if __name__ == "__main__":
    main()
