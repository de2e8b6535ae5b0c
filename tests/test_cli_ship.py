"""`alexpy ship`: what it prints, and how it says what is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import alexpy
from alexpy import ship
from alexpy.ship import _shipment

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")


def test_the_commands_ship_and_restore(
    run: CommandLine, store_path: Path, place: Path, tmp_path: Path
) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
        out = run("ship", "push", store_path, place).succeeds().out.decode()
        assert out.startswith(f"{place} holds {store_path} as of sequence 1 (generation 1, epoch 1, ")
        store[2] = b"two"
        (figures,) = run("ship", "push", store_path, place, "--json").succeeds().json_lines()
        assert list(figures) == ["generation", "epoch", "seq", "bytes", "place"]
    assert len(run("ship", "list", place).succeeds().out.splitlines()) == 2
    listed = run("ship", "list", place, "--json").succeeds().json_lines()
    assert [one["generation"] for one in listed] == [1, 2]
    assert listed[0]["seq"] == 1
    assert list(listed[0]) == ["generation", "epoch", "seq", "bytes", "made_at"]
    (figures,) = run("ship", "restore", place, tmp_path / "x", "--at", 1, "--json").succeeds().json_lines()
    assert list(figures) == ["generation", "epoch", "seq", "bytes", "dest"]
    run("get", tmp_path / "x", 2).fails(1)
    run("ship", "restore", place, tmp_path / "y").succeeds()
    assert run("get", tmp_path / "y", 2).succeeds().out == b"two"
    (figures,) = run("ship", "expire", place, "--keep", 1, "--json").succeeds().json_lines()
    assert figures["shipments"] == 1
    assert b"0 shipments removed" in run("ship", "expire", place, "--keep", 1).succeeds().out


def test_a_restored_store_may_have_the_longest_name_that_there_is(
    run: CommandLine, store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    dest = tmp_path / ("n" * 255)
    run("ship", "restore", place, dest).succeeds()
    assert run("get", dest, 1).succeeds().out == b"one"


def test_without_a_command_the_help_is_shown(run: CommandLine) -> None:
    assert run("ship").succeeds().out == run("ship", "-h").succeeds().out
    run("ship", "pusch").fails(2, "no such command 'pusch'", "alexpy ship --help")


def test_the_commands_tell_errors_in_their_own_words(
    run: CommandLine, store: alexpy.Store, store_path: Path, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    run("ship", "push", tmp_path / "nothing", place).fails(3, "there is no store at")
    run("ship", "push", store_path, "s4://x/y").fails(2, "s4://x/y is no place")
    run("ship", "list", tmp_path / "nothing").fails(3, "there is no such directory")
    run("ship", "push", store_path, place).succeeds()
    run("ship", "restore", place, store_path).fails(2, "is not empty")
    run("ship", "restore", place, tmp_path / "no" / "such").fails(3, "there is no directory")
    run("ship", "restore", place, tmp_path / "x", "--at", 77).fails(2, "no shipment of sequence 77")
    run("ship", "restore", place, tmp_path / "copy").succeeds()
    store[2] = b"two"
    (figures,) = run("ship", "push", store_path, place, "--json").succeeds().json_lines()
    lost = figures["seq"]
    with alexpy.open(tmp_path / "copy") as copy:
        copy[3] = b"three"
    run("ship", "push", tmp_path / "copy", place).fails(3, "another copy", "push with --fork")
    run("ship", "push", tmp_path / "copy", place, "--fork").succeeds()
    run("ship", "restore", place, tmp_path / "x", "--at", lost).fails(2, "--epoch 1 asks for")
    manifest = place / _shipment.manifest_key(3)
    manifest.write_bytes(b"x")
    run("ship", "restore", place, tmp_path / "x").fails(3, "is damaged", manifest.name)
    assert run("ship", "list", place).code == 3


def test_a_command_that_is_interrupted_leaves_nothing(
    store: alexpy.Store, store_path: Path, place: Path
) -> None:
    store[1] = b"one"
    script = (
        "import signal, os, alexpy.ship._push as p\n"
        "inner = p._store\n"
        "def stop(*args):\n    os.kill(os.getpid(), signal.SIGINT)\n    return inner(*args)\n"
        "p._store = stop\n"
        "from alexpy.cli import main\n"
        f"main(['ship', 'push', {str(store_path)!r}, {str(place)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "alexpy: interrupted\n")
    assert not list(store_path.parent.glob(".*"))
    assert not (place / "manifests").exists()


def test_without_obstore_one_line_says_what_to_install(
    run: CommandLine, store: alexpy.Store, store_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store[1] = b"one"
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    run("ship", "push", store_path, place).fails(2, "pip install 'alexpy[ship]'")


def test_damage_of_the_store_itself_is_told_with_what_mends_it(
    run: CommandLine, store_path: Path, place: Path
) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(100), [b"x" * 100] * 100)
    segment = store_path / "seg-00000001.log"
    segment.write_bytes(segment.read_bytes()[:5000])
    run("ship", "push", store_path, place).fails(3, "alexpy repair")
    assert not place.exists()


def test_a_damaged_record_that_was_shipped_is_told_with_what_is_left_to_do(
    run: CommandLine, store: alexpy.Store, store_path: Path, place: Path, dest: Path
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    store.put_many(range(100), [b"x" * 100] * 100)
    store.flush()
    with (store_path / "seg-00000001.log").open("r+b") as segment:
        segment.seek(segment.read(100_000).index(b"x" * 100))
        segment.write(b"y")
    ship.push(store, place)
    told = run("ship", "restore", place, dest).fails(3, "damaged in seg-00000001.log", "with --at SEQ")
    assert "unfinished" not in told.err
    with pytest.raises(alexpy.CorruptionError, match="at=SEQ") as raised:
        ship.restore(place, dest)
    assert raised.value.path == str(place)
    run("ship", "restore", place, dest, "--at", first.seq).succeeds()


# --- follow ---------------------------------------------------------------------------------------------


def test_the_command_brings_a_mirror_up_to_date(
    run: CommandLine, store: alexpy.Store, place: Path, dest: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    out = run("ship", "follow", place, dest).succeeds().out.decode()
    assert out == f"{dest} shows what was shipped to {place} as of sequence 1 (generation 1, epoch 1)\n"
    store[2] = b"two"
    ship.push(store, place)
    (figures,) = run("ship", "follow", place, dest, "--json").succeeds().json_lines()
    assert list(figures) == ["generation", "epoch", "seq", "bytes", "dest"]
    assert run("get", dest, 2).succeeds().out == b"two"
    run("ship", "follow", place, place).fails(2, "lies in the place")
    with ship.Follower(place, dest, interval=60):
        run("ship", "follow", place, dest).fails(3, "one at a time")


def test_a_damaged_mirror_is_told_with_what_mends_it(
    run: CommandLine, store: alexpy.Store, place: Path, dest: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    store.close()
    with alexpy.open(store.path) as again:
        again[2] = b"two"
        ship.push(again, place)
    segment = dest / "seg-00000001.log"
    data = segment.read_bytes()
    segment.write_bytes(data[:72] + b"anything" + data[80:])
    told = run("ship", "follow", place, dest).fails(3, segment.name, "follow the place into a new directory")
    assert "repair" not in told.err
    segment.write_bytes(data)
    (dest / "MANIFEST-A").write_bytes(b"x")
    (dest / "MANIFEST-B").write_bytes(b"y")
    told = run("ship", "follow", place, dest).fails(3, "MANIFEST-B", "follow the place into a new directory")
    assert "repair" not in told.err


def test_the_command_goes_on_until_it_is_interrupted(store: alexpy.Store, place: Path, dest: Path) -> None:
    store[1] = b"one"
    ship.push(store, place)
    command = [sys.executable, "-m", "alexpy", "ship", "follow", place, dest, "--interval", "0.05", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["seq"] == 1
            store[2] = b"two"
            shipped = ship.push(store, place)
            assert json.loads(process.stdout.readline())["seq"] == shipped.seq
            moved = place.with_name("away")
            place.rename(moved)
            assert "no store was shipped there; this goes on" in process.stderr.readline()
            moved.rename(place)
            store[3] = b"three"
            shipped = ship.push(store, place)
            assert json.loads(process.stdout.readline())["seq"] == shipped.seq
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stderr.read().endswith("alexpy: interrupted\n")
        finally:
            process.kill()
    with alexpy.open(dest, read_only=True) as reader:
        assert dict(reader) == dict(store)
