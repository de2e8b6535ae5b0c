"""`Change`: what `Store.changes` yields."""

from __future__ import annotations

from typing import Generic, NamedTuple

from ._types import K, V

__all__ = ["Change"]


class Change(NamedTuple, Generic[K, V]):
    """One committed change of a store: its sequence number, the key, and the value or None.

    None means that the key was removed. Where a whole range of keys was removed at once (`delete_range`,
    `clear`), `key` is the `range` of them.

    Example:
        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> seq = s.stats().last_seq
        >>> s.delete_range(2)
        2
        >>> [change] = s.changes(since=seq)
        >>> change.key.start, change.key.stop == 2**63, change.value
        (2, True, None)

    """

    seq: int
    """Sequence number of the change; it rises from change to change, with gaps."""
    key: K | range
    """The key, or the range of keys that was removed."""
    value: V | None
    """The value stored under the key; None if it was removed."""
