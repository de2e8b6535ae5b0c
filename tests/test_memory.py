"""Calls without enough memory: MemoryError, nothing lost or poisoned, and the process lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import alexpy

pytestmark = pytest.mark.slow

# MiB: hardly anything, less than many calls need, and more than most do.
ROOMS = ["0", "20", "150"] if "ALEXPY_LIMIT_SEEDS" not in os.environ else ["0", "1", "5", "20", "60", "150"]
PROGRAM = Path(__file__).with_name("memory_limits.py")


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_every_call_without_memory_raises_memory_error_and_leaves_the_store_as_it_was(
    tmp_path: Path, compression: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), str(tmp_path), compression, *ROOMS],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "panicked" not in run.stderr
    refused = int(run.stdout.split("done: ")[1].split(" refused")[0])
    assert refused > 20, "the limits are too wide to show anything"


# Prints what came of reading all at once: without memory, after a read with a second thread.
TWICE = """
import pathlib, resource, sys
import alexpy
store = alexpy.open(sys.argv[1], background=False)
keys = range(100_000)
assert len(store.get_many(keys)) == 100_000
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (int(sys.argv[2]) << 20), hard))
try:
    print(len(store.get_many(keys)))
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_large_read_that_finds_an_earlier_threads_stack_and_no_other_memory_does_not_end_the_process(
    store_path: Path, compression: Literal["zstd"] | None
) -> None:
    with alexpy.open(store_path, background=False, compression=compression) as store:
        store.put_many(np.arange(100_000), np.zeros((100_000, 100), np.uint8))
    for room in (0, 4, 10):
        run = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", TWICE, str(store_path), str(room)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.stdout.strip() in {"100000", "MemoryError"}, (room, run.returncode, run.stderr[-4000:])


def test_an_index_that_finds_no_memory_in_the_middle_of_a_call_raises_memory_error_and_goes_on() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM.with_name("memory_of_an_index.py"))],
        capture_output=True,
        text=True,
        # Telling of a panic takes memory, and waits for ever where that is missing.
        env={**os.environ, "RUST_BACKTRACE": "1"},
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "panicked" not in run.stderr


# Prints what came of opening a store whose index is built from the log, with ever more MiB of address space.
OPENING = """
import pathlib, resource, sys
import alexpy
_, hard = resource.getrlimit(resource.RLIMIT_AS)
for room in range(0, 160, 16):
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (room << 20), hard))
    try:
        alexpy.open(sys.argv[1], read_only=True, **eval(sys.argv[2])).close()
        outcome = "opened"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    print(outcome, flush=True)
"""


@pytest.mark.parametrize("options", ["{}", "{'recovery': 'point_in_time'}"])
def test_an_opening_without_memory_for_the_index_is_a_memory_error_and_blames_nothing(
    store_path: Path, options: str
) -> None:
    with alexpy.open(store_path, background=False) as store:
        store.put_many(np.arange(20_000), np.zeros((20_000, 4), np.uint8))
    for image in store_path.glob("img-*"):
        image.unlink()
    run = subprocess.run(
        [sys.executable, "-c", OPENING, str(store_path), options],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    outcomes = run.stdout.splitlines()
    assert {outcome.split(":")[0] for outcome in outcomes} == {"opened", "MemoryError"}, outcomes
    assert any("of the index" in outcome for outcome in outcomes), outcomes


# Prints what came of a call that reads records of 150 MiB without memory.
LONG = """
import pathlib, resource, sys
import alexpy
store = alexpy.open(sys.argv[1], background=False)
store[7] = b"the segment of the long ones is no longer the last one"
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20), hard))
try:
    print(getattr(store, sys.argv[2])())
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.parametrize("call", ["compact", "verify"])
def test_a_record_that_is_longer_than_memory_does_not_end_the_process(store_path: Path, call: str) -> None:
    with alexpy.open(store_path, background=False) as store:
        store.put_many([1, 2], [bytes(150 << 20)] * 2)
        store[1] = b"short"
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", LONG, str(store_path), call],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout.strip() == "MemoryError", (run.returncode, run.stderr[-4000:])


# Prints what came of a call that copies ten million items of an index, with so many MiB of room. Then
# the index is whole, and an iterator that was begun before goes on over what it began with.
COPIES = """
import pathlib, resource, sys
import numpy as np
from alexpy import AlexIndex
index = AlexIndex()
keys = np.arange(10_000_000)
index.put_many(keys, keys)
call, room = sys.argv[1], int(sys.argv[2])
begun = iter(index.items())
next(begun)
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (room << 20), hard))
try:
    exec(call)
    print("done")
except MemoryError as error:
    print("MemoryError" if "nothing was changed" in str(error) else error)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
index.check()
assert sum(1 for _ in begun) == 9_999_999
"""


@pytest.mark.parametrize(
    "call",
    [
        "index.scan_arrays()",
        "index.keys_array()",
        "index.scan_many([0], [2**62])",
        "index[3] = 4",
        "index.clear()",
    ],
)
def test_a_copy_out_of_an_index_for_which_there_is_no_memory_does_not_end_the_process(call: str) -> None:
    for room in (20, 90):
        run = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", COPIES, call, str(room)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (run.returncode, run.stdout.strip()) == (0, "MemoryError"), (room, run.stderr[-4000:])
        assert "panicked" not in run.stderr


# Deletes ten million keys of an index with 100 MiB of address space.
DELETED = """
import pathlib, resource
import numpy as np
from alexpy import AlexIndex
index = AlexIndex()
keys = np.arange(10_000_000)
index.put_many(keys, keys)
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20), hard))
print(index.delete_range(5), len(index))
index.check()
"""


def test_a_range_of_an_index_is_deleted_with_hardly_any_memory() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", DELETED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout.split()) == (0, ["9999995", "5"]), run.stderr[-4000:]
