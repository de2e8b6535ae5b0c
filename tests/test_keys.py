"""What is a key, one or many, and what is refused with which message."""

from __future__ import annotations

import array
import datetime as dt
import decimal
import fractions
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

int64s = st.integers(INT64_MIN, INT64_MAX)


class Indexable:
    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class BrokenIndex:
    def __index__(self) -> int:
        raise RuntimeError("my own trouble")


NO_KEYS: list[Any] = [
    1.0,
    float("nan"),
    np.float64(2.0),
    np.bool_(True),
    "1",
    np.str_("1"),
    b"1",
    bytearray(b"1"),
    None,
    (1,),
    [1],
    {},
    1j,
    decimal.Decimal(1),
    fractions.Fraction(1),
    dt.date(2000, 1, 1),
    np.datetime64("2000-01-01"),
]

SINGLE_CALLS: dict[str, Callable[[alexpy.Store, Any], object]] = {
    "getitem": lambda s, k: s[k],
    "setitem": lambda s, k: s.__setitem__(k, b""),
    "delitem": lambda s, k: s.__delitem__(k),
    "contains": lambda s, k: k in s,
    "get": lambda s, k: s.get(k),
    "get_view": lambda s, k: s.get_view(k),
    "put": lambda s, k: s.put(k, b""),
    "delete": lambda s, k: s.delete(k),
    "pop": lambda s, k: s.pop(k, None),
    "setdefault": lambda s, k: s.setdefault(k, b""),
    "put_if_absent": lambda s, k: s.put_if_absent(k, b""),
    "compare_and_set": lambda s, k: s.compare_and_set(k, None, b""),
    "floor": lambda s, k: s.floor(k),
    "ceiling": lambda s, k: s.ceiling(k),
    "lower": lambda s, k: s.lower(k),
    "higher": lambda s, k: s.higher(k),
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with alexpy.open(tmp_path_factory.mktemp("keys") / "store") as opened:
        yield opened


@pytest.mark.parametrize("call", SINGLE_CALLS.values(), ids=SINGLE_CALLS.keys())
@pytest.mark.parametrize("key", NO_KEYS, ids=repr)
def test_anything_but_an_integer_is_a_type_error_in_every_call(
    empty: alexpy.Store, call: Callable[[alexpy.Store, Any], object], key: Any
) -> None:
    with pytest.raises(TypeError, match="keys are integers"):
        call(empty, key)
    assert len(empty) == 0


@pytest.mark.parametrize("call", SINGLE_CALLS.values(), ids=SINGLE_CALLS.keys())
@pytest.mark.parametrize("key", [2**63, -(2**63) - 1, 10**30, -(10**30)])
def test_an_integer_outside_int64_is_an_overflow_error_that_names_it(
    empty: alexpy.Store, call: Callable[[alexpy.Store, Any], object], key: int
) -> None:
    with pytest.raises(OverflowError, match=f"key is {key}, outside int64"):
        call(empty, key)


def test_an_enormous_integer_is_an_overflow_error_too(empty: alexpy.Store) -> None:
    with pytest.raises(OverflowError, match="an enormous int"):
        empty.get(10**10000)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        (1.5, r"key is 1.5 \(float\); keys are integers: convert it yourself, for instance with int\(key\)"),
        ("a", r"int\(key\) reads one from text"),
        (b"a", r"int.from_bytes\(key\)"),
        (np.bool_(True), r"int\(key\) makes one of it"),
        (None, r"key is None; keys are integers$"),
    ],
)
def test_the_message_shows_the_key_and_what_to_do(empty: alexpy.Store, key: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        empty.get(key)


def test_an_exception_of_the_objects_own_index_method_passes(empty: alexpy.Store) -> None:
    with pytest.raises(RuntimeError, match="my own trouble"):
        empty.get(BrokenIndex())  # type: ignore[call-overload]
    with pytest.raises(RuntimeError, match="my own trouble"):
        empty.get_many([BrokenIndex()])


@pytest.mark.parametrize(
    "key",
    [1, True, np.int8(1), np.uint64(1), np.int64(1), Indexable(1), np.array(1)],
    ids=lambda key: type(key).__name__,
)
def test_everything_with_an_index_is_the_same_key(store: alexpy.Store, key: Any) -> None:
    store[key] = b"one"
    assert store[1] == b"one"
    assert key in store
    assert list(store) == [1]
    assert [type(key) for key in store] == [int]


@pytest.mark.parametrize("key", [INT64_MIN, -1, 0, INT64_MAX])
def test_the_ends_of_int64_are_keys_like_any_other(store: alexpy.Store, key: int) -> None:
    store[key] = b"end"
    assert store[key] == b"end"
    assert store.floor(key) == store.ceiling(key) == (key, b"end")
    assert store.get_many([key]) == [b"end"]
    assert list(store.scan(key, key, include_stop=True)) == [(key, b"end")]
    del store[key]
    assert key not in store


# ---- many keys ----

MANY_CALLS: dict[str, Callable[[alexpy.Store, Any], object]] = {
    "get_many": lambda s, keys: s.get_many(keys),
    "contains_many": lambda s, keys: s.contains_many(keys).tolist(),
    "delete_many": lambda s, keys: s.delete_many(keys),
    "put_many": lambda s, keys: s.put_many(keys, [b"", b"", b""]),
    "batch.put_many": lambda s, keys: s.batch().put_many(keys, [b"", b"", b""]),
    "batch.delete_many": lambda s, keys: s.batch().delete_many(keys),
}

EQUAL_KEYS: dict[str, Any] = {
    "list": lambda: [1, 5, 300],
    "tuple": lambda: (1, 5, 300),
    "iterator": lambda: iter([1, 5, 300]),
    "generator": lambda: (key for key in [1, 5, 300]),
    "dict": lambda: {1: "", 5: "", 300: ""},
    "dict view": {1: "", 5: "", 300: ""}.keys,
    "mixed list": lambda: [True, np.uint8(5), Indexable(300)],
    "int64": lambda: np.array([1, 5, 300]),
    "int16": lambda: np.array([1, 5, 300], dtype=np.int16),
    "uint16": lambda: np.array([1, 5, 300], dtype=np.uint16),
    "uint64": lambda: np.array([1, 5, 300], dtype=np.uint64),
    "big endian": lambda: np.array([1, 5, 300], dtype=">i8"),
    "big endian uint32": lambda: np.array([1, 5, 300], dtype=">u4"),
    "strided": lambda: np.array([1, 0, 5, 0, 300, 0])[::2],
    "reversed view": lambda: np.array([300, 5, 1])[::-1],
    "unaligned": lambda: np.frombuffer(b"." + np.array([1, 5, 300]).tobytes(), dtype="i8", offset=1),
    "field of records": lambda: np.array([(1, 2.0), (5, 2.0), (300, 2.0)], dtype="i8,f8")["f0"],
    "read-only": lambda: np.frombuffer(np.array([1, 5, 300]).tobytes(), dtype="i8"),
    "object array": lambda: np.array([1, np.int8(5), Indexable(300)], dtype=object),
    "memoryview": lambda: memoryview(np.array([1, 5, 300])),
    "strided memoryview": lambda: memoryview(np.array([1, 0, 5, 0, 300, 0]))[::2],
    "array.array": lambda: array.array("q", [1, 5, 300]),
    "array.array of H": lambda: array.array("H", [1, 5, 300]),
}


@pytest.mark.parametrize("keys", EQUAL_KEYS.values(), ids=EQUAL_KEYS.keys())
def test_the_same_keys_in_any_container_are_the_same_keys(
    store: alexpy.Store, keys: Callable[[], Any]
) -> None:
    assert store.put_many(keys(), [b"a", b"b", b"c"]) == 3
    assert dict(store) == {1: b"a", 5: b"b", 300: b"c"}
    assert store.get_many(keys()) == [b"a", b"b", b"c"]
    assert store.contains_many(keys()).tolist() == [True, True, True]
    with store.batch() as batch:
        batch.put_many(keys(), [b"x", b"y", b"z"])
    assert list(store.values()) == [b"x", b"y", b"z"]
    assert store.delete_many(keys()) == 3
    assert len(store) == 0


NO_KEY_ARRAYS: dict[str, tuple[Any, type[Exception], str]] = {
    "floats": (np.array([1.0, 2.0, 3.0]), TypeError, r"keys must be integers.*float64.*astype\('int64'\)"),
    "no floats at all": (np.array([]), TypeError, "float64"),
    "booleans": (np.array([True, False, True]), TypeError, "bool"),
    "dates": (np.array(["2000-01-01"] * 3, dtype="M8[D]"), TypeError, "datetime64"),
    "time spans": (np.array([1, 2, 3], dtype="m8[s]"), TypeError, "timedelta64"),
    "text array": (np.array(["1", "2", "3"]), TypeError, "text"),
    "bytes array": (np.array([b"1", b"2", b"3"]), TypeError, "byte strings"),
    "records": (np.zeros(3, dtype="i8,i8"), TypeError, "records"),
    "complex": (np.zeros(3, dtype=complex), TypeError, "complex"),
    "masked": (np.ma.array([1, 2, 3], mask=[0, 1, 0]), TypeError, "masked"),
    "str": ("123", TypeError, "not str"),
    "bytes": (b"123", TypeError, "not bytes.*numpy.frombuffer"),
    "bytearray": (bytearray(b"123"), TypeError, "not bytearray"),
    "int": (5, TypeError, "keys is an int; give an array"),
    "None": (None, TypeError, "keys is None; give an array"),
    "two dimensions": (np.zeros((3, 1), dtype=int), ValueError, r"one-dimensional, not of shape \(3, 1\)"),
    "no dimension": (np.array(3), ValueError, "one-dimensional"),
    "object matrix": (np.zeros((3, 1), dtype=object), ValueError, "one-dimensional"),
    "huge uint64": (np.array([1, 2**63, 3], np.uint64), OverflowError, r"keys\[1\] is 9223372036854775808"),
    "float in a list": ([1, 2.0, 3], TypeError, r"keys\[1\] is 2.0 \(float\); keys are integers"),
    "np.bool_ in a list": ([1, 2, np.bool_(False)], TypeError, r"keys\[2\]"),
    "None in a list": ([1, None, 3], TypeError, r"keys\[1\] is None"),
    "text in a generator": ((key for key in [1, "2", 3]), TypeError, r"keys\[1\] is '2' \(str\)"),
    "list in a list": ([[1], [2], [3]], TypeError, r"keys\[0\]"),
    "huge int in a list": ([1, 2, 2**63], OverflowError, r"keys\[2\] is 9223372036854775808, outside int64"),
    "object array": (np.array([1, 1.5, 2], dtype=object), TypeError, r"keys\[1\] is 1.5"),
}


@pytest.mark.parametrize("call", MANY_CALLS.values(), ids=MANY_CALLS.keys())
@pytest.mark.parametrize("case", NO_KEY_ARRAYS.values(), ids=NO_KEY_ARRAYS.keys())
def test_anything_but_keys_is_refused_by_name_and_nothing_is_written(
    empty: alexpy.Store,
    call: Callable[[alexpy.Store, Any], object],
    case: tuple[Any, type[Exception], str],
) -> None:
    keys, error, message = case
    if not isinstance(keys, (list, np.ndarray, str)) and hasattr(keys, "__next__"):
        keys = (key for key in [1, "2", 3])
    with pytest.raises(error, match=message):
        call(empty, keys)
    assert len(empty) == 0


def test_no_keys_at_all_are_legal(store: alexpy.Store) -> None:
    for none in ([], (), np.array([], dtype=np.int32), iter(())):
        assert store.put_many(none, []) == 0
    assert store.get_many([]) == []
    assert store.contains_many([]).tolist() == []
    assert store.contains_many([]).dtype == np.bool_
    assert store.delete_many([]) == 0


def test_an_iterable_of_keys_is_read_once(store: alexpy.Store) -> None:
    read = []

    def keys() -> Any:
        for key in range(3):
            read.append(key)
            yield key

    store.put_many(keys(), [b""] * 3)
    assert read == [0, 1, 2]


def test_an_exception_in_the_iterable_passes_and_nothing_is_written(store: alexpy.Store) -> None:
    def keys() -> Any:
        yield 1
        raise LookupError("out of keys")

    with pytest.raises(LookupError, match="out of keys"):
        store.put_many(keys(), [b"", b""])
    assert len(store) == 0


def test_a_native_array_is_read_without_a_copy() -> None:
    keys = np.arange(10)
    from alexpy._convert import integers  # noqa: PLC0415

    converted = integers(keys, "keys")
    assert converted is not None
    assert np.shares_memory(keys, converted)


def test_large_keys_never_pass_through_floats(store: alexpy.Store) -> None:
    keys = [INT64_MAX, INT64_MAX - 1, 2**53 + 1, INT64_MIN + 1, np.uint64(INT64_MAX - 2)]
    store.put_many(keys, [b""] * 5)
    assert set(store) == {int(key) for key in keys}


@given(st.lists(int64s))
def test_lists_and_arrays_of_any_keys_agree(keys: list[int]) -> None:
    index = alexpy.AlexIndex(keys)
    as_array = alexpy.AlexIndex(np.array(keys, dtype=np.int64))
    assert index == as_array == dict(zip(keys, range(len(keys)), strict=True))
    assert list(index) == sorted(set(keys))


@given(st.lists(st.integers(-(2**80), 2**80), min_size=1))
def test_one_key_outside_int64_refuses_all(keys: list[int]) -> None:
    outside = [position for position, key in enumerate(keys) if not INT64_MIN <= key <= INT64_MAX]
    if not outside:
        assert len(alexpy.AlexIndex(keys)) == len(set(keys))
        return
    with pytest.raises(OverflowError, match=rf"keys\[{outside[0]}\] is {keys[outside[0]]}"):
        alexpy.AlexIndex(keys)


@given(
    st.sampled_from(
        ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<u4", ">u4", "<i8", ">i8", "<u8"]
    ),
    st.lists(st.integers(0, 127)),
    st.integers(1, 3),
)
def test_every_width_order_and_stride_reads_the_same(dtype: str, keys: list[int], stride: int) -> None:
    spread = np.zeros(len(keys) * stride, dtype)
    spread[::stride] = keys
    assert list(alexpy.AlexIndex(spread[::stride]).items()) == list(alexpy.AlexIndex(keys).items())
