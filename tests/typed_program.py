"""A program that uses every public name of alexpy, for mypy and pyright in their strict modes; it runs too.

What a checker must refuse stands in `refused`, which is never called: each line has a `type: ignore`,
and one that ignores nothing is an error of both checkers.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import uuid
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_type

import numpy as np

import alexpy
import alexpy.aio
import alexpy.ship

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping


def options(folder: Path) -> None:
    """Open stores in every way."""
    config = alexpy.Config(durability="sync", sync_interval_ms=10, verify_reads=False)
    config = config.with_options({"durability": "os"})
    (folder / "store.toml").write_text('recovery = "strict"\n')
    assert alexpy.Config.from_toml(folder / "store.toml") == alexpy.Config.from_env({})
    with alexpy.open(
        folder / "new" / "store",
        read_only=False,
        create=True,
        parents=True,
        config=config,
        durability="interval",
        sync_interval_ms=20,
        segment_bytes=1 << 20,
        write_mode="pwrite",
        read_mode="pread",
        verify_reads=True,
        compact_dead_ratio=0.5,
        compact_bytes_per_second=1 << 20,
        background=False,
        checkpoint_tail_bytes=1 << 20,
        recovery="point_in_time",
    ) as store:
        assert_type(store, alexpy.Store)
        assert_type(store.config, alexpy.Config)
        assert_type(store.path, Path)
        assert not store.read_only
        assert not store.closed
    with alexpy.open(str(folder / "new" / "store"), read_only=True) as reader:
        copy: alexpy.Store = pickle.loads(pickle.dumps(reader))
        assert copy == reader
        copy.close()


def single_keys(store: alexpy.Store) -> None:
    """Read and write one key at a time."""
    as_mapping: MutableMapping[int, bytes] = store
    as_mapping[1] = b"one"
    store[np.int64(2)] = bytearray(b"two")
    store.put(3, np.arange(3))
    assert_type(store[1], bytes)
    assert_type(store.get(1), bytes | None)
    assert_type(store.get(1, 0), bytes | int)
    assert_type(store.get_view(1), memoryview | None)
    assert_type(store.delete(3), bool)
    assert_type(store.setdefault(4, b"four"), bytes)
    assert_type(store.pop(4), bytes)
    assert_type(store.pop(4, None), bytes | None)
    assert store.put_if_absent(5, memoryview(b"five"))
    assert store.compare_and_set(5, b"five", None)
    store.update({6: b"six"})
    store.update([(7, b"seven")], sync=True)
    assert_type(store.popitem(), tuple[int, bytes])
    del store[6]
    assert 6 not in store
    assert_type(len(store), int)


def many_keys(store: alexpy.Store) -> None:
    """Read and write many keys at a time."""
    keys = np.arange(10)
    assert_type(store.put_many(keys, np.arange(10.0)), int)
    store.put_many([20, 21], [b"a", b"b"], sync=True)
    store.bulk_load(
        range(30, 40), (b"%d" % key for key in range(10)), progress=lambda done, total: done <= total
    )
    assert_type(store.get_many(keys), list[bytes | None])
    assert_type(store.get_many(keys, b""), list[bytes])
    assert store.get_array(keys, np.float64, (), fill=0.0).dtype == np.float64
    buffers = store.get_buffers([1, 99])
    assert_type(buffers, alexpy.ValueBuffers)
    assert len(buffers) == len(buffers.offsets) - 1 == len(buffers.found) == 2
    assert len(buffers.data) == 8
    assert len(buffers.to_arrow()) == 2
    assert_type(buffers[0], bytes | None)
    assert_type(list(buffers), list[bytes | None])
    assert buffers.__arrow_c_array__() is not None
    store.put_many([1, 99], store.get_buffers([1, 1]))
    store.update(store.to_arrow())
    assert store.contains_many(keys).all()
    store.delete_many([70])
    totals = store.add_many([70, 71], [1, 2])
    assert totals.tolist() == [1, 2]
    assert_type(store.delete_many([20, 70, 71]), int)
    assert_type(store.delete_range(30), int)
    with store.batch(sync=True) as batch:
        assert_type(batch, alexpy.WriteBatch)
        batch.put(50, b"")
        batch[51] = b""
        batch.delete(50)
        del batch[51]
        batch.put_many([52], [b""])
        batch.delete_many([52])
        assert len(batch) > 0
    committed = store.batch()
    committed.commit()
    store.batch().discard()


def reads(store: alexpy.Store | alexpy.Snapshot) -> None:
    """Read in order and in ranges, from a store or a snapshot."""
    as_mapping: Mapping[int, bytes] = store
    assert list(as_mapping) == list(store.keys()) == list(store.scan_keys())
    assert list(reversed(store)) == [key for key, _ in store.scan(reverse=True, limit=None)]
    assert list(store.values()) == list(store.scan_values())
    assert dict(store.items()) == store
    for found in (
        store.first(),
        store.last(),
        store.floor(5),
        store.ceiling(5),
        store.lower(5),
        store.higher(5),
    ):
        assert_type(found, tuple[int, bytes] | None)
    for key, value in store.scan(1, 5, include_start=False, include_stop=True, limit=2):
        assert_type(key, int)
        assert_type(value, bytes)
    assert_type(store.count(1, None), int)
    assert store.keys_array(None, 5).dtype == store.sample(1, seed=7).dtype == np.int64
    assert_type(store.nth(0), tuple[int, bytes])
    assert_type(store.rank(5), int)
    assert_type(store.split(2), list[tuple[int | None, int | None]])
    for piece in store.scan_batches(0, 5, rows=3):
        assert_type(piece, alexpy.ScanBatch)
        assert len(piece.keys) == len(piece.offsets) - 1 == len(piece)
        assert piece.to_array(np.float64).nbytes == len(piece.data)
        assert len(piece.to_arrow()) == len(piece)
        assert_type(piece[0], tuple[int, bytes])
        assert_type(list(piece), list[tuple[int, bytes]])
        assert piece.__arrow_c_schema__() is not None
    store.to_arrow(0, 5).__arrow_c_stream__()
    assert store.__arrow_c_stream__(store.__arrow_c_schema__()) is not None


def care(store: alexpy.Store, folder: Path) -> None:
    """Look after a store."""
    with store.snapshot() as snapshot:
        assert_type(snapshot, alexpy.Snapshot)
        reads(snapshot)
        before = snapshot.seq
        with snapshot.cursor() as cursor:
            assert_type(cursor, alexpy.Cursor[int, bytes])
            assert cursor.first() == snapshot.first()
            assert cursor.prev() is None
            assert cursor.next() == snapshot.first()
            assert cursor.seek(7) == snapshot.ceiling(7)
            assert cursor.seek_for_prev(7) == snapshot.floor(7) == cursor.item
            assert cursor.last() == snapshot.last()
            cursor.close()
        assert snapshot.store is store
        assert snapshot.path == store.path
    assert snapshot.closed
    store[60] = b"sixty"
    for change in store.changes(before):
        assert_type(change, alexpy.Change)
        assert_type(change.value, bytes | None)
        assert change.seq > before
    assert_type(store.refresh(), int)
    assert_type(store.wait(before, timeout=0.0), int)
    store.flush()
    store.flush(remote=False)
    store.checkpoint()
    compacted = store.compact()
    assert_type(compacted, alexpy.CompactReport)
    assert compacted.moved_bytes >= 0
    verified = store.verify(progress=None)
    assert_type(verified, alexpy.VerifyReport)
    assert verified.ok
    store.backup(folder / "copy")
    repaired = alexpy.repair(folder / "copy", folder / "repaired", mode="salvage")
    assert_type(repaired, alexpy.RepairReport)
    figures = store.stats()
    assert_type(figures.remote_seq, int | None)
    assert_type(figures, alexpy.Stats)
    assert_type(figures.last_sync_seconds, float | None)
    store.clear()
    store.close()


def values_of_other_types(folder: Path) -> None:
    """Store text, JSON, arrays, records and what codecs of one's own make bytes of."""
    with alexpy.open(folder / "text", codec=alexpy.codecs.text) as names:
        assert_type(names, alexpy.Store[int, str])
        as_mapping: MutableMapping[int, str] = names
        as_mapping[1] = "one"
        names.put_many([2], ["two"])
        names.update({3: "three"})
        assert_type(names[1], str)
        assert_type(names.get(1), str | None)
        assert_type(names.get_many([1, 9]), list[str | None])
        assert_type(names.first(), tuple[int, str] | None)
        assert_type(names.setdefault(1, "uno"), str)
        for key, name in names.items():
            assert_type((key, name), tuple[int, str])
        with names.snapshot() as before:
            assert_type(before, alexpy.Snapshot[int, str])
            assert_type(before[1], str)
        with names.batch() as batch:
            assert_type(batch, alexpy.WriteBatch[int, str])
            batch[4] = "four"
        for change in names.changes(0):
            assert_type(change.value, str | None)
        assert names.codec is alexpy.codecs.text
        assert names.codec_name == "text"
        assert names.key_kind == "int64"
    with alexpy.open(folder / "small", compression="zstd") as small, small.snapshot() as then:
        assert_type(small.compression, Literal["zstd"] | None)
        assert small.compression == then.compression == "zstd"
    with alexpy.open(folder / "vectors", codec=alexpy.codecs.numpy(np.float32, 3)) as vectors:
        vectors.put_many([1], np.zeros((1, 3)))
        assert vectors[1].dtype == vectors.get_many([1]).dtype == vectors.get_array([1]).dtype
    with alexpy.open(folder / "rows", codec=alexpy.codecs.struct("<id")) as rows:
        rows[1] = (1, 0.5)
        assert rows.get_many([1])["f0"].tolist() == [1]
    with alexpy.open(folder / "documents", codec=alexpy.codecs.json) as documents:
        documents[1] = {"a": [1, 2]}
    reverse: alexpy.Codec[str] = alexpy.Codec(
        "reversed", lambda text: text[::-1].encode(), lambda data: data.decode()[::-1]
    )
    with alexpy.open(folder / "reversed", codec=reverse) as reversed_names:
        reversed_names[1] = "one"
        assert_type(reversed_names[1], str)
        try:
            reversed_names[2] = "\ud800"
        except alexpy.CodecError as error:
            assert_type(error.key, int | None)
            assert_type(error.codec, str | None)


def keys_of_other_kinds(folder: Path) -> None:
    """Have UUIDs, moments and unsigned integers as keys."""
    with alexpy.open(folder / "people", key="uuid") as people:
        assert_type(people, alexpy.Store[uuid.UUID, bytes])
        as_mapping: MutableMapping[uuid.UUID, bytes] = people
        somebody = uuid.uuid4()
        as_mapping[somebody] = b"somebody"
        people.put_many([uuid.uuid4(), uuid.uuid4()], [b"a", b"b"])
        people.put_many(np.zeros((1, 2), np.uint64), [b"nobody"])
        assert_type(people[somebody], bytes)
        assert_type(people.first(), tuple[uuid.UUID, bytes] | None)
        assert_type(people.get_many([somebody]), list[bytes | None])
        assert people.keys_array().dtype == "V16"
        assert people.key_kind == "uuid"
        people.delete_range(somebody)
        for change in people.changes(0):
            if isinstance(change.key, alexpy.KeyRange):
                assert change.key.first <= change.key.last
    with alexpy.open(folder / "readings", key="datetime64[us]", codec=alexpy.codecs.numpy("f8")) as readings:
        start = np.datetime64("2026-11-29T12:00", "us")
        readings.put_many(start + np.arange(10), np.arange(10.0))
        for moment, _ in readings.scan(start, None, limit=1):
            assert moment == start
    with alexpy.open(folder / "names", key="datetime64[s]", codec=alexpy.codecs.text) as names:
        assert_type(names, alexpy.Store[np.datetime64, str])
        names[np.datetime64("2026-11-29")] = "a day"
        for moment, name in names.items():
            assert_type(name, str)
            assert_type(moment, np.datetime64)
    with alexpy.open(folder / "hashes", key="uint64") as hashes:
        assert_type(hashes, alexpy.Store)
        hashes[2**64 - 1] = b"last"
        assert_type(hashes.last(), tuple[int, bytes] | None)


def index(folder: Path) -> None:
    """Use the index alone."""
    made = alexpy.AlexIndex([3, 1, 2])
    days: alexpy.AlexIndex[np.datetime64] = alexpy.AlexIndex(key="datetime64[s]")
    day: np.datetime64 | None = next(iter(days), None)
    assert (day, days.key_kind) == (None, "datetime64[s]")
    as_mapping: MutableMapping[int, int] = made
    as_mapping[4] = 40
    made.put(5, 50)
    made.put_many([6], np.array([60], np.int8))
    assert made.setdefault(6, 0) == 60
    assert_type(made[6], int)
    assert_type(made.get(6), int | None)
    assert_type(made.get(6, "none"), int | str)
    assert_type(made.pop(6), int)
    assert_type(made.popitem(), tuple[int, int])
    assert_type(made.delete(4), bool)
    made.update({8: 80, 9: 90})
    assert made.get_many([8, 7], default=0).tolist() == [80, 0]
    assert made.contains_many([8]).all()
    assert made.delete_many([8]) + made.delete_range(9, None) == 2
    for found in (made.first(), made.last(), made.floor(5), made.ceiling(5), made.lower(5), made.higher(5)):
        assert_type(found, tuple[int, int] | None)
    assert list(made.scan(limit=1)) == [(1, 1)]
    assert list(made.scan_keys()) == list(made.keys())
    assert list(made.scan_values()) == list(made.values())
    keys, values = made.scan_arrays(1, 3)
    assert len(keys) == len(values) == made.count(1, 3)
    assert len(made.scan_many([1], [3])) == 3
    assert_type(made.nth(-1), tuple[int, int])
    assert_type(made.rank(5), int)
    assert len(made.keys_array()) == len(made)
    floors, _, there = made.floor_many([2, 0])
    ceilings, _, _ = made.ceiling_many([2])
    assert (len(floors), len(ceilings), there.tolist()) == (2, 1, [True, False])
    assert_type(made.split(2), list[tuple[int | None, int | None]])
    made.save(folder / "index")
    assert alexpy.AlexIndex.load(folder / "index") == made == dict(made.items())
    made.check()
    assert made.stats().bytes_per_key > 0
    assert made.nbytes > 0
    made.clear()


async def for_asyncio(folder: Path) -> None:
    """Open a store for asyncio."""
    opened = alexpy.aio.open(folder / "aio", threads=2, read_only=False, durability="os", background=False)
    async with opened as store:
        assert_type(store, alexpy.aio.AsyncStore)
        await store.put_many([1, 2], [b"one", b"two"])
        assert_type(await store.get(1), bytes | None)
        async for key, value in store.scan(reverse=True):
            assert_type((key, value), tuple[int, bytes])
        async with await store.snapshot() as snapshot:
            assert_type(snapshot, alexpy.aio.AsyncSnapshot)
            assert await snapshot.size() == 2


async def kinds_for_asyncio(folder: Path) -> None:
    """Open a store of UUIDs for asyncio."""
    async with alexpy.aio.open(folder / "aio-people", key="uuid") as people:
        assert_type(people, alexpy.aio.AsyncStore[uuid.UUID, bytes])
        await people.put(uuid.UUID(int=1), b"first")
        assert_type(await people.first(), tuple[uuid.UUID, bytes] | None)


def errors(folder: Path) -> None:
    """Catch every error, and read what it carries."""
    with alexpy.open(folder / "errors") as store:
        try:
            alexpy.open(store.path)
        except alexpy.LockedError as error:
            assert_type(error.pid, int | None)
            assert_type(error.path, str | None)
        except alexpy.CorruptionError as error:
            print(error.path, error.offset, error.expected, error.found)
        except (alexpy.ClosedError, alexpy.ReadOnlyError, alexpy.PoisonedError, alexpy.ForkedError):
            raise
        except (alexpy.FormatError, alexpy.HistoryGoneError):
            raise
        except alexpy.FencedError as error:
            print(error.place, error.epoch, error.seq)
        except alexpy.AlexError as error:
            sys.exit(str(error))


def shipping(folder: Path) -> None:
    """Ship a store, and bring it back."""
    place = folder / "place"
    with alexpy.open(folder / "shipped") as store:
        store[1] = b"one"
        shipment = alexpy.ship.push(store, place, fork=False, progress=print)
        assert_type(shipment.seq, int)
        with alexpy.ship.Shipper(store, str(place), interval=60.0) as shipper:
            assert_type(shipper.flush(timeout=60), int)
            print(shipper.lag, shipper.seq, shipper.error, shipper.closed)
    again = alexpy.ship.restore(place, folder / "again", at=shipment.seq, epoch=1)
    assert again == shipment == alexpy.ship.shipments(place)[0]
    print(again.epoch, again.generation, again.made_at, again.bytes)
    assert alexpy.ship.follow(place, str(folder / "mirror"), progress=print) == shipment
    with alexpy.ship.Follower(place, folder / "mirror", interval=60.0) as follower:
        assert_type(follower.refresh(timeout=60), int)
        print(follower.seq, follower.error, follower.closed)
    with alexpy.ship.pin(place, at=shipment.seq, seconds=60) as pin:
        pin.renew()
        report = alexpy.ship.expire(place, keep=1, days=1)
        assert_type(report, alexpy.ship.ExpireReport)
        print(report.shipments, report.objects, report.bytes)


def refused(store: alexpy.Store, made: alexpy.AlexIndex) -> None:
    """Hold what type checkers refuse."""
    alexpy.open("store", durabilty="sync")  # type: ignore[call-overload]
    alexpy.open("store", durability="always")  # type: ignore[call-overload]
    alexpy.open("store", segment_bytes="64 MiB")  # type: ignore[call-overload]
    alexpy.open("store", True)  # type: ignore[call-overload]
    alexpy.open(None)  # type: ignore[call-overload]
    alexpy.aio.open("store", thread=2)  # type: ignore[call-overload]
    alexpy.Config(durabilty="sync")  # type: ignore[call-arg]
    alexpy.Config(sync_interval_ms=0.5)  # type: ignore[arg-type]
    alexpy.Store("store")  # type: ignore[arg-type]
    store[1] = "text"  # type: ignore[call-overload]
    store[1.5] = b""  # type: ignore[call-overload]
    store[None] = b""  # type: ignore[call-overload]
    store.put(1, 5)  # type: ignore[call-overload]
    store.get("1")  # type: ignore[call-overload]
    store.update({1: "text"})  # type: ignore[arg-type]
    store.scan("a")  # type: ignore[arg-type]
    store[1:2]  # type: ignore[index]
    names: alexpy.Store[int, str] = alexpy.open("store")
    names[1] = b"bytes"  # type: ignore[assignment]
    names.put_many([1], [b"bytes"])  # type: ignore[list-item]
    alexpy.open("store", codec="text")  # type: ignore[call-overload]
    alexpy.open("store", key="int32")  # type: ignore[call-overload]
    people = alexpy.open("store", key="uuid")
    people["550e8400-e29b-41d4-a716-446655440000"]  # type: ignore[index]
    people[1.5] = b""  # type: ignore[call-overload]
    made[1] = 1.5  # type: ignore[assignment]
    made[[1, 2]]  # type: ignore[index]


def shards(folder: Path) -> None:
    """Many stores, read as one."""
    for place, path in enumerate(alexpy.ShardedStore.create(folder / "shards", [100])):
        with alexpy.open(path) as shard:
            shard[place * 150] = b"%d" % place
    with alexpy.open(folder / "shards" / "all") as shard:
        shard.update({0: b"0", 150: b"1"})
    alexpy.ShardedStore.publish(folder / "shards", [("all", None, None)], epoch=2)
    sharded: alexpy.ShardedStore[int, bytes] = alexpy.ShardedStore.open(folder / "shards")
    with sharded:
        value: bytes = sharded[150]
        pair: tuple[int, bytes] | None = sharded.floor(100)
        keys: list[int] = list(sharded.scan_keys(reverse=True, limit=1))
        found: np.ndarray = sharded.contains_many([0, 1])
        assert (value, pair, keys, found.tolist()) == (b"1", (0, b"0"), [150], [True, False])
        assert [shard.path.name for shard in sharded.shards] == ["all"]
        assert (sharded.refresh(), sharded.epoch, sharded.bounds) == (2, 2, [(None, None)])
    with suppress(alexpy.FencedError):
        alexpy.ShardedStore.publish(folder / "shards", [("all", None, None)], epoch=2)


def main(folder: Path) -> None:
    """Run everything in the directory `folder`."""
    assert alexpy.__version__ == alexpy.build_info()["version"]
    options(folder)
    with alexpy.open(folder / "store") as store:
        single_keys(store)
        many_keys(store)
        reads(store)
        care(store, folder)
    values_of_other_types(folder)
    keys_of_other_kinds(folder)
    index(folder)
    shards(folder)
    errors(folder)
    if find_spec("obstore") is not None:
        shipping(folder)
    asyncio.run(for_asyncio(folder))
    asyncio.run(kinds_for_asyncio(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
