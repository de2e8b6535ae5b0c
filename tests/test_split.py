"""`split`: ranges of equal counts, of an index and of a store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alexpy
from alexpy import AlexIndex

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def _counts(ordered: Any, ranges: list[tuple[int | None, int | None]]) -> list[int]:
    return [ordered.count(start, stop) for start, stop in ranges]


def _covers(ranges: list[tuple[int | None, int | None]]) -> bool:
    stops = [stop for _, stop in ranges[:-1]]
    starts = [start for start, _ in ranges[1:]]
    return ranges[0][0] is None and ranges[-1][1] is None and stops == starts


@given(st.sets(st.integers(INT64_MIN, INT64_MAX)), st.integers(1, 40))
def test_the_parts_cover_every_key_and_differ_by_one_at_most(keys: set[int], n: int) -> None:
    index = AlexIndex(list(keys))
    ranges = index.split(n)
    assert len(ranges) == n
    assert _covers(ranges)
    counts = _counts(index, ranges)
    assert sum(counts) == len(keys)
    assert max(counts) - min(counts) <= 1
    assert np.concatenate([index.scan_arrays(*part)[0] for part in ranges]).tolist() == sorted(keys)


def test_a_large_index_splits_evenly_after_many_changes() -> None:
    index = AlexIndex(np.random.default_rng(3).integers(INT64_MIN, INT64_MAX, 300_000))
    index.delete_range(-(2**61), 2**60)
    index.put_many(np.arange(100_000), np.arange(100_000))
    for n in (1, 2, 7, 1_000):
        ranges = index.split(n)
        assert _covers(ranges)
        counts = _counts(index, ranges)
        assert (len(counts), sum(counts)) == (n, len(index))
        assert max(counts) - min(counts) <= 1


def test_a_store_splits_as_an_index_does(store: alexpy.Store) -> None:
    assert store.split(3) == [(None, 0), (0, 0), (0, None)]
    keys = np.arange(-5_000, 5_000, 7)
    store.put_many(keys, [b"v"] * len(keys))
    store.delete_many(keys[100:900])
    index = AlexIndex(np.array(list(store)))
    assert store.split(8) == index.split(8)
    assert [key for part in store.split(8) for key in store.scan_keys(*part)] == list(store)
    store.close()
    with pytest.raises(alexpy.ClosedError):
        store.split(2)


@pytest.mark.parametrize("n", [0, -1, 2**24 + 1, 2**80, -(2**80)])
def test_an_impossible_number_of_parts_is_a_value_error(n: int, store: alexpy.Store) -> None:
    for ordered in (AlexIndex([1]), store):
        with pytest.raises((ValueError, OverflowError), match="n "):
            ordered.split(n)


@pytest.mark.parametrize("n", [1.0, "2", None])
def test_a_number_of_parts_that_is_no_int_is_a_type_error(n: Any) -> None:
    with pytest.raises(TypeError, match="n is"):
        AlexIndex([1]).split(n)
