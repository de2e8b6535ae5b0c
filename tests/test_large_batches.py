"""Reads of many thousand keys in one call, shared among threads: answers, errors, Ctrl-C."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import alexpy

pytestmark = pytest.mark.slow

# A piece is 4,096 keys, and from four pieces on a second thread helps.
SHARED = 16_384
COUNT = 60_000


def value(key: int) -> bytes:
    return key.to_bytes(8, "little") * 2


def threads() -> int:
    """Count the threads of this process, including those that Python did not start."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.fixture
def filled(store: alexpy.Store) -> alexpy.Store:
    """Hold the even keys below 120,000."""
    keys = np.arange(0, 2 * COUNT, 2)
    store.put_many(keys, np.stack([keys, keys], axis=1))
    return store


@pytest.mark.parametrize("count", [SHARED - 1, SHARED, SHARED + 1, 5 * 4096, 59_999])
def test_large_batches_answer_like_single_gets(filled: alexpy.Store, count: int) -> None:
    asked = np.random.default_rng(count).integers(-10, 2 * COUNT + 10, count)
    expected = [filled.get(key) for key in asked.tolist()]
    assert filled.get_many(asked) == expected
    there = np.array([one is not None for one in expected])
    rows = filled.get_array(asked, np.int64, (2,), fill=-7)
    assert (rows[there] == np.stack([asked[there]] * 2, axis=1)).all()
    assert (rows[~there] == -7).all()
    got = filled.get_buffers(asked)
    assert got.found.tolist() == there.tolist()
    assert got.data.tobytes() == b"".join(one for one in expected if one is not None)
    assert np.diff(got.offsets).tolist() == [16 if one else 0 for one in there]
    assert filled.contains_many(asked).tolist() == there.tolist()


@pytest.mark.parametrize("rows", [SHARED - 1, SHARED, 20_001, 65_536])
def test_large_scan_batches_hold_every_item_in_order(store: alexpy.Store, rows: int) -> None:
    lengths = np.random.default_rng(rows).integers(0, 40, COUNT)
    items = [(key, bytes(length)) for key, length in enumerate(lengths.tolist())]
    store.put_many([key for key, _ in reversed(items)], [value for _, value in reversed(items)])
    found = []
    for batch in store.scan_batches(rows=rows):
        spans = itertools.pairwise(batch.offsets.tolist())
        data = batch.data.tobytes()
        found += [(key, data[a:b]) for key, (a, b) in zip(batch.keys.tolist(), spans, strict=True)]
    assert found == items


def test_one_processor_is_enough(filled: alexpy.Store) -> None:
    program = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np, alexpy
with alexpy.open(sys.argv[1], read_only=True) as store:
    keys = np.random.default_rng(1).permutation(np.arange(0, 120_000, 2))
    assert store.get_many(keys) == [int(key).to_bytes(8, "little") * 2 for key in keys]
    assert (store.get_array(keys, np.int64, 2)[:, 1] == keys).all()
"""
    path = filled.path
    filled.close()
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(path)], check=True)


def test_the_first_missing_key_is_named_wherever_it_is_found(filled: alexpy.Store) -> None:
    asked = np.arange(0, 2 * COUNT, 2)
    asked[[21_000, 40_000, 59_999]] = [1, 3, 5]
    for _ in range(20):
        with pytest.raises(KeyError, match=r"^1$"):
            filled.get_array(asked, np.int64, 2)
    assert filled.get_array(np.zeros(0, np.int64), np.int64, 2).shape == (0, 2)
    filled.put_many(np.arange(0, 2 * COUNT, 2), [b""] * COUNT)
    with pytest.raises(KeyError, match=r"^1$"):
        filled.get_array(asked, np.uint8, 0)


def test_damage_ends_a_large_batch_and_leaves_no_thread(store_path: Path) -> None:
    keys = np.arange(COUNT)
    with alexpy.open(store_path) as store:
        store.put_many(keys, [b"value %08d" % key for key in range(COUNT)])
    segment = store_path / "seg-00000001.log"
    with alexpy.open(store_path) as store:
        at = segment.read_bytes().index(b"value 00030000")
        with segment.open("r+b") as file:
            file.seek(at)
            file.write(b"V")
        store.get(1)
        before = threads()
        for read in (
            lambda: store.get_many(keys),
            lambda: store.get_array(keys, np.uint8, 14),
            lambda: store.get_buffers(keys),
            lambda: next(store.scan_batches()),
        ):
            with pytest.raises(alexpy.CorruptionError, match="seg-00000001"):
                read()
            # The system may list a thread for a moment after its end.
            deadline = time.monotonic() + 10
            while threads() > before and time.monotonic() < deadline:
                time.sleep(0.001)
            assert threads() == before
        assert store.get_many(keys[:20_000])[-1] == b"value 00019999"


@pytest.mark.parametrize("call", ["store.get_many(keys)", "store.get_array(keys, np.uint8, 4)"])
def test_a_large_batch_hears_ctrl_c(store_path: Path, call: str) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(100_000), [b"some"] * 100_000)
    program = f"""
import signal, sys, time
import numpy as np, alexpy
store = alexpy.open(sys.argv[1])
keys = np.random.default_rng(1).integers(0, 100_000, 20_000_000)
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    {call}
except KeyboardInterrupt:
    assert len(store) == 100_000
    print("heard")
"""
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(store_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == "heard\n"


def test_large_batches_of_several_threads_and_a_writer_agree(filled: alexpy.Store) -> None:
    asked = np.random.default_rng(3).permutation(np.arange(0, 2 * COUNT, 2))
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        for _ in range(5):
            answers = filled.get_many(asked)
            if any(answer != value(key) for key, answer in zip(asked.tolist(), answers, strict=True)):
                wrong.append("list")
            if not (filled.get_array(asked, np.int64, 2)[:, 0] == asked).all():
                wrong.append("array")

    def write() -> None:
        while not done.is_set():
            filled.put_many(asked[:5000], np.stack([asked[:5000]] * 2, axis=1))

    readers = [threading.Thread(target=read) for _ in range(3)]
    writer = threading.Thread(target=write)
    for thread in [*readers, writer]:
        thread.start()
    for thread in readers:
        thread.join()
    done.set()
    writer.join()
    assert wrong == []


@pytest.mark.parametrize("count", [1, 17, 200, 5000])
def test_long_values_among_short_ones_come_whole_and_in_order(store: alexpy.Store, count: int) -> None:
    # Long ones are read a MiB at a time, by a second thread if there are more.
    draw = np.random.default_rng(count)
    lengths = draw.choice(
        [0, 100, 512, 513, 9_000, 70_000, 1_100_000], count, p=[0.2] * 4 + [0.15, 0.04, 0.01]
    )
    values = [draw.bytes(length) for length in lengths.tolist()]
    store.put_many(draw.permutation(count) * 2, values)
    held = {key: store.get(key) for key in range(0, 2 * count, 2)}
    asked = draw.integers(-3, 2 * count + 3, count).tolist()
    assert store.get_many(asked) == [held.get(key) for key in asked]
    assert list(store.items()) == list(held.items())
    assert list(store.scan(reverse=True)) == list(reversed(held.items()))
    assert list(store.values()) == list(held.values())


@pytest.mark.parametrize("count", [1, 63, 129, 301])
def test_long_rows_are_shared_among_threads(store: alexpy.Store, count: int) -> None:
    rows = np.random.default_rng(count).integers(0, 256, (count, 1 << 16), np.uint8)
    keys = np.random.default_rng(1).permutation(count)
    store.put_many(keys, rows)
    assert (store.get_array(keys, np.uint8, 1 << 16) == rows).all()
    asked = np.append(keys, -1)
    filled = store.get_array(asked, np.uint8, 1 << 16, fill=9)
    assert (filled[:-1] == rows).all()
    assert (filled[-1] == 9).all()
    with pytest.raises(KeyError, match=r"^-1$"):
        store.get_array(asked, np.uint8, 1 << 16)


@pytest.mark.parametrize(
    "odd", [{}, {5: b""}, {39_990: b"longer than all"}, {5: bytes(50), 39_990: b"1"}, {0: bytes(1 << 20)}]
)
def test_columns_of_values_of_one_length_but_some(store: alexpy.Store, odd: dict[int, bytes]) -> None:
    # Each thread writes where its values stay if all are as long as the first ones.
    held = {key: key.to_bytes(4, "little") for key in range(40_000)} | odd
    store.put_many(list(held), list(held.values()))
    whole = b"".join(held.values())
    lengths = [len(value) for value in held.values()]
    got = store.get_buffers(np.arange(-3, 40_003))
    assert got.data.tobytes() == whole
    assert np.diff(got.offsets).tolist() == [0, 0, 0, *lengths, 0, 0, 0]
    batches = list(store.scan_batches(rows=39_000))
    assert b"".join(batch.data.tobytes() for batch in batches) == whole
    assert [length for batch in batches for length in np.diff(batch.offsets).tolist()] == lengths


@pytest.mark.parametrize("count", [1, 65, 301, 6000])
def test_columns_of_long_values_are_shared_among_threads(store: alexpy.Store, count: int) -> None:
    rows = np.random.default_rng(count).integers(0, 256, (count, 1 << 14), np.uint8)
    keys = np.random.default_rng(1).permutation(count)
    store.put_many(keys, rows)
    got = store.get_buffers(np.append(keys, -1))
    assert got.data.tobytes() == rows.tobytes()
    assert got.found.tolist() == [True] * count + [False]
    data = b"".join(batch.data.tobytes() for batch in store.scan_batches())
    assert data == rows[np.argsort(keys)].tobytes()


@pytest.mark.parametrize("argument", ["keys", "values"])
def test_an_array_that_another_call_fills_is_refused_by_name(filled: alexpy.Store, argument: str) -> None:
    asked = np.repeat(np.arange(0, 2 * COUNT, 2), 20)
    out = np.zeros(2 * len(asked), np.int64)
    rows = out.reshape(-1, 2)
    refused: list[str] = []

    def fill() -> None:
        # Refused itself where the other call has the array first.
        with contextlib.suppress(ValueError):
            filled.get_array(asked, np.int64, 2, out=rows)

    def use() -> None:
        some = out[:100] if argument == "keys" else out[:200].reshape(100, 2)
        while filling.is_alive() and not refused:
            try:
                filled.put_many(*((some, out[:100]) if argument == "keys" else (range(100), some)))
            except ValueError as error:
                refused.append(str(error))

    for _ in range(100):
        filling = threading.Thread(target=fill)
        filling.start()
        use()
        filling.join()
        if refused:
            break
    (message,) = refused
    assert message.startswith(f"{argument} share memory with an array that another call is filling")
