"""`alexpy.ship`: stores shipped and brought back; histories by seed are in shipping.py.

ALEXPY_SHIP_SEEDS says how many histories are made, ALEXPY_SHIP_FIRST from which seed on.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import FencedError, ship
from alexpy.ship import _objects, _push, _shipment, _source
from shipping import KilledError, LostError, replaced, run_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command_line import CommandLine

obstore = pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")

SEEDS = int(os.environ.get("ALEXPY_SHIP_SEEDS", "300"))
FIRST = int(os.environ.get("ALEXPY_SHIP_FIRST", "0"))


def contents(path: Path) -> dict[int, bytes]:
    with alexpy.open(path, read_only=True) as store:
        return dict(store)


def objects_in(place: Path) -> dict[str, bytes]:
    return {
        path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()
    }


# --- by simulation --------------------------------------------------------------------------------------


@pytest.mark.timeout(0)
def test_histories_of_failing_calls_kills_copies_forks_and_expiry_lose_nothing() -> None:
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            run_history(seed)
        except BaseException:
            print(
                f"seed {seed}: ALEXPY_SHIP_FIRST={seed} ALEXPY_SHIP_SEEDS=1 pytest tests/test_ship.py -k hist"
            )
            raise


class Failing:
    """The objects of a directory, some calls of which fail, before or after they are carried out."""

    def __init__(self, place: Path, rng: random.Random) -> None:
        self._inner = _objects.connect(place, make=True)
        self._rng = rng
        self.place, self.folder = self._inner.place, None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            way = self._rng.randrange(100)
            if way == 0:
                raise LostError(f"{name} was dropped")
            answer = getattr(self._inner, name)(*args)
            if way == 1:
                raise LostError(f"{name} was not answered")
            return answer

        return call


@pytest.mark.parametrize("seed", range(4))
def test_real_stores_come_back_as_they_were_at_every_sequence_that_was_shipped(
    tmp_path: Path, place: Path, seed: int
) -> None:
    rng = random.Random(seed)
    objects: Any = Failing(place, rng)
    # Two copies may give the same sequence number.
    model: dict[int, list[dict[int, bytes]]] = {}
    path = tmp_path / "store"
    with replaced(_push, "PIECE_BYTES", 1 << 14):
        for turn in range(25):
            with alexpy.open(path, segment_bytes=1 << 16) as store:
                for _ in range(rng.randrange(1, 3)):
                    keys = [rng.randrange(500) for _ in range(rng.randrange(1, 60))]
                    store.put_many(keys, [rng.randbytes(rng.randrange(300)) for _ in keys])
                    store.delete_many(keys[::3])
                    if rng.random() < 0.2:
                        store.compact()
                    if rng.random() < 0.2:
                        store.checkpoint()
                    model.setdefault(store.stats().last_seq, []).append(dict(store))
                    with suppress(LostError):
                        _push.push_to(objects, store, fork=True)
            if rng.random() < 0.2 and (place / "manifests").exists() and (shipped := ship.shipments(place)):
                path = tmp_path / f"from-{turn}"
                origin = rng.choice(shipped)
                ship.restore(place, path, at=origin.seq, epoch=origin.epoch)
    shipped = ship.shipments(place)
    assert len(shipped) > 5
    for shipment in shipped:
        dest = tmp_path / str(shipment.generation)
        assert ship.restore(place, dest, at=shipment.seq, epoch=shipment.epoch) == shipment
        assert contents(dest) in model[shipment.seq]
        with alexpy.open(dest) as store:
            assert store.verify().ok


# --- push and restore -----------------------------------------------------------------------------------


def test_only_what_is_new_is_sent(store: alexpy.Store, place: Path) -> None:
    store.bulk_load(np.arange(100_000), np.zeros((100_000, 100), np.uint8))
    first = ship.push(store, place)
    before = objects_in(place)
    assert ship.push(store, place) == first
    assert objects_in(place) == before
    store[1] = b"one"
    second = ship.push(store, place)
    added = {name: data for name, data in objects_in(place).items() if name not in before}
    assert second.bytes > 12_000_000
    assert sum(map(len, added.values())) < 10_000


def test_a_file_that_grows_is_shipped_by_its_new_bytes_which_are_put_together_later(
    store: alexpy.Store, place: Path
) -> None:
    for key in range(60):
        store[key] = b"x" * 1000
        shipment = ship.push(store, place)
    pieces = max(len(file.pieces) for file in shipment.files)
    assert pieces <= 2 * _push._MOST_SMALL
    assert sum(map(len, objects_in(place).values())) < 60 * 60 * 1000 / 3


def test_a_restored_store_goes_on_where_nothing_newer_was_shipped(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    assert ship.restore(place, tmp_path / "second") == first
    with alexpy.open(tmp_path / "second") as second:
        assert dict(second) == {1: b"one"}
        second[2] = b"two"
        shipment = ship.push(second, place)
        assert (shipment.epoch, shipment.generation) == (1, 2)
    store[3] = b"three"
    for _ in range(2):
        with pytest.raises(FencedError, match=r"another copy .* goes on from sequence .*fork=True") as raised:
            ship.push(store, place)
        assert (raised.value.epoch, raised.value.seq) == (1, shipment.seq)
    assert ship.shipments(place)[-1] == shipment


def test_a_store_restored_from_an_older_shipment_forks_only_when_asked_to(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    store[2] = b"two"
    second = ship.push(store, place)
    ship.restore(place, tmp_path / "old", at=first.seq)
    with alexpy.open(tmp_path / "old") as old:
        with pytest.raises(FencedError):
            ship.push(old, place)
        old[3] = b"three"
        third = ship.push(old, place, fork=True)
        assert (third.epoch, third.history) == (3, ((1, 1),))
        # Asked for once more, it need not.
        assert ship.push(old, place, fork=True) == third
    with pytest.raises(FencedError):
        ship.push(store, place)
    with pytest.raises(ValueError, match=rf"no shipment of sequence {second.seq} .* epoch=1 asks for"):
        ship.restore(place, tmp_path / "x", at=second.seq)
    ship.restore(place, tmp_path / "x", at=second.seq, epoch=1)
    assert contents(tmp_path / "x") == {1: b"one", 2: b"two"}
    ship.restore(place, tmp_path / "y", at=first.seq)
    assert contents(tmp_path / "y") == {1: b"one"}
    with pytest.raises(ValueError, match="no shipment of epoch 2; it has: 1, 3"):
        ship.restore(place, tmp_path / "z", epoch=2)


def test_a_backup_and_a_copy_file_by_file_are_copies_of_which_one_wins(
    store: alexpy.Store, store_path: Path, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    store.backup(tmp_path / "backup")
    with pytest.raises(FencedError, match="was never shipped there"):
        ship.push(tmp_path / "backup", place)
    store.close()
    subprocess.run(["cp", "-r", store_path, tmp_path / "copy"], check=True)
    with alexpy.open(tmp_path / "copy") as copy:
        copy[2] = b"two"
        ship.push(copy, place)
    with alexpy.open(store_path) as store_again:
        store_again[3] = b"three"
        with pytest.raises(FencedError):
            ship.push(store_again, place)


def test_a_store_that_lost_what_it_had_shipped_is_fenced(
    store: alexpy.Store, store_path: Path, place: Path
) -> None:
    store[1] = b"one"
    store.backup(store_path.with_name("before"))
    store[2] = b"two"
    ship.push(store, place)
    store.close()
    memory = (store_path / "SHIP").read_bytes()
    (store_path.with_name("before") / "SHIP").write_bytes(memory)
    with pytest.raises(FencedError, match="commits were lost here"):
        ship.push(store_path.with_name("before"), place)
    assert ship.push(store_path.with_name("before"), place, fork=True).epoch == 2


def test_a_path_and_readers_push_what_is_committed_now(
    store: alexpy.Store, store_path: Path, place: Path, tmp_path: Path
) -> None:
    with alexpy.open(store_path, read_only=True) as reader:
        store[1] = b"one"
        assert ship.push(reader, place).seq == store.stats().last_seq
        store[2] = b"two"
        ship.push(store_path, f"file://{place}")
    ship.restore(place, tmp_path / "x")
    assert contents(tmp_path / "x") == {1: b"one", 2: b"two"}


def test_the_sequence_and_the_id_are_those_of_the_engine(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    assert ship.push(store, place).seq == store.stats().last_seq == 0
    store.put_many(range(100), [b"x"] * 100)
    store.delete_range(0, 50)
    assert ship.push(store, place).seq == store.stats().last_seq
    store.backup(tmp_path / "copy")
    copied = _source.Copy(tmp_path / "copy")
    with alexpy.open(tmp_path / "copy", read_only=True) as copy:
        assert (copied.seq, copied.store_id) == (copy.stats().last_seq, ship.shipments(place)[0].store_id)


@pytest.mark.parametrize("kind", ["uint64", "uuid"])
def test_other_keys_and_codecs_come_back(tmp_path: Path, place: Path, kind: Any) -> None:
    with alexpy.open(tmp_path / "s", key=kind, codec=alexpy.codecs.text) as store:
        store[5] = "five"  # type: ignore[index]
        ship.push(store, place)
        ship.push(tmp_path / "s", place)
    ship.restore(place, tmp_path / "x")
    with alexpy.open(tmp_path / "x") as restored:
        assert (restored.key_kind, restored.codec_name, list(restored.values())) == (kind, "text", ["five"])


def test_progress_ends_at_the_total_and_can_stop_the_call(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store.put_many(range(1000), [b"x" * 1000] * 1000)

    class StoppedError(Exception):
        pass

    def stop(*_far: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        ship.push(store, place, progress=stop)
    seen: list[tuple[int, int]] = []
    ship.push(store, place, progress=lambda *far: seen.append(far))
    assert seen[-1][0] == seen[-1][1] > 1_000_000
    with pytest.raises(StoppedError):
        ship.restore(place, tmp_path / "x", progress=stop)
    seen.clear()
    ship.restore(place, tmp_path / "x", progress=lambda *far: seen.append(far))
    assert seen[-1][0] == seen[-1][1] > 1_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "store", "x"]


def test_one_push_of_a_store_at_a_time(store: alexpy.Store, place: Path) -> None:
    store[1] = b"one"
    refused: list[int] = []

    def push_too(done: int, _total: int) -> None:
        with pytest.raises(alexpy.LockedError, match="another push"):
            ship.push(store, place)
        refused.append(done)

    ship.push(store, place, progress=push_too)
    assert refused


def _push_from(path: Path, place: Path, start: Any, results: Any) -> None:
    with alexpy.open(path) as store:
        store[os.getpid()] = b"x"
        start.wait()
        try:
            results.put(ship.push(store, place).generation)
        except FencedError:
            results.put(0)


def test_of_copies_that_push_at_the_same_moment_one_wins(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    copies = [tmp_path / f"copy-{i}" for i in range(3)]
    for copy in copies:
        ship.restore(place, copy)
    processes = [context.Process(target=_push_from, args=(copy, place, start, results)) for copy in copies]
    for process in processes:
        process.start()
    start.set()
    assert sorted(results.get(timeout=60) for _ in copies) == [0, 0, 2]
    for process in processes:
        process.join()


_KILLED = """
import os, sys, alexpy, alexpy.ship
from alexpy.ship import _objects
calls = 0
def dying(name):
    inner = getattr(_objects._Bucket, name)
    def call(self, *args):
        global calls
        answer = inner(self, *args)
        calls += 1
        if calls == int(sys.argv[4]):
            os._exit(9)
        return answer
    setattr(_objects._Bucket, name, call)
for name in ("put", "put_if_absent", "get", "head", "delete"):
    dying(name)
if sys.argv[1] == "push":
    alexpy.ship.push(sys.argv[2], sys.argv[3])
else:
    alexpy.ship.restore(sys.argv[3], sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["push", "restore"])
def test_a_process_that_dies_after_any_call_leaves_nothing_half_made(
    store: alexpy.Store, store_path: Path, place: Path, tmp_path: Path, what: str
) -> None:
    store[1] = b"one"
    before = ship.push(store, place)
    store[2] = b"two"
    store.close()
    path = store_path if what == "push" else tmp_path / "dest"
    for call in range(1, 50):
        done = subprocess.run([sys.executable, "-c", _KILLED, what, path, place, str(call)], check=False)
        if done.returncode == 0:
            break
        assert done.returncode == 9
        if (tmp_path / "dest").exists():
            # Only the pin was left.
            assert contents(tmp_path / "dest") == {1: b"one"}
            break
        ship.restore(place, tmp_path / f"x{call}")
        assert contents(tmp_path / f"x{call}") in ({1: b"one"}, {1: b"one", 2: b"two"})
    assert call > 5
    newest = ship.shipments(place)[-1]
    assert newest.generation == before.generation + (what == "push")
    # What was left is used or removed.
    assert not list(tmp_path.glob(".*.shipping"))
    assert ship.expire(place, keep=1).shipments == newest.generation - 1
    ship.restore(place, tmp_path / "at-last")


def test_what_a_killed_push_left_in_a_directory_is_flushed_before_a_shipment_counts(
    store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    inner = _objects.flush_tree

    def flush_tree(root: Path, key: str) -> None:
        inner(root, key)
        flushed.append(key)

    def killed_at(folder: str) -> Callable[[Path, str], None]:
        def killed(root: Path, key: str) -> None:
            if key.startswith(folder):
                raise KilledError
            flush_tree(root, key)

        return killed

    def push_until(folder: str) -> None:
        """Push, and be killed where the first object of a folder is there and not flushed."""
        flushed.clear()
        with monkeypatch.context() as patch:
            patch.setattr(_objects, "flush_tree", killed_at(folder))
            with pytest.raises(KilledError):
                ship.push(store, place)

    ship.push(store, place)
    before = set(objects_in(place))
    store.put_many(range(100), [b"x" * 100] * 100)
    push_until("pieces")
    left = set(objects_in(place)) - before
    assert left
    push_until("manifests")
    assert left <= set(flushed)
    monkeypatch.setattr(_objects, "flush_tree", flush_tree)
    flushed.clear()
    assert ship.push(store, place).generation == 2
    assert _shipment.manifest_key(2) in flushed


# --- places ---------------------------------------------------------------------------------------------


def test_stores_in_memory_and_under_a_prefix_will_do(store: alexpy.Store, tmp_path: Path) -> None:
    memory = obstore.store.MemoryStore()
    store[1] = b"one"
    first = ship.push(store, memory)
    store[2] = b"two"
    ship.push(store, memory)
    ship.restore(memory, tmp_path / "x")
    assert contents(tmp_path / "x") == {1: b"one", 2: b"two"}
    with ship.pin(memory, at=first.seq) as pin:
        assert ship.expire(memory, keep=1).shipments == 0
        pin.renew()
    assert ship.expire(memory, keep=1).shipments == 1
    assert len(ship.shipments(memory)) == 1


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server that speaks S3, on this machine only."""
    server_of = pytest.importorskip(
        "moto.server", reason="moto is not installed: pip install 'moto[server]' runs the tests against S3"
    )
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, request: pytest.FixtureRequest) -> Any:
    """A new bucket on it."""
    name = f"b{abs(hash(request.node.name)) % 10**8}"
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import urllib.request as u; u.urlopen(u.Request('{s3}/{name}', method='PUT'))",
        ],
        check=True,
    )
    return obstore.store.S3Store(
        name,
        prefix="some/folder",
        endpoint=s3,
        region="us-east-1",
        access_key_id="nobody",
        secret_access_key="nothing",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def test_s3_holds_shipments_and_lets_one_of_two_writers_win(
    bucket: Any, store: alexpy.Store, tmp_path: Path
) -> None:
    store.put_many(range(1000), [b"x" * 100] * 1000)
    first = ship.push(store, bucket)
    ship.restore(bucket, tmp_path / "copy")
    store[1] = b"one"
    second = ship.push(store, bucket)
    assert [one.seq for one in ship.shipments(bucket)] == [first.seq, second.seq]
    with alexpy.open(tmp_path / "copy") as copy:
        copy[2] = b"two"
        with pytest.raises(FencedError):
            ship.push(copy, bucket)
    ship.restore(bucket, tmp_path / "x", at=first.seq)
    assert contents(tmp_path / "x") == dict.fromkeys(range(1000), b"x" * 100)
    assert ship.expire(bucket, keep=1).shipments == 1
    ship.restore(bucket, tmp_path / "y")
    assert contents(tmp_path / "y")[1] == b"one"


def test_s3_that_is_not_there_is_named(s3: str, store: alexpy.Store, tmp_path: Path) -> None:
    options: Any = {"region": "us-east-1", "access_key_id": "x", "secret_access_key": "y"}
    options |= {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
    nowhere = obstore.store.S3Store("b", endpoint="http://127.0.0.1:1", **options)
    with pytest.raises(OSError, match="HTTP error") as raised:
        ship.push(store, nowhere)
    assert 'S3Store(bucket="b")' in str(raised.value.filename)
    missing = obstore.store.S3Store("no-such-bucket", endpoint=s3, **options)
    with pytest.raises(FileNotFoundError) as gone:
        ship.push(store, missing)
    assert "no-such-bucket" in str(gone.value)
    with pytest.raises(FileNotFoundError):
        ship.restore(missing, tmp_path / "x")


@pytest.mark.parametrize(
    ("where", "error", "part"),
    [
        ("", ValueError, "no place"),
        ("s4://bucket/x", ValueError, "no place that obstore knows"),
        ("s3:/bucket", ValueError, "is no URL; write s3://"),
        ("s3:bucket", ValueError, "is no URL; write s3://"),
        ("file://relative", ValueError, "three slashes"),
        ("memory://", ValueError, "MemoryStore"),
        ("https://example.org/x", ValueError, "web server"),
        (None, TypeError, "give a directory, a URL"),
        (5, TypeError, "is a int; give a directory"),
    ],
)
def test_what_is_no_place_is_refused(
    store: alexpy.Store, tmp_path: Path, where: Any, error: type[Exception], part: str
) -> None:
    for call in (lambda: ship.push(store, where), lambda: ship.restore(where, tmp_path / "x")):
        with pytest.raises(error, match=part):
            call()


def test_nothing_is_made_in_the_place_that_it_comes_from(
    run: CommandLine, store: alexpy.Store, store_path: Path, place: Path, tmp_path: Path
) -> None:
    ship.push(store, place)
    (tmp_path / "link").symlink_to(place)
    (tmp_path / "of-store").symlink_to(store_path)
    for dest in (place, place / "x", tmp_path / "link" / "x"):
        with pytest.raises(ValueError, match="lies in the place"):
            ship.restore(place, dest)
        run("ship", "restore", place, dest).fails(2, f"{dest} lies in the place {place}")
    for where in (store_path, store_path / "x", f"file://{store_path}/x", tmp_path / "of-store" / "x"):
        for call in (ship.push, ship.Shipper):
            with pytest.raises(ValueError, match="is inside the store"):
                call(store, where)
        run("ship", "push", store_path, where).fails(2, "is inside the store")
    assert {path.name for path in place.iterdir()} == {"manifests", "pieces"}
    assert {path.name for path in store_path.iterdir()} == {
        "LOCK", "MANIFEST-A", "MANIFEST-B", "SHIP", *(path.name for path in store_path.glob("seg-*")),
    }  # fmt: skip


def test_directories_that_cannot_be_places_are_refused(
    store: alexpy.Store, store_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        ship.push(store, tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="no such directory to ship to"):
        ship.push(store, tmp_path / "no" / "such")
    assert not (tmp_path / "no").exists()
    with pytest.raises(ValueError, match="inside the store"):
        ship.push(store, store_path / "inside")
    with pytest.raises(ValueError, match="inside the store"):
        ship.push(store, store_path)
    for call in (ship.shipments, ship.expire, ship.pin, lambda where: ship.restore(where, tmp_path / "x")):
        with pytest.raises(FileNotFoundError, match="no such directory"):
            call(tmp_path / "nothing")
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(FileNotFoundError, match="no store was shipped there"):
            call(tmp_path / "empty")


def test_a_place_that_holds_something_else_is_left_alone(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    place.mkdir()
    (place / "holiday.jpg").write_bytes(b"x")
    for call in (lambda: ship.push(store, place), lambda: ship.restore(place, tmp_path / "x")):
        with pytest.raises(alexpy.FormatError, match=r"holds 'holiday\.jpg', which is no part"):
            call()
    assert objects_in(place) == {"holiday.jpg": b"x"}


def test_a_place_that_cannot_tell_what_was_there_is_refused(
    store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrites(objects: _objects.Objects, key: str, data: bytes) -> bool:
        objects.put(key, data)
        return True

    monkeypatch.setattr(_objects._Bucket, "put_if_absent", overwrites)
    with pytest.raises(OSError, match="two stores could ship to it") as raised:
        ship.push(store, place)
    assert raised.value.filename == str(place)
    assert objects_in(place) == {}


def test_another_store_is_refused_also_with_fork(store: alexpy.Store, place: Path, tmp_path: Path) -> None:
    ship.push(store, place)
    before = objects_in(place)
    with alexpy.open(tmp_path / "other") as other:
        other[1] = b"one"
        for fork in (False, True):
            with pytest.raises(alexpy.FormatError, match="ship it to a place of its own"):
                ship.push(other, place, fork=fork)
    assert objects_in(place) == before


def test_what_is_no_store_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ship.push(tmp_path / "nothing", place)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    with pytest.raises(alexpy.FormatError):
        ship.push(tmp_path / "folder", place)
    with pytest.raises(NotADirectoryError):
        ship.push(tmp_path / "folder" / "file", place)
    with pytest.raises(TypeError, match="path is of type int"):
        ship.push(5, place)  # type: ignore[arg-type]
    assert objects_in(place) == {} if place.exists() else True


def test_a_store_that_cannot_flush_ships_nothing(
    store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(_store: alexpy.Store) -> None:
        raise alexpy.PoisonedError("a flush failed")

    store[1] = b"one"
    monkeypatch.setattr(alexpy.Store, "flush", poisoned, raising=False)
    with pytest.raises(alexpy.PoisonedError):
        ship.push(store, place)
    assert objects_in(place) == {}


def test_a_closed_store_is_refused(store: alexpy.Store, place: Path) -> None:
    store.close()
    with pytest.raises(alexpy.ClosedError):
        ship.push(store, place)


def test_restoring_to_where_something_is_changes_nothing(
    store: alexpy.Store, store_path: Path, place: Path, tmp_path: Path
) -> None:
    ship.push(store, place)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        ship.restore(place, tmp_path / "file")
    with pytest.raises(ValueError, match="is not empty"):
        ship.restore(place, store_path)
    with pytest.raises(FileNotFoundError, match="no such directory to restore to"):
        ship.restore(place, tmp_path / "no" / "such")
    (tmp_path / "empty").mkdir()
    ship.restore(place, tmp_path / "empty")
    assert contents(tmp_path / "empty") == {}


@pytest.mark.parametrize("harm", ["changed", "shortened", "removed"])
def test_damage_in_a_place_is_named_and_nothing_is_restored(
    store: alexpy.Store, place: Path, tmp_path: Path, harm: str
) -> None:
    store.put_many(range(100), [b"x" * 100] * 100)
    shipment = ship.push(store, place)
    piece = place / max(shipment.files, key=lambda file: file.size).pieces[0].key
    data = piece.read_bytes()
    if harm == "changed":
        piece.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif harm == "shortened":
        piece.write_bytes(data[:-1])
    else:
        piece.unlink()
    with pytest.raises(alexpy.CorruptionError, match=piece.name) as raised:
        ship.restore(place, tmp_path / "x")
    assert raised.value.path == str(piece)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "store"]


def test_a_damaged_manifest_is_named_and_older_shipments_can_be_restored(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    ship.restore(place, tmp_path / "copy")
    store[2] = b"two"
    second = ship.push(store, place)
    manifest = place / _shipment.manifest_key(second.generation)
    manifest.write_bytes(manifest.read_bytes()[:-20])
    for call in (ship.expire, lambda where: ship.restore(where, tmp_path / "x")):
        with pytest.raises(alexpy.CorruptionError, match=manifest.name):
            call(place)
    ship.restore(place, tmp_path / "x", at=first.seq)
    # Whoever knows nothing of it may not go on; who made it may.
    with alexpy.open(tmp_path / "copy") as copy:
        copy[3] = b"three"
        with pytest.raises(alexpy.CorruptionError, match=manifest.name):
            ship.push(copy, place)
    third = ship.push(store, place)
    assert third.generation == 3
    ship.restore(place, tmp_path / "y")
    assert contents(tmp_path / "y") == {1: b"one", 2: b"two"}


@pytest.mark.parametrize(
    ("change", "error", "part"),
    [
        ({"alexpy_ship": 2}, alexpy.FormatError, "newer version"),
        ({"files": {"../x": ["", []]}}, alexpy.FormatError, "out of place"),
        ({"files": {"seg-00000001.log": ["", [["../x", 1]]]}}, alexpy.FormatError, "out of place"),
        ({"seq": -1}, alexpy.FormatError, "out of place"),
        ({"seq": True}, alexpy.FormatError, "out of place"),
        ({"files": 5}, alexpy.FormatError, "no manifest"),
        ({"generation": 7}, alexpy.FormatError, "generation 7"),
    ],
)
def test_a_forged_manifest_is_refused(
    store: alexpy.Store,
    place: Path,
    tmp_path: Path,
    change: dict[str, Any],
    error: type[Exception],
    part: str,
) -> None:
    store[1] = b"one"
    shipment = ship.push(store, place)
    manifest = place / _shipment.manifest_key(shipment.generation)
    table = json.loads(manifest.read_bytes().split(b"\n")[1]) | change
    text = json.dumps(table).encode()
    manifest.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n")
    for call in (lambda: ship.restore(place, tmp_path / "x"), lambda: ship.push(store, place)):
        with pytest.raises(error, match=part):
            call()
    assert not (tmp_path / "x").exists()


def test_without_obstore_one_line_says_what_to_install(
    store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ImportError, match=r"pip install 'alexpy\[ship\]'"):
        ship.push(store, place)


def test_a_full_disk_of_a_restored_store_is_told_with_the_file(
    store: alexpy.Store, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any) -> int:
        raise OSError(28, "No space left on device")

    store[1] = b"one"
    ship.push(store, place)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as raised:
        ship.restore(place, tmp_path / "x")
    assert raised.value.errno == 28
    assert str(raised.value.filename).startswith(str(tmp_path / ".x."))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "store"]


def test_a_full_disk_of_the_place_is_told_as_such(
    store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_options: Any) -> None:
        raise obstore.exceptions.GenericError(
            "Generic LocalFileSystem error: No space (os error 28)\n\nDebug"
        )

    store[1] = b"one"
    monkeypatch.setattr(obstore, "put", full)
    with pytest.raises(OSError, match="No space") as raised:
        ship.push(store, place)
    assert (raised.value.errno, raised.value.strerror) == (
        28,
        "Generic LocalFileSystem error: No space (os error 28)",
    )
    monkeypatch.undo()
    assert ship.push(store, place).generation == 1


def test_a_damaged_memory_is_named_and_a_fork_leads_on(
    store: alexpy.Store, store_path: Path, place: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    for text in ("", "{}", "[1]", '{"lines": {"x": {"y": 1}}, "begun": {}}'):
        (store_path / "SHIP").write_text(text)
        with pytest.raises(alexpy.CorruptionError, match="remembers where this store was shipped"):
            ship.push(store, place)
    (store_path / "SHIP").unlink()
    with pytest.raises(FencedError):
        ship.push(store, place)
    store[2] = b"two"
    assert ship.push(store, place, fork=True).epoch == 2


# --- expire and pin -------------------------------------------------------------------------------------


def test_what_is_kept_can_be_restored_and_what_only_others_need_goes(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    shipped = []
    for key in range(6):
        store[key] = os.urandom(10_000)
        shipped.append(ship.push(store, place))
        store.compact()
    pin = ship.pin(place, at=shipped[1].seq)
    report = ship.expire(place, keep=2)
    assert report.shipments == 3
    assert report.bytes > 0
    assert ship.shipments(place) == [shipped[1], *shipped[4:]]
    for shipment in (shipped[1], *shipped[4:]):
        ship.restore(place, tmp_path / str(shipment.seq), at=shipment.seq)
    with pytest.raises(ValueError, match=f"the nearest: {shipped[1].seq} and {shipped[4].seq}"):
        ship.restore(place, tmp_path / "x", at=shipped[2].seq)
    pin.release()
    assert ship.expire(place, keep=1, days=1).shipments == 0
    assert ship.expire(place, keep=1).shipments == 2
    named = {piece.key for piece in shipped[-1].pieces().values()}
    assert {key for key in objects_in(place) if key.startswith("pieces")} == named
    assert all(any(folder.iterdir()) for folder in (place / "pieces").iterdir())
    store[1] = b"one"
    assert ship.push(store, place).generation == 7


def test_a_pin_ends_by_itself(store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store[1] = b"one"
    first = ship.push(store, place)
    store[2] = b"two"
    ship.push(store, place)
    ship.pin(place, at=first.seq, seconds=60)
    assert ship.expire(place, keep=1).shipments == 0
    later = datetime.now(UTC).timestamp() + 2 * 3600
    monkeypatch.setattr("alexpy.ship._pins.now", lambda: later)
    assert ship.expire(place, keep=1).shipments == 1
    assert not any(key.startswith("pins") for key in objects_in(place))


def test_what_killed_pushes_left_half_written_in_a_directory_goes_after_a_week(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    shipped = ship.push(store, place)
    # A put of obstore writes to such a file first, and lists none.
    piece, *_ = shipped.pieces()
    left = [place / f"{key}#1" for key in (piece, _shipment.manifest_key(2), "pins/x.json")]
    (place / "pins").mkdir(exist_ok=True)
    for path in left:
        path.write_bytes(b"half")
    assert not {str(path) for path in left} & {
        f"{place}/{meta.key}"
        for folder in ("pieces", "manifests", "pins")
        for meta in _objects.connect(place, make=False).list(folder)
    }
    before = objects_in(place)
    assert ship.expire(place, keep=1) == ship.ExpireReport(0, 0, 0)
    assert objects_in(place) == before
    long_ago = time.time() - 8 * 24 * 3600
    for path in left:
        os.utime(path, (long_ago, long_ago))
    assert ship.expire(place, keep=1) == ship.ExpireReport(0, 3, 12)
    assert not [path for path in left if path.exists()]
    assert ship.restore(place, tmp_path / "again") == shipped


def test_a_pin_that_was_cut_short_is_refused(
    store: alexpy.Store, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    inner = _objects._Bucket.put
    monkeypatch.setattr(_objects._Bucket, "put", lambda self, key, data: inner(self, key, data[:9]))
    for call in (lambda: ship.pin(place), lambda: ship.restore(place, tmp_path / "x")):
        with pytest.raises(OSError, match="does not return the pin"):
            call()


@pytest.mark.parametrize("odd", ["", "[]", '{"generation": 1e999, "until": 1}', "[" * 100_000])
def test_what_is_no_pin_keeps_expiry_from_nothing(store: alexpy.Store, place: Path, odd: str) -> None:
    for key in range(3):
        store[key] = b"value"
        ship.push(store, place)
    (place / "pins").mkdir(exist_ok=True)
    (place / "pins" / "odd.json").write_text(odd)
    assert ship.expire(place, keep=1).shipments == 2


def test_counts_that_make_no_sense_are_refused(store: alexpy.Store, place: Path) -> None:
    ship.push(store, place)
    with pytest.raises(ValueError, match="keep is 0"):
        ship.expire(place, keep=0)
    with pytest.raises(ValueError, match="days is -1"):
        ship.expire(place, days=-1)
    with pytest.raises(ValueError, match="seconds is 0"):
        ship.pin(place, seconds=0)
    with pytest.raises(ValueError, match="interval is -1"):
        ship.Shipper(store, place, interval=-1)


# --- Shipper --------------------------------------------------------------------------------------------


def test_a_shipper_ships_by_itself_and_flush_waits_for_it(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    with ship.Shipper(store, place, interval=0.01) as shipper:
        for key in range(20):
            store[key] = b"x"
        assert shipper.flush() == shipper.seq == store.stats().last_seq
        assert (shipper.lag, shipper.error) == (0, None)
        store[20] = b"y"
        waited = threading.Event()
        while shipper.lag and not waited.wait(0.01):
            pass
        store[21] = b"z"
    assert shipper.closed
    shipper.close()
    with pytest.raises(alexpy.ClosedError):
        shipper.flush()
    ship.restore(place, tmp_path / "x")
    assert len(contents(tmp_path / "x")) == 22


def test_a_remote_flush_waits_for_all_shippers_of_the_handle_and_stats_tell_how_far_they_are(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    store.flush()
    assert store.stats().remote_seq is None
    more = tmp_path / "other"
    with ship.Shipper(store, place, interval=60), ship.Shipper(store, more, interval=60) as other:
        other.flush()
        assert store.stats().remote_seq == 0
        store[2] = b"two"
        store.flush(remote=True)
        assert store.stats().remote_seq == store.stats().last_seq == ship.shipments(place)[-1].seq
        assert ship.shipments(more)[-1].seq == store.stats().last_seq
        store[3] = b"three"
        assert store.stats().remote_seq == other.seq < store.stats().last_seq
    assert store.stats().remote_seq is None
    with pytest.raises(ValueError, match="waits for the shippers of this handle, and there is none"):
        store.flush(remote=True)


def test_an_exception_in_the_block_ships_nothing_more(store: alexpy.Store, place: Path) -> None:
    shipper = ship.Shipper(store, place, interval=60)
    shipper.flush()
    store[1] = b"one"
    shipper.__exit__(RuntimeError, RuntimeError(), None)
    assert shipper.closed
    assert len(ship.shipments(place)) == 1


def test_a_shipper_tells_what_is_in_the_way_and_goes_on(
    store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ship.Shipper(store, place, interval=60) as shipper:
        store[1] = b"one"

        def fails(*_args: Any, **_options: Any) -> None:
            raise OSError(5, "is out of order", "the place")

        with monkeypatch.context() as patch:
            patch.setattr("alexpy.ship._shipper.push_to", fails)
            with pytest.raises(OSError, match="out of order"):
                shipper.flush()
            assert isinstance(shipper.error, OSError)
        assert shipper.flush() == store.stats().last_seq
        assert shipper.error is None


def test_a_shipper_that_is_fenced_stops_for_good(store: alexpy.Store, place: Path, tmp_path: Path) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.restore(place, tmp_path / "copy")
    shipper = ship.Shipper(store, place, interval=60)
    with alexpy.open(tmp_path / "copy") as copy:
        copy[2] = b"two"
        ship.push(copy, place)
    store[3] = b"three"
    written = store.stats().last_seq
    for _ in range(2):
        with pytest.raises(FencedError):
            shipper.flush()
        with pytest.raises(FencedError):
            store.flush(remote=True)
    # What could not be shipped was flushed here all the same.
    assert store.stats().durable_seq >= written
    shipper.close()
    assert store.stats().remote_seq is None
    with pytest.raises(FencedError):
        ship.Shipper(store, place)


def test_a_shipper_forks_once_and_is_fenced_by_whoever_goes_on_from_its_epoch(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.restore(place, tmp_path / "first")
    with alexpy.open(tmp_path / "first") as copy:
        copy[2] = b"two"
        ship.push(copy, place)
    shipper = ship.Shipper(store, place, interval=60, fork=True)
    store[3] = b"three"
    shipper.flush()
    ship.restore(place, tmp_path / "second")
    with alexpy.open(tmp_path / "second") as copy:
        copy[4] = b"four"
        shipped = ship.push(copy, place)
    store[5] = b"five"
    with pytest.raises(FencedError, match="another copy of this store has shipped"):
        shipper.flush()
    shipper.close()
    assert ship.shipments(place)[-1] == shipped


def test_a_shipper_that_was_fenced_meanwhile_tells_it_at_the_end_of_its_block(
    store: alexpy.Store, place: Path, tmp_path: Path
) -> None:
    store[1] = b"one"
    ship.push(store, place)
    ship.restore(place, tmp_path / "copy")

    def block() -> None:
        with ship.Shipper(store, place, interval=0) as shipper:
            with alexpy.open(tmp_path / "copy") as copy:
                copy[2] = b"two"
                ship.push(copy, place)
            store[3] = b"three"
            end = time.monotonic() + 20
            while not shipper.closed and time.monotonic() < end:
                time.sleep(0.01)
            assert isinstance(shipper.error, FencedError)

    # Nobody has asked the shipper, and what was written last is not in the place.
    with pytest.raises(FencedError):
        block()
    assert ship.shipments(place)[-1].seq != store.stats().last_seq
    assert store.stats().remote_seq is None


def test_shippers_of_one_store_take_turns(
    store: alexpy.Store, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: Callable[..., Any] = _push.push_to
    begun = threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        with _source.source(store):
            begun.set()
            time.sleep(0.3)
        return inner(*args, **options)

    monkeypatch.setattr("alexpy.ship._shipper.push_to", slow)
    with ship.Shipper(store, place, interval=0):
        assert begun.wait(20)
        # The first one is pushing.
        with ship.Shipper(store, tmp_path / "other", interval=0):
            for key in range(2):
                store[key] = b"value"
                store.flush(remote=True)
                assert store.stats().remote_seq == store.stats().last_seq
            store[3] = b"three"
    for where in (place, tmp_path / "other"):
        assert ship.shipments(where)[-1].seq == store.stats().last_seq


def test_a_block_that_ends_by_an_exception_ships_nothing_while_it_waits_for_its_turn(
    store: alexpy.Store, place: Path
) -> None:
    def block() -> None:
        with ship.Shipper(store, place, interval=0) as shipper:
            shipped.append(shipper.flush())
            shipper._turn.acquire()
            store[1] = b"one"
            # It has found that by then, and waits, or else this test shows nothing.
            time.sleep(0.2)
            threading.Timer(0.2, shipper._turn.release).start()
            raise KeyError

    shipped: list[int] = []
    with pytest.raises(KeyError):
        block()
    assert [one.seq for one in ship.shipments(place)][-1:] == shipped
    assert store.stats().last_seq > shipped[0]


def test_a_shipper_that_never_begins_by_itself_ships_when_it_is_asked(
    store: alexpy.Store, place: Path
) -> None:
    with ship.Shipper(store, place, interval=float("inf")) as shipper:
        store[1] = b"one"
        assert shipper.flush(timeout=float("inf")) == store.stats().last_seq


def test_a_flush_that_takes_too_long_says_so(
    store: alexpy.Store, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    inner: Callable[..., Any] = _push.push_to

    def slow(*args: Any, **options: Any) -> Any:
        go_on.wait(30)
        return inner(*args, **options)

    monkeypatch.setattr("alexpy.ship._shipper.push_to", slow)
    with ship.Shipper(store, place, interval=60) as shipper:
        store[1] = b"one"
        with pytest.raises(TimeoutError, match="was not shipped within"):
            shipper.flush(timeout=0.01)
        go_on.set()
