"""Arrow arrays as keys and as values of batch calls."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy
from alexpy import _convert

if TYPE_CHECKING:
    from collections.abc import Callable

pa = pytest.importorskip("pyarrow")


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


KEYS: dict[str, Callable[[], Any]] = {
    "int64": lambda: pa.array([1, 5, 300]),
    "uint16 slice": lambda: pa.array([9, 1, 5, 300, 9], pa.uint16())[1:4],
    "chunks": lambda: pa.chunked_array([[1, 5], [300]]),
    "another library's": lambda: Exported(pa.array([1, 5, 300], pa.int16())),
    "another library's chunks": lambda: Streamed(pa.chunked_array([[1, 5], [300]])),
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
        (lambda: pa.array([1.0, 2.0, 3.0]), TypeError, "double"),
        (lambda: pa.array([], pa.float32()), TypeError, "float"),
        (lambda: pa.array([True, False, True]), TypeError, "bool"),
        (lambda: pa.array([1, 2, 3], pa.timestamp("us")), TypeError, "timestamp"),
        (lambda: pa.array(["1", "2", "3"]), TypeError, "string"),
        (lambda: pa.array([1, 2, 2**63], pa.uint64()), OverflowError, r"keys\[2\] is 9223372036854775808"),
    ],
    ids=["null", "null in a chunk", "double", "no floats", "bool", "timestamp", "string", "huge"],
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
    "another library's": (lambda: Exported(pa.array([b"a", b"bc"])), [b"a", b"bc"]),
    "one buffer": (lambda: [pa.py_buffer(b"a"), pa.py_buffer(b"bc")], [b"a", b"bc"]),
}


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
        (lambda: pa.array(["a", "b"]), TypeError, "Arrow array of string"),
        (lambda: pa.array([1, 2]), TypeError, "Arrow array of int64"),
        (lambda: pa.array([b"a"]), ValueError, "2 keys and 1 values"),
        (lambda: pa.array([b"a", b"b", b"c"]), ValueError, "2 keys and at least 3 values"),
    ],
    ids=["null", "string", "int64", "too few", "too many"],
)
def test_other_arrow_arrays_are_refused_as_values(
    store: alexpy.Store, values: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.put_many([1, 2], values())
    assert len(store) == 0


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_slices_of_binary_arrays_come_out_as_lists_do(values: list[bytes], start: int, stop: int) -> None:
    for kind in (pa.binary(), pa.large_binary()):
        spans = _convert.values(pa.array(values, kind)[start:stop])
        assert isinstance(spans, tuple)
        memory, ends = spans
        read = [memory[begin:end].tobytes() for begin, end in itertools.pairwise(ends)]
        assert read == values[start:stop]
