"""`ShardedStore`: many stores, each with a range of keys, read as one.

Knows the public calls of `Store`. Keys are routed by one search over the bounds, each shard is asked once,
and the answers are put back in order.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import chain, islice, pairwise, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex, TypedDict, Unpack

import numpy as np

from . import _alexpy, _convert, _shards, _store
from ._epoch import Epoch, Gathered, Moment, bound, check_range, key_of, object_of
from ._integers import integer
from ._integers import shown as digits
from ._mapping import Closing, Items, Keys, Merging, Values, has, same
from ._path import absolute
from ._types import K, V
from .codecs import Codec, row_type
from .config import Config
from .errors import ClosedError, FormatError

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView

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
        self._codec = codec
        self._process = os.getpid()
        self._epoch = Epoch(path, _newest(path) if epoch is None else epoch, codec)
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
        bounds: Iterable[Any],
        *,
        key: str = "int64",
        codec: Codec[Any] | None = None,
        compression: Literal["zstd"] | None = None,
        parents: bool = False,
    ) -> list[Path]:
        """Make a sharded store of empty shards, and return their directories, in the order of their keys.

        `bounds` are the keys at which one shard ends and the next begins, ascending: n of them make n+1
        shards. Fill each by `alexpy.open(directory)`, in as many processes as there are shards. `key`,
        `codec` and `compression` are those of all of them. O(shards).

        Raises:
            FileExistsError: the directory is there already.
            FileNotFoundError: the directory above is not there, and `parents` is False.
            ValueError: the bounds do not ascend, or there is no such kind of keys.
            TypeError, OverflowError: a bound is no key of this kind, or `bounds` is no list of them.

        Example:
            >>> [shard.name for shard in alexpy.ShardedStore.create(path, [10, 20])]
            ['shard-0', 'shard-1', 'shard-2']

        """
        where = Path(absolute(path))
        if key not in _shards.KINDS:
            raise ValueError(f"key must be one of {', '.join(_shards.KINDS)}, not {key!r}")
        if isinstance(bounds, str | bytes | Mapping | AbstractSet) or not isinstance(bounds, Iterable):
            raise TypeError(f"bounds is {_convert.type_name(bounds)}; give a list of keys, which ascend")
        bounds = list(bounds)
        numbers = [bound(end, key, f"bounds[{place}]") for place, end in enumerate(bounds)]
        if None in numbers:
            raise TypeError(f"bounds[{numbers.index(None)}] is None; bounds are keys")
        if any(low >= high for low, high in pairwise(numbers)):  # type: ignore[operator]
            raise ValueError("bounds must ascend, and none of them come twice")
        if parents:
            where.mkdir(parents=True)
        else:
            where.mkdir()
        names = [f"shard-{place}" for place in range(len(numbers) + 1)]
        try:
            for name in names:
                _store.open(  # type: ignore[call-overload]
                    where / name, key=key, codec=codec, compression=compression
                ).close()
            cls.publish(where, list(zip(names, [None, *bounds], [*bounds, None], strict=True)), epoch=1)
        except BaseException:
            # Once they are published, others may fill them; and others may have built beside them.
            if not _shards.names_any(where, 1, names):
                for name in names:
                    shutil.rmtree(where / name, ignore_errors=True)
                with suppress(OSError):
                    where.rmdir()
            raise
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
            OSError: the epoch cannot be written; or is published and could not be flushed, as the message
                says then: keep its stores.
            TypeError, ValueError: `shards` is no list of such triples.

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
        for directory, start, stop in _shards.triples(shards):
            with _opened(where, directory) as store:
                kind = store.key_kind
                kinds.setdefault((kind, store.codec_name), directory)
                ends = (bound(end, kind, f"a bound of {directory}") for end in (start, stop))
                listed.append(_shards.Shard(directory, *ends))
                check_range(store, listed[-1])
        if len(kinds) > 1:
            one, other, *_ = kinds.values()
            raise FormatError(f"{one} and {other} differ in their kind of keys, or in their codec")
        key, codec = next(iter(kinds), ("int64", None))
        _shards.publish(where, _shards.Manifest(integer(epoch, "epoch"), key, codec, tuple(listed)))

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    @property
    def epoch(self) -> int:
        """The epoch that this handle shows."""
        return self._epoch.manifest.epoch

    @property
    def key_kind(self) -> str:
        """What keys are, as in `Store`."""
        return self._epoch.manifest.key

    @property
    def codec_name(self) -> str | None:
        """The name of the codec of the values, as in `Store`."""
        return self._epoch.manifest.codec

    @property
    def codec(self) -> Codec[Any] | None:
        """The codec of the values, as in `Store`."""
        return self._now().store(0).codec

    @property
    def bounds(self) -> list[tuple[Any, Any]]:
        """The range (start, stop) of each shard, in key order; the first start and the last stop are None."""
        manifest = self._epoch.manifest
        return [
            (key_of(shard.start, manifest.key), key_of(shard.stop, manifest.key)) for shard in manifest.shards
        ]

    @property
    def shards(self) -> list[_store.Store[K, V]]:
        """The shards as stores, read-only, in key order; their handles are this one's."""
        return self._now().stores()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Close all shards. As `Store.close`."""
        self._closed = True
        if hasattr(self, "_epoch"):
            self._epoch.close()

    def refresh(self) -> int:
        """Take up what was committed to the shards, and a new epoch if there is one; return the epoch.

        What was opened is refreshed as `Store.refresh` does. Of a new epoch, shards are opened anew; calls
        that are under way go on with the one before. O(shards).

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
        shown = self._now()
        newest = _newest(self._path)
        if newest == shown.manifest.epoch:
            shown.refresh()
        else:
            # Calls that go on have the one before, whose shards are closed when they have ended.
            self._epoch = Epoch(self._path, newest, self._codec)
        return newest

    def __getitem__(self, key: Any) -> V:
        """Return the value of `key`; KeyError if it is absent."""
        value: V = self._now().of(key)[key]
        return value

    def __contains__(self, key: object) -> bool:
        """Whether `key` is there."""
        return key in self._now().of(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default`. As `Store.get`; O(log shards) more."""
        return self._now().of(key).get(key, default)

    def __len__(self) -> int:
        """Return the number of keys; O(shards)."""
        return sum(map(len, self._now().stores()))

    def __iter__(self) -> Iterator[K]:
        """Iterate over all keys, ascending."""
        return self.scan_keys()

    def __reversed__(self) -> Iterator[K]:
        """Iterate over all keys, descending."""
        return self.scan_keys(reverse=True)

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a mapping with the same items; streams both, O(bytes). As `Store`."""
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        if isinstance(other, ShardedStore | _alexpy.Reader):
            pairs = zip_longest(self.scan(), other.scan(), fillvalue=(None, None))
            return all(key == its_key and same(value, its) for (key, value), (its_key, its) in pairs)
        return all(has(other, key) and same(other[key], value) for key, value in self.scan())

    __hash__ = None  # type: ignore[assignment]

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
        array, routes = self._now().routed(keys)
        try:
            found = [(rows, store.get_many(part, default)) for store, rows, part in routes]
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
            dtype, shape = row_type(self.codec)
        row = _convert.Row(dtype, shape, fill)
        if out is not None:
            row.memory(out)
            if _convert.share_memory(keys, out):
                raise ValueError("out shares memory with keys")
        array, routes = self._now().routed(keys)
        if out is not None and len(out) != len(array):
            raise ValueError(f"out has {len(out)} rows for {len(array)} keys")
        if len(routes) == 1:
            return routes[0][0].get_array(array, dtype, shape, fill=fill, out=out)
        result = np.empty((len(array), *row.shape), row.dtype) if out is None else out
        try:
            for store, rows, part in routes:
                result[rows] = store.get_array(part, dtype, shape, fill=fill)
        except KeyError:
            raise self._missing(array) from None
        return result

    def get_buffers(self, keys: Any) -> ValueBuffers[V]:
        """Return the values of many keys in two arrays. As `Store.get_buffers`."""
        array, routes = self._now().routed(keys)
        gathered = Gathered(len(array))
        for store, rows, part in routes:
            gathered.add(rows, store.get_buffers(part))
        return gathered.buffers()

    def contains_many(self, keys: Any) -> NDArray[np.bool_]:
        """Return whether each of many keys is there. As `Store.contains_many`."""
        array, routes = self._now().routed(keys)
        found = np.empty(len(array), np.bool_)
        for store, rows, part in routes:
            found[rows] = store.contains_many(part)
        return found

    def floor_many(self, keys: Any) -> tuple[NDArray[Any], ValueBuffers[V]]:
        """Return for many keys the item at or below each. As `Store.floor_many`."""
        return self._now().nearest_many(keys, lambda store, part: store.floor_many(part), before=True)

    def ceiling_many(self, keys: Any) -> tuple[NDArray[Any], ValueBuffers[V]]:
        """Return for many keys the item at or above each. As `Store.ceiling_many`."""
        return self._now().nearest_many(keys, lambda store, part: store.ceiling_many(part), before=False)

    def first(self) -> tuple[K, V] | None:
        """Return the item with the lowest key, or None. As `Store.first`."""
        return self._now().first_from(0)

    def last(self) -> tuple[K, V] | None:
        """Return the item with the highest key, or None. As `Store.last`."""
        shown = self._now()
        return shown.last_before(len(shown))

    def floor(self, key: Any) -> tuple[K, V] | None:
        """Return the item at or below `key`, or None. As `Store.floor`."""
        shown = self._now()
        place = shown.place(key)
        return shown.store(place).floor(key) or shown.last_before(place)

    def lower(self, key: Any) -> tuple[K, V] | None:
        """Return the item below `key`, or None. As `Store.lower`."""
        shown = self._now()
        place = shown.place(key)
        return shown.store(place).lower(key) or shown.last_before(place)

    def ceiling(self, key: Any) -> tuple[K, V] | None:
        """Return the item at or above `key`, or None. As `Store.ceiling`."""
        shown = self._now()
        place = shown.place(key)
        return shown.store(place).ceiling(key) or shown.first_from(place + 1)

    def higher(self, key: Any) -> tuple[K, V] | None:
        """Return the item above `key`, or None. As `Store.higher`."""
        shown = self._now()
        place = shown.place(key)
        return shown.store(place).higher(key) or shown.first_from(place + 1)

    def scan(
        self, start: Any = None, stop: Any = None, **options: Unpack[_ScanOptions]
    ) -> Iterator[tuple[K, V]]:
        """Iterate over (key, value) of a range, in key order. As `Store.scan`, O(shards in it) to make."""
        return _chained(
            [store.scan(start, stop, **options) for store in self._now().within(start, stop)], options
        )

    def scan_keys(self, start: Any = None, stop: Any = None, **options: Unpack[_ScanOptions]) -> Iterator[K]:
        """Iterate over the keys of a range. As `Store.scan_keys`."""
        return _chained(
            [store.scan_keys(start, stop, **options) for store in self._now().within(start, stop)], options
        )

    def scan_values(
        self, start: Any = None, stop: Any = None, **options: Unpack[_ScanOptions]
    ) -> Iterator[V]:
        """Iterate over the values of a range. As `Store.scan_values`."""
        return _chained(
            [store.scan_values(start, stop, **options) for store in self._now().within(start, stop)], options
        )

    def scan_batches(
        self, start: Any = None, stop: Any = None, *, rows: int = 65536, **options: Unpack[_ScanOptions]
    ) -> Iterator[ScanBatch[K, V]]:
        """Iterate over a range in batches. As `Store.scan_batches`; the last of each shard may be short."""
        stores = self._now().within(start, stop)
        # Wrong arguments are told here, and what is iterated over is of this moment.
        stores[0].scan_batches(start, stop, rows=rows, **options)
        moments = [store.snapshot() for store in stores]
        return _batches(moments[::-1] if options.get("reverse") else moments, start, stop, rows, options)

    def keys_array(self, start: Any = None, stop: Any = None) -> NDArray[Any]:
        """Return the keys of a range as an array, ascending. As `Store.keys_array`."""
        return np.concatenate([store.keys_array(start, stop) for store in self._now().within(start, stop)])

    def count(self, start: Any = None, stop: Any = None) -> int:
        """Return the number of keys of a range. As `Store.count`."""
        return sum(store.count(start, stop) for store in self._now().within(start, stop))

    def rank(self, key: Any) -> int:
        """Return how many keys are below `key`. As `Store.rank`; O(shards) more."""
        shown = self._now()
        place = shown.place(key)
        return sum(map(len, shown.stores()[:place])) + shown.store(place).rank(key)

    def nth(self, i: SupportsIndex) -> tuple[K, V]:
        """Return the item with `i` keys below it, or from the end. As `Store.nth`; O(shards) more."""
        place = integer(i, "i")
        with Moment(self._now()) as moment:
            rank = place + len(moment) if place < 0 else place
            if not 0 <= rank < len(moment):
                raise IndexError(f"there is no item {digits(place)}: there are {len(moment)}")
            return moment.nth(rank)

    def sample(self, n: int, seed: Any = None) -> NDArray[Any]:
        """Return `n` different keys, drawn at random, in random order, as an array. As `Store.sample`."""
        n = integer(n, "n")
        with Moment(self._now()) as moment:
            if not 0 <= n <= len(moment):
                raise ValueError(f"n must be from 0 to the number of keys, {len(moment)}, not {digits(n)}")
            ranks = np.empty(0, np.int64)
            if n:
                ranks = np.random.default_rng(seed).choice(len(moment), n, replace=False)
            return moment.keys_of_ranks(ranks)

    def split(self, n: SupportsIndex) -> list[tuple[Any, Any]]:
        """Return `n` ranges (start, stop) that cover everything, with equally many keys. As `Store.split`."""
        parts, shown = integer(n, "n"), self._now()
        with Moment(shown) as moment:
            if len(moment) == 0 or not 1 <= parts <= _MOST_PARTS:
                return shown.store(0).split(parts)
            ranks = np.arange(1, parts, dtype=np.int64) * len(moment) // parts
            ends = [object_of(key, self.key_kind) for key in moment.keys_of_ranks(ranks)]
        return list(zip([None, *ends], [*ends, None], strict=True))

    def _missing(self, array: NDArray[Any]) -> KeyError:
        """Return the error for the first of these keys that is not there."""
        return KeyError(object_of(array[int(self.contains_many(array).argmin())], self.key_kind))

    def _now(self) -> Epoch:
        """Return the epoch that this shows: what one call reads, it reads of one epoch."""
        if self._closed:
            raise ClosedError(f"the sharded store at {self._path} is closed")
        return self._epoch

    @property
    def _inherited(self) -> bool:
        return self._process != os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: unpickling opens the newest epoch."""
        return _reopen, (os.fspath(self._path), self._codec)

    def __repr__(self) -> str:
        """Name the directory, the epoch and the number of shards."""
        what = "closed" if self._closed else f"epoch {self.epoch}, {len(self._epoch)} shards"
        return f"<alexpy.ShardedStore {os.fspath(self._path)!r}, {what}>"


def _reopen(path: str, codec: Codec[Any] | None) -> ShardedStore[Any, Any]:
    return ShardedStore.open(path, codec=codec)


def _newest(path: Path) -> int:
    epoch = _shards.newest(path) if path.is_dir() else 0
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


def _chained(iterators: Sequence[Iterator[Any]], options: _ScanOptions) -> Iterator[Any]:
    """Return the items of all shards, in the order asked for, as many as asked for."""
    limit = options.get("limit")
    items: Iterable[Any] = chain.from_iterable(reversed(iterators) if options.get("reverse") else iterators)
    return iter(items) if limit is None else islice(items, min(integer(limit, "limit"), sys.maxsize))


def _batches(
    moments: list[_store.Snapshot[Any, Any]], start: Any, stop: Any, rows: int, options: _ScanOptions
) -> Iterator[Any]:
    limit = options.get("limit")
    left = None if limit is None else integer(limit, "limit")
    for moment in moments:
        with moment:
            options["limit"] = left
            for batch in moment.scan_batches(start, stop, rows=rows, **options):
                yield batch
                left = None if left is None else left - len(batch)
