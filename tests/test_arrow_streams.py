"""Stores, snapshots and columns as other Arrow libraries read them: streams, arrays, rows."""

from __future__ import annotations

import ctypes
import gc
import itertools
import operator
import os
import pickle
import threading
import warnings
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy
from forked import outcome_in_fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")

COUNT = 300_000
# The most rows and about the most bytes of an array of a stream.
ROWS, BYTES = 1 << 17, 1 << 26


def read(source: Any, schema: Any = None) -> dict[int, bytes]:
    """What pyarrow reads of a stream, after checking it."""
    table = pa.table(source, schema=schema)
    table.validate(full=True)
    return dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))


# ---- streams ----

SOURCES: dict[str, Callable[[alexpy.Store], Any]] = {
    "store": lambda store: store,
    "snapshot": lambda store: store.snapshot(),
    "items": lambda store: store.items(),
    "items of a snapshot": lambda store: store.snapshot().items(),
    "to_arrow": lambda store: store.to_arrow(),
    "read-only": lambda store: alexpy.open(store.path, read_only=True),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_whatever_reads_is_a_stream_of_all_its_items(
    store: alexpy.Store, source: Callable[[alexpy.Store], Any]
) -> None:
    store.put_many(np.arange(COUNT)[::-1], np.arange(COUNT)[::-1])
    made = source(store)
    table = pa.table(made)
    table.validate(full=True)
    assert table.schema == pa.schema(
        [pa.field("key", pa.int64(), nullable=False), pa.field("value", pa.large_binary(), nullable=False)]
    )
    assert table.schema == pa.schema(made)
    assert table["key"].to_pylist() == list(range(COUNT))
    assert b"".join(table["value"].to_pylist()) == np.arange(COUNT).tobytes()
    assert len(pa.table(made)) == COUNT, "it can be read again"
    if isinstance(made, alexpy.Store) and made is not store:
        made.close()


def test_polars_reads_items_snapshots_ranges_and_batches(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"", 3: b"three" * 9})
    for frame in (
        pl.DataFrame(store.items()),
        pl.DataFrame(store.to_arrow()),
        pl.DataFrame(store.to_arrow(0, 9)),
    ):
        assert frame.rows() == list(store.items())
    assert pl.DataFrame(next(store.scan_batches())).rows() == list(store.items())
    assert pl.Series(store.get_buffers([3, 7])).to_list() == [b"three" * 9, None]


@given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), max_size=30),
    st.sampled_from(["binary", "large_binary", "binary_view", "string", None]),
    st.sampled_from(["mmap", "pread"]),
)
def test_a_requested_layout_of_values_holds_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: dict[int, bytes], layout: str | None, read_mode: str
) -> None:
    path = tmp_path_factory.mktemp("layouts") / "store"
    with alexpy.open(path, read_mode=read_mode, background=False, segment_bytes=1 << 16) as store:
        store.update(content)
        value = getattr(pa, layout)() if layout else pa.int8()
        schema = pa.schema([("key", pa.int64()), ("value", value)])
        reader = pa.RecordBatchReader.from_stream(store, schema)
        got = reader.read_all()
        got.validate(full=True)
        granted = value if layout not in {None, "string"} else pa.large_binary()
        assert got.schema.field("value").type == granted
        assert dict(zip(got["key"].to_pylist(), got["value"].to_pylist(), strict=True)) == content
        keys = [*content, 5]
        wanted = pa.array(store.get_buffers(keys), value if layout not in {None, "string"} else None)
        assert wanted.type == granted
        assert wanted.to_pylist() == [content.get(key) for key in keys]


def test_text_comes_out_as_text_where_the_consumer_asks_for_it(store: alexpy.Store) -> None:
    store[1] = "ä".encode()
    schema = pa.schema([("key", pa.int64()), ("value", pa.string())])
    assert read(store, schema) == {1: "ä"}


@pytest.mark.parametrize(
    "requested",
    [pa.schema([("key", pa.int64())]), pa.schema([]), pa.int64()],
    ids=["one", "none", "no struct"],
)
def test_a_request_of_other_columns_is_refused(store: alexpy.Store, requested: Any) -> None:
    store[1] = b"one"
    capsule = requested.__arrow_c_schema__()
    for call in (
        store.__arrow_c_stream__,
        store.to_arrow().__arrow_c_stream__,
        next(store.scan_batches()).__arrow_c_array__,
    ):
        with pytest.raises(
            ValueError, match="there are two columns, key and value, and the requested schema"
        ):
            call(capsule)
    assert store.stats().snapshots == 0


def test_what_is_no_schema_is_refused_as_a_request(store: alexpy.Store) -> None:
    with pytest.raises(TypeError):
        store.__arrow_c_stream__("large_binary")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="PyCapsule"):
        store.__arrow_c_stream__(store.__arrow_c_stream__())


def test_a_stream_is_of_the_moment_it_was_made_and_keeps_that_until_its_end(store: alexpy.Store) -> None:
    store.put_many(np.arange(COUNT), np.zeros(COUNT))
    before = dict(store)
    reader = pa.RecordBatchReader.from_stream(store)
    first = reader.read_next_batch()
    store.delete_range(5)
    store.update({7: b"new", -1: b"new"})
    store.compact()
    assert store.stats().snapshots == 1
    rest = reader.read_all()
    table = pa.concat_tables([pa.Table.from_batches([first]), rest])
    assert dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True)) == before
    assert store.stats().snapshots == 0, "the end lets go of it, the stream need not be dropped"


def test_a_stream_dropped_early_or_never_read_lets_go_of_its_snapshot(store: alexpy.Store) -> None:
    store.put_many(np.arange(COUNT), np.zeros(COUNT))
    capsule = store.__arrow_c_stream__()
    reader = pa.RecordBatchReader.from_stream(store)
    reader.read_next_batch()
    store.delete_range(5)
    assert (store.stats().snapshots, store.stats().history_bytes > 0) == (2, True)
    del capsule, reader
    gc.collect()
    assert (store.stats().snapshots, store.stats().history_bytes) == (0, 0)


def test_arrays_of_a_stream_have_a_bounded_size_whatever_is_stored(store: alexpy.Store) -> None:
    # Short values first, so that nothing can be told from the first.
    store.put_many(np.arange(70_000), np.arange(70_000))
    store.put_many(np.arange(70_000, 70_100), np.zeros((100, 1 << 20), np.uint8))
    batches = list(pa.RecordBatchReader.from_stream(store))
    assert sum(map(len, batches)) == 70_100
    assert all(len(batch) <= ROWS and batch.nbytes <= BYTES + (1 << 21) for batch in batches)
    assert len(batches) == 2


def test_a_stream_of_a_closed_store_fails_with_a_text_and_ends(store: alexpy.Store) -> None:
    store.put_many(np.arange(COUNT), np.zeros(COUNT))
    reader = pa.RecordBatchReader.from_stream(store)
    assert len(reader.read_next_batch()) == ROWS
    store.close()
    with pytest.raises(OSError, match="closed"):
        reader.read_next_batch()
    with pytest.raises(StopIteration):
        reader.read_next_batch()
    with pytest.raises(alexpy.ClosedError):
        store.__arrow_c_stream__()
    with pytest.raises(alexpy.ClosedError):
        pa.table(store.items())


def test_damage_in_the_middle_of_a_stream_is_an_error_that_names_it(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(np.arange(COUNT), np.arange(COUNT))
    segment = store_path / "seg-00000001.log"
    with alexpy.open(store_path) as store:
        reader = pa.RecordBatchReader.from_stream(store)
        at = segment.read_bytes().rindex(np.int64(COUNT - 1).tobytes())
        with segment.open("r+b") as file:
            file.seek(at)
            file.write(b"\xff")
        assert len(reader.read_next_batch()) == ROWS
        assert len(reader.read_next_batch()) == ROWS
        with pytest.raises(OSError, match=rf"seg-00000001\.log.*key {COUNT - 1}"):
            reader.read_next_batch()
        with pytest.raises(StopIteration):
            reader.read_next_batch()
        assert store.stats().snapshots == 0


def test_a_stream_keeps_its_store_open(store_path: Path) -> None:
    def stream() -> Any:
        store = alexpy.open(store_path)
        store.put_many(np.arange(COUNT), np.arange(COUNT))
        return pa.RecordBatchReader.from_stream(store)

    reader = stream()
    gc.collect()
    with pytest.raises(alexpy.LockedError):
        alexpy.open(store_path)
    assert reader.read_all()["key"].to_pylist() == list(range(COUNT))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del reader
        gc.collect()
        # The reference goes at the next call at the latest.
        alexpy.build_info()
    assert [warning.category for warning in told] == [ResourceWarning]
    with alexpy.open(store_path) as store:
        assert len(store) == COUNT


class _Stream(ctypes.Structure):
    """The ArrowArrayStream of the C interface, as any consumer calls it."""


class _Array(ctypes.Structure):
    """The ArrowArray of the C interface."""


_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.c_void_p),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    # A CFUNCTYPE lets go of the GIL for the call.
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", ctypes.c_void_p),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]


def opened(capsule: Any) -> Any:
    """The stream in a capsule, which has to stay alive."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return _Stream.from_address(pointer(capsule, b"arrow_array_stream"))


def pulled(stream: Any) -> tuple[int, int]:
    """The status of one pull, and how many rows came."""
    array = _Array()
    status = stream.get_next(ctypes.byref(stream), ctypes.byref(array))
    if status or not array.release:
        return status, 0
    rows = array.length
    array.release(ctypes.byref(array))
    return status, rows


def test_code_without_the_gil_pulls_streams_on_many_threads_while_others_write(store: alexpy.Store) -> None:
    store.put_many(np.arange(COUNT), np.zeros(COUNT))
    capsules = [store.__arrow_c_stream__() for _ in range(4)]
    streams = [opened(capsule) for capsule in capsules]
    counts = [0] * len(streams)
    written = threading.Event()

    def pull(number: int) -> None:
        stream = streams[number]
        while True:
            status, rows = pulled(stream)
            assert status == 0
            if rows == 0:
                break
            counts[number] += rows
            written.wait(timeout=60)
        stream.release(ctypes.byref(stream))

    threads = [threading.Thread(target=pull, args=(number,)) for number in range(len(streams))]
    for thread in threads:
        thread.start()
    for key in range(100):
        store.put_many(np.arange(key * 1000, key * 1000 + 2000), np.ones(2000))
    store.clear()
    written.set()
    for thread in threads:
        thread.join()
    assert counts == [COUNT] * len(streams)
    assert store.stats().snapshots == 0
    # Released already, which the destructors respect.
    del capsules


def test_the_error_of_a_stream_is_a_code_and_a_text(store: alexpy.Store) -> None:
    store[1] = b"one"
    capsule = store.__arrow_c_stream__()
    stream = opened(capsule)
    assert stream.get_last_error(ctypes.byref(stream)) is None
    path = os.fspath(store.path)
    store.close()
    status, _ = pulled(stream)
    assert status == 5, "EIO"
    text = stream.get_last_error(ctypes.byref(stream)).decode()
    assert "closed" in text
    assert path in text
    assert pulled(stream) == (0, 0), "and then the end"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("read_only", [True, False])
def test_a_stream_made_before_a_fork_says_so_in_the_child(store_path: Path, *, read_only: bool) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
    with alexpy.open(store_path, read_only=read_only) as store:
        reader = pa.RecordBatchReader.from_stream(store)

        def text() -> str:
            try:
                return repr(reader.read_all())
            except OSError as error:
                return str(error)

        assert "made before fork()" in outcome_in_fork(text)
        if read_only:
            assert outcome_in_fork(lambda: len(pa.table(store))) == "1"
        assert len(reader.read_all()) == 1


# ---- rows ----


def rows_of(store: alexpy.Store) -> list[tuple[Any, list[Any]]]:
    """Columns, and the rows that they have."""
    store.update({1: b"one", 2: b"", 5: b"five"})
    return [
        (next(store.scan_batches()), [(1, b"one"), (2, b""), (5, b"five")]),
        (next(store.scan_batches(reverse=True)), [(5, b"five"), (2, b""), (1, b"one")]),
        (store.get_buffers([5, 9, 2, 5]), [b"five", None, b"", b"five"]),
        (store.get_buffers([]), []),
    ]


def test_columns_are_indexed_and_iterated_like_a_sequence(store: alexpy.Store) -> None:
    for columns, rows in rows_of(store):
        assert list(columns) == rows
        assert len(columns) == len(rows)
        for index in range(-len(rows), len(rows)):
            assert columns[index] == rows[index]
            assert columns[np.int64(index)] == rows[index]
        for index in (len(rows), -len(rows) - 1, 2**63, -(2**63), 2**80):
            with pytest.raises(IndexError, match=f"there are {len(rows)} rows"):
                columns[index]
        for no_index in (0.0, "0", None):
            with pytest.raises(TypeError):
                columns[no_index]
        with pytest.raises(TypeError, match=r"one row, not a slice; list\(x\)"):
            columns[0:1]


def test_iterators_of_rows_know_what_is_left_and_outlive_the_store(store: alexpy.Store) -> None:
    made = [(iter(columns), rows) for columns, rows in rows_of(store)]
    store.close()
    for iterator, rows in made:
        assert iter(iterator) is iterator
        for left in range(len(rows), 0, -1):
            assert operator.length_hint(iterator) == left
            assert next(iterator) == rows[len(rows) - left]
        assert operator.length_hint(iterator) == 0
        assert list(iterator) == list(iterator) == []
        with pytest.raises(TypeError):
            pickle.dumps(iterator)


def test_threads_that_share_an_iterator_of_rows_get_each_once(store: alexpy.Store) -> None:
    store.put_many(np.arange(20_000), np.arange(20_000))
    iterator = iter(next(store.scan_batches()))
    seen: list[list[int]] = [[] for _ in range(4)]

    def pull(mine: list[int]) -> None:
        mine.extend(key for key, _ in iterator)

    threads = [threading.Thread(target=pull, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(itertools.chain(*seen)) == list(range(20_000))


def test_columns_are_arrow_arrays_without_a_copy_that_outlive_everything(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two", 5: b"five"})
    batch, found = next(store.scan_batches()), store.get_buffers([5, 9, 1])
    record, array = pa.record_batch(batch), pa.array(found)
    assert pa.schema(batch) == record.schema
    assert np.shares_memory(np.frombuffer(array.buffers()[2], np.uint8), found.data)
    assert np.shares_memory(record["key"].to_numpy(), batch.keys)
    store.close()
    del batch, found
    gc.collect()
    record.validate(full=True)
    array.validate(full=True)
    assert record.to_pydict() == {"key": [1, 2, 5], "value": [b"one", b"two", b"five"]}
    assert array.to_pylist() == [b"five", None, b"one"]
