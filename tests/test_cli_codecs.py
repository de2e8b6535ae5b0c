"""The command line and stores with a codec: values are shown, taken and exported as what they mean."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, cast

import hypothesis
import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

import alexpy
from alexpy import codecs
from alexpy.cli.meaning import meaning_named

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

ROW = np.dtype([("size", "<i4"), ("name", "S3")])
# Codec, values, the line of each, and its JSON.
STORES: dict[str, tuple[codecs.Codec[Any], list[Any], list[str], list[Any]]] = {
    "text": (codecs.text, ["one", "ä"], ["one", "ä"], ["one", "ä"]),
    "json": (
        codecs.json,
        [{"a": [1, None]}, "5", 5],
        ['{"a":[1,null]}', '"5"', "5"],
        [{"a": [1, None]}, "5", 5],
    ),
    "float": (codecs.numpy("f8"), [0.5, 2.0], ["0.5", "2.0"], [0.5, 2.0]),
    "vector": (codecs.numpy("i2", 2), [[1, 2], [3, -4]], ["[1,2]", "[3,-4]"], [[1, 2], [3, -4]]),
    "record": (codecs.numpy(ROW), [(1, b"abc")], ['[1,"abc"]'], [[1, "abc"]]),
    "struct": (codecs.struct("<id"), [(1, 0.5)], ["[1,0.5]"], [[1, 0.5]]),
    "bytes": (codecs.struct("<3s"), [b"abc"], ['"abc"'], ["abc"]),
}


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stored(kind: str, store_path: Path) -> Path:
    codec, values, _, _ = STORES[kind]
    with alexpy.open(store_path, codec=codec) as store:
        store.update(enumerate(values))
    return store_path


def contents(path: Path) -> list[Any]:
    with alexpy.open(path) as store:
        return [value.tolist() if hasattr(value, "tolist") else value for value in store.values()]


def test_values_are_shown_as_what_they_mean(run: CommandLine, kind: str, stored: Path) -> None:
    _, _, lines, values = STORES[kind]
    shown = "".join(f"{key}\t{line}\n" for key, line in enumerate(lines))
    assert run("scan", stored).out.decode() == shown
    keys = range(len(lines))
    if len(lines) > 1:
        assert run("get", stored, *keys).out.decode() == shown
    told = [json.loads(line) for line in run("scan", stored, "--json").out.splitlines()]
    assert told == [{"key": key, "value": value} for key, value in enumerate(values)]
    assert [json.loads(line) for line in run("get", stored, *keys, "--json").out.splitlines()] == told
    changes = [json.loads(line) for line in run("changes", stored, "--json").out.splitlines()]
    assert [change["value"] for change in changes] == values


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet", "jsonl.gz"])
@pytest.mark.parametrize("base64", [False, True])
def test_what_is_exported_loads_back(
    run: CommandLine, tmp_path: Path, kind: str, stored: Path, suffix: str, base64: bool
) -> None:
    if base64 and suffix == "parquet":
        return
    file, copy = tmp_path / f"all.{suffix}", tmp_path / "copy"
    flags = ["--base64"] if base64 else []
    assert run("export", stored, file, *flags).code == 0
    alexpy.open(copy, codec=STORES[kind][0]).close()
    column = "value_base64" if base64 else "value"
    loaded = run("load", copy, file, "--key", "key", "--value", column, *flags)
    assert loaded.code == 0, loaded.err
    assert contents(copy) == contents(stored)
    if suffix == "jsonl" and not base64:
        rows = [json.loads(line)["value"] for line in file.read_text().splitlines()]
        assert rows == STORES[kind][3]


@pytest.mark.parametrize("to", [pa.binary(), pa.large_binary(), pa.binary(8), pa.string()])
@pytest.mark.parametrize("in_dictionary", [False, True])
def test_binary_columns_of_parquet_are_the_stored_bytes_and_text_is_json(
    run: CommandLine, store_path: Path, tmp_path: Path, to: pa.DataType, in_dictionary: bool
) -> None:
    cells = pa.array(["12345678"] if to == pa.string() else [b"12345678"], to)
    file = tmp_path / "f.parquet"
    pq.write_table(pa.table({"id": [1], "v": cells.dictionary_encode() if in_dictionary else cells}), file)
    columns = ("--key", "id", "--value", "v")
    assert run("load", store_path, file, *columns, "--codec", "numpy('f8')").code == 0
    expected = 12345678.0 if to == pa.string() else np.frombuffer(b"12345678", "f8")[0]
    assert contents(store_path) == [expected]


def test_a_value_is_put_as_it_is_shown(run: CommandLine, kind: str, stored: Path) -> None:
    before = contents(stored)
    for key, line in enumerate(STORES[kind][2]):
        assert run("put", stored, key + 10, line).code == 0
    assert contents(stored) == before * 2


@pytest.mark.parametrize(
    ("codec", "text", "words"),
    [
        (codecs.json, "not json", "given as JSON (text in double quotes)"),
        (codecs.json, "null", "null is no value"),
        (
            codecs.numpy("f8"),
            "[1]",
            "the values of this store are numpy('<f8', ()): it takes an array of shape",
        ),
        (codecs.numpy("f8"), "word", "given as JSON"),
        (codecs.numpy("i4"), "1.5", "it takes int32, not float64"),
        (codecs.struct("<id"), "[1]", "the values of this store are struct('<id')"),
    ],
    ids=["json", "null", "shape", "word", "fraction", "fields"],
)
def test_what_is_no_value_is_refused(
    run: CommandLine, store_path: Path, tmp_path: Path, codec: Any, text: str, words: str
) -> None:
    alexpy.open(store_path, codec=codec).close()
    told = run("put", store_path, 1, text)
    assert told.code == 2
    assert words in told.err
    (tmp_path / "rows.csv").write_text(f'id,value\n7,"{text}"\n')
    told = run("load", store_path, tmp_path / "rows.csv", "--key", "id", "--value", "value")
    assert told.code == 2
    assert "rows.csv, line 2: the value of key 7: " in told.err
    assert words in told.err
    assert contents(store_path) == []


def test_a_store_with_a_codec_of_ones_own_is_looked_after_and_shows_bytes(
    run: CommandLine, store_path: Path, tmp_path: Path
) -> None:
    own = alexpy.Codec("own", lambda text: text[::-1].encode(), lambda data: data.decode()[::-1])
    with alexpy.open(store_path, codec=own) as store:
        store[1] = "abc"
    assert run("get", store_path, 1).out == b"cba"
    for command in (["stats"], ["verify"], ["compact"], ["checkpoint"], ["backup", tmp_path / "copy"]):
        assert run(command[0], store_path, *command[1:]).code == 0
    with alexpy.open(tmp_path / "copy", codec=own) as store:
        assert store[1] == "abc"


def test_no_text_is_put_where_only_a_program_knows_how(
    run: CommandLine, store_path: Path, tmp_path: Path
) -> None:
    own = alexpy.Codec("zlib", zlib.compress, zlib.decompress)
    alexpy.open(store_path, codec=own).close()
    told = run("put", store_path, 1, "abc")
    assert told.code == 2
    assert "made by the codec 'zlib'" in told.err
    (tmp_path / "rows.csv").write_text("id,value\n7,abc\n")
    told = run("load", store_path, tmp_path / "rows.csv", "--key", "id", "--value", "value")
    assert told.code == 2
    assert "made by the codec 'zlib'" in told.err
    with alexpy.open(store_path, codec=own) as store:
        assert len(store) == 0
        store[1] = b"abc"
    # What the codec made goes from store to store as bytes.
    assert run("export", store_path, tmp_path / "all.jsonl", "--base64").code == 0
    alexpy.open(tmp_path / "copy", codec=own).close()
    loaded = run(
        "load",
        tmp_path / "copy",
        tmp_path / "all.jsonl",
        "--key",
        "key",
        "--value",
        "value_base64",
        "--base64",
    )
    assert loaded.code == 0, loaded.err
    with alexpy.open(tmp_path / "copy", codec=own) as store:
        assert store[1] == b"abc"


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (codecs.numpy("S3"), b"\xff\xfe"),
        (codecs.struct("<2s"), b"\xff\x00"),
        (codecs.numpy(ROW), (1, b"\xff")),
        # Another NaN than text makes.
        (codecs.numpy("f8"), np.frombuffer(b"\1\0\0\0\0\0\xf8\x7f")[0]),
    ],
    ids=["numpy", "struct", "record", "nan"],
)
def test_what_text_does_not_hold_is_not_exported_as_something_else(
    run: CommandLine, store_path: Path, tmp_path: Path, codec: Any, value: Any
) -> None:
    with alexpy.open(store_path, codec=codec) as store:
        store[1] = value
        before = bytes(store.get_view(1))
    for suffix in ("csv", "jsonl"):
        told = run("export", store_path, tmp_path / f"all.{suffix}")
        assert told.code == 2
        assert "the value of key 1 is not" in told.err
        assert "--base64" in told.err
    assert "value_base64" in json.loads(run("get", store_path, "1", "--json").out)
    assert run("get", store_path, "1").out
    assert run("export", store_path, tmp_path / "all.csv", "--base64").code == 0
    alexpy.open(tmp_path / "copy", codec=codec).close()
    run(
        "load", tmp_path / "copy", tmp_path / "all.csv", "--key", "key", "--value", "value_base64", "--base64"
    )
    with alexpy.open(tmp_path / "copy") as copy:
        assert bytes(copy.get_view(1)) == before


def test_text_that_json_has_and_utf_8_has_not_is_refused(run: CommandLine, store_path: Path) -> None:
    alexpy.open(store_path, codec=codecs.json).close()
    told = run("put", store_path, 1, '"\\ud800"')
    assert told.code == 2
    assert "JSON in UTF-8" in told.err
    assert contents(store_path) == []


@st.composite
def rows_in_memory(draw: st.DrawFn) -> tuple[codecs.Rows, bytes]:
    """Draw a codec and bytes of a value: any at all, so that NaNs and halves of characters are among them."""
    simple = numpy_strategies.scalar_dtypes().filter(lambda dtype: dtype.itemsize > 0)
    dtype = draw(
        st.one_of(
            simple,
            st.sampled_from(["g", "G", "V3", "S3", "U2", "M8[ns]", "m8[3s]", "?", ">f4"]).map(np.dtype),
            numpy_strategies.nested_dtypes(subtype_strategy=simple, max_leaves=4),
        )
    )
    shape = draw(st.sampled_from([(), (2,), (1, 3)]))
    try:
        codec = codecs.numpy(dtype, shape)
    except ValueError:
        hypothesis.reject()
    rows = cast("codecs.Rows", codec)
    size = rows._row_bytes
    plain = draw(st.booleans())
    return rows, bytes(size) if plain else draw(st.binary(min_size=size, max_size=size))


@hypothesis.given(rows_in_memory())
@hypothesis.settings(max_examples=400, suppress_health_check=list(hypothesis.HealthCheck))
def test_every_array_is_told_exactly_or_as_its_bytes(drawn: tuple[codecs.Rows, bytes]) -> None:
    codec, data = drawn
    meaning = meaning_named(codec.name)
    assert "\n" not in meaning.shown(data)
    fields = meaning.fields(data)
    if "value" in fields:
        line = json.loads(json.dumps(fields["value"]))
        again = meaning.stored(json.dumps(line).encode())
        assert told_bytes(codec.row(again)) == told_bytes(codec.row(data))
        assert json.loads(meaning.text(data)) == line


def told_bytes(array: Any) -> list[bytes]:
    if array.dtype.names is None:
        return [array.tobytes()]
    return [data for name in array.dtype.names for data in told_bytes(array[name])]


@pytest.mark.parametrize(
    ("dtype", "shape", "value", "line"),
    [
        ("f8", (), np.nan, '"nan"'),
        ("f4", (2,), [1.5, -np.inf], '[1.5,"-inf"]'),
        ("c16", (), 1 + 2j, '"(1+2j)"'),
        ("g", (), np.longdouble("0.1"), '"0.1"'),
        ("M8[ns]", (), np.datetime64("2026-11-29T12:00:00.000000001"), '"2026-11-29T12:00:00.000000001"'),
        ("m8[s]", (), np.timedelta64(5, "s"), "5"),
        ("m8[s]", (), np.timedelta64("NaT"), '"NaT"'),
        ("S3", (2,), [b"ab", b"c"], '["ab","c"]'),
        ("V2", (), b"a\0", '"a\\u0000"'),
        ("U2", (), "ä", '"ä"'),
        (
            "i4,(2,)M8[D],S2",
            (),
            (1, np.array(["2026-01-02", "NaT"], "M8[D]"), b"x"),
            '[1,["2026-01-02","NaT"],"x"]',
        ),
        ([("a", "i4"), ("b", [("c", "f4"), ("d", "m8[D]")])], (), (1, (0.5, 3)), "[1,[0.5,3]]"),
        ("i4,f8", (2,), [(1, 0.5), (2, 1.5)], "[[1,0.5],[2,1.5]]"),
    ],
)
def test_every_kind_of_array_has_a_text(dtype: Any, shape: Any, value: Any, line: str) -> None:
    codec = cast("codecs.Rows", codecs.numpy(dtype, shape))
    data = bytes(codec.encode(value))
    meaning = meaning_named(codec.name)
    assert meaning.text(data) == line
    assert meaning.stored(line.encode()) == data


def test_another_codec_or_kind_is_refused_in_the_words_of_the_command_line(
    run: CommandLine, store_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("id,value\n7,5\n")
    load = ("load", store_path, tmp_path / "rows.csv", "--key", "id", "--value", "value")
    alexpy.open(store_path, key="uint64", codec=codecs.json).close()
    for told in (run(*load, "--key-kind", "uuid"), run("put", store_path, 1, "5", "--key-kind", "uuid")):
        assert told.code == 3
        assert "are of kind uint64, not uuid; leave out --key-kind, or give uint64" in told.err
    told = run(*load, "--codec", "text")
    assert "are of the codec json, not text; leave out --codec" in told.err
    stats = json.loads(run("stats", store_path, "--json").out)
    assert (stats["key_kind"], stats["codec"], stats["keys"]) == ("uint64", "json", 0)
    alexpy.open(tmp_path / "plain").close()
    told = run("load", tmp_path / "plain", *load[2:], "--codec", "text")
    assert "are plain bytes, made without --codec; leave it out" in told.err


@pytest.mark.parametrize(
    ("dtype", "text"),
    [
        ("m8[s]", "9223372036854775808"),
        ("m8[s]", "18446744073709551615"),
        ("m8[s]", '"99999999999999999999"'),
        ("m8[s]", '""'),
        ("M8[s]", '"now"'),
        ("M8[s]", '"2026-01-01T00:00Z"'),
        ("M8[s]", '""'),
        ("f4", "1e400"),
        ("f8", "-1e400"),
        ("i4,S3", "[" * 700 + "]" * 700),
    ],
)
@pytest.mark.filterwarnings("error")
def test_text_that_would_be_another_value_is_refused(
    run: CommandLine, store_path: Path, dtype: str, text: str
) -> None:
    alexpy.open(store_path, codec=codecs.numpy(dtype)).close()
    told = run("put", store_path, 1, text)
    assert (told.code, told.err.count("\n")) == (2, 1), told.err
    assert contents(store_path) == []


def test_what_is_no_character_stops_no_command(run: CommandLine, store_path: Path, tmp_path: Path) -> None:
    with alexpy.open(store_path, codec=codecs.numpy("<U1")) as store:
        store.update({1: "A", 2: np.array([0x7FFF_FFFF], "<u4").view("<U1").reshape(()), 3: "B"})
    lines = run("scan", store_path).succeeds().out.decode().splitlines()
    assert [line[0] for line in lines] == ["1", "2", "3"]
    assert "value_base64" in run("get", store_path, "2", "--json").out.decode()
    told = run("export", store_path, tmp_path / "all.csv")
    assert (told.code, "the value of key 2" in told.err) == (2, True)


def test_a_value_of_another_length_is_named_with_its_line(
    run: CommandLine, store_path: Path, tmp_path: Path
) -> None:
    alexpy.open(store_path, codec=codecs.struct("<id")).close()
    (tmp_path / "rows.csv").write_text("key,value\n1,MTIz\n")
    told = run("load", store_path, tmp_path / "rows.csv", "--key", "key", "--value", "value", "--base64")
    assert told.code == 2
    assert "rows.csv, line 2: the value of key 1: there are 3 bytes, and one value has 12" in told.err


def test_deep_json_is_shown_and_refused_without_a_traceback(run: CommandLine, store_path: Path) -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    with alexpy.open(store_path, codec=codecs.json) as store:
        store[1] = deep
    assert run("get", store_path, "1", "--json").code == 0
    assert run("put", store_path, "2", "[" * 5000 + "]" * 5000).code == 2


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("numpy('f8')", "numpy('<f8', ())"),
        ("numpy('f4', 3)", "numpy('<f4', (3,))"),
        ("struct('<id')", "struct('<id')"),
    ],
)
def test_a_codec_is_named_as_it_is_called(run: CommandLine, tmp_path: Path, given: str, name: str) -> None:
    (tmp_path / "rows.csv").write_text("id,value\n")
    rows = tmp_path / "rows.csv"
    told = run("load", tmp_path / "store", rows, "--key", "id", "--value", "value", "--codec", given)
    assert told.code == 0, told.err
    assert json.loads(run("stats", tmp_path / "store", "--json").out)["codec"] == name
    # What stats show is the same codec.
    told = run("load", tmp_path / "store", rows, "--key", "id", "--value", "value", "--codec", name)
    assert told.code == 0, told.err
