"""What is a value, one or many, and what is refused with which message."""

from __future__ import annotations

import array
import itertools
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy
from alexpy import _convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[alexpy.Store]:
    with alexpy.open(tmp_path_factory.mktemp("values") / "store") as opened:
        yield opened


VALUES: dict[str, tuple[Any, bytes]] = {
    "bytes": (b"ab", b"ab"),
    "no bytes": (b"", b""),
    "zeros": (b"\0\0", b"\0\0"),
    "bytearray": (bytearray(b"ab"), b"ab"),
    "empty bytearray": (bytearray(), b""),
    "memoryview": (memoryview(b"ab"), b"ab"),
    "slice of a memoryview": (memoryview(b"xaby")[1:3], b"ab"),
    "array.array": (array.array("H", [1, 2]), b"\1\0\2\0"),
    "ints": (np.array([1, 2], dtype="<u2"), b"\1\0\2\0"),
    "big endian": (np.array([1, 2], dtype=">u2"), b"\0\1\0\2"),
    "two dimensions": (np.array([[1], [2]], dtype="u1"), b"\1\2"),
    "no dimension": (np.array(1, dtype="u1"), b"\1"),
    "dates": (np.array([1], dtype="M8[D]"), b"\1" + b"\0" * 7),
    "records": (np.array([(1, 2)], dtype="u1,u1"), b"\1\2"),
    "a field called O": (np.array([(1,)], dtype=[("O", "u1")]), b"\1"),
    "fixed bytes": (np.array([b"a"], dtype="S3"), b"a\0\0"),
    "empty array": (np.zeros((0, 3)), b""),
}


@pytest.mark.parametrize("case", VALUES.values(), ids=VALUES.keys())
def test_any_contiguous_buffer_is_stored_as_its_memory_and_comes_back_as_bytes(
    store: alexpy.Store, case: tuple[Any, bytes]
) -> None:
    value, expected = case
    store[1] = value
    store.put(2, value)
    assert store.put_if_absent(3, value)
    assert store.setdefault(4, value) == expected
    assert store.compare_and_set(5, None, value)
    with store.batch() as batch:
        batch[6] = value
    store.put_many([7, 8], [value, value])
    store.update({9: value})
    assert list(store.items()) == [(key, expected) for key in range(1, 10)]
    assert type(store[1]) is bytes
    assert store.compare_and_set(1, value, b"changed")


NO_VALUES: dict[str, tuple[Any, type[Exception], str]] = {
    "str": ("text", TypeError, r"is a str.*encode\(\)"),
    "np.str_": (np.str_("text"), TypeError, "is a str"),
    "int": (5, TypeError, "is an int"),
    "None": (None, TypeError, "is None; "),
    "list": ([1, 2], TypeError, "is a list"),
    "object array": (np.array([b"a"], dtype=object), TypeError, "Python objects"),
    "records with objects": (np.zeros(1, dtype=[("a", "O")]), TypeError, "Python objects|is a ndarray"),
    "strided": (np.arange(6)[::2], BufferError, "not C-contiguous"),
    "transposed": (np.zeros((2, 3)).T, BufferError, "not C-contiguous"),
    "strided dates": (np.arange(6).astype("M8[s]")[::2], BufferError, "not C-contiguous"),
    "strided memoryview": (memoryview(b"abcd")[::2], BufferError, "not C-contiguous"),
}


@pytest.mark.parametrize("case", NO_VALUES.values(), ids=NO_VALUES.keys())
def test_anything_but_a_value_is_refused_in_every_call_and_nothing_is_written(
    empty: alexpy.Store, case: tuple[Any, type[Exception], str]
) -> None:
    value, error, message = case
    batch = empty.batch()
    calls: list[Callable[[], object]] = [
        lambda: empty.__setitem__(1, value),
        lambda: empty.put(1, value),
        lambda: empty.setdefault(1, value),
        lambda: empty.put_if_absent(1, value),
        lambda: batch.put(1, value),
        lambda: empty.put_many([1, 2], [b"", value]),
        lambda: empty.put_many([1, 2], iter([b"", value])),
        lambda: empty.update({1: value}),
        lambda: batch.put_many([1, 2], [b"", value]),
    ]
    for call in calls:
        with pytest.raises(error, match=message):
            call()
    assert len(empty) == 0
    assert len(batch) == 0


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (lambda: [b"", "text"], TypeError, r"values\[1\] is a str"),
        (lambda: [b"", None], TypeError, r"values\[1\] is None"),
        (lambda: iter([3, b""]), TypeError, r"values\[0\] is an int"),
        (lambda: [b"", np.arange(4)[::2]], BufferError, r"values\[1\] is not C-contiguous"),
        (lambda: np.array([b"", 1.5], dtype=object), TypeError, r"values\[1\] is a float"),
    ],
)
def test_a_refused_value_of_many_is_named_by_its_position(
    empty: alexpy.Store, values: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        empty.put_many([1, 2], values())
    assert len(empty) == 0


def test_a_value_above_the_limit_is_a_value_error(empty: alexpy.Store) -> None:
    # Never touched, so never in memory.
    huge = np.empty(2**32, dtype=np.uint8)
    with pytest.raises(ValueError, match=r"value has 4294967296 bytes, and the limit is 4294967295"):
        empty.put(1, huge)
    with pytest.raises(ValueError, match=r"values\[1\] has 4294967296 bytes"):
        empty.put_many([1, 2], [b"", huge])
    with pytest.raises(ValueError, match="each row of values has 4294967296 bytes"):
        empty.put_many([1], huge.reshape(1, -1))
    assert len(empty) == 0


# ---- many values ----

MANY: dict[str, tuple[Callable[[], Any], list[bytes]]] = {
    "list": (lambda: [b"a", b"bc"], [b"a", b"bc"]),
    "tuple": (lambda: (b"a", b"bc"), [b"a", b"bc"]),
    "mixed": (lambda: [bytearray(b"a"), np.array([1], "u1")], [b"a", b"\1"]),
    "iterator": (lambda: iter([b"a", b"bc"]), [b"a", b"bc"]),
    "dict values": ({1: b"a", 2: b"bc"}.values, [b"a", b"bc"]),
    "object array": (lambda: np.array([b"a", bytearray(b"bc")], dtype=object), [b"a", b"bc"]),
    "ints": (lambda: np.array([1, 2], dtype="<u2"), [b"\1\0", b"\2\0"]),
    "rows": (lambda: np.array([[1, 2], [3, 4]], dtype="u1"), [b"\1\2", b"\3\4"]),
    "planes": (lambda: np.arange(8, dtype="u1").reshape(2, 2, 2), [b"\0\1\2\3", b"\4\5\6\7"]),
    "strided rows": (lambda: np.arange(8, dtype="u1").reshape(4, 2)[::2], [b"\0\1", b"\4\5"]),
    "strided columns": (lambda: np.arange(8, dtype="u1").reshape(2, 4)[:, ::2], [b"\0\2", b"\4\6"]),
    "columns first": (lambda: np.asfortranarray(np.array([[1, 2], [3, 4]], "u1")), [b"\1\2", b"\3\4"]),
    "reversed": (lambda: np.array([1, 2], dtype="u1")[::-1], [b"\2", b"\1"]),
    "fixed bytes": (lambda: np.array([b"a", b"bc"], dtype="S3"), [b"a\0\0", b"bc\0"]),
    "records": (lambda: np.array([(1, 2), (3, 4)], dtype="u1,>u2"), [b"\1\0\2", b"\3\0\4"]),
    "dates": (lambda: np.array([1, 2], dtype="M8[s]"), [b"\1" + b"\0" * 7, b"\2" + b"\0" * 7]),
    "booleans": (lambda: np.array([True, False]), [b"\1", b"\0"]),
    "rows of nothing": (lambda: np.zeros((2, 0)), [b"", b""]),
    "array.array": (lambda: array.array("H", [1, 2]), [b"\1\0", b"\2\0"]),
    "memoryview of rows": (lambda: memoryview(np.array([[1], [2]], dtype="u1")), [b"\1", b"\2"]),
}


@pytest.mark.parametrize("case", MANY.values(), ids=MANY.keys())
def test_many_values_in_any_container_are_the_same_values(
    store: alexpy.Store, case: tuple[Callable[[], Any], list[bytes]]
) -> None:
    values, expected = case
    assert store.put_many([1, 2], values()) == 2
    assert store.get_many([1, 2]) == expected
    with store.batch() as batch:
        batch.put_many(np.array([3, 4]), values())
    assert store.get_many([3, 4]) == expected


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (b"ab", TypeError, "single bytes"),
        (bytearray(b"ab"), TypeError, "single bytearray"),
        (memoryview(b"ab"), TypeError, "single memoryview"),
        ("ab", TypeError, "values is a str"),
        (np.array(["a", "b"]), TypeError, r"array of text; \[text.encode\(\) for text in values\]"),
        (np.array(1), TypeError, "first axis is the keys"),
        (np.zeros((2, 2), dtype=object), TypeError, "Python objects"),
        (np.zeros(2, dtype=[("a", "O")]), TypeError, "Python objects"),
        (np.ma.array([1, 2]), TypeError, "masked"),
        ({b"a", b"b"}, TypeError, "is a set"),
        ({1: b"a", 2: b"b"}, TypeError, "is a dict"),
        (5, TypeError, "values is an int; give one value for each key"),
        (None, TypeError, "values is None; give one value for each key"),
    ],
)
def test_anything_but_values_is_refused_and_nothing_is_written(
    empty: alexpy.Store, values: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        empty.put_many([1, 2], values)
    with pytest.raises(error, match=message):
        empty.batch().put_many([1, 2], values)
    assert len(empty) == 0


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b""] * 3,
        iter([b""]),
        np.zeros((3, 2)),
        np.zeros((1, 0)),
        np.array([b"a"], dtype=object),
        [],
        itertools.repeat(b""),
    ],
    ids=["list", "long list", "iterator", "rows", "row of nothing", "object array", "empty", "endless"],
)
def test_another_number_of_values_than_keys_is_a_value_error_before_anything_is_written(
    empty: alexpy.Store, values: Any
) -> None:
    with pytest.raises(ValueError, match=r"there are 2 keys and .* values; nothing was written"):
        empty.put_many([1, 2], values)
    assert len(empty) == 0


def test_a_mutable_value_is_copied_when_it_is_put(store: alexpy.Store) -> None:
    value = bytearray(b"before")
    batch = store.batch()
    batch.put(1, value)
    store.put(2, value)
    store.put_many([3], [value])
    value[:] = b"after!"
    batch.commit()
    assert list(store.values()) == [b"before"] * 3


def test_empty_bytes_are_a_value_and_not_a_miss(store: alexpy.Store) -> None:
    store[1] = b""
    assert 1 in store
    assert store.get(1, b"default") == b""
    assert store.get_many([1, 2], b"default") == [b"", b"default"]
    assert store.pop(1, b"default") == b""


def test_contiguous_rows_are_read_in_place() -> None:
    rows = np.zeros((3, 4), dtype=np.int32)
    converted = _convert.values(rows)
    assert isinstance(converted, tuple)
    assert np.shares_memory(converted[0], rows)


def test_a_large_value_goes_round(store: alexpy.Store) -> None:
    value = np.random.default_rng(1).bytes(20_000_000)
    store[1] = value
    store[2] = bytearray(value)
    assert store[1] == store[2] == value


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_bytes_come_back_as_they_went_in(values: list[bytes]) -> None:
    store = _shared_store()
    keys = list(range(len(values)))
    store.clear()
    assert store.put_many(keys, values) == len(values)
    assert store.get_many(keys) == values


_stores: list[alexpy.Store] = []


def _shared_store() -> alexpy.Store:
    return _stores[0]


@pytest.fixture(autouse=True, scope="module")
def _open_shared_store(empty: alexpy.Store) -> Iterator[None]:
    _stores.append(empty)
    yield
    empty.clear()
    _stores.clear()
