"""Random gets out of four times as many bytes of values as there is memory, page cache included.

The store is loaded and closed without a limit and what it left in the page cache is dropped. The gets are
made by a process of its own (`run_reader`), which enters the control group before it opens the store: all
memory that it takes from then on counts, and every page of a file that it reads. `run_raw` is the disk
itself: pages of a file apart, read past the page cache, one at a time and sixteen at a time.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.bench import in_threads
from alexpy.compare.engine import Lacks, LittleMemory
from alexpy.compare.group import enter, limited
from alexpy.compare.keys import SEED, draw, rows_of, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import Keys, StoreEngine
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

WIDTH = 1024
SINGLE, MANY, ARRAY = "squeezed_get", "squeezed_many", "squeezed_array"
# The cells that time gets, and how many of them are timed together; None for a batch of the run's size.
_AT_ONCE = {SINGLE: 100, MANY: None, ARRAY: None}
READ = "squeezed_read"
CELLS = (*_AT_ONCE, READ)
# How many times the values are larger than memory; less than the least memory starts no engine.
_TIMES = 4
_LEAST_BYTES = 16 << 20
# An engine that has to read much for each get is stopped here; its figure is of the gets it made.
_LONGEST_SECONDS = 5
# How many reads the disk gets at a time, where batches are its rivals.
DEPTH = 16
RAW_PROMISE = "pages of 4 KiB read by preadv past the page cache, no store"
_PAGE = mmap.PAGESIZE


def run(bench: Bench, engine: StoreEngine, mode: Mode, sizes: Sizes, folder: Path, name: str) -> None:
    """Measure one engine; `name` is how the reading process finds it."""
    limit = sizes.squeezed_values * WIDTH // _TIMES
    if limit < _LEAST_BYTES:
        for cell in CELLS:
            bench.lacks(cell, "has too few values here to be larger than the memory that a process needs")
        return
    try:
        # Before anything is loaded for nothing.
        with limited(limit):
            pass
    except Lacks as reason:
        for cell in CELLS:
            bench.lacks(cell, str(reason))
        return
    keys = draw("uniform", sizes.squeezed_values)
    _load(engine, mode, sizes, folder / "store", keys)
    for number, cell in enumerate(_AT_ONCE):
        # Keys that nobody has asked for are not in memory.
        asked = np.random.default_rng(SEED + 4 + number).choice(keys, sizes.squeezed_gets)
        try:
            with limited(limit) as group:
                answer = _read(mode, sizes, folder, name, (cell, asked, group))
        except Lacks as reason:
            lacking = (cell, READ) if cell == SINGLE else (cell,)
            for each in lacking:
                bench.lacks(each, str(reason))
            continue
        bench.check(cell, right=answer["right"] == answer["count"])
        bench.seconds(cell, answer["seconds"], int(answer["count"]))
        if cell == SINGLE:
            bench.bytes(READ, int(answer["read_bytes"] / answer["count"] * sizes.squeezed_gets))


def run_raw(bench: Bench, sizes: Sizes, folder: Path) -> None:
    """Measure the disk itself: random pages of a file as large as the values, in the same two ways."""
    path = folder / "pages"
    pages = sizes.squeezed_values * WIDTH // _PAGE
    chunk = np.random.default_rng(SEED).bytes(_PAGE << 8)
    # Written, not reserved: a file system answers for blocks that nobody wrote without asking the disk.
    with path.open("wb") as file:
        for _ in range(0, pages, 1 << 8):
            file.write(chunk)
        os.fsync(file.fileno())
    drawn = np.random.default_rng(SEED + 4).integers(0, pages, sizes.squeezed_gets) * _PAGE
    try:
        few = drawn[: max(1, len(drawn) // DEPTH)].tolist()
        bench.seconds(SINGLE, in_threads([_reading(path, few)]), len(few))
        parts = [part.tolist() for part in np.array_split(drawn, DEPTH)]
        bench.seconds(MANY, in_threads([_reading(path, part) for part in parts]), len(drawn))
    except OSError as error:
        for cell in (SINGLE, MANY):
            bench.lacks(cell, f"cannot be read past the page cache here: {error.strerror}")
    bench.figures[ARRAY] = bench.figures[MANY]
    bench.lacks(READ, "is read in pages")


def _reading(path: Path, offsets: list[int]) -> Callable[[], None]:
    """Return the work of one thread: to read these pages, one after another, past the page cache."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    # Whole pages, as such reads need.
    page = [mmap.mmap(-1, _PAGE)]

    def work() -> None:
        read = os.preadv
        try:
            for offset in offsets:
                if read(descriptor, page, offset) != _PAGE:
                    raise OSError(0, "the file is shorter than it was written")
        finally:
            os.close(descriptor)

    return work


def _load(engine: StoreEngine, mode: Mode, sizes: Sizes, path: Path, keys: Keys) -> None:
    engine.open(path, mode)
    for at in range(0, len(keys), sizes.batch):
        part = keys[at : at + sizes.batch]
        engine.put_many(engine.batch_items(part, split(rows_of(part, WIDTH))))
    engine.flush()
    engine.close()


def _read(
    mode: Mode, sizes: Sizes, folder: Path, name: str, work: tuple[str, Keys, Path]
) -> dict[str, float]:
    """Have one cell's gets made by a process in a control group; return what it printed."""
    cell, asked, group = work
    _drop(folder / "store")
    np.save(folder / "asked.npy", asked)
    spec = {
        "squeezed": str(folder / "store"), "engine": name, "mode": mode, "sizes": asdict(sizes),
        "asked": str(folder / "asked.npy"), "group": str(group), "cell": cell,
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


def run_reader(
    engine: StoreEngine, mode: Mode, paths: tuple[Path, Path, Path], cell: str, sizes: Sizes
) -> None:
    """Enter the group, open the store, get the keys that were asked for, check, and print the figures."""
    path, asked, group = paths
    keys = np.load(asked)
    enter(group)
    before, seconds, right, count = _read_bytes(), 0.0, 0, 0
    if isinstance(engine, LittleMemory):
        engine.expect_little_memory()
    engine.open(path, mode)
    at_once = _AT_ONCE[cell] or sizes.squeezed_batch
    for at in range(0, len(keys), at_once):
        part = keys[at : at + at_once]
        values = split(rows_of(part, WIDTH))
        spent, found = _get(engine, cell, part)
        seconds += spent
        right += sum(answer == value for answer, value in zip(found, values, strict=True))
        count += len(part)
        if seconds > _LONGEST_SECONDS:
            break
    answer = {"seconds": seconds, "count": count, "right": right, "read_bytes": _read_bytes() - before}
    engine.close()
    sys.stdout.write(json.dumps(answer) + "\n")


def _get(engine: StoreEngine, cell: str, keys: Keys) -> tuple[float, list[bytes]]:
    """Get some keys in the way of a cell: the seconds that it took, and the values."""
    if cell == SINGLE:
        single = engine.single_keys(keys)
        began = time.perf_counter()
        got = engine.get_each(single)
        return time.perf_counter() - began, got
    batch = engine.batch_keys(keys)
    if cell == MANY:
        began = time.perf_counter()
        many = engine.get_many(batch)
        return time.perf_counter() - began, list(many)
    began = time.perf_counter()
    rows = engine.get_array(batch, WIDTH)
    return time.perf_counter() - began, split(rows)


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
