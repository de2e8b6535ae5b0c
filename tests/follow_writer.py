"""The program that test_follow kills: writes the same number under all keys, commit by commit.

A number that was committed goes into eight bytes that the readers share. In between it compacts, writes
images, flushes, and closes and opens the store again.
"""

from __future__ import annotations

import json
import mmap
import random
import struct
from pathlib import Path

import alexpy
from forked import say, serve

KEYS = range(0, 5000, 100)


def shared_number(path: str) -> mmap.mmap:
    """Eight bytes that processes share: the last number that was committed."""
    with Path(path).open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


def write(line: str) -> None:
    """Commit until killed."""
    job = json.loads(line)
    chance = random.Random(job["seed"])
    committed = shared_number(job["committed"])
    said = False
    while True:
        store = alexpy.open(job["path"], **job["options"])
        number = struct.unpack("q", store.get(0, bytes(8))[:8])[0]
        if not said:
            say("open")
            said = True
        for _ in range(chance.randrange(200, 5000)):
            number += 1
            value = struct.pack("q", number) * chance.choice((1, 2, 5, 20))
            store.put_many(KEYS, [value] * len(KEYS))
            committed[:8] = struct.pack("q", number)
            rare = chance.random()
            if rare < 0.002:
                store.checkpoint()
            elif rare < 0.004:
                store.compact()
            elif rare < 0.01:
                store.flush()
            elif rare < 0.012:
                # As many keys come and go, so that whole ranges are removed too.
                store.delete_range(10_000, 20_000)
                store.put_many(range(10_000, 10_500), [value] * 500)
        store.close()


if __name__ == "__main__":
    serve(write)
