"""What it costs a process to follow a writer in another one: refreshes with nothing new, and with much.

The follower answers line by line. Having refreshed, it checks values that the writer had put before.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.children import children, say
from alexpy.compare.keys import SEED, draw, split

from . import readers
from .data import Held, version_of

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.children import Children
    from alexpy.compare.engine import FollowedStore
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

_REFRESHES = 20_000
_CHECKED = 1_000
# A follower whose refreshes are slow makes fewer of them.
_LONGEST_SECONDS = 1


def run(bench: Bench, engine: FollowedStore, mode: Mode, sizes: Sizes, folder: Path, name: str) -> None:
    """Measure one engine; `name` is how the reading processes find it."""
    path = folder / "store"
    os.sync()
    engine.open(path, mode)
    held = Held.load(engine, draw("uniform", sizes.keys), sizes.batch)
    engine.close()
    readers.run(bench, path, name, held.keys, "whole", "shared")
    engine.open(path, mode)
    keys = folder / "changed.npy"
    spec = {"follower": str(path), "engine": name, "keys": str(keys), "own": str(folder / "follower")}
    with children([spec]) as follower:
        _new_records(bench, engine, follower, keys, held, sizes)
        _nothing_new(bench, follower, held)
    engine.close()


def _new_records(
    bench: Bench, engine: FollowedStore, follower: Children, keys: Path, held: Held, sizes: Sizes
) -> None:
    generator = np.random.default_rng(SEED + 7)
    count = min(sizes.refreshed, len(held.keys))

    def refresh(cell: str) -> float:
        changed = generator.choice(len(held.keys), count, replace=False)
        version = int(held.versions.max()) + 1
        if cell == "refresh_batches":
            held.put(engine, changed, version, sizes.batch)
        else:
            values = split(version_of(held.keys[changed], version))
            engine.put_each(engine.single_keys(held.keys[changed]), values)
            held.versions[changed] = version
        # From the last one on, which is the first that a reader would not have seen yet.
        np.save(keys, held.keys[changed[::-1]][:_CHECKED])
        (found,) = follower.ask({"refreshes": 1, "version": version})
        bench.check(cell, right=found["right"])
        return float(found["seconds"])

    for cell in ("refresh_batches", "refresh_singles"):
        bench.in_turn({cell: lambda cell=cell: refresh(cell)}, 1)  # type: ignore[misc]


def _nothing_new(bench: Bench, follower: Children, held: Held) -> None:
    # The keys are those of the last refresh.
    (found,) = follower.ask({"refreshes": _REFRESHES, "version": int(held.versions.max())})
    bench.check("refresh_nothing", right=found["right"])
    bench.seconds("refresh_nothing", found["seconds"], found["count"])


def run_follower(engine: FollowedStore, path: Path, keys: Path, own: Path) -> None:
    """Be the follower: refresh as often as each line says, and check the values of the keys in the file."""
    engine.open_reader(path, own)
    engine.refresh()
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        seconds, count = _refresh(engine, asked["refreshes"])
        sample = np.load(keys)
        answers = engine.get_each(engine.single_keys(sample))
        right = answers == split(version_of(sample, asked["version"]))
        say({"seconds": seconds, "count": count, "right": right})
    engine.close()


def _refresh(engine: FollowedStore, most: int) -> tuple[float, int]:
    refresh, clock = engine.refresh, time.perf_counter
    began, count = clock(), 0
    while count < most:
        refresh()
        count += 1
        if count % 100 == 0 and clock() - began > _LONGEST_SECONDS:
            break
    return clock() - began, count
