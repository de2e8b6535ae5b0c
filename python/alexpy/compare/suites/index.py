"""The index alone, in memory: the from-Python column of 'The index'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.keys import SEED, draw

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import IndexEngine, Keys
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes


def run(bench: Bench, engine: IndexEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine at the size of the tables."""
    del mode, folder
    measure(bench, engine, sizes.keys, sizes, "")


def measure(bench: Bench, engine: IndexEngine, count: int, sizes: Sizes, suffix: str) -> None:
    """Insert, look up and read ranges of `count` uniform keys; the cells' names end in `suffix`."""
    drawn = draw("uniform", count + sizes.batch)
    keys, batch = drawn[:count], drawn[count:]
    values = np.arange(count, dtype=np.int64)
    inserts(bench, engine, keys, values, suffix)
    bench.begin_memory()
    bench.timed(
        "bulk_load" if not suffix else f"bulk_load{suffix}",
        count,
        lambda: engine.load(keys, values),
        lambda _: _equal(engine.get_many(keys), values),
    )
    bench.end_memory()
    asked = np.random.default_rng(SEED + 1).permutation(count)
    some = asked[: min(count, 1_000_000)]
    wanted = keys[some].tolist()
    bench.timed(
        f"lookup{suffix}", len(wanted), lambda: engine.get_each(wanted), lambda got: got == some.tolist()
    )
    batch_lookups(bench, engine, keys, asked, suffix)
    _ranges(bench, engine, keys, sizes, suffix)
    if not suffix:
        new = np.arange(count, count + len(batch), dtype=np.int64)
        bench.timed(
            "batch_insert",
            len(batch),
            lambda: engine.insert_many(batch, new),
            lambda _: _equal(engine.get_many(batch), new) and _equal(engine.get_many(keys), values),
        )


def inserts(bench: Bench, engine: IndexEngine, keys: Keys, values: Keys, suffix: str) -> None:
    """Insert each item by a call of its own."""
    plain, plain_values = keys.tolist(), values.tolist()
    bench.timed(f"insert{suffix}", len(keys), lambda: engine.insert_each(plain, plain_values))
    if "lacks" not in bench.figures[f"insert{suffix}"]:
        bench.check("insert", right=_equal(engine.get_many(keys), values))


def batch_lookups(bench: Bench, engine: IndexEngine, keys: Keys, asked: Keys, suffix: str) -> None:
    """Look up the keys at the positions `asked`, whose values those are, in one call."""
    wanted = keys[asked]
    bench.timed(
        f"batch_lookup{suffix}",
        len(asked),
        lambda: engine.get_many(wanted),
        lambda got: _equal(got, asked),
    )


def _ranges(bench: Bench, engine: IndexEngine, keys: Keys, sizes: Sizes, suffix: str) -> None:
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.random.default_rng(SEED + 2).integers(0, len(keys) - sizes.range_keys, sizes.ranges)
    starts, stops = ordered[first].tolist(), ordered[first + sizes.range_keys].tolist()
    # As for a store: the timed ranges are counted and dropped; a second pass keeps and checks the answers.
    bench.timed(
        f"range{suffix}",
        sizes.ranges,
        lambda: sum(len(got) for got, _ in engine.ranges(starts, stops)),
        lambda count: count == sizes.ranges * sizes.range_keys,
    )
    bench.timed(
        f"range_kept{suffix}",
        sizes.ranges,
        lambda: list(engine.ranges(starts, stops)),
        lambda found: all(
            _equal(got, ordered[at : at + sizes.range_keys])
            and _equal(got_values, order[at : at + sizes.range_keys])
            for at, (got, got_values) in zip(first.tolist(), found, strict=True)
        ),
    )


def _equal(got: object, expected: Keys) -> bool:
    return np.array_equal(np.asarray(got), expected)
