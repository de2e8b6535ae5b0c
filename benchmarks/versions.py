"""What snapshots and open iterators cost, and what reads beside a writer do.

Every answer is checked. LMDB's read transaction and RocksDB's snapshot are timed beside where the packages
are installed (`make .venv/compare`). `python benchmarks/versions.py --keys 10000000 --json FILE`.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from result import require, write

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE_BYTES = 100
ROUNDS = 7
clock = time.perf_counter_ns


def values(keys: np.ndarray[Any, Any], version: int) -> np.ndarray[Any, Any]:
    """Return one value of 100 bytes for each key: the key, the version, zeros."""
    made = np.zeros(len(keys), dtype=[("key", "<i8"), ("version", "<i8"), ("rest", f"V{VALUE_BYTES - 16}")])
    made["key"] = keys
    made["version"] = version
    return made


def fill(store: alexpy.Store, keys: np.ndarray[Any, Any], version: int) -> None:
    """Put every key once."""
    for first in range(0, len(keys), 100_000):
        part = keys[first : first + 100_000]
        store.put_many(part, values(part, version))


def check(found: np.ndarray[Any, Any], keys: np.ndarray[Any, Any], version: int) -> None:
    """End the benchmark unless these are the values of that version."""
    require((found["key"] == keys).all() and (found["version"] == version).all(), "another version or key")


def per_call(call: Callable[[], object], calls: int) -> float:
    """Nanoseconds of a call, the median of some rounds."""
    rounds = []
    for _ in range(ROUNDS):
        start = clock()
        for _ in range(calls):
            call()
        rounds.append((clock() - start) / calls)
    return statistics.median(rounds)


def in_turn(calls: dict[str, Callable[[], object]], repeats: int = 1) -> dict[str, float]:
    """Nanoseconds of each call, the medians of rounds in turn."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = clock()
            for _ in range(repeats):
                call()
            took[name].append((clock() - start) / repeats)
    return {name: statistics.median(rounds) for name, rounds in took.items()}


def percentiles(nanos: list[int]) -> dict[str, float]:
    """Microseconds."""
    shares = (50, 99, 99.9, 100)
    return {f"p{share}": round(float(np.percentile(nanos, share)) / 1e3, 2) for share in shares}


def snapshots(store: alexpy.Store, keys: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Taking and dropping one; what 10,000 alive cost a get."""
    found: dict[str, Any] = {"take and drop, ns": round(per_call(store.snapshot, 20_000))}
    asked = np.random.default_rng(1).permutation(keys)[:20_000].tolist()

    def get_all() -> None:
        get = store.get
        for key in asked:
            get(key)

    kept: list[alexpy.Snapshot] = []
    took: dict[str, list[float]] = {"none": [], "10,000": []}
    for _ in range(ROUNDS):
        for name, count in (("none", 0), ("10,000", 10_000)):
            kept.clear()
            kept.extend(store.snapshot() for _ in range(count))
            gc.collect()
            start = clock()
            get_all()
            took[name].append((clock() - start) / len(asked))
    kept.clear()
    alone, beside = (statistics.median(took[name]) for name in took)
    found["get, ns"] = {
        "no snapshot": round(alone),
        "10,000 snapshots": round(beside),
        "ratio": beside / alone,
    }
    return found


def puts_beside(store: alexpy.Store, keys: np.ndarray[Any, Any], version: int) -> dict[str, Any]:
    """Single puts beside nothing, one iterator that is read from now and then, and a hundred iterators."""
    found: dict[str, Any] = {}
    random = np.random.default_rng(2)
    for name, count in (("nothing", 0), ("one iterator", 1), ("100 iterators", 100)):
        iterators = [store.scan_keys() for _ in range(count)]
        require(len([next(iterator) for iterator in iterators]) == count, "every iterator has a first key")
        changed = np.unique(random.choice(keys, 200_000))
        random.shuffle(changed)
        new = values(changed, version).tobytes()
        before, nanos = store.stats().history_bytes, []
        for at, key in enumerate(changed.tolist()):
            value = new[at * VALUE_BYTES : (at + 1) * VALUE_BYTES]
            start = clock()
            store.put(key, value)
            nanos.append(clock() - start)
            if iterators and at % 100 == 0:
                next(iterators[0])
        grown = store.stats().history_bytes - before
        found[name] = {
            "put, us": percentiles(nanos),
            "history bytes a changed key": round(grown / len(changed), 1),
        }
        iterators.clear()
        gc.collect()
        require(store.stats().history_bytes == 0, "memory comes back")
        fill(store, changed, 0)
    return found


def batches_behind(store: alexpy.Store, keys: np.ndarray[Any, Any]) -> dict[str, Any]:
    """A million batch gets of a snapshot behind which nothing, 1 % or all of the keys changed."""
    found: dict[str, Any] = {}
    dtype = values(keys[:1], 0).dtype
    asked = np.random.default_rng(3).choice(keys, 1_000_000)
    out = np.empty(len(asked), dtype)
    changes = {"nothing": keys[:0], "1 %": keys[::100], "all": keys}
    for name, changed in changes.items():
        fill(store, keys, 0)
        snapshot = store.snapshot()
        fill(store, changed, 1)
        check(snapshot.get_array(asked, dtype, out=out), asked, 0)
        took = in_turn(
            {
                "live": lambda: store.get_array(asked, dtype, out=out),
                "snapshot": lambda snapshot=snapshot: snapshot.get_array(asked, dtype, out=out),
            }
        )
        check(snapshot.get_array(asked, dtype, out=out), asked, 0)
        found[name] = {
            "live, ms": round(took["live"] / 1e6, 1),
            "snapshot, ms": round(took["snapshot"] / 1e6, 1),
            "ratio": round(took["snapshot"] / took["live"], 2),
            "history bytes a changed key": round(store.stats().history_bytes / max(1, len(changed)), 1),
        }
        start = clock()
        snapshot.close()
        found[name]["dropped in, us"] = round((clock() - start) / 1e3)
        require(store.stats().history_bytes == 0, "memory comes back")
    return found


def gets_beside_a_writer(store: alexpy.Store, keys: np.ndarray[Any, Any], seconds: float) -> dict[str, Any]:
    """Single gets while the store is quiet, and while a thread puts batches of 1,000 without a pause."""
    found: dict[str, Any] = {}
    asked = np.random.default_rng(4).permutation(keys)[:100_000].tolist()
    for name in ("quiet", "writer", "quiet again"):
        stop = threading.Event()

        def put(stop: threading.Event = stop) -> None:
            random, version = np.random.default_rng(5), 1
            while not stop.is_set():
                part = random.choice(keys, 1000)
                store.put_many(part, values(part, version))
                version += 1

        writer = threading.Thread(target=put)
        if name == "writer":
            writer.start()
        nanos, end = [], clock() + int(seconds * 1e9)
        while clock() < end:
            for key in asked:
                start = clock()
                store.get(key)
                nanos.append(clock() - start)
        stop.set()
        if name == "writer":
            writer.join()
        found[name] = {"get, us": percentiles(nanos)}
    return found


def two_threads(store: alexpy.Store, keys: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Batches of 4,096 by one thread and by two."""
    found: dict[str, Any] = {}
    dtype = values(keys[:1], 0).dtype
    asked = np.random.default_rng(6).choice(keys, (240, 4096))
    calls: dict[str, Callable[[np.ndarray[Any, Any]], object]] = {
        "get_many": store.get_many,
        "get_array": lambda part: store.get_array(part, dtype),
    }
    for name, call in calls.items():

        def read(parts: np.ndarray[Any, Any], call: Callable[[Any], object] = call) -> None:
            for part in parts:
                call(part)

        def shared(count: int, read: Callable[[Any], None] = read) -> None:
            threads = [threading.Thread(target=read, args=(part,)) for part in np.array_split(asked, count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        took = in_turn({"one": lambda: shared(1), "two": lambda: shared(2)})
        found[name] = {"times as fast": round(took["one"] / took["two"], 2)}
    return found


def rivals(folder: Path, keys: np.ndarray[Any, Any]) -> dict[str, Any]:
    """LMDB's read transaction and RocksDB's snapshot, taken and dropped over the same keys."""
    found: dict[str, Any] = {}
    try:
        import lmdb  # noqa: PLC0415
    except ImportError:
        found["lmdb"] = "not installed"
    else:
        with lmdb.open(str(folder / "lmdb"), map_size=1 << 32, sync=False) as env:
            with env.begin(write=True) as writing:
                for key in keys[:100_000].tolist():
                    writing.put(key.to_bytes(8, "big", signed=True), b"x")
            found["lmdb read transaction, ns"] = round(per_call(lambda: env.begin().abort(), 20_000))
    try:
        import rocksdict  # noqa: PLC0415
    except ImportError:
        found["rocksdb"] = "not installed"
    else:
        store = rocksdict.Rdict(str(folder / "rocksdb"))
        for key in keys[:10_000].tolist():
            store[key] = b"x"
        found["rocksdb snapshot, ns"] = round(per_call(store.snapshot, 20_000))
        store.close()
    return found


def main() -> None:
    """Measure all rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    keys = (np.arange(asked.keys, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)
    folder = Path(tempfile.mkdtemp(prefix="alexpy-versions-"))
    try:
        with alexpy.open(folder / "store") as store:
            fill(store, keys, 0)
            found: dict[str, Any] = {"keys": asked.keys}
            found["snapshots"] = snapshots(store, keys) | rivals(folder, keys)
            found["puts beside"] = puts_beside(store, keys, 7)
            found["a million batch gets, changed behind the snapshot"] = batches_behind(
                store, keys[:1_000_000]
            )
            found["gets beside a writer"] = gets_beside_a_writer(store, keys, asked.seconds)
            found["two threads"] = two_threads(store, keys)
    finally:
        shutil.rmtree(folder)
    for name, row in found.items():
        print(f"{name}: {row}")
    if asked.json:
        write(asked.json, found)


if __name__ == "__main__":
    main()
