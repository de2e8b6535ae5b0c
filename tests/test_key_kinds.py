"""Keys that are unsigned integers, moments or UUIDs: what goes in and out, what is refused, what is kept.

A machine makes random calls on a store of each kind and on a SortedDict of the integers that its keys are.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import tempfile
import time
import traceback
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sortedcontainers import SortedDict

import alexpy
import alexpy.aio
from forked import outcome_in_fork
from kinds import EAST, EPOCH, KINDS, OTHERS, UNITS, UUID, Kind, around, some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DATA = Path(__file__).with_name("data") / "format-1"
# What Python says of forks in programs with threads, of which a test program has some.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

Model: TypeAlias = "SortedDict[int, Any]"
Bound = int | None


@dataclass(frozen=True)
class Values:
    """The codec of a machine's store, how it makes a value of ASCII, and what lies in memory for one."""

    codec: alexpy.Codec[Any] | None
    make: Callable[[bytes], Any]
    raw: Callable[[Any], bytes]
    other: Any
    """A value that is never written."""

    def joined(self, values: Iterable[Any]) -> bytes:
        """Return the memory of many values, of which None has none."""
        return b"".join(b"" if value is None else self.raw(value) for value in values)


def reverse(data: bytes) -> bytes:
    return bytes(data)[::-1]


PLAIN = Values(None, bytes, bytes, b"another")
VALUES = (
    PLAIN,
    Values(alexpy.Codec("reversed", reverse, reverse), bytes, reverse, b"another"),
    Values(alexpy.codecs.text, bytes.decode, str.encode, "another"),
)


@pytest.fixture(params=OTHERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


# ---- a machine: random calls on a store and on a SortedDict ----


def between(keys: Iterable[int], start: Bound, stop: Bound, first: bool, last: bool) -> list[int]:
    """Return the keys of a range, by its definition."""
    return [
        key
        for key in keys
        if (start is None or key > start or (first and key == start))
        and (stop is None or key < stop or (last and key == stop))
    ]


def neighbours(kind: Kind, reads: Any, model: Model, number: int, form: int, values: Values = PLAIN) -> None:
    """Compare the calls that ask for one key or for what lies around it."""
    key, items = kind.ones[form % len(kind.ones)](number), list(model.items())
    below, upto = model.bisect_left(number), model.bisect_right(number)
    assert reads.get(key) == model.get(number)
    keys = reads.keys()
    assert (key in reads) == (key in keys) == (number in model)
    if number in model:
        assert reads[key] == model[number]
        assert (key, model[number]) in reads.items()
        assert (key, values.other) not in reads.items()
    else:
        with pytest.raises(KeyError):
            reads[key]
        assert (key, values.make(b"")) not in reads.items()
    assert reads.rank(key) == below
    assert kind.item(reads.lower(key)) == (items[below - 1] if below else None)
    assert kind.item(reads.floor(key)) == (items[upto - 1] if upto else None)
    assert kind.item(reads.ceiling(key)) == (items[below] if below < len(items) else None)
    assert kind.item(reads.higher(key)) == (items[upto] if upto < len(items) else None)


def of_many(
    kind: Kind, reads: Any, model: Model, numbers: list[int], form: int, values: Values = PLAIN
) -> None:
    """Compare the calls that ask for many keys."""
    wanted = [model.get(number) for number in numbers]
    assert reads.get_many(kind.many(numbers, form)) == wanted
    assert reads.contains_many(kind.many(numbers, form)).tolist() == [number in model for number in numbers]
    buffers = reads.get_buffers(kind.many(numbers, form))
    assert buffers.data.tobytes() == values.joined(wanted)
    assert buffers.found.tolist() == [value is not None for value in wanted]
    items = list(model.items())
    for call, places in (
        (reads.floor_many, [model.bisect_right(number) - 1 for number in numbers]),
        (reads.ceiling_many, [model.bisect_left(number) for number in numbers]),
    ):
        found_keys, buffers = call(kind.many(numbers, form))
        there = [items[place] if 0 <= place < len(items) else None for place in places]
        assert buffers.found.tolist() == [item is not None for item in there]
        assert kind.listed(found_keys) == [item[0] if item else kind.absent for item in there]
        assert buffers.data.tobytes() == values.joined(item[1] if item else None for item in there)


def in_range(
    kind: Kind,
    reads: Any,
    model: Model,
    start: Bound,
    stop: Bound,
    flags: tuple[Any, ...],
    values: Values = PLAIN,
) -> None:
    """Compare the calls that read ranges."""
    first, last, reverse, limit = flags

    def end(bound: Bound) -> Any:
        return bound if bound is None or not kind.low <= bound <= kind.high else kind.key(bound)

    bounds = end(start), end(stop)
    options = {"include_start": first, "include_stop": last, "reverse": reverse, "limit": limit}
    inside = between(model, start, stop, first, last)[:: -1 if reverse else 1][:limit]
    items = [(number, model[number]) for number in inside]
    scan = reads.scan(*bounds, **options)
    assert kind.items(scan) == items
    assert [kind.number(key) for key in reads.scan_keys(*bounds, **options)] == inside
    assert list(reads.scan_values(*bounds, **options)) == [value for _, value in items]
    batches = list(reads.scan_batches(*bounds, rows=3, **options))
    assert list(itertools.chain(*(kind.listed(batch.keys) for batch in batches))) == inside
    assert b"".join(batch.data.tobytes() for batch in batches) == values.joined(value for _, value in items)
    half_open = between(model, start, stop, True, False)
    assert reads.count(*bounds) == len(half_open)
    assert kind.listed(reads.keys_array(*bounds)) == half_open


def whole(kind: Kind, reads: Any, model: Model) -> None:
    """Compare the calls that concern all of it."""
    items = list(model.items())
    assert len(reads) == len(items)
    assert kind.items(reads.items()) == items
    assert [kind.number(key) for key in reads] == list(model)
    assert [kind.number(key) for key in reversed(reads)] == list(model)[::-1]
    assert kind.item(reads.first()) == (items[0] if items else None)
    assert kind.item(reads.last()) == (items[-1] if items else None)
    for place in {0, len(items) // 2, len(items) - 1} if items else ():
        assert kind.item(reads.nth(place)) == kind.item(reads.nth(place - len(items))) == items[place]
    with pytest.raises(IndexError):
        reads.nth(len(items))
    assert kind.listed(np.asarray(reads.keys())) == list(model)
    assert sorted(kind.listed(reads.sample(len(items), seed=1))) == list(model)
    parts = reads.split(3)
    assert [*itertools.chain(*(map(kind.number, reads.scan_keys(*part)) for part in parts))] == list(model)
    assert parts[0][0] is None
    assert parts[-1][1] is None
    assert reads == {kind.key(number): value for number, value in items}
    assert reads.key_kind == kind.name


def replayed(kind: Kind, items: dict[int, bytes], changes: Iterable[Any]) -> dict[int, bytes]:
    """Apply a feed of changes to a dict, as one who keeps a copy does."""
    for _, key, value in changes:
        if isinstance(key, alexpy.KeyRange):
            gone = [number for number in items if key.first <= kind.key(number) <= key.last]
        elif isinstance(key, range):
            gone = [number for number in items if number in key]
        else:
            gone = [kind.number(key)]
            if value is not None:
                items[gone.pop()] = value
        for number in gone:
            items.pop(number, None)
    return items


NUMBER = st.runner().flatmap(lambda machine: machine.numbers())
NUMBERS = st.runner().flatmap(lambda machine: st.lists(machine.numbers(), max_size=12))
BOUND = st.runner().flatmap(lambda machine: machine.bounds())
FORM = st.integers(0, 30)
SIZE = st.sampled_from([0, 1, 8, 8, 20, 1500])
FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans(), st.none() | st.integers(0, 5))
OPTIONS = st.fixed_dictionaries(
    {
        "segment_bytes": st.sampled_from([4096, 64 << 10, 64 << 20]),
        "checkpoint_tail_bytes": st.sampled_from([1, 2000, 64 << 20]),
        "durability": st.sampled_from(["interval", "os"]),
        "background": st.booleans(),
        "read_mode": st.sampled_from(["mmap", "pread"]),
    }
)


class Machine(RuleBasedStateMachine):
    """A store of one kind, with a codec or without, beside a SortedDict of the integers of its keys."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.folder = tempfile.TemporaryDirectory(prefix="alexpy-kinds-")
        self.path = Path(self.folder.name) / "store"
        self.model: Model = SortedDict()
        self.kept: list[tuple[alexpy.Snapshot[Any, Any], Model]] = []
        self.reader: alexpy.Store[Any, Any] | None = None
        self.seen: Model = SortedDict()
        self.written = 0
        self.lives = 1

    def numbers(self) -> st.SearchStrategy[int]:
        """Keys that matter, those that are there, and those beside them."""
        if not self.model:
            return self.kind.numbers
        there = around(*self.model, reach=1).map(lambda it: max(self.kind.low, min(it, self.kind.high)))
        return st.one_of(self.kind.numbers, st.sampled_from(list(self.model)), there)

    def bounds(self) -> st.SearchStrategy[Bound]:
        """Ends of ranges, also outside of the kind where that is possible."""
        found = st.none() | self.numbers()
        if self.kind.name.startswith("datetime64"):
            return found
        return found | st.sampled_from([-(2**200), self.kind.low - 1, self.kind.high + 1, 2**200])

    def value(self, size: int) -> Any:
        self.written += 1
        return self.values.make((b"%d;" % self.written * (size // 2 + 1))[:size])

    def one(self, number: int, form: int) -> Any:
        return self.kind.ones[form % len(self.kind.ones)](number)

    def many(self, numbers: list[int], form: int) -> Any:
        return self.kind.many(numbers, form % self.kind.forms)

    @initialize(values=st.sampled_from(VALUES), options=OPTIONS)
    def begin(self, values: Values, options: dict[str, Any]) -> None:
        self.values = values
        self.open_writer(key=self.kind.name, **options)

    def open(self, **options: Any) -> alexpy.Store[Any, Any]:
        return alexpy.open(self.path, codec=self.values.codec, **options)

    def open_writer(self, **options: Any) -> None:
        self.store = self.open(**options)
        self.alone = not options["background"]

    @rule(
        number=NUMBER, form=FORM, size=SIZE, how=st.sampled_from(["put", "item", "absent", "default", "swap"])
    )
    def put(self, number: int, form: int, size: int, how: str) -> None:
        key, value, there = self.one(number, form), self.value(size), self.model.get(number)
        if how == "put":
            self.store.put(key, value)
        elif how == "item":
            self.store[key] = value
        elif how == "absent":
            assert self.store.put_if_absent(key, value) == (there is None)
        elif how == "default":
            assert self.store.setdefault(key, value) == (value if there is None else there)
        else:
            assert self.store.compare_and_set(key, there, value)
        if there is None or how in ("put", "item", "swap"):
            self.model[number] = value

    @rule(numbers=NUMBERS, form=FORM, size=SIZE, how=st.sampled_from(["put", "put", "load", "update"]))
    def put_many(self, numbers: list[int], form: int, size: int, how: str) -> None:
        values = [self.value(size) for _ in numbers]
        keys = self.many(numbers, form)
        if how == "put":
            assert self.store.put_many(keys, values) == len(set(numbers))
        elif how == "load":
            assert self.store.bulk_load(keys, values) == len(set(numbers))
        else:
            pairs = zip(numbers, values, strict=True)
            self.store.update((self.one(number, form), value) for number, value in pairs)
        self.model.update(zip(numbers, values, strict=True))

    @rule(first=NUMBER, count=st.integers(50, 400), step=st.sampled_from([1, 3, 2**40]), size=SIZE)
    def put_run(self, first: int, count: int, step: int, size: int) -> None:
        numbers = [number for number in range(first, first + count * step, step) if number <= self.kind.high]
        value = self.value(size)
        self.store.put_many(self.kind.arrays[0](numbers), [value] * len(numbers))
        self.model.update(dict.fromkeys(numbers, value))

    @rule(number=NUMBER, form=FORM, how=st.sampled_from(["delete", "del", "pop"]))
    def delete(self, number: int, form: int, how: str) -> None:
        key, there = self.one(number, form), self.model.pop(number, None)
        if how == "delete":
            assert self.store.delete(key) == (there is not None)
        elif how == "pop":
            assert self.store.pop(key, None) == there
        elif there is not None:
            del self.store[key]
        else:
            with pytest.raises(KeyError):
                del self.store[key]

    @rule(last=st.booleans())
    def pop_item(self, last: bool) -> None:
        if self.model:
            assert self.kind.item(self.store.popitem(last=last)) == self.model.popitem(-1 if last else 0)
        else:
            with pytest.raises(KeyError):
                self.store.popitem(last=last)

    @rule(numbers=NUMBERS, form=FORM)
    def delete_many(self, numbers: list[int], form: int) -> None:
        there = [number for number in set(numbers) if self.model.pop(number, None) is not None]
        assert self.store.delete_many(self.many(numbers, form)) == len(there)

    def remove(self, start: Bound, stop: Bound) -> int:
        gone = between(self.model, start, stop, True, False)
        for number in gone:
            del self.model[number]
        return len(gone)

    def end(self, bound: Bound) -> Any:
        outside = bound is None or not self.kind.low <= bound <= self.kind.high
        return bound if outside else self.kind.key(bound)  # type: ignore[arg-type]

    @rule(start=BOUND, stop=BOUND)
    def delete_range(self, start: Bound, stop: Bound) -> None:
        if start is None and stop is None:
            with pytest.raises(TypeError, match="clear"):
                self.store.delete_range()
        else:
            found = self.store.delete_range(self.end(start), self.end(stop))
            assert found == self.remove(start, stop)

    @rule(chance=st.integers(0, 9))
    def clear(self, chance: int) -> None:
        if chance == 0:
            self.store.clear()
            self.model.clear()

    @rule(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["put", "put", "many", "delete", "gone", "range"]), NUMBER, NUMBER, FORM
            ),
            max_size=8,
        ),
        size=SIZE,
        discard=st.booleans(),
    )
    def batch(self, steps: list[tuple[str, int, int, int]], size: int, discard: bool) -> None:
        model = self.model.copy()
        batch = self.store.batch()
        for what, number, other, form in steps:
            value, numbers = self.value(size), [number, other]
            if what == "put":
                batch[self.one(number, form)] = value
                self.model[number] = value
            elif what == "many":
                batch.put_many(self.many(numbers, form), [value, value])
                self.model.update(dict.fromkeys(numbers, value))
            elif what == "delete":
                batch.delete(self.one(number, form))
                self.model.pop(number, None)
            elif what == "gone":
                batch.delete_many(self.many(numbers, form))
                self.model.pop(number, None)
                self.model.pop(other, None)
            else:
                batch.delete_range(self.kind.key(number), self.kind.key(other))
                self.remove(number, other)
        if discard:
            batch.discard()
            self.model = model
        else:
            batch.commit()

    @rule(numbers=NUMBERS, form=FORM, delta=st.integers(-5, 2**40))
    def add_many(self, numbers: list[int], form: int, delta: int) -> None:
        if self.values.codec is not None:
            with pytest.raises(TypeError, match=f"the codec of this store is {self.values.codec.name}"):
                self.store.add_many(self.many(numbers, form), delta)
            return
        if any(len(self.model.get(number, bytes(8))) != 8 for number in numbers):
            with pytest.raises(ValueError, match="a counter has 8"):
                self.store.add_many(self.many(numbers, form), delta)
            return
        totals, wrapped = [], False
        added: dict[int, int] = {}
        for number in numbers:
            before = int.from_bytes(self.model.get(number, bytes(8)), "little", signed=True)
            added[number] = added.get(number, before) + delta
            totals.append(added[number])
            wrapped = wrapped or not -(2**63) <= added[number] < 2**63
        if wrapped:
            with pytest.raises(OverflowError):
                self.store.add_many(self.many(numbers, form), delta)
            return
        assert len(self.store.add_many(self.many(numbers, form), delta)) == len(totals)
        for number, total in added.items():
            self.model[number] = total.to_bytes(8, "little", signed=True)

    # Reads, of the store as it is, of what was kept, and of a follower.

    def sources(self) -> list[tuple[Any, Model]]:
        found = [(self.store, self.model), *self.kept]
        return found if self.reader is None else [*found, (self.reader, self.seen)]

    @rule(number=NUMBER, numbers=NUMBERS, form=FORM)
    def look_at_keys(self, number: int, numbers: list[int], form: int) -> None:
        for reads, model in self.sources():
            neighbours(self.kind, reads, model, number, form, self.values)
            of_many(self.kind, reads, model, numbers, form % self.kind.forms, self.values)

    @rule(start=BOUND, stop=BOUND, flags=FLAGS)
    def look_at_a_range(self, start: Bound, stop: Bound, flags: tuple[Any, ...]) -> None:
        for reads, model in self.sources():
            in_range(self.kind, reads, model, start, stop, flags, self.values)

    @rule()
    def look_at_all(self) -> None:
        for reads, model in self.sources():
            whole(self.kind, reads, model)

    @rule()
    def keep(self) -> None:
        if len(self.kept) == 3:
            self.kept.pop(0)[0].close()
        self.kept.append((self.store.snapshot(), self.model.copy()))

    @precondition(lambda self: self.reader is None)
    @rule(mode=st.sampled_from(["mmap", "pread"]))
    def follow(self, mode: Any) -> None:
        self.reader = self.open(read_only=True, read_mode=mode)
        self.seen = self.model.copy()

    @precondition(lambda self: self.reader is not None)
    @rule()
    def refresh(self) -> None:
        assert self.reader is not None
        assert self.reader.refresh() == self.store.stats().last_seq
        self.seen = self.model.copy()
        whole(self.kind, self.reader, self.seen)

    @rule(how=st.sampled_from(["flush", "checkpoint", "checkpoint", "compact", "compact", "verify"]))
    def care(self, how: str) -> None:
        found = getattr(self.store, how)()
        assert how != "verify" or found.ok, found

    @rule()
    def replay(self) -> None:
        try:
            found = replayed(self.kind, {}, self.store.changes(since=0))
        except alexpy.HistoryGoneError:
            return
        assert found == dict(self.model)

    @rule()
    def replay_onto_a_snapshot(self) -> None:
        for snapshot, model in self.kept:
            try:
                found = replayed(self.kind, dict(model), self.store.changes(since=snapshot.seq))
            except alexpy.HistoryGoneError:
                continue
            assert found == dict(self.model)

    @rule(named=st.booleans(), options=OPTIONS)
    def reopen(self, named: bool, options: dict[str, Any]) -> None:
        self.store.close()
        self.kept.clear()
        key = self.kind.name if named else None
        self.open_writer(key=key, **options)
        whole(self.kind, self.store, self.model)

    @precondition(lambda self: self.alone)
    @rule(options=OPTIONS)
    def kill(self, options: dict[str, Any]) -> None:
        """Go on with what a killed writer would leave: its files as they are between two calls.

        Without a background nobody changes them while they are copied.
        """
        self.lives += 1
        left = Path(self.folder.name) / f"life {self.lives}"
        shutil.copytree(self.path, left)
        self.store.close()
        self.kept.clear()
        if self.reader is not None:
            # It goes on showing the store that it opened.
            self.reader.refresh()
            whole(self.kind, self.reader, self.model)
            self.reader.close()
            self.reader = None
        self.path = left
        self.open_writer(**options)
        whole(self.kind, self.store, self.model)

    def teardown(self) -> None:
        try:
            if hasattr(self, "store"):
                self.look_at_all()
        finally:
            for opened in (self.reader, getattr(self, "store", None)):
                if opened is not None:
                    opened.close()
            self.folder.cleanup()


@pytest.mark.parametrize("name", KINDS)
def test_a_store_of_any_kind_of_keys_is_a_sorted_dict(name: str) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Machine(KINDS[name]), settings=settings(max_examples=15, stateful_step_count=30)
    )


# ---- accepted forms ----


@pytest.mark.parametrize("form", range(20))
def test_every_form_of_many_keys_is_stored_as_the_same_keys(tmp_path: Path, kind: Kind, form: int) -> None:
    numbers = some(kind, 60)
    with alexpy.open(tmp_path / "store", key=kind.name) as store:
        store.put_many(kind.many(numbers, form % kind.forms), [b"%d" % number for number in numbers])
        assert kind.listed(store.keys_array()) == numbers
        assert store.get_many(kind.many(numbers[::-1], form % kind.forms)) == [
            b"%d" % it for it in numbers[::-1]
        ]
        assert store.get_many(kind.many([], form % kind.forms)) == []
        assert store.get_many(store.keys_array()) == list(store.values())
        assert store.delete_many(kind.many(numbers, form % kind.forms)) == len(numbers)


def test_every_form_of_one_key_is_the_same_key(tmp_path: Path, kind: Kind) -> None:
    with alexpy.open(tmp_path / "store", key=kind.name) as store:
        for number in some(kind, 40):
            for place, form in enumerate(kind.ones):
                store[form(number)] = b"%d" % place
                assert len(store) == 1
                assert store.get_view(form(number)) == b"%d" % place
            assert kind.item(store.popitem()) == (number, b"%d" % (len(kind.ones) - 1))


def test_keys_keep_the_nuls_at_their_ends(tmp_path: Path) -> None:
    keys = [bytes(16), b"\x01" + bytes(15), b"ab" * 4 + bytes(8), bytes(15) + b"\x01"]
    with alexpy.open(tmp_path / "store", key="uuid") as store:
        for dtype in ("S16", "V16"):
            array_of = np.array(keys, dtype)
            store.put_many(array_of, keys)
            assert [key.bytes for key in store] == sorted(keys)
            assert store.get_many(array_of) == keys
            assert [store[one] for one in array_of] == keys
            store.clear()


def test_words_are_high_and_low(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", key="uuid") as store:
        store.put_many(np.array([[1, 0], [0, 2**64 - 1]], np.uint64), [b"high", b"low"])
        assert [(key.int, value) for key, value in store.items()] == [(2**64 - 1, b"low"), (2**64, b"high")]


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u4", "<u8", ">u8", "i1", ">i8"])
def test_integers_of_any_width_and_byte_order_are_unsigned_keys(tmp_path: Path, dtype: str) -> None:
    top = int(np.iinfo(dtype).max)
    keys = np.array([0, 1, top], dtype)
    with alexpy.open(tmp_path / "store", key="uint64") as store:
        store.put_many(keys[::-1], [b"top", b"1", b"0"])
        assert list(store.items()) == [(0, b"0"), (1, b"1"), (top, b"top")]
        assert store[keys[2]] == b"top"
        assert store.sample(3, seed=1).dtype == np.uint64


@pytest.mark.parametrize("unit", UNITS)
def test_moments_of_other_units_are_converted_if_exact(tmp_path: Path, unit: str) -> None:
    day = np.datetime64("2026-10-01")
    forms = [day.astype(f"M8[{of}]") for of in ("M", "D", "h", "m", "s", "ms", "us", "ns")]
    forms += [day.astype("M8[12h]"), day.astype(dt.date), day.astype("M8[us]").astype(dt.datetime)]
    forms += [np.datetime64("1970", of) for of in ("Y", "ps", "fs", "as")]
    with alexpy.open(tmp_path / "store", key=f"datetime64[{unit}]") as store:
        for form in forms:
            store[form] = b"one"
            if isinstance(form, np.datetime64):
                array_of = np.array([form])
                assert store.put_many(array_of, [b"many"]) == 1
                assert store.put_many(array_of.astype(array_of.dtype.newbyteorder(">")), [b"many"]) == 1
        assert store.keys_array().tolist() == np.array([0, day], store.key_kind).tolist()


def test_aware_moments_are_converted_to_utc_and_naive_ones_taken_as_they_are(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    naive = dt.datetime(2026, 10, 1, 12, 30, 0, 250)  # noqa: DTZ001 - as above
    aware = naive.replace(tzinfo=dt.UTC).astimezone(EAST)
    stamp = pandas.Timestamp(naive)
    frame = pandas.DatetimeIndex([stamp])
    with alexpy.open(tmp_path / "store", key="datetime64[us]") as store:
        for one in (naive, aware, stamp, stamp.tz_localize("UTC").tz_convert("Asia/Kolkata")):
            store[one] = b"one"
        for many in (
            frame,
            pandas.Series(frame),
            frame.tz_localize("UTC").tz_convert("Asia/Kolkata"),
            [aware],
        ):
            store.put_many(many, [b"many"])
            assert store.get_many(many) == [b"many"]
        assert list(store) == [np.datetime64(naive, "us")]
        assert pandas.DatetimeIndex(store.keys_array())[0] == stamp
        assert store.floor(dt.date(2026, 10, 2)) == (np.datetime64(naive, "us"), b"many")
        assert store.count(dt.date(2026, 10, 1), dt.date(2026, 10, 2)) == 1
        with pytest.raises(ValueError, match="no whole number of us"):
            store[pandas.Timestamp(1, unit="ns")] = b""


def test_columns_of_arrow_have_the_type_of_the_keys_and_are_taken_as_keys(tmp_path: Path, kind: Kind) -> None:
    numbers = some(kind, 50)
    with alexpy.open(tmp_path / "store", key=kind.name) as store:
        store.put_many(kind.arrays[0](numbers), [b"%d" % number for number in numbers])
        for reads in (store, store.snapshot()):
            table = pa.table(reads.to_arrow())
            unit = kind.name.partition("[")[2].rstrip("]")
            wanted = {"uuid": pa.binary(16), "uint64": pa.uint64()}.get(kind.name) or pa.timestamp(unit)
            assert table["key"].type == wanted
            column = table["key"]
            assert reads.get_many(column) == table["value"].to_pylist() == list(store.values())
            assert reads.get_many(column.combine_chunks()[3:9]) == list(store.values())[3:9]
            assert reads.get_many(column[:0]) == []
        nulls = pa.chunked_array([column.combine_chunks()[:1], pa.array([None], column.type)])
        with pytest.raises(TypeError, match="null"):
            store.get_many(nulls)


def test_asyncio_has_keys_of_the_kind(tmp_path: Path, kind: Kind) -> None:
    keys = [kind.key(number) for number in some(kind, 10)]

    async def main() -> None:
        async with alexpy.aio.open(tmp_path / "store", key=kind.name) as store:  # type: ignore[call-overload]
            await store.put_many(keys, [b"value"] * len(keys))
            assert [key async for key, _ in store.scan()] == keys
            assert await store.floor(keys[3]) == (keys[3], b"value")
            assert (await store.keys_array()).dtype == kind.dtype

    asyncio.run(main())


def test_a_feed_of_changes_names_the_ends_of_what_was_removed_at_once(tmp_path: Path, kind: Kind) -> None:
    numbers = some(kind, 30)
    with alexpy.open(tmp_path / "store", key=kind.name) as store:
        for remove in (store.clear, lambda: store.delete_range(None, kind.key(numbers[-1]))):
            store.put_many(kind.arrays[0](numbers), [b""] * 30)
            seq = store.stats().last_seq
            remove()
            (change,) = store.changes(since=seq)
            assert change.value is None
            assert replayed(kind, dict.fromkeys(numbers, b""), [change]).keys() == set(
                map(kind.number, store)
            )


# ---- refusals: the exact exception, what to do, and nothing written ----

NO_KEYS: dict[str, list[tuple[Any, type[Exception], str]]] = {
    "uuid": [
        (
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            TypeError,
            r"is a str.*uuid\.UUID\(key\) reads one from text",
        ),
        (1.0, TypeError, "is a float; keys here have 128 bits"),
        (None, TypeError, "is None; keys here have 128 bits"),
        (True, TypeError, "is a bool"),
        (-1, OverflowError, r"is -1, outside uuid \(0 to 2\*\*128-1\)"),
        (2**128, OverflowError, "outside uuid"),
        (b"short", ValueError, "has 5 bytes, and keys here have 16"),
        (bytes(17), ValueError, "has 17 bytes, and keys here have 16"),
        (np.datetime64(1, "s"), TypeError, "is a datetime64; keys here have 128 bits"),
    ],
    "uint64": [
        ("1", TypeError, r"is a str.*int\(key\) reads one from text"),
        (1.0, TypeError, "is a float; keys here are unsigned integers"),
        (None, TypeError, "is None; keys here are unsigned integers"),
        (np.True_, TypeError, "is a bool"),
        (-1, OverflowError, r"is -1, outside uint64 \(0 to 2\*\*64-1\)"),
        (2**64, OverflowError, "is 18446744073709551616, outside uint64"),
        (np.int8(-5), OverflowError, "is -5, outside uint64"),
        (b"1", TypeError, "is a bytes; keys here are unsigned integers"),
        (uuid.UUID(int=1), TypeError, "is a UUID; keys here are unsigned integers"),
    ],
    "datetime64[ms]": [
        ("2026-10-01", TypeError, r"is a str.*numpy\.datetime64\(key\) reads one from text"),
        (1, TypeError, r"is an int; keys here are moments \(datetime64\[ms\]\)"),
        (1.5, TypeError, "is a float; keys here are moments"),
        (None, TypeError, "is None; keys here are moments"),
        (np.timedelta64(1, "ms"), TypeError, "is a timedelta64; keys here are moments"),
        (dt.time(12), TypeError, "is a time; keys here are moments"),
        (np.datetime64("NaT"), ValueError, "is NaT, which is no moment"),
        (np.datetime64("NaT", "ms"), ValueError, "is NaT, which is no moment"),
        (np.datetime64(1, "us"), ValueError, "which is no whole number of ms"),
        (EPOCH.replace(microsecond=1), ValueError, "which is no whole number of ms"),
        (np.datetime64(2**62, "s"), ValueError, r"which is outside datetime64\[ms\]"),
        (np.datetime64(2**60, "Y"), ValueError, r"which is outside datetime64\[ms\]"),
    ],
}
NO_ARRAYS: dict[str, list[tuple[Any, type[Exception], str]]] = {
    "uuid": [
        (np.array([1.5]), TypeError, r"arrays of V16, S16 or \(n, 2\) uint64, not of float64"),
        (np.array([b"abc"], "S8"), TypeError, r"arrays of V16, S16 or \(n, 2\) uint64, not of \|S8"),
        (np.zeros((2, 3), np.uint64), ValueError, r"not uint64 of shape \(2, 3\)"),
        (np.zeros((2, 2), np.int64), ValueError, r"not int64 of shape \(2, 2\)"),
        (np.array([-1, 5]), OverflowError, r"keys\[0\] is -1, outside uuid"),
        (pa.array([b"a"], pa.binary(1)), TypeError, "arrays of V16"),
        (uuid.UUID(int=1), TypeError, "keys is an? UUID; give an array or another iterable"),
    ],
    "uint64": [
        (np.array([], np.float64), TypeError, "this array holds float64"),
        (np.array([1, 2], "M8[s]"), TypeError, r"this array holds datetime64\[s\]"),
        (np.array([7, -1]), OverflowError, r"keys\[1\] is -1, outside uint64"),
        (np.zeros((2, 2), np.uint64), ValueError, r"one-dimensional, not of shape \(2, 2\)"),
        (7, TypeError, "keys is an int; give an array or another iterable"),
    ],
    "datetime64[ms]": [
        (np.array([1, 2]), TypeError, r"are moments \(datetime64\[ms\]\), and this array holds int64"),
        (np.array([1, "NaT"], "M8[ms]"), ValueError, r"keys\[1\] is NaT, which is no moment"),
        (np.array([1000, 1], "M8[us]"), ValueError, r"keys\[1\] is .* no whole number of ms"),
        (np.array([1, 2**62], "M8[s]"), ValueError, r"keys\[1\] is .* outside datetime64\[ms\]"),
        (np.array([1, 1], "m8[ms]"), TypeError, r"this array holds timedelta64\[ms\]"),
        (np.zeros((1, 1), "M8[ms]"), ValueError, r"one-dimensional, not of shape \(1, 1\)"),
        ("2026-10-01", TypeError, "not str"),
    ],
}


def cases(of: dict[str, list[tuple[Any, type[Exception], str]]]) -> list[Any]:
    return [
        pytest.param(name, *case, id=f"{name}-{place}")
        for name, listed in of.items()
        for place, case in enumerate(listed)
    ]


@pytest.mark.parametrize(("name", "wrong", "error", "words"), cases(NO_KEYS))
def test_what_is_no_key_of_the_kind_is_refused_everywhere_and_nothing_is_written(
    tmp_path: Path, name: str, wrong: Any, error: type[Exception], words: str
) -> None:
    good = KINDS[name].key(77)
    with alexpy.open(tmp_path / "store", key=name) as store:  # type: ignore[call-overload]
        for call in (
            lambda: store.put(wrong, b""),
            lambda: store.get(wrong),
            lambda: wrong in store,
            lambda: store.delete(wrong),
            lambda: store.floor(wrong),
            lambda: store.rank(wrong),
            lambda: store.batch().put(wrong, b""),
        ):
            with pytest.raises(error, match=words) as raised:
                call()
            assert type(raised.value) is error
        for many in (
            [good, wrong],
            (good, wrong),
            iter([good, wrong]),
            np.array([good, wrong, None], object)[:2],
        ):
            with pytest.raises(error, match=rf"^keys\[1\] .*{words.split('.*', maxsplit=1)[0]}") as raised:
                store.put_many(many, [b"", b""])
            assert type(raised.value) is error
        keys = store.keys()
        assert wrong not in keys
        assert (wrong, b"") not in store.items()
        assert len(store) == store.stats().last_seq == 0


@pytest.mark.parametrize(("name", "wrong", "error", "words"), cases(NO_ARRAYS))
def test_what_are_no_keys_of_the_kind_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, wrong: Any, error: type[Exception], words: str
) -> None:
    with alexpy.open(tmp_path / "store", key=name) as store:  # type: ignore[call-overload]
        for call in (
            lambda: store.put_many(wrong, [b"", b""]),
            lambda: store.bulk_load(wrong, [b"", b""]),
            lambda: store.get_many(wrong),
            lambda: store.delete_many(wrong),
            lambda: store.floor_many(wrong),
            lambda: store.add_many(wrong, 1),
            lambda: store.batch().put_many(wrong, [b"", b""]),
        ):
            with pytest.raises(error, match=words) as raised:
                call()
            assert type(raised.value) is error
        assert len(store) == store.stats().last_seq == 0


def test_a_slice_and_a_list_as_a_key_name_their_calls(tmp_path: Path, kind: Kind) -> None:
    with alexpy.open(tmp_path / "store", key=kind.name) as store:
        wrong: Any
        for wrong, words in (
            (slice(None), r"scan\(start, stop\) reads a range"),
            ([kind.key(5)], "get_many reads many keys"),
            (kind.arrays[0]([5, 6]), "get_many reads many keys"),
        ):
            with pytest.raises(TypeError, match=words):
                store[wrong]
        with pytest.raises(TypeError, match=r"scan\(start, stop\)"):
            store.get_many(slice(None))


def test_closed_stores_of_any_kind_say_that_they_are_closed(tmp_path: Path, kind: Kind) -> None:
    store = alexpy.open(tmp_path / "store", key=kind.name)
    store.close()
    for view in (store.keys(), store.items()):
        with pytest.raises(alexpy.ClosedError):
            (kind.key(5), b"") in view if view == store.items() else kind.key(5) in view


def test_stores_of_different_kinds_are_compared_by_their_keys(tmp_path: Path) -> None:
    stores = [alexpy.open(tmp_path / name, key=name) for name in KINDS]  # type: ignore[call-overload]
    for store, kind in zip(stores, KINDS.values(), strict=True):
        store[kind.key(1)] = b"one"
        assert store == {kind.key(1): b"one"}
        assert store != {"1": b"one"}
        assert store != alexpy.AlexIndex({1: 1})
    for one, other in itertools.combinations(stores, 2):
        # 1 and 1 are one key; a second and a second in milliseconds are not the same moment since 1970.
        assert (one == other) == ({one.key_kind, other.key_kind} == {"int64", "uint64"})
    for store in stores:
        store.close()


# ---- the kind of a store: chosen once, kept by everything ----


def files(path: Path) -> dict[str, bytes]:
    # Whoever opens for writing takes the lock first, and leaves its process id in it.
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "LOCK"}


@pytest.mark.parametrize("name", KINDS)
def test_another_kind_is_refused_both_are_named_and_nothing_is_touched(tmp_path: Path, name: str) -> None:
    path, key = tmp_path / "store", KINDS[name].key(5)
    with alexpy.open(path, key=name) as store:  # type: ignore[call-overload]
        store[key] = b"five"
    before = files(path)
    for other, read_only in itertools.product(KINDS, (False, True)):
        if other != name:
            with pytest.raises(alexpy.FormatError) as raised:
                alexpy.open(path, key=other, read_only=read_only)  # type: ignore[call-overload]
            assert f"of kind {name}, and {other} was asked for" in str(raised.value)
            assert f'key="{name}"' in str(raised.value)
    assert files(path) == before
    with alexpy.open(path) as store:
        assert store[key] == b"five"


@pytest.mark.parametrize("wrong", ["int32", "datetime64", "datetime64[D]", "UUID", "", "uint64\0"])
def test_a_kind_that_does_not_exist_is_a_value_error_that_lists_them(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ValueError, match="key must be one of") as raised:
        alexpy.open(tmp_path / "store", key=wrong)
    for name in KINDS:
        assert f'"{name}"' in str(raised.value)
    assert not (tmp_path / "store").exists()
    with pytest.raises(TypeError, match="key is a type; give the name of a kind"):
        alexpy.open(tmp_path / "store", key=uuid.UUID)  # type: ignore[call-overload]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("which", ["closed", "killed"])
def test_stores_of_earlier_builds_have_int64_keys(tmp_path: Path, which: str) -> None:
    path = Path(shutil.copytree(DATA / which, tmp_path / which))
    before = files(path)
    with pytest.raises(alexpy.FormatError, match="of kind int64, and uuid was asked for"):
        alexpy.open(path, key="uuid")
    assert files(path) == before
    for options in ({"read_only": True}, {}, {"key": "int64"}):
        with alexpy.open(path, **options) as store:  # type: ignore[call-overload]
            assert store.key_kind == "int64"
            assert all(type(key) is int for key in store)
            assert store.keys_array().dtype == np.int64


def get(store: alexpy.Store[Any, bytes], keys: list[Any]) -> tuple[str, list[bytes | None]]:
    """What a worker does with a store that it was given."""
    return store.key_kind, store.get_many(keys)


@pytest.fixture
def filled(tmp_path: Path, kind: Kind) -> tuple[Path, Model]:
    """A closed store of 500 keys, some written twice, with an image of its index."""
    path, model = tmp_path / "filled", SortedDict()
    with alexpy.open(path, key=kind.name, segment_bytes=16 << 10, background=False) as store:
        for seed in (1, 2):
            numbers = some(kind, 400, seed)
            many = {number: b"%d;%d" % (seed, number) for number in numbers}
            store.put_many(kind.arrays[0](numbers), list(many.values()))
            model.update(many)
            store.checkpoint()
        gone = list(model)[100:120]
        store.delete_many([kind.key(number) for number in gone])
        for number in gone:
            del model[number]
    return path, model


def test_read_only_handles_pickles_and_processes_keep_the_kind(
    kind: Kind, filled: tuple[Path, Model]
) -> None:
    path, model = filled
    keys = [kind.key(number) for number in model]
    wanted = (kind.name, list(model.values()))
    with alexpy.open(path, read_only=True) as reader:
        whole(kind, reader, model)
        with pickle.loads(pickle.dumps(reader)) as copy:
            whole(kind, copy, model)
        assert outcome_in_fork(lambda: get(reader, keys) == wanted) == "True"
        assert outcome_in_fork(lambda: kind.items(reader.items()) == list(model.items())) == "True"
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply(get, (reader, keys)) == wanted
            pool.close()
            pool.join()


def test_images_backups_compaction_and_verify_keep_kind_and_content(
    tmp_path: Path, kind: Kind, filled: tuple[Path, Model]
) -> None:
    path, model = filled
    with alexpy.open(path, background=False) as store:
        whole(kind, store, model)
        store.backup(tmp_path / "copy")
        store.checkpoint()
    with alexpy.open(path, background=False) as store:
        whole(kind, store, model)
        store.compact()
        store.checkpoint()
        whole(kind, store, model)
        assert store.verify().ok
    for made in (path, tmp_path / "copy"):
        with alexpy.open(made, key=kind.name, create=False) as store:
            whole(kind, store, model)
            assert store.verify().ok


@pytest.mark.parametrize("mode", ["salvage", "point_in_time"])
def test_repair_keeps_kind_and_content(
    tmp_path: Path, kind: Kind, filled: tuple[Path, Model], mode: Any
) -> None:
    path, model = filled
    assert alexpy.repair(path, tmp_path / "whole", mode=mode).ok
    with alexpy.open(tmp_path / "whole", create=False) as store:
        whole(kind, store, model)
        assert store.verify().ok


def test_repair_of_a_damaged_store_keeps_the_kind(tmp_path: Path, kind: Kind) -> None:
    path, numbers = tmp_path / "store", some(kind, 100)
    with alexpy.open(path, key=kind.name) as store:
        for place, number in enumerate(numbers):
            store[kind.key(number)] = b"value %03d" % place
    segment = path / "seg-00000001.log"
    data = bytearray(segment.read_bytes())
    data[data.index(b"value 010")] ^= 1
    segment.write_bytes(data)
    with pytest.raises(alexpy.CorruptionError):
        alexpy.open(path)
    for mode, kept in (("salvage", numbers[:10] + numbers[11:]), ("point_in_time", numbers[:10])):
        report = alexpy.repair(path, tmp_path / mode, mode=mode)  # type: ignore[arg-type]
        assert report.kept == len(kept)
        with alexpy.open(tmp_path / mode, key=kind.name, create=False) as store:
            assert kind.listed(store.keys_array()) == kept
            assert store.verify().ok
    # Without its manifest a store is of the kind that its segments say.
    for manifest in path.glob("MANIFEST-*"):
        manifest.unlink()
    assert alexpy.repair(path, tmp_path / "segments", mode="salvage").kept == 99
    with alexpy.open(tmp_path / "segments") as store:
        assert store.key_kind == kind.name


@given(numbers=st.lists(UUID.numbers, min_size=1, max_size=300, unique=True), chunk=st.integers(1, 60))
@settings(max_examples=30)
def test_an_opening_from_an_image_or_from_the_log_finds_the_same_uuids(
    numbers: list[int], chunk: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        with alexpy.open(path, key="uuid", background=False) as store:
            for at in range(0, len(numbers), chunk):
                store.put_many(
                    UUID.arrays[0](numbers[at : at + chunk]), [b"%d" % at] * len(numbers[at : at + chunk])
                )
                if at // chunk % 3 == 1:
                    store.checkpoint()
        model = SortedDict((number, b"%d" % (at // chunk * chunk)) for at, number in enumerate(numbers))
        for _ in range(2):
            with alexpy.open(path, background=False) as store:
                whole(UUID, store, model)
            for image in path.glob("img-*.idx"):
                image.unlink()


# ---- kills ----

KILLS = 10


def commits(kind: Kind, seed: int, number: int) -> list[tuple[int, bytes | None]]:
    """Return the changes of one commit: puts, and deletes as None, of keys that come again and again."""
    rng = random.Random(seed * 1_000_003 + number)
    keys = some(kind, 200, seed)
    return [
        (rng.choice(keys), None if rng.random() < 0.2 else b"%d;" % number * rng.choice([1, 1, 30]))
        for _ in range(rng.randint(1, 40))
    ]


def write_until_killed(path: Path, kind: Kind, seed: int, first: int, say: Callable[[str], object]) -> None:
    options: dict[str, Any] = {"segment_bytes": 16 << 10, "checkpoint_tail_bytes": 4 << 10}
    store = alexpy.open(path, key=kind.name, **options)
    say("open")
    for number in itertools.count(first):
        with store.batch() as batch:
            for key, value in commits(kind, seed, number):
                if value is None:
                    batch.delete(kind.key(key))
                else:
                    batch.put(kind.key(key), value)
        say(str(number))


def run_and_kill(path: Path, kind: Kind, seed: int, first: int, seconds: float) -> int:
    """Fork a writer, kill it, and return the number of the last commit that it reported."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_until_killed(path, kind, seed, first, lambda what: os.write(writing, f"{what}\n".encode()))
        except BaseException:  # noqa: BLE001 - whatever it is, the test must see it
            os.write(writing, f"failed {traceback.format_exc()!r}\n".encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.readline() == "open\n"
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        said = pipe.read().splitlines()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, said[-1:]
    return int(said[-1]) if said else first - 1


@pytest.mark.parametrize("name", ["uuid", "uint64", "datetime64[us]"])
def test_a_killed_writer_loses_nothing_of_any_kind_of_keys(tmp_path: Path, name: str) -> None:
    kind, path = KINDS[name], tmp_path / "store"
    seed = random.SystemRandom().getrandbits(32)
    rng, model, done = random.Random(seed), SortedDict(), 0

    def advance(number: int) -> None:
        for key, value in commits(kind, seed, number):
            model.pop(key, None)
            if value is not None:
                model[key] = value

    for kill in range(KILLS if name == "uuid" else KILLS // 3):
        last = run_and_kill(path, kind, seed, done, rng.uniform(0, 0.08))
        for number in range(done, last + 1):
            advance(number)
        with alexpy.open(path, read_only=True) as reader:
            found = dict(kind.items(reader.items()))
        done = last + 1
        if found != model:
            # The kill fell between the commit and its report.
            advance(done)
            done += 1
        assert found == dict(model), f"seed {seed}, kill {kill}"
    with alexpy.open(path) as store:
        whole(kind, store, model)
        assert store.verify().ok


def test_ctrl_c_ends_a_batch_of_keys_of_any_kind(tmp_path: Path) -> None:
    """A signal handler that raises while one key of many is converted is not taken for a key that is none."""

    class Interrupting(dt.datetime):
        def __format__(self, spec: str) -> str:
            raise AssertionError

        def __getattribute__(self, name: str) -> Any:
            raise KeyboardInterrupt

    moment = dt.datetime(2026, 11, 29)  # noqa: DTZ001 - such keys have no zone
    with alexpy.open(tmp_path / "store", key="datetime64[us]") as store:
        with pytest.raises(KeyboardInterrupt):
            store.put_many([moment, Interrupting(2026, 11, 29)], [b"a", b"b"])
        assert len(store) == 0


@pytest.mark.parametrize("kind", ["uint64", "uuid"])
def test_ends_of_a_range_may_be_integers_of_numpy(tmp_path: Path, kind: str) -> None:
    with alexpy.open(tmp_path / "store", key=kind) as store:
        key = 7 if kind == "uint64" else uuid.UUID(int=7)
        store[key] = b"seven"
        assert [*store.scan(np.int64(-5), np.uint64(8))] == [(key, b"seven")]
        assert [*store.scan(np.int64(-5), np.int8(-1))] == []
        assert [*store.scan(np.uint64(8), None)] == []
        assert [*store.scan(-(2**200), 2**200)] == [(key, b"seven")]


@pytest.mark.parametrize("unit", ["ns", "us"])
def test_moments_outside_a_unit_are_no_keys_but_ends_of_ranges(tmp_path: Path, unit: Any) -> None:
    early, late = np.datetime64(-(10**6), "Y"), np.datetime64(10**6, "Y")
    if unit == "ns":
        early, late = np.datetime64("1500-01-01"), np.datetime64("2500-01-01T12:00", "s")
    with alexpy.open(tmp_path / "store", key=f"datetime64[{unit}]") as store:  # type: ignore[call-overload]
        moments = [np.datetime64("1969-12-31", unit), np.datetime64("2026-11-29", unit)]
        store.put_many(moments, [b"a", b"b"])
        assert [*store.scan_keys(early, late)] == moments == [*store.scan_keys(early)]
        assert (
            [*store.scan_keys(late)]
            == [*store.scan_keys(None, early)]
            == [*store.scan_keys(late, early)]
            == []
        )
        assert store.count(early, moments[1]) == 1
        assert store.delete_range(late) == 0
        for moment in (early, late):
            for call in (store.get, store.floor, store.delete, lambda key: store.put(key, b"")):
                with pytest.raises(ValueError, match="which is outside datetime64"):
                    call(moment)
        assert store.delete_range(early, late) == 2


def test_aware_moments_at_the_ends_of_the_calendar_are_keys(tmp_path: Path) -> None:
    east, west = dt.timezone(dt.timedelta(hours=14)), dt.timezone(dt.timedelta(hours=-12))
    first, last = dt.datetime.min.replace(tzinfo=east), dt.datetime.max.replace(microsecond=0, tzinfo=west)
    with alexpy.open(tmp_path / "store", key="datetime64[s]") as store:
        store.put_many([first, last], [b"first", b"last"])
        assert [str(key) for key in store] == ["0000-12-31T10:00:00", "10000-01-01T11:59:59"]
        assert store[first] == b"first"
        assert store.count(first, last) == 1
