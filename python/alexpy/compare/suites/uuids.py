"""UUID keys beside int64 keys: rows of 100 bytes loaded, inserted and read, and the index's memory a key.

Three stores: random int64 keys, UUIDs of version 4 (random), of version 7 in order (2,000 a millisecond).
Half of the keys are loaded, the others inserted then, all in batches. Nothing runs in the background.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from alexpy.compare.keys import SEED

from .data import WIDTH

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

KINDS = ("int64", "v4", "v7")
WORKS = ("load", "insert", "get", "many", "array")
_MILLISECOND_KEYS = 2_000
_FIRST_MILLISECOND = 1_790_000_000_000


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure alexpy, on stores of its own."""
    del engine, mode
    count = sizes.keys // 2 * 2
    rows = np.random.default_rng([SEED, WIDTH]).integers(0, 256, (count, WIDTH), np.uint8)
    for kind in KINDS:
        _measure(bench, kind, drawn(kind, count), rows, sizes, folder / kind)


def drawn(kind: str, count: int) -> NDArray[Any]:
    """Return distinct keys in the order of writing: int64, or items of 16 bytes."""
    generator = np.random.default_rng(SEED)
    if kind == "int64":
        return generator.choice(np.int64(1) << 60, count, replace=False)
    made = generator.integers(0, 256, (count, 16), np.uint8)
    made[:, 8] = made[:, 8] & 0x3F | 0x80
    made[:, 6] = made[:, 6] & 0x0F | (0x40 if kind == "v4" else 0x70)
    if kind == "v7":
        milliseconds = _FIRST_MILLISECOND + np.arange(count) // _MILLISECOND_KEYS
        made[:, :6] = milliseconds.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        made = made[np.lexsort(made.T[::-1])]
    return made.view("V16").ravel()


def _measure(
    bench: Bench, kind: str, keys: NDArray[Any], rows: NDArray[np.uint8], sizes: Sizes, path: Path
) -> None:
    cell = {work: f"uuids_{kind}_{work}" for work in (*WORKS, "bytes")}
    count, half, batch = len(keys), len(keys) // 2, sizes.batch
    order = np.random.default_rng(SEED + 1).permutation(count)
    shuffled, wanted = keys[order], rows[order]
    some = order[: sizes.gets]
    single: list[Any] = (
        keys[some].tolist() if kind == "int64" else [uuid.UUID(bytes=key.tobytes()) for key in keys[some]]
    )
    with alexpy.open(path, key="int64" if kind == "int64" else "uuid", background=False) as store:
        for work, first in (("load", 0), ("insert", half)):
            began = time.perf_counter()
            for at in range(first, first + half, batch):
                end = min(at + batch, first + half)
                store.put_many(keys[at:end], rows[at:end])
            bench.seconds(cell[work], time.perf_counter() - began, half)
        bench.bytes_each(cell["bytes"], store.stats().index_bytes, count)
        bench.timed(
            cell["get"],
            len(single),
            lambda: [store.get(key) for key in single],
            lambda got: got == [row.tobytes() for row in rows[some]],
        )
        bench.timed(
            cell["many"],
            count,
            lambda: [store.get_many(shuffled[at : at + batch]) for at in range(0, count, batch)],
            lambda got: b"".join(value for part in got for value in part if value) == wanted.tobytes(),
        )
        out = np.empty_like(wanted)

        def arrays() -> None:
            for at in range(0, count, batch):
                store.get_array(shuffled[at : at + batch], np.uint8, WIDTH, out=out[at : at + batch])

        bench.timed(cell["array"], count, arrays, lambda _: bool((out == wanted).all()))
