"""Read-only stores in pools of processes, in forked children and in threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import struct
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import alexpy
from forked import outcome_in_fork

if TYPE_CHECKING:
    from pathlib import Path

KEYS = 500
# What Python says of forks in programs with threads, of which a test program has some.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def square(store: alexpy.Store, key: int) -> bytes | None:
    """What a worker does with a store that it was given."""
    return store.get(key)


@pytest.fixture
def reader(store_path: Path) -> Any:
    """A read-only store of squares."""
    with alexpy.open(store_path) as store:
        store.put_many(range(KEYS), [b"%d" % (key * key) for key in range(KEYS)])
    with alexpy.open(store_path, read_only=True) as opened:
        yield opened


EXPECTED = [b"%d" % (key * key) for key in range(KEYS)]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_take_a_store_as_an_argument(reader: alexpy.Store, method: str) -> None:
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(square, [(reader, key) for key in range(KEYS)], chunksize=50)
        pool.close()
        pool.join()
    assert found == EXPECTED


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_concurrent_futures_take_a_store_as_an_argument(reader: alexpy.Store, method: str) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        found = list(pool.map(square, [reader] * KEYS, range(KEYS), chunksize=50))
    assert found == EXPECTED


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_workers_of_joblib_take_a_store_as_an_argument(reader: alexpy.Store, backend: str) -> None:
    joblib = pytest.importorskip("joblib")
    found = joblib.Parallel(2, backend=backend)(joblib.delayed(square)(reader, key) for key in range(KEYS))
    assert found == EXPECTED


def test_a_reader_in_a_forked_child_refreshes_for_itself(store: alexpy.Store) -> None:
    store[1] = b"one"
    with alexpy.open(store.path, read_only=True) as reader:
        assert reader[1] == b"one"
        store[1] = b"two"
        assert outcome_in_fork(lambda: (reader.refresh() > 0, reader[1])) == "(True, b'two')"
        assert reader[1] == b"one"
        assert outcome_in_fork(lambda: [change.value for change in reader.changes(since=0)]) == (
            "[b'one', b'two']"
        ), "the child has opened it only now"
        feed = reader.changes(since=0)
        assert outcome_in_fork(lambda: next(feed)) == "ForkedError"
        assert next(feed).value == b"one"


def test_forks_in_the_middle_of_a_refresh_leave_a_child_that_reads(store: alexpy.Store) -> None:
    store[0] = struct.pack("q", 0)
    ends = threading.Event()
    with alexpy.open(store.path, read_only=True) as reader:

        def write() -> None:
            number = 0
            while not ends.is_set():
                number += 1
                store.put_many(range(100), [struct.pack("q", number)] * 100)

        def refresh() -> None:
            while not ends.is_set():
                reader.refresh()

        threads = [threading.Thread(target=write), threading.Thread(target=refresh)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                outcome = outcome_in_fork(lambda: (reader.refresh() > 0, len(set(reader.values()))))
                assert outcome == "(True, 1)"
        finally:
            ends.set()
            for thread in threads:
                thread.join()


def test_a_child_that_outlives_its_parent_holds_nothing(store_path: Path) -> None:
    receive, send = os.pipe()
    parent = os.fork()
    if parent == 0:
        store = alexpy.open(store_path)
        store[1] = b"one"
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        os.write(send, b"%d" % child)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int(os.read(receive, 20))
    try:
        with alexpy.open(store_path) as store:
            assert store[1] == b"one"
            store[2] = b"two"
            store.compact()
    finally:
        os.kill(child, signal.SIGKILL)


def test_threads_read_whole_commits_while_another_refreshes(store: alexpy.Store) -> None:
    keys = range(300)
    store.put_many(keys, [b"0"] * 300)
    ends = threading.Event()
    wrong: list[object] = []
    with alexpy.open(store.path, read_only=True) as reader:

        def read() -> None:
            last = 0
            while not ends.is_set():
                numbers = {int(value or b"-1") for value in reader.get_many(keys)}
                if len(numbers) != 1 or min(numbers) < last:
                    wrong.append((last, numbers))
                last = min(numbers)

        def refresh() -> None:
            while not ends.is_set():
                reader.refresh()

        threads = [threading.Thread(target=target) for target in (read, read, refresh)]
        for thread in threads:
            thread.start()
        for number in range(1, 1500):
            store.put_many(keys, [b"%d" % number] * 300)
        ends.set()
        for thread in threads:
            thread.join()
        assert not wrong
        reader.refresh()
        assert set(reader.values()) == {b"1499"}


def test_every_test_that_the_page_names_exists() -> None:
    import re  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    root = Path(__file__).parents[1]
    page = (root / "docs" / "processes.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|rust|benchmarks)/[\w/.]+)`", page))
    assert len(named) > 8
    assert not [name for name in named if not (root / name).exists()]
