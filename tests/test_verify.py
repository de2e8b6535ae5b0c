"""`Store.verify` and `alexpy verify`: undamaged stores pass, damage is named and changes the exit code."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

import alexpy

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


def fill(path: Path) -> None:
    with alexpy.open(path, segment_bytes=1 << 16) as store:
        for key in range(500):
            store[key] = b"x" * (key % 300)
        store.put_many(range(0, 500, 7), [b"again"] * 72)
        store.delete_range(490)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_a_whole_store_verifies(store: alexpy.Store) -> None:
    assert store.verify() == alexpy.VerifyReport(0, store.verify().bytes, ())
    store.update({1: b"one", 2: b"two"})
    del store[1]
    report = store.verify()
    assert report.ok
    assert bool(report)
    assert report.records == 5  # two puts between a begin and a commit, and a tombstone
    assert report.errors == ()


def test_damage_is_listed_with_its_place_and_not_raised(store_path: Path) -> None:
    fill(store_path)
    segment = store_path / "seg-00000001.log"
    with alexpy.open(store_path, read_only=True) as store:
        flip(segment, 5000)
        report = store.verify()
    assert not report.ok
    assert not report
    (error,) = report.errors
    assert isinstance(error, alexpy.CorruptionError)
    assert error.path == str(segment)
    assert error.offset is not None
    assert 4500 < error.offset <= 5000


def test_progress_is_called_and_its_exception_stops_the_call(store: alexpy.Store) -> None:
    store.put_many(range(30), [b"x" * (1 << 20)] * 30)
    seen: list[tuple[int, int]] = []
    assert store.verify(lambda done, total: seen.append((done, total))).ok
    assert len(seen) > 3
    assert all(0 < done <= total for done, total in seen)
    calls = []

    def stop(*at: int) -> None:
        calls.append(at)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.verify(stop)
    assert len(calls) == 1
    assert store.verify(None).ok


def test_a_closed_store_is_not_verified(store: alexpy.Store) -> None:
    store.close()
    with pytest.raises(alexpy.ClosedError):
        store.verify()


def test_the_command_verifies_a_whole_store(run: CommandLine, store_path: Path) -> None:
    fill(store_path)
    before = {path.name: path.read_bytes() for path in store_path.iterdir()}
    ended = run("verify", store_path).succeeds()
    assert b"records" in ended.out
    figures = json.loads(run("verify", store_path, "--json").succeeds().out)
    assert figures["ok"] is True
    assert figures["errors"] == []
    assert figures["records"] > 570
    assert {path.name: path.read_bytes() for path in store_path.iterdir()} == before


@pytest.mark.parametrize("name", ["seg-00000001.log", "seg-00000002.log", "MANIFEST-A", "MANIFEST-B"])
def test_the_command_names_damage_and_exits_3(run: CommandLine, store_path: Path, name: str) -> None:
    fill(store_path)
    size = (store_path / name).stat().st_size
    for _ in range(5):
        offset = random.randrange(size)
        flip(store_path / name, offset)
        ended = run("verify", store_path)
        assert ended.code == 3, (offset, ended)
        assert name.encode() in ended.out, (offset, ended)
        assert "1 damaged place" in ended.err, (offset, ended)
        figures = json.loads(run("verify", store_path, "--json").out)
        assert figures["ok"] is False
        assert figures["errors"][0]["path"].endswith(name)
        flip(store_path / name, offset)
    run("verify", store_path).succeeds()


def test_the_command_names_every_damaged_file_of_a_store_that_does_not_open(
    run: CommandLine, store_path: Path
) -> None:
    fill(store_path)
    flip(store_path / "seg-00000001.log", 300)
    flip(store_path / "seg-00000002.log", 400)
    ended = run("verify", store_path)
    assert ended.code == 3
    assert b"seg-00000001.log" in ended.out
    assert b"seg-00000002.log" in ended.out
    assert "2 damaged places" in ended.err


def test_verify_of_a_path_that_is_not_a_store_exits_3(run: CommandLine, tmp_path: Path) -> None:
    run("verify", tmp_path / "nothing").fails(3, "no store")
