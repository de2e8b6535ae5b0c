"""`ShardedStore`: many stores, each with a range of keys, read as one.

Knows the public calls of `Store`, and of the manifest what `_shards` tells. Keys are routed by one search
over the bounds, each shard is asked once, and the answers are put back in order.
"""

from __future__ import annotations

import operator
import os
import threading
from bisect import bisect_right
from collections.abc import Mapping
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypedDict, Unpack

import numpy as np

from . import _alexpy, _convert, _kinds, _shards, _store
from ._mapping import Closing, Items, Keys, Merging, Values
from ._path import absolute
from ._types import K, V
from .codecs import Codec, Rows
from .config import Config
from .errors import ClosedError, FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView

    from numpy.typing import DTypeLike, NDArray

    from ._alexpy import ScanBatch, ValueBuffers

__all__ = ["ShardedStore"]

# As `Store.split`.
_MOST_PARTS = 2**24


class _ScanOptions(TypedDict, total=False):
    """What `Store.scan` takes beside its bounds."""

    include_start: bool
    include_stop: bool
    reverse: bool
    limit: SupportsIndex | None


class ShardedStore(Merging, Closing, Mapping[K, V]):
    """Stores that each hold a range of the keys, read as one ordered mapping; `open` makes them.

    A `Mapping[K, V]` with the methods of `Store` that read. Any number of processes on any machines may read
    it. Each shard has one writer, which opens it as a store of its own, so that several processes write at
    once; no transaction spans two shards. Which shards there are says a manifest that never changes. A new
    set of shards is a new epoch, which `refresh` takes up.

    Each shard is opened read-only when it is first needed, and shows what was committed by then, until
    `refresh`. A handle may be used by many threads, and pickles as its path.

    Example:
        >>> for shard in alexpy.ShardedStore.create(path, [1000]):
        ...     with alexpy.open(shard) as one:
        ...         one.update({5: b"low"} if shard.name.endswith("0") else {4000: b"high"})
        >>> with alexpy.ShardedStore.open(path) as store:
        ...     store.get_many([4000, 5, 6]), store.floor(3999), len(store)
        ([b'high', b'low', None], (5, b'low'), 2)

    """

    def __init__(self, path: Path, codec: Codec[V] | None, epoch: int | None = None) -> None:
        # Nothing to close, should what follows fail.
        self._closed = True
        self._path = path
        self._given_codec = codec
        self._opening = threading.Lock()
        self._process = os.getpid()
        self._stores: list[_store.Store[Any, Any] | None] = []
        self._take_up(_newest(path) if epoch is None else epoch)
        self._closed = False

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, codec: Codec[V] | None = None) -> Self:
        """Open the newest epoch of the sharded store in the directory `path`, read-only.

        `codec` is that of the values if it is one of your own. O(shards).

        Raises:
            FileNotFoundError: there is no sharded store, or one of its shards is missing; the message says
                which.
            FormatError: its shards overlap or leave gaps, or it is of a later format; or, once a shard is
                used, that is of another kind or holds keys outside of its range.
            CorruptionError: the manifest is damaged.

        Example:
            >>> shards = alexpy.ShardedStore.create(path, [0])
            >>> with alexpy.ShardedStore.open(path) as store:
            ...     store.bounds
            [(None, 0), (0, None)]

        """
        return cls(Path(absolute(path)), codec)

    @classmethod
    def _of_epoch(cls, path: str, epoch: int, codec: Codec[V] | None) -> Self:
        """Open this epoch, whether a newer one is there or not."""
        return cls(Path(path), codec, epoch)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        bounds: Sequence[Any],
        *,
        key: str = "int64",
        codec: Codec[Any] | None = None,
        parents: bool = False,
    ) -> list[Path]:
        """Make a sharded store of empty shards, and return their directories, in the order of their keys.

        `bounds` are the keys at which one shard ends and the next begins, ascending: n of them make n+1
        shards. Fill each by `alexpy.open(directory)`, in as many processes as there are shards. `key` and
        `codec` are those of all of them. O(shards).

        Raises:
            FileExistsError: the directory is there already.
            FileNotFoundError: the directory above is not there, and `parents` is False.
            ValueError: the bounds do not ascend.
            TypeError, OverflowError: a bound is no key of this kind.

        Example:
            >>> [shard.name for shard in alexpy.ShardedStore.create(path, [10, 20])]
            ['shard-0', 'shard-1', 'shard-2']

        """
        where = Path(absolute(path))
        numbers = [_bound(bound, key, f"bounds[{place}]") for place, bound in enumerate(bounds)]
        if None in numbers:
            raise TypeError(f"bounds[{numbers.index(None)}] is None; bounds are keys")
        if any(low >= high for low, high in pairwise(numbers)):  # type: ignore[operator]
            raise ValueError("bounds must ascend, and none of them come twice")
        if parents:
            where.mkdir(parents=True)
        else:
            where.mkdir()
        names = [f"shard-{place}" for place in range(len(numbers) + 1)]
        for name in names:
            _store.open(where / name, key=key, codec=codec).close()  # type: ignore[call-overload]
        cls.publish(where, list(zip(names, [None, *bounds], [*bounds, None], strict=True)), epoch=1)
        return [where / name for name in names]

    @classmethod
    def publish(
        cls, path: str | os.PathLike[str], shards: Sequence[tuple[str, Any, Any]], *, epoch: int
    ) -> None:
        """Publish stores in the directory `path` as its next epoch: (directory, start, stop) for each.

        For builders of shards: build the stores under new names, then publish all at once. Readers see the
        epoch before until they `refresh`. Each store must hold keys of its range only, which is checked; all
        must have the same kind of keys and the same codec. The epoch is durable on return. O(shards).

        Raises:
            FencedError: this epoch, or a later one, was published by somebody else.
            FormatError: the ranges overlap or leave a gap, a store holds keys outside of its range, or the
                stores differ in kind or codec.
            FileNotFoundError: a store is missing.

        Example:
            >>> import pathlib
            >>> for name, key in [("west", 1), ("east", 7)]:
            ...     with alexpy.open(path / name, parents=True) as shard:
            ...         shard[key] = name.encode()
            >>> alexpy.ShardedStore.publish(path, [("west", None, 5), ("east", 5, None)], epoch=1)
            >>> with alexpy.ShardedStore.open(path) as store:
            ...     dict(store)
            {1: b'west', 7: b'east'}

        """
        where = Path(absolute(path))
        kinds: dict[tuple[str, str | None], str] = {}
        listed = []
        for directory, start, stop in shards:
            with _opened(where, directory) as store:
                kind = store.key_kind
                kinds.setdefault((kind, store.codec_name), directory)
                ends = (_bound(end, kind, f"a bound of {directory}") for end in (start, stop))
                listed.append(_shards.Shard(directory, *ends))
                _check_range(store, listed[-1])
        if len(kinds) > 1:
            one, other, *_ = kinds.values()
            raise FormatError(f"{one} and {other} differ in their kind of keys, or in their codec")
        key, codec = next(iter(kinds), ("int64", None))
        _shards.publish(where, _shards.Manifest(operator.index(epoch), key, codec, tuple(listed)))

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    @property
    def epoch(self) -> int:
        """The epoch that this handle shows."""
        return self._manifest.epoch

    @property
    def key_kind(self) -> str:
        """What keys are, as in `Store`."""
        return self._manifest.key

    @property
    def codec_name(self) -> str | None:
        """The name of the codec of the values, as in `Store`."""
        return self._manifest.codec

    @property
    def codec(self) -> Codec[Any] | None:
        """The codec of the values, as in `Store`."""
        return self._shard(0).codec

    @property
    def bounds(self) -> list[tuple[Any, Any]]:
        """The range (start, stop) of each shard, in key order; the first start and the last stop are None."""
        kind = self.key_kind
        return [(_key(shard.start, kind), _key(shard.stop, kind)) for shard in self._manifest.shards]

    @property
    def shards(self) -> list[_store.Store[K, V]]:
        """The shards as stores, read-only, in key order; their handles are this one's."""
        return self._all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Close all shards. As `Store.close`."""
        self._closed = True
        stores, self._stores = self._stores, []
        for store in stores:
            if store is not None:
                store.close()

    def refresh(self) -> int:
        """Take up what was committed to the shards, and a new epoch if there is one; return the epoch.

        What was opened is refreshed as `Store.refresh` does. Of a new epoch, shards are opened anew, and
        iterators of the one before end with ClosedError. O(shards).

        Raises:
            As `open`, and as `Store.refresh`.

        Example:
            >>> shard, = alexpy.ShardedStore.create(path, [])
            >>> with alexpy.ShardedStore.open(path) as store, alexpy.open(shard) as writer:
            ...     before = len(store)
            ...     writer[1] = b"one"
            ...     before, store.refresh(), len(store)
            (0, 1, 1)

        """
        self._check_open()
        newest = _newest(self._path)
        if newest != self._manifest.epoch:
            self._take_up(newest)
        else:
            for store in self._stores:
                if store is not None:
                    store.refresh()
        return newest

    def __getitem__(self, key: Any) -> V:
        """Return the value of `key`; KeyError if it is absent."""
        value: V = self._shard(self._place(key))[key]
        return value

    def __contains__(self, key: object) -> bool:
        """Whether `key` is there."""
        return key in self._shard(self._place(key))

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default`. As `Store.get`; O(log shards) more."""
        return self._shard(self._place(key)).get(key, default)

    def __len__(self) -> int:
        """Return the number of keys; O(shards)."""
        return sum(map(len, self._all()))

    def __iter__(self) -> Iterator[K]:
        """Iterate over all keys, ascending."""
        return self.scan_keys()

    def __reversed__(self) -> Iterator[K]:
        """Iterate over all keys, descending."""
        return self.scan_keys(reverse=True)

    def keys(self) -> KeysView[K]:
        """Return a view of the keys, ascending. As `Store.keys`."""
        return Keys(self)

    def values(self) -> ValuesView[V]:
        """Return a view of the values, in the order of their keys. As `Store.values`."""
        return Values(self)

    def items(self) -> ItemsView[K, V]:
        """Return a view of the (key, value) pairs, in key order. As `Store.items`."""
        return Items(self)

    def get_many(self, keys: Any, default: Any = None) -> Any:
        """Return the values of many keys in their order. As `Store.get_many`."""
        array, routes = self._routed(keys)
        try:
            found = [(rows, self._shard(place).get_many(part, default)) for place, rows, part in routes]
        except KeyError:
            raise self._missing(array) from None
        if len(found) == 1:
            # Every row, in order.
            return found[0][1]
        if all(isinstance(values, np.ndarray) for _, values in found):
            first = found[0][1]
            result = np.empty((len(array), *first.shape[1:]), first.dtype)
            for rows, values in found:
                result[rows] = values
            return result
        listed: list[Any] = [None] * len(array)
        for rows, values in found:
            for row, value in zip(rows.tolist(), values, strict=True):
                listed[row] = value
        return listed

    def get_array(
        self,
        keys: Any,
        dtype: DTypeLike | None = None,
        shape: tuple[int, ...] | int = (),
        *,
        fill: Any = None,
        out: np.ndarray[Any, Any] | None = None,
    ) -> np.ndarray[Any, Any]:
        """Return the values of many keys, all of one length, in one array. As `Store.get_array`."""
        if dtype is None:
            codec = self.codec
            if not isinstance(codec, Rows):
                raise TypeError(
                    "dtype is None; only codecs.numpy and codecs.struct know of what dtype values are"
                )
            dtype, shape = codec.dtype, codec.shape
        row = _convert.Row(dtype, shape, fill)
        if out is not None:
            row.memory(out)
            if _convert.share_memory(keys, out):
                raise ValueError("out shares memory with keys")
        array, routes = self._routed(keys)
        if out is not None and len(out) != len(array):
            raise ValueError(f"out has {len(out)} rows for {len(array)} keys")
        if len(routes) == 1:
            return self._shard(routes[0][0]).get_array(array, dtype, shape, fill=fill, out=out)
        result = np.empty((len(array), *row.shape), row.dtype) if out is None else out
        try:
            for place, rows, part in routes:
                result[rows] = self._shard(place).get_array(part, dtype, shape, fill=fill)
        except KeyError:
            raise self._missing(array) from None
        return result

    def get_buffers(self, keys: Any) -> ValueBuffers[V]:
        """Return the values of many keys in two arrays. As `Store.get_buffers`."""
        array, routes = self._routed(keys)
        gathered = _Gathered(len(array))
        for place, rows, part in routes:
            gathered.add(rows, self._shard(place).get_buffers(part))
        return gathered.buffers()

    def contains_many(self, keys: Any) -> NDArray[np.bool_]:
        """Return whether each of many keys is there. As `Store.contains_many`."""
        array, routes = self._routed(keys)
        found = np.empty(len(array), np.bool_)
        for place, rows, part in routes:
            found[rows] = self._shard(place).contains_many(part)
        return found

    def floor_many(self, keys: Any) -> tuple[NDArray[Any], ValueBuffers[V]]:
        """Return for many keys the item at or below each. As `Store.floor_many`."""
        return self._nearest_many(keys, lambda store, part: store.floor_many(part), before=True)

    def ceiling_many(self, keys: Any) -> tuple[NDArray[Any], ValueBuffers[V]]:
        """Return for many keys the item at or above each. As `Store.ceiling_many`."""
        return self._nearest_many(keys, lambda store, part: store.ceiling_many(part), before=False)

    def first(self) -> tuple[K, V] | None:
        """Return the item with the lowest key, or None. As `Store.first`."""
        return self._first_from(0)

    def last(self) -> tuple[K, V] | None:
        """Return the item with the highest key, or None. As `Store.last`."""
        return self._last_before(len(self._manifest.shards))

    def floor(self, key: Any) -> tuple[K, V] | None:
        """Return the item at or below `key`, or None. As `Store.floor`."""
        place = self._place(key)
        return self._shard(place).floor(key) or self._last_before(place)

    def lower(self, key: Any) -> tuple[K, V] | None:
        """Return the item below `key`, or None. As `Store.lower`."""
        place = self._place(key)
        return self._shard(place).lower(key) or self._last_before(place)

    def ceiling(self, key: Any) -> tuple[K, V] | None:
        """Return the item at or above `key`, or None. As `Store.ceiling`."""
        place = self._place(key)
        return self._shard(place).ceiling(key) or self._first_from(place + 1)

    def higher(self, key: Any) -> tuple[K, V] | None:
        """Return the item above `key`, or None. As `Store.higher`."""
        place = self._place(key)
        return self._shard(place).higher(key) or self._first_from(place + 1)

    def scan(
        self, start: Any = None, stop: Any = None, **options: Unpack[_ScanOptions]
    ) -> Iterator[tuple[K, V]]:
        """Iterate over (key, value) of a range, in key order. As `Store.scan`, O(shards) to make."""
        return _chained([store.scan(start, stop, **options) for store in self._all()], options)

    def scan_keys(self, start: Any = None, stop: Any = None, **options: Unpack[_ScanOptions]) -> Iterator[K]:
        """Iterate over the keys of a range. As `Store.scan_keys`, O(shards) to make."""
        return _chained([store.scan_keys(start, stop, **options) for store in self._all()], options)

    def scan_values(
        self, start: Any = None, stop: Any = None, **options: Unpack[_ScanOptions]
    ) -> Iterator[V]:
        """Iterate over the values of a range. As `Store.scan_values`, O(shards) to make."""
        return _chained([store.scan_values(start, stop, **options) for store in self._all()], options)

    def scan_batches(
        self, start: Any = None, stop: Any = None, *, rows: int = 65536, **options: Unpack[_ScanOptions]
    ) -> Iterator[ScanBatch[K, V]]:
        """Iterate over a range in batches. As `Store.scan_batches`; the last of each shard may be short."""
        stores = self._all()
        # Wrong arguments are told here, and what is iterated over is of this moment.
        stores[0].scan_batches(start, stop, rows=rows, **options)
        moments = [store.snapshot() for store in stores]
        return _batches(moments[::-1] if options.get("reverse") else moments, start, stop, rows, options)

    def keys_array(self, start: Any = None, stop: Any = None) -> NDArray[Any]:
        """Return the keys of a range as an array, ascending. As `Store.keys_array`."""
        return np.concatenate([store.keys_array(start, stop) for store in self._all()])

    def count(self, start: Any = None, stop: Any = None) -> int:
        """Return the number of keys of a range. As `Store.count`."""
        return sum(store.count(start, stop) for store in self._all())

    def rank(self, key: Any) -> int:
        """Return how many keys are below `key`. As `Store.rank`; O(shards) more."""
        place = self._place(key)
        return sum(map(len, self._all()[:place])) + self._shard(place).rank(key)

    def nth(self, i: SupportsIndex) -> tuple[K, V]:
        """Return the item with `i` keys below it, or from the end. As `Store.nth`; O(shards) more."""
        place, ends = operator.index(i), self._ends()
        rank = place + int(ends[-1]) if place < 0 else place
        if not 0 <= rank < ends[-1]:
            raise IndexError(f"there is no item {place}: there are {ends[-1]}")
        at = int(np.searchsorted(ends, rank, "right"))
        return self._shard(at).nth(rank - int(ends[at - 1] if at else 0))

    def sample(self, n: int, seed: Any = None) -> NDArray[Any]:
        """Return `n` different keys, drawn at random, in random order, as an array. As `Store.sample`."""
        n, there = operator.index(n), len(self)
        if not 0 <= n <= there:
            raise ValueError(f"n must be from 0 to the number of keys, {there}, not {n}")
        ranks = np.random.default_rng(seed).choice(there, n, replace=False) if n else np.empty(0, np.int64)
        return self._keys_of_ranks(ranks)

    def split(self, n: SupportsIndex) -> list[tuple[Any, Any]]:
        """Return `n` ranges (start, stop) that cover everything, with equally many keys. As `Store.split`."""
        parts, there = operator.index(n), len(self)
        if there == 0 or not 1 <= parts <= _MOST_PARTS:
            return self._shard(0).split(parts)
        ranks = np.arange(1, parts, dtype=np.int64) * there // parts
        ends = list(map(self._object, self._keys_of_ranks(ranks)))
        return list(zip([None, *ends], [*ends, None], strict=True))

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the sharded store at {self._path} is closed")

    @property
    def _inherited(self) -> bool:
        return self._process != os.getpid()

    def _take_up(self, epoch: int) -> None:
        """Show this epoch from now on."""
        manifest = _shards.read(self._path, epoch)
        for shard in manifest.shards:
            if not (self._path / shard.directory).is_dir():
                raise FileNotFoundError(
                    f"{self._path / shard.directory} is missing, which epoch {epoch} names as a shard"
                )
        before, self._stores = self._stores, [None] * len(manifest.shards)
        self._manifest = manifest
        bounds = [shard.stop for shard in manifest.shards[:-1] if shard.stop is not None]
        self._bounds = bounds
        self._bounds_array = _sortable(_array(bounds, manifest.key))
        for store in before:
            if store is not None:
                store.close()

    def _shard(self, place: int) -> _store.Store[Any, Any]:
        """Return one shard, opened."""
        self._check_open()
        store = self._stores[place]
        if store is None:
            with self._opening:
                store = self._stores[place]
                if store is None:
                    store = self._stores[place] = self._opened(self._manifest.shards[place])
        return store

    def _opened(self, shard: _shards.Shard) -> _store.Store[Any, Any]:
        try:
            store = _store.open(self._path / shard.directory, read_only=True, codec=self._given_codec)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self._path / shard.directory}, which epoch {self.epoch} names as a shard, is no store: "
                f"{error}"
            ) from None
        try:
            _check_kind(store, self._manifest)
            _check_range(store, shard)
        except BaseException:
            store.close()
            raise
        return store

    def _all(self) -> list[_store.Store[Any, Any]]:
        self._check_open()
        return [self._shard(place) for place in range(len(self._manifest.shards))]

    def _place(self, key: Any) -> int:
        """Return which shard has `key`, be it there or not; any one for what is no key, which will say so."""
        if self._manifest.key not in ("int64", "uint64"):
            return bisect_right(self._bounds, _kinds.one(key, self._manifest.key, "key"))
        try:
            return bisect_right(self._bounds, operator.index(key))
        except TypeError:
            return 0

    def _routed(self, keys: Any) -> tuple[NDArray[Any], list[tuple[int, NDArray[np.intp], NDArray[Any]]]]:
        """Return the keys as an array, and for each shard that has some: its place, their rows, and they."""
        array = self._shard(0)._keys_as_array(keys)  # noqa: SLF001 - the native half
        places = np.searchsorted(self._bounds_array, _sortable(array), "right")
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], np.arange(len(self._bounds) + 2))
        routes = []
        for place, (start, stop) in enumerate(pairwise(ends)):
            rows = order[start:stop]
            if len(rows):
                routes.append((place, rows, array[rows]))
        return array, routes or [(0, order, array)]

    def _missing(self, array: NDArray[Any]) -> KeyError:
        """Return the error for the first of these keys that is not there."""
        return KeyError(self._object(array[int(self.contains_many(array).argmin())]))

    def _nearest_many(
        self,
        keys: Any,
        ask: Callable[[_store.Store[Any, Any], Any], tuple[NDArray[Any], ValueBuffers[V]]],
        *,
        before: bool,
    ) -> tuple[NDArray[Any], ValueBuffers[V]]:
        array, routes = self._routed(keys)
        found_keys, gathered = np.zeros_like(array), _Gathered(len(array))
        for place, rows, part in routes:
            found_keys[rows], buffers = ask(self._shard(place), part)
            gathered.add(rows, buffers)
            rest = rows[~buffers.found]
            if not len(rest):
                continue
            item = self._last_before(place) if before else self._first_from(place + 1)
            if item is None:
                continue
            one = self._shard(0)._keys_as_array([item[0]])  # noqa: SLF001
            found_keys[rest] = one[0]
            gathered.add(rest, self._shard(self._place(item[0])).get_buffers(one), every=0)
        return found_keys, gathered.buffers()

    def _last_before(self, place: int) -> tuple[Any, Any] | None:
        """Return the last item of the shards before a place."""
        items = (self._shard(at).last() for at in range(place - 1, -1, -1))
        return next((item for item in items if item is not None), None)

    def _first_from(self, place: int) -> tuple[Any, Any] | None:
        """Return the first item of the shards from a place on."""
        items = (self._shard(at).first() for at in range(place, len(self._manifest.shards)))
        return next((item for item in items if item is not None), None)

    def _object(self, key: Any) -> Any:
        """Return an element of an array of keys as the object that a scan gives."""
        kind = self.key_kind
        return key if kind.startswith("datetime64") else _key(_kinds_number(key, kind), kind)

    def _ends(self) -> NDArray[np.int64]:
        """Return how many keys the shards up to and with each have."""
        return np.cumsum([len(store) for store in self._all()], dtype=np.int64)

    def _keys_of_ranks(self, ranks: NDArray[np.int64]) -> NDArray[Any]:
        """Return the keys at `ranks`, each below the number of keys, in their order."""
        ends = self._ends()
        places = np.searchsorted(ends, ranks, "right")
        found = np.empty(len(ranks), _array([], self.key_kind).dtype)
        for place in np.unique(places):
            rows = np.flatnonzero(places == place)
            start = ends[place - 1] if place else 0
            found[rows] = self._shard(place)._keys_of_ranks(ranks[rows] - start)  # noqa: SLF001
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: unpickling opens the newest epoch."""
        return _reopen, (os.fspath(self._path), self._given_codec)

    def __repr__(self) -> str:
        """Name the directory, the epoch and the number of shards."""
        what = "closed" if self._closed else f"epoch {self.epoch}, {len(self._manifest.shards)} shards"
        return f"<alexpy.ShardedStore {os.fspath(self._path)!r}, {what}>"


class _Gathered:
    """The values of many keys, which come from several shards."""

    def __init__(self, count: int) -> None:
        self._parts: list[ValueBuffers[Any]] = []
        self._which = np.zeros(count, np.int64)
        self._places = np.zeros(count, np.int64)

    def add(self, rows: NDArray[np.intp], part: ValueBuffers[Any], every: int | None = None) -> None:
        """Take the values of `part` for `rows`, one for each; or the same one for all of them."""
        self._which[rows] = len(self._parts)
        self._places[rows] = np.arange(len(rows)) if every is None else every
        self._parts.append(part)

    def buffers(self) -> ValueBuffers[Any]:
        """Return all of them in one."""
        return _alexpy.ValueBuffers._joined(self._parts, self._which, self._places)  # noqa: SLF001


def _reopen(path: str, codec: Codec[Any] | None) -> ShardedStore[Any, Any]:
    return ShardedStore.open(path, codec=codec)


def _newest(path: Path) -> int:
    epoch = _shards.newest(path)
    if epoch == 0:
        raise FileNotFoundError(
            f"there is no sharded store at {path}: no manifest of shards is there; alexpy.open opens a store"
        )
    return epoch


def _opened(where: Path, directory: str) -> _store.Store[Any, bytes]:
    try:
        return _store.open_raw(os.fspath(where / directory), read_only=True, config=Config())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the shard {directory} is not in {where}: {error}") from None


def _check_kind(store: _store.Store[Any, Any], manifest: _shards.Manifest) -> None:
    """Refuse another store than was published."""
    if (store.key_kind, store.codec_name) != (manifest.key, manifest.codec):
        raise FormatError(
            f"{store.path} has keys of {store.key_kind} and the codec {store.codec_name}, and epoch "
            f"{manifest.epoch} has {manifest.key} and {manifest.codec}: another store was published"
        )


def _check_range(store: _store.Store[Any, Any], shard: _shards.Shard) -> None:
    """Refuse a store with keys outside of its range."""
    for item in (store.first(), store.last()):
        if item is None:
            continue
        number = _kinds_number(item[0], store.key_kind)
        if (shard.start is not None and number < shard.start) or (
            shard.stop is not None and number >= shard.stop
        ):
            raise FormatError(
                f"{store.path} holds the key {item[0]}, which is outside of its range as a shard, from "
                f"{_key(shard.start, store.key_kind)} to {_key(shard.stop, store.key_kind)}; nothing is "
                "lost: move the key to its shard, or publish other ranges"
            )


def _kinds_number(key: Any, kind: str) -> int:
    return operator.index(key) if kind == "int64" else _kinds.one(key, kind, "key")


def _bound(end: Any, kind: str, name: str) -> int | None:
    """Return a bound as an integer, None if it is None."""
    if end is None:
        return None
    if kind == "int64":
        if isinstance(end, (bool, np.bool_)) or not hasattr(end, "__index__"):
            raise TypeError(f"{name} is {_convert.type_name(end)}; keys are integers")
        number = operator.index(end)
        if not -(2**63) <= number < 2**63:
            raise OverflowError(f"{name} is {number}, outside int64 (-2**63 to 2**63-1)")
        return number
    return _kinds.one(end, kind, name)


def _key(number: int | None, kind: str) -> Any:
    """Return the key that a bound is."""
    if number is None or kind in ("int64", "uint64"):
        return number
    return _kinds.uuid_of(number) if kind == "uuid" else _kinds.moment_of(number, kind)


def _array(numbers: list[int], kind: str) -> NDArray[Any]:
    """Return bounds as an array of keys."""
    if kind == "uuid":
        return np.frombuffer(b"".join(number.to_bytes(16, "big") for number in numbers), "V16")
    if kind == "uint64":
        return np.array(numbers, np.uint64)
    keys = np.array(numbers, np.int64)
    return keys if kind == "int64" else keys.view(kind)


def _sortable(keys: NDArray[Any]) -> NDArray[Any]:
    """Return keys in a form that NumPy can order: UUIDs as text of their bytes."""
    return keys.view("S16") if keys.dtype.kind == "V" else keys


def _chained(iterators: Sequence[Iterator[Any]], options: _ScanOptions) -> Iterator[Any]:
    """Return the items of all shards, in the order asked for, as many as asked for."""
    limit = options.get("limit")
    items: Iterable[Any] = chain.from_iterable(reversed(iterators) if options.get("reverse") else iterators)
    return iter(items) if limit is None else islice(items, operator.index(limit))


def _batches(
    moments: list[_store.Snapshot[Any, Any]], start: Any, stop: Any, rows: int, options: _ScanOptions
) -> Iterator[Any]:
    limit = options.get("limit")
    left = None if limit is None else operator.index(limit)
    for moment in moments:
        with moment:
            options["limit"] = left
            for batch in moment.scan_batches(start, stop, rows=rows, **options):
                yield batch
                left = None if left is None else left - len(batch)
