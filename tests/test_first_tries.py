"""What a person with data tries first: each works, or says in one line what to write instead.

What is said instead is written out in the same test, and works.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IDS = [3, 1, 2]
PRICES = [0.5, 1.5, 2.5]
NAMES = ["c", "a", "b"]
COLUMNS = {"id": IDS, "price": PRICES, "name": NAMES, "raw": [b"c", b"", b"b" * 20]}


def told(call: Callable[[], object], *words: str) -> None:
    """Check that a call is refused by one line with these words."""
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def _pandas() -> Any:
    return pytest.importorskip("pandas").DataFrame(COLUMNS)


def _polars() -> Any:
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def _arrow() -> Any:
    return pa.table(COLUMNS)


TABLES = {"pandas": _pandas, "polars": _polars, "pyarrow": _arrow}


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> Any:
    return TABLES[request.param]()


@pytest.fixture(params=["pandas", "polars"])
def frame(request: pytest.FixtureRequest) -> Any:
    return TABLES[request.param]()


def test_a_table_is_stored_column_by_column(store: alexpy.Store, table: Any) -> None:
    told(lambda: store.update(table), "is a table; put_many(table[key_column], table[value_column])")
    told(lambda: store.put_many(table, table))
    told(lambda: store.put_many(table["id"], table))
    assert len(store) == 0


def test_numbers_of_a_table_go_in_and_come_back_as_an_array(store: alexpy.Store, table: Any) -> None:
    assert store.put_many(table["id"], table["price"]) == 3
    assert store.get_array(table["id"], np.float64).tolist() == PRICES
    assert store.get_many(table["id"]) == [struct.pack("<d", price) for price in PRICES]


def test_bytes_of_a_table_go_in_and_come_back(store: alexpy.Store, table: Any) -> None:
    raw = table["raw"]
    assert store.put_many(table["id"], raw) == 3
    assert dict(store) == {1: b"", 2: b"b" * 20, 3: b"c"}


def test_a_table_of_a_key_and_a_value_column_is_stored_as_it_is(store: alexpy.Store) -> None:
    for table in (
        pytest.importorskip("pandas").DataFrame({"key": IDS, "value": PRICES}),
        pytest.importorskip("polars").DataFrame({"key": IDS, "value": PRICES}),
        pa.table({"key": IDS, "value": PRICES}),
    ):
        store.update(table)
        assert store.get_array(IDS, np.float64).tolist() == PRICES
        store.clear()


def test_nulls_are_to_be_filled_or_dropped(store: alexpy.Store) -> None:
    for column in (pa.array([b"a", None, b"b"]), pytest.importorskip("polars").Series([1.0, None, 2.0])):
        told(lambda column=column: store.put_many(IDS, column), "values[1] is null; drop or fill nulls first")  # type: ignore[misc]
    assert len(store) == 0


def test_text_of_a_dataframe_is_encoded(store: alexpy.Store, frame: Any) -> None:
    told(lambda: store.put_many(frame["id"], frame["name"]), "encode()")
    store.put_many(frame["id"], [text.encode() for text in frame["name"]])
    assert dict(store) == {1: b"a", 2: b"b", 3: b"c"}


def test_text_of_an_arrow_table_is_cast(store: alexpy.Store) -> None:
    table = _arrow()
    told(lambda: store.put_many(table["id"], table["name"]), "cast text to binary")
    store.put_many(table["id"], table["name"].cast(pa.binary()))
    assert dict(store) == {1: b"a", 2: b"b", 3: b"c"}


def test_rows_of_a_dataframe_are_records_or_json(store: alexpy.Store) -> None:
    frame = _pandas()[["id", "price", "name"]]
    numbers = frame[["id", "price"]].to_records(index=False)
    store.put_many(frame["id"], numbers)
    assert store.get_array(IDS, numbers.dtype)["price"].tolist() == PRICES
    told(lambda: store.put_many(frame["id"], frame.to_records(index=False)), "json.dumps(row).encode()")
    rows = frame.to_dict("records")
    told(lambda: store.put_many(frame["id"], rows), "values[0] is a dict", "json.dumps(value).encode()")
    store.put_many(frame["id"], [json.dumps(row).encode() for row in rows])
    assert json.loads(store[3]) == {"id": 3, "price": 0.5, "name": "c"}


def test_structured_rows_go_in_and_come_back(store: alexpy.Store) -> None:
    rows = np.array([(1, 0.5), (2, 1.5)], dtype=[("size", "<i4"), ("price", "<f8")])
    store.put_many([10, 20], rows)
    assert store.get_array([20, 10], rows.dtype).tolist() == [(2, 1.5), (1, 0.5)]
    store[30] = rows[0]
    assert np.frombuffer(store[30], rows.dtype)["size"] == 1


def test_a_dict_and_a_generator_of_pairs_are_stored_by_update(store: alexpy.Store) -> None:
    store.update({1: b"one", 2: b"two"})
    store.update((key, b"%d" % key) for key in range(3, 5))
    store.put_many(range(5, 7), (b"%d" % key for key in range(5, 7)))
    assert dict(store) == {1: b"one", 2: b"two", 3: b"3", 4: b"4", 5: b"5", 6: b"6"}


def test_datetimes_become_integers_as_they_are_told(store: alexpy.Store) -> None:
    moments = [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)]  # noqa: DTZ001 - what people have
    told(lambda: store.put(moments[0], b""), 'key="datetime64[us]"', "numpy.datetime64(key, 'us')")  # type: ignore[arg-type]
    told(lambda: store.put_many(moments, [b"", b""]), "keys[0] is", "numpy.datetime64(key, 'us')")
    array = np.array(moments, "M8[us]")
    told(lambda: store.put_many(array, [b"", b""]), ".astype('datetime64[us]').astype('int64')")
    store.put_many(array.astype("datetime64[us]").astype("int64"), [b"first", b"second"])
    assert store[np.datetime64(moments[1], "us").astype("int64")] == b"second"
    assert np.array(list(store), "M8[us]").tolist() == moments


def test_datetimes_of_a_dataframe_become_integers_as_they_are_told(store: alexpy.Store) -> None:
    pandas = pytest.importorskip("pandas")
    days = pandas.Series(pandas.date_range("2024-01-01", periods=3))
    told(lambda: store.put_many(days, PRICES), ".astype('datetime64[us]').astype('int64')")
    told(lambda: store.get(days[0]), "numpy.datetime64(key, 'us')")
    store.put_many(days.astype("datetime64[us]").astype("int64"), np.array(PRICES))
    assert store[np.datetime64(days[2], "us").astype("int64")] == struct.pack("<d", 2.5)


def test_datetimes_are_keys_of_a_store_that_was_made_for_them(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    days = pandas.Series(pandas.date_range("2024-01-01", periods=3))
    with alexpy.open(tmp_path / "days", key="datetime64[us]") as store:
        store.put_many(days, np.array(PRICES))
        assert store[dt.datetime(2024, 1, 2, tzinfo=dt.UTC)] == store[dt.date(2024, 1, 2)]
        assert [key.item().day for key in store.scan_keys(dt.date(2024, 1, 2))] == [2, 3]
        told(lambda: store["2024-01-01"], "numpy.datetime64(key) reads one from text")  # type: ignore[index]
        told(lambda: store.put_many(["2024-01-01"], [b""]), "keys[0] is a str")  # type: ignore[list-item]
        told(lambda: store.put(np.datetime64("NaT"), b""), "key is NaT")
        told(lambda: store[1704067200], "keys here are moments (datetime64[us])")
        told(lambda: store[days[0] : days[1]], "scan(start, stop)")  # type: ignore[misc]
        told(lambda: store[days], "get_many")


def test_uuids_are_keys_of_a_store_that_was_made_for_them(store: alexpy.Store, tmp_path: Path) -> None:
    ids = [uuid.uuid4() for _ in range(3)]
    with pytest.raises((TypeError, OverflowError)):
        store.put(ids[0], b"")  # type: ignore[call-overload]
    with alexpy.open(tmp_path / "ids", key="uuid") as uuids:
        uuids.put_many(ids, np.array(PRICES))
        assert uuids.get_array(ids, np.float64).tolist() == PRICES
        assert list(uuids) == sorted(ids)
        assert uuids[ids[0].bytes] == uuids[ids[0].int] == uuids[ids[0]]  # type: ignore[index]
        told(lambda: uuids[str(ids[0])], "uuid.UUID(key) reads one from text")  # type: ignore[index]
        told(lambda: uuids.put_many([str(ids[0])], [b""]), "keys[0] is a str", "uuid.UUID(key)")  # type: ignore[list-item]
        told(lambda: uuids[ids[0].bytes[:4]], "has 4 bytes")  # type: ignore[index]
    told(lambda: alexpy.open(tmp_path / "new", key=uuid.UUID), "give the name of a kind")  # type: ignore[call-overload]


def test_text_and_numbers_as_values_say_how_bytes_are_made_of_them(store: alexpy.Store) -> None:
    told(lambda: store.put(1, "text"), "value.encode()")  # type: ignore[arg-type]
    told(lambda: store.put_many([1], ["text"]), "values[0] is a str", "value.encode()")  # type: ignore[list-item]
    told(lambda: store.put(1, 0.5), "struct.pack('<d', value)")  # type: ignore[arg-type]
    told(lambda: store.put_many([1], [0.5]), "values[0] is a float", "struct.pack('<d', value)")  # type: ignore[list-item]
    told(lambda: store.put(1, 7), "value.to_bytes(8, 'little', signed=True)")  # type: ignore[arg-type]
    text = "text"
    store[1] = text.encode()
    store[2] = struct.pack("<d", 0.5)
    store[3] = np.float64(0.5)
    store[4] = (7).to_bytes(8, "little", signed=True)
    assert (store[1].decode(), struct.unpack("<d", store[2])[0], store[2]) == ("text", 0.5, store[3])
    assert store.get_array([4], np.int64).tolist() == [7]


def test_text_of_a_table_is_stored_as_text(tmp_path: Path, table: Any) -> None:
    with alexpy.open(tmp_path / "names", codec=alexpy.codecs.text) as names:
        assert names.put_many(table["id"], table["name"]) == 3
        names[4] = "d"
        assert dict(names) == {1: "a", 2: "b", 3: "c", 4: "d"}
        assert names.get_many(table["id"]) == NAMES
        told(lambda: names.put(5, b"bytes"), "value of key 5", "takes a str, not a bytes")  # type: ignore[call-overload]
    with alexpy.open(tmp_path / "names") as names:
        assert names[1] == "a"


def test_floats_of_a_table_are_stored_as_floats(tmp_path: Path, table: Any) -> None:
    with alexpy.open(tmp_path / "prices", codec=alexpy.codecs.numpy("f8")) as prices:
        assert prices.put_many(table["id"], table["price"]) == 3
        prices[4] = 1
        assert prices.get_many(table["id"]).tolist() == PRICES
        assert prices[1] == 1.5
        assert sum(prices.values()) == 5.5
        told(lambda: prices.put(5, "text"), "value of key 5", "takes float64")
        told(lambda: prices.put_many([5], [None]), "value of key 5", "None is no value")


def test_rows_of_a_table_are_stored_as_records(tmp_path: Path) -> None:
    rows = _pandas()[["id", "price"]].to_records(index=False)
    with alexpy.open(tmp_path / "rows", codec=alexpy.codecs.numpy(rows.dtype)) as store:
        store.put_many(IDS, rows)
        store[4] = (4, 3.5)
        assert store[4]["price"] == 3.5
        assert pytest.importorskip("pandas").DataFrame(store.get_many(IDS))["price"].tolist() == PRICES


def test_rows_of_a_table_are_stored_as_json(tmp_path: Path) -> None:
    rows = _pandas()[["id", "price", "name"]].to_dict("records")
    with alexpy.open(tmp_path / "rows", codec=alexpy.codecs.json) as store:
        store.put_many(IDS, rows)
        assert store[3] == {"id": 3, "price": 0.5, "name": "c"}
        store.update({4: ["a", 1, None], 5: np.float64(0.5)})
        assert store.get_many([4, 5]) == [["a", 1, None], 0.5]
        told(lambda: store.put(6, {1, 2}), "value of key 6", "JSON has no set")
        told(lambda: store.put(6, float("nan")), "value of key 6", "not JSON compliant")


def test_embeddings_are_rows_of_one_array(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).random((3, 8), np.float32)
    with alexpy.open(tmp_path / "vectors", codec=alexpy.codecs.numpy(np.float32, 8)) as store:
        store.put_many(IDS, vectors)
        assert (store.get_many(IDS) == vectors).all()
        told(lambda: store.put(1, vectors), "value of key 1", "takes an array of shape (8,), not (3, 8)")
        told(lambda: store.put_many(IDS, vectors[:, :4]), "must have the shape (keys, 8), not (3, 4)")


def test_a_codec_is_chosen_when_the_store_is_made(tmp_path: Path) -> None:
    alexpy.open(tmp_path / "bytes").close()
    with pytest.raises(alexpy.FormatError, match="text"):
        alexpy.open(tmp_path / "bytes", codec=alexpy.codecs.text)
    told(lambda: alexpy.open(tmp_path / "new", codec="json"), "codec is a str; give one of alexpy.codecs")  # type: ignore[arg-type]
    told(lambda: alexpy.open(tmp_path / "new", codec=json), "codec is a module; give one of alexpy.codecs")  # type: ignore[arg-type]


def test_floats_and_text_as_keys_are_to_be_converted(store: alexpy.Store, frame: Any) -> None:
    told(lambda: store.put_many(frame["price"], PRICES), "astype('int64') if no fraction can be lost")
    told(lambda: store[1.0], "int(key), if no fraction can be lost")  # type: ignore[index]
    told(lambda: store.put_many(frame["name"], PRICES), "keys")
    told(lambda: store["1"], "int(key) reads one from text")  # type: ignore[index]


@pytest.fixture
def filled(store: alexpy.Store) -> Iterator[alexpy.Store]:
    store.put_many(IDS, np.array(PRICES))
    return store


def test_a_store_is_read_back_as_a_dataframe(filled: alexpy.Store) -> None:
    pandas = pytest.importorskip("pandas")
    # pandas makes a list of a mapping that is no dict, which is its keys, and asks it for nothing else.
    assert pandas.DataFrame(filled).columns.tolist() == [0]
    read = pandas.DataFrame(filled.items(), columns=["id", "price"])
    assert read["id"].tolist() == [1, 2, 3]
    for source in (
        filled,
        filled.items(),
        filled.snapshot(),
        filled.to_arrow(1, 3),
        next(filled.scan_batches()),
    ):
        read = pandas.DataFrame.from_arrow(source)
        assert read.columns.tolist() == ["key", "value"]
        assert read.to_numpy().tolist() == [list(item) for item in filled.scan(1, 1 + len(read))]
    keys = np.fromiter(filled, np.int64)
    read = pandas.DataFrame({"id": keys, "price": filled.get_array(keys, np.float64)})
    assert read["price"].tolist() == [1.5, 2.5, 0.5]


def test_a_store_is_read_back_through_arrow(filled: alexpy.Store) -> None:
    polars = pytest.importorskip("polars")
    # polars makes a column of each item of a mapping.
    told(lambda: polars.DataFrame(filled), "name must be a string")
    for source in (filled.items(), filled.to_arrow(), filled.snapshot().items(), next(filled.scan_batches())):
        assert polars.DataFrame(source).rows() == list(filled.items())
    assert polars.from_arrow(filled).struct.unnest().rows() == list(filled.items())
    for source in (filled, filled.items(), filled.snapshot(), filled.to_arrow()):
        assert pa.table(source).to_pylist() == [{"key": key, "value": value} for key, value in filled.items()]
    assert pa.record_batch(next(filled.scan_batches()))["key"].to_pylist() == [1, 2, 3]


def test_a_slice_and_a_list_of_keys_name_their_calls(filled: alexpy.Store, frame: Any) -> None:
    told(lambda: filled[1:3], "scan(start, stop)")  # type: ignore[index]
    assert [key for key, _ in filled.scan(1, 3)] == [1, 2]
    told(lambda: filled[[1, 2]], "get_many")  # type: ignore[index]
    told(lambda: filled[frame["id"]], "get_many")
    assert len(filled.get_many([1, 2])) == 2
    told(lambda: filled.get_many(slice(1, 3)), "scan(start, stop)")


def test_length_is_len_and_that_of_a_range_count(filled: alexpy.Store) -> None:
    assert len(filled) == 3
    assert filled.count(2) == 2


def test_progress_is_a_function_of_bytes(store: alexpy.Store, tmp_path: Path) -> None:
    told(lambda: store.bulk_load(IDS, np.array(PRICES), progress=True), "progress is a bool; give a function")  # type: ignore[arg-type]
    assert len(store) == 0
    seen: list[tuple[int, int]] = []
    store.bulk_load(IDS, np.array(PRICES), progress=lambda done, total: seen.append((done, total)))
    store.backup(tmp_path / "copy", progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert all(0 <= done <= total for done, total in seen)
