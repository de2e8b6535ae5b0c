"""`AlexIndex` from Python beside dict, SortedDict and np.searchsorted: nanoseconds for each operation.

Every answer is checked, outside the clock where it can be. Medians of `--rounds` rounds, the rivals in turns
within a round. Lookups are of present keys, each once, in random order. `python benchmarks/index.py --keys
1000000 --json FILE`; `--distribution` names another key distribution than uniform.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sortedcontainers import SortedDict

from alexpy import AlexIndex
from result import require, write

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 10_000
RANGES = 10_000
RANGE_KEYS = 100
SINGLE = 200_000
# A SortedDict takes four microseconds for each insert.
MOST_SORTED_DICT_KEYS = 1_000_000

# The targets in nanoseconds, from Python: at 1M and at 10M keys.
TARGETS: dict[str, tuple[float, float]] = {
    "lookup": (180, 250),
    "batch lookup": (25, 40),
    "insert, random": (230, 320),
    "batch insert of 10k": (80, 80),
    "load from unsorted arrays": (60, 60),
    "100-key range to arrays": (500, 700),
}

Figures = dict[str, dict[str, list[float]]]


def draw(distribution: str, count: int, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Distinct int64 keys in random order."""
    extra = count + count // 10
    if distribution == "uniform":
        keys = random.integers(-(2**63), 2**63 - 1, extra)
    elif distribution == "sequential":
        keys = np.arange(extra)
    elif distribution == "lognormal":
        keys = (random.lognormal(0, 2, extra) * 1e12).astype(np.int64)
    elif distribution == "timestamps":
        keys = 1_700_000_000_000_000 + np.cumsum(1 + random.exponential(1000, extra).astype(np.int64))
    else:
        centres = random.integers(-(2**61), 2**61, max(count // 400, 1))
        keys = random.choice(centres, 2 * extra) + random.integers(0, 4096, 2 * extra)
    keys = random.permutation(np.unique(keys))[:count]
    if len(keys) < count:
        sys.exit(f"{distribution}: only {len(keys)} distinct keys were drawn")
    return keys


def clock(figures: Figures, work: str, name: str, operations: int, call: Callable[[], Any]) -> Any:
    """Run `call`, note its nanoseconds for each operation, and return its result."""
    gc.collect()
    start = time.perf_counter_ns()
    result = call()
    figures.setdefault(work, {}).setdefault(name, []).append((time.perf_counter_ns() - start) / operations)
    return result


def put_each(target: Any, keys: list[int]) -> None:
    """Insert one by one, each key with itself as value."""
    for key in keys:
        target[key] = key


def get_each(source: Any, keys: list[int]) -> int:
    """Add up what is found under each key."""
    return sum([source[key] for key in keys])


def index_round(figures: Figures, keys: np.ndarray[Any, Any], random: np.random.Generator) -> None:
    """One round of everything that an index does."""
    count, values = len(keys), keys
    index = clock(figures, "load from unsorted arrays", "alexpy", count, lambda: AlexIndex(keys, values))
    ordered = np.sort(keys)
    require(np.array_equal(index.scan_arrays()[0], ordered), "the keys after loading")
    probes = random.permutation(keys)
    found = clock(figures, "batch lookup", "alexpy", count, lambda: index.get_many(probes))
    require(np.array_equal(found, probes), "get_many")
    there = clock(figures, "batch contains", "alexpy", count, lambda: index.contains_many(probes))
    require(there.all(), "contains_many")
    floors = clock(figures, "batch floor", "alexpy", count, lambda: index.floor_many(probes + 1))
    require((floors[1] == np.where(floors[0] == probes, probes, floors[0])).all(), "floor_many")
    single = probes[:SINGLE].tolist()
    total = clock(figures, "lookup", "alexpy", len(single), lambda: get_each(index, single))
    require(total == sum(single), "lookups")
    starts = ordered[random.integers(0, count - RANGE_KEYS, RANGES)]
    stops = ordered[np.searchsorted(ordered, starts) + RANGE_KEYS]
    pairs = list(zip(starts.tolist(), stops.tolist(), strict=True))
    ranges = clock(
        figures,
        "100-key range to arrays",
        "alexpy",
        RANGES,
        lambda: [index.scan_arrays(*pair) for pair in pairs],
    )
    require(
        all(
            len(part[0]) == RANGE_KEYS and part[0][0] == a for part, (a, _) in zip(ranges, pairs, strict=True)
        ),
        "ranges",
    )
    clock(figures, "iterate items", "alexpy", count, lambda: [None for _ in index.items()])
    insert_round(figures, keys, ordered)


def insert_round(figures: Figures, keys: np.ndarray[Any, Any], ordered: np.ndarray[Any, Any]) -> None:
    """Insert one by one and in batches, and delete."""
    count, listed = len(keys), keys.tolist()
    grown = AlexIndex()
    clock(figures, "insert, random", "alexpy", count, lambda: put_each(grown, listed))
    require(np.array_equal(grown.scan_arrays()[0], ordered), "the keys after inserts")
    index_batches(figures, keys, ordered)
    half = listed[: count // 2]
    clock(figures, "delete, random", "alexpy", len(half), lambda: [grown.delete(key) for key in half])
    require(len(grown) == count - len(half) and not grown.contains_many(half).any(), "deletes")


def index_batches(figures: Figures, keys: np.ndarray[Any, Any], ordered: np.ndarray[Any, Any]) -> None:
    """Insert in batches into a growing index."""
    batched = AlexIndex()
    parts = [keys[at : at + BATCH] for at in range(0, len(keys), BATCH)]
    clock(
        figures,
        "batch insert of 10k",
        "alexpy",
        len(keys),
        lambda: [batched.put_many(part, part) for part in parts],
    )
    require(np.array_equal(batched.scan_arrays()[0], ordered), "the keys after batches")


def rival_round(figures: Figures, keys: np.ndarray[Any, Any], random: np.random.Generator) -> None:
    """Do the same with dict, SortedDict and searchsorted, as far as they can."""
    count = len(keys)
    ordered = np.sort(keys)
    probes = random.permutation(keys)
    order = clock(figures, "load from unsorted arrays", "argsort", count, lambda: np.argsort(keys))
    require(np.array_equal(keys[order], ordered), "argsort")
    places = clock(figures, "batch lookup", "searchsorted", count, lambda: np.searchsorted(ordered, probes))
    require(np.array_equal(ordered[places], probes), "searchsorted")
    rivals: dict[str, Any] = {"dict": {}}
    if count <= MOST_SORTED_DICT_KEYS:
        rivals["SortedDict"] = SortedDict()
    listed, single = keys.tolist(), probes[:SINGLE].tolist()
    for name, rival in rivals.items():
        clock(figures, "insert, random", name, count, lambda rival=rival: put_each(rival, listed))
        total = clock(figures, "lookup", name, len(single), lambda rival=rival: get_each(rival, single))
        require(total == sum(single), f"lookups of {name}")
        clock(figures, "iterate items", name, count, lambda rival=rival: [None for _ in rival.items()])


def report(figures: Figures, count: int) -> list[str]:
    """The medians as a table."""
    names = ["alexpy", "dict", "SortedDict", "searchsorted", "argsort"]
    lines = [
        "| ns for each operation | " + " | ".join(names) + " | target |",
        "|---|" + "---:|" * (len(names) + 1),
    ]
    for work, rivals in figures.items():
        target = TARGETS.get(work)
        bound = f"{target[count > MOST_SORTED_DICT_KEYS]:.0f}" if target else ""
        cells = [f"{statistics.median(rivals[name]):,.0f}" if name in rivals else "" for name in names]
        lines.append(f"| {work} | " + " | ".join(cells) + f" | {bound} |")
    return lines


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--distribution",
        default="uniform",
        choices=["uniform", "sequential", "lognormal", "timestamps", "clustered"],
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures: Figures = {}
    for number in range(arguments.rounds):
        random = np.random.default_rng(number)
        keys = draw(arguments.distribution, arguments.keys, random)
        index_round(figures, keys, random)
        rival_round(figures, keys, random)
    print("\n".join(report(figures, arguments.keys)))
    if arguments.json:
        result = {
            "keys": arguments.keys,
            "distribution": arguments.distribution,
            "rounds": arguments.rounds,
            "ns_per_operation": figures,
        }
        write(arguments.json, result)


if __name__ == "__main__":
    main()
