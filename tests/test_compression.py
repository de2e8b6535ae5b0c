"""`compression="zstd"`: what is put comes back by every call, in less space, and the store remembers it."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
import alexpy.aio
from command_line import run_process

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000


def row(number: int) -> bytes:
    fields = {
        "carrier": "UA",
        "flight": number * 7919 % 2000,
        "origin": ("EWR", "JFK")[number % 2],
        "gate": None,
    }
    return json.dumps(fields | {"distance": number * 31 % 2586, "delayed_by_minutes": number % 60}).encode()


def filled(path: Path, compression: Any = "zstd", **options: Any) -> alexpy.Store:
    store = alexpy.open(path, compression=compression, **options)
    store.put_many(np.arange(ROWS), [row(number) for number in range(ROWS)])
    return store


def live_bytes(store: alexpy.Store) -> int:
    return store.stats().live_bytes


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_each_way_of_reading_returns_what_was_put(tmp_path: Path, read_mode: Any) -> None:
    with filled(tmp_path / "s", read_mode=read_mode) as store:
        store[-1] = b"alone"
        wanted = {-1: b"alone"} | {number: row(number) for number in range(ROWS)}
        some = list(range(0, ROWS, 37))
        assert dict(store.items()) == wanted
        assert store.get_many(some) == [wanted[key] for key in some]
        assert [store[key] for key in some] == [wanted[key] for key in some]
        assert bytes(store.get_view(5)) == wanted[5]
        assert list(store.scan(10, 20)) == [(key, wanted[key]) for key in range(10, 20)]
        assert [value for _, value in store.scan(reverse=True)] == list(wanted.values())[::-1]
        assert [bytes(value) for value in store.get_buffers(some)] == [wanted[key] for key in some]
        with store.snapshot() as snapshot:
            store[5] = b"changed"
            assert (snapshot[5], store[5]) == (wanted[5], b"changed")
            store[5] = wanted[5]
        changes = list(store.changes(0))
        assert {change.key: change.value for change in changes} == wanted
        assert store.pop(7) == wanted.pop(7)
        assert store.verify().ok
        with alexpy.open(store.path, read_only=True) as reader:
            assert dict(reader.items()) == wanted
            with pickle.loads(pickle.dumps(reader)) as twin:
                assert twin[8] == wanted[8]


def test_similar_values_take_a_fraction_of_their_room(tmp_path: Path) -> None:
    with filled(tmp_path / "plain", None) as plain, filled(tmp_path / "s") as store:
        assert 2 * live_bytes(store) < live_bytes(plain)


def test_values_put_one_by_one_are_compressed_by_a_dictionary_too(tmp_path: Path) -> None:
    with filled(tmp_path / "plain", None) as plain, alexpy.open(tmp_path / "s", compression="zstd") as store:
        for number in range(ROWS):
            store[number] = row(number)
        assert 3 * live_bytes(store) < 2 * live_bytes(plain)
        assert store.get_many(range(ROWS)) == [row(number) for number in range(ROWS)]


def test_arrays_of_rows_come_back(tmp_path: Path) -> None:
    values = np.arange(5000 * 16, dtype=np.int64).reshape(5000, 16) // 1000
    with alexpy.open(tmp_path / "s", compression="zstd") as store:
        store.put_many(np.arange(5000), values)
        assert live_bytes(store) < values.nbytes
        found = store.get_array(np.arange(5000)[::-1], dtype=np.int64, shape=16)
        assert (found == values[::-1]).all()


def test_random_bytes_are_stored_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 256, (2000, 96), dtype=np.uint8)
    with (
        alexpy.open(tmp_path / "s", compression="zstd") as store,
        alexpy.open(tmp_path / "plain") as plain,
    ):
        store.put_many(np.arange(2000), values)
        plain.put_many(np.arange(2000), values)
        assert live_bytes(store) == live_bytes(plain)
        assert store.get_many(range(2000)) == [value.tobytes() for value in values]


def test_it_goes_with_codecs_other_keys_and_batches(tmp_path: Path) -> None:
    made = alexpy.open(tmp_path / "s", compression="zstd", codec=alexpy.codecs.json, key="datetime64[s]")
    with made as store, store.batch() as batch:
        for number in range(3000):
            batch.put(np.datetime64(number, "s"), json.loads(row(number)))
    with alexpy.open(tmp_path / "s") as again:
        assert again.codec_name == "json"
        assert again.compression == "zstd"
        assert again[np.datetime64(17, "s")] == json.loads(row(17))


def test_the_store_remembers_and_refuses_another_wish(tmp_path: Path) -> None:
    filled(tmp_path / "s").close()
    filled(tmp_path / "plain", None).close()
    with alexpy.open(tmp_path / "s") as store:
        assert store.compression == "zstd"
        assert store[3] == row(3)
    with alexpy.open(tmp_path / "plain") as store:
        assert store.compression is None
    for options in ({}, {"read_only": True}):
        with pytest.raises(
            alexpy.FormatError, match='values that are not compressed, and compression="zstd"'
        ):
            alexpy.open(tmp_path / "plain", compression="zstd", **options)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [("lz4", ValueError), ("", ValueError), ("ZSTD", ValueError), (3, TypeError), (True, TypeError)],
)
def test_another_compression_is_refused_by_name_and_makes_nothing(
    tmp_path: Path, wrong: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="compression"):
        alexpy.open(tmp_path / "s", compression=wrong)
    assert not (tmp_path / "s").exists()


def test_compaction_and_backup_keep_what_is_there(tmp_path: Path) -> None:
    with filled(tmp_path / "s", segment_bytes=64 << 10) as store:
        store.delete_range(0, 15_000)
        store.compact()
        wanted = {number: row(number) for number in range(15_000, ROWS)}
        assert dict(store.items()) == wanted
        store.backup(tmp_path / "copy")
        assert store.stats().dead_bytes < store.stats().live_bytes
    with alexpy.open(tmp_path / "copy") as copy:
        assert dict(copy.items()) == wanted
        assert copy.compression == "zstd"


def test_repair_keeps_the_compression(tmp_path: Path) -> None:
    filled(tmp_path / "s").close()
    report = alexpy.repair(tmp_path / "s", tmp_path / "new")
    assert report.kept == ROWS
    with alexpy.open(tmp_path / "new") as store:
        assert store.compression == "zstd"
        assert store.get_many(range(ROWS)) == [row(number) for number in range(ROWS)]


def test_shards_and_asyncio_know_it(tmp_path: Path) -> None:
    first, second = alexpy.ShardedStore.create(tmp_path / "shards", [10], compression="zstd")
    for directory in (first, second):
        with alexpy.open(directory) as shard:
            assert shard.compression == "zstd"

    async def through_asyncio() -> Any:
        async with alexpy.aio.open(tmp_path / "a", compression="zstd") as store:
            await store.put(1, row(1))
            return await store.get(1)

    assert asyncio.run(through_asyncio()) == row(1)


def test_the_command_line_makes_shows_and_checks_it(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"".join(b'{"id": %d, "row": %s}\n' % (number, row(number)) for number in range(2000)))
    store, plain = str(tmp_path / "s"), str(tmp_path / "plain")
    assert run_process("load", store, str(file), "--key", "id", "--compression", "zstd").code == 0
    assert run_process("load", plain, str(file), "--key", "id").code == 0
    stats, of_plain = (json.loads(run_process("stats", path, "--json").out) for path in (store, plain))
    assert (stats["compression"], of_plain["compression"]) == ("zstd", None)
    assert 2 * stats["live_bytes"] < of_plain["live_bytes"]
    assert run_process("get", store, "5").out == run_process("get", plain, "5").out
    assert run_process("load", store, str(file), "--key", "id").code == 0, "not asked for again"
    refused = run_process("load", plain, str(file), "--key", "id", "--compression", "zstd")
    assert (refused.code, "leave out --compression" in refused.err) == (3, True)
