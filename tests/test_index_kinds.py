"""`AlexIndex` of unsigned integers, moments and UUIDs: beside a SortedDict, in files, pickles; refusals."""

from __future__ import annotations

import copy
import os
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sortedcontainers import SortedDict

import alexpy
from alexpy import AlexIndex
from kinds import KINDS, OTHERS, Kind, some

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALUES = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(params=OTHERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def made(kind: Kind, numbers: list[int]) -> AlexIndex[Any]:
    """Return an index of these keys, each with its place as its value."""
    return AlexIndex(kind.arrays[0](numbers), key=kind.name)


class OneKind(RuleBasedStateMachine):
    """An index of one kind does what a sorted dict of the integers of its keys does."""

    kind: Kind

    def __init__(self) -> None:
        super().__init__()
        self.index: AlexIndex[Any] = AlexIndex(key=self.kind.name)  # type: ignore[call-overload]
        self.model: SortedDict = SortedDict()
        self.scans: list[tuple[Any, list[tuple[int, int]]]] = []

    def one(self, data: st.DataObject) -> tuple[int, Any]:
        """Draw a key: its integer, and one of its forms."""
        old = st.sampled_from([*self.model]) if self.model else st.nothing()
        number = data.draw(self.kind.numbers | old)
        return number, data.draw(st.sampled_from(self.kind.ones))(number)

    def end(self, data: st.DataObject) -> tuple[int | None, Any]:
        """Draw an end of a range."""
        return (None, None) if data.draw(st.booleans()) else self.one(data)

    def many(self, data: st.DataObject, most: int = 30) -> tuple[list[int], Any]:
        """Draw many keys: their integers, and what calls take."""
        old = st.sampled_from([*self.model]) if self.model else st.nothing()
        numbers = data.draw(st.lists(self.kind.numbers | old, max_size=most))
        return numbers, self.kind.many(numbers, data.draw(st.integers(0, self.kind.forms - 1)))

    def within(self, start: int | None, stop: int | None) -> list[int]:
        if start is not None and stop is not None and start >= stop:
            return []
        return list(self.model.irange(start, stop, (True, False)))

    @initialize(data=st.data(), spread=st.booleans())
    def load(self, data: st.DataObject, spread: bool) -> None:
        numbers, keys = self.many(data)
        if spread:
            numbers = some(self.kind, 600, seed=len(numbers))
            keys = self.kind.arrays[0](numbers)
        self.index = AlexIndex(keys, key=self.kind.name)  # type: ignore[call-overload]
        self.model = SortedDict((number, place) for place, number in enumerate(numbers))

    @rule(data=st.data(), value=VALUES)
    def put(self, data: st.DataObject, value: int) -> None:
        number, key = self.one(data)
        self.index[key] = value
        self.model[number] = value

    @rule(data=st.data(), value=VALUES)
    def take(self, data: st.DataObject, value: int) -> None:
        number, key = self.one(data)
        assert (key in self.index) == (number in self.model)
        assert self.index.get(key, value) == self.model.get(number, value)
        assert self.index.pop(key, value) == self.model.pop(number, value)
        assert self.index.setdefault(key, value) == self.model.setdefault(number, value)

    @rule(data=st.data(), value=VALUES)
    def put_many(self, data: st.DataObject, value: int) -> None:
        numbers, keys = self.many(data)
        values = [value ^ place for place in range(len(numbers))]
        assert self.index.put_many(keys, values) == len(set(numbers))
        self.model.update(zip(numbers, values, strict=True))

    @rule(data=st.data())
    def delete_many(self, data: st.DataObject) -> None:
        numbers, keys = self.many(data)
        assert self.index.delete_many(keys) == len(set(numbers) & set(self.model))
        for number in numbers:
            self.model.pop(number, None)

    @rule(data=st.data())
    def delete_range(self, data: st.DataObject) -> None:
        start, first = self.one(data)
        stop, last = self.end(data)
        gone = self.within(start, stop)
        assert self.index.delete_range(first, last) == len(gone)
        for number in gone:
            del self.model[number]

    @rule(data=st.data())
    def look_for_many(self, data: st.DataObject) -> None:
        numbers, keys = self.many(data)
        keys = keys if isinstance(keys, (list, tuple, np.ndarray)) else self.kind.arrays[0](numbers)
        there = [number in self.model for number in numbers]
        assert self.index.contains_many(keys).tolist() == there
        assert self.index.get_many(keys, default=-1).tolist() == [
            self.model.get(number, -1) for number in numbers
        ]
        if not all(there):
            with pytest.raises(KeyError) as missing:
                self.index.get_many(keys)
            assert self.kind.number(missing.value.args[0]) == numbers[there.index(False)]
        for call, place in ((self.index.floor_many, -1), (self.index.ceiling_many, 0)):
            near = []
            for number in numbers:
                side = (None, number) if place else (number, None)
                around = list(self.model.irange(*side))
                near.append(around[place] if around else None)
            found_keys, values, found = call(keys)
            assert found.tolist() == [number is not None for number in near]
            assert self.kind.listed(found_keys) == [self.kind.absent if n is None else n for n in near]
            assert values.tolist() == [0 if number is None else self.model[number] for number in near]

    @rule(data=st.data())
    def look_around(self, data: st.DataObject) -> None:
        number, key = self.one(data)
        items, below = list(self.model.items()), self.model.bisect_left(number)
        upto = self.model.bisect_right(number)
        expected = {
            self.index.floor: items[upto - 1] if upto else None,
            self.index.lower: items[below - 1] if below else None,
            self.index.ceiling: items[below] if below < len(items) else None,
            self.index.higher: items[upto] if upto < len(items) else None,
        }
        for call, item in expected.items():
            found: Any = call(key)
            assert self.kind.item(found) == item
        assert self.index.rank(key) == below
        if items:
            assert self.kind.item(self.index.nth(below - len(items))) == items[below - len(items)]

    @rule(data=st.data(), reverse=st.booleans(), limit=st.none() | st.integers(0, 5))
    def scan(self, data: st.DataObject, reverse: bool, limit: int | None) -> None:
        start, first = self.end(data)
        stop, last = self.end(data)
        numbers = self.within(start, stop)
        keys, values = self.index.scan_arrays(first, last)
        assert self.kind.listed(keys) == numbers == self.kind.listed(self.index.keys_array(first, last))
        assert values.tolist() == [self.model[number] for number in numbers]
        assert self.index.count(first, last) == len(numbers)
        ordered = numbers[::-1] if reverse else numbers
        expected = [(number, self.model[number]) for number in ordered[:limit]]
        scan = self.index.scan(first, last, reverse=reverse, limit=limit)
        # What is not read now sees the moment of now later.
        for item in expected[:2]:
            assert self.kind.item(next(scan)) == item
        self.scans.append((scan, expected[2:]))
        scans = self.index.scan_many(
            *(self.kind.arrays[0]([n]) for n in (min(self.bounds()), max(self.bounds())))
        )
        assert self.kind.listed(scans[0]) == [*self.model][:-1]

    def bounds(self) -> list[int]:
        return [*self.model][:1] + [*self.model][-1:] or [0]

    @rule(parts=st.integers(1, 4))
    def split(self, parts: int) -> None:
        found = [
            number
            for part in self.index.split(parts)
            for number in self.kind.listed(self.index.keys_array(*part))
        ]
        assert found == [*self.model]

    @rule()
    def copies(self) -> None:
        for twin in (
            pickle.loads(pickle.dumps(self.index)),
            copy.copy(self.index),
            AlexIndex(self.index),
        ):
            assert twin == self.index
            assert twin.key_kind == self.kind.name

    @invariant()
    def same_items(self) -> None:
        assert [self.kind.item(item) for item in self.index.items()] == [*self.model.items()]
        self.index.check()

    def teardown(self) -> None:
        for scan, expected in self.scans:
            assert [self.kind.item(item) for item in scan] == expected


@pytest.mark.parametrize("name", OTHERS)
def test_an_index_of_any_kind_is_a_sorted_dict_of_the_integers_of_its_keys(name: str) -> None:
    machine = type(f"Of_{name}", (OneKind,), {"kind": KINDS[name]})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=20))  # type: ignore[no-untyped-call]


def test_a_file_keeps_the_kind(kind: Kind, tmp_path: Path) -> None:
    numbers = some(kind, 5_000)
    index = made(kind, numbers)
    index.save(tmp_path / "index")
    loaded = AlexIndex.load(tmp_path / "index")
    assert (loaded.key_kind, loaded) == (kind.name, index)
    loaded.check()
    for number in numbers[::500]:
        del loaded[kind.key(number)]
    loaded.save(tmp_path / "index")
    again = AlexIndex.load(tmp_path / "index")
    assert again == loaded
    assert len(again) == len(index) - 10
    assert kind.listed(again.keys_array()) == [number for at, number in enumerate(numbers) if at % 500]


def test_a_damaged_file_says_so_whatever_its_kind(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "index"
    made(kind, some(kind, 5_000)).save(path)
    whole = path.read_bytes()
    for at in (70, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(alexpy.CorruptionError):
            AlexIndex.load(path).check()
    path.write_bytes(whole[:100])
    with pytest.raises(alexpy.AlexError):
        AlexIndex.load(path)


def test_a_file_of_int64_keys_has_no_kind_attached(tmp_path: Path) -> None:
    index = AlexIndex({5: 50, -3: 30})
    index.save(tmp_path / "index")
    loaded = AlexIndex.load(tmp_path / "index")
    assert loaded.key_kind == "int64"
    assert dict(loaded) == {5: 50, -3: 30}


REFUSED: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "kind": (lambda: AlexIndex(key="int32"), ValueError, 'key must be one of "int64", "uint64"'),  # type: ignore[call-overload]
    "uuid": (lambda: AlexIndex(["a"], key="uuid"), TypeError, r"keys\[0\] is a str; keys here have 128 bits"),
    "sign": (lambda: AlexIndex([-1], key="uint64"), OverflowError, r"keys\[0\] is -1"),
    "moment": (lambda: AlexIndex([1], key="datetime64[s]"), TypeError, "keys here are moments"),
    "nat": (lambda: AlexIndex([np.datetime64("NaT")], key="datetime64[s]"), ValueError, "NaT"),
    "number": (lambda: AlexIndex(key="uuid").get(1.5), TypeError, "key is a float"),  # type: ignore[call-overload]
    "value": (lambda: AlexIndex(key="uint64").put(2**64 - 1, 2**63), OverflowError, "outside int64"),
    "update": (
        lambda: AlexIndex(key="datetime64[s]").update(AlexIndex([1])),  # type: ignore[arg-type]
        TypeError,
        "keys here are moments",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_key_of_the_kind_is_refused_in_one_line(name: str) -> None:
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_another_kind_is_another_index() -> None:
    unsigned, signed = AlexIndex([1, 2], key="uint64"), AlexIndex([1, 2])
    assert unsigned == signed
    moments = AlexIndex(np.array([1, 2], "M8[s]"), key="datetime64[s]")
    assert moments != signed
    assert AlexIndex(signed, key="uint64") == unsigned
    assert repr(moments) == "<alexpy.AlexIndex of 2 datetime64[s] keys>"
    assert "1970-01-01T00:00:01" in moments._repr_html_()


def test_a_picture_is_drawn_of_any_kind(kind: Kind, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = made(kind, some(kind, 3_000)).plot()
    figure.savefig(tmp_path / "index.png")
    assert (tmp_path / "index.png").stat().st_size > 10_000


def test_equality_of_kinds_is_symmetric() -> None:
    signed, unsigned = AlexIndex([1], [10]), AlexIndex([1], [10], key="uint64")
    wide = AlexIndex([1], [10], key="uuid")
    assert signed == unsigned == signed
    assert signed != wide
    assert wide != signed
    assert AlexIndex() == AlexIndex(key="uuid") == AlexIndex()


def test_equal_moments_of_two_units_are_equal_keys() -> None:
    moments = [np.datetime64(1, "s"), np.datetime64(2, "s")]
    seconds = AlexIndex(moments, [10, 20], key="datetime64[s]")
    millis = AlexIndex(moments, [10, 20], key="datetime64[ms]")
    assert seconds == millis == seconds
    assert seconds == dict(millis)
    millis[np.datetime64(2, "s")] = 21
    assert seconds != millis
    between = AlexIndex([moments[0], np.datetime64(2001, "ms")], [10, 20], key="datetime64[ms]")
    assert seconds != between
    assert between != seconds
    assert seconds != AlexIndex([1, 2], [10, 20])


def test_records_of_sixteen_bytes_are_no_uuids() -> None:
    with pytest.raises(TypeError, match="128 bits"):
        AlexIndex(np.array([(1, 2)], "u8,u8"), key="uuid")


def test_a_pipe_is_no_file_of_an_index(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(alexpy.FormatError, match="is no file that can be mapped"):
        AlexIndex.load(tmp_path / "pipe")
