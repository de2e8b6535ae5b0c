"""What sixteen processes that read one store keep in memory, and how long each takes to open it.

Each process counts its share (the kernel's Pss) of its private memory and of the files of the store that it
has mapped, less what it had before it opened the store. Each of n processes that share a page is charged an
n-th of it, so shared memory counts once in the sum. `whole` counts all files of the store, `index` only the
images of alexpy's index: its files of values are the same page cache however many processes read them. What
a process reads from a file without a map is page cache, too, and counts in neither. Nobody writes meanwhile.
"""

from __future__ import annotations

import ctypes
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexpy.compare.children import children, say
from alexpy.compare.keys import SEED, rows_of

from .data import WIDTH

if TYPE_CHECKING:
    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import FollowedStore, Keys

PROCESSES = 16
# A page of an image holds some 200 keys, one of values 30: so large a share, at random, touches most of both.
_SHARE_ASKED = 20
_AT_ONCE = 50_000
_IMAGES = ".idx"


def run(bench: Bench, path: Path, name: str, loaded: Keys, counted: str, cells: str) -> None:
    """Measure on the store at `path`, closed, whose values are `rows_of` the keys.

    `name` is how the readers find their engine; `counted` is "whole" or "index"; the names of the cells begin
    with `cells`.
    """
    some = len(loaded) // _SHARE_ASKED
    asked = np.random.default_rng(SEED + 3).choice(loaded, max(1, some), replace=False)
    keys = path.parent / "asked.npy"
    np.save(keys, asked)
    for cell, count in ((f"{cells}_one", 1), (f"{cells}_all", PROCESSES)):
        own = [path.parent / f"reader-{number}" for number in range(count)]
        specs = [{"reader": str(path), "engine": name, "keys": str(keys), "own": str(place)} for place in own]
        with children(specs) as readers:
            # In turn: sixteen at once on a few processors would measure how these are shared out.
            opened = readers.ask_in_turn("open")
            right = [answer["right"] for answer in readers.ask("read")]
            # Every process waits here until the last has read.
            held = [answer[counted] for answer in readers.ask("measure")]
        bench.check(cell, right=right == [len(asked)] * count)
        bench.bytes(cell, sum(held))
        for place in own:
            shutil.rmtree(place, ignore_errors=True)
    bench.seconds(f"{cells}_open", max(answer["seconds"] for answer in opened), 1)


def run_reader(engine: FollowedStore, path: Path, keys: Path, own: Path) -> None:
    """Be one of the readers: open the store, read all keys, report the memory, each when asked."""
    before = _held(path)
    asked = np.load(keys)
    first = engine.single_keys(asked[:1])[0]
    sys.stdin.readline()
    began = time.perf_counter()
    engine.open_reader(path, own)
    engine.get(first)
    say({"seconds": time.perf_counter() - began})
    sys.stdin.readline()
    right = 0
    for at in range(0, len(asked), _AT_ONCE):
        part = asked[at : at + _AT_ONCE]
        got = engine.get_array(engine.batch_keys(part), WIDTH)
        right += int((got == rows_of(part, WIDTH)).all(axis=1).sum())
        del got
    del asked, part
    # What was freed here and the C library kept for later is not the store's.
    _trim()
    say({"right": right})
    sys.stdin.readline()
    say({what: held - before[what] for what, held in _held(path).items()})
    sys.stdin.readline()
    engine.close()


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _held(path: Path) -> dict[str, int]:
    """Return the bytes that this process keeps: private memory, and its share in the files of the store."""
    whole, index, file = 0, 0, ""
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            file = fields[5] if len(fields) > 5 else ""  # noqa: PLR2004 - the sixth is the file
        elif fields[0] == "Pss:" and (not file.startswith("/") or file.startswith(f"{path.resolve()}/")):
            whole += int(fields[1]) * 1024
            index += int(fields[1]) * 1024 if not file.startswith("/") or file.endswith(_IMAGES) else 0
    return {"whole": whole, "index": index}
