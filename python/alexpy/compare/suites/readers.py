"""What sixteen read-only processes on one store keep of its index in memory, beside what one keeps.

Each process counts its share (the kernel's Pss) of its private memory and of the mapped images of the index,
less what it had before it opened the store. The files of values are left out: they are the same page cache
however many processes read them. Each of n processes that share a page is charged an n-th of it, so shared
memory counts once in the sum. Measured just after a checkpoint, because each reader joins a tail behind the
image for itself; random keys touch most pages.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from alexpy.compare.keys import SEED, draw, rows_of

from . import large

if TYPE_CHECKING:
    from alexpy.compare.bench import Bench
    from alexpy.compare.sizes import Sizes

PROCESSES = 16
# A page of an image holds some 200 keys: this many random ones of ten million touch every page.
_ASKED = 500_000
_AT_ONCE = 50_000


def run(bench: Bench, sizes: Sizes, path: Path) -> None:
    """Measure on the store that `large.run` left at `path`, closed."""
    loaded = draw("uniform", sizes.large_keys + sizes.tail)[: sizes.large_keys]
    asked = np.random.default_rng(SEED + 3).choice(loaded, min(_ASKED, len(loaded)), replace=False)
    keys = path.parent / "asked.npy"
    np.save(keys, asked)
    del loaded
    with alexpy.open(path) as store:
        store.checkpoint()
    for cell, count in (("readers_one", 1), ("readers_all", PROCESSES)):
        answers = _together(path, keys, count)
        bench.check(cell, right=all(answer["right"] == len(asked) for answer in answers))
        bench.bytes(cell, sum(answer["bytes"] for answer in answers))


def run_reader(path: Path, keys: Path) -> None:
    """Be one of the readers: read all keys, wait for the others, report the memory, and wait for the end."""
    before = _held(path)
    asked = np.load(keys)
    with alexpy.open(path, read_only=True) as store:
        right = 0
        for at in range(0, len(asked), _AT_ONCE):
            part = asked[at : at + _AT_ONCE]
            got = store.get_array(part, np.uint8, large.WIDTH)
            right += int((got == rows_of(part, large.WIDTH)).all(axis=1).sum())
            del got
        del asked, part
        # What was freed here and the C library kept for later is not the store's.
        _trim()
        # Every process waits here until the last has read.
        _say({"right": right})
        sys.stdin.readline()
        _say({"right": right, "bytes": _held(path) - before})
        sys.stdin.readline()


def _say(answer: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _together(path: Path, keys: Path, count: int) -> list[dict[str, Any]]:
    spec = json.dumps({"reader": str(path), "keys": str(keys), "sizes": {}}) + "\n"
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "alexpy.compare.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(count)
        ]
        _ask(children, spec)
        answers = _ask(children, "measure\n")
        for child in children:
            child.communicate("end\n")
    return answers


def _ask(children: list[subprocess.Popen[str]], line: str) -> list[dict[str, Any]]:
    for child in children:
        if child.stdin is None or child.stdout is None:
            raise AssertionError("both pipes were asked for")
        child.stdin.write(line)
        child.stdin.flush()
    said = [child.stdout.readline() for child in children if child.stdout is not None]
    if not all(said):
        raise RuntimeError("a reading process ended before it had answered")
    return [json.loads(answer) for answer in said]


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _held(path: Path) -> int:
    """Return the bytes that this process keeps: private memory, and its share in the images of the store."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            mapped = fields[5] if len(fields) > 5 else ""  # noqa: PLR2004 - the sixth is the file
            counts = not mapped.startswith("/") or (
                mapped.startswith(f"{path.resolve()}/") and mapped.endswith(".idx")
            )
        elif counts and fields[0] == "Pss:":
            total += int(fields[1]) * 1024
    return total
