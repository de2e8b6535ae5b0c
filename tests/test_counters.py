"""Counters: `add_many` adds to values of eight bytes, all of a call or nothing."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy

if TYPE_CHECKING:
    from pathlib import Path

SMALL = st.integers(-5, 5)


@given(st.lists(st.lists(st.tuples(SMALL, st.integers(-(2**62), 2**62)), max_size=12), max_size=8))
def test_totals_are_those_of_a_dict_and_a_refused_call_writes_nothing(
    tmp_path_factory: pytest.TempPathFactory, calls: list[list[tuple[int, int]]]
) -> None:
    path = tmp_path_factory.mktemp("counters") / "store"
    model: dict[int, int] = {}
    with alexpy.open(path, background=False, segment_bytes=1 << 16) as store:
        for additions in calls:
            after, expected = dict(model), []
            for key, delta in additions:
                after[key] = after.get(key, 0) + delta
                expected.append(after[key])
            keys, deltas = [key for key, _ in additions], [delta for _, delta in additions]
            if all(-(2**63) <= total < 2**63 for total in expected):
                totals = store.add_many(keys, deltas)
                assert totals.dtype == np.int64
                assert totals.tolist() == expected
                model = after
            else:
                with pytest.raises(OverflowError, match=r"counter of key -?\d"):
                    store.add_many(keys, deltas)
            there = {key: int.from_bytes(value, "little", signed=True) for key, value in store.items()}
            assert there == model


def test_floats_make_float_counters(store: alexpy.Store) -> None:
    totals = store.add_many([1, 2, 1], np.array([0.5, 1.0, 0.25]))
    assert (totals.dtype, totals.tolist()) == (np.float64, [0.5, 1.0, 0.75])
    assert store.add_many([1], 2.0).tolist() == [2.75]
    assert store.add_many([1], [np.float32(0.25)]).tolist() == [3.0]
    assert store.add_many([1, 2], [1, 0.5]).tolist() == [4.0, 1.5]
    assert store.add_many([3], np.array([1.5], np.float16)).tolist() == [1.5]
    assert store.add_many([4, 5], [0.5, 2**70]).tolist() == [0.5, 2.0**70]
    assert store.add_many([3], float("inf")).tolist() == [float("inf")]
    assert store.get_array([1, 2], np.float64).tolist() == [4.0, 1.5]


@pytest.mark.parametrize(
    "deltas",
    [
        [1, 2],
        (1, 2),
        iter([1, 2]),
        range(1, 3),
        np.array([1, 2], np.uint8),
        np.array([1, 2], ">i8"),
        np.array([1, 0, 2], np.int64)[::2],
        np.array([1, 2], object),
        [np.int16(1), 2],
    ],
)
def test_integers_in_any_container_make_integer_counters(store: alexpy.Store, deltas: Any) -> None:
    totals = store.add_many([7, 8], deltas)
    assert (totals.dtype, totals.tolist()) == (np.int64, [1, 2])


@pytest.mark.parametrize(
    ("deltas", "error", "message"),
    [
        ("12", TypeError, "deltas"),
        (b"34", TypeError, "deltas"),
        (None, TypeError, "iterable"),
        ([1, None], TypeError, r"deltas\[1\]"),
        ([1.0, None], TypeError, r"deltas\[1\]"),
        ([1, Fraction(1, 2)], TypeError, r"deltas\[1\]"),
        (np.array([True, False]), TypeError, "booleans"),
        (np.array([1, 2], "M8[s]"), TypeError, "dates"),
        (np.zeros((2, 1)), ValueError, "one-dimensional"),
        (np.zeros((2, 1), int), ValueError, "one-dimensional"),
        (np.zeros(2, np.longdouble), TypeError, "float64"),
        ([0.5, np.longdouble(0.5)], TypeError, "float64"),
        (np.longdouble(0.5), TypeError, "float64"),
        (np.array([0.5, np.nan]), ValueError, r"deltas\[1\] is NaN"),
        ([0.5, float("nan")], ValueError, r"deltas\[1\] is NaN"),
        ((1, np.float32("nan")), ValueError, r"deltas\[1\] is NaN"),
        (float("nan"), ValueError, "deltas is NaN"),
        (np.float16("nan"), ValueError, "deltas is NaN"),
        ([0.5, np.ma.masked], TypeError, r"deltas\[1\]"),
        ([0.5, np.array([1])], TypeError, r"deltas\[1\]"),
        ([0.5, 10**400], OverflowError, r"deltas\[1\] is 1000.*, which float64 does not hold"),
        ([0.5, 2**53 + 1], OverflowError, r"deltas\[1\] is 9007199254740993, which float64 does not hold"),
        ([0.5, np.int64(2**53 + 1)], OverflowError, r"deltas\[1\] is 9007199254740993"),
        ([1, 2**63], OverflowError, r"deltas\[1\]"),
        (np.array([1, 2**63], np.uint64), OverflowError, r"deltas\[1\]"),
        (2**63, OverflowError, "deltas"),
        ([1], ValueError, "2 keys and 1 deltas"),
        ([1, 2, 3], ValueError, "2 keys and 3 deltas"),
    ],
)
def test_deltas_that_are_none_are_refused_and_nothing_is_written(
    store: alexpy.Store, deltas: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.add_many([1, 2], deltas)
    assert len(store) == 0


@pytest.mark.parametrize("value", [b"", b"1234567", b"123456789"])
def test_a_value_of_another_length_is_named_and_nothing_is_written(store: alexpy.Store, value: bytes) -> None:
    store[5] = value
    before = store.stats().last_seq
    with pytest.raises(ValueError, match=f"key 5 has {len(value)} bytes"):
        store.add_many([4, 5, 6], 1)
    assert dict(store) == {5: value}
    assert store.stats().last_seq == before


def test_an_overflow_names_the_key_and_nothing_is_written(store: alexpy.Store) -> None:
    store.add_many([1, 2], [2**63 - 1, -(2**63)])
    for key, delta in ((1, 1), (2, -1)):
        with pytest.raises(OverflowError, match=f"key {key} is .*int64"):
            store.add_many([0, key], delta)
    assert 0 not in store
    # In order: the sum passes through what is out of range.
    with pytest.raises(OverflowError):
        store.add_many([1, 1], [1, -1])
    assert store.add_many([1, 1], [-1, 1]).tolist() == [2**63 - 2, 2**63 - 1]


def test_no_keys_are_no_commit(store: alexpy.Store, store_path: Path) -> None:
    before = store.stats().last_seq
    assert store.add_many([], []).tolist() == []
    assert store.stats().last_seq == before
    store.close()
    with alexpy.open(store_path, read_only=True) as reader, pytest.raises(alexpy.ReadOnlyError):
        reader.add_many([], [])
    with pytest.raises(alexpy.ClosedError):
        store.add_many([1], 1)


def test_additions_of_many_threads_are_all_there(store: alexpy.Store) -> None:
    keys = np.arange(500) % 100

    def add() -> None:
        for _ in range(50):
            store.add_many(keys, 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get_array(np.arange(100), np.int64).tolist() == [1000] * 100


def test_a_large_addition_is_one_commit_that_a_snapshot_does_not_see(store: alexpy.Store) -> None:
    keys = np.random.default_rng(3).integers(0, 50_000, 200_000)
    with store.snapshot() as empty:
        totals = store.add_many(keys, np.arange(200_000))
        assert len(empty) == 0
    expected = np.zeros(50_000, np.int64)
    np.add.at(expected, keys, np.arange(200_000))
    there = np.unique(keys)
    assert np.array_equal(store.keys_array(), there)
    assert np.array_equal(store.get_array(there, np.int64), expected[there])
    last = {int(key): place for place, key in enumerate(keys)}
    assert all(totals[place] == expected[key] for key, place in last.items())
    assert store.verify().ok
