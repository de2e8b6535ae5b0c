"""Values and items as columns: `get_buffers`, `scan_batches`, `to_arrow`."""

from __future__ import annotations

import bisect
import gc
import itertools
import pickle
import threading
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def spans(data: Any, offsets: Any) -> list[bytes]:
    return [data[begin:end].tobytes() for begin, end in itertools.pairwise(offsets.tolist())]


def items(batch: alexpy.ScanBatch) -> list[tuple[int, bytes]]:
    return list(zip(batch.keys.tolist(), spans(batch.data, batch.offsets), strict=True))


# ---- get_buffers ----


def test_buffers_keep_order_and_duplicates_and_say_what_was_found(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"", 3: b"three"})
    got = store.get_buffers(np.array([3, 9, 1, 2, 3]))
    assert isinstance(got, alexpy.ValueBuffers)
    assert len(got) == 5
    assert (got.data.dtype, got.offsets.dtype, got.found.dtype) == (np.uint8, np.int64, np.bool_)
    assert spans(got.data, got.offsets) == [b"three", b"", b"one", b"", b"three"]
    assert got.found.tolist() == [True, False, True, True, True]
    assert repr(got) == "<alexpy.ValueBuffers, 4 of 5 keys, 13 bytes>"


def test_buffers_of_no_keys_are_empty(store: alexpy.Store) -> None:
    got = store.get_buffers([])
    assert (len(got), got.data.size, got.offsets.tolist(), got.found.size) == (0, 0, [0], 0)


@given(
    st.dictionaries(st.integers(0, 30), st.binary(max_size=700), max_size=20),
    st.lists(st.integers(0, 30), max_size=60),
    st.sampled_from(["mmap", "pread"]),
)
def test_buffers_hold_what_get_many_returns(
    tmp_path_factory: pytest.TempPathFactory, content: dict[int, bytes], keys: list[int], read_mode: str
) -> None:
    path = tmp_path_factory.mktemp("buffers") / "store"
    with alexpy.open(path, read_mode=read_mode, background=False, segment_bytes=1 << 16) as store:
        store.update(content)
        got = store.get_buffers(keys)
        expected = store.get_many(keys)
    assert got.found.tolist() == [value is not None for value in expected]
    assert spans(got.data, got.offsets) == [value or b"" for value in expected]


def test_buffers_of_more_keys_than_one_piece_are_whole(store: alexpy.Store) -> None:
    keys = np.random.default_rng(1).permutation(50_000)
    store.put_many(keys, [b"%d" % key for key in keys.tolist()])
    got = store.get_buffers(np.arange(60_000))
    assert got.found.sum() == 50_000
    assert got.data.tobytes() == b"".join(b"%d" % key for key in range(50_000))
    assert got.offsets[-1] == got.offsets[50_000] == len(got.data)


def test_anything_but_keys_is_refused_as_by_get_many(store: alexpy.Store) -> None:
    with pytest.raises(TypeError, match="float"):
        store.get_buffers(np.array([1.0]))
    with pytest.raises(OverflowError):
        store.get_buffers([2**63])
    store.close()
    with pytest.raises(alexpy.ClosedError):
        store.get_buffers([1])


def test_buffers_are_read_only_and_outlive_the_store(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.update({1: b"one", 2: b"two"})
        got = store.get_buffers([2, 1])
        batch = next(store.scan_batches())
        store.clear()
    data, keys = got.data, batch.keys
    for array in (data, got.offsets, got.found, keys, batch.data, batch.offsets):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    del got, batch
    gc.collect()
    assert data.tobytes() == b"twoone"
    assert keys.tolist() == [1, 2]


# ---- scan_batches, every way ----


@given(
    st.none() | st.integers(-5, 40),
    st.none() | st.integers(-5, 40),
    st.integers(1, 40),
    st.fixed_dictionaries(
        {
            "include_start": st.booleans(),
            "include_stop": st.booleans(),
            "reverse": st.booleans(),
            "limit": st.none() | st.integers(0, 50) | st.just(2**80),
        }
    ),
)
@pytest.mark.usefixtures("_thirty")
def test_batches_of_a_scan_are_its_items_whatever_its_options(
    start: int | None, stop: int | None, rows: int, options: dict[str, Any]
) -> None:
    batches = list(_stores[0].scan_batches(start, stop, rows=rows, **options))
    assert [item for batch in batches for item in items(batch)] == list(
        _stores[0].scan(start, stop, **options)
    )
    assert all(len(batch) == rows for batch in batches[:-1])


_stores: list[alexpy.Store] = []


@pytest.fixture(scope="module")
def _thirty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with alexpy.open(tmp_path_factory.mktemp("batches") / "store") as store:
        store.put_many(range(30), [b"%d" % key for key in range(30)])
        _stores.append(store)
        yield
        _stores.clear()


def test_options_of_scan_batches_are_checked_as_those_of_scan(store: alexpy.Store) -> None:
    with pytest.raises(ValueError, match="limit"):
        store.scan_batches(limit=-1)
    with pytest.raises(TypeError, match="limit"):
        store.scan_batches(limit=1.5)  # type: ignore[arg-type]
    store.put_many(range(10), [b""] * 10)
    batches = store.scan_batches(reverse=True, limit=7, rows=3)
    store.clear()
    assert [batch.keys.tolist() for batch in batches] == [[9, 8, 7], [6, 5, 4], [3]]


# ---- floor_many, ceiling_many ----


def nearest(there: dict[int, bytes], keys: list[int], calls: str) -> list[tuple[int, bytes] | None]:
    """What `floor` or `ceiling` of each key is."""
    ascending = sorted(there)
    found: list[tuple[int, bytes] | None] = []
    for key in keys:
        if calls == "floor_many":
            at = bisect.bisect_right(ascending, key) - 1
        else:
            at = bisect.bisect_left(ascending, key)
        key_there = ascending[at] if 0 <= at < len(ascending) else None
        found.append(None if key_there is None else (key_there, there[key_there]))
    return found


def answers(reads: Any, keys: Any, calls: str) -> list[tuple[int, bytes] | None]:
    """What `floor_many` or `ceiling_many` returns, as a list of items."""
    found_keys, buffers = getattr(reads, calls)(keys)
    assert isinstance(buffers, alexpy.ValueBuffers)
    assert found_keys.dtype == np.int64
    assert len(found_keys) == len(buffers) == len(keys)
    values = spans(buffers.data, buffers.offsets)
    columns = zip(found_keys.tolist(), values, buffers.found.tolist(), strict=True)
    found = list(columns)
    assert all((key, value) == (0, b"") for key, value, there in found if not there)
    return [(key, value) if there else None for key, value, there in found]


KEYS_NEAR = st.integers(-5, 60) | st.sampled_from([-(2**63), 2**63 - 1])


@given(
    st.dictionaries(KEYS_NEAR, st.binary(max_size=300), max_size=30),
    st.lists(st.tuples(KEYS_NEAR, st.none() | st.binary(max_size=5)), max_size=30),
    st.lists(KEYS_NEAR, max_size=60),
    st.sampled_from(["mmap", "pread"]),
)
def test_neighbours_of_many_keys_are_those_of_each_now_and_in_a_snapshot(
    tmp_path_factory: pytest.TempPathFactory,
    content: dict[int, bytes],
    changes: list[tuple[int, bytes | None]],
    keys: list[int],
    read_mode: str,
) -> None:
    path = tmp_path_factory.mktemp("nearest") / "store"
    with alexpy.open(path, read_mode=read_mode, background=False, segment_bytes=1 << 16) as store:
        store.update(content)
        now = dict(content)
        with store.snapshot() as snapshot:
            for key, value in changes:
                if value is None:
                    store.delete(key)
                    now.pop(key, None)
                else:
                    store[key] = now[key] = value
            for calls in ("floor_many", "ceiling_many"):
                assert answers(store, keys, calls) == nearest(now, keys, calls)
                assert answers(snapshot, keys, calls) == nearest(content, keys, calls)
                with alexpy.open(path, read_only=True) as reader:
                    assert answers(reader, keys, calls) == nearest(now, keys, calls)


@pytest.mark.parametrize("calls", ["floor_many", "ceiling_many"])
def test_neighbours_of_very_many_keys_keep_order_and_duplicates(store: alexpy.Store, calls: str) -> None:
    there = np.arange(200_000) * 10
    store.put_many(there, there)
    rng = np.random.default_rng(7)
    keys = rng.integers(-100, 2_000_100, 600_000)
    found_keys, buffers = getattr(store, calls)(keys)
    expected = keys // 10 * 10 if calls == "floor_many" else -(-keys // 10) * 10
    expected = expected.clip(max=there[-1]) if calls == "floor_many" else expected.clip(min=0)
    found = keys >= 0 if calls == "floor_many" else keys <= there[-1]
    assert np.array_equal(buffers.found, found)
    assert np.array_equal(found_keys, np.where(found, expected, 0))
    assert np.array_equal(buffers.data.view(np.int64), expected[found])
    assert np.array_equal(np.diff(buffers.offsets), np.where(found, 8, 0))


@pytest.mark.parametrize("calls", ["floor_many", "ceiling_many"])
def test_neighbours_of_many_keys_refuse_what_get_many_refuses(store: alexpy.Store, calls: str) -> None:
    call = getattr(store, calls)
    found_keys, buffers = call([])
    assert (len(found_keys), len(buffers)) == (0, 0)
    for keys, error in ([0.5], TypeError), ([2**63], OverflowError), ("1", TypeError), (None, TypeError):
        with pytest.raises(error):
            call(keys)
    store.close()
    with pytest.raises(alexpy.ClosedError):
        call([1])


# ---- scan_batches ----


@pytest.mark.parametrize("rows", [1, 7, 4095, 4096, 4097, 10_000, 65_536])
def test_batches_hold_every_item_in_order_and_only_the_last_is_short(store: alexpy.Store, rows: int) -> None:
    count = 10_000 if rows > 1 else 500
    keys = np.random.default_rng(rows).permutation(count) * 2
    store.put_many(keys, [b"%d" % key for key in keys.tolist()])
    batches = list(store.scan_batches(rows=rows))
    assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    assert 0 < len(batches[-1]) <= rows
    found = [item for batch in batches for item in items(batch)]
    assert found == [(key, b"%d" % key) for key in range(0, 2 * count, 2)]


bounds = st.none() | st.integers(-5, 45) | st.integers(-(2**70), 2**70)


@given(bounds, bounds, st.integers(1, 9))
def test_batches_are_the_scan_of_the_same_range(start: int | None, stop: int | None, rows: int) -> None:
    store = _stores[0]
    found = [item for batch in store.scan_batches(start, stop, rows=rows) for item in items(batch)]
    assert found == list(store.scan(start, stop))


_stores: list[alexpy.Store] = []


@pytest.fixture(autouse=True, scope="module")
def _threes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with alexpy.open(tmp_path_factory.mktemp("threes") / "store") as store:
        store.update({key: b"x" * (key % 7) for key in range(0, 40, 3)})
        _stores.append(store)
        yield
        _stores.clear()


def test_batches_show_the_store_as_it_was_when_the_iterator_was_made(store: alexpy.Store) -> None:
    store.update(dict.fromkeys(range(100), b"old"))
    before = store.scan_batches(rows=10)
    store[0] = b"new"
    first = next(before)
    store.delete_range(50)
    store[200] = b"new"
    found = [*items(first), *(item for batch in before for item in items(batch))]
    assert found == [(key, b"old") for key in range(100)]
    assert [len(batch) for batch in store.scan_batches()] == [51]


def test_an_empty_range_has_no_batch_and_the_end_stays_the_end(store: alexpy.Store) -> None:
    assert list(store.scan_batches()) == []
    store[1] = b"one"
    assert list(store.scan_batches(2)) == []
    batches = store.scan_batches()
    assert iter(batches) is batches
    assert len(list(batches)) == 1
    store[2] = b"two"
    assert list(batches) == []


@pytest.mark.parametrize("rows", [0, -1])
def test_rows_below_one_are_refused(store: alexpy.Store, rows: int) -> None:
    with pytest.raises(ValueError, match="rows must be at least 1"):
        store.scan_batches(rows=rows)


def test_batches_of_a_closed_store_raise_and_those_read_stay(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two"})
    batches = store.scan_batches(rows=1)
    first = next(batches)
    store.close()
    with pytest.raises(alexpy.ClosedError):
        next(batches)
    assert items(first) == [(1, b"one")]
    with pytest.raises(alexpy.ClosedError):
        store.scan_batches()


def test_batches_and_their_iterators_do_not_pickle(store: alexpy.Store) -> None:
    store[1] = b"one"
    for thing in (store.scan_batches(), next(store.scan_batches()), store.get_buffers([1]), store.to_arrow()):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_threads_that_share_an_iterator_get_each_batch_once(store: alexpy.Store) -> None:
    store.put_many(range(20_000), [b"v"] * 20_000)
    batches = store.scan_batches(rows=64)
    seen: list[list[int]] = [[] for _ in range(4)]

    def pull(mine: list[int]) -> None:
        for batch in batches:
            mine.extend(batch.keys.tolist())

    threads = [threading.Thread(target=pull, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(itertools.chain(*seen)) == list(range(20_000))


def test_damage_in_a_batch_is_named_and_ends_the_iterator(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.update({1: b"first value", 2: b"second value"})
    segment = store_path / "seg-00000001.log"
    with alexpy.open(store_path) as store:
        at = segment.read_bytes().index(b"second")
        with segment.open("r+b") as file:
            file.seek(at)
            file.write(b"S")
        batches = store.scan_batches(rows=1)
        assert items(next(batches)) == [(1, b"first value")]
        with pytest.raises(alexpy.CorruptionError):
            next(batches)
        assert list(batches) == []
        with pytest.raises(alexpy.CorruptionError):
            store.get_buffers([1, 2])


# ---- to_array ----


def test_to_array_is_a_window_on_values_of_one_length(store: alexpy.Store) -> None:
    values = np.arange(12, dtype="<f4").reshape(4, 3)
    store.put_many([4, 1, 3, 2], values)
    batch = next(store.scan_batches())
    rows = batch.to_array(np.dtype(("<f4", (3,))))
    assert rows.tolist() == values[[1, 3, 2, 0]].tolist()
    assert np.shares_memory(rows, batch.data)
    record = np.dtype([("a", "<f4"), ("b", "<f4"), ("c", "<f4")])
    assert batch.to_array(record)["b"].tolist() == values[[1, 3, 2, 0], 1].tolist()
    assert batch.to_array("S12").shape == (4,)


def test_to_array_names_the_key_of_another_length(store: alexpy.Store) -> None:
    store.update({1: b"12345678", 5: b"1234"})
    batch = next(store.scan_batches())
    with pytest.raises(ValueError, match="the value of key 5 has 4 bytes, and one int64 has 8"):
        batch.to_array("i8")
    with pytest.raises(TypeError, match="objects"):
        batch.to_array(object)


def test_empty_values_are_an_array_of_nothing(store: alexpy.Store) -> None:
    store.update({1: b"", 2: b""})
    batch = next(store.scan_batches())
    assert batch.to_array("S0").shape == (2,)
    assert batch.to_array(np.dtype(("f8", (0,)))).shape == (2, 0)


# ---- Arrow ----


def test_buffers_are_arrow_binary_without_a_copy(store: alexpy.Store) -> None:
    pa = pytest.importorskip("pyarrow")
    store.update({1: b"one", 2: b"two", 3: b""})
    got = store.get_buffers([2, 7, 3, 1] * 5)
    array = pa.array(got.to_arrow())
    array.validate(full=True)
    assert array.type == pa.large_binary()
    assert array.to_pylist() == [b"two", None, b"", b"one"] * 5
    assert array.null_count == 5
    assert np.shares_memory(np.frombuffer(array.buffers()[2], np.uint8), got.data)
    whole = pa.array(store.get_buffers([1]).to_arrow())
    assert whole.buffers()[0] is None
    assert pa.array(store.get_buffers([]).to_arrow()).to_pylist() == []


def test_a_batch_is_an_arrow_record_batch_that_outlives_everything(store_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    with alexpy.open(store_path) as store:
        store.update({key: b"%d" % key for key in range(100)})
        batch = next(store.scan_batches())
        record = pa.record_batch(batch.to_arrow())
        assert np.shares_memory(record["key"].to_numpy(), batch.keys)
        # One struct array read many times: each reading has its own release.
        again = pa.record_batch(batch.to_arrow())
    del batch, store
    gc.collect()
    record.validate(full=True)
    assert record.schema.names == ["key", "value"]
    assert record.to_pydict() == {"key": list(range(100)), "value": [b"%d" % key for key in range(100)]}
    child = again.column(1)
    del again, record
    gc.collect()
    assert child[99].as_py() == b"99"


def test_an_arrow_object_that_nobody_reads_is_given_back(store: alexpy.Store) -> None:
    store[1] = b"one"
    for _ in range(1000):
        store.get_buffers([1, 2]).to_arrow().__arrow_c_array__()
        next(store.scan_batches()).to_arrow().__arrow_c_array__(None)
        store.to_arrow().__arrow_c_stream__()
        store.to_arrow().__arrow_c_schema__()
        store.get_buffers([1]).to_arrow().__arrow_c_schema__()


def test_a_store_is_an_arrow_stream(store: alexpy.Store) -> None:
    pa = pytest.importorskip("pyarrow")
    count = 300_000
    store.put_many(np.arange(count), np.arange(count))
    stream = store.to_arrow(5, count - 5)
    table = pa.table(stream)
    table.validate(full=True)
    assert [len(batch) for batch in table.to_batches()] == [131_072, 131_072, count - 10 - 2 * 131_072]
    assert table["key"].to_numpy().tolist() == list(range(5, count - 5))
    assert table["value"][7].as_py() == np.int64(12).tobytes()
    store.clear()
    assert len(pa.table(stream)) == 0
    assert pa.table(stream).schema == pa.schema(
        [pa.field("key", pa.int64(), nullable=False), pa.field("value", pa.large_binary(), nullable=False)]
    )


def test_an_arrow_stream_is_of_the_moment_its_reading_began(store: alexpy.Store) -> None:
    pa = pytest.importorskip("pyarrow")
    store.update(dict.fromkeys(range(10), b"old"))
    reader = pa.RecordBatchReader.from_stream(store.to_arrow())
    store.update(dict.fromkeys(range(20), b"new"))
    assert reader.read_all()["value"].to_pylist() == [b"old"] * 10


def test_an_arrow_stream_of_a_closed_store_raises(store: alexpy.Store) -> None:
    pa = pytest.importorskip("pyarrow")
    store[1] = b"one"
    stream = store.to_arrow()
    reader = pa.RecordBatchReader.from_stream(stream)
    store.close()
    with pytest.raises(OSError, match="closed"):
        reader.read_all()
    with pytest.raises(alexpy.ClosedError):
        pa.table(stream)
