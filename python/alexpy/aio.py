"""Stores for asyncio: the calls of `Store` as awaitables, and scans and changes for `async for`.

The calls run in a few threads of their own, where they give up the GIL; the event loop never waits for a disk
or a lock. Where a task is cancelled, a call that has not begun does nothing, and one that has begun is
carried through. The way to a thread and back takes longer than most calls, so ask for many keys at once.
"""

from __future__ import annotations

import asyncio
import functools
import os  # noqa: TC003 - for those who ask for the types of `open` at run time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, SupportsIndex, TypeVar, Unpack, overload

from . import _store
from ._integers import integer, shown
from ._types import K, V
from .codecs import Codec  # noqa: TC001 - likewise
from .config import Config, Integers, Moments, Options, chosen, takes_options
from .errors import ClosedError

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Callable, Generator, Iterator
    from typing import ParamSpec

    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from ._alexpy import ScanBatch, ValueBuffers, WriteBatch
    from ._changes import Change
    from ._maintenance import CompactReport, VerifyReport
    from ._store import Snapshot, Stats, Store

    _P = ParamSpec("_P")

__all__ = ["AsyncSnapshot", "AsyncStore", "open"]

_T = TypeVar("_T")

# Items fetched by one visit to a thread: at first, and at most.
_FIRST_PIECE = 64
_LONGEST_PIECE = 4096
# How long `wait` sleeps between two looks, in seconds: at first, and at most.
_FIRST_NAP = 0.0005
_LONGEST_NAP = 0.02


class _Threads:
    """The threads in which the calls of one store run."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="alexpy-aio")
        self.ended = False

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a call in one of the threads; ClosedError if they have ended."""
        if self.ended:
            raise ClosedError("the store is closed; alexpy.aio.open opens it again")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, functools.partial(call, *args, **kwargs))

    async def pieces(self, begin: Callable[[], Iterator[_T]]) -> AsyncIterator[_T]:
        """Yield what an iterator yields, which is made and advanced in the threads."""
        iterator = await self.run(begin)
        size = _FIRST_PIECE
        while True:
            piece = await self.run(_piece, iterator, size)
            for item in piece:
                yield item
            if len(piece) < size:
                return
            size = min(4 * size, _LONGEST_PIECE)

    def end(self) -> None:
        """End the threads once they have nothing to do."""
        self.ended = True
        self._pool.shutdown(wait=False)


def _piece(iterator: Iterator[_T], size: int) -> list[_T]:
    return list(islice(iterator, size))


class _AsyncReads(ABC, Generic[K, V]):
    """The calls that read, of a store or a snapshot."""

    def __init__(self, threads: _Threads) -> None:
        self._threads = threads

    @abstractmethod
    def _reads(self) -> Store[K, V] | Snapshot[K, V]:
        """Return what is read; ClosedError if it is not open yet."""

    @overload
    async def get(self, key: SupportsIndex | K) -> V | None: ...
    @overload
    async def get(self, key: SupportsIndex | K, default: _T) -> V | _T: ...
    async def get(self, key: SupportsIndex | K, default: object = None) -> object:
        """Return the value of `key`, or `default`. As `Store.get`."""
        return await self._threads.run(self._reads().get, key, default)

    async def contains(self, key: SupportsIndex | K) -> bool:
        """Return whether `key` is there. As `key in store`."""
        return await self._threads.run(self._reads().__contains__, key)

    async def size(self) -> int:
        """Return the number of keys. As `len(store)`."""
        return await self._threads.run(self._reads().__len__)

    @overload
    async def get_many(self, keys: Any) -> list[V | None]: ...
    @overload
    async def get_many(self, keys: Any, default: _T) -> list[V | _T]: ...
    async def get_many(self, keys: Any, default: object = None) -> list[Any]:
        """Return the values of many keys in their order. As `Store.get_many`."""
        return await self._threads.run(self._reads().get_many, keys, default)

    async def get_buffers(self, keys: Any) -> ValueBuffers[V]:
        """Return the values of many keys in one buffer. As `Store.get_buffers`."""
        return await self._threads.run(self._reads().get_buffers, keys)

    async def get_array(
        self, keys: Any, dtype: DTypeLike, shape: int | tuple[int, ...] = (), **options: Any
    ) -> NDArray[Any]:
        """Return the values of many keys as one NumPy array. As `Store.get_array`."""
        return await self._threads.run(self._reads().get_array, keys, dtype, shape, **options)

    async def contains_many(self, keys: Any) -> NDArray[np.bool_]:
        """Return which of many keys are there. As `Store.contains_many`."""
        return await self._threads.run(self._reads().contains_many, keys)

    async def first(self) -> tuple[K, V] | None:
        """Return the item with the lowest key. As `Store.first`."""
        return await self._threads.run(self._reads().first)

    async def last(self) -> tuple[K, V] | None:
        """Return the item with the highest key. As `Store.last`."""
        return await self._threads.run(self._reads().last)

    async def floor(self, key: SupportsIndex | K) -> tuple[K, V] | None:
        """Return the item with the highest key at or below `key`. As `Store.floor`."""
        return await self._threads.run(self._reads().floor, key)

    async def ceiling(self, key: SupportsIndex | K) -> tuple[K, V] | None:
        """Return the item with the lowest key at or above `key`. As `Store.ceiling`."""
        return await self._threads.run(self._reads().ceiling, key)

    async def lower(self, key: SupportsIndex | K) -> tuple[K, V] | None:
        """Return the item with the highest key below `key`. As `Store.lower`."""
        return await self._threads.run(self._reads().lower, key)

    async def higher(self, key: SupportsIndex | K) -> tuple[K, V] | None:
        """Return the item with the lowest key above `key`. As `Store.higher`."""
        return await self._threads.run(self._reads().higher, key)

    async def rank(self, key: SupportsIndex | K) -> int:
        """Return how many keys are below `key`. As `Store.rank`."""
        return await self._threads.run(self._reads().rank, key)

    async def nth(self, i: int) -> tuple[K, V]:
        """Return the item with `i` keys below it. As `Store.nth`."""
        return await self._threads.run(self._reads().nth, i)

    async def sample(self, n: int, seed: Any = None) -> NDArray[Any]:
        """Return `n` different keys, drawn at random. As `Store.sample`."""
        return await self._threads.run(self._reads().sample, n, seed)

    async def keys_array(
        self, start: SupportsIndex | K | None = None, stop: SupportsIndex | K | None = None
    ) -> NDArray[Any]:
        """Return the keys of a range as an array. As `Store.keys_array`."""
        return await self._threads.run(self._reads().keys_array, start, stop)

    async def floor_many(self, keys: Any) -> tuple[NDArray[Any], ValueBuffers[V]]:
        """Return the keys and values at or below each of many keys. As `Store.floor_many`."""
        return await self._threads.run(self._reads().floor_many, keys)

    async def ceiling_many(self, keys: Any) -> tuple[NDArray[Any], ValueBuffers[V]]:
        """Return the keys and values at or above each of many keys. As `Store.ceiling_many`."""
        return await self._threads.run(self._reads().ceiling_many, keys)

    async def count(
        self, start: SupportsIndex | K | None = None, stop: SupportsIndex | K | None = None
    ) -> int:
        """Return the number of keys in a range. As `Store.count`."""
        return await self._threads.run(self._reads().count, start, stop)

    def scan(
        self,
        start: SupportsIndex | K | None = None,
        stop: SupportsIndex | K | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[K, V]]:
        """Iterate over the items of a range, as they are at the first step. As `Store.scan`."""
        reads = self._reads()
        return self._threads.pieces(lambda: reads.scan(start, stop, reverse=reverse, limit=limit))

    def scan_keys(
        self,
        start: SupportsIndex | K | None = None,
        stop: SupportsIndex | K | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[K]:
        """Iterate over the keys of a range, as they are at the first step. As `Store.scan_keys`."""
        reads = self._reads()
        return self._threads.pieces(lambda: reads.scan_keys(start, stop, reverse=reverse, limit=limit))

    def scan_values(
        self,
        start: SupportsIndex | K | None = None,
        stop: SupportsIndex | K | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[V]:
        """Iterate over the values of a range, as they are at the first step. As `Store.scan_values`."""
        reads = self._reads()
        return self._threads.pieces(lambda: reads.scan_values(start, stop, reverse=reverse, limit=limit))

    async def scan_batches(self, *args: Any, **options: Any) -> AsyncIterator[ScanBatch[K, V]]:
        """Iterate over the items of a range in batches of columns. As `Store.scan_batches`."""
        batches = await self._threads.run(self._reads().scan_batches, *args, **options)
        while (batch := await self._threads.run(next, batches, None)) is not None:
            yield batch


class AsyncStore(_AsyncReads[K, V]):
    """A store for asyncio; `alexpy.aio.open` makes them.

    Awaited, or entered by `async with`, it is opened. The calls are those of `Store`; `size()` is
    `len(store)`.

    Example:
        >>> import asyncio, alexpy.aio, tempfile
        >>> async def main():
        ...     async with alexpy.aio.open(tempfile.mkdtemp()) as store:
        ...         await store.put_many([1, 2], [b"one", b"two"])
        ...         return [item async for item in store.scan()]
        >>> asyncio.run(main())
        [(1, b'one'), (2, b'two')]

    """

    def __init__(self, begin: Callable[[], Store[K, V]], threads: int) -> None:
        """Remember how the store is opened."""
        super().__init__(_Threads(threads))
        self._begin = begin
        self._opening: asyncio.Future[None] | None = None
        self._store: Store[K, V] | None = None

    async def _open(self) -> Self:
        if self.closed:
            raise ClosedError("the store is closed; alexpy.aio.open opens it again")
        if self._store is None:
            # A store opens once, whoever waits for it, and whoever waits no longer.
            opening = self._opening = self._opening or asyncio.ensure_future(self._begun())
            try:
                await asyncio.shield(opening)
            except Exception:
                if self._opening is opening:
                    self._opening = None
                raise
        return self

    async def _begun(self) -> None:
        self._store = await self._threads.run(self._begin)

    def __await__(self) -> Generator[Any, None, Self]:
        """Open the store."""
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        """Open the store."""
        return await self._open()

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the store."""
        await self.close()

    @property
    def store(self) -> Store[K, V]:
        """The store itself, whose calls do not wait for their turn in a thread.

        Raises:
            ClosedError: it was not opened yet.

        """
        if self._store is None:
            raise ClosedError("the store is not open yet; await it, or use it in `async with`")
        return self._store

    def _reads(self) -> Store[K, V]:
        return self.store

    async def put(self, key: SupportsIndex | K, value: Any) -> None:
        """Store `value` under `key`. As `Store.put`."""
        await self._threads.run(self.store.put, key, value)

    async def delete(self, key: SupportsIndex | K) -> bool:
        """Remove `key`; True if it was there. As `Store.delete`."""
        return await self._threads.run(self.store.delete, key)

    async def put_many(self, keys: Any, values: Any, *, sync: bool = False) -> int:
        """Store many items in one commit. As `Store.put_many`."""
        return await self._threads.run(self.store.put_many, keys, values, sync=sync)

    async def update(self, other: Any = (), /, *, sync: bool = False) -> None:
        """Store every item of a mapping or an iterable of pairs in one commit. As `Store.update`."""
        await self._threads.run(self.store.update, other, sync=sync)

    async def bulk_load(self, keys: Any, values: Any, **options: Any) -> int:
        """Load many items. As `Store.bulk_load`."""
        return await self._threads.run(self.store.bulk_load, keys, values, **options)

    async def add_many(self, keys: Any, deltas: Any) -> NDArray[np.int64] | NDArray[np.float64]:
        """Add to many counters in one commit; the totals. As `Store.add_many`."""
        return await self._threads.run(self.store.add_many, keys, deltas)

    async def delete_many(self, keys: Any) -> int:
        """Remove many keys in one commit; how many were there. As `Store.delete_many`."""
        return await self._threads.run(self.store.delete_many, keys)

    async def delete_range(
        self, start: SupportsIndex | K | None = None, stop: SupportsIndex | K | None = None
    ) -> int:
        """Remove a range of keys; how many were there. As `Store.delete_range`."""
        return await self._threads.run(self.store.delete_range, start, stop)

    async def put_if_absent(self, key: SupportsIndex | K, value: Any) -> bool:
        """Store `value` only if `key` is absent. As `Store.put_if_absent`."""
        return await self._threads.run(self.store.put_if_absent, key, value)

    async def compare_and_set(self, key: SupportsIndex | K, expected: Any, new: Any) -> bool:
        """Store `new` only if the value is `expected`. As `Store.compare_and_set`."""
        return await self._threads.run(self.store.compare_and_set, key, expected, new)

    async def clear(self) -> None:
        """Remove everything, in one commit. As `Store.clear`."""
        await self._threads.run(self.store.clear)

    @asynccontextmanager
    async def batch(self, *, sync: bool = False) -> AsyncIterator[WriteBatch[K, V]]:
        """Collect operations in `async with`, and commit them together at its end. As `Store.batch`."""
        with_batch = self.store.batch(sync)
        batch = with_batch.__enter__()
        try:
            yield batch
        except BaseException as error:
            with_batch.__exit__(type(error), error, error.__traceback__)
            raise
        await self._threads.run(with_batch.__exit__, None, None, None)

    async def snapshot(self) -> AsyncSnapshot[K, V]:
        """Return the store as it is now, for as long as it is kept. As `Store.snapshot`."""
        return AsyncSnapshot(await self._threads.run(self.store.snapshot), self._threads)

    async def refresh(self) -> int:
        """Bring a read-only store up to date. As `Store.refresh`."""
        return await self._threads.run(self.store.refresh)

    async def wait(self, seq: int, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as Store.wait
        """Wait until the commit `seq` is visible here; the sequence number reached. As `Store.wait`."""
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        nap = _FIRST_NAP
        while (reached := await self.refresh()) < seq:
            left = _LONGEST_NAP if end is None else end - loop.time()
            if left <= 0:
                break
            await asyncio.sleep(min(nap, left))
            nap = min(2 * nap, _LONGEST_NAP)
        return reached

    async def changes(self, since: int | None = None, *, follow: bool = False) -> AsyncIterator[Change[K, V]]:
        """Iterate over the changes after `since`, or from the first step on. As `Store.changes`.

        With `follow=True` it does not end, but goes on with what is committed meanwhile.
        """
        seen = await self.refresh()
        last = seen if since is None else since
        while True:
            store = self.store
            async for change in self._threads.pieces(functools.partial(store.changes, last)):
                last = change.seq
                yield change
            if not follow:
                return
            seen = await self.wait(seen + 1)

    async def flush(self, *, remote: bool = False) -> None:
        """Return when everything written so far is safe on the device. As `Store.flush`."""
        await self._threads.run(functools.partial(self.store.flush, remote=remote))

    async def checkpoint(self) -> None:
        """Write an image of the index. As `Store.checkpoint`."""
        await self._threads.run(self.store.checkpoint)

    async def compact(self) -> CompactReport:
        """Give the disk space of dead values back. As `Store.compact`."""
        return await self._threads.run(self.store.compact)

    async def verify(self) -> VerifyReport:
        """Check every byte of the store. As `Store.verify`."""
        return await self._threads.run(self.store.verify)

    async def backup(self, dest: str | os.PathLike[str]) -> None:
        """Copy the store as it is now into a new directory. As `Store.backup`."""
        await self._threads.run(self.store.backup, dest)

    async def stats(self) -> Stats:
        """Return the figures of this moment. As `Store.stats`."""
        return await self._threads.run(self.store.stats)

    async def close(self) -> None:
        """Wait for running calls, and close the store. As `Store.close`."""
        if self._opening is not None:
            # What does not open need not be closed, and whoever waits for it has the error.
            with suppress(Exception):
                await asyncio.shield(self._opening)
        if self._store is not None and not self._threads.ended:
            await self._threads.run(self._store.close)
        self._threads.end()

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._threads.ended or (self._store is not None and self._store.closed)


class AsyncSnapshot(_AsyncReads[K, V]):
    """A store as it was at one moment; what `AsyncStore.snapshot` returns. Close it, or use `async with`."""

    def __init__(self, snapshot: Snapshot[K, V], threads: _Threads) -> None:
        """Read a snapshot in the threads of its store."""
        super().__init__(threads)
        self._snapshot = snapshot

    def _reads(self) -> Snapshot[K, V]:
        return self._snapshot

    @property
    def seq(self) -> int:
        """The sequence number of the last commit that the snapshot has seen."""
        return self._snapshot.seq

    async def close(self) -> None:
        """Let go of the snapshot. As `Snapshot.close`."""
        if self._threads.ended:
            # The store is closed, and the snapshot with it.
            return
        await self._threads.run(self._snapshot.close)

    async def __aenter__(self) -> Self:
        """Return the snapshot."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Let go of the snapshot."""
        await self.close()


@overload
def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    threads: int = ...,
    key: Integers | None = ...,
    read_only: bool = ...,
    create: bool = ...,
    parents: bool = ...,
    codec: Codec[V] | None = ...,
    compression: Literal["zstd"] | None = ...,
    config: Config | None = ...,
    **options: Unpack[Options],
) -> AsyncStore[int, V]: ...
@overload
def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    threads: int = ...,
    key: Moments,
    read_only: bool = ...,
    create: bool = ...,
    parents: bool = ...,
    codec: Codec[V] | None = ...,
    compression: Literal["zstd"] | None = ...,
    config: Config | None = ...,
    **options: Unpack[Options],
) -> AsyncStore[np.datetime64, V]: ...
@overload
def open(  # noqa: A001
    path: str | os.PathLike[str],
    *,
    threads: int = ...,
    key: Literal["uuid"],
    read_only: bool = ...,
    create: bool = ...,
    parents: bool = ...,
    codec: Codec[V] | None = ...,
    compression: Literal["zstd"] | None = ...,
    config: Config | None = ...,
    **options: Unpack[Options],
) -> AsyncStore[uuid.UUID, V]: ...
@takes_options
def open(  # noqa: A001 - the public name, as `alexpy.open`
    path: str | os.PathLike[str],
    *,
    threads: int = 4,
    key: str | None = None,
    read_only: bool = False,
    create: bool = True,
    parents: bool = False,
    codec: Codec[V] | None = None,
    compression: Literal["zstd"] | None = None,
    config: Config | None = None,
    **options: Unpack[Options],
) -> AsyncStore[Any, V]:
    """Return the store in the directory `path`, to be opened by `await` or `async with`. As `alexpy.open`.

    Its calls run in at most `threads` threads at a time.

    Raises:
        TypeError: there is no option of that name; the message says which is nearest. Or `threads` is no int.
        ValueError: the value of an option is impossible, or `threads` is below 1. What else `alexpy.open`
            raises comes when it is awaited or entered.

    """
    if (count := integer(threads, "threads")) < 1:
        raise ValueError(f"threads must be 1 or more, not {shown(count)}")
    begin = functools.partial(
        _store.open,
        path,
        key=key,
        read_only=read_only,
        create=create,
        parents=parents,
        codec=codec,
        compression=compression,
        config=chosen(config, options, open),
    )
    return AsyncStore(begin, count)
