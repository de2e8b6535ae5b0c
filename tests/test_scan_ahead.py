"""Long scans, behind which a thread reads ahead: items, errors, forks, and that no thread stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import alexpy
from forked import outcome_in_fork

if TYPE_CHECKING:
    from collections.abc import Iterator

# What Python says of forks in programs with threads, of which a test program has some.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

# A thread reads ahead behind the first 9,552 items, 16,384 at a time.
COUNT = 60_000
AHEAD = 10_000


def value(key: int) -> bytes:
    return b"%d" % key * (key % 7)


def threads() -> int:
    """Count the threads that read ahead; others come and go with the stores of other tests."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            count += (task / "comm").read_text() == "alexpy-scan\n"
    return count


def work_of_others() -> float:
    """Return the processor seconds of all threads of this process but this one."""
    return time.process_time() - time.thread_time()


@pytest.fixture
def filled(store: alexpy.Store) -> alexpy.Store:
    keys = np.random.default_rng(1).permutation(COUNT).tolist()
    store.put_many(keys, [value(key) for key in keys])
    return store


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [None, 9_552, 9_553, 25_936, 25_937, 50_000])
def test_long_scans_yield_what_they_should_and_know_what_is_left(
    filled: alexpy.Store, limit: int | None, *, reverse: bool
) -> None:
    keys = sorted(range(COUNT), reverse=reverse)[:limit]
    assert list(filled.scan(reverse=reverse, limit=limit)) == [(key, value(key)) for key in keys]
    assert list(filled.scan_values(reverse=reverse, limit=limit)) == [value(key) for key in keys]
    scan = filled.scan(reverse=reverse, limit=limit)
    for at, key in enumerate(keys):
        if at % 97 == 0:
            assert length_hint(scan) == len(keys) - at
        assert next(scan) == (key, value(key))
    assert length_hint(scan) == 0
    assert next(scan, None) is None


@pytest.mark.parametrize("taken", [1, AHEAD, AHEAD + 5_000, 40_000])
def test_a_long_scan_shows_its_moment_whatever_changes_behind_it(filled: alexpy.Store, taken: int) -> None:
    scan = filled.scan()
    found = [next(scan) for _ in range(taken)]
    filled.put_many(range(0, COUNT, 2), [b"changed"] * (COUNT // 2))
    filled.delete_range(30_000, 50_000)
    filled.compact()
    found += scan
    assert found == [(key, value(key)) for key in range(COUNT)]


def test_long_values_behind_short_ones_are_whole(store: alexpy.Store) -> None:
    items = [(key, bytes([key % 251]) * (100 if key < AHEAD else 3_000)) for key in range(2 * AHEAD)]
    store.put_many([key for key, _ in items], [value for _, value in items])
    assert list(store.scan()) == items
    assert list(store.scan(reverse=True)) == items[::-1]


def test_threads_that_share_a_long_scan_get_each_item_once_and_in_order(filled: alexpy.Store) -> None:
    scan = filled.scan()
    takers: list[list[tuple[int, bytes]]] = [[] for _ in range(4)]
    working = [threading.Thread(target=taker.extend, args=(scan,)) for taker in takers]
    for one in working:
        one.start()
    for one in working:
        one.join()
    assert sorted(item for taker in takers for item in taker) == [(key, value(key)) for key in range(COUNT)]
    assert all(taker == sorted(taker) for taker in takers)


def test_a_thread_reads_ahead_of_a_long_scan_and_none_stays_behind(filled: alexpy.Store) -> None:
    worked, before = work_of_others(), threads()
    for _ in range(200):
        scan = filled.scan()
        deque((next(scan) for _ in range(9_600)), maxlen=0)
        del scan
        for _ in range(100):  # the system may list a thread for a moment after its end
            if threads() == before:
                break
            time.sleep(0.01)
        assert threads() == before, "dropping the scan ends its thread"
    # It begins behind the 5,456th item, and has mostly ended before it could be listed here.
    worked = work_of_others() - worked
    assert worked > 0.005 or len(os.sched_getaffinity(0)) < 2, "no thread has read ahead"
    scan = filled.scan()
    deque((next(scan) for _ in range(AHEAD)), maxlen=0)
    for _ in range(1000):
        if threads() == before:
            break
        time.sleep(0.01)
    assert threads() == before, "a thread waits for a caller who takes his time"
    assert len(list(scan)) == COUNT - AHEAD


def test_many_long_scans_at_once_share_the_processors(filled: alexpy.Store) -> None:
    scans = [filled.scan() for _ in range(20)]
    for step in range(9_551):
        assert {next(scan) for scan in scans} == {(step, value(step))}
    before, most = threads(), 0
    for scan in scans:
        next(scan)
        next(scan)
        most = max(most, threads() - before)
    # The system may list a thread for a moment after its end.
    assert most <= max(len(os.sched_getaffinity(0)) - 1, 0) + 4
    for step in range(9_553, COUNT):
        assert {next(scan) for scan in scans} == {(step, value(step))}
    assert all(next(scan, None) is None for scan in scans)


def test_a_closed_store_ends_a_long_scan_and_closing_does_not_wait_for_its_caller(
    filled: alexpy.Store,
) -> None:
    scan = filled.scan()
    deque((next(scan) for _ in range(AHEAD)), maxlen=0)
    filled.close()
    with pytest.raises(alexpy.ClosedError):
        next(scan)
    assert length_hint(scan) == 0


def test_damage_is_met_where_it_is(store_path: Path) -> None:
    with alexpy.open(store_path, background=False) as store:
        store.put_many(range(COUNT), [b"%050d" % key for key in range(COUNT)])
    damaged = 33_333
    [segment] = [path for path in store_path.glob("seg-*.log") if b"%050d" % damaged in path.read_bytes()]
    at = segment.read_bytes().index(b"%050d" % damaged)
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(b"1")
    with alexpy.open(store_path, read_only=True) as store:
        scan = store.scan()
        found = []
        with pytest.raises(alexpy.CorruptionError, match=f"record of key {damaged}"):
            found.extend(iter(lambda: next(scan)[0], None))
        # The run with the damage, at most 4,096 items, does not come, and those before it do.
        assert found == list(range(len(found)))
        assert damaged - 4096 <= len(found) <= damaged
        assert next(scan, None) is None


@pytest.mark.parametrize("read_only", [False, True])
def test_a_long_scan_is_refused_in_a_forked_child_and_goes_on_in_the_parent(
    store_path: Path, *, read_only: bool
) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(COUNT), [value(key) for key in range(COUNT)])
    with alexpy.open(store_path, read_only=read_only) as store:
        for taken in range(9_550, 9_580):
            scan = store.scan()
            found = deque((next(scan) for _ in range(taken)), maxlen=1)

            def in_child(scan: Iterator[tuple[int, bytes]] = scan) -> object:
                hint = length_hint(scan)
                try:
                    next(scan)
                except alexpy.ForkedError:
                    if read_only:
                        # This store is the child's own, with a thread of its own.
                        return hint, sum(1 for _ in store.scan())
                    return hint, 0
                return None

            expected = (0, COUNT if read_only else 0)
            assert outcome_in_fork(in_child) == str(expected)
            assert found[0][0] == taken - 1
            assert [key for key, _ in scan] == list(range(taken, COUNT))


def test_one_processor_is_enough(filled: alexpy.Store) -> None:
    program = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import alexpy
with alexpy.open(sys.argv[1], read_only=True) as store:
    before = len(os.listdir("/proc/self/task"))
    for at, (key, _) in enumerate(store.scan()):
        assert at == key
        assert at % 500 or len(os.listdir("/proc/self/task")) == before
"""
    filled.flush()
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, filled.path], check=True)


def test_the_end_of_the_interpreter_does_not_wait_for_a_thread_that_it_stopped_in_a_shared_scan(
    store_path: Path,
) -> None:
    with alexpy.open(store_path) as store:
        store.bulk_load(range(1_000_000), [b"v" * 100] * 1_000_000)
    # The main thread gets the GIL when the other one lets go of it to pull a run, and never gives it back.
    program = """
import os, sys, threading, time, types
import alexpy
scan = alexpy.open(sys.argv[1], read_only=True).scan()

class AtTheEnd:
    def __del__(self, scan=scan, next=next, write=os.write):
        for _ in range(20_000):
            next(scan, None)
        write(1, b"went on")

module = sys.modules["kept"] = types.ModuleType("kept")
module.at_the_end = AtTheEnd()
threading.Thread(target=lambda scan=scan: [None for _ in scan], daemon=True).start()
time.sleep(0.02)
"""
    command = [sys.executable, "-W", "ignore", "-c", program, str(store_path)]
    assert subprocess.run(command, check=True, timeout=30, stdout=subprocess.PIPE).stdout == b"went on"
