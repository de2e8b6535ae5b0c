"""`Store.bulk_load`: keys in any order, one commit, values laid out by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy

if TYPE_CHECKING:
    from pathlib import Path


@given(
    st.dictionaries(st.integers(0, 30), st.binary(max_size=30), max_size=15),
    st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=30)), max_size=60),
)
def test_bulk_load_is_update_on_any_store(
    tmp_path_factory: pytest.TempPathFactory, before: dict[int, bytes], items: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("bulk") / "store"
    with alexpy.open(path, background=False) as store:
        store.update(before)
        shown = store.scan()
        loaded = store.bulk_load([key for key, _ in items], [value for _, value in items])
        assert loaded == len(dict(items))
        assert list(shown) == sorted(before.items()), "an iterator made before sees nothing of it"
        expected = before | dict(items)
        assert list(store.items()) == sorted(expected.items())
        assert len(store) == len(expected)
        assert store.verify().ok
    with alexpy.open(path, create=False) as store:
        assert dict(store) == expected


def test_values_are_laid_out_by_key(store: alexpy.Store, store_path: Path) -> None:
    keys = np.random.default_rng(1).permutation(1000)
    store.bulk_load(keys, [b"value %04d" % key for key in keys.tolist()])
    store.flush()
    segments = sorted(store_path.glob("seg-*.log"))
    data = b"".join(path.read_bytes() for path in segments)
    places = [data.index(b"value %04d" % key) for key in range(1000)]
    assert places == sorted(places)


def test_one_call_may_be_larger_than_a_segment(store_path: Path) -> None:
    with alexpy.open(store_path, segment_bytes=1 << 16) as store:
        store[5] = b"old"
        values = np.random.default_rng(2).integers(0, 255, (20_000, 100), np.uint8)
        keys = np.arange(20_000)[::-1]
        assert store.bulk_load(keys, values) == 20_000
        store[-1] = b"after"
    with alexpy.open(store_path, create=False) as store:
        assert len(store) == 20_001
        assert (store.get_array(keys, np.uint8, (100,)) == values).all()
        assert store.verify().ok


def test_progress_ends_at_the_total_and_its_exception_changes_nothing(store: alexpy.Store) -> None:
    seen: list[tuple[int, int]] = []
    store.bulk_load([1, 2], [b"one", b"two"], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 64), (0, 64), (64, 64)]

    def stop(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.bulk_load([3], [b"three"], progress=stop)
    assert list(store) == [1, 2]
    assert store.bulk_load([], []) == 0


def test_what_put_many_refuses_is_refused(store: alexpy.Store) -> None:
    with pytest.raises(ValueError, match="2 keys and 1 values"):
        store.bulk_load([1, 2], [b"one"])
    with pytest.raises(TypeError, match="float"):
        store.bulk_load([1.0], [b"one"])
    with pytest.raises(TypeError, match="str"):
        store.bulk_load([1], ["one"])
    assert len(store) == 0
    store.close()
    with pytest.raises(alexpy.ClosedError):
        store.bulk_load([1], [b"one"])
