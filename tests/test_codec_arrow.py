"""What Arrow libraries see of a store with a codec: text, numbers, lists and structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import alexpy
from alexpy import _mapping, codecs

if TYPE_CHECKING:
    from pathlib import Path

ROW = np.dtype([("size", "<i4"), ("price", "<f8"), ("pair", "<i2", (2,)), ("name", "S3"), ("good", "?")])
# Codec, values, the Arrow type, and what pyarrow makes of the values.
TYPES: dict[str, tuple[Any, list[Any], pa.DataType, list[Any]]] = {
    "bytes": (None, [b"a", b""], pa.large_binary(), [b"a", b""]),
    "text": (codecs.text, ["ä", ""], pa.large_string(), ["ä", ""]),
    "json": (codecs.json, [{"a": 1}, "b"], pa.large_string(), ['{"a":1}', '"b"']),
    "bool": (codecs.numpy("?"), [True, False], pa.bool_(), [True, False]),
    "half": (codecs.numpy("f2"), [0.5, 1.5], pa.float16(), [0.5, 1.5]),
    **{
        code: (codecs.numpy(code), [1, 2], pa.from_numpy_dtype(np.dtype(code)), [1, 2])
        for code in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    },
    "big-endian": (codecs.numpy(">i2"), [1, 2], pa.binary(2), [b"\0\1", b"\0\2"]),
    "fixed": (codecs.numpy("S3"), [b"abc", b"de"], pa.binary(3), [b"abc", b"de\0"]),
    "moment": (
        codecs.numpy("M8[ms]"),
        [np.datetime64("2024-01-01"), np.datetime64("NaT")],
        pa.timestamp("ms"),
        [np.datetime64("2024-01-01T00:00:00").astype(object), None],
    ),
    "vector": (codecs.numpy("f4", 2), [[1, 2], [3, 4]], pa.list_(pa.float32(), 2), [[1, 2], [3, 4]]),
    "matrix": (
        codecs.numpy("i2", (1, 2)),
        [[[1, 2]], [[3, 4]]],
        pa.list_(pa.list_(pa.int16(), 2), 1),
        [[[1, 2]], [[3, 4]]],
    ),
    "record": (
        codecs.numpy(ROW),
        [(1, 0.5, [1, 2], b"abc", True)],
        pa.struct(
            [
                ("size", pa.int32()),
                ("price", pa.float64()),
                ("pair", pa.list_(pa.int16(), 2)),
                ("name", pa.binary(3)),
                ("good", pa.bool_()),
            ]
        ),
        [{"size": 1, "price": 0.5, "pair": [1, 2], "name": b"abc", "good": True}],
    ),
    "struct": (
        codecs.struct("<ixd"),
        [(1, 0.5), (2, 1.5)],
        pa.struct([("f0", pa.int32()), ("f1", pa.float64())]),
        [{"f0": 1, "f1": 0.5}, {"f0": 2, "f1": 1.5}],
    ),
    "own": (alexpy.Codec("own", str.encode, bytes.decode), ["a"], pa.large_binary(), [b"a"]),
}


@pytest.mark.parametrize("kind", TYPES)
def test_columns_have_the_type_of_the_values(tmp_path: Path, kind: str) -> None:
    codec, values, expected, seen = TYPES[kind]
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        assert pa.table(store.to_arrow()).schema.field("value").type == expected
        store.update(enumerate(values))
        keys = list(range(len(values)))
        for reads in (store, store.snapshot()):
            table = pa.table(reads.to_arrow())
            table.validate(full=True)
            assert table.schema.field("value").type == expected
            assert table.to_pydict() == {"key": keys, "value": seen}
            batch = pa.record_batch(next(reads.scan_batches()).to_arrow())
            assert batch.column("value").to_pylist() == seen
            reverse = pa.record_batch(next(reads.scan_batches(reverse=True)).to_arrow())
            assert reverse.column("value").to_pylist() == seen[::-1]
            some = pa.array(reads.get_buffers([99, *keys]).to_arrow())
            some.validate(full=True)
            assert some.type == expected
            assert some.to_pylist() == [None, *seen]
            floors = pa.array(reads.floor_many([-1, 0])[1].to_arrow())
            assert floors.to_pylist() == [None, seen[0]]


def test_dataframes_of_any_library_see_typed_columns(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    with alexpy.open(tmp_path / "floats", codec=codecs.numpy("f8")) as floats:
        floats.put_many(range(100_000), np.arange(100_000.0))
        frame = polars.DataFrame(floats.to_arrow())
        assert frame["value"].dtype == polars.Float64
        assert frame["value"].sum() == sum(range(100_000))
    with alexpy.open(tmp_path / "rows", codec=codecs.struct("<id")) as rows:
        rows.put_many([1, 2], [(1, 0.5), (2, 1.5)])
        frame = polars.DataFrame(rows.to_arrow()).unnest("value")
        assert frame.to_dict(as_series=False) == {"key": [1, 2], "f0": [1, 2], "f1": [0.5, 1.5]}
    with alexpy.open(tmp_path / "text", codec=codecs.text) as text:
        text.put_many([1, 2], ["a", "b"])
        assert polars.DataFrame(text.to_arrow())["value"].to_list() == ["a", "b"]


def test_a_batch_is_an_array_of_the_codecs_dtype(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "vectors", codec=codecs.numpy("f4", 2)) as store:
        store.put_many([1, 2], [[1, 2], [3, 4]])
        assert next(store.scan_batches()).to_array().tolist() == [[1, 2], [3, 4]]
    with alexpy.open(tmp_path / "text", codec=codecs.text) as text:
        text[1] = "a"
        with pytest.raises(TypeError, match="dtype is None"):
            next(text.scan_batches()).to_array()


def test_bytes_that_are_no_values_are_an_error_of_the_reading(tmp_path: Path) -> None:
    for name, codec in (("numpy('<f8', ())", codecs.numpy("f8")), ("text", codecs.text)):
        # A store that another program has written: the name of the codec, and any bytes.
        path = tmp_path / codec.name[:4]
        alexpy.open(path, codec=codec).close()
        with alexpy._store.open_raw(str(path), config=alexpy.Config()) as raw:
            raw[7] = b"\xff\xff"
        with alexpy.open(path) as store:
            assert store.codec_name == name
            with pytest.raises(alexpy.CodecError, match="value of key 7"):
                store.get(7)
            with pytest.raises((pa.ArrowException, OSError)):
                pa.table(store.to_arrow())
            with pytest.raises(ValueError, match=r"value|utf|UTF"):
                pa.record_batch(next(store.scan_batches()).to_arrow())


@pytest.mark.parametrize("kind", TYPES)
def test_a_store_itself_and_its_columns_are_arrow_data_of_the_values(tmp_path: Path, kind: str) -> None:
    codec, values, expected, seen = TYPES[kind]
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store.update(enumerate(values))
        for source in (store, store.snapshot(), store.items(), next(store.scan_batches())):
            made = pa.table(source) if hasattr(source, "__arrow_c_stream__") else pa.record_batch(source)
            assert made.schema.field("value").type == expected
            assert made.to_pydict() == {"key": list(range(len(values))), "value": seen}
        assert pa.schema(store).field("value").type == expected
        assert pa.array(store.get_buffers([99, 0])).to_pylist() == [None, seen[0]]


def _same(one: Any, other: Any) -> bool:
    """Whether both are equal, or no moment."""
    return _mapping.same(one, other) or str(one) == str(other) == "NaT"


@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_columns_are_values(tmp_path: Path, kind: str) -> None:
    codec, values, _, _ = TYPES[kind]
    store = alexpy.open(tmp_path / "store", codec=codec)
    store.update(enumerate(values))
    keys = list(range(len(values)))
    expected = [store[key] for key in keys]
    batch, buffers = next(store.scan_batches()), store.get_buffers([99, *keys])
    floors = store.floor_many([-1, 0])[1]
    store.close()
    for got in (list(batch), [batch[key] for key in keys]):
        assert [key for key, _ in got] == keys
        assert all(map(_same, [value for _, value in got], expected))
        assert [type(value) for _, value in got] == [type(value) for value in expected]
    for some in (list(buffers), [buffers[at] for at in range(len(keys) + 1)]):
        assert some[0] is None
        assert all(map(_same, some[1:], expected))
    assert floors[0] is None
    assert _same(floors[1], expected[0])


def test_a_row_that_is_no_value_names_its_key(tmp_path: Path) -> None:
    alexpy.open(tmp_path / "store", codec=codecs.text).close()
    with alexpy._store.open_raw(str(tmp_path / "store"), config=alexpy.Config()) as raw:
        raw[7] = b"\xff"
    with alexpy.open(tmp_path / "store") as store:
        for read in (
            lambda: next(store.scan_batches())[0],
            lambda: list(next(store.scan_batches())),
            lambda: store.get_buffers([1, 7])[1],
            lambda: list(store.floor_many([1, 9])[1]),
        ):
            with pytest.raises(alexpy.CodecError, match="value of key 7") as raised:
                read()
            assert raised.value.key == 7


@pytest.mark.parametrize("layout", ["string", "large_string", "string_view", "binary", "int8"])
def test_a_requested_layout_of_text_is_granted_and_of_rows_ignored(tmp_path: Path, layout: str) -> None:
    wanted = pa.schema([("key", pa.int64()), ("value", getattr(pa, layout)())])
    with alexpy.open(tmp_path / "text", codec=codecs.text) as text:
        text.update({1: "ä" * 20, 2: "b"})
        table = pa.RecordBatchReader.from_stream(text, wanted).read_all()
        table.validate(full=True)
        granted = wanted.field("value").type if "string" in layout else pa.large_string()
        assert table.schema.field("value").type == granted
        assert table["value"].to_pylist() == ["ä" * 20, "b"]
    with alexpy.open(tmp_path / "floats", codec=codecs.numpy("f8")) as floats:
        floats[1] = 0.5
        assert pa.RecordBatchReader.from_stream(floats, wanted).read_all()["value"].type == pa.float64()


ROUND = [kind for kind in TYPES if kind not in {"json", "own", "moment", "matrix"}]


@pytest.mark.parametrize("kind", ROUND)
def test_what_comes_out_as_a_table_goes_into_another_store(tmp_path: Path, kind: str) -> None:
    codec, values, _, _ = TYPES[kind]
    with alexpy.open(tmp_path / "one", codec=codec) as one, alexpy.open(tmp_path / "two", codec=codec) as two:
        one.update(enumerate(values))
        for table in (one.to_arrow(), one.snapshot(), pa.table(one), next(one.scan_batches())):
            two.clear()
            two.update(table)
            assert two == one
        two.__ior__(pa.table(one))
        assert two == one


def test_columns_that_a_codec_does_not_read_are_refused(tmp_path: Path) -> None:
    text = pa.table({"key": [1], "value": ["a"]})
    for number, (codec, words) in enumerate(
        (
            (codecs.json, "the codec json does not read"),
            (
                codecs.numpy("f8"),
                "an Arrow array of string, and the codec of this store takes rows of float64",
            ),
            (codecs.struct("<id"), "an Arrow array of string"),
        )
    ):
        with alexpy.open(tmp_path / str(number), codec=codec) as store:
            with pytest.raises(TypeError, match=words):
                store.update(text)
            assert len(store) == 0
    with alexpy.open(tmp_path / "text", codec=codecs.text) as store:
        with pytest.raises(
            TypeError, match="an Arrow array of int64, and the codec of this store takes text"
        ):
            store.update(pa.table({"key": [1], "value": [1]}))
        not_utf8 = pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(np.array([0, 1], "i4")), pa.py_buffer(b"\xff")]
        )
        with pytest.raises(ValueError, match="cannot be read"):
            store.put_many([1], not_utf8)
        assert len(store) == 0


def test_text_of_every_layout_is_read(tmp_path: Path) -> None:
    words = ["ä", "", "a long text that no view holds"]
    views = pa.array(words, pa.string_view())
    with alexpy.open(tmp_path / "store", codec=codecs.text) as store:
        for array in (
            views,
            views[1:],
            pa.array(words)[1:],
            pa.array(words, pa.large_string())[1:],
            pa.array(words).dictionary_encode()[1:],
            pa.chunked_array([], pa.string()),
        ):
            store.clear()
            assert store.put_many(range(len(array)), array) == len(array)
            assert list(store.values()) == array.to_pylist()
