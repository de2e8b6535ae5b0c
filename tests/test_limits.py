"""Resource limits reached at any call, from Python.

A random program of public calls runs in a process of its own, under a limit that is set at a random moment.
Every refusal must be an OSError that names the limit and changes nothing. Once the limit is lifted, the store
must work, and must hold the result of every call that returned. ALEXPY_LIMIT_SEEDS sets how many programs run
for each limit; a failure names the seed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import alexpy

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("ALEXPY_LIMIT_SEEDS", "4"))

_PROGRAM = r"""
import errno, os, random, resource, signal, sys
import alexpy, alexpy.config

kind, seed, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
chance = random.Random(f"{kind} {seed}")
if kind == "threads" and os.getuid() == 0:
    # Limits of processes are not for root.
    os.setgid(65534)
    os.setuid(65534)

ALLOWED = {
    "descriptors": {errno.EMFILE},
    "file size": {errno.EFBIG},
    "threads": {errno.EAGAIN},
}[kind]
held, limits = [], {}


def impose():
    if held or limits:
        return
    if kind == "descriptors":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limits[resource.RLIMIT_NOFILE] = (soft, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, hard), hard))
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(chance.randrange(7)):
            os.close(held.pop()) if held else None
    elif kind == "file size":
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limits[resource.RLIMIT_FSIZE] = (soft, hard)
        most = chance.choice([0, 100, 5000, 40_000, 70_000, 300_000])
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        limits[resource.RLIMIT_NPROC] = (soft, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (chance.randrange(1, 8), hard))


def lift():
    while held:
        os.close(held.pop())
    for which in list(limits):
        resource.setrlimit(which, limits.pop(which))


OPTIONS = {
    "segment_bytes": chance.choice([1 << 16, 1 << 18]),
    "read_mode": chance.choice(["mmap", "pread"]),
    "write_mode": chance.choice(["auto", "pwrite"]),
    "durability": chance.choice(["sync", "interval", "os"]),
    "background": chance.random() < 0.6,
    "checkpoint_tail_bytes": chance.choice([1000, 1 << 20]),
}


def allowed(error):
    return type(error) in {OSError, BlockingIOError} and error.errno in ALLOWED


def opened():
    for attempt in range(2):
        try:
            return alexpy.open(path, **OPTIONS)
        except OSError as error:
            assert allowed(error), error
            lift()
    raise AssertionError("opening does not work without a limit")


store, model = opened(), {}
value = lambda: os.urandom(chance.choice([0, 10, 300, 3000, 20_000]))
key = lambda: chance.randrange(300)


def one_call(now):
    what = chance.randrange(14)
    if what < 4:
        at, new = key(), value()
        store[at] = new
        now[at] = new
    elif what == 4:
        items = {key(): value() for _ in range(20)}
        store.update(items)
        now.update(items)
    elif what == 5:
        at = key()
        assert store.pop(at, None) == now.pop(at, None)
    elif what == 6:
        at = key()
        store.delete_range(at, at + 20)
        for gone in range(at, at + 20):
            now.pop(gone, None)
    elif what == 7:
        keys = [key() for _ in range(5000)]
        assert store.get_many(keys) == [now.get(at) for at in keys]
    elif what == 8:
        assert dict(store.scan()) == now
    elif what == 9:
        store.compact()
    elif what == 10:
        store.checkpoint()
    elif what == 11:
        store.flush()
    elif what == 12:
        with alexpy.open(path, read_only=True, read_mode=OPTIONS["read_mode"]) as reader:
            assert len(reader) <= 400
    else:
        store.backup(f"{path}.copy-{chance.randrange(1 << 40)}")


refused = 0
for step in range(120):
    if chance.random() < 0.15:
        impose()
    elif chance.random() < 0.1:
        lift()
    if chance.random() < 0.03:
        try:
            store.close()
        except OSError as error:
            assert allowed(error), (step, error)
        store = opened()
        lift() if len(store) != len(model) else None
        assert len(store) == len(model), (step, len(store), len(model))
    now = dict(model)
    try:
        one_call(now)
    except OSError as error:
        assert allowed(error), (step, type(error), error)
        refused += 1
    else:
        model = now
lift()
assert dict(store) == model, "what returned is there, and nothing else"
store[-1] = b"usable again"
model[-1] = b"usable again"
store.flush()
report = store.verify()
assert report.ok, report.errors
store.close()
with alexpy.open(path) as store:
    assert dict(store) == model, "after opening again"
print(f"{refused} refused", flush=True)
os._exit(7)
"""


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", ["descriptors", "file size", "threads"])
def test_a_limit_that_is_reached_costs_the_call_and_nothing_else(
    tmp_path: Path, kind: str, seed: int
) -> None:
    if kind == "threads":
        if os.getuid() != 0:
            pytest.skip("a limit of threads counts all of a user's, so it needs a user without any")
        with tempfile.TemporaryDirectory() as open_to_all:
            if any(above.stat().st_mode & 0o001 == 0 for above in Path(open_to_all).parents):
                pytest.skip("another user does not get to the temporary directory")
            Path(open_to_all).chmod(0o777)
            _run(Path(open_to_all), kind, seed)
    else:
        _run(tmp_path, kind, seed)


def _run(folder: Path, kind: str, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, kind, str(seed), os.fspath(folder / "store")],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "RUST_BACKTRACE": "1"},
    )
    assert done.returncode == 7, (kind, seed, done.returncode, done.stderr)


_PUT = """
import os, resource, sys, alexpy
path, free = sys.argv[1], int(sys.argv[2])
store = alexpy.open(path, background=False, segment_bytes=65536)
store[1] = b"one"
store.flush()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(free):
    os.close(held.pop())
put = 0
try:
    for key in range(100):
        store[key] = bytes(5000)
        put += 1
    outcome = "ok"
except OSError as error:
    outcome = f"errno {error.errno}"
for descriptor in held:
    os.close(descriptor)
store[-1] = b"later"
assert len(store) == put + 1 + (put < 2), (put, len(store))
store.close()
print(outcome)
"""


@pytest.mark.parametrize("free", range(6))
def test_a_put_without_descriptors_raises_emfile_and_poisons_nothing(store_path: Path, free: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PUT, os.fspath(store_path), str(free)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    # Three do: for the segment and for the two copies of the manifest that list it, one after the other.
    outcomes = {0: {"errno 24"}, 1: {"errno 24", "ok"}, 2: {"errno 24", "ok"}}
    assert done.stdout.strip() in outcomes.get(free, {"ok"}), free


_MANY_SEGMENTS = """
import os, resource, sys, alexpy
path, read_mode, read_only = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(30):
    os.close(held.pop())
with alexpy.open(path, read_mode=read_mode, read_only=read_only, segment_bytes=1 << 13) as store:
    assert store.stats().segments > 250, store.stats().segments
    assert store.get_many(range(600)) == [bytes([key % 256]) * 3000 for key in range(600)]
    if not read_only:
        store[-1] = b"written"
print("opened")
"""


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.parametrize("read_only", [True, False])
def test_opening_hundreds_of_segments_takes_thirty_descriptors(
    store_path: Path, read_mode: str, read_only: bool
) -> None:
    with alexpy.open(store_path, segment_bytes=1 << 13, background=False) as store:
        for key in range(600):
            store[key] = bytes([key % 256]) * 3000
    done = subprocess.run(
        [sys.executable, "-c", _MANY_SEGMENTS, os.fspath(store_path), read_mode, str(read_only)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stdout.strip() == "opened", done.stderr
