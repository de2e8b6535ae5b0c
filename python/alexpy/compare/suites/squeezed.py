"""Random single gets out of four times as many bytes of values as there is memory, page cache included.

The store is loaded and closed without a limit and what it left in the page cache is dropped. The gets are
made by a process of its own (`run_reader`), which enters the control group before it opens the store: all
memory that it takes from then on counts, and every page of a file that it reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.engine import Lacks, LittleMemory
from alexpy.compare.group import enter, limited
from alexpy.compare.keys import SEED, draw, rows_of, split

if TYPE_CHECKING:
    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 1024
CELLS = ("squeezed_get", "squeezed_read")
# How many times the values are larger than memory; less than the least memory starts no engine.
_TIMES = 4
_LEAST_BYTES = 16 << 20
_AT_ONCE = 100
# An engine that has to read much for each get is stopped here; its figure is of the gets it made.
_LONGEST_SECONDS = 5


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path, name: str) -> None:
    """Measure one engine; `name` is how the reading process finds it."""
    limit = sizes.squeezed_values * WIDTH // _TIMES
    if limit < _LEAST_BYTES:
        for cell in CELLS:
            bench.lacks(cell, "has too few values here to be larger than the memory that a process needs")
        return
    try:
        with limited(limit) as group:
            answer = _load_and_read(engine, mode, sizes, folder, name, group)
    except Lacks as reason:
        for cell in CELLS:
            bench.lacks(cell, str(reason))
        return
    bench.check("squeezed_get", right=answer["right"] == answer["count"])
    bench.seconds("squeezed_get", answer["seconds"], int(answer["count"]))
    bench.bytes("squeezed_read", int(answer["read_bytes"] / answer["count"] * sizes.squeezed_gets))


def _load_and_read(
    engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path, name: str, group: Path
) -> dict[str, float]:
    keys = draw("uniform", sizes.squeezed_values)
    engine.open(folder / "store", mode)
    for at in range(0, len(keys), sizes.batch):
        part = keys[at : at + sizes.batch]
        engine.put_many(engine.batch_items(part, split(rows_of(part, WIDTH))))
    engine.flush()
    engine.close()
    _drop(folder / "store")
    asked = np.random.default_rng(SEED + 4).choice(keys, sizes.squeezed_gets)
    np.save(folder / "asked.npy", asked)
    spec = {
        "squeezed": str(folder / "store"), "engine": name, "mode": mode, "sizes": asdict(sizes),
        "asked": str(folder / "asked.npy"), "group": str(group),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "alexpy.compare.worker"],
        input=json.dumps(spec) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == -9:  # noqa: PLR2004 - SIGKILL, by the kernel
        raise Lacks("was killed for using more memory than it was allowed")
    if done.returncode:
        raise RuntimeError(f"the reading process failed: {done.stderr.strip()}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run_reader(engine: StoreEngine, mode: Mode, path: Path, asked: Path, group: Path) -> None:
    """Enter the group, open the store, get every key by a call of its own, check, and print the figures."""
    keys = np.load(asked)
    enter(group)
    before, seconds, right, count = _read_bytes(), 0.0, 0, 0
    if isinstance(engine, LittleMemory):
        engine.expect_little_memory()
    engine.open(path, mode)
    for at in range(0, len(keys), _AT_ONCE):
        part = keys[at : at + _AT_ONCE]
        single = engine.single_keys(part)
        began = time.perf_counter()
        got = engine.get_each(single)
        seconds += time.perf_counter() - began
        right += sum(answer == value for answer, value in zip(got, split(rows_of(part, WIDTH)), strict=True))
        count += len(part)
        if seconds > _LONGEST_SECONDS:
            break
    found = {"seconds": seconds, "count": count, "right": right, "read_bytes": _read_bytes() - before}
    engine.close()
    sys.stdout.write(json.dumps(found) + "\n")


def _drop(path: Path) -> None:
    """Write out the files below a path and drop them from the page cache."""
    for file in path.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDWR)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _read_bytes() -> int:
    """Return how much this process has had read from disks."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))
