"""The feed of changes: what was committed, in order; `wait`; and the command that shows them."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from command_line import CommandLine


def applied(model: dict[int, bytes], changes: Iterable[alexpy.Change]) -> dict[int, bytes]:
    """The model after the changes, whose numbers must rise."""
    last = 0
    for change in changes:
        assert change.seq > last
        last = change.seq
        if isinstance(change.key, range):
            for key in [key for key in model if key in change.key]:
                del model[key]
        elif change.value is None:
            model.pop(change.key, None)
        else:
            model[change.key] = change.value
    return model


def test_each_kind_of_change_is_told_in_order(store: alexpy.Store) -> None:
    store[1] = b"one"
    store.put_many([2, 3], [b"two", b""])
    with store.batch() as batch:
        batch.put(4, b"four")
        batch.delete(1)
    store.delete_range(2, 4)
    store.delete_range(2, 4)
    store.delete(77)
    store.clear()
    told = [(change.key, change.value) for change in store.changes(since=0)]
    assert told == [
        (1, b"one"),
        (2, b"two"),
        (3, b""),
        (4, b"four"),
        (1, None),
        (range(2, 4), None),
        (range(-(2**63), 2**63), None),
    ]


def test_since_leaves_out_what_came_up_to_it_also_within_a_batch(store: alexpy.Store) -> None:
    store.put_many(range(100), [b"%d" % key for key in range(100)])
    store[5] = b"five"
    changes = list(store.changes(since=0))
    for at in (0, 1, 50, 99, 100):
        assert list(store.changes(since=changes[at].seq)) == changes[at + 1 :]
    assert list(store.changes(since=10**9)) == []
    assert list(store.changes()) == []


def test_a_feed_tells_what_is_committed_while_it_is_read_and_stays_at_its_end(store: alexpy.Store) -> None:
    store[0] = b"before"
    feed = store.changes()
    store[1] = b"one"
    assert next(feed).key == 1
    store[2] = b"two"
    assert [change.key for change in feed] == [2]
    store[3] = b"three"
    assert list(feed) == [], "an iterator that has ended stays at its end"


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.parametrize("seed", range(6))
def test_the_changes_since_any_time_lead_from_what_was_to_what_is(
    store_path: Path, seed: int, read_mode: str
) -> None:
    chance = random.Random(seed)
    options: dict[str, Any] = {"segment_bytes": 16 << 10, "read_mode": read_mode, "background": False}
    then: list[tuple[int, dict[int, bytes]]] = []
    with alexpy.open(store_path, **options) as store, alexpy.open(store_path, read_only=True) as reader:
        for _ in range(400):
            key = chance.randrange(60)
            match chance.randrange(12):
                case 0:
                    store.delete_range(key, key + chance.randrange(20))
                case 1:
                    keys = [chance.randrange(60) for _ in range(chance.randrange(1, 30))]
                    store.put_many(keys, [b"%d" % chance.randrange(1000) for _ in keys])
                case 2:
                    store.delete(key)
                case 3:
                    then.append((store.stats().last_seq, dict(store)))
                case 4:
                    store.checkpoint()
                case _:
                    store[key] = chance.randbytes(chance.randrange(300))
        reader.refresh()
        for seen in (store, reader):
            for seq, model in then:
                assert applied(dict(model), seen.changes(since=seq)) == dict(store)


def test_changes_that_compaction_has_freed_are_refused_by_name_and_the_way_around_works(
    store_path: Path,
) -> None:
    with alexpy.open(store_path, segment_bytes=64 << 10, background=False) as store:
        for number in range(200):
            store[number % 5] = b"%d" % number * 500
        seq = store.stats().last_seq
        store[1] = b"newest"
        store.checkpoint()
        store.checkpoint()
        store.compact()
        with pytest.raises(
            alexpy.HistoryGoneError, match="through a snapshot, and go on with the changes after"
        ):
            store.changes(since=0)
        with store.snapshot() as snapshot:
            model = dict(snapshot)
            store[2] = b"newer"
            assert applied(model, store.changes(since=snapshot.seq)) == dict(store)
        with alexpy.open(store_path, read_only=True) as reader, pytest.raises(alexpy.HistoryGoneError):
            reader.changes(since=0)
        assert seq < store.stats().last_seq


def test_a_feed_keeps_what_it_has_found_from_compaction(store_path: Path) -> None:
    with alexpy.open(store_path, segment_bytes=64 << 10, background=False) as store:
        for number in range(200):
            store[number % 5] = b"%d" % number * 500
        feed = store.changes(since=0)
        store.compact()
        assert [change.value for change in feed] == [b"%d" % number * 500 for number in range(200)]
        del feed
        assert store.compact().freed_segments > 0


def test_a_feed_and_a_store_that_were_closed_say_so(store: alexpy.Store) -> None:
    store[1] = b"one"
    feed = store.changes(since=0)
    store.close()
    with pytest.raises(alexpy.ClosedError):
        next(feed)
    for call in (store.changes, store.refresh, lambda: store.wait(1)):
        with pytest.raises(alexpy.ClosedError):
            call()


def test_wait_returns_once_another_thread_has_committed_or_time_is_up(store: alexpy.Store) -> None:
    with alexpy.open(store.path, read_only=True) as reader:
        seq = store.stats().last_seq
        assert reader.wait(seq) == seq
        assert reader.wait(seq + 1, timeout=0) == seq
        assert reader.wait(seq + 1, timeout=0.01) == seq
        later = threading.Timer(0.05, lambda: store.put(1, b"one"))
        later.start()
        assert reader.wait(seq + 1, timeout=60) > seq
        assert reader[1] == b"one"
        later.join()
        for wrong in (-1.0, float("nan")):
            with pytest.raises(ValueError, match="timeout"):
                reader.wait(1, timeout=wrong)


def test_threads_share_a_feed_and_each_change_is_told_once(store: alexpy.Store) -> None:
    store.put_many(range(20_000), [b"x"] * 20_000)
    feed = store.changes(since=0)
    told: list[list[int]] = [[], []]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(change.key for change in feed)) for mine in told
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told[0] + told[1]) == list(range(20_000))


def test_the_command_shows_changes_as_lines_and_as_json(run: CommandLine, store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"one"
        store[2] = b"\xff"
        del store[1]
        store.delete_range(2, 9)
    lines = run("changes", store_path).out.decode().splitlines()
    assert [line.split("\t")[1:] for line in lines] == [
        ["put", "1", "one"],
        ["put", "2", repr(b"\xff")],
        ["delete", "1"],
        ["delete", "2", "8"],
    ]
    told = [json.loads(line) for line in run("changes", store_path, "--json").out.splitlines()]
    assert [{name: value for name, value in one.items() if name != "seq"} for one in told] == [
        {"key": 1, "value": "one"},
        {"key": 2, "value_base64": "/w=="},
        {"key": 1, "deleted": True},
        {"start": 2, "stop": 9, "deleted": True},
    ]
    since = run("changes", store_path, "--since", told[1]["seq"], "--json").out.splitlines()
    assert [json.loads(line) for line in since] == told[2:]


@pytest.mark.slow
def test_the_command_follows_a_writer_until_it_is_interrupted(store: alexpy.Store) -> None:
    import signal  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    from command_line import command  # noqa: PLC0415

    store[0] = b"before"
    lines: list[bytes] = []
    # What runs the tests may ignore Ctrl-C, and its children with it.
    arguments = ["env", "--default-signal=INT", *command("changes", store.path, "--follow")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as following:
        output = following.stdout
        assert output is not None
        reading = threading.Thread(target=lambda: lines.extend(output))
        reading.start()
        number = 0
        # Nothing says when it has begun, but what it shows.
        while len(lines) < 50 and number < 10_000:
            number += 1
            store[number] = b"after"
            time.sleep(0.005)
        following.send_signal(signal.SIGINT)
        reading.join(60)
        following.kill()
    assert following.returncode == 130
    keys = [int(line.split(b"\t")[2]) for line in lines]
    assert len(keys) >= 50
    assert keys == list(range(keys[0], keys[-1] + 1)), "none is left out, none comes twice"
    assert keys[0] > 0
