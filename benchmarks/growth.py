"""How much disk a writer that never pauses takes, how much log it leaves, and what keeping to both costs it.

Each workload runs for `--seconds` in a process of its own, on alexpy, on alexpy without anything that follows
the writer (`background=False`: no flush, no checkpoint, no compaction, which is what keeping up is measured
against), and on RocksDB and LMDB with their logs unsynced, as durable as alexpy's default: what returned
survives a kill. The files are measured every 50 ms; then the writer is killed, the store opened and its
answers checked.
`python benchmarks/growth.py --json FILE`; with `--cpus 0` on one core.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from result import require, write

VALUE_BYTES = 100
LARGE_BYTES = 1 << 20
PAUSE_SECONDS = 0.05

# The most that is promised beyond 2.5 bytes for a live one.
SEGMENTS = 4 * (64 << 20)

ENGINES = ("alexpy", "alexpy, nobody follows", "rocksdb", "lmdb")


class Alexpy:
    """alexpy with default options, or without background threads."""

    def __init__(self, path: str, **options: Any) -> None:
        import alexpy  # noqa: PLC0415

        self.store = alexpy.open(path, **options)

    def put_many(self, keys: list[int], value: bytes) -> None:
        """Put the same value under many keys, in one commit."""
        self.store.put_many(keys, [value] * len(keys))

    def put(self, key: int, value: bytes) -> None:
        """Put one value."""
        self.store.put(key, value)

    def delete(self, key: int) -> None:
        """Delete one key that is there."""
        self.store.delete(key)

    def delete_below(self, first: int, stop: int) -> None:
        """Delete the keys from `first` up to `stop`, which is the lowest part of all there are."""
        self.store.delete_range(first, stop)

    def get(self, key: int) -> bytes | None:
        """Return a value, if it is there."""
        return self.store.get(key)


class Rocks:
    """RocksDB as rocksdict has it by default: a log, not synced."""

    def __init__(self, path: str) -> None:
        import rocksdict  # noqa: PLC0415

        self.rocksdict = rocksdict
        self.store = rocksdict.Rdict(path, rocksdict.Options(raw_mode=True))

    def put_many(self, keys: list[int], value: bytes) -> None:
        """Put the same value under many keys, in one commit."""
        batch = self.rocksdict.WriteBatch(raw_mode=True)
        for key in keys:
            batch.put(struct.pack(">q", key), value)
        self.store.write(batch)

    def put(self, key: int, value: bytes) -> None:
        """Put one value."""
        self.store.put(struct.pack(">q", key), value)

    def delete(self, key: int) -> None:
        """Delete one key that is there."""
        self.store.delete(struct.pack(">q", key))

    def delete_below(self, first: int, stop: int) -> None:
        """Delete the keys from `first` up to `stop`, which is the lowest part of all there are."""
        self.store.delete_range(struct.pack(">q", first), struct.pack(">q", stop))

    def get(self, key: int) -> bytes | None:
        """Return a value, if it is there."""
        found: bytes | None = self.store.get(struct.pack(">q", key))
        return found


class Lmdb:
    """LMDB without syncs: what is committed is in the page cache."""

    def __init__(self, path: str) -> None:
        import lmdb  # noqa: PLC0415

        self.env = lmdb.open(path, map_size=1 << 36, sync=False, metasync=False, writemap=True)

    def put_many(self, keys: list[int], value: bytes) -> None:
        """Put the same value under many keys, in one commit."""
        with self.env.begin(write=True) as transaction:
            transaction.cursor().putmulti([(struct.pack(">q", key), value) for key in keys])

    def put(self, key: int, value: bytes) -> None:
        """Put one value."""
        with self.env.begin(write=True) as transaction:
            transaction.put(struct.pack(">q", key), value)

    def delete(self, key: int) -> None:
        """Delete one key that is there."""
        with self.env.begin(write=True) as transaction:
            transaction.delete(struct.pack(">q", key))

    def delete_below(self, first: int, stop: int) -> None:
        """Delete the keys from `first` up to `stop`, which is the lowest part of all there are."""
        with self.env.begin(write=True) as transaction, transaction.cursor() as cursor:
            there = cursor.set_range(struct.pack(">q", first))
            while there and cursor.key() < struct.pack(">q", stop):
                there = cursor.delete()

    def get(self, key: int) -> bytes | None:
        """Return a value, if it is there."""
        with self.env.begin() as transaction:
            found: bytes | None = transaction.get(struct.pack(">q", key))
            return found


def opened(engine: str, path: str) -> Alexpy | Rocks | Lmdb:
    """Open a store, or make one."""
    match engine:
        case "rocksdb":
            return Rocks(path)
        case "lmdb":
            return Lmdb(path)
        case "alexpy":
            return Alexpy(path)
        case _:
            return Alexpy(path, background=False, durability="os", checkpoint_tail_bytes=1 << 60)


class Work:
    """One workload: commits of known keys, and which of them are there and live."""

    def __init__(self, name: str, store: Alexpy | Rocks | Lmdb) -> None:
        import numpy as np  # noqa: PLC0415

        self.name = name
        self.store = store
        self.random = np.random.default_rng(1)
        self.live: range = range(0)
        self.value_bytes = LARGE_BYTES if name == "values of 1 MiB" else VALUE_BYTES
        # Random: of zeros an engine that compresses would keep nothing.
        self.value = os.urandom(self.value_bytes)

    def begin(self) -> None:
        """Put what is there from the beginning."""
        if self.name == "overwrite at random":
            for first in range(0, 1_000_000, 10_000):
                self.store.put_many(list(range(first, first + 10_000)), self.value)
            self.live = range(1_000_000)
        if self.name == "single puts at random":
            for first in range(0, 2_000_000, 10_000):
                self.store.put_many(list(range(first, first + 10_000)), self.value)
            self.live = range(2_000_000)

    def step(self, number: int) -> int:
        """Make the next commit, or a thousand that are small; how many values they put."""
        if self.name in {"single puts at random", "a queue, popped one by one"}:
            return self._one_by_one(number)
        match self.name:
            case "overwrite at random":
                keys = self.random.integers(0, 1_000_000, 1000).tolist()
            case "values of 1 MiB":
                keys = [number % 500]
                self.live = range(min(number + 1, 500))
            case _:
                keys = list(range(number * 100, number * 100 + 100))
                self.live = range(self.live.start, keys[-1] + 1)
        self.store.put_many(keys, self.value)
        match self.name:
            case "queue, trimmed to 500,000" if number % 50 == 49:
                self._trim(max(keys[-1] + 1 - 500_000, self.live.start))
            case "queue, trimmed to its half" if number % 50 == 49:
                self._trim((number + 1) * 50)
            case "cleared now and then" if number % 3000 == 2999:
                self._trim(keys[-1] + 1)
        return len(keys)

    def _one_by_one(self, number: int) -> int:
        if self.name == "single puts at random":
            for key in self.random.integers(0, 2_000_000, 1000).tolist():
                self.store.put(key, self.value)
            return 1000
        for key in range(number * 1000, number * 1000 + 1000):
            self.store.put(key, self.value)
            if key >= 100_000:
                self.store.delete(key - 100_000)
        self.live = range(max(number * 1000 - 99_000, 0), number * 1000 + 1000)
        return 1000

    def _trim(self, stop: int) -> None:
        if stop > self.live.start:
            self.store.delete_below(self.live.start, stop)
            self.live = range(stop, self.live.stop)


WORKLOADS = (
    "overwrite at random",
    "queue, trimmed to 500,000",
    "queue, trimmed to its half",
    "values of 1 MiB",
    "cleared now and then",
    "single puts at random",
    "a queue, popped one by one",
)


def write_on(engine: str, workload: str, path: str) -> None:
    """Write until killed; say now and then how many values were put, and which keys live."""
    work = Work(workload, opened(engine, path))
    work.begin()
    number = puts = 0
    said = time.monotonic()
    print("begun", flush=True)
    while True:
        puts += work.step(number)
        number += 1
        if time.monotonic() - said > PAUSE_SECONDS:
            said = time.monotonic()
            print(puts, work.live.start, work.live.stop, flush=True)


def disk_of(path: Path) -> int:
    """Bytes that the files take, images of alexpy's index aside."""
    taken = 0
    for file in path.iterdir():
        if not file.name.startswith("img-"):
            try:
                taken += file.stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return taken


def run(engine: str, workload: str, seconds: float, cpus: str | None, folder: Path) -> dict[str, Any]:
    """Run one workload on one engine and kill it; what was seen."""
    path = folder / "store"
    command = [sys.executable, __file__, "--write", engine, "--workload", workload, "--path", str(path)]
    if cpus is not None:
        command = ["taskset", "-c", cpus, *command]
    record = LARGE_BYTES if workload == "values of 1 MiB" else VALUE_BYTES + 24
    most = beyond = puts = start = stop = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        require(writer.stdout.readline() == "begun\n", f"{engine} does not begin")
        begun = time.monotonic()
        recent: list[int] = []
        while time.monotonic() - begun < seconds:
            puts, start, stop = map(int, writer.stdout.readline().split())
            # What lived half a second ago may still be there.
            recent = [*recent[-9:], (stop - start) * record]
            disk = disk_of(path)
            most, beyond = max(most, disk), max(beyond, disk - int(2.5 * max(recent)))
        took = time.monotonic() - begun
        writer.kill()
    clock = time.perf_counter()
    store = opened("alexpy" if engine.startswith("alexpy") else engine, str(path))
    last = store.get(stop - 1)
    opening = time.perf_counter() - clock
    require(
        last is not None or workload.startswith("cleared"),
        f"{engine}, {workload}: the last value that was reported is there",
    )
    expected = LARGE_BYTES if workload == "values of 1 MiB" else VALUE_BYTES
    # The lower ones may have gone between the last report and the kill.
    stays = not workload.startswith(("queue", "cleared", "a queue"))
    for key in range(start, stop, max((stop - start) // 1000, 1)):
        found = store.get(key)
        right = len(found) == expected if found is not None else not stays
        require(right, f"{engine}, {workload}: the value of key {key}")
    live = (stop - start) * record
    return {
        "engine": engine,
        "workload": workload,
        "puts_per_second": round(puts / took, 1),
        "live_bytes": live,
        "most_disk_bytes": most,
        "most_beyond_2.5_live": beyond,
        "open_seconds": round(opening, 4),
        "replayed_bytes": store.store.stats().tail_bytes if isinstance(store, Alexpy) else None,
    }


def main() -> None:
    """Run what is asked for, in turn, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--cpus", help="as taskset takes them: 0 is one core")
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--workload", choices=WORKLOADS, action="append", help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.write:
        write_on(chosen.write, chosen.workload[0], chosen.path)
    rows = []
    for workload in chosen.workload or WORKLOADS:
        for engine in chosen.engine or ENGINES:
            folder = Path(tempfile.mkdtemp(prefix="alexpy-growth-"))
            try:
                row = run(engine, workload, chosen.seconds, chosen.cpus, folder)
            finally:
                shutil.rmtree(folder)
            rows.append(row)
            tail = row["replayed_bytes"]
            replayed = "" if tail is None else f", {tail / 1e6:,.0f} MB replayed"
            print(
                f"{workload:27} {engine:23} {row['puts_per_second']:>11,.0f} puts/s  "
                f"live {row['live_bytes'] / 1e6:6,.0f} MB  "
                f"disk at most {row['most_disk_bytes'] / 1e6:7,.0f} MB  "
                f"beyond 2.5 live {row['most_beyond_2.5_live'] / SEGMENTS * 4:5.1f} segments  "
                f"opened in {row['open_seconds']:.3f} s{replayed}",
                flush=True,
            )
    if chosen.json:
        found = {"seconds": chosen.seconds, "cpus": chosen.cpus or f"all {os.cpu_count()}", "rows": rows}
        write(chosen.json, found)


if __name__ == "__main__":
    main()
