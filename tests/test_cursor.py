"""Cursors: moves in both directions beside a list, over one moment, until they are closed."""

from __future__ import annotations

import pickle
import uuid
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import alexpy

if TYPE_CHECKING:
    from pathlib import Path

MOVES = st.lists(
    st.sampled_from(["first", "last", "next", "prev"])
    | st.tuples(st.sampled_from(["seek", "seek_for_prev"]), st.integers(-3, 43)),
    max_size=60,
)


class Listed:
    """A cursor over a sorted list: a place from -1, before the first item, to the length, after the last."""

    def __init__(self, items: list[tuple[Any, bytes]]) -> None:
        self.items = items
        self.at = -1

    def move(self, name: str, key: Any = None) -> tuple[Any, bytes] | None:
        count, keys = len(self.items), [item[0] for item in self.items]
        places = {
            "first": lambda: 0,
            "last": lambda: count - 1,
            "next": lambda: min(self.at + 1, count),
            "prev": lambda: max(self.at - 1, -1),
            "seek": lambda: sum(one < key for one in keys),
            "seek_for_prev": lambda: sum(one <= key for one in keys) - 1,
        }
        self.at = places[name]()
        return self.items[self.at] if 0 <= self.at < count else None


@pytest.mark.parametrize("kind", ["int64", "uuid"])
@given(keys=st.sets(st.integers(0, 40), max_size=12), moves=MOVES)
@settings(max_examples=60)
def test_a_cursor_moves_as_over_a_list(
    tmp_path_factory: pytest.TempPathFactory, kind: Any, keys: set[int], moves: list[Any]
) -> None:
    def key(number: int) -> Any:
        return number if kind == "int64" else uuid.UUID(int=number + 5)

    items = [(key(number), b"%d" % number) for number in sorted(keys)]
    with alexpy.open(tmp_path_factory.mktemp("cursor") / "store", key=kind) as store:
        store.update(items)
        cursor, model = store.cursor(), Listed(items)
        # Nothing of this is seen.
        store.clear()
        store[key(7)] = b"later"
        for move in moves:
            name, *sought = (move,) if isinstance(move, str) else (move[0], key(move[1]))
            if not items and name == "last":
                # Of nothing, the last item is before the first place.
                continue
            assert getattr(cursor, name)(*sought) == model.move(name, *sought) == cursor.item


def test_a_cursor_ends_where_the_items_end_and_comes_back(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two"})
    with store.snapshot() as snapshot, snapshot.cursor() as cursor:
        assert repr(cursor) == "<alexpy.Cursor before the first item>"
        assert [cursor.next() for _ in range(4)] == [(1, b"one"), (2, b"two"), None, None]
        assert repr(cursor) == "<alexpy.Cursor after the last item>"
        assert [cursor.prev() for _ in range(4)] == [(2, b"two"), (1, b"one"), None, None]
        assert cursor.next() == (1, b"one")
        assert repr(cursor) == "<alexpy.Cursor at 1>"


def test_a_refused_key_moves_nothing(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two"})
    cursor = store.cursor()
    cursor.last()
    for bad, error in (("1", TypeError), (1.5, TypeError), (2**70, OverflowError), (None, TypeError)):
        for seek in (cursor.seek, cursor.seek_for_prev):
            with pytest.raises(error):
                seek(bad)  # type: ignore[arg-type]
    assert cursor.item == (2, b"two")
    assert cursor.prev() == (1, b"one")


def test_a_closed_cursor_says_so_and_leaves_the_snapshot_open(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store") as store:
        store[1] = b"one"
        snapshot = store.snapshot()
        cursors = [store.cursor(), snapshot.cursor()]
        assert store.stats().snapshots == 2
        for cursor in cursors:
            cursor.next()
            cursor.next()
            cursor.close()
            cursor.close()
            for move in (cursor.next, cursor.prev, cursor.first, cursor.last, lambda at=cursor: at.seek(1)):
                with pytest.raises(alexpy.ClosedError, match="the cursor is closed"):
                    move()
            with pytest.raises(TypeError, match=r"cannot be pickled; pickle the key"):
                pickle.dumps(cursor)
        assert store.stats().snapshots == 1
        assert snapshot.first() == (1, b"one")
        snapshot.close()
        with pytest.raises(alexpy.ClosedError):
            snapshot.cursor()
        forgotten = store.cursor()
        assert store.stats().snapshots == 1
        del forgotten
        assert store.stats().snapshots == 0
        left = store.cursor()
        left.last()
        left.next()
    for move in (left.next, left.prev):
        with pytest.raises(alexpy.ClosedError):
            move()
    with pytest.raises(alexpy.ClosedError):
        store.cursor()
