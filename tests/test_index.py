"""AlexIndex: an ordered mapping of int64 to int64 in memory."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import MutableMapping
from types import MappingProxyType
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sortedcontainers import SortedDict

import alexpy
from alexpy import AlexIndex

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def test_an_index_is_a_mutable_mapping_and_unhashable() -> None:
    index = AlexIndex()
    assert isinstance(index, MutableMapping)
    with pytest.raises(TypeError, match="unhashable"):
        hash(index)


def test_the_constructor_takes_keys_in_any_order_and_the_last_duplicate_wins() -> None:
    assert dict(AlexIndex()) == {}
    assert dict(AlexIndex([3, 1, 2])) == {1: 1, 2: 2, 3: 0}
    assert dict(AlexIndex([3, 1, 3], [30, 10, 33])) == {1: 10, 3: 33}
    assert dict(AlexIndex(np.array([3, 1, 3]))) == {1: 1, 3: 2}
    assert dict(AlexIndex(keys=np.array([5], ">i2"), values=np.array([7], np.uint8))) == {5: 7}
    with pytest.raises(TypeError, match="values without keys"):
        AlexIndex(values=[1])
    with pytest.raises(ValueError, match="2 keys and 1 values"):
        AlexIndex([1, 2], [1])


def test_a_mapping_gives_its_items_not_its_keys_and_their_positions(store: alexpy.Store) -> None:
    items = {5: 50, -3: 30, 7: 70}
    assert dict(AlexIndex(items)) == items
    assert dict(AlexIndex(keys=items)) == items
    assert dict(AlexIndex(MappingProxyType(items))) == items
    assert dict(AlexIndex(Counter(items))) == items
    assert dict(AlexIndex({})) == {}
    index = AlexIndex(items)
    twin = AlexIndex(index)
    del index[5]
    assert dict(twin) == items
    for values in ([1, 2, 3], range(3)):
        with pytest.raises(TypeError, match="a mapping, which has values of its own"):
            AlexIndex(items, values)
    with pytest.raises(TypeError):
        AlexIndex({1: b"one"})
    store[1] = b"one"
    with pytest.raises(TypeError):
        AlexIndex(store)
    # A view is no mapping: keys at their positions, as of any iterable.
    assert dict(AlexIndex(items.keys(), items.values())) == items


@pytest.mark.parametrize("keys", [{1, 2}, frozenset({1, 2}), set()])
def test_a_set_of_keys_is_refused_because_it_has_no_order(keys: Any) -> None:
    for values in (None, [1, 2]):
        with pytest.raises(TypeError, match=f"keys is a {type(keys).__name__}"):
            AlexIndex(keys, values)


@pytest.mark.parametrize("key", [INT64_MIN, -1, 0, INT64_MAX])
@pytest.mark.parametrize("value", [INT64_MIN, -1, 0, INT64_MAX])
def test_all_of_int64_are_keys_and_values(key: int, value: int) -> None:
    index = AlexIndex()
    index[key] = value
    assert index[key] == value
    assert index.get_many([key]).tolist() == [value]
    assert list(index.scan()) == [(key, value)]
    assert index.first() == index.last() == index.floor(key) == index.ceiling(key) == (key, value)
    assert index.lower(key) is None
    assert index.higher(key) is None
    del index[key]
    assert len(index) == 0


def test_anything_but_an_int64_is_refused_as_key_and_as_value() -> None:
    index = AlexIndex()
    for bad in (1.0, "1", b"1", None, np.bool_(True)):
        with pytest.raises(TypeError, match="keys are integers"):
            index[bad] = 1  # type: ignore[index]
        with pytest.raises(TypeError, match="values are integers"):
            index[1] = bad  # type: ignore[assignment]
        with pytest.raises(TypeError, match="keys are integers"):
            bad in index  # noqa: B015 - raising is the test
        with pytest.raises(TypeError, match=r"keys\[0\]|keys must be"):
            index.put_many([bad], [1])  # type: ignore[list-item]
        with pytest.raises(TypeError, match=r"values\[0\]"):
            index.put_many([1], [bad])  # type: ignore[list-item]
    with pytest.raises(OverflowError, match="key is 9223372036854775808"):
        index[2**63] = 1
    with pytest.raises(OverflowError, match="value is 9223372036854775808"):
        index[1] = 2**63
    with pytest.raises(OverflowError, match=r"values\[1\] is 9223372036854775808"):
        index.put_many([1, 2], np.array([0, 2**63], np.uint64))
    with pytest.raises(TypeError, match=r"values must be integers.*float64"):
        AlexIndex([1, 2], np.array([1.0, 2.0]))
    with pytest.raises(TypeError, match="values must be"):
        AlexIndex([1, 2], "12")  # type: ignore[arg-type]
    assert len(index) == 0


def test_a_missing_key_is_a_key_error_that_names_it() -> None:
    index = AlexIndex([1])
    for call in (lambda: index[42], lambda: index.__delitem__(42), lambda: index.pop(42)):
        with pytest.raises(KeyError) as raised:
            call()
        assert raised.value.args == (42,)
    with pytest.raises(KeyError) as raised:
        index.get_many([1, 43, 44])
    assert raised.value.args == (43,)
    index.clear()
    with pytest.raises(KeyError, match="empty"):
        index.popitem()


def test_the_mapping_methods_do_what_those_of_dict_do() -> None:
    index = AlexIndex()
    index.update({2: 20, 1: 10})
    index.update([(3, 30), (3, 33)])
    index.update(AlexIndex([4], [40]))
    assert list(index) == [1, 2, 3, 4]
    assert list(reversed(index)) == [4, 3, 2, 1]
    assert list(index.keys()) == [1, 2, 3, 4]
    assert list(index.values()) == [10, 20, 33, 40]
    assert list(index.items()) == [(1, 10), (2, 20), (3, 33), (4, 40)]
    assert list(reversed(index.items())) == [(4, 40), (3, 33), (2, 20), (1, 10)]
    assert 20 in index.values()
    assert (2, 20) in index.items()
    assert index.get(9) is None
    assert index.get(9, "none") == "none"
    assert index.setdefault(1, 99) == 10
    assert index.setdefault(5, 50) == 50
    assert index.pop(5) == 50
    assert index.pop(5, None) is None
    assert index.delete(4) is True
    assert index.delete(4) is False
    assert index.popitem() == (3, 33)
    assert index.popitem(last=False) == (1, 10)
    assert index == {2: 20}
    assert repr(index) == "<alexpy.AlexIndex of 1 keys>"


def test_equality_is_that_of_mappings() -> None:
    index = AlexIndex([1, 2], [10, 20])
    assert index == AlexIndex([2, 1], [20, 10])
    same = {2: 20, 1: 10}
    assert index == same
    assert same == index
    assert index != AlexIndex([1, 2], [10, 21])
    assert index != AlexIndex([1, 3], [10, 20])
    assert index != {1: 10}
    assert index != [1, 2]


def test_batch_calls_return_arrays_and_counts() -> None:
    index = AlexIndex()
    assert index.put_many([5, 1, 5], [50, 10, 55]) == 2
    assert index.put_many(np.array([1, 7]), np.array([11, 70])) == 2
    found = index.get_many([7, 1, 7, 5])
    assert found.dtype == np.int64
    assert found.tolist() == [70, 11, 70, 55]
    assert index.get_many([7, 8], default=-1).tolist() == [70, -1]
    assert index.get_many([8], default=0).tolist() == [0]
    contained = index.contains_many([1, 2])
    assert contained.dtype == np.bool_
    assert contained.tolist() == [True, False]
    assert index.delete_many([1, 1, 2]) == 1
    assert index.delete_many([]) == 0
    assert index.get_many([]).tolist() == []
    with pytest.raises(TypeError, match="value"):
        index.get_many([8], default=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="clear"):
        index.delete_range()
    assert index.delete_range(6) == 1
    assert index.delete_range(2**63) == 0
    assert list(index) == [5]


def test_scan_arrays_are_the_items_of_a_range() -> None:
    index = AlexIndex(range(0, 100, 10))
    keys, values = index.scan_arrays(20, 50)
    assert keys.dtype == values.dtype == np.int64
    assert keys.tolist() == [20, 30, 40]
    assert values.tolist() == [2, 3, 4]
    keys[0] = 99  # its own memory
    assert 99 not in index
    assert [array.tolist() for array in index.scan_arrays(50, 20)] == [[], []]
    assert len(index.scan_arrays()[0]) == 10


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 384, 385, 50_000])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans_of_any_length_are_whole(size: int, reverse: bool) -> None:
    index = AlexIndex(np.arange(size) * 7)
    items = [(position * 7, position) for position in range(size)][:: -1 if reverse else 1]
    assert list(index.scan(reverse=reverse)) == items
    assert list(index.scan_keys(reverse=reverse)) == [key for key, _ in items]
    assert list(index.scan_values(reverse=reverse)) == [value for _, value in items]
    for limit in {0, 1, max(size - 1, 0), size, size + 1, 2**80}:
        assert list(index.scan_keys(reverse=reverse, limit=limit)) == [key for key, _ in items][:limit]


@pytest.mark.parametrize("size", [10, 1000])
@pytest.mark.parametrize("taken", [0, 1, 200])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [None, 500])
def test_an_iterator_sees_the_index_as_it_was_when_it_was_made(
    size: int,
    taken: int,
    reverse: bool,
    limit: int | None,
) -> None:
    index = AlexIndex(range(size))
    before = list(index.scan(reverse=reverse, limit=limit))
    scan = index.scan(reverse=reverse, limit=limit)
    seen = [next(scan) for _ in range(min(taken, len(before)))]
    index.put_many(range(size), [-1] * size)
    index[size] = 0
    index.delete_many(range(0, size, 3))
    assert seen + list(scan) == before
    assert list(scan) == []


def test_an_index_may_change_under_its_own_iteration() -> None:
    index = AlexIndex(range(1000))
    for key in index:
        del index[key]
        index[key + 1000] = key
    assert list(index) == list(range(1000, 2000))


def test_many_iterators_keep_their_own_moments() -> None:
    index = AlexIndex()
    iterators = []
    for key in range(300):
        iterators.append(index.scan_keys())
        index[key] = key
    assert [len(list(iterator)) for iterator in iterators] == list(range(300))


def test_threads_change_and_read_at_once_without_a_loss() -> None:
    index = AlexIndex()
    stop = threading.Event()
    problems: list[str] = []

    def read() -> None:
        while not stop.is_set():
            keys = list(index.scan_keys())
            if keys != sorted(keys):
                problems.append("order")
            found = index.get_many(np.arange(0, 4000, 7), default=-1)
            if not set(found.tolist()) <= {-1, *range(0, 4000, 7)}:
                problems.append("values")

    def write(first: int) -> None:
        for key in range(first, 4000, 4):
            index[key] = key
        index.put_many(range(10_000 + first, 12_000, 4), range(10_000 + first, 12_000, 4))

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in [*readers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert problems == []
    assert index == {key: key for key in [*range(4000), *range(10_000, 12_000)]}
    index.check()


class Named(AlexIndex[int]):
    """An index with an attribute, and a slot."""

    __slots__ = ("__dict__", "slot")


def test_a_subclass_keeps_its_attributes_when_it_is_pickled_or_copied() -> None:
    index = Named([3], [30])
    index.name, index.slot = ["a"], "b"
    for duplicate in (pickle.loads(pickle.dumps(index)), copy.copy(index), copy.deepcopy(index)):
        assert type(duplicate) is Named
        assert (duplicate, duplicate.name, duplicate.slot) == ({3: 30}, ["a"], "b")
    assert copy.copy(index).name is index.name
    assert copy.deepcopy(index).name is not index.name


def test_an_index_pickles_and_copies_its_data() -> None:
    index = AlexIndex([INT64_MIN, 5, INT64_MAX], [1, INT64_MIN, 3])
    for duplicate in (pickle.loads(pickle.dumps(index)), copy.copy(index), copy.deepcopy(index)):
        assert type(duplicate) is AlexIndex
        assert duplicate == index
        duplicate[6] = 1
        assert 6 not in index
    assert pickle.loads(pickle.dumps(AlexIndex())) == {}


def test_figures_count_the_keys() -> None:
    index = AlexIndex(np.arange(10_000))
    stats = index.stats()
    assert stats.keys == len(index) == 10_000
    assert stats.bytes == index.nbytes > 0
    index.check()
    index.clear()
    assert index.stats().keys == 0


@given(
    st.dictionaries(st.integers(-50, 50), st.integers(INT64_MIN, INT64_MAX)),
    st.none() | st.integers(-60, 60) | st.integers(-(2**70), 2**70),
    st.none() | st.integers(-60, 60) | st.integers(-(2**70), 2**70),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 20),
)
def test_scans_are_those_of_a_sorted_dict(
    items: dict[int, int],
    start: int | None,
    stop: int | None,
    include_start: bool,
    include_stop: bool,
    reverse: bool,
    limit: int | None,
) -> None:
    index = AlexIndex(list(items), list(items.values()))
    model = SortedDict(items)
    inclusive = (include_start, include_stop)
    if start is not None and stop is not None and (start > stop or (start == stop and not all(inclusive))):
        keys = []
    else:
        keys = list(model.irange(start, stop, inclusive, reverse))[:limit]
    options: Any = {
        "include_start": include_start,
        "include_stop": include_stop,
        "reverse": reverse,
        "limit": limit,
    }
    assert list(index.scan(start, stop, **options)) == [(key, items[key]) for key in keys]
    assert list(index.scan_keys(start, stop, **options)) == keys
    assert list(index.scan_values(start, stop, **options)) == [items[key] for key in keys]
    half_open = [
        key for key in sorted(items) if (start is None or start <= key) and (stop is None or key < stop)
    ]
    assert index.count(start, stop) == len(half_open)
    assert index.scan_arrays(start, stop)[0].tolist() == half_open


int64s = st.integers(INT64_MIN, INT64_MAX)
keys = st.integers(-30, 30) | int64s


class IndexAgainstSortedDict(RuleBasedStateMachine):
    """An index does what a sorted dict does, and its iterators see the moment they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.index = AlexIndex()
        self.model: SortedDict = SortedDict()
        self.scans: list[tuple[Any, list[tuple[int, int]]]] = []

    @rule(key=keys, value=int64s)
    def put(self, key: int, value: int) -> None:
        self.index[key] = value
        self.model[key] = value

    @rule(key=keys)
    def pop(self, key: int) -> None:
        assert self.index.pop(key, None) == self.model.pop(key, None)

    @rule(items=st.dictionaries(keys, int64s))
    def put_many(self, items: dict[int, int]) -> None:
        assert self.index.put_many(list(items), list(items.values())) == len(items)
        self.model.update(items)

    @rule(gone=st.lists(keys))
    def delete_many(self, gone: list[int]) -> None:
        assert self.index.delete_many(gone) == len(set(gone) & set(self.model))
        for key in gone:
            self.model.pop(key, None)

    @rule(start=keys, stop=keys)
    def delete_range(self, start: int, stop: int) -> None:
        gone = list(self.model.irange(start, stop, (True, False)))
        assert self.index.delete_range(start, stop) == len(gone)
        for key in gone:
            del self.model[key]

    @rule(start=st.none() | keys, reverse=st.booleans())
    def begin_scan(self, start: int | None, reverse: bool) -> None:
        expected = [(key, self.model[key]) for key in self.model.irange(start, None, reverse=reverse)]
        self.scans.append((self.index.scan(start, reverse=reverse), expected))

    @rule(items=st.integers(0, 5))
    def step_scans(self, items: int) -> None:
        for scan, expected in self.scans:
            for _ in range(min(items, len(expected))):
                assert next(scan) == expected.pop(0)

    @invariant()
    def same_items(self) -> None:
        assert list(self.index.items()) == list(self.model.items())
        self.index.check()

    def teardown(self) -> None:
        for scan, expected in self.scans:
            assert list(scan) == expected


TestIndexAgainstSortedDict = IndexAgainstSortedDict.TestCase
TestIndexAgainstSortedDict.settings = settings(max_examples=60, stateful_step_count=40)


# ---- the SIMD backend of the process ----


def _import_with(backend: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import alexpy; print(alexpy.build_info()['simd'], alexpy.AlexIndex(range(1000)).get_many([999])[0])"
    )
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"ALEXPY_SIMD": backend, "PYTHONPATH": ":".join(sys.path)},
    )


@pytest.mark.parametrize("backend", alexpy.build_info()["simd_available"])
def test_every_available_backend_can_be_forced(backend: str) -> None:
    assert _import_with(backend).stdout == f"{backend} 999\n"


@pytest.mark.parametrize("backend", ["auto", ""], ids=["auto", "empty"])
def test_auto_takes_an_available_backend(backend: str) -> None:
    assert _import_with(backend).stdout.split()[0] in alexpy.build_info()["simd_available"]


def test_an_unknown_backend_is_a_runtime_error_that_names_those_available() -> None:
    failed = _import_with("mmx")
    assert failed.returncode == 1
    assert "RuntimeError" in failed.stderr
    assert "mmx" in failed.stderr
    for available in alexpy.build_info()["simd_available"]:
        assert available in failed.stderr


def test_build_info_says_what_this_build_is() -> None:
    info = alexpy.build_info()
    assert info["version"] == alexpy.__version__
    assert info["profile"] in {"debug", "release"}
    assert info["simd"] in info["simd_available"]
    assert "scalar" in info["simd_available"]
