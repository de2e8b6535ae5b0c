"""Random programs of public calls beside a model, with images, compactions, reopenings and kills.

A program is a list of calls that hypothesis draws and shrinks. It runs in forked processes, one for each life
of the store. A life ends by a close or by SIGKILL, in the middle of a call or between two, and the next life
compares everything. Keys ascend, descend and repeat, arrive near others and far from them, and leave by range
at the front; segments are small or of the default size.

ALEXPY_PROGRAM_SECONDS makes it go on that long with programs that were never tried (`make program`).
"""

from __future__ import annotations

import bisect
import copy
import os
import shutil
import signal
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("ALEXPY_PROGRAM_SECONDS", "0"))
EDGE = (-(2**63), -1, 0, 2**63 - 1)


@dataclass(frozen=True)
class Key:
    """A key, chosen when the call is made: beside a present key, next to the highest, or anywhere."""

    kind: str
    number: int

    def among(self, keys: list[int], counter: int) -> int:
        match self.kind:
            case "next":
                return counter + self.number % 4
            case "near" if keys:
                return _clamped(keys[self.number % len(keys)] + self.number % 3 - 1)
            case "edge":
                return EDGE[self.number % 4]
            case _:
                return self.number


def _clamped(key: int) -> int:
    return max(-(2**63), min(key, 2**63 - 1))


KEYS = st.one_of(
    st.builds(Key, st.just("next"), st.integers(0, 3)),
    st.builds(Key, st.just("near"), st.integers(0, 10_000)),
    st.builds(Key, st.just("wide"), st.integers(-(2**63), 2**63 - 1)),
    st.builds(Key, st.just("small"), st.integers(-50, 50)),
    st.builds(Key, st.just("edge"), st.integers(0, 3)),
)
SIZES = st.sampled_from([0, 1, 8, 100, 100, 1000, 5000, 70_000])
RUNS = st.sampled_from([1, 2, 50, 50, 300, 2000])


@dataclass(frozen=True)
class Call:
    """One call of a program: its name and what was drawn for it."""

    name: str
    drawn: tuple[Any, ...] = ()


def call(name: str, *drawn: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.builds(Call, st.just(name), st.tuples(*drawn))


CALLS = st.one_of(
    call("put", KEYS, SIZES),
    call("run", KEYS, RUNS, st.sampled_from([-1, 1, 1, 1, 7]), SIZES),
    call("run", st.just(Key("next", 1)), RUNS, st.just(1), SIZES),
    call("scatter", st.integers(0, 2**32), RUNS, st.integers(4, 60), SIZES),
    call("delete", KEYS),
    call("delete_many", st.integers(0, 10_000), RUNS, st.integers(1, 5)),
    call("delete_range", KEYS, KEYS),
    call("trim", st.sampled_from([2, 2, 3, 10])),
    call("pop", st.booleans()),
    call("batch", st.lists(st.tuples(KEYS, st.one_of(st.none(), SIZES)), max_size=20), st.booleans()),
    call("add_many", KEYS, st.sampled_from([1, 20, 200]), st.integers(-5, 2**40)),
    call("compare_and_set", KEYS, st.booleans(), SIZES),
    call("setdefault", KEYS, SIZES),
    call("clear"),
    call("reads", KEYS, KEYS),
    call("care", st.sampled_from(["flush", "checkpoint", "checkpoint", "compact", "compact", "reader"])),
    call("care", st.sampled_from(["verify", "backup", "reader"])),
)
ENDS = st.sampled_from(["close", "kill", "kill at any moment"])
OPTIONS = st.fixed_dictionaries(
    {
        "segment_bytes": st.sampled_from([4096, 16384, 1 << 20, 64 << 20]),
        "checkpoint_tail_bytes": st.sampled_from([1, 10_000, 64 << 20]),
        "durability": st.sampled_from(["interval", "sync", "os"]),
        "background": st.booleans(),
        "read_mode": st.sampled_from(["mmap", "pread"]),
        "write_mode": st.sampled_from(["auto", "pwrite"]),
    }
)


@dataclass(frozen=True)
class Lived:
    """One life of a store: how it is opened, its calls, and how and when it ends."""

    options: dict[str, Any]
    calls: list[Call]
    end: str
    milliseconds: int


LIVES = st.lists(
    st.builds(Lived, OPTIONS, st.lists(CALLS, max_size=12), ENDS, st.integers(0, 40)), min_size=1, max_size=5
)


@dataclass
class Model:
    """What the store holds."""

    items: dict[int, bytes] = field(default_factory=dict)
    keys: list[int] = field(default_factory=list)
    counter: int = 0
    number: int = 0

    def value(self, size: int) -> bytes:
        self.number += 1
        return (b"%d;" % self.number * (size // 2 + 1))[:size]

    def put(self, key: int, value: bytes) -> None:
        if key not in self.items:
            bisect.insort(self.keys, key)
        self.items[key] = value
        if self.counter <= key < 2**62:
            self.counter = key + 1

    def delete(self, key: int) -> bool:
        if key not in self.items:
            return False
        del self.items[key]
        del self.keys[bisect.bisect_left(self.keys, key)]
        return True

    def between(self, start: int, stop: int) -> list[int]:
        return self.keys[bisect.bisect_left(self.keys, start) : bisect.bisect_left(self.keys, stop)]


class Life:
    """Makes calls on a model and, where there is one, on a store, each of whose answers must be the model's.

    A call is one commit at most, so that a kill in its middle leaves all of it or nothing.
    """

    def __init__(self, model: Model, store: alexpy.Store | None = None, path: Path | None = None) -> None:
        self.model = model
        self.store = store
        self.path = path

    def make(self, which: Call) -> None:
        getattr(self, which.name)(*which.drawn)

    def key(self, key: Key) -> int:
        return key.among(self.model.keys, self.model.counter)

    def put(self, key: Key, size: int) -> None:
        place, value = self.key(key), self.model.value(size)
        if self.store is not None:
            self.store[place] = value
        self.model.put(place, value)

    def put_many(self, keys: list[int], size: int) -> None:
        value = self.model.value(min(size, 1000))
        if self.store is not None:
            assert self.store.put_many(np.array(keys, np.int64), [value] * len(keys)) == len(set(keys))
        for key in keys:
            self.model.put(key, value)

    def run(self, start: Key, count: int, step: int, size: int) -> None:
        first = self.key(start)
        self.put_many([_clamped(first + number * step) for number in range(count)], size)

    def scatter(self, seed: int, count: int, bits: int, size: int) -> None:
        keys = np.random.default_rng(seed).integers(-(1 << bits), 1 << bits, count)
        self.put_many([int(key) for key in keys], size)

    def delete(self, key: Key) -> None:
        place = self.key(key)
        there = self.model.delete(place)
        if self.store is not None:
            assert self.store.delete(place) == there

    def delete_many(self, first: int, count: int, step: int) -> None:
        first %= len(self.model.keys) + 1
        keys = [*self.model.keys[first : first + count * step : step], 12345]
        there = sum(self.model.delete(key) for key in keys)
        if self.store is not None:
            assert self.store.delete_many(keys) == there

    def _delete_range(self, start: int | None, stop: int, keys: list[int]) -> None:
        if self.store is not None:
            assert self.store.delete_range(start, stop) == len(keys)
        for key in keys:
            self.model.delete(key)

    def delete_range(self, a: Key, b: Key) -> None:
        start, stop = sorted((self.key(a), self.key(b)))
        self._delete_range(start, stop, self.model.between(start, stop))

    def trim(self, share: int) -> None:
        keys = self.model.keys[: len(self.model.keys) // share]
        if keys:
            self._delete_range(None, keys[-1] + 1, keys)

    def pop(self, last: bool) -> None:
        if self.model.keys:
            key = self.model.keys[-1 if last else 0]
            if self.store is not None:
                assert self.store.popitem(last=last) == (key, self.model.items[key])
            self.model.delete(key)

    def batch(self, entries: list[tuple[Key, int | None]], sync: bool) -> None:
        changes = [(self.key(key), None if size is None else self.model.value(size)) for key, size in entries]
        if self.store is not None:
            with self.store.batch(sync=sync) as batch:
                for key, value in changes:
                    if value is None:
                        batch.delete_range(key, key + 3)
                    else:
                        batch.put(key, value)
        for key, value in changes:
            if value is None:
                for gone in self.model.between(key, key + 3):
                    self.model.delete(gone)
            else:
                self.model.put(key, value)

    def add_many(self, key: Key, count: int, delta: int) -> None:
        first = self.key(key)
        keys = [_clamped(first + number * number) for number in range(count)]
        if any(len(self.model.items.get(key, bytes(8))) != 8 for key in keys):
            if self.store is not None:
                with pytest.raises(ValueError, match="a counter has 8"):
                    self.store.add_many(keys, delta)
            return
        totals = []
        for key_ in keys:
            total = int.from_bytes(self.model.items.get(key_, bytes(8)), "little", signed=True) + delta
            totals.append(total)
            self.model.put(key_, total.to_bytes(8, "little", signed=True))
        if self.store is not None:
            assert self.store.add_many(keys, delta).tolist() == totals

    def compare_and_set(self, key: Key, right: bool, size: int) -> None:
        place, new = self.key(key), self.model.value(size)
        expected = self.model.items.get(place) if right else b"not this"
        equal = self.model.items.get(place) == expected
        if self.store is not None:
            assert self.store.compare_and_set(place, expected, new) == equal
        if equal:
            self.model.put(place, new)

    def setdefault(self, key: Key, size: int) -> None:
        place, value = self.key(key), self.model.value(size)
        there = self.model.items.get(place)
        if self.store is not None:
            assert self.store.setdefault(place, value) == (value if there is None else there)
        if there is None:
            self.model.put(place, value)

    def clear(self) -> None:
        if self.store is not None:
            self.store.clear()
        self.model.items.clear()
        self.model.keys.clear()

    def care(self, how: str) -> None:
        if self.store is not None and self.path is not None:
            Care(self.store, self.path, self.model).take(how)

    def reads(self, a: Key, b: Key) -> None:
        if self.store is None:
            return
        keys, items = self.model.keys, self.model.items
        low, high = sorted((self.key(a), self.key(b)))
        at = bisect.bisect_right(keys, low)
        assert self.store.floor(low) == ((keys[at - 1], items[keys[at - 1]]) if at else None)
        inside = self.model.between(low, high)
        assert self.store.count(low, high) == len(inside)
        assert self.store.rank(low) == bisect.bisect_left(keys, low)
        assert self.store.keys_array(low, high).tolist() == inside
        if keys:
            assert self.store.nth(-1 - at // 2) == (keys[-1 - at // 2], items[keys[-1 - at // 2]])
            assert self.store.nth(len(keys) // 2)[0] == keys[len(keys) // 2]
        assert list(self.store.scan(low, high, limit=100)) == [(key, items[key]) for key in inside[:100]]
        assert list(self.store.scan_keys(low, high, reverse=True, limit=9)) == inside[::-1][:9]
        probes = [*keys[:: len(keys) // 50 + 1], low, high]
        found_keys, buffers = self.store.floor_many(probes)
        floors = [bisect.bisect_right(keys, probe) - 1 for probe in probes]
        assert buffers.found.tolist() == [place >= 0 for place in floors]
        assert found_keys.tolist() == [keys[place] if place >= 0 else 0 for place in floors]
        assert self.store.get_many(probes) == [items.get(key) for key in probes]
        assert self.store.contains_many(probes).tolist() == [key in items for key in probes]


@dataclass(frozen=True)
class Care:
    """Maintenance of a store, beside reading and writing."""

    store: alexpy.Store
    path: Path
    model: Model

    def take(self, how: str) -> None:
        match how:
            case "flush":
                self.store.flush()
                stats = self.store.stats()
                assert stats.durable_seq <= stats.last_seq
            case "checkpoint":
                self.store.checkpoint()
            case "compact":
                self.store.compact()
            case "verify":
                assert self.store.verify().ok
            case "reader":
                with alexpy.open(self.path, read_only=True) as reader:
                    compare(reader, self.model)
            case "backup":
                target = self.path.with_name(f"copy-{os.getpid()}-{self.model.number}")
                self.store.backup(target)
                with alexpy.open(target, read_only=True) as opened:
                    compare(opened, self.model)
                shutil.rmtree(target)


def compare(store: alexpy.Store, model: Model) -> None:
    assert len(store) == len(model.keys)
    found = dict(store.items())
    wrong = [key for key in found.keys() | model.items.keys() if found.get(key) != model.items.get(key)]
    assert not wrong, f"{len(wrong)} keys differ, among them {sorted(wrong)[:5]}"


def _holds(store: alexpy.Store, model: Model) -> bool:
    return len(store) == len(model.keys) and dict(store.items()) == model.items


def live(path: Path, models: list[Model], life: Lived, say: Callable[[str], None]) -> None:
    """Open the store, which must be as one of `models`, and make the calls, saying how far it is."""
    store = alexpy.open(path, **life.options)
    which = next((number for number, model in enumerate(models) if _holds(store, model)), None)
    if which is None:
        compare(store, models[-1])
    assert which is not None
    say(f"is {which}")
    calls = Life(models[which], store, path)
    for number, one in enumerate(life.calls):
        calls.make(one)
        say(f"done {number + 1}")
    if life.end == "close":
        store.close()
        say("closed")
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def in_child(path: Path, models: list[Model], life: Lived) -> list[Model]:
    """Run one life in a process of its own; return what the store may hold after it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            live(path, models, life, lambda what: void(os.write(writing, f"{what}\n".encode())))
        except BaseException:  # noqa: BLE001 - whatever it is, the test must see it
            os.write(writing, f"failed {traceback.format_exc()!r}\n".encode())
        os._exit(0)
    os.close(writing)
    if life.end == "kill at any moment":
        time.sleep(life.milliseconds / 1000)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        said = pipe.read().splitlines()
    os.waitpid(child, 0)
    failed = [line for line in said if line.startswith("failed")]
    assert not failed, failed[0].encode().decode("unicode_escape")
    if not said:
        assert life.end == "kill at any moment"
        return models
    model = models[int(said[0].removeprefix("is "))]
    done = len([line for line in said if line.startswith("done")])
    calls = Life(model)
    for one in life.calls[:done]:
        calls.make(one)
    if done == len(life.calls):
        return [model]
    # Killed in this call, or right before or after it.
    further = Life(copy.deepcopy(model))
    further.make(life.calls[done])
    return [model, further.model]


def void(_: object) -> None:
    """Return nothing."""


def run_program(lives: list[Lived]) -> None:
    with tempfile.TemporaryDirectory(prefix="alexpy-program-") as folder:
        path, models = Path(folder) / "store", [Model()]
        for life in [*lives, Lived({}, [Call("care", ("verify",))], "close", 0)]:
            models = in_child(path, models, life)


@settings(max_examples=25)
@given(LIVES)
def test_a_random_program_of_public_calls_with_images_compactions_reopenings_and_kills(
    lives: list[Lived],
) -> None:
    run_program(lives)


@pytest.mark.skipif(SECONDS == 0, reason="`make program` runs it for ALEXPY_PROGRAM_SECONDS")
@pytest.mark.timeout(0)
def test_random_programs_for_as_long_as_asked() -> None:
    end, programs = time.monotonic() + SECONDS, 0

    @settings(max_examples=200, database=None)
    @given(LIVES)
    def some(lives: list[Lived]) -> None:
        nonlocal programs
        programs += 1
        if time.monotonic() < end:
            run_program(lives)

    while time.monotonic() < end:
        some()
    print(f"{programs:,} programs")
