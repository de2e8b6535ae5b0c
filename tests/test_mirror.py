"""`alexpy.ship.follow` and `Follower`: directories that follow a shipped store, while readers have them open.

What happens to them where a place fails in every way is in shipping.py; where the power is cut, in
rust/store/tests/crash/mirror.rs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import FencedError, ship
from alexpy.ship import _follow, _mirror, _objects, _push, _shipment
from alexpy.ship._listing import Listing
from shipping import KilledError, LostError, replaced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command_line import CommandLine

obstore = pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")


def contents(path: Path, **options: Any) -> dict[int, bytes]:
    with alexpy.open(path, read_only=True, **options) as store:
        return dict(store)


def files_in(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "LOCK"}


# --- what readers see -----------------------------------------------------------------------------------


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_a_reader_of_a_mirror_sees_each_shipment_once_it_is_followed(
    store: alexpy.Store, place: Path, dest: Path, read_mode: Any
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    assert ship.follow(place, dest) == first
    before = first
    with alexpy.open(dest, read_only=True, read_mode=read_mode) as reader:
        snapshot = reader.snapshot()
        for key in range(2, 50):
            store.put_many([key, 1], [b"x" * 5000, b"%d" % key])
            if key % 10 == 0:
                store.compact()
            shipped = ship.push(store, place)
            assert reader[1] == (b"one" if key == 2 else b"%d" % (key - 1))
            assert reader.refresh() == before.seq
            assert ship.follow(place, dest) == shipped
            assert reader.refresh() == shipped.seq
            assert dict(reader) == dict(store)
            assert reader.stats().lag == 0
            before = shipped
        assert dict(snapshot) == {1: b"one"}
        assert reader.verify().ok
    assert contents(dest) == dict(store)


def test_a_mirror_gets_only_what_is_new(
    store: alexpy.Store, place: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.bulk_load(np.arange(100_000), np.zeros((100_000, 100), np.uint8))
    ship.push(store, place)
    got: list[int] = []
    inner = _objects._Bucket.get

    def get(self: Any, key: str) -> bytes:
        data = inner(self, key)
        got.append(len(data) if key.startswith("pieces") else 0)
        return data

    monkeypatch.setattr(_objects._Bucket, "get", get)
    ship.follow(place, dest)
    assert sum(got) > 12_000_000
    got.clear()
    ship.follow(place, dest)
    assert sum(got) == 0
    assert len(got) <= 1
    store[1] = b"one"
    ship.push(store, place)
    got.clear()
    ship.follow(place, dest)
    assert 0 < sum(got) < 10_000


def test_small_pieces_that_were_put_together_are_taken_by_their_new_bytes(
    store: alexpy.Store, place: Path, dest: Path
) -> None:
    for key in range(40):
        store[key] = b"x" * 1000
        ship.push(store, place)
        if key % 7 == 0:
            ship.follow(place, dest)
    ship.follow(place, dest)
    assert contents(dest) == dict(store)


class Dying:
    """Calls of a mirror and of what it calls, after one of which its process is gone."""

    NAMES = ("write", "_note", "finish", "_make_room", "settle", "_look")

    def __init__(self, patch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self.left = -1
        self._rng = rng
        for name in self.NAMES:
            patch.setattr(_mirror.Mirror, name, self._dying(getattr(_mirror.Mirror, name)))
        for name in ("flush", "_list_mirror"):
            patch.setattr(_mirror, name, self._dying(getattr(_mirror, name)))

    def _dying(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                if self._rng.random() < 0.5:
                    inner(*args)
                raise KilledError
            return inner(*args)

        return call


class Lossy:
    """The objects of a directory, some calls of which fail."""

    def __init__(self, place: Path, rng: random.Random) -> None:
        self._inner = _objects.connect(place, make=True)
        self._rng = rng
        self.place, self.folder = self._inner.place, None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            if self._rng.randrange(150) == 0:
                raise LostError(f"{name} was dropped")
            return getattr(self._inner, name)(*args)

        return call


def follow_once(objects: Any, dest: Path, threads: int) -> int:
    mirror = _mirror.Mirror(dest, "there")
    try:
        return _follow.bring_up(objects, mirror, threads=threads).seq
    finally:
        # As the end of a process does: it unlocks, and cleans nothing up.
        os.close(mirror._descriptor)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_whatever_fails_a_mirror_shows_what_was_shipped_and_never_goes_back(
    tmp_path: Path, place: Path, dest: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    objects: Any = Lossy(place, rng)
    model: dict[int, dict[int, bytes]] = {}
    readers: dict[str, alexpy.Store] = {}
    seen = 0
    dying = Dying(monkeypatch, rng)
    monkeypatch.setattr(_push, "PIECE_BYTES", 1 << 14)
    with ExitStack() as end:
        path = tmp_path / "store"
        store = alexpy.open(path, segment_bytes=1 << 16, background=False)
        for turn in range(60):
            if rng.random() < 0.2:
                if rng.random() < 0.5:
                    # What a process that is killed leaves.
                    path = shutil.copytree(path, tmp_path / f"store-{turn}")
                store.close()
                store = alexpy.open(path, segment_bytes=1 << 16, background=False)
            keys = [rng.randrange(500) for _ in range(rng.randrange(1, 60))]
            store.put_many(keys, [rng.randbytes(rng.randrange(300)) for _ in keys])
            store.delete_many(keys[::3])
            if rng.random() < 0.2:
                store.compact()
            with suppress(LostError):
                _push.push_to(objects, store)
            model[store.stats().last_seq] = dict(store)
            dying.left = rng.randrange(1, 40) if rng.random() < 0.5 else -1
            before = seen
            with suppress(LostError, KilledError, FileNotFoundError):
                seen = follow_once(objects, dest, threads=rng.choice([1, 8]))
            dying.left = -1
            if not seen and not (dest / "MANIFEST-A").exists():
                continue
            for read_mode in ("mmap", "pread"):
                if read_mode not in readers:
                    opened = alexpy.open(dest, read_only=True, read_mode=read_mode)  # type: ignore[arg-type]
                    readers[read_mode] = end.enter_context(opened)
                # Between two shipments a sequence may be higher than that of the last commit.
                at = readers[read_mode].refresh()
                assert before <= at
                assert dict(readers[read_mode]) == model[at]
                seen = max(seen, at)
                assert at == seen
                with alexpy.open(dest, read_only=True) as fresh:
                    assert fresh.stats().last_seq == at
                    assert dict(fresh) == model[at]
        store.close()
        shipped = ship.push(path, place)
        assert ship.follow(place, dest) == shipped
        for reader in readers.values():
            assert reader.refresh() == shipped.seq
            assert reader.verify().ok
        assert {name for name in files_in(dest) if name.startswith("seg")} == {
            file.name for file in shipped.files if file.name.startswith("seg")
        }


@pytest.mark.slow
def test_readers_beside_a_follower_see_whole_batches_and_nothing_older(
    store: alexpy.Store, place: Path, dest: Path
) -> None:
    keys = list(range(50))
    store.put_many(keys, [b"0"] * 50)
    ship.push(store, place)
    until = time.monotonic() + 4
    wrong: list[object] = []
    refreshed = [0]

    def read(*, anew: bool) -> None:
        last = 0
        try:
            reader = alexpy.open(dest, read_only=True)
            while time.monotonic() < until:
                if anew:
                    reader.close()
                    reader = alexpy.open(dest, read_only=True)
                reader.refresh()
                found = {int(value[:8]) for value in reader.snapshot().values()}
                if len(found) != 1 or min(found) < last:
                    wrong.append((found, last))
                last = max(found)
                refreshed[0] += 1
            reader.close()
        except BaseException as error:  # noqa: BLE001 - told by the test
            wrong.append(error)

    with ship.Follower(place, dest, interval=0) as follower:
        threads = [threading.Thread(target=read, kwargs={"anew": anew}) for anew in (False, True)]
        for thread in threads:
            thread.start()
        turn = 0
        while time.monotonic() < until:
            turn += 1
            store.put_many(keys, [b"%08d" % turn + b"x" * 3000] * 50)
            if turn % 5 == 0:
                store.compact()
            ship.push(store, place)
        for thread in threads:
            thread.join()
        assert follower.error is None
    assert not wrong, wrong
    assert turn > 3
    assert refreshed[0] > 10


# --- where a place goes on otherwise --------------------------------------------------------------------


def test_an_epoch_that_begins_without_what_is_shown_is_refused_and_one_behind_it_is_followed(
    store: alexpy.Store, place: Path, dest: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    ship.follow(place, tmp_path / "behind")
    store[2] = b"two"
    second = ship.push(store, place)
    ship.follow(place, dest)
    ship.restore(place, tmp_path / "old", at=first.seq)
    with alexpy.open(tmp_path / "old") as old:
        old[3] = b"three"
        third = ship.push(old, place, fork=True)
        old[4] = b"four"
        fourth = ship.push(old, place)
    before = files_in(dest)
    for _ in range(2):
        with pytest.raises(
            FencedError,
            match=rf"epoch 3 \(generation 4, sequence {fourth.seq}\), which has begun without .* sequence "
            rf"{second.seq} of epoch 1 \(generation 2\)",
        ) as raised:
            ship.follow(place, dest)
        assert (raised.value.epoch, raised.value.seq) == (3, fourth.seq)
    assert files_in(dest) == before
    assert contents(dest) == {1: b"one", 2: b"two"}
    assert third.history == ((1, 1),)
    with alexpy.open(tmp_path / "behind", read_only=True) as reader:
        assert ship.follow(place, tmp_path / "behind") == fourth
        assert reader.refresh() == fourth.seq
        assert dict(reader) == {1: b"one", 3: b"three", 4: b"four"}


def test_an_epoch_has_no_number_of_one_before_it_whose_manifest_is_damaged(
    store: alexpy.Store, place: Path, dest: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.restore(place, tmp_path / "copy")
    with alexpy.open(tmp_path / "copy") as copy:
        copy[2] = b"two"
        ship.push(copy, place)
        store[3] = b"three"
        forked = ship.push(store, place, fork=True)
        ship.follow(place, dest)
        (place / _shipment.manifest_key(forked.generation)).write_bytes(b"x")
        copy[4] = b"four"
        with pytest.raises(alexpy.CorruptionError):
            ship.push(copy, place)
        again = ship.push(copy, place, fork=True)
    # So that the epoch alone tells them apart.
    assert again.seq > forked.seq
    assert again.epoch != forked.epoch
    with pytest.raises(FencedError, match="begun without"):
        ship.follow(place, dest)
    assert contents(dest) == {1: b"one", 3: b"three"}


def test_an_epoch_of_a_store_that_lost_commits_is_not_followed_however_far_it_gets(
    store: alexpy.Store, store_path: Path, place: Path, dest: Path
) -> None:
    store[1] = b"one"
    fallen = store_path.with_name("before")
    store.backup(fallen)
    store[2] = b"two"
    ship.push(store, place)
    ship.follow(place, dest)
    memory = (store_path / "SHIP").read_bytes()
    store.close()
    (fallen / "SHIP").write_bytes(memory)
    assert ship.push(fallen, place, fork=True).history == ()
    with alexpy.open(fallen) as other:
        for key in range(10, 20):
            other[key] = b"x"
        assert ship.push(other, place).seq > 5
    with pytest.raises(FencedError, match="begun without"):
        ship.follow(place, dest)
    assert contents(dest) == {1: b"one", 2: b"two"}


def test_what_was_got_of_a_shipment_that_was_given_up_does_no_harm(
    store: alexpy.Store, place: Path, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    ship.follow(place, dest)
    ship.restore(place, tmp_path / "other")
    store.put_many(range(2, 1000), [b"x" * 100] * 998)
    ship.push(store, place)

    def killed(*_args: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(_mirror, "_list_mirror", killed)
        with pytest.raises(KilledError):
            ship.follow(place, dest)
    with alexpy.open(dest, read_only=True) as reader:
        assert (reader.stats().last_seq, reader.stats().lag) == (first.seq, 0)
        assert reader.verify().ok
        with alexpy.open(tmp_path / "other") as other:
            other[5] = b"five"
            other.compact()
            shipped = ship.push(other, place, fork=True)
        assert ship.follow(place, dest) == shipped
        assert reader.refresh() == shipped.seq
        assert dict(reader) == {1: b"one", 5: b"five"}
        assert reader.verify().ok
    assert contents(dest) == {1: b"one", 5: b"five"}


def test_a_place_with_another_history_is_not_followed(
    store: alexpy.Store, place: Path, dest: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    with alexpy.open(tmp_path / "other") as other:
        ship.push(other, tmp_path / "elsewhere")
    with pytest.raises(alexpy.FormatError, match=r"another history .* new directory"):
        ship.follow(tmp_path / "elsewhere", dest)
    store[2] = b"two"
    ship.push(store, place)
    ship.follow(place, dest)
    (place / _shipment.manifest_key(2)).unlink()
    with pytest.raises(
        alexpy.FormatError, match=r"generation 1 as its newest, .* shows another generation 2"
    ):
        ship.follow(place, dest)
    assert contents(dest) == {1: b"one", 2: b"two"}


# --- what is refused ------------------------------------------------------------------------------------


def test_a_mirror_is_for_readers_and_a_backup_of_it_is_a_store(
    store: alexpy.Store, place: Path, dest: Path, tmp_path: Path, run: CommandLine
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    before = files_in(dest)
    with pytest.raises(
        alexpy.ReadOnlyError, match=r"follows a store that is shipped.*read_only=True.*backup"
    ):
        alexpy.open(dest)
    run("put", dest, 1, "x").fails(3, "follows a store that is shipped", "alexpy backup")
    assert files_in(dest) == before
    with alexpy.open(dest, read_only=True) as reader:
        reader.backup(tmp_path / "mine")
    store[2] = b"two"
    ship.push(store, place)
    ship.follow(place, dest)
    with alexpy.open(tmp_path / "mine") as mine:
        assert mine.verify().ok
        mine[3] = b"three"
    assert contents(tmp_path / "mine") == {1: b"one", 3: b"three"}
    assert contents(dest) == {1: b"one", 2: b"two"}


def test_one_process_at_a_time_brings_a_mirror_up_to_date(
    store: alexpy.Store, place: Path, dest: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    with ship.Follower(place, dest, interval=60):
        for call in (ship.follow, ship.Follower):
            with pytest.raises(
                alexpy.LockedError, match=f"by process {os.getpid()}; one at a time"
            ) as raised:
                call(place, dest)  # type: ignore[operator]
            assert raised.value.pid == os.getpid()
        program = "import sys, alexpy.ship; alexpy.ship.follow(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", program, place, dest], capture_output=True, text=True, check=False
        )
        assert f"LockedError: {dest} is brought up to date" in done.stderr
    ship.follow(place, dest)


def test_only_a_new_directory_or_a_mirror_will_do(
    store: alexpy.Store, store_path: Path, place: Path, dest: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory"):
        ship.follow(place, dest)
    place.mkdir()
    with pytest.raises(FileNotFoundError, match="no store was shipped there"):
        ship.follow(place, dest)
    assert not dest.exists()
    store[1] = b"one"
    ship.push(store, place)
    before = files_in(store_path)
    with pytest.raises(alexpy.LockedError, match="written to"):
        ship.follow(place, store_path)
    store.close()
    before = files_in(store_path)
    with pytest.raises(ValueError, match="is not empty, and follows nothing"):
        ship.follow(place, store_path)
    assert files_in(store_path) == before
    with pytest.raises(ValueError, match="lies in the place"):
        ship.follow(place, place / "mirror")
    assert not (place / "mirror").exists()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        ship.follow(place, tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="no such directory to follow in"):
        ship.follow(place, tmp_path / "no" / "mirror")
    dest.mkdir()
    ship.follow(place, dest)
    with pytest.raises(ValueError, match="interval is -1"):
        ship.Follower(place, dest, interval=-1)


def replace(file: Path, what: str) -> None:
    """Put something else in the place of a file."""
    file.unlink()
    if what == "pipe":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("what", ["pipe", "directory", "device"])
def test_what_is_no_file_is_named_and_not_waited_for(
    store: alexpy.Store, place: Path, dest: Path, tmp_path: Path, what: str
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    for name in ("FOLLOW", "MANIFEST-A"):
        copy = tmp_path / name
        shutil.copytree(dest, copy)
        replace(copy / name, what)
        with pytest.raises(alexpy.FormatError, match=rf"{name} is a .*, where (alexpy|a store) has a file"):
            ship.follow(place, copy)
    if what == "pipe":
        replace(dest / "LOCK", what)
        with pytest.raises(alexpy.FormatError, match="LOCK is a pipe"):
            ship.follow(place, dest)
    replace(store.path / "SHIP", what)
    with pytest.raises(alexpy.FormatError, match=r"SHIP is a .*, where alexpy has a file"):
        ship.push(store, place)
    piece = next(path for path in (place / "pieces").rglob("*") if path.is_file())
    for file in (piece, place / _shipment.manifest_key(1)):
        replace(file, what)
        with pytest.raises(alexpy.CorruptionError, match=rf"{file.name} is a .*, where a file was shipped"):
            ship.restore(place, tmp_path / "restored")


def test_a_mirror_in_which_nothing_is_yet_says_so(store: alexpy.Store, place: Path, dest: Path) -> None:
    store[1] = b"one"
    ship.push(store, place)
    refused: list[int] = []

    def look(done: int, _total: int) -> None:
        with pytest.raises(alexpy.FormatError, match="nothing of that is here yet; wait"):
            alexpy.open(dest, read_only=True)
        with pytest.raises(alexpy.ReadOnlyError):
            alexpy.open(dest)
        refused.append(done)

    ship.follow(place, dest, progress=look)
    assert refused
    assert contents(dest) == {1: b"one"}


def test_damage_is_named_and_what_is_shown_stays(store: alexpy.Store, place: Path, dest: Path) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    store.put_many(range(100), [b"x" * 100] * 100)
    shipped = ship.push(store, place)
    piece = max((place / "pieces").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    whole = piece.read_bytes()
    piece.write_bytes(whole[:-1] + b"?")
    with pytest.raises(alexpy.CorruptionError, match="is damaged"):
        ship.follow(place, dest)
    piece.unlink()
    with pytest.raises(alexpy.CorruptionError, match="is missing"):
        ship.follow(place, dest)
    assert contents(dest) == {1: b"one"}
    piece.write_bytes(whole)
    assert ship.follow(place, dest) == shipped
    notes = (dest / "FOLLOW").read_text()
    for text in ("", "{}", "[1]", '{"alexpy_follow": 1, "shows": [{"x": 1}]}', '{"alexpy_follow": 2}'):
        (dest / "FOLLOW").write_text(text)
        with pytest.raises(alexpy.CorruptionError, match=r"FOLLOW is damaged, .* into a new directory"):
            ship.follow(place, dest)
    table = json.loads(notes)
    table["shows"][-1]["generation"] = 77
    (dest / "FOLLOW").write_text(json.dumps(table))
    with pytest.raises(alexpy.CorruptionError, match="expected shipment 2"):
        ship.follow(place, dest)
    (dest / "FOLLOW").write_text(notes)
    assert ship.follow(place, dest) == shipped


def test_a_file_of_the_mirror_that_is_another_one_is_named(
    store: alexpy.Store, place: Path, dest: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    store.close()
    with alexpy.open(store.path) as again:
        again[2] = b"two"
        ship.push(again, place)
    segment = dest / "seg-00000001.log"
    data = bytearray(segment.read_bytes())
    data[72:80] = b"anything"
    segment.write_bytes(data)
    with pytest.raises(alexpy.CorruptionError, match=r"seg-00000001.log has salt .* new directory"):
        ship.follow(place, dest)


# --- kills, pins, disks ---------------------------------------------------------------------------------


_KILLED = """
import os, sys, alexpy.ship
from alexpy.ship import _mirror, _objects
calls = 0
def dying(owner, name):
    inner = getattr(owner, name)
    def call(*args):
        global calls
        answer = inner(*args)
        calls += 1
        if calls == int(sys.argv[3]):
            os._exit(9)
        return answer
    setattr(owner, name, call)
for name in ("put", "get", "head", "delete"):
    dying(_objects._Bucket, name)
for name in ("write", "_note", "_make_room"):
    dying(_mirror.Mirror, name)
for name in ("flush", "_list_mirror", "_settle_mirror"):
    dying(_mirror, name)
alexpy.ship.follow(*sys.argv[1:3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_a_process_that_dies_after_any_call_leaves_what_was_shown_and_the_next_goes_on(
    store: alexpy.Store, place: Path, tmp_path: Path, dest: Path, first: bool
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    if not first:
        ship.follow(place, dest)
        store.put_many(range(2, 300), [b"x" * 100] * 298)
        store.compact()
        ship.push(store, place)
    for call in range(1, 60):
        path = tmp_path / f"mirror-{call}"
        if not first:
            subprocess.run(["cp", "-r", dest, path], check=True)
        command = [sys.executable, "-c", _KILLED, place, path, str(call)]
        done = subprocess.run(command, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == 9
        if (path / "MANIFEST-A").exists():
            assert contents(path) in ([dict(store)] if first else [{1: b"one"}, dict(store)])
        else:
            assert first
        ship.follow(place, path)
        assert contents(path) == dict(store)
    assert call > 12
    # What dead followers pinned ends by itself.
    assert len(list((place / "pins").iterdir())) > 3


def test_what_a_killed_follower_wrote_is_flushed_before_it_is_listed(
    tmp_path: Path, place: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: set[str] = set()
    inner = _mirror.flush

    def flush(path: Path) -> None:
        inner(path)
        flushed.add(path.name)

    def killed(path: Path) -> None:
        if path.name.startswith("seg-"):
            raise KilledError
        inner(path)

    listed: dict[str, int] = {}
    with alexpy.open(tmp_path / "store", segment_bytes=1 << 16) as store:
        for turn in range(2):
            # The segment that grows has ended before the next shipment.
            for key in range(turn * 200, turn * 200 + 200):
                store[key] = b"x" * 1000
            ship.push(store, place)
            with monkeypatch.context() as patch:
                patch.setattr(_mirror, "flush", killed)
                with pytest.raises(KilledError):
                    ship.follow(place, dest)
            with monkeypatch.context() as patch:
                patch.setattr(_mirror, "flush", flush)
                ship.follow(place, dest)
            listing = Listing.of((dest / "MANIFEST-A").read_bytes())
            assert listing is not None
            new = {name for name, end in listing.ends.items() if listed.get(name, 0) < end}
            assert len(new) > 1
            assert not listed or new & listed.keys()
            assert new <= flushed
            listed = dict(listing.ends)
            flushed.clear()
        assert contents(dest) == dict(store)


@pytest.mark.parametrize("first", [True, False])
def test_a_killed_follower_fetches_nothing_twice(
    tmp_path: Path, place: Path, dest: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    got: list[str] = []
    inner = _follow.read_piece

    def read_piece(objects: Any, piece: Any) -> bytes:
        got.append(piece.key)
        return inner(objects, piece)

    def killed(*_args: object) -> None:
        raise KilledError

    with alexpy.open(tmp_path / "store", segment_bytes=1 << 16) as store:
        store[1] = b"one"
        shown = ship.push(store, place)
        if not first:
            ship.follow(place, dest)
        for key in range(200):
            store[key] = b"x" * 1000
        shipped = ship.push(store, place)
        assert len(shipped.files) > 4
        with monkeypatch.context() as patch:
            patch.setattr(_mirror, "_list_mirror", killed)
            with pytest.raises(KilledError):
                ship.follow(place, dest)
        if not first:
            with alexpy.open(dest, read_only=True) as reader:
                assert reader.stats().last_seq == shown.seq
        monkeypatch.setattr(_follow, "read_piece", read_piece)
        assert ship.follow(place, dest) == shipped
        assert contents(dest) == dict(store)
    (manifest,) = (file for file in shipped.files if file.name == "MANIFEST-A")
    assert set(got) == {piece.key for piece in manifest.pieces}


def test_what_is_being_followed_is_not_expired(store: alexpy.Store, place: Path, dest: Path) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    went_on: list[int] = []

    def go_on(done: int, _total: int) -> None:
        if not went_on:
            store.put_many(range(100), [b"x" * 100] * 100)
            store.compact()
            ship.push(store, place)
            assert ship.expire(place, keep=1).shipments == 0
        went_on.append(done)

    assert ship.follow(place, dest, progress=go_on) == first
    assert not list(place.glob("pins/*"))
    assert ship.expire(place, keep=1).shipments == 1
    assert ship.follow(place, dest).generation == 2
    assert contents(dest) == dict(store)


def test_a_follower_that_was_stopped_until_its_pin_had_ended_takes_the_newest(
    store: alexpy.Store, place: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    later = datetime.now(UTC).timestamp() + 2 * 24 * 3600
    stopped: list[int] = []
    inner = _follow.read_piece

    def stop(objects: Any, piece: Any) -> bytes:
        if not stopped:
            stopped.append(1)
            store.put_many(range(100), [b"x" * 100] * 100)
            store.compact()
            ship.push(store, place)
            with monkeypatch.context() as patch:
                patch.setattr("alexpy.ship._pins.now", lambda: later)
                assert ship.expire(place, keep=1).shipments == 1
        return inner(objects, piece)

    monkeypatch.setattr(_follow, "read_piece", stop)
    assert ship.follow(place, dest).generation == 2
    assert contents(dest) == dict(store)


def test_a_full_disk_leaves_what_is_shown(
    store: alexpy.Store, place: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any) -> int:
        raise OSError(28, "No space left on device")

    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    store[2] = b"two"
    shipped = ship.push(store, place)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left") as raised:
            ship.follow(place, dest)
    assert str(raised.value.filename).startswith(f"{dest}/seg-")
    assert contents(dest) == {1: b"one"}
    assert ship.follow(place, dest) == shipped


def test_progress_ends_at_the_total_and_can_stop_the_call(
    store: alexpy.Store, place: Path, dest: Path
) -> None:
    store.put_many(range(1000), [b"x" * 1000] * 1000)
    shipped = ship.push(store, place)

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == total:
            raise StoppedError

    with pytest.raises(StoppedError):
        ship.follow(place, dest, progress=stop)
    seen: list[tuple[int, int]] = []
    ship.follow(place, dest, progress=lambda *far: seen.append(far))
    assert seen[-1] == (shipped.bytes, shipped.bytes)


@pytest.mark.parametrize("kind", ["uint64", "datetime64[ns]", "uuid"])
def test_other_keys_and_codecs_are_followed(tmp_path: Path, place: Path, dest: Path, kind: Any) -> None:
    key: Any = np.datetime64(5, "ns") if kind == "datetime64[ns]" else 5
    with alexpy.open(tmp_path / "s", key=kind, codec=alexpy.codecs.text) as store:
        ship.push(store, place)
        ship.follow(place, dest)
        with alexpy.open(dest, read_only=True) as reader:
            assert len(reader) == 0
            store[key] = "five"
            ship.push(store, place)
            ship.follow(place, dest)
            reader.refresh()
            assert (reader.key_kind, reader.codec_name, list(reader.values())) == (kind, "text", ["five"])


def test_the_feed_of_changes_goes_on_over_shipments(store: alexpy.Store, place: Path, dest: Path) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.follow(place, dest)
    with alexpy.open(dest, read_only=True) as reader:
        seq = reader.stats().last_seq
        store.put_many([2, 3], [b"two", b"three"])
        ship.push(store, place)
        ship.follow(place, dest)
        reader.refresh()
        assert [change.key for change in reader.changes(since=seq)] == [2, 3]


# --- Follower -------------------------------------------------------------------------------------------


def test_a_follower_looks_by_itself_and_refresh_waits_for_it(
    store: alexpy.Store, place: Path, dest: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    with (
        ship.Follower(place, dest, interval=0.01) as follower,
        alexpy.open(dest, read_only=True) as reader,
    ):
        assert follower.seq == 1
        store[2] = b"two"
        assert ship.push(store, place).seq == follower.refresh() == reader.refresh()
        store[3] = b"three"
        shipped = ship.push(store, place)
        waited = threading.Event()
        while follower.seq < shipped.seq and not waited.wait(0.01):
            pass
        reader.refresh()
        assert dict(reader) == dict(store)
        assert follower.error is None
    assert follower.closed
    follower.close()
    with pytest.raises(alexpy.ClosedError):
        follower.refresh()


def test_a_follower_tells_what_is_in_the_way_and_goes_on(
    store: alexpy.Store, place: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store[1] = b"one"
    ship.push(store, place)

    def fails(*_args: Any, **_options: Any) -> None:
        raise OSError(5, "is out of order", "the place")

    with ship.Follower(place, dest, interval=60) as follower:
        with monkeypatch.context() as patch:
            patch.setattr("alexpy.ship._follow.newest", fails)
            with pytest.raises(OSError, match="out of order"):
                follower.refresh()
            assert isinstance(follower.error, OSError)
        store[2] = b"two"
        assert follower.refresh() == 1
        shipped = ship.push(store, place)
        assert follower.refresh() == shipped.seq
        assert follower.error is None


def test_a_follower_that_is_fenced_stops_for_good(
    store: alexpy.Store, place: Path, dest: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    store[2] = b"two"
    ship.push(store, place)
    with ship.Follower(place, dest, interval=60) as follower:
        ship.restore(place, tmp_path / "old", at=first.seq)
        ship.push(tmp_path / "old", place, fork=True)
        for _ in range(2):
            with pytest.raises(FencedError):
                follower.refresh()
        assert isinstance(follower.error, FencedError)


def test_a_refresh_that_takes_too_long_says_so(store: alexpy.Store, place: Path, dest: Path) -> None:
    store[1] = b"one"
    ship.push(store, place)
    go_on = threading.Event()
    with ship.Follower(place, dest, interval=60) as follower:
        inner = _follow.bring_up

        def slow(*args: Any) -> Any:
            go_on.wait(30)
            return inner(*args)

        with replaced(_follow, "bring_up", slow):
            with pytest.raises(TimeoutError, match="was not read within"):
                follower.refresh(timeout=0.01)
            go_on.set()
            assert follower.refresh() == 1
