"""What snapshots cost, and what calls cost beside them, beside an iterator, a writer or another thread.

The store holds one version or another of each key's value, so that an answer of the wrong moment is seen.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice, repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from alexpy.compare.bench import in_threads
from alexpy.compare.engine import Lacks
from alexpy.compare.keys import SEED, draw, split

from .data import WIDTH, Held, version_of
from .latency import get_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from alexpy.compare.bench import Bench
    from alexpy.compare.engine import Keys, SnapshotStore
    from alexpy.compare.promise import Mode
    from alexpy.compare.sizes import Sizes

_SNAPSHOTS = 10_000
# An iterator that is open beside puts is read once for so many of them.
_PUTS_FOR_AN_ITEM = 100
# Of what an iterator still has to give after them, so much is checked.
_ITEMS_CHECKED = 10_000
_WRITERS_BATCH = 1_000
_WRITERS_KEYS = 100_000
# Few enough keys for one thread: alexpy uses more threads for larger batches.
_KEYS_OF_A_CALL = 4_096
# Gets beside a writer end here: one get in a thread may have to wait for a turn at Python's lock.
_LONGEST_SECONDS = 3


def run(bench: Bench, engine: SnapshotStore, mode: Mode, sizes: Sizes, folder: Path) -> None:
    """Measure one engine."""
    drawn = draw("uniform", sizes.keys + 1)
    os.sync()
    engine.open(folder / "store", mode)
    held = Held.load(engine, drawn[:-1], sizes.batch)
    _snapshots(bench, engine, held, drawn[-1:], sizes)
    engine.delete(engine.single_keys(drawn[-1:])[0])
    puts(bench, engine, held, sizes)
    _batches_behind(bench, engine, held, sizes)
    _gets_beside_a_writer(bench, engine, held)
    _threads(bench, engine, held)
    engine.close()


def _snapshots(bench: Bench, engine: SnapshotStore, held: Held, extra: Keys, sizes: Sizes) -> None:
    take = engine.snapshot

    def take_and_drop() -> None:
        for _ in range(_SNAPSHOTS):
            take()

    bench.in_turn({"snapshot": lambda: _seconds(take_and_drop)}, _SNAPSHOTS)
    places = np.random.default_rng(SEED + 1).permutation(len(held.keys))[: sizes.gets]
    asked, expected = engine.single_keys(held.keys[places]), split(held.rows(places))
    # A key beside the others, which changes from one snapshot to the next.
    key, many = engine.single_keys(extra)[0], engine.batch_keys(extra)
    values = split(version_of(extra.repeat(_SNAPSHOTS), np.arange(_SNAPSHOTS)))

    def gets(cell: str, *, keep: bool) -> float:
        kept = []
        for value in values:
            engine.put(key, value)
            if keep:
                kept.append(take())
        began = time.perf_counter()
        answers = engine.get_each(asked)
        seconds = time.perf_counter() - began
        some = range(0, len(kept), _SNAPSHOTS // 100)
        found = [engine.get_array_at(kept[at], many, WIDTH).tobytes() for at in some]
        bench.check(cell, right=answers == expected and found == [values[at] for at in some])
        return seconds

    bench.in_turn(
        {
            "snapshots_none": lambda: gets("snapshots_none", keep=False),
            "snapshots_get": lambda: gets("snapshots_get", keep=True),
        },
        len(asked),
    )


def puts(bench: Bench, engine: SnapshotStore, held: Held, sizes: Sizes, suffix: str = "") -> None:
    """Measure single puts of random keys with nothing open, and beside an iterator that is read meanwhile."""
    generator = np.random.default_rng(SEED + 2)
    count = min(sizes.latencies, len(held.keys))
    quiet, beside = (generator.choice(len(held.keys), count, replace=False) for _ in range(2))
    times = _put(engine, held, quiet, 1, repeat(None))
    bench.latencies(f"put_quiet{suffix}", times)
    bench.check(
        "put_quiet", right=engine.get_each(engine.single_keys(held.keys[quiet])) == split(held.rows(quiet))
    )
    order = np.argsort(held.keys)
    then = Held(held.keys, held.versions.copy())
    iterator = engine.scan_at(engine.snapshot())
    times = _put(engine, held, beside, 2, iterator)
    bench.latencies(f"put_beside{suffix}", times)
    try:
        bench.bytes_each(f"kept{suffix}", engine.kept_bytes(), count)
    except Lacks as reason:
        bench.lacks(f"kept{suffix}", str(reason))
    places = order[-(-count // _PUTS_FOR_AN_ITEM) :][:_ITEMS_CHECKED]
    items = list(islice(iterator, len(places)))
    keys, values = engine.single_keys(held.keys[places]), split(then.rows(places))
    bench.check("put_beside", right=list(map(tuple, items)) == list(zip(keys, values, strict=True)))
    bench.check(
        "put_beside", right=engine.get_each(engine.single_keys(held.keys[beside])) == split(held.rows(beside))
    )
    del iterator
    if "lacks" not in bench.figures[f"kept{suffix}"]:
        bench.check("kept", right=engine.kept_bytes() == 0)


def _put(
    engine: SnapshotStore, held: Held, places: Keys, version: int, beside: Iterator[object]
) -> list[int]:
    """Put a version at each place; return the nanoseconds of each call. `beside` is read now and then."""
    keys, values = engine.single_keys(held.keys[places]), split(version_of(held.keys[places], version))
    clock, put = time.perf_counter_ns, engine.put
    times = []
    for number, (key, value) in enumerate(zip(keys, values, strict=True)):
        if number % _PUTS_FOR_AN_ITEM == 0:
            next(beside)
        began = clock()
        put(key, value)
        times.append(clock() - began)
    held.versions[places] = version
    return times


def _batches_behind(bench: Bench, engine: SnapshotStore, held: Held, sizes: Sizes) -> None:
    asked = np.random.default_rng(SEED + 3).permutation(len(held.keys))
    many = engine.batch_keys(held.keys[asked])

    def measure(name: str, changed: Keys, version: int) -> None:
        snapshot, then = engine.snapshot(), held.rows(asked)
        held.put(engine, changed, version, sizes.batch)
        now = held.rows(asked)

        def live() -> float:
            began = time.perf_counter()
            answer = engine.get_array(many, WIDTH)
            seconds = time.perf_counter() - began
            bench.check(f"live_{name}", right=bool((answer == now).all()))
            return seconds

        def behind() -> float:
            began = time.perf_counter()
            answer = engine.get_array_at(snapshot, many, WIDTH)
            seconds = time.perf_counter() - began
            bench.check(f"behind_{name}", right=bool((answer == then).all()))
            return seconds

        bench.in_turn({f"live_{name}": live, f"behind_{name}": behind}, len(asked))

    everything = np.arange(len(held.keys))
    measure("few", everything[::100], 3)
    measure("all", everything, 4)


def _gets_beside_a_writer(bench: Bench, engine: SnapshotStore, held: Held) -> None:
    generator = np.random.default_rng(SEED + 4)
    places = generator.permutation(len(held.keys))
    asked, get = engine.single_keys(held.keys[places]), engine.reader()
    before = held.rows(places)
    times, answers = get_times(get, asked, _LONGEST_SECONDS)
    bench.latencies("get_quiet", times)
    bench.check("get_quiet", right=_each_is_one_of(answers, before))
    changed = generator.permutation(len(held.keys))[:_WRITERS_KEYS]
    sizes = [len(changed[at : at + _WRITERS_BATCH]) for at in range(0, len(changed), _WRITERS_BATCH)]
    batches = held.batches(engine, changed, 5, _WRITERS_BATCH)
    with _writing(bench, engine, list(zip(batches, sizes, strict=True))):
        times, answers = get_times(get, asked, _LONGEST_SECONDS)
    bench.latencies("get_beside", times)
    # Where all batches were put, these are the values; where the writer was slow, some are yet to come.
    held.put(engine, changed, 5, _WRITERS_BATCH)
    bench.check("get_beside", right=_each_is_one_of(answers, before, held.rows(places)))


def _each_is_one_of(answers: list[bytes | None], *rows: Any) -> bool:
    """Say whether every answer is the value in the same place of some of the arrays."""
    found = [answer for answer in answers if answer is not None and len(answer) == WIDTH]
    if len(found) < len(answers):
        return False
    got = np.frombuffer(b"".join(found), np.uint8).reshape(-1, WIDTH)
    right = np.zeros(len(answers), bool)
    for each in rows:
        right |= (got == each[: len(answers)]).all(axis=1)
    return bool(right.all())


@contextmanager
def _writing(bench: Bench, engine: SnapshotStore, batches: list[tuple[Any, int]]) -> Iterator[None]:
    """Put the batches over and over in a thread meanwhile; record how many records that were."""
    stop, written = threading.Event(), [0]

    def write() -> None:
        for items, count in cycle(batches):
            if stop.is_set():
                return
            engine.put_many(items)
            written[0] += count

    with ThreadPoolExecutor(1) as pool:
        began = time.perf_counter()
        writer = pool.submit(write)
        try:
            yield
        finally:
            stop.set()
        writer.result()
    bench.seconds("written_beside", time.perf_counter() - began, written[0])


def _threads(bench: Bench, engine: SnapshotStore, held: Held) -> None:
    if len(os.sched_getaffinity(0)) < 2:  # noqa: PLR2004 - a processor each
        for cell in ("threads_one", "threads_two"):
            bench.lacks(cell, "had one processor only")
        return
    places = np.random.default_rng(SEED + 6).permutation(len(held.keys))
    parts = np.array_split(places, -(-len(places) // _KEYS_OF_A_CALL))
    calls = [engine.batch_keys(held.keys[part]) for part in parts]

    def read(some: list[Any]) -> None:
        for many in some:
            engine.get_many(many)

    def shared(count: int) -> float:
        return in_threads([lambda some=calls[at::count]: read(some) for at in range(count)])  # type: ignore[misc]

    bench.in_turn({"threads_one": lambda: shared(1), "threads_two": lambda: shared(2)}, len(places))
    # The timed gets were dropped; the same calls, once more in two threads, check their answers.
    answers: list[list[bytes]] = [[] for _ in calls]

    def keep(first: int) -> None:
        for at in range(first, len(calls), 2):
            answers[at] = list(engine.get_many(calls[at]))

    in_threads([lambda: keep(0), lambda: keep(1)])
    right = all(split(held.rows(part)) == got for part, got in zip(parts, answers, strict=True))
    bench.check("threads_two", right=right)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
