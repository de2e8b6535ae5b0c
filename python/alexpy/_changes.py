"""`Change`: what `Store.changes` yields."""

from __future__ import annotations

from typing import Generic, NamedTuple

from ._types import K, V

__all__ = ["Change", "KeyRange"]


class KeyRange(NamedTuple, Generic[K]):
    """Neighbouring keys that were removed at once, where keys are no integers: all from `first` to `last`.

    Example:
        >>> KeyRange(np.datetime64("2026-01-01"), np.datetime64("2026-01-31")).first
        np.datetime64('2026-01-01')

    """

    first: K
    """The lowest key of the range."""
    last: K
    """The highest key of the range."""


class Change(NamedTuple, Generic[K, V]):
    """One committed change of a store: its sequence number, the key, and the value or None.

    None means that the key was removed. Where a whole range of keys was removed at once (`delete_range`,
    `clear`), `key` is the `range` of them, or a `KeyRange` where keys are moments or UUIDs.

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
    key: K | range | KeyRange[K]
    """The key, or the range of keys that was removed."""
    value: V | None
    """The value stored under the key; None if it was removed."""
