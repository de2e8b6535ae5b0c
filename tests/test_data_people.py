"""What people with tables met: gaps of pandas, labels that repeat, finer moments, as-of lookups as arrays."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import codecs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")


def test_a_gap_of_pandas_is_a_null_and_makes_no_floats_of_integers(store: alexpy.Store) -> None:
    gap = pandas.Series([2**53 + 1, None], dtype="Int64")
    for call in (lambda: store.put_many([1, 2], gap), lambda: store.put_many(gap, [b"a", b"b"])):
        with pytest.raises(TypeError, match=r"(keys|values)\[1\] is null; drop or fill nulls first"):
            call()
    with pytest.raises(ValueError, match=r"deltas\[1\] is NaN"):
        store.add_many([1, 2], pandas.Series([1, None]))
    assert len(store) == 0
    store.put_many([1, 2], gap.fillna(5))
    assert store.get_array([1, 2], np.int64).tolist() == [2**53 + 1, 5]


def test_text_with_a_gap_is_a_null(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", codec=codecs.text) as store:
        with pytest.raises(TypeError, match=r"values\[1\] is null|takes a str"):
            store.put_many([1, 2], pandas.Series(["a", None]))
        assert len(store) == 0


def test_labels_that_repeat_are_pairs_of_which_the_last_wins(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", codec=codecs.json) as store:
        store.update(pandas.Series([1.0, 2.0, 3.0], index=[1, 1, 2]))
        assert dict(store) == {1: 2.0, 2: 3.0}


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (codecs.numpy("M8[us]"), pandas.Timestamp("2026-01-01T00:00:00.000000001")),
        (codecs.numpy("m8[us]"), pandas.Timedelta(1, "ns")),
        (codecs.numpy("f8"), 2**53 + 1),
        (codecs.numpy("f4"), 2**24 + 1),
        (codecs.numpy("f8"), np.uint64(2**64 - 1)),
    ],
    ids=str,
)
def test_a_number_or_a_moment_that_would_change_is_refused(tmp_path: Path, codec: Any, value: Any) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        with pytest.raises(alexpy.CodecError):
            store[1] = value
        with pytest.raises(alexpy.CodecError):
            store.put_many([1], [value])
        assert len(store) == 0
    exact = {"M": pandas.Timestamp("2026-01-01T00:00:00.000001"), "m": pandas.Timedelta(1, "us")}
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store[1] = exact.get(codec.dtype.kind, 2**24)
        assert len(store) == 1


def test_ends_of_ranges_may_be_finer_than_the_keys(tmp_path: Path) -> None:
    second = np.datetime64("2026-11-29T12:00:00", "s")
    keys = second + np.arange(5)
    with alexpy.open(tmp_path / "store", key="datetime64[s]") as store:
        store.put_many(keys, [b"x"] * 5)
        half = dt.datetime(2026, 11, 29, 12, 0, 1, 500_000)  # noqa: DTZ001 - as the keys, without a zone
        after, before = list(keys[2:]), list(keys[:2])
        assert [*store.scan_keys(half)] == [*store.scan_keys(half, include_start=False)] == after
        assert [*store.scan_keys(None, half)] == [*store.scan_keys(None, half, include_stop=True)] == before
        assert [*store.scan_keys(half, half)] == [*store.scan_keys(half, half, include_stop=True)] == []
        assert store.count(half, np.datetime64("2026-11-29T12:00:03.000000001")) == 2
        assert store.count(np.datetime64("2026-11-29T11:59:59.999"), keys[0]) == 0
        assert store.keys_array(half, keys[3]).tolist() == keys[2:3].tolist()
        with pytest.raises(ValueError, match=r"numpy.datetime64\(key, 's'\) is the one at or before it"):
            store.floor(half)
        assert store.delete_range(half) == 3
        assert [*store] == before


def test_an_end_between_the_last_key_and_the_end_of_the_kind_is_above_all(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", key="datetime64[s]") as store:
        last = np.datetime64(2**63 - 1, "s")
        store[last] = b"last"
        assert [*store.scan_keys(None, last, include_stop=True)] == [last]
        assert [*store.scan_keys(last)] == [last]


@pytest.mark.parametrize("codec", [None, codecs.numpy("f8")], ids=["bytes", "codec"])
def test_as_of_lookups_come_as_arrays(tmp_path: Path, codec: Any) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store.put_many([10, 20], np.array([1.5, 2.5]))
        _, found = store.floor_many([5, 10, 25])
        dtype = None if codec else np.float64
        with pytest.raises(ValueError, match=r"there is no value 0, because its key was not found; fill="):
            found.to_array(dtype)
        filled = found.to_array(dtype, fill=np.nan)
        np.testing.assert_array_equal(filled, [np.nan, 1.5, 2.5])
        whole = store.get_buffers([20, 10]).to_array(dtype)
        assert whole.tolist() == [2.5, 1.5]
        assert not whole.flags.writeable
        with pytest.raises(ValueError, match="value 1 has 8 bytes, and one int16 has 2"):
            found.to_array(np.int16, fill=0)
        assert found.to_array(("f4", 2), fill=1).tolist()[0] == [1, 1]
        for other, fill in (("i8", 2.5), ("i8", np.nan), ("S8", b"longer than it"), ("u8", -1)):
            with pytest.raises(ValueError, match=r"fill is .*, which .* cannot hold"):
                found.to_array(other, fill=fill)
        with pytest.raises(TypeError, match="Python objects"):
            found.to_array(object)
        assert store.get_buffers([]).to_array(np.float64).shape == (0,)
        assert store.get_buffers([10]).to_array(("i4", 2)).shape == (1, 2)


def test_uuids_come_back_from_polars(tmp_path: Path) -> None:
    keys = sorted(uuid.uuid4() for _ in range(5))
    with alexpy.open(tmp_path / "store", key="uuid") as store:
        store.put_many(keys, [b"%d" % at for at in range(5)])
        frame = polars.DataFrame(store.items())
        with alexpy.open(tmp_path / "copy", key="uuid") as copy:
            copy.update(frame)
            assert dict(copy) == dict(store)
        assert store.get_many(frame["key"]) == [*store.values()]
        assert store.get_many(pyarrow.array([key.bytes for key in keys][1:])) == [*store.values()][1:]
        assert store.get_many(pyarrow.array([], pyarrow.binary())) == []
        refused: list[tuple[Callable[[], object], str]] = [
            (lambda: polars.Series([str(key) for key in keys]), r"\[uuid.UUID\(text\) for text in keys\]"),
            (lambda: pyarrow.array([b"short", *[key.bytes for key in keys]]), r"keys\[0\] has 5 bytes"),
            (lambda: pyarrow.array([keys[0].bytes, None]), r"keys\[1\] is null"),
        ]
        for make, words in refused:
            with pytest.raises((TypeError, ValueError), match=words):
                store.get_many(make())


@pytest.mark.parametrize("items", [[1, 2], "ab", [(1, b"a", 2)], [(1,)]], ids=repr)
def test_what_update_cannot_take_apart_is_told_with_what_it_takes(store: alexpy.Store, items: Any) -> None:
    with pytest.raises(
        TypeError, match=r"update\(\) takes a mapping, \(key, value\) pairs, or a table"
    ) as raised:
        store.update(items)
    assert "\n" not in str(raised.value)
    assert len(store) == 0


@pytest.mark.parametrize("binary", [pyarrow.binary(16), pyarrow.binary()], ids=str)
def test_a_stream_of_uuids_is_read_once(tmp_path: Path, binary: Any) -> None:
    keys = sorted(uuid.uuid4() for _ in range(3))
    table = pyarrow.table({"key": pyarrow.array([key.bytes for key in keys], binary)})
    with alexpy.open(tmp_path / "store", key="uuid") as store:
        assert store.put_many(table.to_reader(), [b"a", b"b", b"c"]) == 3
        assert [*store] == keys
