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
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy
from forked import say, serve

if TYPE_CHECKING:
    import uuid

KEYS = range(0, 5000, 100)


def shared_number(path: str) -> mmap.mmap:
    """Eight bytes that processes share: the last number that was committed."""
    with Path(path).open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


# The queue that is written with `ascending`: so many keys a commit, and so many kept.
ROWS = 1000
KEPT = 5_000_000
# When the clock in the queue's UUIDs begins, in milliseconds; it ticks once a commit.
BEGINNING = 1_700_000_000_000


def queue_keys(kind: str, numbers: Any) -> Any:
    """The keys of the queue's rows of these numbers: the numbers, or UUIDs of version 7 in the same order."""
    if kind == "int64":
        return numbers
    numbers = numbers.astype(np.uint64)
    high = BEGINNING + numbers // ROWS << 16 | 7 << 12 | numbers % ROWS
    # As random as the real ones.
    low = numbers * 0x9E37_79B9_7F4A_7C15 >> 2 | 1 << 63
    return np.stack((high, low), axis=1)


def row_number(key: int | uuid.UUID) -> int:
    """The number of the queue's row under this key."""
    if isinstance(key, int):
        return key
    return ((key.int >> 80) - BEGINNING) * ROWS + (key.int >> 64 & 0xFFF)


def write(line: str) -> None:
    """Commit until killed."""
    job = json.loads(line)
    if job["ascending"]:
        write_ascending(job)
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


def write_ascending(job: dict[str, Any]) -> None:
    """Append to a queue in key order, with default settings, and trim it at the front, until killed."""
    committed = shared_number(job["committed"])
    with alexpy.open(job["path"], key=job["key"], **job["options"]) as store:
        found = store.last()
        number = 0 if found is None else row_number(found[0]) + 1
        say("open")
        while True:
            numbers = np.arange(number, number + ROWS)
            values = np.zeros(ROWS, [("number", "<i8"), ("rest", "V90")])
            values["number"] = numbers
            values["rest"] = np.frombuffer(b"%090d" % number, "V90")[0]
            store.put_many(queue_keys(job["key"], numbers), values)
            number += ROWS
            committed[:8] = struct.pack("q", number - 1)
            if number % 1_000_000 == 0 and number > KEPT:
                store.delete_range(None, store.nth(len(store) - KEPT)[0])


if __name__ == "__main__":
    serve(write)
