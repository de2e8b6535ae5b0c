"""Compressed values: the demo's flights as JSON, by alexpy and RocksDB, each with compression and without.

    make .venv/compare .venv/demo
    python benchmarks/compression.py [--rounds 5] [--out FILE]

Every engine loads the same 336,776 rows under the same shuffled keys in batches of 10,000 and syncs its log,
is closed and opened, and is asked for all of them at once and for 100,000 one by one. Answers are checked.
In turn, so many rounds; medians. RocksDB syncs its write-ahead log, and compresses what it has written
meanwhile; it is flushed and compacted before its size is taken.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rocksdict import AccessType, DBCompressionType, Options, Rdict, WriteBatch

import alexpy
from result import require, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "demo"))

import flights

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 10_000
SINGLE = 100_000
CHOICES: tuple[str | None, ...] = (None, "lz4", "zstd")


def rows(folder: Path) -> list[bytes]:
    """Return the flights as JSON."""
    file = folder / "flights.csv"
    flights.write_csv(file)
    return [flight.row_json for flight in flights.read_csv(file)]


def allocated(folder: Path) -> int:
    """Return the bytes that the files of a folder take on the disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and what it returned."""
    begin = time.perf_counter()
    answer = call()
    return time.perf_counter() - begin, answer


def by_alexpy(path: Path, compression: Any, keys: Any, values: list[bytes], asked: Any) -> dict[str, float]:
    """Measure alexpy once."""
    store = alexpy.open(path, compression=compression)

    def load() -> None:
        for at in range(0, len(values), BATCH):
            store.put_many(keys[at : at + BATCH], values[at : at + BATCH])
        store.flush()

    seconds, _ = timed(load)
    store.close()
    figures = {"load_s": seconds, "disk_bytes": allocated(path)}
    with alexpy.open(path) as again:
        figures["get_many_s"], found = timed(lambda: again.get_many(asked))
        some = asked[:SINGLE].tolist()
        figures["single_s"], one_by_one = timed(lambda: [again[key] for key in some])
    check(keys, values, asked, found, one_by_one)
    return figures


def by_rocksdb(path: Path, compression: Any, keys: Any, values: list[bytes], asked: Any) -> dict[str, float]:
    """Measure RocksDB once, at raw bytes and with the batch calls of rocksdict."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - its name says what
    options.set_compression_type(getattr(DBCompressionType, compression or "none")())
    store = Rdict(str(path), options)
    packed = [key.to_bytes(8, "big") for key in keys.tolist()]

    def load() -> None:
        for at in range(0, len(values), BATCH):
            batch = WriteBatch(raw_mode=True)
            for key, value in zip(packed[at : at + BATCH], values[at : at + BATCH], strict=True):
                batch.put(key, value)
            store.write(batch)
        store.flush_wal(True)  # noqa: FBT003 - to sync it

    seconds, _ = timed(load)
    store.flush()
    store.compact_range(None, None)
    store.close()
    figures = {"load_s": seconds, "disk_bytes": allocated(path)}
    again = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
    wanted = [key.to_bytes(8, "big") for key in asked.tolist()]
    figures["get_many_s"], found = timed(lambda: again[wanted])
    figures["single_s"], one_by_one = timed(lambda: [again[key] for key in wanted[:SINGLE]])
    again.close()
    check(keys, values, asked, found, one_by_one)
    return figures


def check(keys: Any, values: list[bytes], asked: Any, found: list[bytes], one_by_one: list[bytes]) -> None:
    """End the benchmark where an answer is wrong."""
    place = np.empty(len(keys), np.int64)
    place[keys] = np.arange(len(keys))
    require(all(found[i] == values[place[key]] for i, key in enumerate(asked.tolist())), "get_many")
    require(one_by_one == found[:SINGLE], "single gets")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    taken: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        values = rows(Path(folder))
        chance = np.random.default_rng(1)
        keys, asked = (chance.permutation(len(values)).astype(np.int64) for _ in range(2))
        for _ in range(arguments.rounds):
            for engine, measure in (("alexpy", by_alexpy), ("rocksdict", by_rocksdb)):
                for compression in CHOICES:
                    if (engine, compression) == ("alexpy", "lz4"):
                        continue
                    path = Path(folder) / "store"
                    figures = measure(path, compression, keys, values, asked)
                    taken.setdefault(f"{engine} {compression or 'none'}", []).append(figures)
                    shutil.rmtree(path)
    medians = {
        name: {row: statistics.median(figures[row] for figures in rounds) for row in rounds[0]}
        for name, rounds in taken.items()
    }
    size = sum(map(len, values)) / 1e6
    print(f"{len(values):,} flights, {size:.1f} MB of JSON, medians of {arguments.rounds}")
    print(f"{'':16}{'load s':>9}{'MB on disk':>12}{'get_many ms':>13}{'a get us':>10}")
    for name, row in medians.items():
        print(
            f"{name:16}{row['load_s']:9.2f}{row['disk_bytes'] / 1e6:12.1f}"
            f"{row['get_many_s'] * 1e3:13.0f}{row['single_s'] / SINGLE * 1e6:10.2f}"
        )
    if arguments.out:
        found = {"rows": len(values), "bytes": sum(map(len, values)), "medians": medians, "rounds": taken}
        write(arguments.out, json.loads(json.dumps(found)))


if __name__ == "__main__":
    main()
