"""`Store.compact` and `alexpy compact`: the space of dead values comes back, live values stay."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

import alexpy

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

SEGMENT = 1 << 16


def overwrite(store: alexpy.Store, rounds: int = 5) -> dict[int, bytes]:
    """Overwrite 1,000 keys several times, delete nine of ten, and return what is left."""
    for number in range(rounds):
        store.put_many(range(1000), [b"%d" % number * 100] * 1000)
    store.delete_many(key for key in range(1000) if key % 10)
    return dict.fromkeys(range(0, 1000, 10), b"%d" % (rounds - 1) * 100)


def files(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.glob("seg-*.log"))


def test_compact_gives_the_space_of_dead_values_back_and_loses_nothing(store_path: Path) -> None:
    with alexpy.open(store_path, background=False, segment_bytes=SEGMENT) as store:
        left = overwrite(store)
        before = files(store_path)
        seen: list[tuple[int, int]] = []
        report = store.compact(lambda done, total: seen.append((done, total)))
        assert report.freed_segments > 5
        assert report.moved_bytes == store.stats().live_bytes
        assert seen
        assert all(0 < done <= total for done, total in seen)
        assert files(store_path) < before / 4
        assert dict(store.items()) == left
        stats = store.stats()
        assert (stats.freed_segments, stats.moved_bytes) == (report.freed_segments, report.moved_bytes)
        assert stats.damaged_segments == 0
        assert store.compact().freed_segments == 0, "there is nothing left to do"
    with alexpy.open(store_path) as store:
        assert dict(store.items()) == left


def test_an_exception_of_progress_stops_the_call_and_the_store_is_whole(store_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise LookupError(done, total)

    with alexpy.open(store_path, background=False, segment_bytes=SEGMENT) as store:
        left = overwrite(store)
        with pytest.raises(LookupError):
            store.compact(stop)
        assert dict(store.items()) == left
        assert store.verify().ok


def test_progress_may_call_the_store_even_to_compact_it(store_path: Path) -> None:
    with alexpy.open(store_path, background=False, segment_bytes=SEGMENT) as store:
        left = overwrite(store)
        store.compact(lambda done, total: store.compact() and store.put(1, b"%d of %d" % (done, total)))
        assert store.pop(1)
        assert dict(store.items()) == left


def test_compaction_runs_by_itself_and_a_view_outlives_it(store_path: Path) -> None:
    options = {"segment_bytes": SEGMENT, "compact_bytes_per_second": 1 << 30}
    with alexpy.open(store_path, **options) as store:
        store.put_many(range(1000), [b"old" * 40] * 1000)
        view = store.get_view(7)
        iterator = iter(store.items())
        assert next(iterator) == (0, b"old" * 40)
        left = overwrite(store)
        deadline = time.monotonic() + 20
        while store.stats().freed_segments < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert store.stats().freed_segments >= 5
        assert dict(store.items()) == left
        assert bytes(view or b"") == b"old" * 40
        assert [value for _, value in iterator] == [b"old" * 40] * 999
    assert bytes(view or b"") == b"old" * 40


def test_with_a_dead_ratio_that_is_not_reached_nothing_is_copied(store_path: Path) -> None:
    with alexpy.open(store_path, segment_bytes=SEGMENT, compact_dead_ratio=0.999) as store:
        # Half of each file stays in use: what is wholly dead goes at once.
        for keys in (range(4000), range(0, 4000, 2)):
            for start in range(0, len(keys), 100):
                some = keys[start : start + 100]
                store.put_many(list(some), [bytes(100)] * len(some))
        time.sleep(1.2)
        assert (store.stats().freed_segments, store.stats().moved_bytes) == (0, 0)


def test_a_reader_refuses_to_compact(store_path: Path) -> None:
    alexpy.open(store_path).close()
    with alexpy.open(store_path, read_only=True) as store, pytest.raises(alexpy.ReadOnlyError):
        store.compact()


def test_the_command_says_what_came_back(run: CommandLine, store_path: Path) -> None:
    with alexpy.open(store_path, background=False, segment_bytes=SEGMENT) as store:
        left = overwrite(store)
    figures = json.loads(run("compact", store_path, "--json").succeeds().out)
    assert figures["freed_segments"] > 2
    assert figures["disk_bytes"] < figures["disk_bytes_before"]
    assert b"removed 0 files" in run("compact", store_path).succeeds().out
    with alexpy.open(store_path) as store:
        assert dict(store.items()) == left
