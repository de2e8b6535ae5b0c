"""System calls that fail, return short or hang under the built extension.

A library that is loaded before libc makes them do so. It is compiled here from fault_shim.c; without a C
compiler these tests are skipped and say so. Each test runs its store in a process of its own, which then dies
without closing it.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import alexpy

SOURCE = Path(__file__).with_name("fault_shim.c")

_PRELUDE = """
import ctypes, os, sys, threading, time
import alexpy
shim = ctypes.CDLL(None)
SYNC, WRITE = 0, 1
NONE, FAIL, TEAR, SHORT, BLOCK = range(5)
def arm(call, fault, countdown=1, path=b"seg-"):
    shim.fault_arm(call, fault, ctypes.c_long(countdown), path)
def raises(error, call, *args, **options):
    try:
        call(*args, **options)
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")
path = sys.argv[1]
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: failing system calls are not tested")
    library = tmp_path_factory.mktemp("shim") / "fault_shim.so"
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Werror",
        "-o",
        library,
        SOURCE,
        "-ldl",
        "-pthread",
    ]
    subprocess.run(command, check=True, timeout=60)
    return library


def run(shim: Path, path: Path, body: str) -> None:
    """Run `body` in a process with the shim; it must end with os._exit(7), like a process that dies."""
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + body + "\nos._exit(7)", path],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    if done.returncode == 8:
        pytest.skip(f"the kernel does not refuse fallocate for us: {done.stdout.strip()}")
    assert done.returncode == 7, done.stderr


_REFUSE = """
def refuse_fallocate(error):
    failed = shim.fault_refuse_fallocate(error)
    if failed:
        print(os.strerror(failed), flush=True)
        os._exit(8)
"""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("write_mode", ["mmap", "pwrite", "auto"])
def test_a_segment_that_cannot_be_reserved_is_an_error_and_no_write_is_half_there(
    shim: Path, store_path: Path, write_mode: str, number: int
) -> None:
    body = f"""
store = alexpy.open(path, write_mode="{write_mode}", segment_bytes=1 << 16)
store[0] = b"before"
refuse_fallocate({number})
written = {{0: b"before"}}
refused = 0
for key in range(1, 10_000):
    batch = {{key: b"%d" % key * 100, -key: b"%d" % key}}
    try:
        store.update(batch)
    except OSError as error:
        assert error.errno == {number}, error
        refused += 1
        assert dict(store) == written, "the refused batch is absent"
        if refused == 3:
            break
    else:
        assert refused == 0, "it goes on failing"
        written.update(batch)
assert refused == 3 and 100 < len(written) < 2000, (refused, len(written))
store.flush()
assert dict(store) == written and store.verify().ok, "reads and flushes go on"
with open(path + ".count", "w") as file:
    file.write(str(len(written)))
"""
    run(shim, store_path, _REFUSE + body)
    count = int(store_path.with_suffix(".count").read_text())
    with alexpy.open(store_path, create=False) as store:
        assert len(store) == count
        assert store[count // 2] == b"%d" % (count // 2) * 100
        store[count] = b"usable again"
        assert store.verify().ok


def test_a_file_system_that_cannot_reserve_is_written_with_system_calls(shim: Path, store_path: Path) -> None:
    body = """
refuse_fallocate(95)
error = raises(OSError, alexpy.open(path + "-mmap", write_mode="mmap").put, 1, b"one")
assert "cannot reserve blocks" in str(error), error
store = alexpy.open(path, segment_bytes=1 << 16)
for key in range(3000):
    store[key] = b"%d" % key * 20
store.flush()
assert store.stats().write_mode == "pwrite", store.stats()
assert len(store) == 3000
"""
    run(shim, store_path, _REFUSE + body)
    with alexpy.open(store_path, create=False) as store:
        assert dict(store) == {key: b"%d" % key * 20 for key in range(3000)}


@pytest.mark.parametrize("write_mode", ["mmap", "pwrite"])
def test_a_failing_flush_poisons_once_and_the_reopened_store_holds_every_durable_commit(
    shim: Path, store_path: Path, write_mode: str
) -> None:
    body = f"""
store = alexpy.open(path, durability="sync", write_mode="{write_mode}")
for key in range(50):
    store[key] = b"durable %d" % key
arm(SYNC, FAIL)
error = raises(OSError, store.put, 50, b"perhaps")
assert error.errno == 5, error
calls = shim.fault_calls(SYNC)
assert calls == 1, calls
for attempt in (store.flush, store.clear, lambda: store.put(51, b"no"), lambda: store.update({{1: b""}})):
    error = raises(alexpy.PoisonedError, attempt)
    assert isinstance(error.__cause__, OSError) and error.__cause__.errno == 5, error.__cause__
assert shim.fault_calls(SYNC) == 1, "a failed flush is never retried"
assert [store[key] for key in range(50)] == [b"durable %d" % key for key in range(50)], "reads go on"
assert store.get_many([1, 99]) == [b"durable 1", None]
raises((OSError, alexpy.PoisonedError), store.close)
"""
    run(shim, store_path, body)
    with alexpy.open(store_path, create=False) as store:
        found = dict(store)
        assert found.pop(50, b"perhaps") == b"perhaps"
        assert found == {key: b"durable %d" % key for key in range(50)}
        store[51] = b"writes go on"
    with alexpy.open(store_path) as store:
        assert store.verify().ok


@pytest.mark.parametrize("durability", ["interval", "os"])
def test_a_failed_flush_that_no_call_waits_for_refuses_the_next_writes(
    shim: Path, store_path: Path, durability: str
) -> None:
    body = f"""
store = alexpy.open(path, durability="{durability}", sync_interval_ms=5, segment_bytes=1 << 16)
store[1] = b"one"
store.flush()
arm(SYNC, FAIL)
deadline = time.monotonic() + 30
try:
    key = 2
    while time.monotonic() < deadline:
        store[key] = b"x" * 1000
        key += 1
    raise AssertionError("the failure was never reported")
except (OSError, alexpy.PoisonedError) as error:
    # The write that needed the next segment, or one after a flush in the background.
    assert getattr(error.__cause__ or error, "errno", None) == 5, error
assert raises(alexpy.PoisonedError, store.put, 0, b"").__cause__.errno == 5
assert store[1] == b"one"
assert len(store) == key - 1
"""
    run(shim, store_path, body)
    with alexpy.open(store_path, create=False) as store:
        keys = list(store)
        assert keys == list(range(1, len(keys) + 1)), "a prefix"


@pytest.mark.parametrize("fault", ["FAIL", "TEAR"])
@pytest.mark.parametrize(
    ("write_mode", "batches", "single"),
    [("pwrite", (1, 3, 2000), 500), pytest.param("mmap", (20, 40, 2000), 10_000, id="mmap-large-pieces")],
)
def test_a_write_that_fails_half_way_leaves_the_batch_absent_also_after_a_crash(
    shim: Path, store_path: Path, fault: str, write_mode: str, batches: tuple[int, ...], single: int
) -> None:
    body = f"""
store = alexpy.open(path, write_mode="{write_mode}")
store.update({{key: b"before" for key in range(10)}})
for at, batch in enumerate({batches}):
    arm(WRITE, {fault})
    # Values of zeros: what is missing of them looks like space that was never written.
    error = raises(OSError, store.put_many, range(100, 100 + batch), [bytes(500)] * batch)
    assert error.errno == 5, error
    assert dict(store) == dict.fromkeys(range(10 + at), b"before"), "nothing of it shows"
    store[10 + at] = b"before"
    if at == 2:
        arm(WRITE, {fault})
        raises(OSError, store.put, 500, bytes({single}))
assert len(store) == 13
"""
    run(shim, store_path, body)
    with alexpy.open(store_path, create=False) as store:
        assert dict(store) == dict.fromkeys(range(13), b"before")
        assert store.verify().ok


def test_writes_that_go_in_piece_by_piece_are_whole(shim: Path, store_path: Path) -> None:
    body = """
arm(WRITE, SHORT, path=b"store")
store = alexpy.open(path, write_mode="pwrite", segment_bytes=1 << 16)
for key in range(500):
    store[key] = b"%d" % key * 50
store.put_many(range(1000, 2000), [b"%d" % key for key in range(1000)])
store.flush()
assert shim.fault_calls(WRITE) > 2000
"""
    run(shim, store_path, body)
    with alexpy.open(store_path, create=False) as store:
        assert store.verify().ok
        assert len(store) == 1500
        assert store[499] == b"499" * 50
        assert store[1999] == b"999"


def test_readers_do_not_wait_for_a_flush_that_hangs(shim: Path, store_path: Path) -> None:
    body = """
store = alexpy.open(path, durability="sync")
store.update({key: b"%d" % key for key in range(1000)})
arm(SYNC, BLOCK)
writer = threading.Thread(target=store.put, args=(5000, b"late"))
writer.start()
while not shim.fault_blocked(SYNC):
    time.sleep(0.001)
assert store[7] == b"7" and 8 in store and len(store) in (1000, 1001)
assert store.get_many(range(1000)) == [b"%d" % key for key in range(1000)]
assert len(list(store.scan(0, 1000))) == 1000
assert sum(len(batch) for batch in store.scan_batches(0, 1000)) == 1000
assert store.floor(999) == (999, b"999") and store.count(0, 10) == 10
assert writer.is_alive() and shim.fault_blocked(SYNC), "all of that while the flush hung"
arm(SYNC, NONE)
writer.join()
assert store[5000] == b"late"
"""
    run(shim, store_path, body)
    with alexpy.open(store_path, create=False) as store:
        assert len(store) == 1001


def test_a_clock_set_back_or_forward_changes_nothing(shim: Path, store_path: Path) -> None:
    body = """
store = alexpy.open(path, sync_interval_ms=5)
for round, shift in enumerate((0, -10**8, 10**8, -1)):
    shim.fault_shift_clock(ctypes.c_long(shift))
    assert abs(time.time() - shift - 1.7e9) < 10**9, "the clock was set"
    store[round] = b"%d" % shift
    before = store.stats().durable_seq
    store.flush()
    assert store.stats().durable_seq > before
    store.close()
    store = alexpy.open(path, sync_interval_ms=5)
    assert len(store) == round + 1
shim.fault_shift_clock(ctypes.c_long(-10**8))
store[9] = b"last"
"""
    run(shim, store_path, body)
    with alexpy.open(store_path, create=False) as store:
        assert dict(store) == {0: b"0", 1: b"-100000000", 2: b"100000000", 3: b"-1", 9: b"last"}
