"""Threads that share a store, an iterator, a batch, a snapshot, an index, or the arguments of a call.

With a GIL they take turns, here as often as Python allows; without one they run at once. Either way each call
does what it does alone, or raises what its docstring says.
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import sysconfig
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

THREADS = 4
# No thread of these tests works for as long as this.
WATCHDOG_SECONDS = 90
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*works: Callable[[], None]) -> None:
    """Begin all works together, each in a thread, and raise the first exception of any."""
    begin = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        begin.wait()
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - raised below, in the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WATCHDOG_SECONDS)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]


def beside(work: Callable[[], None], *others: Callable[[], None]) -> None:
    """Run `work` once, and each of `others` again and again until it is done."""
    done = threading.Event()

    def once() -> None:
        try:
            work()
        finally:
            done.set()

    def again(other: Callable[[], None]) -> None:
        while not done.is_set():
            other()

    at_once(once, *(lambda other=other: again(other) for other in others))


def value_of(key: int) -> bytes:
    return b"%d" % key * 3


# ---- one store ----


def test_threads_with_keys_of_their_own_find_what_they_wrote(store: alexpy.Store) -> None:
    def work(mine: int) -> None:
        own = random.Random(mine)
        expected: dict[int, bytes] = {}
        for _ in range(1500):
            key = mine + THREADS * own.randrange(200)
            value = own.randbytes(own.randrange(40))
            match own.randrange(7):
                case 0 | 1:
                    store[key] = value
                    expected[key] = value
                case 2:
                    assert store.delete(key) is (expected.pop(key, None) is not None)
                case 3:
                    assert store.setdefault(key, value) == expected.setdefault(key, value)
                case 4:
                    assert store.pop(key, None) == expected.pop(key, None)
                case 5:
                    store.put_many([key, key + THREADS], [value, b"next"])
                    expected |= {key: value, key + THREADS: b"next"}
                case _:
                    assert (key in store) is (key in expected)
            assert store.get(key) == expected.get(key)
        everything = dict(store.scan())
        assert {key: value for key, value in everything.items() if key % THREADS == mine} == expected

    at_once(*(lambda mine=mine: work(mine) for mine in range(THREADS)))
    assert store.verify()


def test_no_change_of_a_counter_that_threads_share_is_lost(store: alexpy.Store) -> None:
    store[0] = (0).to_bytes(8)
    rounds = 300

    def count() -> None:
        for _ in range(rounds):
            while True:
                before = store[0]
                if store.compare_and_set(0, before, (int.from_bytes(before) + 1).to_bytes(8)):
                    break

    at_once(*[count] * THREADS)
    assert int.from_bytes(store[0]) == THREADS * rounds


def test_each_item_is_popped_by_one_thread(store: alexpy.Store) -> None:
    store.put_many(range(2000), [value_of(key) for key in range(2000)])
    taken: list[tuple[int, bytes]] = []

    def take(last: bool) -> None:
        with suppress(KeyError):
            while True:
                taken.append(store.popitem(last))

    at_once(*(lambda last=last: take(last) for last in (True, False, True, False)))
    assert sorted(taken) == [(key, value_of(key)) for key in range(2000)]


def test_a_batch_of_many_keys_is_seen_whole_or_not_at_all(store: alexpy.Store) -> None:
    keys = np.arange(5000)
    store.put_many(keys, [b"0"] * len(keys))

    def write() -> None:
        for version in range(1, 40):
            store.put_many(keys, [b"%d" % version] * len(keys))

    def read_list() -> None:
        assert len(set(store.get_many(keys))) == 1

    def read_columns() -> None:
        batch = next(store.scan_batches(rows=len(keys)))
        assert len({batch.data[begin:end].tobytes() for begin, end in itertools.pairwise(batch.offsets)}) == 1

    def read_iterator() -> None:
        assert len(set(store.scan_values())) == 1

    beside(write, read_list, read_columns, read_iterator)


# ---- iterators ----


def _drain(iterator: Any, seen: list[list[Any]], mine: int, steps: int) -> None:
    for step in iterator:
        seen[mine].append(step)
    # No thread is told of an end while there are steps that none has begun: each of the others may be at one.
    assert sum(map(len, seen)) > steps - THREADS
    assert [next(iterator, None) for _ in range(20)] == [None] * 20


def _share(iterator: Any, steps: int, *others: Callable[[], None]) -> list[Any]:
    """Let some threads use up an iterator, and return what they got."""
    seen: list[list[Any]] = [[] for _ in range(THREADS)]
    at_once(*others, *(lambda mine=mine: _drain(iterator, seen, mine, steps) for mine in range(THREADS)))
    return list(itertools.chain(*seen))


@pytest.mark.parametrize("kind", ["scan", "scan_keys", "scan_values", "scan_batches", "changes", "reversed"])
def test_threads_that_share_an_iterator_of_a_store_get_each_step_once(store: alexpy.Store, kind: str) -> None:
    count, rows = 20_000, 500
    store.put_many(range(count), [value_of(key) for key in range(count)])
    iterator: Any = {
        "scan": store.scan,
        "scan_keys": store.scan_keys,
        "scan_values": store.scan_values,
        "scan_batches": lambda: store.scan_batches(rows=rows),
        "changes": lambda: store.changes(since=0),
        "reversed": lambda: reversed(store),
    }[kind]()
    steps = _share(iterator, count // rows if kind == "scan_batches" else count)
    if kind == "scan_batches":
        steps = [key for batch in steps for key in batch.keys.tolist()]
    if kind == "changes":
        steps = [change.key for change in steps]
    wanted: dict[str, list[Any]] = {
        "scan": [(key, value_of(key)) for key in range(count)],
        "scan_values": sorted(value_of(key) for key in range(count)),
    }
    assert sorted(steps) == wanted.get(kind, list(range(count)))


def test_threads_that_share_an_iterator_of_an_index_get_each_step_once_beside_changes() -> None:
    count = 50_000
    for _ in range(3):
        index = alexpy.AlexIndex(np.arange(count))
        iterator = index.scan()

        def change(index: alexpy.AlexIndex = index) -> None:
            # The first change copies out what the iterator has left.
            for key in range(0, count, 7):
                index[key] = -1
            index.delete_range(count // 2)

        assert sorted(_share(iterator, count, change)) == [(key, key) for key in range(count)]
        index.check()


# ---- one batch, one snapshot, one index ----


def test_of_threads_that_end_one_batch_one_does_and_nothing_that_was_put_is_lost(store: alexpy.Store) -> None:
    for number in range(20):
        batch = store.batch()
        put: list[int] = []
        ended: list[str] = []

        def fill(first: int, batch: alexpy.WriteBatch = batch, put: list[int] = put) -> None:
            with suppress(alexpy.ClosedError):
                for key in range(first, first + 200, 2):
                    batch.put(key, value_of(key))
                    put.append(key)
                    batch.put_many([key + 1], [value_of(key + 1)])
                    put.append(key + 1)
                    len(batch)
                    repr(batch)

        def end(batch: alexpy.WriteBatch = batch, ended: list[str] = ended) -> None:
            while len(batch) < 50:
                pass
            with suppress(alexpy.ClosedError):
                batch.commit()
                ended.append("committed")

        with suppress(alexpy.ClosedError):
            at_once(lambda: fill(0), lambda: fill(1000), end, end)
        assert ended == ["committed"], number
        written = dict(store.scan())
        assert all(written[key] == value_of(key) for key in put)
        store.clear()


def test_a_snapshot_shows_all_threads_its_moment_until_one_of_them_closes_it(store: alexpy.Store) -> None:
    keys = list(range(3000))
    then = {key: value_of(key) for key in keys}
    for _ in range(4):
        store.clear()
        store.update(then)
        snapshot = store.snapshot()
        left = threading.Semaphore(30)

        def read(snapshot: alexpy.Snapshot = snapshot, left: threading.Semaphore = left) -> None:
            with suppress(alexpy.ClosedError):
                while True:
                    assert snapshot.get_many(keys) == list(then.values())
                    assert dict(snapshot.scan()) == then
                    assert snapshot[5] == value_of(5)
                    assert (len(snapshot), snapshot.count(10, 20)) == (len(keys), 10)
                    left.release()

        def change(snapshot: alexpy.Snapshot = snapshot, left: threading.Semaphore = left) -> None:
            for round_ in range(30):
                store.put_many(keys[:1000], [b"new"] * 1000)
                store.delete_range(2000 + round_)
                assert left.acquire(timeout=WATCHDOG_SECONDS)
            snapshot.close()
            assert snapshot.closed

        at_once(change, read, read, read)
    assert store.stats().snapshots == 0


def test_threads_that_share_an_index_find_what_they_wrote_and_leave_it_whole() -> None:
    index = alexpy.AlexIndex()

    def work(mine: int) -> None:
        own = random.Random(mine)
        expected: dict[int, int] = {}
        for _ in range(1500):
            key, value = mine + THREADS * own.randrange(500), own.randrange(1 << 40)
            match own.randrange(6):
                case 0 | 1:
                    index[key] = value
                    expected[key] = value
                case 2:
                    assert index.pop(key, None) == expected.pop(key, None)
                case 3:
                    index.put_many([key, key + THREADS], [value, 7])
                    expected |= {key: value, key + THREADS: 7}
                case 4:
                    assert sum(1 for _ in itertools.islice(index.scan(key), 10)) <= 10
                case _:
                    assert index.setdefault(key, value) == expected.setdefault(key, value)
            assert index.get(key) == expected.get(key)
        assert {key: value for key, value in index.scan() if key % THREADS == mine} == expected

    at_once(*(lambda mine=mine: work(mine) for mine in range(THREADS)), index.check)
    index.check()


def test_an_index_is_saved_while_threads_change_it(tmp_path: Path) -> None:
    index = alexpy.AlexIndex(np.arange(20_000))

    def save() -> None:
        for number in range(10):
            index.save(tmp_path / f"{number}.alex")
            saved = alexpy.AlexIndex.load(tmp_path / f"{number}.alex")
            saved.check()
            # Keys are changed a thousand at a time.
            assert len(saved) % 1000 == 0

    def change() -> None:
        index.put_many(range(20_000, 21_000), range(1000))
        index.delete_many(range(20_000, 21_000))

    beside(save, change, lambda: index.get_many(range(100)))


# ---- arguments that other threads change ----


def _scramble(keys: list[int], values: list[bytes], known: range) -> None:
    own = random.Random(0)
    for _ in range(1500):
        key = own.randrange(1000)
        match own.randrange(6):
            case 0:
                keys.append(key)
                values.append(value_of(key))
            case 1:
                with suppress(IndexError):
                    keys.pop()
                    values.pop()
            case 2:
                keys[:] = own.sample(known, 500)
                values[:] = [value_of(key) for key in keys]
            case 3:
                keys.clear()
                values.clear()
            case 4:
                keys.extend(known)
                values.extend(map(value_of, known))
            case _:
                keys.sort()
                values.reverse()


def test_lists_that_change_while_they_are_passed_are_read_as_they_happen_to_be(store: alexpy.Store) -> None:
    known = range(1000)
    store.put_many(known, [value_of(key) for key in known])
    keys, values = list(known), [value_of(key) for key in known]
    allowed = {*map(value_of, known), None}

    def read() -> None:
        assert set(store.get_many(keys)) <= allowed
        store.contains_many(keys)

    def write() -> None:
        # Of different lengths, if a change came between.
        with suppress(ValueError):
            store.put_many(keys, values)
        with suppress(ValueError), store.batch() as batch:
            batch.put_many(keys, values)

    def load() -> None:
        with suppress(ValueError):
            store.bulk_load(keys, values)
        alexpy.AlexIndex(list(keys)).check()

    beside(lambda: _scramble(keys, values, known), read, write, load)
    assert set(store.values()) <= allowed
    assert set(store) <= set(known)
    assert store.verify()


def test_a_dict_that_changes_while_it_is_passed_is_read_or_refused(store: alexpy.Store) -> None:
    items: dict[int, bytes] = {key: value_of(key) for key in range(500)}

    def scramble() -> None:
        for round_ in range(300):
            key = round_ * 37 % 500
            items.pop(key, None)
            items[1000 + key] = value_of(1000 + key)
            items.pop(1000 + key, None)
            items[key] = value_of(key)

    def update() -> None:
        # RuntimeError: the dict changed its size. ValueError: keys and values are read one after the other.
        with suppress(RuntimeError, ValueError, KeyError):
            store.update(items)

    beside(scramble, update, update)
    assert set(store.values()) <= {value_of(key) for key in range(1500)}


def test_a_buffer_that_changes_while_it_is_stored_is_stored_as_it_happens_to_be(store: alexpy.Store) -> None:
    buffer = bytearray(b"a" * 5000)

    def scramble() -> None:
        for round_ in range(2000):
            letter = b"abc"[round_ % 3]
            for at in range(0, len(buffer), 500):
                buffer[at] = letter
            # A buffer that is being read cannot change its length.
            with suppress(BufferError):
                buffer.append(letter)
            with suppress(BufferError):
                del buffer[5000:]

    def put() -> None:
        store[1] = buffer
        store.put_many([2, 3], [buffer, memoryview(buffer)[:100]])

    beside(scramble, put, put)
    assert all(set(value) <= set(b"abc") for value in store.values())
    assert store.verify()


@pytest.mark.parametrize("width", [8, 200, 10_000, 70_000])
def test_rows_that_change_while_they_are_stored_leave_no_damage(store: alexpy.Store, width: int) -> None:
    count = max(4, 400_000 // width)
    keys = np.arange(count)
    rows = np.zeros((count, width), np.uint8)

    def store_them() -> None:
        for _ in range(12):
            store.put_many(keys, rows)
            store.bulk_load(keys, rows)
            with store.batch() as batch:
                batch.put_many(keys, rows)
            store.get_many(keys)

    def scramble(letter: int) -> None:
        rows[:] = letter
        keys[::2] = letter
        keys[:] = np.arange(count)

    beside(store_them, lambda: scramble(1), lambda: scramble(2))
    report = store.verify()
    assert report, report.errors
    assert all(len(value) == width and set(value) <= {0, 1, 2} for value in store.values())


def test_an_index_of_arrays_that_change_while_it_is_built_is_whole() -> None:
    count = 500_000
    ascending = np.arange(count)
    keys, values = ascending.copy(), ascending.copy()

    def build() -> None:
        for _ in range(30):
            alexpy.AlexIndex(keys, values).check()

    def scramble() -> None:
        # Out of order for a moment only, so that building mostly begins with keys that ascend.
        keys[1::3] = 7
        values[:] = 5
        keys[:] = ascending
        threading.Event().wait(0.003)

    beside(build, scramble)


def test_one_out_for_two_threads_is_filled_by_one_at_a_time(store: alexpy.Store) -> None:
    rows = np.arange(40_000, dtype=np.int64)
    store.put_many(rows, rows)
    out = np.zeros_like(rows)
    filled = itertools.count()

    def fill() -> None:
        for _ in range(20):
            with suppress(ValueError):  # another call is filling it
                store.get_array(rows, np.int64, out=out)
                next(filled)

    at_once(fill, fill, fill)
    assert next(filled) > 0
    assert (out == rows).all()


# ---- the lives of stores ----


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a store was not closed
def test_a_store_is_closed_or_dropped_while_threads_call_it(store_path: Path) -> None:
    keys = list(range(500))
    calls: list[Callable[[alexpy.Store], Any]] = [
        lambda s: s.put_many(keys, [b"v"] * 500),
        lambda s: s.get_many(keys),
        lambda s: list(s.scan()),
        lambda s: [s.get(key) for key in keys],
        lambda s: s.snapshot().get(1),
        lambda s: next(s.scan_batches(), None),
        lambda s: s.compact(),
        lambda s: s.checkpoint(),
    ]
    for number in range(12):
        holder = [alexpy.open(store_path)]

        def use(call: Callable[[alexpy.Store], Any], holder: list[alexpy.Store] = holder) -> None:
            with suppress(alexpy.ClosedError, IndexError):
                while True:
                    call(holder[0])

        def end(holder: list[alexpy.Store] = holder, number: int = number) -> None:
            threading.Event().wait(0.02)
            if number % 2:
                holder[0].close()
            # The last thread that uses it drops it.
            holder.clear()

        at_once(end, *(lambda call=call, use=use: use(call) for call in calls))
        del holder, use, end
        gc.collect()
    with alexpy.open(store_path) as store:
        assert list(store) == keys
        assert store.verify()


def test_threads_read_whole_commits_of_a_reader_that_others_refresh(store: alexpy.Store) -> None:
    pairs = np.arange(2000)
    store.put_many(pairs, [b"0"] * len(pairs))
    with alexpy.open(store.path, read_only=True) as reader:

        def write() -> None:
            for version in range(60):
                store.put_many(pairs, [b"%d" % version] * len(pairs))

        def read() -> None:
            assert len(set(reader.get_many(pairs))) == 1
            before = reader.refresh()
            assert len(set(reader.scan_values())) == 1
            assert reader.refresh() >= before

        def look() -> None:
            assert len(reader) == len(pairs)
            with reader.snapshot() as snapshot:
                assert snapshot[0] == snapshot[1999]

        beside(write, read, read, look)
        reader.refresh()
        assert reader[5] == b"59"


def test_collections_and_calls_do_not_wait_for_each_other(store: alexpy.Store) -> None:
    """Without a GIL, a collection makes all threads stand still, and none may hold what another waits for."""
    store.put_many(range(5000), [b"v"] * 5000)
    index = alexpy.AlexIndex(range(5000))
    shared = store.scan()

    def collect() -> None:
        for _ in range(40):
            cycle: list[Any] = [store.snapshot(), store.scan(), index.scan(), store.batch()]
            cycle.append(cycle)
            del cycle
            gc.collect()

    def iterate() -> None:
        nonlocal shared
        for _ in range(50):
            if next(shared, None) is None:
                shared = store.scan()
            next(index.scan())

    def write() -> None:
        store.put_many(range(100), [b"w"] * 100)
        index.put_many(range(100), range(100))
        store[5] = b"x"

    beside(collect, iterate, iterate, write, lambda: list(index.scan(limit=500)))


@pytest.mark.parametrize("call", ["compact", "verify", "backup", "bulk_load"])
def test_a_callback_may_wait_for_a_thread_that_calls_the_same_store(tmp_path: Path, call: str) -> None:
    """The engine calls back with no lock held, so neither this thread nor another meets one that is."""
    count = 16_000
    rows = np.zeros((count, 600), np.uint8)
    told = itertools.count()
    answers: list[str] = []

    def nested(store: alexpy.Store) -> None:
        numbers = list(range(0, count, 100))
        calls: dict[str, Callable[[], Any]] = {
            "get": lambda: store.get(1),
            "get_many": lambda: store.get_many(numbers),
            "put": lambda: store.put(1, b"x"),
            "put_many": lambda: store.put_many(numbers, [b"y"] * len(numbers)),
            "bulk_load": lambda: store.bulk_load(numbers, [b"z"] * len(numbers)),
            "scan": lambda: sum(1 for _ in store.scan()),
            "delete_range": lambda: store.delete_range(10, 20),
            "batch": lambda: store.batch().commit(),
            "snapshot": lambda: store.snapshot().close(),
            "changes": lambda: next(store.changes(since=store.stats().last_seq - 1)),
            "flush": store.flush,
            "refresh": store.refresh,
            "checkpoint": store.checkpoint,
            "compact": store.compact,
            "verify": store.verify,
            "backup": lambda: store.backup(tmp_path / f"copy {len(answers)}"),
        }
        for name, nest in calls.items():
            nest()
            answers.append(name)
        # Closing waits for the call, so the call must not wait for it.
        closing = threading.Thread(target=store.close, daemon=True)
        closing.start()
        answers.append("close")

    def progress(store: alexpy.Store) -> Callable[[int, int], None]:
        def tell(_done: int, _total: int) -> None:
            if next(told) == 0:
                at_once(lambda: nested(store))

        return tell

    with alexpy.open(tmp_path / "store", background=False, segment_bytes=4 << 20) as store:
        store.put_many(range(count), rows)
        store.put_many(range(count), rows)
        tell = progress(store)
        calls: dict[str, Callable[[], Any]] = {
            "compact": lambda: store.compact(tell),
            "verify": lambda: store.verify(tell),
            "backup": lambda: store.backup(tmp_path / "copy", tell),
            "bulk_load": lambda: store.bulk_load(np.arange(count), rows, progress=tell),
        }
        with suppress(alexpy.ClosedError):  # it was closed before the call came to its end
            calls[call]()
        assert len(answers) == 17
        assert next(told) > 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_threads_of_a_forked_child_use_an_inherited_index_and_reader_at_once(store: alexpy.Store) -> None:
    store.put_many(range(1000), [b"v"] * 1000)
    index = alexpy.AlexIndex(range(1000))
    with alexpy.open(store.path, read_only=True) as reader:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.alarm(WATCHDOG_SECONDS)
                status = 1
                with suppress(BaseException):
                    at_once(*[lambda: [index[5], len(index), reader[5], len(reader)]] * 8)
                    status = 0
                os._exit(status)
            assert os.waitpid(child, 0)[1] == 0, "a thread of the child was refused, or hung"


@pytest.mark.skipif(not FREE_THREADED, reason="this Python has a GIL")
def test_importing_alexpy_leaves_the_gil_off() -> None:
    program = "import sys, alexpy, alexpy.aio; print(sys._is_gil_enabled())"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert run.stdout == "False\n"
