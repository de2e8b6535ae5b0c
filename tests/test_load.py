"""`alexpy load`: the store gets exactly the rows of the file; a bad file is refused, naming the place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alexpy
from alexpy.cli import rows
from alexpy.cli.batches import BATCH_BYTES, batched
from command_line import CommandLine, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY_MIN, KEY_MAX = -(2**63), 2**63 - 1


@pytest.fixture
def load(run: CommandLine, store_path: Path, tmp_path: Path) -> Any:
    """Write a file and load it: `load("file.csv", b"...", "--value", "v")`; the key is column `id`."""

    def load(name: str, content: bytes, *options: object, key: str = "id") -> Any:
        file = tmp_path / name
        file.write_bytes(content)
        return run("load", store_path, file, "--key", key, *options)

    return load


def items(path: Path) -> dict[int, bytes]:
    with alexpy.open(path, read_only=True) as store:
        return dict(store.items())


# --- what a file becomes --------------------------------------------------------------------------------


def test_a_row_becomes_compact_json_with_its_columns_in_order(load: Any, store_path: Path) -> None:
    load("f.csv", b"name,id,note\nAnn,7,\nJos\xc3\xa9,-1,a b\n")
    assert items(store_path) == {
        7: b'{"name":"Ann","id":"7","note":""}',
        -1: '{"name":"José","id":"-1","note":"a b"}'.encode(),
    }


def test_value_takes_one_column_as_its_text(load: Any, store_path: Path) -> None:
    load("f.tsv", b'id\tv\n1\t  spaced \n2\t\n3\t"quoted\ttab"\n', "--value", "v")
    assert items(store_path) == {1: b"  spaced ", 2: b"", 3: b"quoted\ttab"}


def test_key_column_may_be_the_value_too(load: Any, store_path: Path) -> None:
    load("f.csv", b"id\n5\n", "--value", "id")
    assert items(store_path) == {5: b"5"}


def test_both_ends_of_int64_are_keys(load: Any, store_path: Path) -> None:
    load("f.csv", f"id,v\n{KEY_MIN},low\n{KEY_MAX},high\n-0,zero\n0042,padded\n".encode(), "--value", "v")
    assert items(store_path) == {KEY_MIN: b"low", KEY_MAX: b"high", 0: b"zero", 42: b"padded"}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid,v\n1,a\n2,b\n",
        b"id,v\r\n1,a\r\n2,b\r\n",
        b"id,v\n1,a\n2,b",
        b"\n\nid,v\n\n1,a\n\n\n2,b\n\n",
        b'"id","v"\n"1","a"\n"2","b"\n',
        b"v,id\na,1\nb,2\n",
    ],
    ids=["byte order mark", "CRLF", "no last newline", "empty lines", "all quoted", "key last"],
)
def test_csv_dialects_that_programs_write_all_load(load: Any, store_path: Path, content: bytes) -> None:
    load("f.csv", content, "--value", "v").succeeds()
    assert items(store_path) == {1: b"a", 2: b"b"}


def test_quoted_fields_keep_commas_quotes_and_line_breaks(load: Any, store_path: Path) -> None:
    load("f.csv", b'id,v\n1,"a,""b""\r\nc\n\nd"\n2,x\n', "--value", "v")
    assert items(store_path) == {1: b'a,"b"\r\nc\n\nd', 2: b"x"}


def test_a_tsv_field_in_quotes_keeps_tabs_and_quotes(load: Any, store_path: Path) -> None:
    load("f.tsv", b'id\tv\n1\t"a\tb ""c"""\n2\tin "the" middle\n', "--value", "v").succeeds()
    assert items(store_path) == {1: b'a\tb "c"', 2: b'in "the" middle'}


def test_json_rows_keep_every_digit_and_lose_only_white_space(load: Any, store_path: Path) -> None:
    row = b' { "id" : 1 ,\t"x": [1.10, 1e400, 12345678901234567890.5], "s": "a \\" : , b", "e":"\\u00e9" } '
    load("f.jsonl", row)
    assert items(store_path) == {
        1: b'{"id":1,"x":[1.10,1e400,12345678901234567890.5],"s":"a \\" : , b","e":"\\u00e9"}'
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"caf\\u00e9"', "café".encode()),
        (b'""', b""),
        (b"1.10", b"1.10"),
        (b"null", b"null"),
        (b'{"a" : [1, {"id": 2}], "b": "x y"}', b'{"a":[1,{"id":2}],"b":"x y"}'),
        (b'"\\ud800"', b"\xed\xa0\x80"),
    ],
)
def test_json_value_is_the_text_of_a_string_and_the_json_of_others(
    load: Any, store_path: Path, text: bytes, value: bytes
) -> None:
    load("f.jsonl", b'{"v": ' + text + b', "id": 1, "w": "v"}\n\n', "--value", "v")
    assert items(store_path) == {1: value}


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
KEYS = st.integers(KEY_MIN, KEY_MAX)


@given(st.lists(st.tuples(KEYS, ANY_TEXT, ANY_TEXT), min_size=1), st.sampled_from(["\n", "\r\n"]))
def test_the_output_of_a_csv_writer_is_read_back_text_by_text(
    items: list[tuple[int, str, str]], end: str
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "a", "b"), *items])
    found = list(reader(iter([file.getvalue().encode()])))
    assert [(key, json.loads(value)) for _, key, value in found] == [
        (key, {"id": str(key), "a": a, "b": b}) for key, a, b in items
    ]
    assert [value.decode() for _, _, value in reader(iter([file.getvalue().encode()]), "b")] == [
        b for _, _, b in items
    ]


ANY_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
# Not `st.recursive`: when a test begins, that reads the source of its function again, and warns if this file
# was edited since it was imported.
ANY_JSON: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | ANY_NUMBER
        | ANY_TEXT
        | st.lists(ANY_JSON, max_size=3)
        | st.dictionaries(ANY_TEXT, ANY_JSON, max_size=3)
    )
)


@given(KEYS, st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4), st.booleans())
def test_a_json_row_is_stored_as_the_same_json(key: int, row: dict[str, Any], ascii_only: bool) -> None:
    row |= {"v": list(row.values()), "id": key}
    line = json.dumps(row, ensure_ascii=ascii_only, separators=(" ,\t", " :  ")).encode()
    compact = json.dumps(row, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    assert list(reader(iter([line]), file_format="jsonl")) == [(1, key, compact)]
    part = json.dumps(row["v"], ensure_ascii=ascii_only, separators=(",", ":")).encode()
    assert list(reader(iter([line]), "v", file_format="jsonl")) == [(1, key, part)]


def test_gzip_is_read_as_it_is(load: Any, store_path: Path) -> None:
    load("f.csv.gz", gzip.compress(b"id,v\n1,a\n") + gzip.compress(b"2,b\n"), "--value", "v").succeeds()
    assert items(store_path) == {1: b"a", 2: b"b"}


class OneByteFirst(io.RawIOBase):
    """A pipe whose writer has put one byte into it when it is first read."""

    def __init__(self, data: bytes) -> None:
        self._parts = [data[:1], data[1:]]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._parts.pop(0) if self._parts else b""
        assert len(part) <= len(buffer)
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("data", [b"id,v\n1,one\n", b"\x1f", b""])
def test_gzip_is_known_in_a_pipe_that_brings_its_first_byte_alone(data: bytes) -> None:
    assert rows._decompressed(io.BufferedReader(OneByteFirst(gzip.compress(data)))).read() == data
    assert rows._decompressed(io.BufferedReader(OneByteFirst(data))).read() == data


def test_an_integer_of_any_length_is_json(run: CommandLine, tmp_path: Path) -> None:
    digits = "9" * 5000
    file = tmp_path / "f.jsonl"
    file.write_text(f'{{"k": 1, "v": {digits}}}\n')
    assert run("load", tmp_path / "row", file, "--key", "k").code == 0
    assert run("load", tmp_path / "value", file, "--key", "k", "--value", "v").code == 0
    with alexpy.open(tmp_path / "row") as rows, alexpy.open(tmp_path / "value") as values:
        assert rows[1] == b'{"k":1,"v":%s}' % digits.encode()
        assert values[1] == digits.encode()
    file.write_text(f'{{"k": {digits}}}\n')
    run("load", tmp_path / "key", file, "--key", "k").fails(2, "line 1", "outside int64", "9999...")


def test_standard_input_needs_a_format(store_path: Path) -> None:
    content = b"id,v\n1,a\n"
    run_process("load", store_path, "-", "--key", "id", input=content).fails(2, "standard input", "--format")
    run_process("load", store_path, "-", "--key", "id", "--value", "v", "--format", "csv", input=content)
    assert items(store_path) == {1: b"a"}


def test_a_file_of_only_a_header_makes_an_empty_store(load: Any, store_path: Path) -> None:
    ended = load("f.csv", b"id,v\n", "--json")
    assert ended.json_lines()[-1] | {"seconds": 0} == {
        "rows": 0,
        "keys_new": 0,
        "keys_replaced": 0,
        "seconds": 0,
    }
    assert items(store_path) == {}


# --- what is counted ------------------------------------------------------------------------------------


def test_summary_says_rows_keys_new_and_keys_replaced(load: Any) -> None:
    ended = load("f.csv", b"id,v\n1,a\n2,b\n1,c\n", "--value", "v").succeeds()
    assert b"3 rows read" in ended.out
    assert b"2 keys new, 1 replaced" in ended.out


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 100])
def test_the_last_row_wins_and_counts_do_not_depend_on_batches(
    load: Any, store_path: Path, batch_rows: int
) -> None:
    with alexpy.open(store_path) as store:
        store[1] = b"before"
    content = b"id,v\n1,a\n2,b\n1,c\n3,d\n2,e\n"
    summary = load("f.csv", content, "--value", "v", "--batch-rows", batch_rows, "--json").json_lines()[-1]
    assert (summary["rows"], summary["keys_new"], summary["keys_replaced"]) == (5, 2, 3)
    assert items(store_path) == {1: b"c", 2: b"e", 3: b"d"}


def test_json_reports_the_committed_rows_after_each_batch(load: Any) -> None:
    content = b"id\n" + b"".join(b"%d\n" % key for key in range(25))
    lines = load("f.csv", content, "--batch-rows", 10, "--json").json_lines()
    assert lines[:-1] == [{"committed": 10}, {"committed": 20}, {"committed": 25}]
    assert lines[-1]["rows"] == 25


def test_nothing_but_results_is_on_standard_output(load: Any) -> None:
    ended = load("f.csv", b"id\n1\n", "--json").succeeds()
    assert len(ended.json_lines()) == 2


# --- what is refused before anything is written ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("f.csv", b"key,v\n1,a\n", ["no column 'id'", "'key', 'v'"]),
        ("f.csv", b"id ,v\n1,a\n", ["no column 'id'", "'id '"]),
        ("f.csv", b"id;v\n1;a\n", ["no column 'id'", "'id;v'"]),
        ("f.csv", b"id,w\n1,a\n", ["no column 'v'"]),
        ("f.csv", b"id,v,id\n1,a,1\n", ["2 columns named 'id'"]),
        ("f.csv", b"", ["is empty"]),
        ("f.csv", b"\xef\xbb\xbf\n\n", ["is empty"]),
        ("f.csv", "id,v\n1,a\n".encode("utf-16"), ["UTF-16", "iconv"]),
        ("f.csv", b"id,\xff\n1,a\n", ["line 1", "0xff", "not UTF-8"]),
        ("f.csv", b"\x1f\x8bnot gzip at all", ["line 1", "gzip"]),
        ("f.csv", b'id,"v\n1,a\n', ["line 1", "never closed"]),
        ("f.jsonl", b'{"key": 1}\n', ["no column 'id'", "'key'"]),
        ("f.jsonl", b'{"id": 1}\n', ["no column 'v'"]),
        ("f.jsonl", b"{}\n", ["no column 'id'", "no columns"]),
        ("f.jsonl", b"[1]\n", ["line 1", "a JSON object"]),
        ("f.jsonl", b"id,v\n1,a\n", ["line 1", "not JSON"]),
        ("f.parquet", b"PAR1", ["cannot read", "as parquet"]),
        ("f.parquet", b"id,v\n1,a\n" * 10, ["cannot read", "as parquet"]),
        ("f.xlsx", b"PK", ["the format", "--format"]),
        ("f", b"id,v\n", ["the format", "--format"]),
    ],
)
def test_a_file_that_cannot_be_loaded_makes_no_store(
    load: Any, store_path: Path, name: str, content: bytes, parts: list[str]
) -> None:
    load(name, content, "--value", "v").fails(2, name, *parts, "; nothing was written")
    assert not store_path.exists()


def test_a_duplicate_column_is_refused_only_if_it_is_used(load: Any, store_path: Path) -> None:
    content = b"id,x,x,v\n1,a,b,c\n"
    load("f.csv", content).fails(2, "2 columns named 'x'")
    assert not store_path.exists()
    load("f.csv", content, "--value", "v").succeeds()


def test_base64_needs_the_column_that_it_decodes(load: Any, store_path: Path) -> None:
    load("f.csv", b"id,v\n1,YQ==\n", "--base64").fails(2, "--base64 needs --value")
    load("f.csv", b"id,v\n1,YQ==\n", "--base64", "--value", "v").succeeds()
    assert items(store_path) == {1: b"a"}


@pytest.mark.parametrize("text", ["YQ=", "a b", "YQ==x", "\u00e9", "YQ"])
def test_a_value_that_is_not_base64_is_a_bad_row(load: Any, store_path: Path, text: str) -> None:
    content = f"id,v\n1,YQ==\n2,{text}\n".encode()
    load("f.csv", content, "--base64", "--value", "v", "--batch-rows", 1).fails(
        2,
        "f.csv, line 3: the value is not base64",
        "the 1 row of the batches before is kept (1 key new, 0 replaced)",
    )
    assert items(store_path) == {1: b"a"}


def test_a_missing_file_or_a_directory_is_one_clear_line(
    run: CommandLine, store_path: Path, tmp_path: Path
) -> None:
    run("load", store_path, tmp_path / "none.csv", "--key", "id").fails(2, "none.csv", "No such file")
    (tmp_path / "folder.csv").mkdir()
    run("load", store_path, tmp_path / "folder.csv", "--key", "id").fails(2, "folder.csv", "directory")
    run("load", store_path, tmp_path / "none.csv").fails(2, "--key")
    assert not store_path.exists()


# --- bad rows -------------------------------------------------------------------------------------------

GOOD = b"".join(b"%d,x\n" % key for key in range(20))


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (b"abc,x", ["must be an integer", "'abc'"]),
        (b",x", ["must be an integer", "''"]),
        (b"1.0,x", ["'1.0'"]),
        (b"1e3,x", ["'1e3'"]),
        (b" 1,x", ["' 1'"]),
        (b"+1,x", ["'+1'"]),
        (b"1_000,x", ["'1_000'"]),
        (b"--1,x", ["'--1'"]),
        (b"-,x", ["'-'"]),
        (b"0x10,x", ["'0x10'"]),
        ("\u0661,x".encode(), ["'\u0661'"]),
        (b"NA,x", ["'NA'"]),
        (b"9223372036854775808,x", ["outside int64", "9223372036854775808"]),
        (b"-9223372036854775809,x", ["outside int64"]),
        (b"9" * 5000 + b",x", ["must be an integer", "9" * 60 + "'..."]),
        (b"7", ["1 field where the header has 2", "'7'"]),
        (b"7,x,y", ["3 fields where the header has 2"]),
        (b"7,\xff\xfe", ["0xff", "not UTF-8", "byte 3"]),
        (b'7,"x"y', ["not well-formed"]),
        (b'7,"x', ["never closed"]),
        (b"7,x\ry", ["carriage return"]),
    ],
)
@pytest.mark.parametrize("tail", [b"\n", b"\n21,x\n"])
def test_a_bad_csv_row_stops_with_its_line_and_keeps_the_batches_before(
    load: Any, store_path: Path, row: bytes, parts: list[str], tail: bytes
) -> None:
    content = b"id,v\n" + GOOD + row + tail
    load("f.csv", content, "--batch-rows", 8).fails(2, "f.csv, line 22:", *parts, "16 rows", "16 keys new")
    assert sorted(items(store_path)) == list(range(16))


@pytest.mark.parametrize(
    ("row", "later"),
    [
        (b'"7\tx', b'20\tx"\n21\tx\n'),
        (b'7\t"5 inches', b'20\tx\n21\t"6 inches\n22\tx\n'),
        (b'7\t"x', b'20\t"x\n'),
        (b'7\t"x', b""),
        (b'7\t"', b'20\tx\n"\n'),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_quote_that_a_tsv_row_leaves_open_is_named_and_swallows_no_later_row(
    load: Any, store_path: Path, row: bytes, later: bytes, end: bytes
) -> None:
    content = b"id\tv\n" + GOOD.replace(b",", b"\t") + row + b"\n" + later
    ended = load("f.tsv", content.replace(b"\n", end), "--value", "v", "--batch-rows", 8)
    ended.fails(2, "f.tsv, line 22:", "a quote opened in this row is never closed", "16 rows")
    assert items(store_path) == dict.fromkeys(range(16), b"x")


@given(st.integers(0, 5), st.lists(st.text("ab \n", max_size=4), min_size=6, max_size=6))
def test_a_quote_that_a_csv_row_leaves_open_is_named_and_merges_no_rows(bad: int, texts: list[str]) -> None:
    lines = [f'"{key}","{text}"\n' for key, text in enumerate(texts)]
    lines[bad] = lines[bad][:-2] + "\n"
    first_line = 2 + sum(line.count("\n") for line in lines[:bad])
    content = "".join(['"id","v"\n', *lines]).encode()
    read = iter(reader(iter([content]), "v"))
    for key in range(bad):
        assert next(read)[1:] == (key, texts[key].encode())
    with pytest.raises(rows.BadRowError, match=f"^endless, line {first_line}:"):
        next(read)


@given(st.lists(st.lists(st.sampled_from(["a", '"', "\t", "x y", ""]), max_size=6).map("".join), min_size=1))
def test_a_tsv_line_is_one_row_or_a_bad_row_whatever_its_quotes(texts: list[str]) -> None:
    lines = [f"{key}\t{text}\n".encode() for key, text in enumerate(texts)]
    found = []
    try:
        for line, key, _ in reader(iter([b"id\tv\n", *lines]), "v", file_format="tsv"):
            found.append((line, key))
    except rows.BadRowError as error:
        assert error.line == len(found) + 2  # noqa: PT017 - what came before counts too
    else:
        assert len(found) == len(lines)
    assert found == [(key + 2, key) for key in range(len(found))]


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (b'{"id": 1.0}', ["a JSON integer, not 1.0"]),
        (b'{"id": 1e3}', ["not 1e3"]),
        (b'{"id": "1"}', ['not "1"']),
        (b'{"id": true}', ["not true"]),
        (b'{"id": null}', ["not null"]),
        (b'{"id": [1]}', ["not [1]"]),
        (b'{"id": 9223372036854775808}', ["outside int64"]),
        (b'{"id": ' + b"9" * 5000 + b"}", ["outside int64", "9999..."]),
        (b'{"key": 1}', ["no column 'id'"]),
        (b'{"id": 1', ["not JSON", '{"id": 1']),
        (b'{"id": 1} {"id": 2}', ["not JSON", "Extra data"]),
        (b"{'id': 1}", ["not JSON"]),
        (b'{"id": 1, "x": NaN}', ["not JSON", "NaN"]),
        (b'{"id": 1, "x": -Infinity}', ["not JSON", "Infinity"]),
        (b"1", ["a JSON object, not '1'"]),
        (b'{"id": 1, "x": ' + b"[" * 100_000 + b"}", ["not JSON"]),
        (b'{"id": 1, "x": "\xc3"}', ["not UTF-8", "0xc3"]),
    ],
)
def test_a_bad_json_row_stops_with_its_line_and_keeps_the_batches_before(
    load: Any, store_path: Path, row: bytes, parts: list[str]
) -> None:
    content = b"\n".join(b'{"id": %d}' % key for key in range(20)) + b"\n\n" + row + b'\n{"id": 21}\n'
    load("f.jsonl", content, "--batch-rows", 8).fails(2, "f.jsonl, line 22:", *parts, "16 rows")
    assert sorted(items(store_path)) == list(range(16))


def test_a_bad_row_is_counted_for_programs_too(load: Any) -> None:
    ended = load("f.csv", b"id,v\n" + GOOD + b"x,y\n", "--batch-rows", 10, "--json")
    ended.fails(2, "line 22")
    summary = ended.json_lines()[-1]
    assert (summary["rows"], summary["keys_new"], summary["keys_replaced"]) == (20, 20, 0)
    assert "line 22" in summary["error"]


def test_line_numbers_count_quoted_line_breaks_and_empty_lines(load: Any) -> None:
    load("f.csv", b'id,v\n1,"a\nb\nc"\n\n\nx,"y\nz"\n').fails(2, "line 7:", "'x'")
    load("f.csv", b'id,v\r\n1,"a\r\nb"\r\n2,"never\r\n3,x\r\n').fails(2, "line 4:", "never closed")


def test_a_bad_row_in_the_first_batch_makes_no_store(load: Any, store_path: Path) -> None:
    load("f.csv", b"id,v\n1,a\nx,b\n").fails(2, "line 3")
    assert not store_path.exists()


def test_a_truncated_gzip_file_stops_with_its_line(load: Any, store_path: Path) -> None:
    whole = gzip.compress(b"id,v\n" + b"".join(b"%d,%d\n" % (key, key**5) for key in range(50_000)))
    load("f.csv.gz", whole[: len(whole) // 2], "--batch-rows", 100).fails(
        2, "f.csv.gz, line", "gzip data ends"
    )
    kept = sorted(items(store_path))
    assert kept == list(range(len(kept)))
    assert len(kept) % 100 == 0
    assert kept


def test_a_locked_store_is_refused_and_named(load: Any, store_path: Path) -> None:
    with alexpy.open(store_path) as store:
        load("f.csv", b"id\n1\n").fails(3, "already open", str(store_path))
        assert len(store) == 0


def test_a_path_that_is_not_a_store_is_refused_untouched(load: Any, store_path: Path) -> None:
    store_path.write_bytes(b"a file")
    load("f.csv", b"id\n1\n").fails(3, "is a file")
    assert store_path.read_bytes() == b"a file"


def test_an_option_that_cannot_be_is_refused(
    load: Any, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("f.csv", b"id\n1\n", "--durability", "fsync").fails(2, "--durability")
    load("f.csv", b"id\n1\n", "--batch-rows", "0").fails(2, "--batch-rows")
    monkeypatch.setenv("ALEXPY_SEGMENT_BYTES", "12")
    load("f.csv", b"id\n1\n").fails(2, "ALEXPY_SEGMENT_BYTES")
    assert not store_path.exists()


# --- bounds ---------------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A binary file whose content is generated while it is read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = part
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def reader(
    parts: Iterator[bytes], value: str | None = None, file_format: rows.Format = "csv"
) -> rows.RowReader:
    return rows.RowReader(io.BufferedReader(Endless(parts)), "endless", file_format, "id", value)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file() -> None:
    def parts() -> Iterator[bytes]:
        yield b"id,v\n"
        for key in range(20_000):
            yield b"%d,%s\n" % (key, b"x" * 2000)

    tracemalloc.start()
    try:
        count = sum(len(batch.keys) for batch in batched(reader(parts()), 1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 8 << 20, "40 MB went through"


def test_a_batch_is_bounded_in_bytes_too() -> None:
    value = b"x" * (BATCH_BYTES // 4)

    def parts() -> Iterator[bytes]:
        yield b"id,v\n"
        for key in range(10):
            yield b"%d,%s\n" % (key, value)

    sizes = [len(batch.keys) for batch in batched(reader(parts(), "v"), 10_000)]
    assert sizes == [4, 4, 2]


def test_a_line_without_end_is_refused_and_not_read_whole() -> None:
    def parts() -> Iterator[bytes]:
        yield b"id,v\n"
        while True:
            yield b"x" * 65536

    with pytest.raises(rows.BadRowError, match="line 2: the line is longer than 16 MiB"):
        list(reader(parts()))


@pytest.mark.slow
def test_a_quote_never_closed_in_a_file_without_end_is_refused() -> None:
    def parts() -> Iterator[bytes]:
        yield b'id,v\n1,"\n'
        while True:
            yield b"1,x\n" * 10_000

    with pytest.raises(
        rows.BadRowError, match="line 2: a field is longer than 16 MiB; is a quote never closed"
    ):
        list(reader(parts()))


def test_long_values_are_cut_in_messages(load: Any) -> None:
    error = load("f.csv", b"id\n" + b"x" * 100_000 + b"\n").err
    assert len(error) < 300


def test_json_summary_has_the_documented_names(load: Any) -> None:
    summary = json.loads(load("f.csv", b"id\n1\n", "--json").out.splitlines()[-1])
    assert list(summary) == ["rows", "keys_new", "keys_replaced", "seconds"]
