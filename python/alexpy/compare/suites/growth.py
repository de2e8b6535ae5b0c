"""How much disk a writer that never pauses takes, and what opening costs after it is killed.

Each workload is written by a process of its own (`run_writer`) until it is killed. Meanwhile its files are
measured every 50 ms. Then the store is opened, and a thousand of its values are checked: those that no later
commit can have deleted must be there. What a store may take is 2.5 bytes for each live one, and four
segments; an image of the index does not count.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.children import doomed, say
from alexpy.compare.keys import SEED, rows_of, split
from alexpy.compare.promise import Mode

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import TrimmedStore
    from alexpy.compare.sizes import Sizes

WORKLOADS = ("overwrite", "queue", "wide", "cleared")
MORE = ("trimmed", "singles", "popped")
"""What `benchmarks/growth.py` measures, too: a queue of one length, and single puts and deletes."""
WORKS = ("puts", "disk", "allowed", "opening")
NARROW, WIDE = 100, 1 << 20
# What a record takes beside its value.
_HEADER = 24
_BATCH = 1_000
_SEGMENTS = 4 * (64 << 20)
_TIMES_LIVE = 2.5
_PAUSE_SECONDS = 0.05
# What lived half a second ago may still be on the disk.
_REMEMBERED = 10
_WIDE_KEYS = 500
_TRIMMED_KEYS = 500_000
_POPPED_KEYS = 100_000
_CHECKED = 1_000
# So that what came after the last report is little beside what came before it, in a short run, too.
_LEAST_REPORTS = 4
_FOR_GOOD = {"overwrite", "wide", "singles"}
_IMAGES = ".idx"


def run(bench: Bench, engine: TrimmedStore, mode: Mode, sizes: Sizes, folder: Path, name: str) -> None:
    """Measure one engine; `name` is how the writing process finds it."""
    for workload in WORKLOADS:
        path = folder / workload
        measure(bench, engine, mode, sizes, path, (name, workload))
        shutil.rmtree(path)


def measure(
    bench: Bench, engine: TrimmedStore, mode: Mode, sizes: Sizes, path: Path, work: tuple[str, str]
) -> None:
    """Measure one engine and one workload; `work` is the name of the one and of the other."""
    name, workload = work
    cell = {each: f"growth_{workload}_{each}" for each in WORKS}
    width = WIDE if workload == "wide" else NARROW
    spec = {"grower": str(path), "engine": name, "mode": mode, "workload": workload, "keys": sizes.keys}
    with doomed(spec) as writer:
        told, reports = writer.answer(), 1
        began, recent, furthest = time.monotonic(), [0], (-(2.0**60), 0, 0.0)
        while reports < _LEAST_REPORTS or time.monotonic() - began < sizes.growth_milliseconds / 1e3:
            told, reports = writer.answer(), reports + 1
            recent = [*recent[1 - _REMEMBERED :], (told["stop"] - told["start"]) * (width + _HEADER)]
            allowed = _TIMES_LIVE * max(recent) + _SEGMENTS
            disk = _disk(path)
            furthest = max(furthest, (disk - allowed, disk, allowed))
        seconds = time.monotonic() - began
        last = [told, *writer.killed()][-1]
    bench.seconds(cell["puts"], seconds, told["puts"])
    bench.bytes(cell["disk"], furthest[1])
    bench.bytes(cell["allowed"], round(furthest[2]))
    _check(bench, engine, mode, path, (cell["opening"], workload), range(last["start"], last["stop"]))


def _check(
    bench: Bench,
    engine: TrimmedStore,
    mode: Mode,
    path: Path,
    work: tuple[str, str],
    live: range,
) -> None:
    cell, workload = work
    checked = live[:: max(1, len(live) // _CHECKED)]
    keys = engine.single_keys(np.array(checked, np.int64))
    began = time.perf_counter()
    engine.open(path, mode)
    if keys:
        engine.get(keys[-1])
    bench.seconds(cell, time.perf_counter() - began, 1)
    values, kept = _values(workload), _kept(workload, live)
    for number, key in zip(checked, keys, strict=True):
        found = engine.get(key)
        right = number < kept if found is None else found == values[number % len(values)]
        bench.check(cell, right=right)
    engine.close()


def _kept(workload: str, live: range) -> int:
    """Return the first key that must be there, whatever was deleted between the last report and the kill."""
    if workload in _FOR_GOOD:
        return live.start
    return live.stop if workload == "cleared" else live.stop - len(live) // 4


def _values(workload: str) -> list[bytes]:
    """Return the values of a workload, which its keys have in turn; an engine that compresses gains nothing.

    There is one wide value, so that it comes from the processor's cache.
    """
    count, width = (1, WIDE) if workload == "wide" else (_BATCH, NARROW)
    return split(rows_of(np.arange(count), width))


def _disk(path: Path) -> int:
    taken = 0
    for file in path.rglob("*"):
        try:
            if file.is_file() and file.suffix != _IMAGES:
                taken += file.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return taken


class Work:
    """One workload: commits of known keys, and which of them live."""

    def __init__(self, name: str, engine: TrimmedStore, keys: int) -> None:
        self.name, self.engine, self.count = name, engine, keys
        self.random = np.random.default_rng(SEED)
        self.live = range(0)
        self.values = _values(name)
        self._values_array = np.array(self.values, object)

    def put(self, keys: np.ndarray, values: list[bytes]) -> int:
        """Put a value under each key, in one commit; return how many."""
        self.engine.put_many(self.engine.batch_items(keys, values))
        return len(keys)

    def put_run(self, first: int, stop: int) -> int:
        """Put neighbouring keys, at most a batch, that begin where their values do not wrap around."""
        at = first % len(self.values)
        return self.put(np.arange(first, stop), self.values[at : at + stop - first])

    def values_at(self, keys: np.ndarray) -> list[bytes]:
        """Return the values of keys in any order."""
        values: list[bytes] = self._values_array[keys % len(self.values)].tolist()
        return values

    def begin(self) -> None:
        """Put what is there from the beginning."""
        if self.name in {"overwrite", "singles"}:
            for first in range(0, self.count, _BATCH):
                self.put_run(first, min(first + _BATCH, self.count))
            self.live = range(self.count)

    def step(self, number: int) -> int:
        """Make the next commit; return how many values it put."""
        match self.name:
            case "overwrite":
                keys = np.sort(self.random.integers(0, self.count, _BATCH))
                # Less than half of the time of np.unique.
                keys = keys[np.diff(keys, prepend=-1) > 0]
                return self.put(keys, self.values_at(keys))
            case "wide":
                self.live = range(min(number + 1, _WIDE_KEYS))
                return self.put_run(number % _WIDE_KEYS, number % _WIDE_KEYS + 1)
            case "singles" | "popped":
                return self._one_by_one(number)
        self.live = range(self.live.start, number * 100 + 100)
        put = self.put_run(number * 100, number * 100 + 100)
        if self.name == "queue" and number % 50 == 49:  # noqa: PLR2004 - so often
            self._trim((number + 1) * 50)
        if self.name == "trimmed" and number % 50 == 49:  # noqa: PLR2004 - so often
            self._trim(max(self.live.stop - _TRIMMED_KEYS, self.live.start))
        if self.name == "cleared" and number % 3000 == 2999:  # noqa: PLR2004 - so often
            self._trim(self.live.stop)
        return put

    def _one_by_one(self, number: int) -> int:
        if self.name == "singles":
            keys = self.random.integers(0, self.count, _BATCH)
            self.engine.put_each(self.engine.single_keys(keys), self.values_at(keys))
            return _BATCH
        keys = np.arange(number * _BATCH, (number + 1) * _BATCH)
        self.engine.put_each(self.engine.single_keys(keys), self.values)
        gone = keys - _POPPED_KEYS
        self.engine.delete_each(self.engine.single_keys(gone[gone >= 0]))
        stop = int(keys[-1]) + 1
        self.live = range(max(stop - _POPPED_KEYS, 0), stop)
        return _BATCH

    def _trim(self, stop: int) -> None:
        if stop == self.live.start:
            return
        first, last = self.engine.single_keys(np.array([self.live.start, stop]))
        self.engine.delete_range(first, last)
        self.live = range(stop, self.live.stop)


def run_writer(engine: TrimmedStore, spec: dict[str, Any], path: Path) -> None:
    """Write until killed; say now and then how many values were put, and which keys live."""
    engine.open(path, Mode(spec["mode"]))
    work = Work(spec["workload"], engine, spec["keys"])
    work.begin()
    number = puts = 0
    said = 0.0
    while True:
        if time.monotonic() - said > _PAUSE_SECONDS:
            said = time.monotonic()
            live = work.live
            say({"puts": puts, "start": live.start, "stop": live.stop})
        puts += work.step(number)
        number += 1
