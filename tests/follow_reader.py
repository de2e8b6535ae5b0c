"""A reader of test_follow: refreshes beside the writer of follow_writer.py and checks what it then sees."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np

import alexpy
from follow_writer import KEYS, ROWS, queue_keys, row_number, shared_number
from forked import say, serve


def check(reader: alexpy.Store | alexpy.Snapshot) -> int:
    """The number that all keys hold."""
    values = reader.get_many(KEYS)
    numbers = {struct.unpack("q", value[:8])[0] for value in values if value is not None}
    assert len(numbers) == 1, f"half a batch: {numbers}"
    assert None not in values, "a key is missing"
    return int(numbers.pop())


def check_queue(reader: alexpy.Store[Any, bytes], chance: random.Random) -> int:
    """The number of the queue's last row, of which none may be missing."""
    ends = reader.first(), reader.last()
    assert None not in ends
    first, last = (row_number(end[0]) for end in ends if end is not None)
    assert len(reader) == last - first + 1, f"holes between {first} and {last}"
    numbers = [chance.randint(first, last) for _ in range(200)]
    keys = queue_keys(reader.key_kind, np.array(numbers))
    for number, value in zip(numbers, reader.get_many(keys), strict=True):
        assert value is not None, f"no row {number} between {first} and {last}"
        assert struct.unpack("q", value[:8])[0] == number
        assert int(value[8:]) == number // ROWS * ROWS, "of another commit"
    return last


def read(line: str) -> None:
    """Refresh and check for some seconds; with "hold", open the store and wait to be killed."""
    job = json.loads(line)
    committed = shared_number(job["committed"])
    reader = alexpy.open(job["path"], read_only=True, read_mode=job["read_mode"])
    if job["hold"]:
        if job["fork"] and os.fork() == 0:
            time.sleep(0.5)
            check(reader)
            os._exit(0)
        say("open")
        while True:
            reader.refresh()
            check(reader)
    end = time.monotonic() + job["seconds"]
    last, seq, rounds = 0, 0, 0
    snapshots: list[tuple[int, alexpy.Snapshot]] = []
    chance = random.Random(os.getpid())
    while time.monotonic() < end:
        before = struct.unpack("q", committed[:8])[0]
        reached = reader.refresh()
        assert reached >= seq, f"back from {seq} to {reached}"
        number = check_queue(reader, chance) if job["ascending"] else check(reader)
        assert number >= before, f"{number} after a refresh, and {before} had been committed before it"
        assert number >= last, f"back from {last} to {number}"
        last, seq, rounds = number, reached, rounds + 1
        if job["ascending"]:
            continue
        if rounds % 50 == 0:
            snapshots.append((number, reader.snapshot()))
            kept, snapshot = snapshots.pop(0) if len(snapshots) > 3 else snapshots[0]
            assert check(snapshot) == kept, "a snapshot changed"
        if rounds % 400 == 100:
            assert (report := reader.verify()).ok, report
        if rounds % 400 == 300:
            copy = Path(job["path"] + f"-copy-{os.getpid()}")
            reader.backup(copy)
            with alexpy.open(copy, read_only=True) as copied:
                assert check(copied) == number
                assert dict(copied) == dict(reader)
            shutil.rmtree(copy)
    say(f"checked {rounds}")


if __name__ == "__main__":
    serve(read)
