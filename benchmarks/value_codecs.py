"""What values of other types than bytes cost: one at a time, and many in one call.

    python benchmarks/value_codecs.py [--bytes-only] [--keys 1000000]

Prints a line for each codec and call: nanoseconds a value, the best of five rounds. Answers are checked. With
--bytes-only it measures a store of bytes alone, also by a version of alexpy without codecs: to compare two
builds, run it by turns with each on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
SINGLE = 100_000


def best(call: Callable[[], object], count: int) -> float:
    """Return nanoseconds a value."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times) / count * 1e9


def single(store: Any, value: Any) -> tuple[float, float]:
    """Return the time of a put and of a get, one call each."""
    keys = list(range(SINGLE))

    def put() -> None:
        for key in keys:
            store[key] = value

    def get() -> None:
        for key in keys:
            store[key]

    return best(put, SINGLE), best(get, SINGLE)


def measure(name: str, codec: Any, value: Any, values: Any, folder: str) -> None:
    """Print the figures of one codec."""
    count = len(values)
    keys = np.arange(count)
    options = {} if codec is None else {"codec": codec}
    with alexpy.open(Path(folder) / name, durability="os", **options) as store:
        one_put, one_get = single(store, value)
        many_put = best(lambda: store.put_many(keys, values), count)
        many_get = best(lambda: store.get_many(keys), count)
        scan = best(lambda: sum(1 for _ in store.scan_values()), count)
        found = store.get_many(keys[-3:])
        assert np.array_equal(np.asarray(found), np.asarray(values[-3:])), name
    print(f"{name:12} {one_put:8.0f} {one_get:8.0f} {many_put:9.1f} {many_get:9.1f} {scan:9.1f}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes-only", action="store_true")
    parser.add_argument("--keys", type=int, default=1_000_000)
    arguments = parser.parse_args()
    count = arguments.keys
    build = alexpy.build_info()
    print(f"{Path(alexpy.__file__).parents[2].name}, {build['profile']}, {build['simd']}, {count:,} keys")
    print(f"{'ns a value':12} {'put':>8} {'get':>8} {'put_many':>9} {'get_many':>9} {'values':>9}")
    texts = [f"{key:08}" for key in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        measure("bytes", None, b"12345678", [text.encode() for text in texts], folder)
        if arguments.bytes_only:
            return
        codecs = alexpy.codecs
        measure("text", codecs.text, "12345678", texts, folder)
        measure("json", codecs.json, {"a": 1}, [{"a": key} for key in range(count)], folder)
        measure("float", codecs.numpy("f8"), 0.5, np.arange(count) / 2, folder)
        measure("vector", codecs.numpy("f4", 8), [0.5] * 8, np.ones((count, 8), np.float32), folder)
        rows = np.zeros(count, [("f0", "<i4"), ("f1", "<f8")])
        measure("struct", codecs.struct("<id"), (1, 0.5), rows, folder)
        own = alexpy.Codec("own", lambda value: value, lambda data: data)
        measure("own", own, b"12345678", [text.encode() for text in texts], folder)


if __name__ == "__main__":
    main()
