"""Readers that follow a writer of another process, across its kills, its closings and its compactions.

ALEXPY_FOLLOW_SECONDS sets how long each of the long tests runs.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

import alexpy
from follow_writer import ROWS, row_number
from kill_operations import Job
from test_kill import apply, run_and_kill
from writers import Writers

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = float(os.environ.get("ALEXPY_FOLLOW_SECONDS", "5"))
SEED = int(os.environ.get("ALEXPY_KILL_SEED", "0")) or random.SystemRandom().getrandbits(32)
SMALL_SEGMENT = 256 << 10


def test_what_one_process_wrote_the_other_sees_after_a_refresh_and_not_before(store: alexpy.Store) -> None:
    store[1] = b"one"
    with alexpy.open(store.path, read_only=True) as reader:
        before = reader.stats()
        store[1] = b"uno"
        store.put_many([2, 3], [b"two", b"three"])
        snapshot = reader.snapshot()
        assert dict(reader) == {1: b"one"}
        lag = reader.stats().lag
        assert reader.refresh() == store.stats().last_seq == store.refresh()
        assert (before.lag, lag) == (0, store.stats().last_seq - before.last_seq)
        assert (reader.stats().lag, store.stats().lag) == (0, None)
        assert dict(reader) == dict(store)
        assert dict(snapshot) == {1: b"one"}
        assert reader.refresh() == store.stats().last_seq


def test_the_newer_value_is_seen_after_segments_rolled_and_were_compacted_whoever_writes(
    store_path: Path,
) -> None:
    """The case in which a secondary of RocksDB returns the older value, and says that all is well."""
    options: dict[str, Any] = {"segment_bytes": 64 << 10, "background": False}
    with alexpy.open(store_path, **options) as store:
        store[7] = b"v0"
    with alexpy.open(store_path, read_only=True) as reader:
        for number in range(1, 8):
            with alexpy.open(store_path, **options) as store:
                store[7] = b"v1-%d" % number
                reader.refresh()
                assert reader[7] == b"v1-%d" % number
                store[7] = b"v2-%d" % number
                for key in range(100, 130):
                    store[key] = bytes(8000)
                store.delete_range(100, 130)
                store.checkpoint()
                store.compact()
                reader.refresh()
                assert reader[7] == b"v2-%d" % number
                assert dict(reader) == dict(store)
            reader.refresh()
            assert dict(reader) == {7: b"v2-%d" % number}


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.parametrize("style", ["single", "batch"])
def test_a_reader_that_is_kept_across_kills_shows_what_each_killed_writer_had_returned_from(
    tmp_path: Path, style: Any, read_mode: str
) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "store"
    model: dict[int, bytes] = {}
    done, rounds = 0, 0
    end = time.monotonic() + SECONDS
    alexpy.open(path).close()
    with (
        Writers("kill_writer.py") as writers,
        alexpy.open(path, read_only=True, read_mode=read_mode) as reader,
    ):
        while time.monotonic() < end or rounds < 3:
            rounds += 1
            options: dict[str, object] = {
                "durability": chance.choice(("sync", "interval", "os")),
                "write_mode": chance.choice(("mmap", "pwrite")),
                "segment_bytes": chance.choice((16 << 10, 64 << 10, 1 << 20)),
                "checkpoint_tail_bytes": chance.choice((1 << 10, 32 << 10, 64 << 20)),
            }
            beside = chance.random() < 0.3
            job = Job(str(path), SEED, done, style, options, beside=beside)
            last = run_and_kill(writers, job, min(chance.expovariate(50), 0.1), in_opening=False)
            where = f"ALEXPY_KILL_SEED={SEED}, round {rounds} ({job})"
            for number in range(job.first, last + 1):
                apply(model, job.seed, number, job.style)
            reader.refresh()
            found = dict(reader.items())
            done = last + 1
            if found != model:
                # The kill fell between the commit and its report.
                apply(model, job.seed, done, job.style)
                done += 1
                assert found == model, where
            if chance.random() < 0.3:
                # Recovers what the kill left, and closes in order.
                with alexpy.open(path, segment_bytes=64 << 10) as store:
                    assert dict(store) == model, where
                reader.refresh()
                assert dict(reader) == model, where
            assert reader.verify().ok, where
    print(f"{style} {read_mode}: {rounds} kills")


def jobs(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the writer and a reader are told."""
    committed = tmp_path / "committed"
    committed.write_bytes(bytes(8))
    common = {"path": str(tmp_path / "store"), "committed": str(committed)}
    options = {"segment_bytes": SMALL_SEGMENT, "checkpoint_tail_bytes": 512 << 10}
    writing = common | {"options": options, "seed": SEED, "ascending": False}
    reading = common | {
        "ascending": False,
        "read_mode": "mmap",
        "hold": False,
        "fork": False,
        "seconds": SECONDS,
    }
    return writing, reading


def allocated(store: Path) -> int:
    """Bytes on the disk that the segments take, of those that are not removed meanwhile."""
    taken = 0
    for file in store.glob("seg-*"):
        with suppress(FileNotFoundError):
            taken += file.stat().st_blocks * 512
    return taken


def begin(writers: Writers, job: dict[str, Any]) -> int:
    """Start the writer, and wait until the store is there."""
    pid = writers.start(json.dumps(job))
    assert writers.line() == "open\n"
    return pid


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_readers_beside_a_writer_that_is_killed_again_and_again_never_see_less_than_was_committed(
    tmp_path: Path,
) -> None:
    chance = random.Random(SEED)
    writing, reading = jobs(tmp_path)
    with ExitStack() as stack:
        writers = stack.enter_context(Writers("follow_writer.py"))
        pid = begin(writers, writing)
        readers = [stack.enter_context(Writers("follow_reader.py")) for _ in range(2)]
        for reader, read_mode in zip(readers, ("mmap", "pread"), strict=True):
            while int.from_bytes((tmp_path / "committed").read_bytes(), "little") == 0:
                time.sleep(0.01)
            reader.start(json.dumps(reading | {"read_mode": read_mode}))
        end = time.monotonic() + SECONDS
        kills = 0
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.05, 0.8))
            os.kill(pid, signal.SIGKILL)
            assert writers.line() == f"ended {-signal.SIGKILL}\n"
            kills += 1
            pid = begin(writers, writing | {"seed": SEED + kills})
        rounds = [int(reader.line().removeprefix("checked ")) for reader in readers]
        os.kill(pid, signal.SIGKILL)
    assert min(rounds) > 10
    print(f"{kills} kills, {rounds} refreshes")


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("kind", "options"), [("int64", {}), ("uuid", {}), ("int64", {"compression": "zstd"})]
)
def test_a_queue_in_key_order_with_default_settings_is_followed_whole_across_kills(
    tmp_path: Path, kind: Any, options: dict[str, str]
) -> None:
    """The commonest workload: batches of 1,000 rows of 98 bytes, five million of them kept."""
    chance = random.Random(SEED)
    writing, reading = jobs(tmp_path)
    writing |= {"options": options, "ascending": True, "key": kind}
    reading |= {"ascending": True}
    committed = tmp_path / "committed"
    openings: list[float] = []
    with ExitStack() as stack:
        writers = stack.enter_context(Writers("follow_writer.py"))
        pid = begin(writers, writing)
        while int.from_bytes(committed.read_bytes(), "little") == 0:
            time.sleep(0.01)
        readers = [stack.enter_context(Writers("follow_reader.py")) for _ in range(2)]
        for reader, read_mode in zip(readers, ("mmap", "pread"), strict=True):
            reader.start(json.dumps(reading | {"read_mode": read_mode}))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.2, 4))
            os.kill(pid, signal.SIGKILL)
            assert writers.line() == f"ended {-signal.SIGKILL}\n"
            begun = time.monotonic()
            pid = begin(writers, writing)
            openings.append(time.monotonic() - begun)
        rounds = [int(reader.line().removeprefix("checked ")) for reader in readers]
        os.kill(pid, signal.SIGKILL)
        assert writers.line() == f"ended {-signal.SIGKILL}\n"
    with alexpy.open(tmp_path / "store") as store:
        last = int.from_bytes(committed.read_bytes(), "little")
        found, first = store.last(), store.first()
        assert found is not None
        assert first is not None
        assert row_number(found[0]) in {last, last + ROWS}
        assert len(store) == row_number(found[0]) - row_number(first[0]) + 1
        assert store.verify().ok
    print(
        f"{last + 1:,} rows, {len(openings)} kills, opened in {max(openings):.2f} s at most, {rounds} looks"
    )


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_two_hundred_readers_that_are_killed_stopped_or_forked_leave_nothing_behind(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    writing, reading = jobs(tmp_path)
    store = tmp_path / "store"
    with Writers("follow_writer.py") as writers, Writers("follow_reader.py") as readers:
        pid = begin(writers, writing)
        while int.from_bytes((tmp_path / "committed").read_bytes(), "little") == 0:
            time.sleep(0.01)
        most = 0
        for _ in range(200):
            job = reading | {
                "hold": True,
                "fork": chance.random() < 0.2,
                "read_mode": chance.choice(("mmap", "pread")),
            }
            reader = readers.start(json.dumps(job))
            assert readers.line() == "open\n"
            time.sleep(chance.uniform(0, 0.02))
            if chance.random() < 0.3:
                os.kill(reader, signal.SIGSTOP)
                time.sleep(0.02)
            os.kill(reader, signal.SIGKILL)
            assert readers.line() == f"ended {-signal.SIGKILL}\n"
            most = max(most, allocated(store))
        os.kill(pid, signal.SIGKILL)
        assert writers.line() == f"ended {-signal.SIGKILL}\n"
    with alexpy.open(store, segment_bytes=SMALL_SEGMENT) as opened:
        live = opened.stats().live_bytes
        # As without readers: 2.5 times what lives, and four segments, each of up to 16 MiB.
        assert most <= 2.5 * live + 4 * (16 << 20), f"{most:,} bytes for {live:,} live ones"
        opened.compact()
        assert opened.stats().disk_bytes <= 1.4 * live + 2 * SMALL_SEGMENT
        assert opened.verify().ok
