"""Arrow arrays of any library as keys and as values of batch calls, read without pyarrow."""

from __future__ import annotations

import itertools
import struct
import sys
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy
from alexpy import _convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")


@pytest.fixture(autouse=True)
def _pyarrow_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the import of pyarrow fail; what these tests made of it is there already."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)


class Exported:
    """An Arrow array of another library: it offers the C data interface and nothing else."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self.array.__arrow_c_array__(requested_schema)


class Streamed:
    """A chunked Arrow array of another library."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.array.__arrow_c_stream__(requested_schema)


def words(positions: list[int | None], dictionary: list[Any], kind: Any = None) -> Any:
    """An array in which each value is a position in a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(positions, kind), pa.array(dictionary))


KEYS: dict[str, Callable[[], Any]] = {
    "int64": lambda: pa.array([1, 5, 300]),
    "uint16 slice": lambda: pa.array([9, 1, 5, 300, 9], pa.uint16())[1:4],
    "chunks": lambda: pa.chunked_array([[1, 5], [300]]),
    "another library's": lambda: Exported(pa.array([1, 5, 300], pa.int16())),
    "another library's chunks": lambda: Streamed(pa.chunked_array([[1, 5], [300]])),
    "a table of one column": lambda: pa.table({"id": pa.array([1, 5, 300], pa.uint64())}),
    "a batch of one column": lambda: pa.record_batch({"id": pa.array([0, 1, 5, 300])})[1:],
    "polars": lambda: pl.Series([1, 5, 300], dtype=pl.UInt32),
    "polars chunks": lambda: pl.Series([1]).append(pl.Series([5, 300])),
    "a polars frame of one column": lambda: pl.DataFrame({"id": [1, 5, 300]}),
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())
def test_arrow_integers_are_keys(store: alexpy.Store, keys: Callable[[], Any]) -> None:
    assert store.put_many(keys(), [b"a", b"b", b"c"]) == 3
    assert dict(store) == {1: b"a", 5: b"b", 300: b"c"}
    assert store.get_many(keys()) == [b"a", b"b", b"c"]
    assert store.delete_many(keys()) == 3


def test_native_arrow_integers_are_read_without_a_copy() -> None:
    keys = pa.array([1, 2, 3])
    converted = _convert.integers(keys, "keys")
    assert converted is not None
    assert np.shares_memory(converted, np.frombuffer(keys.buffers()[1], np.int64))


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (lambda: pa.array([1, None, 3]), TypeError, r"keys\[1\] is null"),
        (lambda: pa.chunked_array([[1], [2, None]]), TypeError, r"keys\[2\] is null"),
        (lambda: pl.Series([1, 2, None]), TypeError, r"keys\[2\] is null"),
        (lambda: pa.array([1.0, 2.0, 3.0]), TypeError, "array of float64 holds floats"),
        (lambda: pa.array([], pa.float32()), TypeError, "array of float32 holds floats"),
        (lambda: pa.array([True, False, True]), TypeError, "array of bool holds booleans"),
        (
            lambda: pa.array([1, 2, 3], pa.timestamp("us")),
            TypeError,
            r"array of datetime64\[us\] holds dates",
        ),
        (lambda: pa.array([1, 2, 3], pa.date32()), TypeError, r"array of datetime64\[D\] holds dates"),
        (lambda: pa.array([1, 2, 3], pa.decimal128(3)), TypeError, "this Arrow array holds decimal128"),
        (lambda: pa.array([1, 2, 3], pa.time64("us")), TypeError, "this Arrow array holds time64"),
        (lambda: pa.array([[1], [2], [3]]), TypeError, "this Arrow array holds lists"),
        (lambda: pa.nulls(3), TypeError, r"keys\[0\] is null"),
        (lambda: pa.array([[1, 2]] * 3, pa.list_(pa.int64(), 2)), ValueError, "one-dimensional"),
        (lambda: pa.array(["1", "2", "3"]), TypeError, "string"),
        (lambda: pa.array([1, 2, 2**63], pa.uint64()), OverflowError, r"keys\[2\] is 9223372036854775808"),
    ],
    ids=[
        *("null", "null in a chunk", "null of polars", "double", "no floats", "bool", "timestamp", "date"),
        *("decimal", "time", "lists", "nulls", "pairs", "string", "huge"),
    ],
)
def test_other_arrow_arrays_are_refused_as_keys(
    store: alexpy.Store, keys: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.put_many(keys(), [b"", b"", b""])
    with pytest.raises(error, match=message):
        store.get_many(keys())
    assert len(store) == 0


def test_no_arrow_keys_are_legal(store: alexpy.Store) -> None:
    assert store.put_many(pa.array([], pa.int8()), pa.array([], pa.binary())) == 0
    assert store.get_many(pa.chunked_array([], pa.int64())) == []


VALUES: dict[str, tuple[Callable[[], Any], list[bytes]]] = {
    "binary": (lambda: pa.array([b"a", b"bc"]), [b"a", b"bc"]),
    "large binary": (lambda: pa.array([b"a", b"bc"], pa.large_binary()), [b"a", b"bc"]),
    "slice": (lambda: pa.array([b"x", b"a", b"bc", b"y"])[1:3], [b"a", b"bc"]),
    "chunks": (lambda: pa.chunked_array([[b"a"], [b"bc"]]), [b"a", b"bc"]),
    "empties": (lambda: pa.array([b"", b""]), [b"", b""]),
    "fixed width": (lambda: pa.array([b"ab", b"cd"], pa.binary(2)), [b"ab", b"cd"]),
    "views": (lambda: pa.array([b"a", b"b" * 40], pa.binary_view()), [b"a", b"b" * 40]),
    "views in chunks": (
        lambda: pa.chunked_array([[b"a"], [], [b"b" * 40]], pa.binary_view()),
        [b"a", b"b" * 40],
    ),
    "fixed width in chunks": (lambda: pa.chunked_array([[b"ab"], [b"cd"]], pa.binary(2)), [b"ab", b"cd"]),
    "no width": (lambda: pa.array([b"", b""], pa.binary(0)), [b"", b""]),
    "words": (lambda: words([0, 0], [b"bc"]), [b"bc", b"bc"]),
    "slice of words": (lambda: words([2, 0, 1], [b"a", b"bc", b"x"])[1:], [b"a", b"bc"]),
    "words of no width": (
        lambda: pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.uint8()), pa.array([b""], pa.binary(0))),
        [b"", b""],
    ),
    "doubles": (lambda: pa.array([0.5, 2.5]), [struct.pack("<d", 0.5), struct.pack("<d", 2.5)]),
    "slice of halves": (
        lambda: pa.array(np.array([1, 0.5, 2.5], np.float16))[1:],
        [struct.pack("<e", 0.5), struct.pack("<e", 2.5)],
    ),
    "integers in chunks": (lambda: pa.chunked_array([[7], [], [8]], pa.int16()), [b"\7\0", b"\x08\0"]),
    "booleans": (lambda: pa.array([True, True, False])[1:], [b"\1", b"\0"]),
    "moments": (
        lambda: pa.array([1, 2], pa.timestamp("ns", "UTC")),
        [struct.pack("<q", 1), struct.pack("<q", 2)],
    ),
    "spans of time": (
        lambda: pa.array([1, 2], pa.duration("s")),
        [struct.pack("<q", 1), struct.pack("<q", 2)],
    ),
    "days": (lambda: pa.array([1, 2], pa.date32()), [struct.pack("<q", 1), struct.pack("<q", 2)]),
    "vectors": (
        lambda: pa.array([[9, 9], [1, 2], [3, 4]], pa.list_(pa.uint8(), 2))[1:],
        [b"\1\2", b"\3\4"],
    ),
    "vectors in chunks": (
        lambda: pa.chunked_array([[[1.0, 2.0]], [[3.0, 4.0]]], pa.list_(pa.float32(), 2)),
        [struct.pack("<2f", 1, 2), struct.pack("<2f", 3, 4)],
    ),
    "a table of one column": (lambda: pa.table({"payload": [b"a", b"bc"]}), [b"a", b"bc"]),
    "polars": (lambda: pl.Series([b"a", b"b" * 40]), [b"a", b"b" * 40]),
    "polars numbers": (lambda: pl.Series([0.5, 2.5]), [struct.pack("<d", 0.5), struct.pack("<d", 2.5)]),
    "polars booleans": (lambda: pl.Series([True, False]), [b"\1", b"\0"]),
    "polars vectors": (
        lambda: pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.UInt8, 2)),
        [b"\1\2", b"\3\4"],
    ),
    "another library's": (lambda: Exported(pa.array([b"a", b"bc"])), [b"a", b"bc"]),
    "another library's chunks": (lambda: Streamed(pa.chunked_array([[b"a"], [b"bc"]])), [b"a", b"bc"]),
    "one buffer": (lambda: [pa.py_buffer(b"a"), pa.py_buffer(b"bc")], [b"a", b"bc"]),
}


def test_objects_of_polars_are_refused_and_not_taken_by_their_addresses(store: alexpy.Store) -> None:
    column = pl.Series([b"one", {2}], dtype=pl.Object)
    frame = pl.DataFrame({"key": [1, 2], "value": column})
    for call in (
        lambda: store.put_many([1, 2], column),
        lambda: store.put_many(column, [b"one", b"two"]),
        lambda: store.bulk_load([1, 2], column),
        lambda: store.update(frame),
        lambda: store.get_many(column),
    ):
        with pytest.raises(TypeError, match=r"holds Python objects.*to_list\(\) makes a list"):
            call()

    class OfOurs(pl.DataFrame):
        pass

    with pytest.raises(TypeError, match="this OfOurs of polars holds Python objects"):
        store.update(OfOurs(frame))
    assert len(store) == 0
    store.put_many([1], column[:1].to_list())
    assert store[1] == b"one"


@pytest.mark.parametrize("case", VALUES.values(), ids=VALUES.keys())
def test_arrow_binary_is_many_values(
    store: alexpy.Store, case: tuple[Callable[[], Any], list[bytes]]
) -> None:
    values, expected = case
    assert store.put_many([1, 2], values()) == 2
    assert store.get_many([1, 2]) == expected
    with store.batch() as batch:
        batch.put_many([3, 4], values())
    assert store.get_many([3, 4]) == expected


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (lambda: pa.array([b"a", None]), TypeError, r"values\[1\] is null"),
        (lambda: pa.array([1, None]), TypeError, r"values\[1\] is null"),
        (lambda: pa.chunked_array([[b"a"], [None]]), TypeError, r"values\[1\] is null"),
        (lambda: words([0, None], [b"a"]), TypeError, r"values\[1\] is null"),
        (
            lambda: pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array([None, b"a"])),
            TypeError,
            r"values\[1\] is null",
        ),
        (lambda: pa.array([[1, 2], [3, None]], pa.list_(pa.int8(), 2)), TypeError, r"values\[1\] is null"),
        (lambda: pa.array(["a", "b"]), TypeError, "Arrow array of string; cast text to binary"),
        (lambda: pl.Series(["a", "b"]), TypeError, r"Arrow array of string; .*text\.encode\(\)"),
        (
            lambda: words([0, 1], ["a", "b"]),
            TypeError,
            "Arrow array of dictionary of string; cast text to binary",
        ),
        (lambda: pa.array([[1], [2]]), TypeError, "Arrow array of lists; give bytes or numbers"),
        (lambda: pa.array([1, 2], pa.decimal128(3)), TypeError, "Arrow array of decimal128"),
        (lambda: pa.table({"a": [1, 2], "b": [3, 4]}), TypeError, "a Table, which is a table; .* 'a', 'b'$"),
        (
            lambda: pl.DataFrame({"a": [1, 2], "b": [3, 4]}),
            TypeError,
            "a DataFrame, which is a table; .* 'a', 'b'$",
        ),
        (lambda: pa.array([b"a"]), ValueError, "2 keys and 1 values"),
        (lambda: pa.array([b"a", b"b", b"c"]), ValueError, "2 keys and at least 3 values"),
    ],
    ids=[
        *("null", "null number", "null in a chunk", "null word", "word of null", "null in a vector"),
        *(
            "string",
            "string of polars",
            "words",
            "lists",
            "decimals",
            "table",
            "frame",
            "too few",
            "too many",
        ),
    ],
)
def test_other_arrow_arrays_are_refused_as_values(
    store: alexpy.Store, values: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.put_many([1, 2], values())
    assert len(store) == 0


@given(
    st.lists(st.lists(st.binary(max_size=40), max_size=10), max_size=5),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_slices_of_binary_arrays_come_out_as_lists_do(
    chunks: list[list[bytes]], start: int, stop: int
) -> None:
    expected = list(itertools.chain(*chunks))[start:stop]
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int16(), pa.binary())):
        arrays = [pa.array(chunk, kind) for chunk in chunks]
        for values in (
            pa.chunked_array(arrays, kind)[start:stop],
            Exported(pa.array(list(itertools.chain(*chunks)), kind)[start:stop]),
        ):
            spans = _convert.values(values)
            assert isinstance(spans, tuple)
            memory, ends = spans
            assert [memory[begin:end].tobytes() for begin, end in itertools.pairwise(ends)] == expected


def test_large_binary_and_numbers_of_one_array_are_read_where_they_lie() -> None:
    for kind in (pa.binary(), pa.large_binary()):
        array = pa.array([b"a", b"bc"], kind)
        spans = _convert.values(array)
        assert isinstance(spans, tuple)
        assert np.shares_memory(spans[0], np.frombuffer(array.buffers()[2], np.uint8))
        assert not spans[0].flags.writeable
    numbers = pa.array([0.5, 1.5])
    rows = _convert.values(numbers)
    assert isinstance(rows, tuple)
    assert np.shares_memory(rows[0], np.frombuffer(numbers.buffers()[1], np.uint8))


def test_arrow_numbers_are_deltas(store: alexpy.Store) -> None:
    for one, expected in (
        (pa.array([1, 2], pa.int16()), [1, 2]),
        (Streamed(pa.chunked_array([[1], [2]])), [2, 4]),
        (pl.Series([1, 2]), [3, 6]),
    ):
        assert store.add_many([1, 2], one).tolist() == expected
    assert store.add_many([3], Exported(pa.array([0.5]))).tolist() == [0.5]
    with pytest.raises(TypeError, match="deltas is an Arrow array of string"):
        store.add_many([1], pa.array(["1"]))
    with pytest.raises(TypeError, match=r"deltas\[0\] is null"):
        store.add_many([1], pa.array([None], pa.int64()))


# ---- what comes out goes in ----


def test_tables_of_a_key_and_a_value_column_are_items(store: alexpy.Store, tmp_path: Any) -> None:
    items = {1: b"one", 2: b"", 3: b"three"}
    columns = {"key": list(items), "value": list(items.values())}
    store.update(items)
    pandas = pytest.importorskip("pandas")
    sources = [
        store.to_arrow(),
        store.items(),
        store.snapshot().items(),
        store.snapshot(),
        next(store.scan_batches()),
        pa.table(columns),
        pa.table(columns).select(["value", "key"]),
        Streamed(pa.table(columns)),
        pa.record_batch(columns),
        pl.DataFrame(columns),
        pandas.DataFrame(columns),
    ]
    for number, source in enumerate(sources):
        with alexpy.open(tmp_path / str(number)) as copy:
            copy.update(source)
            assert copy == items, source
    index = alexpy.AlexIndex()
    index.update(pa.table({"key": [1, 2], "value": [10, 20]}))
    assert dict(index) == {1: 10, 2: 20}


def test_a_series_of_pandas_is_a_mapping_of_its_index(store: alexpy.Store) -> None:
    pd = pytest.importorskip("pandas")
    store.update(pd.Series([b"a", b"b"], index=[5, 7]))
    assert dict(store) == {5: b"a", 7: b"b"}
    store.update(pd.Series([b"c"], index=[7], dtype=pd.ArrowDtype(pa.binary())))
    assert dict(store) == {5: b"a", 7: b"c"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lambda: pa.table({"key": [1], "value": [b""], "more": [1]}), "a Table, which is a table; put_many"),
        (lambda: pl.DataFrame({"key": [1], "values": [b""]}), "a DataFrame, which is a table; put_many"),
        (lambda: pa.chunked_array([[1]]), "a ChunkedArray, which is one column; put_many"),
        (lambda: pl.Series([1]), "a Series, which is one column; put_many"),
    ],
    ids=["more", "another", "column", "series"],
)
def test_other_tables_are_refused_by_update(
    store: alexpy.Store, table: Callable[[], Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        store.update(table())
    assert len(store) == 0


# ---- producers that fail or lie ----


class Produces:
    """A producer that returns what it was told to."""

    def __init__(self, array: Any = None, stream: Any = None) -> None:
        if array is not None:
            self.__arrow_c_array__ = array
        if stream is not None:
            self.__arrow_c_stream__ = stream


def _fails(*_: object) -> Any:
    raise RuntimeError("no data today")


def _batches() -> Iterator[Any]:
    yield pa.record_batch({"id": [1, 2]})
    raise RuntimeError("no more data")


def _released() -> Any:
    """The capsules of an array that somebody has read."""
    pair = pa.array([1, 2]).__arrow_c_array__()
    _convert.integers(Produces(lambda: pair), "keys")
    return pair


def _released_stream() -> Any:
    capsule = pa.chunked_array([[1, 2]]).__arrow_c_stream__()
    _convert.integers(Produces(stream=lambda: capsule), "keys")
    return capsule


@pytest.mark.parametrize(
    ("producer", "error", "message"),
    [
        (lambda: Produces(_fails), RuntimeError, "no data today"),
        (lambda: Produces(stream=_fails), RuntimeError, "no data today"),
        (lambda: Produces(lambda: None), TypeError, "__arrow_c_array__ returned no pair of capsules"),
        (lambda: Produces(stream=lambda: 1), TypeError, "__arrow_c_stream__ returned no capsule"),
        (lambda: Produces(lambda: (1, 2)), TypeError, "__arrow_c_array__ returned no pair of capsules"),
        (lambda: Produces(lambda: pa.array([1]).__arrow_c_array__()[::-1]), ValueError, "PyCapsule"),
        (lambda: Produces(stream=lambda: pa.int64().__arrow_c_schema__()), ValueError, "PyCapsule"),
        (lambda: Produces(_released), ValueError, "released, or read before"),
        (lambda: Produces(stream=_released_stream), ValueError, "already released"),
        (
            lambda: pa.RecordBatchReader.from_batches(pa.schema([("id", pa.int64())]), _batches()),
            ValueError,
            "cannot be read: .*no more data",
        ),
        (lambda: pa.array([(1, 2, 3)] * 2, pa.month_day_nano_interval()), TypeError, "interval"),
        (lambda: pa.RunEndEncodedArray.from_arrays([2], [7]), TypeError, "Arrow"),
    ],
    ids=[
        *("raises", "stream raises", "nothing", "number", "numbers", "swapped", "no stream", "read before"),
        *("stream read before", "fails in the middle", "interval", "runs"),
    ],
)
def test_producers_that_fail_are_told_of_in_one_line(
    store: alexpy.Store, producer: Callable[[], Any], error: type[Exception], message: str
) -> None:
    for call in (store.get_many, lambda data: store.put_many([1, 2], data)):
        with pytest.raises(error, match=message) as raised:
            call(producer())
        assert "\n" not in str(raised.value)
    assert len(store) == 0


def _offsets(*ends: int, kind: Any = None) -> Any:
    """Two values with these offsets, which pyarrow does not check."""
    width = np.int64 if kind == pa.large_binary() else np.int32
    buffers = [None, pa.py_buffer(np.array(ends, width)), pa.py_buffer(b"abcdefgh")]
    return pa.Array.from_buffers(kind or pa.binary(), 2, buffers)


def _view(length: int, buffer: int, offset: int) -> Any:
    views = struct.pack("<i4sii", length, b"abcd", buffer, offset) * 2
    buffers = [None, pa.py_buffer(views), pa.py_buffer(b"abcdefghijklmnopqrstuvwxyz")]
    return pa.Array.from_buffers(pa.binary_view(), 2, buffers)


@pytest.mark.parametrize(
    "values",
    [
        lambda: _offsets(0, 7, 3),
        lambda: _offsets(0, -5, 3),
        lambda: _offsets(0, 7, 3, kind=pa.large_binary()),
        lambda: pa.chunked_array([_offsets(0, 7, 3), _offsets(0, 1, 2)]),
        lambda: pa.chunked_array([_offsets(0, 7, 3, kind=pa.large_binary())] * 2),
        lambda: _view(20, 0, 20),
        lambda: _view(20, 1, 0),
        lambda: _view(20, 0, -1),
        lambda: _view(-1, 0, 0),
        lambda: pa.DictionaryArray.from_arrays(pa.array([0, 9]), [b"a"], safe=False),
        lambda: pa.DictionaryArray.from_arrays(pa.array([0, -1]), [b"a"], safe=False),
    ],
    ids=[
        *("descending", "negative", "large descending", "descending in chunks", "large in chunks"),
        *(
            "view too far",
            "no such buffer",
            "negative view",
            "negative length",
            "no such word",
            "negative word",
        ),
    ],
)
def test_numbers_of_a_producer_that_point_outside_its_memory_are_refused(
    store: alexpy.Store, values: Callable[[], Any]
) -> None:
    with pytest.raises(ValueError, match=r"values|Arrow data cannot be read") as raised:
        store.put_many([1, 2], values())
    assert "\n" not in str(raised.value)
    assert len(store) == 0


def masked(**columns: Any) -> Any:
    """Return a table as a struct array whose second row is null."""
    return pa.StructArray.from_arrays(
        list(columns.values()), names=list(columns), mask=pa.array([False, True])
    )


KEYS, ROWS = pa.array([1, 2]), pa.array([b"a", b"b"])
# Made here, before the import of pyarrow fails: a mask makes it import more of itself.
WITHOUT_A_ROW = masked(key=KEYS, value=ROWS), masked(key=KEYS), masked(value=ROWS)


def test_a_null_row_of_a_table_is_no_data(store: alexpy.Store) -> None:
    table, keys, rows = WITHOUT_A_ROW
    for write in (
        lambda: store.update(table),
        lambda: store.put_many(keys, [b"a", b"b"]),
        lambda: store.put_many(KEYS, rows),
        lambda: store.bulk_load(keys, ROWS),
        lambda: store.delete_many(keys),
    ):
        with pytest.raises(TypeError, match="row 1 is null; drop or fill nulls first"):
            write()
    assert len(store) == 0
