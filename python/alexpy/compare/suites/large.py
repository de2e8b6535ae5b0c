"""Ten million keys: load, close, open, and open after SIGKILL of a writer that had written a tail since.

The writer that is killed is a process of its own (`run_writer`): it says when it has committed, and waits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

import alexpy
from alexpy.compare.bench import allocated
from alexpy.compare.keys import SEED, draw, rows_of, split

from . import readers

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import Keys, StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 100
_SAMPLE = 1000
READY = "ready"


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path, name: str) -> None:
    """Measure one engine; `name` is how the killed writer finds it."""
    keys = draw("uniform", sizes.large_keys + sizes.tail)
    loaded = keys[: sizes.large_keys]
    path = folder / "store"
    os.sync()
    bench.begin_memory()
    engine.open(path, mode)
    bench.seconds("load_large", _load(engine, loaded, sizes.batch * 10), len(loaded))
    bench.end_memory()
    bench.timed("close_large", 1, engine.close)
    bench.bytes("disk_large", allocated(path))
    sample = np.random.default_rng(SEED + 1).choice(loaded, min(_SAMPLE, len(loaded)))
    _open(bench, engine, mode, path, "open_large", sample)
    engine.close()
    _killed_writer(path, mode, sizes, name)
    _open(bench, engine, mode, path, "open_killed", np.concatenate([sample, keys[sizes.large_keys :]]))
    engine.close()


def run_readers(bench: Bench, sizes: Sizes, path: Path, name: str) -> None:
    """Measure alexpy's reading processes on the store that `run` left, just after a checkpoint."""
    # Each reader joins a tail behind the image of the index for itself.
    with alexpy.open(path) as store:
        store.checkpoint()
    loaded = draw("uniform", sizes.large_keys + sizes.tail)[: sizes.large_keys]
    readers.run(bench, path, name, loaded, "index", "readers")


def value_of(keys: Keys) -> list[bytes]:
    """Return the values of keys, made from them: ten million need not be kept to be checked."""
    return split(rows_of(keys, WIDTH))


def run_writer(engine: StoreEngine, mode: Mode, sizes: Sizes, path: Path) -> None:
    """Add the tail, say so, and wait to be killed."""
    tail = draw("uniform", sizes.large_keys + sizes.tail)[sizes.large_keys :]
    engine.open(path, mode)
    engine.put_many(engine.batch_items(tail, value_of(tail)))
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    sys.stdin.read()


def _load(engine: StoreEngine, keys: Keys, batch: int) -> float:
    seconds = 0.0
    for at in range(0, len(keys), batch):
        part = keys[at : at + batch]
        items = engine.batch_items(part, value_of(part))
        began = time.perf_counter()
        engine.put_many(items)
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    engine.flush()
    return seconds + time.perf_counter() - began


def _open(bench: Bench, engine: StoreEngine, mode: Mode, path: Path, cell: str, sample: Keys) -> None:
    first = engine.single_keys(sample[:1])[0]

    def open_and_get() -> bytes | None:
        engine.open(path, mode)
        return engine.get(first)

    expected = value_of(sample)
    bench.timed(cell, 1, open_and_get, lambda value: value == expected[0])
    bench.check(cell, right=list(engine.get_many(engine.batch_keys(sample))) == expected)


def _killed_writer(path: Path, mode: Mode, sizes: Sizes, name: str) -> None:
    spec = {"writer": str(path), "engine": name, "mode": mode, "sizes": asdict(sizes)}
    with subprocess.Popen(
        [sys.executable, "-m", "alexpy.compare.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise AssertionError("both pipes were asked for")
        child.stdin.write(json.dumps(spec) + "\n")
        child.stdin.flush()
        said = child.stdout.readline().strip()
        child.kill()
    if said != READY:
        raise RuntimeError(f"the writer to be killed ended before it had written: {said!r}")
