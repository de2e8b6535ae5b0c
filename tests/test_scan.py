"""Ranges: which items a scan yields, in which order, and as of which moment."""

from __future__ import annotations

import gc
import pickle
import threading
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEYS = [-(2**63), -5, 0, 3, 4, 5, 100, 2**63 - 1]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[alexpy.Store]:
    with alexpy.open(tmp_path_factory.mktemp("scan") / "store") as store:
        store.update({key: b"%d" % key for key in KEYS})
        _filled.append(store)
        yield store
        _filled.clear()


_filled: list[alexpy.Store] = []


def expected(
    start: int | None,
    stop: int | None,
    *,
    include_start: bool = True,
    include_stop: bool = False,
    reverse: bool = False,
    limit: int | None = None,
) -> list[int]:
    """The items of a range by the documented rules, key by key."""

    def inside(key: int) -> bool:
        above = start is None or key > start or (include_start and key == start)
        below = stop is None or key < stop or (include_stop and key == stop)
        return above and below

    if start is not None and stop is not None and start >= stop:
        both = include_start and include_stop
        keys = [key for key in KEYS if key == start] if start == stop and both else []
    else:
        keys = [key for key in KEYS if inside(key)]
    return keys[:: -1 if reverse else 1][:limit]


bounds = st.none() | st.sampled_from(KEYS) | st.integers(-10, 110) | st.integers(-(2**70), 2**70)


@given(
    bounds,
    bounds,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 9) | st.just(2**80),
)
@example(3, 3, True, True, False, None)
@example(3, 3, True, False, False, None)
@example(3, 3, False, True, False, None)
@example(5, 3, True, True, True, None)
@example(2**63, None, True, False, False, None)
@example(None, 2**63, True, False, False, None)
@example(None, -(2**63) - 1, True, True, False, None)
@example(-(2**63) - 1, None, False, False, False, None)
@example(2**63 - 1, None, False, False, False, None)
@example(None, -(2**63), True, False, False, None)
@example(2**63, 2**63, True, True, False, None)
@pytest.mark.usefixtures("filled")
def test_a_scan_yields_exactly_the_keys_inside_its_bounds(
    start: int | None,
    stop: int | None,
    include_start: bool,
    include_stop: bool,
    reverse: bool,
    limit: int | None,
) -> None:
    store = _filled[0]
    options: Any = {
        "include_start": include_start,
        "include_stop": include_stop,
        "reverse": reverse,
        "limit": limit,
    }
    keys = expected(start, stop, **options)
    assert list(store.scan(start, stop, **options)) == [(key, b"%d" % key) for key in keys]
    assert list(store.scan_keys(start, stop, **options)) == keys
    assert list(store.scan_values(start, stop, **options)) == [b"%d" % key for key in keys]
    assert store.count(start, stop) == len(expected(start, stop))


def test_bounds_do_not_swap_under_reverse(filled: alexpy.Store) -> None:
    assert list(filled.scan_keys(0, 5, reverse=True)) == [4, 3, 0]
    assert list(filled.scan_keys(5, 0, reverse=True)) == []


def test_the_limit_counts_from_the_top_under_reverse(filled: alexpy.Store) -> None:
    assert list(filled.scan_keys(0, 101, reverse=True, limit=2)) == [100, 5]


@pytest.mark.parametrize("limit", [-1, -(2**70)])
def test_a_negative_limit_is_a_value_error(filled: alexpy.Store, limit: int) -> None:
    for scan in (filled.scan, filled.scan_keys, filled.scan_values):
        with pytest.raises(ValueError, match="limit must be at least 0"):
            scan(limit=limit)


@pytest.mark.parametrize("bad", [1.0, "1", b"1", (1,)], ids=repr)
def test_a_bound_or_limit_that_is_no_integer_is_a_type_error_that_names_it(
    filled: alexpy.Store, bad: Any
) -> None:
    with pytest.raises(TypeError, match="start"):
        filled.scan(bad)
    with pytest.raises(TypeError, match="stop"):
        filled.scan_keys(stop=bad)
    with pytest.raises(TypeError, match="limit"):
        filled.scan_values(limit=bad)
    with pytest.raises(TypeError, match="start"):
        filled.count(bad)
    with pytest.raises(TypeError, match="stop"):
        filled.delete_range(stop=bad)


def test_arguments_after_the_bounds_are_keyword_only(filled: alexpy.Store) -> None:
    with pytest.raises(TypeError):
        filled.scan(1, 2, True)  # type: ignore[misc]


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 96, 97, 4096 * 3, 20_000])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans_of_any_length_are_whole(store: alexpy.Store, size: int, reverse: bool) -> None:
    store.put_many(range(size), [b"%d" % key for key in range(size)])
    order = list(range(size))[:: -1 if reverse else 1]
    assert list(store.scan_keys(reverse=reverse)) == order
    assert list(store.scan(reverse=reverse)) == [(key, b"%d" % key) for key in order]
    assert list(store.scan_values(reverse=reverse)) == [b"%d" % key for key in order]
    for limit in (size - 1, size, size + 1):
        if limit >= 0:
            assert list(store.scan_keys(reverse=reverse, limit=limit)) == order[:limit]


def test_an_exhausted_iterator_stays_exhausted(store: alexpy.Store) -> None:
    store[1] = b""
    scan = store.scan()
    assert list(scan) == [(1, b"")]
    store[2] = b""
    assert list(scan) == []
    assert iter(scan) is scan


def test_an_iterator_at_its_end_stays_there_when_the_store_is_closed(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two"})
    makers: list[Callable[[], Iterator[Any]]] = [
        store.scan,
        lambda: iter(store),
        lambda: iter(store.keys()),
        lambda: iter(store.values()),
        lambda: reversed(store.items()),
        lambda: store.scan(5),
        store.scan_batches,
        lambda: store.scan_batches(rows=1),
    ]
    ended = [make() for make in makers]
    for iterator in ended:
        list(iterator)
    begun = [make() for make in makers]
    store.close()
    for iterator in ended:
        assert next(iterator, "the end") == "the end"
    for iterator in begun:
        with pytest.raises(alexpy.ClosedError):
            next(iterator)


@pytest.mark.parametrize("size", [10, 1000])
@pytest.mark.parametrize("taken", [0, 1, 40])
def test_an_iterator_sees_the_store_as_it_was_when_it_was_made(
    store: alexpy.Store, size: int, taken: int
) -> None:
    store.put_many(range(size), [b"old"] * size)
    for make in (store.scan, store.items().__iter__, lambda: store.scan(reverse=True)):
        before = list(make())
        scan = make()
        seen = [item for item, _ in zip(scan, range(taken), strict=False)]
        # zip takes one item more than it gives once the range is at its end.
        skipped = 1 if taken < size else 0
        store.put_many(range(size), [b"new"] * size)
        store[size] = b"added"
        store.delete_many(range(0, size, 3))
        assert seen + list(scan) == before[:taken] + before[taken + skipped :]
        store.clear()
        store.put_many(range(size), [b"old"] * size)


def test_a_store_may_change_under_its_own_iteration(store: alexpy.Store) -> None:
    store.put_many(range(1000), [b""] * 1000)
    for key in store:
        del store[key]
        store[key + 1000] = b""
    assert list(store) == list(range(1000, 2000))


def test_many_iterators_keep_their_own_moments(store: alexpy.Store) -> None:
    iterators = []
    for key in range(100):
        iterators.append(store.scan_keys())
        store[key] = b""
    assert [list(iterator) for iterator in iterators] == [list(range(size)) for size in range(100)]


def test_threads_that_share_an_iterator_get_each_item_once(store: alexpy.Store) -> None:
    store.put_many(range(50_000), [b""] * 50_000)
    scan = store.scan_keys()
    taken: list[int] = []

    def take() -> None:
        taken.extend(scan)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(50_000))


def test_readers_see_whole_batches_only(store: alexpy.Store) -> None:
    keys = list(range(200))
    store.put_many(keys, [b"0"] * 200)
    stop = threading.Event()

    def write() -> None:
        for n in range(300):
            store.put_many(keys, [b"%d" % n] * 200)
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        assert len(set(store.scan_values())) == 1
        assert len({value for _, value in store.scan(reverse=True)}) == 1
    writer.join()


def test_pairs_are_not_tracked_by_the_garbage_collector(store: alexpy.Store) -> None:
    store[1] = b"one"
    pair = next(store.scan())
    assert not gc.is_tracked(pair)
    assert not gc.is_tracked(next(alexpy.AlexIndex([1]).scan()))
    # An ordinary tuple in all else, also in a cycle that is collected.
    cycle: list[object] = [pair]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert pair == (1, b"one")
    assert {pair: "hashable"}[1, b"one"] == "hashable"


def test_finalizers_may_use_the_store_in_the_middle_of_a_scan(store: alexpy.Store) -> None:
    store.put_many(range(5000), [b"x"] * 5000)
    index = alexpy.AlexIndex(range(5000))
    scans = [store.scan(), index.scan()]
    used: list[object] = []

    class Busy:
        def __init__(self) -> None:
            self.me = self  # only the garbage collector frees it

        def __del__(self) -> None:
            store[10_000] = b"from a finalizer"
            index[10_000] = 0
            used.append([next(scan) for scan in scans])
            used.append((store.get_many([1, 2]), store.first(), len(store), index.get_many([1])))

    seen = []
    for number, pairs in enumerate(zip(*scans, strict=True)):
        if number % 100 == 0:
            Busy()
            gc.collect(0)
        seen.append(pairs)
    assert len(used) > 50
    assert len(seen) + len(used) // 2 == 5000


def test_an_iterator_does_not_pickle(filled: alexpy.Store) -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(filled.scan())


def test_an_iterator_keeps_its_store_open(store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(100), [b""] * 100)
    with pytest.warns(ResourceWarning, match="was not closed"):
        assert len(list(alexpy.open(store_path, read_only=True).scan_keys(limit=50))) == 50
