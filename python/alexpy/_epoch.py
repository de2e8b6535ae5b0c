"""One epoch of a sharded store, opened: which shard has a key, and what the shards have one after another.

It never changes but for shards that are opened when they are first needed, so a call that holds it answers
from the shards that it was routed to, whatever is published meanwhile.
"""

from __future__ import annotations

import operator
import os
import sys
import threading
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from . import _alexpy, _convert, _kinds, _shards, _store
from .config import Config
from .errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ._alexpy import ValueBuffers
    from .codecs import Codec

    _Route: TypeAlias = tuple[_store.Store[Any, Any], NDArray[np.intp], NDArray[Any]]

# Kinds whose keys are plain ints.
_INTEGERS = ("int64", "uint64")


class _Shard(_store.Store[Any, Any]):
    """A store that closes when no call uses it any more: one of an epoch gone by is closed by nobody else."""

    __slots__ = ()

    def __del__(self) -> None:
        """Close it without a warning."""
        if not sys.is_finalizing():
            self.close()


class Epoch:
    """The shards that a manifest names."""

    def __init__(self, path: Path, epoch: int, codec: Codec[Any] | None) -> None:
        self.manifest = _shards.read(path, epoch)
        self._path = path
        self._codec = codec
        for shard in self.manifest.shards:
            if not (path / shard.directory).is_dir():
                raise FileNotFoundError(
                    f"{path / shard.directory} is missing, which epoch {epoch} names as a shard"
                )
        self._bounds = [shard.stop for shard in self.manifest.shards[:-1] if shard.stop is not None]
        self._sortable_bounds = _sortable(_array(self._bounds, self.manifest.key))
        self._stores: list[_store.Store[Any, Any] | None] = [None] * len(self.manifest.shards)
        self._opening = threading.Lock()
        self._process = os.getpid()

    def close(self) -> None:
        """Close the shards that are open."""
        for store in self._stores:
            if store is not None:
                store.close()

    def refresh(self) -> None:
        """Refresh the shards that are open."""
        for store in self._stores:
            if store is not None:
                store.refresh()

    def store(self, place: int) -> _store.Store[Any, Any]:
        """Return one shard, opened."""
        store = self._stores[place]
        if store is None:
            if self._process != os.getpid():
                # A thread of the parent may have held it during the fork.
                self._opening, self._process = threading.Lock(), os.getpid()
            with self._opening:
                store = self._stores[place]
                if store is None:
                    store = self._stores[place] = self._opened(self.manifest.shards[place])
        return store

    def stores(self) -> list[_store.Store[Any, Any]]:
        """Return all shards, opened."""
        return [self.store(place) for place in range(len(self._stores))]

    def within(self, start: Any, stop: Any) -> list[_store.Store[Any, Any]]:
        """Return the shards that may have keys from `start` to `stop`, opened: one at least.

        Raises:
            As `Store.count`: a bound is no key.

        """
        self.store(0).count(start, stop)
        first = 0 if start is None else self._place_of_end(start)
        last = len(self) - 1 if stop is None else self._place_of_end(stop)
        return [self.store(at) for at in range(first, max(first, last) + 1)]

    def _opened(self, shard: _shards.Shard) -> _store.Store[Any, Any]:
        path = self._path / shard.directory
        try:
            store = _Shard._opened(  # noqa: SLF001 - what alexpy.open calls
                os.fspath(path), Config(), read_only=True, create=False, parents=False, codec=self._codec
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{path}, which epoch {self.manifest.epoch} names as a shard, is no store: {error}"
            ) from None
        try:
            _check_kind(store, self.manifest)
            check_range(store, shard)
        except BaseException:
            store.close()
            raise
        return store

    def place(self, key: Any) -> int:
        """Return which shard has `key`, be it there or not; for what is no key the first, which says so."""
        kind = self.manifest.key
        if kind not in _INTEGERS:
            return bisect_right(self._bounds, _kinds.one(key, kind, "key"))
        try:
            return bisect_right(self._bounds, operator.index(key))
        except TypeError:
            return 0

    def _place_of_end(self, end: Any) -> int:
        """Return the shard in which an end of a range lies, which need be no key."""
        kind = self.manifest.key
        if kind in _INTEGERS:
            return self.place(end)
        side, number = _kinds.end(end, kind, "end")
        # Between two keys, it is as good as the one after it.
        return bisect_right(self._bounds, number) if side in {0, 2} else 0 if side < 0 else len(self) - 1

    def of(self, key: Any) -> _store.Store[Any, Any]:
        """Return the shard that has `key`, as `place`."""
        return self.store(self.place(key))

    def routed(self, keys: Any) -> tuple[NDArray[Any], list[_Route]]:
        """Return keys as an array, and for each shard that has some of them: it, their rows, and they.

        One shard at least; if it is the only one, the rows are all, in order.
        """
        array = self.store(0)._keys_as_array(keys)  # noqa: SLF001 - the native half
        places = np.searchsorted(self._sortable_bounds, _sortable(array), "right")
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], np.arange(len(self._bounds) + 2))
        routes = []
        for place, (start, stop) in enumerate(pairwise(ends)):
            rows = order[start:stop]
            if len(rows):
                routes.append((self.store(place), rows, array[rows]))
        return array, routes or [(self.store(0), order, array)]

    def nearest_many(
        self,
        keys: Any,
        ask: Callable[[_store.Store[Any, Any], Any], tuple[NDArray[Any], ValueBuffers[Any]]],
        *,
        before: bool,
    ) -> tuple[NDArray[Any], ValueBuffers[Any]]:
        """Return what `ask` finds of many keys, where a shard has nothing in the next that has something."""
        array, routes = self.routed(keys)
        found_keys, gathered = np.zeros_like(array), Gathered(len(array))
        for store, rows, part in routes:
            found_keys[rows], buffers = ask(store, part)
            gathered.add(rows, buffers)
            rest = rows[~buffers.found]
            if not len(rest):
                continue
            place = next(at for at, other in enumerate(self._stores) if other is store)
            for at in range(place - 1, -1, -1) if before else range(place + 1, len(self._stores)):
                # Of one moment, whoever refreshes.
                with self.store(at).snapshot() as moment:
                    item = moment.last() if before else moment.first()
                    if item is not None:
                        one = moment._keys_as_array([item[0]])  # noqa: SLF001
                        found_keys[rest] = one[0]
                        gathered.add(rest, moment.get_buffers(one), every=0)
                        break
        return found_keys, gathered.buffers()

    def last_before(self, place: int) -> tuple[Any, Any] | None:
        """Return the last item of the shards before a place."""
        items = (self.store(at).last() for at in range(place - 1, -1, -1))
        return next((item for item in items if item is not None), None)

    def first_from(self, place: int) -> tuple[Any, Any] | None:
        """Return the first item of the shards from a place on."""
        items = (self.store(at).first() for at in range(place, len(self._stores)))
        return next((item for item in items if item is not None), None)

    def __len__(self) -> int:
        """Return how many shards there are."""
        return len(self._stores)


class Moment:
    """All shards, each as it was at one moment, by rank."""

    def __init__(self, epoch: Epoch) -> None:
        self._kind = epoch.manifest.key
        self._snapshots = [store.snapshot() for store in epoch.stores()]
        # How many keys the shards up to and with each have.
        self._ends = np.cumsum([len(snapshot) for snapshot in self._snapshots], dtype=np.int64)

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let the moment go."""
        for snapshot in self._snapshots:
            snapshot.close()

    def __len__(self) -> int:
        """Return the number of keys."""
        return int(self._ends[-1])

    def nth(self, rank: int) -> tuple[Any, Any]:
        """Return the item at a rank below the number of keys."""
        at = int(np.searchsorted(self._ends, rank, "right"))
        return self._snapshots[at].nth(rank - int(self._ends[at - 1] if at else 0))

    def keys_of_ranks(self, ranks: NDArray[np.int64]) -> NDArray[Any]:
        """Return the keys at `ranks`, each below the number of keys, in their order."""
        places = np.searchsorted(self._ends, ranks, "right")
        found = np.empty(len(ranks), _array([], self._kind).dtype)
        for place in np.unique(places):
            rows = np.flatnonzero(places == place)
            start = self._ends[place - 1] if place else 0
            found[rows] = self._snapshots[place]._keys_of_ranks(ranks[rows] - start)  # noqa: SLF001
        return found


class Gathered:
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


def _check_kind(store: _store.Store[Any, Any], manifest: _shards.Manifest) -> None:
    """Refuse another store than was published."""
    if (store.key_kind, store.codec_name) != (manifest.key, manifest.codec):
        raise FormatError(
            f"{store.path} has keys of {store.key_kind} and the codec {store.codec_name}, and epoch "
            f"{manifest.epoch} has {manifest.key} and {manifest.codec}: another store was published"
        )


def check_range(store: _store.Store[Any, Any], shard: _shards.Shard) -> None:
    """Refuse a store with keys outside of its range."""
    for item in (store.first(), store.last()):
        if item is None:
            continue
        number = _number(item[0], store.key_kind)
        if (shard.start is not None and number < shard.start) or (
            shard.stop is not None and number >= shard.stop
        ):
            raise FormatError(
                f"{store.path} holds the key {item[0]}, which is outside of its range as a shard, from "
                f"{key_of(shard.start, store.key_kind)} to {key_of(shard.stop, store.key_kind)}; nothing is "
                "lost: move the key to its shard, or publish other ranges"
            )


def _number(key: Any, kind: str) -> int:
    return operator.index(key) if kind == "int64" else _kinds.one(key, kind, "key")


def bound(end: Any, kind: str, name: str) -> int | None:
    """Return a bound as an integer, None if it is None."""
    if end is None:
        return None
    if kind == "int64" and isinstance(end, bool):
        raise TypeError(f"{name} is {_convert.type_name(end)}; keys are integers")
    return _given(end, kind, name)


def _given(key: Any, kind: str, name: str) -> int:
    """Return a key that a caller gives as an integer."""
    if kind != "int64":
        return _kinds.one(key, kind, name)
    if isinstance(key, np.bool_) or not hasattr(key, "__index__"):
        raise TypeError(f"{name} is {_convert.type_name(key)}; keys are integers")
    number = operator.index(key)
    if not -(2**63) <= number < 2**63:
        raise OverflowError(f"{name} is {number}, outside int64 (-2**63 to 2**63-1)")
    return number


def keys_of(keys: Any, kind: str) -> NDArray[Any]:
    """Return many keys as an array, as a store of this kind reads them: where none is at hand to ask.

    Raises:
        TypeError, ValueError, OverflowError: as `Store.get_many`.

    """
    memory = _convert.integers(keys, "keys") if kind == "int64" else _kinds.many(keys, kind)
    if memory is not None:
        return _kinds.array_of(memory, kind)
    return _array([_given(key, kind, f"keys[{place}]") for place, key in enumerate(keys)], kind)


def key_of(number: int | None, kind: str) -> Any:
    """Return the key that a bound is."""
    if number is None or kind in _INTEGERS:
        return number
    return _kinds.uuid_of(number) if kind == "uuid" else _kinds.moment_of(number, kind)


def _array(numbers: list[int], kind: str) -> NDArray[Any]:
    """Return integers as an array of keys."""
    if kind == "uuid":
        return np.frombuffer(b"".join(number.to_bytes(16, "big") for number in numbers), "V16")
    if kind == "uint64":
        return np.array(numbers, np.uint64)
    keys = np.array(numbers, np.int64)
    return keys if kind == "int64" else keys.view(kind)


def _sortable(keys: NDArray[Any]) -> NDArray[Any]:
    """Return keys in a form that NumPy can order: UUIDs as text of their bytes."""
    return keys.view("S16") if keys.dtype.kind == "V" else keys


def object_of(key: Any, kind: str) -> Any:
    """Return an element of an array of keys as the object that a scan gives."""
    return key if kind.startswith("datetime64") else key_of(_number(key, kind), kind)
