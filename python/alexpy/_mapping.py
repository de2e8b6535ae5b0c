"""What the mappings of this package have in common: views, `|`, the input of `update`, and the `with` block.

Shared by `Store`, `AlexIndex` and `rocks.RocksStore`. The views need `scan`, `scan_keys`, `scan_values` and
`keys_array`; `Closing` needs `closed`, `path` and `close`. Knows nothing of how those are implemented. O(1)
beyond those calls.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from .errors import AlexError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import DTypeLike, NDArray

_K = TypeVar("_K")
_V = TypeVar("_V")
_V_co = TypeVar("_V_co", covariant=True)


class _Ordered(Protocol[_K, _V_co]):
    def get(self, key: _K, /) -> _V_co | None: ...
    def scan(self, *, reverse: bool = False) -> Iterator[tuple[_K, _V_co]]: ...
    def scan_keys(self, *, reverse: bool = False) -> Iterator[_K]: ...
    def scan_values(self, *, reverse: bool = False) -> Iterator[_V_co]: ...
    def keys_array(self) -> NDArray[Any]: ...


class _Closable(Protocol):
    @property
    def closed(self) -> bool: ...
    @property
    def path(self) -> Path: ...
    def close(self) -> None: ...


def has(mapping: Any, key: object) -> bool:
    """Whether some key equals `key`. A view is a set, so an object of any type is just not in it.

    Example:
        >>> has(s, "text"), has(s, 2**200)
        (False, False)

    """
    try:
        return key in mapping
    except AlexError:
        raise
    except (OverflowError, ValueError):
        # No key of this kind: an integer too large, NaT, bytes of another length.
        return False
    except TypeError:
        try:
            whole = int(key)  # type: ignore[call-overload]
            return bool(whole == key) and whole in mapping
        except (TypeError, ValueError, OverflowError):
            return False


def same(one: object, other: object) -> bool:
    """Whether two values are equal; arrays, whether their shapes and all their elements are.

    Example:
        >>> same(b"a", b"a"), same(np.array([1, 2]), [1, 2]), same(np.array([1, 2]), [1, 3])
        (True, True, False)

    """
    if hasattr(one, "__array__") or hasattr(other, "__array__"):
        import numpy as np  # noqa: PLC0415 - whoever has an array has imported it

        return np.array_equal(one, other)  # type: ignore[arg-type]
    return bool(one == other)


class Keys(KeysView[_K]):
    """The keys, ascending; `in` and `len` ask the mapping."""

    _mapping: _Ordered[_K, Any]

    def __contains__(self, key: object) -> bool:
        """Whether some key equals `key`; O(1) in practice."""
        return has(self._mapping, key)

    def __iter__(self) -> Iterator[_K]:
        """Iterate over the keys as they are now."""
        return self._mapping.scan_keys()

    def __reversed__(self) -> Iterator[_K]:
        """Iterate over the keys, descending."""
        return self._mapping.scan_keys(reverse=True)

    def __array__(
        self,
        dtype: DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001 - the protocol of NumPy
    ) -> NDArray[Any]:
        """Return the keys as an array, for `np.asarray` and what takes arrays; O(keys)."""
        if copy is False:
            raise ValueError("the keys do not lie in an array that could be lent; leave out copy=False")
        keys = self._mapping.keys_array()
        return keys if dtype is None else keys.astype(dtype, copy=False)


class Values(ValuesView[_V]):
    """The values, in the order of their keys."""

    _mapping: _Ordered[Any, _V]

    def __contains__(self, value: object) -> bool:
        """Whether some key has this value; O(bytes)."""
        return any(same(value, stored) for stored in self._mapping.scan_values())

    def __iter__(self) -> Iterator[_V]:
        """Iterate over the values as they are now."""
        return self._mapping.scan_values()

    def __reversed__(self) -> Iterator[_V]:
        """Iterate over the values, from the highest key down."""
        return self._mapping.scan_values(reverse=True)


class Items(ItemsView[_K, _V]):
    """The (key, value) pairs, in key order; `in` and `len` ask the mapping."""

    _mapping: _Ordered[_K, _V]

    def __contains__(self, item: object) -> bool:
        """Whether some key and its value equal `item`; O(1) in practice."""
        if not isinstance(item, tuple) or len(item) != 2 or not has(self._mapping, item[0]):  # noqa: PLR2004
            return False
        try:
            value = self._mapping.get(item[0])
        except AlexError:
            raise
        except TypeError:
            # A float that equals an integer.
            value = self._mapping.get(int(item[0]))  # type: ignore[arg-type]
        return value is not None and same(value, item[1])

    def __iter__(self) -> Iterator[tuple[_K, _V]]:
        """Iterate over the pairs as they are now."""
        return self._mapping.scan()

    def __reversed__(self) -> Iterator[tuple[_K, _V]]:
        """Iterate over the pairs, from the highest key down."""
        return self._mapping.scan(reverse=True)


def _table(other: Any) -> tuple[Any, Any] | None:
    if not any(hasattr(other, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "iloc")):
        return None
    if hasattr(other, "iloc") and not hasattr(other, "columns"):
        # A column of pandas has its keys beside it, also if it is one of Arrow.
        return None
    # Only now: the command line does without NumPy.
    from . import _convert  # noqa: PLC0415

    return _convert.table(other, "update()")


def columns(other: Any) -> tuple[Any, Any]:
    """Return the keys and the values of what `dict.update` takes, or of a table of just these two columns.

    Raises:
        TypeError: it is another table; or None, or not iterable.

    """
    if other is None:
        raise TypeError("update() got None; give a mapping of keys to values, or (key, value) pairs")
    if isinstance(other, Mapping):
        pairs: Iterable[tuple[Any, Any]] = other.items()
    elif (table := _table(other)) is not None:
        return table
    elif hasattr(other, "iloc"):
        # A column of pandas, whose labels need not be unique.
        pairs = other.items()
    elif hasattr(other, "keys"):
        pairs = ((key, other[key]) for key in other.keys())  # noqa: SIM118 - the protocol of dict.update
    else:
        pairs = other
    keys, values = [], []
    for place, pair in enumerate(pairs):
        try:
            key, value = pair
        except (TypeError, ValueError):
            raise TypeError(
                "update() takes a mapping, (key, value) pairs, or a table of the columns key and value; "
                f"item {place} is {pair!r:.60}"
            ) from None
        keys.append(key)
        values.append(value)
    return keys, values


class Merging:
    """`|` as that of a dict: a new dict with the items of both sides, in which the right side wins."""

    __slots__ = ()

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return a dict of these items and those of `other`, which win; O(bytes)."""
        if not isinstance(other, Mapping):
            return NotImplemented
        merged = dict(self.scan())  # type: ignore[attr-defined]
        merged.update(other.items())
        return merged

    def __ror__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return a dict of the items of `other` and these, which win; O(bytes)."""
        if not isinstance(other, Mapping):
            return NotImplemented
        merged = dict(other.items())
        merged.update(self.scan())  # type: ignore[attr-defined]
        return merged


class Closing:
    """Closes a store at the end of its `with` block, or with a ResourceWarning when it is forgotten."""

    __slots__ = ()

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self: _Closable,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the store; what was committed stays, even if the block raised."""
        self.close()

    def __del__(self: _Closable) -> None:
        """Close a store that was not closed, with a warning."""
        if self.closed or sys.is_finalizing():
            # An exit without close() is as good as a kill: every returned write is safe.
            return
        if getattr(self, "_inherited", False):
            # The parent still has its handle; what this child opened for itself is closed without a warning.
            self.close()
            return
        try:
            warnings.warn(
                f"store {os.fspath(self.path)!r} was not closed; use `with` or close()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        finally:
            # Even if warnings are errors: the lock must not outlive the store.
            self.close()
