"""Ten million keys: load, close, open, gets, and open after SIGKILL of a writer that had written since.

The writer that is killed is a process of its own (`run_writer`): it says when it has committed, and waits.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

import alexpy
from alexpy.compare.bench import allocated
from alexpy.compare.children import doomed, say
from alexpy.compare.engine import LongTail
from alexpy.compare.keys import SEED, draw, rows_of, split

from . import readers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import Keys, StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 100
SAMPLE = 1000
_ROUNDS = 3


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path, name: str) -> None:
    """Measure one engine; `name` is how the killed writer finds it."""
    keys = _keys(sizes)
    loaded = keys[: sizes.large_keys]
    path = folder / "store"
    os.sync()
    bench.begin_memory()
    engine.open(path, mode)
    bench.seconds("load_large", load(engine, _parts(loaded, sizes.batch * 10)), len(loaded))
    bench.end_memory()
    bench.timed("close_large", 1, engine.close)
    bench.bytes("disk_large", allocated(path))
    generator = np.random.default_rng(SEED + 1)
    sample = generator.choice(loaded, min(SAMPLE, len(loaded)))
    open_and_get(bench, engine, mode, path, "open_large", sample)
    batch_gets(bench, engine, [generator.choice(loaded, sizes.keys) for _ in range(_ROUNDS)], "array_large")
    engine.close()
    spec = {"writer": str(path), "engine": name, "mode": mode, "sizes": asdict(sizes)}
    end = sizes.large_keys
    for cell, tail in (("open_killed", sizes.tail), ("open_tail", sizes.long_tail)):
        with doomed({**spec, "first": end, "tail": tail}) as writer:
            took = writer.answer()
        end += tail
        open_and_get(bench, engine, mode, path, cell, np.concatenate([sample, keys[end - tail : end]]))
        engine.close()
    bench.seconds("load_tail", took["seconds"], tail)


def run_readers(bench: Bench, sizes: Sizes, path: Path, name: str) -> None:
    """Measure alexpy's reading processes on the store that `run` left, just after a checkpoint."""
    # Each reader joins a tail behind the image of the index for itself.
    with alexpy.open(path) as store:
        store.checkpoint()
    readers.run(bench, path, name, _keys(sizes)[: sizes.large_keys], "index", "readers")


def _keys(sizes: Sizes) -> Keys:
    return draw("uniform", sizes.large_keys + sizes.tail + sizes.long_tail)


def value_of(keys: Keys) -> list[bytes]:
    """Return the values of keys, made from them: ten million need not be kept to be checked."""
    return split(rows_of(keys, WIDTH))


def run_writer(engine: StoreEngine, mode: Mode, sizes: Sizes, path: Path, place: tuple[int, int]) -> None:
    """Add a tail in batches, say how long that took, and wait to be killed; `place` is first and count."""
    first, tail = place
    keys = _keys(sizes)[first : first + tail]
    if tail == sizes.long_tail and isinstance(engine, LongTail):
        engine.keep_tail()
    engine.open(path, mode)
    say({"seconds": load(engine, _parts(keys, sizes.batch), flush=False)})
    sys.stdin.read()


def load(engine: StoreEngine, parts: Iterable[Keys], *, flush: bool = True) -> float:
    """Put the keys of each part with their values, and flush; return the seconds of these calls."""
    seconds = 0.0
    for part in parts:
        items = engine.batch_items(part, value_of(part))
        began = time.perf_counter()
        engine.put_many(items)
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    if flush:
        engine.flush()
    return seconds + time.perf_counter() - began


def open_and_get(bench: Bench, engine: StoreEngine, mode: Mode, path: Path, cell: str, sample: Keys) -> None:
    """Time opening and a first get; check a sample."""
    first = engine.single_keys(sample[:1])[0]

    def first_get() -> bytes | None:
        engine.open(path, mode)
        return engine.get(first)

    expected = value_of(sample)
    bench.timed(cell, 1, first_get, lambda value: value == expected[0])
    bench.check(cell, right=list(engine.get_many(engine.batch_keys(sample))) == expected)


def batch_gets(bench: Bench, engine: StoreEngine, asked: Iterable[Keys], cell: str) -> None:
    """Time gets to one array, each time of other keys, and record the median."""
    taken = []
    for keys in asked:
        many = engine.batch_keys(keys)
        began = time.perf_counter()
        rows = engine.get_array(many, WIDTH)
        taken.append(time.perf_counter() - began)
        bench.check(cell, right=bool((rows == rows_of(keys, WIDTH)).all()))
    bench.seconds(cell, statistics.median(taken), len(keys))


def _parts(keys: Keys, count: int) -> Iterator[Keys]:
    return (keys[at : at + count] for at in range(0, len(keys), count))
