"""alexpy.aio: the calls as awaitables, scans and changes for `async for`, and cancellation."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
import alexpy.aio

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a test, with asyncio's checks."""
    asyncio.run(coroutine, debug=True)


async def opened(store: alexpy.aio.AsyncStore[int, bytes]) -> alexpy.aio.AsyncStore[int, bytes]:
    """Open a store, as a task of its own may."""
    return await store


def test_calls_do_what_those_of_a_store_do(store_path: Path) -> None:
    async def main() -> None:
        async with alexpy.aio.open(store_path) as store:
            await store.put(1, b"one")
            assert await store.put_many([2, 3], [b"two", b"three"]) == 2
            assert await store.get(1) == b"one"
            assert await store.get(9, b"none") == b"none"
            assert await store.get_many([3, 9]) == [b"three", None]
            assert await store.contains(2)
            assert (await store.contains_many([1, 9])).tolist() == [True, False]
            assert await store.size() == await store.count() == 3
            assert await store.floor(2) == (2, b"two")
            assert await store.first() == (1, b"one")
            assert await store.last() == (3, b"three")
            assert await store.lower(2) == (1, b"one")
            assert await store.higher(2) == await store.ceiling(3) == (3, b"three")
            assert len(await store.get_buffers([1, 2])) == 2
            assert await store.put_if_absent(1, b"uno") is False
            assert await store.compare_and_set(1, b"one", b"uno")
            async with store.batch() as batch:
                batch.put(5, b"five")
                batch.delete(1)
            with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
                async with store.batch() as batch:
                    batch.put(6, b"six")
                    raise ZeroDivisionError
            await store.update({7: b"seven"})
            assert [key async for key in store.scan_keys()] == [2, 3, 5, 7]
            assert [value async for value in store.scan_values(limit=2)] == [b"two", b"three"]
            assert [item async for item in store.scan(3, reverse=True)] == [
                (7, b"seven"),
                (5, b"five"),
                (3, b"three"),
            ]
            assert [len(batch.keys) async for batch in store.scan_batches()] == [4]
            async with await store.snapshot() as snapshot:
                assert await store.delete(2)
                assert await store.delete_many([3, 4]) == 1
                assert await store.delete_range(5, 6) == 1
                assert await snapshot.size() == 4
                assert snapshot.seq < (await store.stats()).last_seq
            assert await store.size() == 1
            await store.flush()
            with pytest.raises(ValueError, match="there is none"):
                await store.flush(remote=True)
            await store.checkpoint()
            await store.compact()
            assert (await store.verify()).ok
            await store.backup(store_path.with_name("copy"))
            await store.clear()
            assert await store.bulk_load(range(10), np.zeros((10, 2), np.int32)) == 10
            assert (await store.get_array([1, 2], np.int32, 2)).tolist() == [[0, 0], [0, 0]]
        assert store.closed

    run(main())


def test_every_call_of_a_store_is_there_or_left_out_on_purpose() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    # Cheap ones of the store itself; those of a mapping, which are not awaited; Arrow's own streams.
    left_out = {
        "codec",
        "codec_name",
        "compression",
        "config",
        # Each of its moves is one short read.
        "cursor",
        "key_kind",
        "path",
        "read_only",
        "get_view",
        "keys",
        "values",
        "items",
        "pop",
        "popitem",
        "setdefault",
    }
    left_out |= {"split", "to_arrow"}
    assert public(alexpy.Store) - public(alexpy.aio.AsyncStore) == left_out
    assert public(alexpy.aio.AsyncStore) - public(alexpy.Store) == {"contains", "size", "store"}
    for name in public(alexpy.aio.AsyncStore) & public(alexpy.Store):
        call = getattr(alexpy.aio.AsyncStore, name)
        assert isinstance(call, property) or inspect.getdoc(call), name


def test_a_store_that_was_not_opened_yet_says_how(store_path: Path) -> None:
    async def main() -> None:
        store = alexpy.aio.open(store_path)
        with pytest.raises(alexpy.ClosedError, match="await it"):
            await store.get(1)
        assert await (await store).get(1) is None
        await store.close()
        with pytest.raises(alexpy.ClosedError):
            await alexpy.aio.open(store_path).get(1)

    run(main())


def test_a_closed_store_can_be_closed_again_and_says_that_it_is_closed(store_path: Path) -> None:
    async def main() -> None:
        async with alexpy.aio.open(store_path) as store:
            await store.put(1, b"one")
            snapshot = await store.snapshot()
            await store.close()
            # Leaving the block closes it once more.
        await store.close()
        await snapshot.close()
        assert store.closed
        for call in (store, store.get(1), store.put(1, b"x"), store.snapshot(), store.changes().__anext__()):
            with pytest.raises(alexpy.ClosedError):
                await call
        for scan in (store.scan(), snapshot.scan(), store.scan_batches()):
            with pytest.raises(alexpy.ClosedError):
                await anext(scan)
        with pytest.raises(alexpy.ClosedError):
            await store.__aenter__()
        unopened = alexpy.aio.open(store_path)
        await unopened.close()
        assert unopened.closed
        with pytest.raises(alexpy.ClosedError):
            await unopened

    run(main())


@pytest.mark.parametrize("threads", ["x", 2.5, None, 0, -1])
def test_a_number_of_threads_that_is_none_is_refused(store_path: Path, threads: Any) -> None:
    expected, message = (ValueError, "1 or more") if isinstance(threads, int) else (TypeError, "an integer")
    with pytest.raises(expected, match=f"^threads .*{message}"):
        alexpy.aio.open(store_path, threads=threads)


def test_a_store_that_several_tasks_wait_for_opens_once(store_path: Path) -> None:
    async def main() -> None:
        store = alexpy.aio.open(store_path)
        first, *others = await asyncio.gather(*(opened(store) for _ in range(4)))
        assert all(other is first for other in others)
        await store.put(1, b"one")
        await store.close()

    run(main())


def test_a_store_goes_on_opening_when_who_waited_for_it_is_cancelled(store_path: Path) -> None:
    async def main() -> None:
        store = alexpy.aio.open(store_path)
        begin, begins = store._begin, threading.Event()
        store._begin = lambda: begin() if begins.wait(30) else None  # type: ignore[assignment, return-value]
        waiting, other = asyncio.create_task(opened(store)), asyncio.create_task(opened(store))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not other.done()
        begins.set()
        assert await other is store
        await store.put(1, b"one")
        await store.close()
        alexpy.open(store_path).close()

    run(main())


def test_a_store_that_is_closed_while_it_opens_is_closed(store_path: Path) -> None:
    async def main() -> None:
        store = alexpy.aio.open(store_path)
        opening = asyncio.create_task(opened(store))
        await asyncio.sleep(0)
        await store.close()
        await opening
        assert store.closed
        alexpy.open(store_path).close()

    run(main())


def test_a_store_that_does_not_open_raises_as_alexpy_open_does(store_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            async with alexpy.aio.open(store_path, read_only=True):
                pass

    run(main())


def test_a_follower_waits_for_changes_and_tells_each_once(store_path: Path) -> None:
    async def main() -> None:
        async with (
            alexpy.aio.open(store_path) as store,
            alexpy.aio.open(store_path, read_only=True) as reader,
        ):
            await store.put(0, b"before")
            told: list[int] = []

            async def follow() -> None:
                async for change in reader.changes(since=0, follow=True):
                    assert isinstance(change.key, int)
                    told.append(change.key)
                    if change.key == 499:
                        return

            following = asyncio.create_task(follow())
            for key in range(1, 500):
                await store.put(key, b"after")
            await asyncio.wait_for(following, 60)
            assert told == list(range(500))
            assert [change.key async for change in reader.changes()] == []
            seq = (await store.stats()).last_seq
            assert await reader.wait(seq + 1, timeout=0.01) == seq

    run(main())


def test_the_loop_goes_on_while_calls_wait(store_path: Path) -> None:
    async def main() -> None:
        async with alexpy.aio.open(store_path, threads=1) as store:
            turns = 0

            async def tick() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.001)

            ticking = asyncio.create_task(tick())
            waiting = asyncio.create_task(asyncio.to_thread(time.sleep, 0.2))
            keys = np.arange(300_000)
            await store.put_many(keys, np.zeros((300_000, 100), np.uint8))
            assert sum([1 async for _ in store.scan_keys()]) == 300_000
            await waiting
            ticking.cancel()
            assert turns > 20

    run(main())


def test_a_call_that_is_cancelled_is_whole_or_undone(store_path: Path) -> None:
    async def main() -> None:
        async with alexpy.aio.open(store_path, threads=1) as store:
            for attempt in range(40):
                keys = range(attempt * 1000, attempt * 1000 + 1000)
                writes = [
                    asyncio.create_task(store.put_many(keys[at : at + 100], [b"%d" % attempt] * 100))
                    for at in range(0, 1000, 100)
                ]
                await asyncio.sleep(attempt * 0.0001)
                for write in writes:
                    write.cancel()
                outcomes = await asyncio.gather(*writes, return_exceptions=True)
                # The one thread does one call after another: this one comes after those that had begun.
                there = await store.contains_many(list(keys))
                for at, outcome in enumerate(outcomes):
                    found = int(there[at * 100 : at * 100 + 100].sum())
                    assert found in ({100} if outcome == 100 else {0, 100})
            scan = store.scan_keys()
            async for _ in scan:
                break
            await scan.aclose()  # type: ignore[attr-defined]

    run(main())
