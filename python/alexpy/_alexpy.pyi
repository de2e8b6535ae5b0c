"""The extension module: the native halves of `Store` and `AlexIndex`, and `build_info`.

Docstrings below are those of the built module, put here by rust/python/stub_docs.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from os import PathLike
from pathlib import Path
from types import GenericAlias, TracebackType
from typing import (
    Any,
    Generic,
    Literal,
    Protocol,
    Self,
    SupportsIndex,
    TypeAlias,
    TypedDict,
    TypeVar,
    final,
    overload,
)

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import Buffer, CapsuleType, disjoint_base

from alexpy._changes import Change
from alexpy._types import K as _K
from alexpy._types import V as _V
from alexpy.codecs import Codec
from alexpy.config import Config
from alexpy.errors import AlexError

__all__ = [
    "AlexIndex",
    "ArrowArray",
    "ArrowStream",
    "BatchIterator",
    "ChangeIterator",
    "IndexIterator",
    "Reader",
    "RowIterator",
    "ScanBatch",
    "Snapshot",
    "Store",
    "StoreIterator",
    "ValueBuffers",
    "WriteBatch",
    "_ArrowInput",
    "_arrow_input",
    "_checksum_records",
    "_list_mirror",
    "_repair",
    "_settle_mirror",
    "_shuffled",
    "_verify_files",
    "build_info",
]

_T = TypeVar("_T")
_Scalar = TypeVar("_Scalar", bound=np.generic)

class _ArrowArray(Protocol):
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...

# A column, or a table, of an Arrow library.
_Arrow: TypeAlias = _ArrowArray | _ArrowStream
_Ints: TypeAlias = Iterable[SupportsIndex] | Buffer | _Arrow
_Keys: TypeAlias = Iterable[SupportsIndex] | Iterable[_K] | Buffer | _Arrow
# NumPy declares its arrays as buffers from Python 3.12 on only.
_Value: TypeAlias = Buffer | NDArray[Any] | np.generic
_Values: TypeAlias = Iterable[_Value] | NDArray[Any] | _Arrow

class _BuildInfo(TypedDict):
    version: str
    profile: str
    simd: str
    simd_available: list[str]

def build_info() -> _BuildInfo:
    """Describes this build: `version`, `profile`, `simd` in use and `simd_available`.

    Returns a dict: `version` (str), `profile` ("release" or "debug"), `simd` (the backend that the
    index searches with) and `simd_available` (list of the backends this processor has). O(1).

    >>> sorted(alexpy.build_info())
    ['profile', 'simd', 'simd_available', 'version']
    """

def _verify_files(
    path: str | PathLike[str], progress: Callable[[int, int], object] | None
) -> tuple[int, int, list[AlexError]]:
    """Like `Store._verify`, for the files of a store that cannot be opened."""

def _repair(
    path: str | PathLike[str],
    dest: str | PathLike[str],
    mode: str,
    codec: str | None,
    progress: Callable[[int, int], object] | None,
) -> tuple[int, int, list[tuple[Path, int, int]], int | None]:
    """The figures of `alexpy.repair` as (kept, lost, damaged, kept by salvage)."""

def _list_mirror(path: str | PathLike[str], manifest: bytes, generation: int) -> None:
    """Makes the mirror in the directory `path` show what a backup's manifest lists; see `ship.follow`."""

def _settle_mirror(path: str | PathLike[str]) -> None:
    """Ends what a `_list_mirror` that was interrupted has begun."""

def _checksum_records(data: bytes, record_bytes: int) -> int:
    """The checksum of each record of `record_bytes` in `data`, folded into one number.

    For `alexpy bench profile` only. Raises ValueError if `record_bytes` is 0. O(len(data)), the GIL
    released.
    """

def _shuffled(positions: _Ints, n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """What stands at `positions`, an array of integers, in the order of `0..n` that `seed` and `epoch` make.

    Raises IndexError for a position outside `0..n`. O(positions).
    """

@disjoint_base
class Reader(Mapping[_K, _V]):
    """What `Store` and `Snapshot` have in common: the calls that read."""

    def __class_getitem__(cls, types: Any) -> GenericAlias: ...
    @property
    def key_kind(self) -> str:
        """What the keys are, as `open(key=...)` names it: "int64", "uuid", "datetime64[us]" and so on.

        Chosen when the store was made. O(1).

        >>> s.key_kind
        'int64'
        """
    @property
    def codec_name(self) -> str | None:
        """The name of the codec by which values are read and written; None where they are plain bytes.

        Chosen when the store was made. O(1).

        >>> s.codec_name is None
        True
        """
    @property
    def codec(self) -> Codec[Any] | None:
        """The `alexpy.codecs.Codec` of the values; None where they are bytes. O(1)."""
    @property
    def compression(self) -> Literal["zstd"] | None:
        """How values are compressed: "zstd", or None where they are stored as they are.

        Chosen when the store was made. O(1).

        >>> s.compression is None
        True
        """
    def __getitem__(self, key: SupportsIndex | _K, /) -> _V: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self, /) -> int: ...
    def __iter__(self, /) -> Iterator[_K]: ...
    def __reversed__(self, /) -> Iterator[_K]: ...
    def __arrow_c_schema__(self) -> CapsuleType: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...
    @overload
    def get(self, key: SupportsIndex | _K) -> _V | None:
        """The value of `key`, or `default` if the key is absent.

        It is bytes, or what the codec of the store makes of them (CodecError where it cannot). Raises
        TypeError or OverflowError for what is no key of the store's kind, CorruptionError if the stored value
        is damaged. O(1) in practice: one predicted position in the index, one read.

        >>> s[1] = b"one"
        >>> s.get(1), s.get(2), s.get(2, b"")
        (b'one', None, b'')
        """
    @overload
    def get(self, key: SupportsIndex | _K, default: _T) -> _V | _T: ...
    def get_view(self, key: SupportsIndex | _K) -> memoryview | None:
        """The value of `key` as a read-only memoryview of the stored bytes, or None.

        No codec is asked, and nothing is copied, unless the value is stored compressed. The view stays valid,
        with the same bytes, after the key is overwritten or deleted and after the store is closed. While it
        lives, the disk space of its segment is kept. Raises as `get`. O(1).

        >>> s[1] = b"one"
        >>> view = s.get_view(1)
        >>> del s[1]
        >>> bytes(view), view.readonly
        (b'one', True)
        """
    def _get_rows(
        self,
        keys: _Keys[_K],
        width: int,
        fill: bytes | None,
        out: tuple[Callable[[Any], NDArray[np.uint8]], Any] | None,
    ) -> tuple[NDArray[np.uint8], int]:
        """The part of `get_array` that reads: the values of `keys`, each `width` bytes, one after another.

        An absent key gets the bytes of `fill`, or raises KeyError. `out`, if not None, is a pair: a function
        that returns the memory of an array, and the array to read into.
        """
    @overload
    def get_many(  # type: ignore[overload-overlap]
        self: Reader[_K, NDArray[_Scalar]], keys: _Keys[_K], default: object = None
    ) -> NDArray[_Scalar]:
        """The values of many keys as a list, with `default` for absent keys.

        `keys` as in `put_many`; the list has their order and their duplicates. Values are bytes, or what the
        codec of the store makes of them. With a codec that makes rows of an array (`codecs.numpy`,
        `codecs.struct`) the result is one array of shape (len(keys), *shape), and an absent key is a KeyError
        unless there is a default, a value too. Raises TypeError, OverflowError or ValueError for what are no
        keys, CorruptionError if a stored value is damaged. O(keys); lookups are interleaved, with the GIL
        released. From 16,384 keys on, or ten MiB of long values, a second thread reads ahead.

        >>> s.put_many([1, 2], [b"one", b"two"])
        2
        >>> s.get_many([2, 1, 5])
        [b'two', b'one', None]
        """
    @overload
    def get_many(self, keys: _Keys[_K]) -> list[_V | None]:
        """The values of many keys as a list of bytes, with `default` for absent keys.

        `keys` as in `put_many`; the list has their order and their duplicates. Raises TypeError,
        OverflowError or ValueError for what are no keys, CorruptionError if a stored value is damaged.
        O(keys); lookups are interleaved, with the GIL released. From 16,384 keys on, or ten MiB of long
        values, a second thread reads ahead.

        >>> s.put_many([1, 2], [b"one", b"two"])
        2
        >>> s.get_many([2, 1, 5])
        [b'two', b'one', None]
        """
    @overload
    def get_many(self, keys: _Keys[_K], default: _T) -> list[_V | _T]: ...
    def get_buffers(self, keys: _Keys[_K]) -> ValueBuffers[_V]:
        """The values of many keys in one buffer with offsets: a `ValueBuffers`.

        For values of different lengths, without making an object for each; `get_array` is for values of one
        length. `keys` as in `put_many`; the result has their order and their duplicates, and says which keys
        were present. Raises as `get_many`. O(keys + bytes), the GIL released.

        >>> s.put_many([1, 2], [b"one", b"three"])
        2
        >>> s.get_buffers([2, 1]).offsets.tolist()
        [0, 5, 8]
        """
    def contains_many(self, keys: _Keys[_K]) -> NDArray[np.bool_]:
        """Which of many keys are present, as a bool array of the same length.

        `keys` and errors as in `get_many`. O(keys), no value is read, the GIL is released.

        >>> s[1] = b"one"
        >>> s.contains_many([0, 1]).tolist()
        [False, True]
        """
    def first(self) -> tuple[_K, _V] | None:
        """The item with the smallest key, or None if the store is empty.

        Returns (key, value). Raises ClosedError, CorruptionError. O(1).

        >>> s.put_many([1, 2], [b"one", b"two"])
        2
        >>> s.first()
        (1, b'one')
        """
    def last(self) -> tuple[_K, _V] | None:
        """The item with the largest key, or None if the store is empty.

        Returns (key, value). Raises ClosedError, CorruptionError. O(1).

        >>> s.put_many([1, 2], [b"one", b"two"])
        2
        >>> s.last()
        (2, b'two')
        """
    def floor(self, key: SupportsIndex | _K) -> tuple[_K, _V] | None:
        """The item with the largest key at or below `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> s.put_many([10, 20], [b"a", b"b"])
        2
        >>> s.floor(19), s.floor(9)
        ((10, b'a'), None)
        """
    def ceiling(self, key: SupportsIndex | _K) -> tuple[_K, _V] | None:
        """The item with the smallest key at or above `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> s.put_many([10, 20], [b"a", b"b"])
        2
        >>> s.ceiling(11), s.ceiling(21)
        ((20, b'b'), None)
        """
    def lower(self, key: SupportsIndex | _K) -> tuple[_K, _V] | None:
        """The item with the largest key below `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> s.put_many([10, 20], [b"a", b"b"])
        2
        >>> s.lower(20), s.lower(10)
        ((10, b'a'), None)
        """
    def higher(self, key: SupportsIndex | _K) -> tuple[_K, _V] | None:
        """The item with the smallest key above `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> s.put_many([10, 20], [b"a", b"b"])
        2
        >>> s.higher(10), s.higher(20)
        ((20, b'b'), None)
        """
    def scan(
        self,
        start: SupportsIndex | _K | None = None,
        stop: SupportsIndex | _K | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: SupportsIndex | None = None,
    ) -> Iterator[tuple[_K, _V]]:
        """Iterates over (key, value) of `start <= key < stop`, in key order.

        Bounds are keys, or any ints where keys are ints (clamped to them), or None for no bound;
        `include_start` and `include_stop` say whether a bound belongs to the range; `reverse=True` goes from
        the top without swapping the bounds; `limit` is the most items. The iterator sees the store as it was
        when the iterator was made, whatever is written meanwhile. Raises TypeError for other bounds,
        ValueError for a negative limit, ClosedError once the store is closed. O(1) to make, O(1) an item.

        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> list(s.scan(1, 3)), list(s.scan(limit=1, reverse=True))
        ([(1, b'a'), (2, b'b')], [(3, b'c')])
        """
    def scan_keys(
        self,
        start: SupportsIndex | _K | None = None,
        stop: SupportsIndex | _K | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: SupportsIndex | None = None,
    ) -> Iterator[_K]:
        """Iterates over the keys of a range; no value is read.

        Arguments and errors as in `scan`.

        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> list(s.scan_keys(2))
        [2, 3]
        """
    def scan_values(
        self,
        start: SupportsIndex | _K | None = None,
        stop: SupportsIndex | _K | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: SupportsIndex | None = None,
    ) -> Iterator[_V]:
        """Iterates over the values of a range, in the order of their keys.

        Arguments and errors as in `scan`.

        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> list(s.scan_values(stop=3))
        [b'a', b'b']
        """
    def floor_many(self, keys: _Keys[_K]) -> tuple[NDArray[Any], ValueBuffers[_V]]:
        """For many keys, the item at or below each: (found_keys, buffers).

        An as-of lookup: what was known at each of many times. `found_keys` is an array of the length of
        `keys`, `buffers` a `ValueBuffers` with the values. Where nothing lies at or below a key,
        `buffers.found` is False, the key 0 (NaT for moments) and the value empty. `keys` as in `put_many`;
        the result has their order, and all of it is of one moment. Raises as `get_many`. O(keys + bytes) in
        practice, the GIL released; a snapshot takes longer for keys next to some that have changed since.

        >>> s.put_many([10, 20], [b"ten", b"twenty"])
        2
        >>> found_keys, buffers = s.floor_many([19, 9, 20])
        >>> found_keys.tolist(), buffers.found.tolist(), buffers.data.tobytes()
        ([10, 0, 20], [True, False, True], b'tentwenty')
        """
    def ceiling_many(self, keys: _Keys[_K]) -> tuple[NDArray[Any], ValueBuffers[_V]]:
        """For many keys, the item at or above each: (found_keys, buffers).

        As `floor_many`.

        >>> s.put_many([10, 20], [b"ten", b"twenty"])
        2
        >>> found_keys, buffers = s.ceiling_many([11, 21])
        >>> found_keys.tolist(), buffers.found.tolist(), buffers.data.tobytes()
        ([20, 0], [True, False], b'twenty')
        """
    def scan_batches(
        self,
        start: SupportsIndex | _K | None = None,
        stop: SupportsIndex | _K | None = None,
        *,
        rows: int = 65536,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: SupportsIndex | None = None,
    ) -> BatchIterator[_K, _V]:
        """Iterates over the items of `start <= key < stop` in batches of `rows`, as arrays, in key order.

        The fastest way through a range: no object is made for an item. Each `ScanBatch` has `rows` items, the
        last one perhaps fewer, and holds the memory of their values. The other arguments are those of `scan`:
        with `reverse=True` batches, and the items in them, descend; `limit` is the most items in all. The
        iterator sees the store as it was when the iterator was made. Raises ValueError if `rows` is below 1,
        else as `scan`. O(1) to make, O(1) an item.

        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> [batch.keys.tolist() for batch in s.scan_batches(rows=2)]
        [[1, 2], [3]]
        >>> [batch.keys.tolist() for batch in s.scan_batches(reverse=True, limit=2)]
        [[3, 2]]
        """
    def to_arrow(
        self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None
    ) -> ArrowStream:
        """The items of `start <= key < stop` for any Arrow library: a stream of `key` and `value` columns.

        Returns an object with `__arrow_c_stream__`; `pyarrow.table(x)`, `polars.DataFrame(x)`,
        `pandas.DataFrame.from_arrow(x)` and DuckDB read it, and it can be read many times. Arrow libraries
        also read a store as it is, from its first key to its last. Values are of the types that
        `ScanBatch.to_arrow` has. Bounds as in `scan`; each reading sees the store as it was when the reading
        began, in arrays of at most 131,072 rows and about 64 MiB. O(1) to make.

        >>> s[1] = b"one"
        >>> pyarrow.table(s.to_arrow()).to_pydict()  # doctest: +SKIP
        {'key': [1], 'value': [b'one']}
        >>> hasattr(s.to_arrow(), "__arrow_c_stream__")
        True
        """
    def count(self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None) -> int:
        """The number of keys of `start <= key < stop`.

        Bounds and errors as in `scan`. No value is read.

        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> s.count(2), s.count()
        (2, 3)
        """
    def rank(self, key: SupportsIndex | _K) -> int:
        """How many keys are below `key`, which need not be there.

        Raises TypeError or OverflowError for what is no key of the store's kind. O(log n); the first call of
        `rank`, `nth` or `sample`, and the first after many changes, counts each node of the index, O(index
        nodes). A snapshot takes O(keys below it that have changed since). No value is read.

        >>> s.put_many([10, 20, 30], [b"a", b"b", b"c"])
        3
        >>> s.rank(20), s.rank(21), s.rank(-5)
        (1, 2, 0)
        """
    def nth(self, i: SupportsIndex) -> tuple[_K, _V]:
        """The item with `i` keys below it; with `i < 0` counted from the end, as in a list.

        Returns (key, value). Raises IndexError if there are not so many keys, TypeError if `i` is not an int,
        and as `get`. Takes as long as `rank`.

        >>> s.put_many([10, 20, 30], [b"a", b"b", b"c"])
        3
        >>> s.nth(1), s.nth(-1)
        ((20, b'b'), (30, b'c'))
        """
    def _keys_as_array(self, keys: _Keys[_K]) -> NDArray[Any]:
        """`keys` as an array of the store's kind, in their order, be they in the store or not."""
    def _keys_at(self, ranks: _Ints) -> NDArray[Any]:
        """The keys at `ranks`, which ascend; without those that are too large."""
    def keys_array(
        self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None
    ) -> NDArray[Any]:
        """The keys of `start <= key < stop` as an array of the store's kind, ascending.

        `np.asarray(s.keys())` is the same for all keys. Bounds and errors as in `scan`; all keys are of one
        moment. O(keys), the GIL released; no value is read.

        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> s.keys_array(2).tolist(), np.asarray(s.keys()).tolist()
        ([2, 3], [1, 2, 3])
        """
    def split(self, n: SupportsIndex) -> list[tuple[_K | None, _K | None]]:
        """`n` ranges (start, stop) that cover everything and whose counts differ by one at most.

        For parallel work: pass them to `scan`, `scan_batches` or `count`. The first start and the last
        stop are None. With fewer keys than `n` some ranges are empty. Raises ValueError if `n` is not
        from 1 to 2**24, TypeError if it is not an int, ClosedError. No value is read. O(index nodes + n).

        >>> s.put_many(range(10), [b""] * 10)
        10
        >>> s.split(3)
        [(None, 3), (3, 6), (6, None)]
        """

@disjoint_base
class Store(Reader[_K, _V], MutableMapping[_K, _V]):
    """The native half of `alexpy.Store`; `alexpy.open` makes them."""

    def __new__(
        cls,
        path: str | PathLike[str],
        config: Config,
        *,
        read_only: bool,
        create: bool,
        parents: bool,
        key: str | None = None,
        codec: Codec[Any] | None = None,
        compression: str | None = None,
        find_codec: Callable[[str], Codec[Any]] | None = None,
    ) -> Self: ...
    @overload
    def __setitem__(self: Store[_K, bytes], key: SupportsIndex | _K, value: _Value, /) -> None: ...
    @overload
    def __setitem__(self, key: SupportsIndex | _K, value: _V, /) -> None: ...
    def __delitem__(self, key: SupportsIndex | _K, /) -> None: ...
    @overload
    def put(self: Store[_K, bytes], key: SupportsIndex | _K, value: _Value) -> None:
        """Stores `value` under `key`, replacing what was there.

        `key` is of the store's kind, an int64 unless another was chosen; `value` is bytes or any other
        contiguous buffer (bytearray, memoryview, NumPy array), stored as its raw memory, at most 2**32-1
        bytes; with a codec, what that takes. When the call returns, the write survives a kill of the process;
        with `durability="sync"` also a power cut. Raises TypeError, OverflowError, ValueError or BufferError
        for what cannot be stored, ReadOnlyError, ClosedError, PoisonedError, or OSError (ENOSPC if the disk
        is full). O(len(value)).

        >>> s.put(1, b"one")
        >>> s[1]
        b'one'
        """
    @overload
    def put(self, key: SupportsIndex | _K, value: _V) -> None: ...
    def delete(self, key: SupportsIndex | _K) -> bool:
        """Removes `key`; True if it was there.

        Raises TypeError or OverflowError for what is no key of the store's kind, and what `put` raises when
        it cannot write. O(1).

        >>> s[1] = b"one"
        >>> s.delete(1), s.delete(1)
        (True, False)
        """
    def _take(self, key: SupportsIndex | _K) -> _V | None:
        """Removes `key` and returns its value, or None if it was absent."""
    def popitem(self, last: bool = True) -> tuple[_K, _V]:
        """Removes the last item, or with `last=False` the first, and returns it.

        One commit: no two threads get the same item. Raises KeyError if the store is empty, and what `put`
        raises when it cannot write. O(1).

        >>> s.put_many([1, 2, 3], [b"a", b"b", b"c"])
        3
        >>> s.popitem(), s.popitem(last=False)
        ((3, b'c'), (1, b'a'))
        """
    @overload
    def setdefault(self: Store[_K, bytes], key: SupportsIndex | _K, default: _Value) -> _V:
        """The value of `key`; if the key is absent, `default` is stored first.

        Atomic among threads. `default` is a value as in `put`. Raises as `put`. O(len(default)).

        >>> s.setdefault(1, b"one"), s.setdefault(1, b"uno")
        (b'one', b'one')
        """
    @overload
    def setdefault(self, key: SupportsIndex | _K, default: _V) -> _V: ...
    @overload
    def put_if_absent(self: Store[_K, bytes], key: SupportsIndex | _K, value: _Value) -> bool:
        """Stores `value` under `key` only if the key is absent; True if it was stored.

        Atomic among threads. Raises as `put`. O(len(value)).

        >>> s.put_if_absent(1, b"one"), s.put_if_absent(1, b"uno"), s[1]
        (True, False, b'one')
        """
    @overload
    def put_if_absent(self, key: SupportsIndex | _K, value: _V) -> bool: ...
    @overload
    def compare_and_set(
        self: Store[_K, bytes], key: SupportsIndex | _K, expected: _Value | None, new: _Value | None
    ) -> bool:
        """Stores `new` under `key` only if its value equals `expected`; True if it was stored.

        None means absent: `expected=None` stores only if the key is absent, `new=None` deletes. With a codec
        the values are compared as it encodes them. Atomic among threads. Raises as `put`. O(len(expected) +
        len(new)).

        >>> s.compare_and_set(1, None, b"one"), s.compare_and_set(1, b"two", b"three")
        (True, False)
        """
    @overload
    def compare_and_set(self, key: SupportsIndex | _K, expected: _V | None, new: _V | None) -> bool: ...
    def clear(self) -> None:
        """Removes everything, in one commit.

        Raises what `put` raises when it cannot write.

        >>> s[1] = b"one"
        >>> s.clear()
        >>> len(s)
        0
        """
    @overload
    def put_many(self: Store[_K, bytes], keys: _Keys[_K], values: _Values, *, sync: bool = False) -> int:
        """Stores `values[i]` under `keys[i]` for every i in one atomic batch; returns how many distinct keys.

        `keys`: a one-dimensional array or buffer of the store's kind (native int64 is read without a
        conversion), an Arrow array of it, or any iterable of keys. `values`: a sequence or iterator of values
        as in `put`; or an array whose first axis is the keys, each row's memory one value; or an Arrow binary
        array. With a codec: values that it takes; with `codecs.numpy` and `codecs.struct` also one array of
        them, and with `codecs.text` an Arrow array of text. The last duplicate of a key wins. With
        `sync=True` the call returns once everything is safe on the device. A crash leaves all of it or
        nothing. Arrays are read where they lie: what another thread writes into one meanwhile is stored as it
        happens to be read, and none may free or resize one, which NumPy allows with `refcheck=False`. Raises
        ValueError if the lengths differ, and what `put` raises; nothing is written then. O(bytes), the GIL
        released.

        >>> s.put_many(np.array([3, 1, 3]), [b"a", b"b", b"c"])
        2
        >>> list(s.items())
        [(1, b'b'), (3, b'c')]
        """
    @overload
    def put_many(
        self, keys: _Keys[_K], values: Iterable[_V] | NDArray[Any] | _Arrow, *, sync: bool = False
    ) -> int: ...
    @overload
    def bulk_load(
        self: Store[_K, bytes],
        keys: _Keys[_K],
        values: _Values,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> int:
        """Stores `values[i]` under `keys[i]` for every i, sorted by key; returns how many distinct keys.

        Values are written in the order of their keys, whatever order they come in, so that ranges are read
        sequentially later; the sorting makes it slower than `put_many` at writing. One atomic commit, also if
        the store is not empty. `keys`, `values`, errors and what other
        threads must leave alone are as in `put_many`; one call takes at most 32
        GiB of records. `progress(done, total)` is called with bytes before the work, after the sorting, and
        at the end; an exception that it raises before the end leaves the store as it was. O(n log n + bytes),
        the GIL released.

        >>> s.bulk_load([3, 1, 3], [b"a", b"b", b"c"])
        2
        >>> list(s.items())
        [(1, b'b'), (3, b'c')]
        """
    @overload
    def bulk_load(
        self,
        keys: _Keys[_K],
        values: Iterable[_V] | NDArray[Any] | _Arrow,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> int: ...
    def add_many(self, keys: _Keys[_K], deltas: Any) -> NDArray[np.int64] | NDArray[np.float64]:
        """Adds `deltas[i]` to the counter under `keys[i]` for every i, in one commit; returns the totals.

        A counter is a value of 8 bytes, little-endian: an int64 if `deltas` are integers, a float64 if they
        are floats (or some of them, in a list). An absent key counts as 0. `deltas`: a one-dimensional array,
        an iterable, or one number for all keys. Equal keys add up in order. The result is an int64 or float64
        array of the length of `keys`: the total after each addition. No other write comes in between. In a
        store with a codec its values must be such numbers, else TypeError. Raises ValueError for a value that
        is not 8 bytes long and OverflowError for a sum outside int64, both naming the key, and what
        `put_many` raises; nothing is written then. O(n log n), the GIL released.

        >>> s.add_many([7, 8, 7], [1, 10, 2]).tolist()
        [1, 10, 3]
        >>> s.add_many([7, 8], 1).tolist(), s.get_array([7, 8], np.int64).tolist()
        ([4, 11], [4, 11])
        """
    def delete_many(self, keys: _Keys[_K]) -> int:
        """Removes many keys in one atomic batch; returns how many of them were present.

        `keys` as in `put_many`; duplicates count once. Raises as `put_many`. O(keys), the GIL released.

        >>> s.put_many([1, 2, 3], [b"", b"", b""])
        3
        >>> s.delete_many([1, 2, 2, 9])
        2
        """
    def delete_range(
        self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None
    ) -> int:
        """Removes every key of `start <= key < stop` in one commit; returns how many there were.

        Bounds as in `scan`, but at least one must be given, else TypeError: `clear` removes everything.
        Raises what `put` raises when it cannot write.

        >>> s.put_many([1, 2, 3], [b"", b"", b""])
        3
        >>> s.delete_range(2)
        2
        """
    def batch(self, sync: bool = False) -> WriteBatch[_K, _V]:
        """A `WriteBatch`: writes that commit together when its `with` block ends.

        With `sync=True` the commit returns once everything is safe on the device, at any durability.
        Raises ReadOnlyError or ClosedError. O(1).

        >>> with s.batch() as b:
        ...     b.put(1, b"one")
        ...     b.put(2, b"two")
        >>> len(s)
        2
        """
    def refresh(self) -> int:
        """Brings a read-only store up to date; the sequence number of the last commit that it then shows.

        Every write that had returned before the call is visible afterwards, in whatever process of this
        machine it was made; whole commits only, and never an older state than before. Snapshots and
        iterators keep what they see. The writer is neither asked nor slowed. Of a store opened for writing:
        the sequence number of its last commit. Raises CorruptionError if the log is damaged where it is yet
        to be read, FormatError if the store was replaced or was cut back (`recovery="point_in_time"`) to
        before what was visible, FileNotFoundError if it was removed; what was visible stays so. O(bytes of
        new log), and a few system calls if there is nothing new.

        >>> with alexpy.open(s.path, read_only=True) as reader:
        ...     s[1] = b"one"
        ...     before = 1 in reader
        ...     seq = reader.refresh()
        ...     before, reader[1], seq == s.stats().last_seq
        (False, b'one', True)
        """
    def wait(self, seq: int, timeout: float | None = None) -> int:
        """Waits until the commit with sequence number `seq` is visible here; the sequence number reached.

        In a read-only store this refreshes, at first every 50 us and at last every 2 ms. Returns after
        `timeout` seconds in any case: compare what it returns with `seq`. Ctrl-C ends it. Raises as
        `refresh`; ValueError if `timeout` or `seq` is negative, or `seq` above 2**64-1.

        >>> s[1] = b"one"
        >>> s.wait(1, timeout=10) >= 1
        True
        """
    def changes(self, since: int | None = None) -> ChangeIterator[_K, _V]:
        """Iterates over the changes after the sequence number `since`, in the order of their commits.

        Each is a `Change` (seq, key, value). `since=None` means from now on. It ends at the newest change
        that this store shows; to go on, `wait` (or `refresh`) and ask for the changes after the last one
        seen. What a read-only store shows comes with `refresh`. Raises HistoryGoneError if compaction has
        freed some of them, or the store was cut back to before `since`: read the whole store through a
        `snapshot`, then go on from its `seq`. After a writer was killed, changes that the device had not
        confirmed come again, in the same order, under new sequence numbers. ValueError if `since` is not from
        0 to 2**64-1. O(segments), and O(bytes of one segment) to find the first change.

        >>> s[1] = b"one"
        >>> s.delete_range(5, 9)
        0
        >>> del s[1]
        >>> [(change.key, change.value) for change in s.changes(since=0)]
        [(1, b'one'), (1, None)]
        """
    def flush(self) -> None:
        """Returns when everything written before the call is safe on the device.

        Raises OSError if the device refuses; the store then takes no more writes (PoisonedError) until it is
        opened again. With ESTALE the directory was renamed or replaced, and all is safe where it is now. One
        device flush, the GIL released.

        >>> s[1] = b"one"
        >>> s.flush()
        """
    def backup(self, dest: str | PathLike[str], progress: Callable[[int, int], object] | None = None) -> None:
        """Makes a store in the new directory `dest` that holds what this one holds now.

        Reads and writes go on meanwhile. `dest` must not exist or must be empty; it gets its name only when
        all of it is safe on the device. Finished files are hard links if the file system allows, which costs
        no space but shares the fate of the disk: copy `dest` elsewhere against its loss. `progress(done,
        total)` is called every few mebibytes with bytes; an exception that it raises stops the call. Raises
        ValueError if `dest` is not empty, is a symbolic link or lies inside the store, OSError, ClosedError.
        O(bytes copied), the GIL released.

        >>> import tempfile
        >>> s[1] = b"one"
        >>> copy = tempfile.mkdtemp()
        >>> s.backup(copy)
        >>> with alexpy.open(copy) as backup:
        ...     backup[1]
        b'one'
        """
    def checkpoint(self) -> None:
        """Writes an image of the index, so that the next opening starts from it, not from the log before it.

        The background thread does this by itself (`checkpoint_tail_bytes`), and so does closing if it saves
        time later. Readers and writers go on meanwhile; when the call returns, everything written before it
        is on the device. Does nothing if nothing was written since the last image. Raises ReadOnlyError,
        ClosedError, PoisonedError, OSError; a full disk costs the image and nothing else. O(keys), about 24
        bytes a key on the disk, twice.

        >>> s[1] = b"one"
        >>> s.checkpoint()
        >>> s.stats().tail_bytes
        0
        """
    def _verify(self, progress: Callable[[int, int], object] | None) -> tuple[int, int, list[AlexError]]:
        """The figures of `verify` as (records, bytes, errors)."""
    def _compact(self, progress: Callable[[int, int], object] | None) -> tuple[int, int, int]:
        """The figures of `compact` as (freed segments, freed bytes, moved bytes)."""
    def _stats(self) -> dict[str, Any]:
        """The figures of `stats` as a dict."""
    def close(self) -> None:
        """Flushes, closes and gives up the lock; a second call does nothing.

        Waits for calls that run in other threads. Afterwards the store, its iterators and its batches
        raise ClosedError; views of values stay valid. Raises OSError if the last flush fails.

        >>> s.close()
        >>> s.closed
        True
        """
    @property
    def _inherited(self) -> bool:
        """Whether this process is a child of the one that opened the store. O(1)."""
    @property
    def closed(self) -> bool:
        """Whether the store was closed. O(1)."""
    @property
    def path(self) -> Path:
        """The store's directory, a `pathlib.Path`. O(1)."""
    @property
    def read_only(self) -> bool:
        """Whether the store was opened with `read_only=True`. O(1)."""
    @property
    def config(self) -> Config:
        """The `Config` that the store was opened with. O(1)."""

@disjoint_base
class Snapshot(Reader[_K, _V]):
    """The native half of `alexpy.Snapshot`; `Store.snapshot` makes them."""

    def __new__(cls, store: Store[_K, _V]) -> Self: ...
    def close(self) -> None:
        """Lets go of the version of the store; a second call does nothing.

        What was kept for it alone is given back: memory, and the disk space of what was overwritten or
        deleted since. Afterwards the snapshot and its iterators raise ClosedError; the store stays open.

        >>> snapshot = s.snapshot()
        >>> snapshot.close()
        >>> snapshot.closed
        True
        """
    @property
    def closed(self) -> bool:
        """Whether the snapshot, or its store, was closed. O(1)."""
    @property
    def seq(self) -> int:
        """The sequence number of the last commit that the snapshot has seen, as `Stats.last_seq`. O(1)."""
    @property
    def path(self) -> Path:
        """The directory of the store, a `pathlib.Path`. O(1)."""
    @property
    def store(self) -> Store[_K, _V]:
        """The store that this is a snapshot of. O(1)."""

@final
class WriteBatch(Generic[_K, _V]):
    """Writes that commit together or not at all; made by `Store.batch`.

    Values are copied when they are put. Reads on the store do not see the batch before it commits;
    the last operation on a key wins. Used by one thread at a time. Leaving a `with` block commits;
    an exception inside it drops everything.

    >>> with s.batch() as b:
    ...     b.put(1, b"one")
    ...     b[2] = b"two"
    ...     b.delete(1)
    >>> list(s.items())
    [(2, b'two')]
    """

    def __class_getitem__(cls, types: Any) -> GenericAlias: ...
    @overload
    def put(self: WriteBatch[_K, bytes], key: SupportsIndex | _K, value: _Value) -> None:
        """Puts `value` under `key` when the batch commits.

        `key` is of the store's kind, `value` any contiguous buffer of at most 2**32-1 bytes, copied now.
        Raises TypeError, OverflowError, ValueError or BufferError for what cannot be stored, ClosedError
        after the end of the batch. O(len(value)).

        >>> with s.batch() as b:
        ...     b.put(1, b"one")
        >>> s[1]
        b'one'
        """
    @overload
    def put(self, key: SupportsIndex | _K, value: _V) -> None: ...
    def delete(self, key: SupportsIndex | _K) -> None:
        """Deletes `key` when the batch commits; an absent key is no error.

        Raises TypeError or OverflowError for what is no key of the store's kind, ClosedError after the end of
        the batch. O(1).

        >>> s[1] = b"one"
        >>> with s.batch() as b:
        ...     b.delete(1)
        >>> 1 in s
        False
        """
    @overload
    def put_many(self: WriteBatch[_K, bytes], keys: _Keys[_K], values: _Values) -> None:
        """Puts many values, `values[i]` under `keys[i]`, when the batch commits.

        `keys` and `values` as in `Store.put_many`; their lengths are checked first (ValueError), and
        nothing is added if any of them is refused. O(bytes), the GIL released.

        >>> with s.batch() as b:
        ...     b.put_many([1, 2], [b"one", b"two"])
        >>> len(s)
        2
        """
    @overload
    def put_many(self, keys: _Keys[_K], values: Iterable[_V] | NDArray[Any] | _Arrow) -> None: ...
    def delete_many(self, keys: _Keys[_K]) -> None:
        """Deletes many keys when the batch commits; absent keys are no error.

        `keys` as in `Store.delete_many`; nothing is added if any of them is refused. O(keys), the GIL
        released.

        >>> s.put_many([1, 2, 3], [b"", b"", b""])
        3
        >>> with s.batch() as b:
        ...     b.delete_many([1, 2])
        >>> list(s)
        [3]
        """
    def delete_range(
        self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None
    ) -> None:
        """Deletes every key of `start <= key < stop` when the batch commits.

        In order with the other operations: what was put before goes, what is put afterwards stays. Bounds as
        in `Store.delete_range`: at least one must be given, else TypeError. O(1), and O(keys in the range)
        at the commit.

        >>> s.put_many([1, 2, 3], [b"", b"", b""])
        3
        >>> with s.batch() as b:
        ...     b.put(4, b"four")
        ...     b.delete_range(2)
        ...     b.put(3, b"three")
        >>> list(s.items())
        [(1, b''), (3, b'three')]
        """
    @overload
    def __setitem__(self: WriteBatch[_K, bytes], key: SupportsIndex | _K, value: _Value, /) -> None: ...
    @overload
    def __setitem__(self, key: SupportsIndex | _K, value: _V, /) -> None: ...
    def __delitem__(self, key: SupportsIndex | _K, /) -> None: ...
    def __len__(self, /) -> int: ...
    def commit(self) -> None:
        """Commits everything in the batch at once and ends it.

        With `sync=True` given to `Store.batch` it returns once everything is safe on the device. A
        commit that is refused (store closed, poisoned, disk full) leaves the batch as it was, to be
        tried again or discarded. O(bytes), the GIL released.

        >>> b = s.batch()
        >>> b.put(1, b"one")
        >>> b.commit()
        >>> s[1]
        b'one'
        """
    def discard(self) -> None:
        """Drops everything in the batch and ends it; the store is as if it had never been.

        Raises ClosedError after the end of the batch. O(1).

        >>> b = s.batch()
        >>> b.put(1, b"one")
        >>> b.discard()
        >>> 1 in s
        False
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class _ArrowInput:
    """A column, or a table, of another Arrow library, in one or more arrays of one type.

    For `alexpy._convert` only.
    """

    def __len__(self, /) -> int: ...
    @property
    def type(self) -> str:
        """The name of the type, for messages."""
    @property
    def names(self) -> list[str] | None:
        """The names of the columns of a table; None of a column."""
    def encoded(self) -> _ArrowInput | None:
        """A column of text as one of bytes in UTF-8, without a copy; None if it is no text.

        Raises ValueError if it is no UTF-8.
        """
    def column(self, at: int) -> _ArrowInput:
        """One column of a table.

        Raises TypeError if a whole row is null: the column has a value there, which is no data.
        """
    def first_null(self) -> int | None:
        """The first row that is null; None if none is."""
    def numbers(self) -> list[NDArray[Any]] | None:
        """Numbers, dates and rows of a fixed size as NumPy arrays, one for each Arrow array; else None.

        The arrays are read-only windows on the memory of the producer, which they keep alive.
        """
    def no_numbers(self) -> NDArray[Any] | None:
        """An empty NumPy array of the type of the numbers; None if they are none."""
    def spans(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
        """Byte values as (memory, int64 offsets); None if they are no bytes."""

def _arrow_input(object: object) -> _ArrowInput:  # noqa: A002 - the native name
    """Reads what `object` exports through the Arrow PyCapsule interface.

    For `alexpy._convert` only. Raises TypeError if it exports nothing, and ValueError if its producer
    fails or its type is none that arrow-rs knows. O(arrays), and what the producer does; the GIL is
    released meanwhile.
    """

@final
class ArrowArray:
    """Columns of a store as an Arrow array: what `ValueBuffers.to_arrow` and `ScanBatch.to_arrow` return.

    Implements the Arrow PyCapsule interface, so any Arrow library reads it without a copy: for instance
    `pyarrow.array(x)` or `polars.Series(x)` for values, `pyarrow.record_batch(x)` for a batch. It shares the
    memory of what it was made of and stays valid after the store is closed. O(1).

    >>> s[1] = b"one"
    >>> len(s.get_buffers([1, 2]).to_arrow())
    2
    """

    def __len__(self, /) -> int: ...
    def __arrow_c_schema__(self) -> CapsuleType: ...
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...

@final
class ArrowStream:
    """A range of a store as an Arrow stream; what `Store.to_arrow` returns.

    Has `__arrow_c_stream__`, so Arrow libraries read it: `pyarrow.table(x)`, `polars.DataFrame(x)`. Each
    reading sees the store as it was when the reading began, and fails with an error that says so once the
    store is closed. While one goes on, the store stays open though nothing else may refer to it.

    >>> s[1] = b"one"
    >>> hasattr(s.to_arrow(), "__arrow_c_stream__")
    True
    """

    def __arrow_c_schema__(self) -> CapsuleType: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType: ...

@final
class ValueBuffers(Generic[_V]):
    """The values of many keys in two arrays; what `Store.get_buffers` returns.

    Value `i` is `data[offsets[i]:offsets[i + 1]]`, empty if `found[i]` is False. The arrays are
    read-only, and stay valid after the store is closed. `len` is the number of keys; `x[i]` and iteration
    give values, or None for an absent key. Arrow libraries read it as it is, sharing its memory:
    `pyarrow.array(x)`, `polars.Series(x)`.

    >>> s.put_many([1, 2], [b"one", b"three"])
    2
    >>> got = s.get_buffers([2, 7, 1])
    >>> got.data.tobytes(), got.offsets.tolist(), got.found.tolist()
    (b'threeone', [0, 5, 5, 8], [True, False, True])
    >>> got[0], got[1], list(got)
    (b'three', None, [b'three', None, b'one'])
    """

    def __class_getitem__(cls, types: Any) -> GenericAlias: ...
    def __len__(self, /) -> int: ...
    @staticmethod
    def _joined(parts: Sequence[ValueBuffers[_V]], which: _Ints, places: _Ints) -> ValueBuffers[_V]:
        """Values of several of these in one: row `i` is the value `places[i]` of `parts[which[i]]`.

        All parts are of stores with the same codec. Raises IndexError if there is no such part or value.
        O(bytes).
        """
    def __getitem__(self, index: SupportsIndex, /) -> _V | None: ...
    def __iter__(self, /) -> Iterator[_V | None]: ...
    def __arrow_c_schema__(self) -> CapsuleType: ...
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...
    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes of all values, one after another: a read-only uint8 array. O(1)."""
    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each value begins in `data`, and where the last one ends: a read-only int64 array. O(1)."""
    @property
    def found(self) -> NDArray[np.bool_]:
        """Whether each key was present: a read-only bool array. O(1)."""
    def to_array(self, dtype: DTypeLike | None = None, *, fill: Any = None) -> NDArray[Any]:
        """The values as an array of `dtype`, one element for each key, and `fill` for an absent key.

        Without a dtype it is that of the codec (`codecs.numpy`, `codecs.struct`). If no key is absent, the
        array is a read-only window on `data`; else a copy. Raises ValueError if a value has another length, a
        key is absent and no `fill` was given, or `fill` would change as a row, and TypeError if `dtype` holds
        Python objects, or is None where the codec has none. O(bytes).

        >>> s.put_many([1, 2], np.array([0.5, 1.5]))
        2
        >>> s.get_buffers([2, 7, 1]).to_array(np.float64, fill=np.nan).tolist()
        [1.5, nan, 0.5]
        """

    def to_arrow(self) -> ArrowArray:
        """The values for any Arrow library, with null for an absent key; of the types of `ScanBatch`.

        What the Arrow libraries also read of this object itself: `pyarrow.array(x)`, `polars.Series(x)`.
        Values that are bytes or text are not copied if no key is absent. O(keys).

        >>> s[1] = b"one"
        >>> pyarrow.array(s.get_buffers([1, 2]).to_arrow()).to_pylist()  # doctest: +SKIP
        [b'one', None]
        >>> len(s.get_buffers([1, 2]).to_arrow())
        2
        """

@final
class ScanBatch(Generic[_K, _V]):
    """Consecutive items of a store as arrays; what `Store.scan_batches` yields.

    `keys[i]` has the value `data[offsets[i]:offsets[i + 1]]`. The arrays are read-only, and stay valid
    after the store is closed. `len` is the number of items; `x[i]` and iteration give (key, value). Arrow
    libraries read it as it is, sharing its memory: `pyarrow.record_batch(x)`, `polars.DataFrame(x)`.

    >>> s.put_many([1, 2], [b"one", b"three"])
    2
    >>> batch = next(s.scan_batches())
    >>> batch.keys.tolist(), batch.offsets.tolist(), batch.data.tobytes()
    ([1, 2], [0, 3, 8], b'onethree')
    >>> batch[-1], list(batch)
    ((2, b'three'), [(1, b'one'), (2, b'three')])
    """

    def __class_getitem__(cls, types: Any) -> GenericAlias: ...
    def __len__(self, /) -> int: ...
    def __getitem__(self, index: SupportsIndex, /) -> tuple[_K, _V]: ...
    def __iter__(self, /) -> Iterator[tuple[_K, _V]]: ...
    def __arrow_c_schema__(self) -> CapsuleType: ...
    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]: ...
    @property
    def keys(self) -> NDArray[Any]:
        """The keys, in the order of the scan: a read-only array of the store's kind. O(items), int64 O(1)."""
    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each value begins in `data`, and where the last one ends: a read-only int64 array. O(1)."""
    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes of all values, one after another: a read-only uint8 array. O(1)."""
    def to_arrow(self) -> ArrowArray:
        """The keys and values for any Arrow library, as a struct of `key` and `value`.

        What the Arrow libraries also read of this object itself: `pyarrow.record_batch(x)`. Values are
        LargeBinary, and with a codec text (`text`, `json`), numbers, lists or structs (`numpy`, `struct`).
        int64 keys, times, bytes and text are not copied. O(items).

        >>> s[1] = b"one"
        >>> pyarrow.record_batch(next(s.scan_batches()).to_arrow()).to_pydict()  # doctest: +SKIP
        {'key': [1], 'value': [b'one']}
        >>> len(next(s.scan_batches()).to_arrow())
        1
        """
    def to_array(self, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """The values as a read-only array of `dtype`, if each is as long as one element.

        Without a dtype it is that of the codec (`codecs.numpy`, `codecs.struct`). The array is a window on
        `data`; nothing is copied. Raises ValueError, naming the key, if a value has another length, and
        TypeError if `dtype` holds Python objects, or is None where the codec has none. O(items).

        >>> s.put_many([1, 2], np.array([0.5, 1.5]))
        2
        >>> next(s.scan_batches()).to_array(np.float64).tolist()
        [0.5, 1.5]
        """

@final
class RowIterator:
    """Iterates over the rows of a `ValueBuffers` or of a `ScanBatch`.

    Threads that share one get each row once.

    >>> s[1] = b"one"
    >>> list(s.get_buffers([1, 2]))
    [b'one', None]
    """

    def __iter__(self, /) -> Self: ...
    def __length_hint__(self, /) -> int: ...
    def __next__(self, /) -> Any: ...

@final
class BatchIterator(Generic[_K, _V]):
    """Iterates over a range of a store in batches, as it was when the iterator was made.

    What `Store.scan_batches` returns; yields `ScanBatch`. The GIL is released while a batch is read.
    Raises ClosedError once the store is closed and CorruptionError if a stored record is damaged. Not
    picklable.

    >>> s[1] = b"one"
    >>> [len(batch) for batch in s.scan_batches()]
    [1]
    """

    def __iter__(self, /) -> Self: ...
    def __next__(self, /) -> ScanBatch[_K, _V]: ...
    def __length_hint__(self, /) -> int: ...

@final
class ChangeIterator(Generic[_K, _V]):
    """Iterates over committed changes in their order.

    What `Store.changes` returns: an iterator of `Change`. Each step is O(1), with the GIL released once in a
    run of up to 4,096 changes. While it lives, compaction frees none of the changes that it had found when
    it was made, or when it last looked beyond them. Raises ClosedError once the store is closed,
    CorruptionError if a record is damaged, and HistoryGoneError if further changes were freed before it came
    to them. Not picklable.

    >>> feed = s.changes()
    >>> s[1] = b"one"
    >>> next(feed).value
    b'one'
    """

    def __iter__(self, /) -> Self: ...
    def __next__(self, /) -> Change[_K, _V]: ...

@final
class StoreIterator:
    """Iterates over a range of a store as it was when the iterator was made.

    What `iter(store)`, `Store.scan`, `scan_keys` and `scan_values` return. Each step is O(1), with the
    GIL released once in a run of up to 4,096 items. From the 9,552nd item on, a second thread reads the
    next few runs ahead. Raises ClosedError once the store is closed and CorruptionError if a stored record is
    damaged. Not picklable.

    >>> s[1] = b"one"
    >>> next(s.scan())
    (1, b'one')
    """

    def __iter__(self, /) -> Self: ...
    def __next__(self, /) -> Any: ...
    def __length_hint__(self, /) -> int: ...

@disjoint_base
class AlexIndex(MutableMapping[_K, int]):
    """The native half of `alexpy.AlexIndex`."""

    def __new__(
        cls, keys: _Keys[Any] | None = None, values: _Ints | None = None, *, key: str | None = None
    ) -> Self: ...
    def __class_getitem__(cls, types: Any) -> GenericAlias: ...
    @property
    def key_kind(self) -> str:
        """What the keys are, as `AlexIndex(key=...)` names it. O(1).

        >>> x.key_kind
        'int64'
        """
    def __getitem__(self, key: SupportsIndex | _K, /) -> int: ...
    def __setitem__(self, key: SupportsIndex | _K, value: SupportsIndex, /) -> None: ...
    def __delitem__(self, key: SupportsIndex | _K, /) -> None: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self, /) -> int: ...
    def __iter__(self, /) -> Iterator[_K]: ...
    def __reversed__(self, /) -> Iterator[_K]: ...
    @overload
    def get(self, key: SupportsIndex | _K) -> int | None:
        """The value of `key`, an int64, or `default` if the key is absent.

        Raises TypeError or OverflowError for what is no key of the index's kind. O(1) in practice.

        >>> x[1] = 10
        >>> x.get(1), x.get(2), x.get(2, -1)
        (10, None, -1)
        """
    @overload
    def get(self, key: SupportsIndex | _K, default: _T) -> int | _T: ...
    def put(self, key: SupportsIndex | _K, value: SupportsIndex) -> None:
        """Stores `value` under `key`, an int64, replacing what was there.

        Raises TypeError or OverflowError for what is no key or no int64. O(1) in practice; at worst one data
        node of 2**14 slots is moved.

        >>> x.put(1, 10)
        >>> x[1]
        10
        """
    def delete(self, key: SupportsIndex | _K) -> bool:
        """Removes `key`; True if it was there.

        Raises TypeError or OverflowError for what is no key of the index's kind. O(1) in practice.

        >>> x[1] = 10
        >>> x.delete(1), x.delete(1)
        (True, False)
        """
    def _take(self, key: SupportsIndex | _K) -> int | None:
        """Removes `key` and returns its value, or None if it was absent."""
    def popitem(self, last: bool = True) -> tuple[_K, int]:
        """Removes the last item, or with `last=False` the first, and returns it.

        No two threads get the same item. Raises KeyError if the index is empty. O(1) in practice.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> x.popitem(), x.popitem(last=False)
        ((3, 30), (1, 10))
        """
    def setdefault(self, key: SupportsIndex | _K, default: SupportsIndex) -> int:
        """The value of `key`; if the key is absent, `default` is stored first.

        Atomic among threads. Raises TypeError or OverflowError for what is no key or no int64. O(1) in
        practice.

        >>> x.setdefault(1, 10), x.setdefault(1, 11)
        (10, 10)
        """
    def clear(self) -> None:
        """Removes everything. O(memory).

        >>> x[1] = 10
        >>> x.clear()
        >>> len(x)
        0
        """
    def put_many(self, keys: _Keys[_K], values: _Ints) -> int:
        """Stores `values[i]` under `keys[i]` for every i; returns how many distinct keys.

        Both are one-dimensional integer arrays or buffers (native int64 is read without a copy), Arrow
        integer arrays, or iterables of ints, of the same length. The last duplicate of a key wins.
        Arrays are read where they lie: what another thread writes into one meanwhile is stored as it happens
        to be read, and none may free or resize one, which NumPy allows with `refcheck=False`.
        Raises TypeError, OverflowError or ValueError for what is none of these; nothing is stored then.
        O(keys), the GIL released. Ctrl-C is checked for after each million keys, which stay stored.

        >>> x.put_many(np.array([3, 1, 3]), [30, 10, 33])
        2
        >>> list(x.items())
        [(1, 10), (3, 33)]
        """
    def get_many(self, keys: _Keys[_K], default: SupportsIndex | None = None) -> NDArray[np.int64]:
        """The values of many keys as an int64 array of the same length.

        `keys` as in `put_many`. An absent key raises KeyError naming it, unless `default`, an int64, is given
        in its place. O(keys); lookups are interleaved, the GIL is released.

        >>> x.put_many([1, 2], [10, 20])
        2
        >>> x.get_many([2, 1, 5], default=-1).tolist()
        [20, 10, -1]
        """
    def contains_many(self, keys: _Keys[_K]) -> NDArray[np.bool_]:
        """Which of many keys are present, as a bool array of the same length.

        `keys` and errors as in `put_many`. O(keys), the GIL released.

        >>> x[1] = 10
        >>> x.contains_many([0, 1]).tolist()
        [False, True]
        """
    def delete_many(self, keys: _Keys[_K]) -> int:
        """Removes many keys; returns how many of them were present.

        `keys`, errors and Ctrl-C as in `put_many`; duplicates count once. O(keys), the GIL released.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> x.delete_many([1, 2, 2, 9])
        2
        """
    def delete_range(
        self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None
    ) -> int:
        """Removes every key of `start <= key < stop`; returns how many there were.

        Bounds as in `scan`, but at least one must be given, else TypeError: `clear` removes everything.
        O(keys removed), and the memory of a million keys.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> x.delete_range(2)
        2
        """
    def first(self) -> tuple[_K, int] | None:
        """The item with the smallest key, or None if the index is empty. O(1).

        Returns (key, value).

        >>> x.put_many([1, 2], [10, 20])
        2
        >>> x.first()
        (1, 10)
        """
    def last(self) -> tuple[_K, int] | None:
        """The item with the largest key, or None if the index is empty. O(1).

        Returns (key, value).

        >>> x.put_many([1, 2], [10, 20])
        2
        >>> x.last()
        (2, 20)
        """
    def floor(self, key: SupportsIndex | _K) -> tuple[_K, int] | None:
        """The item with the largest key at or below `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> x.put_many([10, 20], [1, 2])
        2
        >>> x.floor(19), x.floor(9)
        ((10, 1), None)
        """
    def ceiling(self, key: SupportsIndex | _K) -> tuple[_K, int] | None:
        """The item with the smallest key at or above `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> x.put_many([10, 20], [1, 2])
        2
        >>> x.ceiling(11), x.ceiling(21)
        ((20, 2), None)
        """
    def lower(self, key: SupportsIndex | _K) -> tuple[_K, int] | None:
        """The item with the largest key below `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> x.put_many([10, 20], [1, 2])
        2
        >>> x.lower(20), x.lower(10)
        ((10, 1), None)
        """
    def higher(self, key: SupportsIndex | _K) -> tuple[_K, int] | None:
        """The item with the smallest key above `key`, or None.

        Returns (key, value). Raises as `get`. O(1) in practice.

        >>> x.put_many([10, 20], [1, 2])
        2
        >>> x.higher(10), x.higher(20)
        ((20, 2), None)
        """
    def scan(
        self,
        start: SupportsIndex | _K | None = None,
        stop: SupportsIndex | _K | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: SupportsIndex | None = None,
    ) -> Iterator[tuple[_K, int]]:
        """Iterates over (key, value) of `start <= key < stop`, in key order.

        Bounds are keys, or any ints where keys are ints (clamped to them), or None for no bound;
        `include_start` and `include_stop` say whether a bound belongs to the range; `reverse=True` goes from
        the top without swapping the bounds; `limit` is the most items. The iterator sees the index as it was
        when the iterator was made; the first change during an iteration copies what the iterator has left.
        Raises TypeError for other bounds, ValueError for a negative limit. O(1) to make, O(1) an item.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> list(x.scan(1, 3)), list(x.scan(limit=1, reverse=True))
        ([(1, 10), (2, 20)], [(3, 30)])
        """
    def scan_keys(
        self,
        start: SupportsIndex | _K | None = None,
        stop: SupportsIndex | _K | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: SupportsIndex | None = None,
    ) -> Iterator[int]:
        """Iterates over the keys of a range.

        Arguments and errors as in `scan`.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> list(x.scan_keys(2))
        [2, 3]
        """
    def scan_values(
        self,
        start: SupportsIndex | _K | None = None,
        stop: SupportsIndex | _K | None = None,
        *,
        include_start: bool = True,
        include_stop: bool = False,
        reverse: bool = False,
        limit: SupportsIndex | None = None,
    ) -> Iterator[int]:
        """Iterates over the values of a range, in the order of their keys.

        Arguments and errors as in `scan`.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> list(x.scan_values(stop=3))
        [10, 20]
        """
    def save(self, path: str | PathLike[str]) -> None:
        """Writes the index to the file `path`, to be opened by `load`; an existing file is replaced.

        The file is whole and on the device before it gets its name, so a crash leaves the old file or the new
        one. It holds the index as it was at the call: changes wait until it is written. Raises OSError, and
        CorruptionError if the file that the index was loaded from is damaged. O(keys), 23 to 33 bytes a key,
        the GIL released.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> x.save(path)
        >>> AlexIndex.load(path)[2]
        20
        """
    def _load(self, path: str | PathLike[str]) -> None:
        """Replaces this index, which is empty, by the image at `path`."""
    def scan_arrays(
        self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The keys and the values of `start <= key < stop` as two arrays of the same length.

        Bounds and errors as in `scan`. O(keys), about a nanosecond each, the GIL released.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> keys, values = x.scan_arrays(2)
        >>> keys.tolist(), values.tolist()
        ([2, 3], [20, 30])
        """
    def keys_array(
        self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None
    ) -> NDArray[Any]:
        """The keys of `start <= key < stop` as an array of the index's kind, ascending.

        `np.asarray(x.keys())` is the same for all keys. Bounds and errors as in `scan`. O(keys), about a
        nanosecond each, the GIL released.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> x.keys_array(2).tolist(), np.asarray(x.keys()).tolist()
        ([2, 3], [1, 2, 3])
        """
    def scan_many(
        self, starts: _Keys[_K], stops: _Keys[_K]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The items of many ranges, one range after the other: (keys, values, offsets).

        Range i is `starts[i] <= key < stops[i]`; its items are those from `offsets[i]` to `offsets[i + 1]`
        of the two arrays. `starts` and `stops` are as the keys of `put_many`, of the same length;
        ranges may overlap and come in any order. Raises TypeError, OverflowError or ValueError for what is
        none of these. O(ranges + keys): the memory of the next range is prefetched meanwhile, so that a short
        range takes half the time of a call of `scan_arrays`. The GIL is released; Ctrl-C is checked for after
        each 4,096 ranges.

        >>> x.put_many([1, 2, 3, 4], [10, 20, 30, 40])
        4
        >>> keys, values, offsets = x.scan_many([3, 1], [9, 3])
        >>> keys.tolist(), values.tolist(), offsets.tolist()
        ([3, 4, 1, 2], [30, 40, 10, 20], [0, 2, 4])
        """
    def count(self, start: SupportsIndex | _K | None = None, stop: SupportsIndex | _K | None = None) -> int:
        """The number of keys of `start <= key < stop`.

        Bounds and errors as in `scan`.

        >>> x.put_many([1, 2, 3], [10, 20, 30])
        3
        >>> x.count(2), x.count()
        (2, 3)
        """
    def floor_many(self, keys: _Keys[_K]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_]]:
        """For many keys, the item at or below each: (keys, values, found).

        Three arrays of the length of `keys`: of the index's kind, int64 and bool. If the index holds nothing
        at or below a key, `found` is False there and the other two are 0 (a moment is NaT). `keys` and errors
        as in `put_many`. O(keys), the GIL released.

        >>> x.put_many([10, 20], [1, 2])
        2
        >>> keys, values, found = x.floor_many([19, 9, 20])
        >>> keys.tolist(), values.tolist(), found.tolist()
        ([10, 0, 20], [1, 0, 2], [True, False, True])
        """
    def ceiling_many(self, keys: _Keys[_K]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.bool_]]:
        """For many keys, the item at or above each: (keys, values, found).

        As `floor_many`.

        >>> x.put_many([10, 20], [1, 2])
        2
        >>> keys, values, found = x.ceiling_many([11, 21])
        >>> keys.tolist(), values.tolist(), found.tolist()
        ([20, 0], [2, 0], [True, False])
        """
    def rank(self, key: SupportsIndex | _K) -> int:
        """How many keys are below `key`, which need not be there.

        Raises TypeError or OverflowError for what is no key of the index's kind. O(log n); the first call of
        `rank` or `nth`, and the first after many changes, counts each node, O(data nodes).

        >>> x.put_many([10, 20, 30], [1, 2, 3])
        3
        >>> x.rank(20), x.rank(21), x.rank(-5)
        (1, 2, 0)
        """
    def nth(self, i: SupportsIndex) -> tuple[_K, int]:
        """The item with `i` keys below it; with `i < 0` counted from the end, as in a list.

        Returns (key, value). Raises IndexError if there are not so many keys, TypeError if `i` is not an int.
        Takes as long as `rank`.

        >>> x.put_many([10, 20, 30], [1, 2, 3])
        3
        >>> x.nth(1), x.nth(-1)
        ((20, 2), (30, 3))
        """
    def split(self, n: SupportsIndex) -> list[tuple[_K | None, _K | None]]:
        """`n` ranges (start, stop) that cover everything and whose counts differ by one at most.

        For parallel work: pass them to `scan` or `scan_arrays`. The first start and the last stop are
        None. With fewer keys than `n` some ranges are empty. Raises ValueError if `n` is not from 1 to
        2**24, TypeError if it is not an int. O(data nodes + n).

        >>> x.put_many(range(10), range(10))
        10
        >>> x.split(3)
        [(None, 3), (3, 6), (6, None)]
        """
    @property
    def nbytes(self) -> int:
        """Bytes of memory that the index holds. O(1)."""
    def check(self) -> None:
        """Checks every invariant of the index; raises AlexError at the first that does not hold.

        For tests and bug reports: a failure is a bug of this library. O(keys), the GIL released.

        >>> x.check()
        """
    def _stats(self) -> dict[str, Any]:
        """The figures of `stats` as a dict."""
    def _survey(self) -> dict[str, NDArray[Any]]:
        """The data nodes in key order, as a dict of arrays of one length."""
    def _leaf(self, at: int) -> list[NDArray[np.int64]]:
        """One data node, by its place in key order: (keys, slots, slots that the model expects)."""

@final
class IndexIterator:
    """Iterates over a range of an `AlexIndex` as it was when the iterator was made.

    What `iter(index)`, `AlexIndex.scan`, `scan_keys` and `scan_values` return. Each step is O(1). Not
    picklable.

    >>> x[1] = 10
    >>> next(x.scan())
    (1, 10)
    """

    def __iter__(self, /) -> Self: ...
    def __next__(self, /) -> Any: ...
    def __length_hint__(self, /) -> int: ...
