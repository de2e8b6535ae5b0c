"""What `Store` and `Snapshot` have in common beyond their native base class: the Python-shaped reads.

No engine logic.
"""

from __future__ import annotations

import operator
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Generic

from . import _alexpy
from ._cursor import Cursor
from ._integers import integer, shown
from ._mapping import Items, Keys, Merging, Values, has, same
from ._types import K, V
from .codecs import row_type

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import CapsuleType

    class _Base(_alexpy.Reader[K, V]):
        pass
else:
    _Base = Generic


class _ArrowItems(Items[K, V]):
    """The pairs of a store, which Arrow libraries read as columns.

    For those that take a mapping for something else than rows, as polars does.
    """

    _mapping: Reads[K, V]

    def __arrow_c_schema__(self) -> CapsuleType:
        """Return the type of the stream."""
        return self._mapping.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType:
        """Return the pairs as they are now, as a stream of the columns `key` and `value`."""
        return self._mapping.__arrow_c_stream__(requested_schema)


class Reads(Merging, _Base[K, V]):
    """Reads in the shapes that Python code expects; mixed into the native classes."""

    __slots__ = ()

    def cursor(self) -> Cursor[K, V]:
        """Return a cursor before the first item, which moves both ways over the items as they are now.

        It keeps this moment readable, as a snapshot does, until it is closed or dropped. O(1).

        Raises:
            ClosedError: the store or the snapshot is closed.

        Example:
            >>> s.update({10: b"ten", 20: b"twenty"})
            >>> with s.cursor() as cursor:
            ...     cursor.seek(15), cursor.prev(), cursor.prev()
            ((20, b'twenty'), (10, b'ten'), None)

        """
        this: Any = self
        if isinstance(self, _alexpy.Store):
            return Cursor(this.snapshot(), owned=True)
        # Of one that is closed there is no length.
        len(this)
        return Cursor(this, owned=False)

    def get_array(
        self,
        keys: Any,
        dtype: DTypeLike | None = None,
        shape: tuple[int, ...] | int = (),
        *,
        fill: Any = None,
        out: np.ndarray[Any, Any] | None = None,
    ) -> np.ndarray[Any, Any]:
        """Return the values of many keys, all of one length, in one array of shape (len(keys), *shape).

        The fastest way to read: no object is made for a value. `keys` as in `put_many`; each value is the raw
        memory of one row, an element or an array of `shape` of the native `dtype` given, or where that is
        None what the codec of the store has (`codecs.numpy`, `codecs.struct`). The rows have the
        order and the duplicates of `keys`. An absent key raises KeyError, or gives a row of `fill`: anything
        that `codecs.numpy` would take for a value of this dtype, broadcast to the shape.
        `out`, an array of exactly that dtype and shape, is filled and returned instead of a new array. In a
        loop that saves fresh memory from the operating system, which can take as long as the reading.
        After an error some rows of `out` may be written. No other thread may free or resize it meanwhile, as
        NumPy allows with `refcheck=False`. O(keys + bytes), the GIL released; large batches are read
        by up to four threads.

        Raises:
            KeyError: a key is absent and no `fill` was given.
            ValueError: a value is not as long as a row (the message names the key), `fill` would change as a
                row, or `out` has another shape, is not C-contiguous, is read-only, or shares memory with
                `keys`.
            TypeError: `dtype` holds Python objects, or is None in a store whose values are no rows, `keys`
                are no keys, or `out` is no array of `dtype`.
            MemoryError: there is no memory for so many rows.

        Example:
            >>> s.put_many([1, 2], np.array([[0.5, 1.5], [2.5, 3.5]]))
            2
            >>> s.get_array([2, 1, 9], np.float64, (2,), fill=0).tolist()
            [[2.5, 3.5], [0.5, 1.5], [0.0, 0.0]]
            >>> batch = np.empty((2, 2))
            >>> s.get_array([2, 1], np.float64, (2,), out=batch) is batch
            True

        """
        # Imported by now, except on the command line, which does without (_ahead.py). Written with its whole
        # name, the statement takes a quarter of a microsecond.
        import alexpy._convert as convert  # noqa: PLC0415

        if dtype is None:
            dtype, shape = row_type(self.codec)
        row = convert.Row(dtype, shape, fill)
        if out is None:
            return row.array(*self._get_rows(keys, row.nbytes, row.filled, None))
        if convert.share_memory(keys, out):
            raise ValueError("out shares memory with keys")
        # The call takes the memory of `out` after it has read the keys: their code may do anything to `out`.
        self._get_rows(keys, row.nbytes, row.filled, (row.memory, out))
        return out

    def sample(self, n: int, seed: Any = None) -> NDArray[Any]:
        """Return `n` different keys, drawn at random with equal chances, in random order, as an array.

        All of one moment. `seed` is what `np.random.default_rng` takes: the same one draws the same keys from
        the same store. O(n log n), and once as `rank`; with `n` above a fiftieth of the keys also the memory
        of 8 bytes for each key.

        Raises:
            ValueError: `n` is negative, or there are not so many keys.
            TypeError: `n` is not an int.

        Example:
            >>> s.put_many(range(100), [b""] * 100)
            100
            >>> keys = s.sample(5, seed=1)
            >>> len(set(keys.tolist())), bool((keys == s.sample(5, seed=1)).all())
            (5, True)

        """
        import numpy as np  # noqa: PLC0415 - imported by now, except on the command line

        n = integer(n, "n")
        kept: Any = self if isinstance(self, _alexpy.Snapshot) else self.snapshot()  # type: ignore[attr-defined]
        there = len(kept)
        if not 0 <= n <= there:
            raise ValueError(f"n must be from 0 to the number of keys, {there}, not {shown(n)}")
        ranks = np.random.default_rng(seed).choice(there, n, replace=False) if n else np.empty(0, np.int64)
        keys: NDArray[Any] = kept._keys_of_ranks(ranks)  # noqa: SLF001 - of a snapshot
        return keys

    def _keys_of_ranks(self, ranks: NDArray[np.int64]) -> NDArray[Any]:
        """Return the keys at `ranks`, each below the number of keys, in their order."""
        import numpy as np  # noqa: PLC0415 - as in `sample`

        order = np.argsort(ranks)
        found = self._keys_at(ranks[order])
        keys = np.empty_like(found)
        keys[order] = found
        return keys

    def keys(self) -> KeysView[K]:
        """Return a view of the keys, ascending; O(1).

        Example:
            >>> s.update({2: b"two", 1: b"one"})
            >>> list(s.keys()), 2 in s.keys()
            ([1, 2], True)

        """
        return Keys(self)

    def values(self) -> ValuesView[V]:
        """Return a view of the values, in the order of their keys; O(1).

        Example:
            >>> s.update({2: b"two", 1: b"one"})
            >>> list(s.values())
            [b'one', b'two']

        """
        return Values(self)

    def items(self) -> ItemsView[K, V]:
        """Return a view of the (key, value) pairs, in key order, which Arrow libraries read as columns; O(1).

        Example:
            >>> s.update({2: b"two", 1: b"one"})
            >>> list(s.items())
            [(1, b'one'), (2, b'two')]

        """
        return _ArrowItems(self)

    def _repr_html_(self) -> str:
        """Return a table of the first and the last items, for notebooks; O(1)."""
        from ._html import table  # noqa: PLC0415 - for notebooks only

        return table(self)

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a mapping with the same items; streams both, O(bytes)."""
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        equal = operator.eq if self.codec is None else same
        if not isinstance(other, _alexpy.Reader):
            return all(has(other, key) and equal(other[key], value) for key, value in self.scan())
        if self.codec is None and other.codec is None:
            return all(mine == its for mine, its in zip_longest(self.scan(), other.scan()))
        pairs = zip_longest(self.scan(), other.scan(), fillvalue=(None, None))
        return all(key == its_key and same(value, its) for (key, value), (its_key, its) in pairs)

    __hash__ = None  # type: ignore[assignment]
