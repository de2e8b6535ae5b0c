"""`Cursor`: a place among the items of a snapshot, which moves both ways.

Knows the calls of a snapshot that ask for one neighbour, nothing of stores. Each move is one of those.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, Self, SupportsIndex

from ._types import K, V
from .errors import ClosedError

if TYPE_CHECKING:
    from ._store import Snapshot

__all__ = ["Cursor"]


class _Side(Enum):
    """Where a cursor is that is on no item."""

    BEFORE = "before the first item"
    AFTER = "after the last item"


class Cursor(Generic[K, V]):
    """A place among the items of a store, which moves both ways; what `cursor()` returns.

    It begins before the first item. A move returns the (key, value) that it reaches, or None where it leaves
    the items, on either side; from there it can come back. All moves see the store as it was when the cursor
    was made. O(log n) each; `scan` reads many in one direction several times as fast. For one thread at a
    time. Not picklable.

    Example:
        >>> s.update({1: b"one", 2: b"two", 3: b"three"})
        >>> with s.cursor() as cursor:
        ...     cursor.next(), cursor.next(), cursor.prev(), cursor.prev(), cursor.next()
        ((1, b'one'), (2, b'two'), (1, b'one'), None, (1, b'one'))

    """

    __slots__ = ("_at", "_item", "_open", "_owned")

    def __init__(self, snapshot: Snapshot[K, V], *, owned: bool) -> None:
        """Stand before the first item of a snapshot, and close that at the end if it is `owned`."""
        self._open: Snapshot[K, V] | None = snapshot
        self._owned: Final = owned
        self._at: K | _Side = _Side.BEFORE
        self._item: tuple[K, V] | None = None

    @property
    def item(self) -> tuple[K, V] | None:
        """The (key, value) that the cursor is on; None before the first and after the last. O(1).

        Example:
            >>> s[1] = b"one"
            >>> cursor = s.cursor()
            >>> cursor.item, cursor.next() == cursor.item
            (None, True)

        """
        return self._item

    def first(self) -> tuple[K, V] | None:
        """Move to the first item; None if there is none.

        Raises:
            ClosedError: the cursor or the store is closed.
            CorruptionError, CodecError: the value is damaged, or the codec cannot read it; the cursor stays
                where it is, and `seek` goes past it.

        Example:
            >>> s.update({1: b"one", 2: b"two"})
            >>> s.cursor().first()
            (1, b'one')

        """
        return self._moved(self._snapshot.first(), _Side.AFTER)

    def last(self) -> tuple[K, V] | None:
        """Move to the last item; None if there is none. Raises as `first`.

        Example:
            >>> s.update({1: b"one", 2: b"two"})
            >>> s.cursor().last()
            (2, b'two')

        """
        return self._moved(self._snapshot.last(), _Side.BEFORE)

    def next(self) -> tuple[K, V] | None:
        """Move to the next item; None after the last. Raises as `first`.

        Example:
            >>> s.update({1: b"one", 2: b"two"})
            >>> cursor = s.cursor()
            >>> cursor.next(), cursor.next(), cursor.next(), cursor.next()
            ((1, b'one'), (2, b'two'), None, None)

        """
        if self._at is _Side.BEFORE:
            return self.first()
        if isinstance(self._at, _Side):
            self._check()
            return None
        return self._moved(self._snapshot.higher(self._at), _Side.AFTER)

    def prev(self) -> tuple[K, V] | None:
        """Move to the item before; None before the first. Raises as `first`.

        Example:
            >>> s.update({1: b"one", 2: b"two"})
            >>> cursor = s.cursor()
            >>> cursor.last(), cursor.prev(), cursor.prev()
            ((2, b'two'), (1, b'one'), None)

        """
        if self._at is _Side.AFTER:
            return self.last()
        if isinstance(self._at, _Side):
            self._check()
            return None
        return self._moved(self._snapshot.lower(self._at), _Side.BEFORE)

    def seek(self, key: SupportsIndex | K) -> tuple[K, V] | None:
        """Move to the first item at or above `key`; None, and after the last, if there is none.

        Raises:
            TypeError, OverflowError, ValueError: `key` is no key of the store; the cursor stays where it is.
            ClosedError, CorruptionError, CodecError: as `first`.

        Example:
            >>> s.update({10: b"ten", 20: b"twenty"})
            >>> cursor = s.cursor()
            >>> cursor.seek(15), cursor.prev()
            ((20, b'twenty'), (10, b'ten'))

        """
        return self._moved(self._snapshot.ceiling(key), _Side.AFTER)

    def seek_for_prev(self, key: SupportsIndex | K) -> tuple[K, V] | None:
        """Move to the last item at or below `key`; None, and before the first, if there is none.

        Raises as `seek`.

        Example:
            >>> s.update({10: b"ten", 20: b"twenty"})
            >>> cursor = s.cursor()
            >>> cursor.seek_for_prev(15), cursor.next()
            ((10, b'ten'), (20, b'twenty'))

        """
        return self._moved(self._snapshot.floor(key), _Side.BEFORE)

    def close(self) -> None:
        """Let go of the moment; later moves raise ClosedError. A cursor that is dropped is closed, too. O(1).

        Example:
            >>> cursor = s.cursor()
            >>> cursor.close()
            >>> cursor.next()
            Traceback (most recent call last):
            ...
            alexpy.errors.ClosedError: the cursor is closed

        """
        if self._owned and self._open is not None:
            self._open.close()
        self._open = None

    def __enter__(self) -> Self:
        """Return the cursor."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the cursor."""
        self.close()

    def __reduce__(self) -> str:
        """Refuse: another process has no part in what keeps the moment readable."""
        raise TypeError("a cursor cannot be pickled; pickle the key that it is on, and seek(key) elsewhere")

    def __repr__(self) -> str:
        """Name the place."""
        if isinstance(self._at, _Side):
            return f"<alexpy.Cursor {self._at.value}>"
        return f"<alexpy.Cursor at {self._at!r}>"

    @property
    def _snapshot(self) -> Snapshot[K, V]:
        if self._open is None:
            raise ClosedError("the cursor is closed")
        return self._open

    def _check(self) -> None:
        """Raise where the store or the cursor is closed, as a move does."""
        len(self._snapshot)

    def _moved(self, item: tuple[K, V] | None, side: _Side) -> tuple[K, V] | None:
        self._item, self._at = item, side if item is None else item[0]
        return item
