"""How long single gets and puts take beside compaction and checkpoints: histograms, and their ratio to quiet.

One thread puts and gets random keys in turn, timing each call and checking each answer, once with nothing
beside it and once each with compaction, with checkpoints and with both; `--rounds` times in turn. What went
on is asserted from what the store says. With `--locks` it also runs rust/store/benches/lock_times.rs, which
tells how long each place in the store holds the locks that a put waits for: the clock of a put on a busy
machine of two cores is mostly the scheduler's. `python benchmarks/latency.py --locks --json FILE`.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import alexpy
from result import require, write

VALUE_BYTES = 100
# The same work beside what the store does by itself: compaction, checkpoints.
PHASES = {
    "quiet": (False, False),
    "compaction": (True, False),
    "checkpoints": (False, True),
    "both": (True, True),
}
# The targets: P99.9 of a get stays within this of quiet; no lock is held for longer than this.
MOST_RATIO = 3.0
MOST_HELD_MS = 5.0
SHARES = (50, 99, 99.9, 100)

Samples = dict[str, dict[str, list[np.ndarray[Any, Any]]]]


def value(key: int, version: int) -> bytes:
    """Return what is put under a key for the version-th time."""
    return b"%020d %020d" % (key, version) + bytes(VALUE_BYTES - 41)


def fill(store: alexpy.Store, keys: np.ndarray[Any, Any]) -> None:
    """Put every key once."""
    for first in range(0, len(keys), 10_000):
        part = keys[first : first + 10_000]
        store.put_many(part, [value(key, 0) for key in part.tolist()])
    store.flush()


def checkpoint_until(store: alexpy.Store, stop: threading.Event, images: list[int]) -> None:
    """Write image after image."""
    while not stop.is_set():
        store.checkpoint()
        images[0] += 1


def measure(
    store: alexpy.Store, keys: list[int], versions: list[int], seconds: float, random: np.random.Generator
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Nanoseconds of each get and each put, in turn, of random keys."""
    gets, puts = [], []
    clock = time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    while clock() < end:
        for put, get in random.integers(0, len(keys), (5_000, 2)).tolist():
            versions[put] += 1
            new = value(keys[put], versions[put])
            start = clock()
            store.put(keys[put], new)
            puts.append(clock() - start)
            start = clock()
            found = store.get(keys[get])
            gets.append(clock() - start)
            require(found == value(keys[get], versions[get]), f"key {keys[get]}")
    return np.array(gets), np.array(puts)


def phase(folder: Path, name: str, count: int, seconds: float, seed: int) -> dict[str, Any]:
    """Measure a fresh store while what the phase is named for goes on; the samples, and what went on."""
    compaction, checkpoints = PHASES[name]
    random = np.random.default_rng(seed)
    keys = np.unique(random.integers(-(2**63), 2**63 - 1, count))
    random.shuffle(keys)
    versions = [0] * len(keys)
    options = {
        "segment_bytes": 8 << 20,
        "compact_dead_ratio": 0.05 if compaction else 0.999,
        "checkpoint_tail_bytes": 1 << 40,
    }
    with alexpy.open(folder / "store", **options) as store:
        fill(store, keys)
        stop, images = threading.Event(), [0]
        writer = threading.Thread(target=checkpoint_until, args=(store, stop, images))
        before = store.stats()
        if checkpoints:
            writer.start()
        gc.collect()
        gc.disable()
        gets, puts = measure(store, keys.tolist(), versions, seconds, random)
        gc.enable()
        stop.set()
        if checkpoints:
            writer.join()
        after = store.stats()
        moved = after.moved_bytes - before.moved_bytes
        require((moved > 0) == compaction, f"{name}: {moved} bytes were moved")
        require((images[0] > 1) == checkpoints, f"{name}: {images[0]} images were written")
        require(len(store) == len(keys), "the number of keys")
    shutil.rmtree(folder / "store")
    return {"get": gets, "put": puts, "moved_bytes": moved, "images": images[0]}


def figures(samples: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Percentiles in microseconds, and a histogram by powers of two of nanoseconds."""
    nanos = np.concatenate(samples)
    found = {f"p{share:g}" if share < 100 else "max": float(np.percentile(nanos, share)) for share in SHARES}
    powers, counts = np.unique(np.ceil(np.log2(nanos)).astype(int), return_counts=True)
    return {
        "count": len(nanos),
        "us": {name: round(nanos / 1000, 2) for name, nanos in found.items()},
        "up_to_2_to_the_ns": dict(zip(map(str, powers.tolist()), counts.tolist(), strict=True)),
    }


def lock_times(seconds: float) -> Any:
    """How long each place held the locks that a put waits for."""
    command = "cargo bench --quiet --locked --package alex-store --features lock-times"
    arguments = [*command.split(), "--bench", "lock_times", "--", "1000000", str(seconds)]
    return json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def longest_hold(places: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the place that held a lock longest, the scheduler's share left out."""
    return max(places, key=lambda place: place["held"]["max"])


def report(found: dict[str, Any], locks: Any) -> list[str]:
    """Tables of what was measured."""
    lines = ["| us | call | P50 | P99 | P99.9 | max | P99.9 to quiet |", "|---|---|---:|---:|---:|---:|---:|"]
    for name, calls in found.items():
        for call in ("get", "put"):
            cells = [f"{value:,.1f}" for value in calls[call]["us"].values()]
            ratio = f"{calls[call]['p99.9_to_quiet']:.2f}"
            lines.append(f"| {name} | {call} | {' | '.join(cells)} | {ratio} |")
    if locks:
        lines += [
            "",
            "| beside | longest hold of a lock, ms | where | by the clock, ms |",
            "|---|---:|---|---:|",
        ]
        for name, beside in locks["phases"].items():
            place = longest_hold(beside["places"])
            held, clock = place["held"]["max"] / 1e6, place["held longest by the clock"] / 1e6
            where = f"{place['lock']} lock in {Path(place['taken in']).name}"
            lines.append(f"| {name} | {held:.2f} | {where} | {clock:.2f} |")
    return lines


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each phase of each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--locks", action="store_true", help="measure the holds of locks too; needs cargo")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    samples: Samples = {name: {"get": [], "put": []} for name in PHASES}
    beside: dict[str, dict[str, int]] = {name: {"moved_bytes": 0, "images": 0} for name in PHASES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            for name in PHASES:
                seen = phase(Path(folder), name, arguments.keys, arguments.seconds, number)
                for call in ("get", "put"):
                    samples[name][call].append(seen[call])
                for what in beside[name]:
                    beside[name][what] += seen[what]
    found: dict[str, Any] = {}
    for name, calls in samples.items():
        found[name] = {**beside[name], **{call: figures(nanos) for call, nanos in calls.items()}}
        for call in calls:
            ratio = found[name][call]["us"]["p99.9"] / found["quiet"][call]["us"]["p99.9"]
            found[name][call]["p99.9_to_quiet"] = round(ratio, 3)
    locks = lock_times(arguments.seconds) if arguments.locks else None
    print("\n".join(report(found, locks)))
    if arguments.json:
        held = (
            [longest_hold(it["places"])["held"]["max"] / 1e6 for it in locks["phases"].values()]
            if locks
            else []
        )
        result = {
            "targets": {
                "p99.9 of a get to quiet, at most": MOST_RATIO,
                "found": max(calls["get"]["p99.9_to_quiet"] for calls in found.values()),
                "longest hold of a lock that a put waits for, at most ms": MOST_HELD_MS,
                "longest hold found, ms": max(held, default=None),
            },
            "keys": arguments.keys,
            "durability": "interval",
            "phases": found,
            "locks": locks,
        }
        write(arguments.json, result)


if __name__ == "__main__":
    main()
