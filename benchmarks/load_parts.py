"""A load against its parts, and durable commits against raw writes and flushes of the same bytes.

A load of 1M values of 100 bytes in batches of 10,000, with the flush at its end, from Python and from Rust,
beside a copy of the same bytes into a mapped reserved file, its flush and the insert of the same keys into an
index, each measured apart (rust/store/benches/load_parts.rs). Durable commits of one value and of 100 beside
`pwrite` and `fdatasync` of the same bytes into a file of zeros, and beside writes with O_DIRECT and O_DSYNC
of the blocks they touch. Everything in turn, `--rounds` times, medians of ratios taken in one round; every
load is read back. `python benchmarks/load_parts.py --json FILE`; needs cargo.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import alexpy
from alexpy.compare.machine import write_zeros
from result import require, write

VALUE_BYTES = 100
RECORD_BYTES = 128
# Begin and commit of a batch.
BATCH_BYTES = 40 + 32
BATCH = 10_000
BLOCK = 4096
BENCH = "--package alex-store --bench load_parts"
TARGETS = {
    "load from Rust / parts": "<= 1.25",
    "load from Python / parts": "<= 1.25",
    "checksums / load": "<= 0.10",
    "single commits / raw": ">= 0.9",
    "commits of 100 / raw": ">= 0.9",
}


def load(folder: Path, count: int, seed: int) -> float:
    """Seconds of a load from Python, of a two-dimensional array a batch."""
    keys = np.random.default_rng(seed).permutation(count).astype(np.int64) * 9_223_372_036_854
    values = np.tile(keys[:, None].view(np.uint8), (1, 13))[:, :VALUE_BYTES].copy()
    with alexpy.open(folder / "store") as store:
        start = time.perf_counter()
        for first in range(0, count, BATCH):
            store.put_many(keys[first : first + BATCH], values[first : first + BATCH])
        store.flush()
        took = time.perf_counter() - start
        require(len(store) == count, "the number of keys")
        require((store.get_array(keys, np.uint8, VALUE_BYTES) == values).all(), "what was loaded")
    shutil.rmtree(folder / "store")
    return took


def commits(folder: Path, size: int, count: int) -> float:
    """Durable commits a second of `size` values each."""
    keys = np.arange(size)
    values = np.zeros((size, VALUE_BYTES), np.uint8)
    with alexpy.open(folder / "store", durability="sync") as store:
        one = values[0].tobytes()
        store.put(0, one)
        start = time.perf_counter()
        for number in range(count):
            if size == 1:
                store.put(number, one)
            else:
                store.put_many(keys + number * size, values)
        took = time.perf_counter() - start
        require(store.stats().durable_seq == store.stats().last_seq, "all of it is durable")
        require(len(store) == size * count, "the number of keys")
    shutil.rmtree(folder / "store")
    return count / took


def raw(folder: Path, size: int, count: int) -> float:
    """Writes a second of as many bytes into a file of zeros written beforehand, each flushed."""
    file = os.open(folder / "raw", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    write_zeros(file, 64 << 20)
    data = bytes([7]) * _bytes(size)
    os.pwrite(file, data, 0)
    os.fdatasync(file)
    start = time.perf_counter()
    for number in range(count):
        os.pwrite(file, data, (number + 1) * len(data))
        os.fdatasync(file)
    took = time.perf_counter() - start
    os.close(file)
    (folder / "raw").unlink()
    return count / took


def direct(folder: Path, size: int, count: int) -> float:
    """Writes a second, past the cache and each flushed, of the blocks that as many bytes touch."""
    file = os.open(folder / "raw", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.pwrite(file, bytes(64 << 20), 0)
    os.fsync(file)
    os.close(file)
    file = os.open(folder / "raw", os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    block = mmap.mmap(-1, (-(-_bytes(size) // BLOCK) + 1) * BLOCK)
    block.write(bytes([7]) * len(block))
    start = time.perf_counter()
    for number in range(count):
        first = number * _bytes(size) // BLOCK
        last = ((number + 1) * _bytes(size) - 1) // BLOCK
        with memoryview(block)[: (last + 1 - first) * BLOCK] as blocks:
            os.pwrite(file, blocks, first * BLOCK)
    took = time.perf_counter() - start
    os.close(file)
    (folder / "raw").unlink()
    return count / took


def _bytes(size: int) -> int:
    return size * RECORD_BYTES + (BATCH_BYTES if size > 1 else 0)


def parts(folder: Path, count: int, seed: int) -> dict[str, float]:
    """Seconds of a load from Rust and of its parts."""
    command = ["cargo", "bench", "--quiet", "--locked", *BENCH.split(), "--"]
    command += [str(folder.resolve()), str(count), str(seed)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return dict(found)


def ratios(round_: dict[str, float]) -> dict[str, float]:
    """What the targets speak of, of one round."""
    sum_of_parts = round_["copy"] + round_["flush"] + round_["index"]
    return {
        "load from Rust / parts": round_["load"] / sum_of_parts,
        "load from Python / parts": round_["load from Python"] / sum_of_parts,
        "checksums / load": round_["checksums"] / round_["load"],
        "single commits / raw": round_["single commits"] / round_["single raw"],
        "single commits / direct": round_["single commits"] / round_["single direct"],
        "commits of 100 / raw": round_["commits of 100"] / round_["100 raw"],
        "commits of 100 / direct": round_["commits of 100"] / round_["100 direct"],
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--commits", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the device to measure; default: the temporary folder")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        parts(folder, 10_000, 0)  # builds it
        for number in range(arguments.rounds):
            found = parts(folder, arguments.keys, number + 1)
            found["load from Python"] = load(folder, arguments.keys, number)
            for size, word in ((1, "single"), (100, "100")):
                commit = "single commits" if size == 1 else "commits of 100"
                works = [(commit, commits), (f"{word} raw", raw), (f"{word} direct", direct)]
                for work, call in works[:: 1 if number % 2 else -1]:
                    found[work] = call(folder, size, arguments.commits)
            rounds.append(found)
    medians = {name: statistics.median(it[name] for it in rounds) for name in rounds[0]}
    found = {name: statistics.median(ratios(it)[name] for it in rounds) for name in ratios(rounds[0])}
    print("\n".join(f"{name:<28}{value:>12,.4g}" for name, value in medians.items()))
    print("\n".join(f"{name:<28}{value:>12.3f}  {TARGETS.get(name, '')}" for name, value in found.items()))
    if arguments.json:
        result = {
            "units": "seconds; commits and writes a second",
            "targets": TARGETS,
            "medians of ratios": found,
            "medians": medians,
            "rounds": rounds,
            "keys": arguments.keys,
        }
        write(arguments.json, result, arguments.folder)


if __name__ == "__main__":
    main()
