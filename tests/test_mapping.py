"""A store is a mapping like any other, ordered by key."""

from __future__ import annotations

import itertools
import threading
from collections.abc import ItemsView, KeysView, Mapping, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sortedcontainers import SortedDict

import alexpy

if TYPE_CHECKING:
    from pathlib import Path


def test_a_store_is_a_mutable_mapping_and_unhashable(store: alexpy.Store) -> None:
    assert isinstance(store, MutableMapping)
    with pytest.raises(TypeError, match="unhashable"):
        hash(store)
    match store:
        case {}:
            pass
        case _:
            pytest.fail("a store matches a mapping pattern")


def test_items_are_set_read_and_deleted(store: alexpy.Store) -> None:
    store[1] = b"one"
    assert store[1] == b"one"
    assert 1 in store
    store[1] = b"uno"
    assert store[1] == b"uno"
    assert len(store) == 1
    del store[1]
    assert 1 not in store
    assert len(store) == 0


def test_a_missing_key_is_a_key_error_that_names_it(store: alexpy.Store) -> None:
    with pytest.raises(KeyError) as raised:
        store[42]
    assert raised.value.args == (42,)
    with pytest.raises(KeyError) as raised:
        del store[42]
    assert raised.value.args == (42,)
    with pytest.raises(KeyError) as raised:
        store.pop(42)
    assert raised.value.args == (42,)
    with pytest.raises(KeyError, match="empty"):
        store.popitem()


def test_get_returns_the_default_for_a_missing_key(store: alexpy.Store) -> None:
    default = object()
    assert store.get(1) is None
    assert store.get(1, default) is default
    assert store.get(1, default=default) is default
    store[1] = b"one"
    assert store.get(1, default) == b"one"


def test_delete_says_whether_the_key_was_there(store: alexpy.Store) -> None:
    store[1] = b""
    assert store.delete(1) is True
    assert store.delete(1) is False


def test_pop_removes_and_returns(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two", 3: b"three"})
    assert store.pop(2) == b"two"
    assert store.pop(2, None) is None
    assert store.pop(2, default="gone") == "gone"
    assert store.popitem() == (3, b"three")
    assert store.popitem(last=False) == (1, b"one")
    assert len(store) == 0


def test_setdefault_and_put_if_absent_keep_what_is_there(store: alexpy.Store) -> None:
    assert store.setdefault(1, b"first") == b"first"
    assert store.setdefault(1, b"second") == b"first"
    assert store.put_if_absent(1, b"third") is False
    assert store.put_if_absent(2, b"third") is True
    assert dict(store) == {1: b"first", 2: b"third"}


def test_compare_and_set_takes_none_for_absent(store: alexpy.Store) -> None:
    assert store.compare_and_set(1, b"something", b"new") is False
    assert store.compare_and_set(1, None, b"first") is True
    assert store.compare_and_set(1, None, b"second") is False
    assert store.compare_and_set(1, b"", b"second") is False
    assert store.compare_and_set(1, b"first", b"second") is True
    assert store[1] == b"second"
    assert store.compare_and_set(1, b"second", None) is True
    assert 1 not in store
    assert store.compare_and_set(1, None, None) is True
    assert len(store) == 0


def test_update_takes_what_dict_update_takes(store: alexpy.Store) -> None:
    class Keyed:
        def keys(self) -> list[int]:
            return [5]

        def __getitem__(self, key: int) -> bytes:
            return b"%d" % key

    store.update({1: b"a"})
    store.update([(2, b"b"), (3, b"c"), (2, b"last")])
    store.update((key, b"d") for key in [4])
    store.update(Keyed())
    store.update()
    assert dict(store) == {1: b"a", 2: b"last", 3: b"c", 4: b"d", 5: b"5"}
    with pytest.raises(TypeError):
        store.update(a=b"")  # type: ignore[call-arg]


def test_update_is_all_or_nothing(store: alexpy.Store) -> None:
    with pytest.raises(TypeError, match=r"values\[1\]"):
        store.update([(1, b"a"), (2, None)])  # type: ignore[list-item]
    assert len(store) == 0


def test_a_store_updates_from_itself_and_from_another(store: alexpy.Store, tmp_path: Path) -> None:
    store.update({1: b"a", 2: b"b"})
    store.update(store)
    with alexpy.open(tmp_path / "other") as other:
        other.update(store)
        assert other == store


def test_clear_removes_everything(store: alexpy.Store) -> None:
    store.update(dict.fromkeys(range(100), b""))
    store.clear()
    assert len(store) == 0
    assert list(store) == []
    store.clear()


def test_iteration_is_in_key_order_and_reversed_the_other_way(store: alexpy.Store) -> None:
    keys = [5, -3, 2**63 - 1, 0, -(2**63), 17]
    store.update({key: b"%d" % key for key in keys})
    ordered = sorted(keys)
    assert list(store) == ordered
    assert list(reversed(store)) == ordered[::-1]
    assert list(store.keys()) == ordered
    assert list(reversed(store.keys())) == ordered[::-1]
    assert list(store.values()) == [b"%d" % key for key in ordered]
    assert list(reversed(store.values())) == [b"%d" % key for key in ordered[::-1]]
    assert list(store.items()) == [(key, b"%d" % key) for key in ordered]
    assert list(reversed(store.items())) == [(key, b"%d" % key) for key in ordered[::-1]]


def test_views_are_live_and_of_the_collection_types(store: alexpy.Store) -> None:
    keys, values, items = store.keys(), store.values(), store.items()
    assert isinstance(keys, KeysView)
    assert isinstance(values, ValuesView)
    assert isinstance(items, ItemsView)
    store[1] = b"one"
    assert len(keys) == len(values) == len(items) == 1
    assert 1 in keys
    assert b"one" in values
    assert b"two" not in values
    assert (1, b"one") in items
    assert (1, b"two") not in items
    assert (2, b"one") not in items
    assert keys & {1, 2} == {1}
    assert items | {(2, b"two")} == {(1, b"one"), (2, b"two")}


def test_stores_are_equal_to_mappings_with_the_same_items(store: alexpy.Store, tmp_path: Path) -> None:
    assert store == {}
    assert store == store  # noqa: PLR0124 - equality to itself is the test
    store.update({1: b"a", 2: b"b"})
    same = {2: b"b", 1: b"a"}
    assert store == same
    assert same == store
    assert store != {1: b"a"}
    assert store != {1: b"a", 2: b"c"}
    assert store != {1: b"a", 3: b"b"}
    assert store != [(1, b"a"), (2, b"b")]
    assert store != None  # noqa: E711 - the operator is the test
    with alexpy.open(tmp_path / "other") as other:
        other.update({1: b"a", 2: b"c"})
        assert store != other
        other[2] = b"b"
        assert store == other


def test_the_neighbours_of_a_key_are_found_by_order(store: alexpy.Store) -> None:
    for call in (store.first, store.last):
        assert call() is None
    store.update({10: b"a", 20: b"b", 30: b"c"})
    assert store.first() == (10, b"a")
    assert store.last() == (30, b"c")
    asked = [9, 10, 11, 20, 30, 31]

    def found(call: Any) -> list[int | None]:
        return [item and item[0] for item in map(call, asked)]

    assert found(store.floor) == [None, 10, 10, 20, 30, 30]
    assert found(store.lower) == [None, None, 10, 10, 20, 30]
    assert found(store.ceiling) == [10, 10, 20, 20, 30, None]
    assert found(store.higher) == [10, 20, 20, 30, None, None]


def test_get_view_shows_the_stored_bytes_read_only(store: alexpy.Store) -> None:
    assert store.get_view(1) is None
    store[1] = b"value"
    view = store.get_view(1)
    assert view is not None
    assert view == b"value"
    assert view.readonly
    assert (view.format, view.itemsize, view.ndim, view.shape, view.c_contiguous) == ("B", 1, 1, (5,), True)
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1
    store[2] = b""
    assert store.get_view(2) == b""


def test_the_repr_names_the_path_and_the_number_of_keys(store: alexpy.Store) -> None:
    store[1] = b""
    assert repr(store) == f"<alexpy.Store {str(store.path)!r}, 1 keys>"
    store.close()
    assert repr(store) == f"<alexpy.Store {str(store.path)!r}, closed>"


def test_path_read_only_and_config_are_what_was_asked_for(store_path: Path) -> None:
    config = alexpy.Config(durability="os")
    with alexpy.open(store_path, config=config, verify_reads=False) as writer:
        assert writer.path == store_path
        assert writer.read_only is False
        assert writer.config == alexpy.Config(durability="os", verify_reads=False)
        with alexpy.open(store_path, read_only=True) as reader:
            assert reader.read_only is True


def test_stats_count_the_keys(store: alexpy.Store) -> None:
    store.update(dict.fromkeys(range(50), b"x" * 100))
    store[0] = b"y"
    stats = store.stats()
    assert isinstance(stats, alexpy.Stats)
    assert stats.keys == 50
    assert stats.live_bytes >= 49 * 100
    assert stats.dead_bytes >= 100
    assert stats.segments >= 1
    assert stats.write_mode in {"mmap", "pwrite"}
    store.flush()
    assert store.stats().durable_seq >= stats.last_seq
    with pytest.raises(AttributeError):
        stats.keys = 0  # type: ignore[misc]


@pytest.mark.parametrize("durability", ["sync", "interval", "os"])
@pytest.mark.parametrize("write_mode", ["mmap", "pwrite"])
@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_the_mapping_is_the_same_in_every_mode(
    store_path: Path, durability: Any, write_mode: Any, read_mode: Any
) -> None:
    options = {"durability": durability, "write_mode": write_mode, "read_mode": read_mode}
    with alexpy.open(store_path, **options) as store:
        store[1] = b"one"
        store[2] = b"two" * 5000
        store.put_many([3, 4], [b"three", b"four"], sync=True)
        assert store.delete(1)
        assert 1 not in store
        assert store[2] == b"two" * 5000
        assert store.get_view(3) == b"three"
        assert store.get_many([1, 2, 3]) == [None, b"two" * 5000, b"three"]
        assert [key for key, _ in store.scan()] == [2, 3, 4]
    with alexpy.open(store_path, read_mode=read_mode) as store:
        assert store == {2: b"two" * 5000, 3: b"three", 4: b"four"}


def test_racing_threads_share_the_atomic_calls_without_a_loss(store: alexpy.Store) -> None:
    store[0] = b"0"
    added: list[bool] = []

    def add(thread: int) -> None:
        for n in range(200):
            while True:
                current = store[0]
                if store.compare_and_set(0, current, b"%d" % (int(current) + 1)):
                    break
            added.append(store.put_if_absent(1_000 + n, b"%d" % thread))

    threads = [threading.Thread(target=add, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store[0] == b"800"
    assert sum(added) == 200


def test_popitem_gives_no_item_to_two_threads(store: alexpy.Store) -> None:
    store.put_many(range(1000), [b""] * 1000)
    taken: list[int] = []

    def take(last: bool) -> None:
        while True:
            try:
                taken.append(store.popitem(last=last)[0])
            except KeyError:
                return

    threads = [threading.Thread(target=take, args=(last,)) for last in (True, False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1000))


keys = st.integers(-20, 20) | st.sampled_from([-(2**63), 2**63 - 1])
values = st.binary(max_size=20)


class StoreAgainstSortedDict(RuleBasedStateMachine):
    """A store does what a sorted dict does, whatever the calls and reopenings."""

    def __init__(self) -> None:
        super().__init__()
        self.model: SortedDict = SortedDict()

    @initialize(small=st.booleans())
    def open_first(self, small: bool) -> None:
        # Small segments are filled by a few values, so that runs cross them.
        self.options: dict[str, Any] = {"segment_bytes": 4096 if small else 1 << 20, "background": False}
        self.path = _directories[-1] / f"store-{next(_numbers)}"
        self.store = alexpy.open(self.path, **self.options)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = alexpy.open(self.path, **self.options)

    @rule(key=keys, value=values)
    def put(self, key: int, value: bytes) -> None:
        self.store[key] = value
        self.model[key] = value

    @rule(key=keys)
    def delete(self, key: int) -> None:
        assert self.store.delete(key) is (self.model.pop(key, None) is not None)

    @rule(key=keys)
    def pop(self, key: int) -> None:
        assert self.store.pop(key, None) == self.model.pop(key, None)

    @rule(last=st.booleans())
    def popitem(self, last: bool) -> None:
        if self.model:
            assert self.store.popitem(last) == self.model.popitem(-1 if last else 0)

    @rule(key=keys, value=values)
    def setdefault(self, key: int, value: bytes) -> None:
        assert self.store.setdefault(key, value) == self.model.setdefault(key, value)

    @rule(items=st.lists(st.tuples(keys, values), max_size=30))
    def put_many(self, items: list[tuple[int, bytes]]) -> None:
        written = self.store.put_many([key for key, _ in items], [value for _, value in items])
        assert written == len({key for key, _ in items})
        self.model.update(items)

    @rule(gone=st.lists(keys, max_size=30))
    def delete_many(self, gone: list[int]) -> None:
        assert self.store.delete_many(gone) == len(set(gone) & set(self.model))
        for key in gone:
            self.model.pop(key, None)

    @rule(start=keys, stop=keys)
    def delete_range(self, start: int, stop: int) -> None:
        gone = list(self.model.irange(start, stop, inclusive=(True, False)))
        assert self.store.delete_range(start, stop) == len(gone)
        for key in gone:
            del self.model[key]

    @rule(operations=st.lists(st.tuples(keys, st.none() | values), max_size=20), drop=st.booleans())
    def batch(self, operations: list[tuple[int, bytes | None]], drop: bool) -> None:
        batch = self.store.batch()
        for key, value in operations:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if drop:
            batch.discard()
            return
        batch.commit()
        for key, value in operations:
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.model.clear()

    @rule(start=st.none() | keys, stop=st.none() | keys, reverse=st.booleans(), both=st.booleans())
    def scan(self, start: int | None, stop: int | None, reverse: bool, both: bool) -> None:
        expected: list[int] = []
        if start is None or stop is None or start < stop or (start == stop and both):
            expected = list(self.model.irange(start, stop, (both, both), reverse))
        found = self.store.scan(start, stop, include_start=both, include_stop=both, reverse=reverse)
        assert list(found) == [(key, self.model[key]) for key in expected]

    @rule(key=keys)
    def neighbours(self, key: int) -> None:
        def item(found: list[int]) -> tuple[int, bytes] | None:
            return (found[0], self.model[found[0]]) if found else None

        assert self.store.floor(key) == item(list(self.model.irange(None, key, reverse=True))[:1])
        assert self.store.ceiling(key) == item(list(self.model.irange(key, None))[:1])
        assert self.store.lower(key) == item(list(self.model.irange(None, key, (True, False), True))[:1])
        assert self.store.higher(key) == item(list(self.model.irange(key, None, (False, True)))[:1])

    @invariant()
    def same_items(self) -> None:
        assert len(self.store) == len(self.model)
        assert list(self.store.items()) == list(self.model.items())

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


_directories: list[Path] = []
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path) -> Any:
    _directories.append(tmp_path)
    yield
    _directories.pop()


TestStoreAgainstSortedDict = StoreAgainstSortedDict.TestCase
TestStoreAgainstSortedDict.settings = settings(max_examples=60, stateful_step_count=40)


def test_every_mapping_method_is_there(store: alexpy.Store) -> None:
    missing = {name for name in dir(Mapping) + dir(MutableMapping) if not hasattr(store, name)}
    assert missing <= {"__abstractmethods__", "__class_getitem__", "_abc_impl", "_MutableMapping__marker"}
