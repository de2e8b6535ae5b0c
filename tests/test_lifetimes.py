"""Closing, dropping, forking and pickling: what stays valid, and what raises."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from forked import outcome_in_fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_what_was_written_is_there_after_reopening(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.update({1: b"one", 2: b"two"})
        del store[1]
    with alexpy.open(store_path) as store:
        assert dict(store) == {2: b"two"}


def test_closing_is_idempotent_and_shows_in_closed(store_path: Path) -> None:
    store = alexpy.open(store_path)
    assert store.closed is False
    store.close()
    store.close()
    assert store.closed is True
    with alexpy.open(store_path):
        pass


def test_leaving_with_on_an_exception_closes_and_keeps_what_was_committed(store_path: Path) -> None:
    with pytest.raises(LookupError), alexpy.open(store_path) as store:  # noqa: PT012 - the block is tested
        store[1] = b"one"
        raise LookupError
    assert store.closed
    with alexpy.open(store_path) as store:
        assert dict(store) == {1: b"one"}


def test_iterators_and_batches_raise_closed_error_after_close(store_path: Path) -> None:
    store = alexpy.open(store_path)
    store.put_many(range(100), [b""] * 100)
    iterators = [store.scan(), store.scan_keys(), store.scan_values(), iter(store), iter(store.items())]
    begun = store.scan()
    next(begun)
    exhausted = store.scan()
    list(exhausted)
    batch = store.batch()
    batch.put(1, b"")
    store.close()
    for iterator in [*iterators, begun]:
        with pytest.raises(alexpy.ClosedError):
            next(iterator)
    assert next(exhausted, None) is None
    for call in (batch.commit, lambda: batch.put(1, b""), lambda: len(batch)):
        with pytest.raises(alexpy.ClosedError):
            call()


def test_a_block_around_a_batch_of_a_closed_store_raises_closed_error(store_path: Path) -> None:
    store = alexpy.open(store_path)
    with pytest.raises(alexpy.ClosedError), store.batch():
        store.close()


def test_views_keep_their_bytes_after_overwrite_delete_and_close(store_path: Path) -> None:
    store = alexpy.open(store_path, segment_bytes=1 << 16)
    store.put_many(range(100), [b"%03d" % key * 100 for key in range(100)])
    views = {key: store.get_view(key) for key in range(100)}
    slices = [view[10:20] for view in views.values() if view is not None]
    store.put_many(range(50), [b"overwritten"] * 50)
    store.delete_many(range(50, 100))
    store.clear()
    store.close()
    del store
    gc.collect()
    for key, view in views.items():
        assert view == b"%03d" % key * 100
    assert bytes(slices[42]) == (b"042" * 100)[10:20]


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_a_forgotten_store_warns_and_gives_up_its_lock(store_path: Path, read_only: bool) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    store = alexpy.open(store_path, read_only=read_only)
    with pytest.warns(ResourceWarning, match=f"store '{store_path}' was not closed"):
        del store
    with alexpy.open(store_path) as store:
        assert dict(store) == {1: b"one"}


def test_a_forgotten_store_gives_up_its_lock_if_warnings_are_errors(store_path: Path) -> None:
    program = """
import sys
import alexpy
sys.unraisablehook = lambda raised: print(type(raised.exc_value).__name__)
store = alexpy.open(sys.argv[1])
del store
alexpy.open(sys.argv[1]).close()
"""
    output = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", program, str(store_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == "ResourceWarning\n"


def test_a_store_can_be_referred_to_weakly(store: alexpy.Store) -> None:
    assert weakref.ref(store)() is store


def test_an_exit_without_close_keeps_every_returned_write(store_path: Path) -> None:
    program = """
import os, sys
import alexpy
store = alexpy.open(sys.argv[1])
store[1] = b"one"
store.put_many([2, 3], [b"two", b"three"])
batch = store.batch()
batch.put(4, b"never committed")
os._exit(0)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(store_path)], check=True)
    with alexpy.open(store_path) as store:
        assert dict(store) == {1: b"one", 2: b"two", 3: b"three"}


def test_close_waits_for_running_calls(store_path: Path) -> None:
    store = alexpy.open(store_path, durability="os")
    results: list[int] = []
    started = threading.Event()

    def write() -> None:
        started.set()
        try:
            results.append(store.put_many(range(200_000), [b"x" * 50] * 200_000))
        except alexpy.ClosedError:
            results.append(0)

    writer = threading.Thread(target=write)
    writer.start()
    started.wait()
    store.close()
    writer.join()
    with alexpy.open(store_path) as store:
        assert [len(store)] == results


def test_readers_and_writers_of_many_threads_meet_a_close_with_closed_errors_only(store_path: Path) -> None:
    store = alexpy.open(store_path)
    store.put_many(range(10_000), [b"x" * 20] * 10_000)
    problems: list[BaseException] = []
    started = threading.Barrier(5)

    def work(call: Any) -> None:
        started.wait()
        try:
            while True:
                call()
        except alexpy.ClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - anything else is what the test looks for
            problems.append(error)

    calls = [
        lambda: store.get_many(range(1000)),
        lambda: list(store.scan()),
        lambda: store.put(1, b"y"),
        lambda: store[5],
    ]
    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    started.wait()
    store.close()
    for thread in threads:
        thread.join()
    assert problems == []


# ---- processes ----


@pytest.mark.parametrize("seed", range(8))
def test_calls_beside_a_closing_end_as_if_before_or_after_it(store_path: Path, seed: int) -> None:
    """Sync puts, flushes, figures and reads by system call use the directory, which closing lets go of."""
    options: dict[str, Any] = {
        "durability": "sync",
        "read_mode": "pread",
        "segment_bytes": 1 << 20,
        "background": False,
    }
    with alexpy.open(store_path, **options) as store:
        store.put_many(np.arange(40_000), np.zeros((40_000, 1000), np.uint8))
    store = alexpy.open(store_path, **options)
    calls = [
        lambda key: store.put(key, b"new"),
        lambda key: store.put_many([key], [b"new"], sync=True),
        lambda _: store.flush(),
        lambda _: store.stats(),
        store.get,
        store.floor,
    ]
    wrong: list[Exception] = []
    started = threading.Barrier(len(calls) + 1)

    def repeat(call: Callable[[int], object]) -> None:
        random = Random(seed)
        started.wait()
        while True:
            try:
                call(random.randrange(40_000))
            except alexpy.ClosedError:
                return
            except Exception as error:  # noqa: BLE001 - shown by the main thread
                wrong.append(error)
                return

    threads = [threading.Thread(target=repeat, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.002 * seed)
    store.close()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def test_a_read_only_store_pickles_as_path_and_options(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    with alexpy.open(store_path, read_only=True, read_mode="pread") as reader:
        for duplicate in (pickle.loads(pickle.dumps(reader)), copy.copy(reader), copy.deepcopy(reader)):
            with duplicate:
                assert duplicate is not reader
                assert duplicate.read_only
                assert duplicate.config == reader.config
                assert duplicate[1] == b"one"


def test_a_writer_does_not_pickle(store: alexpy.Store) -> None:
    with pytest.raises(TypeError, match="read_only=True"):
        pickle.dumps(store)


def _read_in_worker(store: alexpy.Store) -> dict[int, bytes]:
    with store:
        return dict(store)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_every_kind_read_a_pickled_store(store_path: Path, method: str) -> None:
    with alexpy.open(store_path) as store:
        store.update({1: b"one", 2: b"two"})
    context = multiprocessing.get_context(method)
    with alexpy.open(store_path, read_only=True) as reader, context.Pool(2) as pool:
        assert pool.map(_read_in_worker, [reader, reader]) == [{1: b"one", 2: b"two"}] * 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("reads", [False, True])
def test_an_index_that_another_thread_uses_answers_in_a_forked_child_or_raises(reads: bool) -> None:
    keys = np.arange(1_000_000)
    index = alexpy.AlexIndex(keys, keys)
    iterator = index.scan(5)
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            if reads:
                index.get_many(keys)
            else:
                index.put_many(keys, keys)

    def try_all() -> list[str]:
        signal.alarm(30)  # What hangs says nothing.
        outcomes = set()
        for call in (
            lambda: next(iterator),
            lambda: index[7],
            lambda: len(index),
            lambda: index.put(7, 7),
            lambda: index.get_many([7]),
            lambda: index.put_many([7], [7]),
            lambda: next(index.scan(7)),
            index.clear,
        ):
            try:
                call()
                outcomes.add("answered")
            except alexpy.ForkedError:
                outcomes.add("ForkedError")
        return sorted(outcomes)

    user = threading.Thread(target=use)
    user.start()
    try:
        outcomes = [outcome_in_fork(try_all) for _ in range(20)]
    finally:
        done.set()
        user.join()
    assert set(outcomes) <= {"['ForkedError']", "['answered']"}
    assert "['ForkedError']" in outcomes, "no fork came in the middle of a call"
    assert outcome_in_fork(try_all) == "['answered']", "nobody uses it"
    assert len(index) == len(keys), "the parent's is as it was"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_writer_in_a_forked_child_raises_forked_error_and_the_parent_goes_on(store: alexpy.Store) -> None:
    store[1] = b"one"
    batch = store.batch()
    batch.put(2, b"two")
    for call in (
        lambda: store[1],
        lambda: store.get_many([1]),
        lambda: store.put(1, b""),
        lambda: list(store.scan()),
        lambda: store.put_many([1], [b""]),
        lambda: len(store),
        store.flush,
        batch.commit,
    ):
        assert outcome_in_fork(call) == "ForkedError"
    batch.commit()
    assert dict(store) == {1: b"one", 2: b"two"}


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_read_only_store_works_in_a_forked_child(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    with alexpy.open(store_path, read_only=True) as reader:
        assert outcome_in_fork(lambda: dict(reader)) == "{1: b'one'}"
        assert dict(reader) == {1: b"one"}


def test_no_native_class_leaks_its_store(store_path: Path) -> None:
    store = alexpy.open(store_path)
    store.put_many(range(100), [b""] * 100)
    held = [store.scan(), store.batch(), store.keys(), store.get_view(1)]
    reference = weakref.ref(store)
    store.close()
    del store, held
    gc.collect()
    assert reference() is None
