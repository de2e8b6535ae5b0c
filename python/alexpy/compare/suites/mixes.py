"""Mixed single calls: YCSB A to F by their published shares, and three mixes more.

A fresh store for each mix. The operations and the answers they must give are worked out on a dict before the
clock starts. Records have 1,000 bytes as YCSB's have; Zipf's exponent is YCSB's 0.99.
"""

from __future__ import annotations

import bisect
import gc
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.keys import SEED, draw, values_of, zipfian

from .data import load

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import Keys, StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

GET, UPDATE, INSERT, RANGE, MODIFY, DELETE = range(6)
LONGEST_RANGE = 100
_CHECKED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the kinds of operations, and how keys are chosen: zipfian, latest or uniform.

    The latest is zipfian by age: the newest key is the likeliest.
    """

    shares: dict[int, float]
    chosen: str


MIXES = {
    "ycsb_a": Mix({GET: 0.5, UPDATE: 0.5}, "zipfian"),
    "ycsb_b": Mix({GET: 0.95, UPDATE: 0.05}, "zipfian"),
    "ycsb_c": Mix({GET: 1.0}, "zipfian"),
    "ycsb_d": Mix({GET: 0.95, INSERT: 0.05}, "latest"),
    "ycsb_e": Mix({RANGE: 0.95, INSERT: 0.05}, "zipfian"),
    "ycsb_f": Mix({GET: 0.5, MODIFY: 0.5}, "zipfian"),
    "mix_80_20": Mix({GET: 0.8, UPDATE: 0.2}, "uniform"),
    "mix_write": Mix({INSERT: 1.0}, "uniform"),
    "mix_delete": Mix({DELETE: 0.5, INSERT: 0.25, GET: 0.25}, "uniform"),
}


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    records, operations = sizes.mix_records, sizes.mix_operations
    keys = draw("uniform", records + operations)
    values = values_of(records + operations, sizes.mix_value_bytes)
    plain, own = keys.tolist(), engine.single_keys(keys)
    for number, (cell, mix) in enumerate(MIXES.items()):
        todo, expected = plan(mix, plain, own, values, records, SEED + number)
        path = folder / cell
        engine.open(path, mode)
        load(engine, keys[:records], values[:records], sizes.batch)
        bench.seconds(cell, _in_parts(bench, engine, cell, todo, expected), operations)
        engine.close()
        shutil.rmtree(path)


def _in_parts(
    bench: Bench, engine: StoreEngine, cell: str, todo: list[tuple[int, Any, Any]], expected: list[Any]
) -> float:
    """Do the operations a part at a time, and check each part: all that ranges give is more than memory."""
    seconds, read = 0.0, 0
    gc.collect()
    for at in range(0, len(todo), _CHECKED_AT_ONCE):
        part = todo[at : at + _CHECKED_AT_ONCE]
        began = time.perf_counter()
        answers = carry_out(engine, part)
        seconds += time.perf_counter() - began
        bench.check(cell, right=answers == expected[read : read + len(answers)])
        read += len(answers)
    bench.check(cell, right=read == len(expected))
    return seconds


def carry_out(engine: StoreEngine, todo: list[tuple[int, Any, Any]]) -> list[Any]:
    """Do every operation by its single call; return what the reads answered."""
    get, put, delete, ranges = engine.get, engine.put, engine.delete, engine.ranges
    answers: list[Any] = []
    for kind, key, more in todo:
        if kind == GET:
            answers.append(get(key))
        elif kind in {UPDATE, INSERT}:
            put(key, more)
        elif kind == RANGE:
            answers.append(next(ranges([key], more)))
        elif kind == MODIFY:
            answers.append(get(key))
            put(key, more)
        else:
            delete(key)
    return answers


def plan(
    mix: Mix, plain: list[int], own: list[Any], values: list[bytes], records: int, seed: int
) -> tuple[list[tuple[int, Any, Any]], list[Any]]:
    """Return the operations, and what a dict and a sorted list answer to the reads among them.

    `own` are the keys in the engine's form; the first `records` are in the store, each other one is for an
    insert.
    """
    operations = len(plain) - records
    generator = np.random.default_rng(seed)
    kinds = generator.choice(list(mix.shares), operations, p=list(mix.shares.values())).tolist()
    ranks = _ranks(mix, operations, records, seed)
    lengths = generator.integers(1, LONGEST_RANGE + 1, operations).tolist()
    held = dict(enumerate(zip(own[:records], values[:records], strict=True)))
    ordered = sorted(zip(plain[:records], range(records), strict=True))
    # Positions of keys that are in the store, by age; a deleted one leaves by taking the last one's place.
    alive = list(range(records))
    fresh = records
    todo: list[tuple[int, Any, Any]] = []
    expected: list[Any] = []
    for number, (kind, rank, length) in enumerate(zip(kinds, ranks, lengths, strict=True)):
        if kind == INSERT:
            todo.append((kind, own[fresh], values[fresh]))
            alive.append(fresh)
            held[fresh] = own[fresh], values[fresh]
            if mix.shares.get(RANGE):
                bisect.insort(ordered, (plain[fresh], fresh))
            fresh += 1
            continue
        at = len(alive) - 1 - rank if mix.chosen == "latest" else rank % len(alive)
        key = alive[at]
        if kind == RANGE:
            begin = bisect.bisect_left(ordered, (plain[key], key))
            part = ordered[begin : begin + length]
            expected.append([held[place] for _, place in part])
            todo.append((kind, own[key], length))
        elif kind == DELETE:
            alive[at] = alive[-1]
            alive.pop()
            del held[key]
            todo.append((kind, own[key], None))
        else:
            value = values[(records + number) % len(values)]
            todo.append((kind, own[key], value))
            if kind != UPDATE:
                expected.append(held[key][1])
            if kind != GET:
                held[key] = own[key], value
    return todo, expected


def _ranks(mix: Mix, operations: int, records: int, seed: int) -> list[int]:
    if mix.chosen == "uniform":
        ranks: Keys = np.random.default_rng(seed + 1).integers(0, records, operations)
    else:
        ranks = zipfian(operations, records, seed, scrambled=mix.chosen != "latest")
    return ranks.tolist()  # type: ignore[no-any-return]
