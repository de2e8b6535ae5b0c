"""`Lookup`: actors that hold a sharded store open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import ray
from ray.exceptions import RayTaskError

from alexpy import codecs
from alexpy._epoch import keys_of
from alexpy._path import absolute
from alexpy._sharded import ShardedStore
from alexpy.errors import ClosedError

if TYPE_CHECKING:
    import os

    from numpy.typing import DTypeLike, NDArray

    from alexpy.codecs import Codec

# A call that ends its actor is tried again so often.
_TRIES = 3
# Keys that are worth a call of another actor.
_MANY = 1 << 14


class Lookup:
    """Actors that hold a sharded store open, and look keys up in it.

    `dtype`, `shape` and `fill` as in `Store.get_array`. Each of the `actors` has a read-only handle of its
    own, and takes `options` of Ray, such as `num_cpus` (which is 0 if it is not given, so that the actors
    take no processor from tasks that call them). Ray starts an actor anew that has died, and calls it again;
    a call that ends its actor each time raises after three tries more.

    All actors show the same epoch: the newest one when this is made, or when `refresh` was last called. Of
    each shard an actor shows what was committed when it first used it since, or since Ray started it anew.
    A `Lookup` may be an argument of tasks, where it keeps to the epoch that it shows.

    Raises:
        As `ShardedStore.open`; TypeError if `dtype` is None and the values are no rows.

    Example:
        >>> with Lookup(path, actors=2) as pool:
        ...     pool.get_array([7, 999, 0])["x"].tolist()
        [3.5, 499.5, 0.0]

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dtype: DTypeLike | None = None,
        shape: tuple[int, ...] | int = (),
        *,
        fill: Any = None,
        codec: Codec[Any] | None = None,
        actors: int = 2,
        **options: Any,
    ) -> None:
        if actors < 1:
            raise ValueError(f"actors must be 1 or more, not {actors}")
        self._path = absolute(path)
        with ShardedStore.open(self._path, codec=codec) as store:
            self._epoch, self._kind = store.epoch, store.key_kind
            if dtype is None:
                # The actors ask their store: another epoch may have other rows.
                codecs.row_type(store.codec)
        asked = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": _TRIES, **options}
        made = ray.remote(_Reader).options(**asked)
        self._turn = 0
        row = None if dtype is None else np.dtype(dtype)
        self._actors = [made.remote(self._path, row, shape, fill, codec) for _ in range(actors)]

    @property
    def epoch(self) -> int:
        """The epoch that is shown."""
        return self._epoch

    def submit(self, keys: Any) -> Any:
        """Ask the actor whose turn it is for the values of many keys; a reference to the array. O(keys).

        For calls at the same time: `ray.get` of many references. What is raised there is Ray's
        `RayTaskError` of the error.

        Raises:
            TypeError, ValueError, OverflowError: `keys` are none, as `Store.get_array`.

        Example:
            >>> with Lookup(path) as pool:
            ...     [rows["x"].tolist() for rows in ray.get([pool.submit([1, 2]), pool.submit([3])])]
            [[0.5, 1.0], [1.5]]

        """
        return self._ask(keys_of(keys, self._kind))

    def get_array(self, keys: Any) -> NDArray[Any]:
        """Return the values of many keys, in their order, as one array. As `Store.get_array`.

        The keys are divided among the actors if there are many. The array may be read-only: it may lie in
        Ray's object store. O(keys + bytes).

        Raises:
            KeyError: a key is absent, and there is no `fill`.
            As `Store.get_array`; of Ray `ActorDiedError` if calls end their actor again and again.

        Example:
            >>> with Lookup(path, np.uint8, 16, fill=0) as pool:
            ...     pool.get_array([5, 10**6]).shape
            (2, 16)

        """
        array = keys_of(keys, self._kind)
        some = max(1, min(len(self._actors), len(array) // _MANY))
        try:
            rows = ray.get([self._ask(part) for part in np.array_split(array, some)])
        except RayTaskError as error:
            raise error.cause from error
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def refresh(self) -> int:
        """Take up what was committed, and a new epoch if there is one, in all actors; return the epoch.

        O(shards).

        Raises:
            As `ShardedStore.refresh`.

        Example:
            >>> with Lookup(path) as pool:
            ...     write(ray.data.from_arrow(pa.table({"id": [5], "x": [7.5]})), path, key="id")
            ...     pool.refresh(), pool.get_array([5]).tolist()
            2
            (2, [7.5])

        """
        with ShardedStore.open(self._path) as store:
            epoch, kind = store.epoch, store.key_kind
        try:
            ray.get([actor.refresh.remote(epoch) for actor in self._open()])
        except RayTaskError as error:
            raise error.cause from error
        self._epoch, self._kind = epoch, kind
        return epoch

    def _ask(self, keys: NDArray[Any]) -> Any:
        actors = self._open()
        self._turn += 1
        return actors[self._turn % len(actors)].rows.remote(keys, self._epoch)

    def _open(self) -> list[Any]:
        if not self._actors:
            raise ClosedError(f"the actors that looked keys up in {self._path} are closed")
        return self._actors

    def close(self) -> None:
        """End the actors; O(actors)."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()


class _Reader:
    """One actor: a store, opened when it is first needed."""

    def __init__(
        self,
        path: str,
        dtype: np.dtype[Any] | None,
        shape: tuple[int, ...] | int,
        fill: Any,
        codec: Codec[Any] | None,
    ) -> None:
        self._path, self._codec = path, codec
        self._dtype, self._shape, self._fill = dtype, shape, fill
        self._store: ShardedStore[Any, Any] | None = None

    def rows(self, keys: NDArray[Any], epoch: int) -> NDArray[Any]:
        """Return the values of many keys in an epoch."""
        store = self._store
        if store is None or store.epoch != epoch:
            # This actor is new, or was started anew.
            store = self._opened(epoch)
        return store.get_array(keys, self._dtype, self._shape, fill=self._fill)

    def refresh(self, epoch: int) -> None:
        """Show an epoch as it is now."""
        self._opened(epoch)

    def _opened(self, epoch: int) -> ShardedStore[Any, Any]:
        before = self._store
        store = self._store = ShardedStore._of_epoch(self._path, epoch, self._codec)  # noqa: SLF001
        if before is not None:
            before.close()
        return store
