"""Snapshots: the store as it was, by every call that reads, whatever is written meanwhile."""

from __future__ import annotations

import gc
import pickle
import random
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from forked import outcome_in_fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = 400
"""Random programs use keys below this."""

Model = dict[int, bytes]


def _value(rng: random.Random) -> bytes:
    # Of one length, so that `get_array` can read them.
    return rng.randbytes(12)


def _change(rng: random.Random, store: alexpy.Store, now: Model) -> None:
    """Change the store and the model in one of the ways there are."""
    key = rng.randrange(KEYS)
    match rng.randrange(10):
        case 0 | 1 | 2:
            store[key] = now[key] = _value(rng)
        case 3:
            assert store.delete(key) == (now.pop(key, None) is not None)
        case 4 | 5:
            many = {rng.randrange(KEYS): _value(rng) for _ in range(rng.randrange(200))}
            store.update(many)
            now.update(many)
        case 6:
            stop = key + rng.randrange(150)
            store.delete_range(key, stop)
            for gone in [it for it in now if key <= it < stop]:
                del now[gone]
        case 7:
            store.compact()
        case 8:
            store.checkpoint()
        case _:
            if rng.randrange(3) == 0:
                store.clear()
                now.clear()
            many = {rng.randrange(KEYS): _value(rng) for _ in range(50)}
            store.bulk_load(list(many), list(many.values()))
            now.update(many)


def _one(got: alexpy.Snapshot, then: Model, key: int, _: random.Random) -> None:
    assert got.get(key) == then.get(key)
    assert (key in got) == (key in then)
    view = got.get_view(key)
    assert (None if view is None else bytes(view)) == then.get(key)
    if key in then:
        assert got[key] == then[key]
    else:
        with pytest.raises(KeyError):
            got[key]


def _whole(got: alexpy.Snapshot, then: Model, _: int, __: random.Random) -> None:
    assert len(got) == len(then)
    assert list(got) == sorted(then)
    assert list(reversed(got)) == sorted(then, reverse=True)
    assert list(got.items()) == sorted(then.items())
    assert list(got.keys()) == sorted(then)
    assert list(got.values()) == [then[key] for key in sorted(then)]
    assert got == then
    assert got == got  # noqa: PLR0124 - the method is under test
    assert repr(got).endswith(f"{len(then)} keys>")


def _neighbours(got: alexpy.Snapshot, then: Model, key: int, _: random.Random) -> None:
    def item(keys: list[int], pick: Callable[[list[int]], int]) -> tuple[int, bytes] | None:
        return (pick(keys), then[pick(keys)]) if keys else None

    assert got.first() == item(list(then), min)
    assert got.last() == item(list(then), max)
    assert got.floor(key) == item([it for it in then if it <= key], max)
    assert got.lower(key) == item([it for it in then if it < key], max)
    assert got.ceiling(key) == item([it for it in then if it >= key], min)
    assert got.higher(key) == item([it for it in then if it > key], min)


def _ranges(got: alexpy.Snapshot, then: Model, key: int, rng: random.Random) -> None:
    stop = key + rng.randrange(200)
    items = [(it, then[it]) for it in sorted(then) if key <= it < stop]
    assert list(got.scan(key, stop)) == items
    assert list(got.scan(key, stop, reverse=True, limit=7)) == items[::-1][:7]
    assert list(got.scan_keys(key, stop)) == [it for it, _ in items]
    assert list(got.scan_values(key, stop)) == [value for _, value in items]
    assert got.count(key, stop) == len(items)
    batches = list(got.scan_batches(key, stop, rows=30))
    assert [it for batch in batches for it in batch.keys.tolist()] == [it for it, _ in items]
    assert b"".join(batch.data.tobytes() for batch in batches) == b"".join(value for _, value in items)
    parts = [list(got.scan_keys(*part)) for part in got.split(3)]
    assert [it for part in parts for it in part] == sorted(then)


def _many(got: alexpy.Snapshot, then: Model, _: int, rng: random.Random) -> None:
    keys = [rng.randrange(KEYS + 50) for _ in range(rng.randrange(300))]
    assert got.get_many(keys) == [then.get(key) for key in keys]
    assert got.contains_many(keys).tolist() == [key in then for key in keys]
    buffers = got.get_buffers(keys)
    assert buffers.data.tobytes() == b"".join(then.get(key, b"") for key in keys)
    rows = got.get_array(keys, "S12", fill=b"-" * 12)
    assert rows.tobytes() == b"".join(then.get(key, b"-" * 12) for key in keys)


READS = [_one, _whole, _neighbours, _ranges, _many]


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.parametrize("seed", range(6))
def test_snapshots_of_every_age_equal_the_model_by_every_call(
    store_path: Path, seed: int, read_mode: str
) -> None:
    rng = random.Random(seed)
    with alexpy.open(store_path, read_mode=read_mode, segment_bytes=1 << 20, background=False) as store:
        now: Model = {}
        kept: list[tuple[alexpy.Snapshot, Model]] = []
        for _ in range(150):
            _change(rng, store, now)
            if len(kept) < 6 and rng.randrange(3) == 0:
                kept.append((store.snapshot(), dict(now)))
            if kept and rng.randrange(2):
                snapshot, then = rng.choice(kept)
                rng.choice(READS)(snapshot, then, rng.randrange(KEYS), rng)
            if kept and rng.randrange(6) == 0:
                snapshot, then = kept.pop(rng.randrange(len(kept)))
                for read in READS:
                    read(snapshot, then, rng.randrange(KEYS), rng)
                snapshot.close()
        for snapshot, then in kept:
            for read in READS:
                read(snapshot, then, rng.randrange(KEYS), rng)
        del snapshot
        kept.clear()
        gc.collect()
        stats = store.stats()
        assert (stats.snapshots, stats.history_bytes) == (0, 0)
        assert store == now


def test_iterators_and_streams_of_a_snapshot_go_on_over_changes(store: alexpy.Store) -> None:
    keys = np.arange(20_000)
    store.put_many(keys, keys)
    snapshot = store.snapshot()
    items, batches, stream = snapshot.scan(), snapshot.scan_batches(rows=1000), snapshot.to_arrow()
    assert next(items) == (0, keys[:1].tobytes())
    store.clear()
    store.put_many(keys[::2], keys[::2])
    assert next(items) == (1, keys[1:2].tobytes())
    assert sum(1 for _ in items) == 19_998
    assert sum(len(batch) for batch in batches) == 20_000
    pyarrow = pytest.importorskip("pyarrow")
    for _ in range(2):
        assert pyarrow.table(stream).num_rows == 20_000
    assert len(store) == 10_000


def test_a_snapshot_is_a_mapping_that_takes_no_writes(store: alexpy.Store) -> None:
    store[1] = b"one"
    snapshot: Any = store.snapshot()
    assert isinstance(snapshot, Mapping)
    assert snapshot.seq == store.stats().last_seq
    assert snapshot.path == store.path
    assert snapshot.store is store
    with pytest.raises(TypeError):
        snapshot[1] = b"uno"
    assert not hasattr(snapshot, "put")
    with pytest.raises(TypeError, match="read_only=True"):
        pickle.dumps(snapshot)
    with pytest.raises(TypeError):
        alexpy.Snapshot(snapshot)


def test_a_closed_snapshot_raises_and_its_store_goes_on(store: alexpy.Store) -> None:
    store[1] = b"one"
    with store.snapshot() as snapshot:
        iterator = snapshot.scan()
        assert not snapshot.closed
    assert snapshot.closed
    assert "closed" in repr(snapshot)
    for call in (
        lambda: snapshot[1],
        lambda: len(snapshot),
        lambda: next(iterator),
        lambda: snapshot.get_many([1]),
    ):
        with pytest.raises(alexpy.ClosedError, match="snapshot is closed"):
            call()
    snapshot.close()
    assert store[1] == b"one"


def test_a_snapshot_of_a_closed_store_raises_and_one_of_a_forgotten_store_reads(store_path: Path) -> None:
    store = alexpy.open(store_path)
    store[1] = b"one"
    snapshot = store.snapshot()
    store.close()
    assert snapshot.closed
    with pytest.raises(alexpy.ClosedError):
        snapshot.get(1)
    with pytest.raises(alexpy.ClosedError):
        store.snapshot()
    with alexpy.open(store_path, read_only=True) as reader:
        kept = reader.snapshot()
        assert kept[1] == b"one"
    forgotten = alexpy.open(store_path)
    snapshot = forgotten.snapshot()
    del forgotten
    gc.collect()
    assert snapshot[1] == b"one"
    snapshot.store.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_refuses_the_snapshots_of_its_parent(store: alexpy.Store) -> None:
    store[1] = b"one"
    snapshot = store.snapshot()

    assert outcome_in_fork(lambda: snapshot[1]) == "ForkedError"
    assert outcome_in_fork(lambda: next(snapshot.scan())) == "ForkedError"
    assert outcome_in_fork(snapshot.close) == "None"
    assert snapshot[1] == b"one"


def test_space_and_memory_of_what_a_snapshot_kept_come_back(store_path: Path) -> None:
    keys = np.arange(100_000)
    with alexpy.open(store_path, background=False) as store:
        store.put_many(keys, np.zeros((100_000, 100), np.uint8))
        snapshots = [store.snapshot() for _ in range(20)]
        for number in range(1, 4):
            store.put_many(keys, np.full((100_000, 100), number, np.uint8))
        kept = store.stats().history_bytes
        # All twenty share the notes, and a key that changed three times has one.
        assert 0 < kept <= 64 * len(keys) + (2 << 20)
        store.compact()
        for snapshot in snapshots:
            assert snapshot[99_999] == bytes(100)
            snapshot.close()
        assert store.stats().history_bytes == 0
        assert store.get_array(keys, np.uint8, 100).min() == 3


def test_threads_take_read_and_drop_snapshots_beside_a_writer(store: alexpy.Store) -> None:
    keys = np.arange(5000)
    store.put_many(keys, np.zeros(5000, np.int64))
    ended = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            newest = -1
            while not ended.is_set():
                with store.snapshot() as snapshot:
                    rows = snapshot.get_array(keys, np.int64)
                    again = np.frombuffer(b"".join(snapshot.values()), np.int64)
                    assert (rows == rows[0]).all()
                    assert (again == rows[0]).all()
                    assert rows[0] >= newest
                    newest = rows[0]
        except BaseException as failure:  # noqa: BLE001 - raised again by the test
            failures.append(failure)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 150):
        store.put_many(keys, np.full(5000, number))
        if number % 40 == 0:
            store.compact()
    ended.set()
    for reader in readers:
        reader.join()
    assert not failures, failures
    assert store.stats().history_bytes == 0
