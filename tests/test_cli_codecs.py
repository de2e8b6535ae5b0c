"""The command line and stores with a codec: values are shown, taken and exported as what they mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import codecs

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
    assert "the value of key 7: " in told.err
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
