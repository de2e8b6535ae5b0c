"""What a refused argument is told: one line that says what it was and what to write instead."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[alexpy.Store]:
    """A store that every refused call leaves as it is."""
    with alexpy.open(tmp_path_factory.mktemp("hints") / "store") as opened:
        opened[1] = b"one"
        yield opened
        assert dict(opened) == {1: b"one"}


def refusal(call: Callable[[], object], error: type[Exception] = TypeError) -> str:
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    return message


AWARE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
DATES: list[Any] = [
    dt.datetime(2024, 1, 1),  # noqa: DTZ001 - what people have
    dt.date(2024, 1, 1),
    np.datetime64("2024-01-01"),
    np.datetime64("2024-01-01T00:00:00.000000000"),
]
ONE_KEY: dict[str, Callable[[alexpy.Store, Any], object]] = {
    "getitem": lambda s, key: s[key],
    "setitem": lambda s, key: s.__setitem__(key, b""),
    "get": lambda s, key: s.get(key),
    "in": lambda s, key: key in s,
    "floor": lambda s, key: s.floor(key),
    "batch": lambda s, key: s.batch().put(key, b""),
}


@pytest.mark.parametrize("call", ONE_KEY.values(), ids=ONE_KEY)
class TestOneKey:
    def test_a_slice_names_scan(self, kept: alexpy.Store, call: Callable[..., object]) -> None:
        assert refusal(lambda: call(kept, slice(1, 5))) == (
            "key is slice(1, 5, None) (slice); keys are integers: "
            "scan(start, stop) reads a range, delete_range(start, stop) removes one"
        )

    @pytest.mark.parametrize(
        "keys",
        [[1, 2], (1, 2), range(3), {1, 2}, np.array([1, 2]), pa.array([1, 2]), iter([1])],
        ids=lambda keys: type(keys).__name__,
    )
    def test_many_keys_name_get_many(
        self, kept: alexpy.Store, call: Callable[..., object], keys: Any
    ) -> None:  # fmt: skip
        message = refusal(lambda: call(kept, keys))
        assert message.endswith("keys are integers: get_many reads many keys, put_many writes them")

    @pytest.mark.parametrize("key", [*DATES, AWARE], ids=repr)
    def test_a_date_says_how_an_integer_is_made_of_it(
        self, kept: alexpy.Store, call: Callable[..., object], key: Any
    ) -> None:
        message = refusal(lambda: call(kept, key))
        assert 'keys are integers: a store opened with key="datetime64[us]" has such keys, and ' in message
        assert message.endswith("makes microseconds since 1970 of it")

    @pytest.mark.parametrize("key", [1.5, np.float32(1.5), decimal.Decimal("1.5")], ids=repr)
    def test_a_fraction_is_to_be_converted(
        self, kept: alexpy.Store, call: Callable[..., object], key: Any
    ) -> None:  # fmt: skip
        assert "for instance with int(key), if no fraction can be lost" in refusal(lambda: call(kept, key))

    def test_none_names_the_argument(self, kept: alexpy.Store, call: Callable[..., object]) -> None:
        assert refusal(lambda: call(kept, None)) == "key is None; keys are integers"

    def test_what_nobody_knows_gets_no_hint(self, kept: alexpy.Store, call: Callable[..., object]) -> None:
        for key in (1j, dt.timedelta(1), object):
            assert refusal(lambda key=key: call(kept, key)).endswith("; keys are integers")


@pytest.mark.parametrize("date", DATES, ids=repr)
def test_the_hint_for_dates_works_as_it_is_written(kept: alexpy.Store, date: Any) -> None:
    message = refusal(lambda: kept.get(date))
    expression = message.partition(", and ")[2].partition(" makes ")[0]
    key = eval(expression, {"numpy": np, "key": date})
    assert key == 1_704_067_200_000_000
    assert kept.get(key) is None


def test_a_bound_is_called_by_its_name(kept: alexpy.Store) -> None:
    assert refusal(lambda: kept.scan("a")) == (  # type: ignore[arg-type]
        "start is 'a' (str); start is an integer: int(start) reads one from text"
    )
    assert "numpy.datetime64(stop, 'us')" in refusal(lambda: kept.count(stop=DATES[0]))
    assert "limit is 1.5 (float); limit is an integer" in refusal(lambda: kept.scan(limit=1.5))  # type: ignore[arg-type]


MANY_KEYS: dict[str, Callable[[alexpy.Store, Any], object]] = {
    "get_many": lambda s, keys: s.get_many(keys),
    "get_array": lambda s, keys: s.get_array(keys, np.uint8),
    "get_buffers": lambda s, keys: s.get_buffers(keys),
    "contains_many": lambda s, keys: s.contains_many(keys),
    "delete_many": lambda s, keys: s.delete_many(keys),
    "put_many": lambda s, keys: s.put_many(keys, [b""]),
    "bulk_load": lambda s, keys: s.bulk_load(keys, [b""]),
    "batch": lambda s, keys: s.batch().put_many(keys, [b""]),
}


@pytest.mark.parametrize("call", MANY_KEYS.values(), ids=MANY_KEYS)
@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (None, "keys is None; give an array or another iterable of integers"),
        (5, "keys is an int; give an array or another iterable of integers"),
        (slice(1, 2), r"keys is a slice; give .* integers; scan\(start, stop\) reads a range"),
        ([1, None], r"keys\[1\] is None; keys are integers"),
        (
            [DATES[0]],
            r"keys\[0\] is datetime.* has such keys, and numpy.datetime64\(key, 'us'",
        ),
        ([(1, 2)], r"keys\[0\] is \(1, 2\) \(tuple\); keys are integers"),
        (
            pa.table({"a": [1], "b": [2]}),
            "keys is a Table, which is a table; pick one of its columns: 'a', 'b'",
        ),
    ],
)
def test_what_is_not_many_keys_is_called_by_its_name(
    kept: alexpy.Store, call: Callable[[alexpy.Store, Any], object], keys: Any, told: str
) -> None:
    with pytest.raises(TypeError, match=f"^{told}"):
        call(kept, keys)


def test_an_error_of_the_objects_own_iterator_passes(kept: alexpy.Store) -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise TypeError("my own trouble")

    for call in (
        lambda: kept.get_many(Broken()),
        lambda: kept.put_many(Broken(), []),
        lambda: kept.put_many([1], Broken()),
        lambda: kept.update(Broken()),
    ):
        assert refusal(call) == "my own trouble"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("text", "value is a str; .*; value.encode() makes bytes of text"),
        (5, "value is an int; .*; value.to_bytes(8, 'little', signed=True) makes bytes of it"),
        (1.5, "value is a float; .*; struct.pack('<d', value) makes bytes of it"),
        ([1, "a"], "value is a list; .*; json.dumps(value).encode() makes bytes of it"),
        ({"a": 1}, "value is a dict; .*; json.dumps(value).encode() makes bytes of it"),
        (None, "value is None; .*; to remove a key, delete it"),
        (object(), "value is an object; "),
    ],
)
def test_what_is_no_value_says_how_bytes_are_made_of_it(
    kept: alexpy.Store, store: alexpy.Store, value: Any, told: str
) -> None:
    message = refusal(lambda: kept.put(1, value))
    start, _, end = told.partition(".*")
    assert message.startswith(start)
    assert message.endswith(end)
    makes, found, _ = end.removeprefix("; ").partition(" makes bytes")
    if found:
        store[1] = eval(makes, {"value": value, "struct": struct, "json": json})
        assert len(store[1]) > 0


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (None, "values is None; give one value for each key"),
        (5, "values is an int; give one value for each key"),
        (np.array(["a"]), "values is an array of text; [text.encode() for text in values] makes bytes of it"),
        (["a"], "values[0] is a str; "),
        ([None], "values[0] is None; "),
        (
            {1: b""},
            "values is a dict, which pairs no value with a key; give a list, or a mapping of keys to ",
        ),
        (
            np.array([[1, "a"]], object),
            "values is an array of object, which holds Python objects, not raw memory; ",
        ),
    ],
)
def test_what_is_not_many_values_says_what_is(kept: alexpy.Store, values: Any, told: str) -> None:
    assert refusal(lambda: kept.put_many([1], values)).startswith(told)
    assert refusal(lambda: kept.bulk_load([1], values)).startswith(told)


def test_the_hint_for_an_array_of_text_works_as_it_is_written(store: alexpy.Store) -> None:
    values = np.array(["a", "longer"])
    expression = refusal(lambda: store.put_many([1, 2], values)).partition("; ")[2].partition(" makes ")[0]
    store.put_many([1, 2], eval(expression, {"values": values}))
    assert dict(store) == {1: b"a", 2: b"longer"}


def test_text_numbers_and_json_name_the_codec_that_takes_them(kept: alexpy.Store, tmp_path: Path) -> None:
    values: list[tuple[Any, str]] = [
        ("text", "text"),
        (5, "numpy('i8')"),
        (0.5, "numpy('f8')"),
        ({"a": [1]}, "json"),
    ]
    for number, (value, codec) in enumerate(values):
        message = refusal(lambda value=value: kept.put(1, value))
        assert f"unless the store was made with codec=alexpy.codecs.{codec};" in message
        made = eval(f"alexpy.codecs.{codec}", {"alexpy": alexpy})
        with alexpy.open(tmp_path / str(number), codec=made) as store:
            store[1] = value
            assert store[1] == value
    for array in (np.array(["a"]), pa.array(["a"])):
        assert "codec=alexpy.codecs.text" in refusal(lambda array=array: kept.put_many([1], array))


def test_update_says_what_it_takes(kept: alexpy.Store) -> None:
    assert refusal(lambda: kept.update(None)) == (  # type: ignore[arg-type]
        "update() got None; give a mapping of keys to values, or (key, value) pairs"
    )
    table = pa.table({"id": [1], "name": ["a"]})
    assert refusal(lambda: kept.update(table)) == (
        "update() got a Table, which is a table; put_many(table[key_column], table[value_column]) stores two "
        "columns, and update takes a table of the columns key and value"
    )
    with pytest.raises(TypeError, match=r"put_many\(table\[key_column\], table\[value_column\]\)"):
        alexpy.AlexIndex().update(table)


def test_an_index_takes_a_mapping_as_its_items_and_refuses_a_set() -> None:
    assert dict(alexpy.AlexIndex({3: 30, 1: 10})) == {1: 10, 3: 30}
    assert refusal(lambda: alexpy.AlexIndex({3, 1})) == (
        "keys is a set, whose order says nothing of positions; sorted(keys) makes a list"
    )
    assert refusal(lambda: alexpy.AlexIndex().put(1, [2])).endswith("; values are integers")  # type: ignore[arg-type]
    assert refusal(lambda: alexpy.AlexIndex()[1:2]).startswith("key is slice(1, 2, None) (slice)")  # type: ignore[misc]


@pytest.mark.parametrize("call", ["bulk_load", "verify", "compact", "backup"])
def test_progress_must_be_a_function(kept: alexpy.Store, tmp_path: Path, call: str) -> None:
    arguments = {"bulk_load": ([2], [b""]), "backup": (tmp_path / "copy",)}.get(call, ())
    assert refusal(lambda: getattr(kept, call)(*arguments, progress=True)) == (
        "progress is a bool; give a function that is called with (done, total), in bytes"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("path", "what"), [(None, "None"), (5, "of type int"), ([], "of type list")])
def test_what_is_no_path_is_refused_by_name(path: Any, what: str) -> None:
    assert refusal(lambda: alexpy.open(path)) == (
        f"path is {what}; give the directory of the store as str or pathlib.Path"
    )


@pytest.mark.parametrize("path", ["", b""], ids=repr)
def test_an_empty_path_is_a_value_error_that_says_how_the_current_directory_is_named(path: Any) -> None:
    told = refusal(lambda: alexpy.open(path), ValueError)
    assert told == 'the path of a store is empty; "." is the current directory'


def test_a_missing_parent_is_an_error_unless_it_may_be_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with pytest.raises(FileNotFoundError, match="parents=True"):
        alexpy.open(path)
    assert list(tmp_path.iterdir()) == []
    with alexpy.open(path, parents=True) as store:
        assert len(store) == 0


def test_this_very_process_is_told_to_share_what_it_has_open(kept: alexpy.Store) -> None:
    import os  # noqa: PLC0415

    with pytest.raises(alexpy.LockedError) as raised:
        alexpy.open(kept.path)
    assert raised.value.pid == os.getpid()
    assert str(raised.value) == (
        f"{kept.path} is already open for writing by process {os.getpid()}, which is this very "
        "process; use what it has open, which all its threads may share, close that first, or open "
        "with read_only=True"
    )


def test_a_mapping_as_keys_names_what_takes_one(kept: alexpy.Store) -> None:
    calls: list[Callable[[Any], object]] = [
        kept.put_many,
        kept.bulk_load,
        alexpy.AlexIndex().put_many,
    ]
    for call in calls:
        assert refusal(lambda call=call: call({1: b"one"})) == (
            "keys is a dict and values is missing; update(mapping) takes one"
        )
        assert refusal(lambda call=call: call([1])) == "values is None; give one value for each key"
    assert refusal(lambda: kept.batch().put_many({1: b"one"})) == (  # type: ignore[call-overload]
        "keys is a dict and values is missing; give its keys and its values: list(mapping), "
        "list(mapping.values())"
    )
