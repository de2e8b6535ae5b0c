"""Many keys in one call, and writes collected in a batch."""

from __future__ import annotations

import collections
import itertools
import pickle
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def test_put_many_counts_distinct_keys_and_the_last_duplicate_wins(store: alexpy.Store) -> None:
    store[5] = b"old"
    assert store.put_many([5, 1, 5, 1], [b"a", b"b", b"c", b"d"]) == 2
    assert dict(store) == {1: b"d", 5: b"c"}


def test_get_many_keeps_order_and_duplicates(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two"})
    assert store.get_many([2, 9, 1, 2]) == [b"two", None, b"one", b"two"]
    default = object()
    assert store.get_many([9, 1], default) == [default, b"one"]
    assert store.get_many([9], default=default)[0] is default


def test_contains_many_is_a_bool_array(store: alexpy.Store) -> None:
    store.update({1: b"", 2: b""})
    found = store.contains_many(np.array([3, 2, 1, 2]))
    assert found.dtype == np.bool_
    assert found.tolist() == [False, True, True, True]


def test_delete_many_counts_the_keys_that_were_there(store: alexpy.Store) -> None:
    store.put_many(range(10), [b""] * 10)
    assert store.delete_many([1, 2, 2, 3, 99]) == 3
    assert store.delete_many([1, 2, 3]) == 0
    assert len(store) == 7


def test_delete_range_is_half_open_and_needs_a_bound(store: alexpy.Store) -> None:
    store.put_many(range(10), [b""] * 10)
    with pytest.raises(TypeError, match="clear"):
        store.delete_range()
    assert store.delete_range(3, 5) == 2
    assert store.delete_range(stop=2) == 2
    assert store.delete_range(8) == 2
    assert store.delete_range(7, 7) == 0
    assert store.delete_range(9, 5) == 0
    assert store.delete_range(2**63) == 0
    assert store.delete_range(None, -(2**70)) == 0
    assert list(store) == [2, 5, 6, 7]
    assert store.delete_range(-(10**30), 10**30) == 4


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000])
def test_batches_larger_than_one_piece_are_read_whole(store_path: Path, size: int) -> None:
    with alexpy.open(store_path, durability="os") as store:
        keys = np.random.default_rng(size).permutation(size) * 3
        store.put_many(keys, keys.astype("<i8"))
        assert len(store) == size
        asked = np.arange(size * 3)
        found = store.get_many(asked, default=b"")
        assert [len(value) for value in found] == [8, 0, 0] * size
        assert b"".join(found) == (np.arange(size) * 3).tobytes()
        assert store.contains_many(asked).tolist() == [True, False, False] * size
        assert store.delete_many(asked) == size


@given(st.lists(st.integers(0, 40), max_size=100))
def test_get_many_is_get_for_each(keys: list[int]) -> None:
    store = _stores[0]
    assert store.get_many(keys) == [store.get(key) for key in keys]
    assert store.contains_many(keys).tolist() == [key in store for key in keys]


_stores: list[alexpy.Store] = []


@pytest.fixture(autouse=True, scope="module")
def _even_store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with alexpy.open(tmp_path_factory.mktemp("even") / "store") as store:
        store.update({key: b"%d" % key for key in range(0, 40, 2)})
        _stores.append(store)
        yield
        _stores.clear()


# ---- WriteBatch ----


def test_a_batch_commits_when_its_block_ends(store: alexpy.Store) -> None:
    store[9] = b"gone"
    with store.batch() as batch:
        assert isinstance(batch, alexpy.WriteBatch)
        batch.put(1, b"one")
        batch[2] = b"two"
        batch.delete(9)
        batch[3] = b"three"
        del batch[3]
        batch.put_many([4, 5], [b"four", b"five"])
        batch.delete_many([5, 77])
        assert dict(store) == {9: b"gone"}
    assert dict(store) == {1: b"one", 2: b"two", 4: b"four"}


def test_the_last_operation_on_a_key_wins(store: alexpy.Store) -> None:
    with store.batch() as batch:
        batch.put(1, b"a")
        batch.delete(1)
        batch.put(1, b"b")
        batch.put(2, b"a")
        batch.delete(2)
    assert dict(store) == {1: b"b"}


def test_an_exception_in_the_block_drops_the_batch(store: alexpy.Store) -> None:
    with pytest.raises(LookupError), store.batch() as batch:  # noqa: PT012 - the block is what is tested
        batch.put(1, b"one")
        raise LookupError
    assert len(store) == 0
    store[1] = b"still usable"


def test_a_refused_operation_adds_nothing_to_the_batch(store: alexpy.Store) -> None:
    batch = store.batch()
    batch.put(1, b"one")
    with pytest.raises(TypeError):
        batch.put("2", b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        batch.put(2, "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        batch.put_many([2, 3], [b"", None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="2 keys and 1 values"):
        batch.put_many([2, 3], [b""])
    with pytest.raises(TypeError):
        batch.delete_many([2, "3"])  # type: ignore[list-item]
    assert len(batch) == 1
    batch.commit()
    assert dict(store) == {1: b"one"}


def test_the_length_of_a_batch_is_its_number_of_operations(store: alexpy.Store) -> None:
    batch = store.batch()
    assert len(batch) == 0
    batch.put(1, b"")
    batch.delete(1)
    batch.put_many([1, 2, 3], [b""] * 3)
    assert len(batch) == 5
    assert repr(batch) == "<alexpy.WriteBatch of 5 operations>"
    batch.discard()
    assert repr(batch) == "<alexpy.WriteBatch, ended>"


@pytest.mark.parametrize("end", ["commit", "discard"])
def test_a_batch_that_has_ended_raises_closed_error(store: alexpy.Store, end: str) -> None:
    batch = store.batch()
    batch.put(1, b"one")
    getattr(batch, end)()
    assert (1 in store) is (end == "commit")
    calls: list[Any] = [
        lambda: batch.put(1, b""),
        lambda: batch.delete(1),
        lambda: batch.put_many([1], [b""]),
        lambda: batch.delete_many([1]),
        lambda: batch.__setitem__(1, b""),
        lambda: batch.__delitem__(1),
        lambda: len(batch),
        batch.commit,
        batch.discard,
        batch.__enter__,
    ]
    for call in calls:
        with pytest.raises(alexpy.ClosedError, match="already committed or discarded"):
            call()


def test_delete_range_in_a_batch_is_in_order_with_its_other_operations(store: alexpy.Store) -> None:
    store.put_many(range(10), [b"old"] * 10)
    with store.batch() as b:
        b.put(3, b"before")
        b.put(12, b"before")
        b.delete_range(2, 5)
        b.put(4, b"after")
        b.delete_range(start=7)
        b.put(20, b"after")
        b.delete_range(stop=1)
        b.delete_range(5, 5)
        b.delete_range(2**63)
        assert len(b) == 7
    assert dict(store) == {
        **dict.fromkeys([1, 5, 6], b"old"),
        **dict.fromkeys([4, 20], b"after"),
    }


def test_delete_range_in_a_batch_needs_a_bound_and_adds_nothing_when_it_is_refused(
    store: alexpy.Store,
) -> None:
    store[1] = b""
    with store.batch() as b:
        for bounds in ((), (None, None), ("1",), (1.0, 2)):
            with pytest.raises(TypeError):
                b.delete_range(*bounds)
        assert len(b) == 0
    assert len(store) == 1
    with pytest.raises(alexpy.ClosedError):
        b.delete_range(1)


def test_a_batch_that_empties_the_store_in_its_middle_leaves_snapshots_alone(store: alexpy.Store) -> None:
    store.put_many(range(5), [b"old"] * 5)
    with store.snapshot() as snapshot:
        with store.batch() as b:
            b.put(2, b"new")
            b.put(7, b"new")
            b.delete_range(-(2**70), 2**70)
            b.put(3, b"last")
        assert dict(snapshot) == dict.fromkeys(range(5), b"old")
        assert (snapshot.rank(7), snapshot.nth(2), len(snapshot)) == (5, (2, b"old"), 5)
        assert snapshot.floor_many([9])[0].tolist() == [4]
    assert dict(store) == {3: b"last"}


def test_a_batch_may_be_ended_inside_its_block(store: alexpy.Store) -> None:
    with store.batch() as batch:
        batch.put(1, b"one")
        batch.commit()
    with store.batch() as batch:
        batch.put(2, b"two")
        batch.discard()
    assert list(store) == [1]


def test_batches_are_independent_of_each_other(store: alexpy.Store) -> None:
    with store.batch() as outer:
        outer.put(1, b"outer")
        with store.batch() as inner:
            inner.put(1, b"inner")
            inner.put(2, b"inner")
        assert dict(store) == {1: b"inner", 2: b"inner"}
    assert dict(store) == {1: b"outer", 2: b"inner"}


def test_a_batch_is_write_only(store: alexpy.Store) -> None:
    batch = store.batch()
    batch.put(1, b"one")
    with pytest.raises(TypeError):
        batch[1]  # type: ignore[index]
    assert not hasattr(batch, "get")
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(batch)
    batch.discard()


def test_an_empty_batch_commits(store: alexpy.Store) -> None:
    with store.batch(sync=True):
        pass
    assert len(store) == 0


def test_a_sync_write_is_on_the_device_when_the_call_returns(store_path: Path) -> None:
    with alexpy.open(store_path, durability="os") as store:
        store[1] = b"one"
        assert store.stats().durable_seq < store.stats().last_seq
        with store.batch(sync=True) as batch:
            batch.put(2, b"two")
        assert store.stats().durable_seq == store.stats().last_seq
        store[3] = b"three"
        store.put_many([4], [b"four"], sync=True)
        assert store.stats().durable_seq == store.stats().last_seq


def test_what_is_durable_is_never_above_what_is_committed(store_path: Path) -> None:
    modes: tuple[Literal["sync", "os", "interval"], ...] = ("sync", "os", "interval")
    for mode in modes:
        path = store_path / mode
        with alexpy.open(path, parents=True, durability=mode, segment_bytes=4096, background=False) as store:
            # What ends a segment takes a sequence of its own.
            steps: list[Callable[[], object]] = [
                partial(store.put, 0, b""), partial(store.delete, 0), store.compact, store.flush,
                partial(store.put, 1, b"x" * 3000), partial(store.put, 2, b"x" * 3000), store.flush,
                store.checkpoint, store.clear, store.compact, store.checkpoint,
            ]  # fmt: skip
            for step in steps:
                step()
                stats = store.stats()
                assert stats.durable_seq <= stats.last_seq, (mode, stats)


@pytest.mark.slow
def test_what_is_durable_is_never_above_what_is_committed_beside_writers(store_path: Path) -> None:
    done = threading.Event()

    def write() -> None:
        try:
            for key in range(1000):
                store.put(key % 100, b"x" * 300)
                if key % 10 == 0:
                    store.put_many([1, 2], [b"x", b"y"], sync=True)
        finally:
            done.set()

    with alexpy.open(store_path, segment_bytes=4096, sync_interval_ms=1) as store:
        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            stats = store.stats()
            assert stats.durable_seq <= stats.last_seq
        writer.join()


def test_a_batch_keeps_its_store_alive(store_path: Path) -> None:
    batch = alexpy.open(store_path).batch()
    batch.put(1, b"one")
    batch.commit()
    with pytest.raises(alexpy.LockedError):
        alexpy.open(store_path)
    with pytest.warns(ResourceWarning, match="was not closed"):
        del batch
    with alexpy.open(store_path) as store:
        assert dict(store) == {1: b"one"}


def test_other_threads_run_while_a_large_batch_is_written(store_path: Path) -> None:
    with alexpy.open(store_path, durability="os") as store:
        keys = np.random.default_rng(0).permutation(1_000_000)
        values = np.zeros((len(keys), 32), np.uint8)
        ticks: list[float] = []
        done = threading.Event()

        def tick() -> None:
            while not done.is_set():
                ticks.append(time.perf_counter())
                time.sleep(0.0005)

        thread = threading.Thread(target=tick)
        thread.start()
        begun = time.perf_counter()
        store.put_many(keys, values)
        ended = time.perf_counter()
        done.set()
        thread.join()
        # Were the GIL held, no tick could fall into the call.
        assert sum(begun < tick < ended for tick in ticks) >= 3


@pytest.fixture
def alarm() -> Iterator[Callable[[float], None]]:
    """Interrupt the running code after that many seconds, as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_an_interrupt_ends_a_long_call_and_nothing_is_written(
    store: alexpy.Store, alarm: Callable[[float], None]
) -> None:
    # Iterables that run no Python code: only our own look at pending signals can end these.
    alarm(0.2)
    with pytest.raises(KeyboardInterrupt):
        store.delete_many(itertools.repeat(7))
    alarm(0.2)
    with pytest.raises(KeyboardInterrupt):
        store.put_many(range(10**12), itertools.repeat(b""))
    assert len(store) == 0


def test_an_interrupt_ends_a_scan_that_runs_no_python_code(
    store: alexpy.Store, alarm: Callable[[float], None]
) -> None:
    store.put_many(range(100_000), [b""] * 100_000)
    alarm(0.1)
    with pytest.raises(KeyboardInterrupt):
        collections.deque(itertools.chain.from_iterable(map(alexpy.Store.scan, itertools.repeat(store))), 0)
    assert len(store) == 100_000


def test_get_array_returns_rows_in_the_order_and_with_the_duplicates_of_the_keys(store: alexpy.Store) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    store.put_many([10, 20, 30], rows)
    found = store.get_array(np.array([30, 10, 30]), np.float32, (4,))
    assert found.dtype == np.float32
    assert found.tolist() == rows[[2, 0, 2]].tolist()
    assert store.get_array([20], np.float32, 4).tolist() == rows[[1]].tolist()
    assert store.get_array(iter([20]), "V16").shape == (1,)
    assert store.get_array([], np.float32, 4).shape == (0, 4)


def test_get_array_names_a_missing_key_unless_fill_is_given(store: alexpy.Store) -> None:
    store.put_many([1, 2], np.array([7, 8]))
    with pytest.raises(KeyError, match="5"):
        store.get_array([1, 5, 6], np.int64)
    assert store.get_array([1, 5, 2], np.int64, fill=-1).tolist() == [7, -1, 8]
    assert store.get_array(np.arange(40_000), np.int64, fill=-1)[[0, 1, 2, 39_999]].tolist() == [-1, 7, 8, -1]


def test_get_array_takes_a_dtype_that_has_a_shape(store: alexpy.Store) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    store.put_many([1, 2], rows)
    pairs = np.dtype(("f4", (2,)))
    assert store.get_array([2, 1], np.dtype(("f4", (3, 2)))).tolist() == rows[::-1].tolist()
    assert store.get_array([2, 9], pairs, 3, fill=[7, 8]).tolist() == [rows[1].tolist(), [[7, 8]] * 3]
    out = np.empty((1, 3, 2), np.float32)
    assert store.get_array([1], pairs, (3,), out=out) is out
    assert out.tolist() == rows[:1].tolist()


RECORD = np.dtype([("a", "i4"), ("b", "f4", 2)])


@pytest.mark.parametrize(
    ("dtype", "shape", "fill", "filled"),
    [
        ("f4", (), 0.1, 0.1),
        ("f4", (2,), np.nan, [np.nan] * 2),
        ("i2", (2, 3), [1, 2, 3], [[1, 2, 3]] * 2),
        ("u1", (), True, 1),
        ("S3", (), b"ab", b"ab"),
        ("V3", (), b"a\0\0", b"a\0\0"),
        ("M8[s]", (2,), np.datetime64("NaT"), ["NaT"] * 2),
        (RECORD, (), (1, [2.5, 3.5]), (1, [2.5, 3.5])),
        (RECORD, (2,), (1, [2.5, 3.5]), [(1, [2.5, 3.5])] * 2),
        (RECORD, (), np.zeros((), RECORD), (0, [0, 0])),
    ],
    ids=map(str, range(10)),
)
def test_a_row_of_fill_is_made_as_a_value_would_be(
    store: alexpy.Store, dtype: Any, shape: tuple[int, ...], fill: Any, filled: Any
) -> None:
    found = store.get_array([5], dtype, shape, fill=fill)
    assert (found.dtype, found.shape) == (np.dtype(dtype), (1, *shape))
    assert found.tobytes() == np.array([filled], dtype).tobytes()


@pytest.mark.parametrize(
    ("dtype", "shape", "fill", "message"),
    [
        ("u1", (), np.int64(300), r"fill is .*300.*, which uint8 cannot hold"),
        ("u1", (), 2**64, "fill is 18446744073709551616, which uint8 cannot hold"),
        ("i8", (), np.nan, "fill is nan, which int64 cannot hold: it takes int64, not float64"),
        ("i8", (), 2.9, "fill is 2.9, which int64 cannot hold"),
        ("f4", (), 1e300, "fill is 1e.300, which float32 cannot hold"),
        ("f8", (), 1j, "fill is 1j, which float64 cannot hold"),
        ("S3", (), b"abcdef", r"fill is b'abcdef', which \|S3 cannot hold"),
        ("M8[ns]", (), np.datetime64("9999-12-31"), r"which datetime64\[ns\] cannot hold"),
        ("f8", (2,), np.ma.masked_array([1.0, 2.0], [True, False]), "fill is .* cannot hold: it is masked"),
        ("i4", (2, 3), [1, 2], r"fill has the shape \(2,\), and a row \(2, 3\)"),
        ("i4", (), [1, 2], r"fill has the shape \(2,\), and a row \(\)"),
        (RECORD, (), (1, 2.5), "cannot hold: .* shape"),
        (RECORD, (), (1,), "cannot hold: it takes a tuple of 2 fields"),
    ],
    ids=map(str, range(13)),
)
def test_a_fill_that_would_change_is_refused(
    store: alexpy.Store, dtype: Any, shape: tuple[int, ...], fill: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        store.get_array([5], dtype, shape, fill=fill)
    assert "\n" not in str(raised.value)


def test_get_array_names_the_key_whose_value_has_another_length(store: alexpy.Store) -> None:
    store.put_many([1, 2], [b"12345678", b"123"])
    with pytest.raises(ValueError, match="key 2 has 3 bytes"):
        store.get_array([1, 2], np.int64)
    with pytest.raises(TypeError, match="Python objects"):
        store.get_array([1], object)


def test_get_array_of_more_than_fits_in_memory_raises_memory_error(store: alexpy.Store) -> None:
    with pytest.raises(MemoryError, match=r"^there is no memory for 2251799812636672 bytes$"):
        store.get_array(np.zeros(1 << 20, np.int64), "V2147483647")


def test_get_array_fills_an_array_that_is_there_already(store: alexpy.Store, tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    store.put_many([10, 20, 30], rows)
    out = np.empty((2, 4), np.float32)
    assert store.get_array([30, 10], np.float32, 4, out=out) is out
    assert out.tolist() == rows[[2, 0]].tolist()
    store.get_array([20, 5], np.float32, (4,), fill=-1, out=out)
    assert out.tolist() == [rows[1].tolist(), [-1] * 4]
    big = np.zeros((5, 4), np.float32)
    store.get_array(iter([20]), np.float32, 4, out=big[2:3])
    assert big.tolist() == [[0] * 4, [0] * 4, rows[1].tolist(), [0] * 4, [0] * 4]
    mapped = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(2, 4))
    assert store.get_array([30, 10], np.float32, 4, out=mapped) is mapped
    mapped.flush()
    assert (tmp_path / "rows").read_bytes() == rows[[2, 0]].tobytes()
    nothing = np.empty((0, 4), np.float32)
    assert store.get_array([], np.float32, 4, out=nothing) is nothing
    with pytest.raises(KeyError, match="7"):
        store.get_array([30, 7], np.float32, 4, out=out)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([[0.0] * 4] * 2, TypeError, "out must be an array of float32, not list"),
        (np.zeros((2, 4)), TypeError, "an array of float64"),
        (np.zeros((2, 4), ">f4"), TypeError, "an array of >f4"),
        (np.ma.zeros((2, 4), np.float32), TypeError, "not MaskedArray"),
        (np.zeros(8, np.float32), ValueError, r"the shape \(keys, 4\), not \(8,\)"),
        (np.zeros((), np.float32), ValueError, r"not \(\)"),
        (np.zeros((3, 4), np.float32), ValueError, "out has 3 rows, and there are 2 keys"),
        (np.zeros((1, 4), np.float32), ValueError, "out has 1 rows, and there are 2 keys"),
        (np.zeros((4, 2), np.float32).T, ValueError, "C-contiguous"),
        (np.frombuffer(bytes(32), np.float32).reshape(2, 4), ValueError, "writable"),
    ],
)
def test_get_array_refuses_an_array_that_does_not_fit(
    store: alexpy.Store, out: Any, error: type[Exception], message: str
) -> None:
    store.put_many([1, 2], np.ones((2, 4), np.float32))
    with pytest.raises(error, match=message):
        store.get_array([1, 2], np.float32, 4, out=out)
    assert not np.any(out)


def test_get_array_does_not_write_over_the_keys_it_reads(store: alexpy.Store) -> None:
    keys = np.array([1, 2])
    store.put_many(keys, np.array([7, 8]))
    with pytest.raises(ValueError, match="shares memory with keys"):
        store.get_array(keys, np.int64, out=keys)
    assert keys.tolist() == [1, 2]
    memory = bytearray(keys.tobytes())
    keys, out = np.frombuffer(memory, np.int64), np.frombuffer(memory, np.int64)
    with pytest.raises(ValueError, match="shares memory with keys"):
        store.get_array(keys, np.int64, fill=0, out=out)
    assert keys.tolist() == [1, 2]


def test_get_array_reads_empty_values_as_rows_without_bytes(store: alexpy.Store) -> None:
    store.put_many([1, 2], [b"", b""])
    assert store.get_array([1, 2, 1], np.int64, (0,)).shape == (3, 0)
    store.get_array([1, 2], np.int64, (0,), out=np.empty((2, 0), np.int64))
    with pytest.raises(ValueError, match="3 rows, and there are 2 keys"):
        store.get_array([1, 2], np.int64, (0,), out=np.empty((3, 0), np.int64))
    with pytest.raises(KeyError, match="3"):
        store.get_array([3], np.int64, (0,))
