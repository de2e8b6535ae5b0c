"""A program of test_memory: an index finds no memory in a call that grows all of its leaves at once."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np

import alexpy

COUNT = 8_000_000
STEP = 20_000
# All leaves are full at about the same time: the calls before that need no limit.
BEFORE, CALLS = 80, 20


def main() -> None:
    """Fill, limit, and fill on until memory is refused."""
    keys = np.arange(COUNT, dtype=np.int64) * 1000
    index = alexpy.AlexIndex(keys, keys)
    first = np.arange(STEP, dtype=np.int64) * (COUNT // STEP)
    more = [(first + i * 7919 % (COUNT // STEP)) * 1000 + 500 for i in range(BEFORE + CALLS)]
    for batch in more[:BEFORE]:
        index.put_many(batch, batch)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (1 << 20), resource.RLIM_INFINITY))
    done, refused = BEFORE, 0
    for batch in more[BEFORE:]:
        try:
            index.put_many(batch, batch)
            done += 1
        except MemoryError:
            refused += 1
            break
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert refused, "the limit is too wide to show anything"
    index.check()
    assert bool(np.all(index.get_many(keys) == keys))
    for batch in more[:done]:
        assert bool(np.all(index.get_many(batch) == batch))
    index.put_many(more[-1], more[-1])
    print("done")


main()
