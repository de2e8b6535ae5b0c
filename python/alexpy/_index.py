"""`AlexIndex`: the Python-shaped half of the in-memory index, on top of the native class.

Calls that reach the index are native methods; here is the rest of a mapping. No index logic.
"""

from __future__ import annotations

import os  # noqa: TC003 - named in a signature that help() shows
from collections.abc import ItemsView, Iterable, KeysView, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self, SupportsIndex, TypeVar, overload

from . import _alexpy
from ._mapping import Items, Keys, Merging, Values, columns, has
from ._types import K

if TYPE_CHECKING:
    import uuid

    import numpy as np
    from _typeshed import SupportsKeysAndGetItem
    from matplotlib.figure import Figure

    from .config import Integers, Moments

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
    mean_depth: float
    """Nodes on the way to a key, on average over the keys."""
    leaves: int
    """Data nodes."""
    plain_leaves: int
    """Data nodes that no model fits: they are searched by bisection."""
    largest_leaf: int
    """Slots of the largest data node: the most that one insert can move."""
    inner_nodes: int
    """Model nodes."""
    pointer_entries: int
    """Child entries of all model nodes."""
    slots: int
    """Slots of all data nodes, gaps included."""
    fill: float
    """Share of the slots that hold a key, from 0 to 1."""
    bytes: int
    """Bytes of memory."""
    mean_error: float
    """Mean distance, in slots, between where the model predicts a key to be and where it is."""
    max_error: int
    """The largest such distance, in slots."""
    errors: tuple[int, ...]
    """Number of keys by that distance in slots: at 0, at 1, from 2 to 3, from 4 to 7, and so on."""
    simd: str
    """The instruction set that searches data nodes."""

    @property
    def bytes_per_key(self) -> float:
        """Bytes of memory for each key; 0 if there is none.

        Example:
            >>> x.put_many(range(1000), range(1000))
            1000
            >>> 16 < x.stats().bytes_per_key < 40
            True

        """
        return self.bytes / self.keys if self.keys else 0.0

    def __str__(self) -> str:
        """Return the figures in a few lines, for `print`."""
        lines = [
            f"AlexIndex of {self.keys:,} keys in {self.bytes:,} bytes: {self.bytes_per_key:.1f} a key",
            f"  height {self.height}; a key is {self.mean_depth:.2f} nodes down on average",
            f"  {_named(self.inner_nodes, 'model node')} with {_named(self.pointer_entries, 'child entry')}",
            f"  {_named(self.leaves, 'data node')}, {self.plain_leaves:,} plain; search: {self.simd}",
            f"  {_named(self.slots, 'slot')}, {self.fill:.1%} full, {self.largest_leaf:,} at most in a node",
            f"  a key is {self.mean_error:.2f} slots from where its model says, {self.max_error:,} at most:",
        ]
        known = sum(self.errors)
        most = max(self.errors, default=0)
        last = max((place for place, keys in enumerate(self.errors) if keys), default=-1)
        for place, keys in enumerate(self.errors[: last + 1]):
            low, high = (1 << place) >> 1, (1 << place) - 1
            name = "exact" if place == 0 else f"{low:,}" if low == high else f"{low:,}-{high:,}"
            bar = "#" * round(40 * keys / most)
            lines.append(f"  {name:>13} {keys / known:6.1%} {bar}".rstrip())
        return "\n".join(lines)


def _named(count: int, name: str) -> str:
    if count == 1:
        return f"1 {name}"
    return f"{count:,} {name[:-1]}ies" if name.endswith("y") else f"{count:,} {name}s"


class AlexIndex(Merging, _alexpy.AlexIndex[K]):
    """An ordered mapping of keys to int64 values in memory, indexed by learned models (ALEX).

    A `MutableMapping[K, int]`. `AlexIndex(keys, values)` loads many at once, in any order; the last duplicate
    wins. Without `values`, each key's value is its position. `AlexIndex(mapping)` takes the items of a
    mapping. Keys and values are what `operator.index` takes, within int64; `key` chooses other keys, as in
    `alexpy.open`: "uint64", "datetime64[s]" ("[ms]", "[us]", "[ns]") or "uuid". Iteration is in key order,
    over the index as it was when the iterator was made. All methods may be called from many threads. Pickling
    copies the data.

    In the examples `x` is an empty index of int64 keys.

    Example:
        >>> index = AlexIndex(np.array([30, 10, 20]))
        >>> list(index.items())
        [(10, 1), (20, 2), (30, 0)]
        >>> index.floor(25)
        (20, 2)
        >>> days = AlexIndex(np.array(["2026-11-29", "2026-01-01"], "M8[s]"), key="datetime64[s]")
        >>> days.first()
        (np.datetime64('2026-01-01T00:00:00'), 1)

    """

    __slots__ = ()

    def __new__(cls, keys: Any = None, values: Any = None, *, key: str | None = None) -> Self:
        """Load `keys` and `values`, or the items of a mapping that is the only argument."""
        if key is None and isinstance(keys, AlexIndex):
            key = keys.key_kind
        if isinstance(keys, Mapping):
            if values is not None:
                raise TypeError("AlexIndex() got a mapping, which has values of its own, and values")
            keys, values = keys.scan_arrays() if isinstance(keys, AlexIndex) else columns(keys)
        elif isinstance(keys, (set, frozenset)):
            raise TypeError(
                f"keys is a {type(keys).__name__}, whose order says nothing of positions; "
                "sorted(keys) makes a list"
            )
        return super().__new__(cls, keys, values, key=key)

    @overload
    def __init__(
        self: AlexIndex[int], keys: Any = ..., values: Any = ..., *, key: Integers | None = ...
    ) -> None: ...
    @overload
    def __init__(
        self: AlexIndex[np.datetime64], keys: Any = ..., values: Any = ..., *, key: Moments
    ) -> None: ...
    @overload
    def __init__(
        self: AlexIndex[uuid.UUID], keys: Any = ..., values: Any = ..., *, key: Literal["uuid"]
    ) -> None: ...
    def __init__(self, keys: Any = None, values: Any = None, *, key: str | None = None) -> None:
        """Tell type checkers what the keys are; `__new__` has made everything."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Open the file that `save` wrote at `path`: at once, whatever its size.

        The file is mapped, copy on write: changes stay in memory and never reach it, and processes that load
        the same file share its pages. It may be replaced by `save` or removed meanwhile; if another program
        truncates it, the process ends (SIGBUS). Header and tables are checked now, each 64 KiB of the rest
        when a call first needs it. If those are damaged, that call and every later one raise CorruptionError.
        `check` reads everything. O(1) in practice: a thousandth of the file is read.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: it is not a saved index, or not even a file, or needs a newer alexpy.
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
    def pop(self, key: SupportsIndex | K) -> int: ...
    @overload
    def pop(self, key: SupportsIndex | K, default: _T) -> int | _T: ...
    def pop(self, key: Any, default: object = _MISSING) -> object:
        """Remove `key` and return its value, or `default` if the key is absent.

        No two threads get the same value. O(1) in practice.

        Raises:
            KeyError: the key is absent and no default was given.

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

    def update(self, other: SupportsKeysAndGetItem[K, int] | Iterable[tuple[K, int]] = (), /) -> None:
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
        self.put_many(*columns(other))

    # `|=` keeps what it is, where `|` makes a dict.
    def __ior__(  # type: ignore[misc, override]
        self, other: SupportsKeysAndGetItem[K, int] | Iterable[tuple[K, int]], /
    ) -> Self:
        """Store every item of `other`, as `update` does."""
        self.update(other)
        return self

    def keys(self) -> KeysView[K]:
        """Return a view of the keys, ascending; O(1).

        Example:
            >>> x.update({2: 20, 1: 10})
            >>> list(x.keys())
            [1, 2]

        """
        return Keys(self)

    def values(self) -> ValuesView[int]:
        """Return a view of the values, in the order of their keys; O(1).

        Example:
            >>> x.update({2: 20, 1: 10})
            >>> list(x.values())
            [10, 20]

        """
        return Values(self)

    def items(self) -> ItemsView[K, int]:
        """Return a view of the (key, value) pairs, in key order; O(1).

        Example:
            >>> x.update({2: 20, 1: 10})
            >>> list(x.items())
            [(1, 10), (2, 20)]

        """
        return Items(self)

    def stats(self) -> IndexStats:
        """Return the figures of this moment; `print` shows them in words. O(slots).

        Example:
            >>> x.stats().keys
            0
            >>> x.put_many(range(0, 3000, 3), range(1000))
            1000
            >>> print(x.stats())  # doctest: +ELLIPSIS
            AlexIndex of 1,000 keys in ...

        """
        return IndexStats(**self._stats())

    def plot(self) -> Figure:
        """Draw the key distribution, the models, and how far keys lie from their predictions.

        Returns a `matplotlib.figure.Figure`: notebooks show it, `plot().savefig("index.png")` keeps it.
        Four pictures: the keys against their ranks with every data node; a close-up of one data node with its
        model; the error and the fill of every data node; the distribution of the errors. O(slots).

        Raises:
            ImportError: matplotlib is not installed; `pip install alexpy[plot]` installs it.
            IndexError: another thread removes keys meanwhile; draw a copy.

        Example:
            >>> x.put_many(np.arange(1000) ** 2, np.arange(1000))
            1000
            >>> figure = x.plot()  # doctest: +SKIP
            >>> figure.savefig("squares.png")  # doctest: +SKIP

        """
        from . import _plot  # noqa: PLC0415 - matplotlib is optional, and slow to import

        return _plot.draw(self)

    def _repr_html_(self) -> str:
        """Return a table of the first and the last items, for notebooks; O(1)."""
        from ._html import table  # noqa: PLC0415 - for notebooks only

        return table(self)

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a mapping with the same items; O(keys)."""
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        if isinstance(other, AlexIndex) and other.key_kind == self.key_kind:
            own, others = self.scan_arrays(), other.scan_arrays()
            return own[0].tobytes() == others[0].tobytes() and own[1].tobytes() == others[1].tobytes()
        if isinstance(other, AlexIndex) and not _comparable({self.key_kind, other.key_kind}):
            # A number may stand for a UUID, but is none.
            return not self
        return all(has(other, key) and other[key] == value for key, value in self.scan())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the keys, their kind, and the values; and what a subclass has added."""
        return _again, (type(self), self.key_kind, *self.scan_arrays()), self.__getstate__()

    def __repr__(self) -> str:
        """Name the number of keys, and their kind if it is not int64."""
        kind = "" if self.key_kind == "int64" else f"{self.key_kind} "
        return f"<alexpy.AlexIndex of {len(self)} {kind}keys>"


def _comparable(kinds: set[str]) -> bool:
    """Whether keys of these kinds may equal each other."""
    return kinds == {"int64", "uint64"} or all(kind.startswith("datetime64") for kind in kinds)


def _again(cls: type[AlexIndex[Any]], kind: str, keys: Any, values: Any) -> AlexIndex[Any]:
    return cls(keys, values, key=kind)  # type: ignore[call-overload, no-any-return]


# An ABC as a real base would give the native class a metaclass; for type checkers the stub names it as one.
MutableMapping.register(AlexIndex)
