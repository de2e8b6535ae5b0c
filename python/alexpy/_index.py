"""`AlexIndex`: the Python-shaped half of the in-memory index, on top of the native class.

As in `_store`, calls that reach the index are native methods; here is the rest of a mapping. No index logic.
"""

from __future__ import annotations

import os  # noqa: TC003 - named in a signature that help() shows
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from . import _alexpy

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

__all__ = ["AlexIndex", "IndexStats"]

_T = TypeVar("_T")
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Figures of an `AlexIndex` at one moment; what `AlexIndex.stats` returns.

    Example:
        >>> x[1] = 10
        >>> x.stats().keys
        1

    """

    keys: int
    """Keys in the index."""
    height: int
    """Nodes on the longest path from the root to a data node, both counted."""
    leaves: int
    """Data nodes."""
    inner_nodes: int
    """Model nodes."""
    slots: int
    """Slots of all data nodes, gaps included."""
    fill: float
    """Keys for each slot, from 0 to 1."""
    bytes: int
    """Bytes of memory."""
    mean_error: float
    """Mean distance, in slots, between where a model looks for a key and where it is."""
    max_error: int
    """The largest such distance, in slots."""


class AlexIndex(_alexpy.AlexIndex):
    """An ordered mapping of int64 keys to int64 values in memory, indexed by learned models (ALEX).

    A `MutableMapping[int, int]`. `AlexIndex(keys, values)` loads many at once, in any order, the last
    duplicate winning; without `values`, each key's value is its position. Keys and values are what
    `operator.index` takes, within int64. Iteration is in key order, over the index as it was when the
    iterator was made. All methods may be called from many threads. Pickles its data.

    In the examples `x` is an empty index.

    Example:
        >>> index = AlexIndex(np.array([30, 10, 20]))
        >>> list(index.items())
        [(10, 1), (20, 2), (30, 0)]
        >>> index.floor(25)
        (20, 2)

    """

    __slots__ = ()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Open the file that `save` wrote at `path`: at once, whatever its size.

        The file is mapped, copy on write: changes stay in memory and never reach it, and processes that load
        the same file share its pages. It may be replaced by `save` or removed meanwhile; another program that
        cuts it short ends the process (SIGBUS). Header and tables are checked now, each 64 KiB of the rest
        when a call first needs it, which then raises CorruptionError if they are damaged, as every later call
        does. `check` reads everything. O(1) in practice: a thousandth of the file is read.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: it is no saved index, or needs a newer alexpy.
            CorruptionError: it is damaged; `path`, `offset`, `expected` and `found` say where and how.
            OSError: the operating system refuses.

        Example:
            >>> x.put_many([1, 2, 3], [10, 20, 30])
            3
            >>> x.save(path)
            >>> AlexIndex.load(path).scan_arrays()[1].tolist()
            [10, 20, 30]

        """
        index = cls()
        index._load(path)
        return index

    @overload
    def pop(self, key: int) -> int: ...
    @overload
    def pop(self, key: int, default: _T) -> int | _T: ...
    def pop(self, key: int, default: object = _MISSING) -> object:
        """Remove `key` and return its value, or `default` where the key is not there.

        No two threads get the same value. O(1) in practice.

        Raises:
            KeyError: the key is not there and no default was given.

        Example:
            >>> x[1] = 10
            >>> x.pop(1), x.pop(1, None)
            (10, None)

        """
        value = self._take(key)
        if value is not None:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def update(self, other: SupportsKeysAndGetItem[int, int] | Iterable[tuple[int, int]] = (), /) -> None:
        """Store every item of a mapping or of an iterable of (key, value).

        The last duplicate of a key wins. O(items). Raises as `put_many`; nothing is stored then.

        Example:
            >>> x.update({1: 10, 2: 20})
            >>> len(x)
            2

        """
        if isinstance(other, AlexIndex):
            self.put_many(*other.scan_arrays())
            return
        keys: list[int] = []
        values: list[int] = []
        for key, value in _pairs(other):
            keys.append(key)
            values.append(value)
        self.put_many(keys, values)

    def keys(self) -> KeysView[int]:
        """Return a view of the keys, ascending; O(1).

        Example:
            >>> x.update({2: 20, 1: 10})
            >>> list(x.keys())
            [1, 2]

        """
        return _Keys(self)

    def values(self) -> ValuesView[int]:
        """Return a view of the values, in the order of their keys; O(1).

        Example:
            >>> x.update({2: 20, 1: 10})
            >>> list(x.values())
            [10, 20]

        """
        return _Values(self)

    def items(self) -> ItemsView[int, int]:
        """Return a view of the (key, value) pairs, in key order; O(1).

        Example:
            >>> x.update({2: 20, 1: 10})
            >>> list(x.items())
            [(1, 10), (2, 20)]

        """
        return _Items(self)

    def stats(self) -> IndexStats:
        """Return the figures of this moment; O(nodes), and O(keys) for the model errors.

        Example:
            >>> x.stats().keys
            0

        """
        return IndexStats(**self._stats())

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a mapping with the same items; O(keys)."""
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        if isinstance(other, AlexIndex):
            own, others = self.scan_arrays(), other.scan_arrays()
            return own[0].tobytes() == others[0].tobytes() and own[1].tobytes() == others[1].tobytes()
        return all(key in other and other[key] == value for key, value in self.scan())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the keys and the values."""
        return type(self), self.scan_arrays()

    def __repr__(self) -> str:
        """Name the number of keys."""
        return f"<alexpy.AlexIndex of {len(self)} keys>"


# An ABC as a real base would give the native class a metaclass; for type checkers the stub names it as one.
MutableMapping.register(AlexIndex)


class _Keys(KeysView[int]):
    _mapping: AlexIndex

    def __iter__(self) -> Iterator[int]:
        return self._mapping.scan_keys()

    def __reversed__(self) -> Iterator[int]:
        return self._mapping.scan_keys(reverse=True)


class _Values(ValuesView[int]):
    _mapping: AlexIndex

    def __contains__(self, value: object) -> bool:
        return any(value == stored for stored in self._mapping.scan_values())

    def __iter__(self) -> Iterator[int]:
        return self._mapping.scan_values()

    def __reversed__(self) -> Iterator[int]:
        return self._mapping.scan_values(reverse=True)


class _Items(ItemsView[int, int]):
    _mapping: AlexIndex

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return self._mapping.scan()

    def __reversed__(self) -> Iterator[tuple[int, int]]:
        return self._mapping.scan(reverse=True)


def _pairs(other: Any) -> Iterable[tuple[int, int]]:
    if isinstance(other, Mapping):
        return other.items()
    if hasattr(other, "keys"):
        return ((key, other[key]) for key in other.keys())  # noqa: SIM118 - the protocol of dict.update
    return other  # type: ignore[no-any-return]
