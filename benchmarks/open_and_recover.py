"""A store of 10M values of 100 bytes: load, close, open, recovery after SIGKILL, and what deleting frees.

Each opening is a process of its own, with the files in the page cache; its answers are checked. `python
benchmarks/open_and_recover.py --json FILE` takes 5 GB of disk; `--keys` makes it smaller.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
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
RECORD_BYTES = 128
BATCH = 10_000
TARGETS = {
    "load, s": "<= 5 at 10M",
    "close, s": "<= 1 at 10M",
    "open and first get after a close, ms": "<= 10",
    "open after SIGKILL, ms": "<= 20 and 300 for each million records of the tail",
    "allocated / live after overfilling and deleting": "<= 1.4, images and two segments aside",
}

_OPEN = """
import json, sys, time, alexpy
path, key, value = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
start = time.perf_counter()
store = alexpy.open(path, create=False)
opened = time.perf_counter()
found = store[key]
got = time.perf_counter()
assert found == value, found
print(json.dumps([opened - start, got - start, len(store), store.stats().tail_bytes]), flush=True)
store.close()
"""

_TAIL = """
import os, signal, sys
import numpy as np
import alexpy
path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = alexpy.open(path, create=False, checkpoint_tail_bytes=1 << 40)
for at in range(first, first + count, 10_000):
    keys = np.arange(at, min(at + 10_000, first + count)) * 9_223_372_036 + 1
    store.put_many(keys, np.tile(keys[:, None].view(np.uint8), (1, 13))[:, :100].copy())
os.kill(os.getpid(), signal.SIGKILL)
"""


def keys_of(count: int) -> np.ndarray[Any, Any]:
    """Distinct keys in random order."""
    return np.random.default_rng(1).permutation(count).astype(np.int64) * 922_337_203_685


def values_of(keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values that name their keys."""
    return np.tile(keys[:, None].view(np.uint8), (1, 13))[:, :VALUE_BYTES]


def load(path: Path, keys: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Seconds of a load with its flush, and of closing."""
    store = alexpy.open(path)
    took = 0.0
    for first in range(0, len(keys), 1_000_000):
        part = keys[first : first + 1_000_000]
        values = np.ascontiguousarray(values_of(part))
        start = time.perf_counter()
        for at in range(0, len(part), BATCH):
            store.put_many(part[at : at + BATCH], values[at : at + BATCH])
        took += time.perf_counter() - start
    start = time.perf_counter()
    store.flush()
    took += time.perf_counter() - start
    require(len(store) == len(keys), "the number of keys")
    start = time.perf_counter()
    store.close()
    return took, time.perf_counter() - start


def open_once(path: Path, key: int, value: bytes) -> tuple[float, float, int, int]:
    """Seconds until it is open and until a value was got, the keys, and bytes of tail, in a fresh process."""
    command = [sys.executable, "-c", _OPEN, str(path), str(key), value.hex()]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    opened, got, count, tail = json.loads(out)
    return opened, got, count, tail


def linked(store: Path, copy: Path) -> Path:
    """A copy that shares what is never written again."""
    subprocess.run(["cp", "--archive", "--link", str(store), str(copy)], check=True)
    for name in ("MANIFEST-A", "MANIFEST-B", "LOCK"):
        (copy / name).unlink()
        shutil.copy2(store / name, copy / name)
    return copy


def recover(folder: Path, store: Path, count: int, records: int, rounds: int) -> dict[str, Any]:
    """Kill a writer after so many records and open, each time anew: what is cached differs later."""
    key = records * 9_223_372_036 + 1
    value = key.to_bytes(8, "little") * 13
    took, replayed = [], 0
    for number in range(rounds):
        killed = linked(store, folder / "killed")
        writer = [sys.executable, "-c", _TAIL, str(killed), "1", str(records)]
        done = subprocess.run(writer, check=False, capture_output=True)
        require(done.returncode == -signal.SIGKILL, done.stderr.decode())
        _, got, found, replayed = open_once(killed, key, value[:VALUE_BYTES])
        require(found == count + records, f"round {number}: {found} keys")
        took.append(got * 1000)
        shutil.rmtree(killed)
    target = 20 + 300 * records / 1_000_000
    return {"ms": took, "median ms": statistics.median(took), "target ms": target, "tail bytes": replayed}


def come_down(path: Path, count: int, seconds: float) -> dict[str, Any]:
    """Overfill a store four times, delete nine of ten, and wait: allocated against live bytes."""
    keys = keys_of(count)
    segment = 16 << 20
    with alexpy.open(path, segment_bytes=segment, compact_bytes_per_second=1 << 30) as store:
        for _ in range(4):
            for at in range(0, count, BATCH):
                store.put_many(keys[at : at + BATCH], values_of(keys[at : at + BATCH]).copy())
        full = store.stats().disk_bytes
        for at in range(0, count, BATCH):
            store.delete_many(keys[at : at + BATCH][np.arange(len(keys[at : at + BATCH])) % 10 > 0])
        start = time.perf_counter()
        while True:
            stats = store.stats()
            ratio = max(stats.disk_bytes - 2 * segment, 0) / stats.live_bytes
            waited = time.perf_counter() - start
            if ratio <= 1.4 or waited > seconds:
                break
            time.sleep(0.1)
        left = keys[
            np.concatenate([np.arange(at, min(at + BATCH, count), 10) for at in range(0, count, BATCH)])
        ]
        require(len(store) == len(left), "the number of keys left")
        require((store.get_array(left, np.uint8, VALUE_BYTES) == values_of(left)).all(), "what is left")
    shutil.rmtree(path)
    return {
        "keys": count,
        "bytes when full": full,
        "allocated": stats.disk_bytes,
        "live": stats.live_bytes,
        "two segments": 2 * segment,
        "ratio": ratio,
        "waited s": waited,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the device to measure; default: the temporary folder")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        keys = keys_of(arguments.keys)
        found["load, s"], found["close, s"] = load(folder / "store", keys)
        value = values_of(keys[:1])[0].tobytes()
        opened = [open_once(folder / "store", int(keys[0]), value) for _ in range(arguments.rounds)]
        require(all(count == len(keys) for _, _, count, _ in opened), "the number of keys")
        found["open and first get after a close, ms"] = [got * 1000 for _, got, _, _ in opened]
        for records in (100_000, 1_000_000):
            work = f"open after SIGKILL with a tail of {records:,}"
            found[work] = recover(folder, folder / "store", len(keys), records, arguments.rounds)
        shutil.rmtree(folder / "store")
        found["overfill and delete"] = come_down(folder / "down", arguments.keys // 5, 60)
    print(json.dumps(found, indent=1))
    if arguments.json:
        result = {
            "targets": TARGETS,
            "keys": arguments.keys,
            "found": found,
        }
        write(arguments.json, result, arguments.folder)


if __name__ == "__main__":
    main()
