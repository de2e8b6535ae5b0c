"""What Python and its libraries ask beyond calls by name: arrays of keys, `|`, length hints, notebooks."""

from __future__ import annotations

import operator
from operator import length_hint
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import alexpy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Filled = alexpy.Store | alexpy.Snapshot | alexpy.AlexIndex


@pytest.fixture(params=["store", "snapshot", "index"])
def filled(request: pytest.FixtureRequest, store: alexpy.Store) -> Iterator[Any]:
    """A store, a snapshot behind which everything has changed, and an index, with the same keys."""
    keys = range(-10_000, 10_000, 2)
    if request.param == "index":
        yield alexpy.AlexIndex({key: key for key in keys})
        return
    store.put_many(list(keys), [b"%d" % key for key in keys])
    if request.param == "store":
        yield store
        return
    with store.snapshot() as snapshot:
        store.delete_range(-10, 5000)
        store.put_many([-1, 1, 7000], [b"", b"", b"new"])
        yield snapshot


# ---- arrays of keys ----


@given(st.none() | st.integers(-11_000, 11_000), st.none() | st.integers(-11_000, 11_000))
@pytest.mark.usefixtures("_module_store")
def test_keys_array_holds_the_keys_of_the_range(start: int | None, stop: int | None) -> None:
    keys = _module[0].keys_array(start, stop)
    assert keys.dtype == np.int64
    assert keys.tolist() == list(_module[0].scan_keys(start, stop))


_module: list[alexpy.Store] = []


@pytest.fixture(scope="module")
def _module_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with alexpy.open(tmp_path_factory.mktemp("protocols") / "store") as store:
        store.put_many(range(-10_000, 10_000, 7), [b""] * len(range(-10_000, 10_000, 7)))
        _module.append(store)
        yield
        _module.clear()


def test_keys_array_is_of_one_moment_and_takes_every_bound_that_scan_takes(filled: Any) -> None:
    expected = list(range(-10_000, 10_000, 2))
    assert filled.keys_array().tolist() == expected
    assert filled.keys_array(-(2**70), 2**70).tolist() == expected
    assert filled.keys_array(3, 3).size == filled.keys_array(2**63).size == 0
    with pytest.raises(TypeError, match="start"):
        filled.keys_array("1")


def test_the_view_of_the_keys_is_an_array_for_numpy(filled: Any) -> None:
    keys = filled.keys()
    assert np.asarray(keys).dtype == np.int64
    assert np.array_equal(np.asarray(keys), np.fromiter(keys, np.int64))
    assert np.asarray(keys, dtype="f8").dtype == np.float64
    assert np.array(keys).flags.writeable
    assert (np.asarray(keys) >= 0).sum() == 5000
    with pytest.raises(ValueError, match="copy"):
        keys.__array__(copy=False)


def test_the_view_of_the_keys_is_taken_as_keys(filled: Any) -> None:
    assert filled.contains_many(filled.keys()).all()


def test_keys_array_of_a_closed_store_is_refused(store: alexpy.Store) -> None:
    store[1] = b""
    with store.snapshot() as snapshot:
        snapshot.close()
        with pytest.raises(alexpy.ClosedError):
            snapshot.keys_array()
    store.close()
    with pytest.raises(alexpy.ClosedError):
        store.keys_array()


def test_a_million_keys_come_in_one_array(store: alexpy.Store) -> None:
    keys = np.arange(1_000_000) * 3
    store.put_many(keys, np.zeros((len(keys), 0), np.uint8))
    assert np.array_equal(store.keys_array(), keys)
    assert np.array_equal(store.keys_array(30, 2_000_000), keys[10:666_667])


# ---- | ----


def test_a_store_or_a_dict_beside_it_merges_into_a_dict_in_which_the_right_one_wins(
    store: alexpy.Store, tmp_path: Path
) -> None:
    store.update({1: b"one", 2: b"two"})
    merged = store | {2: b"zwei", 3: b"drei"}
    assert type(merged) is dict
    assert merged == {1: b"one", 2: b"zwei", 3: b"drei"}
    assert {2: b"zwei", 3: b"drei"} | store == {1: b"one", 2: b"two", 3: b"drei"}
    assert list({9: b""} | store) == [9, 1, 2]
    with store.snapshot() as snapshot, alexpy.open(tmp_path / "other") as other:
        other[2] = b"deux"
        store[1] = b"uno"
        assert snapshot | other == {1: b"one", 2: b"deux"}
        assert other | snapshot == {1: b"one", 2: b"two"}
    assert store == {1: b"uno", 2: b"two"}


def test_an_index_merges_likewise() -> None:
    index = alexpy.AlexIndex({1: 10})
    assert index | {2: 20} == {1: 10, 2: 20}
    assert {1: 11, 2: 20} | index == {1: 10, 2: 20}
    index |= {1: 12, 3: 30}
    assert isinstance(index, alexpy.AlexIndex)
    assert dict(index) == {1: 12, 3: 30}


def test_merging_in_place_is_an_update(store: alexpy.Store) -> None:
    same = store
    same |= {1: b"one"}
    same |= [(2, b"two")]
    assert same is store
    assert dict(store) == {1: b"one", 2: b"two"}
    with pytest.raises(TypeError):
        same |= {3: "text"}  # type: ignore[dict-item]
    assert 3 not in store


@pytest.mark.parametrize("other", [[(1, b"")], None, 5, "text"])
def test_only_mappings_merge(store: alexpy.Store, other: Any) -> None:
    for one, two in ((store, other), (other, store)):
        with pytest.raises(TypeError, match="unsupported operand"):
            operator.or_(one, two)


# ---- length hints ----


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [None, 0, 3, 999, 10**9])
def test_a_length_hint_is_the_number_of_items_left(
    store: alexpy.Store, reverse: bool, limit: int | None
) -> None:
    keys = list(range(3000))
    index = alexpy.AlexIndex(dict.fromkeys(keys, 0))
    store.put_many(keys, [b""] * len(keys))
    for mapping in (store, index):
        for scan in (mapping.scan, mapping.scan_keys, mapping.scan_values):
            iterator = scan(100, 2500, reverse=reverse, limit=limit)
            left = 2400 if limit is None else min(limit, 2400)
            for _ in range(left):
                assert length_hint(iterator) == left
                next(iterator)
                left -= 1
            assert length_hint(iterator) == 0
            assert next(iterator, None) is None
            assert length_hint(iterator) == 0


def test_a_batch_iterator_hints_at_the_number_of_batches(store: alexpy.Store) -> None:
    store.put_many(range(1000), [b""] * 1000)
    batches = store.scan_batches(rows=300)
    for left in (4, 3, 2, 1, 0):
        assert length_hint(batches) == left
        next(batches, None)


def test_the_hint_of_an_iterator_over_what_was_is_only_a_hint(store: alexpy.Store) -> None:
    store.put_many(range(3000), [b""] * 3000)
    iterator = iter(store)
    store.delete_range(1000)
    assert 16 <= length_hint(iterator) <= 3000
    assert len(list(iterator)) == 3000


def test_an_iterator_that_cannot_go_on_has_nothing_left(store: alexpy.Store) -> None:
    store.put_many(range(3000), [b""] * 3000)
    scan, batches = store.scan(), store.scan_batches()
    store.close()
    assert length_hint(scan) == length_hint(batches) == 0
    with pytest.raises(alexpy.ClosedError):
        next(scan)


# ---- notebooks ----


def test_a_notebook_shows_the_first_and_the_last_items(store: alexpy.Store) -> None:
    store.put_many(range(100), [b"<%d>" % key for key in range(100)])
    shown = store._repr_html_()
    assert "100 keys" in shown
    assert "<td>0</td><td>b&#x27;&lt;0&gt;&#x27;</td>" in shown
    assert shown.count("<tr>") == 1 + 5 + 1 + 5
    assert "<td>95</td>" in shown
    assert "<td>5</td>" not in shown
    store.delete_range(10)
    assert store._repr_html_().count("<tr>") == 1 + 10
    assert "..." not in store._repr_html_()


def test_a_notebook_shows_the_beginning_of_a_long_value(store: alexpy.Store) -> None:
    store.update({1: bytes(10_000), 2: b"x" * 60, 3: b"y" * 57})
    shown = store._repr_html_()
    assert len(shown) < 700
    assert "... (10,000 bytes)" in shown
    assert "... (60 bytes)" in shown
    assert "y" * 57 + "&#x27;</td>" in shown


def test_a_notebook_shows_what_is_empty_or_closed_too(store: alexpy.Store) -> None:
    assert "0 keys" in store._repr_html_()
    snapshot = store.snapshot()
    assert "alexpy.Snapshot" in snapshot._repr_html_()
    store.close()
    assert "closed" in store._repr_html_()
    assert "closed" in snapshot._repr_html_()
    assert "<td>1</td><td>10</td>" in alexpy.AlexIndex({1: 10})._repr_html_()
