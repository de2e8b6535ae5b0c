"""How long single calls take, each by itself: percentiles and the longest, the clock's own cost beside."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.keys import SEED, draw, values_of

from .data import Data, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 100


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    count = sizes.latencies
    keys = draw("uniform", 2 * count)
    values = values_of(2 * count, WIDTH)
    data = Data.make(keys[:count], values[:count])
    engine.open(folder / "store", mode)
    load(engine, data.keys, data.values, sizes.batch)
    new = engine.single_keys(keys[count:])
    bench.latencies("latency_put", put_times(engine, new, values[count:]))
    bench.check("latency_put", right=engine.get_each(new) == values[count:])
    asked, expected = data.picked(np.random.default_rng(SEED + 1).permutation(count))
    times, answers = get_times(engine.get, engine.single_keys(asked))
    bench.latencies("latency_get", times)
    bench.check("latency_get", right=answers == expected)
    engine.close()


def put_times(engine: StoreEngine, keys: list[Any], values: list[bytes]) -> list[int]:
    """Put each item; return the nanoseconds of each call."""
    clock, put = time.perf_counter_ns, engine.put
    times = []
    for key, value in zip(keys, values, strict=True):
        began = clock()
        put(key, value)
        times.append(clock() - began)
    return times


def get_times(
    get: Callable[[Any], bytes | None], keys: list[Any], seconds: float = math.inf
) -> tuple[list[int], list[bytes | None]]:
    """Get each key until so many seconds are over; return the nanoseconds of each call, and its answer."""
    clock = time.perf_counter_ns
    times, answers = [], []
    end = clock() + seconds * 1e9
    for key in keys:
        began = clock()
        answer = get(key)
        ended = clock()
        times.append(ended - began)
        answers.append(answer)
        if ended > end:
            break
    return times, answers
